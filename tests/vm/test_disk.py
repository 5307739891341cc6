"""Payloads that are too large for a guest's memory lie on a disk of their own."""

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from real_guests import DEADLINE_S, NEWEST, OLDEST, machine, run

from uring_matrix.guests import setup_for
from vm import cpio, disk, image
from vm.architectures import AMD64
from vm.cache import Cache, hash_tree
from vm.machine import Emulator, Guest, MachineConfig, qemu_arguments
from vm.progress import SILENT
from vm.snapshots import Beginning, Snapshots

_PAGE = 4096


def archive(path: Path, sizes: list[int]) -> Path:
    with path.open("wb") as file:
        cpio.write_cpio(file, (cpio.Entry(f"work/{n}", 0o100644, bytes(size)) for n, size in enumerate(sizes)))
    return path


@pytest.mark.parametrize(
    ("sizes", "is_needed"),
    [
        ([disk.MEMORY_MAX], False),
        ([disk.MEMORY_MAX + 1], True),
        ([1] * (disk.MEMORY_MAX // _PAGE), False),
        ([1] * (disk.MEMORY_MAX // _PAGE + 1), True),
    ],
    ids=["fits", "too large", "many fit", "too many"],
)
def test_what_counts_is_the_memory_that_files_take(tmp_path: Path, sizes: list[int], is_needed: bool) -> None:
    assert disk.is_needed(archive(tmp_path / "payload.cpio", sizes)) is is_needed


@pytest.fixture(scope="module", params=[40, pytest.param(400, marks=pytest.mark.slow)])
def mib(request: pytest.FixtureRequest) -> int:
    size: int = request.param
    return size


@pytest.fixture(scope="module")
def source(mib: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("source")
    # Always the same, for the cache keeps what is made of it.
    block = random.Random(0).randbytes(1 << 20)
    for number in range(mib):
        (folder / f"{number}.bin").write_bytes(b"%9d" % number + block[9:])
    (folder / "link").symlink_to("0.bin")
    (folder / "run").write_text("#!/bin/sh\necho ran\n")
    (folder / "run").chmod(0o755)
    (folder / os.fsdecode(b"\xff [x]")).write_text("any bytes")
    (folder / "closed").mkdir()
    (folder / "closed/file").write_text("x")
    (folder / "closed").chmod(0o555)
    yield folder
    (folder / "closed").chmod(0o755)


@pytest.fixture(scope="module", params=[OLDEST, NEWEST])
def config(request: pytest.FixtureRequest, source: Path) -> MachineConfig:
    files = {str(path.relative_to(source)): path for path in source.rglob("*")}
    config = machine(request.param, files, {"third.py": source / "run"}, has_disk=True)
    assert config.payload is None
    assert config.memory_mib == 256
    return config


_USE = """
import hashlib, os, pathlib, subprocess
work = pathlib.Path("/work")
digest = hashlib.sha256()
for number in range(%d):
    with open(f"{number}.bin", "rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
result = [os.getcwd(), digest.hexdigest(), os.readlink("link"), os.path.exists("/site/third.py")]
result.append(subprocess.run("./run", capture_output=True, text=True).stdout)
result.append((work / os.fsdecode(b"\\xff [x]")).read_text())
result.append(oct((work / "closed").stat().st_mode))
(work / "new").mkdir()
(work / "new/file").write_bytes(bytes(50 << 20))
(work / "0.bin").write_bytes(b"changed")
os.sync()
result.append(subprocess.run(["mke2fs", "-q", "-F", "/dev/nvme0n1"]).returncode)
result.append(sorted(name for name in os.listdir("/dev") if name.startswith("nvme") and "n1" in name))
"""


@pytest.mark.vm
def test_everything_is_there_and_can_be_written_to(
    config: MachineConfig, mib: int, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256()
    for number in range(mib):
        digest.update(hashlib.sha256((source / f"{number}.bin").read_bytes()).digest())
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    assert config.payload_disk is not None
    before = hash_tree(config.payload_disk.parent, sparse=[config.payload_disk.name])
    with Guest.boot(config, tmp_path, deadline_s=DEADLINE_S) as guest:
        assert list(temporary.iterdir()) == []
        found = run(guest, _USE % mib)
        assert run(guest, "import os; result = os.path.getsize('0.bin')") == 7  # the next process finds it so
    assert found == [
        *("/work", digest.hexdigest(), "0.bin", True),
        *("ran\n", "any bytes", "0o40555"),
        *(0, ["nvme0n1"]),
    ]
    assert hash_tree(config.payload_disk.parent, sparse=[config.payload_disk.name]) == before
    assert list(temporary.iterdir()) == []


@pytest.mark.vm
def test_everything_is_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever made the disk."""
    write_all = disk.window.write_all

    def write_as_somebody(content: bytes, directory: str) -> None:
        write_all(content, directory)
        for path in [Path(directory), *Path(directory).rglob("*")]:
            if os.geteuid() == 0:
                os.chown(path, 70_000, 80_000, follow_symlinks=False)

    monkeypatch.setattr(disk.window, "write_all", write_as_somebody)
    setup = setup_for(None)
    files = {"in_guest.py": Path(__file__).parent / "in_guest.py", "folder": tmp_path}
    payload = image.payload(setup.runtime(), Cache(tmp_path / "cache"), files=files)
    made = disk.make(setup.runtime(), payload, Cache(tmp_path / "cache"))
    code = """
        import pathlib
        paths = [pathlib.Path("/work"), *pathlib.Path("/work").rglob("*")]
        result = [len(paths), sorted({owner for path in paths for owner in (path.stat().st_uid, path.stat().st_gid)})]
    """
    with Guest.boot(
        replace(machine(NEWEST), payload=None, payload_disk=made), tmp_path, deadline_s=DEADLINE_S
    ) as guest:
        assert run(guest, code) == [5, [0]]


def test_a_guest_with_such_a_disk_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU cannot save an NVMe drive."""
    booted: list[MachineConfig] = []
    monkeypatch.setattr(Guest, "boot", lambda config, *_, **__: booted.append(config))
    config = MachineConfig(AMD64, Emulator(("qemu",)), tmp_path, tmp_path, payload_disk=tmp_path / "a,b")
    for one in (config, replace(config, payload=tmp_path)):
        snapshots = Snapshots(Cache(tmp_path / "cache"), SILENT)
        snapshots.start(one, tmp_path, Beginning(None, lambda _: {}), deadline_s=1)
    assert len(booted) == 2
    assert not (tmp_path / "cache").exists()


def test_the_disk_is_a_drive_that_keeps_nothing(tmp_path: Path) -> None:
    config = MachineConfig(AMD64, Emulator(("qemu",)), tmp_path, tmp_path, payload_disk=Path("/a,b"))
    arguments = qemu_arguments(config, console=tmp_path, channel_descriptor=3, monitor_descriptor=4)
    drive = arguments[arguments.index("-drive") + 1].replace(",,", "\0").split(",")
    assert {"snapshot=on", "format=raw", "file=/a\0b"} <= set(drive)
