"""What changed between two runs, or between two kernels, and whether that is good: pure functions.

One kind of change per cell. What a gate says is as much about what could not be compared as about what could: nothing
is green above a hole.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from reports import kernel_lookup
from reports.errors import ResultsError
from reports.events import kernel_order
from reports.pairing import same_kernels
from reports.records import CellKey, Kernel, Qualifier, Result, Results, Status
from reports.stated import Listed, compared, symbols
from reports.storage import read

# Verdicts that say nothing about the kernel: an error is the test's own fault.
INCONCLUSIVE = frozenset({Status.SKIP, Status.ERROR, Status.INFRA, Status.NOTRUN})
FAILURES = frozenset({Status.FAIL, Status.TIMEOUT, Status.CRASH})
# Of those without a verdict: the ones where nobody chose to have none.
HOLES = INCONCLUSIVE - {Status.SKIP}


class Change(StrEnum):
    """How a cell changed; in the order in which a reader wants to know."""

    # It passed, and does not any more.
    REGRESSION = "regression"
    # It fails, and neither passed nor failed before.
    NEW_FAILURE = "new-failure"
    # It wavers, and did not before.
    NEWLY_FLAKY = "newly-flaky"
    STILL_FAILING = "still-failing"
    # It had a verdict, and has none now.
    INCONCLUSIVE = "inconclusive"
    # It has none, and had none before; or it is no pass, and there is nothing that it could be held against.
    UNKNOWN = "unknown"
    # It failed, and passes now.
    FIXED = "fixed"
    # It passes, and neither passed nor failed before.
    NEW_PASS = "new-pass"  # noqa: S105 (no password)
    APPEARED = "appeared"
    DISAPPEARED = "disappeared"
    # A limit is another one than before.
    VALUE = "value"
    # Any other change of verdict, such as from fail to unsupported.
    OTHER = "other"
    UNCHANGED = "unchanged"


# What makes a gate say no, by --fail-on's name for it: what is bad, and counts always, and what is a hole.
BAD = frozenset({Change.REGRESSION, Change.NEW_FAILURE, Change.NEWLY_FLAKY})
GATES: Mapping[str, frozenset[Change]] = {
    "regression": frozenset({Change.REGRESSION, Change.NEW_FAILURE}),
    "flaky": frozenset({Change.NEWLY_FLAKY}),
    "lost": frozenset({Change.INCONCLUSIVE}),
    "unknown": frozenset({Change.UNKNOWN}),
    "missing": frozenset({Change.DISAPPEARED}),
}


def classify(old: Status | None, new: Status | None) -> Change:
    """Name the change from one verdict to another; None where there is no such cell."""
    if new is None:
        return Change.DISAPPEARED
    if new in HOLES and (old is None or old in INCONCLUSIVE):
        return Change.UNKNOWN
    if new in FAILURES and old is not Status.PASS:
        return Change.STILL_FAILING if old in FAILURES else Change.NEW_FAILURE
    if old is None:
        return Change.APPEARED
    if new in INCONCLUSIVE and old not in INCONCLUSIVE:
        return Change.INCONCLUSIVE
    if new is Status.PASS:
        if old is Status.PASS:
            return Change.UNCHANGED
        return Change.FIXED if old in FAILURES else Change.NEW_PASS
    if old in HOLES:
        return Change.UNKNOWN
    if old is Status.PASS:
        return Change.REGRESSION
    return Change.UNCHANGED if old is new else Change.OTHER


@dataclass(frozen=True, slots=True)
class Entry:
    """One cell on both sides."""

    change: Change
    test: str
    title: str
    # The ids on either side, which differ when two columns are compared
    old_kernel: str
    new_kernel: str
    arch: str
    mode: str
    old: Result | None
    new: Result | None
    # The test's own text differs as well, so that the kernel may not be the cause
    is_test_changed: bool = False
    # It was observed, not tested
    is_capability: bool = False


@dataclass(frozen=True, slots=True)
class KernelPair:
    """A kernel on both sides; None where a side has none of that name."""

    old: Kernel | None
    new: Kernel | None


@dataclass(frozen=True, slots=True)
class Diff:
    """All changes, and what else differs between the sides."""

    old: str
    new: str
    # Without the unchanged cells, in the order of `Change`, then of the new side's rows
    entries: tuple[Entry, ...]
    # Every cell counted, the unchanged ones included
    counts: Mapping[Change, int]
    # Differences other than the kernels that may explain a change
    caveats: tuple[str, ...]
    # The kernels of both sides, those of one name together
    kernels: tuple[KernelPair, ...] = ()
    # Cells with a verdict about the kernel on both sides: what the comparison speaks of
    compared: int = 0
    # How many cells each column has on either side, by the new side's name for the kernel and whether they are observed
    cells: Mapping[tuple[str, bool], int] = field(default_factory=dict)
    # What kernels that are on both sides list of themselves, where it is not the same
    listed: tuple[Listed, ...] = ()
    # Architectures and modes that there are, on both sides together
    archs: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    # The new side did not come to its end, and may have had cells that nobody counts
    is_cut_off: bool = False

    @property
    def is_worse(self) -> bool:
        """There is a regression, a new failure or a newly flaky cell, or a kernel does not list what it did."""
        return any(self.counts.get(change, 0) for change in BAD) or any(one.lost for one in self.listed)


@dataclass(frozen=True, slots=True)
class Gate:
    """What a comparison means for whoever has to decide."""

    # Kinds of `GATES` that were asked for and occur, with their numbers
    bad: Mapping[str, int]
    holes: Mapping[str, int]
    # Not one cell has a verdict on both sides: nothing was compared
    is_empty: bool
    # The new side is incomplete, and that was to count
    is_cut_off: bool = False

    @property
    def is_green(self) -> bool:
        """Nothing speaks against it."""
        return not (self.bad or self.holes or self.is_empty or self.is_cut_off)


def gate(found: Diff, fail_on: Collection[str] = tuple(GATES)) -> Gate:
    """Decide whether a diff is good.

    Args:
        found: the diff.
        fail_on: the kinds of `GATES` that count; what is bad counts whether it is named or not.
    """
    counts = {name: sum(found.counts.get(change, 0) for change in changes) for name, changes in GATES.items()}
    # A program that asks the kernel finds what it needs no more, whether there is a test of it or not.
    counts["regression"] += sum(len(one.lost) for one in found.listed)
    counts["lost"] += sum(one.is_gone for one in found.listed)
    return Gate(
        bad={name: count for name, count in counts.items() if count and GATES[name] <= BAD},
        holes={name: count for name, count in counts.items() if count and not GATES[name] <= BAD and name in fail_on},
        is_empty=not found.compared,
        is_cut_off=found.is_cut_off and "unknown" in fail_on,
    )


def diff(old: Results, new: Results, *, old_name: str = "old", new_name: str = "new") -> Diff:
    """Compare two runs, cell by cell: same test, kernel, architecture and mode.

    Kernels are the same by their id, or else by their image; see `reports.pairing`.
    """
    there = same_kernels(old.kernels, new.kernels)
    here = {before: after for after, before in there.items()}
    old_rows = {row.key._replace(kernel=here.get(row.kernel, row.kernel)): row for row in old.results}
    new_rows = {row.key: row for row in new.results}
    keys = [*new_rows, *(key for key in old_rows if key not in new_rows)]
    pairs = _pairs(old.kernels, new.kernels, here)
    caveats = _caveats(old, new)
    for pair in pairs:
        if pair.old is not None and pair.new is not None:
            caveats += _kernel_changes(pair.old, pair.new)
    tests = _Tests(old, new)
    entries = [
        _entry(tests, key, there.get(key.kernel, key.kernel), old_rows.get(key), new_rows.get(key)) for key in keys
    ]
    listed = _listed(old, new, pairs)
    # A column of such a run may be whole: this is about runs alone.
    return _diff(old_name, new_name, entries, caveats, pairs, listed, is_cut_off=not new.complete)


def diff_columns(
    old: Results,
    old_kernel: str,
    new: Results,
    new_kernel: str,
    *,
    old_name: str | None = None,
    new_name: str | None = None,
) -> Diff:
    """Compare two kernels, from one file or two: same test and mode.

    Raises:
        ResultsError: a kernel is not in its file.
    """
    sides = []
    for results, kernel in ((old, old_kernel), (new, new_kernel)):
        record = _kernel(results, kernel)
        rows = {(row.test, row.mode): row for row in results.results if row.kernel == record.id}
        sides.append((record, rows))
    (old_record, old_rows), (new_record, new_rows) = sides
    caveats = _caveats(old, new)
    if old_record.arch != new_record.arch:
        caveats.append(f"the architecture differs: {old_record.arch}, {new_record.arch}")
    keys = [*new_rows, *(key for key in old_rows if key not in new_rows)]
    tests = _Tests(old, new)
    entries = [
        _entry(
            tests,
            CellKey(test, new_record.id, new_record.arch, mode),
            old_record.id,
            old_rows.get((test, mode)),
            new_rows.get((test, mode)),
        )
        for test, mode in keys
    ]
    pairs = (KernelPair(old_record, new_record),)
    return _diff(old_name or old_kernel, new_name or new_kernel, entries, caveats, pairs, _listed(old, new, pairs))


@dataclass(frozen=True, slots=True)
class Side:
    """What is compared: a run, or one of its columns."""

    # What a text calls it
    name: str
    results: Results
    # The column's kernel; None for all that there are
    kernel: str | None = None


def read_side(text: str) -> Side:
    """Read what an argument names: a results.json (or its directory), or FILE#kernel for one column.

    A file whose own name has a # is taken as it is.

    Raises:
        ResultsError: the file or the kernel is not there.
    """
    path, separator, kernel = text.rpartition("#")
    if not (path if separator else text).strip():
        raise ResultsError(f"{text!r} names no file; . is the current directory (is a variable not set?)")
    if Path(text).exists() or not separator:
        return Side(text, read(text))
    results = read(path)
    _kernel(results, kernel)
    return Side(text, results, kernel)


def diff_sides(old: Side, new: Side) -> Diff:
    """Compare two runs, or two columns; a run of one kernel is a column, too, where the other side is one.

    Raises:
        ResultsError: only one side names a kernel and the other has several.
    """
    old_kernel, new_kernel = old.kernel, new.kernel
    only = [_only_kernel(side.results) for side in (old, new)]
    if old_kernel or new_kernel or (all(only) and only[0] != only[1]):
        old_kernel, new_kernel = old_kernel or only[0], new_kernel or only[1]
    if bool(old_kernel) != bool(new_kernel):
        side = new if old_kernel else old
        raise ResultsError(
            f"{old.name} and {new.name} cannot be compared: one is a kernel, the other a run of several. Write "
            f"{side.name}#KERNEL; it has {', '.join(kernel.id for kernel in side.results.kernels)}."
        )
    names = {"old_name": old.name, "new_name": new.name}
    if old_kernel and new_kernel:
        return diff_columns(old.results, old_kernel, new.results, new_kernel, **names)
    return diff(old.results, new.results, **names)


def diff_files(old: str, new: str) -> Diff:
    """Compare what two arguments name; see `read_side` and `diff_sides`, which say what they raise."""
    return diff_sides(read_side(old), read_side(new))


def as_builtins(found: Diff) -> dict[str, Any]:
    """Return a diff as plain objects for `--json`."""
    return {
        "old": found.old,
        "new": found.new,
        "is_worse": found.is_worse,
        "compared": found.compared,
        "kernels": [{"old": _kernel_facts(pair.old), "new": _kernel_facts(pair.new)} for pair in found.kernels],
        "counts": {change.value: count for change, count in found.counts.items()},
        "caveats": list(found.caveats),
        "listed": [
            {
                "old_kernel": one.old_kernel,
                "new_kernel": one.new_kernel,
                "fact": one.fact,
                "gained": list(one.gained),
                "lost": list(one.lost),
                "is_known": not one.is_gone,
            }
            for one in found.listed
        ],
        "entries": [
            {
                "change": entry.change.value,
                "test": entry.test,
                "title": entry.title,
                "is_capability": entry.is_capability,
                "old_kernel": entry.old_kernel,
                "new_kernel": entry.new_kernel,
                "arch": entry.arch,
                "mode": entry.mode,
                "old": _verdict(entry.old),
                "new": _verdict(entry.new),
                "is_test_changed": entry.is_test_changed,
            }
            for entry in found.entries
        ],
    }


def _kernel_facts(kernel: Kernel | None) -> dict[str, Any] | None:
    if kernel is None:
        return None
    return {
        "id": kernel.id,
        "arch": kernel.arch,
        "release": kernel.release,
        "package_version": kernel.package_version,
        "sha256": kernel.sha256,
    }


def _verdict(row: Result | None) -> dict[str, Any] | None:
    if row is None:
        return None
    observed = {"state": row.state, "claimed": row.claimed, "value": row.value} if row.state is not None else {}
    return {"status": row.status.value, "reason": row.reason, "qualifiers": list(row.qualifiers), **observed}


def _only_kernel(results: Results) -> str | None:
    return results.kernels[0].id if len(results.kernels) == 1 else None


def _kernel(results: Results, name: str) -> Kernel:
    return kernel_lookup.only(name, results.kernels)


class _Tests:
    """The descriptions of the tests on both sides."""

    def __init__(self, old: Results, new: Results) -> None:
        self.old = {test.id: test for test in old.tests}
        self.new = {test.id: test for test in new.tests}

    def title(self, test: str) -> str:
        known = self.new.get(test) or self.old.get(test)
        return known.title if known else test

    def is_capability(self, test: str) -> bool:
        """Whether it is observed, and no test."""
        known = self.new.get(test) or self.old.get(test)
        return known is not None and known.is_capability

    def is_changed(self, test: str) -> bool:
        """Say whether both sides know the test's text and it is not the same."""
        old, new = self.old.get(test), self.new.get(test)
        return bool(old and new and old.code and new.code and old.code != new.code)


def _entry(tests: _Tests, key: CellKey, old_kernel: str, before: Result | None, after: Result | None) -> Entry:
    return Entry(
        change=_change(before, after),
        test=key.test,
        title=tests.title(key.test),
        old_kernel=old_kernel,
        new_kernel=key.kernel,
        arch=key.arch,
        mode=key.mode,
        old=before,
        new=after,
        is_test_changed=tests.is_changed(key.test),
        is_capability=tests.is_capability(key.test),
    )


def _change(before: Result | None, after: Result | None) -> Change:
    change = classify(before.status if before else None, after.status if after else None)
    if change is Change.UNCHANGED and _has_other_value(before, after):
        change = Change.VALUE
    is_newly_flaky = after is not None and _is_flaky(after) and not (before is not None and _is_flaky(before))
    found = Change.NEWLY_FLAKY if is_newly_flaky and change not in BAD else change
    # What is written down as known fails no gate; it is listed all the same.
    is_known = after is not None and Qualifier.KNOWN_ISSUE in after.qualifiers
    return Change.OTHER if found in BAD and is_known else found


def _has_other_value(before: Result | None, after: Result | None) -> bool:
    """Whether a limit is known on both sides, and is not the same."""
    values = {row.value for row in (before, after) if row is not None}
    return len(values) == 2 and None not in values


def _is_flaky(row: Result) -> bool:
    return Qualifier.FLAKY in row.qualifiers


def _pairs(old: Sequence[Kernel], new: Sequence[Kernel], here: Mapping[str, str]) -> tuple[KernelPair, ...]:
    """Pair the kernels of two runs.

    Args:
        old: those of one.
        new: those of the other.
        here: what the new run calls kernels of the old one, where that is something else.
    """
    before = {here.get(kernel.id, kernel.id): kernel for kernel in old}
    after = {kernel.id: kernel for kernel in new}
    order = sorted((*before.items(), *after.items()), key=lambda item: kernel_order(item[1]))
    return tuple(KernelPair(before.get(name), after.get(name)) for name in dict.fromkeys(name for name, _ in order))


def _listed(old: Results, new: Results, pairs: Iterable[KernelPair]) -> tuple[Listed, ...]:
    """Compare what kernels list of themselves that are on both sides, by the names in the headers.

    What was observed on both sides is compared as that, and not once more by the kernels' own word.
    """
    observed = _observed(old) & _observed(new)
    known = {(one.fact, one.value) for one in (*old.capabilities, *new.capabilities) if one.id in observed}
    names = {**symbols(old.capabilities), **symbols(new.capabilities)}
    found = []
    for pair in pairs:
        if pair.old is None or pair.new is None:
            continue
        for one in compared(pair.old, pair.new):
            gained, lost = (
                tuple(names.get((one.fact, name), name) for name in own if (one.fact, name) not in known)
                for own in (one.gained, one.lost)
            )
            if gained or lost or one.is_gone:
                found.append(replace(one, gained=gained, lost=lost))
    return tuple(found)


def _observed(results: Results) -> set[str]:
    return {test.id for test in results.tests if test.is_capability}


def _is_compared(entry: Entry) -> bool:
    rows = (entry.old, entry.new)
    return all(row is not None and row.status not in INCONCLUSIVE for row in rows)


def _diff(
    old: str,
    new: str,
    entries: list[Entry],
    caveats: list[str],
    kernels: tuple[KernelPair, ...],
    listed: tuple[Listed, ...],
    *,
    is_cut_off: bool = False,
) -> Diff:
    order = list(Change)
    counts = Counter(entry.change for entry in entries)
    modes = tuple(dict.fromkeys(entry.mode for entry in entries))
    there = {entry.mode for entry in entries if entry.new is not None}
    # Else it would be a matter of many lines below.
    caveats = [*caveats, *(f"mode {mode} is not in the new run" for mode in modes if there and mode not in there)]
    shown = [entry for entry in entries if entry.change is not Change.UNCHANGED]
    return Diff(
        old=old,
        new=new,
        entries=tuple(sorted(shown, key=lambda entry: order.index(entry.change))),
        counts={change: counts[change] for change in order if counts[change]},
        caveats=tuple(caveats),
        kernels=kernels,
        compared=sum(_is_compared(entry) for entry in entries),
        cells=Counter((entry.new_kernel, entry.is_capability) for entry in entries),
        archs=tuple(sorted({entry.arch for entry in entries})),
        listed=listed,
        modes=modes,
        is_cut_off=is_cut_off,
    )


def _caveats(old: Results, new: Results) -> list[str]:
    """Name differences between the runs that may be the cause of a change."""
    pairs = {
        "the suite": (old.generator.commit or old.generator.version, new.generator.commit or new.generator.version),
        "the accelerator": (old.host.accel, new.host.accel),
        "QEMU": (old.host.qemu_version or old.host.qemu, new.host.qemu_version or new.host.qemu),
    }
    caveats = [f"{what} differs: {before}, {after}" for what, (before, after) in pairs.items() if before != after]
    caveats += [f"the {side} run is incomplete" for side, run in (("old", old), ("new", new)) if not run.complete]
    return caveats


def _kernel_changes(old: Kernel, new: Kernel) -> list[str]:
    """Say of a kernel that both runs call by one name and version that it is another one nevertheless."""
    before, after = (kernel.package_version or kernel.release for kernel in (old, new))
    if before == after and old.sha256 and new.sha256 and old.sha256 != new.sha256:
        return [f"{new.id} is another image of the same version"]
    return []
