"""All modes of a kernel run in one guest, each as if it were the first; or in two, where that is done sooner."""

import os
import subprocess
import sys
from collections.abc import Mapping
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


def run(directory: Path, suite: Mapping[str, str], *arguments: str) -> Results:
    directory.mkdir(exist_ok=True)
    (directory / "pytest.ini").write_text("[pytest]\n")
    for name, text in suite.items():
        (directory / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--matrix-out", "out", *arguments]
    command += [f"--kernel={oldest_and_newest()[-1]}", *(f"--mode={mode}" for mode in MODES)]
    done = subprocess.run(command, cwd=directory, env=os.environ, capture_output=True, text=True, check=False)
    results = read(directory / "out/results.json")
    assert results.complete, done.stdout + done.stderr
    return results


def test_modes_share_a_guest_and_nothing_else(tmp_path: Path) -> None:
    """Fixtures are torn down between two, and no test finds what one of another mode left in its process."""
    results = run(tmp_path, {"test_modes.py": SUITE})
    assert {Status.PASS} == {row.status for row in results.results}, results.results
    assert len(list((tmp_path / "out/consoles").iterdir())) == 1
    # A mode's last test answers for what fixtures leave when they are torn down.
    left = {row.mode: (row.output, row.evidence) for row in results.results if row.test == "test_last"}
    assert ("", ()) == left["coop-taskrun"]
    for mode in ("default", "single-issuer"):
        output, [evidence] = left[mode]
        assert f"torn down in {mode}" in output
        assert "/dev/null" in evidence


# Some of what the tests of a module or of a mode share; a failure in the middle of a list, a crash and a leak.
LARGE = """
import os
import signal

import pytest

NUMBER = {number}


@pytest.fixture(scope="module")
def counted():
    return []


@pytest.fixture(scope="session")
def of_mode(mode):
    return mode.id


@pytest.mark.parametrize("place", range({tests}))
def test_{number}(counted, of_mode, mode, place):
    assert of_mode == mode.id
    if place == 7 and NUMBER == 1 and mode.id == "coop-taskrun":
        os.kill(os.getpid(), signal.SIGKILL)
    if place == 9:
        os.open("/dev/null", os.O_RDONLY)
    counted.append(place)
    assert place != 8 or mode.id == "default"
"""


def test_two_guests_find_what_one_finds(tmp_path: Path) -> None:
    """Each runs whole modes, asks for nothing that the other runs, and there is one record of the kernel."""
    suite = {f"test_{number}.py": LARGE.format(number=number, tests=45) for number in range(3)}

    def facts(results: Results) -> object:
        rows = [(one.mode, one.test, one.status, one.reason, one.evidence, one.qualifiers) for one in results.results]
        [kernel] = results.kernels
        return sorted(rows), kernel.booted, set(kernel.phases), kernel.notes, kernel.features

    def consoles(name: str) -> int:
        return len(list((tmp_path / name / "out/consoles").iterdir()))

    found = {
        name: run(tmp_path / name, suite, *arguments) for name, arguments in {"one": ["-n1"], "two": ["-n2"]}.items()
    }
    assert len(found["one"].results) == 3 * 45 * len(MODES)
    assert facts(found["one"]) == facts(found["two"])
    # Had one run on into what the other does, it would have been ended, and another would have come for it.
    assert consoles("one") == consoles("two") - 1
