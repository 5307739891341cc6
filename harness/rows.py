"""What the results say of an item: its row, its test, its attempts; and what pytest says where it failed."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from harness.attempts import JudgedAttempt
from harness.guests import Attempt
from harness.observed import ObservedItem
from harness.verdict import Facts, Verdict
from reports.results import Status

_DMESG_LINES_MAX = 300
_CONSOLE_LINES_MAX = 100


def row(verdict: Verdict, attempt: Attempt, sections: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The row of a cell, as plain data.

    Args:
        verdict: what was judged.
        attempt: the one that counts.
        sections: what the test printed and logged, as pytest's report has it.
    """
    facts = attempt.facts
    end = facts.guest_end
    is_plain = verdict.status is Status.PASS and not verdict.qualifiers
    return {
        "status": str(verdict.status),
        "reason": verdict.reason,
        "expected": verdict.expected,
        "actual": verdict.actual,
        "evidence": list(verdict.evidence),
        "qualifiers": [str(qualifier) for qualifier in verdict.qualifiers],
        "started_s": attempt.started_s,
        "duration_s": _duration_s(facts),
        "dmesg": [] if is_plain else _dmesg(facts),
        "output": "" if is_plain else "\n".join([*(text for _, text in sections), attempt.output]).strip("\n"),
        "console_tail": _tail(end.console) if end is not None else [],
        **_observed(facts),
        **({"is_uncollected": True} if end is not None and end.how == "not-collected" else {}),
    }


def describe(item: pytest.Item, recorded: Sequence[str]) -> dict[str, Any]:
    """What the results say of a test.

    Args:
        item: the test in some cell.
        recorded: the suite's markers whose argument is recorded; the first one that there is says what kind of test
            it is where no `kind` does, and gives the title of one that has no `title` of its own.
    """
    if isinstance(item, ObservedItem):
        return item.describe()

    def arguments(name: str) -> list[str]:
        marker = item.get_closest_marker(name)
        return [str(one) for one in marker.args] if marker is not None else []

    def argument(name: str) -> str | None:
        return next(iter(arguments(name)), None)

    function = getattr(item, "function", None)
    path, line, _ = item.location
    doc = inspect.getdoc(function) or "" if function is not None else ""
    try:
        code = inspect.getsource(function) if function is not None else None
    except OSError:
        code = None
    told = {name: argument(name) for name in recorded}
    kind = next((name for name, text in told.items() if text), None)
    return {
        "title": argument("title")
        or (kind and told[kind])
        or doc.split("\n", 1)[0].removesuffix(".")
        or item.name.partition("[")[0],
        **told,
        "kind": argument("kind") or kind or "own",
        "symbols": arguments("symbols"),
        "group": argument("group") or "",
        "doc": doc,
        "since": argument("since"),
        "source": f"{path}:{(line or 0) + 1}",
        "code": code,
    }


def attempt_row(one: JudgedAttempt) -> dict[str, Any]:
    """One of several attempts, as the results have it."""
    return {
        "status": str(one.verdict.status),
        "reason": one.verdict.reason,
        "evidence": list(one.verdict.evidence),
        "dmesg": [] if one.verdict.status is Status.PASS else _dmesg(one.attempt.facts),
        "duration_s": _duration_s(one.attempt.facts),
        "started_s": one.attempt.started_s,
    }


def explain(verdict: Verdict, attempts: Sequence[JudgedAttempt]) -> str:
    """The message of a failure that no report of the test's explains."""
    lines = [f"{verdict.status}: {verdict.reason}", *verdict.evidence]
    if len(attempts) > 1:
        lines += [
            "",
            *(
                f"attempt {number}: {one.verdict.status} {one.verdict.reason}".rstrip()
                for number, one in enumerate(attempts, 1)
            ),
        ]
    end = attempts[-1].attempt.facts.guest_end
    if end is not None and end.console.strip():
        lines += ["", "the console's end:", *_tail(end.console)]
    return "\n".join(lines)


def joined(updates: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Updates of a kernel in one: the latest facts, and every note."""
    if not updates:
        return None
    whole: dict[str, Any] = {}
    for one in updates:
        notes = (*whole.get("notes", ()), *one.get("notes", ()))
        phases = added_up(whole.get("phases", {}), one.get("phases", {}))
        whole |= {**one, "notes": notes, **({"phases": phases} if phases else {})}
    return whole


def added_up(phases: Mapping[str, float], later: Mapping[str, float]) -> dict[str, float]:
    """Phases of a kernel that were told one after the other: what tests took adds up, of all else the latest counts."""
    whole = {**phases, **later}
    if "tests" in phases and "tests" in later:
        whole["tests"] = round(phases["tests"] + later["tests"], 3)
    return whole


def _observed(facts: Facts) -> dict[str, Any]:
    """What stands beside the verdict on something that was observed."""
    found = next((phase for phase in facts.phases if phase.get("kind") == "observed"), {})
    return {name: found[name] for name in ("state", "claimed", "value") if found.get(name) is not None}


def _duration_s(facts: Facts) -> float | None:
    """How long a test took; None for one that did not come to its end: what it reported before says nothing."""
    return sum(phase.get("duration_s", 0.0) for phase in facts.phases) if facts.guest_end is None else None


def _tail(console: str) -> list[str]:
    return [line for line in console.splitlines() if line.strip()][-_CONSOLE_LINES_MAX:]


def _dmesg(facts: Facts) -> list[str]:
    """The kernel's messages of a test, with those between the one before and it in front."""
    lines = [f"(after {facts.previous or 'the boot'}) {line}" for line in facts.between]
    return [*lines, *facts.dmesg][-_DMESG_LINES_MAX:]
