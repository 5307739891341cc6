"""A suite that is not about io_uring runs in kernels, and neither side loads anything of io_uring for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from archive_kernels import oldest_and_newest

from reports.results import Status, read

HERE = Path(__file__).parent


def run(directory: Path, *kernels: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:uring-matrix-suite"]
    command += ["-p", "clock_suite.plugin", "--pyargs", "clock_suite", "--mode", "default", "--mode", "boottime"]
    command += ["--matrix-out", "out", *(f"--kernel={kernel}" for kernel in kernels)]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)


def check(directory: Path, done: subprocess.CompletedProcess[str], kernel: str) -> None:
    assert "io_uring here: False" in done.stdout, done.stdout
    results = read(directory / "out/results.json")
    assert results.complete
    assert {
        (mode, test): Status.SKIP if test == "test_skips" else Status.PASS
        for mode in ("default", "boottime")
        for test in (
            "Old.test_in_a_class",
            "test_each_mode_has_its_clock",
            "test_nobody_brought_io_uring",
            "test_skips",
            "test_the_clock_goes_on",
        )
    } == {(row.mode, row.test): row.status for row in results.results if row.kernel == kernel}, done.stdout
    [record] = [one for one in results.kernels if one.id == kernel]
    assert list(record.features) == ["resolution_s"]
    assert {mode.id for mode in results.modes} == {"default", "boottime"}


def test_on_this_machine(tmp_path: Path) -> None:
    check(tmp_path, run(tmp_path, "host"), "host")


@pytest.mark.vm
def test_in_a_kernel(tmp_path: Path) -> None:
    newest = oldest_and_newest()[-1]
    check(tmp_path, run(tmp_path, newest), newest)
