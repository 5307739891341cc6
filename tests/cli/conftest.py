"""What the tests of the command line share: a clean environment, two ways to call it, an archive of its own."""

import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The archive made of nothing and the sample results belong to other rooms' tests.
sys.path += [str(ROOT / "tests" / "vm"), str(ROOT / "tests" / "reports")]

from fake_archive import FakeArchive, make_key, serve  # noqa: E402

from uring_matrix.cli import execute  # noqa: E402

_SETTINGS = ("CACHE", "MIRROR", "ACCEL", "OFFLINE")
RELEASES = {"6.1": "6.1.0-9-cloud-amd64", "6.12": "6.12.1-3-cloud-amd64"}


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
    for name in ("NO_COLOR", "FORCE_COLOR"):
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


def bzimage(release: str) -> bytes:
    """Make the header of an x86 kernel, and nothing it could boot."""
    content = bytearray(1024 + 256)
    content[0x1F1] = 1
    struct.pack_into("<I", content, 0x1F4, 256 // 16)
    content[0x1FE:0x200] = b"\x55\xaa"
    content[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", content, 0x206, 0x20F)
    struct.pack_into("<H", content, 0x20E, 0x100)
    struct.pack_into("<H", content, 0x236, 1)
    text = f"{release} (builder)".encode() + b"\0"
    content[0x300 : 0x300 + len(text)] = text
    return bytes(content)


@pytest.fixture(scope="session")
def signer() -> Iterator[tuple[Path, Path]]:
    """A throwaway key: where its private half is, and its public half."""
    for program in ("gpg", "apt-get"):
        if shutil.which(program) is None:
            pytest.skip(f"a signed archive needs {program}")
    # Short, because gpg puts a socket into it.
    with tempfile.TemporaryDirectory(prefix="gpg-") as folder:
        home = Path(folder) / "home"
        try:
            yield home, make_key(home)
        finally:
            subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, capture_output=True)


@pytest.fixture
def archive(tmp_path: Path, signer: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeArchive]:
    """A Debian archive with two series, which this machine's apt configuration names for the length of a test."""
    home, key = signer
    fake = FakeArchive(tmp_path / "archive", key=key, home=home)
    fake.root.mkdir()
    for suite, series in (("bookworm", "6.1"), ("trixie", "6.12")):
        release = RELEASES[series]
        fake.add(suite, f"linux-image-{release}", f"{series}.1-1", {f"boot/vmlinuz-{release}": bzimage(release)})
    fake.publish()
    server = serve(fake)
    sources = tmp_path / "sources.list"
    sources.write_text(f"deb [signed-by={key}] {fake.address} bookworm main\n")
    configuration = tmp_path / "apt.conf"
    configuration.write_text(f'Dir::Etc::SourceList "{sources}";\nDir::Etc::SourceParts "/dev/null";\n')
    monkeypatch.setenv("APT_CONFIG", str(configuration))
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
