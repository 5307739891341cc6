"""Neighbouring columns that are alike, as one; and what changed from each to the next. Pure functions.

Nine of eleven kernels often have the same verdicts throughout: a reader wants the steps, and the columns between them
on a page of their own.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby, pairwise

from reports.matrix import Cell, Column, Line, Matrix, Outcome, Row
from reports.stated import compared


@dataclass(frozen=True, slots=True)
class Fold:
    """Neighbouring columns of one architecture and mode in which every cell looks the same."""

    columns: tuple[Column, ...]
    # Where they stand among the matrix's columns
    indices: tuple[int, ...]
    # What to call them: `6.1`, or the first and the last with a dash between
    name: str

    @property
    def first(self) -> int:
        """The index of the column that stands for all of them."""
        return self.indices[0]

    @property
    def newest(self) -> Column:
        """The last of them."""
        return self.columns[-1]

    @property
    def count(self) -> int:
        """How many they are."""
        return len(self.columns)


class Move(StrEnum):
    """What became of a row from one kernel to a later one."""

    GAINED = "gained"
    LOST = "lost"
    # It had a verdict about the kernel, and has none there.
    UNKNOWN = "unknown"
    # It had none, and has one there.
    KNOWN = "known"


@dataclass(frozen=True, slots=True)
class Stated:
    """What a kernel lists of itself that another does not, and the other way round."""

    column: Column
    # The fact's name (`operations`) to names
    added: Mapping[str, tuple[str, ...]]
    gone: Mapping[str, tuple[str, ...]]

    @property
    def added_count(self) -> int:
        """How many names it lists more."""
        return sum(map(len, self.added.values()))

    @property
    def gone_count(self) -> int:
        """How many names it does not list any more."""
        return sum(map(len, self.gone.values()))


@dataclass(frozen=True, slots=True)
class ValueChange:
    """A limit with another value than before."""

    row: Row
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Step:
    """One fold, and what changed since the one before it."""

    fold: Fold
    # Rows that moved, in row order; empty for the oldest
    moves: Mapping[Move, tuple[Row, ...]]
    values: tuple[ValueChange, ...]
    # Kernels of the fold that list other things of themselves than the kernel right before, whatever the tests say
    stated: tuple[Stated, ...]


def folds(matrix: Matrix, line: Line, rows: Sequence[Row] | None = None) -> tuple[Fold, ...]:
    """Fold a line's columns by the verdicts of its rows, oldest first.

    Kernels that gave no verdicts at all never share a column with those that did: their cells say so.
    """
    own = matrix.rows if rows is None else rows
    return fold_by(matrix, line, lambda index: tuple(_look(row.cells[index]) for row in own))


def fold_by(matrix: Matrix, line: Line, look: Callable[[int], Hashable]) -> tuple[Fold, ...]:
    """Fold a line's neighbouring columns that look the same, oldest first.

    Args:
        matrix: whose columns they are.
        line: the architecture and mode.
        look: what a column shows, by its index in the matrix.
    """
    runs: list[list[int]] = []
    previous: Hashable = None
    for index in matrix.places[line]:
        looks = look(index)
        if runs and looks == previous:
            runs[-1].append(index)
        else:
            runs.append([index])
        previous = looks
    return tuple(
        Fold(tuple(matrix.columns[index] for index in run), tuple(run), _name([matrix.columns[index] for index in run]))
        for run in runs
    )


def _look(cell: Cell | None) -> Hashable:
    """What a reader sees of a cell in the table."""
    if cell is None:
        return None
    row = cell.row
    return row.status, tuple(sorted(row.qualifiers)), cell.expectation, row.state, row.value, row.is_contradicted


def _name(columns: Sequence[Column]) -> str:
    first, last = columns[0].name, columns[-1].name
    return first if first == last else f"{first}\N{EN DASH}{last}"


def move(before: Outcome, after: Outcome) -> Move | None:
    """Name the way from one outcome to another; None where nothing moved."""
    if before is after:
        return None
    if after is Outcome.OPEN:
        return Move.UNKNOWN
    if before is Outcome.OPEN:
        return Move.KNOWN
    return Move.GAINED if after is Outcome.PASSES else Move.LOST


def moves(rows: Sequence[Row], before: int, after: int) -> dict[Move, tuple[Row, ...]]:
    """Sort the rows that differ between two columns by what became of them.

    Args:
        rows: the matrix's.
        before: the earlier column's index.
        after: the later one's.
    """
    found: dict[Move, list[Row]] = {kind: [] for kind in Move}
    for row in rows:
        kind = move(row.outcomes[before], row.outcomes[after])
        if kind is not None:
            found[kind].append(row)
    return {kind: tuple(own) for kind, own in found.items() if own}


def value_changes(rows: Sequence[Row], before: int, after: int) -> tuple[ValueChange, ...]:
    """Find the limits that have another value in a later column.

    Args:
        rows: the matrix's.
        before: the earlier column's index.
        after: the later one's.
    """
    found = []
    for row in rows:
        values = [cell.row.value if (cell := row.cells[index]) is not None else None for index in (before, after)]
        if values[0] is not None and values[1] is not None and values[0] != values[1]:
            found.append(ValueChange(row, values[0], values[1]))
    return tuple(found)


def steps(matrix: Matrix, line: Line) -> tuple[Step, ...]:
    """Say of each fold of a line how much passes, and what changed since the one before it."""
    found: list[Step] = []
    last: Column | None = None
    for fold in folds(matrix, line):
        own = [last, *fold.columns] if last is not None else list(fold.columns)
        found.append(
            Step(
                fold,
                moves=moves(matrix.rows, found[-1].fold.first, fold.first) if found else {},
                values=value_changes(matrix.capabilities, found[-1].fold.first, fold.first) if found else (),
                stated=tuple(filter(None, (stated_changes(older, newer) for older, newer in pairwise(own)))),
            )
        )
        last = fold.columns[-1]
    return tuple(found)


def stated_changes(before: Column, after: Column) -> Stated | None:
    """Compare what two kernels list of themselves; None where they list the same."""
    found = compared(before.kernel, after.kernel)
    added = {one.fact: one.gained for one in found if one.gained}
    gone = {one.fact: one.lost for one in found if one.lost}
    return Stated(after, added, gone) if added or gone else None


@dataclass(frozen=True, slots=True)
class Loss:
    """A row that passes on a kernel and does not on later ones."""

    row: Row
    # Where they stand among the matrix's columns
    before: int
    # All that lack it, up to the next one that has it
    after: tuple[int, ...]


def losses(matrix: Matrix) -> tuple[Loss, ...]:
    """Find everything that was there and is gone on later kernels, but for known issues.

    Returns:
        In row order, the oldest loss of a row first.
    """
    found = []
    for row in matrix.rows:
        for line, minimum in row.minimums.items():
            if minimum.regressions:
                known = [
                    (index, one) for index in matrix.places[line] if (one := row.outcomes[index]) is not Outcome.OPEN
                ]
                found += list(_losses_of(row, known))
    return tuple(found)


def _losses_of(row: Row, known: Sequence[tuple[int, Outcome]]) -> Iterator[Loss]:
    before: int | None = None
    for is_there, own in groupby(known, key=lambda one: one[1] is Outcome.PASSES):
        places = [index for index, _ in own]
        if is_there:
            before = places[-1]
        elif before is not None and any(
            cell is None or cell.issue is None for cell in map(row.cells.__getitem__, places)
        ):
            yield Loss(row, before, tuple(places))
