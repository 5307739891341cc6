"""The matrix derived from results: pure functions from rows to columns, minimum kernels and roll-ups.

Nothing here is filled in from neighbours: a cell without a verdict stays without one, and a minimum kernel is stated
only as exactly as the tested kernels allow.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum

from reports.events import kernel_order
from reports.expectation import Expectation, judge
from reports.records import CellKey, Kernel, Mode, Qualifier, Result, Results, Status, Test
from reports.versions import is_next_series, parse_series, upstream


class Outcome(Enum):
    """What a cell says about the kernel."""

    PASSES = "passes"
    LACKS = "lacks"
    # Nothing reliable: infrastructure, our own fault, a declined or a flaky verdict, or no cell at all
    OPEN = "open"


_OUTCOMES = {
    Status.PASS: Outcome.PASSES,
    Status.UNSUPPORTED: Outcome.LACKS,
    Status.FAIL: Outcome.LACKS,
    Status.CRASH: Outcome.LACKS,
    Status.TIMEOUT: Outcome.LACKS,
    Status.SKIP: Outcome.OPEN,
    Status.ERROR: Outcome.OPEN,
    Status.INFRA: Outcome.OPEN,
    Status.NOTRUN: Outcome.OPEN,
}


def is_judged(status: Status) -> bool:
    """Whether a verdict says anything about the kernel."""
    return _OUTCOMES[status] is not Outcome.OPEN


def outcome(row: Result | None) -> Outcome:
    """Return what one row says about the kernel. A flaky pass says nothing one could rely on."""
    if row is None:
        return Outcome.OPEN
    if row.status is Status.PASS and Qualifier.FLAKY in row.qualifiers:
        return Outcome.OPEN
    return _OUTCOMES[row.status]


class MinimumKind(StrEnum):
    """How exactly the tested kernels pin a minimum down."""

    # The oldest kernel with a verdict passes: it may be older still.
    AT_MOST = "at-most"
    # The series right before it does not pass.
    EXACT = "exact"
    # It came somewhere in a gap of kernels without a verdict.
    BETWEEN = "between"
    NEVER = "never"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Minimum:
    """From which kernel on something passes, going by the last unbroken row of passes."""

    kind: MinimumKind
    # The oldest tested kernel of that row
    at: Kernel | None = None
    # The newest tested kernel below `at` that is known not to pass
    after: Kernel | None = None
    # The first kernel after that row, where it is known not to pass
    lost_by: Kernel | None = None
    # Kernels that do not pass although an older one does
    regressions: tuple[Kernel, ...] = ()
    # Kernels that pass, but lie before a regression
    earlier_passes: tuple[Kernel, ...] = ()
    # Kernels without a verdict
    unknown: tuple[Kernel, ...] = ()

    def label(self, names: Mapping[str, str] | None = None) -> str:
        """Say it in a few characters.

        Args:
            names: what to call the kernels, by id; their series where nothing else is given.
        """
        match self.kind:
            case MinimumKind.NEVER:
                return "not on any tested kernel"
            case MinimumKind.UNKNOWN:
                return "not known"
        at = kernel_name(self.at, names)
        text = {
            MinimumKind.AT_MOST: f"≤ {exact_name(self.at, names)}",
            MinimumKind.EXACT: at,
            MinimumKind.BETWEEN: f"> {exact_name(self.after, names)}, ≤ {exact_name(self.at, names)}",
        }[self.kind]
        return f"{text}, lost by {exact_name(self.lost_by, names)}" if self.lost_by else text


def kernel_name(kernel: Kernel | None, names: Mapping[str, str] | None = None) -> str:
    """Return what to call a kernel."""
    if kernel is None:
        return ""
    return (names or {}).get(kernel.id) or kernel.series or kernel.id


def exact_name(kernel: Kernel | None, names: Mapping[str, str] | None = None) -> str:
    """Return a kernel's release down to the point: a stable release has what its series' first had not."""
    if kernel is None:
        return ""
    name = kernel_name(kernel, names)
    version = upstream(kernel.package_version, kernel.release)
    return version if version is not None and name == kernel.series else name


def minimum(outcomes: Sequence[tuple[Kernel, Outcome]]) -> Minimum:
    """Derive the minimum kernel from the outcomes of one architecture and mode.

    Args:
        outcomes: each tested kernel with what it says, in any order.
    """
    return _minimum(sorted(outcomes, key=lambda item: kernel_order(item[0])))


def _minimum(ordered: Sequence[tuple[Kernel, Outcome]]) -> Minimum:
    """Derive the minimum from outcomes that are in order already, oldest first."""
    unknown = tuple(kernel for kernel, one in ordered if one is Outcome.OPEN)
    known = [(kernel, one) for kernel, one in ordered if one is not Outcome.OPEN]
    if not known:
        return Minimum(MinimumKind.UNKNOWN, unknown=unknown)
    passes = [index for index, (_, one) in enumerate(known) if one is Outcome.PASSES]
    if not passes:
        return Minimum(MinimumKind.NEVER, unknown=unknown)
    last = first = passes[-1]
    while first > 0 and known[first - 1][1] is Outcome.PASSES:
        first -= 1
    at = known[first][0]
    after = known[first - 1][0] if first else None
    if after is None:
        kind = MinimumKind.AT_MOST
    else:
        kind = MinimumKind.EXACT if _are_neighbours(after, at) else MinimumKind.BETWEEN
    return Minimum(
        kind,
        at=at,
        after=after,
        lost_by=known[last + 1][0] if last + 1 < len(known) else None,
        regressions=tuple(kernel for kernel, one in known[passes[0] :] if one is Outcome.LACKS),
        earlier_passes=tuple(known[index][0] for index in passes if index < first),
        unknown=unknown,
    )


def _are_neighbours(older: Kernel, newer: Kernel) -> bool:
    """Say whether no release lies between two kernels: only then is the newer one exactly the first."""
    left, right = parse_series(older.series), parse_series(newer.series)
    return left is not None and right is not None and is_next_series(left, right)


def branch_minimums(outcomes: Sequence[tuple[Kernel, Outcome]]) -> dict[str, Minimum]:
    """Derive the minimum within each series: a stable branch may have got a backport that its successor has not."""
    series: dict[str, list[tuple[Kernel, Outcome]]] = {}
    for kernel, one in sorted(outcomes, key=lambda item: kernel_order(item[0])):
        series.setdefault(kernel.series, []).append((kernel, one))
    return {name: _minimum(kernels) for name, kernels in series.items()}


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of the results with what is derived from it."""

    row: Result
    expectation: Expectation

    @property
    def is_clean_pass(self) -> bool:
        """A pass with nothing to add; all others have an evidence page."""
        return self.row.status is Status.PASS and not self.row.qualifiers


class ColumnState(StrEnum):
    """What became of a kernel: where there is no verdict from it, why."""

    JUDGED = "judged"
    # It was up, and yet no cell has a verdict about it.
    UNJUDGED = "unjudged"
    UNBOOTED = "unbooted"
    # There was no image to boot.
    UNFETCHED = "unfetched"
    # The run ended before its turn.
    INTERRUPTED = "interrupted"


def column_state(kernel: Kernel, counts: Mapping[Status, int]) -> ColumnState:
    """Say what became of a kernel.

    Args:
        kernel: its record.
        counts: the verdicts of its cells.
    """
    if any(count for status, count in counts.items() if is_judged(status)):
        return ColumnState.JUDGED
    if kernel.booted or kernel.source == "host":
        return (
            ColumnState.UNJUDGED
            if any(counts.get(one) for one in set(counts) - {Status.NOTRUN})
            else (ColumnState.INTERRUPTED)
        )
    if kernel.error is None:
        return ColumnState.INTERRUPTED
    return ColumnState.UNFETCHED if kernel.sha256 is None else ColumnState.UNBOOTED


@dataclass(frozen=True, slots=True)
class Column:
    """One kernel in one mode."""

    kernel: Kernel
    mode: Mode
    # What to call the kernel: its series, or its id where that says more or the series is there twice
    name: str
    # Verdicts of the whole column
    counts: Mapping[Status, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many cells the column has."""
        return sum(self.counts.values())

    @property
    def state(self) -> ColumnState:
        """What became of the kernel."""
        return column_state(self.kernel, self.counts)

    @property
    def judged(self) -> int:
        """How many of its cells have a verdict about the kernel."""
        return sum(count for status, count in self.counts.items() if is_judged(status))

    @property
    def passed(self) -> int:
        """How many of them pass."""
        return self.counts.get(Status.PASS, 0)


@dataclass(frozen=True, slots=True)
class Line:
    """The columns of one architecture and mode: what a minimum kernel is derived from."""

    arch: str
    mode: Mode


@dataclass(frozen=True, slots=True)
class Row:
    """One test across all columns."""

    test: Test
    # In column order; None where the cell was never planned
    cells: tuple[Cell | None, ...]
    minimums: Mapping[Line, Minimum]
    # Per series, where a series has more than one kernel
    branches: Mapping[Line, Mapping[str, Minimum]]


@dataclass(frozen=True, slots=True)
class Sum:
    """What the cells of some rows come to on one kernel."""

    passed: int
    # Cells with a verdict about the kernel: what has none has not failed
    judged: int
    total: int
    # Verdicts that nobody expected, or that an older kernel did better: what it lacks was there, or should be
    worse: Mapping[Status, int]


@dataclass(frozen=True, slots=True)
class Group:
    """Tests that belong together."""

    name: str
    rows: tuple[Row, ...]
    # From which kernel on all of them pass
    minimums: Mapping[Line, Minimum]
    # Per column
    sums: tuple["Sum", ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Everything the site shows, derived from one results.json."""

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    groups: tuple[Group, ...]
    # From which kernel on all tests pass
    overall: Mapping[Line, Minimum]
    counts: Mapping[Status, int]
    # Per column
    sums: tuple[Sum, ...]
    # Cells that nobody expected, and cells without a verdict
    unexpected: tuple[Cell, ...]
    open: tuple[Cell, ...]

    @property
    def names(self) -> dict[str, str]:
        """What to call each kernel, by id."""
        return {column.kernel.id: column.name for column in self.columns}

    @property
    def versions(self) -> dict[str, str]:
        """What to call each kernel where a version is wanted: its series, unless that does not tell it apart."""
        counts = Counter((kernel.series, kernel.arch) for kernel in self.kernels)
        return {
            kernel.id: kernel.series
            if kernel.series and counts[kernel.series, kernel.arch] == 1
            else self.names[kernel.id]
            for kernel in self.kernels
        }

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels in column order, each once."""
        return tuple({column.kernel.id: column.kernel for column in self.columns}.values())

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows in group order."""
        return tuple(row for group in self.groups for row in group.rows)


def kernel_names(kernels: Sequence[Kernel]) -> dict[str, str]:
    """Choose a short name for each kernel.

    The series, for a distribution's kernel that is the only one of its series and architecture; else the id.
    """
    counts = Counter((kernel.series, kernel.arch) for kernel in kernels)
    return {
        kernel.id: (
            kernel.series
            if kernel.source == "debian" and kernel.series and counts[kernel.series, kernel.arch] == 1
            else kernel.id
        )
        for kernel in kernels
    }


def derive(results: Results) -> Matrix:
    """Derive the matrix from results."""
    kernels = sorted(results.kernels, key=kernel_order)
    names = kernel_names(kernels)
    tests = {test.id: test for test in results.tests}
    kernels_by_id = {kernel.id: kernel for kernel in kernels}
    modes = {mode.id: mode for mode in results.modes}
    cells = {
        row.key: Cell(row, judge(row, tests[row.test], kernels_by_id[row.kernel], modes[row.mode]))
        for row in results.results
    }
    counts: dict[tuple[str, str], Counter[Status]] = {}
    for row in results.results:
        counts.setdefault((row.kernel, row.mode), Counter())[row.status] += 1
    columns = tuple(
        Column(kernel, mode, names[kernel.id], counts[kernel.id, mode.id])
        for kernel in kernels
        for mode in results.modes
        if (kernel.id, mode.id) in counts
    )
    lines = tuple(
        Line(arch, mode)
        for arch in sorted({column.kernel.arch for column in columns})
        for mode in results.modes
        if any(column.kernel.arch == arch and column.mode.id == mode.id for column in columns)
    )
    rows = [_row(test, columns, lines, cells) for test in results.tests]
    return Matrix(
        columns=columns,
        lines=lines,
        groups=_groups(rows, columns, lines),
        overall={line: _minimum(_overall_outcomes(line, rows, columns)) for line in lines},
        counts=Counter(row.status for row in results.results),
        sums=_sums(rows, columns),
        unexpected=tuple(cell for cell in cells.values() if cell.expectation is Expectation.UNEXPECTED),
        open=tuple(cell for cell in cells.values() if cell.expectation is Expectation.OPEN),
    )


def _row(test: Test, columns: Sequence[Column], lines: Sequence[Line], cells: Mapping[CellKey, Cell]) -> Row:
    """Collect one test's cells and derive its minimums."""
    own = tuple(cells.get(CellKey(test.id, column.kernel.id, column.kernel.arch, column.mode.id)) for column in columns)
    minimums: dict[Line, Minimum] = {}
    branches: dict[Line, dict[str, Minimum]] = {}
    for line in lines:
        outcomes = [
            (column.kernel, outcome(cell.row if cell else None))
            for column, cell in zip(columns, own, strict=True)
            if _is_on(column, line)
        ]
        # Columns are in order, and so are their outcomes.
        minimums[line] = _minimum(outcomes)
        several = {name for name, count in Counter(kernel.series for kernel, _ in outcomes).items() if count > 1}
        branches[line] = (
            {name: one for name, one in branch_minimums(outcomes).items() if name in several} if several else {}
        )
    return Row(test, own, minimums, branches)


def _is_on(column: Column, line: Line) -> bool:
    return column.kernel.arch == line.arch and column.mode.id == line.mode.id


def _groups(rows: Sequence[Row], columns: Sequence[Column], lines: Sequence[Line]) -> tuple[Group, ...]:
    """Gather rows by group, in the order in which the groups first occur."""
    gathered: dict[str, list[Row]] = {}
    for row in rows:
        gathered.setdefault(row.test.group or "Tests", []).append(row)
    return tuple(
        Group(
            name,
            tuple(own),
            {line: _minimum(_overall_outcomes(line, own, columns)) for line in lines},
            sums=_sums(own, columns),
        )
        for name, own in gathered.items()
    )


def _sums(rows: Sequence[Row], columns: Sequence[Column]) -> tuple[Sum, ...]:
    """Count, column by column, what passes, what has a verdict, and what is worse than it should be."""
    found = []
    for index, column in enumerate(columns):
        cells = [(row, cell) for row in rows if (cell := row.cells[index]) is not None]
        statuses = Counter(cell.row.status for _, cell in cells)
        found.append(
            Sum(
                passed=statuses[Status.PASS],
                judged=sum(count for status, count in statuses.items() if is_judged(status)),
                total=len(cells),
                worse=Counter(cell.row.status for row, cell in cells if _is_worse(row, cell, column)),
            )
        )
    return tuple(found)


def _is_worse(row: Row, cell: Cell, column: Column) -> bool:
    lost = (minimum.regressions for line, minimum in row.minimums.items() if _is_on(column, line))
    return cell.expectation is Expectation.UNEXPECTED or any(column.kernel in kernels for kernels in lost)


def _overall_outcomes(line: Line, rows: Sequence[Row], columns: Sequence[Column]) -> list[tuple[Kernel, Outcome]]:
    """Say of each kernel whether all tests pass: one that does not is enough, and one that is open leaves it open."""
    outcomes = []
    for index, column in enumerate(columns):
        if not _is_on(column, line):
            continue
        cells = [row.cells[index] for row in rows]
        found = {outcome(cell.row if cell else None) for cell in cells}
        if Outcome.LACKS in found:
            outcomes.append((column.kernel, Outcome.LACKS))
        elif Outcome.OPEN in found or not found:
            outcomes.append((column.kernel, Outcome.OPEN))
        else:
            outcomes.append((column.kernel, Outcome.PASSES))
    return outcomes
