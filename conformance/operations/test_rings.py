"""Rings: who may use them and when, how large they are, where they lie, by what they are entered."""

from __future__ import annotations

import errno
import mmap
import os
import threading
from pathlib import Path

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.operations.sockets import connection
from conformance.operations.support import elsewhere, eventually, pipe, reap
from conformance.support import completion
from uring import (
    IORING_ENTER_GETEVENTS,
    IORING_ENTER_REGISTERED_RING,
    IORING_SETUP_ATTACH_WQ,
    IORING_SETUP_CLAMP,
    IORING_SETUP_CQSIZE,
    IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_NO_MMAP,
    IORING_SETUP_NO_SQARRAY,
    IORING_SETUP_R_DISABLED,
    IORING_SETUP_REGISTERED_FD_ONLY,
    IORING_SETUP_SINGLE_ISSUER,
    IORING_SETUP_SQ_AFF,
    IORING_SETUP_SQ_REWIND,
    IORING_SETUP_SQE_MIXED,
    IORING_SETUP_SQPOLL,
    IORING_SETUP_TASKRUN_FLAG,
    IORING_SQ_TASKRUN,
    IoUring,
    syscalls,
)

pytestmark = pytest.mark.group("Rings and queues")

FIRST, SECOND = 0xA1, 0xA2
DEFERRED = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN


def nops(io_uring: IoUring, numbers: range) -> list[int]:
    """Submit a no-op for each number, and hand back those that completed."""
    for number in numbers:
        io_uring.nop(number)
    assert len(numbers) == io_uring.submit_and_wait(len(numbers))
    assert len(numbers) == io_uring.cq_ready(), "no-ops did not complete"
    cqes = [io_uring.copy_cqe() for _ in numbers]
    assert [0] * len(numbers) == [cqe.res for cqe in cqes]
    return sorted(cqe.user_data for cqe in cqes)


# ---- who may use it, and when


@pytest.mark.title("disabled ring")
@pytest.mark.symbols("IORING_SETUP_R_DISABLED", "IORING_REGISTER_ENABLE_RINGS", "IORING_OP_NOP")
def test_disabled_ring_takes_nothing(ring: RingFactory) -> None:
    """A disabled ring refuses a submission with EBADFD; enabled, it takes what was queued."""
    io_uring = ring(1, IORING_SETUP_R_DISABLED)
    io_uring.nop(FIRST)
    with pytest.raises(uring.FileDescriptorInBadState):
        io_uring.submit()
    io_uring.enable_rings()
    assert 1 == io_uring.submit()
    assert [completion(FIRST, 0)] == reap(io_uring, 1, "IORING_OP_NOP of a ring that was enabled")
    with pytest.raises(uring.FileDescriptorInBadState):
        io_uring.enable_rings()


@pytest.mark.title("one issuer")
@pytest.mark.symbols("IORING_SETUP_SINGLE_ISSUER", "IORING_OP_NOP")
def test_another_thread_may_not_submit(ring: RingFactory) -> None:
    """Another thread than the ring's is refused with EEXIST, and what it wanted to submit is still there."""
    io_uring = ring(1, IORING_SETUP_SINGLE_ISSUER)
    assert [0] == nops(io_uring, range(1))
    io_uring.nop(FIRST)
    assert isinstance(elsewhere(io_uring.submit), uring.InvalidThread)
    assert 1 == io_uring.submit()
    assert [completion(FIRST, 0)] == reap(io_uring, 1, "IORING_OP_NOP of the issuer")


@pytest.mark.title("one issuer, who enables the ring")
@pytest.mark.symbols("IORING_SETUP_SINGLE_ISSUER", "IORING_SETUP_R_DISABLED", "IORING_REGISTER_ENABLE_RINGS")
def test_who_enables_a_ring_is_its_issuer(ring: RingFactory) -> None:
    """The thread that enables a ring may enter it, and the one that made it may not."""
    io_uring = ring(1, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_R_DISABLED)

    def enable() -> int:
        io_uring.enable_rings()
        return io_uring.get_events()

    assert 0 == elsewhere(enable)
    with pytest.raises(uring.InvalidThread):
        io_uring.enter(1, 0, 0)


@pytest.mark.title("deferred completions")
@pytest.mark.symbols("IORING_SETUP_DEFER_TASKRUN", "IORING_SETUP_SINGLE_ISSUER", "IORING_OP_READ")
def test_completions_come_when_asked_for(ring: RingFactory) -> None:
    """A read whose data has come completes when the ring is entered for events, and not before."""
    io_uring = ring(1, DEFERRED)
    with pipe() as (reading, writing):
        buffer = bytearray(1)
        io_uring.read(FIRST, reading, buffer, 0)
        assert 1 == io_uring.submit()
        os.write(writing, b"x")
        for _ in range(100):
            os.getppid()  # ways into the kernel and out of it, where other rings' completions come
        assert 0 == io_uring.cq_ready()
        assert b"\0" == buffer
        assert [completion(FIRST, 1)] == reap(io_uring, 1, "IORING_OP_READ of a ring that was entered")
        assert b"x" == buffer


@pytest.mark.title("deferred completions, flag")
@pytest.mark.symbols(
    "IORING_SQ_TASKRUN",
    "IORING_SETUP_TASKRUN_FLAG",
    "IORING_SETUP_DEFER_TASKRUN",
    "IORING_SETUP_SINGLE_ISSUER",
    "IORING_OP_READ",
)
def test_flag_says_that_completions_are_pending(ring: RingFactory) -> None:
    """The flag is there from when the data has come until the ring is entered."""
    io_uring = ring(1, DEFERRED | IORING_SETUP_TASKRUN_FLAG)
    with pipe() as (reading, writing):
        io_uring.read(FIRST, reading, bytearray(1), 0)
        assert 1 == io_uring.submit()
        assert 0 == io_uring.sq.flags & IORING_SQ_TASKRUN
        os.write(writing, b"x")
        assert IORING_SQ_TASKRUN == io_uring.sq.flags & IORING_SQ_TASKRUN
        assert [completion(FIRST, 1)] == reap(io_uring, 1, "IORING_OP_READ")
        assert 0 == io_uring.sq.flags & IORING_SQ_TASKRUN


# ---- the submission thread


def _submission_thread(io_uring: IoUring) -> int:
    """The thread's number, which the kernel tells when nobody holds the ring."""
    found: list[int] = []

    def look() -> bool:
        text = Path(f"/proc/self/fdinfo/{io_uring.fd}").read_text(encoding="ascii")
        found.extend(int(line.split()[1]) for line in text.splitlines() if line.startswith("SqThread:"))
        # Until the thread runs, it is the one that made the ring.
        return found[-1] > 0 and found[-1] != threading.get_native_id()

    eventually(look, "a ring of IORING_SETUP_SQPOLL tells of its thread")
    return found[-1]


@pytest.mark.title("submission thread, processor")
@pytest.mark.symbols("IORING_SETUP_SQ_AFF", "IORING_SETUP_SQPOLL")
@pytest.mark.needs("feat-sqpoll-nonfixed")
def test_submission_thread_is_on_its_processor(ring: RingFactory) -> None:
    """The thread may run on the processor that was chosen, and on no other."""
    cpu = max(os.sched_getaffinity(0))
    thread = _submission_thread(ring(1, IORING_SETUP_SQPOLL | IORING_SETUP_SQ_AFF, sq_thread_cpu=cpu))
    eventually(lambda: {cpu} == os.sched_getaffinity(thread), "the thread of IORING_SETUP_SQ_AFF moves")


@pytest.mark.title("submission thread, shared")
@pytest.mark.symbols("IORING_SETUP_ATTACH_WQ", "IORING_SETUP_SQPOLL", "IORING_OP_NOP")
@pytest.mark.needs("feat-sqpoll-nonfixed")
def test_submission_thread_is_shared(ring: RingFactory) -> None:
    """A ring that is attached to another one has that one's thread, and is served."""
    first = ring(1, IORING_SETUP_SQPOLL)
    second = ring(1, IORING_SETUP_SQPOLL | IORING_SETUP_ATTACH_WQ, wq_fd=first.fd)
    assert _submission_thread(first) == _submission_thread(second)
    assert _submission_thread(first) != _submission_thread(ring(1, IORING_SETUP_SQPOLL))
    for io_uring in (first, second):
        io_uring.nop(FIRST)
        io_uring.submit()
        assert [completion(FIRST, 0)] == reap(io_uring, 1, "IORING_OP_NOP of a shared thread")


# ---- how large it is


@pytest.mark.title("size of the completion queue")
@pytest.mark.symbols("IORING_SETUP_CQSIZE", "IORING_OP_NOP")
def test_size_of_the_completion_queue(ring: RingFactory) -> None:
    """The completion queue has the size that was asked for, and room for as many completions."""
    io_uring = ring(4, IORING_SETUP_CQSIZE, cq_entries=16)
    assert (4, 16) == (len(io_uring.sq.sqes), len(io_uring.cq.cqes))
    for start in range(0, 16, 4):
        for number in range(start, start + 4):
            io_uring.nop(number)
        assert 4 == io_uring.submit_and_wait(start + 4)
    assert (16, 0) == (io_uring.cq_ready(), io_uring.cq.overflow)
    assert [completion(number, 0) for number in range(16)] == sorted(io_uring.copy_cqe() for _ in range(16))


@pytest.mark.title("more entries than there can be")
@pytest.mark.symbols("IORING_SETUP_CLAMP", "IORING_SETUP_CQSIZE", "IORING_OP_NOP")
def test_entries_are_clamped(ring: RingFactory) -> None:
    """More entries than the kernel has room for become as many as it has."""
    with pytest.raises(uring.ArgumentsInvalid):
        ring(1 << 15, IORING_SETUP_CQSIZE, cq_entries=1 << 20)
    io_uring = ring(1 << 20, IORING_SETUP_CLAMP)
    assert (1 << 15, 1 << 16) == (len(io_uring.sq.sqes), len(io_uring.cq.cqes))
    assert [7] == nops(io_uring, range(7, 8))


def _resized(io_uring: IoUring, entries: int, completions: int) -> None:
    params = uring.io_uring_params(flags=IORING_SETUP_CQSIZE, sq_entries=entries, cq_entries=completions)
    io_uring.resize_rings(params)


@pytest.mark.title("resize a ring")
@pytest.mark.symbols(
    "IORING_REGISTER_RESIZE_RINGS", "IORING_SETUP_DEFER_TASKRUN", "IORING_SETUP_SINGLE_ISSUER", "IORING_OP_NOP"
)
def test_resized_ring_keeps_its_completions(ring: RingFactory) -> None:
    """Completions that were not reaped are in the larger queue, which then takes more at once than the old one."""
    io_uring = ring(4, DEFERRED)
    # Both queues stand in the middle of a round.
    assert [1, 2, 3] == nops(io_uring, range(1, 4))
    for number in range(4):
        io_uring.nop(number)
    assert 4 == io_uring.submit_and_wait(4)
    _resized(io_uring, 16, 64)
    assert (16, 64) == (len(io_uring.sq.sqes), len(io_uring.cq.cqes))
    assert [completion(number, 0) for number in range(4)] == sorted(io_uring.copy_cqe() for _ in range(4))
    for _ in range(5):
        assert list(range(16)) == nops(io_uring, range(16))
    _resized(io_uring, 2, 4)
    assert [5, 6] == nops(io_uring, range(5, 7))


@pytest.mark.title("resize a ring, no room")
@pytest.mark.symbols(
    "IORING_REGISTER_RESIZE_RINGS", "IORING_SETUP_DEFER_TASKRUN", "IORING_SETUP_SINGLE_ISSUER", "IORING_OP_NOP"
)
def test_resizing_loses_no_completion(ring: RingFactory) -> None:
    """A size that has no room for what is there is refused with EOVERFLOW, and nothing changes."""
    io_uring = ring(4, DEFERRED)
    for number in range(4):
        io_uring.nop(number)
    assert 4 == io_uring.submit_and_wait(4)
    with pytest.raises(uring.ArgumentsInvalid) as refusal:
        _resized(io_uring, 1, 2)
    assert errno.EOVERFLOW == refusal.value.errno
    assert [completion(number, 0) for number in range(4)] == sorted(io_uring.copy_cqe() for _ in range(4))
    assert list(range(4)) == nops(io_uring, range(4))


@pytest.mark.title("resize a ring, not deferred")
@pytest.mark.symbols("IORING_REGISTER_RESIZE_RINGS")
def test_only_deferred_rings_are_resized(ring: RingFactory) -> None:
    """A ring that completes at any time cannot be resized: EINVAL."""
    with pytest.raises(uring.ArgumentsInvalid) as refusal:
        _resized(ring(4), 8, 16)
    assert errno.EINVAL == refusal.value.errno


# ---- where it lies


@pytest.mark.title("queues in the program's memory")
@pytest.mark.symbols("IORING_SETUP_NO_MMAP", "IORING_OP_NOP")
def test_queues_lie_in_memory_of_the_program(ring: RingFactory) -> None:
    """Completions are written into the memory that was brought for them."""
    memory = mmap.mmap(-1, 2 * mmap.PAGESIZE)
    place = uring.iovec(memory)
    params = uring.io_uring_params(flags=IORING_SETUP_NO_MMAP)
    params.cq_off.user_addr, params.sq_off.user_addr = place.base, place.base + mmap.PAGESIZE
    with IoUring.init_params(4, params) as io_uring:
        assert [FIRST] == nops(io_uring, range(FIRST, FIRST + 1))
        assert FIRST.to_bytes(8, "little") == memory[params.cq_off.cqes : params.cq_off.cqes + 8]
        assert FIRST.to_bytes(8, "little") == memory[mmap.PAGESIZE + 32 : mmap.PAGESIZE + 40]


@pytest.mark.title("no array of indices")
@pytest.mark.symbols("IORING_SETUP_NO_SQARRAY", "IORING_OP_NOP")
def test_entries_are_taken_in_their_order(ring: RingFactory) -> None:
    """Without an array of indices entries are taken one after the other, also round the queue's end."""
    params = uring.io_uring_params(flags=IORING_SETUP_NO_SQARRAY)
    with IoUring.init_params(4, params) as io_uring:
        assert 0 == params.sq_off.array
        for start in range(0, 12, 3):
            assert list(range(start, start + 3)) == nops(io_uring, range(start, start + 3))


@pytest.mark.title("submission from the queue's start")
@pytest.mark.symbols("IORING_SETUP_SQ_REWIND", "IORING_SETUP_NO_SQARRAY", "IORING_OP_NOP")
def test_each_submission_begins_at_the_first_entry(ring: RingFactory) -> None:
    """However many entries were submitted before, the next ones lie at the queue's start."""
    io_uring = ring(4, IORING_SETUP_SQ_REWIND | IORING_SETUP_NO_SQARRAY)
    for count in (1, 3, 4, 2):
        assert list(range(count)) == nops(io_uring, range(count))
        assert list(range(count)) == [io_uring.sq.sqes[place].user_data for place in range(count)]
    assert 0 == io_uring.sq.head


@pytest.mark.title("entries of two sizes")
@pytest.mark.symbols("IORING_SETUP_SQE_MIXED", "IORING_OP_NOP128", "IORING_OP_NOP")
def test_entries_of_two_sizes(ring: RingFactory) -> None:
    """Big entries take two places among small ones, also where the next one is the queue's last."""
    io_uring = ring(8, IORING_SETUP_SQE_MIXED)
    for _ in range(4):
        io_uring.nop(1)
        io_uring.nop128(2)
        io_uring.nop128(3)
        assert 5 == io_uring.submit()
        assert [completion(number, 0) for number in (1, 2, 3)] == sorted(reap(io_uring, 3, "IORING_OP_NOP128"))
        # The queue's end is one entry away now and then: a silent no-op fills it.
        while io_uring.sq.sqe_tail % 8 not in (0, 3):
            io_uring.nop(4)
            assert 1 == io_uring.submit()
            assert [completion(4, 0)] == reap(io_uring, 1, "IORING_OP_NOP")


@pytest.mark.title("socket command of 128 bytes")
@pytest.mark.symbols("IORING_OP_URING_CMD128", "IORING_SETUP_SQE_MIXED")
def test_big_command(ring: RingFactory, loopback: str) -> None:
    """A command may be a big entry among small ones: a socket tells how much is to be received."""
    io_uring = ring(4, IORING_SETUP_SQE_MIXED)
    with connection(loopback) as (sender, receiver):
        sender.send(b"hello")
        sqe = io_uring.get_sqe128()
        sqe.prep_cmd_sock(uring.IO_URING_SOCKET_OP.SIOCINQ, receiver.fileno(), 0, 0, None, 0)
        sqe.opcode, sqe.user_data = uring.IORING_OP.URING_CMD128, FIRST
        assert 2 == io_uring.submit()
        assert [completion(FIRST, 5)] == reap(io_uring, 1, "IORING_OP_URING_CMD128 of a socket")


# ---- by what it is entered


@pytest.mark.title("registered ring")
@pytest.mark.symbols(
    "IORING_REGISTER_RING_FDS", "IORING_UNREGISTER_RING_FDS", "IORING_ENTER_REGISTERED_RING", "IORING_OP_NOP"
)
def test_ring_is_entered_by_its_index(ring: RingFactory) -> None:
    """The index stands for the ring until it is given back, in the thread that registered it."""
    io_uring = ring(1)
    index = io_uring.register_ring_fd()
    assert [FIRST] == nops(io_uring, range(FIRST, FIRST + 1))

    def enter() -> int:
        return syscalls.io_uring_enter_errno(index, 0, 0, IORING_ENTER_GETEVENTS | IORING_ENTER_REGISTERED_RING)

    assert 0 == enter()
    assert elsewhere(enter) in (-errno.EINVAL, -errno.EBADF), "another thread's index is none"
    io_uring.unregister_ring_fd()
    assert -errno.EBADF == enter()
    assert [SECOND] == nops(io_uring, range(SECOND, SECOND + 1))


@pytest.mark.title("registered ring, descriptor closed")
@pytest.mark.symbols(
    "IORING_REGISTER_USE_REGISTERED_RING",
    "IORING_REGISTER_RING_FDS",
    "IORING_ENTER_REGISTERED_RING",
    "IORING_REGISTER_PROBE",
    "IORING_OP_NOP",
)
def test_registered_ring_needs_no_descriptor(ring: RingFactory) -> None:
    """When its descriptor is closed, the ring takes requests and registrations by its index."""
    io_uring = ring(1)
    io_uring.register_ring_fd()
    io_uring.close_ring_fd()
    assert [FIRST] == nops(io_uring, range(FIRST, FIRST + 1))
    assert io_uring.get_probe().is_supported(uring.IORING_OP.NOP)


@pytest.mark.title("ring that never had a descriptor")
@pytest.mark.symbols(
    "IORING_SETUP_REGISTERED_FD_ONLY", "IORING_SETUP_NO_MMAP", "IORING_ENTER_REGISTERED_RING", "IORING_OP_NOP"
)
def test_ring_without_descriptor(ring: RingFactory) -> None:
    """A ring that has an index only opens no descriptor."""
    before = set(Path("/proc/self/fd").iterdir())
    io_uring = ring(1, IORING_SETUP_REGISTERED_FD_ONLY | IORING_SETUP_NO_MMAP)
    assert before == set(Path("/proc/self/fd").iterdir())
    assert [FIRST] == nops(io_uring, range(FIRST, FIRST + 1))
