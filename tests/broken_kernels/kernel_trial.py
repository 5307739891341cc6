"""Runs the suite in one kernel, as a user would, and reads what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from reports.results import Results, ResultsError, Test, read

ROOT = Path(__file__).parents[2]
# Exit codes of `uring-matrix run` after which there are results.
_JUDGED = frozenset({0, 1, 3})
_LINES_MAX = 15
# KASAN keeps a byte for eight.
_MEMORY_MIB = 512


class TrialError(Exception):
    """There are no results; with what the run said."""


def suite_tests() -> list[Test]:
    """The suite's tests, without what is observed.

    Raises:
        TrialError: they cannot be listed.
    """
    command = [sys.executable, "-m", "uring_matrix", "tests", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise TrialError(done.stderr)
    listed = json.loads(done.stdout)["tests"]
    tests = [Test(id=one["id"], title=one["title"], kind=one["kind"], symbols=tuple(one["symbols"])) for one in listed]
    return [test for test in tests if not test.is_capability]


def run_suite(image: Path, out: Path, arguments: Sequence[str] = ()) -> Results:
    """Run the suite in a kernel. Verdicts that were obtained in the same way are kept (`--resume`).

    Args:
        image: the kernel.
        out: where its results are.
        arguments: more of `uring-matrix run`.

    Raises:
        TrialError: it came to nothing.
    """
    out.mkdir(parents=True, exist_ok=True)
    options = ["--kernel", str(image), "--out", str(out), f"--memory={_MEMORY_MIB}", "-n", "0"]
    # A kernel boots once or twice, and its page nobody reads.
    options += ["--no-snapshots", "--no-report", *(["--resume"] if (out / "results.json").is_file() else [])]
    done = subprocess.run(
        [sys.executable, "-m", "uring_matrix", "run", *options, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    (out / "run.txt").write_text(done.stdout, encoding="utf-8")
    try:
        if done.returncode in _JUDGED:
            return read(out / "results.json")
    except ResultsError as error:
        raise TrialError(str(error)) from error
    said = "\n".join(done.stdout.splitlines()[-_LINES_MAX:])
    raise TrialError(f"the run ended with {done.returncode}: {said}")
