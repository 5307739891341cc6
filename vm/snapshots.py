"""Guests that have booted before: saved once they are ready, and once more when they have begun with their work.

A snapshot is some files, an entry of the cache: `state`, what QEMU writes of the machine, `memory`, the guest's memory
with holes where it is empty, `console`, what it had printed, with which a restored guest's console begins, and, of one
that had begun, `answer`, what it said then. A restored guest maps `memory` as its own private copy, so that nothing is
read before it is needed, and guests side by side share it. Its key is made of the content of everything that shaped it.
No snapshot is ever needed: whatever is wrong with one is said in a line, and the guest boots, or begins anew.

In the first snapshot there is nothing of the code under test, which is taken from the window: it is good for every
version of it. The second one is good for an unchanged payload that is begun with in the same way. It is saved when the
guest has booted anyway, and later if the same was wanted twice in a row: whoever edits a test between any two runs
never pays for it. The newest one takes the place of its predecessor.

Only emulated guests are saved: under KVM a state belongs to the processor it was saved on.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vm.cache import Cache, Entry, digest_of
from vm.errors import BootError, CacheError
from vm.machine import CONSOLE_NAME, Guest, MachineConfig, Memory, qemu_arguments
from vm.monitor import MonitorError
from vm.progress import Progress
from vm.sparse import filled

KIND = "snapshots"
# What the cache may hold of them: as much as a dozen kernels' worth, with both snapshots of each.
BUDGET_BYTES = 4 << 30
_RECIPE = 3  # count up when what is saved changes in a way that the key does not see
# In the folder of a guest that is ready: how the last one that went on from there was to begin.
_LAST = "last"
_RESTORE_DEADLINE_S = 30.0
_SAVE_DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a guest begins with its work: until it has answered for the first time, and waits for what comes next."""

    # All that shapes it beside the machine and its payload, as JSON has it.
    recipe: Any
    # Has a guest begin that is ready; gives its answer.
    run: Callable[[Guest], dict[str, Any]]


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

    def start(
        self, config: MachineConfig, directory: Path, beginning: Beginning, *, deadline_s: float
    ) -> tuple[Guest, dict[str, Any]]:
        """Restore a guest that has begun; or restore or boot one, have it begin, and save it for the next time.

        Args:
            config: the machine.
            directory: for the console and QEMU's messages.
            beginning: how it begins with its work.
            deadline_s: seconds until a guest that boots is given up.

        Returns:
            The guest, and its answer, to us or to whoever saved it.

        Raises:
            BootError: the guest does not boot either.
        """
        has_drives = config.has_disk or config.payload_disk is not None
        is_plain = not (config.is_interactive or has_drives or config.gdb_port is not None)
        if config.emulator.accelerator != "tcg" or not is_plain or config.payload is None:
            return _boot_and_begin(config, directory, beginning, deadline_s)
        key = key_of(config)
        begun_key = f"{key}-{_key_of_beginning(config.payload, beginning)}"
        # It is looked up in any case: as long as one of the two is used, both are.
        ready = self._cache.get(KIND, key, unverified=("memory",))
        is_wanted_again = ready is not None and _is_last(ready, begun_key)
        begun = self._cache.get(KIND, begun_key, unverified=("memory",))
        if begun is not None and (restored := self._try(config, directory, begun_key, begun)) is not None:
            return restored, json.loads(begun.path("answer").read_bytes())
        if ready is not None and not is_wanted_again:
            if (restored := self._try(config, directory, key, ready)) is not None:
                return restored, beginning.run(restored)
            ready = None
        with _new_memory() as descriptor:
            restored = self._try(config, directory, key, ready, descriptor) if ready is not None else None
            guest = restored or self._boot(config, directory, key, deadline_s, descriptor)
            if guest is not None:
                answer = beginning.run(guest)
                if self._keep(guest, descriptor, begun_key, answer):
                    return guest, answer
        return _boot_and_begin(config, directory, beginning, deadline_s)

    def discard(self, config: MachineConfig) -> None:
        """Forget a guest's snapshots, if there are any."""
        key = key_of(config)
        try:
            for found in self._cache.keys(KIND):
                if _ready_of(found) == key:
                    self._cache.remove(KIND, found)
        except CacheError as error:
            self._progress.note(f"the snapshot cannot be removed: {error}")

    def _try(
        self, config: MachineConfig, directory: Path, key: str, entry: Entry, own_memory: int | None = None
    ) -> Guest | None:
        """Restore a guest; None if that cannot be, which is said, and the snapshot is thrown away.

        Args:
            config: the machine.
            directory: for the console and QEMU's messages.
            key: the snapshot's.
            entry: the snapshot.
            own_memory: a file of memory of its own for a guest that is to be saved once more.
        """
        try:
            return self._restore(config, directory, key, entry, own_memory)
        except (BootError, OSError, KeyError, ValueError) as error:  # KeyError: a file that the manifest does not name
            what = "begins anew" if _is_begun(key) else "boots"
            self._progress.note(f"{_name(config)}: {error}. The snapshot is thrown away, the guest {what}")
            try:
                self._cache.remove(KIND, key)
            except CacheError as failed:
                self._progress.note(f"the snapshot cannot be removed: {failed}")
            (directory / CONSOLE_NAME).unlink(missing_ok=True)
            return None

    @staticmethod
    def _restore(config: MachineConfig, directory: Path, key: str, entry: Entry, own_memory: int | None) -> Guest:
        if entry.meta.get("key") != key:
            raise BootError(f"the snapshot was saved for another machine ({entry.meta.get('kernel')})")
        if _is_begun(key):
            entry.path("answer")
        shutil.copyfile(entry.path("console"), directory / CONSOLE_NAME)
        saved = os.open(entry.path("memory"), os.O_RDWR | os.O_CLOEXEC)
        try:
            if own_memory is not None:
                copy_memory(saved, own_memory)
            memory = Memory(
                own_memory if own_memory is not None else saved,
                entry.path("state"),
                int(entry.meta["sent_count"]),
                int(entry.meta["received_count"]),
                is_own=own_memory is not None,
            )
            guest = Guest.restore(
                config, directory, memory, deadline_s=_RESTORE_DEADLINE_S, find_damage=lambda: entry.damage(["memory"])
            )
        finally:
            os.close(saved)
        if guest.ready["release"] != entry.meta.get("release"):
            guest.kill()
            raise BootError(
                f"a guest with {guest.ready['release']} went on where {entry.meta.get('release')} was saved"
            )
        return guest

    def _boot(
        self, config: MachineConfig, directory: Path, key: str, deadline_s: float, descriptor: int
    ) -> Guest | None:
        """Boot a guest and save it; None if that was its end, which is said."""
        os.truncate(descriptor, 0)
        os.truncate(descriptor, config.memory_mib << 20)
        guest = Guest.boot(config, directory, deadline_s=deadline_s, memory=Memory(descriptor))
        return guest if self._keep(guest, descriptor, key) else None

    def _keep(self, guest: Guest, descriptor: int, key: str, answer: Mapping[str, Any] | None = None) -> bool:
        """Save a guest, and have it go on. Returns whether it does; if not, it was ended, and that is said."""
        try:
            self._save(guest, descriptor, key, answer)
            guest.go_on(_SAVE_DEADLINE_S)
        except MonitorError as error:
            guest.kill()
            self._progress.note(
                f"{_name(guest.config)}: saving it stopped it for good ({error}); the guest boots again"
            )
            return False
        except BaseException:
            guest.kill()
            raise
        return True

    def _save(self, guest: Guest, descriptor: int, key: str, answer: Mapping[str, Any] | None) -> None:
        def build(directory: Path) -> Mapping[str, Any]:
            guest.save(directory / "state", _SAVE_DEADLINE_S)
            with (directory / "memory").open("wb") as file:
                copy_memory(descriptor, file.fileno())
            shutil.copyfile(guest.console, directory / "console")
            if answer is not None:
                (directory / "answer").write_text(json.dumps(answer))
            return {
                "key": key,
                "kernel": _name(guest.config),
                "release": guest.ready["release"],
                "sent_count": guest.channel.sent_count,
                "received_count": guest.channel.received_count,
            }

        try:
            self._cache.get_or_build(KIND, key, build, sparse=("memory",))
            self._evict(key)
        except (CacheError, MonitorError, OSError) as error:
            self._progress.note(f"{_name(guest.config)}: no snapshot is kept: {error}")

    def _evict(self, kept: str) -> None:
        """Remove what a new snapshot takes the place of, and stay within the budget."""
        for key in self._cache.keys(KIND):
            if _is_begun(kept) and _is_begun(key) and _ready_of(key) == _ready_of(kept) and key != kept:
                self._cache.remove(KIND, key)
        sizes = {key: occupied_bytes(self._cache.directory / KIND / key) for key in self._cache.keys(KIND)}
        unused_s = dict.fromkeys(map(_ready_of, sizes), math.inf)
        for key in sizes:
            unused_s[_ready_of(key)] = min(unused_s[_ready_of(key)], self._cache.unused_for_s(KIND, key))
        # Of the two of a machine, the one that is good for fewer goes first.
        oldest_first = sorted(sizes, key=lambda key: (unused_s[_ready_of(key)], _is_begun(key)), reverse=True)
        total_bytes = sum(sizes.values())
        for key in oldest_first:
            if total_bytes <= self._budget_bytes:
                break
            if key != kept and self._cache.remove(KIND, key) is not None:
                total_bytes -= sizes[key]


def _boot_and_begin(
    config: MachineConfig, directory: Path, beginning: Beginning, deadline_s: float
) -> tuple[Guest, dict[str, Any]]:
    """Do without any snapshot."""
    guest = Guest.boot(config, directory, deadline_s=deadline_s)
    return guest, beginning.run(guest)


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


def _is_begun(key: str) -> bool:
    """Whether a snapshot is of a guest that had begun: its key has that of the one that was ready in front."""
    return "-" in key


def _ready_of(key: str) -> str:
    """The key of the snapshot of the same machine that had not begun."""
    return key.partition("-")[0]


def _key_of_beginning(payload: Path, beginning: Beginning) -> str:
    """The content of everything that shapes a guest from there until it has begun."""
    recipe = json.dumps(beginning.recipe, sort_keys=True)
    return hashlib.sha256(f"{digest_of(payload)} {recipe}".encode()).hexdigest()


def _is_last(ready: Entry, begun_key: str) -> bool:
    """Whether the last guest that might go on from there was to begin in this way; from now on it is.

    It is no more than a hint, and no part of the snapshot.
    """
    path = ready.directory / _LAST
    with contextlib.suppress(OSError, ValueError):
        if path.read_text(encoding="ascii") == begun_key:
            return True
    with contextlib.suppress(OSError):  # in a cache that cannot be written nothing is saved either
        path.write_text(begun_key, encoding="ascii")
    return False


@contextlib.contextmanager
def _new_memory() -> Iterator[int]:
    """A file for a guest's memory."""
    descriptor = os.memfd_create("memory")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def copy_memory(source: int, target: int) -> None:
    """Copy a file of memory into an empty one, and leave holes where nothing is but zeros."""
    for at, chunk in filled(source):
        os.pwrite(target, chunk, at)
    os.truncate(target, os.fstat(source).st_size)


def _name(config: MachineConfig) -> str:
    """A kernel's image, as its user can tell it from the others."""
    return f"{config.kernel.parent.name}/{config.kernel.name}"


def occupied_bytes(directory: Path) -> int:
    """What a directory's files occupy, without their holes."""
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())
