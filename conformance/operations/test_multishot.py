"""Requests that complete again and again: what each completion brings, and how they end."""

from __future__ import annotations

import ctypes
import errno
import socket
import sys

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.operations.provided import add, buffer_ring, picked
from conformance.operations.sockets import connection, datagrams, peer_of, received
from conformance.operations.support import expect_no_more, finish, reap
from conformance.support import completion, owned_fds, tcp_socket

pytestmark = pytest.mark.group("Multishot requests")

_GROUP = 5
# linux/in.h
_IP_RECVTTL = 12
_BUFFER = uring.IORING_CQE_F_BUFFER
_MORE = uring.IORING_CQE_F_MORE
_SELECTION = uring.BufferSelection(_GROUP, 0)


# ---- accept


@pytest.mark.title("accept, multishot, until cancelled")
@pytest.mark.symbols(
    "IORING_ACCEPT_MULTISHOT", "IORING_OP_ACCEPT", "IORING_CQE_F_MORE", "IORING_OP_ASYNC_CANCEL", "IORING_OP_NOP"
)
def test_accept(ring: RingFactory, loopback: str) -> None:
    """Each connection brings a completion with its descriptor, until the request is cancelled."""
    io_uring = ring(4)
    with tcp_socket() as listener, owned_fds() as fds:
        listener.bind((loopback, 0))
        listener.listen(8)
        io_uring.accept_multishot(0xA1, listener.fileno(), None, None, 0)
        expect_no_more(io_uring, "multishot IORING_OP_ACCEPT")
        for _ in range(3):
            with tcp_socket() as client:
                client.connect(listener.getsockname())
                cqe = finish(io_uring, "multishot IORING_OP_ACCEPT")
                assert 0xA1 == cqe.user_data
                assert cqe.res >= 0
                fds.add(cqe.res)
                assert _MORE == cqe.flags & _MORE
                assert client.getsockname() == peer_of(cqe.res)
        io_uring.cancel(0xA2, 0xA1, 0)
        io_uring.submit()
        found = reap(io_uring, 2, "multishot IORING_OP_ACCEPT and its IORING_OP_ASYNC_CANCEL")
        assert [completion(0xA1, -errno.ECANCELED), completion(0xA2, 0)] == sorted(found)
        with tcp_socket() as client:
            client.connect(listener.getsockname())
            expect_no_more(io_uring, "multishot IORING_OP_ACCEPT, which was cancelled")


@pytest.mark.title("accept, multishot, more than the queue holds")
@pytest.mark.symbols("IORING_ACCEPT_MULTISHOT", "IORING_OP_ACCEPT", "IORING_CQE_F_MORE", "IORING_OP_ASYNC_CANCEL")
def test_accept_overflows(ring: RingFactory, loopback: str) -> None:
    """Of five connections none is lost where two completions fit; a request that says it is over is made again."""
    io_uring = ring(1)
    with tcp_socket() as listener, owned_fds() as fds:
        listener.bind((loopback, 0))
        listener.listen(8)
        clients = [tcp_socket() for _ in range(5)]
        try:
            io_uring.accept_multishot(0xA3, listener.fileno(), None, None, 0)
            io_uring.submit()
            for client in clients:
                client.connect(listener.getsockname())
            accepted = []
            is_over = False
            for _ in clients:
                if is_over:
                    io_uring.accept_multishot(0xA3, listener.fileno(), None, None, 0)
                cqe = finish(io_uring, "multishot IORING_OP_ACCEPT")
                assert 0xA3 == cqe.user_data
                assert cqe.res >= 0
                fds.add(cqe.res)
                accepted.append(peer_of(cqe.res))
                is_over = not cqe.flags & _MORE
            _expect_requests(io_uring, 0xA3, 0 if is_over else 1)
            assert {client.getsockname() for client in clients} == set(accepted)
        finally:
            for client in clients:
                client.close()


def _expect_requests(io_uring: uring.IoUring, user_data: int, count: int) -> None:
    """Cancel the requests in flight, and see that there were as many as have not said that they are over."""
    what = "IORING_OP_ASYNC_CANCEL of a multishot request"
    for _ in range(count):
        io_uring.cancel(0xFF, user_data, 0)
        io_uring.submit()
        assert [completion(user_data, -errno.ECANCELED), completion(0xFF, 0)] == sorted(reap(io_uring, 2, what))
    io_uring.cancel(0xFF, user_data, 0)
    assert completion(0xFF, -errno.ENOENT) == finish(io_uring, what)


# ---- recv

_RECV_SYMBOLS = (
    "IORING_RECV_MULTISHOT",
    "IORING_OP_RECV",
    "IORING_CQE_F_MORE",
    "IORING_CQE_F_BUFFER",
    "IOSQE_BUFFER_SELECT",
    "IORING_REGISTER_PBUF_RING",
    "IORING_UNREGISTER_PBUF_RING",
)


@pytest.mark.title("recv, multishot, until no buffer is left, and again")
@pytest.mark.symbols(*_RECV_SYMBOLS, "IORING_OP_NOP")
def test_recv_without_buffers(ring: RingFactory) -> None:
    """It fills buffer after buffer, ends where there is none, and takes up what is left when it is made again."""
    io_uring = ring(4)
    one, other = socket.socketpair()
    with one, other, buffer_ring(io_uring, _GROUP, 4) as br:
        memories = {number: bytearray(4) for number in range(2)}
        add(br, *memories.items())
        one.send(b"aaaabbbbcccc")
        io_uring.recv_multishot(0xB1, other.fileno(), _SELECTION, 0)
        for number, text in ((0, b"aaaa"), (1, b"bbbb")):
            _expect_data(finish(io_uring, "multishot IORING_OP_RECV"), 0xB1, number, 4)
            assert text == memories[number]
        assert completion(0xB1, -errno.ENOBUFS) == finish(io_uring, "multishot IORING_OP_RECV without buffers")

        add(br, *memories.items())
        expect_no_more(io_uring, "multishot IORING_OP_RECV, which is over")
        io_uring.recv_multishot(0xB2, other.fileno(), _SELECTION, 0)
        _expect_data(finish(io_uring, "multishot IORING_OP_RECV"), 0xB2, 0, 4)
        assert b"cccc" == memories[0]
        expect_no_more(io_uring, "multishot IORING_OP_RECV")
        one.send(b"dd")
        _expect_data(finish(io_uring, "multishot IORING_OP_RECV"), 0xB2, 1, 2)
        assert b"ddbb" == memories[1]


def _expect_data(cqe: uring.io_uring_cqe, user_data: int, number: int, size_bytes: int) -> None:
    """A completion that names a buffer, and that more may follow."""
    assert (user_data, size_bytes) == (cqe.user_data, cqe.res)
    assert _BUFFER | _MORE == cqe.flags & (_BUFFER | _MORE)
    assert number == picked(cqe)


@pytest.mark.title("recv, multishot, to the end of a stream")
@pytest.mark.symbols(*_RECV_SYMBOLS)
def test_recv_to_the_end(ring: RingFactory) -> None:
    """The end of the stream is a completion without data, and the request's last."""
    io_uring = ring(4)
    one, other = socket.socketpair()
    with one, other, buffer_ring(io_uring, _GROUP, 4) as br:
        memory = bytearray(8)
        add(br, (7, memory), (8, bytearray(8)))
        io_uring.recv_multishot(0xB3, other.fileno(), _SELECTION, 0)
        one.send(b"last")
        _expect_data(finish(io_uring, "multishot IORING_OP_RECV"), 0xB3, 7, 4)
        one.shutdown(socket.SHUT_WR)
        cqe = finish(io_uring, "multishot IORING_OP_RECV at the end of the stream")
        assert (0xB3, 0, 0) == (cqe.user_data, cqe.res, cqe.flags & _MORE)
        assert b"last\0\0\0\0" == memory


@pytest.mark.title("recv, multishot, into provided buffers")
@pytest.mark.symbols(
    "IORING_RECV_MULTISHOT",
    "IORING_OP_RECV",
    "IORING_OP_PROVIDE_BUFFERS",
    "IORING_CQE_F_MORE",
    "IORING_CQE_F_BUFFER",
    "IOSQE_BUFFER_SELECT",
)
def test_recv_into_provided_buffers(ring: RingFactory) -> None:
    """It works without a buffer ring, too: two messages in two buffers, and none for the third."""
    io_uring = ring(4)
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, other:
        memory = bytearray(16)
        io_uring.provide_buffers(0xB4, memory, 8, 2, _GROUP, 0)
        assert completion(0xB4, 0) == finish(io_uring, "IORING_OP_PROVIDE_BUFFERS")
        io_uring.recv_multishot(0xB5, other.fileno(), _SELECTION, 0)
        numbers = []
        for text in (b"one", b"two"):
            one.send(text)
            cqe = finish(io_uring, "multishot IORING_OP_RECV")
            number = picked(cqe)
            assert number in {0, 1}
            _expect_data(cqe, 0xB5, number, 3)
            assert text == bytes(memory[number * 8 :][:3])
            numbers.append(number)
        assert [0, 1] == sorted(numbers)
        one.send(b"three")
        assert completion(0xB5, -errno.ENOBUFS) == finish(io_uring, "multishot IORING_OP_RECV without buffers")


@pytest.mark.title("recv, multishot, more than the queue holds")
@pytest.mark.symbols(*_RECV_SYMBOLS, "IORING_OP_ASYNC_CANCEL")
def test_recv_overflows(ring: RingFactory) -> None:
    """Of nine messages none is lost, and none comes before another, where two completions fit."""
    io_uring = ring(1)
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, other, buffer_ring(io_uring, _GROUP, 16) as br:
        memories = {number: bytearray(4) for number in range(16)}
        add(br, *memories.items())
        io_uring.recv_multishot(0xB6, other.fileno(), _SELECTION, 0)
        io_uring.submit()
        sent = [b"%04d" % number for number in range(9)]
        for text in sent:
            one.send(text)
        arrived: list[bytes] = []
        is_over = False
        while len(arrived) < len(sent):
            if is_over:
                io_uring.recv_multishot(0xB6, other.fileno(), _SELECTION, 0)
            cqe = finish(io_uring, "multishot IORING_OP_RECV")
            assert (0xB6, 4, _BUFFER) == (cqe.user_data, cqe.res, cqe.flags & _BUFFER)
            arrived.append(bytes(memories[cqe.buffer_id()]))
            is_over = not cqe.flags & _MORE
        _expect_requests(io_uring, 0xB6, 0 if is_over else 1)
        assert sent == arrived


@pytest.mark.title("recv, multishot, a limit for each completion")
@pytest.mark.symbols(*_RECV_SYMBOLS)
@pytest.mark.needs("recv-multishot-length")
def test_recv_length(ring: RingFactory) -> None:
    """No completion brings more than was asked for, though each buffer has room for it."""
    io_uring = ring(4)
    one, other = socket.socketpair()
    with one, other, buffer_ring(io_uring, _GROUP, 8) as br:
        memories = {number: bytearray(b"." * 5) for number in range(6)}
        add(br, *memories.items())
        one.send(b"0123456789")
        io_uring.recv_multishot(0xB7, other.fileno(), uring.BufferSelection(_GROUP, 3), 0)
        for number, text in enumerate((b"012..", b"345..", b"678..", b"9....")):
            cqe = finish(io_uring, "multishot IORING_OP_RECV of three bytes at a time")
            _expect_data(cqe, 0xB7, number, len(text.rstrip(b".")))
            assert text == memories[number]


@pytest.mark.title("recv, multishot, a limit for all completions")
@pytest.mark.symbols(*_RECV_SYMBOLS, "IORING_OP_NOP")
@pytest.mark.needs("recv-multishot-total")
def test_recv_total(ring: RingFactory) -> None:
    """The completion that reaches the limit is the last; the next request takes up what is left."""
    io_uring = ring(4)
    one, other = socket.socketpair()
    with one, other, buffer_ring(io_uring, _GROUP, 8) as br:
        memories = {number: bytearray(4) for number in range(8)}
        add(br, *memories.items())
        one.send(b"0000111122223333444455")
        for numbers in (range(3), range(3, 6)):
            # liburing has no name for it; the kernel takes the limit from `optlen`.
            io_uring.recv_multishot(0xB8, other.fileno(), _SELECTION, 0).splice_fd_in = 10
            for number in numbers:
                cqe = finish(io_uring, "multishot IORING_OP_RECV of ten bytes in all")
                text = b"55" if number == 5 else b"%d" % number * 4
                assert (0xB8, len(text), number) == (cqe.user_data, cqe.res, picked(cqe))
                assert (number != numbers[-1]) == bool(cqe.flags & _MORE)
                assert text == memories[number][: cqe.res]
            expect_no_more(io_uring, "multishot IORING_OP_RECV of ten bytes in all, which is over")


# ---- recvmsg

_RECVMSG_SYMBOLS = ("IORING_OP_RECVMSG", *(name for name in _RECV_SYMBOLS if name != "IORING_OP_RECV"))
_HEADER_BYTES = ctypes.sizeof(uring.io_uring_recvmsg_out)
_NAME_BYTES = ctypes.sizeof(uring.sockaddr_in)


@pytest.mark.title("recvmsg, multishot, name and data")
@pytest.mark.symbols(*_RECVMSG_SYMBOLS)
@pytest.mark.needs("recvmsg-multishot")
def test_recvmsg(ring: RingFactory, loopback: str) -> None:
    """Each buffer has a header, the sender's address and the datagram."""
    io_uring = ring(4)
    with datagrams(loopback) as (sender, receiver), buffer_ring(io_uring, _GROUP, 4) as br:
        memories = {number: bytearray(128) for number in range(3)}
        add(br, *memories.items())
        room = uring.msghdr(namelen=_NAME_BYTES)
        _SELECTION.select(io_uring.recvmsg_multishot(0xC1, receiver.fileno(), room, 0))
        for number, text in enumerate((b"first", b"x", b"the third one")):
            sender.sendto(text, receiver.getsockname())
            cqe = finish(io_uring, "multishot IORING_OP_RECVMSG")
            _expect_data(cqe, 0xC1, number, _HEADER_BYTES + _NAME_BYTES + len(text))
            message = uring.recvmsg_validate(memories[number], cqe.res, room)
            assert message is not None
            assert (_NAME_BYTES, 0, len(text), 0) == _fields(message.header)
            name = uring.sockaddr_in.from_buffer_copy(message.name)
            assert sender.getsockname() == (name.host, name.port)
            assert (b"", text) == (bytes(message.control), bytes(message.payload))


def _fields(header: uring.io_uring_recvmsg_out) -> tuple[int, int, int, int]:
    return header.namelen, header.controllen, header.payloadlen, header.flags


@pytest.mark.title("recvmsg, multishot, control data")
@pytest.mark.symbols(*_RECVMSG_SYMBOLS)
@pytest.mark.needs("recvmsg-multishot")
def test_recvmsg_control(ring: RingFactory, loopback: str) -> None:
    """Between name and datagram lies the control data that the socket was told to give, here the time to live."""
    io_uring = ring(4)
    with datagrams(loopback) as (sender, receiver), buffer_ring(io_uring, _GROUP, 4) as br:
        receiver.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
        memories = {number: bytearray(128) for number in range(2)}
        add(br, *memories.items())
        room = uring.msghdr(namelen=_NAME_BYTES)
        room.controllen = 64
        _SELECTION.select(io_uring.recvmsg_multishot(0xC2, receiver.fileno(), room, 0))
        for number, time_to_live in enumerate((3, 99)):
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, time_to_live)
            sender.sendto(b"data", receiver.getsockname())
            cqe = finish(io_uring, "multishot IORING_OP_RECVMSG")
            _expect_data(cqe, 0xC2, number, _HEADER_BYTES + _NAME_BYTES + 64 + 4)
            message = uring.recvmsg_validate(memories[number], cqe.res, room)
            assert message is not None
            assert (_NAME_BYTES, socket.CMSG_SPACE(4), 4, 0) == _fields(message.header)
            expected = (socket.IPPROTO_IP, socket.IP_TTL, time_to_live.to_bytes(4, sys.byteorder))
            assert [expected] == [(level, kind, bytes(data)) for level, kind, data in message.cmsgs()]
            name = uring.sockaddr_in.from_buffer_copy(message.name)
            assert (*sender.getsockname(), b"data") == (name.host, name.port, bytes(message.payload))


@pytest.mark.title("recvmsg, multishot, more than fits")
@pytest.mark.symbols(*_RECVMSG_SYMBOLS)
@pytest.mark.needs("recvmsg-multishot")
@pytest.mark.parametrize("flags", [0, socket.MSG_TRUNC], ids=["what-fits", "whole-length"])
def test_recvmsg_truncates(ring: RingFactory, loopback: str, flags: int) -> None:
    """What does not fit is cut off and gone, and the header says so; with MSG_TRUNC it has the whole length."""
    io_uring = ring(4)
    with datagrams(loopback) as (sender, receiver), buffer_ring(io_uring, _GROUP, 4) as br:
        room = uring.msghdr(namelen=4)
        memories = {number: bytearray(_HEADER_BYTES + 4 + 5) for number in range(2)}
        add(br, *memories.items())
        _SELECTION.select(io_uring.recvmsg_multishot(0xC3, receiver.fileno(), room, flags))
        for number, (text, part, length) in enumerate(
            ((b"0123456789", b"01234", 10 if flags else 5), (b"next", b"next", 4))
        ):
            sender.sendto(text, receiver.getsockname())
            cqe = finish(io_uring, "multishot IORING_OP_RECVMSG")
            _expect_data(cqe, 0xC3, number, _HEADER_BYTES + 4 + len(part))
            message = uring.recvmsg_validate(memories[number], cqe.res, room)
            assert message is not None
            assert (_NAME_BYTES, 0, length, socket.MSG_TRUNC if text != part else 0) == _fields(message.header)
            address = bytes(uring.sockaddr_in(*sender.getsockname()))
            assert (address[:4], part) == (bytes(message.name), bytes(message.payload))


# ---- bundles


@pytest.mark.title("send of several buffers of a group")
@pytest.mark.symbols(
    "IORING_OP_SEND",
    "IORING_RECVSEND_BUNDLE",
    "IOSQE_BUFFER_SELECT",
    "IORING_CQE_F_BUFFER",
    "IORING_REGISTER_PBUF_RING",
    "IORING_UNREGISTER_PBUF_RING",
)
@pytest.mark.needs("send-bundle")
def test_send_bundle(ring: RingFactory, loopback: str) -> None:
    """All buffers are sent in one completion, in the order in which they were added, and the first is named."""
    io_uring = ring(4)
    with connection(loopback) as (client, server), buffer_ring(io_uring, _GROUP, 4) as br:
        for lap in range(3):
            parts = [(9, bytearray(b"one")), (2, bytearray(b"second")), (40 + lap, bytearray(b"3"))]
            add(br, *parts)
            _SELECTION.select(io_uring.send_bundle(0xD1, client.fileno(), 0, 0))
            cqe = finish(io_uring, "IORING_OP_SEND with IORING_RECVSEND_BUNDLE")
            assert (0xD1, 10, 9) == (cqe.user_data, cqe.res, picked(cqe))
            assert 0 == cqe.flags & _MORE
            assert [(9, 0, 3), (2, 0, 6), (40 + lap, 0, 1)] == br.bundle(9, cqe.res)
            assert b"onesecond3" == received(server, 10, "IORING_OP_SEND with IORING_RECVSEND_BUNDLE")
        _SELECTION.select(io_uring.send_bundle(0xD2, client.fileno(), 0, 0))
        assert completion(0xD2, -errno.ENOBUFS) == finish(io_uring, "IORING_OP_SEND without buffers")


@pytest.mark.title("recv into several buffers of a group, multishot")
@pytest.mark.symbols("IORING_RECVSEND_BUNDLE", *_RECV_SYMBOLS, "IORING_OP_ASYNC_CANCEL")
def test_recv_bundles(ring: RingFactory, loopback: str) -> None:
    """What waits is received in order, one buffer filled behind the other, with fewer completions than buffers."""
    io_uring = ring(4)
    with connection(loopback) as (client, server), buffer_ring(io_uring, _GROUP, 8) as br:
        memories = {number: bytearray(4) for number in range(7, -1, -1)}
        add(br, *memories.items())
        text = b"The quick brown fox jumps over"
        client.sendall(text)
        assert text == server.recv(len(text), socket.MSG_PEEK | socket.MSG_WAITALL)
        arrived, completions, next_number, is_over = b"", 0, 7, True
        while len(arrived) < len(text):
            if is_over:
                sqe = io_uring.recv_multishot(0xD3, server.fileno(), _SELECTION, 0)
                sqe.ioprio |= uring.IORING_RECVSEND_BUNDLE
            cqe = finish(io_uring, "multishot IORING_OP_RECV with IORING_RECVSEND_BUNDLE")
            assert (0xD3, next_number) == (cqe.user_data, picked(cqe))
            assert cqe.res > 0
            # Kernels may end it with the last buffer of the group.
            is_over = not cqe.flags & _MORE
            for number, start, size in br.bundle(cqe.buffer_id(), cqe.res):
                assert next_number == number
                next_number -= 1
                arrived += memories[number][start : start + size]
            completions += 1
        _expect_requests(io_uring, 0xD3, 0 if is_over else 1)
        assert text == arrived
        assert completions < len(memories)
