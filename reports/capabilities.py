"""What a reader looks for, by kernel, in one form: what tests show, what was observed, what kernels list of themselves.

Pure functions from a matrix. That a kernel knows something is less than that it works, and its own word is a claim and
no proof: which of the three a line rests on, it says.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from reports.matrix import Column, Line, Matrix, Minimum, Outcome, Row, minimum, together
from reports.records import Capability, Results, State
from reports.versions import parse_series


class Basis(StrEnum):
    """What is known from where; what says more comes first."""

    # It works: a test ran in each kernel.
    TESTED = "tested"
    # The kernel knows it: a request was answered with something else than "never heard of it".
    OBSERVED = "observed"
    # The kernel's own word: its probe, its feature bits
    STATED = "stated"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a table of capabilities."""

    # Part of an address, stable from run to run
    id: str
    title: str
    kind: str
    basis: Basis
    symbols: tuple[str, ...]
    # Another name that readers know it by: the title of the Zig test
    alias: str | None
    group: str
    documented: str | None
    # Per column of the matrix
    outcomes: tuple[Outcome, ...]
    minimums: Mapping[Line, Minimum]
    # Where a test is what it rests on, or what was observed
    row: Row | None = None

    @property
    def is_observed(self) -> bool:
        """Whether it was observed, not tested."""
        return self.basis is Basis.OBSERVED

    @property
    def has_values(self) -> bool:
        """Whether it is a limit."""
        if not self.is_observed or self.row is None:
            return False
        return any(cell is not None and cell.row.value is not None for cell in self.row.cells)

    def why_open(self, index: int) -> str:
        """Why a column says neither yes nor no: what it is switched off by, what would be needed to tell."""
        cell = self.row.cells[index] if self.row is not None else None
        return cell.row.reason if cell is not None and cell.outcome is Outcome.OPEN else ""

    def is_off(self, index: int) -> bool:
        """Whether a column's kernel knows it, and has it switched off."""
        cell = self.row.cells[index] if self.row is not None else None
        return cell is not None and cell.row.state == State.OFF


def entries(results: Results, matrix: Matrix) -> tuple[Entry, ...]:
    """Everything that the results know something about: what was tested in row order, what was observed, the rest.

    What was observed takes the place of what kernels merely list, under the same id.
    """
    tested = [_of_row(row, entry_id(row.test.id), Basis.TESTED) for row in matrix.tests]
    names = {one.id for one in tested}
    observed = [
        # A test of the same name was there first, and keeps its address.
        _of_row(row, f"observed-{row.test.id}" if row.test.id in names else row.test.id, Basis.OBSERVED)
        for row in matrix.capabilities
    ]
    taken = names | {row.test.id for row in matrix.capabilities}
    stated = [
        _stated(one, matrix)
        for one in results.capabilities
        if one.id not in taken and any(_lists(column, one) for column in matrix.columns)
    ]
    return (*tested, *observed, *stated)


def entry_id(test_id: str) -> str:
    """The id of what a test shows: `test_accept_multishot` is `accept-multishot`."""
    return test_id.removeprefix("test_").replace("_", "-")


def _of_row(row: Row, identifier: str, basis: Basis) -> Entry:
    test = row.test
    return Entry(
        id=identifier,
        title=test.title,
        kind=test.kind,
        basis=basis,
        symbols=test.symbols,
        alias=test.zig if test.zig != test.title else None,
        group=test.group or "Tests",
        documented=test.since,
        outcomes=row.outcomes,
        minimums=row.minimums,
        row=row,
    )


def _stated(capability: Capability, matrix: Matrix) -> Entry:
    outcomes = tuple(_stated_outcome(column, capability) for column in matrix.columns)
    return Entry(
        id=capability.id,
        title=capability.title,
        kind=capability.kind,
        basis=Basis.STATED,
        symbols=capability.symbols,
        alias=None,
        group=f"{capability.kind.capitalize()}s",
        documented=capability.since,
        outcomes=outcomes,
        minimums={
            line: minimum([(column.kernel, outcomes[index]) for index, column in matrix.line_columns(line)])
            for line in matrix.lines
        },
    )


def _lists(column: Column, capability: Capability) -> bool:
    return isinstance(column.kernel.features.get(capability.fact), list | tuple)


def _stated_outcome(column: Column, capability: Capability) -> Outcome:
    """What a kernel's own list says; nothing if it could not be asked."""
    if not _lists(column, capability):
        return Outcome.OPEN
    return Outcome.PASSES if capability.value in column.kernel.features[capability.fact] else Outcome.LACKS


# -- finding them ------------------------------------------------------------------------------------------------------


def find(text: str, among: Iterable[Entry]) -> tuple[Entry, ...]:
    """What somebody means by a few words: `accept-multishot`, `IORING_OP_FTRUNCATE`, `buffer ring`, a Zig title.

    Returns:
        One entry where an id, a title or a symbol is meant exactly, or where all others that have the words are more
        special; else every entry that has all the words.
    """
    wanted = _words(text)
    if not wanted:
        return ()
    found = list(among)
    # A test says more than what was observed, and that more than the kernel's own word.
    if named := [one for one in found if wanted in map(_words, _exact_names(one))]:
        return (min(named, key=lambda one: list(Basis).index(one.basis)),)
    # A symbol by itself is what kernels know; the tests that use it are about more.
    if of_symbol := [one for one in found if wanted in map(_words, _symbol_names(one))]:
        return general(tuple([one for one in of_symbol if one.basis is not Basis.TESTED] or of_symbol))
    # A symbol that several tests exercise is what those are about that name it early.
    places = [(place, one) for one in found if (place := _place(wanted, one)) is not None]
    if places:
        first = min(place for place, _ in places)
        return general(tuple(one for place, one in places if place == first))
    titled = tuple(one for one in found if set(wanted) <= set(_words(one.title)))
    return general(titled or tuple(one for one in found if set(wanted) <= _all_words(one)))


def nearest(text: str, among: Iterable[Entry], count: int = 3) -> tuple[Entry, ...]:
    """What somebody may have meant by a text that nothing is called by: names that look like it, the closest first."""
    named = {" ".join(_words(name)): one for one in among for name in (*one.symbols[:1], *_exact_names(one))}
    plain = " ".join(_words(text))
    # By a symbol's own part as well: the part that all have would make everything look like it.
    named |= {" ".join(_words(name)): one for one in named.values() for name in _symbol_names(one)[1:]}
    close = difflib.get_close_matches(plain, named, n=3 * count, cutoff=0.5)
    return tuple({named[name].id: named[name] for name in close}.values())[:count]


def exercised_by(entry: Entry, among: Iterable[Entry]) -> tuple[Entry, ...]:
    """The tests that are about what kernels know: of those that exercise its symbol, the ones that name it earliest."""
    symbol = _words(entry.symbols[0]) if entry.symbols else ()
    tests = (one for one in among if one.basis is Basis.TESTED)
    places = [(place, one) for one in tests if (place := _place(symbol, one)) is not None]
    first = min((place for place, _ in places), default=0)
    return tuple(one for place, one in places if place == first)


def general(found: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """One entry where the titles of all others go on from its title: `accept, multishot`."""
    titles = {one.id: _words(one.title) for one in found}
    for one in found:
        own = titles[one.id]
        if all(title[: len(own)] == own for title in titles.values()):
            return (one,)
    return found


def _place(wanted: tuple[str, ...], entry: Entry) -> int | None:
    return next((place for place, symbol in enumerate(entry.symbols) if _words(symbol) == wanted), None)


def _exact_names(entry: Entry) -> tuple[str, ...]:
    test = (entry.row.test.id,) if entry.row is not None else ()
    return (entry.id, entry.title, *test, *([entry.alias] if entry.alias else ()))


def _symbol_names(entry: Entry) -> tuple[str, ...]:
    """The symbol that an entry is about, in full, and without what all symbols of its kind begin with."""
    if not entry.symbols:
        return ()
    first = entry.symbols[0]
    return (first, re.sub(r"^IO(RING|U|SQE)_(OP_|FEAT_|SETUP_)?", "", first))


def _all_words(entry: Entry) -> set[str]:
    return {word for name in (*_exact_names(entry), *entry.symbols) for word in _words(name)}


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-z0-9]+", text.lower()))


# -- the kernel to require ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Requirement:
    """The kernel that has several capabilities together."""

    # From which tested kernel on all of them are there, for one architecture and mode
    tested: Minimum
    # The newest of the documented first kernels; None where one of them has none
    documented: str | None


def requirement(wanted: Sequence[Entry], matrix: Matrix, line: Line) -> Requirement:
    """Say which kernel to require for all of some capabilities."""
    outcomes = [
        (column.kernel, together(one.outcomes[index] for one in wanted)) for index, column in matrix.line_columns(line)
    ]
    versions = [(parse_series(one.documented), one.documented) for one in wanted]
    is_documented = all(version is not None for version, _ in versions)
    return Requirement(
        minimum(outcomes),
        max(versions, key=lambda one: one[0] or (0, 0))[1] if versions and is_documented else None,
    )
