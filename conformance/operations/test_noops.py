"""No-ops and what they can be told: a result, a file, a buffer, when to complete, how large."""

from __future__ import annotations

import errno
import os

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.operations.support import complete
from conformance.support import completion, opened

pytestmark = pytest.mark.group("No-ops")

_FILE, _FIXED_FILE = uring.IORING_NOP_FILE, uring.IORING_NOP_FIXED_FILE


@pytest.mark.title("no-op with a result")
@pytest.mark.symbols("IORING_NOP_INJECT_RESULT", "IORING_OP_NOP")
def test_noop_inject_result(ring: RingFactory) -> None:
    """The completion has the result that is asked for, an error or not."""
    io_uring = ring(1)
    for res in (0, 12345, -errno.EDOM):
        sqe = io_uring.nop(0x11)
        sqe.rw_flags, sqe.len = uring.IORING_NOP_INJECT_RESULT, res & 0xFFFFFFFF
        assert [completion(0x11, res)] == complete(io_uring, 1, "IORING_OP_NOP with IORING_NOP_INJECT_RESULT")


@pytest.mark.title("no-op with a file")
@pytest.mark.symbols(
    "IORING_NOP_FILE", "IORING_NOP_FIXED_FILE", "IORING_OP_NOP", "IORING_REGISTER_FILES", "IORING_UNREGISTER_FILES"
)
def test_noop_file(ring: RingFactory) -> None:
    """An open file is found by its descriptor, or in its slot."""
    io_uring = ring(1)
    with opened("/dev/null") as fd:
        io_uring.register_files([-1, fd])
        for flags, file in ((_FILE, fd), (_FILE | _FIXED_FILE, 1)):
            sqe = io_uring.nop(0x12)
            sqe.rw_flags, sqe.fd = flags, file
            assert [completion(0x12, 0)] == complete(io_uring, 1, "IORING_OP_NOP with a file")
        io_uring.unregister_files()


@pytest.mark.title("no-op without the file that it names")
@pytest.mark.symbols(
    "IORING_NOP_FILE", "IORING_NOP_FIXED_FILE", "IORING_OP_NOP", "IORING_REGISTER_FILES", "IORING_UNREGISTER_FILES"
)
def test_noop_without_file(ring: RingFactory) -> None:
    """A descriptor that is closed, an empty slot and one beyond the table have no file, and the no-op says so."""
    io_uring = ring(1)
    with opened("/dev/null") as fd:
        closed = os.dup(fd)
        os.close(closed)
        io_uring.register_files([-1, fd])
        for flags, file in ((_FILE, closed), (_FILE | _FIXED_FILE, 0), (_FILE | _FIXED_FILE, 2)):
            sqe = io_uring.nop(0x13)
            sqe.rw_flags, sqe.fd = flags, file
            assert [completion(0x13, -errno.EBADF)] == complete(io_uring, 1, "IORING_OP_NOP without a file")
        io_uring.unregister_files()


@pytest.mark.title("no-op with a registered buffer")
@pytest.mark.symbols("IORING_NOP_FIXED_BUFFER", "IORING_OP_NOP", "IORING_REGISTER_BUFFERS", "IORING_UNREGISTER_BUFFERS")
def test_noop_fixed_buffer(ring: RingFactory) -> None:
    """A buffer is found in its slot."""
    io_uring = ring(1)
    io_uring.register_buffers([bytearray(8), bytearray(8)])
    sqe = io_uring.nop(0x14)
    sqe.rw_flags, sqe.buf_index = uring.IORING_NOP_FIXED_BUFFER, 1
    assert [completion(0x14, 0)] == complete(io_uring, 1, "IORING_OP_NOP with IORING_NOP_FIXED_BUFFER")
    io_uring.unregister_buffers()


@pytest.mark.title("no-op without the buffer that it names")
@pytest.mark.symbols("IORING_NOP_FIXED_BUFFER", "IORING_OP_NOP", "IORING_REGISTER_BUFFERS", "IORING_UNREGISTER_BUFFERS")
def test_noop_without_buffer(ring: RingFactory) -> None:
    """A slot beyond the table has no buffer, and the no-op says so."""
    io_uring = ring(1)
    io_uring.register_buffers([bytearray(8)])
    sqe = io_uring.nop(0x19)
    sqe.rw_flags, sqe.buf_index = uring.IORING_NOP_FIXED_BUFFER, 1
    assert [completion(0x19, -errno.EFAULT)] == complete(io_uring, 1, "IORING_OP_NOP without a buffer")
    io_uring.unregister_buffers()


@pytest.mark.title("no-op by task work")
@pytest.mark.symbols("IORING_NOP_TW", "IORING_NOP_INJECT_RESULT", "IORING_OP_NOP")
def test_noop_task_work(ring: RingFactory) -> None:
    """It completes later, with the same result."""
    io_uring = ring(1)
    sqe = io_uring.nop(0x15)
    sqe.rw_flags, sqe.len = uring.IORING_NOP_TW | uring.IORING_NOP_INJECT_RESULT, 77
    assert [completion(0x15, 77)] == complete(io_uring, 1, "IORING_OP_NOP with IORING_NOP_TW")


@pytest.mark.title("no-op with a large completion")
@pytest.mark.symbols("IORING_NOP_CQE32", "IORING_OP_NOP", "IORING_SETUP_CQE_MIXED", "IORING_CQE_F_32")
def test_noop_cqe32(ring: RingFactory) -> None:
    """In a queue of both sizes one has a completion of 32 bytes, with two more words, and the next one has not."""
    io_uring = ring(2, uring.IORING_SETUP_CQE_MIXED)
    sqe = io_uring.nop(0x16)
    sqe.rw_flags, sqe.off, sqe.addr = uring.IORING_NOP_CQE32, 0x1122334455667788, 0x99AABBCCDDEEFF00
    (large,) = complete(io_uring, 1, "IORING_OP_NOP with IORING_NOP_CQE32")
    assert (0x16, 0, uring.IORING_CQE_F_32, 0x1122334455667788, 0x99AABBCCDDEEFF00) == tuple(large)
    io_uring.nop(0x17)
    assert [(0x17, 0, 0)] == [tuple(cqe)[:3] for cqe in complete(io_uring, 1, "IORING_OP_NOP")]


@pytest.mark.title("no-op, refused")
@pytest.mark.symbols("IORING_OP_NOP")
@pytest.mark.needs("nop-inject-result")
def test_noop_refused(ring: RingFactory) -> None:
    """Flags that the kernel does not know are refused, once it knows some."""
    io_uring = ring(1)
    io_uring.nop(0x18).rw_flags = 1 << 30
    assert [completion(0x18, -errno.EINVAL)] == complete(io_uring, 1, "IORING_OP_NOP with a flag that does not exist")


@pytest.mark.title("no-op of 128 bytes")
@pytest.mark.symbols("IORING_OP_NOP128", "IORING_SETUP_SQE128")
def test_noop_of_128_bytes(ring: RingFactory) -> None:
    """It does as little as the other one, one after the other."""
    io_uring = ring(2, uring.IORING_SETUP_SQE128)
    for user_data in (0x21, 0x22, 0x23):
        io_uring.nop128(user_data)
        assert [completion(user_data, 0)] == complete(io_uring, 1, "IORING_OP_NOP128")


@pytest.mark.title("no-op of 128 bytes, refused")
@pytest.mark.symbols("IORING_OP_NOP128")
def test_noop_of_128_bytes_refused(ring: RingFactory) -> None:
    """There is no room for it where entries have 64 bytes; where all have 128, as in one of the modes, there is."""
    io_uring = ring(2)
    io_uring.nop128(0x24)
    res = 0 if io_uring.flags & uring.IORING_SETUP_SQE128 else -errno.EINVAL
    assert [completion(0x24, res)] == complete(io_uring, 1, "IORING_OP_NOP128 in 64 bytes")
