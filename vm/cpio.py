"""Writes cpio archives (newc), the format of an initramfs. Deterministic: same entries, same bytes."""

import itertools
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

_MAGIC = b"070701"
_TRAILER = "TRAILER!!!"
_BLOCK_SIZE = 512
_FIELD_MAX = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Entry:
    """One member: its path without a leading slash, its ``st_mode``, and what it holds.

    Names are what `os.fsdecode` makes of bytes: a file may be called anything.
    """

    path: str
    mode: int
    data: bytes = b""
    # Device number (major, minor) of a device node.
    device: tuple[int, int] = (0, 0)
    # Modification time, seconds since the epoch: pytest's cached bytecode is checked against it.
    modified_s: int = 0


def directory(path: str, permissions: int = 0o755) -> Entry:
    """A directory."""
    return Entry(path, stat.S_IFDIR | permissions)


def symlink(path: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(path, stat.S_IFLNK | 0o777, os.fsencode(target))


def character_device(path: str, major: int, minor: int, permissions: int = 0o600) -> Entry:
    """A character device node; writing one into an archive needs no privilege."""
    return Entry(path, stat.S_IFCHR | permissions, device=(major, minor))


def write_cpio(file: BinaryIO, entries: Iterable[Entry]) -> None:
    """Write ``entries`` in their order, then the trailer, padded so that another archive may follow.

    Parents must come before their children: the kernel creates none of its own accord. Entries are taken one by one, so
    that only one needs to be in memory.
    """
    position = 0
    for inode, entry in enumerate(itertools.chain(entries, [Entry(_TRAILER, 0)]), start=1):
        name = os.fsencode(entry.path) + b"\0"
        fields = (
            inode,
            entry.mode,
            0,  # uid
            0,  # gid
            2 if stat.S_ISDIR(entry.mode) else 1,
            min(max(entry.modified_s, 0), _FIELD_MAX),  # files of 1969 have one, too
            len(entry.data),
            0,
            0,
            *entry.device,
            len(name),
            0,  # checksum: newc has none
        )
        header = _MAGIC + b"".join(b"%08X" % field for field in fields) + name
        header += bytes(-len(header) % 4)
        data = entry.data + bytes(-len(entry.data) % 4)
        file.write(header)
        file.write(data)
        position += len(header) + len(data)
    file.write(bytes(-position % _BLOCK_SIZE))
