"""What is observed in one go, and misbehaves: each costs itself, with its verdict, and the others get theirs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reports.results import Qualifier, Results, Status, read

pytestmark = [pytest.mark.vm, pytest.mark.slow]  # `tox -e faults`

HERE = Path(__file__).parent
HAS = (Status.PASS, "has", 1)


def run(folder: Path, *arguments: str) -> Results:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:uring-matrix-suite"]
    command += ["-p", "asking_suite.plugin", "--pyargs", "asking_suite", "--matrix-out", "out", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (folder / "out" / "results.json").exists(), done.stdout + done.stderr
    return read(folder / "out" / "results.json")


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return run(tmp_path_factory.mktemp("asked"), "--kernel=6.1")


def test_each_costs_itself_and_the_others_get_their_verdict(observed: Results) -> None:
    assert observed.complete
    assert {row.test: (row.status, row.state, max(1, len(row.attempts))) for row in observed.results} == {
        "test_beside_it": (Status.PASS, None, 1),
        "has": HAS,
        "lacks": (Status.UNSUPPORTED, "lacks", 1),
        "off": (Status.SKIP, "off", 1),
        "untold": (Status.SKIP, "not-determinable", 1),
        "died": (Status.CRASH, "not-determinable", 2),
        "hung": (Status.TIMEOUT, "not-determinable", 2),
        "warns": HAS,
        "after-the-warning": HAS,
        "panics": (Status.CRASH, None, 2),
        "after-the-panic": HAS,
        "kills-the-observer": (Status.CRASH, None, 2),
        "after-the-kill": HAS,
        "quits": (Status.ERROR, None, 1),
        "after-the-quit": HAS,
        "raises": (Status.ERROR, None, 1),
        "after-the-error": HAS,
        "leaves": HAS,
    }


def test_who_did_something_to_the_kernel_has_it_in_its_evidence(observed: Results) -> None:
    rows = {row.test: row for row in observed.results}
    assert any("Kernel panic" in line for line in rows["panics"].evidence)
    assert [name for name, row in rows.items() if Qualifier.KERNEL_WARNING in row.qualifiers] == ["warns"]
    assert [name for name, row in rows.items() if Qualifier.LEFT_BEHIND in row.qualifiers] == ["leaves"]
    assert any("Umask" in line and "observed together" in line for line in rows["leaves"].evidence)
    assert "this observer is broken" in " ".join(rows["raises"].evidence)


def test_what_was_seen_stands_in_the_row_and_what_is_known_in_the_test(observed: Results) -> None:
    rows = {row.test: row for row in observed.results}
    assert (rows["has"].value, rows["has"].claimed) == (3, True)
    assert rows["has"].evidence == ("has was asked", "the kernel's own word: it has it")
    assert (rows["lacks"].reason, rows["lacks"].claimed) == ("asked: EINVAL", True)
    assert rows["off"].reason == "switched off: a switch is off"
    [test] = [one for one in observed.tests if one.id == "has"]
    assert (test.kind, test.symbols, test.group, test.number, test.detect) == (
        "capability",
        ("HAS",),
        "Asked",
        7,
        "ask",
    )
    assert [(one.since, one.where) for one in test.documented] == [("5.1", "a page")]
    assert test.code is not None
    assert test.code.startswith("def _observe")
    assert test.source is not None
    assert test.source.startswith("asking_suite/plugin.py:")


def test_some_can_be_chosen_and_a_resumed_run_asks_for_the_rest(tmp_path: Path) -> None:
    first = run(tmp_path, "--kernel=6.1", "-k", "has")
    assert {row.test for row in first.results} == {"has"}
    whole = run(tmp_path, "--kernel=6.1", "-k", "has or lacks or off", "--matrix-resume")
    assert {row.test: row.status for row in whole.results} == {
        "has": Status.PASS,
        "lacks": Status.UNSUPPORTED,
        "off": Status.SKIP,
    }
    assert [row.started for row in whole.results if row.test == "has"] == [row.started for row in first.results]


def test_isolated_tests_get_a_guest_each_and_what_is_observed_one_together(tmp_path: Path) -> None:
    results = run(tmp_path, "--kernel=6.1", "--isolate", "-k", "beside or has or lacks or off")
    assert len(results.results) == 4
    assert len(list((tmp_path / "out" / "consoles").glob("*/console.txt"))) == 2


def test_what_is_repeated_is_observed_so_often_in_one_guest(tmp_path: Path) -> None:
    results = run(tmp_path, "--kernel=6.1", "--matrix-repeat=3", "-k", "has or lacks or panics")
    tries = {row.test: [one.status for one in row.attempts] for row in results.results}
    assert tries == {"has": [Status.PASS] * 3, "lacks": [Status.UNSUPPORTED] * 3, "panics": [Status.CRASH] * 3}
