"""`uring-matrix report`: several results.json into one, and the site of it."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from reports.results import Kernel, Results, ResultsError, exit_code, merge, read, resume_sentence
from uring_matrix import output


def report(paths: Sequence[Path], out: Path) -> int:
    """Merge results and write the site.

    Args:
        paths: results.json files, or directories that hold one.
        out: where results.json and index.html go.

    Returns:
        0: the report is written; what it says of the kernels is for `run` and `diff` to judge.

    Raises:
        ResultsError: a file cannot be used, or the site cannot be written.
    """
    # Jinja2 comes in with it; a wrong file name is told without waiting for that.
    parts = [read(path) for path in paths]
    parts = [
        _with_consoles(part, path, out, number) for number, (part, path) in enumerate(zip(parts, paths, strict=True))
    ]
    results = merge(parts)
    from reports.site import write_site  # noqa: PLC0415

    index = write_site(results, out)
    for line in summary(results, is_one_run=len(parts) == 1):
        output.tell(line)
    output.say(str(index))
    return output.EXPECTED


def summary(results: Results, *, is_one_run: bool) -> list[str]:
    """Say in a few lines what a report holds, and what it lacks."""
    cells = len(results.results)
    lines = [f"{len(results.kernels)} kernels, {len(results.tests)} tests, {cells} cells"]
    open_cells = sum(row.status in {"infra", "notrun"} for row in results.results)
    if open_cells:
        lines.append("1 cell has no verdict" if open_cells == 1 else f"{open_cells:,} cells have no verdict")
    if not results.complete:
        go_on = f"; {resume_sentence(results)}" if is_one_run else ""
        lines.append(f"NOT complete: a run was interrupted or died{go_on}")
    if exit_code(results) == output.UNEXPECTED:
        lines.append("there are unexpected verdicts")
    return lines


def _with_consoles(results: Results, path: Path, out: Path, number: int) -> Results:
    """Copy the guests' consoles into the report, so that what it says of them stays true wherever it is published."""
    source = path if path.is_dir() else path.parent
    if source.resolve() == out.resolve():
        return results

    def moved(kernel: Kernel) -> Kernel:
        if kernel.console is None:
            return kernel
        file = (source / kernel.console).resolve()
        # A results file of unknown origin must not be able to publish this machine's files.
        if not file.is_relative_to(source.resolve()) or not file.is_file():
            return msgspec.structs.replace(kernel, console=None)
        name = f"consoles/{number}-{'-'.join(file.relative_to(source.resolve()).parts)}"
        target = out / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        except OSError as error:
            raise ResultsError(f"{file} could not be copied to {target}: {error.strerror or error}.") from error
        return msgspec.structs.replace(kernel, console=name)

    return msgspec.structs.replace(results, kernels=tuple(moved(kernel) for kernel in results.kernels))
