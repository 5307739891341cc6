"""Waits: what the kernel is passed, and what they make of its answer."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable
from typing import Any

import pytest

import uring
from uring import syscalls
from uring.ring_waits import mask_of

GETEVENTS, EXT_ARG, ABS = uring.IORING_ENTER_GETEVENTS, uring.IORING_ENTER_EXT_ARG, uring.IORING_ENTER_ABS_TIMER
REG, NO_IOWAIT = uring.IORING_ENTER_EXT_ARG_REG, uring.IORING_ENTER_NO_IOWAIT
WAIT = GETEVENTS | EXT_ARG
SECONDS = uring.kernel_timespec(3, 4)


class Entered:
    """What io_uring_enter is passed, with what its argument points to; it takes all there is."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int, int]] = []
        self.arguments: list[tuple[int | None, int, tuple[int, int] | None]] = []
        self.result: int | None = None

    def __call__(self, number: int, fd: int, to_submit: int, wait_nr: int, flags: Any, argument: Any, size: Any) -> int:
        assert number == 426
        flags = getattr(flags, "value", flags)
        address, size_bytes = getattr(argument, "value", argument) or 0, getattr(size, "value", size)
        self.calls.append((to_submit, wait_nr, flags))
        if flags & REG:
            self.arguments.append((address, size_bytes, None))
        elif flags & EXT_ARG:
            assert size_bytes == ctypes.sizeof(uring.structs.io_uring_getevents_arg)
            given = uring.structs.io_uring_getevents_arg.from_address(address)
            mask = ctypes.c_uint64.from_address(given.sigmask).value if given.sigmask else None
            assert given.sigmask_sz == (8 if mask is not None else 0)
            limit = uring.kernel_timespec.from_address(given.ts) if given.ts else None
            self.arguments.append((mask, given.min_wait_usec, limit and (limit.sec, limit.nsec)))
        if self.result is not None:
            ctypes.set_errno(-self.result)
            return -1
        return to_submit


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> Entered:
    made = Entered()
    monkeypatch.setattr(syscalls, "enter", made)
    return made


CALLS: dict[str, tuple[Callable[[uring.IoUring], object], tuple[int, int, int], tuple[Any, ...]]] = {
    "submit_and_wait_timeout": (lambda r: r.submit_and_wait_timeout(2, SECONDS), (0, 2, WAIT), (None, 0, (3, 4))),
    "without limit": (lambda r: r.submit_and_wait_timeout(2, None), (0, 2, WAIT), (None, 0, None)),
    "absolute": (
        lambda r: r.submit_and_wait_timeout(1, SECONDS, is_absolute=True),
        (0, 1, WAIT | ABS),
        (None, 0, (3, 4)),
    ),
    "signals": (lambda r: r.submit_and_wait_timeout(1, None, [1, 64]), (0, 1, WAIT), (1 | 1 << 63, 0, None)),
    "no signals": (lambda r: r.submit_and_wait_timeout(1, None, ()), (0, 1, WAIT), (0, 0, None)),
    "submit_and_wait_min_timeout": (
        lambda r: r.submit_and_wait_min_timeout(5, SECONDS, 6, [2]),
        (0, 5, WAIT),
        (2, 6, (3, 4)),
    ),
    "wait_cqes": (lambda r: r.wait_cqes(2, SECONDS, [3]), (0, 2, WAIT), (4, 0, (3, 4))),
    "wait_cqe_timeout": (lambda r: r.wait_cqe_timeout(SECONDS), (0, 1, WAIT), (None, 0, (3, 4))),
    "wait_cqes_min_timeout": (lambda r: r.wait_cqes_min_timeout(3, None, 7), (0, 3, WAIT), (None, 7, None)),
    "submit_and_wait_reg": (lambda r: r.submit_and_wait_reg(3, 2), (0, 3, WAIT | REG), (128, 64, None)),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_each_wait_passes(ring: uring.IoUring, entered: Entered, name: str) -> None:
    call, expected, argument = CALLS[name]
    call(ring)
    assert ([expected], [argument]) == (entered.calls, entered.arguments)


@pytest.mark.parametrize(
    ("call", "flags"),
    [
        (lambda r: r.submit_and_wait_timeout(1, SECONDS), WAIT),
        (lambda r: r.submit_and_wait_min_timeout(1, SECONDS, 5), WAIT),
        (lambda r: r.submit_and_wait_reg(1, 0), WAIT | REG),
        (lambda r: r.submit_and_get_events(), GETEVENTS),
    ],
)
def test_what_is_queued_is_submitted(
    ring: uring.IoUring, entered: Entered, call: Callable[[uring.IoUring], int], flags: int
) -> None:
    ring.nop(1)
    ring.nop(2)
    assert 2 == call(ring)
    assert [(2, flags)] == [(to_submit, own) for to_submit, _, own in entered.calls]


@pytest.mark.parametrize("name", ["wait_cqes", "wait_cqe_timeout", "wait_cqes_min_timeout"])
def test_what_is_queued_stays(ring: uring.IoUring, entered: Entered, name: str) -> None:
    ring.nop(1)
    CALLS[name][0](ring)
    assert [0] == [to_submit for to_submit, _, _ in entered.calls]
    assert 1 == ring.sq_ready()


def test_waits_for_what_is_there_ask_nobody(ring: uring.IoUring, monkeypatch: pytest.MonkeyPatch) -> None:
    ring.nop(1)
    ring.nop(2)
    ring.submit_and_wait(2)
    monkeypatch.setattr(syscalls, "enter", None)
    assert (1, 0, 0) == ring.wait_cqes(2, SECONDS) == ring.wait_cqe_timeout(SECONDS) == ring.peek_cqe()
    assert 2 == ring.cq_ready()
    assert [1, 2] == [ring.copy_cqe().user_data, ring.copy_cqe().user_data]
    assert ring.peek_cqe() is None


def test_a_wait_that_is_over_says_so(ring: uring.IoUring, entered: Entered) -> None:
    entered.result = -errno.ETIME
    with pytest.raises(uring.WaitTimedOut, match=r"to_submit=0, min_complete=1, flags=0x9.*ETIME") as caught:
        ring.submit_and_wait_timeout(1, SECONDS)
    assert isinstance(caught.value, TimeoutError)


@pytest.mark.parametrize("number", [0, 65, -1])
def test_what_is_no_signal_is_refused(ring: uring.IoUring, number: int) -> None:
    with pytest.raises(uring.ArgumentOutOfRange, match=f"{number} is no signal"):
        ring.submit_and_wait_timeout(1, SECONDS, [number])
    assert 1 << 63 | 1 == mask_of([64, 1])


@pytest.mark.parametrize("microseconds", [-1, 1 << 32])
def test_a_time_that_does_not_fit_is_refused(ring: uring.IoUring, microseconds: int) -> None:
    with pytest.raises(uring.ArgumentOutOfRange, match="microseconds"):
        ring.submit_and_wait_min_timeout(1, SECONDS, microseconds)


def test_get_events_asks_and_waits_for_nothing(ring: uring.IoUring, entered: Entered) -> None:
    assert 0 == ring.get_events()
    assert 0 == ring.submit_and_get_events()
    assert [(0, 0, GETEVENTS)] * 2 == entered.calls


def test_peeking_asks_where_something_may_be_pending(make_ring: Callable[..., uring.IoUring], entered: Entered) -> None:
    assert make_ring(1).peek_cqe() is None
    assert [] == entered.calls
    assert make_ring(1, uring.IORING_SETUP_COOP_TASKRUN).peek_cqe() is None
    assert [(0, 0, GETEVENTS)] == entered.calls


def test_iowait_is_switched_off_and_on(ring: uring.IoUring, entered: Entered) -> None:
    if not ring.features & uring.IORING_FEAT_NO_IOWAIT:
        pytest.skip("older than 6.15")
    for enable, more in ((False, NO_IOWAIT), (False, NO_IOWAIT), (True, 0)):
        ring.set_iowait(enable)
        ring.submit_and_wait_timeout(1, None)
        ring.submit_and_wait(1)
        ring.get_events()
        assert [WAIT | more, GETEVENTS | more, GETEVENTS | more] == [flags for _, _, flags in entered.calls]
        del entered.calls[:]
    ring.features = 0
    with pytest.raises(uring.OpcodeNotSupported, match="NO_IOWAIT"):
        ring.set_iowait(False)


def test_a_polled_ring_wakes_its_thread(
    make_ring: Callable[..., uring.IoUring], entered: Entered, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = make_ring(1, uring.IORING_SETUP_SQPOLL)
    monkeypatch.setattr(uring.IoUring, "_wakeup_flag", lambda _: uring.IORING_ENTER_SQ_WAKEUP)
    ring.submit_and_wait_timeout(1, None)
    ring.nop(1)
    ring.submit_and_wait_timeout(1, None)
    assert [WAIT, WAIT | uring.IORING_ENTER_SQ_WAKEUP] == [flags for _, _, flags in entered.calls]
