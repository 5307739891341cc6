"""A test that is run without reports where there is nothing to report: every outcome comes out as pytest has it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import passed

ROOT = Path(__file__).parents[2]
# Every way a test can end, and everything a phase that passed can have to tell.
OUTCOMES = """
import logging
import sys
import unittest
import warnings

import pytest


@pytest.fixture
def talks():
    print("set up")
    yield
    print("torn down", file=sys.stderr)


@pytest.fixture
def breaks():
    raise ValueError("in setup")


@pytest.fixture
def breaks_later():
    yield
    raise ValueError("in teardown")


@pytest.fixture
def yields_never():
    if False:
        yield


@pytest.fixture(scope="module")
def shared():
    yield 1


@pytest.fixture
def marks(request):
    request.applymarker(pytest.mark.xfail(strict=True, reason="found out"))


@pytest.fixture
def adds_a_keyword(request):
    request.node.add_marker("brought")


def test_passes(): pass
def test_fails(): assert [1, 2] == [1, 3]
def test_raises(): raise KeyError("x")
def test_skips(): pytest.skip("why")
def test_xfails(): pytest.xfail("why")
def test_setup_fails(breaks): pass
def test_yields_never(yields_never): pass
def test_teardown_fails(breaks_later): pass
def test_call_and_teardown_fail(breaks_later): assert 1 == 2
def test_shares(shared): assert shared
def test_shares_and_fails(shared, talks): assert not shared
def test_talks(talks): print("in between")
def test_talks_in_setup_only(talks): pass
def test_prints(): print("said")
def test_prints_and_fails(talks): print("said"); assert 1 == 2
def test_logs(): logging.getLogger("x").warning("logged")
def test_logs_and_fails(): logging.getLogger("x").warning("logged"); raise OSError(5, "no")
def test_warns(): warnings.warn("told")
def test_with_a_directory(tmp_path): (tmp_path / "x").write_text("y")
def test_with_a_directory_and_fails(tmp_path): assert not tmp_path
def test_captures(capsys): print("x"); assert capsys.readouterr().out == "x\\n"
def test_logs_are_seen(caplog): logging.getLogger("x").warning("y"); assert caplog.messages == ["y"]
def test_records(record_property): record_property("name", "value")
def test_is_marked_late(marks): pass
def test_is_marked_late_and_fails(marks): assert 1 == 2
def test_has_a_keyword(adds_a_keyword): pass
def test_asks_for_more(request): request.getfixturevalue("shared"); request.getfixturevalue("tmp_path")
@pytest.mark.xfail
def test_is_known_to_fail(): assert 1 == 2
@pytest.mark.xfail
def test_was_known_to_fail(): pass
@pytest.mark.xfail(strict=True)
def test_has_to_fail(): pass
@pytest.mark.xfail(raises=OSError)
def test_fails_otherwise(): assert 1 == 2
@pytest.mark.skipif(True, reason="never")
def test_never(): pass
@pytest.mark.parametrize("number", [1, 2])
def test_numbers(number): assert number == 1
@pytest.mark.filterwarnings("error")
def test_warning_is_an_error(): warnings.warn("told")
async def test_waits(): pass
class TestThings:
    def setup_method(self): print("method")
    def test_passes(self): pass
class TestCase(unittest.TestCase):
    def test_passes(self): pass
    def test_fails(self): self.assertEqual(1, 2)
    def test_skips(self): self.skipTest("why")
"""
# Runs them as the process in a guest does, without the process, and writes down what it would tell the agent.
PROGRAM = """
import json, sys
import pytest
from harness.facts import FactsPlugin
from harness.guest.brief_protocol import BriefProtocol
from harness.guest.item_loop import Lines, Reporter
from harness.guest.progress import Progress

class Wire:
    def __init__(self): self.sent = []
    def send(self, message): self.sent.append(message["data"])

class Session:
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session):
        wire, progress = Wire(), Progress()
        reporter = Reporter(session, Lines(wire, None, -1, progress))
        session.config.pluginmanager.register(reporter)
        if sys.argv[1] == "brief":
            session.config.pluginmanager.register(BriefProtocol(session, progress))
        told = {}
        for item, following in zip(session.items, [*session.items[1:], None]):
            progress.begin()
            reporter.begin(item)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            told[item.nodeid] = {
                "reports": [*wire.sent, *progress.reports()],
                "warnings": reporter.take_warnings(),
                "is_settled": reporter.is_settled,
                "is_brief": bool(progress.passed),
            }
            wire.sent.clear()
        print("TOLD " + json.dumps(told))
        return True

sys.exit(pytest.main(sys.argv[2:], plugins=[FactsPlugin(), Session()]))
"""
OTHERS_HOOK = """
def pytest_runtest_makereport(item, call):
    "Wants to see each report."
"""


def told(folder: Path, how: str) -> dict[str, dict[str, Any]]:
    """What each test told, without times."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_outcomes.py").write_text(OUTCOMES)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how, "-p", "no:cacheprovider", "-q", f"--basetemp={folder / 'temporary'}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"TOLD (.*)$", done.stdout, re.MULTILINE)
    assert found is not None, done.stdout + done.stderr
    made: dict[str, dict[str, Any]] = json.loads(re.sub(r"0x[0-9a-f]+", "0x", found[1]))
    for one in made.values():
        for report in one["reports"]:
            assert report.pop("start") > 0
            assert report.pop("duration") >= 0
    return made


def test_every_outcome_is_told_as_pytest_tells_it(tmp_path: Path) -> None:
    full, brief = told(tmp_path, "full"), told(tmp_path, "brief")
    assert [name for name, one in full.items() if one["is_brief"]] == []
    few = {name.partition("::")[2] for name, one in brief.items() if one["is_brief"]}
    assert {"test_passes", "test_shares", "test_with_a_directory", "test_numbers[1]"} <= few
    assert few.isdisjoint({"test_fails", "test_talks", "test_is_marked_late", "TestCase::test_passes"})
    for name, one in full.items():
        assert {**one, "is_brief": None} == {**brief[name], "is_brief": None}, name
    assert OUTCOMES.count("def test_") + 1 == len(full)


def test_a_few_numbers_are_the_reports() -> None:
    times = [1764170000.123456, 0.000123, 1764170000.124, 0.25, 1764170000.5, 0.0]
    made = passed.reports(passed.numbers(times))
    assert ["setup", "call", "teardown"] == [report["when"] for report in made]
    assert times == [report[name] for report in made for name in ("start", "duration")]
    assert [] == passed.reports(passed.numbers([]))
    assert made[:1] == passed.reports(passed.numbers(times[:2]))


def test_somebody_who_wants_reports_gets_each(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(OTHERS_HOOK)
    assert [name for name, one in told(tmp_path, "brief").items() if one["is_brief"]] == []


@pytest.mark.parametrize("hook", ["pytest_runtest_logreport", "pytest_report_to_serializable"])
def test_whatever_it_is_that_they_look_at(tmp_path: Path, hook: str) -> None:
    (tmp_path / "conftest.py").write_text(f"def {hook}(report): pass\n")
    assert [name for name, one in told(tmp_path, "brief").items() if one["is_brief"]] == []
