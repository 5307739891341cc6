"""One cell in words: its verdict, what that rests on, the kernel's messages, and the command that repeats it."""

import dataclasses
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from reports.can import ids
from reports.capabilities import Basis, Entry, entries, find, nearest
from reports.consoles import console_file
from reports.distributions import distribution_of
from reports.errors import ResultsError
from reports.expectation import Expectation
from reports.kernel_lookup import named, not_tested
from reports.matrix import Cell, Column, Outcome, derive, exact_name
from reports.provenance import Provenance
from reports.records import Kernel, Result, Results
from reports.reproduction import kernel_spec
from reports.untrusted import excerpt, visible
from reports.wording import (
    OWN_WORD,
    against_documentation,
    equal_attempts,
    found_of,
    listed,
    qualifier_words,
    span,
    told,
    verdict_of,
)

# What stands in a console where a test begins, by which the part of a test is found.
MARK = "uring-matrix: begins "
# Of a console's end: more is in the file.
_CONSOLE_BYTES_MAX = 4 << 20
_LAST_LINES = 20
_LINES_MAX = 200
_LINE_CHARACTERS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Found:
    """A cell, or what a kernel lists of itself in the place of one."""

    entry: Entry
    column: Column
    # As the run knew it that the verdict is from
    kernel: Kernel
    # None where no test is what it rests on
    cell: Cell | None
    outcome: Outcome
    # Where it is found in the kernel's facts
    fact: str = ""

    @property
    def expectation(self) -> Expectation:
        """How it stands to what is documented."""
        if self.cell is not None:
            return self.cell.expectation
        return Expectation.OPEN if self.outcome is Outcome.OPEN else Expectation.AS_EXPECTED


@dataclass(frozen=True, slots=True)
class Passage:
    """Text beneath a head of its own."""

    head: str
    lines: tuple[str, ...]
    # Its lines are somebody's own; else they may be broken anywhere
    is_quoted: bool = True
    # Nothing of it is left out, however long it is
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class CellText:
    """Everything about one cell, safe to be shown on a terminal."""

    title: str
    symbol: str
    verdict: str
    tone: str
    # Sentences: the reason, what is documented
    sentences: tuple[str, ...]
    passages: tuple[Passage, ...]


def cells(
    results: Results, kernel: str, test: str, *, mode: str | None = None, arch: str | None = None
) -> tuple[Found, ...]:
    """Find the cells that somebody means.

    Args:
        results: what was found.
        kernel: what they call the kernel.
        test: what they call the test or capability; a test's id as pytest writes it, too.
        mode: a ring mode, if not each.
        arch: an architecture, if not each.

    Returns:
        In the order of the columns; of several tests, one after another.

    Raises:
        ResultsError: there is no such cell; the message has the nearest that there is.
    """
    matrix = derive(results)
    asked = named(kernel, results.kernels)
    if not asked.kernels:
        raise ResultsError(not_tested(asked, results.kernels))
    wanted = _tests(test, entries(results, matrix))
    names = {one.id for one in asked.kernels}
    columns = [(index, column) for index, column in enumerate(matrix.columns) if column.kernel.id in names]
    for what, given, there in (
        ("mode", mode, [column.mode.id for _, column in columns]),
        ("architecture", arch, [column.kernel.arch for _, column in columns]),
    ):
        if given is not None and given not in there:
            raise ResultsError(
                f"{kernel} was not tested in the {what} {given!r}; there is {listed([*dict.fromkeys(there)])}"
            )
    chosen = [
        (index, column)
        for index, column in columns
        if column.mode.id == (mode or column.mode.id) and column.kernel.arch == (arch or column.kernel.arch)
    ]
    provenance = Provenance(results)
    facts = {one.id: f"{one.fact} {one.value}" for one in results.capabilities}
    found = []
    for entry in wanted:
        if entry.row is None:
            # What a kernel lists is the same in every mode.
            by_kernel = {column.kernel.id: (index, column) for index, column in reversed(chosen)}
            found += [
                Found(entry, column, column.kernel, None, entry.outcomes[index], facts[entry.id])
                for index, column in reversed(by_kernel.values())
            ]
            continue
        for index, column in chosen:
            if (cell := entry.row.cells[index]) is not None:
                found.append(Found(entry, column, provenance.kernel_of(cell.row), cell, entry.outcomes[index]))
    if not found:
        raise ResultsError(f"{ids(wanted)} was not run on {kernel}: no cell was planned there")
    return tuple(found)


def _tests(text: str, known: Sequence[Entry]) -> Sequence[Entry]:
    """The tests that are meant; what kernels list of themselves, only if no test is."""
    for name in (text, text.rpartition("::")[2], text.rpartition("::")[2].partition("[")[0]):
        by_id = [one for one in known if one.row is not None and name in {one.row.test.id, one.row.test.node}]
        # A test may be called what is observed beside it: it says more.
        by_id = by_id if any(one.basis is Basis.TESTED for one in by_id) else []
        if found := by_id or find(name, known) or [one for one in known if _is_node(one, name)]:
            return [one for one in found if one.basis is Basis.TESTED] or found
    near = nearest(text, known)
    hint = f"; nearest: {ids(near)}" if near else "; `uring-matrix tests` lists all"
    raise ResultsError(f"nothing is called {text!r} in these results{hint}")


def _is_node(entry: Entry, name: str) -> bool:
    return entry.row is not None and entry.row.test.node == name


def console_of(kernel: Kernel, directory: Path) -> tuple[Path, str] | None:
    """Read the end of a kernel's console.

    Args:
        kernel: its record.
        directory: that of the results.

    Returns:
        The file and its text; None if there is none below that directory: results may be of any origin.
    """
    file = console_file(kernel, directory)
    if file is None:
        return None
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - _CONSOLE_BYTES_MAX))
            return file, stream.read().decode("utf-8", "surrogateescape")
    except OSError:
        return None


def console_part(text: str, found: Found) -> list[str]:
    """The lines that came while a test ran; those of all its attempts."""
    test = found.entry.row.test if found.entry.row is not None else None
    if test is None or test.node is None:
        return []
    begin = f"{MARK}{test.node}, mode {found.column.mode.id}"
    lines: list[str] = []
    is_inside = False
    for line in text.splitlines():
        if MARK in line:
            is_inside = line.rstrip().endswith(begin)
        if is_inside:
            lines.append(line)
    return lines


def text_of(found: Found, directory: Path, *, has_whole_console: bool = False) -> CellText:
    """Put a cell into words.

    Args:
        found: the cell.
        directory: that of the results, where consoles are.
        has_whole_console: show all of the console, and not the part of the test.
    """
    passages = [*_passages(found), *_console(found, directory, has_whole_console=has_whole_console), *_beneath(found)]
    shown = tuple(dataclasses.replace(one, head=visible(one.head), lines=_shown(one)) for one in passages)
    title = f"{found.entry.title} on {_where(found)}"
    if found.cell is None or found.entry.row is None:
        word = {Outcome.PASSES: "listed", Outcome.LACKS: "not listed", Outcome.OPEN: "not known"}[found.outcome]
        symbol, tone = {
            Outcome.PASSES: ("✓", "good"),
            Outcome.LACKS: ("\N{EN DASH}", "plain"),
            Outcome.OPEN: ("?", "open"),
        }[found.outcome]
        return CellText(visible(title), symbol, word, tone, (_stated(found),), shown)
    row = found.cell.row
    verdict = verdict_of(row)
    words = ", ".join([found_of(row), *qualifier_words(row, found.kernel)])
    said = against_documentation(
        found.entry.row.test, found.column.mode, found.kernel, found.cell.expectation, found.cell.issue
    )
    return CellText(
        visible(title),
        verdict.symbol,
        visible(words),
        verdict.tone,
        tuple(visible(excerpt(text)) for text in (row.reason, _claim(row), " ".join(said)) if text),
        shown,
    )


def _claim(row: Result) -> str:
    """What the kernel says of itself about something that was observed."""
    if row.state is None:
        return ""
    if row.claimed is None:
        return "The kernel says nothing of it itself."
    verb = "has" if row.claimed else "lacks"
    against = ", which is not what was observed" if row.is_contradicted else ""
    return f"By the kernel's own word it {verb} it{against}."


def _shown(passage: Passage) -> tuple[str, ...]:
    text = "\n".join(passage.lines)
    return tuple(visible(text if passage.is_whole else excerpt(text)).split("\n"))


def _where(found: Found) -> str:
    kernel, mode = found.column.kernel, found.column.mode
    whose = distribution_of(kernel)
    name = exact_name(kernel, {kernel.id: found.column.name})
    facts = [*([whose.name] if whose is not None else []), kernel.arch, f"mode {mode.id}"]
    return f"{name} ({', '.join(facts)})"


def _stated(found: Found) -> str:
    fact, _, value = found.fact.partition(" ")
    there = found.kernel.features.get(fact)
    if not isinstance(there, list | tuple):
        return visible(f"This kernel could not be asked for its {fact}.")
    is_there = "" if found.outcome is Outcome.PASSES else "not "
    return visible(f"By the kernel's own word: {value} is {is_there}among the {len(there):,} {fact} that it lists.")


def _passages(found: Found) -> Iterator[Passage]:
    if found.cell is None:
        return
    row = found.cell.row
    said = told(row)
    for head, text in (("Expected", said.expected), ("Found", said.found)):
        if text:
            yield Passage(head, (text,))
    # What the kernel says of itself has been said.
    evidence = tuple(line for line in said.evidence if row.claimed is None or not line.startswith(OWN_WORD))
    if evidence:
        yield Passage("Evidence", evidence)
    if row.dmesg:
        yield Passage("Kernel messages", row.dmesg)
    if found.kernel.error and not found.kernel.booted and found.kernel.source != "host":
        yield Passage("Why there is no verdict", (found.kernel.error,))
    if row.output:
        yield Passage("What the test printed", (row.output,))
    if len(row.attempts) > 1:
        yield Passage(
            f"{len(row.attempts):,} attempts",
            tuple(
                " ".join(filter(None, (f"{one.numbers}:", one.attempt.status, one.attempt.reason, one.took)))
                for one in equal_attempts(row.attempts)
            ),
        )


def _console(found: Found, directory: Path, *, has_whole_console: bool) -> Iterator[Passage]:
    # The end of the guest that the test took down: what came later is of another one.
    own = found.cell.row.console_tail if found.cell is not None else ()
    tail = own or found.kernel.console_tail
    console = console_of(found.kernel, directory)
    if console is None:
        if tail:
            yield Passage("The end of the console", tail)
        elif found.kernel.console is not None:
            yield Passage("Console", (f"{found.kernel.console} is not there",))
        return
    file, text = console
    if has_whole_console:
        yield Passage(f"Console, {file}", tuple(text.splitlines()), is_whole=True)
    elif own:
        yield Passage(f"The end of the console, from {file}", own)
    elif part := console_part(text, found):
        yield Passage(f"Console while the test ran, from {file}", tuple(_bounded(part)), is_whole=True)
    elif tail:
        yield Passage(f"The end of the console, from {file}", tail)
    elif found.cell is not None and found.outcome is not Outcome.PASSES and found.cell.row.state is None:
        last = tuple(_bounded(text.splitlines()[-_LAST_LINES:]))
        yield Passage(f"The end of the console, from {file}", last, is_whole=True)
    else:
        yield Passage("Console", (str(file),))


def _bounded(lines: Sequence[str]) -> Iterator[str]:
    """What fits on a few screens; the file has the rest."""
    if (more := len(lines) - _LINES_MAX) > 0:
        yield f"[… {more:,} lines left out here; --console shows them …]"
    for line in lines[-_LINES_MAX:]:
        left_out = len(line) - _LINE_CHARACTERS_MAX
        yield line if left_out <= 0 else f"{line[:_LINE_CHARACTERS_MAX]} [… {left_out:,} characters left out here …]"


def _beneath(found: Found) -> Iterator[Passage]:
    if found.cell is None or found.entry.row is None:
        yield Passage("Ask it again", (shlex.join(["uring-matrix", "probe", kernel_spec(found.kernel)]),))
        return
    row, test = found.cell.row, found.entry.row.test
    command = row.reproduce or "there is no command: an older version made these results, and recorded none"
    yield Passage("Repeat it", (command,), is_quoted=row.reproduce is not None)
    facts = [test.id, test.source and f"in {test.source}", test.zig and f"Zig's `{test.zig}`"]
    took = f"took {span(row.duration_s)}" if row.duration_s else ""
    lines = (", ".join(filter(None, facts)), ", ".join(test.symbols), took)
    yield Passage("Test", tuple(filter(None, lines)), is_quoted=False)


def as_builtins(found: Sequence[Found], directory: Path, *, has_whole_console: bool = False) -> dict[str, Any]:
    """Return cells as plain objects for `--json`."""
    return {"schema_version": 1, "cells": [_cell(one, directory, has_whole_console) for one in found]}


def _cell(found: Found, directory: Path, has_whole_console: bool) -> dict[str, Any]:
    console = console_of(found.kernel, directory)
    file, text = console if console is not None else (None, "")
    lines = text.splitlines() if has_whole_console else console_part(text, found)
    whose = distribution_of(found.column.kernel)
    return {
        "id": found.entry.id,
        "title": found.entry.title,
        "symbols": list(found.entry.symbols),
        "basis": found.entry.basis.value,
        "kernel": found.column.kernel.id,
        "release": found.kernel.release,
        "distribution": whose.name if whose is not None else None,
        "arch": found.column.kernel.arch,
        "mode": found.column.mode.id,
        "outcome": {Outcome.PASSES: "yes", Outcome.LACKS: "no", Outcome.OPEN: "unknown"}[found.outcome],
        "expectation": found.expectation.value,
        # The row of results.json; null for what a kernel lists of itself
        "result": msgspec.to_builtins(found.cell.row) if found.cell is not None else None,
        "error": found.kernel.error,
        "console": str(file) if file is not None else None,
        "console_lines": [line.encode("utf-8", "backslashreplace").decode() for line in lines],
    }
