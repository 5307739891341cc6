"""Interrupted, unbooted, unfetched and unjudged are four different things, in heads and in the headline."""

import sample
from msgspec.structs import replace
from page import parse

from reports import wording
from reports.matrix import ColumnState, derive
from reports.records import KnownIssue
from reports.results import Qualifier, Results, Status, annotate
from reports.sentences import repeated_sentence, resume_command, resume_sentence
from reports.site import render
from reports.versions import point_release, upstream


def with_kernel(results: Results, name: str, status: Status, **changes: object) -> Results:
    kernels = tuple(replace(kernel, **changes) if kernel.id == name else kernel for kernel in results.kernels)
    rows = tuple(replace(row, status=status) if row.kernel == name else row for row in results.results)
    return annotate(replace(results, kernels=kernels, results=rows))


def interrupted() -> Results:
    """Ctrl-C: three kernels had no turn, one did not boot, one could not be had, one gave no verdict."""
    run = sample.whole()
    run = with_kernel(run, "7.3", Status.NOTRUN, booted=False, sha256=None)
    run = with_kernel(run, "7.2", Status.NOTRUN, booted=False)
    run = with_kernel(run, "7.1", Status.INFRA, booted=False, error="silence")
    run = with_kernel(run, "7.0", Status.INFRA, booted=False, sha256=None, error="404")
    return with_kernel(run, "6.19", Status.ERROR)


def test_each_kernel_says_what_became_of_it() -> None:
    states = {column.name: column.state for column in derive(interrupted()).columns}
    assert states == {
        **dict.fromkeys(["5.10", "6.1", "6.12", "6.16", "6.17", "6.18"], ColumnState.JUDGED),
        "6.19": ColumnState.UNJUDGED,
        "7.0": ColumnState.UNFETCHED,
        "7.1": ColumnState.UNBOOTED,
        "7.2": ColumnState.INTERRUPTED,
        "7.3": ColumnState.INTERRUPTED,
    }


def test_the_headline_is_about_kernels_that_were_judged() -> None:
    """It said "0 of 41 tests pass on Linux 7.3"."""
    text = wording.headline(derive(interrupted()))
    assert "0 of 41" not in text
    assert "7.3" not in text
    # None of the newer ones has a say in what is the newest here.
    worse = sample.with_cell(interrupted(), "test_nop", "6.18", status=Status.FAIL)
    assert wording.headline(derive(worse)) == "40 of 41 tests pass on Linux 6.18, the newest kernel with a verdict"
    assert [one.partition(" ")[0] for one in wording.shortfalls(derive(worse))] == ["5.10", "6.1", "6.18"]


def test_the_headline_is_about_what_nobody_knew() -> None:
    """Known issues are named as such; what fails beside them is counted as ever."""
    issue = KnownIssue(tests=("test_nop",), status=("fail",), reason="It is lost.")
    run = replace(sample.whole(), known_issues=(issue,))
    known = sample.with_cell(run, "test_nop", "7.3", status=Status.FAIL)
    assert wording.headline(derive(known)) == (
        "All 41 tests but 1 known issue pass on Linux 7.3, the newest kernel here"
    )
    worse = sample.with_cell(known, "test_timeout_remove", "7.3", status=Status.FAIL)
    assert wording.headline(derive(worse)) == "39 of 41 tests pass on Linux 7.3, the newest kernel here"


def test_a_sentence_names_all_four() -> None:
    assert wording.missing_kernels(derive(interrupted()).columns) == (
        "6.19 gave no verdict; 7.1 did not boot; 7.0 could not be fetched; 7.2, 7.3 not reached before the run ended"
    )


def test_the_terminal_says_as_much() -> None:
    run = sample.with_cell(interrupted(), "test_nop", "6.18", status=Status.NOTRUN)
    run = sample.with_cell(run, "test_readv", "6.18", status=Status.NOTRUN)
    assert wording.without_verdict(derive(run).columns) == [
        f"without a verdict: {wording.missing_kernels(derive(run).columns)}",
        "cut off: 6.18 (2 tests not run)",
    ]
    assert wording.without_verdict(derive(sample.whole()).columns) == []


def test_where_nothing_was_judged_nothing_passes() -> None:
    run = sample.whole()
    for kernel in run.kernels:
        run = with_kernel(run, kernel.id, Status.NOTRUN, booted=False, sha256=None)
    assert wording.headline(derive(run)).startswith("No verdict: 11 kernels not reached")


def test_a_kernel_that_was_cut_off_counts_what_has_a_verdict() -> None:
    run = sample.with_cell(sample.whole(), "test_nop", "7.3", status=Status.NOTRUN)
    run = sample.with_cell(run, "test_readv", "7.3", status=Status.FAIL)
    assert wording.headline(derive(run)) == (
        "39 of 40 tests pass on Linux 7.3, the newest kernel here; 1 has no verdict"
    )


def test_a_lost_capability_does_not_look_like_one_that_was_never_there() -> None:
    run = sample.with_cell(sample.whole(), "test_nop", "7.3", status=Status.FAIL)
    matrix = derive(run)
    assert [column.name for column, one in zip(matrix.columns, matrix.sums, strict=True) if one.worse] == ["7.3"]
    # Nor do the groups in which nothing was lost.
    assert [group.name for group in matrix.groups if group.sums[-1].worse] == ["Rings and queues"]


def test_what_an_older_kernel_has_is_lost_whatever_is_documented() -> None:
    """Nobody documents what somebody's own test needs: a kernel that lacks it after others had it is a regression."""
    run = sample.with_cell(sample.whole(), "test_nop", "7.3", status=Status.UNSUPPORTED)
    tests = tuple(replace(test, since=None) for test in run.tests)
    run = annotate(replace(run, tests=tests))
    matrix = derive(run)
    assert matrix.unexpected == ()
    assert [dict(one.worse) for one in matrix.sums] == [*[{}] * 10, {Status.UNSUPPORTED: 1}]


def test_the_overview_shows_a_regression_where_nothing_else_is_red() -> None:
    run = sample.with_cell(sample.whole(), "test_nop", "7.3", status=Status.UNSUPPORTED)
    pages = dict(render(run))
    front = parse(pages["index.html"])
    assert front.one("section", "lost").one("h2").text == "Linux 7.3 lost 1 that 7.2 has"
    # 5.10 lacks 15, as it may.
    cells = [row.all("td", "cell") for row in front.one("section", "table", "#capabilities").all("tr")]
    assert [cell.text for row in cells for cell in row if "bad" in cell.classes] == [
        "\N{EN DASH} unsupported unexpected lost : evidence for nop on 7.3"
    ]
    page = parse(pages["all.html"])
    sums = page.one("div", "matrix").all("tr", "sum")
    assert [[index for index, cell in enumerate(row.all("td")) if "worse" in cell.classes] for row in sums[:3]] == [
        [12], [12], [],
    ]  # fmt: skip


def test_sums_do_not_count_what_was_not_judged_as_failed() -> None:
    """After Ctrl-C it said "0 of 41" of kernels that had no turn, and "9 of 41" of the one that was cut off."""
    run = interrupted()
    names = [test.id for test in run.tests[9:]]
    for name in names:
        run = sample.with_cell(run, name, "6.18", status=Status.NOTRUN)
    page = parse(dict(render(run))["all.html"])
    whole = page.one("div", "matrix").all("tr", "sum")[0].all("td")[2:]
    texts = {column.name: cell.text for column, cell in zip(derive(run).columns, whole, strict=True)}
    assert texts["5.10"] == "26 of 41"
    assert texts["6.18"] == "9 of 9, 32 without verdict"
    assert [texts[name] for name in ("7.0", "7.1", "7.2", "7.3")] == ["no verdict"] * 4


def test_older_kernels_that_were_not_judged_have_not_failed() -> None:
    """It said "and on no older one" where the older ones had no turn."""
    run = sample.whole()
    for kernel in run.kernels[:-1]:
        run = with_kernel(run, kernel.id, Status.NOTRUN, booted=False, sha256=None)
    run = sample.with_cell(run, "test_nop", "7.2", status=Status.PASS)
    assert wording.headline(derive(run)) == (
        "All 41 tests pass on Linux 7.3, the newest kernel here; no older kernel has all its verdicts"
    )
    run = with_kernel(run, "6.12", Status.FAIL)
    assert wording.headline(derive(run)).endswith(", and on no older one with all its verdicts")


def test_the_command_that_goes_on_is_the_one_that_was_given() -> None:
    run = ("uring-matrix", "run", "6.1", "--out", "m", "--", "-x")
    assert resume_command(run) == ["uring-matrix", "run", "--resume", "6.1", "--out", "m", "--", "-x"]
    assert resume_command(("uring-matrix", "run", "--resume", "6.1")) == ["uring-matrix", "run", "--resume", "6.1"]
    by_pytest = ("pytest", "tests", "--kernel", "6.1", "--matrix-out", "m")
    assert resume_command(by_pytest) == [*by_pytest, "--matrix-resume"]
    of_a_directory = ("pytest", "run", "--matrix-out", "m")
    assert resume_command(of_a_directory) == [*of_a_directory, "--matrix-resume"]
    by_module = ("python", "-m", "uring_matrix", "run", "6.1")
    assert resume_command(by_module) == ["python", "-m", "uring_matrix", "run", "--resume", "6.1"]


def test_a_release_is_named_down_to_the_point() -> None:
    assert upstream("5.10.262-1", None) == "5.10.262"
    assert upstream("7.3~rc5-1~exp1", None) == "7.3-rc5"
    assert upstream("6.16.12-1~bpo13+1", "6.16.12+deb13-cloud-amd64") == "6.16.12"
    assert upstream(None, "6.12.94-custom") == "6.12.94"
    # Debian's older releases name an ABI there, and no point release.
    assert upstream(None, "6.1.0-42-cloud-amd64") is None
    assert [point_release(one) for one in ("5.10.262", "7.3-rc5", "6.17", None)] == [262, 0, 0, 0]


def test_what_a_stable_release_has_early_is_a_backport() -> None:
    run = sample.whole()
    row = replace(run.results[0], qualifiers=(Qualifier.EARLIER_THAN_DOCUMENTED,))
    stable, candidate = run.kernels[0], run.kernels[-1]
    # Also in results of a version of this program that had no word for it.
    assert wording.qualifier_words(row, stable) == ["backport"]
    assert wording.qualifier_words(row, candidate) == ["earlier"]


def test_backports_are_called_that_in_the_results_in_the_legend_and_on_the_page() -> None:
    run = sample.with_cell(sample.whole(), "test_waitid", "6.1", status=Status.PASS)
    row = next(row for row in run.results if (row.test, row.kernel) == ("test_waitid", "6.1"))
    assert row.qualifiers == ("earlier-than-documented", "backport")
    pages = dict(render(run))
    legend = parse(pages["index.html"]).one("ul", "legend").text
    assert ("backport" in legend, "earlier " in legend) == (True, False)
    text = parse(pages["evidence/6.1-default-test_waitid.html"]).text
    assert "this kernel is 6.1.170. It works earlier than documented: it was backported to this stable release." in text


def test_what_was_repeated_says_how_often() -> None:
    row = sample.whole().results[0]
    attempts = tuple(sample.Attempt(status=row.status) for _ in range(100))
    assert wording.qualifier_words(replace(row, attempts=attempts)) == ["100 of 100"]


def test_what_was_repeated_is_said_in_the_terminal_whatever_came_of_it() -> None:
    run = sample.whole()
    assert repeated_sentence(run) is None
    tries = tuple(sample.Attempt(status=Status.PASS) for _ in range(100))
    rows = tuple(replace(row, attempts=tries) for row in run.results)
    assert repeated_sentence(replace(run, results=rows)) == (
        "repeated 100 times: 451 of 451 cells with the same verdict each time"
    )
    wavered = replace(rows[0], attempts=tries[:7], qualifiers=(Qualifier.FLAKY,))
    assert repeated_sentence(replace(run, results=(wavered, *rows[1:]))) == (
        "repeated 7 to 100 times: 450 of 451 cells with the same verdict each time, 1 wavered"
    )


def test_a_run_that_is_not_complete_says_what_goes_on_with_it() -> None:
    run = replace(sample.whole(), command=("uring-matrix", "run", "6.1", "--out", "my results"))
    assert resume_sentence(run) is None
    assert resume_sentence(replace(run, complete=False)) == (
        "to go on: uring-matrix run --resume 6.1 --out 'my results'"
    )
