"""Reports on their way from a worker to the controller: in one piece, and the same when they are there."""

import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

from harness import packed_reports

# Takes down, in both processes, what other plugins see of a report; and how much execnet is given to write.
CONFTEST = """
NAMES = ("nodeid", "when", "outcome", "duration", "start", "location", "keywords", "sections", "user_properties")

def seen(report):
    return repr([getattr(report, name) for name in NAMES])

class Witness:
    def __init__(self, config):
        self.place = "worker" if hasattr(config, "workerinput") else "controller"

    def pytest_runtest_logreport(self, report):
        with open(self.place, "a") as file:
            print(seen(report), report.longrepr, file=file)

def pytest_configure(config):
    config.pluginmanager.register(Witness(config))

def pytest_sessionstart(session):
    for plugin in session.config.pluginmanager.get_plugins():
        if hasattr(plugin, "sendevent"):
            watch(plugin)

def watch(plugin):
    send = plugin.sendevent
    def sendevent(name, **sent):
        if name == "testreport":
            with open("sent", "a") as file:
                print(len(sent["data"]), file=file)
        send(name, **sent)
    plugin.sendevent = sendevent
"""
TESTS = """
import pytest

def test_passes(record_property):
    record_property("key", (1, 2.5, None, b"bytes"))
    print("\\udcff of no encoding, and \u20ac")

def test_fails():
    assert [1] == [2]

@pytest.mark.skip(reason="why not")
def test_skips():
    pass
"""


def test_plugins_see_the_same_on_both_sides(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_mine.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--kernel", "host", "-n", "1"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 failed, 1 passed, 1 skipped" in ran.stdout, ran.stdout + ran.stderr
    assert "why not" in (tmp_path / "controller").read_text()
    assert (tmp_path / "worker").read_text() == (tmp_path / "controller").read_text()
    # Of each report one thing, and the three that xdist adds.
    assert {"4"} == set((tmp_path / "sent").read_text().split())


class Controller:
    """A configuration of a process that is no worker."""


class Worker(Controller):
    workerinput: ClassVar[dict[str, Any]] = {}


def passed_through(config: Any, data: Any) -> Any:
    """What other plugins return for a report, as xdist gets it."""
    hook = packed_reports.pytest_report_to_serializable(config)
    next(hook)
    with pytest.raises(StopIteration) as end:
        hook.send(data)
    return end.value.value


def test_nothing_is_packed_where_it_is_written_for_others() -> None:
    """A plugin that writes a log of reports asks for them in the controller."""
    data = {"nodeid": "test_a.py::test_x"}
    assert passed_through(Controller(), data) == {"nodeid": "test_a.py::test_x"}
    assert passed_through(Worker(), data) != data


def test_what_is_no_plain_data_is_left_to_execnet() -> None:
    data = {"an object": object()}
    assert passed_through(Worker(), data) is data


def test_what_came_beside_it_stays() -> None:
    packed = {**passed_through(Worker(), {"longrepr": ("a.py", 1, "why")}), "worker_id": "gw0"}
    hook = packed_reports.pytest_report_from_serializable(packed)
    next(hook)
    assert packed == {"longrepr": ("a.py", 1, "why"), "worker_id": "gw0"}
