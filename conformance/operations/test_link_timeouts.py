"""Timeouts that limit the request that they are linked behind."""

from __future__ import annotations

import os
import select
import time

import pytest

from conformance.fixtures import RingFactory
from conformance.operations.support import an_hour, at_ns, complete, expect_no_more, milliseconds, pipe, reap, settled
from conformance.support import completion
from uring import IORING_LINK_TIMEOUT_UPDATE, IORING_TIMEOUT_ABS, IORING_TIMEOUT_REALTIME, E

pytestmark = pytest.mark.group("Timeouts")

REQUEST, LIMIT, CHANGE, BEHIND = 0x81, 0x82, 0x83, 0x84
#: What comes of a request that its time limit ended.
ENDED = [completion(REQUEST, -E.CANCELED), completion(LIMIT, -E.TIME)]


@pytest.mark.title("linked timeout, ends a request")
@pytest.mark.symbols("IORING_OP_LINK_TIMEOUT", "IOSQE_IO_LINK", "IORING_OP_POLL_ADD")
def test_link_timeout_ends_a_request(ring: RingFactory) -> None:
    """A request that does not come to an end is cancelled when its time is over, and not before."""
    io_uring = ring(4)
    with pipe() as (reading, _):
        started_ns = time.monotonic_ns()
        io_uring.poll_add(REQUEST, reading, select.POLLIN).link_next()
        io_uring.link_timeout(LIMIT, milliseconds(5), 0)
        assert ENDED == sorted(complete(io_uring, 2, "IORING_OP_LINK_TIMEOUT that ends a poll"))
        assert time.monotonic_ns() - started_ns >= 5_000_000


@pytest.mark.title("linked timeout, at a time of day")
@pytest.mark.symbols(
    "IORING_OP_LINK_TIMEOUT",
    "IORING_TIMEOUT_ABS",
    "IORING_TIMEOUT_REALTIME",
    "IOSQE_IO_LINK",
    "IORING_OP_POLL_ADD",
)
def test_link_timeout_at_a_time_of_day(ring: RingFactory) -> None:
    """A request is cancelled when the wall clock shows the time."""
    io_uring = ring(4)
    with pipe() as (reading, _):
        then_ns = time.time_ns() + 5_000_000
        io_uring.poll_add(REQUEST, reading, select.POLLIN).link_next()
        io_uring.link_timeout(LIMIT, at_ns(then_ns), IORING_TIMEOUT_ABS | IORING_TIMEOUT_REALTIME)
        assert ENDED == sorted(complete(io_uring, 2, "IORING_OP_LINK_TIMEOUT at a time of day"))
        assert time.time_ns() >= then_ns


@pytest.mark.title("linked timeout, request in time")
@pytest.mark.symbols("IORING_OP_LINK_TIMEOUT", "IOSQE_IO_LINK", "IORING_OP_POLL_ADD")
def test_link_timeout_of_a_request_that_ends_in_time(ring: RingFactory) -> None:
    """A request that waited and ended in time has its result, and its timeout is cancelled."""
    io_uring = ring(4)
    with pipe() as (reading, writing):
        io_uring.poll_add(REQUEST, reading, select.POLLIN).link_next()
        io_uring.link_timeout(LIMIT, an_hour(), 0)
        io_uring.submit()
        os.write(writing, b"x")
        assert [completion(REQUEST, select.POLLIN), completion(LIMIT, -E.CANCELED)] == sorted(
            reap(io_uring, 2, "IORING_OP_LINK_TIMEOUT of a poll that ends")
        )


@pytest.mark.title("linked timeout, link goes on")
@pytest.mark.symbols("IORING_OP_LINK_TIMEOUT", "IOSQE_IO_LINK", "IORING_OP_NOP")
def test_link_timeout_in_the_middle_of_a_link(ring: RingFactory) -> None:
    """A timeout that was not needed does not break the link that goes on behind it."""
    io_uring = ring(4)
    io_uring.nop(REQUEST).link_next()
    io_uring.link_timeout(LIMIT, an_hour(), 0).link_next()
    io_uring.nop(BEHIND)
    assert [completion(REQUEST, 0), completion(LIMIT, -E.CANCELED), completion(BEHIND, 0)] == sorted(
        complete(io_uring, 3, "IORING_OP_NOP behind IORING_OP_LINK_TIMEOUT")
    )


@pytest.mark.title("linked timeout, link is broken")
@pytest.mark.symbols("IORING_OP_LINK_TIMEOUT", "IOSQE_IO_LINK", "IORING_OP_POLL_ADD", "IORING_OP_NOP")
def test_link_timeout_breaks_a_link(ring: RingFactory) -> None:
    """With a request that takes too long, what is linked behind the two is cancelled."""
    io_uring = ring(4)
    with pipe() as (reading, _):
        io_uring.poll_add(REQUEST, reading, select.POLLIN).link_next()
        io_uring.link_timeout(LIMIT, milliseconds(1), 0).link_next()
        io_uring.nop(BEHIND)
        assert [*ENDED, completion(BEHIND, -E.CANCELED)] == sorted(
            complete(io_uring, 3, "IORING_OP_NOP behind IORING_OP_LINK_TIMEOUT that ended a poll")
        )


@pytest.mark.title("linked timeout, changed")
@pytest.mark.symbols(
    "IORING_LINK_TIMEOUT_UPDATE",
    "IORING_TIMEOUT_UPDATE",
    "IORING_OP_TIMEOUT_REMOVE",
    "IORING_OP_LINK_TIMEOUT",
    "IOSQE_IO_LINK",
    "IORING_OP_POLL_ADD",
)
def test_link_timeout_is_changed(ring: RingFactory) -> None:
    """A request that had an hour ends after 5 ms, if its timeout is given that time."""
    io_uring = ring(8)
    with pipe() as (reading, _):
        io_uring.poll_add(REQUEST, reading, select.POLLIN).link_next()
        io_uring.link_timeout(LIMIT, an_hour(), 0)
        io_uring.submit()
        started_ns = time.monotonic_ns()
        shorter = milliseconds(5)
        assert [*ENDED, completion(CHANGE, 0)] == settled(
            io_uring,
            lambda: io_uring.timeout_update(CHANGE, shorter, LIMIT, IORING_LINK_TIMEOUT_UPDATE),
            3,
            "IORING_OP_TIMEOUT_REMOVE with IORING_LINK_TIMEOUT_UPDATE",
        )
        assert time.monotonic_ns() - started_ns >= 5_000_000


@pytest.mark.title("linked timeout, is not another")
@pytest.mark.symbols(
    "IORING_TIMEOUT_UPDATE",
    "IORING_OP_TIMEOUT_REMOVE",
    "IORING_OP_LINK_TIMEOUT",
    "IOSQE_IO_LINK",
    "IORING_OP_POLL_ADD",
    "IORING_OP_NOP",
)
def test_link_timeout_is_found_as_such_alone(ring: RingFactory) -> None:
    """A change that is meant for other timeouts does not find a linked one, which goes on limiting its request."""
    io_uring = ring(4)
    with pipe() as (reading, writing):
        io_uring.poll_add(REQUEST, reading, select.POLLIN).link_next()
        io_uring.link_timeout(LIMIT, an_hour(), 0)
        io_uring.timeout_update(CHANGE, milliseconds(0), LIMIT, 0)
        assert [completion(CHANGE, -E.NOENT)] == complete(io_uring, 1, "IORING_OP_TIMEOUT_REMOVE of a linked timeout")
        expect_no_more(io_uring, "a poll with an hour's time")
        os.write(writing, b"x")
        assert [completion(REQUEST, select.POLLIN), completion(LIMIT, -E.CANCELED)] == sorted(
            reap(io_uring, 2, "IORING_OP_LINK_TIMEOUT")
        )


@pytest.mark.title("linked timeout, not linked")
@pytest.mark.symbols("IORING_OP_LINK_TIMEOUT", "IORING_OP_NOP")
def test_link_timeout_behind_nothing(ring: RingFactory) -> None:
    """Where no request is linked, there is nothing to limit."""
    io_uring = ring(4)
    io_uring.nop(REQUEST)
    io_uring.link_timeout(LIMIT, milliseconds(1), 0)
    assert [completion(REQUEST, 0), completion(LIMIT, -E.INVAL)] == sorted(
        complete(io_uring, 2, "IORING_OP_LINK_TIMEOUT that is not linked")
    )
