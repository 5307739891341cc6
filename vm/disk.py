"""A payload as an ext4 file system, for what is too large for a guest's memory; made without root."""

import mmap
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from vm.cache import Cache, digest_of
from vm.guest import window
from vm.image import Runtime

# What a payload may occupy in the memory of a guest.
MEMORY_MAX = 32 << 20
_PAGE_SIZE = 4096
_RECIPE = 1  # count up when the recipe below changes what it makes
_NAME = "payload.ext4"
# What tests may write beside themselves, and how many files.
_FREE_BYTES = 1 << 30
_FREE_INODES = 32768
# Those that every kernel since 5.1 can write, no journal, and no checksums: owners are changed afterwards.
_FEATURES = "none,extent,filetype,sparse_super,large_file,huge_file,dir_index,ext_attr,flex_bg,dir_nlink,extra_isize"
_SUPERBLOCK_AT = 1024


def is_needed(archive: Path) -> bool:
    """Whether a payload is too large for memory, where every file takes whole pages."""
    return _occupied(archive)[0] > MEMORY_MAX


def make(base: Runtime, archive: Path, cache: Cache) -> Path:
    """Make the disk of a payload, cached by content. Guests see it through a layer of their own, which they write to.

    Args:
        base: whose mke2fs makes it.
        archive: the payload.
        cache: where the result is kept.
    """

    def build(directory: Path) -> Mapping[str, object]:
        image = directory / _NAME
        with cache.temporary() as workspace:
            tree = workspace / "tree"
            tree.mkdir()
            try:
                with archive.open("rb") as packed, mmap.mmap(packed.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    window.write_all(content, str(tree))
                _make_file_system(base, archive, tree, image)
            finally:
                for folder, _, _ in os.walk(tree):
                    Path(folder).chmod(0o700)  # a read-only one cannot be emptied
        with image.open("r+b") as file:
            give_to_root(file)
        return {}

    key = f"{_RECIPE}-{digest_of(archive)}"
    return cache.get_or_build("disk", key, build, sparse=(_NAME,)).path(_NAME)


def _make_file_system(base: Runtime, archive: Path, tree: Path, image: Path) -> None:
    size_bytes, count = _occupied(archive)
    with image.open("wb") as file:
        file.truncate((size_bytes * 5 // 4 + _FREE_BYTES) // _PAGE_SIZE * _PAGE_SIZE)
    base.run_program(
        "usr/sbin/mke2fs",
        [
            *("-q", "-F", "-t", "ext4", "-O", _FEATURES, "-b", str(_PAGE_SIZE), "-I", "256", "-m", "0"),
            *("-N", str(count + _FREE_INODES), "-E", "root_owner=0:0", "-d", str(tree), str(image)),
        ],
        tree.parent,
        environment={"MKE2FS_CONFIG": str(tree.parent / "none")},
        timeout_s=None,
    )


def give_to_root(image: BinaryIO) -> None:
    """Change the owner of every file of a file system with our features; mke2fs takes over whoever runs it.

    Source: Documentation/filesystems/ext4, "Super Block", "Block Group Descriptors", "Index Nodes".
    """
    image.seek(_SUPERBLOCK_AT)
    superblock = image.read(1024)
    inode_count, inodes_per_group = (
        struct.unpack_from("<I", superblock, 0)[0],
        struct.unpack_from("<I", superblock, 40)[0],
    )
    inode_size = struct.unpack_from("<H", superblock, 88)[0]
    groups = inode_count // inodes_per_group
    image.seek(_PAGE_SIZE)
    tables = [table for (table,) in struct.iter_unpack("<8xI20x", image.read(32 * groups))]
    for table in tables:
        image.seek(table * _PAGE_SIZE)
        inodes = bytearray(image.read(inodes_per_group * inode_size))
        before = bytes(inodes)
        for at in range(0, len(inodes), inode_size):
            if inodes[at : at + 2] != b"\0\0":
                for field in (0x02, 0x18, 0x78, 0x7A):  # low and high halves of user and group
                    inodes[at + field : at + field + 2] = b"\0\0"
        if inodes != before:
            image.seek(table * _PAGE_SIZE)
            image.write(inodes)


def _occupied(archive: Path) -> tuple[int, int]:
    """Bytes that a payload's files occupy in whole pages, and how many there are."""
    size_bytes = count = 0
    with archive.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for _, _, _, begin, end in window.members(content):
            size_bytes += max(_PAGE_SIZE, end - begin + -(end - begin) % _PAGE_SIZE)
            count += 1
    return size_bytes, count
