"""Test modules with their assertions rewritten, kept in our cache: the same code, never an older one's."""

import json
import marshal
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.guest import rewriting
from vm.cache import BYTECODE, Cache

Run = Callable[..., str]
# Says which modules pytest makes in this process.
CONFTEST = """
import _pytest.assertion.rewrite as rewrite

original = rewrite._rewrite_test

def made(fn, config):
    with open("made", "a") as file:
        print(fn.name, file=file)
    return original(fn, config)

rewrite._rewrite_test = made
"""
TEST = "def test_mine():\n    number = 1\n    assert number == {}\n"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def run(tmp_path: Path, cache: Path) -> Run:
    """Runs a project's tests in this machine's kernel, where nothing may be written beside sources."""

    def call(*arguments: str, **environment: str) -> str:
        (tmp_path / "made").unlink(missing_ok=True)
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--kernel", "host", *arguments],
            cwd=tmp_path / "project",
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "URING_MATRIX_CACHE": str(cache), **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return ran.stdout + ran.stderr

    project = tmp_path / "project"
    project.mkdir()
    (project / "conftest.py").write_text(CONFTEST)
    (project / "test_mine.py").write_text(TEST.format(2))
    return call


def made(tmp_path: Path) -> list[str]:
    """The modules that pytest itself made in the last run."""
    found = tmp_path / "project" / "made"
    names = found.read_text().split() if found.exists() else []
    found.unlink(missing_ok=True)
    return [name for name in names if name.startswith("test_")]


def test_a_module_is_made_once(run: Run, tmp_path: Path) -> None:
    first = run()
    assert "assert 1 == 2" in first
    assert made(tmp_path) == ["test_mine.py"]
    second = run()
    assert "assert 1 == 2" in second
    assert made(tmp_path) == []
    assert sorted(path.name for path in (tmp_path / "project").iterdir()) == ["conftest.py", "test_mine.py"]


def test_by_several_workers_at_once(run: Run, tmp_path: Path, cache: Path) -> None:
    for number in range(8):
        (tmp_path / "project" / f"test_{number}.py").write_text(TEST.format(1))
    assert "8 passed" in run("-n", "2")
    made(tmp_path)
    assert "8 passed" in run("-n", "2")
    assert made(tmp_path) == []
    assert not [path.name for path in (cache / BYTECODE).iterdir() if path.name.startswith(".")]


def test_an_edit_counts_though_size_and_time_are_the_same(run: Run, tmp_path: Path) -> None:
    """Containers and archives give files the time they like."""
    source = tmp_path / "project" / "test_mine.py"
    os.utime(source, (1, 1))
    assert "assert 1 == 2" in run()
    source.write_text(TEST.format(1))
    os.utime(source, (1, 1))
    assert "1 passed" in run()
    source.write_text(TEST.format(3))
    os.utime(source, (1, 1))
    assert "assert 1 == 3" in run()


@pytest.mark.parametrize("damage", [lambda content: content[:-7], lambda content: content[:80], lambda content: b""])
def test_a_damaged_file_is_made_again(run: Run, tmp_path: Path, cache: Path, damage: Callable[[bytes], bytes]) -> None:
    run()
    made(tmp_path)
    files = [*(cache / BYTECODE).iterdir()]
    assert files
    for file in files:
        file.write_bytes(damage(file.read_bytes()))
    assert "assert 1 == 2" in run()
    assert made(tmp_path) == ["test_mine.py"]
    run()
    assert made(tmp_path) == []


def test_a_warning_of_the_compiler_is_heard_in_every_run(run: Run, tmp_path: Path) -> None:
    """Python gives it when it compiles; who takes it for an error sees one in any run, too."""
    (tmp_path / "project" / "test_mine.py").write_text("def test_mine():\n    assert (1, 'always true')\n")
    for _ in range(2):
        assert "assertion is always true" in run()
    assert "1 passed" not in run("-W", "error")


def test_where_the_cache_cannot_be_written_modules_are_made(run: Run, tmp_path: Path, cache: Path) -> None:
    cache.mkdir()
    (cache / BYTECODE).write_text("a file where the folder ought to be")
    for _ in range(2):
        assert "assert 1 == 2" in run()
        assert made(tmp_path) == ["test_mine.py"]


def test_pytest_is_as_it_was_when_the_session_is_over(run: Run, tmp_path: Path) -> None:
    (tmp_path / "project" / "conftest.py").write_text("")
    program = (
        "import pytest, _pytest.assertion.rewrite as rewrite; before = rewrite._rewrite_test; "
        "pytest.main(['-q', '-p', 'no:cacheprovider', '--kernel', 'host']); assert rewrite._rewrite_test is before"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path / "project", capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr.decode()


def test_what_nobody_wanted_for_a_month_is_pruned(run: Run, cache: Path) -> None:
    run()
    [old, *_] = (cache / BYTECODE).iterdir()
    new = old.with_name("new")
    shutil.copy(old, new)
    os.utime(old, (time.time() - 40 * 86_400,) * 2)
    assert [(BYTECODE, old.stat().st_size)] == Cache(cache).clear_unused(BYTECODE, 30 * 86_400)
    assert [new] == [*(cache / BYTECODE).iterdir()]
    assert Cache(cache).clear_unused(BYTECODE, 30 * 86_400) == []
    assert Cache(cache).clear_unused("never made", 0) == []


def test_there_is_an_end_to_it(run: Run, cache: Path) -> None:
    """Whose tests lie in temporary directories has others every day."""
    from harness import bytecode

    folder = cache / BYTECODE
    folder.mkdir(parents=True)
    for number in range(bytecode._FILES_MAX + 1):
        file = folder / str(number)
        file.touch()
        os.utime(file, (number, number))
    run()
    left = {path.name for path in folder.iterdir()}
    assert len(left) <= bytecode._FILES_MAX // 2 + 2
    assert str(bytecode._FILES_MAX) in left
    assert "0" not in left


@pytest.mark.parametrize("has_pass_hook", [False, True])
def test_an_edited_test_is_rewritten_as_pytest_does(tmp_path: Path, has_pass_hook: bool) -> None:
    (tmp_path / "pytest.ini").write_text(f"[pytest]\nenable_assertion_pass_hook = {has_pass_hook}\n")
    (tmp_path / "test_it.py").write_text("def test_it():\n    one = 1\n    assert one == 1\n    assert [one] != []\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, stdout=subprocess.DEVNULL)
    (bytecode,) = (tmp_path / "__pycache__").glob("test_it.*-pytest-*.pyc")
    by_pytest = bytecode.read_bytes()
    bytecode.write_bytes(b"of something older")
    subprocess.run([sys.executable, "-P", rewriting.__file__, json.dumps([[str(bytecode)], has_pass_hook])], check=True)
    ours = bytecode.read_bytes()
    assert (ours[:16], marshal.loads(ours[16:])) == (by_pytest[:16], marshal.loads(by_pytest[16:]))
    assert (b"_call_assertion_pass" in ours) == has_pass_hook
