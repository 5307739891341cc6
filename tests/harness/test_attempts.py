"""What several tries at one cell come to."""

import pytest

from harness.attempts import JudgedAttempt, is_enough, settle
from harness.guests import Attempt
from harness.verdict import Facts, Verdict
from reports.results import Status


@pytest.mark.parametrize(
    ("statuses", "verdict", "is_flaky"),
    [
        (["pass"], "pass", False),
        (["infra"], "infra", False),
        (["pass", "pass"], "pass", False),
        (["crash", "pass"], "crash", True),
        (["pass", "fail", "pass"], "fail", True),
        # The run's time was over, or there was no further guest: that says nothing of the test.
        (["pass", "infra"], "pass", False),
        (["fail", "infra"], "fail", False),
        (["crash", "infra"], "crash", False),
        (["infra", "infra"], "infra", False),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else str(value),
)
def test_a_try_that_was_prevented_contradicts_none(statuses: list[str], verdict: str, is_flaky: bool) -> None:
    attempts = [JudgedAttempt(Attempt(Facts(), [], 0.0), Verdict(Status(status))) for status in statuses]
    worst, last, found = settle(attempts)
    assert (worst.verdict.status, found) == (Status(verdict), is_flaky)
    judged = [one for one in attempts if one.verdict.status is not Status.INFRA]
    assert last is (judged or attempts)[-1]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], False),
        (["pass"] * 99, False),
        (["unsupported"] * 99, False),
        (["pass", "fail"], True),
        (["crash"], True),
        # Nobody expects that a kernel has a thing now and then.
        (["pass", "pass", "unsupported"], True),
    ],
    ids=str,
)
def test_repeating_until_a_failure_ends_with_what_nobody_expects(statuses: list[str], *, expected: bool) -> None:
    attempts = [JudgedAttempt(Attempt(Facts(), [], 0.0), Verdict(Status(status))) for status in statuses]
    assert is_enough(attempts) is expected
