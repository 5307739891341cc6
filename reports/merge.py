"""Make one results of several: one CI job per kernel, say. Nothing is merged that is not the same thing."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from reports.errors import ResultsError
from reports.events import in_order
from reports.expectation import OPEN, annotate
from reports.known_issues import united
from reports.provenance import Provenance, Runs, is_same_kernel, run_of, with_provenance
from reports.records import CellKey, Kernel, Mode, Result, Results, Test, combine


def merge(parts: Sequence[Results]) -> Results:
    """Merge results.

    Kernels keep their ids; where one id means different kernels, the first file keeps the name and the others get a
    longer one. Of two rows for one cell the newer run's counts, but a verdict beats `infra` and `notrun` if it can have
    been obtained with the same inputs. Two runs that contradict each other are no flaky test: something was mended or
    broken between them, and a note says where.

    Args:
        parts: at least one; their order decides only which of two different kernels keeps a contested id.

    Raises:
        ResultsError: no parts, or one mode id with different flags.
    """
    if not parts:
        raise ResultsError("There are no results to merge: name at least one results.json.")
    if len(parts) == 1:
        return parts[0]
    kernels: dict[str, Kernel] = {}
    renamed: list[tuple[Results, dict[str, str]]] = []
    for part in parts:
        names: dict[str, str] = {}
        for kernel in part.kernels:
            own = with_provenance(kernel, part)
            name = _free_id(own, kernels)
            names[kernel.id] = name
            kernels[name] = _newer(kernels.get(name), msgspec.structs.replace(own, id=name))
        renamed.append((part, names))

    by_age = sorted(renamed, key=lambda item: item[0].started)
    found: list[tuple[Result, Kernel]] = []
    runs = Runs()
    for part, names in by_age:
        run_names = _run_names(part, names, kernels, runs)
        provenance = Provenance(part)
        for row in part.results:
            moved = msgspec.structs.replace(row, kernel=names[row.kernel], run=run_names[row.run, row.kernel])
            found.append((moved, with_provenance(provenance.kernel_of(row), part)))
    rows, contradicted = _newest(found)

    newest = by_age[-1][0]
    finished = [part.finished for part in parts if part.finished]
    first = parts[0]
    merged = Results(
        generator=newest.generator,
        started=min(part.started for part in parts),
        finished=max(finished) if len(finished) == len(parts) else None,
        complete=all(part.complete for part in parts),
        command=first.command,
        host=first.host,
        kernels=tuple(kernels.values()),
        tests=_tests([part for part, _ in by_age]),
        modes=_modes(parts),
        # The newest description of each
        capabilities=tuple({one.id: one for part, _ in by_age for one in part.capabilities}.values()),
        known_issues=united(*(part.known_issues for part, _ in by_age)),
        results=tuple(rows.values()),
        notes=tuple(dict.fromkeys([*(note for part in parts for note in part.notes), *_contradictions(contradicted)])),
        runs=runs.named_by(rows.values()),
    )
    return annotate(in_order(merged))


def _newest(found: Iterable[tuple[Result, Kernel]]) -> tuple[dict[CellKey, Result], dict[str, set[CellKey]]]:
    """Choose the row that counts for each cell.

    Args:
        found: rows, each with its kernel as its run knew it. A file may hold rows of runs that are older than itself.

    Returns:
        The rows, and for each kernel the cells in which a newer verdict contradicts an older one.
    """
    chosen: dict[CellKey, tuple[Result, Kernel]] = {}
    contradicted: dict[str, set[CellKey]] = {}
    # Every one has a start by now.
    for row, kernel in sorted(found, key=lambda item: item[1].started.timestamp() if item[1].started else 0.0):
        older, its_kernel = chosen.get(row.key, (None, kernel))
        if older is not None and not {older.status, row.status} & OPEN and older.status is not row.status:
            contradicted.setdefault(row.kernel, set()).add(row.key)
        is_settled = older is not None and _have_same_inputs(older, its_kernel, row, kernel)
        if older is not None and is_settled and row.status in OPEN and older.status not in OPEN:
            continue
        if older is not None and is_settled and {older.status, row.status} & OPEN:
            # What infrastructure prevented stays visible as an attempt.
            chosen[row.key] = combine(older, row, is_rerun=True), kernel
        else:
            chosen[row.key] = row, kernel
    return {key: row for key, (row, _) in chosen.items()}, contradicted


def _have_same_inputs(one: Result, its_kernel: Kernel, other: Result, other_kernel: Kernel) -> bool:
    """Say whether two rows can have been obtained with the same. What is not known contradicts nothing."""
    shared = its_kernel.inputs.keys() & other_kernel.inputs.keys()
    if any(its_kernel.inputs[name] != other_kernel.inputs[name] for name in shared):
        return False
    return None in {one.inputs, other.inputs} or one.inputs == other.inputs


def _contradictions(found: Mapping[str, Collection[CellKey]]) -> list[str]:
    notes = []
    for kernel, cells in found.items():
        what = "1 verdict" if len(cells) == 1 else f"{len(cells):,} verdicts"
        verb = "is" if len(cells) == 1 else "are"
        notes.append(
            f"{what} of {kernel} {verb} another one in an earlier of the merged runs: the "
            "newest counts, and `uring-matrix diff` of the files says which"
        )
    return notes


def _run_names(
    part: Results, names: Mapping[str, str], chosen: Mapping[str, Kernel], runs: Runs
) -> dict[tuple[str | None, str], str | None]:
    """Say by which id a file's rows name their runs once it is merged.

    Args:
        part: the file.
        names: what its kernels are called in the merged one.
        chosen: the merged kernels. A row whose column has another file's record has to name its own run.
        runs: those of the merged file; added to.

    Returns:
        From what a row says, and its kernel.
    """
    found: dict[tuple[str | None, str], str | None] = {}
    for kernel in part.kernels:
        own = msgspec.structs.replace(with_provenance(kernel, part), id=names[kernel.id])
        is_chosen = chosen[own.id] == own
        found[None, kernel.id] = None if is_chosen else runs.add(run_of(own, part))
    for run in part.runs:
        moved = tuple(msgspec.structs.replace(kernel, id=names[kernel.id]) for kernel in run.kernels)
        name = runs.add(msgspec.structs.replace(run, kernels=moved))
        found |= {(run.id, kernel.id): name for kernel in part.kernels}
    return found


def _free_id(kernel: Kernel, taken: dict[str, Kernel]) -> str:
    """Find the id under which this kernel is or can be listed: the plain one, or one that says what differs."""
    other = taken.get(kernel.id)
    suffix = f"-{kernel.arch}" if other and other.arch != kernel.arch else ""
    candidates = [kernel.id]
    if suffix:
        candidates.append(kernel.id + suffix)
    if kernel.release and other and other.release != kernel.release:
        candidates.append(kernel.release + suffix)
    if kernel.package_version and other and other.package_version != kernel.package_version:
        candidates.append(f"{kernel.id}-{kernel.package_version}{suffix}")
    if kernel.sha256:
        candidates.append(f"{kernel.id}-{kernel.sha256[:12]}{suffix}")
    for candidate in candidates:
        if candidate not in taken or is_same_kernel(taken[candidate], kernel):
            return candidate
    raise ResultsError(
        f"Kernel id {kernel.id!r} stands for different kernels, and nothing in the files tells them apart. "
        "Merge fewer files, or run with distinct --kernel specs."
    )


def _newer(older: Kernel | None, kernel: Kernel) -> Kernel:
    """Choose the record of a kernel that several files have: one that booted, then the newer."""
    if older is None:
        return kernel
    return max(older, kernel, key=lambda one: (one.booted, one.started is not None and one.started.timestamp()))


def _tests(by_age: Iterable[Results]) -> tuple[Test, ...]:
    """Collect the tests in the order of the newest description of each."""
    tests: dict[str, Test] = {}
    for part in by_age:
        tests.update((test.id, test) for test in part.tests)
    return tuple(tests.values())


def _modes(parts: Iterable[Results]) -> tuple[Mode, ...]:
    """Collect the modes; one name with two meanings cannot be shown in one column."""
    modes: dict[str, Mode] = {}
    for part in parts:
        for mode in part.modes:
            known = modes.setdefault(mode.id, mode)
            if set(known.flags) != set(mode.flags):
                raise ResultsError(
                    f"Mode {mode.id!r} means {', '.join(known.flags) or 'no flags'} in one file and "
                    f"{', '.join(mode.flags) or 'no flags'} in another. These results cannot be merged."
                )
    return tuple(modes.values())
