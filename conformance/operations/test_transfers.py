"""Sending and receiving: to and from addresses, flags of messages, whole and partial transfers."""

from __future__ import annotations

import array
import ctypes
import errno
import os
import select
import socket
import time

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.operations.sockets import connection, datagrams, expect_result, fill, received
from conformance.operations.support import DEADLINE_S, expect_no_more, finish
from conformance.support import completion, owned_fds

pytestmark = pytest.mark.group("Sending and receiving")


# ---- addresses


@pytest.mark.title("sendto")
@pytest.mark.symbols("IORING_OP_SEND")
@pytest.mark.needs("send-to-address")
def test_sendto(ring: RingFactory, loopback: str) -> None:
    """A datagram of a socket that is not connected arrives at the address, and at no other."""
    io_uring = ring(1)
    with datagrams(loopback) as (sender, receiver), datagrams(loopback) as (bystander, _):
        io_uring.sendto(0x61, sender.fileno(), b"to you", 0, uring.sockaddr_in(*receiver.getsockname()))
        assert completion(0x61, 6) == finish(io_uring, "IORING_OP_SEND to an address")
        assert b"to you" == received(receiver, 6, "IORING_OP_SEND to an address")
        with pytest.raises(BlockingIOError):
            bystander.recv(6, socket.MSG_DONTWAIT)


@pytest.mark.title("sendmsg to an address, recvmsg from one")
@pytest.mark.symbols("IORING_OP_SENDMSG", "IORING_OP_RECVMSG")
def test_messages_have_addresses(ring: RingFactory, loopback: str) -> None:
    """The pieces of a message are put together, go to its address, are taken apart, and come with the sender's."""
    io_uring = ring(1)
    with datagrams(loopback) as (sender, receiver):
        message = uring.msghdr(name=uring.sockaddr_in(*receiver.getsockname()), iov=[b"one", b"", b"two"])
        io_uring.sendmsg(0x62, sender.fileno(), message, 0)
        assert completion(0x62, 6) == finish(io_uring, "IORING_OP_SENDMSG")

        address, first, second = uring.sockaddr_storage(), bytearray(b"??"), bytearray(b"????????")
        message = uring.msghdr(name=address, iov=[first, second])
        io_uring.recvmsg(0x63, receiver.fileno(), message, 0)
        cqe = finish(io_uring, "IORING_OP_RECVMSG")
        expect_result(cqe, 0x63, 6)
        assert [b"on", b"etwo????"] == [first, second]
        assert (ctypes.sizeof(uring.sockaddr_in), 0) == (message.namelen, message.flags)
        name = uring.sockaddr_in.from_buffer(address)
        assert sender.getsockname() == (name.host, name.port)


@pytest.mark.title("a descriptor passed by sendmsg and recvmsg")
@pytest.mark.symbols("IORING_OP_SENDMSG", "IORING_OP_RECVMSG")
def test_messages_carry_descriptors(ring: RingFactory) -> None:
    """A file's descriptor in the control data arrives as another descriptor of the same file."""
    io_uring = ring(1)
    one, other = socket.socketpair()
    with one, other, owned_fds() as fds:
        source, sink = os.pipe()
        fds.update((source, sink))
        header = uring.cmsghdr(socket.CMSG_LEN(4), socket.SOL_SOCKET, socket.SCM_RIGHTS)
        control = bytes(header) + array.array("i", [source]).tobytes()
        io_uring.sendmsg(0x64, one.fileno(), uring.msghdr(iov=[b"x"], control=control.ljust(socket.CMSG_SPACE(4))), 0)
        assert completion(0x64, 1) == finish(io_uring, "IORING_OP_SENDMSG")

        room = bytearray(socket.CMSG_SPACE(4))
        message = uring.msghdr(iov=[bytearray(1)], control=room)
        io_uring.recvmsg(0x65, other.fileno(), message, 0)
        cqe = finish(io_uring, "IORING_OP_RECVMSG")
        expect_result(cqe, 0x65, 1)
        assert socket.CMSG_SPACE(4) == message.controllen
        header = uring.cmsghdr.from_buffer_copy(room)
        assert (socket.CMSG_LEN(4), socket.SOL_SOCKET, socket.SCM_RIGHTS) == (header.len, header.level, header.type)
        passed = int.from_bytes(room[16:20], "little")
        fds.add(passed)
        assert passed != source
        os.write(sink, b"through it")
        assert b"through it" == os.read(passed, 16)


# ---- flags of messages


@pytest.mark.title("recvmsg of a message that is too long")
@pytest.mark.symbols("IORING_OP_RECVMSG")
def test_recvmsg_truncates(ring: RingFactory, loopback: str) -> None:
    """As much as fits is received, the message says so, and the rest is gone."""
    io_uring = ring(1)
    with datagrams(loopback) as (sender, receiver):
        for text in (b"0123456789", b"next"):
            sender.sendto(text, receiver.getsockname())
        for expected, flags in ((b"0123", socket.MSG_TRUNC), (b"next", 0)):
            buffer = bytearray(4)
            message = uring.msghdr(iov=[buffer])
            io_uring.recvmsg(0x66, receiver.fileno(), message, 0)
            cqe = finish(io_uring, "IORING_OP_RECVMSG")
            expect_result(cqe, 0x66, 4)
            assert expected == buffer
            assert flags == message.flags


@pytest.mark.title("recv that tells a message's whole length")
@pytest.mark.symbols("IORING_OP_RECV")
def test_recv_trunc(ring: RingFactory, loopback: str) -> None:
    """With MSG_TRUNC the result is the datagram's length, and no more than fits is written."""
    io_uring = ring(1)
    with datagrams(loopback) as (sender, receiver):
        sender.sendto(b"0123456789", receiver.getsockname())
        memory = bytearray(b"\xee" * 8)
        io_uring.recv(0x67, receiver.fileno(), memoryview(memory)[:4], socket.MSG_TRUNC)
        cqe = finish(io_uring, "IORING_OP_RECV with MSG_TRUNC")
        expect_result(cqe, 0x67, 10)
        assert b"0123" + b"\xee" * 4 == memory


@pytest.mark.title("recv that leaves the data")
@pytest.mark.symbols("IORING_OP_RECV")
def test_recv_peek(ring: RingFactory) -> None:
    """With MSG_PEEK the same data is received again, and without it no more."""
    io_uring = ring(1)
    one, other = socket.socketpair()
    with one, other:
        one.send(b"look")
        for flags in (socket.MSG_PEEK, socket.MSG_PEEK, 0):
            buffer = bytearray(8)
            io_uring.recv(0x68, other.fileno(), buffer, flags)
            cqe = finish(io_uring, "IORING_OP_RECV")
            expect_result(cqe, 0x68, 4)
            assert b"look\0\0\0\0" == buffer
        with pytest.raises(BlockingIOError):
            other.recv(1, socket.MSG_DONTWAIT)


@pytest.mark.title("recv and send that may not wait")
@pytest.mark.symbols("IORING_OP_RECV", "IORING_OP_SEND")
def test_dontwait(ring: RingFactory) -> None:
    """With MSG_DONTWAIT nothing to receive is an error, and so is no room to send."""
    io_uring = ring(1)
    one, other = socket.socketpair()
    with one, other:
        io_uring.recv(0x69, other.fileno(), bytearray(4), socket.MSG_DONTWAIT)
        assert completion(0x69, -errno.EAGAIN) == finish(io_uring, "IORING_OP_RECV with MSG_DONTWAIT")
        fill(one)
        io_uring.send(0x6A, one.fileno(), bytes(1 << 16), socket.MSG_DONTWAIT)
        assert completion(0x6A, -errno.EAGAIN) == finish(io_uring, "IORING_OP_SEND with MSG_DONTWAIT")


@pytest.mark.title("send to who is gone")
@pytest.mark.symbols("IORING_OP_SEND")
def test_send_to_nobody(ring: RingFactory) -> None:
    """A closed peer is an error, and with MSG_NOSIGNAL no signal."""
    io_uring = ring(1)
    one, other = socket.socketpair()
    with one:
        other.close()
        io_uring.send(0x6B, one.fileno(), b"anybody?", socket.MSG_NOSIGNAL)
        assert completion(0x6B, -errno.EPIPE) == finish(io_uring, "IORING_OP_SEND")


# ---- whole transfers


@pytest.mark.title("recv of all or nothing")
@pytest.mark.symbols("IORING_OP_RECV", "IORING_OP_NOP")
def test_recv_waitall(ring: RingFactory) -> None:
    """With MSG_WAITALL a part of the data completes nothing; all of it does."""
    io_uring = ring(4)
    one, other = socket.socketpair()
    with one, other:
        buffer = bytearray(8)
        one.send(b"abc")
        io_uring.recv(0x71, other.fileno(), buffer, socket.MSG_WAITALL)
        expect_no_more(io_uring, "IORING_OP_RECV with MSG_WAITALL")
        one.send(b"de")
        expect_no_more(io_uring, "IORING_OP_RECV with MSG_WAITALL")
        one.send(b"fghij")
        cqe = finish(io_uring, "IORING_OP_RECV with MSG_WAITALL")
        expect_result(cqe, 0x71, 8)
        assert b"abcdefgh" == buffer
        assert b"ij" == received(other, 2, "the rest")


@pytest.mark.title("recv of all, cut short by the end")
@pytest.mark.symbols("IORING_OP_RECV", "IORING_OP_NOP")
def test_recv_waitall_until_the_end(ring: RingFactory) -> None:
    """With MSG_WAITALL the end of the stream completes with what there was until then."""
    io_uring = ring(4)
    one, other = socket.socketpair()
    with one, other:
        buffer = bytearray(8)
        one.send(b"abc")
        io_uring.recv(0x72, other.fileno(), buffer, socket.MSG_WAITALL)
        expect_no_more(io_uring, "IORING_OP_RECV with MSG_WAITALL")
        one.shutdown(socket.SHUT_WR)
        cqe = finish(io_uring, "IORING_OP_RECV with MSG_WAITALL")
        expect_result(cqe, 0x72, 3)
        assert b"abc\0\0\0\0\0" == buffer


@pytest.mark.title("recvmsg of all or nothing")
@pytest.mark.symbols("IORING_OP_RECVMSG", "IORING_OP_NOP")
def test_recvmsg_waitall(ring: RingFactory) -> None:
    """With MSG_WAITALL all buffers are filled, whatever the pieces that arrive."""
    io_uring = ring(4)
    one, other = socket.socketpair()
    with one, other:
        buffers = [bytearray(3), bytearray(1), bytearray(4)]
        one.send(b"ab")
        io_uring.recvmsg(0x73, other.fileno(), uring.msghdr(iov=buffers), socket.MSG_WAITALL)
        expect_no_more(io_uring, "IORING_OP_RECVMSG with MSG_WAITALL")
        one.send(b"cde")
        expect_no_more(io_uring, "IORING_OP_RECVMSG with MSG_WAITALL")
        one.send(b"fgh")
        cqe = finish(io_uring, "IORING_OP_RECVMSG with MSG_WAITALL")
        expect_result(cqe, 0x73, 8)
        assert [b"abc", b"d", b"efgh"] == buffers


# More than any socket's queues hold.
_MUCH = bytes(range(251)) * (1 << 14)


@pytest.mark.title("send of all or nothing")
@pytest.mark.symbols("IORING_OP_SEND", "IORING_OP_NOP")
def test_send_waitall(ring: RingFactory) -> None:
    """With MSG_WAITALL what does not fit is sent as room is made, and only then the send completes."""
    io_uring = ring(4)
    one, other = socket.socketpair()
    with one, other:
        io_uring.send(0x74, one.fileno(), _MUCH, socket.MSG_WAITALL)
        expect_no_more(io_uring, "IORING_OP_SEND with MSG_WAITALL")
        assert (_MUCH, completion(0x74, len(_MUCH))) == _receive_while_sending(io_uring, other, "IORING_OP_SEND")


@pytest.mark.title("sendmsg of all or nothing")
@pytest.mark.symbols("IORING_OP_SENDMSG", "IORING_OP_NOP")
def test_sendmsg_waitall(ring: RingFactory) -> None:
    """With MSG_WAITALL what does not fit of several buffers is sent as room is made."""
    io_uring = ring(4)
    one, other = socket.socketpair()
    with one, other:
        io_uring.sendmsg(0x75, one.fileno(), uring.msghdr(iov=[b"first", _MUCH, b"last"]), socket.MSG_WAITALL)
        expect_no_more(io_uring, "IORING_OP_SENDMSG with MSG_WAITALL")
        sent = b"first" + _MUCH + b"last"
        assert (sent, completion(0x75, len(sent))) == _receive_while_sending(io_uring, other, "IORING_OP_SENDMSG")


def _receive_while_sending(io_uring: uring.IoUring, peer: socket.socket, what: str) -> tuple[bytes, uring.io_uring_cqe]:
    """Receive until a send completes, and what is left then; the ring has its turn after each part, as it may need."""
    data = bytearray()
    completions: list[uring.io_uring_cqe] = [uring.io_uring_cqe()]
    poll = select.poll()
    poll.register(peer, select.POLLIN)
    poll.register(io_uring.fd, select.POLLIN)
    until_s = time.monotonic() + DEADLINE_S
    is_complete = False
    while True:
        try:
            data += peer.recv(1 << 20, socket.MSG_DONTWAIT)
        except BlockingIOError:
            if is_complete:
                return bytes(data), completions[0]
        is_complete = is_complete or io_uring.copy_cqes(completions, 0) == 1
        if time.monotonic() > until_s:
            pytest.fail(f"{what}: not complete within {DEADLINE_S} s, of its data {len(data)} bytes have arrived")
        poll.poll(0 if is_complete else 1000)


# ---- flags of the ring


@pytest.mark.title("recv, polling first")
@pytest.mark.symbols("IORING_RECVSEND_POLL_FIRST", "IORING_OP_RECV", "IORING_OP_NOP")
def test_recv_poll_first(ring: RingFactory) -> None:
    """It waits for data, and takes what is there already."""
    io_uring = ring(4)
    one, other = socket.socketpair()
    with one, other:
        for is_early in (True, False):
            buffer = bytearray(4)
            if is_early:
                one.send(b"data")
            io_uring.recv(0x76, other.fileno(), buffer, 0).ioprio = uring.IORING_RECVSEND_POLL_FIRST
            if not is_early:
                expect_no_more(io_uring, "IORING_OP_RECV")
                one.send(b"data")
            cqe = finish(io_uring, "IORING_OP_RECV")
            expect_result(cqe, 0x76, 4)
            assert b"data" == buffer


@pytest.mark.title("recvmsg, polling first")
@pytest.mark.symbols("IORING_OP_RECVMSG", "IORING_RECVSEND_POLL_FIRST", "IORING_OP_NOP")
@pytest.mark.needs("recvmsg-poll-first")
def test_recvmsg_poll_first(ring: RingFactory) -> None:
    """It waits for data."""
    io_uring = ring(4)
    one, other = socket.socketpair()
    with one, other:
        buffer = bytearray(4)
        sqe = io_uring.recvmsg(0x77, other.fileno(), uring.msghdr(iov=[buffer]), 0)
        sqe.ioprio = uring.IORING_RECVSEND_POLL_FIRST
        expect_no_more(io_uring, "IORING_OP_RECVMSG")
        one.send(b"data")
        cqe = finish(io_uring, "IORING_OP_RECVMSG")
        expect_result(cqe, 0x77, 4)
        assert b"data" == buffer


@pytest.mark.title("send, polling first")
@pytest.mark.symbols("IORING_OP_SEND", "IORING_RECVSEND_POLL_FIRST", "IORING_OP_NOP")
@pytest.mark.needs("send-poll-first")
def test_send_poll_first(ring: RingFactory) -> None:
    """Where there is no room it waits until the peer has received."""
    io_uring = ring(4)
    one, other = socket.socketpair()
    with one, other:
        sent = fill(one)
        io_uring.send(0x78, one.fileno(), b"last", 0).ioprio = uring.IORING_RECVSEND_POLL_FIRST
        _sent_when_there_is_room(io_uring, other, sent)


@pytest.mark.title("sendmsg, polling first")
@pytest.mark.symbols("IORING_OP_SENDMSG", "IORING_RECVSEND_POLL_FIRST", "IORING_OP_NOP")
@pytest.mark.needs("sendmsg-poll-first")
def test_sendmsg_poll_first(ring: RingFactory) -> None:
    """Where there is no room it waits until the peer has received."""
    io_uring = ring(4)
    one, other = socket.socketpair()
    with one, other:
        sent = fill(one)
        sqe = io_uring.sendmsg(0x78, one.fileno(), uring.msghdr(iov=[b"la", b"st"]), 0)
        sqe.ioprio = uring.IORING_RECVSEND_POLL_FIRST
        _sent_when_there_is_room(io_uring, other, sent)


def _sent_when_there_is_room(io_uring: uring.IoUring, peer: socket.socket, sent: int) -> None:
    expect_no_more(io_uring, "a send that polls first")
    assert bytes(sent) == received(peer, sent, "what was sent before")
    assert completion(0x78, 4) == finish(io_uring, "a send that polls first")
    assert b"last" == received(peer, 4, "a send that polls first")


@pytest.mark.title("recv tells whether there is more")
@pytest.mark.symbols("IORING_CQE_F_SOCK_NONEMPTY", "IORING_OP_RECV")
def test_sock_nonempty(ring: RingFactory, loopback: str) -> None:
    """IORING_CQE_F_SOCK_NONEMPTY is set while data is left, and not when all is received."""
    io_uring = ring(1)
    with connection(loopback) as (client, server):
        client.sendall(b"123456")
        assert b"123456" == server.recv(6, socket.MSG_PEEK | socket.MSG_WAITALL)
        for part, flags in ((b"1234", uring.IORING_CQE_F_SOCK_NONEMPTY), (b"56", 0)):
            buffer = bytearray(4)
            io_uring.recv(0x79, server.fileno(), buffer, 0)
            cqe = finish(io_uring, "IORING_OP_RECV")
            expect_result(cqe, 0x79, len(part))
            assert part == buffer[: cqe.res]
            assert flags == cqe.flags & uring.IORING_CQE_F_SOCK_NONEMPTY


@pytest.mark.title("send of several buffers")
@pytest.mark.symbols("IORING_SEND_VECTORIZED", "IORING_OP_SEND")
def test_send_vectorized(ring: RingFactory) -> None:
    """The buffers that an array names are sent one behind the other."""
    io_uring = ring(1)
    one, other = socket.socketpair()
    with one, other:
        parts = [b"one", b"", b"two", b"three"]
        vector = (uring.iovec * len(parts))(*[uring.iovec(part) for part in parts])
        sqe = io_uring.send(0x7A, one.fileno(), uring.iovec(ctypes.addressof(vector), len(parts)), 0)
        sqe.ioprio = uring.IORING_SEND_VECTORIZED
        assert completion(0x7A, 11) == finish(io_uring, "IORING_OP_SEND with IORING_SEND_VECTORIZED")
        assert b"onetwothree" == received(other, 11, "IORING_OP_SEND with IORING_SEND_VECTORIZED")
