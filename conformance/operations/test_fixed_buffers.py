"""Registered buffers: used in parts, replaced, released, cloned."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.operations.support import complete, pipe, reap
from conformance.support import CREATE, completion, opened
from uring import IORING_REGISTER_DST_REPLACE

pytestmark = pytest.mark.group("Registered buffers")

_CONTENT = b"0123456789abcdef"


def _read(io_uring: uring.IoUring, fd: int, buffer: bytearray | uring.iovec, index: int) -> uring.io_uring_cqe:
    """What a read of a file's beginning into a registered buffer comes to."""
    io_uring.read_fixed(0x77, fd, buffer, 0, index)
    (cqe,) = complete(io_uring, 1, "IORING_OP_READ_FIXED")
    return cqe


@pytest.mark.title("parts of registered buffers")
@pytest.mark.symbols(
    "IORING_OP_READ_FIXED", "IORING_OP_WRITE_FIXED", "IORING_REGISTER_BUFFERS", "IORING_UNREGISTER_BUFFERS"
)
def test_buffer_parts(ring: RingFactory, scratch: Path) -> None:
    """A part is read into and written from; the rest of the buffer, and the other buffer, stay as they are."""
    io_uring = ring(1)
    one, other = bytearray(b"." * 16), bytearray(b"-" * 16)
    io_uring.register_buffers([one, other])
    with opened(scratch / "file", CREATE) as fd:
        os.write(fd, _CONTENT)
        with memoryview(other) as view, view[4:10] as part:
            io_uring.read_fixed(0x11, fd, part, 3, 1)
            assert [completion(0x11, 6)] == complete(io_uring, 1, "IORING_OP_READ_FIXED")
            assert [b"." * 16, b"----345678------"] == [one, other]
            io_uring.write_fixed(0x12, fd, part, 10, 1)
            assert [completion(0x12, 6)] == complete(io_uring, 1, "IORING_OP_WRITE_FIXED")
        assert b"0123456789345678" == os.pread(fd, 32, 0)
    io_uring.unregister_buffers()


@pytest.mark.title("what is no part of a registered buffer")
@pytest.mark.symbols(
    "IORING_OP_READ_FIXED", "IORING_OP_WRITE_FIXED", "IORING_REGISTER_BUFFERS", "IORING_UNREGISTER_BUFFERS"
)
def test_beyond_a_buffer(ring: RingFactory, scratch: Path) -> None:
    """Memory that begins before a buffer, ends behind it or belongs to another one is neither read nor written."""
    io_uring = ring(1)
    memory, other = bytearray(b"." * 32), bytearray(b"." * 16)
    with memoryview(memory) as view, view[8:24] as middle:
        io_uring.register_buffers([middle, other])
        inside = uring.iovec(middle)
        with opened(scratch / "file", CREATE) as fd:
            os.write(fd, _CONTENT)
            for start, length, index in ((-1, 16, 0), (1, 16, 0), (16, 1, 0), (0, 16, 1), (0, 16, 2)):
                part = uring.iovec(inside.base + start, length)
                io_uring.read_fixed(0x13, fd, part, 0, index)
                assert [completion(0x13, -errno.EFAULT)] == complete(io_uring, 1, "IORING_OP_READ_FIXED")
                io_uring.write_fixed(0x14, fd, part, 0, index)
                assert [completion(0x14, -errno.EFAULT)] == complete(io_uring, 1, "IORING_OP_WRITE_FIXED")
            assert [b"." * 32, b"." * 16, _CONTENT] == [memory, other, os.pread(fd, 32, 0)]
        io_uring.unregister_buffers()


@pytest.mark.title("several parts of a registered buffer")
@pytest.mark.symbols(
    "IORING_OP_READV_FIXED", "IORING_OP_WRITEV_FIXED", "IORING_REGISTER_BUFFERS", "IORING_UNREGISTER_BUFFERS"
)
def test_buffer_parts_vectored(ring: RingFactory, scratch: Path) -> None:
    """Parts are read into and written from in the order that they are listed in, not in that of the memory."""
    io_uring = ring(1)
    buffer = bytearray(b"." * 16)
    io_uring.register_buffers([bytearray(8), buffer])
    with opened(scratch / "file", CREATE) as fd, memoryview(buffer) as view:
        os.write(fd, _CONTENT)
        parts = [view[10:13], view[2:6]]
        io_uring.readv_fixed(0x21, fd, parts, 1, 0, 1)
        assert [completion(0x21, 7)] == complete(io_uring, 1, "IORING_OP_READV_FIXED")
        assert b"..4567....123..." == buffer
        io_uring.writev_fixed(0x22, fd, parts, 0, os.RWF_APPEND, 1)
        assert [completion(0x22, 7)] == complete(io_uring, 1, "IORING_OP_WRITEV_FIXED with RWF_APPEND")
        assert _CONTENT + b"1234567" == os.pread(fd, 32, 0)
        for part in parts:
            part.release()
    io_uring.unregister_buffers()


@pytest.mark.title("several parts, one beyond the buffer")
@pytest.mark.symbols(
    "IORING_OP_READV_FIXED", "IORING_OP_WRITEV_FIXED", "IORING_REGISTER_BUFFERS", "IORING_UNREGISTER_BUFFERS"
)
def test_vectored_beyond_a_buffer(ring: RingFactory, scratch: Path) -> None:
    """All of them have to lie in the buffer."""
    io_uring = ring(1)
    memory = bytearray(b"." * 32)
    with memoryview(memory) as view, view[:16] as half, view[:4] as inside, view[14:18] as beyond:
        io_uring.register_buffers([half])
        with opened(scratch / "file", CREATE) as fd:
            os.write(fd, _CONTENT)
            io_uring.readv_fixed(0x23, fd, [inside, beyond], 0, 0, 0)
            assert [completion(0x23, -errno.EFAULT)] == complete(io_uring, 1, "IORING_OP_READV_FIXED")
            io_uring.writev_fixed(0x24, fd, [inside, beyond], 0, 0, 0)
            assert [completion(0x24, -errno.EFAULT)] == complete(io_uring, 1, "IORING_OP_WRITEV_FIXED")
            assert [b"." * 32, _CONTENT] == [memory, os.pread(fd, 32, 0)]
        io_uring.unregister_buffers()


@pytest.mark.title("slots without a buffer")
@pytest.mark.symbols(
    "IORING_RSRC_REGISTER_SPARSE",
    "IORING_REGISTER_BUFFERS2",
    "IORING_REGISTER_BUFFERS_UPDATE",
    "IORING_UNREGISTER_BUFFERS",
    "IORING_OP_READ_FIXED",
)
def test_buffers_sparse(ring: RingFactory, scratch: Path) -> None:
    """A table is made of empty slots, which are filled and emptied one by one."""
    io_uring = ring(1)
    io_uring.register_buffers_sparse(3)
    buffer = bytearray(b"." * 16)
    with opened(scratch / "file", CREATE) as fd:
        os.write(fd, _CONTENT)
        for index in range(3):
            assert completion(0x77, -errno.EFAULT) == _read(io_uring, fd, buffer, index)
        assert 1 == io_uring.register_buffers_update_tag(1, [buffer], [0])
        for index, res in ((0, -errno.EFAULT), (1, 16), (2, -errno.EFAULT)):
            assert completion(0x77, res) == _read(io_uring, fd, buffer, index)
        assert _CONTENT == buffer
        assert 1 == io_uring.register_buffers_update_tag(1, [uring.iovec()], [0])
        assert completion(0x77, -errno.EFAULT) == _read(io_uring, fd, buffer, 1)
        with pytest.raises(uring.ArgumentsInvalid):
            io_uring.register_buffers_update_tag(3, [buffer], [0])
    io_uring.unregister_buffers()


@pytest.mark.title("a replaced buffer is released")
@pytest.mark.symbols(
    "IORING_REGISTER_BUFFERS2",
    "IORING_REGISTER_BUFFERS_UPDATE",
    "IORING_UNREGISTER_BUFFERS",
    "IORING_OP_READ_FIXED",
)
@pytest.mark.needs("buffers-tags")
def test_buffer_tags(ring: RingFactory, scratch: Path) -> None:
    """The replaced one's tag is completed, and the new one is used; the others' when their slots are emptied."""
    io_uring = ring(1)
    buffers = [bytearray(b"." * 16) for _ in range(3)]
    io_uring.register_buffers_tags(buffers[:2], [0xA0, 0xA1])
    assert 1 == io_uring.register_buffers_update_tag(1, buffers[2:], [0xA2])
    assert [completion(0xA1, 0)] == reap(io_uring, 1, "the tag of a replaced buffer")
    with opened(scratch / "file", CREATE) as fd:
        os.write(fd, _CONTENT)
        for buffer, index, res in ((buffers[1], 1, -errno.EFAULT), (buffers[2], 1, 16), (buffers[0], 0, 16)):
            assert completion(0x77, res) == _read(io_uring, fd, buffer, index)
    assert [_CONTENT, b"." * 16, _CONTENT] == buffers
    assert 2 == io_uring.register_buffers_update_tag(0, [uring.iovec(), uring.iovec()], [0, 0])
    found = reap(io_uring, 2, "the tags of buffers that were taken away")
    assert [completion(0xA0, 0), completion(0xA2, 0)] == sorted(found)
    io_uring.unregister_buffers()


@pytest.mark.title("a buffer in use is not released")
@pytest.mark.symbols(
    "IORING_REGISTER_BUFFERS2",
    "IORING_REGISTER_BUFFERS_UPDATE",
    "IORING_UNREGISTER_BUFFERS",
    "IORING_OP_READ_FIXED",
    "IORING_OP_NOP",
)
@pytest.mark.needs("buffers-tags")
def test_tag_of_a_buffer_in_use(ring: RingFactory) -> None:
    """A request that has a buffer reads into it, though it was replaced, and only then its tag is completed."""
    io_uring = ring(2)
    old, new = bytearray(b"." * 4), bytearray(b"-" * 4)
    io_uring.register_buffers_tags([old], [0xA0])
    with pipe() as (reading, writing):
        io_uring.read_fixed(0x31, reading, old, 0, 0)
        io_uring.nop(0x32)
        assert [completion(0x32, 0)] == complete(io_uring, 1, "IORING_OP_NOP behind a read that waits")
        assert 1 == io_uring.register_buffers_update_tag(0, [new], [0])
        io_uring.nop(0x33)
        assert [completion(0x33, 0)] == complete(io_uring, 1, "IORING_OP_NOP, with a replaced buffer in use")
        os.write(writing, b"abc")
        found = reap(io_uring, 2, "IORING_OP_READ_FIXED and the tag of its buffer")
        assert [completion(0x31, 3), completion(0xA0, 0)] == sorted(found)
        assert [b"abc.", b"----"] == [old, new]
    io_uring.unregister_buffers()


@pytest.mark.title("buffers given up while they are used")
@pytest.mark.symbols("IORING_REGISTER_BUFFERS", "IORING_UNREGISTER_BUFFERS", "IORING_OP_READ_FIXED", "IORING_OP_NOP")
@pytest.mark.needs("feat-rsrc-tags")
def test_buffers_unregistered_in_use(ring: RingFactory) -> None:
    """A request that has a buffer reads into it; the next one finds none."""
    io_uring = ring(2)
    buffer = bytearray(b"." * 4)
    io_uring.register_buffers([buffer])
    with pipe() as (reading, writing):
        io_uring.read_fixed(0x34, reading, buffer, 0, 0)
        io_uring.nop(0x35)
        assert [completion(0x35, 0)] == complete(io_uring, 1, "IORING_OP_NOP behind a read that waits")
        # Kernels before 6.4 wait here for the request to end, which needs what it waits for.
        os.write(writing, b"abc")
        io_uring.unregister_buffers()
        assert [completion(0x34, 3)] == reap(io_uring, 1, "IORING_OP_READ_FIXED")
        assert b"abc." == buffer
        assert completion(0x77, -errno.EFAULT) == _read(io_uring, reading, buffer, 0)


@pytest.mark.title("cloned buffers")
@pytest.mark.symbols(
    "IORING_REGISTER_CLONE_BUFFERS",
    "IORING_REGISTER_BUFFERS",
    "IORING_UNREGISTER_BUFFERS",
    "IORING_OP_READ_FIXED",
)
def test_clone_buffers(ring: RingFactory, scratch: Path) -> None:
    """Another ring uses the same memory, also when the first one has given it up."""
    source, io_uring = ring(1), ring(1)
    buffers = [bytearray(b"." * 16) for _ in range(2)]
    with pytest.raises(uring.BuffersNotRegistered):
        io_uring.clone_buffers(source)
    source.register_buffers(buffers)
    io_uring.clone_buffers(source)
    source.unregister_buffers()
    with opened(scratch / "file", CREATE) as fd:
        os.write(fd, _CONTENT)
        assert completion(0x77, 16) == _read(io_uring, fd, buffers[1], 1)
        assert completion(0x77, -errno.EFAULT) == _read(io_uring, fd, buffers[1], 0)
        assert completion(0x77, -errno.EFAULT) == _read(source, fd, buffers[1], 1)
    assert [b"." * 16, _CONTENT] == buffers
    io_uring.unregister_buffers()


@pytest.mark.title("some buffers cloned to another place")
@pytest.mark.symbols(
    "IORING_REGISTER_CLONE_BUFFERS",
    "IORING_REGISTER_BUFFERS",
    "IORING_UNREGISTER_BUFFERS",
    "IORING_OP_READ_FIXED",
)
@pytest.mark.needs("clone-buffers-offset")
def test_clone_buffers_offset(ring: RingFactory, scratch: Path) -> None:
    """As many as are asked for, from the slot and to the slot that are named; no more than there are."""
    source, io_uring = ring(1), ring(1)
    buffers = [bytearray(b"." * 16) for _ in range(4)]
    source.register_buffers(buffers)
    with pytest.raises(uring.ArgumentsInvalid):
        io_uring.clone_buffers_offset(source, 0, 3, 2, 0)
    io_uring.clone_buffers_offset(source, 1, 2, 1, 0)
    with opened(scratch / "file", CREATE) as fd:
        os.write(fd, _CONTENT)
        for number, slot, res in ((2, 0, -errno.EFAULT), (2, 1, 16), (3, 2, -errno.EFAULT), (3, 1, -errno.EFAULT)):
            assert completion(0x77, res) == _read(io_uring, fd, buffers[number], slot)
    assert [b"." * 16, b"." * 16, _CONTENT, b"." * 16] == buffers
    for one in (source, io_uring):
        one.unregister_buffers()


@pytest.mark.title("buffers cloned over others")
@pytest.mark.symbols(
    "IORING_REGISTER_CLONE_BUFFERS",
    "IORING_REGISTER_DST_REPLACE",
    "IORING_REGISTER_BUFFERS",
    "IORING_UNREGISTER_BUFFERS",
    "IORING_OP_READ_FIXED",
)
def test_clone_buffers_replace(ring: RingFactory, scratch: Path) -> None:
    """Where there are buffers, none are cloned, unless they are to be replaced; the others stay."""
    source, io_uring = ring(1), ring(1)
    cloned, replaced, stays = (bytearray(b"." * 16) for _ in range(3))
    source.register_buffers([cloned])
    io_uring.register_buffers([stays, replaced])
    with pytest.raises(uring.BuffersAlreadyRegistered):
        io_uring.clone_buffers(source)
    io_uring.clone_buffers_offset(source, 1, 0, 1, IORING_REGISTER_DST_REPLACE)
    with opened(scratch / "file", CREATE) as fd:
        os.write(fd, _CONTENT)
        for buffer, slot, res in ((stays, 0, 16), (replaced, 1, -errno.EFAULT), (cloned, 1, 16)):
            assert completion(0x77, res) == _read(io_uring, fd, buffer, slot)
    assert [_CONTENT, _CONTENT, b"." * 16] == [cloned, stays, replaced]
    for one in (source, io_uring):
        one.unregister_buffers()
