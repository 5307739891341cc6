"""Futexes: who is woken, and why one does not wait at all."""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import time

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.modes import RingMode
from conformance.operations.support import DEADLINE_S, complete, expect_no_more, reap
from conformance.support import completion
from uring import (
    FUTEX2_PRIVATE,
    FUTEX2_SIZE_U8,
    FUTEX2_SIZE_U16,
    FUTEX2_SIZE_U32,
    FUTEX2_SIZE_U64,
    FUTEX_BITSET_MATCH_ANY,
    E,
    IoUring,
)

pytestmark = pytest.mark.group("Futexes")

WAIT, WAKE = 0xF1, 0xF9
PRIVATE = FUTEX2_SIZE_U32 | FUTEX2_PRIVATE
ANY = FUTEX_BITSET_MATCH_ANY
#: More than there are waiters.
ALL = 99
_SYS_FUTEX = {"x86_64": 202, "aarch64": 98, "riscv64": 98}
_FUTEX_WAIT_PRIVATE, _FUTEX_WAKE_PRIVATE = 128, 129


def _wake(
    io_uring: IoUring, futex: ctypes.c_uint32 | int, count: int, *, mask: int = ANY, kind: int = PRIVATE
) -> list[uring.io_uring_cqe]:
    """Wake up to that many, and wait until the kernel says how many there were.

    Returns:
        The completions of those who were woken, if there were any.
    """
    __tracebackhide__ = True
    until_s = time.monotonic() + DEADLINE_S
    woken: list[uring.io_uring_cqe] = []
    while True:
        io_uring.futex_wake(WAKE, futex, count, mask, kind, 0)
        io_uring.submit()
        while WAKE not in (cqe.user_data for cqe in woken):
            woken += reap(io_uring, 1, "IORING_OP_FUTEX_WAKE")
        answer = next(cqe for cqe in woken if cqe.user_data == WAKE)
        woken.remove(answer)
        # A waiter that a worker or the kernel's thread has may be on its way still.
        if answer.res != 0 or time.monotonic() > until_s:
            break
    assert 1 <= answer.res <= count, "IORING_OP_FUTEX_WAKE"
    return sorted(woken + reap(io_uring, answer.res - len(woken), "IORING_OP_FUTEX_WAIT of who was woken"))


def _wakes_none(io_uring: IoUring, futex: ctypes.c_uint32 | int, *, mask: int = ANY, kind: int = PRIVATE) -> None:
    __tracebackhide__ = True
    io_uring.futex_wake(WAKE, futex, ALL, mask, kind, 0)
    assert [completion(WAKE, 0)] == complete(io_uring, 1, "IORING_OP_FUTEX_WAKE of nobody")


@pytest.mark.title("futex, wait and wake")
@pytest.mark.symbols("IORING_OP_FUTEX_WAIT", "IORING_OP_FUTEX_WAKE", "IORING_OP_NOP")
def test_futex_wait_and_wake(ring: RingFactory) -> None:
    """A wait lasts until somebody wakes, whatever has become of the word meanwhile."""
    io_uring = ring(8)
    word = ctypes.c_uint32(7)
    io_uring.futex_wait(WAIT, word, 7, ANY, PRIVATE, 0)
    io_uring.submit()
    expect_no_more(io_uring, "a futex wait that nobody woke")
    assert [completion(WAIT, 0)] == _wake(io_uring, word, 1)


@pytest.mark.title("futex, another value")
@pytest.mark.symbols("IORING_OP_FUTEX_WAIT")
def test_futex_wait_for_another_value(ring: RingFactory) -> None:
    """Where the word is not what is expected, there is nothing to wait for."""
    io_uring = ring(8)
    word = ctypes.c_uint32(7)
    io_uring.futex_wait(WAIT, word, 8, ANY, PRIVATE, 0)
    assert [completion(WAIT, -E.AGAIN)] == complete(io_uring, 1, "IORING_OP_FUTEX_WAIT for another value")


@pytest.mark.title("futex, woken from outside")
@pytest.mark.symbols("IORING_OP_FUTEX_WAIT")
def test_futex_wait_is_woken_by_the_system_call(ring: RingFactory) -> None:
    """A futex(2) of this process wakes who waits in the ring."""
    io_uring = ring(8)
    word = ctypes.c_uint32(7)
    io_uring.futex_wait(WAIT, word, 7, ANY, PRIVATE, 0)
    io_uring.submit()
    until_s = time.monotonic() + DEADLINE_S
    while not (woken := _futex(word, _FUTEX_WAKE_PRIVATE, ALL)) and time.monotonic() < until_s:
        pass
    assert 1 == woken
    assert [completion(WAIT, 0)] == reap(io_uring, 1, "IORING_OP_FUTEX_WAIT woken by futex(2)")


@pytest.mark.title("futex, wakes a thread")
@pytest.mark.symbols("IORING_OP_FUTEX_WAKE")
def test_futex_wake_of_a_thread(ring: RingFactory) -> None:
    """A wake in the ring ends the futex(2) of a thread that waits."""
    io_uring = ring(8)
    word = ctypes.c_uint32(7)
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(_futex(word, _FUTEX_WAIT_PRIVATE, 7)))
    thread.start()
    try:
        assert [] == _woken_threads(io_uring, word)
    finally:
        # Whatever the ring did, the thread ends: it is woken, or finds another value.
        word.value = 0
        while thread.is_alive():
            _futex(word, _FUTEX_WAKE_PRIVATE, ALL)
            thread.join(0.001)
    assert [0] == results


def _woken_threads(io_uring: IoUring, word: ctypes.c_uint32) -> list[uring.io_uring_cqe]:
    """Wake until there is one to wake; threads that are woken have no completion."""
    until_s = time.monotonic() + DEADLINE_S
    while True:
        io_uring.futex_wake(WAKE, word, 1, ANY, PRIVATE, 0)
        [cqe] = complete(io_uring, 1, "IORING_OP_FUTEX_WAKE of a thread")
        if cqe == completion(WAKE, 1):
            return []
        assert completion(WAKE, 0) == cqe
        assert time.monotonic() < until_s, "IORING_OP_FUTEX_WAKE wakes no thread"


def _futex(word: ctypes.c_uint32, operation: int, value: int) -> int:
    """futex(2) without a time limit; other threads run meanwhile."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = ctypes.c_long(_SYS_FUTEX[os.uname().machine])
    result: int = libc.syscall(number, ctypes.byref(word), operation, value, None, None, 0)
    return result if result >= 0 else -ctypes.get_errno()


@pytest.mark.title("futex, wakes so many")
@pytest.mark.symbols("IORING_OP_FUTEX_WAKE", "IORING_OP_FUTEX_WAIT", "IORING_OP_NOP")
def test_futex_wake_of_some(ring: RingFactory, mode: RingMode) -> None:
    """Of three who wait two are woken where two are asked for, the last one by the next."""
    io_uring = ring(8)
    word = ctypes.c_uint32(7)
    for number in range(3):
        io_uring.futex_wait(number, word, 7, ANY, PRIVATE, 0)
    io_uring.submit()
    woken = _wake(io_uring, word, 2)
    if mode.id == "async":
        # Workers may not have begun with all of them.
        while len(woken) < 2:
            woken += _wake(io_uring, word, 2 - len(woken))
    assert 2 == len(woken)
    expect_no_more(io_uring, "a third wait where two were woken")
    woken += _wake(io_uring, word, ALL)
    assert [completion(number, 0) for number in range(3)] == sorted(woken)


@pytest.mark.title("futex, nobody waits")
@pytest.mark.symbols("IORING_OP_FUTEX_WAKE")
def test_futex_wake_of_nobody(ring: RingFactory) -> None:
    """Waking where nobody waits is no error."""
    _wakes_none(ring(8), ctypes.c_uint32(7))


@pytest.mark.title("futex, by mask")
@pytest.mark.symbols("IORING_OP_FUTEX_WAIT", "IORING_OP_FUTEX_WAKE", "IORING_OP_NOP")
def test_futex_wake_by_mask(ring: RingFactory) -> None:
    """Who has no bit in common with the wake goes on waiting."""
    io_uring = ring(8)
    word = ctypes.c_uint32(7)
    io_uring.futex_wait(WAIT, word, 7, 0b0011, PRIVATE, 0)
    io_uring.futex_wait(WAIT + 1, word, 7, 0b0110, PRIVATE, 0)
    io_uring.submit()
    _wakes_none(io_uring, word, mask=0b1000)
    assert [completion(WAIT + 1, 0)] == _wake(io_uring, word, ALL, mask=0b1100)
    expect_no_more(io_uring, "a futex wait whose mask was not woken")
    assert [completion(WAIT, 0)] == _wake(io_uring, word, ALL, mask=0b0001)


@pytest.mark.title("futex, no mask")
@pytest.mark.symbols("IORING_OP_FUTEX_WAIT", "IORING_OP_FUTEX_WAKE")
def test_futex_without_a_mask_is_refused(ring: RingFactory) -> None:
    """A mask without a bit would wait for ever, and wake nobody."""
    io_uring = ring(8)
    word = ctypes.c_uint32(7)
    io_uring.futex_wait(WAIT, word, 7, 0, PRIVATE, 0)
    assert [completion(WAIT, -E.INVAL)] == complete(io_uring, 1, "IORING_OP_FUTEX_WAIT without a mask")
    io_uring.futex_wake(WAKE, word, 1, 0, PRIVATE, 0)
    assert [completion(WAKE, -E.INVAL)] == complete(io_uring, 1, "IORING_OP_FUTEX_WAKE without a mask")


@pytest.mark.title("futex, other sizes")
@pytest.mark.symbols("IORING_OP_FUTEX_WAIT")
def test_futex_of_another_size_is_refused(ring: RingFactory) -> None:
    """Futexes have 32 bits; the names of other sizes are there, and refused."""
    io_uring = ring(8)
    word = ctypes.c_uint64(7)
    for size in (FUTEX2_SIZE_U8, FUTEX2_SIZE_U16, FUTEX2_SIZE_U64):
        io_uring.futex_wait(WAIT, word, 8, ANY, FUTEX2_PRIVATE | size, 0)
        assert [completion(WAIT, -E.INVAL)] == complete(io_uring, 1, f"IORING_OP_FUTEX_WAIT of size {size}")


def _shared() -> tuple[ctypes.c_uint32, ctypes.c_uint32]:
    """One word of shared memory at two addresses, which is 7; who has the words has the memory."""
    fd = os.memfd_create("futex")
    try:
        os.truncate(fd, mmap.PAGESIZE)
        here, there = (ctypes.c_uint32.from_buffer(mmap.mmap(fd, mmap.PAGESIZE)) for _ in range(2))
    finally:
        os.close(fd)
    here.value = 7
    return here, there


@pytest.mark.title("futex, shared")
@pytest.mark.symbols("IORING_OP_FUTEX_WAIT", "IORING_OP_FUTEX_WAKE")
def test_futex_in_shared_memory(ring: RingFactory) -> None:
    """The word counts, and not its address: other processes have others."""
    io_uring = ring(8)
    here, there = _shared()
    io_uring.futex_wait(WAIT, here, 7, ANY, FUTEX2_SIZE_U32, 0)
    io_uring.submit()
    assert [completion(WAIT, 0)] == _wake(io_uring, there, ALL, kind=FUTEX2_SIZE_U32)


@pytest.mark.title("futex, private")
@pytest.mark.symbols("IORING_OP_FUTEX_WAIT", "IORING_OP_FUTEX_WAKE", "IORING_OP_NOP")
def test_futex_that_is_private(ring: RingFactory) -> None:
    """A private futex is an address of this process: the same word at another one is another futex."""
    io_uring = ring(8)
    here, there = _shared()
    io_uring.futex_wait(WAIT, here, 7, ANY, PRIVATE, 0)
    io_uring.submit()
    _wakes_none(io_uring, there)
    expect_no_more(io_uring, "a private futex woken at another address")
    assert [completion(WAIT, 0)] == _wake(io_uring, here, ALL)


def _several(words: ctypes.Array[ctypes.c_uint32], *expected: int) -> ctypes.Array[uring.futex_waitv]:
    """What is waited for in each word."""
    start = ctypes.addressof(words)
    waits = [uring.futex_waitv(value, start + 4 * number, PRIVATE) for number, value in enumerate(expected)]
    return (uring.futex_waitv * len(waits))(*waits)


@pytest.mark.title("futexes, one of several")
@pytest.mark.symbols("IORING_OP_FUTEX_WAITV", "IORING_OP_FUTEX_WAKE", "IORING_OP_NOP")
def test_futex_waitv_tells_which(ring: RingFactory) -> None:
    """Who waits for three is woken at one of them, told which, and waits at none any more."""
    io_uring = ring(8)
    words = (ctypes.c_uint32 * 3)(5, 6, 7)
    for index in (2, 0, 1):
        io_uring.futex_waitv(WAIT, _several(words, 5, 6, 7), 0)
        io_uring.submit()
        expect_no_more(io_uring, "a wait for three futexes that nobody woke")
        assert [completion(WAIT, index)] == _wake(io_uring, ctypes.addressof(words) + 4 * index, ALL)
        for number in range(3):
            _wakes_none(io_uring, ctypes.addressof(words) + 4 * number)


@pytest.mark.title("futexes, another value")
@pytest.mark.symbols("IORING_OP_FUTEX_WAITV", "IORING_OP_FUTEX_WAKE")
def test_futex_waitv_for_another_value(ring: RingFactory) -> None:
    """Where one of the words is not what is expected, there is nothing to wait for, at any of them."""
    io_uring = ring(8)
    words = (ctypes.c_uint32 * 3)(5, 6, 7)
    io_uring.futex_waitv(WAIT, _several(words, 5, 6, 8), 0)
    assert [completion(WAIT, -E.AGAIN)] == complete(io_uring, 1, "IORING_OP_FUTEX_WAITV for another value")
    for number in range(3):
        _wakes_none(io_uring, ctypes.addressof(words) + 4 * number)


@pytest.mark.title("futexes, none or too many")
@pytest.mark.symbols("IORING_OP_FUTEX_WAITV")
def test_futex_waitv_of_too_many_is_refused(ring: RingFactory) -> None:
    """There can be 1 to 128 of them."""
    io_uring = ring(8)
    words = (ctypes.c_uint32 * 129)()
    for count, result in ((0, -E.INVAL), (129, -E.INVAL), (128, -E.AGAIN)):
        io_uring.futex_waitv(WAIT, _several(words, *[1] * count), 0)
        assert [completion(WAIT, result)] == complete(io_uring, 1, f"IORING_OP_FUTEX_WAITV of {count}")
