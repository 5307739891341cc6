"""The command that evidence gives was executed: of every kind of test, kernel and session, it runs that cell alone."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from archive_kernels import oldest_and_newest

from vm.cache import Cache
from vm.fetch import Kernels
from vm.progress import PlainProgress
from vm.settings import Settings

TESTS = """
import unittest
import pytest

def test_plain(): pass

@pytest.mark.parametrize("text", ["plain", "two words", "it's \\"$HOME\\"", "a/b;c&d"])
def test_with_parameters(text): assert text != "two words"

class TestClass:
    @pytest.mark.parametrize("number", [1, 2])
    def test_in_a_class(self, number): assert number == 1

class Case(unittest.TestCase):
    def test_of_unittest(self): pass
"""
COUNT = 8


class Place:
    """A project, and a shell in it."""

    def __init__(self, root: Path, directory: Path) -> None:
        self.root = root
        self.directory = directory

    def shell(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a line as it stands."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return subprocess.run(
            ["sh", "-c", command],
            cwd=self.directory,
            env={**os.environ, "PATH": path, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def results(self, out: Path) -> list[dict[str, Any]]:
        """The rows that a session has written, each with its test's place below the root directory."""
        document = json.loads((out / "results.json").read_text())
        nodes = {test["id"]: test["node"] for test in document["tests"]}
        return [{**row, "node": nodes[row["test"]]} for row in document["results"]]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    root = tmp_path / "a project"
    (root / "tests" / "inner").mkdir(parents=True)
    (root / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (root / "tests" / "inner" / "test_some.py").write_text(TESTS)
    return Place(root, root / "tests")


def check(place: Place, tmp_path: Path, command: str, count: int, ran_by: str = "pytest") -> list[str]:
    """Run a session, then what each of its rows says: the same cell alone, with the same verdict."""
    first, again = (Path(tempfile.mkdtemp(dir=tmp_path)) / name for name in ("first", "again"))
    done = place.shell(f"{command} --matrix-out '{first}'" if ran_by == "pytest" else f"{command} --out '{first}'")
    rows = place.results(first)
    assert len(rows) == count, done.stdout + done.stderr
    for row in rows:
        assert row["reproduce"].split()[0] == ran_by
        extra = {"PYTEST_ADDOPTS": f"--matrix-out={shlex.quote(str(again))}"} if ran_by == "pytest" else {}
        done = place.shell(row["reproduce"], **extra)
        found = place.results(again if ran_by == "pytest" else place.directory / "reproduced")
        keys = [{name: one[name] for name in ("test", "node", "arch", "mode", "status")} for one in found]
        assert keys == [{name: row[name] for name in keys[0]}], (row["reproduce"], done.stdout + done.stderr)
        for out in (again, place.directory / "reproduced"):
            if out.exists():
                for path in sorted(out.rglob("*"), reverse=True):
                    path.rmdir() if path.is_dir() else path.unlink()
                out.rmdir()
    return [row["reproduce"] for row in rows]


def test_every_kind_of_test(place: Place, tmp_path: Path) -> None:
    """Parameters that a shell would take apart, classes, TestCases; a root directory above the one of the session."""
    commands = check(place, tmp_path, "pytest inner --kernel host", COUNT)
    assert all(" inner/test_some.py::" in command or " 'inner/test_some.py::" in command for command in commands)


def test_a_root_directory_and_options_that_were_named(place: Place, tmp_path: Path) -> None:
    place.directory = place.root / "elsewhere"
    place.directory.mkdir()
    options = "--rootdir ../tests -W error -o xfail_strict=true -q -rA -k plain"
    for command in check(place, tmp_path, f"pytest ../tests/inner {options} --kernel host", 2):
        words = shlex.split(command)
        assert {"--rootdir=../tests", "error", "xfail_strict=true"} <= set(words)
        assert not {"-q", "-rA", "-k", "plain"} & set(words)


def test_the_suite_of_an_installed_package(place: Place, tmp_path: Path) -> None:
    """Outside of any checkout, by pytest and by our own command."""
    run = "-p no:cacheprovider --pyargs conformance.zig.test_basics --kernel host -k nop"
    (command,) = check(place, tmp_path, f"pytest {run}", 1)
    assert "--pyargs" in command
    assert "conformance.zig.test_basics::test_nop" in command


def test_our_own_command(place: Place, tmp_path: Path) -> None:
    command = "uring-matrix run host -k 'zig and (nop or readv)' --mode default --mode coop-taskrun -n 0"
    commands = check(place, tmp_path, command, 6, "uring-matrix")
    assert sum("--mode coop-taskrun" in command for command in commands) == 3


WAVERS = """
from pathlib import Path
import pytest

COUNT = Path(__file__).with_suffix(".count")

def waver():
    COUNT.write_text("x" + (COUNT.read_text() if COUNT.exists() else ""))
    assert len(COUNT.read_text()) % 2

def pytest_runtest_call(item):
    if item.originalname == "test_nop":
        waver()

def test_wavers(): waver()
def test_steady(): pass
"""


def test_what_wavered_is_repeated_as_often(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it may pass, and there would be nothing to see."""
    (place.root / "tests" / "inner" / "test_wavers.py").write_text(WAVERS)
    steady, wavering = check(place, tmp_path, "pytest inner/test_wavers.py --kernel host --matrix-repeat 2", 2)[::-1]
    assert "--matrix-repeat=2" in shlex.split(wavering)
    assert "repeat" not in steady
    monkeypatch.setenv("PYTHONPATH", str(place.root / "tests" / "inner"))
    monkeypatch.setenv("PYTEST_PLUGINS", "test_wavers")
    command = "uring-matrix run host -k 'zig and (test_nop or readv)' --repeat 4 --until-failure -n 0"
    for line in check(place, tmp_path, command, 3, "uring-matrix"):
        assert ({"--repeat=4", "--until-failure"} <= set(shlex.split(line))) == ("test_nop" in line)
        assert ("--until-failure" in line) == ("--repeat" in line)


@pytest.mark.vm
@pytest.mark.slow  # `tox -e faults`
def test_guests_by_package_path_and_lock(place: Place, tmp_path: Path) -> None:
    """The exact package, the image's path, what a lock pins; isolated, with an accelerator that was named."""
    newest = oldest_and_newest()[-1]
    settings = Settings.load()
    kernels = Kernels(Cache(settings.cache, PlainProgress()), settings, PlainProgress())
    reference = kernels.resolve([newest])[0]
    image = tmp_path / "an image"
    image.symlink_to(kernels.fetch(reference).image)
    options = "-k 'two or plain' --isolate --accel tcg --matrix-test-timeout 50"
    by_package = check(place, tmp_path, f"pytest inner {options} --kernel {newest}", 3)
    for command in by_package:
        words = shlex.split(command)
        assert words[words.index("--kernel") + 1] == f"{reference.package}={reference.package_version}"
        assert {"--isolate", "--accel=tcg", "--matrix-test-timeout=50"} <= set(words)
    by_path = check(place, tmp_path, f"pytest inner -k plain --kernel '{image}'", 2)
    assert all(str(image.resolve()) in command for command in by_path)
    assert place.shell(f"uring-matrix kernels lock {newest} -o ../kernels.lock").returncode == 0
    (by_lock,) = check(place, tmp_path, "uring-matrix run --lock ../kernels.lock -k nop -n 0", 1, "uring-matrix")
    assert f"{reference.package}={reference.package_version}" in by_lock


@pytest.mark.parametrize(
    "session",
    [
        pytest.param("pytest inner other", id="found above what was named"),
        pytest.param("pytest -c ../pyproject.toml inner other", id="named"),
    ],
)
def test_settings_that_are_nearer_to_the_test_than_those_of_the_session(
    place: Place, tmp_path: Path, session: str
) -> None:
    """Asked for alone, a test would be run with settings of its own folder, if they are any."""
    (place.directory / "inner" / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (place.directory / "other").mkdir()
    (place.directory / "other" / "test_other.py").write_text("def test_other(): pass\n")
    check(place, tmp_path, f"{session} --kernel host -k 'plain or other'", 3)


def test_a_root_directory_that_only_the_session_has(place: Place, tmp_path: Path) -> None:
    """Without settings, pytest takes a folder with a setup.py, or what the arguments have in common."""
    (place.root / "pyproject.toml").unlink()
    (place.root / "tests" / "inner" / "setup.py").write_text("")
    place.directory = place.root / "elsewhere"
    place.directory.mkdir()
    (place.root / "tests" / "test_other.py").write_text("def test_other(): pass\n")
    check(place, tmp_path, "pytest ../tests/inner ../tests/test_other.py --kernel host -k 'plain or other'", 3)


def test_kernels_and_modes_that_the_settings_name(place: Place, tmp_path: Path) -> None:
    """Of the configuration file's options those stay that tests depend on."""
    (place.root / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\naddopts = "--kernel host --mode coop-taskrun --mode default -W error"\n'
    )
    commands = check(place, tmp_path, "pytest inner -k two", 2)
    assert all("addopts=-W error" in shlex.split(command) for command in commands)


def test_options_of_a_variable(place: Place, tmp_path: Path) -> None:
    """It may still be set, and must not add a cell."""
    options = "--kernel host --mode coop-taskrun --mode default -W error"
    first, again = tmp_path / "first", tmp_path / "again"
    place.shell(f"pytest inner -k two --matrix-out '{first}'", PYTEST_ADDOPTS=options)
    rows = place.results(first)
    assert len(rows) == 2
    for number, row in enumerate(rows):
        place.shell(f"{row['reproduce']} --matrix-out '{again}{number}'", PYTEST_ADDOPTS=options)
        found = place.results(Path(f"{again}{number}"))
        assert [(one["test"], one["mode"]) for one in found] == [(row["test"], row["mode"])]
