"""Equal neighbours are one column, and each step says what it changed."""

import sample
from msgspec.structs import replace

from reports.folding import Move, folds, stated_changes, steps
from reports.matrix import Matrix, derive
from reports.results import Qualifier, Results, Status, annotate


def line_of(results: Results) -> tuple[Matrix, list[str]]:
    matrix = derive(results)
    return matrix, [fold.name for fold in folds(matrix, matrix.lines[0])]


def test_equal_neighbours_are_one_column() -> None:
    matrix, names = line_of(sample.whole())
    assert names == ["5.10", "6.1", "6.12–7.3"]  # noqa: RUF001 - that dash is the one of ranges
    last = folds(matrix, matrix.lines[0])[-1]
    assert (last.count, last.newest.name, last.first) == (9, "7.3", 2)
    assert [matrix.columns[index].name for index in last.indices] == [column.name for column in last.columns]


def test_one_cell_that_differs_parts_them_and_the_next_does_not_join_across_it() -> None:
    results = sample.with_cell(sample.whole(), "test_nop", "6.18", status=Status.FAIL)
    assert line_of(results)[1] == ["5.10", "6.1", "6.12–6.17", "6.18", "6.19–7.3"]  # noqa: RUF001


def test_a_pass_with_a_kernel_warning_is_not_like_a_plain_one() -> None:
    results = sample.whole()
    rows = tuple(
        replace(row, qualifiers=(*row.qualifiers, Qualifier.KERNEL_WARNING))
        if (row.test, row.kernel) == ("test_nop", "7.3")
        else row
        for row in results.results
    )
    assert line_of(replace(results, results=rows))[1][-1] == "7.3"


def test_a_kernel_without_verdicts_does_not_look_like_one_that_passes() -> None:
    results = sample.whole()
    rows = tuple(replace(row, status=Status.INFRA) if row.kernel == "7.1" else row for row in results.results)
    assert line_of(annotate(replace(results, results=rows)))[1][2:] == ["6.12–7.0", "7.1", "7.2–7.3"]  # noqa: RUF001


def test_modes_are_folded_apart() -> None:
    matrix = derive(sample.whole((sample.DEFAULT, sample.DEFER_TASKRUN)))
    for line in matrix.lines:
        own = folds(matrix, line)
        assert sum(fold.count for fold in own) == 11
        assert {column.mode.id for fold in own for column in fold.columns} == {line.mode.id}


def test_each_step_says_what_it_gained() -> None:
    matrix = derive(sample.whole())
    first, second, third = steps(matrix, matrix.lines[0])
    assert (first.fold.name, first.moves) == ("5.10", {})
    assert second.moves
    assert second.fold.newest.tests.passed - first.fold.newest.tests.passed == len(second.moves[Move.GAINED])
    assert {row.test.id for row in third.moves[Move.GAINED]} == {"test_waitid", "test_bind_listen_connect"}
    assert set(third.moves) == {Move.GAINED}


def test_each_step_says_what_it_lost_and_what_nobody_knows_any_more() -> None:
    results = sample.with_cell(sample.whole(), "test_nop", "7.3", status=Status.FAIL)
    results = sample.with_cell(results, "test_readv", "7.3", status=Status.NOTRUN)
    matrix = derive(results)
    last = steps(matrix, matrix.lines[0])[-1]
    assert last.fold.name == "7.3"
    assert {kind: [row.test.id for row in rows] for kind, rows in last.moves.items()} == {
        Move.LOST: ["test_nop"],
        Move.UNKNOWN: ["test_readv"],
    }


def test_what_was_unknown_and_is_known_again_is_no_gain() -> None:
    results = sample.with_cell(sample.whole(), "test_nop", "7.2", status=Status.ERROR)
    matrix = derive(results)
    last = steps(matrix, matrix.lines[0])[-1]
    assert {kind: [row.test.id for row in rows] for kind, rows in last.moves.items()} == {Move.KNOWN: ["test_nop"]}


def with_operations(results: Results, lists: dict[str, list[str] | None]) -> Results:
    kernels = tuple(
        replace(kernel, features={"operations": lists[kernel.id]} if kernel.id in lists else {})
        for kernel in results.kernels
    )
    return replace(results, kernels=kernels)


def test_what_kernels_state_is_compared_within_a_fold_as_well() -> None:
    lists = {"6.16": ["NOP"], "6.17": ["NOP", "PIPE"], "6.18": ["NOP", "PIPE"], "6.19": ["PIPE"], "7.0": None}
    matrix = derive(with_operations(sample.whole(), lists))
    stated = steps(matrix, matrix.lines[0])[-1].stated
    assert [(one.column.name, dict(one.added), dict(one.gone)) for one in stated] == [
        ("6.17", {"operations": ("PIPE",)}, {}),
        ("6.19", {}, {"operations": ("NOP",)}),
    ]


def test_a_kernel_that_could_not_be_asked_has_lost_nothing() -> None:
    matrix = derive(with_operations(sample.whole(), {"6.16": ["NOP"], "6.17": None}))
    columns = {column.name: column for column in matrix.columns}
    assert stated_changes(columns["6.16"], columns["6.17"]) is None
    assert stated_changes(columns["6.17"], columns["6.16"]) is None
