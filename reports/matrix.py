"""The matrix derived from results: pure functions from rows to columns, minimum kernels and roll-ups.

Nothing here is filled in from neighbours: a cell without a verdict stays without one, and a minimum kernel is stated
only as exactly as the tested kernels allow.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from operator import attrgetter

import msgspec

from reports.events import kernel_order
from reports.expectation import Expectation, documented_minimum, judge_beside, version_of
from reports.known_issues import Issues
from reports.records import Kernel, KnownIssue, Mode, Qualifier, Result, Results, Status, Test
from reports.versions import is_next_series, parse_series, upstream


class Outcome(StrEnum):
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


def together(outcomes: Iterable[Outcome]) -> Outcome:
    """Say of several outcomes what they come to: one that lacks is enough, and one that is open leaves all open.

    Of none nothing is known.
    """
    found = set(outcomes)
    if Outcome.LACKS in found:
        return Outcome.LACKS
    return Outcome.PASSES if found == {Outcome.PASSES} else Outcome.OPEN


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


class Cell(msgspec.Struct, frozen=True, gc=False):
    """One row of the results with what is derived from it. There may be a million: no garbage can hang on one."""

    row: Result
    expectation: Expectation
    # A pass with nothing to add; all others have an evidence page
    is_clean_pass: bool
    # What it says about the kernel
    outcome: Outcome
    # Why it is so, where that is known
    issue: KnownIssue | None = None


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
        is_begun = any(counts.get(one) for one in set(counts) - {Status.NOTRUN})
        return ColumnState.UNJUDGED if is_begun else ColumnState.INTERRUPTED
    if kernel.error is None:
        return ColumnState.INTERRUPTED
    return ColumnState.UNFETCHED if kernel.sha256 is None else ColumnState.UNBOOTED


@dataclass(frozen=True, slots=True)
class Tally:
    """How many cells of one kind a column has, by verdict."""

    counts: Mapping[Status, int]
    # How many of them are known issues
    known: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())

    @property
    def judged(self) -> int:
        """How many have a verdict about the kernel."""
        return sum(count for status, count in self.counts.items() if is_judged(status))

    @property
    def passed(self) -> int:
        """How many of them pass, or are there."""
        return self.counts.get(Status.PASS, 0)


@dataclass(frozen=True, slots=True)
class Column:
    """One kernel in one mode."""

    kernel: Kernel
    mode: Mode
    # What to call the kernel: its series, or its id where that says more or the series is there twice
    name: str
    # What tests found that ran in it, and what was observed of it: never one sum, since they say different things
    tests: Tally = field(default_factory=lambda: Tally({}))
    capabilities: Tally = field(default_factory=lambda: Tally({}))

    @property
    def counts(self) -> Mapping[Status, int]:
        """Verdicts of the whole column."""
        return Counter(self.tests.counts) + Counter(self.capabilities.counts)

    @property
    def state(self) -> ColumnState:
        """What became of the kernel."""
        return column_state(self.kernel, self.counts)


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
    # What they say about the kernels
    outcomes: tuple[Outcome, ...]
    # Where they are anything but a clean pass at the first attempt: nearly all cells of a large matrix are just that
    remarkable: tuple[int, ...]
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
    # Verdicts that nobody expected, or that an older kernel did better
    worse: Mapping[Status, int]


@dataclass(frozen=True, slots=True)
class Group:
    """Tests that belong together, or capabilities."""

    name: str
    rows: tuple[Row, ...]
    # From which kernel on all of them pass
    minimums: Mapping[Line, Minimum]
    # Per column
    sums: tuple["Sum", ...]

    @property
    def is_observed(self) -> bool:
        """Whether it has capabilities: what has tests has nothing else."""
        return self.rows[0].test.is_capability


@dataclass(frozen=True, slots=True)
class Matrix:
    """Everything the site shows, derived from one results.json."""

    columns: tuple[Column, ...]
    # Where each line's columns stand among them, the oldest kernel first
    places: Mapping[Line, tuple[int, ...]]
    groups: tuple[Group, ...]
    # From which kernel on all tests pass, and all capabilities are there
    overall: Mapping[Line, Minimum]
    overall_observed: Mapping[Line, Minimum]
    # Per column, of the tests and of the capabilities
    sums: tuple[Sum, ...]
    sums_observed: tuple[Sum, ...]
    # Cells that nobody expected, and cells without a verdict
    unexpected: tuple[Cell, ...]
    open: tuple[Cell, ...]

    @property
    def lines(self) -> tuple[Line, ...]:
        """The architectures and modes that there are."""
        return tuple(self.places)

    def line_columns(self, line: Line) -> list[tuple[int, Column]]:
        """A line's columns, with where they stand."""
        return [(index, self.columns[index]) for index in self.places[line]]

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

    @property
    def tests(self) -> tuple[Row, ...]:
        """The rows that are tests."""
        return tuple(row for group in self.groups if not group.is_observed for row in group.rows)

    @property
    def capabilities(self) -> tuple[Row, ...]:
        """The rows that were observed."""
        return tuple(row for group in self.groups if group.is_observed for row in group.rows)


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
    observed = {test.id for test in results.tests if test.is_capability}
    tests = _tallies(row for row in results.results if row.test not in observed)
    capabilities = _tallies(row for row in results.results if row.test in observed)
    columns = tuple(
        Column(kernel, mode, names[kernel.id], tests.get(place, Tally({})), capabilities.get(place, Tally({})))
        for kernel in kernels
        for mode in results.modes
        if (place := (kernel.id, mode.id)) in tests.keys() | capabilities.keys()
    )
    lines = tuple(
        Line(arch, mode)
        for arch in sorted({column.kernel.arch for column in columns})
        for mode in results.modes
        if any(column.kernel.arch == arch and column.mode.id == mode.id for column in columns)
    )
    places = {line: tuple(index for index, column in enumerate(columns) if _is_on(column, line)) for line in lines}
    grid = _grid(results, columns)
    derived = _derivation(columns, places)
    rows = [_row(test, tuple(grid[test.id]), places, derived) for test in results.tests]
    gathered = _gathered(rows)
    outcomes = {key: _together(own) for key, own in gathered.items()}
    groups = tuple(
        Group(key[1], tuple(own), _minimums(outcomes[key], places, derived), _sums(own, columns))
        for key, own in gathered.items()
    )

    def overall(*, is_observed: bool) -> Mapping[Line, Minimum]:
        own = [found for (is_capability, _), found in outcomes.items() if is_capability is is_observed]
        return _minimums([together(one[index] for one in own) for index in range(len(columns))], places, derived)

    def sums(*, is_observed: bool) -> tuple[Sum, ...]:
        own = [group for group in groups if group.is_observed is is_observed]
        return tuple(_total([group.sums[index] for group in own]) for index in range(len(columns)))

    cells = [cell for row in rows for index in row.remarkable if (cell := row.cells[index]) is not None]
    return Matrix(
        columns=columns,
        places=places,
        groups=groups,
        overall=overall(is_observed=False),
        overall_observed=overall(is_observed=True),
        sums=sums(is_observed=False),
        sums_observed=sums(is_observed=True),
        unexpected=tuple(cell for cell in cells if cell.expectation is Expectation.UNEXPECTED),
        open=tuple(cell for cell in cells if cell.expectation is Expectation.OPEN),
    )


def _tallies(rows: Iterable[Result]) -> Mapping[tuple[str, str], Tally]:
    """Count verdicts by kernel and mode."""
    counts: dict[tuple[str, str], Counter[Status]] = defaultdict(Counter)
    known: Counter[tuple[str, str]] = Counter()
    facts = attrgetter("kernel", "mode", "status", "qualifiers")
    for (kernel_id, mode_id, status, qualifiers), number in Counter(map(facts, rows)).items():
        counts[kernel_id, mode_id][status] += number
        known[kernel_id, mode_id] += number if Qualifier.KNOWN_ISSUE in qualifiers else 0
    return {place: Tally(found, known[place]) for place, found in counts.items()}


def _grid(results: Results, columns: Sequence[Column]) -> dict[str, list[Cell | None]]:
    """Put every row into its place: by test, then by column. There may be a million."""
    versions = {kernel.id: version_of(kernel) for kernel in results.kernels}
    places = {
        (column.kernel.id, column.mode.id): (index, versions[column.kernel.id]) for index, column in enumerate(columns)
    }
    minimums = {(test.id, mode.id): documented_minimum(test, mode) for test in results.tests for mode in results.modes}
    grid: dict[str, list[Cell | None]] = {test.id: [None] * len(columns) for test in results.tests}
    # What is derived of a row hangs on these four, and there are few of each.
    known: dict[tuple[object, ...], tuple[Expectation, bool, Outcome, KnownIssue | None]] = {}
    issues = Issues(results)
    for row in results.results:
        index, version = places[row.kernel, row.mode]
        minimum = minimums[row.test, row.mode]
        # Attempts that waver are judged one by one where an issue is known.
        attempts = frozenset(one.status for one in row.attempts) if row.qualifiers else None
        is_contradicted = row.claimed is not None and row.is_contradicted
        key = (row.status, row.qualifiers, minimum, version, issues.covering(row.key), attempts, is_contradicted)
        found = known.get(key)
        if found is None:
            is_clean = row.status is Status.PASS and not row.qualifiers and not is_contradicted
            expectation = judge_beside(row, minimum, version, issues)
            # What nobody documents is known, too, where an older kernel has it, say.
            is_odd = expectation is Expectation.KNOWN or row.status is Status.UNSUPPORTED
            issue = issues.explaining(row) if is_odd else None
            found = known[key] = (expectation, is_clean, outcome(row), issue)
        grid[row.test][index] = Cell(row, *found)
    return grid


# Per line, where its columns stand.
_Places = Mapping[Line, tuple[int, ...]]
# From a line and what its columns say: its minimum, and those of the series that have more than one kernel.
_Derivation = Callable[[Line, tuple[Outcome, ...]], tuple[Minimum, Mapping[str, Minimum]]]


def _derivation(columns: Sequence[Column], places: _Places) -> _Derivation:
    """Return a function that derives minimums, once of what is equal: a thousand rows have a few dozen different."""
    kernels = {line: [columns[index].kernel for index in own] for line, own in places.items()}

    @cache
    def derived(line: Line, outcomes: tuple[Outcome, ...]) -> tuple[Minimum, Mapping[str, Minimum]]:
        # Columns are in order, and so are their outcomes.
        ordered = list(zip(kernels[line], outcomes, strict=True))
        several = len({kernel.series for kernel in kernels[line]}) < len(ordered)
        return _minimum(ordered), _branches(ordered) if several else {}

    return derived


def _row(test: Test, own: tuple[Cell | None, ...], places: _Places, derived: _Derivation) -> Row:
    """Derive one test's minimums."""
    every = tuple([Outcome.OPEN if cell is None else cell.outcome for cell in own])
    found = {line: derived(line, tuple([every[index] for index in indices])) for line, indices in places.items()}
    return Row(
        test,
        own,
        every,
        tuple([index for index, cell in enumerate(own) if cell is None or not cell.is_clean_pass or cell.row.attempts]),
        {line: minimum for line, (minimum, _) in found.items()},
        {line: branches for line, (_, branches) in found.items()},
    )


def _branches(outcomes: Sequence[tuple[Kernel, Outcome]]) -> dict[str, Minimum]:
    """The minimums of those series that have more than one kernel."""
    several = {name for name, count in Counter(kernel.series for kernel, _ in outcomes).items() if count > 1}
    return {name: one for name, one in branch_minimums(outcomes).items() if name in several}


def _is_on(column: Column, line: Line) -> bool:
    return column.kernel.arch == line.arch and column.mode.id == line.mode.id


def _gathered(rows: Sequence[Row]) -> dict[tuple[bool, str], list[Row]]:
    """Gather rows by kind (tests first) and group, in the order in which the groups first occur."""
    gathered: dict[tuple[bool, str], list[Row]] = {}
    for row in rows:
        gathered.setdefault((row.test.is_capability, row.test.group or "Tests"), []).append(row)
    return dict(sorted(gathered.items(), key=lambda item: item[0][0]))


def _together(rows: Sequence[Row]) -> list[Outcome]:
    """Say of each column whether all tests pass: one that does not is enough, and one that is open leaves it open."""
    return [together(own) for own in zip(*(row.outcomes for row in rows), strict=True)]


def _minimums(outcomes: Sequence[Outcome], places: _Places, derived: _Derivation) -> dict[Line, Minimum]:
    """Derive the minimum of every line from what its columns come to."""
    return {line: derived(line, tuple(outcomes[index] for index in own))[0] for line, own in places.items()}


def _sums(rows: Sequence[Row], columns: Sequence[Column]) -> tuple[Sum, ...]:
    """Count, column by column, what passes, what has a verdict, and what is worse than it should be."""
    remarkable: list[list[Row]] = [[] for _ in columns]
    for row in rows:
        for index in row.remarkable:
            remarkable[index].append(row)
    found = []
    for index, column in enumerate(columns):
        line = Line(column.kernel.arch, column.mode)
        clean = len(rows) - len(remarkable[index])
        rest = [(row, cell) for row in remarkable[index] if (cell := row.cells[index]) is not None]
        statuses = Counter(cell.row.status for _, cell in rest)
        found.append(
            Sum(
                passed=clean + statuses[Status.PASS],
                judged=clean + sum(count for status, count in statuses.items() if is_judged(status)),
                total=clean + len(rest),
                worse=Counter(cell.row.status for row, cell in rest if _is_worse(row, cell, column, line)),
            )
        )
    return tuple(found)


def _total(sums: Sequence[Sum]) -> Sum:
    """Add up what several groups come to on one kernel."""
    worse: Counter[Status] = Counter()
    for one in sums:
        worse.update(one.worse)
    return Sum(sum(one.passed for one in sums), sum(one.judged for one in sums), sum(one.total for one in sums), worse)


def _is_worse(row: Row, cell: Cell, column: Column, line: Line) -> bool:
    return cell.expectation is Expectation.UNEXPECTED or column.kernel in row.minimums[line].regressions
