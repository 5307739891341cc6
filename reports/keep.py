"""What a run that covers less leaves alone: cells of earlier runs, kept beside its own and never passed off as them.

Pure functions: `kept` says what of an earlier file a run keeps, `with_kept` puts it beside what the run found.
"""

from collections.abc import Collection, Iterable, Sequence

import msgspec

from reports.expectation import OPEN
from reports.known_issues import still_valid, united
from reports.provenance import Runs, is_same_kernel, run_of, with_provenance
from reports.records import CellKey, Kernel, Mode, Result, Results, Status, Test, combine

_replace = msgspec.structs.replace


def kept(earlier: Results, own: Collection[CellKey], continued: Collection[CellKey] = ()) -> Results | None:
    """What stays of an earlier file beside a run.

    Args:
        earlier: what lies in the directory.
        own: the cells that the run is about to judge.
        continued: those of them that the earlier run, too, tried to judge with the same inputs: where infrastructure
            prevented it, the row is kept as an attempt.

    Returns:
        The earlier file without what the run replaces, every column with its provenance; None if nothing is left. The
        tests of what the run replaces stay: their order is one with that of the others.
    """
    rows = tuple(
        row for row in earlier.results if row.key not in own or (row.status is Status.INFRA and row.key in continued)
    )
    left = _with_rows(earlier, rows)
    tests = {cell.test for cell in (*own, *(row.key for row in rows))}
    return _replace(left, tests=tuple(test for test in earlier.tests if test.id in tests)) if rows else None


def part(results: Results, keys: Collection[CellKey], *, is_done: bool) -> Results:
    """Some cells of a file as if they were all of it: what an exit code is to speak of.

    Args:
        results: the whole file.
        keys: the cells.
        is_done: whether the run that was to judge them came to its end, and knows of no hole.
    """
    rows = tuple(row for row in results.results if row.key in keys)
    complete = is_done and bool(rows) and all(row.status is not Status.NOTRUN for row in rows)
    kernels = {row.kernel for row in rows}
    return _replace(
        results,
        results=rows,
        kernels=tuple(kernel for kernel in results.kernels if kernel.id in kernels),
        complete=complete,
    )


def kept_sentence(results: Results, own: Collection[CellKey]) -> str | None:
    """Say what a file holds beside a run's own cells, if anything."""
    rows = [row for row in results.results if row.key not in own]
    if not rows:
        return None
    kernels = list(dict.fromkeys(row.kernel for row in rows))
    cells = "1 cell" if len(rows) == 1 else f"{len(rows):,} cells"
    names = f"{len(kernels)} kernels" if len(kernels) > 3 else ", ".join(kernels)
    return f"{cells} of an earlier run {'is' if len(rows) == 1 else 'are'} kept: {names}"


def with_kept(own: Results, earlier: Results) -> Results:
    """Put what is kept beside what a run found.

    A column is one image: where the run's kernel is another one than the earlier run's of that name, the earlier
    verdicts are dropped, with a sentence. The same holds for a mode that means something else now.

    Args:
        own: what the run found, in order.
        earlier: what `kept` returned.
    """
    earlier, notes = _of_the_same_kernels(own, earlier)
    columns = {kernel.id: kernel for kernel in own.kernels}
    shared = {kernel.id for kernel in earlier.kernels if kernel.id in columns}
    runs, names = _runs(earlier, shared)
    rows = {row.key: row for row in own.results}
    beside: list[Result] = []
    for row in earlier.results:
        named = _replace(row, run=row.run or names[row.kernel]) if row.kernel in shared else row
        if row.key not in rows:
            beside.append(named)
        elif rows[row.key].status is Status.NOTRUN:
            rows[row.key] = named
        else:
            rows[row.key] = combine(named, rows[row.key], is_rerun=True)
    all_rows = [*rows.values(), *beside]
    used = {test.id for test in own.tests} | {row.test for row in all_rows}
    return _replace(
        own,
        kernels=(*own.kernels, *(kernel for kernel in earlier.kernels if kernel.id not in columns)),
        tests=tuple(test for test in _in_one_order(own.tests, earlier.tests) if test.id in used),
        modes=_modes(own.modes, earlier.modes),
        capabilities=tuple({one.id: one for one in (*earlier.capabilities, *own.capabilities)}.values()),
        known_issues=united(still_valid(earlier, own, {row.key for row in beside}), own.known_issues),
        results=tuple(all_rows),
        runs=runs.named_by(all_rows),
        notes=tuple(dict.fromkeys((*earlier.notes, *own.notes, *notes))),
        complete=own.complete and not any(row.status in OPEN for row in beside),
    )


def _with_rows(earlier: Results, rows: tuple[Result, ...]) -> Results:
    """A file with some of its rows, and of all else what they need."""
    kernels, tests, modes = ({getattr(row, name) for row in rows} for name in ("kernel", "test", "mode"))
    runs = {row.run for row in rows}
    return _replace(
        earlier,
        results=rows,
        kernels=tuple(with_provenance(kernel, earlier) for kernel in earlier.kernels if kernel.id in kernels),
        tests=tuple(test for test in earlier.tests if test.id in tests),
        modes=tuple(mode for mode in earlier.modes if mode.id in modes),
        runs=tuple(run for run in earlier.runs if run.id in runs),
    )


def _of_the_same_kernels(own: Results, earlier: Results) -> tuple[Results, list[str]]:
    """Drop what an earlier run found about another kernel, or in another mode, of the same name; say so."""
    columns = {kernel.id: kernel for kernel in own.kernels}
    modes = {mode.id: mode for mode in own.modes}
    others = {
        kernel.id: kernel
        for kernel in earlier.kernels
        if kernel.id in columns and not is_same_kernel(kernel, columns[kernel.id])
    }
    meanings = {mode.id for mode in earlier.modes if mode.id in modes and set(mode.flags) != set(modes[mode.id].flags)}
    rows = tuple(row for row in earlier.results if row.kernel not in others and row.mode not in meanings)
    if len(rows) == len(earlier.results):
        return earlier, []
    notes = []
    for name, kernel in others.items():
        count = sum(row.kernel == name for row in earlier.results)
        notes.append(
            f"{name} is another kernel than in an earlier run ({_which(kernel)} then, {_which(columns[name])} now): "
            f"{_verdicts(count)} of that run {'is' if count == 1 else 'are'} dropped"
        )
    for name in sorted(meanings):
        count = sum(row.mode == name and row.kernel not in others for row in earlier.results)
        notes.append(
            f"the mode {name} sets other flags than in an earlier run: {_verdicts(count)} of that run "
            f"{'is' if count == 1 else 'are'} dropped"
        )
    return _with_rows(earlier, rows), notes


def _which(kernel: Kernel) -> str:
    """Name a kernel so that it differs from another one of its name."""
    name = kernel.package_version or kernel.release or kernel.series
    return f"{name}, image {kernel.sha256[:12]}" if kernel.sha256 else name


def _verdicts(count: int) -> str:
    return "1 verdict" if count == 1 else f"{count:,} verdicts"


def _runs(earlier: Results, shared: Collection[str]) -> tuple[Runs, dict[str, str]]:
    """The runs that rows of shared columns are from.

    Returns:
        All of them, and the run's id for each shared column whose rows name none yet.
    """
    runs = Runs(earlier.runs)
    unnamed = {row.kernel for row in earlier.results if row.run is None} & set(shared)
    names = {kernel.id: runs.add(run_of(kernel, earlier)) for kernel in earlier.kernels if kernel.id in unnamed}
    return runs, names


def _in_one_order(own: Sequence[Test], earlier: Sequence[Test]) -> tuple[Test, ...]:
    """Put two lists of tests into one order: the longer one's, the rest behind what they follow in theirs."""
    records = {test.id: test for test in (*earlier, *own)}
    base, rest = (own, earlier) if len(own) >= len(earlier) else (earlier, own)
    order = [test.id for test in base]
    known = set(order)
    place = 0
    for test in rest:
        if test.id in known:
            place = order.index(test.id) + 1
        else:
            order.insert(place, test.id)
            place += 1
    return tuple(records[name] for name in order)


def _modes(own: Iterable[Mode], earlier: Iterable[Mode]) -> tuple[Mode, ...]:
    records = {mode.id: mode for mode in earlier}
    records.update((mode.id, mode) for mode in own)
    return tuple(records.values())
