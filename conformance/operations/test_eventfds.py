"""An eventfd that tells of completions: of all, of late ones, of none while it is switched off."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.modes import RingMode
from conformance.operations.support import DEADLINE_S, complete, pipe, reap
from conformance.support import completion
from uring import IOSQE_ASYNC, IoUring

pytestmark = pytest.mark.group("Completions")

NOP, POLL = 0xE1, 0xE2


@contextmanager
def _eventfd() -> Iterator[int]:
    fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _tells(fd: int) -> bool:
    """Whether there is a signal, which is used up."""
    try:
        return os.eventfd_read(fd) > 0
    except BlockingIOError:
        return False


def _waits(fd: int) -> bool:
    """Wait for a signal; one may come a moment after the completion that it tells of."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(DEADLINE_S * 1000)) and _tells(fd)


def _complete(io_uring: IoUring, flags: int = 0) -> None:
    """One completion, reaped."""
    io_uring.nop(NOP).flags |= flags
    assert [completion(NOP, 0)] == complete(io_uring, 1, "IORING_OP_NOP")


@pytest.mark.title("eventfd, tells of completions")
@pytest.mark.symbols("IORING_REGISTER_EVENTFD", "IORING_OP_NOP", "IORING_OP_POLL_ADD")
def test_eventfd_tells_of_completions(ring: RingFactory) -> None:
    """There is a signal for a completion, at once or late, and none before it."""
    io_uring = ring(8)
    with _eventfd() as fd, pipe() as (reading, writing):
        io_uring.register_eventfd(fd)
        assert not _tells(fd)
        for _ in range(3):
            _complete(io_uring)
            assert _waits(fd), "no signal of a no-op"
            assert not _tells(fd)
        io_uring.poll_add(POLL, reading, select.POLLIN)
        io_uring.submit()
        assert not _tells(fd)
        os.write(writing, b"x")
        assert _waits(fd), "no signal of a poll"
        assert [completion(POLL, select.POLLIN)] == reap(io_uring, 1, "IORING_OP_POLL_ADD")


@pytest.mark.title("eventfd, tells of late completions")
@pytest.mark.symbols("IORING_REGISTER_EVENTFD_ASYNC", "IOSQE_ASYNC", "IORING_OP_NOP")
def test_eventfd_tells_of_late_completions(ring: RingFactory, mode: RingMode) -> None:
    """There is a signal for what a worker completes, and none for what completes while it is submitted."""
    io_uring = ring(8)
    with _eventfd() as fd:
        io_uring.register_eventfd_async(fd)
        _complete(io_uring)
        assert _tells(fd) is (mode.id == "async")
        _complete(io_uring, IOSQE_ASYNC)
        assert _waits(fd), "no signal of a no-op that a worker completed"


@pytest.mark.title("eventfd, switched off")
@pytest.mark.symbols("IORING_CQ_EVENTFD_DISABLED", "IORING_REGISTER_EVENTFD", "IORING_OP_NOP")
def test_eventfd_is_switched_off(ring: RingFactory) -> None:
    """While a bit of the queue's is set there are no signals; afterwards there are."""
    io_uring = ring(8)
    with _eventfd() as fd:
        io_uring.register_eventfd(fd)
        for _ in range(2):
            io_uring.cq_eventfd_toggle(False)
            _complete(io_uring)
            assert not _tells(fd), "a signal, though they are switched off"
            io_uring.cq_eventfd_toggle(True)
            _complete(io_uring)
            assert _waits(fd), "no signal, though they are switched on again"


@pytest.mark.title("eventfd, unregistered")
@pytest.mark.symbols("IORING_UNREGISTER_EVENTFD", "IORING_REGISTER_EVENTFD", "IORING_OP_NOP")
def test_eventfd_is_unregistered(ring: RingFactory) -> None:
    """There are no signals any more, and another one can be registered."""
    io_uring = ring(8)
    with _eventfd() as fd, _eventfd() as other:
        io_uring.register_eventfd(fd)
        io_uring.unregister_eventfd()
        _complete(io_uring)
        assert not _tells(fd)
        io_uring.register_eventfd(other)
        _complete(io_uring)
        assert _waits(other), "no signal by the second eventfd"
        assert not _tells(fd)


@pytest.mark.title("eventfd, a second one")
@pytest.mark.symbols("IORING_REGISTER_EVENTFD", "IORING_OP_NOP")
def test_second_eventfd_is_refused(ring: RingFactory) -> None:
    """A ring has one eventfd, which stays."""
    io_uring = ring(8)
    with _eventfd() as fd, _eventfd() as other:
        io_uring.register_eventfd(fd)
        with pytest.raises(uring.EventfdAlreadyRegistered):
            io_uring.register_eventfd(other)
        _complete(io_uring)
        assert _waits(fd), "no signal by the first eventfd"
        assert not _tells(other)


@pytest.mark.title("eventfd, none to unregister")
@pytest.mark.symbols("IORING_UNREGISTER_EVENTFD")
def test_unregistering_no_eventfd_is_refused(ring: RingFactory) -> None:
    """Where there is none, there is none to take away."""
    io_uring = ring(8)
    with pytest.raises(uring.EventfdNotRegistered):
        io_uring.unregister_eventfd()
