"""Attempts at an item, judged; and which of several counts."""

import dataclasses
from collections.abc import Sequence

from harness.guest_packages import advice
from harness.guests import Attempt
from harness.verdict import Verdict, judge
from reports.results import Status, severity

GOOD = frozenset({Status.PASS, Status.UNSUPPORTED, Status.SKIP})
# Verdicts that are tried once more in a fresh guest before they are believed.
RETRIED = frozenset({Status.CRASH, Status.TIMEOUT})


@dataclasses.dataclass(frozen=True, slots=True)
class JudgedAttempt:
    """One attempt, with its verdict."""

    attempt: Attempt
    verdict: Verdict


def judged(attempt: Attempt) -> JudgedAttempt:
    """Judge an attempt. Where a module is missing, the verdict says what helps."""
    verdict = judge(attempt.facts)
    told = advice(verdict.reason) if verdict.status is Status.ERROR else None
    if told is not None and told not in verdict.reason:
        reason = f"{verdict.reason}; {told}"
        verdict = dataclasses.replace(verdict, reason=reason, evidence=(*verdict.evidence, told))
    return JudgedAttempt(attempt, verdict)


def is_enough(attempts: Sequence[JudgedAttempt]) -> bool:
    """Whether an item that is repeated until it fails has shown what was waited for: it is no good, or it wavers."""
    statuses = [one.verdict.status for one in attempts]
    return bool(statuses) and (statuses[-1] not in GOOD or statuses[-1] is not statuses[0])


def settle(attempts: Sequence[JudgedAttempt]) -> tuple[JudgedAttempt, JudgedAttempt, bool]:
    """Find the try that counts.

    Returns:
        The worst one, the last one, and whether they contradict each other. One that was prevented, because the run's
        time was over say, contradicts none: it counts where there is no other.
    """
    judged = [one for one in attempts if one.verdict.status is not Status.INFRA] or attempts
    worst = max(judged, key=lambda one: severity(one.verdict.status))
    return worst, judged[-1], len({one.verdict.status for one in judged}) > 1
