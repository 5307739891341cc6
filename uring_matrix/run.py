"""`uring-matrix run`: pytest with kernels, a line of progress per kernel, the site, a table, an exit code."""

import contextlib
import os
import shlex
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import click
import pytest
from rich.table import Table
from rich.text import Text

import conformance
from harness.hookspecs import Front
from reports.diff import GATES, INCONCLUSIVE, Side, read_side
from reports.matrix import derive
from reports.results import Results, ResultsError, Status, exit_code, forgiven
from reports.summary import Summary, summarize, troubles, verdict_heads, verdict_kind
from reports.wording import without_verdict
from uring_matrix.arguments import Wishes, is_without_xdist, own_name, refuse_ours
from uring_matrix.baseline import Asked, Comparison, leave_for_github
from uring_matrix.output import bisect_code, console, error_line, say_json
from uring_matrix.progress import progress
from uring_matrix.show import Show
from vm.lock import read_lock

# In so many the suite is worth a guest of its own, beside another one of the same kernel.
_MODES_PER_GUEST = 6
# What in a spec may make it several.
_SEVERAL = frozenset("*?[,")
OK, USAGE, INCOMPLETE, INTERRUPTED = 0, 2, 3, 130
_UNEXPECTED_LINES_MAX = 20
# Statuses that say something about the kernel.
VERDICTS = frozenset(Status) - INCONCLUSIVE
_BISECT_WORDS = {0: "good (0)", 1: "bad (1)", 125: "no verdict (125)"}
# Where pytest keeps what failed last, in the directory of the results that say so.
_CACHE = ".pytest_cache"
# pytest's own setting; the processes of pytest-xdist inherit it.
_NO_AUTOLOAD = "PYTEST_DISABLE_PLUGIN_AUTOLOAD"


def run(
    *,
    kernels: Sequence[str],
    archs: Sequence[str],
    modes: Sequence[str],
    out: Path,
    workers: str,
    accel: str | None,
    resume: bool,
    report: bool,
    snapshots: bool,
    lock: Path | None,
    repeat: int,
    isolate: bool,
    allow_flaky: bool,
    as_json: bool,
    expression: str | None = None,
    until_failure: bool = False,
    cpus: int | None = None,
    memory_mib: int | None = None,
    parameters: Sequence[str] = (),
    gdb_port: int | None = None,
    test_timeout_s: float | None = None,
    baseline: str | None = None,
    bisect: bool = False,
    fail_on: Collection[str] = tuple(GATES),
    guest_packages: Sequence[str] = (),
    guest_env: Sequence[str] = (),
    known_issues: Sequence[Path] = (),
    pytest_args: Sequence[str],
) -> int:
    """Run the suite in kernels, and write ``out/results.json`` and the site.

    Returns:
        The exit code, as promised: 0, 1 (an unexpected verdict), 2 (usage), 3 (incomplete), 130 (interrupted).
    """
    refuse_ours(pytest_args)
    selection = _selection(expression, pytest_args)
    home = Path(conformance.__file__).resolve().parent
    specs = kernels or (["all"] if lock is None else [])
    columns = specs if lock is None else [one.id for one in read_lock(lock)]
    # Before minutes of work.
    earlier = _read_baseline(baseline, columns) if baseline is not None else None
    # What a verdict may depend on; by the names that pytest has for it.
    conditions = [
        *((f"--accel={accel}",) if accel else ()),
        *(("--isolate",) if isolate else ()),
        *((f"--matrix-test-timeout={test_timeout_s:g}",) if test_timeout_s is not None else ()),
        *(f"--guest-package={name}" for name in guest_packages),
        *(f"--guest-env={entry}" for entry in guest_env),
        *((f"--guest-cpus={cpus}",) if cpus is not None else ()),
        *((f"--guest-memory={memory_mib}",) if memory_mib is not None else ()),
        *(f"--guest-append={text}" for text in parameters),
        *((f"--guest-gdb={gdb_port}",) if gdb_port is not None else ()),
    ]
    # Elsewhere, so that what lies here stays as it is.
    repeats = [
        *((f"--matrix-repeat={repeat}",) if repeat > 1 else ()),
        *(("--until-failure",) if until_failure else ()),
    ]
    front = Front(
        ("uring-matrix", "run", "--out", "reproduced", *map(own_name, conditions)),
        tuple(pytest_args),
        tuple(map(own_name, repeats)),
    )
    arguments = [
        str(home),
        *_plugins(pytest_args),
        *("-c", str(home / "suite.ini"), "--rootdir", str(home.parent)),
        # Without "..", which pytest takes for a way out of it.
        *("-o", f"cache_dir={out.resolve() / _CACHE}"),
        *("--matrix-out", str(out)),
        *_workers(
            "0" if workers == "auto" and gdb_port is not None else workers,
            columns,
            pytest_args,
            len(set(modes)),
        ),
        *(f"--kernel={spec}" for spec in specs),
        *(f"--arch={name}" for name in archs),
        *(f"--mode={name}" for name in modes),
        *conditions,
        *(("--matrix-resume",) if resume else ()),
        *(() if snapshots else ("--no-snapshots",)),
        *((f"--matrix-lock={lock}",) if lock else ()),
        *repeats,
        *(("--allow-flaky",) if allow_flaky else ()),
        *(f"--known-issues={path}" for path in known_issues),
    ]
    about_verdicts = {
        **({"--json": "is the summary of a run"} if as_json else {}),
        **({"--baseline": "compares a run's verdicts"} if earlier is not None else {}),
        **({"--bisect": "needs the verdicts of a run"} if bisect else {}),
    }
    wishes = Wishes(
        home, front, is_alone_welcome=workers == "auto", about_verdicts=about_verdicts, site=out if report else None
    )
    # Standard output is for what came of it.
    show = Show(console(sys.stderr), progress(), wishes, is_quiet=as_json)
    # pytest's default is shared by all runs of a user, which clean up behind each other's backs.
    with (
        tempfile.TemporaryDirectory(prefix="uring-matrix-", ignore_cleanup_errors=True) as temporary,
        _cache_of_results(out, Path(temporary), show),
        # Standard output is for JSON alone.
        contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext(),
        nobody_elses_plugins(),
    ):
        try:
            words = [*arguments, "--basetemp", f"{temporary}/pytest", *selection, *pytest_args]
            status = pytest.main(words, plugins=[wishes, show])
        except KeyboardInterrupt:
            # During the preparations, before there is a session that could end in good order.
            status = pytest.ExitCode.INTERRUPTED
        finally:
            show.finish()
    if status == pytest.ExitCode.USAGE_ERROR:
        return USAGE
    if wishes.runs_nothing or (not wishes.is_known and status == pytest.ExitCode.OK):
        # pytest has printed what it was asked for, and no verdict is good without a run.
        return USAGE if earlier is not None or bisect else int(status)
    for file, text in show.collect_errors:
        print(f"{file}: this file cannot be collected\n{text}", file=sys.stderr)
    is_refused = bool(show.collect_errors)
    is_interrupted = status == pytest.ExitCode.INTERRUPTED and not (is_refused and show.results is None)
    # Only what this session recorded counts: what lies in the directory may be an earlier run's.
    if show.failure is not None:
        error_line(show.failure)
        return INTERRUPTED if is_interrupted else INCOMPLETE
    if show.results is None or show.own is None:
        return _explain_nothing(status, out, show, [*selection, *pytest_args])
    own = forgiven(show.own) if allow_flaky else show.own
    code = INTERRUPTED if is_interrupted else exit_code(own, is_error_open=bisect)
    if is_refused and code in {OK, INCOMPLETE}:
        code = USAGE
    if bisect and code == OK and not any(row.status in VERDICTS for row in show.own.results):
        code = INCOMPLETE  # every test declined to judge, which is neither good nor bad
    compared = None
    if earlier is not None:
        asked = Asked(_are_several(specs), not wishes.chooses_tests, not modes)
        compared = Comparison.of(earlier, Side(str(out), own), asked, fail_on)
        code = compared.code(code)
    if bisect:
        code = bisect_code(code)
    summary = summarize(show.own, own)
    code = _conclude(
        show.results, show.own, summary, show.sentences, out, code, compared, is_report=report, as_json=as_json
    )
    leave_for_github(show.own, summary, compared, is_green=code == OK)
    if bisect:
        error_line(f"for `git bisect run` this is {_BISECT_WORDS.get(bisect_code(code), 'a reason to stop')}")
    return code


def _read_baseline(text: str, columns: Sequence[str]) -> Side:
    side = read_side(text)
    if side.kernel is not None and not _is_one(columns):
        raise click.UsageError(
            f"--baseline {text} is one kernel, and this run may be of several; name one, or leave out #{side.kernel}"
        )
    return side


def _is_one(specs: Sequence[str]) -> bool:
    """Whether no more than one kernel can be meant."""
    return len(set(specs)) == 1 and not _may_be_several(specs[0])


def _may_be_several(spec: str) -> bool:
    """Whether a spec may name more than one kernel."""
    return spec == "all" or not _SEVERAL.isdisjoint(spec)


def _are_several(specs: Sequence[str]) -> bool:
    """Whether kernels are named by what they have in common: then one that is not there any more is missing."""
    return any(_may_be_several(spec.replace(",", "")) for spec in specs)


def _selection(expression: str | None, pytest_args: Sequence[str]) -> list[str]:
    if expression is None:
        return []
    if any(word == "-k" or (word.startswith("-k") and len(word) > 2) for word in pytest_args):
        raise click.UsageError("-k stands on both sides of --, and pytest would take one of them: give it once")
    return ["-k", expression]


def _plugins(pytest_args: Sequence[str]) -> Iterator[str]:
    """Name the plugins that the suite needs: none is loaded for being installed."""
    yield from ("-p", "harness.plugin", "-p", "conformance.plugin")
    if not is_without_xdist(pytest_args):
        yield from ("-p", "xdist.plugin")


@contextlib.contextmanager
def nobody_elses_plugins() -> Iterator[None]:
    """Keep plugins out that happen to be installed: the suite is strict, and a warning of theirs would end it."""
    before = os.environ.get(_NO_AUTOLOAD)
    os.environ[_NO_AUTOLOAD] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_NO_AUTOLOAD]
        else:
            os.environ[_NO_AUTOLOAD] = before


def _explain_nothing(status: int, out: Path, show: Show, pytest_args: Sequence[str]) -> int:
    """Say why there is no verdict. What lies in the directory is as it was."""
    if show.collect_errors:
        count = len(show.collect_errors)
        what = "1 file cannot" if count == 1 else f"{count} files cannot"
        error_line(f"{what} be collected; nothing was run, and nothing in {out} was changed")
        return USAGE
    if status == pytest.ExitCode.INTERRUPTED:
        error_line(f"interrupted before the first test; nothing was written to {out}")
        return INTERRUPTED
    if status == pytest.ExitCode.NO_TESTS_COLLECTED:
        error_line(f"no test is selected by {' '.join(pytest_args)}; nothing was run" if pytest_args else "no test")
        return USAGE
    # A session that was asked to run nothing (--collect-only) has done that. Any other ended before anything could be
    # recorded, and has said why.
    return OK if status == pytest.ExitCode.OK else INCOMPLETE


def _workers(workers: str, columns: Sequence[str], pytest_args: Sequence[str], modes: int) -> Sequence[str]:
    if not is_without_xdist(pytest_args):
        return ("-n", worker_count(columns, modes) if workers == "auto" else workers)
    if workers not in {"auto", "0"}:
        raise click.UsageError(f"-n {workers} is pytest-xdist's, which -p no:xdist does without")
    return ()


@contextlib.contextmanager
def _cache_of_results(out: Path, temporary: Path, show: Show) -> Iterator[None]:
    """Have pytest's cache stay as it is where a session has found nothing: `--lf` is about the results beside it."""
    cache, kept, is_new = out / _CACHE, temporary / "cache", not out.exists()
    with contextlib.suppress(OSError, shutil.Error):
        shutil.copytree(cache, kept)
    try:
        yield
    finally:
        if show.results is None:
            shutil.rmtree(cache, ignore_errors=True)
            with contextlib.suppress(OSError, shutil.Error):
                if kept.exists():
                    shutil.copytree(kept, cache)
                elif is_new:
                    out.rmdir()


def worker_count(specs: Sequence[str], modes: int = 1) -> str:
    """How many workers are of use: one per processor, but no more than guests that pay; none for a single one.

    Args:
        specs: as the user gave them. `all`, globs and lists may name any number of kernels.
        modes: in how many the suite runs. Workers share a kernel that has many of them.
    """
    processors = len(os.sched_getaffinity(0))
    if not specs or any(map(_may_be_several, specs)):
        return str(processors)
    count = min(processors, len(set(specs)) * max(modes // _MODES_PER_GUEST, 1))
    return str(count if count > 1 else 0)


def _conclude(
    results: Results,
    own: Results,
    summary: Summary,
    sentences: Sequence[str],
    out: Path,
    code: int,
    compared: "Comparison | None",
    *,
    is_report: bool,
    as_json: bool,
) -> int:
    page: Path | None = None
    if is_report:
        from reports.site import write_site  # noqa: PLC0415 - a run without a report needs no Jinja2

        try:
            write_site(results, out)
            page = out / "index.html"
        except ResultsError as error:
            error_line(f"the report could not be written to {out}: {error} results.json is there.")
            code = code or INCOMPLETE
    if as_json:
        document = {
            "results": str(out / "results.json"),
            "report": str(page) if page is not None else None,
            "complete": results.complete,
            "exit_code": code,
            # Of the cells that this run was asked for; `kept` counts the others.
            "counts": {str(status): count for status, count in _counts(own).items()},
            "kept": len(results.results) - len(own.results),
            **({"baseline": compared.as_builtins()} if compared is not None else {}),
        }
        say_json(document)
    else:
        if compared is not None:
            compared.say()
            print()
        _print_summary(own, summary, compared)
        for sentence in sentences:
            print(sentence)
        print(f"results: {out / 'results.json'}" + ("" if results.complete else "  (NOT complete)"))
        if page is not None:
            print(f"report:  {page}")
        elif not is_report:
            print(f"report:  none; to write it: {shlex.join(['uring-matrix', 'report', str(out), '--out', str(out)])}")
    return code


def _counts(results: Results) -> Counter[Status]:
    return Counter(row.status for row in results.results)


def _print_summary(own: Results, summary: Summary, compared: Comparison | None) -> None:
    """The table of verdicts, and every unexpected cell by name."""
    heads = verdict_heads(own)
    table = Table("kernel", "release", *heads.values(), box=None, header_style="bold")
    for kernel in own.kernels:
        counts = Counter(verdict_kind(row) for row in own.results if row.kernel == kernel.id)
        table.add_row(
            kernel.id, kernel.release or "", *(f"{counts[kind]:,}" if counts[kind] else "·" for kind in heads)
        )
    console().print(table)
    # What had no turn is said kernel by kernel, what changed has been said.
    told = compared.told if compared is not None else frozenset()
    wrong = [
        row
        for row in (*summary.unexpected, *summary.forgiven, *summary.open)
        if row.status is not Status.NOTRUN and row.key not in told
    ]
    # What keeps a whole kernel from being tested is one sentence, not one per test.
    lines = troubles(wrong, own)
    as_before = "  (as in the baseline)" if compared is not None else ""
    for one in lines[:_UNEXPECTED_LINES_MAX]:
        text = f"{one.words}  {one.places}  {one.what}: {one.reason}{as_before}"
        console().print(Text(text), soft_wrap=True)
    if len(lines) > _UNEXPECTED_LINES_MAX:
        console().print(f"… and {len(lines) - _UNEXPECTED_LINES_MAX} more; the report has them all")
    for sentence in without_verdict(derive(own).columns):
        console().print(Text(sentence), soft_wrap=True)
