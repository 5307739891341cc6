"""Everything that the pages of one site share: what is derived from results once, and asked by every page."""

import shlex
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from functools import cache, cached_property
from typing import Generic, TypeVar

from jinja2 import Template
from markupsafe import Markup, escape

from reports import wording
from reports.capabilities import Basis, Entry, entries
from reports.distributions import distribution_of
from reports.expectation import version_of
from reports.folding import Fold, Loss, Step, fold_by, folds, losses, steps
from reports.matrix import Cell, Column, Line, Matrix, Minimum, Row, derive, exact_name
from reports.provenance import Provenance
from reports.records import Kernel, Results, Run
from reports.reproduction import column_command, common_place
from reports.sentences import resume_command
from reports.site.addresses import Pair, addresses
from reports.site.cells import CLEAN, Face, chip, face, inner, joined, minimum_td, stated_face, td
from reports.site.engine import environment
from reports.untrusted import visible

T = TypeVar("T")


class Model:
    """One site's facts, and the engine that writes its pages."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.matrix: Matrix = derive(results)
        self.names = self.matrix.names
        self.provenance = Provenance(results)
        self.tests = {test.id: test for test in results.tests}
        self.entries = entries(results, self.matrix)
        self.addresses = addresses(self.matrix, self.entries)
        self.losses = losses(self.matrix)
        # By identity
        self._lost = frozenset(id(loss.row.cells[index]) for loss in self.losses for index in loss.after)
        self._distributions: dict[str, str] = {}
        self._differing: dict[str, list[Line]] = {}
        self._minimum_texts: dict[int, wording.MinimumText] = {}
        # Names and addresses that many cells share
        self.escaped = cache(_escaped)
        # Derived anew at each call, and asked for by every line of a table.
        self.versions = versions = self.matrix.versions
        self.kernels = self.matrix.kernels
        self.engine = environment()
        self.engine.globals |= {
            "verdicts": wording.VERDICTS,
            "verdict_of": wording.verdict_of,
            "results": results,
            "matrix": self.matrix,
            "names": self.names,
            "addresses": self.addresses,
            "line_name": lambda line: wording.line_name(line, self.matrix.lines),
            "minimum_td": minimum_td,
            "has_modes": len({column.mode.id for column in self.matrix.columns}) > 1,
            "has_architectures": len({column.kernel.arch for column in self.matrix.columns}) > 1,
            # What is tested may be anything: only where kernels were asked about io_uring is the page about it.
            "subject": "io_uring" if results.capabilities or any(test.zig for test in results.tests) else "Tests",
            # This machine's own kernel is up without having been booted by us.
            "is_up": lambda kernel: kernel.booted or kernel.source == "host",
            # What its time says is how long it took to go on, not to boot.
            "is_restored": lambda kernel: "restore" in kernel.phases and "boot" not in kernel.phases,
            "state_word": lambda column: wording.STATES[column.state][0] if column.state in wording.STATES else "",
            "resume_command": shlex.join(resume_command(results.command)),
            "host_of": lambda kernel: kernel.host or results.host,
            "distribution": self.distribution,
            "exact": lambda kernel: exact_name(kernel, versions),
            "chip": chip,
            "inner": inner,
            "features": features,
        }

    def template(self, name: str) -> Template:
        """Load a template."""
        return self.engine.get_template(name)

    @cached_property
    def _places(self) -> Mapping[str, int]:
        """Where each kernel stands, by its id: the later the newer."""
        return {kernel.id: place for place, kernel in enumerate(self.kernels)}

    def age(self, kernel: Kernel) -> int:
        """Order kernels: the newer the larger."""
        return self._places[kernel.id]

    # -- columns -------------------------------------------------------------------------------------------------------

    @cached_property
    def line(self) -> Line | None:
        """What the front page shows: the first architecture and mode. None where there is no cell at all."""
        return self.matrix.lines[0] if self.matrix.lines else None

    @cached_property
    def columns(self) -> list[tuple[int, Column]]:
        """The front page's columns, with where they stand among the matrix's."""
        return self.matrix.line_columns(self.line) if self.line else []

    @cached_property
    def folds(self) -> tuple[Fold, ...]:
        """The columns of the front page, by its tests' verdicts."""
        return folds(self.matrix, self.line, self.matrix.tests) if self.line else ()

    @cached_property
    def stated_folds(self) -> tuple[Fold, ...]:
        """The same by what kernels list of themselves."""
        if not self.line:
            return ()
        stated = self.of_basis(Basis.STATED)

        def look(index: int) -> Hashable:
            return tuple(one.outcomes[index] for one in stated)

        return fold_by(self.matrix, self.line, look)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """What changed from fold to fold of the front page."""
        return steps(self.matrix, self.line) if self.line else ()

    def kernel_columns(self, kernel: Kernel) -> list[tuple[int, Column]]:
        """The columns of one kernel, one for each mode."""
        return self._by_kernel[kernel.id]

    @cached_property
    def _by_kernel(self) -> Mapping[str, list[tuple[int, Column]]]:
        found: dict[str, list[tuple[int, Column]]] = {}
        for index, column in enumerate(self.matrix.columns):
            found.setdefault(column.kernel.id, []).append((index, column))
        return found

    def distribution(self, kernel: Kernel) -> str:
        """Whose kernel it is, as a reader says it; empty where it is no release's own."""
        if kernel.id not in self._distributions:
            found = distribution_of(kernel)
            self._distributions[kernel.id] = found.name if found else ""
        return self._distributions[kernel.id]

    def distributed(self, line: Line) -> list[tuple[int, str]]:
        """The columns of a line that are a release's own kernel: where each stands, and whose it is."""
        return self._distributed[line]

    @cached_property
    def _distributed(self) -> Mapping[Line, list[tuple[int, str]]]:
        return {
            line: [
                (index, name)
                for index, column in self.matrix.line_columns(line)
                if (name := self.distribution(column.kernel))
            ]
            for line in self.matrix.lines
        }

    def numbered(self, line: Line) -> list[tuple[int, Kernel, tuple[int, int]]]:
        """The columns of a line whose kernel's series is known: where each stands, its kernel and that series."""
        return self._numbered[line]

    @cached_property
    def _numbered(self) -> Mapping[Line, list[tuple[int, Kernel, tuple[int, int]]]]:
        return {
            line: [
                (index, column.kernel, series)
                for index, column in self.matrix.line_columns(line)
                if (series := version_of(column.kernel))
            ]
            for line in self.matrix.lines
        }

    def pair_address(self, before: Kernel, after: Kernel) -> str | None:
        """The page that compares two kernels, if there is one."""
        return self.addresses.pairs.get(Pair(self._places[before.id], self._places[after.id]))

    def column_command(self, kernel: Kernel) -> str | None:
        """The command that repeats a kernel's column; None where the run recorded none for its cells."""
        columns = self.kernel_columns(kernel)
        commands = (
            row.cells[index].row.reproduce  # type: ignore[union-attr]
            for index, _ in columns
            for row in self.matrix.rows
            if row.cells[index] is not None and row.cells[index].row.run is None  # type: ignore[union-attr]
        )
        command = next(filter(None, commands), None)
        if command is None or self._place is None:
            return None
        return column_command(command, self._place, [column.mode.id for _, column in columns])

    @cached_property
    def _place(self) -> str | None:
        """What all tests are in, by the first command that there is of each."""
        found = []
        for row in self.matrix.rows:
            commands = (cell.row.reproduce for cell in row.cells if cell is not None)
            found += [command for command in [next(filter(None, commands), None)] if command is not None]
        return common_place(found)

    # -- cells ---------------------------------------------------------------------------------------------------------

    def of_basis(self, basis: Basis) -> list[Entry]:
        """The entries that rest on tests, on what was observed, or on the kernels' own word."""
        return [one for one in self.entries if one.basis is basis]

    @cached_property
    def observed(self) -> Mapping[str, list[Entry]]:
        """What was observed, by group."""
        found: dict[str, list[Entry]] = {}
        for entry in self.of_basis(Basis.OBSERVED):
            found.setdefault(entry.group, []).append(entry)
        return found

    @cached_property
    def entry_of(self) -> Mapping[str, Entry]:
        """The entry of each test, by the test's id."""
        return {one.row.test.id: one for one in self.entries if one.row is not None}

    def face(self, cell: Cell | None) -> Face:
        """What a tested cell shows."""
        if cell is None or (cell.is_clean_pass and not cell.row.attempts):
            return face(cell)
        kernel = self.provenance.kernel_of(cell.row) if cell.row.qualifiers else None
        return face(cell, kernel, is_lost=self.is_lost(cell))

    def is_lost(self, cell: Cell) -> bool:
        """Whether an older kernel has what this cell's lacks."""
        return id(cell) in self._lost

    def evidence(self, cell: Cell | None) -> str | None:
        """The page with a cell's evidence; None for a clean pass."""
        return self.addresses.evidence.get(id(cell)) if cell is not None else None

    def cell_td(self, cell: Cell | None, root: str = "", label: str | None = None) -> Markup:
        """A tested cell as a part of a table; a link to its evidence where there is a page."""
        href = self.evidence(cell)
        if cell is None or href is None:
            return td(self.face(cell), label=label)
        title, kernel = self.tests[cell.row.test].title, self.names[cell.row.kernel]
        purpose = (_EVIDENCE_FOR, self.escaped(title), _ON, self.escaped(kernel))
        return td(self.face(cell), self.escaped(root + href), purpose, label)

    def cell_tds(self, row: Row, line: Line, root: str = "") -> Markup:
        """A row's cells in a line's columns: what nearly all of them are is made once."""
        cells = row.cells
        if row.test.is_capability:
            return joined([self.cell_td(cells[index], root, name) for index, name, _ in self._clean_tds[line]])
        return joined(
            [
                clean
                if (cell := cells[index]) is not None and cell.is_clean_pass and not cell.row.attempts
                else self.cell_td(cell, root, name)
                for index, name, clean in self._clean_tds[line]
            ]
        )

    @cached_property
    def _clean_tds(self) -> Mapping[Line, list[tuple[int, str, Markup]]]:
        """For each column of a line where it stands, its name and its cell with a clean pass."""
        return {
            line: [
                (index, column.name, td(CLEAN, label=column.name)) for index, column in self.matrix.line_columns(line)
            ]
            for line in self.matrix.lines
        }

    def entry_td(self, entry: Entry, fold: Fold) -> Markup:
        """What several alike columns show of an entry; what they are in particular stands on the entry's page."""
        if entry.row is None:
            return td(stated_face(entry, fold.first), label=fold.name)
        cell = entry.row.cells[fold.first]
        if entry.is_observed and self.is_plain(cell):
            return td(self.face(cell), label=fold.name)
        if fold.count == 1 or cell is None or self.evidence(cell) is None:
            return self.cell_td(cell, label=fold.name)
        page = self.escaped(self.addresses.capabilities[entry.id])
        return td(self.face(cell), page, (_COLON, self.escaped(f"{entry.title} on {fold.name}")), fold.name)

    def is_plain(self, cell: Cell | None) -> bool:
        """Whether the sign says all that there is to be said of something that was observed."""
        return cell is None or (not self.face(cell).is_unexpected and not self.face(cell).is_qualified)

    # -- what went wrong -----------------------------------------------------------------------------------------------

    def unexpected(self, cells: Sequence[Cell]) -> list[list[Cell]]:
        """Unexpected verdicts that are not named as lost already, those of a test that are equal together."""
        found: dict[tuple[object, ...], list[Cell]] = {}
        for cell in cells:
            if not self.is_lost(cell):
                key = (cell.row.test, cell.row.status, cell.row.reason, self.face(cell).qualifiers)
                found.setdefault(key, []).append(cell)
        return list(found.values())

    def earlier_runs(self, kernel: Kernel) -> list[tuple[Run, int]]:
        """The runs, other than the column's own, that have verdicts in it, and how many each has."""
        runs = ((run, self._verdicts_of_runs[run.id, kernel.id]) for run in self.results.runs)
        return [(run, count) for run, count in runs if count]

    @cached_property
    def _verdicts_of_runs(self) -> Mapping[tuple[str, str], int]:
        return Counter((row.run, row.kernel) for row in self.results.results if row.run is not None)

    @cached_property
    def marked(self) -> "Findings[Cell]":
        """Cells that nobody expected or that have no verdict, in row order."""
        known = {id(cell): cell for cell in (*self.matrix.unexpected, *self.matrix.open)}
        return Findings(list(known.values()), lambda cell: cell.row.test, lambda cell: (cell.row.kernel,))

    @cached_property
    def lost(self) -> "Findings[Loss]":
        """What was lost."""
        kernels = [column.kernel.id for column in self.matrix.columns]
        return Findings(
            self.losses, lambda loss: loss.row.test.id, lambda loss: [kernels[index] for index in loss.after]
        )

    def minimum(self, entry: Entry) -> Minimum | None:
        """From which kernel on an entry works, for the front page's architecture and mode."""
        return entry.minimums.get(self.line) if self.line else None

    def minimum_text(self, minimum: Minimum) -> wording.MinimumText:
        """Word a minimum of the matrix or of an entry: rows with equal outcomes share theirs."""
        if id(minimum) not in self._minimum_texts:
            self._minimum_texts[id(minimum)] = wording.minimum_text(minimum, self.versions)
        return self._minimum_texts[id(minimum)]

    @cached_property
    def remarkable_rows(self) -> Sequence[Sequence[Row]]:
        """By column the rows that are no clean pass at the first attempt there."""
        found: list[list[Row]] = [[] for _ in self.matrix.columns]
        for row in self.matrix.rows:
            for index in row.remarkable:
                found[index].append(row)
        return found

    @cached_property
    def remarkable_on(self) -> Mapping[str, frozenset[str]]:
        """By a test's id those of the kernels where it is no clean pass at the first attempt in one mode or another."""
        kernels = [column.kernel.id for column in self.matrix.columns]
        return {row.test.id: frozenset(kernels[index] for index in row.remarkable) for row in self.matrix.rows}

    def differing_lines(self, row: Row) -> list[Line]:
        """Architectures and modes in which a row's verdicts differ from the front page's."""
        if row.test.id not in self._differing:
            self._differing[row.test.id] = self._differing_lines(row)
        return self._differing[row.test.id]

    def _differing_lines(self, row: Row) -> list[Line]:
        if len(self.matrix.lines) == 1 or self.line is None:
            return []

        def look(line: Line) -> dict[str, object]:
            return {
                column.kernel.series if line.arch != self.matrix.lines[0].arch else column.kernel.id: cell.row.status
                for index, column in self.matrix.line_columns(line)
                if (cell := row.cells[index]) is not None
            }

        if not row.remarkable:
            return []
        first = look(self.line)
        return [
            line
            for line in self.matrix.lines[1:]
            if any(first.get(kernel, status) != status for kernel, status in look(line).items())
        ]


class Findings(Generic[T]):
    """What pages tell of the kernels or tests that they are about: none of a thousand pages looks through all of it.

    Args:
        every: all of it, in order.
        test: the id of the test that one is about.
        kernels: the ids of the kernels that one is about, each once.
    """

    def __init__(self, every: Sequence[T], test: Callable[[T], str], kernels: Callable[[T], Collection[str]]) -> None:
        self._every = every
        self._kernels = kernels
        self._by_test: dict[str, list[T]] = {}
        self._by_kernel: dict[str, list[T]] = {}
        for one in every:
            self._by_test.setdefault(test(one), []).append(one)
            for kernel in kernels(one):
                self._by_kernel.setdefault(kernel, []).append(one)

    def about(self, kernels: Collection[str] | None = None, tests: Collection[str] | None = None) -> Sequence[T]:
        """Those about any of some kernels and of some tests, in order.

        Args:
            kernels: the kernels' ids; None for all.
            tests: the tests' ids; None for all.
        """
        if tests is None and kernels is not None and len(kernels) == 1:
            return self._by_kernel.get(next(iter(kernels)), ())
        found = self._every if tests is None else [one for test in tests for one in self._by_test.get(test, ())]
        if kernels is None:
            return found
        return [one for one in found if any(kernel in kernels for kernel in self._kernels(one))]


_EVIDENCE_FOR = Markup(": evidence for ")
_ON = Markup(" on ")
_COLON = Markup(": ")


def _escaped(text: str) -> Markup:
    return escape(visible(text))


def features(kernel: Kernel) -> list[tuple[str, str]]:
    """Lay out what a kernel says of io_uring, whatever its shape."""
    return [(name, _flat(value)) for name, value in kernel.features.items()]


def _flat(value: object) -> str:
    """Write a JSON value as one readable line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_flat(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_flat(item)}" for key, item in value.items())
    return "" if value is None else str(value)
