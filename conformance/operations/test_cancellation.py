"""Cancellation: by each key, of each kind of request that waits, and where it comes too late."""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.operations.support import (
    DEADLINE_S,
    an_hour,
    complete,
    expect_no_more,
    is_cancelled,
    milliseconds,
    pipe,
    reap,
    settled,
)
from conformance.support import CREATE, completion, listening, opened, tcp_socket
from uring import (
    FUTEX2_PRIVATE,
    FUTEX2_SIZE_U32,
    FUTEX_BITSET_MATCH_ANY,
    IORING_ASYNC_CANCEL_ALL,
    IORING_ASYNC_CANCEL_ANY,
    IORING_ASYNC_CANCEL_FD,
    IORING_ASYNC_CANCEL_FD_FIXED,
    IORING_ASYNC_CANCEL_OP,
    IORING_ASYNC_CANCEL_USERDATA,
    IORING_OP,
    IORING_POLL_UPDATE_EVENTS,
    IOSQE_ASYNC,
    IOSQE_FIXED_FILE,
    E,
    IoUring,
)

pytestmark = pytest.mark.group("Cancellation")

FIRST, SECOND, THIRD, FOURTH, CANCEL, UPDATE = 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6
CANCELED = -E.CANCELED


def _poll(io_uring: IoUring, user_data: int, fd: int, flags: int = 0) -> None:
    """A poll that is known to wait: it could be told once more what to wait for."""
    io_uring.poll_add(user_data, fd, select.POLLIN).flags |= flags
    assert [completion(UPDATE, 0)] == settled(
        io_uring,
        lambda: io_uring.poll_update(UPDATE, user_data, 0, select.POLLIN, IORING_POLL_UPDATE_EVENTS),
        1,
        "IORING_OP_POLL_REMOVE with IORING_POLL_UPDATE_EVENTS",
    )


def _ends(io_uring: IoUring, user_data: int, writing: int) -> None:
    """The poll of that name was not cancelled: it ends when its pipe has something to read."""
    expect_no_more(io_uring, "a poll that nobody cancels")
    os.write(writing, b"x")
    assert [completion(user_data, select.POLLIN)] == reap(io_uring, 1, "IORING_OP_POLL_ADD that nobody cancelled")


# ---- by each key


@pytest.mark.title("cancel, by name")
@pytest.mark.symbols("IORING_OP_ASYNC_CANCEL", "IORING_OP_POLL_ADD", "IORING_OP_NOP")
def test_cancel_by_user_data(ring: RingFactory) -> None:
    """The request of that name is cancelled, and another one on the same file is not."""
    io_uring = ring(8)
    with pipe() as (reading, writing):
        io_uring.poll_add(FIRST, reading, select.POLLIN)
        io_uring.poll_add(SECOND, reading, select.POLLIN)
        io_uring.submit()
        assert [completion(SECOND, CANCELED), completion(CANCEL, 0)] == settled(
            io_uring, lambda: io_uring.cancel(CANCEL, SECOND, 0), 2, "IORING_OP_ASYNC_CANCEL"
        )
        _ends(io_uring, FIRST, writing)


@pytest.mark.title("cancel, nothing of that name")
@pytest.mark.symbols("IORING_OP_ASYNC_CANCEL", "IORING_OP_POLL_ADD", "IORING_OP_NOP")
def test_cancel_of_none(ring: RingFactory) -> None:
    """What is not there cannot be cancelled, and what is there goes on."""
    io_uring = ring(8)
    with pipe() as (reading, writing):
        io_uring.poll_add(FIRST, reading, select.POLLIN)
        io_uring.cancel(CANCEL, SECOND, 0)
        assert [completion(CANCEL, -E.NOENT)] == complete(io_uring, 1, "IORING_OP_ASYNC_CANCEL of nothing")
        _ends(io_uring, FIRST, writing)


@pytest.mark.title("cancel, over before it")
@pytest.mark.symbols("IORING_OP_ASYNC_CANCEL", "IORING_OP_NOP")
def test_cancel_of_what_is_over(ring: RingFactory) -> None:
    """A request that is complete is not there any more."""
    io_uring = ring(8)
    io_uring.nop(FIRST)
    assert [completion(FIRST, 0)] == complete(io_uring, 1, "IORING_OP_NOP")
    io_uring.cancel(CANCEL, FIRST, 0)
    assert [completion(CANCEL, -E.NOENT)] == complete(io_uring, 1, "IORING_OP_ASYNC_CANCEL of what is over")


_POLLS = ("IORING_OP_ASYNC_CANCEL", "IORING_OP_POLL_ADD", "IORING_OP_POLL_REMOVE", "IORING_POLL_UPDATE_EVENTS")


@pytest.mark.title("cancel, one of several of a name")
@pytest.mark.symbols(*_POLLS, "IORING_OP_NOP")
def test_cancel_takes_one_of_several(ring: RingFactory) -> None:
    """Of two requests of one name one is cancelled, and the other goes on."""
    io_uring = ring(8)
    with pipe() as (reading, writing):
        for _ in range(2):
            _poll(io_uring, FIRST, reading)
        io_uring.cancel(CANCEL, FIRST, 0)
        assert [completion(FIRST, CANCELED), completion(CANCEL, 0)] == sorted(
            complete(io_uring, 2, "IORING_OP_ASYNC_CANCEL of one of two")
        )
        _ends(io_uring, FIRST, writing)


@pytest.mark.title("cancel, all of a name")
@pytest.mark.symbols("IORING_ASYNC_CANCEL_ALL", *_POLLS, "IORING_OP_NOP")
def test_cancel_all_of_a_name(ring: RingFactory) -> None:
    """All requests of that name are cancelled, and counted; one of another name goes on."""
    io_uring = ring(8)
    with pipe() as (reading, writing):
        for _ in range(3):
            _poll(io_uring, FIRST, reading)
        _poll(io_uring, SECOND, reading)
        io_uring.cancel(CANCEL, FIRST, IORING_ASYNC_CANCEL_ALL)
        assert [*[completion(FIRST, CANCELED)] * 3, completion(CANCEL, 3)] == sorted(
            complete(io_uring, 4, "IORING_OP_ASYNC_CANCEL with IORING_ASYNC_CANCEL_ALL")
        )
        _ends(io_uring, SECOND, writing)


@pytest.mark.title("cancel, all of none")
@pytest.mark.symbols("IORING_ASYNC_CANCEL_ALL", "IORING_OP_ASYNC_CANCEL")
def test_cancel_all_of_none(ring: RingFactory) -> None:
    """Where all that match are counted, none of them is 0 and no error."""
    io_uring = ring(8)
    io_uring.cancel(CANCEL, FIRST, IORING_ASYNC_CANCEL_ALL)
    assert [completion(CANCEL, 0)] == complete(io_uring, 1, "IORING_OP_ASYNC_CANCEL with IORING_ASYNC_CANCEL_ALL")


@pytest.mark.title("cancel, by file")
@pytest.mark.symbols("IORING_ASYNC_CANCEL_FD", *_POLLS, "IORING_OP_NOP")
def test_cancel_by_file(ring: RingFactory) -> None:
    """One request of that file is cancelled, whatever its name; one of another file goes on."""
    io_uring = ring(8)
    with pipe() as (reading, _), pipe() as (other, writing):
        _poll(io_uring, FIRST, other)
        _poll(io_uring, SECOND, reading)
        io_uring.cancel_fd(CANCEL, reading, 0)
        assert [completion(SECOND, CANCELED), completion(CANCEL, 0)] == sorted(
            complete(io_uring, 2, "IORING_OP_ASYNC_CANCEL with IORING_ASYNC_CANCEL_FD")
        )
        _ends(io_uring, FIRST, writing)


@pytest.mark.title("cancel, all of a file")
@pytest.mark.symbols("IORING_ASYNC_CANCEL_FD", "IORING_ASYNC_CANCEL_ALL", *_POLLS, "IORING_OP_NOP")
def test_cancel_all_of_a_file(ring: RingFactory) -> None:
    """All requests of that file are cancelled, and counted; one of another file goes on."""
    io_uring = ring(8)
    with pipe() as (reading, _), pipe() as (other, writing):
        _poll(io_uring, FIRST, reading)
        _poll(io_uring, SECOND, reading)
        _poll(io_uring, THIRD, other)
        io_uring.cancel_fd(CANCEL, reading, IORING_ASYNC_CANCEL_ALL)
        assert [completion(FIRST, CANCELED), completion(SECOND, CANCELED), completion(CANCEL, 2)] == sorted(
            complete(io_uring, 3, "IORING_OP_ASYNC_CANCEL with IORING_ASYNC_CANCEL_FD and IORING_ASYNC_CANCEL_ALL")
        )
        _ends(io_uring, THIRD, writing)


@pytest.mark.title("cancel, by a file that is not open")
@pytest.mark.symbols("IORING_ASYNC_CANCEL_FD", "IORING_OP_ASYNC_CANCEL")
def test_cancel_by_a_file_that_is_not_open(ring: RingFactory) -> None:
    """A descriptor that is none names no file."""
    io_uring = ring(8)
    io_uring.cancel_fd(CANCEL, -1, 0)
    assert [completion(CANCEL, -E.BADF)] == complete(io_uring, 1, "IORING_OP_ASYNC_CANCEL of descriptor -1")


@pytest.mark.title("cancel, by registered file")
@pytest.mark.symbols(
    "IORING_ASYNC_CANCEL_FD_FIXED",
    "IORING_ASYNC_CANCEL_FD",
    *_POLLS,
    "IOSQE_FIXED_FILE",
    "IORING_REGISTER_FILES",
    "IORING_OP_NOP",
)
def test_cancel_by_registered_file(ring: RingFactory) -> None:
    """The file in that slot is the one whose request is cancelled."""
    io_uring = ring(8)
    with pipe() as (reading, _), pipe() as (other, writing):
        io_uring.register_files([other, reading])
        _poll(io_uring, FIRST, 0, IOSQE_FIXED_FILE)
        _poll(io_uring, SECOND, 1, IOSQE_FIXED_FILE)
        io_uring.cancel_fd(CANCEL, 1, IORING_ASYNC_CANCEL_FD_FIXED)
        assert [completion(SECOND, CANCELED), completion(CANCEL, 0)] == sorted(
            complete(io_uring, 2, "IORING_OP_ASYNC_CANCEL with IORING_ASYNC_CANCEL_FD_FIXED")
        )
        _ends(io_uring, FIRST, writing)


@pytest.mark.title("cancel, any")
@pytest.mark.symbols("IORING_ASYNC_CANCEL_ANY", *_POLLS, "IORING_OP_NOP")
def test_cancel_any(ring: RingFactory) -> None:
    """Every request of the ring is cancelled, and counted; those of another ring go on."""
    io_uring, other_ring = ring(8), ring(8)
    with pipe() as (reading, writing), pipe() as (other, _):
        _poll(other_ring, THIRD, reading)
        _poll(io_uring, FIRST, reading)
        _poll(io_uring, SECOND, other)
        io_uring.cancel(CANCEL, 0, IORING_ASYNC_CANCEL_ANY)
        assert [completion(FIRST, CANCELED), completion(SECOND, CANCELED), completion(CANCEL, 2)] == sorted(
            complete(io_uring, 3, "IORING_OP_ASYNC_CANCEL with IORING_ASYNC_CANCEL_ANY")
        )
        _ends(other_ring, THIRD, writing)


@pytest.mark.title("cancel, by name and file")
@pytest.mark.symbols("IORING_ASYNC_CANCEL_USERDATA", "IORING_ASYNC_CANCEL_FD", *_POLLS, "IORING_OP_NOP")
def test_cancel_by_user_data_and_file(ring: RingFactory) -> None:
    """Both keys have to match."""
    io_uring = ring(8)
    with pipe() as (reading, writing), pipe() as (other, writing_other):
        _poll(io_uring, FIRST, other)
        _poll(io_uring, FIRST, reading)
        _poll(io_uring, SECOND, reading)
        sqe = io_uring.cancel(CANCEL, FIRST, IORING_ASYNC_CANCEL_USERDATA | IORING_ASYNC_CANCEL_FD)
        sqe.fd = reading
        assert [completion(FIRST, CANCELED), completion(CANCEL, 0)] == sorted(
            complete(io_uring, 2, "IORING_OP_ASYNC_CANCEL with IORING_ASYNC_CANCEL_USERDATA")
        )
        _ends(io_uring, FIRST, writing_other)
        _ends(io_uring, SECOND, writing)


@pytest.mark.title("cancel, by operation")
@pytest.mark.symbols("IORING_ASYNC_CANCEL_OP", "IORING_ASYNC_CANCEL_ALL", *_POLLS, "IORING_OP_TIMEOUT", "IORING_OP_NOP")
def test_cancel_by_operation(ring: RingFactory) -> None:
    """All polls are cancelled, and a timeout is not."""
    io_uring = ring(8)
    with pipe() as (reading, _):
        _poll(io_uring, FIRST, reading)
        _poll(io_uring, SECOND, reading)
        io_uring.timeout(THIRD, an_hour(), 0, 0)
        io_uring.cancel(CANCEL, 0, IORING_ASYNC_CANCEL_OP | IORING_ASYNC_CANCEL_ALL).len = IORING_OP.POLL_ADD
        assert [completion(FIRST, CANCELED), completion(SECOND, CANCELED), completion(CANCEL, 2)] == sorted(
            complete(io_uring, 3, "IORING_OP_ASYNC_CANCEL with IORING_ASYNC_CANCEL_OP")
        )
        expect_no_more(io_uring, "a timeout where polls were cancelled")


# ---- of each kind of request


@pytest.mark.title("cancel, timeout")
@pytest.mark.symbols("IORING_OP_ASYNC_CANCEL", "IORING_OP_TIMEOUT")
def test_cancel_of_a_timeout(ring: RingFactory) -> None:
    """A timeout can be cancelled as other requests can."""
    io_uring = ring(8)
    io_uring.timeout(FIRST, an_hour(), 0, 0)
    is_cancelled(io_uring, FIRST, "TIMEOUT")


@pytest.mark.title("cancel, read of a pipe")
@pytest.mark.symbols("IORING_OP_ASYNC_CANCEL", "IORING_OP_READ")
def test_cancel_of_a_read(ring: RingFactory) -> None:
    """A read of an empty pipe ends, and takes nothing of what is written then."""
    io_uring = ring(8)
    buffer = bytearray(8)
    with pipe() as (reading, writing):
        io_uring.read(FIRST, reading, buffer, -1)
        is_cancelled(io_uring, FIRST, "READ")
        os.write(writing, b"later")
        assert (b"later", bytes(8)) == (os.read(reading, 9), bytes(buffer))


@pytest.mark.title("cancel, accept")
@pytest.mark.symbols("IORING_OP_ASYNC_CANCEL", "IORING_OP_ACCEPT")
def test_cancel_of_an_accept(ring: RingFactory, loopback: str) -> None:
    """An accept ends, and does not take who connects then."""
    io_uring = ring(8)
    with listening(loopback) as listener:
        io_uring.accept(FIRST, listener.fileno(), None, None, 0)
        is_cancelled(io_uring, FIRST, "ACCEPT")
        with tcp_socket() as client:
            client.connect(listener.getsockname())
            listener.settimeout(DEADLINE_S)
            accepted, address = listener.accept()
            accepted.close()
            assert client.getsockname() == address


@pytest.mark.title("cancel, recv")
@pytest.mark.symbols("IORING_OP_ASYNC_CANCEL", "IORING_OP_RECV")
def test_cancel_of_a_recv(ring: RingFactory) -> None:
    """A receive ends, and takes nothing of what is sent then."""
    io_uring = ring(8)
    buffer = bytearray(8)
    left, right = socket.socketpair()
    with left, right:
        io_uring.recv(FIRST, left.fileno(), buffer, 0)
        is_cancelled(io_uring, FIRST, "RECV")
        right.send(b"later")
        assert (b"later", bytes(8)) == (left.recv(9), bytes(buffer))


@pytest.mark.title("cancel, futex wait")
@pytest.mark.symbols("IORING_OP_ASYNC_CANCEL", "IORING_OP_FUTEX_WAIT", "IORING_OP_FUTEX_WAKE")
def test_cancel_of_a_futex_wait(ring: RingFactory) -> None:
    """A wait ends, and is not there any more when somebody wakes."""
    io_uring = ring(8)
    word = ctypes.c_uint32(7)
    kind = FUTEX2_SIZE_U32 | FUTEX2_PRIVATE
    io_uring.futex_wait(FIRST, word, 7, FUTEX_BITSET_MATCH_ANY, kind, 0)
    is_cancelled(io_uring, FIRST, "FUTEX_WAIT", (0, 1))
    io_uring.futex_wake(SECOND, word, 9, FUTEX_BITSET_MATCH_ANY, kind, 0)
    assert [completion(SECOND, 0)] == complete(io_uring, 1, "IORING_OP_FUTEX_WAKE")


@pytest.mark.title("cancel, wait for several futexes")
@pytest.mark.symbols("IORING_OP_ASYNC_CANCEL", "IORING_OP_FUTEX_WAITV", "IORING_OP_FUTEX_WAKE")
def test_cancel_of_a_futex_waitv(ring: RingFactory) -> None:
    """A wait for several ends at all of them."""
    io_uring = ring(8)
    words = (ctypes.c_uint32 * 2)(7, 8)
    kind = FUTEX2_SIZE_U32 | FUTEX2_PRIVATE
    start = ctypes.addressof(words)
    futexes = (uring.futex_waitv * 2)(uring.futex_waitv(7, start, kind), uring.futex_waitv(8, start + 4, kind))
    io_uring.futex_waitv(FIRST, futexes, 0)
    is_cancelled(io_uring, FIRST, "FUTEX_WAITV", (0, 1))
    for address in (start, start + 4):
        io_uring.futex_wake(SECOND, address, 9, FUTEX_BITSET_MATCH_ANY, kind, 0)
        assert [completion(SECOND, 0)] == complete(io_uring, 1, "IORING_OP_FUTEX_WAKE")


# ---- of what a worker has


@contextmanager
def _frozen(directory: Path) -> Iterator[Callable[[], None]]:
    """A filesystem that holds up all who write to it, until it is told to go on or the block ends."""
    if not os.path.ismount(directory):
        pytest.skip("only a guest's test has a filesystem of its own, which it may freeze")
    freeze, thaw = 0xC004_5877, 0xC004_5878
    with opened(directory) as fd:
        is_frozen = True

        def go_on() -> None:
            nonlocal is_frozen
            if is_frozen:
                is_frozen = False
                fcntl.ioctl(fd, thaw, 0)

        fcntl.ioctl(fd, freeze, 0)
        try:
            yield go_on
        finally:
            go_on()


def _running_write(io_uring: IoUring, fd: int) -> None:
    """A write of four bytes, named FIRST, that a worker has begun with and cannot end: a cancellation says so."""
    until_s = time.monotonic() + DEADLINE_S
    while True:
        io_uring.write(FIRST, fd, b"runs", 0).flags |= IOSQE_ASYNC
        io_uring.timeout(SECOND, milliseconds(1), 0, 0)
        assert [completion(SECOND, -E.TIME)] == complete(io_uring, 1, "IORING_OP_TIMEOUT beside a held write")
        what = "IORING_OP_ASYNC_CANCEL of a write that a worker has"
        found = settled(io_uring, lambda: io_uring.cancel(CANCEL, FIRST, 0), 1, what)
        if found == [completion(CANCEL, -E.ALREADY)]:
            return
        # No worker had begun with it.
        assert completion(CANCEL, 0) in found, what
        found += reap(io_uring, 2 - len(found), "IORING_OP_WRITE that was cancelled")
        assert [completion(FIRST, CANCELED), completion(CANCEL, 0)] == sorted(found)
        assert time.monotonic() < until_s, "no worker begins with a write"


@pytest.mark.title("cancel, too late")
@pytest.mark.symbols("IORING_OP_ASYNC_CANCEL", "IORING_OP_WRITE", "IOSQE_ASYNC", "IORING_OP_TIMEOUT")
def test_cancel_of_what_runs(ring: RingFactory, scratch_ext4: Path) -> None:
    """A write that has begun and cannot be interrupted is not cancelled, but done, and the cancellation says so."""
    io_uring = ring(8)
    with opened(scratch_ext4 / "file", CREATE) as fd, _frozen(scratch_ext4) as go_on:
        _running_write(io_uring, fd)
        go_on()
        assert [completion(FIRST, 4)] == reap(io_uring, 1, "IORING_OP_WRITE that was held up")
        assert b"runs" == os.pread(fd, 9, 0)


@pytest.mark.title("cancel, waiting for a worker")
@pytest.mark.symbols("IORING_OP_ASYNC_CANCEL", "IORING_OP_WRITE", "IOSQE_ASYNC", "IORING_OP_TIMEOUT")
def test_cancel_of_what_waits_for_a_worker(ring: RingFactory, scratch_ext4: Path) -> None:
    """A write that waits for another one of the same file is cancelled, and never done."""
    io_uring = ring(8)
    with opened(scratch_ext4 / "file", CREATE) as fd, _frozen(scratch_ext4) as go_on:
        _running_write(io_uring, fd)
        io_uring.write(THIRD, fd, b"unwanted", 4).flags |= IOSQE_ASYNC
        io_uring.submit()
        assert [completion(THIRD, CANCELED), completion(CANCEL, 0)] == settled(
            io_uring, lambda: io_uring.cancel(CANCEL, THIRD, 0), 2, "IORING_OP_ASYNC_CANCEL of a second write"
        )
        go_on()
        assert [completion(FIRST, 4)] == reap(io_uring, 1, "IORING_OP_WRITE that was held up")
        assert b"runs" == os.pread(fd, 99, 0)


# ---- in a call that waits


def _sync(flags: int = 0, *, addr: int = 0, fd: int = -1, opcode: int = 0) -> uring.io_uring_sync_cancel_reg:
    limit = uring.kernel_timespec(DEADLINE_S, 0)
    return uring.io_uring_sync_cancel_reg(addr=addr, fd=fd, flags=flags, opcode=opcode, timeout=limit)


@pytest.mark.title("cancel and wait, by name")
@pytest.mark.symbols("IORING_REGISTER_SYNC_CANCEL", *_POLLS[1:], "IORING_OP_NOP")
def test_sync_cancel_by_user_data(ring: RingFactory) -> None:
    """The request of that name is cancelled when the call returns, and another one goes on."""
    io_uring = ring(8)
    with pipe() as (reading, writing):
        _poll(io_uring, FIRST, reading)
        _poll(io_uring, SECOND, reading)
        assert 0 == io_uring.register_sync_cancel(_sync(addr=SECOND))
        assert [completion(SECOND, CANCELED)] == reap(io_uring, 1, "IORING_REGISTER_SYNC_CANCEL of a poll")
        _ends(io_uring, FIRST, writing)


@pytest.mark.title("cancel and wait, all of a name")
@pytest.mark.symbols("IORING_REGISTER_SYNC_CANCEL", "IORING_ASYNC_CANCEL_ALL", *_POLLS[1:], "IORING_OP_NOP")
def test_sync_cancel_all(ring: RingFactory) -> None:
    """All requests of that name are cancelled."""
    io_uring = ring(8)
    with pipe() as (reading, writing):
        _poll(io_uring, FIRST, reading)
        _poll(io_uring, SECOND, reading)
        _poll(io_uring, SECOND, reading)
        io_uring.register_sync_cancel(_sync(IORING_ASYNC_CANCEL_ALL, addr=SECOND))
        assert [completion(SECOND, CANCELED)] * 2 == reap(io_uring, 2, "IORING_REGISTER_SYNC_CANCEL of two polls")
        _ends(io_uring, FIRST, writing)


@pytest.mark.title("cancel and wait, by file")
@pytest.mark.symbols(
    "IORING_REGISTER_SYNC_CANCEL", "IORING_ASYNC_CANCEL_FD", "IORING_ASYNC_CANCEL_ALL", *_POLLS[1:], "IORING_OP_NOP"
)
def test_sync_cancel_by_file(ring: RingFactory) -> None:
    """The requests of that file are cancelled, and one of another file goes on."""
    io_uring = ring(8)
    with pipe() as (reading, _), pipe() as (other, writing):
        _poll(io_uring, FIRST, other)
        _poll(io_uring, SECOND, reading)
        _poll(io_uring, THIRD, reading)
        io_uring.register_sync_cancel(_sync(IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL, fd=reading))
        assert [completion(SECOND, CANCELED), completion(THIRD, CANCELED)] == sorted(
            reap(io_uring, 2, "IORING_REGISTER_SYNC_CANCEL of a pipe")
        )
        _ends(io_uring, FIRST, writing)


@pytest.mark.title("cancel and wait, by registered file")
@pytest.mark.symbols(
    "IORING_REGISTER_SYNC_CANCEL",
    "IORING_ASYNC_CANCEL_FD_FIXED",
    "IORING_ASYNC_CANCEL_FD",
    *_POLLS[1:],
    "IOSQE_FIXED_FILE",
    "IORING_REGISTER_FILES",
    "IORING_OP_NOP",
)
def test_sync_cancel_by_registered_file(ring: RingFactory) -> None:
    """The file in that slot is the one whose request is cancelled."""
    io_uring = ring(8)
    with pipe() as (reading, _), pipe() as (other, writing):
        io_uring.register_files([other, reading])
        _poll(io_uring, FIRST, 0, IOSQE_FIXED_FILE)
        _poll(io_uring, SECOND, 1, IOSQE_FIXED_FILE)
        io_uring.register_sync_cancel(_sync(IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_FD_FIXED, fd=1))
        assert [completion(SECOND, CANCELED)] == reap(io_uring, 1, "IORING_REGISTER_SYNC_CANCEL of slot 1")
        _ends(io_uring, FIRST, writing)


@pytest.mark.title("cancel and wait, any")
@pytest.mark.symbols("IORING_REGISTER_SYNC_CANCEL", "IORING_ASYNC_CANCEL_ANY", *_POLLS[1:])
def test_sync_cancel_any(ring: RingFactory) -> None:
    """Every request of the ring is cancelled."""
    io_uring = ring(8)
    with pipe() as (reading, _), pipe() as (other, _):
        _poll(io_uring, FIRST, reading)
        _poll(io_uring, SECOND, other)
        io_uring.register_sync_cancel(_sync(IORING_ASYNC_CANCEL_ANY))
        assert [completion(FIRST, CANCELED), completion(SECOND, CANCELED)] == sorted(
            reap(io_uring, 2, "IORING_REGISTER_SYNC_CANCEL of everything")
        )


@pytest.mark.title("cancel and wait, by operation")
@pytest.mark.symbols(
    "IORING_REGISTER_SYNC_CANCEL", "IORING_ASYNC_CANCEL_OP", *_POLLS[1:], "IORING_OP_TIMEOUT", "IORING_OP_NOP"
)
def test_sync_cancel_by_operation(ring: RingFactory) -> None:
    """A poll is cancelled, and a timeout is not."""
    io_uring = ring(8)
    with pipe() as (reading, _):
        io_uring.timeout(FIRST, an_hour(), 0, 0)
        _poll(io_uring, SECOND, reading)
        io_uring.register_sync_cancel(_sync(IORING_ASYNC_CANCEL_OP, opcode=IORING_OP.POLL_ADD))
        assert [completion(SECOND, CANCELED)] == reap(io_uring, 1, "IORING_REGISTER_SYNC_CANCEL of polls")
        expect_no_more(io_uring, "a timeout where polls were cancelled")


@pytest.mark.title("cancel and wait, nothing of that name")
@pytest.mark.symbols("IORING_REGISTER_SYNC_CANCEL", *_POLLS[1:], "IORING_OP_NOP")
def test_sync_cancel_of_none(ring: RingFactory) -> None:
    """What is not there cannot be cancelled, and what is there goes on."""
    io_uring = ring(8)
    with pipe() as (reading, writing):
        _poll(io_uring, FIRST, reading)
        with pytest.raises(uring.RequestNotFound):
            io_uring.register_sync_cancel(_sync(addr=SECOND))
        _ends(io_uring, FIRST, writing)
