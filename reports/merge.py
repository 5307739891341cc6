"""Make one results of several: one CI job per kernel, say. Nothing is merged that is not the same thing."""

from collections.abc import Iterable, Sequence

import msgspec

from reports.errors import ResultsError
from reports.expectation import annotate
from reports.journal import kernel_order
from reports.records import CellKey, Kernel, Mode, Result, Results, Test, combine

# What makes two columns of the same name the same kernel. What is not known on one side contradicts nothing.
IDENTITY = ("arch", "sha256", "release", "package_version")


def merge(parts: Sequence[Results]) -> Results:
    """Merge results.

    Kernels keep their ids; where one id means different kernels, the first file keeps the name and the others get a
    longer one. Two rows for one cell: the same verdict keeps the newer row, a verdict beats `infra` and `notrun`, and
    a contradiction keeps the worse one, marked as flaky, with all attempts.

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
            own = _with_provenance(kernel, part)
            name = _free_id(own, kernels)
            names[kernel.id] = name
            kernels[name] = _newer(kernels.get(name), msgspec.structs.replace(own, id=name))
        renamed.append((part, names))

    by_age = sorted(renamed, key=lambda item: item[0].started)
    rows: dict[CellKey, Result] = {}
    for part, names in by_age:
        for row in part.results:
            moved = msgspec.structs.replace(row, kernel=names[row.kernel])
            older = rows.get(moved.key)
            rows[moved.key] = combine(older, moved, is_rerun=True) if older else moved

    newest = by_age[-1][0]
    finished = [part.finished for part in parts if part.finished]
    first = parts[0]
    ordered = sorted(kernels.values(), key=kernel_order)
    tests = _tests([part for part, _ in by_age])
    modes = _modes(parts)
    return annotate(
        Results(
            generator=newest.generator,
            started=min(part.started for part in parts),
            finished=max(finished) if len(finished) == len(parts) else None,
            complete=all(part.complete for part in parts),
            command=first.command,
            host=first.host,
            kernels=tuple(ordered),
            tests=tests,
            modes=modes,
            results=_in_order(rows, ordered, tests, modes),
            notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        )
    )


def _with_provenance(kernel: Kernel, part: Results) -> Kernel:
    """Write into the kernel what so far only the head of its file says."""
    return msgspec.structs.replace(
        kernel,
        generator=kernel.generator or part.generator,
        host=kernel.host or part.host,
        command=kernel.command or part.command,
        started=kernel.started or part.started,
        finished=kernel.finished or part.finished,
    )


def _is_same(left: Kernel, right: Kernel) -> bool:
    """Say whether two kernels of one id can be the same kernel."""
    pairs = ((getattr(left, field), getattr(right, field)) for field in IDENTITY)
    return all(one == other for one, other in pairs if one is not None and other is not None)


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
        if candidate not in taken or _is_same(taken[candidate], kernel):
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


def _in_order(
    rows: dict[CellKey, Result], kernels: Iterable[Kernel], tests: Iterable[Test], modes: Iterable[Mode]
) -> tuple[Result, ...]:
    """Sort rows by kernel, mode and test."""
    kernel_index = {kernel.id: index for index, kernel in enumerate(kernels)}
    test_index = {test.id: index for index, test in enumerate(tests)}
    mode_index = {mode.id: index for index, mode in enumerate(modes)}
    return tuple(
        sorted(
            rows.values(),
            key=lambda row: (kernel_index[row.kernel], mode_index[row.mode], test_index[row.test], row.arch),
        )
    )
