"""The plugin as its user meets it: pytest in a process of its own, on this machine's kernel, and its results.json."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import cast
from xml.etree import ElementTree

import pytest

from harness import plugin
from reports.results import Qualifier, Results, Status, exit_code, read
from vm.lock import Pin, render_lock

TESTS = '''
import os
import pytest
from harness.unsupported import unsupported

@pytest.fixture
def broken():
    raise RuntimeError("the fixture is broken")

@pytest.mark.since("5.1")
def test_passes():
    """What passes passes."""
    assert os.uname().sysname == "Linux"

def test_fails():
    assert sorted([3, 1]) == [1, 2]

def test_limit():
    result = -22
    assert result > 0

def test_call_fails():
    os.close(-1)

def test_errs():
    undefined_name

def test_setup_errs(broken):
    pass

def test_unsupported():
    unsupported("no such operation", "res -22 (EINVAL) from IORING_OP_X")

def test_skips():
    pytest.skip("too late to judge")

@pytest.mark.parametrize("n", [1, 2])
def test_parameters(n):
    assert 2 > n

class TestInClass:
    def test_method(self):
        pass
'''
EXPECTED = {
    "test_passes": Status.PASS,
    "test_fails": Status.FAIL,
    "test_limit": Status.FAIL,
    "test_call_fails": Status.FAIL,
    "test_errs": Status.ERROR,
    "test_setup_errs": Status.ERROR,
    "test_unsupported": Status.UNSUPPORTED,
    "test_skips": Status.SKIP,
    "test_parameters[1]": Status.PASS,
    "test_parameters[2]": Status.FAIL,
    "TestInClass.test_method": Status.PASS,
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "test_mine.py").write_text(TESTS)
    return tmp_path


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )


def verdicts(results: Results) -> dict[str, Status]:
    return {row.test: row.status for row in results.results}


def test_a_session_that_asks_for_no_kernel_is_left_alone(project: Path) -> None:
    done = run(project, "--collect-only", "test_mine.py")
    assert "test_mine.py::test_passes\n" in done.stdout
    assert "host" not in done.stdout


def test_ids_name_the_kernel_and_the_mode_before_anything_else(project: Path) -> None:
    done = run(project, "--collect-only", "--kernel", "host", "--mode", "default", "--mode", "no-sqarray")
    assert "test_mine.py::test_passes[host-default]" in done.stdout
    assert "test_mine.py::test_passes[host-no-sqarray]" in done.stdout
    assert "test_mine.py::test_parameters[host-default-2]" in done.stdout


def test_every_option_is_asked_for_somewhere() -> None:
    """One that is only offered, and perhaps checked, would be a promise that nobody keeps."""
    offered: set[str] = set()

    class Parser:
        def getgroup(self, *_: str) -> "Parser":
            return self

        def addoption(self, name: str, **_: object) -> None:
            offered.add(name.removeprefix("--").replace("-", "_"))

    plugin.pytest_addoption(cast(pytest.Parser, Parser()))
    room = Path(plugin.__file__).parent
    asked = {name for path in room.glob("*.py") for name in re.findall(r'option\("(\w+)"', path.read_text())}
    assert "matrix_lock" in offered
    assert offered - asked == set()


def test_a_lock_file_names_the_kernels(project: Path) -> None:
    """Without the archive: what is pinned is known. An architecture that it has no kernel of would be an empty run."""
    pins = [
        Pin(name, name, "amd64", f"{name}.0", "0" * 64, package=f"linux-image-{name}", package_version="1-1")
        for name in ("6.1", "6.12")
    ]
    (project / "kernels.lock").write_text(render_lock(pins))
    done = run(project, "--collect-only", "--matrix-lock", "kernels.lock", "-k", "test_passes")
    # Which goes first depends on how long they took the last time.
    assert {line for line in done.stdout.splitlines() if "::" in line} == {
        "test_mine.py::test_passes[6.12-default]",
        "test_mine.py::test_passes[6.1-default]",
    }
    done = run(project, "--collect-only", "--matrix-lock", "kernels.lock", "--arch", "arm64")
    assert (done.returncode, "pins kernels for amd64, and --arch is arm64" in done.stderr) == (4, True), done


@pytest.mark.parametrize("workers", ["0", "2"])
def test_every_verdict_reaches_the_results(project: Path, workers: str) -> None:
    done = run(project, "--kernel", "host", "--matrix-out", "out", "-n", workers)
    results = read(project / "out/results.json")
    assert verdicts(results) == EXPECTED
    assert results.complete
    assert exit_code(results) == 1
    assert done.returncode == 1
    rows = {row.test: row for row in results.results}
    assert (rows["test_fails"].expected, rows["test_fails"].actual) == ("[1, 2]", "[1, 3]")
    assert (rows["test_limit"].expected, rows["test_limit"].actual) == ("> 0", "-22")
    assert "EBADF" in (rows["test_call_fails"].actual or "") or "Bad file" in (rows["test_call_fails"].actual or "")
    assert rows["test_unsupported"].evidence == ("res -22 (EINVAL) from IORING_OP_X",)
    assert rows["test_unsupported"].reason == "no such operation"
    assert "setup" in rows["test_setup_errs"].reason
    assert Qualifier.FLAKY not in rows["test_fails"].qualifiers
    titles = [test.title for test in results.tests if test.id.startswith("test_parameters")]
    assert titles == ["test_parameters [1]", "test_parameters [2]"]
    [passes] = [test for test in results.tests if test.id == "test_passes"]
    assert (passes.since, passes.doc, passes.source) == ("5.1", "What passes passes.", "test_mine.py:10")
    assert all(row.reproduce and "--kernel host" in row.reproduce for row in results.results)


def test_a_stopped_run_is_not_complete_and_can_be_resumed(project: Path) -> None:
    run(project, "--kernel", "host", "--matrix-out", "out", "-x")
    stopped = read(project / "out/results.json")
    assert not stopped.complete
    assert verdicts(stopped)["test_passes"] is Status.PASS
    assert verdicts(stopped)["test_skips"] is Status.NOTRUN
    assert exit_code(stopped) == 1  # what failed outweighs what did not run
    done = run(project, "--kernel", "host", "--matrix-out", "out", "--matrix-resume", "-v")
    assert "test_passes" not in done.stdout  # it has its verdict
    assert verdicts(read(project / "out/results.json")) == EXPECTED


def test_a_run_that_is_killed_leaves_what_it_has(project: Path) -> None:
    (project / "test_mine.py").write_text(
        "import os\ndef test_a(): pass\ndef test_b(): os._exit(3)\ndef test_c(): pass\n"
    )
    run(project, "--kernel", "host", "--matrix-out", "out")
    assert not (project / "out/results.json").exists()
    assert '"test_a"' in (project / "out/results.jsonl").read_text()


def test_an_older_result_is_not_taken_for_this_runs(project: Path) -> None:
    run(project, "--kernel", "host", "--matrix-out", "out")
    (project / "test_mine.py").write_text("import os\ndef test_a(): os._exit(3)\n")
    run(project, "--kernel", "host", "--matrix-out", "out")
    assert not (project / "out/results.json").exists()


def test_selection_and_junit_work_as_ever(project: Path) -> None:
    done = run(project, "--kernel", "host", "-k", "passes or fails", "--junitxml", "junit.xml")
    assert re.search(r"2 failed, 1 passed", done.stdout)
    cases = ElementTree.parse(project / "junit.xml").getroot().iter("testcase")
    assert {case.get("name") for case in cases} == {
        "test_passes[host-default]",
        "test_fails[host-default]",
        "test_call_fails[host-default]",
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--mode", "fast"), "no mode is called 'fast'; there are default"),
        (("--kernel", "./nothing"), "nothing"),
        (("--kernel", "host", "--arch", "vax"), "architecture 'vax' are not supported"),
        (("--matrix-lock", "absent.lock"), "absent.lock cannot be read"),
        (("--matrix-lock", "absent.lock", "--kernel", "host"), "leave one of them out"),
        (("--kernel", "host", "--matrix-resume"), "--matrix-resume needs --matrix-out"),
        (("--kernel", "host", "--matrix-resume", "--matrix-out", "out"), "there is no run to go on with in"),
    ],
)
def test_bad_input_is_a_usage_error_with_a_sentence(project: Path, arguments: tuple[str, ...], sentence: str) -> None:
    done = run(project, *arguments)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_the_journal_names_every_cell_before_the_first_verdict(project: Path) -> None:
    run(project, "--kernel", "host", "--matrix-out", "out")
    events = [json.loads(line) for line in (project / "out/results.jsonl").read_text().splitlines()]
    kinds = [event["event"] for event in events]
    first_plan = events[kinds.index("plan")]
    assert kinds[0] == "start"
    assert kinds.index("plan") < kinds.index("result")
    assert {cell[0] for cell in first_plan["cells"]} == set(EXPECTED)
    assert kinds[-1] == "end"


def test_what_a_test_is_is_found_and_told_once(tmp_path: Path) -> None:
    """In whatever number of cells: its source is sought in the file line by line."""
    (tmp_path / "conftest.py").write_text(
        "import os, inspect\n"
        "getsource = inspect.getsource\n"
        "def say(*words):\n"
        "    with open(f'said-{os.getpid()}', 'a') as file:\n"
        "        print(*words, file=file)\n"
        "def counted(function):\n"
        "    say('sought', function.__name__)\n"
        "    return getsource(function)\n"
        "inspect.getsource = counted\n"
        "def pytest_runtest_logreport(report):\n"
        "    if hasattr(report, 'matrix_test'):\n"
        "        say('told', report.nodeid.partition('[')[0])\n"
    )
    (tmp_path / "test_mine.py").write_text("def test_one(): pass\ndef test_two(): pass\n")
    options = ["--kernel=host", "--mode=default", "--mode=coop-taskrun", "--matrix-out=out", "-p", "no:cacheprovider"]
    ran = subprocess.run([sys.executable, "-m", "pytest", *options], cwd=tmp_path, capture_output=True, check=False)
    results = read(tmp_path / "out")
    assert len(results.results) == 4, ran.stdout.decode() + ran.stderr.decode()
    assert ["def test_one(): pass\n", "def test_two(): pass\n"] == [test.code for test in results.tests]
    [said] = tmp_path.glob("said-*")
    assert sorted(said.read_text().splitlines()) == [
        "sought test_one",
        "sought test_two",
        "told test_mine.py::test_one",
        "told test_mine.py::test_two",
    ]
