"""The suite runs in an environment whose other plugins are none of its business."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import ROOT, Ended

Call = Callable[..., Ended]
# As pytest-asyncio 1.5 does where no scope is configured; the suite's warnings are errors.
WARNS = """
import warnings

def pytest_configure(config):
    warnings.warn("the configuration option is unset")
"""
BREAKS = """
def pytest_configure(config):
    raise RuntimeError("the plugin is broken")
"""
TURNS_EVERY_RESULT = """
import pytest

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    report.outcome = "failed"
    return report
"""


def install(text: str) -> str:
    """Have a distribution with such a plugin in the environment. Returns the search path that has it."""
    folder = Path("elsewhere")
    (folder / "others-1.dist-info").mkdir(parents=True)
    (folder / "others.py").write_text(text)
    (folder / "others-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1\n")
    (folder / "others-1.dist-info/entry_points.txt").write_text("[pytest11]\nothers = others\n")
    return os.pathsep.join((str(ROOT), str(folder.absolute())))


@pytest.mark.parametrize("text", [WARNS, BREAKS, TURNS_EVERY_RESULT], ids=["warns", "breaks", "turns every result"])
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_plugin_of_others_changes_nothing(text: str, workers: str, command: Call) -> None:
    search_path = install(text)
    ended = command("run", "--kernel", "host", "-n", workers, "--json", "--", "-k", "nop", PYTHONPATH=search_path)
    assert "INTERNALERROR" not in ended.err, ended
    assert ended.code == 0, ended
    assert {"pass": 1} == json.loads(ended.out)["counts"]


def test_a_plugin_that_is_named_is_wanted(command: Call) -> None:
    """Behind `--`, as pytest takes it."""
    search_path = install(WARNS)
    arguments = ("run", "--kernel", "host", "-n", "0", "--", "-k", "nop", "-p", "others")
    assert "the configuration option is unset" in command(*arguments, PYTHONPATH=search_path).err
