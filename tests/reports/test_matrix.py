"""The derived matrix: order, minimum kernels by the table, roll-ups."""

import random
from collections import Counter

import pytest
import sample
from msgspec.structs import replace

from reports.matrix import Minimum, MinimumKind, Outcome, branch_minimums, derive, kernel_names, minimum, outcome
from reports.results import Attempt, Expectation, Kernel, Mode, Qualifier, Status

LETTERS = {"+": Outcome.PASSES, "-": Outcome.LACKS, "?": Outcome.OPEN}


def kernel(series, package_version=None, **changes):
    """Return a kernel; `6.1@6.1.90-1` is a package of that series."""
    series, _, package_version = series.partition("@")
    name = f"{series}@{package_version}" if package_version else series
    fields = {"arch": "amd64", "source": "debian", "package_version": package_version or None} | changes
    return Kernel(id=name, series=series, **fields)


def outcomes(text):
    """Read `5.10+ 6.1- 6.12?`."""
    return [(kernel(word[:-1]), LETTERS[word[-1]]) for word in text.split()]


# what was found -> what is said, and the parts it consists of
MINIMUMS = [
    # The oldest tested kernel passes: it may be older still.
    ("5.10+ 6.1+ 6.12+", "≤ 5.10", {}),
    ("6.12+", "≤ 6.12", {}),
    # The series right before it does not.
    ("6.16- 6.17+ 6.18+", "6.17", {"after": "6.16"}),
    ("6.19- 7.0+", "7.0", {"after": "6.19"}),
    ("5.19- 6.0+", "6.0", {"after": "5.19"}),
    # Somewhere in a gap that nobody tested.
    ("5.10- 6.1+ 6.12+", "> 5.10, ≤ 6.1", {"after": "5.10"}),
    ("6.18- 7.0+", "> 6.18, ≤ 7.0", {"after": "6.18"}),
    # A kernel without a verdict is such a gap, however close its neighbours are.
    ("6.16- 6.17? 6.18+", "> 6.16, ≤ 6.18", {"after": "6.16", "unknown": ["6.17"]}),
    ("6.16? 6.17+", "≤ 6.17", {"unknown": ["6.16"]}),
    ("6.16+ 6.17? 6.18+", "≤ 6.16", {"unknown": ["6.17"]}),
    ("6.16- 6.17+ 6.18?", "6.17", {"after": "6.16", "unknown": ["6.18"]}),
    # Nothing to go by.
    ("5.10- 6.1- 6.12-", "not on any tested kernel", {}),
    ("5.10- 6.1?", "not on any tested kernel", {"unknown": ["6.1"]}),
    ("5.10? 6.1?", "not known", {"unknown": ["5.10", "6.1"]}),
    ("", "not known", {}),
    # It passed, and stopped.
    ("6.16+ 6.17+ 6.18-", "≤ 6.16, lost by 6.18", {"lost_by": "6.18", "regressions": ["6.18"]}),
    (
        "6.16- 6.17+ 6.18- 6.19-",
        "6.17, lost by 6.18",
        {"after": "6.16", "lost_by": "6.18", "regressions": ["6.18", "6.19"]},
    ),
    ("6.17+ 6.18? 6.19-", "≤ 6.17, lost by 6.19", {"lost_by": "6.19", "unknown": ["6.18"], "regressions": ["6.19"]}),
    # It passed, stopped, and came back: the last row of passes counts, the rest is said.
    ("5.10+ 6.1- 6.12+", "> 6.1, ≤ 6.12", {"after": "6.1", "regressions": ["6.1"], "earlier_passes": ["5.10"]}),
    (
        "5.10- 6.1+ 6.12- 6.16+ 6.17-",
        "> 6.12, ≤ 6.16, lost by 6.17",
        {"after": "6.12", "lost_by": "6.17", "regressions": ["6.12", "6.17"], "earlier_passes": ["6.1"]},
    ),
    # Packages of one series: a fix came with an update.
    ("6.1@6.1.90-1- 6.1@6.1.170-3+", "> 6.1@6.1.90-1, ≤ 6.1@6.1.170-3", {"after": "6.1@6.1.90-1"}),
]


@pytest.mark.parametrize(("found", "label", "parts"), MINIMUMS, ids=[found or "nothing" for found, *_ in MINIMUMS])
def test_minimum(found, label, parts):
    """In whatever order the kernels come."""
    given = outcomes(found)
    random.Random(7).shuffle(given)
    result = minimum(given)
    assert label == result.label({one.id: one.id for one, _ in given})
    for name in ("after", "lost_by"):
        one = getattr(result, name)
        assert parts.get(name) == (one.id if one else None)
    for name in ("regressions", "earlier_passes", "unknown"):
        assert parts.get(name, []) == [one.id for one in getattr(result, name)]


def test_a_minimum_is_stated_only_where_a_kernel_passes():
    for _, label, _ in MINIMUMS:
        assert label[0] in "≤>n" or label[0].isdigit()
    kinds = {minimum(outcomes(found)).kind for found, *_ in MINIMUMS}
    assert set(MinimumKind) == kinds


def test_branches_are_judged_on_their_own():
    """The backport is in the newer 6.1, while 6.6, which is younger as a series, has none."""
    found = outcomes("6.1@6.1.90-1- 6.1@6.1.170-3+ 6.6@6.6.10-1-")
    branches = branch_minimums(found)
    assert list(branches) == ["6.1", "6.6"]
    assert branches["6.1"].kind is MinimumKind.BETWEEN
    assert branches["6.1"].at.package_version == "6.1.170-3"
    assert Minimum(MinimumKind.NEVER) == branches["6.6"]


OUTCOMES = {
    "pass": Outcome.PASSES,
    "unsupported": Outcome.LACKS,
    "fail": Outcome.LACKS,
    "crash": Outcome.LACKS,
    "timeout": Outcome.LACKS,
    "skip": Outcome.OPEN,
    "error": Outcome.OPEN,
    "infra": Outcome.OPEN,
    "notrun": Outcome.OPEN,
}


@pytest.mark.parametrize("status", Status)
def test_what_a_verdict_says_about_the_kernel(status):
    row = replace(sample.whole().results[0], status=status)
    assert OUTCOMES[status] is outcome(row)


def test_neither_a_missing_nor_a_flaky_cell_is_a_pass():
    row = replace(sample.whole().results[0], qualifiers=("flaky",))
    assert outcome(None) is Outcome.OPEN
    assert outcome(row) is Outcome.OPEN


def test_columns_are_ordered_by_version_number():
    results = sample.whole()
    matrix = derive(replace(results, kernels=results.kernels[::-1]))
    assert [series for series, *_ in sample.KERNELS] == [column.name for column in matrix.columns]


def test_packages_of_one_series_are_ordered_as_dpkg_orders_them():
    kernels = [kernel(name) for name in ("6.1@6.1.170-3", "6.1@6.1.9-1", "6.1@6.1.170-3~rc1", "5.10")]
    results = replace(sample.whole(), kernels=tuple(kernels), results=(), tests=())
    found = minimum([(one, Outcome.PASSES) for one in results.kernels])
    assert found.at.id == "5.10"
    ordered = minimum([(one, Outcome.LACKS if "9-1" in one.id else Outcome.PASSES) for one in kernels[:3]])
    assert ordered.at.id == "6.1@6.1.170-3~rc1"


def test_short_names():
    kernels = [
        kernel("6.12"),
        kernel("6.1@6.1.90-1"),
        kernel("6.1@6.1.170-3"),
        replace(kernel("6.12"), id="6.12-arm64", arch="arm64"),
        replace(kernel("6.13"), id="bzImage", source="path"),
        replace(kernel("6.18"), id="host", source="host"),
    ]
    assert list(kernel_names(kernels).values()) == ["6.12", "6.1@6.1.90-1", "6.1@6.1.170-3", "6.12", "bzImage", "host"]


def test_the_whole_sample():
    """The counts that were measured with the original tests."""
    matrix = derive(sample.whole())
    assert [26, 39, *[41] * 9] == [column.tests.passed for column in matrix.columns]
    assert {41} == {column.tests.total for column in matrix.columns}
    (overall,) = matrix.overall.values()
    assert overall.label() == "> 6.1.170, ≤ 6.12.94"
    counts = sum((Counter(column.tests.counts) for column in matrix.columns), Counter())
    assert counts == {Status.PASS: 434, Status.UNSUPPORTED: 17}
    assert () == matrix.unexpected == matrix.open
    labels = {row.test.id: next(iter(row.minimums.values())).label() for row in matrix.rows}
    assert labels["test_nop"] == "≤ 5.10.249"
    assert labels["test_mkdirat"] == "> 5.10.249, ≤ 6.1.170"
    assert labels["test_waitid"] == "> 6.1.170, ≤ 6.12.94"
    assert len(labels) == 41


def test_groups_keep_the_suites_order_and_count_for_themselves():
    matrix = derive(sample.whole())
    assert list(dict.fromkeys(group for _, group, _ in sample.TESTS)) == [group.name for group in matrix.groups]
    paths = next(group for group in matrix.groups if group.name == "Paths")
    assert [(one.passed, one.judged, one.total) for one in paths.sums] == [(0, 5, 5), *[(5, 5, 5)] * 10]
    columns = zip(*(group.sums for group in matrix.groups), strict=True)
    passed = [column.tests.passed for column in matrix.columns]
    assert [sum(one.passed for one in column) for column in columns] == passed
    assert [one.passed for one in matrix.sums] == passed


def test_tests_without_a_group_have_a_heading_all_the_same():
    results = sample.whole()
    plain = replace(results, tests=tuple(replace(test, group="") for test in results.tests))
    assert [group.name for group in derive(plain).groups] == ["Tests"]


def test_modes_have_columns_and_minimums_of_their_own():
    matrix = derive(sample.whole((sample.DEFAULT, sample.DEFER_TASKRUN)))
    assert len(matrix.columns) == 22
    assert [(column.name, column.mode.id) for column in matrix.columns[:3]] == [
        ("5.10", "default"),
        ("5.10", "defer-taskrun"),
        ("6.1", "default"),
    ]
    nop = next(row for row in matrix.rows if row.test.id == "test_nop")
    assert {line.mode.id: one.label() for line, one in nop.minimums.items()} == {
        "default": "≤ 5.10.249",
        "defer-taskrun": "> 5.10.249, ≤ 6.1.170",
    }


def test_cells_that_were_never_planned_are_not_filled_in():
    """Two merged runs, one of which had fewer tests."""
    results = sample.whole()
    rows = tuple(row for row in results.results if (row.test, row.kernel) != ("test_nop", "5.10"))
    matrix = derive(replace(results, results=rows))
    nop = next(row for row in matrix.rows if row.test.id == "test_nop")
    assert nop.cells[0] is None
    assert next(iter(nop.minimums.values())).label() == "≤ 6.1.170"
    assert [column.tests.total for column in matrix.columns[:2]] == [40, 41]
    assert [one.total for one in matrix.groups[0].sums[:2]] == [2, 3]


def test_an_open_cell_leaves_the_overall_minimum_open():
    results = sample.with_cell(sample.whole(), "test_nop", "6.12", status=Status.INFRA)
    (overall,) = derive(results).overall.values()
    assert overall.label() == "> 6.1.170, ≤ 6.16.12"
    assert [one.id for one in overall.unknown] == ["6.12"]


def test_every_verdict_is_sorted_into_its_list():
    matrix = derive(sample.every_verdict())
    assert {Status.FAIL, Status.ERROR, Status.CRASH, Status.TIMEOUT, Status.UNSUPPORTED} == {
        cell.row.status for cell in matrix.unexpected
    }
    assert len(matrix.open) == 42
    assert {Expectation.OPEN} == {cell.expectation for cell in matrix.open}
    waitid = next(row for row in matrix.rows if row.test.id == "test_waitid")
    assert waitid.cells[1].expectation is Expectation.EARLIER
    assert not waitid.cells[1].is_clean_pass
    assert waitid.cells[2].is_clean_pass


def test_a_run_without_rows_derives_an_empty_matrix():
    matrix = derive(replace(sample.whole(), results=()))
    assert () == matrix.columns == matrix.lines


def test_a_mode_that_was_not_run_has_no_columns():
    results = sample.whole()
    assert len(derive(replace(results, modes=(*results.modes, Mode(id="sqpoll")))).columns) == 11


def test_a_row_says_where_it_is_anything_but_a_clean_pass_at_the_first_attempt():
    results = sample.whole()
    results = sample.with_cell(results, "test_nop", "6.1", attempts=(Attempt(status=Status.PASS),) * 2)
    results = sample.with_cell(results, "test_nop", "6.16", status=Status.FAIL)
    results = sample.with_cell(results, "test_nop", "6.18", qualifiers=(Qualifier.KERNEL_WARNING,))
    rows = tuple(row for row in results.results if (row.test, row.kernel) != ("test_nop", "7.3"))
    matrix = derive(replace(results, results=rows))
    nop = next(row for row in matrix.rows if row.test.id == "test_nop")
    assert ["6.1", "6.16", "6.18", "7.3"] == [matrix.columns[index].name for index in nop.remarkable]


def test_equal_verdicts_are_judged_by_their_own_kernel_test_and_mode():
    """What is derived once of what is equal must not be taken for what only looks equal."""
    since = Mode(id="late", since="6.17")
    results = sample.whole((Mode(id="default"), since))
    rows = tuple(
        replace(row, status=Status.UNSUPPORTED, qualifiers=()) if row.test in ("test_nop", "test_waitid") else row
        for row in results.results
    )
    matrix = derive(replace(results, results=rows))
    found = {
        (row.test.id, column.name, column.mode.id)
        for row in matrix.rows
        for column, cell in zip(matrix.columns, row.cells, strict=True)
        if cell.expectation is Expectation.UNEXPECTED
    }
    kernels = [kernel.series for kernel in results.kernels]
    first = {("test_nop", "default"): "5.10", ("test_nop", "late"): "6.17"}
    first |= {("test_waitid", "default"): "6.12", ("test_waitid", "late"): "6.17"}
    assert found == {
        (test, kernel, mode) for (test, mode), one in first.items() for kernel in kernels[kernels.index(one) :]
    }
