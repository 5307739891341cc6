"""Saved guests: found by what shaped them, discarded when anything is wrong with them, never needed."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vm import snapshots
from vm.architectures import AMD64
from vm.cache import Cache
from vm.cache import _held as opened
from vm.errors import BootError
from vm.machine import Emulator, MachineConfig, Memory
from vm.monitor import MonitorError
from vm.snapshots import KIND, Snapshots, copy_memory, key_of, occupied_bytes


class FakeGuest:
    """Stands in for a guest: what was done with it, and what goes wrong when a test wants it to."""

    log: list[str]
    wrong: dict[str, Callable[[], None]]

    def __init__(self, config: MachineConfig, *, is_restored: bool) -> None:
        self.config, self.is_restored = config, is_restored
        self.console = config.kernel.with_name("printed.txt")
        self.console.write_text("Linux version 6.1\n")
        self.ready = {"release": "6.1.0"}

    @classmethod
    def _do(cls, what: str) -> None:
        cls.log.append(what)
        if what in cls.wrong:
            cls.wrong[what]()

    @classmethod
    def boot(cls, config: MachineConfig, directory: Path, *, deadline_s: float, memory: Any = None) -> "FakeGuest":
        cls._do("boot")
        if memory is not None:
            os.pwrite(memory.descriptor, b"memory", 1 << 20)
        return cls(config, is_restored=False)

    @classmethod
    def restore(
        cls,
        config: MachineConfig,
        directory: Path,
        memory: Memory,
        *,
        deadline_s: float,
        find_damage: Callable[[], str | None],
    ) -> "FakeGuest":
        if (damage := find_damage()) is not None:
            raise BootError(damage)
        cls._do("restore")
        assert memory.state is not None
        assert memory.state.read_bytes() == b"state"
        assert os.pread(memory.descriptor, 6, 1 << 20) == b"memory"
        assert (directory / "console.txt").read_text() == "Linux version 6.1\n"
        return cls(config, is_restored=True)

    def save(self, state: Path, deadline_s: float) -> None:
        state.write_bytes(b"state")
        self._do("save")

    def go_on(self, deadline_s: float) -> None:
        self._do("go on")

    def kill(self) -> None:
        self._do("kill")


@pytest.fixture(autouse=True)
def guest(monkeypatch: pytest.MonkeyPatch) -> type[FakeGuest]:
    monkeypatch.setattr(FakeGuest, "log", [], raising=False)
    monkeypatch.setattr(FakeGuest, "wrong", {}, raising=False)
    monkeypatch.setattr(snapshots, "Guest", FakeGuest)
    return FakeGuest


@pytest.fixture
def config(tmp_path: Path) -> MachineConfig:
    for name in ("qemu", "vmlinuz", "initrd", "payload"):
        (tmp_path / name).write_text(name)
    return MachineConfig(
        AMD64,
        Emulator((str(tmp_path / "qemu"),)),
        tmp_path / "vmlinuz",
        tmp_path / "initrd",
        memory_mib=2,
        payload=tmp_path / "payload",
    )


@pytest.fixture
def start(config: MachineConfig, cache: Cache, recorder: Any, tmp_path: Path) -> Callable[..., Any]:
    """Starts a guest as a run of its own would."""

    def run(machine: MachineConfig = config, **options: Any) -> Any:
        return Snapshots(Cache(cache.directory, recorder), recorder, **options).start(machine, tmp_path, deadline_s=1)

    return run


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def file_of(cache: Cache, name: str) -> Path:
    (key,) = cache.keys(KIND)
    return cache.directory / KIND / key / name


def test_a_guest_boots_once_and_is_restored_ever_after(start: Any, guest: Any, recorder: Any) -> None:
    assert [start().is_restored for _ in range(3)] == [False, True, True]
    assert guest.log == ["boot", "save", "go on", "restore", "restore"]
    assert recorder.notes == []


@pytest.mark.parametrize("changed", ["qemu", "vmlinuz", "initrd"])
def test_another_content_is_another_snapshot(config: MachineConfig, changed: str, tmp_path: Path) -> None:
    before = key_of(config)
    (tmp_path / changed).write_text("the next version")
    assert key_of(config) != before


def test_whatever_shapes_the_machine_shapes_the_key(config: MachineConfig) -> None:
    others = [
        replace(config, memory_mib=512),
        replace(config, parameters=("quiet",)),
        replace(config, payload=None),
        replace(config, emulator=Emulator(config.emulator.command, environment={"QEMU_MODULE_DIR": "/m"})),
        replace(config, architecture=replace(AMD64, qemu_cpu="max")),
        replace(config, architecture=replace(AMD64, qemu_machine="q35")),
    ]
    assert len({key_of(config), *map(key_of, others)}) == 1 + len(others)


def test_the_code_under_test_shapes_no_snapshot(config: MachineConfig, tmp_path: Path) -> None:
    before = key_of(config)
    (tmp_path / "payload").write_text("edited")
    assert key_of(config) == before


def test_where_files_lie_does_not_matter(config: MachineConfig, tmp_path: Path) -> None:
    (tmp_path / "moved").write_text("vmlinuz")
    assert key_of(replace(config, kernel=tmp_path / "moved")) == key_of(config)


def test_some_guests_are_never_saved(start: Any, config: MachineConfig, guest: Any, cache: Cache) -> None:
    """Under KVM; at somebody's terminal; with the code under test in their image."""
    start(replace(config, emulator=Emulator(config.emulator.command, "kvm")))
    start(replace(config, is_interactive=True))
    start(replace(config, payload=None))
    assert guest.log == ["boot"] * 3
    assert cache.keys(KIND) == []


@pytest.mark.parametrize("name", ["memory", "state", "console", "manifest.json"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "removed"])
def test_a_damaged_snapshot_is_thrown_away(
    start: Any, guest: Any, cache: Cache, recorder: Any, name: str, damage: str
) -> None:
    start()
    file = file_of(cache, name)
    content = file.read_bytes()
    if damage == "flipped":
        file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif damage == "truncated":
        file.write_bytes(content[: len(content) // 2])
    else:
        file.unlink()
    assert not start().is_restored
    assert len(recorder.notes) == 1
    assert "thrown away" in recorder.notes[0]
    assert start().is_restored


@pytest.mark.parametrize("name", ["memory", "state", "console"])
def test_a_snapshot_whose_manifest_lacks_a_file_is_thrown_away(
    start: Any, cache: Cache, recorder: Any, name: str
) -> None:
    start()
    manifest = file_of(cache, "manifest.json")
    document = json.loads(manifest.read_text())
    del document["files"][name]
    manifest.write_text(json.dumps(document))
    assert not start().is_restored
    assert len(recorder.notes) == 1
    assert name in recorder.notes[0]
    assert start().is_restored


def test_a_foreign_snapshot_is_not_used(start: Any, config: MachineConfig, cache: Cache, recorder: Any) -> None:
    """Whole in itself, but under a name that is not its own."""
    start(replace(config, memory_mib=512))
    shutil.copytree(file_of(cache, ""), cache.directory / KIND / key_of(config))
    assert not start().is_restored
    assert len(recorder.notes) == 1
    assert "another machine" in recorder.notes[0]
    assert start().is_restored


def test_a_snapshot_that_does_not_restore_is_replaced(start: Any, guest: Any, recorder: Any) -> None:
    start()
    guest.wrong["restore"] = raising(BootError("the saved guest did not go on: no such device"))
    assert not start().is_restored
    assert guest.log == ["boot", "save", "go on", "restore", "boot", "save", "go on"]
    (note,) = recorder.notes
    assert "no such device" in note
    assert "the guest boots" in note
    del guest.wrong["restore"]
    assert start().is_restored


def test_another_kernel_than_the_saved_one_is_not_believed(
    start: Any, guest: Any, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    start()
    restore = guest.restore

    def another(*arguments: Any, **options: Any) -> Any:
        made = restore(*arguments, **options)
        made.ready = {"release": "6.2.0"}
        return made

    monkeypatch.setattr(guest, "restore", another)
    assert not start().is_restored
    assert guest.log[3:5] == ["restore", "kill"]
    assert "6.2.0" in recorder.notes[0]


def test_a_guest_that_cannot_be_saved_goes_on(start: Any, guest: Any, recorder: Any, cache: Cache) -> None:
    guest.wrong["save"] = raising(MonitorError("QEMU could not move the state"))
    assert not start().is_restored
    assert guest.log == ["boot", "save", "go on"]
    assert cache.keys(KIND) == []
    assert "no snapshot is kept" in recorder.notes[0]


def test_a_guest_that_saving_stopped_for_good_boots_again(start: Any, guest: Any, recorder: Any) -> None:
    guest.wrong["go on"] = raising(MonitorError("cont: Resetting the Virtual Machine is required"))
    start()
    assert guest.log == ["boot", "save", "go on", "kill", "boot"]
    assert "boots again" in recorder.notes[0]


def test_a_full_disk_while_saving_costs_the_snapshot_only(in_small_world: Any) -> None:
    code = """
import os
from vm import snapshots
from vm.architectures import AMD64
from vm.cache import Cache
from vm.cache import _held as opened
from vm.machine import Emulator, MachineConfig
from vm.progress import SilentProgress
from vm.snapshots import KIND, Snapshots

class Notes(SilentProgress):
    lines = []
    def note(self, line):
        self.lines.append(line)

class Guest:
    ready = {"release": "6.1.0"}
    log = []
    config = MachineConfig(AMD64, Emulator(("qemu",)), place / "vmlinuz", place / "initrd", payload=place / "payload")
    console = place / "printed.txt"
    @classmethod
    def boot(cls, config, directory, *, deadline_s, memory=None):
        os.pwrite(memory.descriptor, b"x" * (4 << 20), 0)
        return cls()
    def save(self, state, deadline_s):
        state.write_bytes(b"state")
    def go_on(self, deadline_s):
        self.log.append("go on")

Guest.console.write_text("")
snapshots.Guest = Guest
cache = Cache(place / "cache")
Snapshots(cache, Notes()).start(Guest.config, place, deadline_s=1)
result = [Guest.log, Notes.lines, cache.keys(KIND), [path.name for path in (place / "cache/temporary").iterdir()]]
"""
    log, notes, keys, left = in_small_world('mount -t tmpfs -o size=2m none "$1"', code)
    assert (log, keys, left) == (["go on"], [], [])
    assert len(notes) == 1
    assert "no space left" in notes[0]


@pytest.mark.parametrize("moment", ["save", "restore"])
def test_a_kill_leaves_nothing_half_done(start: Any, guest: Any, cache: Cache, recorder: Any, moment: str) -> None:
    if moment == "restore":
        start()
    child = os.fork()
    if child == 0:
        guest.wrong[moment] = lambda: os.kill(os.getpid(), signal.SIGKILL)
        start()
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert start().is_restored == (moment == "restore")
    assert start().is_restored
    assert recorder.notes == []
    with cache.temporary():
        pass  # whoever makes something next cleans up after the dead
    assert list((cache.directory / "temporary").iterdir()) == []


def test_the_least_recently_used_go_when_the_budget_is_spent(start: Any, config: MachineConfig, cache: Cache) -> None:
    machines = [replace(config, memory_mib=size) for size in (4, 8, 16)]
    for age, machine in enumerate(machines[:2]):
        start(machine)
        manifest = cache.directory / KIND / key_of(machine) / "manifest.json"
        os.utime(manifest, (1000 + age, 1000 + age))
    one_bytes = occupied_bytes(cache.directory / KIND / key_of(machines[0]))
    # What a living process has open stays: the run that evicts is another one than those that made them.
    for descriptor in opened.values():
        os.close(descriptor)
    opened.clear()
    start(machines[2], budget_bytes=5 * one_bytes // 2)
    assert sorted(cache.keys(KIND)) == sorted(map(key_of, machines[1:]))


def test_memory_is_copied_with_its_holes(tmp_path: Path) -> None:
    source = os.memfd_create("source")
    os.truncate(source, 64 << 20)
    os.pwrite(source, b"one", 5)
    os.pwrite(source, bytes(1 << 20), 8 << 20)  # written, but empty
    os.pwrite(source, b"end", (64 << 20) - 3)
    copy_memory(source, tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_size == 64 << 20
    assert (tmp_path / "copy").read_bytes() == os.pread(source, 64 << 20, 0)
    assert occupied_bytes(tmp_path) <= 1 << 18
    os.close(source)
