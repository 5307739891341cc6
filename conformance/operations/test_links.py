"""Linked and drained requests: what begins when, and what is cancelled."""

from __future__ import annotations

import os
import select
from pathlib import Path

import pytest

from conformance.fixtures import RingFactory
from conformance.operations.support import complete, expect_no_more, pipe, reap, settled
from conformance.support import CREATE, completion, opened
from uring import IOSQE_ASYNC, IOSQE_IO_DRAIN, IOSQE_IO_HARDLINK, E, IoUring

pytestmark = pytest.mark.group("Links")

FIRST, SECOND, THIRD, FOURTH = 0x91, 0x92, 0x93, 0x94


def _fails(io_uring: IoUring, scratch: Path, user_data: int = FIRST) -> None:
    """A request that the kernel takes and that fails with ENOENT when it runs; it is linked to the next."""
    io_uring.openat(user_data, -1, scratch / "missing", os.O_RDONLY, 0).link_next()


@pytest.mark.title("link, in order")
@pytest.mark.symbols("IOSQE_IO_LINK", "IORING_OP_WRITE", "IORING_OP_READ")
def test_linked_requests_run_in_order(ring: RingFactory, scratch: Path) -> None:
    """Each read sees what the write before it has left, and not what the one behind it writes to the same place."""
    io_uring = ring(16)
    words = [b"one", b"two", b"six"]
    buffers = [bytearray(3) for _ in words]
    with opened(scratch / "file", CREATE) as fd:
        for number, (word, buffer) in enumerate(zip(words, buffers, strict=True)):
            io_uring.write(2 * number, fd, word, 0).link_next()
            sqe = io_uring.read(2 * number + 1, fd, buffer, 0)
            if number < 2:
                sqe.link_next()
        assert [completion(number, 3) for number in range(6)] == complete(io_uring, 6, "six linked requests")
        assert words == buffers
        assert b"six" == os.pread(fd, 9, 0)


@pytest.mark.title("link, waits")
@pytest.mark.symbols("IOSQE_IO_LINK", "IORING_OP_POLL_ADD", "IORING_OP_NOP")
def test_linked_request_waits_for_the_one_before(ring: RingFactory) -> None:
    """What is linked behind a poll begins when the poll ends."""
    io_uring = ring(8)
    with pipe() as (reading, writing):
        io_uring.poll_add(FIRST, reading, select.POLLIN).link_next()
        io_uring.nop(SECOND)
        io_uring.submit()
        expect_no_more(io_uring, "a no-op linked behind a poll of an empty pipe")
        os.write(writing, b"x")
        assert [completion(FIRST, select.POLLIN), completion(SECOND, 0)] == reap(
            io_uring, 2, "IORING_OP_NOP linked behind IORING_OP_POLL_ADD"
        )


@pytest.mark.title("link, broken by a failure")
@pytest.mark.symbols("IOSQE_IO_LINK", "IORING_OP_OPENAT", "IORING_OP_WRITE", "IORING_OP_NOP")
def test_linked_requests_are_cancelled_behind_a_failure(ring: RingFactory, scratch: Path) -> None:
    """All that is linked behind a failure is cancelled, and does nothing; what is not linked runs."""
    io_uring = ring(8)
    with opened(scratch / "file", CREATE) as fd:
        _fails(io_uring, scratch)
        io_uring.write(SECOND, fd, b"unwanted", 0).link_next()
        io_uring.nop(THIRD)
        io_uring.nop(FOURTH)
        io_uring.submit()
        assert [
            completion(FIRST, -E.NOENT),
            completion(SECOND, -E.CANCELED),
            completion(THIRD, -E.CANCELED),
            completion(FOURTH, 0),
        ] == sorted(reap(io_uring, 4, "IORING_OP_WRITE linked behind IORING_OP_OPENAT that fails"))
        assert b"" == os.pread(fd, 9, 0)


@pytest.mark.title("link, broken by a short read")
@pytest.mark.symbols("IOSQE_IO_LINK", "IORING_OP_READ", "IORING_OP_WRITE")
def test_linked_request_is_cancelled_behind_a_short_read(ring: RingFactory, scratch: Path) -> None:
    """A read that gets less than was asked for is a success that breaks the link."""
    io_uring = ring(8)
    buffer = bytearray(8)
    with opened(scratch / "file", CREATE) as fd:
        os.write(fd, b"1234")
        io_uring.read(FIRST, fd, buffer, 0).link_next()
        io_uring.write(SECOND, fd, b"unwanted", 0)
        assert [completion(FIRST, 4), completion(SECOND, -E.CANCELED)] == sorted(
            complete(io_uring, 2, "IORING_OP_WRITE linked behind a short IORING_OP_READ")
        )
        assert b"1234" == os.pread(fd, 9, 0)
        assert b"1234\0\0\0\0" == buffer


@pytest.mark.title("hard link, behind a failure")
@pytest.mark.symbols("IOSQE_IO_HARDLINK", "IORING_OP_TIMEOUT_REMOVE", "IORING_OP_WRITE")
def test_hard_link_goes_on_behind_a_failure(ring: RingFactory, scratch: Path) -> None:
    """What is linked hard runs behind a failure, too."""
    io_uring = ring(8)
    with opened(scratch / "file", CREATE) as fd:
        io_uring.timeout_remove(FIRST, 0xDEAD, 0).flags |= IOSQE_IO_HARDLINK
        io_uring.write(SECOND, fd, b"wanted", 0)
        assert [completion(FIRST, -E.NOENT), completion(SECOND, 6)] == complete(
            io_uring, 2, "IORING_OP_WRITE hard-linked behind IORING_OP_TIMEOUT_REMOVE that fails"
        )
        assert b"wanted" == os.pread(fd, 9, 0)


@pytest.mark.title("hard link, behind a short read")
@pytest.mark.symbols("IOSQE_IO_HARDLINK", "IORING_OP_READ", "IORING_OP_WRITE")
def test_hard_link_goes_on_behind_a_short_read(ring: RingFactory, scratch: Path) -> None:
    """What is linked hard begins when the read is over, however much it got."""
    io_uring = ring(8)
    buffer = bytearray(8)
    with opened(scratch / "file", CREATE) as fd:
        os.write(fd, b"1234")
        io_uring.read(FIRST, fd, buffer, 0).flags |= IOSQE_IO_HARDLINK
        io_uring.write(SECOND, fd, b"wanted", 0)
        assert [completion(FIRST, 4), completion(SECOND, 6)] == complete(
            io_uring, 2, "IORING_OP_WRITE hard-linked behind a short IORING_OP_READ"
        )
        assert (b"wanted", b"1234\0\0\0\0") == (os.pread(fd, 9, 0), bytes(buffer))


@pytest.mark.title("link, cancelled")
@pytest.mark.symbols("IOSQE_IO_LINK", "IORING_OP_POLL_ADD", "IORING_OP_NOP", "IORING_OP_ASYNC_CANCEL")
def test_link_is_broken_by_a_cancellation(ring: RingFactory) -> None:
    """With a request that is cancelled, what is linked behind it is."""
    io_uring = ring(8)
    with pipe() as (reading, _):
        io_uring.poll_add(FIRST, reading, select.POLLIN).link_next()
        io_uring.nop(SECOND)
        io_uring.submit()
        assert [completion(FIRST, -E.CANCELED), completion(SECOND, -E.CANCELED), completion(THIRD, 0)] == settled(
            io_uring, lambda: io_uring.cancel(THIRD, FIRST, 0), 3, "IORING_OP_ASYNC_CANCEL of a link's first request"
        )


@pytest.mark.title("links, two of them")
@pytest.mark.symbols("IOSQE_IO_LINK", "IORING_OP_OPENAT", "IORING_OP_NOP")
def test_links_are_independent(ring: RingFactory, scratch: Path) -> None:
    """The failure of one link is none of another's that was submitted together with it."""
    io_uring = ring(8)
    _fails(io_uring, scratch)
    io_uring.nop(SECOND)
    io_uring.nop(THIRD).link_next()
    io_uring.nop(FOURTH)
    io_uring.submit()
    assert [
        completion(FIRST, -E.NOENT),
        completion(SECOND, -E.CANCELED),
        completion(THIRD, 0),
        completion(FOURTH, 0),
    ] == sorted(reap(io_uring, 4, "two links"))


@pytest.mark.title("link, ended by its submission")
@pytest.mark.symbols("IOSQE_IO_LINK", "IORING_OP_OPENAT", "IORING_OP_NOP")
def test_link_ends_with_its_submission(ring: RingFactory, scratch: Path) -> None:
    """A link that nothing follows in its submission runs, and has no part in what is submitted later."""
    io_uring = ring(8)
    _fails(io_uring, scratch)
    assert [completion(FIRST, -E.NOENT)] == complete(io_uring, 1, "IORING_OP_OPENAT at the end of a submission")
    io_uring.nop(SECOND)
    assert [completion(SECOND, 0)] == complete(io_uring, 1, "IORING_OP_NOP behind a link of an earlier submission")


@pytest.mark.title("drain, waits for all before it")
@pytest.mark.symbols("IOSQE_IO_DRAIN", "IORING_OP_POLL_ADD", "IORING_OP_NOP")
def test_drain_waits_for_all_before_it(ring: RingFactory) -> None:
    """A drained request begins when those submitted before it are over."""
    io_uring = ring(8)
    with pipe() as (reading, writing):
        io_uring.poll_add(FIRST, reading, select.POLLIN)
        io_uring.nop(SECOND).flags |= IOSQE_IO_DRAIN
        io_uring.submit()
        assert 0 == io_uring.cq_ready(), "a drained no-op did not wait for the poll before it"
        os.write(writing, b"x")
        assert [completion(FIRST, select.POLLIN), completion(SECOND, 0)] == reap(
            io_uring, 2, "IORING_OP_NOP with IOSQE_IO_DRAIN behind IORING_OP_POLL_ADD"
        )


@pytest.mark.title("drain, holds up all behind it")
@pytest.mark.symbols("IOSQE_IO_DRAIN", "IORING_OP_POLL_ADD", "IORING_OP_WRITE", "IORING_OP_NOP")
def test_drain_holds_up_all_behind_it(ring: RingFactory, scratch: Path) -> None:
    """While a drained poll waits, nothing behind it is done, though it was submitted later and by itself."""
    io_uring = ring(8)
    with pipe() as (first, waking), pipe() as (reading, writing), opened(scratch / "file", CREATE) as fd:
        io_uring.poll_add(FIRST, first, select.POLLIN)
        io_uring.poll_add(SECOND, reading, select.POLLIN).flags |= IOSQE_IO_DRAIN
        io_uring.submit()
        io_uring.write(THIRD, fd, b"early", 0)
        io_uring.submit()
        os.write(waking, b"x")
        assert [completion(FIRST, select.POLLIN)] == reap(io_uring, 1, "IORING_OP_POLL_ADD before a drained one")
        assert b"" == os.pread(fd, 9, 0)
        assert 0 == io_uring.cq_ready(), "a write behind a drained poll did not wait for it"
        os.write(writing, b"x")
        assert [completion(SECOND, select.POLLIN), completion(THIRD, 5)] == reap(
            io_uring, 2, "IORING_OP_WRITE behind a drained IORING_OP_POLL_ADD"
        )
        assert b"early" == os.pread(fd, 9, 0)
        expect_no_more(io_uring, "a request behind a drained one, for the second time,")


@pytest.mark.title("drain, sees what was written before it")
@pytest.mark.symbols("IOSQE_IO_DRAIN", "IOSQE_ASYNC", "IORING_OP_WRITE", "IORING_OP_READ")
def test_drain_sees_all_writes_before_it(ring: RingFactory, scratch: Path) -> None:
    """A drained read gets all that workers were told to write before it."""
    io_uring = ring(16)
    buffer = bytearray(8)
    with opened(scratch / "file", CREATE) as fd:
        for number in range(8):
            io_uring.write(number, fd, b"%d" % number, number).flags |= IOSQE_ASYNC
        io_uring.read(8, fd, buffer, 0).flags |= IOSQE_IO_DRAIN
        io_uring.submit()
        found = reap(io_uring, 9, "IORING_OP_READ with IOSQE_IO_DRAIN behind writes")
        assert [completion(number, 1) for number in range(8)] == sorted(found[:8])
        assert [completion(8, 8)] == found[8:]
        assert b"01234567" == buffer


@pytest.mark.title("drain, of a link")
@pytest.mark.symbols("IOSQE_IO_DRAIN", "IOSQE_IO_LINK", "IORING_OP_POLL_ADD", "IORING_OP_NOP")
def test_drain_within_a_link(ring: RingFactory) -> None:
    """A link one of whose requests is drained waits as a whole."""
    io_uring = ring(8)
    with pipe() as (reading, writing):
        io_uring.poll_add(FIRST, reading, select.POLLIN)
        io_uring.nop(SECOND).link_next()
        io_uring.nop(THIRD).flags |= IOSQE_IO_DRAIN
        io_uring.submit()
        assert 0 == io_uring.cq_ready(), "a link with a drained request did not wait for the poll before it"
        os.write(writing, b"x")
        assert [completion(FIRST, select.POLLIN), completion(SECOND, 0), completion(THIRD, 0)] == reap(
            io_uring, 3, "a link with IOSQE_IO_DRAIN behind IORING_OP_POLL_ADD"
        )
