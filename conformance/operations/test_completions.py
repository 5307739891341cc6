"""Completions: silent ones, more than there is room for, large ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.modes import RingMode
from conformance.operations.support import complete, eventually, expect_no_more, reap
from conformance.support import CREATE, completion, opened
from uring import (
    IORING_CQE_F_32,
    IORING_CQE_F_SKIP,
    IORING_FEAT_NODROP,
    IORING_NOP_CQE32,
    IORING_SETUP_CQE32,
    IORING_SETUP_CQE_MIXED,
    IORING_SETUP_CQSIZE,
    IORING_SQ_CQ_OVERFLOW,
    IOSQE_CQE_SKIP_SUCCESS,
    IOSQE_IO_LINK,
    E,
    IoUring,
)

pytestmark = pytest.mark.group("Completions")

FIRST, SECOND, THIRD = 0xD1, 0xD2, 0xD3


@pytest.mark.title("silent success")
@pytest.mark.symbols("IOSQE_CQE_SKIP_SUCCESS", "IORING_OP_WRITE", "IOSQE_IO_LINK", "IORING_OP_NOP")
def test_silent_success_of_a_write(ring: RingFactory, scratch: Path) -> None:
    """A write that succeeds is done and not told of; what is linked behind it runs, and is."""
    io_uring = ring(8)
    with opened(scratch / "file", CREATE) as fd:
        io_uring.write(FIRST, fd, b"silent", 0).flags |= IOSQE_CQE_SKIP_SUCCESS | IOSQE_IO_LINK
        io_uring.nop(SECOND)
        assert [completion(SECOND, 0)] == complete(io_uring, 1, "IORING_OP_NOP behind IORING_OP_WRITE")
        assert b"silent" == os.pread(fd, 9, 0)
        expect_no_more(io_uring, "a write whose success is silent")


@pytest.mark.title("silent success, failure")
@pytest.mark.symbols("IOSQE_CQE_SKIP_SUCCESS", "IORING_OP_TIMEOUT_REMOVE")
def test_failure_where_success_is_silent(ring: RingFactory) -> None:
    """A failure is told of."""
    io_uring = ring(8)
    io_uring.timeout_remove(FIRST, 0xDEAD, 0).flags |= IOSQE_CQE_SKIP_SUCCESS
    assert [completion(FIRST, -E.NOENT)] == complete(io_uring, 1, "IORING_OP_TIMEOUT_REMOVE that fails")


@pytest.mark.title("silent success, cancelled link")
@pytest.mark.symbols(
    "IOSQE_CQE_SKIP_SUCCESS", "IOSQE_IO_LINK", "IORING_OP_TIMEOUT_REMOVE", "IORING_OP_WRITE", "IORING_OP_NOP"
)
def test_link_behind_a_failure_where_success_is_silent(ring: RingFactory, scratch: Path) -> None:
    """The failure is the last that is told of its link: what it cancels is cancelled silently."""
    io_uring = ring(8)
    with opened(scratch / "file", CREATE) as fd:
        io_uring.timeout_remove(FIRST, 0xDEAD, 0).flags |= IOSQE_CQE_SKIP_SUCCESS | IOSQE_IO_LINK
        io_uring.write(SECOND, fd, b"unwanted", 0)
        assert [completion(FIRST, -E.NOENT)] == complete(io_uring, 1, "IORING_OP_TIMEOUT_REMOVE that fails")
        expect_no_more(io_uring, "a write that was cancelled by a failure whose success were silent")
        assert b"" == os.pread(fd, 9, 0)


def _overflow(ring: RingFactory) -> IoUring:
    """A ring in which 32 no-ops are complete, of which 16 found room."""
    io_uring = ring(16, IORING_SETUP_CQSIZE, cq_entries=16)
    assert io_uring.features & IORING_FEAT_NODROP
    for first in (0, 16):
        for number in range(first, first + 16):
            io_uring.nop(number)
        io_uring.submit()
        eventually(lambda: 0 == io_uring.sq_ready(), "the submission queue is empty")
    eventually(lambda: io_uring.sq.flags & IORING_SQ_CQ_OVERFLOW, "IORING_SQ_CQ_OVERFLOW is set")
    return io_uring


@pytest.mark.title("overflow, nothing is lost")
@pytest.mark.symbols("IORING_SQ_CQ_OVERFLOW", "IORING_FEAT_NODROP", "IORING_SETUP_CQSIZE", "IORING_OP_NOP")
def test_overflow_loses_nothing(ring: RingFactory, mode: RingMode) -> None:
    """Completions that find no room are kept, in their order, and the ring says so while there are some."""
    io_uring = _overflow(ring)
    assert 16 == io_uring.cq_ready()
    found = reap(io_uring, 32, "IORING_OP_NOP of which half found no room")
    if mode.id == "async":
        found.sort()
    assert [completion(number, 0) for number in range(32)] == found
    assert 0 == io_uring.sq.flags & IORING_SQ_CQ_OVERFLOW
    assert 0 == io_uring.cq.overflow, "completions that were dropped"
    expect_no_more(io_uring, "a no-op that found no room, for the second time,")


@pytest.mark.title("overflow, submitting meanwhile")
@pytest.mark.symbols("IORING_SQ_CQ_OVERFLOW", "IORING_FEAT_NODROP", "IORING_SETUP_CQSIZE", "IORING_OP_NOP")
def test_submission_while_completions_find_no_room(ring: RingFactory) -> None:
    """What is submitted then is taken, or refused with EBUSY and taken later; each completes once."""
    io_uring = _overflow(ring)
    io_uring.nop(32)
    try:
        io_uring.submit()
    except uring.CompletionQueueOvercommitted:
        assert 1 == io_uring.sq_ready()
        found = reap(io_uring, 32, "IORING_OP_NOP of which half found no room")
        io_uring.submit()
    else:
        found = []
    found += reap(io_uring, 33 - len(found), "IORING_OP_NOP of which more than half found no room")
    assert [completion(number, 0) for number in range(33)] == sorted(found)
    expect_no_more(io_uring, "a no-op that found no room, for the second time,")


@pytest.mark.title("large completions")
@pytest.mark.symbols("IORING_SETUP_CQE32", "IORING_NOP_CQE32", "IORING_OP_NOP")
@pytest.mark.needs("setup-cqe-mixed")
def test_large_completions(ring: RingFactory) -> None:
    """Completions of 32 bytes have two words more, which are zero where a request has nothing to say in them."""
    io_uring = ring(8, IORING_SETUP_CQE32)
    _nop_with_words(io_uring, FIRST, 0x0123_4567_89AB_CDEF, 0xFEDC_BA98_7654_3210)
    [cqe] = complete(io_uring, 1, "IORING_OP_NOP with IORING_NOP_CQE32")
    assert ((FIRST, 0), (0x0123_4567_89AB_CDEF, 0xFEDC_BA98_7654_3210)) == (cqe[:2], cqe.big_cqe)
    io_uring.nop(SECOND)
    [cqe] = complete(io_uring, 1, "IORING_OP_NOP")
    assert ((SECOND, 0), (0, 0)) == (cqe[:2], cqe.big_cqe)


@pytest.mark.title("completions of two sizes")
@pytest.mark.symbols("IORING_SETUP_CQE_MIXED", "IORING_NOP_CQE32", "IORING_OP_NOP", "IORING_CQE_F_32")
def test_completions_of_two_sizes(ring: RingFactory) -> None:
    """In a mixed queue a completion says whether it is large, and one is never torn at the queue's end."""
    io_uring = ring(4, IORING_SETUP_CQE_MIXED)
    for number in range(20):
        io_uring.nop(FIRST)
        _nop_with_words(io_uring, SECOND, number, ~number & 0xFFFF_FFFF_FFFF_FFFF)
        io_uring.submit()
        small, large = sorted(reap(io_uring, 2, "IORING_OP_NOP in a mixed queue"))
        assert (completion(FIRST, 0), ()) == (small, small.big_cqe)
        assert (SECOND, 0, IORING_CQE_F_32) == large[:3]
        assert (number, ~number & 0xFFFF_FFFF_FFFF_FFFF) == large.big_cqe


@pytest.mark.title("completions of two sizes, filler")
@pytest.mark.symbols(
    "IORING_CQE_F_SKIP", "IORING_CQE_F_32", "IORING_SETUP_CQE_MIXED", "IORING_NOP_CQE32", "IORING_OP_NOP"
)
def test_last_place_of_a_mixed_queue_is_filled(ring: RingFactory) -> None:
    """Where one place is left at the queue's end, a large completion begins behind it, and the place says so."""
    io_uring = ring(4, IORING_SETUP_CQE_MIXED)
    places = len(io_uring.cq.cqes)
    for _ in range(places - 1):
        io_uring.nop(FIRST)
        assert [completion(FIRST, 0)] == complete(io_uring, 1, "IORING_OP_NOP in a mixed queue")
    _nop_with_words(io_uring, SECOND, 1, 2)
    [large] = complete(io_uring, 1, "IORING_OP_NOP with IORING_NOP_CQE32")
    assert (SECOND, 0, IORING_CQE_F_32, 1, 2) == tuple(large)
    assert IORING_CQE_F_SKIP == io_uring.cq.cqes[places - 1].flags
    assert 1 + places + 1 == io_uring.cq.head


def _nop_with_words(io_uring: IoUring, user_data: int, first: int, second: int) -> None:
    """A no-op whose completion is large and has these words."""
    sqe = io_uring.nop(user_data)
    sqe.rw_flags, sqe.off, sqe.addr = IORING_NOP_CQE32, first, second
