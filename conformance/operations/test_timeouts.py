"""Timeouts: their clocks, their counts, repeated ones, and changes of those that run."""

from __future__ import annotations

import time

import pytest

from conformance.fixtures import RingFactory
from conformance.modes import RingMode
from conformance.operations.support import an_hour, at_ns, complete, expect_no_more, milliseconds, reap, settled
from conformance.support import completion
from uring import (
    IORING_CQE_F_MORE,
    IORING_TIMEOUT_ABS,
    IORING_TIMEOUT_BOOTTIME,
    IORING_TIMEOUT_ETIME_SUCCESS,
    IORING_TIMEOUT_IMMEDIATE_ARG,
    IORING_TIMEOUT_MULTISHOT,
    IORING_TIMEOUT_REALTIME,
    IOSQE_CQE_SKIP_SUCCESS,
    IOSQE_IO_LINK,
    E,
    IoUring,
    io_uring_cqe,
)

pytestmark = pytest.mark.group("Timeouts")

TIMEOUT, CHANGE, BEHIND = 0x71, 0x72, 0x73


@pytest.mark.title("timeout, not early")
@pytest.mark.symbols("IORING_OP_TIMEOUT")
def test_timeout_is_not_early(ring: RingFactory) -> None:
    """A timeout ends with ETIME, and never before its time is over."""
    io_uring = ring(4)
    started_ns = time.monotonic_ns()
    io_uring.timeout(TIMEOUT, milliseconds(5), 0, 0)
    assert [completion(TIMEOUT, -E.TIME)] == complete(io_uring, 1, "IORING_OP_TIMEOUT")
    assert time.monotonic_ns() - started_ns >= 5_000_000


def _ends_at(io_uring: IoUring, clock: int, flags: int) -> None:
    """A timeout ends when its clock shows the time, not as late as if that were a length."""
    now_ns = time.clock_gettime_ns(clock)
    then_ns = now_ns + 5_000_000
    io_uring.timeout(TIMEOUT, at_ns(then_ns), 0, IORING_TIMEOUT_ABS | flags)
    assert [completion(TIMEOUT, -E.TIME)] == complete(io_uring, 1, "IORING_OP_TIMEOUT with IORING_TIMEOUT_ABS")
    assert then_ns <= time.clock_gettime_ns(clock) < now_ns + then_ns


@pytest.mark.title("timeout, at a time of the monotonic clock")
@pytest.mark.symbols("IORING_OP_TIMEOUT", "IORING_TIMEOUT_ABS")
def test_timeout_at_a_time(ring: RingFactory) -> None:
    """A timeout ends when the clock that never jumps shows the time."""
    _ends_at(ring(4), time.CLOCK_MONOTONIC, 0)


@pytest.mark.title("timeout, at a time of the boot clock")
@pytest.mark.symbols("IORING_OP_TIMEOUT", "IORING_TIMEOUT_ABS", "IORING_TIMEOUT_BOOTTIME")
def test_timeout_at_a_time_since_boot(ring: RingFactory) -> None:
    """A timeout ends when the clock that runs while the machine sleeps shows the time."""
    _ends_at(ring(4), time.CLOCK_BOOTTIME, IORING_TIMEOUT_BOOTTIME)


@pytest.mark.title("timeout, at a time of day")
@pytest.mark.symbols("IORING_OP_TIMEOUT", "IORING_TIMEOUT_ABS", "IORING_TIMEOUT_REALTIME")
def test_timeout_at_a_time_of_day(ring: RingFactory) -> None:
    """A timeout ends when the wall clock shows the time, which on the other clocks is decades away."""
    _ends_at(ring(4), time.CLOCK_REALTIME, IORING_TIMEOUT_REALTIME)


@pytest.mark.title("timeout, relative, of the wall clock")
@pytest.mark.symbols("IORING_OP_TIMEOUT", "IORING_TIMEOUT_REALTIME")
def test_timeout_of_the_wall_clock_is_not_early(ring: RingFactory) -> None:
    """A length of time is one on the wall clock, too."""
    io_uring = ring(4)
    started_ns = time.monotonic_ns()
    io_uring.timeout(TIMEOUT, milliseconds(5), 0, IORING_TIMEOUT_REALTIME)
    assert [completion(TIMEOUT, -E.TIME)] == complete(io_uring, 1, "IORING_OP_TIMEOUT with IORING_TIMEOUT_REALTIME")
    assert time.monotonic_ns() - started_ns >= 5_000_000


@pytest.mark.title("timeout, of two clocks")
@pytest.mark.symbols("IORING_OP_TIMEOUT", "IORING_TIMEOUT_BOOTTIME", "IORING_TIMEOUT_REALTIME")
def test_timeout_of_two_clocks_is_refused(ring: RingFactory) -> None:
    """There is one clock for a timeout."""
    io_uring = ring(4)
    io_uring.timeout(TIMEOUT, milliseconds(1), 0, IORING_TIMEOUT_BOOTTIME | IORING_TIMEOUT_REALTIME)
    assert [completion(TIMEOUT, -E.INVAL)] == complete(io_uring, 1, "IORING_OP_TIMEOUT of two clocks")


@pytest.mark.title("timeout, three completions")
@pytest.mark.symbols("IORING_OP_TIMEOUT", "IORING_OP_NOP")
def test_timeout_counts_completions(ring: RingFactory, mode: RingMode) -> None:
    """A timeout that waits for three completions ends with success at the third."""
    io_uring = ring(8)
    io_uring.timeout(TIMEOUT, an_hour(), 3, 0)
    io_uring.submit()
    found: list[io_uring_cqe] = []
    while TIMEOUT not in (cqe.user_data for cqe in found) and len(found) < 100:
        io_uring.nop(BEHIND)
        io_uring.submit()
        # A worker may begin with the timeout late, and counts what completes from then on.
        is_last = len(found) == 2 and mode.id != "async"
        found += reap(io_uring, 2 if is_last else 1, "IORING_OP_TIMEOUT of three completions")
    if mode.id == "async":
        assert completion(TIMEOUT, 0) in found
        assert len(found) >= 3
    else:
        assert [completion(TIMEOUT, 0), *[completion(BEHIND, 0)] * 3] == sorted(found)


@pytest.mark.title("timeout, time before completions")
@pytest.mark.symbols("IORING_OP_TIMEOUT", "IORING_OP_NOP")
def test_timeout_is_over_before_the_completions_came(ring: RingFactory) -> None:
    """A timeout that waits for five completions ends with ETIME, if there are fewer when its time is over."""
    io_uring = ring(8)
    io_uring.timeout(TIMEOUT, milliseconds(5), 5, 0)
    io_uring.nop(BEHIND)
    assert [completion(TIMEOUT, -E.TIME), completion(BEHIND, 0)] == sorted(complete(io_uring, 2, "IORING_OP_TIMEOUT"))


@pytest.mark.title("timeout, breaks a link")
@pytest.mark.symbols("IORING_OP_TIMEOUT", "IOSQE_IO_LINK", "IORING_OP_NOP")
def test_timeout_breaks_a_link(ring: RingFactory) -> None:
    """The end of a timeout counts as a failure: what is linked behind it is cancelled."""
    io_uring = ring(4)
    io_uring.timeout(TIMEOUT, milliseconds(1), 0, 0).link_next()
    io_uring.nop(BEHIND)
    assert [completion(TIMEOUT, -E.TIME), completion(BEHIND, -E.CANCELED)] == sorted(
        complete(io_uring, 2, "IORING_OP_NOP behind IORING_OP_TIMEOUT")
    )


@pytest.mark.title("timeout, its end is a success")
@pytest.mark.symbols("IORING_OP_TIMEOUT", "IORING_TIMEOUT_ETIME_SUCCESS", "IOSQE_IO_LINK", "IORING_OP_NOP")
def test_timeout_whose_end_is_a_success(ring: RingFactory) -> None:
    """What is linked behind such a timeout begins when its time is over."""
    io_uring = ring(4)
    started_ns = time.monotonic_ns()
    io_uring.timeout(TIMEOUT, milliseconds(5), 0, IORING_TIMEOUT_ETIME_SUCCESS).link_next()
    io_uring.nop(BEHIND)
    assert [completion(TIMEOUT, -E.TIME), completion(BEHIND, 0)] == complete(
        io_uring, 2, "IORING_OP_NOP behind IORING_OP_TIMEOUT"
    )
    assert time.monotonic_ns() - started_ns >= 5_000_000


@pytest.mark.title("timeout, its end is a silent success")
@pytest.mark.symbols(
    "IORING_OP_TIMEOUT", "IORING_TIMEOUT_ETIME_SUCCESS", "IOSQE_IO_LINK", "IOSQE_CQE_SKIP_SUCCESS", "IORING_OP_NOP"
)
def test_timeout_whose_end_is_a_silent_success(ring: RingFactory) -> None:
    """Where success is silent, nothing is told of it but by what is linked behind it."""
    io_uring = ring(4)
    started_ns = time.monotonic_ns()
    io_uring.timeout(TIMEOUT, milliseconds(5), 0, IORING_TIMEOUT_ETIME_SUCCESS).flags |= (
        IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS
    )
    io_uring.nop(BEHIND)
    assert [completion(BEHIND, 0)] == complete(io_uring, 1, "IORING_OP_NOP behind IORING_OP_TIMEOUT")
    assert time.monotonic_ns() - started_ns >= 5_000_000
    expect_no_more(io_uring, "IORING_OP_TIMEOUT whose success is silent")


@pytest.mark.title("timeout, three times")
@pytest.mark.symbols("IORING_OP_TIMEOUT", "IORING_TIMEOUT_MULTISHOT", "IORING_CQE_F_MORE", "IORING_OP_NOP")
def test_timeout_repeats(ring: RingFactory) -> None:
    """A timeout that repeats three times says twice that it goes on, and takes three times its time."""
    io_uring = ring(4)
    started_ns = time.monotonic_ns()
    io_uring.timeout(TIMEOUT, milliseconds(2), 3, IORING_TIMEOUT_MULTISHOT)
    io_uring.submit()
    more = completion(TIMEOUT, -E.TIME, IORING_CQE_F_MORE)
    found = reap(io_uring, 3, "IORING_OP_TIMEOUT with IORING_TIMEOUT_MULTISHOT")
    assert [more, more, completion(TIMEOUT, -E.TIME)] == found
    assert time.monotonic_ns() - started_ns >= 6_000_000
    expect_no_more(io_uring, "a timeout that was to repeat three times, for the fourth time,")


@pytest.mark.title("timeout, again and again")
@pytest.mark.symbols(
    "IORING_OP_TIMEOUT", "IORING_TIMEOUT_MULTISHOT", "IORING_CQE_F_MORE", "IORING_OP_TIMEOUT_REMOVE", "IORING_OP_NOP"
)
def test_timeout_repeats_until_it_is_removed(ring: RingFactory) -> None:
    """A timeout that repeats without an end has one when it is removed, and says so."""
    what = "IORING_OP_TIMEOUT with IORING_TIMEOUT_MULTISHOT"
    io_uring = ring(4)
    io_uring.timeout(TIMEOUT, milliseconds(1), 0, IORING_TIMEOUT_MULTISHOT)
    io_uring.submit()
    more = completion(TIMEOUT, -E.TIME, IORING_CQE_F_MORE)
    assert [more, more] == reap(io_uring, 2, what)
    io_uring.timeout_remove(CHANGE, TIMEOUT, 0)
    found = complete(io_uring, 2, what)
    # It goes on until it is removed, as often as it happens to.
    while len(others := sorted(cqe for cqe in found if cqe != more)) < 2 and len(found) < 1000:
        found += reap(io_uring, 1, f"the end of {what}")
    assert [completion(TIMEOUT, -E.CANCELED), completion(CHANGE, 0)] == others
    expect_no_more(io_uring, "a timeout that was removed")


@pytest.mark.title("timeout, repeated, at a time of day")
@pytest.mark.symbols("IORING_OP_TIMEOUT", "IORING_TIMEOUT_ABS", "IORING_TIMEOUT_MULTISHOT")
def test_timeout_at_a_time_does_not_repeat(ring: RingFactory) -> None:
    """There is one such time, so a timeout of it cannot repeat."""
    io_uring = ring(4)
    io_uring.timeout(TIMEOUT, at_ns(1), 0, IORING_TIMEOUT_ABS | IORING_TIMEOUT_MULTISHOT)
    assert [completion(TIMEOUT, -E.INVAL)] == complete(io_uring, 1, "IORING_OP_TIMEOUT with a time and repeated")


@pytest.mark.title("timeout, its time in the entry")
@pytest.mark.symbols("IORING_OP_TIMEOUT", "IORING_TIMEOUT_IMMEDIATE_ARG")
def test_timeout_has_its_time_in_the_entry(ring: RingFactory) -> None:
    """The entry itself says how long, in nanoseconds."""
    io_uring = ring(4)
    started_ns = time.monotonic_ns()
    io_uring.timeout(TIMEOUT, 5_000_000, 0, IORING_TIMEOUT_IMMEDIATE_ARG)
    assert [completion(TIMEOUT, -E.TIME)] == complete(
        io_uring, 1, "IORING_OP_TIMEOUT with IORING_TIMEOUT_IMMEDIATE_ARG"
    )
    assert time.monotonic_ns() - started_ns >= 5_000_000


@pytest.mark.title("timeout, changed")
@pytest.mark.symbols("IORING_TIMEOUT_UPDATE", "IORING_OP_TIMEOUT_REMOVE", "IORING_OP_TIMEOUT")
def test_timeout_is_changed(ring: RingFactory) -> None:
    """A timeout of an hour ends after 5 ms, if it is given that time."""
    io_uring = ring(8)
    io_uring.timeout(TIMEOUT, an_hour(), 0, 0)
    io_uring.submit()
    started_ns = time.monotonic_ns()
    shorter = milliseconds(5)
    assert [completion(TIMEOUT, -E.TIME), completion(CHANGE, 0)] == settled(
        io_uring,
        lambda: io_uring.timeout_update(CHANGE, shorter, TIMEOUT, 0),
        2,
        "IORING_OP_TIMEOUT_REMOVE with IORING_TIMEOUT_UPDATE",
    )
    assert time.monotonic_ns() - started_ns >= 5_000_000


@pytest.mark.title("timeout, changed to a time of its clock")
@pytest.mark.symbols(
    "IORING_TIMEOUT_UPDATE",
    "IORING_TIMEOUT_ABS",
    "IORING_TIMEOUT_REALTIME",
    "IORING_OP_TIMEOUT_REMOVE",
    "IORING_OP_TIMEOUT",
)
def test_timeout_is_changed_to_a_time_of_day(ring: RingFactory) -> None:
    """A timeout keeps its clock: the new time is one of the wall clock's."""
    io_uring = ring(8)
    io_uring.timeout(TIMEOUT, an_hour(), 0, IORING_TIMEOUT_REALTIME)
    io_uring.submit()
    then_ns = time.time_ns() + 5_000_000
    then = at_ns(then_ns)
    assert [completion(TIMEOUT, -E.TIME), completion(CHANGE, 0)] == settled(
        io_uring,
        lambda: io_uring.timeout_update(CHANGE, then, TIMEOUT, IORING_TIMEOUT_ABS),
        2,
        "IORING_OP_TIMEOUT_REMOVE with IORING_TIMEOUT_UPDATE and IORING_TIMEOUT_ABS",
    )
    assert time.time_ns() >= then_ns


@pytest.mark.title("timeout, no such to remove")
@pytest.mark.symbols("IORING_OP_TIMEOUT_REMOVE")
def test_timeout_remove_of_none(ring: RingFactory) -> None:
    """What is not there cannot be removed."""
    io_uring = ring(4)
    io_uring.timeout_remove(CHANGE, TIMEOUT, 0)
    assert [completion(CHANGE, -E.NOENT)] == complete(io_uring, 1, "IORING_OP_TIMEOUT_REMOVE of nothing")


@pytest.mark.title("timeout, over before it is removed")
@pytest.mark.symbols("IORING_OP_TIMEOUT_REMOVE", "IORING_OP_TIMEOUT")
def test_timeout_remove_after_its_end(ring: RingFactory) -> None:
    """A timeout that is over is not there any more."""
    io_uring = ring(4)
    io_uring.timeout(TIMEOUT, milliseconds(1), 0, 0)
    assert [completion(TIMEOUT, -E.TIME)] == complete(io_uring, 1, "IORING_OP_TIMEOUT")
    io_uring.timeout_remove(CHANGE, TIMEOUT, 0)
    assert [completion(CHANGE, -E.NOENT)] == complete(io_uring, 1, "IORING_OP_TIMEOUT_REMOVE of what is over")


@pytest.mark.title("timeout, no such to change")
@pytest.mark.symbols("IORING_TIMEOUT_UPDATE", "IORING_OP_TIMEOUT_REMOVE")
def test_timeout_update_of_none(ring: RingFactory) -> None:
    """What is not there cannot be changed."""
    io_uring = ring(4)
    io_uring.timeout_update(CHANGE, milliseconds(1), TIMEOUT, 0)
    assert [completion(CHANGE, -E.NOENT)] == complete(io_uring, 1, "IORING_OP_TIMEOUT_REMOVE that changes nothing")
