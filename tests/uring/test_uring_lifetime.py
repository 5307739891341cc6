"""Memory lives until the kernel is done with it: every reference dropped, freed memory used for something else."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import socket
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import uring
from uring import lifetime

MakeRing = Callable[..., uring.IoUring]
Pair = tuple[socket.socket, socket.socket]
SIZE = 4096


class Buffer(bytearray):
    """A buffer whose death can be seen."""


def poison(size_bytes: int = SIZE) -> list[bytearray]:
    """Use memory of that size that was freed: it is given out again, filled with something else."""
    gc.collect()
    return [bytearray(b"\xee" * size_bytes) for _ in range(200)]


def is_alive(reference: weakref.ref[Any]) -> bool:
    gc.collect()
    return reference() is not None


def pins(ring: uring.IoUring) -> int:
    """Requests' memory held by the ring."""
    return sum(len(held) for held in ring._in_flight.pins.values())


def test_read_buffer_survives_its_last_reference(ring: uring.IoUring, pair: Pair) -> None:
    """A receive answered long after the caller forgot its buffer writes into that buffer, not into a stranger's."""
    first, second = pair
    buffer = Buffer(SIZE)
    seen = weakref.ref(buffer)
    ring.recv(1, first.fileno(), buffer, 0)
    del buffer
    ring.submit()
    strangers = poison()
    second.sendall(b"\x11" * SIZE)
    ring.submit_and_wait(1)
    held = seen()
    assert held is not None
    assert held == b"\x11" * SIZE
    assert all(stranger == b"\xee" * SIZE for stranger in strangers)
    del held
    assert is_alive(seen), "unreaped completion: the request counts as being in flight"
    assert ring.copy_cqe().res == SIZE
    assert not is_alive(seen)


def test_written_bytes_survive_their_last_reference(ring: uring.IoUring, tmp_path: Path) -> None:
    """A write that starts late still writes what it was given."""
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    ring.timeout(1, uring.kernel_timespec(0, 20_000_000), 0, uring.IORING_TIMEOUT_ETIME_SUCCESS).link_next()
    ring.write(2, fd, bytes([7]) * SIZE, 0).link_next()
    ring.writev(3, fd, [bytes([8]) * SIZE, bytearray([9]) * SIZE], SIZE)
    ring.submit()
    poison()
    assert [ring.copy_cqe()[:2] for _ in range(3)] == [(1, -62), (2, SIZE), (3, 2 * SIZE)]
    assert bytes([7]) * SIZE + bytes([8]) * SIZE + bytes([9]) * SIZE == os.pread(fd, 4 * SIZE, 0)
    os.close(fd)
    assert pins(ring) == 0


def test_paths_and_structures_survive(ring: uring.IoUring, tmp_path: Path) -> None:
    """Paths, time specifications, results and messages that exist only in the call."""
    (tmp_path / ("a" * 200)).touch()
    ring.timeout(1, uring.kernel_timespec(0, 10_000_000), 0, uring.IORING_TIMEOUT_ETIME_SUCCESS).link_next()
    ring.renameat(2, -100, tmp_path / ("a" * 200), -100, os.fsencode(tmp_path / ("b" * 200)), 0).link_next()
    ring.statx(3, -100, str(tmp_path / ("b" * 200)), 0, 0x7FF, uring.Statx())
    ring.submit()
    poison(56 + 200)
    assert [ring.copy_cqe()[:2] for _ in range(3)] == [(1, -62), (2, 0), (3, 0)]
    assert (tmp_path / ("b" * 200)).exists()


def test_message_keeps_all_of_its_parts(ring: uring.IoUring, pair: Pair) -> None:
    """A msghdr holds name, buffers and array; the request holds the msghdr."""
    first, second = pair
    buffers = [Buffer(4), Buffer(4)]
    seen = [weakref.ref(buffer) for buffer in buffers]
    ring.recvmsg(1, first.fileno(), uring.msghdr(iov=buffers), 0)
    del buffers
    ring.submit()
    poison(4)
    second.send(b"abcdefgh")
    ring.submit_and_wait(1)
    assert [reference() for reference in seen] == [b"abcd", b"efgh"]
    assert ring.copy_cqe().res == 8
    assert not any(is_alive(reference) for reference in seen)


def test_buffer_in_flight_cannot_be_resized(ring: uring.IoUring, pair: Pair) -> None:
    """A bytearray or mmap in use refuses to move, and is free again afterwards."""
    first, second = pair
    buffer = bytearray(8)
    with mmap.mmap(-1, SIZE) as area:
        ring.recv(1, first.fileno(), buffer, 0)
        ring.recv(2, second.fileno(), area, 0)
        ring.submit()
        with pytest.raises(BufferError):
            buffer.extend(b"x" * 10_000)
        with pytest.raises(BufferError):
            area.close()
        second.send(b"12345678")
        assert ring.copy_cqe().user_data == 1
        first.send(b"mapped")
        assert ring.copy_cqe().user_data == 2
        buffer.extend(b"x" * 10_000)
        assert area[:6] == b"mapped"


@pytest.mark.parametrize(
    "make",
    [
        lambda: bytearray(b"....."),
        lambda: memoryview(bytearray(b"..........."))[3:8],
        ctypes.c_char * 5,
        ctypes.c_uint8 * 5,
        lambda: __import__("array").array("b", b"....."),
        lambda: uring.iovec(bytearray(b".....")),
        lambda: mmap.mmap(-1, 5),
    ],
    ids=["bytearray", "memoryview", "c_char array", "c_uint8 array", "array", "iovec", "mmap"],
)
def test_every_kind_of_buffer(ring: uring.IoUring, pair: Pair, make: Callable[[], Any]) -> None:
    """Whatever has the buffer protocol can be received into and sent from."""
    first, second = pair
    first.send(b"hello")
    target = make()
    ring.recv(1, second.fileno(), target, 0)
    ring.submit()
    assert ring.copy_cqe().res == 5
    ring.send(2, second.fileno(), target, 0)
    ring.submit()
    assert ring.copy_cqe().res == 5
    assert first.recv(100) == b"hello"


def test_memory_that_must_not_change_is_refused(ring: uring.IoUring) -> None:
    """Reading into immutable memory is a usage error, in every way of saying it; nothing is queued."""
    frozen = b"frozen"
    for call in (
        lambda: ring.read(1, 0, frozen, 0),
        lambda: ring.read(1, 0, [frozen], 0),
        lambda: ring.read(1, 0, memoryview(frozen), 0),
        lambda: ring.read(1, 0, uring.iovec(frozen), 0),
        lambda: ring.recv(1, 0, frozen, 0),
        lambda: ring.read_fixed(1, 0, frozen, 0, 0),
        lambda: ring.getsockopt(1, 0, 1, 2, frozen),
        lambda: ring.statx(1, 0, "x", 0, 0, bytes(256)),
        lambda: ring.accept(1, 0, bytes(16), bytes(4), 0),
        lambda: ring.register_buffers([frozen]),
        lambda: ring.provide_buffers(1, frozen, 1, 1, 1, 1),
    ):
        with pytest.raises(uring.BufferNotWritable):
            call()
    with pytest.raises(uring.BufferNotContiguous, match="stride"):
        ring.write(1, 1, memoryview(b"abcdef")[::2], 0)
    with pytest.raises(TypeError):
        ring.write(1, 1, "text", 0)  # type: ignore[arg-type]
    with pytest.raises(uring.UsageError, match="NUL"):
        ring.openat(1, -100, "a\0b", 0, 0)
    assert ring.sq_ready() == 0


def test_user_data_changed_after_the_call(ring: uring.IoUring, pair: Pair) -> None:
    """What counts is the name the kernel was given."""
    first, second = pair
    buffer = Buffer(4)
    seen = weakref.ref(buffer)
    sqe = ring.recv(1, first.fileno(), buffer, 0)
    del buffer
    sqe.user_data = 77
    ring.nop(1)
    ring.submit()
    assert ring.copy_cqe().user_data == 1
    assert is_alive(seen)
    second.send(b"late")
    assert ring.copy_cqe().user_data == 77
    assert not is_alive(seen)


@pytest.mark.parametrize("is_submitted_apart", [False, True])
@pytest.mark.parametrize("is_reaped_late", [False, True])
@pytest.mark.parametrize("flags", [0, uring.IORING_SETUP_SQPOLL], ids=["", "sqpoll"])
def test_same_user_data_as_no_ops(
    make_ring: MakeRing, pair: Pair, flags: int, is_submitted_apart: bool, is_reaped_late: bool
) -> None:
    """Completions of no-ops with the same name, from before or after, do not end a request in flight."""
    ring = make_ring(16, flags)
    first, second = pair
    ring.nop(5)
    ring.nop(5)
    if is_submitted_apart:
        ring.submit()
    else:
        ring.flush_sq()
    if not is_reaped_late and is_submitted_apart:
        assert ring.copy_cqe().user_data == 5
    buffer = Buffer(4)
    seen = weakref.ref(buffer)
    ring.recv(5, first.fileno(), buffer, 0)
    del buffer
    ring.submit()
    ring.nop(5)
    ring.submit()
    for _ in range(3 - (not is_reaped_late and is_submitted_apart)):
        assert uring.io_uring_cqe(5, 0, 0) == ring.copy_cqe()
        assert is_alive(seen)
    second.send(b"late")
    assert ring.copy_cqe().res == 4
    assert not is_alive(seen)
    assert ring._in_flight.counts == {}
    assert ring._in_flight.unnoticed == 0


def test_same_user_data_as_other_requests(ring: uring.IoUring, pair: Pair) -> None:
    """Of two requests that cannot be told apart, neither's memory goes before both are over."""
    first, second = pair
    buffers = [Buffer(4), Buffer(4)]
    seen = [weakref.ref(buffer) for buffer in buffers]
    ring.poll_add(0, second.fileno(), 1)
    ring.submit()
    for buffer in buffers:
        ring.recv(0, first.fileno(), buffer, 0)
    del buffer, buffers
    ring.submit()
    first.send(b"wake the poll")
    assert ring.copy_cqe().res == 1
    second.send(b"1111")
    assert ring.copy_cqe().res == 4
    assert all(is_alive(reference) for reference in seen)
    second.send(b"2222")
    assert ring.copy_cqe().res == 4
    assert not any(is_alive(reference) for reference in seen)


def test_poll_renamed_to_a_request_in_flight(ring: uring.IoUring, pair: Pair) -> None:
    """POLL_UPDATE_USER_DATA gives a poll the name of a request in flight: the poll's end is not the request's."""
    first, second = pair
    third, fourth = socket.socketpair()
    with third, fourth:
        buffer = Buffer(4)
        seen = weakref.ref(buffer)
        ring.poll_add(1, third.fileno(), 1)
        ring.recv(2, first.fileno(), buffer, 0)
        del buffer
        ring.submit()
        ring.poll_update(3, 1, 2, 0, uring.IORING_POLL_UPDATE_USER_DATA)
        ring.submit()
        if ring.copy_cqe()[:2] != (3, 0):
            pytest.skip("this kernel cannot rename a poll")
        fourth.send(b"x")
        assert ring.copy_cqe()[:2] == (2, 1)
        assert is_alive(seen)
        second.send(b"late")
        assert ring.copy_cqe()[:2] == (2, 4)
        assert not is_alive(seen)


def test_silent_success_keeps_memory_until_forgotten(ring: uring.IoUring, tmp_path: Path) -> None:
    """IOSQE_CQE_SKIP_SUCCESS: nobody says when it is over, so it is held; the caller may know better."""
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    buffer = Buffer(b"data")
    seen = weakref.ref(buffer)
    ring.write(1, fd, buffer, 0).set_flags(uring.IOSQE_CQE_SKIP_SUCCESS)
    for _ in range(5):
        ring.submit()
        ring.write(1, fd, buffer, 0).set_flags(uring.IOSQE_CQE_SKIP_SUCCESS)
    del buffer
    ring.fsync(2, fd, 0).set_flags(0)
    ring.submit()
    assert ring.copy_cqe()[:2] == (2, 0)
    assert is_alive(seen)
    assert pins(ring) == 1, "one buffer used again and again is held once"
    ring.forget(1)
    assert not is_alive(seen)
    os.close(fd)


def test_silent_request_that_fails(ring: uring.IoUring) -> None:
    """A failure is announced and ends the request like any other."""
    buffer = Buffer(b"data")
    seen = weakref.ref(buffer)
    ring.write(1, -1, buffer, 0).set_flags(uring.IOSQE_CQE_SKIP_SUCCESS)
    del buffer
    ring.submit()
    assert ring.copy_cqe().err() == uring.E.BADF
    assert not is_alive(seen)


def test_multishot_request_keeps_its_memory_until_the_last_completion(ring: uring.IoUring) -> None:
    """Completions with IORING_CQE_F_MORE are not the end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = bytearray(uring.sockaddr_in())
        room = Buffer(address)
        seen = weakref.ref(room)
        ring.accept_multishot(1, listener.fileno(), room, ctypes.c_uint32(16), 0)
        del room
        ring.submit()
        for _ in range(3):
            with socket.create_connection(listener.getsockname()):
                cqe = ring.copy_cqe()
                if cqe.err() == uring.E.INVAL:
                    pytest.skip("this kernel has no multishot accept")
                assert cqe.flags & uring.IORING_CQE_F_MORE == uring.IORING_CQE_F_MORE
                os.close(cqe.res)
                assert is_alive(seen)
        ring.cancel(2, 1, 0)
        ring.submit()
        assert {1, 2} == {ring.copy_cqe().user_data, ring.copy_cqe().user_data}
        assert not is_alive(seen)


def test_zero_copy_send_keeps_its_memory_until_the_notification(ring: uring.IoUring, tcp_pair: Pair) -> None:
    """The result is not the end; the notification is."""
    client, server = tcp_pair
    data = Buffer(b"z" * SIZE)
    seen = weakref.ref(data)
    ring.send_zc(1, client.fileno(), data, 0, 0)
    del data
    ring.submit()
    result = ring.copy_cqe()
    if result.err() == uring.E.INVAL:
        pytest.skip("this kernel has no zero-copy send")
    assert result.flags & uring.IORING_CQE_F_MORE == uring.IORING_CQE_F_MORE
    assert is_alive(seen)
    poison()
    received = b""
    while len(received) < SIZE:
        received += server.recv(SIZE)
    assert received == b"z" * SIZE
    notification = ring.copy_cqe()
    assert notification.flags & (uring.IORING_CQE_F_NOTIF | uring.IORING_CQE_F_MORE) == uring.IORING_CQE_F_NOTIF
    assert not is_alive(seen)


@pytest.mark.parametrize("is_array", [False, True])
def test_bulk_reaping_lets_memory_go(ring: uring.IoUring, is_array: bool) -> None:
    """copy_cqes keeps the same books as copy_cqe, into a list and into an array."""
    seen = []
    for user_data in range(6):
        buffer = Buffer(b"x")
        seen.append(weakref.ref(buffer))
        ring.write(user_data, -1, buffer, 0)
    del buffer
    ring.submit()
    cqes: Any = uring.CqeArray(8) if is_array else [None] * 8
    assert ring.copy_cqes(cqes, 6) == 6
    assert not any(is_alive(reference) for reference in seen)


def test_entry_filled_in_twice_holds_only_the_last(ring: uring.IoUring) -> None:
    """A second `prep_*` replaces what the first one held."""
    sqe = ring.get_sqe()
    old = Buffer(b"old")
    seen = weakref.ref(old)
    sqe.prep_write(1, old, 0)
    del old
    assert is_alive(seen)
    sqe.prep_write(1, b"new", 0)
    assert not is_alive(seen)


def test_keeping_alive_can_be_switched_off(make_ring: MakeRing) -> None:
    """For speed: then the entry holds the memory only until it is filled in again."""
    ring = make_ring(1, keep_alive=False)
    buffer = bytearray(b"x")
    for user_data in range(3):
        ring.write(user_data, -1, buffer, 0)
        ring.submit()
        assert ring.copy_cqe().err() == uring.E.BADF
    assert (ring._in_flight.counts, ring._in_flight.pins, ring._in_flight.unnoticed) == ({}, {}, 0)


def test_no_ops_cost_no_bookkeeping(ring: uring.IoUring) -> None:
    """Plain no-ops are only counted in bulk."""
    for _ in range(3):
        for user_data in range(8):
            ring.nop(user_data)
        ring.submit()
        assert ring._in_flight.counts == {}
        assert ring._in_flight.unnoticed == 8
        ring.copy_cqes([None] * 8, 8)
        assert ring._in_flight.unnoticed == 0


def test_no_ops_beside_other_requests_are_told_apart(ring: uring.IoUring, pair: Pair) -> None:
    """With a request in flight no-ops are booked one by one: any order of completions comes out right."""
    first, second = pair
    ring.recv(5, first.fileno(), bytearray(4), 0)
    ring.submit()
    second.send(b"early")
    ring.nop(6)
    ring.submit()
    assert {ring.copy_cqe().user_data, ring.copy_cqe().user_data} == {5, 6}
    assert ({}, 0, 0) == (ring._in_flight.counts, pins(ring), ring._in_flight.unnoticed)


def test_with_a_poller_every_no_op_is_booked(make_ring: MakeRing) -> None:
    """A kernel thread takes entries in its own time; nothing is assumed about no-ops then."""
    ring = make_ring(4, uring.IORING_SETUP_SQPOLL)
    ring.nop(7)
    ring.submit()
    assert ring._in_flight.counts == {7: 1}
    ring.copy_cqe()
    assert ring._in_flight.counts == {}


def test_registered_buffers_live_until_unregistered(ring: uring.IoUring) -> None:
    """The kernel has their pages."""
    buffer = Buffer(SIZE)
    seen = weakref.ref(buffer)
    ring.register_buffers([buffer])
    del buffer
    assert is_alive(seen)
    ring.unregister_buffers()
    assert not is_alive(seen)


def test_registered_buffers_live_until_the_ring_is_closed(make_ring: MakeRing) -> None:
    """Closing unregisters."""
    ring = make_ring(1)
    buffer = Buffer(SIZE)
    seen = weakref.ref(buffer)
    ring.register_buffers([buffer])
    del buffer
    ring.deinit()
    assert not is_alive(seen)


def test_provided_buffers_outlive_the_request_that_provided_them(make_ring: MakeRing, pair: Pair) -> None:
    """After PROVIDE_BUFFERS is complete the memory is the kernel's to write to."""
    ring = make_ring(8)
    first, second = pair
    memory = Buffer(4 * 16)
    seen = weakref.ref(memory)
    ring.provide_buffers(1, memory, 16, 4, 9, 0)
    del memory
    ring.submit()
    assert ring.copy_cqe().res >= 0
    assert is_alive(seen)
    second.send(b"chosen")
    ring.recv(2, first.fileno(), uring.BufferSelection(9, 16), 0)
    ring.submit()
    cqe = ring.copy_cqe()
    held = seen()
    assert held is not None
    assert held[16 * cqe.buffer_id() :][: cqe.res] == b"chosen"
    del held
    ring.deinit()
    assert not is_alive(seen)


def test_dropped_group_keeps_its_memory_while_the_ring_lives(make_ring: MakeRing, pair: Pair) -> None:
    """A BufferGroup that nobody refers to is still the kernel's."""
    ring = make_ring(8)
    first, second = pair
    try:
        group = uring.BufferGroup(ring, 3, 64, 2)
    except uring.ArgumentsInvalid as error:
        pytest.skip(str(error))
    group.recv(1, first.fileno(), 0)
    ring.submit()
    br = group.br
    del group
    strangers = poison(128)
    second.send(b"\x22" * 64)
    assert ring.copy_cqe().res == 64
    assert all(stranger == b"\xee" * 128 for stranger in strangers)
    assert br.address
    ring.deinit()
    assert lifetime.buffer_rings.get(ring.fd, {}) == {}


def test_freed_group_keeps_memory_of_a_receive_in_flight(make_ring: MakeRing, pair: Pair) -> None:
    """deinit of a group while a receive that selects from it is in flight: the buffers outlive the receive."""
    ring = make_ring(8)
    first, second = pair
    try:
        group = uring.BufferGroup(ring, 3, 64, 2)
    except uring.ArgumentsInvalid as error:
        pytest.skip(str(error))
    group.recv(1, first.fileno(), 0)
    ring.submit()
    group.deinit()
    assert pins(ring) == 1
    del group
    strangers = poison(128)
    second.send(b"\x22" * 64)
    ring.copy_cqe()
    assert all(stranger == b"\xee" * 128 for stranger in strangers)
    assert pins(ring) == 0


def test_closing_ends_requests_in_flight_and_frees_their_memory(make_ring: MakeRing, pair: Pair) -> None:
    """deinit cancels, so that nothing has to be abandoned."""
    ring = make_ring(8)
    if not ring.get_probe().is_supported(uring.IORING_OP.SEND_ZC):
        pytest.skip("REGISTER_SYNC_CANCEL came with Linux 6.0, as SEND_ZC did")
    first, second = pair
    buffer = Buffer(SIZE)
    seen = weakref.ref(buffer)
    before = lifetime.abandoned_count
    ring.recv(1, first.fileno(), buffer, 0)
    ring.timeout(2, uring.kernel_timespec(60, 0), 0, 0)
    del buffer
    ring.submit()
    ring.deinit()
    assert not is_alive(seen)
    assert before == lifetime.abandoned_count
    second.send(b"nobody is listening")


def test_memory_the_kernel_may_still_use_is_abandoned_not_freed(make_ring: MakeRing, pair: Pair) -> None:
    """Closed from another thread under SINGLE_ISSUER nothing can be cancelled: the memory is given up for good."""
    ring = make_ring(8, uring.IORING_SETUP_SINGLE_ISSUER | uring.IORING_SETUP_DEFER_TASKRUN)
    first, _second = pair
    buffer = Buffer(SIZE)
    seen = weakref.ref(buffer)
    before = lifetime.abandoned_count
    ring.recv(1, first.fileno(), buffer, 0)
    del buffer
    ring.submit()
    thread = threading.Thread(target=ring.deinit)
    thread.start()
    thread.join()
    assert ring.fd == -1
    assert is_alive(seen)
    assert before + 1 == lifetime.abandoned_count


def test_dropping_a_ring_abandons_what_is_in_flight(make_ring: MakeRing, pair: Pair) -> None:
    """A finalizer does not wait; it closes, and gives the memory up."""
    make_ring(1)
    first, _second = pair
    ring = uring.IoUring(4)
    buffer = Buffer(SIZE)
    seen = weakref.ref(buffer)
    ring.recv(1, first.fileno(), buffer, 0)
    del buffer
    ring.submit()
    with pytest.warns(ResourceWarning, match="unclosed io_uring"):
        del ring
    assert is_alive(seen)


def test_queued_but_never_submitted_memory_is_freed(make_ring: MakeRing) -> None:
    """What the kernel never saw is simply let go."""
    ring = make_ring(4)
    buffer = Buffer(SIZE)
    seen = weakref.ref(buffer)
    ring.write(1, 1, buffer, 0)
    del buffer
    assert is_alive(seen)
    ring.deinit()
    assert not is_alive(seen)
