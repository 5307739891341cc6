"""`uring-matrix report`: several results.json into one, and the site of it, or a file for other tools."""

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from reports.consoles import console_file, directory_of
from reports.diff import GATES, Side, read_side
from reports.export import FILES, export, remove_exports
from reports.ours import RESULTS, SITE, refuse_foreign
from reports.pages import remove_pages
from reports.results import (
    Kernel,
    Results,
    ResultsError,
    about,
    annotate,
    exit_code,
    known_sentence,
    merge,
    no_longer_shown,
    read,
    read_known_issues,
    resume_sentence,
    united,
    write,
    write_atomically,
)
from reports.summary import summarize
from reports.wording import count, counted
from uring_matrix import output
from uring_matrix.baseline import Asked, Comparison, leave_for_github


def report(
    paths: Sequence[Path],
    out: Path,
    *,
    forms: Sequence[str] = ("html",),
    origin: str | None = None,
    is_judged: bool = False,
    baseline: str | None = None,
    fail_on: Collection[str] = tuple(GATES),
    known_issues: Sequence[Path] = (),
) -> int:
    """Merge results and write them in some forms.

    Args:
        paths: results.json files, or directories that hold one.
        out: where the files go.
        forms: `html`, which is the site and results.json; `json`, results.json alone; or keys of `FILES`.
        origin: who submits, for the forms that name it.
        is_judged: exit as `run` would have.
        baseline: earlier results, or FILE#kernel, to judge these by.
        fail_on: the kinds of `reports.diff.GATES` that count beside a baseline.
        known_issues: files of what is known not to pass, beside what the results know.

    Returns:
        0: the report is written. Where the results are to be judged, what `run` would return for them.

    Raises:
        ResultsError: a file cannot be used or written, somebody else's is in the way, or the origin is none.
    """
    for form in forms:
        refuse_foreign(out, SITE if form == "html" else [FILES.get(form, RESULTS)])
    earlier = read_side(baseline) if baseline is not None else None
    parts = [read(path) for path in paths]
    if not {"html", "json"}.isdisjoint(forms):
        parts = [
            _with_consoles(part, path, out, number)
            for number, (part, path) in enumerate(zip(parts, paths, strict=True))
        ]
    results = merge(parts)
    if issues := about(read_known_issues(known_issues), [test.id for test in results.tests]):
        known = united(issues, results.known_issues)
        results = annotate(msgspec.structs.replace(results, known_issues=known))
    # All of them before the first is written: a form that cannot be leaves the others' files as they were.
    contents = {form: export(form, results, origin=origin) for form in forms if form in FILES}
    if not {"html", "json"}.isdisjoint(forms):
        # Of results that these take the place of.
        remove_exports(out)
    written = [_write(form, contents.get(form), results, out, forms) for form in dict.fromkeys(forms)]
    code, compared = exit_code(results), None
    if earlier is not None:
        compared = Comparison.of(
            earlier, Side(str(out), results), Asked(all_kernels=True, all_tests=True, all_modes=True), fail_on
        )
        code = compared.code(code)
        compared.say(output.tell)
    for line in summary(results, is_one_run=len(parts) == 1):
        output.tell(line)
    for path in written:
        output.say(str(path))
    is_judged = is_judged or earlier is not None
    leave_for_github(results, summarize(results), compared, is_green=code == output.EXPECTED, has_errors=is_judged)
    return code if is_judged else output.EXPECTED


def _write(form: str, content: bytes | None, results: Results, out: Path, forms: Sequence[str]) -> Path:
    """Write one form, and say where."""
    if content is not None:
        path = out / FILES[form]
        write_atomically(path, content)
        return path
    if form == "json":
        path = out / "results.json"
        if "html" not in forms:
            # The site of other results would contradict these.
            remove_pages(out)
            write(path, results)
        return path
    # Jinja2 comes in with it; the other forms, and a wrong file name, need not wait for that.
    from reports.site import write_site  # noqa: PLC0415

    return write_site(results, out)


def summary(results: Results, *, is_one_run: bool) -> list[str]:
    """Say in a few lines what a report holds, and what it lacks."""
    cells = len(results.results)
    capabilities = sum(test.is_capability for test in results.tests)
    what = counted(len(results.tests) - capabilities, capabilities).replace(" and ", ", ")
    lines = [f"{count(len(results.kernels), 'kernel')}, {what}, {count(cells, 'cell')}"]
    open_cells = sum(row.status in {"infra", "notrun"} for row in results.results)
    if open_cells:
        lines.append("1 cell has no verdict" if open_cells == 1 else f"{open_cells:,} cells have no verdict")
    if not results.complete:
        go_on = f"; {resume_sentence(results)}" if is_one_run else ""
        lines.append(f"NOT complete: a run was interrupted or died{go_on}")
    if exit_code(results) == output.UNEXPECTED:
        lines.append("there are unexpected verdicts")
    lines += [*filter(None, [known_sentence(results)]), *no_longer_shown(results)]
    return lines


def _with_consoles(results: Results, path: Path, out: Path, number: int) -> Results:
    """Copy the guests' consoles into the report, so that what it says of them stays true wherever it is published."""
    source = directory_of(path)
    if source.resolve() == out.resolve():
        return results

    def moved(kernel: Kernel) -> Kernel:
        if kernel.console is None:
            return kernel
        # A results file of unknown origin must not be able to publish this machine's files.
        file = console_file(kernel, source)
        if file is None:
            return msgspec.structs.replace(kernel, console=None)
        name = f"consoles/{number}-{'-'.join(file.resolve().relative_to(source.resolve()).parts)}"
        target = out / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        except OSError as error:
            raise ResultsError(f"{file} could not be copied to {target}: {error.strerror or error}.") from error
        return msgspec.structs.replace(kernel, console=name)

    return msgspec.structs.replace(results, kernels=tuple(moved(kernel) for kernel in results.kernels))
