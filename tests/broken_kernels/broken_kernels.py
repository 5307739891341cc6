"""Does the suite notice? Builds kernels with one small thing broken in io_uring each, and runs the suite in each.

    python tests/broken_kernels/broken_kernels.py                       all, of both sources
    python tests/broken_kernels/broken_kernels.py --source 6.1 links    those of an area, or by their ids
    python tests/broken_kernels/broken_kernels.py --kept-aside          those that nobody looked at who wrote tests

The sources are Debian's: `6.1` and the newest that its suites have (`latest`). What is built stays in the cache, and
verdicts that were obtained in the same way are kept in DIR. Exit code 0: a test noticed each. 1: one is noticed by
none, or is said to be undetectable and was noticed. 2: usage. 3: something is not known: a kernel was not built or not
run, or the suite fails in the unbroken one. 130: interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from broken_verdicts import Judgement, Kind, Report, baseline_faults, is_about, judge, markdown, not_known
from kernel_build import Builder, BuildError, missing_packages
from kernel_changes import SOURCES, ChangeError, KernelChange, choose, read_changes
from kernel_source import SourceError, fetch
from kernel_trial import TrialError, run_suite, suite_tests

from reports.results import Status
from vm.cache import Cache
from vm.errors import VmError
from vm.settings import Settings

UNBROKEN = "unbroken"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="ID", help="ids or areas of changes; default: all")
    parser.add_argument("--source", action="append", choices=SOURCES, help="default: both")
    parser.add_argument("--kept-aside", action="store_true", help="those that are kept aside, and no others")
    parser.add_argument("--list", action="store_true", help="print the changes, and try none")
    parser.add_argument("--untested", action="store_true", help="print those that no test is about, and try none")
    parser.add_argument("--compile-only", action="store_true", help="compile the changed files, and build no kernel")
    parser.add_argument("--out", type=Path, default=Path("matrix/broken-kernels"), metavar="DIR", help="for results")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report as Markdown, too")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="compilers at a time")
    parser.add_argument("--mode", action="append", default=[], help="ring modes of the suite; default: default")
    parser.add_argument("-k", metavar="EXPRESSION", help="tests, as pytest's -k")
    chosen = parser.parse_args(arguments)
    try:
        wanted = {source: _choose(source, chosen) for source in chosen.source or SOURCES}
    except ChangeError as error:
        parser.error(str(error))
    if chosen.list or chosen.untested:
        tests = suite_tests() if chosen.untested else []
        for source, changes in wanted.items():
            for change in changes:
                if not any(is_about(change, test) for test in tests):
                    print(f"{source:8} {change.area:22} {change.id}: {change.title}")
        return 0
    if missing := missing_packages():
        print(f"to build kernels: apt install {' '.join(missing)}", file=sys.stderr)
        return 3
    try:
        reports = [_try_all(source, changes, chosen) for source, changes in wanted.items() if changes]
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (SourceError, BuildError, TrialError, VmError) as error:
        print(f"nothing is known of the suite: {error}", file=sys.stderr)
        return 3
    return _conclude(reports, chosen)


def _choose(source: str, chosen: argparse.Namespace) -> list[KernelChange]:
    """Those that the words ask for; one that is named is tried, kept aside or not."""
    found = choose(read_changes(source), chosen.words)
    return [change for change in found if change.kept_aside is chosen.kept_aside or change.id in chosen.words]


def _conclude(reports: Sequence[Report], chosen: argparse.Namespace) -> int:
    if chosen.json:
        print(json.dumps([report.as_builtins() for report in reports]))
    if chosen.report:
        chosen.report.write_text("\n".join(map(markdown, reports)), encoding="utf-8")
    for report in reports:
        _say(report.sentence())
    codes = {report.code for report in reports}
    return 1 if 1 in codes else max(codes, default=0)


def _try_all(source: str, changes: list[KernelChange], chosen: argparse.Namespace) -> Report:
    """Build and run the kernels of one source; the next one is built while the suite runs in this one."""
    options = [*(f"--mode={mode}" for mode in chosen.mode), *(["-k", chosen.k] if chosen.k else [])]
    settings = Settings.load()
    cache = Cache(settings.cache)
    unpacked = fetch(source, cache, settings)
    out = chosen.out / unpacked.series
    builder = Builder(unpacked, cache, chosen.jobs)
    if chosen.compile_only:
        return Report.of(unpacked.package, [one for change in changes if (one := _compile(builder, change))], ())
    _say(f"{unpacked.package}: building it without a change, unless the cache has it")
    unbroken = run_suite(builder.image(None), out / UNBROKEN, options)
    if not any(row.status is Status.PASS for row in unbroken.results):
        raise TrialError(f"no test passes in the unbroken kernel; see {out / UNBROKEN}")
    faults = baseline_faults(unbroken)
    for line in faults:
        _say(f"without a change: {line}")
    judgements: list[Judgement] = []
    with ThreadPoolExecutor(max_workers=1) as pool:
        try:
            images = [pool.submit(builder.image, change) for change in changes]
            for change, building in zip(changes, images, strict=True):
                began_s = time.monotonic()
                try:
                    one = judge(change, unbroken, run_suite(building.result(), out / change.id, options))
                except (BuildError, ChangeError, TrialError) as error:
                    one = not_known(change, str(error))
                judgements.append(one)
                for line in _lines(one, time.monotonic() - began_s):
                    _say(line)
                # What is known so far, in case of an interruption.
                known = Report.of(unpacked.package, judgements, faults).as_builtins()
                (out / "report.json").write_text(json.dumps(known, indent=1), encoding="utf-8")
        finally:
            pool.shutdown(cancel_futures=True)
    return Report.of(unpacked.package, judgements, faults)


def _compile(builder: Builder, change: KernelChange) -> Judgement | None:
    """Say why a change cannot be built, if so."""
    try:
        builder.compile(change)
    except (BuildError, ChangeError) as error:
        _say(f"{change.id}: {error}")
        return not_known(change, str(error))
    return None


def _lines(one: Judgement, seconds: float) -> Iterator[str]:
    yield f"{one.kind:12} {one.id} ({one.area}; {seconds:.0f} s)"
    if one.kind is not Kind.NOTICED:
        yield f"    {one.title}{f' -- {one.why}' if one.why else ''}"
    for sign in one.signs[:3]:
        yield f"    {sign.status} {sign.test}{'' if sign.is_about else ' (about something else)'}: {sign.reason}"
    if one.observed:
        yield f"    observed otherwise: {', '.join(one.observed[:5])}"
    for line in one.complaints[:2]:
        yield f"    the kernel complained: {line}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    # As Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    raise SystemExit(main())
