"""`uring-matrix run` in a directory that has results: the second command that a user types."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from reports.results import Status, read, write

from .conftest import Ended

Call = Callable[..., Ended]
ROOT = Path(__file__).parents[2]
BREAKS_A_FILE = """
def pytest_pycollect_makemodule(module_path, parent):
    if module_path.name == "test_basics.py":
        raise parent.CollectError("No module named 'no_such_module'")
"""
HOST = ("run", "--kernel", "host", "-n", "0", "--out", "m")


@pytest.fixture
def matrix(command: Call) -> Path:
    """A finished run of a few tests, with its site."""
    ended = command(*HOST, "--", "-k", "nop or close or fsync")
    assert ended.code == 0, ended
    return Path("m")


def content() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path("m").rglob("*") if path.is_file()}


def test_a_narrower_run_keeps_the_rest_and_says_so(command: Call, matrix: Path) -> None:
    before = read(matrix)
    ended = command(*HOST, "--", "-k", "nop")
    assert ended.code == 0, ended
    assert [row.key for row in read(matrix).results] == [row.key for row in before.results]
    count = len(before.results) - 1
    assert f"{count} cells of an earlier run are kept: host" in ended.out
    page = (matrix / "kernel/host.html").read_text()
    assert f"{count} verdicts of this column are of an earlier run" in page
    assert (matrix / "can/nop.html").exists()


def test_json_counts_what_was_asked_for(command: Call, matrix: Path) -> None:
    count = len(read(matrix).results)
    summary = json.loads(command(*HOST, "--json", "--", "-k", "nop").out)
    assert (sum(summary["counts"].values()), summary["kept"], summary["complete"]) == (1, count - 1, True)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_file_that_cannot_be_collected_is_said_and_costs_nothing(command: Call, matrix: Path, workers: str) -> None:
    before = content()
    Path("breaks_a_file.py").write_text(BREAKS_A_FILE)
    arguments = ("run", "--kernel", "host", "-n", workers, "--out", "m", "--", "-p", "breaks_a_file")
    ended = command(*arguments, PYTHONPATH=os.pathsep.join((str(ROOT), str(Path.cwd()))))
    assert ended.code == 2, ended
    assert "No module named 'no_such_module'" in ended.err
    assert "1 file cannot be collected; nothing was run, and nothing in m was changed" in ended.err
    assert content() == before


def test_collecting_only_changes_nothing(command: Call, matrix: Path) -> None:
    before = content()
    ended = command(*HOST, "--", "--collect-only")
    assert (ended.code, "NOT complete" in ended.out) == (0, False), ended
    assert content() == before


def test_without_a_report_no_page_contradicts_the_results(command: Call, matrix: Path) -> None:
    (matrix / "notes.html").write_text("<p>of the user's own")
    ended = command(*HOST, "--no-report", "--", "-k", "nop")
    assert not (matrix / "index.html").exists()
    assert (matrix / "notes.html").exists()
    assert ended.out.splitlines()[-1] == "report:  none; to write it: uring-matrix report m --out m"
    assert command("report", "m", "--out", "m").code == 0
    assert (matrix / "index.html").exists()


def test_resuming_is_never_green_above_what_it_kept(command: Call, matrix: Path) -> None:
    """The cells are asked for, although their verdicts were there."""
    found = read(matrix)
    rows = list(found.results)
    rows[0] = replace(rows[0], status=Status.FAIL)
    write(matrix / "results.json", replace(found, results=tuple(rows)))
    assert command(*HOST, "--resume", "--", "-k", "nop or close or fsync").code == 1
    other = next(row.test for row in rows if rows[0].test not in row.test)
    assert command(*HOST, "--resume", "--", "-k", other).code == 0


def test_the_same_mode_twice_is_one(command: Call) -> None:
    ended = command(*HOST, "--mode", "default", "--mode", "default", "--", "-k", "nop")
    assert (ended.code, len(read("m").results)) == (0, 1), ended
