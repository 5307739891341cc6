"""Whether capabilities are there, from results alone: on the kernels that are asked for, or from which one on.

Pure functions. Nothing is guessed: a kernel that was not tested is not known, whatever its neighbours say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from typing import Any

from reports.capabilities import Entry, Requirement, entries, find, nearest, requirement
from reports.distributions import Distribution, distribution_of, untested
from reports.errors import ResultsError
from reports.kernel_lookup import Named, beside, known_beside, named
from reports.matrix import Column, Line, Matrix, Minimum, MinimumKind, Outcome, derive, exact_name, together
from reports.records import Kernel, Results

# Count up when a field of the JSON goes or changes its meaning; new fields may come at any time.
SCHEMA_VERSION = 1
WORDS = {Outcome.PASSES: "yes", Outcome.LACKS: "no", Outcome.OPEN: "unknown"}
_CANDIDATES_MAX = 6


@dataclass(frozen=True, slots=True)
class OnKernel:
    """A kernel that was asked for, and whether all of the capabilities are there."""

    asked: Named
    # Among the matrix's columns; empty where it was not tested
    indices: tuple[int, ...]
    outcome: Outcome
    # Where it was not tested: what the nearest say that say something
    beside: tuple[tuple[Kernel, Outcome], ...] = ()


@dataclass(frozen=True, slots=True)
class OnLine:
    """The answer for one architecture and mode."""

    line: Line
    # Indices of the columns, oldest first
    indices: tuple[int, ...]
    # Of all the capabilities together
    requirement: Requirement
    # Kernels without a verdict, later than the first that has all
    holes: tuple[Kernel, ...]
    # By distribution whose own kernel was tested, the oldest kernel first
    distributions: tuple[tuple[Distribution, Outcome], ...]
    # What was asked for by name; empty where nothing was
    on: tuple[OnKernel, ...]
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything that is to be said."""

    matrix: Matrix
    entries: tuple[Entry, ...]
    # Whatever else there is
    known: tuple[Entry, ...]
    # All that there are: nobody asked whether something is there
    is_list: bool
    lines: tuple[OnLine, ...]
    untested: tuple[Distribution, ...]

    @property
    def outcome(self) -> Outcome:
        """Yes only where every line says so."""
        return together({one.outcome for one in self.lines})


def answer(
    results: Results, what: Sequence[str], on: Sequence[str] = (), *, mode: str | None = None, arch: str | None = None
) -> Answer:
    """Answer from results.

    Args:
        results: what is known.
        what: capabilities by whatever they are called; none means all that there are.
        on: kernels by whatever they are called; none means all that were tested.
        mode: the ring mode; `default`, or the first that was tested, where it is None.
        arch: the architecture; every one that was tested where it is None.

    Raises:
        ResultsError: something is not called that way, or several things are.
    """
    matrix = derive(results)
    known = entries(results, matrix)
    wanted = tuple({one.id: one for text in what for one in [_one(text, known)]}.values()) if what else known
    if not wanted:
        raise ResultsError("these results have no test, and nothing that a kernel lists: `uring-matrix run` makes some")
    asked = [named(text, results.kernels) for text in on]
    lines = tuple(_on_line(line, wanted, matrix, asked) for line in _lines(matrix, mode, arch))
    return Answer(matrix, wanted, known, not what, lines, untested(results.kernels))


def _one(text: str, known: Sequence[Entry]) -> Entry:
    found = find(text, known)
    if len(found) == 1:
        return found[0]
    if found:
        raise ResultsError(f"{text!r} may be {ids(found)}: name one")
    near = nearest(text, known)
    hint = f"; nearest: {ids(near)}" if near else "; `uring-matrix can` lists all"
    raise ResultsError(f"nothing is called {text!r} in these results{hint}")


def ids(found: Sequence[Entry]) -> str:
    """Name entries by what to ask for them with; a few of many."""
    names = [one.id for one in found]
    more = len(names) - _CANDIDATES_MAX
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:_CANDIDATES_MAX])} and {more} more"


def _lines(matrix: Matrix, mode: str | None, arch: str | None) -> list[Line]:
    modes = list(dict.fromkeys(line.mode.id for line in matrix.lines))
    archs = list(dict.fromkeys(line.arch for line in matrix.lines))
    if mode is not None and mode not in modes:
        raise ResultsError(f"nothing was tested in the mode {mode!r}; there are {', '.join(modes) or 'none'}")
    if arch is not None and arch not in archs:
        raise ResultsError(f"nothing was tested on {arch!r}; there are {', '.join(archs) or 'none'}")
    mode = mode or ("default" if "default" in modes else next(iter(modes), None))
    return [line for line in matrix.lines if line.mode.id == mode and arch in (None, line.arch)]


def _on_line(line: Line, wanted: Sequence[Entry], matrix: Matrix, asked: Sequence[Named]) -> OnLine:
    columns = matrix.line_columns(line)
    outcomes = {column.kernel.id: together(entry.outcomes[index] for entry in wanted) for index, column in columns}
    required = requirement(wanted, matrix, line)
    on = tuple(_on_kernel(one, columns, outcomes) for one in asked)
    kernels = [column.kernel for _, column in columns]
    later = dropwhile(lambda kernel: kernel is not required.tested.at, kernels)
    holes = tuple(kernel for kernel in later if outcomes[kernel.id] is Outcome.OPEN)
    found = {one.outcome for one in on} if on else {_from_some_kernel_on(required, holes)}
    return OnLine(
        line,
        tuple(index for index, _ in columns),
        required,
        holes,
        tuple(_by_distribution(kernels, outcomes)),
        on,
        together(found),
    )


def _on_kernel(asked: Named, columns: Sequence[tuple[int, Column]], outcomes: Mapping[str, Outcome]) -> OnKernel:
    names = {kernel.id for kernel in asked.kernels}
    own = tuple(index for index, column in columns if column.kernel.id in names)
    if own:
        return OnKernel(asked, own, together({outcomes[name] for name in names if name in outcomes}))
    # One that was tested elsewhere, on another architecture say, is none here.
    around = beside(asked, [column.kernel for _, column in columns])
    return OnKernel(asked, (), Outcome.OPEN, known_beside(around, lambda kernel: outcomes[kernel.id]))


def _from_some_kernel_on(required: Requirement, holes: Sequence[Kernel]) -> Outcome:
    """Whether there is a kernel from which on every tested one has it: a hole among those leaves it open."""
    tested = required.tested
    if tested.kind is MinimumKind.NEVER or tested.lost_by is not None:
        return Outcome.LACKS
    return Outcome.OPEN if tested.at is None or holes else Outcome.PASSES


def _by_distribution(kernels: Sequence[Kernel], outcomes: Mapping[str, Outcome]) -> list[tuple[Distribution, Outcome]]:
    found: dict[str, tuple[Distribution, set[Outcome]]] = {}
    for kernel in kernels:
        if (one := distribution_of(kernel)) is not None:
            found.setdefault(one.name, (one, set()))[1].add(outcomes[kernel.id])
    return [(one, together(own)) for one, own in found.values()]


# -- for programs ------------------------------------------------------------------------------------------------------


def as_builtins(found: Answer) -> dict[str, Any]:
    """Return an answer as plain objects for `--json`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "answer": None if found.is_list else WORDS[found.outcome],
        "lines": [_line(one, found) for one in found.lines],
        "not_tested": [
            {"name": one.name, "series": one.series, "is_mainline_like": one.is_mainline_like} for one in found.untested
        ],
    }


def _line(one: OnLine, found: Answer) -> dict[str, Any]:
    kernels = [found.matrix.columns[index].kernel for index in one.indices]
    return {
        "arch": one.line.arch,
        "mode": one.line.mode.id,
        "answer": None if found.is_list else WORDS[one.outcome],
        "together": None
        if found.is_list
        else {"documented": one.requirement.documented, **_minimum(one.requirement.tested, found)},
        "on": [
            {
                "asked": asked.asked.text,
                "distribution": asked.asked.distribution.name if asked.asked.distribution else None,
                "kernels": [found.matrix.columns[index].kernel.id for index in asked.indices],
                "answer": WORDS[asked.outcome],
                "beside": {kernel.id: WORDS[outcome] for kernel, outcome in asked.beside},
            }
            for asked in one.on
        ],
        "distributions": {distribution.name: WORDS[outcome] for distribution, outcome in one.distributions},
        "kernels": [
            {
                "id": kernel.id,
                "series": kernel.series,
                "release": kernel.release,
                "package_version": kernel.package_version,
                "distribution": whose.name if (whose := distribution_of(kernel)) else None,
            }
            for kernel in kernels
        ],
        "capabilities": [
            {
                "id": entry.id,
                "title": entry.title,
                "kind": entry.kind,
                "basis": entry.basis.value,
                "symbols": list(entry.symbols),
                "alias": entry.alias,
                "group": entry.group,
                "documented": entry.documented,
                **_minimum(entry.minimums[one.line], found),
                "on": {found.matrix.columns[index].kernel.id: WORDS[entry.outcomes[index]] for index in one.indices},
                **(_observed(entry, one, found) if entry.is_observed else {}),
            }
            for entry in found.entries
        ],
    }


def _observed(entry: Entry, one: OnLine, found: Answer) -> dict[str, Any]:
    """What was observed kernel by kernel, and what the kernels say of themselves."""
    rows = {
        found.matrix.columns[index].kernel.id: cell.row
        for index in one.indices
        if entry.row is not None and (cell := entry.row.cells[index]) is not None
    }
    return {
        "states": {name: row.state for name, row in rows.items()},
        "claimed": {name: row.claimed for name, row in rows.items() if row.claimed is not None},
        "values": {name: row.value for name, row in rows.items() if row.value is not None},
    }


def _minimum(one: Minimum, found: Answer) -> dict[str, Any]:
    names = found.matrix.versions
    return {
        "works_from": exact_name(one.at, names) or None,
        # The series right before it lacks it: else an older kernel that nobody tested may have it
        "is_exact": one.kind is MinimumKind.EXACT,
        "not_on": exact_name(one.after, names) or None,
        "lost_by": exact_name(one.lost_by, names) or None,
        "unknown_on": [kernel.id for kernel in one.unknown],
    }
