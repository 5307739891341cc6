"""Waiting for completions: time limits, batches, signals, arguments in registered memory, clocks."""

from __future__ import annotations

import mmap
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.operations.support import an_hour, at_ns, eventually, milliseconds, pipe
from conformance.support import completion
from uring import IORING_REG_WAIT_TS, IORING_SETUP_R_DISABLED, E

pytestmark = pytest.mark.group("Waiting")

FIRST, SECOND = 0xA1, 0xA2
#: Time that has to pass, and time that must not: nobody waits for the second.
LIMIT_MS, NEVER_S = 5, 10
#: A kernel that errs in how two times follow each other does so now and then.
TIMES, SHORT_MS = 25, 2


@contextmanager
def lasting(what: str, *, at_least_ms: float = 0, clock: int = time.CLOCK_MONOTONIC) -> Iterator[None]:
    """See how long a block takes: no less than it must, and not as long as what would end it otherwise."""
    started_ns = time.clock_gettime_ns(clock)
    yield
    elapsed_ms = (time.clock_gettime_ns(clock) - started_ns) / 1e6
    assert at_least_ms <= elapsed_ms, f"{what} ended early"
    assert NEVER_S * 1000 > elapsed_ms, f"{what} did not end"


@pytest.mark.title("waiting, time limit")
@pytest.mark.symbols("IORING_ENTER_EXT_ARG")
def test_wait_ends_when_its_time_is_over(ring: RingFactory) -> None:
    """Where nothing completes, waiting ends with ETIME, and not before its time."""
    io_uring = ring(1)
    with lasting("waiting with IORING_ENTER_EXT_ARG", at_least_ms=LIMIT_MS), pytest.raises(uring.WaitTimedOut):
        io_uring.submit_and_wait_timeout(1, milliseconds(LIMIT_MS))
    assert 0 == io_uring.cq_ready()


@pytest.mark.title("waiting, completion before the time limit")
@pytest.mark.symbols("IORING_ENTER_EXT_ARG", "IORING_OP_TIMEOUT")
def test_wait_ends_with_a_completion(ring: RingFactory) -> None:
    """A completion ends waiting whose time is not over."""
    io_uring = ring(1)
    io_uring.timeout(FIRST, milliseconds(1), 0, 0)
    with lasting("waiting for IORING_OP_TIMEOUT"):
        assert 1 == io_uring.submit_and_wait_timeout(1, an_hour())
    assert completion(FIRST, -E.TIME) == io_uring.peek_cqe()
    assert completion(FIRST, -E.TIME) == io_uring.copy_cqe()


@pytest.mark.title("waiting, for several completions")
@pytest.mark.symbols("IORING_ENTER_EXT_ARG", "IORING_OP_TIMEOUT", "IORING_OP_NOP")
def test_wait_for_two_is_not_over_with_one(ring: RingFactory) -> None:
    """Waiting for two completions goes on when there is one, and is over with the second."""
    io_uring = ring(2)
    io_uring.nop(FIRST)
    io_uring.timeout(SECOND, milliseconds(LIMIT_MS), 0, 0)
    io_uring.submit()
    with lasting("waiting for two completions"):
        assert completion(FIRST, 0) == io_uring.wait_cqes(2, an_hour())
    assert 2 == io_uring.cq_ready()
    assert [completion(FIRST, 0), completion(SECOND, -E.TIME)] == [io_uring.copy_cqe(), io_uring.copy_cqe()]


@pytest.mark.title("waiting, absolute time limit")
@pytest.mark.symbols("IORING_ENTER_EXT_ARG", "IORING_ENTER_ABS_TIMER")
def test_wait_until_a_time(ring: RingFactory) -> None:
    """With an absolute limit waiting ends at that time of the clock, at once if it is over."""
    io_uring = ring(1)
    until_ns = time.monotonic_ns() + LIMIT_MS * 1_000_000
    with lasting("waiting with IORING_ENTER_ABS_TIMER", at_least_ms=LIMIT_MS), pytest.raises(uring.WaitTimedOut):
        io_uring.submit_and_wait_timeout(1, at_ns(until_ns), is_absolute=True)
    with lasting("waiting until a time that is over"), pytest.raises(uring.WaitTimedOut):
        io_uring.submit_and_wait_timeout(1, at_ns(until_ns), is_absolute=True)


@pytest.mark.title("waiting, clock")
@pytest.mark.symbols("IORING_REGISTER_CLOCK", "IORING_ENTER_EXT_ARG", "IORING_ENTER_ABS_TIMER")
@pytest.mark.needs("clock-boottime")
def test_wait_by_the_boot_clock(ring: RingFactory) -> None:
    """Once the boot clock is registered, an absolute limit is a time of it."""
    io_uring = ring(1)
    io_uring.register_clock(time.CLOCK_BOOTTIME)
    until_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + LIMIT_MS * 1_000_000
    with (
        lasting("waiting by CLOCK_BOOTTIME", at_least_ms=LIMIT_MS, clock=time.CLOCK_BOOTTIME),
        pytest.raises(uring.WaitTimedOut),
    ):
        io_uring.submit_and_wait_timeout(1, at_ns(until_ns), is_absolute=True)


@pytest.mark.title("waiting, clock that is not for it")
@pytest.mark.symbols("IORING_REGISTER_CLOCK")
def test_clock_that_can_be_set_is_refused(ring: RingFactory) -> None:
    """The time of day jumps, and nobody can wait by it."""
    with pytest.raises(uring.ArgumentsInvalid):
        ring(1).register_clock(time.CLOCK_REALTIME)


@pytest.mark.title("waiting, fewer completions after a while")
@pytest.mark.symbols("IORING_ENTER_EXT_ARG", "IORING_OP_NOP")
@pytest.mark.needs("feat-min-timeout")
def test_wait_for_fewer_after_a_while(ring: RingFactory) -> None:
    """When the shorter time is over, one completion of two is enough."""
    io_uring = ring(1)
    io_uring.nop(FIRST)
    with lasting("waiting with a shorter time", at_least_ms=LIMIT_MS):
        assert 1 == io_uring.submit_and_wait_min_timeout(2, an_hour(), LIMIT_MS * 1000)
    assert 1 == io_uring.cq_ready()
    assert completion(FIRST, 0) == io_uring.copy_cqe()


@pytest.mark.title("waiting, a batch before the shorter time")
@pytest.mark.symbols("IORING_ENTER_EXT_ARG", "IORING_OP_NOP")
@pytest.mark.needs("feat-min-timeout")
def test_wait_is_over_when_all_are_there(ring: RingFactory) -> None:
    """Where all completions are there, the shorter time is not waited for."""
    io_uring = ring(2)
    io_uring.nop(FIRST)
    io_uring.nop(FIRST)
    with lasting("waiting for a batch that is there"):
        assert 2 == io_uring.submit_and_wait_min_timeout(2, an_hour(), 4 * NEVER_S * 1_000_000)
    assert [completion(FIRST, 0)] * 2 == [io_uring.copy_cqe(), io_uring.copy_cqe()]


@pytest.mark.title("waiting, nothing when the shorter time is over")
@pytest.mark.symbols("IORING_ENTER_EXT_ARG", "IORING_OP_TIMEOUT")
@pytest.mark.needs("feat-min-timeout")
def test_wait_goes_on_where_there_is_nothing(ring: RingFactory) -> None:
    """When the shorter time is over and nothing is there, the first completion ends waiting."""
    io_uring = ring(1)
    for _ in range(TIMES):
        io_uring.timeout(FIRST, milliseconds(SHORT_MS), 0, 0)
        with lasting("waiting behind a shorter time", at_least_ms=SHORT_MS):
            assert 1 == io_uring.submit_and_wait_min_timeout(2, an_hour(), 1)
        assert completion(FIRST, -E.TIME) == io_uring.copy_cqe()


@pytest.mark.title("waiting, shorter time and limit")
@pytest.mark.symbols("IORING_ENTER_EXT_ARG")
@pytest.mark.needs("feat-min-timeout")
def test_wait_for_fewer_has_a_limit(ring: RingFactory) -> None:
    """Where nothing completes, the longer time ends waiting with ETIME."""
    io_uring = ring(1)
    for _ in range(TIMES):
        with lasting("waiting with both times", at_least_ms=LIMIT_MS), pytest.raises(uring.WaitTimedOut):
            io_uring.submit_and_wait_min_timeout(2, milliseconds(LIMIT_MS), 1000)


@pytest.mark.title("waiting, signals")
@pytest.mark.symbols("IORING_ENTER_EXT_ARG")
def test_wait_lets_signals_in(ring: RingFactory) -> None:
    """A signal that the thread blocks and the wait does not interrupts it, and is blocked again afterwards."""
    io_uring = ring(1)
    caught: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: caught.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        signal.raise_signal(signal.SIGUSR1)
        with pytest.raises(uring.WaitTimedOut):
            io_uring.submit_and_wait_timeout(1, milliseconds(1))
        assert [] == caught
        with lasting("waiting that lets a signal in"), pytest.raises(uring.SignalInterrupt):
            io_uring.submit_and_wait_timeout(1, an_hour(), sigmask=())
        assert [signal.SIGUSR1] == caught
        assert signal.SIGUSR1 in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.title("waiting, arguments in registered memory")
@pytest.mark.symbols(
    "IORING_ENTER_EXT_ARG_REG",
    "IORING_ENTER_EXT_ARG",
    "IORING_REGISTER_MEM_REGION",
    "IORING_MEM_REGION_TYPE_USER",
    "IORING_MEM_REGION_REG_WAIT_ARG",
    "IORING_REG_WAIT_TS",
    "IORING_REGISTER_ENABLE_RINGS",
    "IORING_SETUP_R_DISABLED",
    "IORING_OP_NOP",
)
@pytest.mark.needs("mem-region-wait")
def test_wait_by_registered_arguments(ring: RingFactory) -> None:
    """The limit is read from the argument that is named, when it is waited; one behind the memory is no argument."""
    io_uring = ring(1, IORING_SETUP_R_DISABLED)
    arguments = io_uring.register_wait_reg(mmap.mmap(-1, mmap.PAGESIZE))
    io_uring.enable_rings()
    for place, limit_ms in ((0, 60_000), (1, LIMIT_MS)):
        arguments[place].ts = milliseconds(limit_ms)
        arguments[place].flags = IORING_REG_WAIT_TS
    with lasting("waiting with IORING_ENTER_EXT_ARG_REG", at_least_ms=LIMIT_MS), pytest.raises(uring.WaitTimedOut):
        io_uring.submit_and_wait_reg(1, 1)
    io_uring.nop(FIRST)
    assert 1 == io_uring.submit_and_wait_reg(1, 0)
    assert completion(FIRST, 0) == io_uring.copy_cqe()
    with pytest.raises(uring.BufferInvalid):
        io_uring.submit_and_wait_reg(1, len(arguments))


@pytest.mark.title("waiting that is not I/O")
@pytest.mark.symbols("IORING_ENTER_NO_IOWAIT", "IORING_ENTER_EXT_ARG", "IORING_OP_TIMEOUT")
@pytest.mark.needs("feat-no-iowait")
def test_wait_without_iowait(ring: RingFactory) -> None:
    """Waiting that is not counted as waiting for I/O ends as any other."""
    io_uring = ring(1)
    io_uring.set_iowait(False)
    io_uring.timeout(FIRST, milliseconds(1), 0, 0)
    with lasting("waiting with IORING_ENTER_NO_IOWAIT"):
        assert 1 == io_uring.submit_and_wait_timeout(1, an_hour())
    assert completion(FIRST, -E.TIME) == io_uring.copy_cqe()


@pytest.mark.title("waiting, completions that were pending")
@pytest.mark.symbols("IORING_OP_READ")
def test_events_are_brought_without_waiting(ring: RingFactory) -> None:
    """What completed is in the queue when the kernel was asked for it, and nothing is where nothing did."""
    io_uring = ring(1)
    with pipe() as (reading, writing):
        buffer = bytearray(1)
        io_uring.read(FIRST, reading, buffer, 0)
        io_uring.submit_and_get_events()
        assert io_uring.peek_cqe() is None
        with open(writing, "wb", closefd=False) as end:
            end.write(b"x")
        eventually(lambda: io_uring.get_events() or io_uring.peek_cqe(), "IORING_OP_READ of a pipe completes")
        assert completion(FIRST, 1) == io_uring.copy_cqe()
        assert b"x" == buffer
