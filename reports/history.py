"""Runs in time: what changed from each to the next, and the cells that were not always the same. Pure functions."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from reports.diff import Diff, Gate, diff, gate
from reports.errors import ResultsError
from reports.events import kernel_order
from reports.records import CellKey, Kernel, Result, Results, Status


@dataclass(frozen=True, slots=True)
class Step:
    """One run, and what changed since the one before it."""

    # Unique among the runs: when it began
    name: str
    # What the user called it
    source: str
    results: Results
    counts: Mapping[Status, int]
    # None for the first
    diff: Diff | None
    gate: Gate | None


@dataclass(frozen=True, slots=True)
class Mark:
    """What one run has of a cell."""

    # None where the run had no such cell
    row: Result | None
    # The release that was tested, where it is not that of the run before
    new_release: str | None


@dataclass(frozen=True, slots=True)
class Strip:
    """One cell over time."""

    key: CellKey
    title: str
    marks: tuple[Mark, ...]
    # In which run it passed for the first time; None if it never did
    first_pass: str | None


@dataclass(frozen=True, slots=True)
class Releases:
    """One kernel over time."""

    kernel: str
    # Per run; None where the run had no such kernel
    versions: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class History:
    """All of it, the oldest run first."""

    steps: tuple[Step, ...]
    # Cells whose verdict was not the same in every run that had them
    changed: tuple[Strip, ...]
    # How many cells always had the verdict that they have
    steady: int
    kernels: tuple[Releases, ...]


def history(runs: Iterable[tuple[str, Results]]) -> History:
    """Put runs in order and compare each with the one before it.

    Args:
        runs: what to call each, and its results, in any order. The same run given twice counts once.

    Raises:
        ResultsError: there are fewer than two runs.
    """
    ordered = _ordered(runs)
    if len(ordered) < 2:
        raise ResultsError("A history needs two runs or more: name several results.json, or directories with them.")
    names = _names([results.started for _, results in ordered])
    steps = [_step(names[0], *ordered[0])]
    for (old, new), name, before in zip(pairwise(ordered), names[1:], names, strict=False):
        found = diff(old[1], new[1], old_name=before, new_name=name)
        steps.append(_step(name, *new, found))
    changed, steady = _strips(steps)
    return History(tuple(steps), changed, steady, _releases(steps))


def _ordered(runs: Iterable[tuple[str, Results]]) -> list[tuple[str, Results]]:
    found: dict[tuple[datetime, tuple[str, ...]], tuple[str, Results]] = {}
    for source, results in runs:
        # A later copy of the same run may have been resumed: it knows more.
        found[results.started, results.command] = source, results
    return sorted(found.values(), key=lambda run: (run[1].started, run[0]))


def _names(times: Sequence[datetime]) -> list[str]:
    """Name runs by when they began, as parts of addresses; those of one second by number."""
    counts: Counter[str] = Counter()
    names = []
    for time in times:
        name = f"{time:%Y-%m-%dT%H%M%SZ}"
        counts[name] += 1
        names.append(name if counts[name] == 1 else f"{name}-{counts[name]}")
    return names


def _step(name: str, source: str, results: Results, found: Diff | None = None) -> Step:
    counts = Counter(row.status for row in results.results)
    return Step(name, source, results, counts, found, gate(found) if found else None)


def _strips(steps: Sequence[Step]) -> tuple[tuple[Strip, ...], int]:
    rows = [{row.key: row for row in step.results.results} for step in steps]
    kernels = [{kernel.id: kernel for kernel in step.results.kernels} for step in steps]
    titles = {test.id: test.title for step in steps for test in step.results.tests}
    # In the order of the newest run, then what only older ones have.
    keys = dict.fromkeys(key for own in reversed(rows) for key in own)
    changed, steady = [], 0
    for key in keys:
        cells = [own.get(key) for own in rows]
        looks = {(row.status, row.qualifiers) for row in cells if row is not None}
        if len(looks) == 1:
            steady += 1
            continue
        releases = [_release(own.get(key.kernel)) for own in kernels]
        marks = tuple(
            Mark(row, releases[index] if index and releases[index] != releases[index - 1] else None)
            for index, row in enumerate(cells)
        )
        passes = (step.name for step, row in zip(steps, cells, strict=True) if row and row.status is Status.PASS)
        changed.append(Strip(key, titles[key.test], marks, next(passes, None)))
    return tuple(changed), steady


def _releases(steps: Sequence[Step]) -> tuple[Releases, ...]:
    kernels = [{kernel.id: kernel for kernel in step.results.kernels} for step in steps]
    newest = {name: kernel for own in kernels for name, kernel in own.items()}
    return tuple(
        Releases(kernel.id, tuple(_release(own.get(kernel.id)) for own in kernels))
        for kernel in sorted(newest.values(), key=kernel_order)
    )


def _release(kernel: Kernel | None) -> str | None:
    return None if kernel is None else kernel.package_version or kernel.release or kernel.id
