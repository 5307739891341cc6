"""Guests that have booted before: saved once they are ready, restored by every later run of the same kernel.

A snapshot is three files, an entry of the cache: `state`, what QEMU writes of the machine, `memory`, the guest's memory
with holes where it is empty, and `console`, what it had printed, with which a restored guest's console begins. A
restored guest maps `memory` as its own private copy, so that nothing is read before it is needed, and guests side by
side share it. Its key is made of the content of everything that shaped it. No snapshot is ever needed: whatever is
wrong with one is said in a line, and the guest boots.

Only emulated guests are saved: under KVM a state belongs to the processor it was saved on. And only those that take the
code under test from their window: in a snapshot there is nothing of it.
"""

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vm.cache import Cache, Entry, digest_of
from vm.errors import BootError, CacheError
from vm.machine import CONSOLE_NAME, Guest, MachineConfig, Memory, qemu_arguments
from vm.monitor import MonitorError
from vm.progress import Progress
from vm.sparse import filled

KIND = "snapshots"
# What the cache may hold of them: as much as forty kernels' worth.
BUDGET_BYTES = 4 << 30
_RECIPE = 2  # count up when what is saved changes in a way that the key does not see
_RESTORE_DEADLINE_S = 30.0
_SAVE_DEADLINE_S = 60.0


class Snapshots:
    """The saved guests of a cache.

    Args:
        cache: where they are kept.
        progress: told what is wrong with one.
        budget_bytes: what they may occupy together; the least recently used go first.
    """

    def __init__(self, cache: Cache, progress: Progress, budget_bytes: int = BUDGET_BYTES) -> None:
        self._cache = cache
        self._progress = progress
        self._budget_bytes = budget_bytes

    def start(self, config: MachineConfig, directory: Path, *, deadline_s: float) -> Guest:
        """Restore a guest, or boot it and save it for the next time.

        Args:
            config: the machine.
            directory: for the console and QEMU's messages.
            deadline_s: seconds until a guest that boots is given up.

        Raises:
            BootError: the guest does not boot either.
        """
        has_drives = config.has_disk or config.payload_disk is not None
        is_plain = (
            not (config.is_interactive or has_drives or config.gdb_port is not None) and config.payload is not None
        )
        if config.emulator.accelerator != "tcg" or not is_plain:
            return Guest.boot(config, directory, deadline_s=deadline_s)
        key = key_of(config)
        entry = self._cache.get(KIND, key, unverified=("memory",))
        if entry is not None:
            try:
                return self._restore(config, directory, key, entry)
            except (BootError, OSError, KeyError) as error:  # KeyError: a file that the manifest does not name
                self._progress.note(f"{_name(config)}: {error}. The snapshot is thrown away, the guest boots")
                self.discard(config)
                (directory / CONSOLE_NAME).unlink(missing_ok=True)
        return self._boot(config, directory, key, deadline_s)

    def discard(self, config: MachineConfig) -> None:
        """Forget a guest's snapshot, if there is one."""
        try:
            self._cache.remove(KIND, key_of(config))
        except CacheError as error:
            self._progress.note(f"the snapshot cannot be removed: {error}")

    @staticmethod
    def _restore(config: MachineConfig, directory: Path, key: str, entry: Entry) -> Guest:
        if entry.meta.get("key") != key:
            raise BootError(f"the snapshot was saved for another machine ({entry.meta.get('kernel')})")
        shutil.copyfile(entry.path("console"), directory / CONSOLE_NAME)
        descriptor = os.open(entry.path("memory"), os.O_RDWR | os.O_CLOEXEC)
        try:
            memory = Memory(descriptor, entry.path("state"))
            guest = Guest.restore(
                config, directory, memory, deadline_s=_RESTORE_DEADLINE_S, find_damage=lambda: entry.damage(["memory"])
            )
        finally:
            os.close(descriptor)
        if guest.ready["release"] != entry.meta.get("release"):
            guest.kill()
            raise BootError(
                f"a guest with {guest.ready['release']} went on where {entry.meta.get('release')} was saved"
            )
        return guest

    def _boot(self, config: MachineConfig, directory: Path, key: str, deadline_s: float) -> Guest:
        descriptor = os.memfd_create("memory")
        try:
            os.truncate(descriptor, config.memory_mib << 20)
            guest = Guest.boot(config, directory, deadline_s=deadline_s, memory=Memory(descriptor))
            try:
                self._save(guest, descriptor, key)
                guest.go_on(_SAVE_DEADLINE_S)
            except MonitorError as error:
                guest.kill()
                self._progress.note(f"{_name(config)}: saving it stopped it for good ({error}); the guest boots again")
                return Guest.boot(config, directory, deadline_s=deadline_s)
            except BaseException:
                guest.kill()
                raise
            return guest
        finally:
            os.close(descriptor)

    def _save(self, guest: Guest, descriptor: int, key: str) -> None:
        def build(directory: Path) -> Mapping[str, Any]:
            guest.save(directory / "state", _SAVE_DEADLINE_S)
            copy_memory(descriptor, directory / "memory")
            shutil.copyfile(guest.console, directory / "console")
            return {"key": key, "kernel": _name(guest.config), "release": guest.ready["release"]}

        try:
            self._cache.get_or_build(KIND, key, build, sparse=("memory",))
            self._evict(key)
        except (CacheError, MonitorError, OSError) as error:
            self._progress.note(f"{_name(guest.config)}: no snapshot is kept: {error}")

    def _evict(self, kept: str) -> None:
        """Stay within the budget."""
        sizes = {key: occupied_bytes(self._cache.directory / KIND / key) for key in self._cache.keys(KIND)}
        oldest_first = sorted(sizes, key=lambda key: self._cache.unused_for_s(KIND, key), reverse=True)
        total_bytes = sum(sizes.values())
        for key in oldest_first:
            if total_bytes <= self._budget_bytes:
                break
            if key != kept and self._cache.remove(KIND, key) is not None:
                total_bytes -= sizes[key]


def key_of(config: MachineConfig) -> str:
    """The content of everything that shapes a guest until it is ready, in one name.

    The payload does not: it is seen only later, through a window that is always the same.
    """
    # An unpacked kernel is known by the image that it comes from, which takes less time to hash.
    bare = replace(config.from_image(), payload=Path("payload") if config.payload is not None else None)
    arguments = qemu_arguments(
        bare, console=Path("console"), channel_descriptor=0, monitor_descriptor=0, memory=Memory(0)
    )
    digest = hashlib.sha256(f"recipe {_RECIPE} {config.boot_protocol}\n".encode())
    for argument in arguments:
        path = Path(argument)
        # A path says where something lies; what counts is what is in it.
        is_file = path.is_absolute() and path.is_file()
        digest.update((digest_of(path) if is_file else argument).encode() + b"\n")
    for name, value in sorted(config.emulator.environment.items()):
        digest.update(f"{name}={value}\n".encode())
    return digest.hexdigest()


def copy_memory(source: int, target: Path) -> None:
    """Copy a file of memory, and leave holes where nothing is but zeros."""
    with target.open("wb") as file:
        for at, chunk in filled(source):
            file.seek(at)
            file.write(chunk)
        file.truncate(os.fstat(source).st_size)


def _name(config: MachineConfig) -> str:
    """A kernel's image, as its user can tell it from the others."""
    return f"{config.kernel.parent.name}/{config.kernel.name}"


def occupied_bytes(directory: Path) -> int:
    """What a directory's files occupy, without their holes."""
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())
