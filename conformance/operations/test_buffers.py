"""Buffers that the kernel picks: provided one by one or in a ring, taken back, used up, filled part by part."""

from __future__ import annotations

import errno
import os
import socket

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.operations.provided import add, buffer_ring, picked
from conformance.operations.support import expect_no_more, finish, pipe
from conformance.support import completion

pytestmark = pytest.mark.group("Provided buffers")

_SIZE = 8
_GROUP = 3
_BUFFER = uring.IORING_CQE_F_BUFFER


def _provide(io_uring: uring.IoUring, memory: bytearray, first: int, group: int = _GROUP) -> None:
    """Hand all of the memory over as buffers of 8 bytes, numbered from `first` on."""
    io_uring.provide_buffers(0xF0, memory, _SIZE, len(memory) // _SIZE, group, first)
    cqe = finish(io_uring, "IORING_OP_PROVIDE_BUFFERS")
    assert completion(0xF0, 0) == cqe


def _read(io_uring: uring.IoUring, fd: int, size_bytes: int = _SIZE, group: int = _GROUP) -> uring.io_uring_cqe:
    """Read from a pipe into a buffer of the group."""
    io_uring.read(0xF1, fd, uring.BufferSelection(group, size_bytes), -1)
    cqe = finish(io_uring, "IORING_OP_READ into a buffer that the kernel picks")
    assert 0xF1 == cqe.user_data
    assert (_BUFFER if cqe.res >= 0 else 0) == cqe.flags & 0xFFFF
    return cqe


_USED_UP = completion(0xF1, -errno.ENOBUFS)


# ---- one by one


@pytest.mark.title("provided buffers, numbers and memory")
@pytest.mark.symbols("IORING_OP_PROVIDE_BUFFERS", "IORING_OP_READ", "IOSQE_BUFFER_SELECT", "IORING_CQE_F_BUFFER")
def test_provided_buffers(ring: RingFactory) -> None:
    """Each buffer is used once, and has what was read in the place that its number stands for."""
    io_uring = ring(1)
    memory = bytearray(b"." * _SIZE * 3)
    texts = [b"first...", b"second..", b"third..."]
    _provide(io_uring, memory, 7)
    with pipe(b"".join(texts)) as (source, _sink):
        numbers = []
        for text in texts:
            cqe = _read(io_uring, source)
            assert _SIZE == cqe.res
            number = cqe.buffer_id()
            numbers.append(number)
            assert text == memory[(number - 7) * _SIZE :][:_SIZE]
        assert [7, 8, 9] == sorted(numbers)
        assert sorted(texts) == sorted(memory[at : at + _SIZE] for at in range(0, len(memory), _SIZE))
        os.write(_sink, b"x")
        assert _USED_UP == _read(io_uring, source)


@pytest.mark.title("provided buffers, no more than asked for, and no more than fits")
@pytest.mark.symbols("IORING_OP_PROVIDE_BUFFERS", "IORING_OP_READ", "IOSQE_BUFFER_SELECT", "IORING_CQE_F_BUFFER")
def test_lengths(ring: RingFactory) -> None:
    """The read's length is a limit, and the buffer's length is another."""
    io_uring = ring(1)
    memory = bytearray(b"." * _SIZE * 2)
    _provide(io_uring, memory, 0)
    with pipe(b"0123456789abcdef") as (source, _sink):
        for size_bytes, text in ((3, b"012....."), (100, b"3456789a")):
            cqe = _read(io_uring, source, size_bytes)
            assert min(size_bytes, _SIZE) == cqe.res
            assert text == memory[cqe.buffer_id() * _SIZE :][:_SIZE]


@pytest.mark.title("provided buffers, groups apart")
@pytest.mark.symbols("IORING_OP_PROVIDE_BUFFERS", "IORING_OP_READ", "IOSQE_BUFFER_SELECT", "IORING_CQE_F_BUFFER")
def test_groups(ring: RingFactory) -> None:
    """A read takes from the group that it names; another group's buffers do not help it."""
    io_uring = ring(1)
    memory = bytearray(_SIZE * 2)
    _provide(io_uring, memory, 20, group=1)
    with pipe(b"0123456789abcdef") as (source, _sink):
        assert _USED_UP == _read(io_uring, source, group=2)
        for _ in range(2):
            assert _SIZE == _read(io_uring, source, group=1).res
        assert b"0123456789abcdef" == b"".join(sorted((memory[:_SIZE], memory[_SIZE:])))


@pytest.mark.title("provided buffers, used up and provided again")
@pytest.mark.symbols("IORING_OP_PROVIDE_BUFFERS", "IORING_OP_READ", "IOSQE_BUFFER_SELECT", "IORING_CQE_F_BUFFER")
def test_used_up(ring: RingFactory) -> None:
    """Without a buffer a read fails and takes no data; with one that is provided again it goes on there."""
    io_uring = ring(1)
    memory = bytearray(_SIZE)
    _provide(io_uring, memory, 0)
    with pipe(b"01234567abcdefgh") as (source, _sink):
        assert _SIZE == _read(io_uring, source).res
        for _ in range(2):
            assert _USED_UP == _read(io_uring, source)
        _provide(io_uring, memory, 5)
        cqe = _read(io_uring, source)
        assert (_SIZE, 5) == (cqe.res, picked(cqe))
        assert b"abcdefgh" == memory


@pytest.mark.title("provided buffers, taken back and counted")
@pytest.mark.symbols("IORING_OP_REMOVE_BUFFERS", "IORING_OP_PROVIDE_BUFFERS", "IORING_OP_READ", "IOSQE_BUFFER_SELECT")
def test_removed_buffers_are_counted(ring: RingFactory) -> None:
    """The result is how many were removed: as many as asked for, then as many as are left, then none is there."""
    io_uring = ring(1)
    _provide(io_uring, bytearray(_SIZE * 5), 0)
    for asked, removed in ((2, 2), (1, 1), (9, 2)):
        io_uring.remove_buffers(0xF2, asked, _GROUP)
        assert completion(0xF2, removed) == finish(io_uring, "IORING_OP_REMOVE_BUFFERS")
    with pipe(b"x") as (source, _sink):
        assert _USED_UP == _read(io_uring, source)


@pytest.mark.title("provided buffers, taken back and not used")
@pytest.mark.symbols(
    "IORING_OP_REMOVE_BUFFERS",
    "IORING_OP_PROVIDE_BUFFERS",
    "IORING_OP_READ",
    "IOSQE_BUFFER_SELECT",
    "IORING_CQE_F_BUFFER",
)
def test_removed_buffers_are_not_used(ring: RingFactory) -> None:
    """Of four buffers two are removed: two reads find the other two, and the memory of the removed stays as it is."""
    io_uring = ring(1)
    memory = bytearray(b"." * _SIZE * 4)
    _provide(io_uring, memory, 0)
    io_uring.remove_buffers(0xF3, 2, _GROUP)
    assert completion(0xF3, 2) == finish(io_uring, "IORING_OP_REMOVE_BUFFERS")
    with pipe(b"x" * _SIZE * 3) as (source, _sink):
        numbers = set()
        for _ in range(2):
            cqe = _read(io_uring, source)
            assert _SIZE == cqe.res
            numbers.add(cqe.buffer_id())
        assert 2 == len(numbers)
        assert _USED_UP == _read(io_uring, source)
    for number in range(4):
        used = b"x" if number in numbers else b"."
        assert used * _SIZE == memory[number * _SIZE :][:_SIZE]


@pytest.mark.title("provided buffers, a group that is not there")
@pytest.mark.symbols("IORING_OP_REMOVE_BUFFERS")
def test_remove_from_no_group(ring: RingFactory) -> None:
    """There is nothing to remove."""
    io_uring = ring(1)
    io_uring.remove_buffers(0xF4, 1, _GROUP)
    assert completion(0xF4, -errno.ENOENT) == finish(io_uring, "IORING_OP_REMOVE_BUFFERS")


# ---- in a ring


_RING_SYMBOLS = (
    "IORING_REGISTER_PBUF_RING",
    "IORING_OP_READ",
    "IOSQE_BUFFER_SELECT",
    "IORING_CQE_F_BUFFER",
    "IORING_UNREGISTER_PBUF_RING",
)


@pytest.mark.title("buffer ring, in order, round and round")
@pytest.mark.symbols(*_RING_SYMBOLS)
def test_ring_order(ring: RingFactory) -> None:
    """Buffers are taken in the order in which they were added, over many laps, until there is none."""
    io_uring = ring(1)
    with buffer_ring(io_uring, _GROUP, 4) as br, pipe() as (source, sink):
        # As numbers are the user's, they need not have the order of the entries, and three do not fill a lap.
        buffers = {number: bytearray(_SIZE) for number in (900, 5, 0xFFFF)}
        for lap in range(5):
            add(br, *buffers.items())
            for number, memory in buffers.items():
                text = f"{lap} {number:6}".encode()
                os.write(sink, text)
                cqe = _read(io_uring, source)
                assert (_SIZE, number) == (cqe.res, picked(cqe))
                assert text == memory
            os.write(sink, b"x")
            assert _USED_UP == _read(io_uring, source)
            assert b"x" == os.read(source, 2)


@pytest.mark.title("buffer ring, lengths")
@pytest.mark.symbols(*_RING_SYMBOLS)
def test_ring_lengths(ring: RingFactory) -> None:
    """Each buffer has a length of its own, and is filled as far as it goes."""
    io_uring = ring(1)
    with buffer_ring(io_uring, _GROUP, 4) as br, pipe(b"0123456789abcdef") as (source, _sink):
        sizes = (1, 8, 3)
        memories = [bytearray(b"." * 12) for _ in sizes]
        for number, (memory, size) in enumerate(zip(memories, sizes, strict=True)):
            uring.buf_ring_add(br, memoryview(memory)[2:][:size], number, 3, number)
        uring.buf_ring_advance(br, len(sizes))
        for number, size in enumerate(sizes):
            cqe = _read(io_uring, source, 0)
            assert (size, number) == (cqe.res, picked(cqe))
        assert [b"..0.........", b"..12345678..", b"..9ab......."] == memories


@pytest.mark.title("buffer ring, in the kernel's memory")
@pytest.mark.symbols("IOU_PBUF_RING_MMAP", *_RING_SYMBOLS)
def test_ring_mapped(ring: RingFactory) -> None:
    """A ring that was mapped from the kernel works as one of the program's own, round and round."""
    io_uring = ring(1)
    with buffer_ring(io_uring, _GROUP, 2, uring.IOU_PBUF_RING_MMAP) as br, pipe() as (source, sink):
        buffers = {number: bytearray(_SIZE) for number in (4, 3)}
        for lap in range(3):
            add(br, *buffers.items())
            for number, memory in buffers.items():
                text = f"{lap} {number:6}".encode()
                os.write(sink, text)
                cqe = _read(io_uring, source)
                assert (_SIZE, number) == (cqe.res, picked(cqe))
                assert text == memory


@pytest.mark.title("buffer ring, part by part")
@pytest.mark.symbols(
    "IOU_PBUF_RING_INC",
    "IORING_REGISTER_PBUF_RING",
    "IORING_CQE_F_BUF_MORE",
    "IORING_CQE_F_BUFFER",
    "IORING_OP_RECV",
    "IOSQE_BUFFER_SELECT",
    "IORING_UNREGISTER_PBUF_RING",
)
def test_ring_incremental(ring: RingFactory) -> None:
    """Receives lie one behind the other in a buffer; IORING_CQE_F_BUF_MORE is set until it is full."""
    io_uring = ring(1)
    one, other = socket.socketpair()
    with buffer_ring(io_uring, _GROUP, 2, uring.IOU_PBUF_RING_INC) as br, one, other:
        first, second = bytearray(b"." * 16), bytearray(b"." * 16)
        add(br, (8, first), (9, second))
        for text, number, more in ((b"Hello", 8, True), (b"World!", 8, True), (b"12345", 8, False), (b"next", 9, True)):
            one.send(text)
            io_uring.recv(0xF5, other.fileno(), uring.BufferSelection(_GROUP, 0), 0)
            cqe = finish(io_uring, "IORING_OP_RECV into a part of a buffer")
            assert (0xF5, len(text), number) == (cqe.user_data, cqe.res, picked(cqe))
            _expect_part(cqe, is_last=not more)
        assert b"HelloWorld!12345" == first
        assert b"next............" == second


def _expect_part(cqe: uring.io_uring_cqe, *, is_last: bool) -> None:
    """A completion that names a buffer, and says whether more of it will be filled."""
    flags = _BUFFER if is_last else _BUFFER | uring.IORING_CQE_F_BUF_MORE
    assert flags == cqe.flags & 0xFFFF & ~uring.IORING_CQE_F_SOCK_NONEMPTY


@pytest.mark.title("buffer ring, part by part, without a small rest")
@pytest.mark.symbols(
    "IOU_PBUF_RING_INC",
    "IORING_REGISTER_PBUF_RING",
    "IORING_CQE_F_BUF_MORE",
    "IORING_CQE_F_BUFFER",
    "IORING_OP_RECV",
    "IOSQE_BUFFER_SELECT",
    "IORING_UNREGISTER_PBUF_RING",
)
@pytest.mark.needs("buffer-ring-min-left")
def test_ring_min_left(ring: RingFactory) -> None:
    """A buffer with less than the named number of bytes left is used no more."""
    io_uring = ring(1)
    one, other = socket.socketpair()
    with buffer_ring(io_uring, _GROUP, 2, uring.IOU_PBUF_RING_INC, min_left=6) as br, one, other:
        first, second = bytearray(b"." * 16), bytearray(b"." * 16)
        add(br, (8, first), (9, second))
        for text, number, more in ((b"Hello", 8, True), (b"World!", 8, False), (b"next", 9, True)):
            one.send(text)
            io_uring.recv(0xFA, other.fileno(), uring.BufferSelection(_GROUP, 0), 0)
            cqe = finish(io_uring, "IORING_OP_RECV into a part of a buffer")
            assert (0xFA, len(text), number) == (cqe.user_data, cqe.res, picked(cqe))
            _expect_part(cqe, is_last=not more)
        assert b"HelloWorld!....." == first
        assert b"next............" == second


@pytest.mark.title("buffer ring, how far the kernel has come")
@pytest.mark.symbols("IORING_REGISTER_PBUF_STATUS", *_RING_SYMBOLS)
def test_ring_status(ring: RingFactory) -> None:
    """The head goes on by one with each buffer that is taken, and does not go back at the end of the ring."""
    io_uring = ring(1)
    with buffer_ring(io_uring, _GROUP, 2) as br, pipe(bytes(6)) as (source, _sink):
        memory = bytearray(1)
        for taken in range(6):
            add(br, (taken, memory))
            assert taken == uring.buf_ring_head(io_uring.fd, _GROUP)
            assert 1 == uring.buf_ring_available(io_uring.fd, br, _GROUP)
            assert 1 == _read(io_uring, source).res
            assert 0 == uring.buf_ring_available(io_uring.fd, br, _GROUP)
    with pytest.raises(uring.BufferGroupNotRegistered):
        uring.buf_ring_head(io_uring.fd, _GROUP)


_WAITING_SYMBOLS = (
    "IORING_UNREGISTER_PBUF_RING",
    "IORING_REGISTER_PBUF_RING",
    "IORING_OP_RECV",
    "IOSQE_BUFFER_SELECT",
    "IORING_OP_NOP",
)


@pytest.mark.title("buffer ring, given up while a receive waits")
@pytest.mark.symbols(*_WAITING_SYMBOLS)
def test_ring_unregistered(ring: RingFactory) -> None:
    """When its data arrives, a receive finds no buffer, and the data stays."""
    io_uring = ring(4)
    one, other = socket.socketpair()
    with one, other, buffer_ring(io_uring, _GROUP, 2) as br:
        memory = bytearray(b"." * _SIZE)
        add(br, (1, memory))
        io_uring.recv(0xF6, other.fileno(), uring.BufferSelection(_GROUP, 0), 0)
        expect_no_more(io_uring, "IORING_OP_RECV")
        uring.free_buf_ring(io_uring.fd, br, 2, _GROUP)
        one.send(b"late")
        assert completion(0xF6, -errno.ENOBUFS) == finish(io_uring, "IORING_OP_RECV without a group")
        assert b"." * _SIZE == memory
        assert b"late" == other.recv(8, socket.MSG_DONTWAIT)


@pytest.mark.title("buffer ring, replaced while a receive waits")
@pytest.mark.symbols("IORING_CQE_F_BUFFER", *_WAITING_SYMBOLS)
def test_ring_replaced(ring: RingFactory) -> None:
    """The data goes into a buffer of the group that has the number when it arrives."""
    io_uring = ring(4)
    one, other = socket.socketpair()
    with one, other:
        memories = [bytearray(b"." * _SIZE) for _ in range(2)]
        with buffer_ring(io_uring, _GROUP, 2) as br:
            add(br, (1, memories[0]))
            io_uring.recv(0xF7, other.fileno(), uring.BufferSelection(_GROUP, 0), 0)
            expect_no_more(io_uring, "IORING_OP_RECV")
        with buffer_ring(io_uring, _GROUP, 2) as br:
            add(br, (2, memories[1]))
            one.send(b"inside")
            cqe = finish(io_uring, "IORING_OP_RECV")
            assert (0xF7, 6, 2) == (cqe.user_data, cqe.res, picked(cqe))
            assert 0 == cqe.flags & uring.IORING_CQE_F_MORE
            assert [b"." * _SIZE, b"inside.."] == memories


@pytest.mark.title("buffer ring, a group of one kind only")
@pytest.mark.symbols(
    "IORING_REGISTER_PBUF_RING",
    "IORING_OP_PROVIDE_BUFFERS",
    "IORING_OP_REMOVE_BUFFERS",
    "IORING_UNREGISTER_PBUF_RING",
)
def test_group_of_one_kind(ring: RingFactory) -> None:
    """A ring's group takes no second ring, and buffers are neither provided to it one by one nor taken back so."""
    io_uring = ring(1)
    with buffer_ring(io_uring, _GROUP, 2):
        with pytest.raises(uring.BufferGroupAlreadyRegistered):
            uring.setup_buf_ring(io_uring.fd, 2, _GROUP)
        io_uring.provide_buffers(0xF8, bytearray(_SIZE), _SIZE, 1, _GROUP, 0)
        assert completion(0xF8, -errno.EINVAL) == finish(io_uring, "IORING_OP_PROVIDE_BUFFERS to a buffer ring")
        io_uring.remove_buffers(0xF9, 1, _GROUP)
        assert completion(0xF9, -errno.EINVAL) == finish(io_uring, "IORING_OP_REMOVE_BUFFERS from a buffer ring")
