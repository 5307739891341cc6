"""Registered files: replaced, skipped, released, put into slots of the kernel's choice."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.operations.support import complete, pipe, reap
from conformance.support import completion, opened, owned_fds
from uring import IORING_FILE_INDEX_ALLOC, IORING_REGISTER_FILES_SKIP, IOSQE_FIXED_FILE

pytestmark = pytest.mark.group("Registered files")


@contextmanager
def _files(scratch: Path, *contents: bytes) -> Iterator[list[int]]:
    """Open files with these contents."""
    with owned_fds() as fds:
        opened_ones = []
        for number, content in enumerate(contents):
            path = scratch / str(number)
            path.write_bytes(content)
            opened_ones.append(os.open(path, os.O_RDONLY))
            fds.add(opened_ones[-1])
        yield opened_ones


def _contents(io_uring: uring.IoUring, *slots: int) -> list[bytes | int]:
    """What is read from the files in slots, or the error."""
    found: list[bytes | int] = []
    for slot in slots:
        buffer = bytearray(1)
        io_uring.read(0x70 + slot, slot, buffer, 0).flags |= IOSQE_FIXED_FILE
        (cqe,) = complete(io_uring, 1, "IORING_OP_READ from a registered file")
        assert (0x70 + slot, 0) == (cqe.user_data, cqe.flags)
        found.append(bytes(buffer[: cqe.res]) if cqe.res >= 0 else cqe.res)
    return found


@pytest.mark.title("a replaced file is released")
@pytest.mark.symbols(
    "IORING_REGISTER_FILES2",
    "IORING_REGISTER_FILES_UPDATE2",
    "IORING_UNREGISTER_FILES",
    "IORING_OP_READ",
    "IOSQE_FIXED_FILE",
)
@pytest.mark.needs("files-tags")
def test_file_tags(ring: RingFactory, scratch: Path) -> None:
    """The replaced one's tag is completed, and the new one is used; the others' when their slots are emptied."""
    io_uring = ring(1)
    with _files(scratch, b"a", b"b", b"c") as (a, b, c):
        io_uring.register_files_tags([a, b], [0xA0, 0xA1])
        assert [b"a", b"b"] == _contents(io_uring, 0, 1)
        assert 1 == io_uring.register_files_update_tag(1, [c], [0xA2])
        assert [completion(0xA1, 0)] == reap(io_uring, 1, "the tag of a replaced file")
        assert [b"a", b"c"] == _contents(io_uring, 0, 1)
        assert 2 == io_uring.register_files_update_tag(0, [-1, -1], [0, 0])
        found = reap(io_uring, 2, "the tags of files that were taken away")
        assert [completion(0xA0, 0), completion(0xA2, 0)] == sorted(found)
        io_uring.unregister_files()


@pytest.mark.title("a file in use is not released")
@pytest.mark.symbols(
    "IORING_REGISTER_FILES2",
    "IORING_REGISTER_FILES_UPDATE2",
    "IORING_UNREGISTER_FILES",
    "IORING_OP_READ",
    "IORING_OP_NOP",
    "IOSQE_FIXED_FILE",
)
@pytest.mark.needs("files-tags")
def test_tag_of_a_file_in_use(ring: RingFactory) -> None:
    """A request that has a file reads from it, though it was replaced, and only then its tag is completed."""
    io_uring = ring(2)
    with pipe() as (reading, writing), opened("/dev/null") as null:
        io_uring.register_files_tags([reading], [0xA0])
        buffer = bytearray(4)
        io_uring.read(0x21, 0, buffer, 0).flags |= IOSQE_FIXED_FILE
        io_uring.nop(0x22)
        assert [completion(0x22, 0)] == complete(io_uring, 1, "IORING_OP_NOP behind a read that waits")
        assert 1 == io_uring.register_files_update_tag(0, [null], [0])
        io_uring.nop(0x23)
        assert [completion(0x23, 0)] == complete(io_uring, 1, "IORING_OP_NOP, with a replaced file in use")
        os.write(writing, b"abc")
        found = reap(io_uring, 2, "IORING_OP_READ and the tag of its file")
        assert [completion(0x21, 3), completion(0xA0, 0)] == sorted(found)
        assert b"abc\0" == buffer
        io_uring.unregister_files()


@pytest.mark.title("slots that an update skips")
@pytest.mark.symbols(
    "IORING_REGISTER_FILES_SKIP",
    "IORING_REGISTER_FILES",
    "IORING_REGISTER_FILES_UPDATE",
    "IORING_UNREGISTER_FILES",
    "IORING_OP_READ",
    "IOSQE_FIXED_FILE",
)
def test_files_update_skip(ring: RingFactory, scratch: Path) -> None:
    """IORING_REGISTER_FILES_SKIP leaves a slot as it is, -1 empties it."""
    io_uring = ring(1)
    with _files(scratch, b"a", b"b", b"c", b"d") as (a, b, c, d):
        io_uring.register_files([a, b, c])
        assert 3 == io_uring.register_files_update(0, [d, IORING_REGISTER_FILES_SKIP, -1])
        assert [b"d", b"b", -errno.EBADF] == _contents(io_uring, 0, 1, 2)
        io_uring.unregister_files()


@pytest.mark.title("updates that are refused")
@pytest.mark.symbols(
    "IORING_REGISTER_FILES",
    "IORING_REGISTER_FILES_UPDATE",
    "IORING_UNREGISTER_FILES",
    "IORING_OP_READ",
    "IOSQE_FIXED_FILE",
)
def test_files_update_refused(ring: RingFactory, scratch: Path) -> None:
    """An update ends before what is no file, and says how far it got; there are no other slots than the table's."""
    io_uring = ring(1)
    with _files(scratch, b"a", b"b") as (a, b):
        closed = os.dup(a)
        os.close(closed)
        io_uring.register_files([a, a, a, a])
        assert 1 == io_uring.register_files_update(0, [b, closed, b])
        with pytest.raises(uring.FileDescriptorInvalid):
            io_uring.register_files_update(1, [closed])
        with pytest.raises(uring.FilesEmpty):
            io_uring.register_files_update(3, [b, b])
        # What is in the slot of the file that is none is not promised.
        assert [b"b", b"a", b"a"] == _contents(io_uring, 0, 2, 3)
        io_uring.unregister_files()
        assert [-errno.EBADF] == _contents(io_uring, 0)


@pytest.mark.title("an update as a request")
@pytest.mark.symbols(
    "IORING_OP_FILES_UPDATE",
    "IORING_REGISTER_FILES",
    "IORING_UNREGISTER_FILES",
    "IORING_OP_READ",
    "IOSQE_FIXED_FILE",
)
def test_files_update(ring: RingFactory, scratch: Path) -> None:
    """Slots are replaced and emptied from the named one on; the result is their number."""
    io_uring = ring(1)
    with _files(scratch, b"a", b"b", b"c") as (a, b, c):
        io_uring.register_files([a, b, b])
        io_uring.files_update(0x31, [c, -1], 1)
        assert [completion(0x31, 2)] == complete(io_uring, 1, "IORING_OP_FILES_UPDATE")
        assert [b"a", b"c", -errno.EBADF] == _contents(io_uring, 0, 1, 2)
        io_uring.files_update(0x32, [c, c], 2)
        assert [completion(0x32, -errno.EINVAL)] == complete(io_uring, 1, "IORING_OP_FILES_UPDATE beyond the table")
        io_uring.unregister_files()
        io_uring.files_update(0x33, [c], 0)
        assert [completion(0x33, -errno.ENXIO)] == complete(io_uring, 1, "IORING_OP_FILES_UPDATE without a table")


@pytest.mark.title("files for free slots")
@pytest.mark.symbols(
    "IORING_FILE_INDEX_ALLOC",
    "IORING_OP_FILES_UPDATE",
    "IORING_REGISTER_FILES",
    "IORING_UNREGISTER_FILES",
    "IORING_OP_READ",
    "IOSQE_FIXED_FILE",
)
@pytest.mark.needs("files-update-alloc")
def test_files_update_alloc(ring: RingFactory, scratch: Path) -> None:
    """The kernel chooses slots that are free, and tells them; when there are no more, it says how far it got."""
    io_uring = ring(1)
    with _files(scratch, b"a", b"b", b"c") as (a, b, c):
        io_uring.register_files([-1, a, -1])
        fds = (ctypes.c_int32 * 3)(b, c, a)
        io_uring.files_update_alloc(0x34, fds)
        assert [completion(0x34, 2)] == complete(io_uring, 1, "IORING_OP_FILES_UPDATE into free slots")
        slots = list(fds)[:2]
        assert [0, 2] == sorted(slots)
        expected: list[bytes | int] = [b"", b"a", b""]
        expected[slots[0]], expected[slots[1]] = b"b", b"c"
        assert expected == _contents(io_uring, 0, 1, 2)
        io_uring.files_update_alloc(0x35, (ctypes.c_int32 * 1)(a))
        assert [completion(0x35, -errno.ENFILE)] == complete(io_uring, 1, "IORING_OP_FILES_UPDATE without free slots")
        io_uring.unregister_files()


@pytest.mark.title("a range of slots to choose from")
@pytest.mark.symbols(
    "IORING_REGISTER_FILE_ALLOC_RANGE",
    "IORING_RSRC_REGISTER_SPARSE",
    "IORING_REGISTER_FILES2",
    "IORING_UNREGISTER_FILES",
    "IORING_OP_OPENAT",
    "IORING_FILE_INDEX_ALLOC",
    "IORING_OP_CLOSE",
)
def test_file_alloc_range(ring: RingFactory) -> None:
    """The kernel chooses within the range alone; slots outside are taken when they are named."""
    io_uring = ring(1)
    io_uring.register_files_sparse(8)
    io_uring.register_file_alloc_range(5, 2)

    def place(slot: int) -> int:
        io_uring.open_direct(0x41, "/dev/null", os.O_RDONLY, 0, slot)
        (cqe,) = complete(io_uring, 1, "IORING_OP_OPENAT into a slot")
        assert (0x41, 0) == (cqe.user_data, cqe.flags)
        return cqe.res

    assert [5, 6] == sorted(place(IORING_FILE_INDEX_ALLOC) for _ in range(2))
    assert -errno.ENFILE == place(IORING_FILE_INDEX_ALLOC)
    assert 0 == place(0)
    io_uring.close_direct(0x42, 6)
    assert [completion(0x42, 0)] == complete(io_uring, 1, "IORING_OP_CLOSE of a slot")
    assert 6 == place(IORING_FILE_INDEX_ALLOC)
    for offset, length in ((7, 2), (9, 1), (0xFFFFFFFF, 2)):
        with pytest.raises(uring.ArgumentsInvalid):
            io_uring.register_file_alloc_range(offset, length)
    io_uring.register_file_alloc_range(0, 8)
    assert [1, 2, 3, 4, 7] == sorted(place(IORING_FILE_INDEX_ALLOC) for _ in range(5))
    io_uring.unregister_files()
