"""What the tests of the command line share: a clean environment, two ways to call it, an archive of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The sample results belong to another room's tests.
sys.path += [str(ROOT / "tests"), str(ROOT / "tests" / "reports")]

from own_archive import FakeArchive, serving  # noqa: E402

from uring_matrix.cli import execute  # noqa: E402

_SETTINGS = ("CACHE", "MIRROR", "ACCEL", "OFFLINE")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of this machine's user; what a test exports through options is taken back."""
    for name in _SETTINGS:
        monkeypatch.setenv(f"URING_MATRIX_{name}", "")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("URING_MATRIX_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Calls the command line in this process."""

    def call(*arguments: str) -> Ended:
        capsys.readouterr()
        code = execute(arguments)
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return call


@pytest.fixture
def command() -> Callable[..., Ended]:
    """Calls the command line in a process of its own."""

    def call(*arguments: str, **environment: str) -> Ended:
        done = subprocess.run(
            [sys.executable, "-m", "uring_matrix", *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeArchive]:
    """A Debian archive with two series, which this machine's apt configuration names for the length of a test."""
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    with serving(tmp_path) as fake:
        yield fake
