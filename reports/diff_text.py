"""A diff in words, for whatever shows it: a terminal, Markdown, a page. Pure functions."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from reports.diff import GATES, Change, Diff, Entry, Gate, KernelPair
from reports.records import Kernel, Result
from reports.summary import one_line
from reports.wording import counted, found_of

HEADS = {
    Change.REGRESSION: "Regressions: passed, and does not any more",
    Change.NEW_FAILURE: "New failures",
    Change.NEWLY_FLAKY: "Newly flaky: it wavers, and did not before",
    Change.INCONCLUSIVE: "No verdict any more",
    Change.DISAPPEARED: "Not there any more",
    Change.UNKNOWN: "Not known: no verdict now, or none before to compare with",
    Change.STILL_FAILING: "Still failing",
    Change.FIXED: "Fixed",
    Change.NEW_PASS: "New passes",
    Change.APPEARED: "Not there before",
    Change.VALUE: "Other values",
    Change.OTHER: "Other changes of verdict",
}
# Of what was observed, where a test's words would say something else.
OBSERVED_HEADS = {
    Change.REGRESSION: "Capabilities lost: there, and not any more",
    Change.INCONCLUSIVE: "Capabilities not known any more",
    Change.DISAPPEARED: "Capabilities not looked for any more",
    Change.UNKNOWN: "Capabilities not known: not now, or not before",
    Change.NEW_PASS: "Capabilities gained",
    Change.APPEARED: "Capabilities not looked for before",
    Change.VALUE: "Limits with another value",
}
# Of what kernels list of themselves, by what it is to a gate.
LISTED_HEADS = {
    Change.REGRESSION: "Regressions by the kernels' own word: listed, and not any more",
    Change.INCONCLUSIVE: "Lists that there are not any more",
    Change.NEW_PASS: "Newly listed: by the kernels' own word, not tested",
}
# Of kernels with the same change, as many are named.
_NAMED_MAX = 3
# What is the same on all kernels or for all tests is said once.
_WHOLE = frozenset({Change.APPEARED, Change.DISAPPEARED, Change.UNKNOWN, Change.INCONCLUSIVE})
_GATE_WORDS = {
    "regression": ("regression", "regressions"),
    "flaky": ("newly flaky cell", "newly flaky cells"),
    "lost": ("verdict lost", "verdicts lost"),
    "unknown": ("cell with nothing to compare", "cells with nothing to compare"),
    "missing": ("cell missing", "cells missing"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table of changes."""

    test: str
    where: str
    was: str
    now: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """The changes of one kind."""

    # One of it on a page
    id: str
    # What it is to a gate
    change: Change
    head: str
    # Cells, or what is listed; a line may stand for many
    count: int
    lines: tuple[Line, ...]
    # Capabilities, and no tests
    is_observed: bool = False


def sections(found: Diff) -> tuple[Section, ...]:
    """Sort a diff's entries into tables, the worst first; what kernels say of themselves after what tests say."""
    made = []
    for change, head in HEADS.items():
        for is_capability in (False, True):
            entries = [
                entry for entry in found.entries if entry.change is change and entry.is_capability is is_capability
            ]
            if entries:
                name = f"observed-{change.value}" if is_capability else change.value
                own = OBSERVED_HEADS.get(change, f"Capabilities: {head}") if is_capability else head
                lines = tuple(_lines(change, entries, found))
                made.append(Section(name, change, own, len(entries), lines, is_observed=is_capability))
        if listed := _listed(change, found):
            lines = tuple(Line(one_line(name), _kernels(own, found), *said) for (name, *said), own in listed.items())
            count = sum(map(len, listed.values()))
            made.append(Section(f"listed-{change.value}", change, LISTED_HEADS[change], count, lines))
    return tuple(made)


def _listed(change: Change, found: Diff) -> Mapping[tuple[str, str, str], Sequence[str]]:
    """What became of what kernels list: its name, what was, what is; and on which kernels."""
    where: dict[tuple[str, str, str], list[str]] = {}
    for one in found.listed:
        facts = {
            Change.REGRESSION: [(name, "listed", "not listed") for name in one.lost],
            Change.INCONCLUSIVE: [(f"all {one.fact}", "listed", "not known")] if one.is_gone else [],
            Change.NEW_PASS: [(name, "not listed", "listed") for name in one.gained],
        }
        for fact in facts.get(change, ()):
            where.setdefault(fact, []).append(one.new_kernel)
    return where


def _kernels(names: Sequence[str], found: Diff) -> str:
    if len(found.kernels) == 1:
        return ""
    return one_line(", ".join(names)) if len(names) <= _NAMED_MAX else f"{len(names)} kernels"


def _lines(change: Change, entries: Sequence[Entry], found: Diff) -> Iterator[Line]:
    left = list(entries)
    if change in _WHOLE:
        for own in _groups(left, lambda entry: (entry.new_kernel, _now(entry), _reason(entry))):
            if len(own) > 1 and len(own) == found.cells[own[0].new_kernel, own[0].is_capability]:
                capabilities = sum(entry.is_capability for entry in own)
                yield Line(
                    f"all {counted(len(own) - capabilities, capabilities)}",
                    _where(own[0], found),
                    _were(own),
                    _now(own[0]),
                    _reason(own[0]),
                )
                left = [entry for entry in left if not any(entry is one for one in own)]
        for own in _groups(left, lambda entry: (entry.test, _was(entry), _now(entry), _reason(entry))):
            if len(own) > 1:
                yield Line(_title(own[0]), f"{len(own)} cells", _was(own[0]), _now(own[0]), _reason(own[0]))
                left = [entry for entry in left if not any(entry is one for one in own)]
    for entry in left:
        yield Line(_title(entry), _where(entry, found), _was(entry), _now(entry), _reason(entry))


def _groups(entries: Sequence[Entry], key: Callable[[Entry], Hashable]) -> list[list[Entry]]:
    grouped: dict[Hashable, list[Entry]] = {}
    for entry in entries:
        grouped.setdefault(key(entry), []).append(entry)
    return list(grouped.values())


def _title(entry: Entry) -> str:
    return one_line(entry.title)


def _where(entry: Entry, found: Diff) -> str:
    """The column, as far as there is a choice: what is the same on every line stands in the head."""
    parts = [entry.new_kernel] if len(found.kernels) > 1 else []
    if len(found.archs) > 1:
        parts.append(entry.arch)
    if len(found.modes) > 1:
        parts.append(entry.mode)
    return one_line(" ".join(parts))


def _was(entry: Entry) -> str:
    return _word(entry.old)


def _were(entries: Sequence[Entry]) -> str:
    """What several cells were: one word where it is the same, else each with its number."""
    counts = Counter(map(_was, entries))
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{count} {was}" for was, count in counts.items())


def _now(entry: Entry) -> str:
    return _word(entry.new)


def _word(row: Result | None) -> str:
    """A verdict; of what was observed, its own word or a limit's value."""
    if row is None:
        return "not there"
    return row.status.value if row.state is None else found_of(row)


def _reason(entry: Entry) -> str:
    reason = entry.new.reason if entry.new is not None else ""
    return one_line(f"(the test itself changed) {reason}" if entry.is_test_changed else reason)


def kernel_words(pair: KernelPair) -> str:
    """Name a kernel and what each side has of it: `6.1 (6.1.170-1 → 6.1.171-1)`."""
    name = next(kernel.id for kernel in (pair.new, pair.old) if kernel is not None)
    if pair.old is not None and pair.new is not None and pair.old.id != pair.new.id:
        name = f"{pair.old.id} → {pair.new.id}"
    before, after = _version(pair.old), _version(pair.new)
    return one_line(f"{name} ({before})" if before == after else f"{name} ({before} → {after})")


def _version(kernel: Kernel | None) -> str:
    if kernel is None:
        return "not there"
    return kernel.package_version or kernel.release or "version unknown"


def kernels_line(pairs: Sequence[KernelPair]) -> str:
    """Say which kernels there are; those that are the same on both sides in a word, if they are many."""
    same = [pair for pair in pairs if _version(pair.old) == _version(pair.new)]
    others = [kernel_words(pair) for pair in pairs if pair not in same]
    told = [kernel_words(pair) for pair in same]
    if others and len(same) > 3:
        told = [f"{len(same)} that are the same"]
    return ", ".join([*others, *told]) or "none"


def scope(found: Diff) -> str:
    """Over what a diff speaks."""
    total = sum(found.counts.values())
    where = ", ".join(part for part in (*found.archs, *found.modes) if part) if total else ""
    sentence = f"{found.compared:,} of {total:,} cells have a verdict on both sides"
    if len(found.archs) == 1 and len(found.modes) == 1:
        sentence += f" ({where})"
    unchanged = found.counts.get(Change.UNCHANGED, 0)
    return f"{sentence}; {unchanged:,} unchanged"


def conclusion(found: Diff, gate: Gate) -> str:
    """The last line: whether this is good, and what is known too little about to say so."""
    if gate.bad:
        observed = sum(entry.is_capability for entry in found.entries if entry.change in GATES["regression"])
        words = _counted({**gate.bad, **gate.holes})
        # The regressions stand first.
        of_them = f" ({observed:,} of capabilities)" if observed and "regression" in gate.bad else ""
        first, comma, rest = words.partition(", ")
        return f"worse: {first}{of_them}{comma}{rest}"
    if gate.is_empty:
        return "nothing was compared: no cell has a verdict on both sides"
    if gate.holes or gate.is_cut_off:
        reasons = [_counted(gate.holes)] if gate.holes else []
        reasons += ["the new run is incomplete"] if gate.is_cut_off else []
        return f"not known to be good: {', '.join(reasons)}"
    passed_over = sum(
        found.counts.get(change, 0) for change in (Change.INCONCLUSIVE, Change.UNKNOWN, Change.DISAPPEARED)
    )
    if passed_over:
        left = _cells(passed_over)
        return f"nothing worse among {_cells(found.compared)}; {left} could not be compared, which was not to count"
    if found.is_cut_off:
        return f"nothing worse among {_cells(found.compared)}; the new run is incomplete, which was not to count"
    return f"no regression: {_cells(found.compared)} compared, no verdict lost"


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count:,} cells"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {_GATE_WORDS[name][count != 1]}" for name, count in counts.items())
