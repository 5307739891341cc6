"""Pipes: made, copied, moved to and from files, read again and again."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.operations.support import complete, content_of, is_open, pipe, reap
from conformance.support import CREATE, completion, opened, owned_fds
from uring import IORING_CQE_BUFFER_SHIFT, IORING_CQE_F_BUFFER, IORING_CQE_F_MORE, SPLICE_F_FD_IN_FIXED

pytestmark = pytest.mark.group("Pipes")

_GROUP = 5


@pytest.mark.title("pipe")
@pytest.mark.symbols("IORING_OP_PIPE")
def testpipe(ring: RingFactory) -> None:
    """The first descriptor reads what is written into the second; flags hold for both."""
    io_uring = ring(1)
    for flags, is_inheritable, is_blocking in ((0, True, True), (os.O_CLOEXEC | os.O_NONBLOCK, False, False)):
        ends = (ctypes.c_int32 * 2)(-1, -1)
        with owned_fds() as fds:
            io_uring.pipe(0x11, ends, flags)
            assert [completion(0x11, 0)] == complete(io_uring, 1, "IORING_OP_PIPE")
            reading, writing = ends
            assert (True, True) == (is_open(reading), is_open(writing))
            fds |= {reading, writing}
            assert 3 == os.write(writing, b"abc")
            assert b"abc" == content_of(reading)
            for end in ends:
                assert (is_inheritable, is_blocking) == (os.get_inheritable(end), os.get_blocking(end))


@pytest.mark.title("pipe, refused")
@pytest.mark.symbols("IORING_OP_PIPE")
def test_pipe_refused(ring: RingFactory) -> None:
    """There are no other flags than pipe2(2) has, and the descriptors have to be told somewhere."""
    io_uring = ring(1)
    ends = (ctypes.c_int32 * 2)(-1, -1)
    for where, flags, number in ((ends, os.O_APPEND, errno.EINVAL), (8, 0, errno.EFAULT)):
        io_uring.pipe(0x12, where, flags)
        assert [completion(0x12, -number)] == complete(io_uring, 1, "IORING_OP_PIPE")
    assert [-1, -1] == list(ends)


@pytest.mark.title("tee")
@pytest.mark.symbols("IORING_OP_TEE")
def test_tee(ring: RingFactory) -> None:
    """What is copied stays in the first pipe; no more is copied than is asked for or there."""
    io_uring = ring(1)
    with pipe(b"abcdef") as (source, _), pipe() as (target, target_in):
        for length, content in ((4, b"abcd"), (99, b"abcdef")):
            io_uring.tee(0x21, source, target_in, length, 0)
            assert [completion(0x21, len(content))] == complete(io_uring, 1, "IORING_OP_TEE")
            assert content == content_of(target)
        assert b"abcdef" == content_of(source)


@pytest.mark.title("tee, refused")
@pytest.mark.symbols("IORING_OP_TEE")
def test_tee_refused(ring: RingFactory, scratch: Path) -> None:
    """Both have to be pipes, and two."""
    io_uring = ring(1)
    with opened(scratch / "file", CREATE) as file, pipe(b"abc") as (reading, writing):
        for source, target in ((file, writing), (reading, file), (reading, writing)):
            io_uring.tee(0x22, source, target, 3, 0)
            assert [completion(0x22, -errno.EINVAL)] == complete(io_uring, 1, "IORING_OP_TEE")
        assert b"abc" == content_of(reading)


@pytest.mark.title("splice at offsets")
@pytest.mark.symbols("IORING_OP_SPLICE")
def test_splice_offsets(ring: RingFactory, scratch: Path) -> None:
    """With an offset, a file is read or written there, and its position stays; with -1, at its position."""
    io_uring = ring(1)
    with opened(scratch / "file", CREATE) as file, pipe() as (reading, writing):
        os.write(file, b"0123456789")
        os.lseek(file, 1, os.SEEK_SET)
        for offset, content, position in ((5, b"567", 1), (-1, b"123", 4)):
            io_uring.splice(0x31, file, offset, writing, -1, 3)
            assert [completion(0x31, 3)] == complete(io_uring, 1, "IORING_OP_SPLICE from a file")
            assert (content, position) == (content_of(reading), os.lseek(file, 0, os.SEEK_CUR))
        for offset, content, position in ((8, b"01234567ab", 4), (-1, b"0123ab67ab", 6)):
            os.write(writing, b"ab")
            io_uring.splice(0x32, reading, -1, file, offset, 8)
            assert [completion(0x32, 2)] == complete(io_uring, 1, "IORING_OP_SPLICE to a file")
            assert (content, position) == (os.pread(file, 16, 0), os.lseek(file, 0, os.SEEK_CUR))
        assert b"" == content_of(reading)


@pytest.mark.title("splice and tee from registered files")
@pytest.mark.symbols(
    "SPLICE_F_FD_IN_FIXED", "IORING_OP_SPLICE", "IORING_OP_TEE", "IORING_REGISTER_FILES", "IORING_UNREGISTER_FILES"
)
def test_splice_fd_in_fixed(ring: RingFactory) -> None:
    """With SPLICE_F_FD_IN_FIXED the source is a slot, and a slot without a file is refused."""
    io_uring = ring(1)
    with pipe(b"abcdef") as (source, _), pipe() as (target, target_in):
        io_uring.register_files([target, source])
        io_uring.tee(0x33, 1, target_in, 3, SPLICE_F_FD_IN_FIXED)
        assert [completion(0x33, 3)] == complete(io_uring, 1, "IORING_OP_TEE from a slot")
        assert b"abc" == content_of(target)
        io_uring.splice(0x34, 1, -1, target_in, -1, 4).rw_flags = SPLICE_F_FD_IN_FIXED
        assert [completion(0x34, 4)] == complete(io_uring, 1, "IORING_OP_SPLICE from a slot")
        assert (b"abcd", b"ef") == (content_of(target), content_of(source))
        io_uring.splice(0x35, 2, -1, target_in, -1, 4).rw_flags = SPLICE_F_FD_IN_FIXED
        assert [completion(0x35, -errno.EBADF)] == complete(io_uring, 1, "IORING_OP_SPLICE from no slot")
        io_uring.unregister_files()


@pytest.mark.title("splice, refused")
@pytest.mark.symbols("IORING_OP_SPLICE")
def test_splice_refused(ring: RingFactory, scratch: Path) -> None:
    """One side has to be a pipe, which has no offsets."""
    io_uring = ring(1)
    with opened(scratch / "file", CREATE) as file, pipe(b"abc") as (reading, writing):
        for source, source_at, target, target_at, number in (
            (file, 0, file, 8, errno.EINVAL),
            (reading, 1, file, 0, errno.ESPIPE),
            (file, 0, writing, 1, errno.ESPIPE),
        ):
            io_uring.splice(0x36, source, source_at, target, target_at, 3)
            assert [completion(0x36, -number)] == complete(io_uring, 1, "IORING_OP_SPLICE")
        assert (b"abc", b"") == (content_of(reading), os.pread(file, 8, 0))


@pytest.mark.title("a read waits for data")
@pytest.mark.symbols("IORING_OP_READ", "IORING_OP_NOP")
def test_read_waits(ring: RingFactory) -> None:
    """A read from an empty pipe is complete when something is written, and with nothing when nobody can write."""
    io_uring = ring(2)
    reading, writing = os.pipe()
    with owned_fds() as fds:
        fds |= {reading, writing}
        for user_data, res in ((0x41, 3), (0x42, 0)):
            buffer = bytearray(8)
            io_uring.read(user_data, reading, buffer, 0)
            io_uring.nop(0x40)
            assert [completion(0x40, 0)] == complete(io_uring, 1, "IORING_OP_NOP beside a read that waits")
            if res:
                os.write(writing, b"abc")
            else:
                os.close(writing)
                fds.remove(writing)
            assert [completion(user_data, res)] == reap(io_uring, 1, "IORING_OP_READ from a pipe")
            assert b"abc\0\0\0\0\0"[:res] == bytes(buffer[:res])


def _provide(io_uring: uring.IoUring, buffers: list[bytearray]) -> uring.io_uring_buf_ring:
    """A buffer ring with those buffers, whose IDs are their positions."""
    entries = uring.setup_buf_ring(io_uring.fd, 4, _GROUP)
    for buffer_id, buffer in enumerate(buffers):
        uring.buf_ring_add(entries, buffer, buffer_id, uring.buf_ring_mask(4), buffer_id)
    uring.buf_ring_advance(entries, len(buffers))
    return entries


def _in_buffer(user_data: int, res: int, buffer_id: int) -> uring.io_uring_cqe:
    flags = IORING_CQE_F_BUFFER | IORING_CQE_F_MORE | buffer_id << IORING_CQE_BUFFER_SHIFT
    return completion(user_data, res, flags)


@pytest.mark.title("read, multishot")
@pytest.mark.symbols(
    "IORING_OP_READ_MULTISHOT",
    "IOSQE_BUFFER_SELECT",
    "IORING_REGISTER_PBUF_RING",
    "IORING_UNREGISTER_PBUF_RING",
    "IORING_CQE_F_BUFFER",
    "IORING_CQE_F_MORE",
)
def test_read_multishot(ring: RingFactory) -> None:
    """Whenever something is written one request reads it, into one buffer after another, until nobody can write."""
    io_uring = ring(1)
    buffers = [bytearray(8) for _ in range(4)]
    entries = _provide(io_uring, buffers)
    reading, writing = os.pipe()
    with owned_fds() as fds:
        fds |= {reading, writing}
        io_uring.read_multishot(0x51, reading, 0, 0, _GROUP)
        io_uring.submit()
        for buffer_id, data in enumerate((b"abc", b"defgh", b"i")):
            os.write(writing, data)
            assert [_in_buffer(0x51, len(data), buffer_id)] == reap(io_uring, 1, "IORING_OP_READ_MULTISHOT")
            assert data == bytes(buffers[buffer_id][: len(data)])
        os.close(writing)
        fds.remove(writing)
        (cqe,) = reap(io_uring, 1, "IORING_OP_READ_MULTISHOT at the end")
        # Whether a buffer is named into which nothing was read is not promised.
        assert (0x51, 0, 0) == (cqe.user_data, cqe.res, cqe.flags & IORING_CQE_F_MORE)
    uring.free_buf_ring(io_uring.fd, entries, 4, _GROUP)


@pytest.mark.title("read, multishot, without buffers")
@pytest.mark.symbols(
    "IORING_OP_READ_MULTISHOT",
    "IOSQE_BUFFER_SELECT",
    "IORING_REGISTER_PBUF_RING",
    "IORING_UNREGISTER_PBUF_RING",
    "IORING_CQE_F_BUFFER",
    "IORING_CQE_F_MORE",
)
def test_read_multishot_without_buffers(ring: RingFactory) -> None:
    """It fills each, ends when there are no more, and loses nothing."""
    io_uring = ring(1)
    buffers = [bytearray(8) for _ in range(2)]
    entries = _provide(io_uring, buffers)
    with pipe(b"0123456789abcdefgh") as (reading, _):
        io_uring.read_multishot(0x52, reading, 0, 0, _GROUP)
        assert [
            _in_buffer(0x52, 8, 0),
            _in_buffer(0x52, 8, 1),
            completion(0x52, -errno.ENOBUFS),
        ] == complete(io_uring, 3, "IORING_OP_READ_MULTISHOT with two buffers")
        assert [b"01234567", b"89abcdef"] == buffers
        assert b"gh" == content_of(reading)
    uring.free_buf_ring(io_uring.fd, entries, 4, _GROUP)


@pytest.mark.title("read, multishot, refused")
@pytest.mark.symbols(
    "IORING_OP_READ_MULTISHOT",
    "IOSQE_BUFFER_SELECT",
    "IORING_REGISTER_PBUF_RING",
    "IORING_UNREGISTER_PBUF_RING",
)
def test_read_multishot_refused(ring: RingFactory, scratch: Path) -> None:
    """A file that is always ready cannot be read again and again, and buffers are filled as far as they go."""
    io_uring = ring(1)
    entries = _provide(io_uring, [bytearray(8)])
    (scratch / "file").write_bytes(b"abc")
    with opened(scratch / "file") as file, pipe(b"abc") as (reading, _):
        for fd, length, number in ((file, 0, errno.EBADFD), (reading, 2, errno.EINVAL)):
            io_uring.read_multishot(0x53, fd, length, 0, _GROUP)
            assert [completion(0x53, -number)] == complete(io_uring, 1, "IORING_OP_READ_MULTISHOT")
        assert b"abc" == content_of(reading)
    uring.free_buf_ring(io_uring.fd, entries, 4, _GROUP)
