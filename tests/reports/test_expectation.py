"""Verdicts beside the documented minimum, and the exit code of a run."""

import pytest
import sample
from msgspec.structs import replace

from reports.results import Attempt, Expectation, Kernel, Mode, Result, Status, Test, annotate, exit_code, judge

E = Expectation

TABLE = [
    # verdict, series, documented minimum, expectation
    ("pass", "6.12", "6.7", E.AS_EXPECTED),
    ("pass", "6.7", "6.7", E.AS_EXPECTED),
    ("pass", "6.1", "6.7", E.EARLIER),
    ("pass", "6.1", None, E.AS_EXPECTED),
    ("unsupported", "6.1", "6.7", E.AS_EXPECTED),
    ("unsupported", "6.6", "6.11", E.AS_EXPECTED),
    ("unsupported", "6.7", "6.7", E.UNEXPECTED),
    ("unsupported", "6.12", "6.7", E.UNEXPECTED),
    ("unsupported", "6.12", None, E.AS_EXPECTED),
    ("unsupported", "host", "6.7", E.AS_EXPECTED),
    ("skip", "6.12", "6.7", E.AS_EXPECTED),
    ("fail", "5.10", "6.7", E.UNEXPECTED),
    ("error", "5.10", "6.7", E.UNEXPECTED),
    ("crash", "5.10", None, E.UNEXPECTED),
    ("timeout", "5.10", "6.7", E.UNEXPECTED),
    ("infra", "6.12", "6.7", E.OPEN),
    ("notrun", "6.12", "6.7", E.OPEN),
]


@pytest.mark.parametrize(("status", "series", "since", "expected"), TABLE)
def test_judge(status, series, since, expected):
    row = Result(test="t", kernel="k", arch="amd64", mode="default", status=Status(status))
    test = Test(id="t", title="t", since=since)
    kernel = Kernel(id="k", series=series, arch="amd64", source="debian")
    assert expected == judge(row, test, kernel)


def test_every_verdict_is_judged():
    assert set(Status) == {Status(status) for status, *_ in TABLE}


def test_a_mode_has_a_minimum_of_its_own():
    """Both must be there: DEFER_TASKRUN came with 6.1, whatever the test asks for."""
    mode = Mode(id="defer-taskrun", since="6.1")
    test = Test(id="t", title="t", since="5.1")
    row = Result(test="t", kernel="k", arch="amd64", mode=mode.id, status=Status.UNSUPPORTED)
    for series, expected in (("5.10", E.AS_EXPECTED), ("6.1", E.UNEXPECTED)):
        assert expected == judge(row, test, Kernel(id="k", series=series, arch="amd64", source="debian"), mode)


def test_the_release_stands_in_for_a_missing_series():
    kernel = Kernel(id="bzImage", series="", arch="amd64", source="path", release="6.12.0-mine")
    row = Result(test="t", kernel="bzImage", arch="amd64", mode="default", status=Status.UNSUPPORTED)
    assert judge(row, Test(id="t", title="t", since="6.7"), kernel) == E.UNEXPECTED


def test_a_flaky_cell_is_unexpected_whatever_its_verdict():
    row = Result(test="t", kernel="k", arch="amd64", mode="default", status=Status.SKIP, qualifiers=("flaky",))
    kernel = Kernel(id="k", series="6.1", arch="amd64", source="debian")
    assert judge(row, Test(id="t", title="t"), kernel) == E.UNEXPECTED


def test_annotate_writes_qualifiers_once_and_takes_back_stale_ones():
    results = sample.with_cell(sample.whole(), "test_nop", "6.1", status=Status.UNSUPPORTED)
    row = next(row for row in results.results if (row.test, row.kernel) == ("test_nop", "6.1"))
    assert row.qualifiers == ("unexpected",)
    assert results == annotate(results)
    healed = sample.with_cell(results, "test_nop", "6.1", status=Status.PASS)
    assert sample.whole().results[0].qualifiers == ()
    assert all(not row.qualifiers for row in healed.results)


CELL = ("test_nop", "6.16")
CODES = {
    "as expected": (lambda results: results, 0),
    "skip": (lambda results: sample.with_cell(results, *CELL, status=Status.SKIP), 0),
    "earlier than documented": (lambda results: sample.with_cell(results, "test_waitid", "6.1", status=Status.PASS), 0),
    "unsupported against the documentation": (
        lambda results: sample.with_cell(results, *CELL, status=Status.UNSUPPORTED),
        1,
    ),
    "flaky": (lambda results: sample.with_cell(results, *CELL, qualifiers=("flaky",)), 1),
    "kernel warning": (lambda results: sample.with_cell(results, *CELL, qualifiers=("kernel-warning",)), 0),
    **{
        status: (lambda results, status=status: sample.with_cell(results, *CELL, status=Status(status)), 1)
        for status in ("fail", "error", "crash", "timeout")
    },
    **{
        status: (lambda results, status=status: sample.with_cell(results, *CELL, status=Status(status)), 3)
        for status in ("infra", "notrun")
    },
    "incomplete": (lambda results: replace(results, complete=False), 3),
    "no cells at all": (lambda results: replace(results, results=()), 3),
    "1 wins over 3": (lambda results: sample.every_verdict(), 1),
}


@pytest.mark.parametrize(("change", "expected"), CODES.values(), ids=CODES)
def test_exit_code(change, expected):
    assert expected == exit_code(change(sample.whole()))


def test_what_wavered_may_be_allowed_if_it_was_good_at_last():
    tries = (Attempt(status=Status.CRASH), Attempt(status=Status.PASS))
    wavered = {"status": Status.CRASH, "qualifiers": ("flaky",)}
    good = sample.with_cell(sample.whole(), *CELL, **wavered, attempts=tries)
    assert (exit_code(good), exit_code(good, is_flaky_allowed=True)) == (1, 0)
    bad = sample.with_cell(sample.whole(), *CELL, **wavered, attempts=tries[::-1])
    assert exit_code(bad, is_flaky_allowed=True) == 1
