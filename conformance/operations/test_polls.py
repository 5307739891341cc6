"""Polls: which events are reported, when, how often, and how they end."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.operations.support import expect_no_more, finish, pipe, reap
from conformance.support import completion

pytestmark = pytest.mark.group("Polls")

_EPOLLEXCLUSIVE = 1 << 28
_MORE = uring.IORING_CQE_F_MORE


@pytest.mark.title("poll, events that are there already")
@pytest.mark.symbols("IORING_OP_POLL_ADD")
def test_poll_ready(ring: RingFactory) -> None:
    """Of the events that a poll is for, those that are there are reported, and no others."""
    io_uring = ring(1)
    one, other = socket.socketpair()
    with one, other:
        other.send(b"x")
        for events, happened in (
            (select.POLLIN, select.POLLIN),
            (select.POLLOUT, select.POLLOUT),
            (select.POLLIN | select.POLLOUT | select.POLLPRI, select.POLLIN | select.POLLOUT),
        ):
            io_uring.poll_add(0x31, one.fileno(), events)
            assert completion(0x31, happened) == finish(io_uring, "IORING_OP_POLL_ADD")


@pytest.mark.title("poll, waiting for data")
@pytest.mark.symbols("IORING_OP_POLL_ADD", "IORING_OP_NOP")
def test_poll_waits_for_data(ring: RingFactory) -> None:
    """Nothing is reported before the event, and other events than those asked for are not reported at all."""
    io_uring = ring(4)
    with pipe(flags=os.O_NONBLOCK) as (source, sink):
        io_uring.poll_add(0x32, source, select.POLLIN | select.POLLPRI | select.POLLOUT)
        expect_no_more(io_uring, "IORING_OP_POLL_ADD")
        os.write(sink, b"x")
        assert completion(0x32, select.POLLIN) == finish(io_uring, "IORING_OP_POLL_ADD")
        os.read(source, 1)
        os.write(sink, b"y")
        expect_no_more(io_uring, "IORING_OP_POLL_ADD, which reports once")


@pytest.mark.title("poll, waiting for room")
@pytest.mark.symbols("IORING_OP_POLL_ADD", "IORING_OP_NOP")
def test_poll_waits_for_room(ring: RingFactory) -> None:
    """A full pipe can be written to again when it was read from."""
    io_uring = ring(4)
    with pipe(flags=os.O_NONBLOCK) as (source, sink):
        size = fcntl.fcntl(sink, fcntl.F_GETPIPE_SZ)
        assert size == os.write(sink, bytes(size))
        io_uring.poll_add(0x33, sink, select.POLLOUT)
        expect_no_more(io_uring, "IORING_OP_POLL_ADD")
        assert size == len(os.read(source, size))
        assert completion(0x33, select.POLLOUT) == finish(io_uring, "IORING_OP_POLL_ADD")


@pytest.mark.title("poll of what is closed at the other end")
@pytest.mark.symbols("IORING_OP_POLL_ADD", "IORING_OP_NOP")
def test_poll_hangup(ring: RingFactory) -> None:
    """That the peer hung up is reported whether it was asked for or not."""
    io_uring = ring(4)
    for events in (0, select.POLLIN):
        one, other = socket.socketpair()
        with one, other:
            io_uring.poll_add(0x34, one.fileno(), events)
            expect_no_more(io_uring, "IORING_OP_POLL_ADD")
            other.close()
            cqe = finish(io_uring, "IORING_OP_POLL_ADD")
            assert (0x34, 0) == (cqe.user_data, cqe.flags)
            # That it will send no more is reported as well, unlike poll(2) does.
            assert events | select.POLLHUP == cqe.res & ~select.POLLRDHUP


@pytest.mark.title("poll of a socket, no event that did not happen")
@pytest.mark.symbols("IORING_OP_POLL_ADD", "IORING_OP_NOP")
def test_poll_of_urgent_data(ring: RingFactory) -> None:
    """What arrives is data, and no urgent data, which is polled for as well; poll(2) says so."""
    io_uring = ring(4)
    one, other = socket.socketpair()
    with one, other:
        io_uring.poll_add(0x39, one.fileno(), select.POLLIN | select.POLLPRI)
        expect_no_more(io_uring, "IORING_OP_POLL_ADD")
        other.send(b"x")
        assert completion(0x39, select.POLLIN) == finish(io_uring, "IORING_OP_POLL_ADD")


@pytest.mark.title("removing a poll")
@pytest.mark.symbols("IORING_OP_POLL_REMOVE", "IORING_OP_POLL_ADD", "IORING_OP_NOP")
def test_poll_remove(ring: RingFactory) -> None:
    """Of two polls the named one ends, the other one does not; there is nothing to remove a second time."""
    io_uring = ring(4)
    with pipe(flags=os.O_NONBLOCK) as (source, sink):
        for user_data in (0x35, 0x36):
            io_uring.poll_add(user_data, source, select.POLLIN)
        expect_no_more(io_uring, "IORING_OP_POLL_ADD")
        io_uring.poll_remove(0x37, 0x35)
        io_uring.submit()
        found = reap(io_uring, 2, "IORING_OP_POLL_REMOVE and the poll")
        assert [completion(0x35, -errno.ECANCELED), completion(0x37, 0)] == sorted(found)
        io_uring.poll_remove(0x38, 0x35)
        assert completion(0x38, -errno.ENOENT) == finish(io_uring, "IORING_OP_POLL_REMOVE")
        os.write(sink, b"x")
        assert completion(0x36, select.POLLIN) == finish(io_uring, "IORING_OP_POLL_ADD")
        expect_no_more(io_uring, "IORING_OP_POLL_ADD, which was removed")


# ---- multishot


@pytest.mark.title("poll, multishot, removed")
@pytest.mark.symbols(
    "IORING_POLL_ADD_MULTI", "IORING_OP_POLL_ADD", "IORING_CQE_F_MORE", "IORING_OP_POLL_REMOVE", "IORING_OP_NOP"
)
def test_poll_multishot(ring: RingFactory) -> None:
    """Each event is reported once, with IORING_CQE_F_MORE, until the poll is removed."""
    io_uring = ring(4)
    with pipe(flags=os.O_NONBLOCK) as (source, sink):
        io_uring.poll_multishot(0x41, source, select.POLLIN)
        _expect_events(io_uring, 0x41, source, sink)
        io_uring.poll_remove(0x42, 0x41)
        io_uring.submit()
        found = reap(io_uring, 2, "IORING_OP_POLL_REMOVE and the poll")
        assert [completion(0x41, -errno.ECANCELED), completion(0x42, 0)] == sorted(found)
        os.write(sink, b"x")
        expect_no_more(io_uring, "IORING_OP_POLL_ADD, which was removed")


@pytest.mark.title("poll, multishot, cancelled")
@pytest.mark.symbols(
    "IORING_POLL_ADD_MULTI", "IORING_OP_POLL_ADD", "IORING_CQE_F_MORE", "IORING_OP_ASYNC_CANCEL", "IORING_OP_NOP"
)
def test_poll_multishot_is_cancelled(ring: RingFactory) -> None:
    """A cancellation ends it as well."""
    io_uring = ring(4)
    with pipe(flags=os.O_NONBLOCK) as (source, sink):
        io_uring.poll_multishot(0x43, source, select.POLLIN)
        _expect_events(io_uring, 0x43, source, sink)
        io_uring.cancel(0x44, 0x43, 0)
        io_uring.submit()
        found = reap(io_uring, 2, "IORING_OP_ASYNC_CANCEL and the poll")
        assert [completion(0x43, -errno.ECANCELED), completion(0x44, 0)] == sorted(found)
        os.write(sink, b"x")
        expect_no_more(io_uring, "IORING_OP_POLL_ADD, which was cancelled")


def _expect_events(io_uring: uring.IoUring, user_data: int, source: int, sink: int) -> None:
    """Write and read several times, and see one completion for each."""
    for _ in range(3):
        expect_no_more(io_uring, "multishot IORING_OP_POLL_ADD")
        os.write(sink, b"x")
        assert completion(user_data, select.POLLIN, _MORE) == finish(io_uring, "multishot IORING_OP_POLL_ADD")
        expect_no_more(io_uring, "multishot IORING_OP_POLL_ADD, which reports an event once")
        assert b"x" == os.read(source, 2)


@pytest.mark.title("poll, multishot, of an event that is there already")
@pytest.mark.symbols("IORING_POLL_ADD_MULTI", "IORING_OP_POLL_ADD", "IORING_CQE_F_MORE", "IORING_OP_NOP")
def test_poll_multishot_ready(ring: RingFactory) -> None:
    """It is reported once, and then the next one."""
    io_uring = ring(4)
    with pipe(flags=os.O_NONBLOCK) as (source, sink):
        os.write(sink, b"x")
        io_uring.poll_multishot(0x45, source, select.POLLIN)
        assert completion(0x45, select.POLLIN, _MORE) == finish(io_uring, "multishot IORING_OP_POLL_ADD")
        expect_no_more(io_uring, "multishot IORING_OP_POLL_ADD, which reports an event once")
        os.read(source, 1)
        os.write(sink, b"y")
        assert completion(0x45, select.POLLIN, _MORE) == finish(io_uring, "multishot IORING_OP_POLL_ADD")


# ---- updates


@pytest.mark.title("poll, other events")
@pytest.mark.symbols("IORING_POLL_UPDATE_EVENTS", "IORING_OP_POLL_REMOVE", "IORING_OP_POLL_ADD", "IORING_OP_NOP")
def test_poll_update_events(ring: RingFactory) -> None:
    """A poll that waits for one event reports another one when it is told to."""
    io_uring = ring(4)
    one, other = socket.socketpair()
    with one, other:
        io_uring.poll_add(0x51, one.fileno(), select.POLLIN)
        expect_no_more(io_uring, "IORING_OP_POLL_ADD")
        io_uring.poll_update(0x52, 0x51, 0, select.POLLOUT, uring.IORING_POLL_UPDATE_EVENTS)
        io_uring.submit()
        found = reap(io_uring, 2, "IORING_OP_POLL_REMOVE with IORING_POLL_UPDATE_EVENTS and the poll")
        assert [completion(0x51, select.POLLOUT), completion(0x52, 0)] == sorted(found)


@pytest.mark.title("poll, another user_data")
@pytest.mark.symbols("IORING_POLL_UPDATE_USER_DATA", "IORING_OP_POLL_REMOVE", "IORING_OP_POLL_ADD", "IORING_OP_NOP")
def test_poll_update_user_data(ring: RingFactory) -> None:
    """A poll in flight reports its event under the name it was given later."""
    io_uring = ring(4)
    with pipe(flags=os.O_NONBLOCK) as (source, sink):
        io_uring.poll_add(0x53, source, select.POLLIN)
        expect_no_more(io_uring, "IORING_OP_POLL_ADD")
        io_uring.poll_update(0x54, 0x53, 0x55, 0, uring.IORING_POLL_UPDATE_USER_DATA)
        assert completion(0x54, 0) == finish(io_uring, "IORING_OP_POLL_REMOVE with IORING_POLL_UPDATE_USER_DATA")
        expect_no_more(io_uring, "IORING_OP_POLL_ADD")
        os.write(sink, b"x")
        assert completion(0x55, select.POLLIN) == finish(io_uring, "IORING_OP_POLL_ADD")


@pytest.mark.title("poll, multishot, other events and another user_data")
@pytest.mark.symbols(
    "IORING_POLL_UPDATE_USER_DATA",
    "IORING_POLL_UPDATE_EVENTS",
    "IORING_OP_POLL_REMOVE",
    "IORING_POLL_ADD_MULTI",
    "IORING_OP_POLL_ADD",
    "IORING_CQE_F_MORE",
    "IORING_OP_NOP",
)
def test_poll_update_both(ring: RingFactory) -> None:
    """A multishot poll goes on for other events and under another name."""
    io_uring = ring(4)
    one, other = socket.socketpair()
    with one, other:
        io_uring.poll_multishot(0x56, one.fileno(), select.POLLPRI)
        other.send(b"x")
        expect_no_more(io_uring, "multishot IORING_OP_POLL_ADD")
        flags = uring.IORING_POLL_UPDATE_EVENTS | uring.IORING_POLL_UPDATE_USER_DATA | uring.IORING_POLL_ADD_MULTI
        io_uring.poll_update(0x57, 0x56, 0x58, select.POLLIN, flags)
        io_uring.submit()
        found = reap(io_uring, 2, "IORING_OP_POLL_REMOVE with both updates and the poll")
        assert [completion(0x57, 0), completion(0x58, select.POLLIN, _MORE)] == sorted(found)
        assert b"x" == one.recv(2)
        other.send(b"y")
        assert completion(0x58, select.POLLIN, _MORE) == finish(io_uring, "multishot IORING_OP_POLL_ADD")


@pytest.mark.title("poll, update of one that is not there")
@pytest.mark.symbols("IORING_POLL_UPDATE_EVENTS", "IORING_OP_POLL_REMOVE")
def test_poll_update_of_nothing(ring: RingFactory) -> None:
    """There is nothing to change."""
    io_uring = ring(1)
    io_uring.poll_update(0x59, 0x5A, 0, select.POLLIN, uring.IORING_POLL_UPDATE_EVENTS)
    assert completion(0x59, -errno.ENOENT) == finish(io_uring, "IORING_OP_POLL_REMOVE")


# ---- several


@pytest.mark.title("poll, all that wait for one event")
@pytest.mark.symbols("IORING_OP_POLL_ADD", "IORING_OP_NOP")
def test_polls_share_an_event(ring: RingFactory) -> None:
    """Two polls of one file both report what happens."""
    io_uring = ring(4)
    with pipe(flags=os.O_NONBLOCK) as (source, sink):
        for user_data in (0x61, 0x62):
            io_uring.poll_add(user_data, source, select.POLLIN)
        expect_no_more(io_uring, "IORING_OP_POLL_ADD")
        os.write(sink, b"x")
        found = reap(io_uring, 2, "two IORING_OP_POLL_ADD of one file")
        assert [completion(0x61, select.POLLIN), completion(0x62, select.POLLIN)] == sorted(found)


@pytest.mark.title("poll, one of those that wait")
@pytest.mark.symbols("IORING_OP_POLL_ADD", "IORING_OP_NOP")
def test_poll_exclusive(ring: RingFactory) -> None:
    """With EPOLLEXCLUSIVE one event wakes one of two polls, and the next event the other."""
    io_uring = ring(4)
    with pipe(flags=os.O_NONBLOCK) as (source, sink):
        for user_data in (0x63, 0x64):
            io_uring.poll_add(user_data, source, select.POLLIN | _EPOLLEXCLUSIVE)
        expect_no_more(io_uring, "IORING_OP_POLL_ADD with EPOLLEXCLUSIVE")
        woken = set()
        for _ in range(2):
            os.write(sink, b"x")
            cqe = finish(io_uring, "IORING_OP_POLL_ADD with EPOLLEXCLUSIVE")
            assert (select.POLLIN, 0) == (cqe.res, cqe.flags)
            woken.add(cqe.user_data)
            os.read(source, 1)
            expect_no_more(io_uring, "IORING_OP_POLL_ADD with EPOLLEXCLUSIVE, of which one is woken")
        assert {0x63, 0x64} == woken
