"""What the ring asks of the kernel, and when: by a kernel that notes it, and answers as the test wants."""

from __future__ import annotations

import ctypes
import errno
import gc
import struct
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from made_up_kernel import CQ_HEAD, CQ_TAIL, FD, SQ_FLAGS, MadeUpKernel, kernel, replace_enter

import uring
from uring import lifetime, syscalls
from uring.setup_checks import check_setup

__all__ = ["kernel"]
GETEVENTS, WAKEUP, WAIT = uring.IORING_ENTER_GETEVENTS, uring.IORING_ENTER_SQ_WAKEUP, uring.IORING_ENTER_SQ_WAIT
IOPOLL, SQPOLL = uring.IORING_SETUP_IOPOLL, uring.IORING_SETUP_SQPOLL
COOP, FLAG = uring.IORING_SETUP_COOP_TASKRUN, uring.IORING_SETUP_TASKRUN_FLAG
DEFER = uring.IORING_SETUP_SINGLE_ISSUER | uring.IORING_SETUP_DEFER_TASKRUN
SYNC_CANCEL = 24

Work = Callable[[uring.IoUring], object]


def cqe(user_data: int, res: int = 0, flags: int = 0) -> uring.io_uring_cqe:
    return uring.io_uring_cqe(user_data, res, flags)


class Buffer(bytearray):
    """A buffer whose death can be seen."""


# -- opening ----------------------------------------------------------------------------------------------------------


def test_what_a_ring_is_made_with(kernel: MadeUpKernel) -> None:
    """The SQPOLL thread idles after a second; flags and entries are passed as they are."""
    kernel.ring(8, uring.IORING_SETUP_SUBMIT_ALL)
    assert kernel.params == [uring.IORING_SETUP_SUBMIT_ALL, 1000, 0, 8]
    with uring.IoUring.init(4, SQPOLL, keep_alive=False) as ring:
        assert kernel.params == [SQPOLL, 1000, 0, 4]
        assert (ring.fd, ring.flags, ring.features) == (FD, SQPOLL, kernel.features)
    params = uring.io_uring_params(flags=uring.IORING_SETUP_SUBMIT_ALL, sq_thread_idle=7)
    for make in (uring.IoUring, uring.IoUring.init):
        with make(2) as ring:
            assert (kernel.params, ring._keep_alive) == ([0, 1000, 0, 2], True)
    with uring.IoUring.init_params(2, params) as ring:
        assert (kernel.params, ring._keep_alive) == ([uring.IORING_SETUP_SUBMIT_ALL, 7, 0, 2], True)


@pytest.mark.parametrize(
    ("entries", "flags", "error"),
    [
        (1, 0, None),
        (1 << 15, 0, None),
        (1 << 16, 0, uring.ArgumentOutOfRange),
        (1 << 16, uring.IORING_SETUP_CLAMP, None),
        (1 << 31, uring.IORING_SETUP_CLAMP, None),
        (1 << 32, uring.IORING_SETUP_CLAMP, uring.ArgumentOutOfRange),
        (0, 0, uring.EntriesZero),
        (-1, 0, uring.EntriesNotPowerOfTwo),
        (-(1 << 31), 0, uring.EntriesNotPowerOfTwo),
        (6, 0, uring.EntriesNotPowerOfTwo),
    ],
)
def test_what_is_refused_before_the_kernel_is_asked(entries: int, flags: int, error: type[Exception] | None) -> None:
    if error is None:
        check_setup(entries, uring.io_uring_params(flags=flags))
    else:
        with pytest.raises(error):
            check_setup(entries, uring.io_uring_params(flags=flags))


@pytest.mark.parametrize(
    ("field", "flag", "other"),
    [("cq_entries", "CQSIZE", "ATTACH_WQ"), ("wq_fd", "ATTACH_WQ", "CQSIZE")],
)
def test_a_field_wants_its_own_flag(field: str, flag: str, other: str) -> None:
    check_setup(1, uring.io_uring_params(flags=uring.IORING_SETUP[flag], **{field: 1}))
    with pytest.raises(uring.ParamsInvalid, match=f"{field} is set without IORING_SETUP_{flag}"):
        check_setup(1, uring.io_uring_params(flags=uring.IORING_SETUP[other], **{field: 1}))


def test_a_ring_that_did_not_open_is_a_closed_one(kernel: MadeUpKernel) -> None:
    """Whoever still holds it is told so, and can close it."""
    ring = uring.IoUring.__new__(uring.IoUring)
    with pytest.raises(uring.EntriesZero):
        ring.__init__(0)  # type: ignore[misc]
    assert ring.fd == -1
    for use in (ring.submit, ring.copy_cqe, ring.cq_ready, ring.__enter__):
        with pytest.raises(uring.RingClosed, match="was never opened"):
            use()
    ring.deinit()
    assert kernel.closed == []


def test_an_old_kernels_ring_is_closed_again(kernel: MadeUpKernel) -> None:
    kernel.features = uring.IORING_FEAT_NODROP
    with pytest.raises(uring.SystemOutdated) as caught:
        uring.IoUring(4)
    assert (caught.value.errno, kernel.closed, kernel.mapped) == (errno.ENOSYS, [FD], [])


def test_a_queue_alone_can_be_unmapped(kernel: MadeUpKernel) -> None:
    """By its own deinit; then it says so itself."""
    ring = kernel.ring(4)
    ring.sq.deinit()
    for use in (lambda: ring.sq.head, ring.sq.vacant, lambda: ring.cq.tail, lambda: ring.cq.peek(0), ring.get_sqe):
        with pytest.raises(uring.RingClosed, match="unmapped by deinit"):
            use()


def test_a_descriptor_of_0_is_one(kernel: MadeUpKernel) -> None:
    """A program that closed its standard input gets it."""
    kernel.fd = 0
    ring = kernel.ring(4)
    with ring:
        assert (ring.nop(1).opcode, ring.get_sqe().opcode, ring.read(3, 5, bytearray(1), 0).user_data) == (0, 0, 3)
        assert (ring.sq_ready(), ring.flush_sq(), ring.submit(), ring.enter(0, 0, 0)) == (3, 3, 3, 0)
        assert (ring.sq_ring_needs_enter(), ring.cq_ring_needs_flush(), ring.sqring_wait()) == (True, False, 1)
        kernel.complete(*(cqe(index) for index in range(4)))
        assert (ring.cq_ready(), ring.copy_cqe(), ring.copy_cqes([None], 1)) == (4, cqe(0), 1)
        ring.cq_advance(1)
        ring.register_files([1])
    assert (ring.fd, kernel.closed) == (-1, [0])
    kernel.fd = 0
    dropped = uring.IoUring(4)
    assert dropped.fd == 0
    with pytest.warns(ResourceWarning, match=r"unclosed io_uring \(fd 0\)"):
        del dropped
    assert kernel.closed == [0, 0]


# -- submitting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "queued", "wait_nr", "entered"),
    [
        (0, 0, 0, []),
        (0, 0, -1, []),
        (0, 0, 1, [(0, 1, GETEVENTS)]),
        (0, 2, 0, [(2, 0, 0)]),
        (0, 2, 1, [(2, 1, GETEVENTS)]),
        (0, 2, 3, [(2, 3, GETEVENTS)]),
        (IOPOLL, 0, 0, []),
        (IOPOLL, 1, 0, [(1, 0, GETEVENTS)]),
        (IOPOLL, 1, 1, [(1, 1, GETEVENTS)]),
        (SQPOLL, 0, 0, []),
        (SQPOLL, 1, 0, []),
        (SQPOLL, 1, -1, []),
        (SQPOLL, 1, 1, [(1, 1, GETEVENTS)]),
        (SQPOLL, 0, 1, [(0, 1, GETEVENTS)]),
        (SQPOLL | IOPOLL, 1, 0, []),
    ],
)
def test_what_submitting_asks_of_the_kernel(
    kernel: MadeUpKernel, flags: int, queued: int, wait_nr: int, entered: list[tuple[int, int, int]]
) -> None:
    ring = kernel.ring(4, flags)
    for user_data in range(queued):
        ring.nop(user_data)
    assert ring.submit_and_wait(wait_nr) == queued
    assert kernel.entered == entered


@pytest.mark.parametrize(
    ("queued", "wait_nr", "entered"),
    [(1, 0, [(1, 0, WAKEUP)]), (2, 1, [(2, 1, WAKEUP | GETEVENTS)]), (0, 0, []), (0, 1, [(0, 1, GETEVENTS)])],
)
def test_a_thread_that_sleeps_is_woken_for_what_is_queued(
    kernel: MadeUpKernel, queued: int, wait_nr: int, entered: list[tuple[int, int, int]]
) -> None:
    ring = kernel.ring(4, SQPOLL)
    kernel.write(SQ_FLAGS, uring.IORING_SQ_NEED_WAKEUP)
    for user_data in range(queued):
        ring.nop(user_data)
    assert ring.submit_and_wait(wait_nr) == queued
    assert kernel.entered == entered


@pytest.mark.parametrize(
    ("setup", "sq_flags", "expected", "wakeup"),
    [
        (0, uring.IORING_SQ_NEED_WAKEUP, True, 0),
        (SQPOLL, 0, False, 0),
        (SQPOLL, uring.IORING_SQ_CQ_OVERFLOW, False, 0),
        (SQPOLL, uring.IORING_SQ_NEED_WAKEUP, True, WAKEUP),
    ],
)
def test_whether_the_kernel_must_be_entered(
    kernel: MadeUpKernel, setup: int, sq_flags: int, expected: bool, wakeup: int
) -> None:
    ring = kernel.ring(4, setup)
    kernel.write(SQ_FLAGS, sq_flags)
    flags = ctypes.c_uint32(GETEVENTS)
    assert ring.sq_ring_needs_enter(flags) is expected
    assert ring.sq_ring_needs_enter() is expected
    assert flags.value == GETEVENTS | wakeup


def test_room_is_counted_after_the_wait(kernel: MadeUpKernel) -> None:
    ring = kernel.ring(4, SQPOLL)
    ring.nop(1)
    ring.flush_sq()
    assert ring.sqring_wait() == 3
    assert kernel.entered == [(0, 0, WAIT)]
    kernel.take()
    assert ring.sqring_wait() == 4


@pytest.mark.parametrize("user_data", [0, 1, (1 << 64) - 1])
def test_an_entry_is_named_and_counted(kernel: MadeUpKernel, user_data: int) -> None:
    ring = kernel.ring(4)
    assert (ring.fsync(user_data, 3, 0).user_data, ring.sq_ready()) == (user_data, 1)
    assert (ring.nop(user_data).user_data, ring.sq_ready()) == (user_data, 2)
    assert (ring.get_sqe().opcode, ring.sq_ready()) == (0, 3)


@pytest.mark.parametrize("user_data", [-1, 1 << 64, "x", None, 1.5])
def test_a_name_that_is_none_takes_no_entry(kernel: MadeUpKernel, user_data: Any) -> None:
    ring = kernel.ring(4)
    with pytest.raises(uring.ArgumentOutOfRange, match=r"io_uring_sqe\.user_data"):
        ring.fsync(user_data, 3, 0)
    with pytest.raises(uring.ArgumentOutOfRange, match="nop: user_data"):
        ring.nop(user_data)
    assert ring.sq_ready() == 0


# -- reaping ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "is_entered"),
    [
        (0, False),
        (SQPOLL, False),
        (IOPOLL, True),
        (IOPOLL | SQPOLL, False),
        (COOP, True),
        (COOP | FLAG, False),
        (DEFER, True),
        (DEFER | FLAG, False),
        (IOPOLL | COOP | FLAG, True),
        (uring.IORING_SETUP_SUBMIT_ALL, False),
    ],
)
@pytest.mark.parametrize("is_array", [False, True], ids=["list", "array"])
def test_peeking_enters_where_nothing_shared_would_tell(
    kernel: MadeUpKernel, flags: int, is_entered: bool, is_array: bool
) -> None:
    """And not again when something is there."""
    ring = kernel.ring(4, flags)
    cqes: Any = uring.CqeArray(2) if is_array else [None, None]
    assert ring.copy_cqes(cqes, 0) == 0
    assert kernel.entered == ([(0, 0, GETEVENTS)] if is_entered else [])
    del kernel.entered[:]
    kernel.complete(cqe(1))
    assert ring.copy_cqes(cqes, 0) == 1
    assert kernel.entered == []


@pytest.mark.parametrize("wait_nr", [1, 2])
def test_waiting_for_completions_enters_once_and_reaps(
    kernel: MadeUpKernel, monkeypatch: pytest.MonkeyPatch, wait_nr: int
) -> None:
    ring = kernel.ring(4)

    def enter(fd: int, to_submit: int, min_complete: int, flags: int) -> int:
        kernel.complete(*(cqe(index) for index in range(min_complete)))
        return kernel.enter(fd, to_submit, min_complete, flags)

    replace_enter(monkeypatch, enter)
    cqes: list[Any] = [None] * 4
    assert ring.copy_cqes(cqes, wait_nr) == wait_nr
    assert cqes == [cqe(index) for index in range(wait_nr)] + [None] * (4 - wait_nr)
    assert kernel.entered == [(0, wait_nr, GETEVENTS)]
    assert ring.copy_cqe() == cqe(0)
    assert kernel.entered[1:] == [(0, 1, GETEVENTS)]


@pytest.mark.parametrize("wait", [lambda ring: ring.copy_cqe(), lambda ring: ring.copy_cqes([None], 1)])
def test_a_ring_closed_while_its_owner_waits_says_so(
    kernel: MadeUpKernel, monkeypatch: pytest.MonkeyPatch, wait: Work
) -> None:
    ring = kernel.ring(4)

    def enter(*_: int) -> int:
        ring.deinit()
        return 0

    replace_enter(monkeypatch, enter)
    with pytest.raises(uring.RingClosed, match="closed by deinit"):
        wait(ring)


@pytest.mark.parametrize(
    ("sq_flags", "expected"),
    [
        (0, False),
        (uring.IORING_SQ_NEED_WAKEUP, False),
        (uring.IORING_SQ_CQ_OVERFLOW, True),
        (uring.IORING_SQ_TASKRUN, True),
        (7, True),
    ],
)
def test_completions_that_wait_in_the_kernel_are_fetched(kernel: MadeUpKernel, sq_flags: int, expected: bool) -> None:
    ring = kernel.ring(4)
    kernel.write(SQ_FLAGS, sq_flags)
    assert ring.cq_ring_needs_flush() is expected
    ring.copy_cqes([None], 0)
    assert kernel.entered == ([(0, 0, GETEVENTS)] if expected else [])


@pytest.mark.parametrize("count", [-1, 0, 1, 2, 3])
def test_slots_are_handed_back_by_hand(kernel: MadeUpKernel, count: int) -> None:
    ring = kernel.ring(4)
    kernel.complete(cqe(1), cqe(2), cqe(3))
    ring.cq_advance(count)
    assert kernel.read(CQ_HEAD) == max(0, count)


# -- closing ----------------------------------------------------------------------------------------------------------


def in_flight(kernel: MadeUpKernel, flags: int = 0, entries: int = 4) -> tuple[uring.IoUring, weakref.ref[Buffer]]:
    """A ring with a receive that the kernel has."""
    ring = kernel.ring(entries, flags)
    buffer = Buffer(8)
    ring.recv(7, 3, buffer, 0)
    ring.submit()
    kernel.take()
    del kernel.entered[:]
    return ring, weakref.ref(buffer)


def test_what_is_in_flight_is_cancelled_at_the_end(kernel: MadeUpKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any request, all of them, for a tenth of a second; memory of what ended is let go."""
    ring, buffer = in_flight(kernel)

    def register(fd: int, opcode: int, address: int, count: int) -> int:
        kernel.complete(cqe(7, -errno.ECANCELED))
        return kernel.register(fd, opcode, address, count)

    monkeypatch.setattr(syscalls, "io_uring_register_errno", register)
    before = lifetime.abandoned_count
    ring.deinit()
    ((opcode, request, count),) = kernel.registered
    assert (opcode, count) == (SYNC_CANCEL, 1)
    both = uring.IORING_ASYNC_CANCEL_ANY | uring.IORING_ASYNC_CANCEL_ALL
    assert struct.unpack("=QiIqqB31x", request) == (0, -1, both, 0, 100_000_000, 0)
    gc.collect()
    assert (buffer(), lifetime.abandoned_count) == (None, before)


@pytest.mark.parametrize("entries", [1, 4])
def test_what_has_ended_need_not_be_cancelled(kernel: MadeUpKernel, entries: int) -> None:
    ring, buffer = in_flight(kernel, entries=entries)
    kernel.complete(cqe(7))
    ring.deinit()
    gc.collect()
    assert (kernel.registered, kernel.entered, buffer()) == ([], [], None)


@pytest.mark.parametrize(
    ("flags", "sq_flags", "is_entered"),
    [(0, 0, False), (DEFER, 0, True), (COOP | FLAG, uring.IORING_SQ_TASKRUN, True), (COOP | FLAG, 0, False)],
)
def test_what_waits_in_the_kernel_is_fetched_before_the_end(
    kernel: MadeUpKernel, flags: int, sq_flags: int, is_entered: bool
) -> None:
    ring, _ = in_flight(kernel, flags)
    kernel.write(SQ_FLAGS, sq_flags)
    ring.deinit()
    # Before cancelling and after it.
    assert kernel.entered == [(0, 0, GETEVENTS)] * (2 if is_entered else 0)
    assert len(kernel.registered) == 1


def test_many_completions_are_reaped_at_the_end(kernel: MadeUpKernel) -> None:
    """More than one lap of the queue."""
    ring, buffer = in_flight(kernel)
    kernel.complete(*(cqe(1) for _ in range(8)))
    ring.deinit()
    gc.collect()
    assert kernel.read(CQ_HEAD) == kernel.read(CQ_TAIL) == 8
    assert buffer() is not None


def test_what_does_not_end_is_abandoned(kernel: MadeUpKernel) -> None:
    ring, buffer = in_flight(kernel)
    before = lifetime.abandoned_count
    ring.deinit()
    gc.collect()
    assert buffer() is not None
    assert lifetime.abandoned_count == before + 1
    assert ring._in_flight.pins == {}


def test_a_ring_without_requests_asks_nothing_at_the_end(kernel: MadeUpKernel) -> None:
    ring = kernel.ring(4)
    ring.deinit()
    assert (kernel.registered, kernel.entered, kernel.closed) == ([], [], [FD])
    assert lifetime.buffer_rings.get(FD) is None


def test_a_ring_lets_go_of_its_own_buffer_groups_only(kernel: MadeUpKernel) -> None:
    """A descriptor's number is given out again: the next ring's groups are not ours."""
    first = kernel.ring(4)
    second = kernel.ring(4)
    assert lifetime.buffer_rings[FD] is second._in_flight.groups
    first.deinit()
    assert lifetime.buffer_rings[FD] is second._in_flight.groups
    second.deinit()
    assert FD not in lifetime.buffer_rings


def test_registered_buffers_are_let_go_at_the_end(kernel: MadeUpKernel) -> None:
    ring = kernel.ring(4)
    buffer = Buffer(8)
    seen = weakref.ref(buffer)
    ring.register_buffers([buffer])
    del buffer
    gc.collect()
    assert seen() is not None
    ring.deinit()
    gc.collect()
    assert seen() is None


def test_memory_is_not_kept_where_the_caller_keeps_it(kernel: MadeUpKernel) -> None:
    ring = kernel.ring(4, keep_alive=False)
    ring.recv(7, 3, bytearray(8), 0)
    ring.submit()
    assert (ring._in_flight.counts, ring._in_flight.pins, ring._in_flight.unnoticed) == ({}, {}, 0)


# -- registering ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "is_named"), [(1 << 30, False), ((1 << 30) + 1, True)])
@pytest.mark.parametrize("at", [0, 1])
def test_a_buffer_that_is_too_large_is_named(
    kernel: MadeUpKernel, monkeypatch: pytest.MonkeyPatch, size: int, is_named: bool, at: int
) -> None:
    """One of 1 GiB is not: then the address is what the kernel complains about."""
    ring = kernel.ring(4)
    monkeypatch.setattr(syscalls, "io_uring_register_errno", lambda *_: -errno.EFAULT)
    vectors = [uring.iovec(4096, 1), uring.iovec(8192, 1)]
    vectors[at].len = size
    with pytest.raises(uring.BufferInvalid) as caught:
        ring.register_buffers(vectors)
    assert caught.value.errno == errno.EFAULT
    assert (f"buffer {at} has {size} bytes, and one can have 1 GiB" in str(caught.value)) is is_named
    assert "register_buffers of 2 buffers" in str(caught.value)
    assert ring._registered_buffers == {}
