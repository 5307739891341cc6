"""Runs in time: in order, each against the one before it, and nothing smoothed over."""

from datetime import timedelta

import pytest
import sample
from msgspec.structs import replace
from page import parse

from reports.history import history
from reports.history_site import render
from reports.results import ResultsError, Status


def days_later(results, days, **changes):
    later = timedelta(days=days)
    finished = results.finished + later if results.finished else None
    return replace(results, started=results.started + later, finished=finished, **changes)


MONDAY = sample.whole()
TUESDAY = days_later(sample.with_cell(MONDAY, "test_nop", "7.3", status=Status.FAIL, reason="res: -22"), 1)
WEDNESDAY = days_later(
    MONDAY,
    2,
    kernels=tuple(
        replace(kernel, package_version="7.3.1-1") if kernel.id == "7.3" else kernel for kernel in MONDAY.kernels
    ),
)
RUNS = (("wed", WEDNESDAY), ("mon", MONDAY), ("tue", TUESDAY))


def test_runs_are_put_in_order_and_compared_with_the_one_before():
    found = history(RUNS)
    assert [step.source for step in found.steps] == ["mon", "tue", "wed"]
    assert [step.gate.is_green if step.gate else None for step in found.steps] == [None, False, True]
    (strip,) = found.changed
    assert (strip.key.test, strip.key.kernel, strip.first_pass) == ("test_nop", "7.3", "2026-11-23T090000Z")
    assert [mark.row.status for mark in strip.marks] == [Status.PASS, Status.FAIL, Status.PASS]
    assert [mark.new_release for mark in strip.marks] == [None, None, "7.3.1-1"]
    assert found.steady == 450
    (newest,) = [one for one in found.kernels if one.kernel == "7.3"]
    assert newest.versions == ("7.3~rc5-1~exp1", "7.3~rc5-1~exp1", "7.3.1-1")


def test_what_a_run_lacks_is_not_filled_in_from_its_neighbours():
    rows = tuple(row for row in TUESDAY.results if row.kernel != "6.1")
    kernels = tuple(kernel for kernel in TUESDAY.kernels if kernel.id != "6.1")
    found = history([RUNS[1], ("tue", replace(TUESDAY, results=rows, kernels=kernels)), RUNS[0]])
    (old,) = [one for one in found.kernels if one.kernel == "6.1"]
    assert old.versions == ("6.1.170-3", None, "6.1.170-3")
    assert not found.steps[1].gate.is_green
    assert found.steps[1].gate.holes["missing"] == 41


def test_the_same_run_given_twice_counts_once_and_one_run_is_no_history():
    assert len(history([*RUNS, ("again", MONDAY)]).steps) == 3
    for few in ([], [("mon", MONDAY)], [("mon", MONDAY), ("copy", MONDAY)]):
        with pytest.raises(ResultsError, match="two runs or more"):
            history(few)


def test_runs_of_one_second_have_addresses_of_their_own():
    other = replace(MONDAY, command=("pytest", "other"))
    names = [step.name for step in history([("a", MONDAY), ("b", other)]).steps]
    assert names == ["2026-11-23T090000Z", "2026-11-23T090000Z-2"]


def test_the_pages_lead_to_each_other_and_the_worst_comes_first():
    pages = dict(render(history([("mon", MONDAY), ("tue", replace(TUESDAY, complete=False, finished=None))])))
    index = parse(pages["index.html"])
    banner = index.one("section", "bad")
    assert banner.one("h2").text == "The newest run: worse: 1 regression"
    assert {link.attributes["href"] for link in index.all("a")} <= set(pages)
    assert "incomplete" in index.all("table")[0].all("tr")[1].text
    assert index.one("h1").text == "1 cell changed in 2 runs; 450 never did"
    diff = parse(pages["2026-11-23T090000Z..2026-11-24T090000Z.html"])
    assert "Regressions" in diff.one("main").text
    assert [link.attributes["href"] for link in diff.one("nav", "trail").all("a")] == ["index.html"]


def test_names_from_elsewhere_stay_text():
    bad = "<script>alert(1)</script>\u202e\udcff"
    tests = tuple(replace(test, title=bad) for test in TUESDAY.tests)
    for path, text in render(history([(bad, MONDAY), (bad, replace(TUESDAY, tests=tests))])):
        assert "<script" not in text, path
        assert "\u202e" not in text, path
        text.encode("utf-8")


def test_what_an_earlier_run_had_is_lost_and_not_merely_lacking():
    lacking = sample.with_cell(TUESDAY, "test_nop", "7.3", status=Status.UNSUPPORTED)
    page = parse(dict(render(history([("mon", MONDAY), ("tue", lacking)])))["index.html"])
    (row,) = [row for row in page.all("tr") if row.all("td", "cell")]
    assert [("bad" in cell.classes, "lost" in cell.raw) for cell in row.all("td", "cell")] == [
        (False, False),
        (True, True),
    ]


def test_the_same_runs_give_the_same_bytes():
    assert dict(render(history(RUNS))) == dict(render(history(RUNS[::-1])))
