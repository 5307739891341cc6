"""Whether capabilities are there, in words: the rows of a table and the sentences beneath it. Pure functions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reports.can import Answer, OnKernel, OnLine
from reports.capabilities import Basis, Entry, exercised_by
from reports.distributions import Distribution, distribution_of
from reports.folding import fold_by
from reports.matrix import MinimumKind, Outcome, exact_name, together
from reports.records import Kernel, State
from reports.untrusted import visible
from reports.versions import parse_series
from reports.wording import OBSERVED, listed, minimum_text, verdict_of, without_verdict

_UNKNOWN = "?"
_BASES = {Basis.TESTED: "tested", Basis.OBSERVED: "observed", Basis.STATED: "listed"}
_NO_TEST = {Basis.OBSERVED: "observed whether the kernel knows it", Basis.STATED: "by the kernels' own word"}
_OUTCOMES = {Outcome.PASSES: "yes", Outcome.LACKS: "no", Outcome.OPEN: "not known"}


@dataclass(frozen=True, slots=True)
class Mark:
    """One cell: a character, and what it means."""

    symbol: str
    word: str
    # As that of a verdict: `good`, `plain`, `bad`, `open`
    tone: str


@dataclass(frozen=True, slots=True)
class TableRow:
    """One capability."""

    title: str
    group: str
    documented: str
    works_from: str
    marks: tuple[Mark, ...]
    symbols: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table, still without widths."""

    # Of the columns of kernels
    heads: tuple[str, ...]
    rows: tuple[TableRow, ...]


def table(found: Answer, one: OnLine, *, is_folded: bool) -> Table:
    """Make the table of an architecture and mode.

    Args:
        found: the answer.
        one: its part.
        is_folded: put neighbouring kernels that have the same marks throughout into one column.
    """
    asked = dict.fromkeys(index for kernel in one.on for index in kernel.indices)
    indices = sorted(asked) if one.on else list(one.indices)
    heads = [(index, found.matrix.columns[index].name) for index in indices]
    if is_folded and not one.on:
        folds = fold_by(found.matrix, one.line, lambda index: tuple(_mark(entry, index) for entry in found.entries))
        heads = [(fold.first, fold.name) for fold in folds]
    return Table(
        tuple(visible(name) for _, name in heads),
        tuple(
            TableRow(
                visible(entry.title),
                visible(entry.group),
                visible(entry.documented or ""),
                _works_from(entry, found, one),
                tuple(_mark(entry, index) for index, _ in heads),
                visible(", ".join(entry.symbols)),
            )
            for entry in found.entries
        ),
    )


def _works_from(entry: Entry, found: Answer, one: OnLine) -> str:
    told = minimum_text(entry.minimums[one.line], found.matrix.versions)
    return visible(" ".join(filter(None, (told.figure, ", ".join(told.notes)))))


def _mark(entry: Entry, index: int) -> Mark:
    match entry.outcomes[index]:
        case Outcome.OPEN:
            off = OBSERVED[State.OFF]
            return (
                Mark(off.symbol, "switched off", off.tone)
                if entry.is_off(index)
                else Mark(_UNKNOWN, "not known", "open")
            )
        case Outcome.PASSES:
            return Mark("✓", "yes", "good")
    cell = entry.row.cells[index] if entry.row is not None else None
    if cell is None:
        return Mark("\N{EN DASH}", "no", "plain")
    verdict = verdict_of(cell.row)
    return Mark(verdict.symbol, "no" if verdict.tone == "plain" else verdict.word, verdict.tone)


def legend(shown: Table) -> str:
    """Say what the marks mean that a table has."""
    used = dict.fromkeys(mark for row in shown.rows for mark in row.marks)
    return ", ".join(f"{mark.symbol} {mark.word}" for mark in used)


def sentences(found: Answer, one: OnLine) -> list[str]:
    """Say what follows from a table, most important first."""
    told: list[str] = []
    if one.on:
        told += [_on_kernel(kernel, found, one) for kernel in one.on]
    elif not found.is_list:
        told.append(_requirement(found, one))
    told += _without_test(found)
    if not one.on:
        told += _untested(found, one)
    told += [f"{visible(text)}." for text in without_verdict([found.matrix.columns[index] for index in one.indices])]
    return told


def _requirement(found: Answer, one: OnLine) -> str:
    """Which kernel has all of it: by the documentation, by the tests, and whose kernels those are."""
    entries, names = found.entries, found.matrix.versions
    tested = one.requirement.tested
    documented = f"documented {one.requirement.documented}" if one.requirement.documented else ""
    if not documented and any(entry.documented for entry in entries):
        documented = f"not documented for {listed([entry.title for entry in entries if not entry.documented])}"
    bases = [basis for basis in Basis if any(entry.basis is basis for entry in entries)]
    words = " or ".join(_BASES[basis] for basis in bases)
    match tested.kind:
        case MinimumKind.NEVER:
            said = "on no tested kernel"
        case MinimumKind.UNKNOWN:
            said = "not known of any tested kernel"
        case _:
            older = f" (not on {exact_name(tested.after, names)})" if tested.after else ""
            said = f"{words} from {exact_name(tested.at, names)} on{older}"
    if tested.lost_by:
        said += f", lost by {exact_name(tested.lost_by, names)}"
    if tested.earlier_passes:
        said += f", and earlier on {listed([exact_name(kernel, names) for kernel in tested.earlier_passes])}"
    if one.holes:
        said += f", but not known of {listed([exact_name(kernel, names) for kernel in one.holes])}"
    whose = _distributions(one)
    return visible(f"{_all(entries)}: {', '.join(filter(None, (documented, said)))}{f': {whose}' if whose else ''}.")


def _all(entries: Sequence[Entry]) -> str:
    if len(entries) == 1:
        return entries[0].title
    return {2: "both", 3: "all three", 4: "all four", 5: "all five"}.get(len(entries), f"all {len(entries)}")


def _distributions(one: OnLine) -> str:
    by_outcome = {
        outcome: [distribution.name for distribution, own in one.distributions if own is outcome] for outcome in Outcome
    }
    parts = [
        listed(by_outcome[Outcome.PASSES]),
        f"not {listed(by_outcome[Outcome.LACKS], 'or')}" if by_outcome[Outcome.LACKS] else "",
        f"not known of {listed(by_outcome[Outcome.OPEN], 'or')}" if by_outcome[Outcome.OPEN] else "",
    ]
    return ", ".join(filter(None, parts))


def _on_kernel(kernel: OnKernel, found: Answer, one: OnLine) -> str:
    entries, asked = found.entries, kernel.asked
    if not kernel.indices:
        whose = asked.distribution
        name = _with_series(whose) if whose is not None else asked.text
        has, lacks = ("has it", "lacks it") if len(entries) == 1 else ("has all", "lacks some of them")
        around = [
            f"{_kernel(neighbour, found)} {has if outcome is Outcome.PASSES else lacks}"
            for neighbour, outcome in ([] if found.is_list else kernel.beside)
        ]
        carries = "its kernels carry much of later ones" if whose is not None and not whose.is_mainline_like else ""
        return visible("; ".join(filter(None, (f"{name}: not known: not tested", ", ".join(around), carries))) + ".")
    by_outcome: dict[Outcome, list[int]] = {}
    for index in kernel.indices:
        by_outcome.setdefault(together(entry.outcomes[index] for entry in entries), []).append(index)
    if found.is_list:
        parts = [f"{_count_of(entries, index)} on {_kernel_at(index, found)}" for index in kernel.indices]
        return visible("; ".join(parts) + ".")
    parts = []
    for outcome, indices in by_outcome.items():
        names = listed([_kernel_at(index, found) for index in indices])
        if outcome is Outcome.OPEN and (reasons := _reasons(entries, indices)):
            parts.append(f"{names}: {listed(reasons)}")
        else:
            told = _missing(entries, outcome, indices) or _values(entries, indices)
            parts.append(f"{names}: {_OUTCOMES[outcome]}{told}")
    return visible("; ".join(parts) + ".")


def _values(entries: Sequence[Entry], indices: Sequence[int]) -> str:
    """A limit's values, where it is one."""
    row = entries[0].row if len(entries) == 1 else None
    cells = (row.cells[index] for index in indices) if row is not None else ()
    values = dict.fromkeys(f"{cell.row.value:,}" for cell in cells if cell is not None and cell.row.value is not None)
    return f" ({listed(list(values))})" if values else ""


def _reasons(entries: Sequence[Entry], indices: Sequence[int]) -> list[str]:
    """Say why it is neither yes nor no: what it is switched off by, what would be needed to tell."""
    found: dict[str, None] = {}
    for entry in entries:
        name = f"{entry.title}: " if len(entries) > 1 else ""
        for index in indices:
            if entry.outcomes[index] is Outcome.OPEN:
                reason = entry.why_open(index)
                word = "off" if entry.is_off(index) else "not known"
                why = reason.partition(": ")[2] if entry.is_observed else reason
                found[f"{name}{word}: {why}" if why else f"{name}{word}"] = None
    return list(found)


def _missing(entries: Sequence[Entry], outcome: Outcome, indices: Sequence[int]) -> str:
    """Which of several it is that is not there, or not known."""
    if outcome is Outcome.PASSES or len(entries) == 1:
        return ""
    titles = [entry.title for entry in entries if any(entry.outcomes[index] is outcome for index in indices)]
    return f" ({listed(titles)})"


def _count_of(entries: Sequence[Entry], index: int) -> str:
    there = sum(entry.outcomes[index] is Outcome.PASSES for entry in entries)
    unknown = sum(entry.outcomes[index] is Outcome.OPEN for entry in entries)
    return f"{there:,} of {len(entries):,}" + (f", {unknown:,} not known," if unknown else "")


def _kernel_at(index: int, found: Answer) -> str:
    return _kernel(found.matrix.columns[index].kernel, found)


def _kernel(kernel: Kernel, found: Answer) -> str:
    whose = distribution_of(kernel)
    return exact_name(kernel, found.matrix.versions) + (f" ({whose.name})" if whose is not None else "")


def _without_test(found: Answer) -> Iterator[str]:
    """Say what is no test: what was observed, and what kernels list of themselves."""
    for basis, said in _NO_TEST.items():
        own = [entry for entry in found.entries if entry.basis is basis]
        if own and found.is_list:
            yield visible(f"{listed(list(dict.fromkeys(entry.group for entry in own)))}: {said}, which is no test.")
            continue
        by_tests: dict[str, list[str]] = {}
        for entry in own:
            tests = listed([one.id for one in exercised_by(entry, found.known)])
            by_tests.setdefault(f"tested by {tests}" if tests else "no test is about it", []).append(entry.title)
        for by_what, titles in by_tests.items():
            yield visible(f"{listed(titles)}: {said}; {by_what}.")


def _untested(found: Answer, one: OnLine) -> Iterator[str]:
    """Name the distributions that were not tested; what their version says, where that is something."""
    documented = parse_series(one.requirement.documented)
    groups: dict[str, list[Distribution]] = {}
    for distribution in found.untested:
        series = parse_series(distribution.series)
        if found.is_list or documented is None or series is None:
            said = "not tested"
        elif not distribution.is_mainline_like:
            said = "not tested; their kernels carry much of later ones, so that their version says little"
        elif series < documented:
            said = "not tested; older than documented"
        else:
            said = "not tested; not older than documented"
        groups.setdefault(said, []).append(distribution)
    for said, own in groups.items():
        yield f"{', '.join(map(_with_series, own))}: {said}."


def _with_series(distribution: Distribution) -> str:
    return f"{distribution.name} ({distribution.series})"
