"""All modes of a kernel run in one guest, each as if it were the first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from archive_kernels import oldest_and_newest

from reports.results import Results, Status, read

pytestmark = pytest.mark.vm

SUITE = """
import os

import pytest

remembered = []


@pytest.fixture(scope="session")
def shared(mode):
    return [mode.id]


@pytest.fixture(scope="session")
def kept_open(mode):
    if mode.id != "coop-taskrun":
        os.open("/dev/null", os.O_RDONLY)
    yield
    print("torn down in", mode.id)


def test_what_is_shared(shared, mode):
    assert shared == [mode.id]


def test_what_is_remembered(mode, kept_open):
    remembered.append(mode.id)
    assert remembered == [mode.id]


def test_last():
    pass
"""
MODES = ("default", "coop-taskrun", "single-issuer")


def run(directory: Path, *arguments: str) -> Results:
    (directory / "pytest.ini").write_text("[pytest]\n")
    (directory / "test_modes.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--matrix-out", "out", *arguments]
    command += [f"--kernel={oldest_and_newest()[-1]}", *(f"--mode={mode}" for mode in MODES)]
    done = subprocess.run(command, cwd=directory, env=os.environ, capture_output=True, text=True, check=False)
    results = read(directory / "out/results.json")
    assert results.complete, done.stdout + done.stderr
    return results


def test_modes_share_a_guest_and_nothing_else(tmp_path: Path) -> None:
    """Fixtures are torn down between two, and no test finds what one of another mode left in its process."""
    results = run(tmp_path)
    assert {Status.PASS} == {row.status for row in results.results}, results.results
    assert len(list((tmp_path / "out/consoles").iterdir())) == 1
    # A mode's last test answers for what fixtures leave when they are torn down.
    left = {row.mode: (row.output, row.evidence) for row in results.results if row.test == "test_last"}
    assert ("", ()) == left["coop-taskrun"]
    for mode in ("default", "single-issuer"):
        output, [evidence] = left[mode]
        assert f"torn down in {mode}" in output
        assert "/dev/null" in evidence
