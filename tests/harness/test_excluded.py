"""A mode has no cell for a test that asks for what the mode excludes; `all` stands for every mode."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.excluded import is_excluded
from harness.suites import Mode, named_modes
from reports.results import read

PLUGIN = """
import pytest
from harness.suites import Mode, Suite

@pytest.hookimpl(optionalhook=True)
def pytest_matrix_suite():
    modes = {name: Mode(name, (name,), excludes=globs) for name, globs in (("fast", ()), ("red", ("COLOUR_*",)))}
    return Suite(__name__, (__name__,), modes)
"""
TESTS = """
import pytest
import unittest

@pytest.mark.symbols("SHAPE_ROUND", "COLOUR_BLUE")
def test_blue():
    pass

@pytest.mark.symbols("SHAPE_ROUND")
def test_round():
    pass

def test_nothing_named():
    pass

class Old(unittest.TestCase):
    @pytest.mark.symbols("COLOUR_GREEN")
    def test_green(self):
        pass
"""


@pytest.mark.parametrize(
    ("names", "excluded"), [(["A_B"], True), (["X", "A_C"], True), (["B_A"], False), ([], False), (["A"], False)]
)
def test_globs_choose_names(names: list[str], excluded: bool) -> None:
    assert excluded is is_excluded(names, ("A_*", "C"))


def test_all_stands_for_every_mode_once() -> None:
    known = {name: Mode(name) for name in ("default", "one", "two")}
    assert ["default"] == named_modes([], known)
    assert ["two", "default", "one"] == named_modes(["two", "all", "one"], known)
    with pytest.raises(KeyError, match="three"):
        named_modes(["three"], known)


def test_a_mode_leaves_out_what_it_excludes(tmp_path: Path) -> None:
    """Such a cell is not planned: it is neither passed nor skipped, and the run is complete without it."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "colours.py").write_text(PLUGIN)
    (tmp_path / "test_colours.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "colours", "-o", "pythonpath=."]
    done = subprocess.run(
        [*command, "--kernel=host", "--mode=fast", "--mode=red", "--matrix-out=out"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "6 passed, 2 deselected" in done.stdout, done.stdout + done.stderr
    results = read(tmp_path / "out")
    assert results.complete
    named = {mode: sorted(row.test for row in results.results if row.mode == mode) for mode in ("fast", "red")}
    assert 4 == len(named["fast"])
    assert ["test_nothing_named", "test_round"] == named["red"]
