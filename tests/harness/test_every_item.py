"""Every item runs where it was asked for and has its row, whatever kind of item it is and whatever it raises."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass

import pytest

from reports.results import Results, Status, read

FILES = {
    "pytest.ini": "[pytest]\naddopts = --doctest-modules\n",
    # Whatever runs on the host says so where the host finds it.
    "place.py": """
import os, pathlib
def here(name):
    if "URING_MATRIX_GUEST" not in os.environ:
        with pathlib.Path(__file__).with_name("here").open("a") as file:
            file.write(name + "\\n")
""",
    "conftest.py": """
import pytest, place
class Line(pytest.Item):
    def runtest(self):
        place.here("line")
class Lines(pytest.File):
    def collect(self):
        return [Line.from_parent(self, name=line) for line in self.path.read_text().split()]
def pytest_collect_file(parent, file_path):
    if file_path.suffix == ".lines":
        return Lines.from_parent(parent, path=file_path)
""",
    "own.lines": "line",
    "documented.py": '''
def double(number):
    """
    >>> import place; place.here("doctest")
    >>> double(2)
    4
    """
    return 2 * number
''',
    "test_unittest.py": """
import unittest, place
class Old(unittest.TestCase):
    def test_method(self):
        place.here("method")
""",
    "test_f[y].py": "import place\ndef test_in_brackets():\n    place.here('brackets')\n",
    "test_functions.py": """
import getpass, multiprocessing, socket, subprocess, place

class NoText(Exception):
    def __str__(self):
        raise RuntimeError("no text")

def test_function():
    place.here("function")

def test_raises_what_has_no_text():
    raise NoText

async def test_async():
    pass

def test_has_no_such_fixture(nobody):
    pass

def test_spawns():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(abs, [-1]) == [1]

def test_user():
    assert getpass.getuser()

def test_shell():
    assert subprocess.run(["sh", "-c", "exit 3"]).returncode == 3

def test_localhost():
    assert socket.getaddrinfo("localhost", 80)
""",
}
# Verdict and reason. What no kernel has a part in is `error`.
EXPECTED = {
    "line": (Status.PASS, ""),
    "documented.double": (Status.PASS, ""),
    "Old.test_method": (Status.PASS, ""),
    "test_in_brackets": (Status.PASS, ""),
    "test_function": (Status.PASS, ""),
    "test_raises_what_has_no_text": (Status.ERROR, "call: <NoText whose str() raised RuntimeError>"),
    "test_async": (Status.ERROR, "call: async def functions are not natively supported."),
    "test_has_no_such_fixture": (Status.ERROR, "setup: fixture 'nobody' not found"),
    "test_spawns": (Status.PASS, ""),
    "test_user": (Status.PASS, ""),
    "test_shell": (Status.PASS, ""),
    "test_localhost": (Status.PASS, ""),
}
KINDS = ["brackets", "doctest", "function", "line", "method"]


@dataclass(frozen=True)
class Ran:
    """The suite above, when it has run."""

    said: str
    # Which kinds of items ran on this machine.
    here: list[str]
    results: Results


@pytest.fixture(scope="module", params=["host", pytest.param("6.1", marks=pytest.mark.vm)])
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    project = tmp_path_factory.mktemp("project")
    for name, text in FILES.items():
        (project / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--kernel", request.param, "--matrix-out", "out"],
        cwd=project,
        env={**os.environ, "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    said = done.stdout + done.stderr
    assert (project / "out/results.json").exists(), said
    marks = project / "here"
    here = sorted(marks.read_text().split()) if marks.exists() else []
    return Ran(said, here, read(project / "out"))


def test_every_item_runs_where_it_was_asked_for(ran: Ran) -> None:
    [kernel] = ran.results.kernels
    assert (KINDS if kernel.id == "host" else []) == ran.here


def test_every_item_has_its_row(ran: Ran) -> None:
    assert set(EXPECTED) == {row.test for row in ran.results.results}, ran.said
    assert ran.results.complete


@pytest.mark.parametrize("test", EXPECTED)
def test_an_item_has_its_verdict(test: str, ran: Ran) -> None:
    [row] = [row for row in ran.results.results if row.test == test]
    assert EXPECTED[test] == (row.status, row.reason)


def test_no_item_ends_the_session(ran: Ran) -> None:
    """Nor do its neighbours pay for it."""
    assert "INTERNALERROR" not in ran.said
    # Before 8.4 pytest itself calls an async function skipped, in this process.
    assert "2 failed, 9 passed, 1 error" in ran.said or (
        pytest.version_tuple < (8, 4) and re.search("1 failed, 9 passed, 1 skipped, .*1 error", ran.said)
    )
