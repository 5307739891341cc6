"""Which run a row is from, where one file holds rows of several."""

from collections.abc import Iterable

import msgspec

from reports.records import Kernel, Result, Results, Run

# What makes two columns of the same name the same kernel. What is not known on one side contradicts nothing.
IDENTITY = ("arch", "sha256", "release", "package_version")


def is_same_kernel(left: Kernel, right: Kernel) -> bool:
    """Say whether two kernels of one id can be the same kernel."""
    is_hashed = left.sha256 is not None and right.sha256 is not None
    # A running kernel has no image to be hashed, but says which build it is.
    pairs = (
        (getattr(left, field), getattr(right, field)) for field in (*IDENTITY, *(() if is_hashed else ("version",)))
    )
    return all(one == other for one, other in pairs if one is not None and other is not None)


def with_provenance(kernel: Kernel, results: Results) -> Kernel:
    """Write into the kernel what so far only the head of its file says."""
    return msgspec.structs.replace(
        kernel,
        generator=kernel.generator or results.generator,
        host=kernel.host or results.host,
        command=kernel.command or results.command,
        started=kernel.started or results.started,
        finished=kernel.finished or (results.finished if kernel.started is None else None),
    )


class Provenance:
    """The kernels of a file, as the run of each row knew them."""

    def __init__(self, results: Results) -> None:
        self._kernels = {kernel.id: kernel for kernel in results.kernels}
        self._earlier = {(run.id, kernel.id): _as_of(run, kernel) for run in results.runs for kernel in run.kernels}

    def kernel_of(self, row: Result) -> Kernel:
        """The row's kernel, with where and when its column was made if that was not the file's own run."""
        kernel = self._earlier.get((row.run, row.kernel)) if row.run is not None else None
        return kernel or self._kernels[row.kernel]


def run_of(kernel: Kernel, results: Results) -> Run:
    """The run that made a column, as rows name it beside newer ones."""
    started = kernel.started or results.started
    plain = msgspec.structs.replace(kernel, generator=None, host=None, command=None, started=None, finished=None)
    return Run(
        id=f"{started:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
        generator=kernel.generator or results.generator,
        host=kernel.host or results.host,
        command=kernel.command or results.command,
        started=started,
        finished=with_provenance(kernel, results).finished,
        kernels=(plain,),
    )


class Runs:
    """Runs, each under an id of its own."""

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self._runs = {run.id: run for run in runs}

    def add(self, run: Run) -> str:
        """Take in a run, or further columns of one that is there.

        Returns:
            The id by which rows name it.
        """
        name, number = run.id, 1
        while name in self._runs and _facts(self._runs[name]) != _facts(run):
            number += 1
            name = f"{run.id}-{number}"
        known = self._runs[name].kernels if name in self._runs else ()
        columns = {kernel.id: kernel for kernel in (*run.kernels, *known)}
        self._runs[name] = msgspec.structs.replace(run, id=name, kernels=tuple(columns.values()))
        return name

    def named_by(self, rows: Iterable[Result]) -> tuple[Run, ...]:
        """Those that rows name."""
        names = {row.run for row in rows}
        return tuple(run for name, run in self._runs.items() if name in names)


def _facts(run: Run) -> tuple[object, ...]:
    return run.generator, run.host, run.command, run.started


def _as_of(run: Run, kernel: Kernel) -> Kernel:
    return msgspec.structs.replace(
        kernel,
        generator=run.generator,
        host=run.host,
        command=run.command,
        started=run.started,
        finished=run.finished,
    )
