"""What a reader has to know before anything else: what was lost, what nobody expected, what has no verdict."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from reports.expectation import Expectation
from reports.matrix import Cell, Column, Row
from reports.records import Kernel, Result, Status, Test
from reports.site.cells import Face
from reports.site.model import Model

_LISTED_MAX = 12


@dataclass(frozen=True, slots=True)
class Lost:
    """What neighbouring kernels lost that an older one has."""

    before: Column
    after: tuple[Column, ...]
    # Each row with its cells on those kernels
    rows: tuple[tuple[Row, tuple[Cell, ...]], ...]
    # The page that compares the first of them with the one that has it
    diff: str | None

    @property
    def is_observed(self) -> bool:
        """Whether no test says so."""
        return all(row.test.is_capability for row, _ in self.rows)

    @property
    def where(self) -> str:
        """The kernels, in a few words."""
        names = [column.name for column in self.after]
        return " and ".join(names) if len(names) < 3 else f"{names[0]} to {names[-1]}"


@dataclass(frozen=True, slots=True)
class Unexpected:
    """Equal verdicts of one test that nobody expected."""

    test: Test
    row: Result
    face: Face
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Troubles:
    """All of it, of a whole site or of what one of its pages is about."""

    lost: tuple[Lost, ...]
    unexpected: tuple[Unexpected, ...]
    unexpected_count: int
    # How many of them were observed, not tested
    observed_count: int
    # How many unexpected cells are not listed
    more: int
    # Kernels without a verdict, with why
    broken: tuple[Kernel, ...]
    open_count: int


def troubles(model: Model, *, kernels: Collection[str] | None = None, tests: Collection[str] | None = None) -> Troubles:
    """Gather what is wrong.

    Args:
        model: the site's.
        kernels: ids of those that a page is about; None for all.
        tests: the same of tests.
    """
    marked = model.marked.about(kernels, tests)
    unexpected = [
        Unexpected(model.tests[own[0].row.test], own[0].row, model.face(own[0]), tuple(own))
        for own in model.unexpected([one for one in marked if one.expectation is Expectation.UNEXPECTED])
    ]
    listed = unexpected[:_LISTED_MAX]
    return Troubles(
        lost=tuple(_lost(model, kernels, tests)),
        unexpected=tuple(listed),
        unexpected_count=sum(len(one.cells) for one in unexpected),
        observed_count=sum(len(one.cells) for one in unexpected if one.test.is_capability),
        more=sum(len(one.cells) for one in unexpected[_LISTED_MAX:]),
        broken=tuple(
            kernel
            for kernel in model.results.kernels
            if kernel.error and tests is None and (kernels is None or kernel.id in kernels)
        ),
        open_count=sum(cell.row.status is Status.NOTRUN for cell in marked),
    )


def _lost(model: Model, kernels: Collection[str] | None, tests: Collection[str] | None) -> Iterator[Lost]:
    """Gather what the same kernels lost, the newest first."""
    columns = model.matrix.columns
    groups: dict[tuple[int, tuple[int, ...]], list[tuple[Row, tuple[Cell, ...]]]] = {}
    for loss in model.lost.about(kernels, tests):
        cells = tuple(cell for index in loss.after if (cell := loss.row.cells[index]) is not None)
        groups.setdefault((loss.before, loss.after), []).append((loss.row, cells))
    for (before, after), rows in sorted(groups.items(), key=lambda item: item[0][1], reverse=True):
        yield Lost(
            columns[before],
            tuple(columns[index] for index in after),
            tuple(rows),
            model.pair_address(columns[before].kernel, columns[after[0]].kernel),
        )
