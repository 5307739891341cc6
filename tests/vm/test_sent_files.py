"""What real guests find of the files that were sent, through the window and in the initramfs."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_guests import DEADLINE_S, NEWEST, OLDEST, machine, run

from vm.guest.init import WORK_PATH
from vm.machine import Guest

pytestmark = pytest.mark.vm

_NAMES = (b"a b", b"test_f[y].txt", b"new\nline", b"\xff\xfe", b"\xc3\xa4")
_WALK = """
import os, stat
result = {}
for folder, folders, files in os.walk(b"/work"):
    for name in folders + files:
        path = folder + b"/" + name
        status = os.lstat(path)
        kind = stat.S_IFMT(status.st_mode)
        read = {stat.S_IFLNK: os.readlink, stat.S_IFREG: lambda path: open(path, "rb").read()}
        content = read.get(kind, lambda path: b"")(path)
        result[os.path.relpath(path, b"/work").hex()] = [status.st_mode, content.hex(), status.st_uid, status.st_gid]
"""


@pytest.fixture(scope="module", params=[OLDEST, NEWEST])
def kernel(request: pytest.FixtureRequest) -> str:
    which: str = request.param
    return which


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("source")
    for name in _NAMES:
        (folder / os.fsdecode(name)).write_bytes(name)
    (folder / "run").write_text("#!/usr/bin/python3\nprint('ran')\n")
    (folder / "run").chmod(0o751)
    (folder / "link").symlink_to("run")
    (folder / "gone").symlink_to(os.fsdecode(b"no/\xff"))
    (folder / "empty").mkdir(mode=0o700)
    (folder / "closed").mkdir()
    (folder / "closed/mine.py").write_text("")
    (folder / "closed").chmod(0o555)
    os.mkfifo(folder / "pipe")
    yield folder
    (folder / "closed").chmod(0o755)


@pytest.fixture(scope="module")
def third_party(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of its own, and one that has the name of one of the tests' and of the standard library's."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("only", "both", "json"):
        (folder / f"{name}.py").write_text("WHERE = __file__\n")
    return folder


@pytest.fixture(scope="module", params=["window", "initramfs"])
def guest(
    request: pytest.FixtureRequest,
    kernel: str,
    source: Path,
    third_party: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Guest]:
    files = {str(path.relative_to(source)): path for path in source.rglob("*")} | {"both.py": third_party / "both.py"}
    site = {path.name: path for path in third_party.iterdir()}
    config = machine(kernel, files, site, has_window=request.param == "window")
    with Guest.boot(config, tmp_path_factory.mktemp("console"), deadline_s=DEADLINE_S) as guest:
        yield guest


def test_a_guest_finds_everything_as_it_was(guest: Guest, source: Path) -> None:
    found: dict[bytes, Any] = {bytes.fromhex(name): entry for name, entry in run(guest, _WALK).items()}
    assert {owner for *_, uid, gid in found.values() for owner in (uid, gid)} == {0}
    for path in source.rglob("*"):
        mode, content, _, _ = found[os.fsencode(path.relative_to(source))]
        assert mode == path.lstat().st_mode, path
        if path.is_symlink():
            assert bytes.fromhex(content) == os.fsencode(path.readlink())
        elif path.is_file():
            assert bytes.fromhex(content) == path.read_bytes()
    assert found.keys() - {os.fsencode(path.relative_to(source)) for path in source.rglob("*")} == {
        b"__pycache__",
        b"__pycache__/both.cpython-313.pyc",
        b"__pycache__/in_guest.cpython-313.pyc",
        b"both.py",
        b"closed/__pycache__",
        b"closed/__pycache__/mine.cpython-313.pyc",
        b"in_guest.py",
    }


def test_third_party_packages_come_last(guest: Guest) -> None:
    code = """
        import sys, only, both, json as standard
        result = [only.WHERE, only.__cached__, both.WHERE, None, sys.path[0], sys.path[-1]]
        result[3] = standard.__file__.startswith("/usr/lib")
    """
    assert run(guest, code) == [
        "/site/only.py",
        "/site/__pycache__/only.cpython-313.pyc",
        f"{WORK_PATH}/both.py",
        True,
        "/work",
        "/site",
    ]


def test_children_find_them_too(guest: Guest) -> None:
    code = """
        import subprocess, sys
        ask = "import only, both, pytest; print(only.WHERE, both.WHERE)"
        result = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout.split()
        result += subprocess.run(["./link"], capture_output=True, text=True, check=True).stdout.split()
    """
    assert run(guest, code) == ["/site/only.py", f"{WORK_PATH}/both.py", "ran"]
