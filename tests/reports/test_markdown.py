"""Runs and comparisons as Markdown: the worst first, bounded, and nothing in it that anybody smuggled in."""

import sample
from msgspec.structs import replace

from reports.diff import diff, gate
from reports.markdown import escaped, of_diff, of_run
from reports.results import Qualifier, Results, Status, annotate
from reports.summary import conclusion, summarize, troubles

HOSTILE = "<script>alert(1)</script> | `x` [a](http://b) ![i](j) @somebody #1 $x$ \x1b[31m\u202e\ud800\n## head"


def written(run: Results, *, is_green: bool = False, baseline: Results | None = None, **options: object) -> str:
    if baseline is not None:
        found = diff(baseline, run)
        options["beside"] = (found, gate(found))
    return of_run(run, summarize(run), is_green=is_green, **options)  # type: ignore[arg-type]


def heads(text: str) -> list[str]:
    """Whatever begins a part, in order."""
    return [line for line in text.splitlines() if line.startswith(("#", "<details"))]


def with_every_row(run: Results, **changes: object) -> Results:
    return replace(run, results=tuple(replace(row, **changes) for row in run.results))


def test_a_good_run_says_so_and_equal_kernels_are_one_row() -> None:
    text = written(sample.whole(), is_green=True)
    assert heads(text) == ["### ✅ uring-matrix: everything as expected", "#### Verdicts by kernel"]
    assert text.splitlines()[-5:] == [
        "| kernel | ✓ pass | \N{EN DASH} unsupported |",
        "| --- | --- | --- |",
        "| 5.10 | 26 | 15 |",
        "| 6.1 | 39 | 2 |",
        "| 6.12\N{EN DASH}7.3 (9 alike) | 41 | · |",
    ]


def test_what_got_worse_from_kernel_to_kernel_is_first_and_holes_come_before_greens() -> None:
    run = sample.with_cell(sample.whole(), "test_nop", "7.3", status=Status.FAIL, reason="res is -22")
    run = sample.with_cell(run, "test_nop", "5.10", status=Status.ERROR, reason="no such fixture")
    run = sample.with_cell(run, "test_nop", "6.1", status=Status.INFRA, reason="no boot")
    text = written(annotate(run))
    assert heads(text) == [
        "### ❌ uring-matrix: 2 unexpected verdicts, 1 cell without a verdict",
        "#### Lost: passes on an older kernel, and not here (1)",
        "#### Unexpected verdicts (1)",
        "#### No verdict (1)",
        "#### Verdicts by kernel",
    ]
    rows = [line for line in text.splitlines() if line.startswith("| test&#95;")]
    assert [row.split(" | ")[1:3] for row in rows] == [["7.3", "fail"], ["5.10", "error"], ["6.1", "infra"]]


def test_beside_a_baseline_the_regression_is_first_and_known_trouble_is_folded() -> None:
    old = annotate(sample.with_cell(sample.whole(), "test_nop", "5.10", status=Status.UNSUPPORTED, reason="old news"))
    new = annotate(sample.with_cell(old, "test_nop", "7.3", status=Status.FAIL, reason="res is -22"))
    text = written(new, baseline=old)
    assert heads(text) == [
        "### ❌ uring-matrix: worse: 1 regression",
        "#### Regressions: passed, and does not any more (1)",
        "<details><summary>As it was in the baseline (1)</summary>",
        "#### Verdicts by kernel",
    ]
    assert text.count("<details>") == text.count("</details>") == 1


def test_a_run_that_is_red_for_a_hole_that_its_baseline_has_as_well_says_so() -> None:
    hole = annotate(sample.with_cell(sample.whole(), "test_nop", "6.1", status=Status.INFRA, reason="no boot"))
    found = diff(hole, hole)
    text = of_run(hole, summarize(hole), is_green=False, beside=(found, gate(found, ("missing",))))
    assert text.startswith("### ❌ uring-matrix: 1 cell without a verdict\n")


def test_what_may_waver_is_told_and_not_counted() -> None:
    wavered = annotate(
        sample.with_cell(sample.whole(), "test_nop", "6.1", status=Status.FAIL, qualifiers=(Qualifier.FLAKY,))
    )
    text = of_run(wavered, summarize(wavered, sample.whole()), is_green=True)
    assert text.startswith("### ✅ uring-matrix: everything as expected\n")
    assert "#### Wavered, which was allowed (1)" in text


def test_a_run_without_a_test_is_not_as_expected() -> None:
    empty = replace(sample.whole(), results=())
    assert conclusion(summarize(empty), empty) == "no test was run"
    unfinished = replace(sample.whole(), complete=False)
    assert conclusion(summarize(unfinished), unfinished) == "the run is not complete"


def test_equal_trouble_is_one_line_over_tests_and_kernels() -> None:
    """One sentence for 41 tests on 11 kernels: no reader wants 451."""
    run = with_every_row(sample.whole(), status=Status.INFRA, reason="apt-get: no network\nand more of it")
    (one,) = troubles(run.results, run)
    assert (one.what, one.places, one.count) == ("41 tests", "5.10 … 7.3 (11)", 451)
    assert one.reason == "apt-get: no network"


def test_nothing_that_a_guest_says_is_obeyed() -> None:
    run = sample.with_cell(sample.whole(), "test_nop", "7.3", status=Status.FAIL, reason=HOSTILE)
    tests = tuple(replace(test, title=HOSTILE) for test in run.tests)
    kernels = tuple(replace(kernel, release=HOSTILE, package_version=HOSTILE) for kernel in run.kernels)
    text = written(annotate(replace(run, tests=tests, kernels=kernels)), baseline=sample.whole())
    for smuggled in ("<script", "](", "![", "\x1b", "\u202e", "\ud800", "\n## ", "$x$", "`x`", "@somebody", " #1 "):
        assert smuggled not in text, smuggled
    assert escaped("@somebody") == "&#64;<wbr>somebody"
    text.encode()


def test_a_table_has_as_many_cells_in_each_row_whatever_stands_in_them() -> None:
    run = sample.with_cell(sample.whole(), "test_nop", "7.3", status=Status.FAIL, reason=HOSTILE)
    row = next(line for line in written(annotate(run)).splitlines() if "alert" in line)
    assert row.count("|") == 5


def test_what_has_no_room_is_counted_and_the_worst_has_the_room() -> None:
    """GitHub drops a summary that is too large as a whole."""
    long = "\N{SNOWMAN}<" * 100
    rows = tuple(
        replace(row, status=Status.FAIL if row.kernel == "7.3" else Status.INFRA, reason=f"{number} {long}")
        for number, row in enumerate(sample.whole().results)
    )
    run = replace(sample.whole(), results=rows)
    for limit_bytes in (40_000, 10_000, 2_000, 300):
        text = written(run, limit_bytes=limit_bytes)
        assert len(text.encode()) <= limit_bytes
        assert text.startswith("### ❌ uring-matrix: 41 unexpected verdicts")
    text = written(run, limit_bytes=30_000)
    shown = [line.split(" | ")[2] for line in text.splitlines() if line.startswith("| test&#95;")]
    assert set(shown) == {"fail"}
    assert f"| … and {41 - len(shown)} more | | | |" in text
    assert "| … and 410 more | | | |" in text


def test_a_comparison_is_no_longer_than_a_comment_may_be() -> None:
    old = sample.whole()
    new = with_every_row(old, status=Status.FAIL, reason="<" * 500)
    found = diff(old, new)
    text = of_diff(found, gate(found))
    assert len(text.encode()) <= 60_000
    assert " more | | | | |" in text
