"""epoll: which events somebody waits for, and waiting for them."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.operations.support import complete, reap
from conformance.support import completion

pytestmark = pytest.mark.group("Files")

# sys/epoll.h
_ADD, _DEL, _MOD = 1, 2, 3


@contextmanager
def _watched() -> Iterator[tuple[int, select.epoll, socket.socket, socket.socket]]:
    """An epoll by descriptor and as Python has it, a socket that can be written to, and its peer."""
    one, other = socket.socketpair()
    with one, other, select.epoll() as epoll:
        yield epoll.fileno(), epoll, one, other


def _registered_by_python(event: uring.epoll_event) -> int:
    """The descriptor: Python sets 32 bits of `data`, and leaves the others to chance."""
    return int(event.data) & 0xFFFFFFFF


@pytest.mark.title("epoll_ctl")
@pytest.mark.symbols("IORING_OP_EPOLL_CTL")
def test_epoll_ctl(ring: RingFactory) -> None:
    """A descriptor is added, changed and deleted, and what epoll_wait(2) returns is according to it."""
    io_uring = ring(1)
    with _watched() as (epfd, epoll, watched, _):
        fd = watched.fileno()
        for op, event, found in (
            (_ADD, uring.epoll_event(select.EPOLLOUT, 77), [(77, select.EPOLLOUT)]),
            (_MOD, uring.epoll_event(select.EPOLLIN, 78), []),
            (_MOD, uring.epoll_event(select.EPOLLIN | select.EPOLLOUT, 79), [(79, select.EPOLLOUT)]),
            (_DEL, None, []),
        ):
            io_uring.epoll_ctl(0x11, epfd, fd, op, event)
            assert [completion(0x11, 0)] == complete(io_uring, 1, "IORING_OP_EPOLL_CTL")
            # Python takes `data` for the descriptor.
            assert found == epoll.poll(0)


@pytest.mark.title("epoll_ctl, refused")
@pytest.mark.symbols("IORING_OP_EPOLL_CTL")
def test_epoll_ctl_refused(ring: RingFactory) -> None:
    """One that is there is not added again, one that is not there neither changed nor deleted."""
    io_uring = ring(1)
    with _watched() as (epfd, epoll, watched, other):
        epoll.register(watched, select.EPOLLOUT)
        event = uring.epoll_event(select.EPOLLIN, 77)
        for fd, op, number in (
            (watched.fileno(), _ADD, errno.EEXIST),
            (other.fileno(), _MOD, errno.ENOENT),
            (other.fileno(), _DEL, errno.ENOENT),
            (epfd, _ADD, errno.EINVAL),
        ):
            io_uring.epoll_ctl(0x12, epfd, fd, op, event)
            assert [completion(0x12, -number)] == complete(io_uring, 1, "IORING_OP_EPOLL_CTL")
        assert [(watched.fileno(), select.EPOLLOUT)] == epoll.poll(0)


@pytest.mark.title("epoll_wait")
@pytest.mark.symbols("IORING_OP_EPOLL_WAIT")
def test_epoll_wait(ring: RingFactory) -> None:
    """Events that are there are told at once, no more of them than there is room for."""
    io_uring = ring(1)
    with _watched() as (epfd, epoll, watched, other):
        epoll.register(watched, select.EPOLLOUT)
        epoll.register(other, select.EPOLLOUT)
        for room, fds in ((4, sorted((watched.fileno(), other.fileno()))), (1, None)):
            events = (uring.epoll_event * 4)()
            io_uring.epoll_wait(0x13, epfd, (uring.epoll_event * room).from_buffer(events), 0)
            count = min(room, 2)
            assert [completion(0x13, count)] == complete(io_uring, 1, "IORING_OP_EPOLL_WAIT")
            assert [select.EPOLLOUT] * count + [0] * (4 - count) == [event.events for event in events]
            if fds:
                assert fds == sorted(_registered_by_python(event) for event in events[:count])


@pytest.mark.title("epoll_wait that waits")
@pytest.mark.symbols("IORING_OP_EPOLL_WAIT", "IORING_OP_NOP")
def test_epoll_wait_waits(ring: RingFactory) -> None:
    """Without an event it is not complete, until there is one."""
    io_uring = ring(2)
    with _watched() as (epfd, epoll, watched, other):
        epoll.register(watched, select.EPOLLIN)
        events = (uring.epoll_event * 2)()
        io_uring.epoll_wait(0x14, epfd, events, 0)
        io_uring.nop(0x15)
        assert [completion(0x15, 0)] == complete(io_uring, 1, "IORING_OP_NOP beside a wait")
        os.write(other.fileno(), b"x")
        assert [completion(0x14, 1)] == reap(io_uring, 1, "IORING_OP_EPOLL_WAIT")
        assert (select.EPOLLIN, watched.fileno()) == (events[0].events, _registered_by_python(events[0]))


@pytest.mark.title("epoll_wait, refused")
@pytest.mark.symbols("IORING_OP_EPOLL_WAIT")
def test_epoll_wait_refused(ring: RingFactory) -> None:
    """It takes an epoll, and room for an event."""
    io_uring = ring(1)
    with _watched() as (epfd, _, watched, __):
        for fd, room in ((watched.fileno(), 1), (epfd, 0)):
            io_uring.epoll_wait(0x16, fd, (uring.epoll_event * room)(), 0)
            assert [completion(0x16, -errno.EINVAL)] == complete(io_uring, 1, "IORING_OP_EPOLL_WAIT")
