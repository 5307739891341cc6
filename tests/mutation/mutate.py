"""Does a test notice? Makes random single changes to `uring`, and runs its tests on each.

    python tests/mutation/mutate.py                              60 changes by a seed of its own, which it prints
    python tests/mutation/mutate.py --seed 7 --count 200
    python tests/mutation/mutate.py --all uring/queues.py        every change of a file; takes long

A change that no test notices has survived. Some change nothing that could be noticed: they are written down in
`equivalent.toml`, each with the reason, and do not count. Exit code 0: at least 95 % of the others were noticed. 1:
fewer were, or what was judged equivalent is not. 2: usage. 3: the tests could not be held, and nothing is known. 130:
interrupted.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import secrets
import select
import signal
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from changes import Change, Source
from trial import Outcome, Project, ToolError, Trial

HERE = Path(__file__).resolve().parent
RATE_MIN = 0.95
# What the tests' skips say where there is nothing to test with.
NO_RING = "no io_uring on this machine"

Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class Result:
    """What became of one change.

    Attributes:
        change: which.
        outcome: how its trial ended.
        reason: why it is judged to change nothing that a test could notice; None if it is not.
    """

    change: Change
    outcome: Outcome
    reason: str | None


def read_judgements(path: Path) -> dict[Key, str]:
    """Changes that were judged equivalent, with the reason."""
    if not path.is_file():
        return {}
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("equivalent", [])
    return {
        (entry["file"], entry["scope"], entry["old"].strip(), entry["new"].strip()): entry["reason"]
        for entry in entries
    }


def choose(sources: list[Source], count: int, seed: int) -> list[Change]:
    """Choose `count` places, each as likely as another, and one of the changes that can be made there."""
    generator = random.Random(seed)
    sites = [(source, site) for source in sources for site in source.sites()]
    generator.shuffle(sites)
    chosen: list[Change] = []
    for source, site in sites:
        if len(chosen) == count:
            break
        if changes := [change for change in site if source.has_effect(change)]:
            chosen.append(generator.choice(changes))
    return chosen


def every(sources: list[Source]) -> list[Change]:
    """Every change that the compiler does not undo."""
    found = [(source, change) for source in sources for site in source.sites() for change in site]
    return [change for source, change in found if source.has_effect(change)]


def first_without_change(project: Project, directory: Path) -> Outcome:
    """Run the tests as they are; what fails without a change says nothing about one.

    Raises:
        ToolError: they are not green, or have no ring to test.
    """
    trial = Trial(project, directory, None, 600)
    select.select([trial.pidfd], [], [], 600)
    outcome = trial.end()
    if outcome.is_killed:
        raise ToolError(f"the tests fail without any change ({outcome.what}); mend that first")
    for reason, count in outcome.skipped.items():
        if NO_RING in reason:
            raise ToolError(f"{count} tests have nothing to test: {reason}")
    return outcome


def namesakes_first(changed: str, files: Iterable[str]) -> list[str]:
    """Put the files of tests in front that share a word with the changed file's path: most likely they notice it.

    All of them run on what survives, whatever comes first.
    """
    words = set(re.split(r"[/_.]", changed)[1:-1])
    return sorted(files, key=lambda file: -len(words.intersection(re.split(r"[/_.]", Path(file).stem))))


def run(project: Project, changes: list[Change], jobs: int, seconds_max: float) -> Iterator[tuple[Change, Outcome]]:
    """Hold a trial of each change, `jobs` at a time, and yield them as they end.

    A trial hangs that takes longer than `seconds_max`, and ten times as long as the unchanged tests.

    Raises:
        ToolError: a trial came to nothing.
    """
    with tempfile.TemporaryDirectory(prefix="mutation-", ignore_cleanup_errors=True) as folder:
        # Resolved: modules are asked where they were imported from.
        free = [Path(folder).resolve() / str(number) for number in range(jobs)]
        for directory in free:
            project.copy_to(directory)
        baseline = first_without_change(project, free[0])
        for reason, count in baseline.skipped.items():
            print(f"{count} tests are skipped here, and notice nothing: {reason}")
        seconds_max = max(seconds_max, 10 * jobs * baseline.seconds)
        waiting = list(reversed(changes))
        running: dict[int, tuple[Trial, Path]] = {}
        try:
            while waiting or running:
                while waiting and free:
                    directory, change = free.pop(), waiting.pop()
                    files = namesakes_first(change.file, baseline.quickest_first)
                    trial = Trial(project, directory, change, seconds_max, files)
                    running[trial.pidfd] = trial, directory
                patience = max(0, min(trial.seconds_left() for trial, _ in running.values()))
                ready, _, _ = select.select(list(running), [], [], patience)
                for pidfd, (trial, directory) in list(running.items()):
                    if pidfd in ready or trial.seconds_left() <= 0:
                        del running[pidfd]
                        free.append(directory)
                        assert trial.change is not None
                        try:
                            outcome = trial.end()
                        except ToolError as error:
                            raise ToolError(f"{trial.change}\n{error}") from None
                        yield trial.change, outcome
        finally:
            for trial, _ in running.values():
                trial.stop()


def rate(results: Iterable[Result]) -> float:
    """The share of changes that were noticed, of those that can be."""
    counted = [result.outcome.is_killed for result in results if result.reason is None]
    return sum(counted) / len(counted) if counted else 1.0


def summary(results: list[Result]) -> str:
    """The last line."""
    kinds = Counter(result.outcome.kind for result in results if result.reason is None)
    killed = sum(kinds.values()) - kinds["survived"]
    equivalent = sum(result.reason is not None for result in results)
    return (
        f"{len(results)} changes: {killed} noticed ({kinds['killed']} by a failing test, {kinds['crashed']} crashed, "
        f"{kinds['hung']} hung), {kinds['survived']} survived, {equivalent} equivalent: {rate(results):.1%} noticed"
    )


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="of the package, relative to the root; default: all")
    parser.add_argument("--seed", type=int, help="choose the same changes again")
    parser.add_argument("--count", type=int, default=60, help="how many (default: 60)")
    parser.add_argument("--all", action="store_true", help="every change of the files")
    parser.add_argument("--list", action="store_true", help="print the changes, and try none")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trials at a time")
    parser.add_argument("--seconds", type=float, default=60, help="of a trial that hangs, at least (default: 60)")
    parser.add_argument("--verbose", action="store_true", help="print what noticed each change, too")
    parser.add_argument("--root", type=Path, default=HERE.parents[1], help="the project (default: this one)")
    parser.add_argument("--package", default="uring")
    parser.add_argument("--tests", default="tests/uring")
    parser.add_argument("--equivalent", type=Path, default=HERE / "equivalent.toml", help="the judgements")
    chosen = parser.parse_args(arguments)
    project = Project(chosen.root.resolve(), chosen.package, chosen.tests)
    files = project.files()
    if unknown := set(chosen.files) - set(files):
        parser.error(f"not in {chosen.package}: {', '.join(sorted(unknown))}")
    if chosen.count < 1 or chosen.jobs < 1:
        parser.error("--count and --jobs are 1 at least")
    sources = [Source.read(project.root, file) for file in chosen.files or files]
    seed = secrets.randbelow(1_000_000) if chosen.seed is None else chosen.seed
    changes = every(sources) if chosen.all else choose(sources, chosen.count, seed)
    if not chosen.all:
        print(f"seed {seed}: {len(changes)} of {sum(len(source.sites()) for source in sources)} places", flush=True)
    if chosen.list:
        for change in changes:
            print(change)
        return 0
    judgements = read_judgements(chosen.equivalent)
    results: list[Result] = []
    try:
        for change, outcome in run(project, changes, chosen.jobs, chosen.seconds):
            result = Result(change, outcome, judgements.get(change.key))
            results.append(result)
            show(result, is_verbose=chosen.verbose)
    except KeyboardInterrupt:
        print(f"interrupted after {summary(results)}", file=sys.stderr)
        return 130
    except ToolError as error:
        print(f"nothing is known about the tests: {error}", file=sys.stderr)
        return 3
    print(summary(results))
    if any(result.reason is not None and result.outcome.is_killed for result in results):
        print(f"what is noticed is not equivalent: take it out of {chosen.equivalent.name}")
        return 1
    if rate(results) < RATE_MIN:
        print(f"less than {RATE_MIN:.0%}: write tests for the survivors, or judge them in {chosen.equivalent.name}")
        return 1
    return 0


def show(result: Result, *, is_verbose: bool) -> None:
    """Print what a person has to look at."""
    noticed = f"{result.outcome.kind} by {result.outcome.what}"
    if result.reason is not None and result.outcome.is_killed:
        print(f"judged equivalent, but {noticed}: {result.change}", flush=True)
    elif result.reason is not None:
        print(f"equivalent: {result.change}\n    {result.reason}", flush=True)
    elif not result.outcome.is_killed:
        print(f"survived: {result.change}", flush=True)
    elif is_verbose:
        print(f"{noticed}, {result.outcome.seconds:.1f} s: {result.change}", flush=True)


if __name__ == "__main__":
    # As Ctrl-C does: trials end with the command, and their copies go.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    raise SystemExit(main())
