"""Rings and queues: the structures, the no-op, and a completion queue that wraps."""

from __future__ import annotations

import ctypes

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.support import completion
from uring import IORING_OP, IOSQE_IO_DRAIN
from uring.cqe import CQE_LAYOUT

pytestmark = pytest.mark.group("Rings and queues")


@pytest.mark.zig("structs/offsets/entries")
@pytest.mark.title("structures, offsets, entry counts")
@pytest.mark.symbols("IORING_OFF_SQ_RING", "IORING_OFF_CQ_RING", "IORING_OFF_SQES")
@pytest.mark.since("5.1")
def test_structs_offsets_entries() -> None:
    """Structures and mapping offsets have the kernel's sizes, and a wrong entry count is refused before the kernel.

    Zig: "structs/offsets/entries"
    """
    assert 120 == ctypes.sizeof(uring.io_uring_params)
    assert 64 == len(bytes(uring.io_uring_sqe()))
    # A completion is a tuple here; this is the layout that it is read with.
    assert 16 == CQE_LAYOUT.size

    assert 0 == uring.IORING_OFF_SQ_RING
    assert 0x8000000 == uring.IORING_OFF_CQ_RING
    assert 0x10000000 == uring.IORING_OFF_SQES

    with pytest.raises(uring.EntriesZero):
        uring.IoUring(0, 0)
    with pytest.raises(uring.EntriesNotPowerOfTwo):
        uring.IoUring(3, 0)


@pytest.mark.zig("nop")
@pytest.mark.title("no-op")
@pytest.mark.symbols("IORING_OP_NOP", "IOSQE_IO_DRAIN")
@pytest.mark.since("5.4")
def test_nop(ring: RingFactory) -> None:
    """A no-op goes through both queues, which move exactly as far as they should, also behind a drain barrier.

    Zig: "nop"
    """
    io_uring = ring(1)

    sqe = io_uring.nop(0xAAAAAAAA)
    assert uring.io_uring_sqe(opcode=IORING_OP.NOP, user_data=0xAAAAAAAA) == sqe

    assert 0 == io_uring.sq.sqe_head
    assert 1 == io_uring.sq.sqe_tail
    assert 0 == io_uring.sq.tail
    assert 0 == io_uring.cq.head
    assert 1 == io_uring.sq_ready()
    assert 0 == io_uring.cq_ready()

    assert 1 == io_uring.submit()
    assert 1 == io_uring.sq.sqe_head
    assert 1 == io_uring.sq.sqe_tail
    assert 1 == io_uring.sq.tail
    assert 0 == io_uring.cq.head
    assert 0 == io_uring.sq_ready()

    assert completion(0xAAAAAAAA, 0) == io_uring.copy_cqe()
    assert 1 == io_uring.cq.head
    assert 0 == io_uring.cq_ready()

    sqe_barrier = io_uring.nop(0xBBBBBBBB)
    sqe_barrier.flags |= IOSQE_IO_DRAIN
    assert 1 == io_uring.submit()
    assert completion(0xBBBBBBBB, 0) == io_uring.copy_cqe()
    assert 2 == io_uring.sq.sqe_head
    assert 2 == io_uring.sq.sqe_tail
    assert 2 == io_uring.sq.tail
    assert 2 == io_uring.cq.head

    io_uring.deinit()
    assert -1 == io_uring.fd


@pytest.mark.zig("copy_cqes with wrapping sq.cqes buffer")
@pytest.mark.title("completion queue that wraps")
@pytest.mark.symbols("IORING_OP_TIMEOUT")
@pytest.mark.since("5.4")
def test_copy_cqes_with_wrapping_sq_cqes_buffer(ring: RingFactory) -> None:
    """Completions are copied out whole however often the completion queue wraps between two of them.

    Zig: "copy_cqes with wrapping sq.cqes buffer"
    """
    io_uring = ring(2)

    assert 2 == len(io_uring.sq.sqes)
    assert 4 == len(io_uring.cq.cqes)

    short_time = uring.kernel_timespec(0, 10_000)

    cqes: list[uring.io_uring_cqe | None] = [None] * 8

    def submit_timeouts(count: int) -> None:
        for _ in range(count):
            sqe = io_uring.get_sqe()
            sqe.prep_timeout(short_time, 0, 0)
            assert 1 == io_uring.submit()

    def copy(count: int) -> int:
        copied = 0
        while copied < count:
            copied += io_uring.copy_cqes(cqes, count - copied)
        return copied

    submit_timeouts(2)
    copy(2)
    assert 2 == io_uring.cq.head

    # The queue holds 4 and is read from position 2, so that every further round of 4 reads places 2, 3, 0 and 1.
    for round_number in range(1, 1024):
        submit_timeouts(4)
        assert 4 == copy(4)
        assert 2 + 4 * round_number == io_uring.cq.head
