"""Submission: invalid entries, the array of indices, the thread of SQPOLL, shared workers, polled reads."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.operations.support import complete, eventually, expect_no_more, reap
from conformance.support import CREATE, completion, opened
from uring import (
    IORING_SETUP_ATTACH_WQ,
    IORING_SETUP_CQSIZE,
    IORING_SETUP_IOPOLL,
    IORING_SETUP_NO_SQARRAY,
    IORING_SETUP_SQPOLL,
    IORING_SETUP_SUBMIT_ALL,
    IORING_SQ_NEED_WAKEUP,
    IOSQE_ASYNC,
    E,
    IoUring,
)

pytestmark = pytest.mark.group("Submission")

FIRST, SECOND, THIRD = 0xB1, 0xB2, 0xB3
#: No kernel has it.
NO_OPERATION = 255


def _three(io_uring: IoUring) -> int:
    """A no-op, an entry of an operation that there is not, another no-op. Returns how many the kernel takes."""
    io_uring.nop(FIRST)
    io_uring.nop(SECOND).opcode = NO_OPERATION
    io_uring.nop(THIRD)
    return io_uring.submit()


ENDS = [completion(FIRST, 0), completion(SECOND, -E.INVAL), completion(THIRD, 0)]


@pytest.mark.title("submission, stopped by an invalid entry")
@pytest.mark.symbols("IORING_OP_NOP")
def test_submission_stops_at_an_invalid_entry(ring: RingFactory) -> None:
    """An operation that there is not completes with EINVAL, and what is behind it has to be submitted again."""
    io_uring = ring(8)
    taken = _three(io_uring)
    # A kernel's thread begins again by itself.
    if not io_uring.flags & (IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SQPOLL):
        assert (2, 1) == (taken, io_uring.sq_ready())
        assert ENDS[:2] == sorted(reap(io_uring, 2, "IORING_OP_NOP and an operation that there is not"))
        assert 1 == io_uring.submit()
        assert ENDS[2:] == reap(io_uring, 1, "IORING_OP_NOP behind an operation that there is not")
    else:
        assert ENDS == sorted(reap(io_uring, 3, "IORING_OP_NOP and an operation that there is not"))


@pytest.mark.title("submission, goes on behind an invalid entry")
@pytest.mark.symbols("IORING_SETUP_SUBMIT_ALL", "IORING_OP_NOP")
def test_submission_goes_on_behind_an_invalid_entry(ring: RingFactory) -> None:
    """With IORING_SETUP_SUBMIT_ALL one submission takes all entries."""
    io_uring = ring(8, IORING_SETUP_SUBMIT_ALL)
    taken = _three(io_uring)
    assert 3 == taken or io_uring.flags & IORING_SETUP_SQPOLL
    assert ENDS == sorted(reap(io_uring, 3, "IORING_OP_NOP and an operation that there is not"))


@pytest.mark.title("submission, a field that must be zero")
@pytest.mark.symbols("IORING_OP_FSYNC")
def test_field_that_must_be_zero(ring: RingFactory, scratch: Path) -> None:
    """What means nothing to an operation must be zero: it may mean something one day."""
    io_uring = ring(8)
    with opened(scratch / "file", CREATE) as fd:
        io_uring.fsync(FIRST, fd, 0).addr = 1
        assert [completion(FIRST, -E.INVAL)] == complete(io_uring, 1, "IORING_OP_FSYNC with an address")


@pytest.mark.title("submission, a flag that there is not")
@pytest.mark.symbols("IORING_OP_NOP")
def test_flag_that_there_is_not(ring: RingFactory) -> None:
    """A flag that no kernel knows is refused."""
    io_uring = ring(8)
    io_uring.nop(FIRST).flags |= 1 << 7
    assert [completion(FIRST, -E.INVAL)] == complete(io_uring, 1, "IORING_OP_NOP with a flag that there is not")


@pytest.mark.title("submission, by index")
@pytest.mark.symbols("IORING_OP_NOP")
def test_submission_by_index(ring: RingFactory) -> None:
    """The array says which entry is taken when; without one it is the order that they lie in."""
    io_uring = ring(4)
    for number in range(4):
        io_uring.nop(number)
        io_uring.sq.array[number] = 3 - number
    io_uring.submit()
    order = range(4) if io_uring.flags & IORING_SETUP_NO_SQARRAY else range(3, -1, -1)
    assert [completion(number, 0) for number in order] == reap(io_uring, 4, "IORING_OP_NOP by index")


@pytest.mark.title("submission, an index that there is not")
@pytest.mark.symbols("IORING_OP_NOP")
def test_index_that_there_is_not_is_dropped(ring: RingFactory) -> None:
    """An index that is too large is passed over and counted, and the queue goes on."""
    io_uring = ring(4)
    has_array = not io_uring.flags & IORING_SETUP_NO_SQARRAY
    io_uring.nop(FIRST)
    io_uring.sq.array[0] = 4
    io_uring.submit()
    if has_array:
        eventually(lambda: io_uring.sq.dropped, "an index that there is not is counted as dropped")
        assert (1, 0) == (io_uring.sq.dropped, io_uring.sq_ready())
    else:
        assert [completion(FIRST, 0)] == reap(io_uring, 1, "IORING_OP_NOP in a queue without indices")
    expect_no_more(io_uring, "a no-op whose index is not there")
    assert has_array == io_uring.sq.dropped


# ---- the kernel's thread


@pytest.mark.title("submission thread")
@pytest.mark.symbols("IORING_SETUP_SQPOLL", "IORING_OP_NOP")
@pytest.mark.needs("feat-sqpoll-nonfixed")
def test_submission_thread_takes_entries(ring: RingFactory) -> None:
    """While the thread is awake, entries are taken without a system call."""
    io_uring = ring(8, IORING_SETUP_SQPOLL, sq_thread_idle=10_000)
    # One that has only just begun may sleep.
    io_uring.nop(FIRST)
    assert [completion(FIRST, 0)] == complete(io_uring, 1, "IORING_OP_NOP taken by a thread")
    for number in range(20):
        io_uring.nop(number)
        io_uring.flush_sq()
        assert 0 == io_uring.sq.flags & IORING_SQ_NEED_WAKEUP
        eventually(lambda: 0 == io_uring.sq_ready() and io_uring.cq_ready(), "the thread has taken an entry")
        assert [completion(number, 0)] == reap(io_uring, 1, "IORING_OP_NOP taken by a thread")


@pytest.mark.title("submission thread, woken up")
@pytest.mark.symbols("IORING_SQ_NEED_WAKEUP", "IORING_SETUP_SQPOLL", "IORING_OP_NOP")
@pytest.mark.needs("feat-sqpoll-nonfixed")
def test_submission_thread_is_woken_up(ring: RingFactory) -> None:
    """A thread that had nothing to do sleeps, says so, and goes on when it is woken up."""
    io_uring = ring(8, IORING_SETUP_SQPOLL, sq_thread_idle=1)
    for number in range(3):
        eventually(lambda: io_uring.sq.flags & IORING_SQ_NEED_WAKEUP, "the thread has gone to sleep")
        assert io_uring.sq_ring_needs_enter()
        io_uring.nop(number)
        assert [completion(number, 0)] == complete(io_uring, 1, "IORING_OP_NOP taken by a thread that slept")


@pytest.mark.title("submission thread, waiting for room")
@pytest.mark.symbols("IORING_ENTER_SQ_WAIT", "IORING_SETUP_SQPOLL", "IORING_SETUP_CQSIZE", "IORING_OP_NOP")
@pytest.mark.needs("feat-sqpoll-nonfixed")
def test_waiting_for_room_in_the_submission_queue(ring: RingFactory) -> None:
    """Who has filled the queue waits until the thread has taken an entry."""
    io_uring = ring(2, IORING_SETUP_SQPOLL | IORING_SETUP_CQSIZE, sq_thread_idle=10_000, cq_entries=32)
    calls = 0

    def has_room() -> int:
        nonlocal calls
        calls += 1
        return io_uring.sqring_wait()

    for number in range(20):
        # The call may end early, where a signal would end it, but not again and again.
        eventually(has_room, "IORING_ENTER_SQ_WAIT waits until there is room")
        io_uring.nop(number)
        io_uring.submit()
    assert calls <= 2 * 20
    assert [completion(number, 0) for number in range(20)] == sorted(reap(io_uring, 20, "IORING_OP_NOP"))


# ---- workers


@pytest.mark.title("shared workers")
@pytest.mark.symbols("IORING_SETUP_ATTACH_WQ", "IOSQE_ASYNC", "IORING_OP_WRITE")
def test_rings_share_workers(ring: RingFactory, scratch: Path) -> None:
    """Two rings with the same workers each get their own completions."""
    first = ring(8)
    second = ring(8, IORING_SETUP_ATTACH_WQ, wq_fd=first.fd)
    with opened(scratch / "file", CREATE) as fd:
        for number in range(4):
            first.write(FIRST + number, fd, b"1", 2 * number).flags |= IOSQE_ASYNC
            second.write(0x100 + number, fd, b"2", 2 * number + 1).flags |= IOSQE_ASYNC
        first.submit()
        second.submit()
        assert [completion(FIRST + number, 1) for number in range(4)] == sorted(
            reap(first, 4, "IORING_OP_WRITE of the ring that has the workers")
        )
        assert [completion(0x100 + number, 1) for number in range(4)] == sorted(
            reap(second, 4, "IORING_OP_WRITE of the ring that shares them")
        )
        assert b"12121212" == os.pread(fd, 9, 0)


@pytest.mark.title("shared workers, of no ring")
@pytest.mark.symbols("IORING_SETUP_ATTACH_WQ")
def test_workers_of_no_ring_are_refused(ring: RingFactory, scratch: Path) -> None:
    """Workers can only be shared with a ring."""
    with opened(scratch / "file", CREATE) as fd, pytest.raises(uring.ArgumentsInvalid):
        uring.IoUring.init_params(8, uring.io_uring_params(flags=IORING_SETUP_ATTACH_WQ, wq_fd=fd))


# ---- polled reads


@pytest.mark.title("polled read and write")
@pytest.mark.symbols("IORING_SETUP_IOPOLL", "IORING_OP_READ", "IORING_OP_WRITE")
def test_polled_read_and_write(ring: RingFactory, scratch_ext4: Path) -> None:
    """Without an interrupt, data gets to a device that can be polled, and back."""
    device = scratch_ext4.stat().st_dev
    queue = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/queue/io_poll")
    if not (queue.exists() and queue.read_text().strip() == "1"):
        pytest.skip(f"{scratch_ext4.parent} lies on no device that can be polled")
    io_uring = ring(8, IORING_SETUP_IOPOLL)
    # Pages of their own, aligned as devices need it.
    written, buffer = mmap.mmap(-1, 4096), mmap.mmap(-1, 4096)
    written[:] = bytes(range(256)) * 16
    with opened(scratch_ext4 / "file", CREATE | os.O_DIRECT) as fd:
        io_uring.write(FIRST, fd, written, 0)
        assert [completion(FIRST, 4096)] == complete(io_uring, 1, "IORING_OP_WRITE with IORING_SETUP_IOPOLL")
        assert written[:] == (scratch_ext4 / "file").read_bytes()
        io_uring.read(SECOND, fd, buffer, 0)
        assert [completion(SECOND, 4096)] == complete(io_uring, 1, "IORING_OP_READ with IORING_SETUP_IOPOLL")
        assert written[:] == buffer[:]
