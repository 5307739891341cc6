"""Saved guests: found by what shaped them, discarded when anything is wrong with them, never needed."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from vm import snapshots
from vm.architectures import AMD64
from vm.cache import Cache
from vm.cache import _held as opened
from vm.errors import BootError
from vm.machine import Emulator, MachineConfig, Memory
from vm.monitor import MonitorError
from vm.snapshots import KIND, Beginning, Snapshots, copy_memory, key_of, occupied_bytes


class FakeGuest:
    """Stands in for a guest: what was done with it, and what goes wrong when a test wants it to."""

    log: list[str]
    wrong: dict[str, Callable[[], None]]

    def __init__(self, config: MachineConfig, *, is_restored: bool) -> None:
        self.config, self.is_restored = config, is_restored
        self.console = config.kernel.with_name("printed.txt")
        self.console.write_text("Linux version 6.1\n")
        self.ready = {"release": "6.1.0"}
        self.channel = SimpleNamespace(sent_count=0, received_count=1)
        self.memory: Memory | None = None
        self.work = b"none"

    @classmethod
    def _do(cls, what: str) -> None:
        cls.log.append(what)
        if what in cls.wrong:
            cls.wrong[what]()

    @classmethod
    def boot(cls, config: MachineConfig, directory: Path, *, deadline_s: float, memory: Any = None) -> "FakeGuest":
        cls._do("boot")
        guest = cls(config, is_restored=False)
        if memory is not None:
            assert os.fstat(memory.descriptor).st_size == config.memory_mib << 20
            assert os.pread(memory.descriptor, 6, 1 << 20) in {b"", bytes(6)}
            os.pwrite(memory.descriptor, b"memory", 1 << 20)
            guest.memory = memory
        return guest

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
        guest = cls(config, is_restored=True)
        guest.channel.sent_count, guest.channel.received_count = memory.sent_count + 1, memory.received_count + 1
        guest.memory = memory if memory.is_own else None
        guest.work = os.pread(memory.descriptor, 4, 1 << 16)
        return guest

    def begin(self) -> dict[str, Any]:
        """Have it work: its memory shows that."""
        self._do("begin")
        self.work = b"work"
        self.channel.sent_count += 1
        self.channel.received_count += 1
        if self.memory is not None:
            os.pwrite(self.memory.descriptor, b"work", 1 << 16)
        return {"items": ["one"]}

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
    """Starts a guest as a run of its own would: one that has begun in this way."""

    def run(machine: MachineConfig = config, recipe: Any = "way", **options: Any) -> Any:
        snapshots = Snapshots(Cache(cache.directory, recorder), recorder, **options)
        beginning = Beginning(recipe, lambda guest: cast(Any, guest).begin())
        started, answer = snapshots.start(machine, tmp_path, beginning, deadline_s=1)
        assert (started.work, answer) == (b"work", {"items": ["one"]})
        return started

    return run


BOOTED = ["boot", "save", "go on", "begin", "save", "go on"]


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


READY, BEGUN = False, True


def file_of(cache: Cache, name: str, which: bool = READY) -> Path:
    (key,) = (key for key in cache.keys(KIND) if ("-" in key) == which)
    return cache.directory / KIND / key / name


def test_a_guest_boots_and_begins_once_and_is_restored_ever_after(start: Any, guest: Any, recorder: Any) -> None:
    assert [start().is_restored for _ in range(3)] == [False, True, True]
    assert guest.log == [*BOOTED, "restore", "restore"]
    assert recorder.notes == []


def test_who_restores_a_guest_goes_on_with_its_conversation(start: Any, cache: Cache) -> None:
    start()
    metas = [json.loads(file_of(cache, "manifest.json", which).read_text())["meta"] for which in (READY, BEGUN)]
    assert [(meta["sent_count"], meta["received_count"]) for meta in metas] == [(0, 1), (1, 2)]
    assert start().channel == SimpleNamespace(sent_count=1 + 1, received_count=2 + 1)


def test_whoever_edits_between_any_two_runs_pays_for_no_second_snapshot(
    start: Any, guest: Any, tmp_path: Path, recorder: Any
) -> None:
    start()
    guest.log.clear()
    for number in range(3):
        (tmp_path / "payload").write_text(f"edit {number}")
        assert start().is_restored
    assert guest.log == ["restore", "begin"] * 3
    assert recorder.notes == []


def test_what_was_wanted_twice_in_a_row_is_begun_with_no_third_time(
    start: Any, guest: Any, tmp_path: Path, cache: Cache
) -> None:
    start()
    old = file_of(cache, "", BEGUN)
    guest.log.clear()
    (tmp_path / "payload").write_text("edited, and run again")
    for _ in range(4):
        assert start().is_restored
    assert guest.log == ["restore", "begin", "restore", "begin", "save", "go on", "restore", "restore"]
    assert not old.exists()
    assert len(cache.keys(KIND)) == 2


def test_a_run_of_something_else_in_between_takes_nothing_away(start: Any, guest: Any) -> None:
    start()
    guest.log.clear()
    for _ in range(2):
        start(recipe="another way")
        start()
    assert guest.log == ["restore", "begin", "restore"] * 2


@pytest.mark.parametrize("changed", ["payload", "recipe", "machine"])
def test_a_guest_that_began_otherwise_is_not_used(
    start: Any, guest: Any, config: MachineConfig, tmp_path: Path, changed: str
) -> None:
    start(recipe={"environment": {"A": "1"}})
    guest.log.clear()
    if changed == "payload":
        (tmp_path / "payload").write_text("edited")
    machine = replace(config, parameters=("quiet",)) if changed == "machine" else config
    start(machine, recipe={"environment": {"A": "2" if changed == "recipe" else "1"}})
    assert "begin" in guest.log
    assert ("boot" in guest.log) == (changed == "machine")


def test_as_long_as_one_of_a_pair_is_used_both_are(start: Any, cache: Cache) -> None:
    start()
    manifest = file_of(cache, "manifest.json", READY)
    os.utime(manifest, (1000, 1000))
    assert start().is_restored
    assert manifest.stat().st_mtime > 1000


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
    assert guest.log == ["boot", "begin"] * 3
    assert cache.keys(KIND) == []


@pytest.mark.parametrize(
    ("which", "name"),
    [
        *((READY, name) for name in ("memory", "state", "console", "manifest.json")),
        *((BEGUN, name) for name in ("memory", "state", "console", "manifest.json", "answer")),
    ],
)
@pytest.mark.parametrize("damage", ["flipped", "truncated", "removed"])
def test_a_damaged_snapshot_is_thrown_away(
    start: Any, guest: Any, cache: Cache, recorder: Any, name: str, damage: str, which: bool
) -> None:
    start()
    if which == READY:
        shutil.rmtree(file_of(cache, "", BEGUN))
    file = file_of(cache, name, which)
    content = file.read_bytes()
    if damage == "flipped":
        file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif damage == "truncated":
        file.write_bytes(content[: len(content) // 2])
    else:
        file.unlink()
    guest.log.clear()
    assert start().is_restored == (which == BEGUN)
    assert "begin" in guest.log
    assert len(recorder.notes) == 1
    assert "thrown away" in recorder.notes[0]
    guest.log.clear()
    for _ in range(2):  # at the latest the second one finds it as good as new
        assert start().is_restored
    assert guest.log[-1] == "restore"
    assert len(recorder.notes) == 1


@pytest.mark.parametrize("name", ["memory", "state", "console", "answer"])
def test_a_snapshot_whose_manifest_lacks_a_file_is_thrown_away(
    start: Any, guest: Any, cache: Cache, recorder: Any, name: str
) -> None:
    start()
    manifest = file_of(cache, "manifest.json", BEGUN)
    document = json.loads(manifest.read_text())
    del document["files"][name]
    manifest.write_text(json.dumps(document))
    guest.log.clear()
    assert start().is_restored
    assert guest.log == ["restore", "begin"]
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


def test_a_guest_that_began_with_something_else_is_not_believed(
    start: Any, guest: Any, cache: Cache, recorder: Any
) -> None:
    """Whole in itself, but under a name that is not its own."""
    start()
    start(recipe="another way")
    wanted = (file_of(cache, "") / "last").read_text()
    shutil.copytree(file_of(cache, "", BEGUN), cache.directory / KIND / wanted)
    guest.log.clear()
    assert start(recipe="another way").is_restored
    assert guest.log[:2] == ["restore", "begin"]
    assert len(recorder.notes) == 1
    assert "another machine" in recorder.notes[0]


def test_a_snapshot_that_does_not_restore_is_replaced(start: Any, guest: Any, recorder: Any) -> None:
    start()
    guest.wrong["restore"] = raising(BootError("the saved guest did not go on: no such device"))
    assert not start().is_restored
    assert guest.log == [*BOOTED, "restore", "restore", *BOOTED]
    assert all("no such device" in note for note in recorder.notes)
    assert [note.rpartition(", ")[2] for note in recorder.notes] == ["the guest begins anew", "the guest boots"]
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
    assert guest.log[6:10] == ["restore", "kill", "restore", "kill"]
    assert "6.2.0" in recorder.notes[0]


def test_a_guest_that_cannot_be_saved_goes_on(start: Any, guest: Any, recorder: Any, cache: Cache) -> None:
    guest.wrong["save"] = raising(MonitorError("QEMU could not move the state"))
    assert not start().is_restored
    assert guest.log == BOOTED
    assert cache.keys(KIND) == []
    assert ["no snapshot is kept" in note for note in recorder.notes] == [True, True]


def test_a_guest_that_saving_stopped_for_good_boots_again(start: Any, guest: Any, recorder: Any) -> None:
    guest.wrong["go on"] = raising(MonitorError("cont: Resetting the Virtual Machine is required"))
    start()
    assert guest.log == ["boot", "save", "go on", "kill", "boot", "begin"]
    assert len(recorder.notes) == 1
    assert "boots again" in recorder.notes[0]


def test_a_guest_that_saving_once_more_stopped_for_good_boots_again(
    start: Any, guest: Any, recorder: Any, tmp_path: Path
) -> None:
    start()
    (tmp_path / "payload").write_text("edited")
    start()
    guest.wrong["go on"] = raising(MonitorError("cont: Resetting the Virtual Machine is required"))
    guest.log.clear()
    start()
    assert guest.log == ["restore", "begin", "save", "go on", "kill", "boot", "begin"]
    assert len(recorder.notes) == 1
    assert "boots again" in recorder.notes[0]


def test_a_damaged_memory_leaves_nothing_behind_for_the_guest_that_boots_instead(
    start: Any, guest: Any, cache: Cache, tmp_path: Path, recorder: Any
) -> None:
    """It had been copied already, for a guest that was to be saved once more."""
    start()
    (tmp_path / "payload").write_text("edited")
    start()
    with file_of(cache, "memory").open("r+b") as file:
        file.write(b"damage")
    assert not start().is_restored  # what boots looks at its memory
    assert len(recorder.notes) == 1
    assert start().is_restored


def test_a_full_disk_while_saving_costs_the_snapshot_only(in_small_world: Any) -> None:
    code = """
import os
from vm import snapshots
from vm.architectures import AMD64
from vm.cache import Cache
from vm.cache import _held as opened
from vm.machine import Emulator, MachineConfig
from vm.progress import SilentProgress
from vm.snapshots import KIND, Beginning, Snapshots

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
    class channel:
        sent_count, received_count = 0, 1

Guest.console.write_text("")
Guest.config.payload.write_text("")
snapshots.Guest = Guest
cache = Cache(place / "cache")
Snapshots(cache, Notes()).start(Guest.config, place, Beginning(None, lambda _: {}), deadline_s=1)
result = [Guest.log, Notes.lines, cache.keys(KIND), [path.name for path in (place / "cache/temporary").iterdir()]]
"""
    log, notes, keys, left = in_small_world('mount -t tmpfs -o size=2m none "$1"', code)
    assert (log, keys, left) == (["go on"] * 2, [], [])
    assert ["no space left" in note for note in notes] == [True, True]


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


@pytest.mark.parametrize(("pair_count", "left"), [(2.5, {READY}), (2, set())])
def test_the_least_recently_used_go_when_the_budget_is_spent(
    start: Any, config: MachineConfig, cache: Cache, pair_count: float, left: set[bool]
) -> None:
    """Of a pair at first the one that is good for an unchanged payload only."""
    machines = [replace(config, memory_mib=size) for size in (4, 8, 16)]
    for age, machine in enumerate(machines[:2]):
        start(machine)
        for key in cache.keys(KIND):
            if key.startswith(key_of(machine)):
                used_s = 1000 + 10 * age + ("-" in key)  # it is the one that was used last
                os.utime(cache.directory / KIND / key / "manifest.json", (used_s, used_s))
    pair_bytes = sum(map(occupied_bytes, (cache.directory / KIND).glob(f"{key_of(machines[0])}*")))
    # What a living process has open stays: the run that evicts is another one than those that made them.
    for descriptor in opened.values():
        os.close(descriptor)
    opened.clear()
    start(machines[2], budget_bytes=int(pair_count * pair_bytes))
    found = {
        machine.memory_mib: {"-" in key for key in cache.keys(KIND) if key.startswith(key_of(machine))}
        for machine in machines
    }
    assert found == {4: left, 8: {READY, BEGUN}, 16: {READY, BEGUN}}


def test_memory_is_copied_with_its_holes(tmp_path: Path) -> None:
    source = os.memfd_create("source")
    os.truncate(source, 64 << 20)
    os.pwrite(source, b"one", 5)
    os.pwrite(source, bytes(1 << 20), 8 << 20)  # written, but empty
    os.pwrite(source, b"end", (64 << 20) - 3)
    with (tmp_path / "copy").open("wb") as file:
        copy_memory(source, file.fileno())
    assert (tmp_path / "copy").stat().st_size == 64 << 20
    assert (tmp_path / "copy").read_bytes() == os.pread(source, 64 << 20, 0)
    assert occupied_bytes(tmp_path) <= 1 << 18
    os.close(source)
