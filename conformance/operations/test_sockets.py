"""What socket operations do to sockets: connections, shutting down, options and commands."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
import termios
import time

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.operations.sockets import await_event, connection, datagrams, expect_result, fill, peer_of, received
from conformance.operations.support import expect_no_more, finish, reap
from conformance.support import completion, listening, owned_fds, tcp_socket

pytestmark = pytest.mark.group("Sockets")


# ---- accept and connect


@pytest.mark.title("accept, who connects, flags of the descriptor")
@pytest.mark.symbols("IORING_OP_ACCEPT")
@pytest.mark.parametrize("flags", [0, socket.SOCK_CLOEXEC, socket.SOCK_NONBLOCK], ids=["none", "cloexec", "nonblock"])
def test_accept_flags(ring: RingFactory, loopback: str, flags: int) -> None:
    """The accepted descriptor has the flags that were asked for and no others, and the client's address is told."""
    io_uring = ring(1)
    with listening(loopback) as listener, tcp_socket() as client, owned_fds() as fds:
        client.connect(listener.getsockname())
        address = uring.sockaddr_in()
        length = uring.socklen_t(len(address))
        io_uring.accept(0xA1, listener.fileno(), address, length, flags)
        cqe = finish(io_uring, "IORING_OP_ACCEPT")
        assert cqe.res >= 0
        expect_result(cqe, 0xA1, cqe.res)
        fds.add(cqe.res)
        assert client.getsockname() == (address.host, address.port)
        assert client.getsockname() == peer_of(cqe.res)
        assert len(address) == length.value
        assert bool(flags & socket.SOCK_CLOEXEC) == bool(fcntl.fcntl(cqe.res, fcntl.F_GETFD) & fcntl.FD_CLOEXEC)
        assert bool(flags & socket.SOCK_NONBLOCK) == bool(fcntl.fcntl(cqe.res, fcntl.F_GETFL) & os.O_NONBLOCK)


@pytest.mark.title("accept, waiting for a connection")
@pytest.mark.symbols("IORING_OP_ACCEPT", "IORING_OP_NOP")
def test_accept_waits(ring: RingFactory, loopback: str) -> None:
    """Without anybody who connects nothing completes; then the connection arrives and carries data."""
    io_uring = ring(4)
    with listening(loopback) as listener, tcp_socket() as client, owned_fds() as fds:
        io_uring.accept(0xA2, listener.fileno(), None, None, 0)
        expect_no_more(io_uring, "IORING_OP_ACCEPT")
        client.connect(listener.getsockname())
        cqe = finish(io_uring, "IORING_OP_ACCEPT")
        assert cqe.res >= 0
        expect_result(cqe, 0xA2, cqe.res)
        fds.add(cqe.res)
        client.sendall(b"hello")
        with socket.socket(fileno=os.dup(cqe.res)) as server:
            assert b"hello" == received(server, 5, "what was sent to the accepted connection")


@pytest.mark.title("accept without waiting")
@pytest.mark.symbols("IORING_ACCEPT_DONTWAIT", "IORING_OP_ACCEPT")
def test_accept_dontwait(ring: RingFactory, loopback: str) -> None:
    """Where nobody connects it fails at once; where somebody did it accepts."""
    io_uring = ring(1)
    with listening(loopback) as listener, tcp_socket() as client, owned_fds() as fds:
        io_uring.accept(0xA3, listener.fileno(), None, None, 0).ioprio = uring.IORING_ACCEPT_DONTWAIT
        assert completion(0xA3, -errno.EAGAIN) == finish(io_uring, "IORING_OP_ACCEPT")
        client.connect(listener.getsockname())
        io_uring.accept(0xA4, listener.fileno(), None, None, 0).ioprio = uring.IORING_ACCEPT_DONTWAIT
        cqe = finish(io_uring, "IORING_OP_ACCEPT")
        assert cqe.res >= 0
        expect_result(cqe, 0xA4, cqe.res)
        fds.add(cqe.res)
        assert client.getsockname() == peer_of(cqe.res)


@pytest.mark.title("accept, polling first")
@pytest.mark.symbols("IORING_ACCEPT_POLL_FIRST", "IORING_OP_ACCEPT", "IORING_OP_NOP")
def test_accept_poll_first(ring: RingFactory, loopback: str) -> None:
    """It waits for a connection, and takes one that is there already."""
    io_uring = ring(4)
    with listening(loopback) as listener, owned_fds() as fds:
        for is_early in (True, False):
            with tcp_socket() as client:
                if is_early:
                    client.connect(listener.getsockname())
                io_uring.accept(0xA5, listener.fileno(), None, None, 0).ioprio = uring.IORING_ACCEPT_POLL_FIRST
                if not is_early:
                    expect_no_more(io_uring, "IORING_OP_ACCEPT")
                    client.connect(listener.getsockname())
                cqe = finish(io_uring, "IORING_OP_ACCEPT")
                assert cqe.res >= 0
                expect_result(cqe, 0xA5, cqe.res)
                fds.add(cqe.res)
                assert client.getsockname() == peer_of(cqe.res)


@pytest.mark.title("connect where nobody listens")
@pytest.mark.symbols("IORING_OP_CONNECT")
def test_connect_refused(ring: RingFactory, loopback: str) -> None:
    """A port that is bound and not listened on refuses."""
    io_uring = ring(1)
    with tcp_socket() as bound, tcp_socket() as client:
        bound.bind((loopback, 0))
        io_uring.connect(0xC1, client.fileno(), uring.sockaddr_in(*bound.getsockname()))
        assert completion(0xC1, -errno.ECONNREFUSED) == finish(io_uring, "IORING_OP_CONNECT")


@pytest.mark.title("connect, waiting and cancelled")
@pytest.mark.symbols("IORING_OP_CONNECT", "IORING_OP_ASYNC_CANCEL", "IORING_OP_NOP")
def test_connect_in_progress(ring: RingFactory, loopback: str) -> None:
    """Where the queue of a listener is full, connecting takes its time, and can be cancelled while it does."""
    io_uring = ring(4)
    with tcp_socket() as listener, tcp_socket() as first, tcp_socket() as second:
        listener.bind((loopback, 0))
        listener.listen(0)
        first.connect(listener.getsockname())
        io_uring.connect(0xC2, second.fileno(), uring.sockaddr_in(*listener.getsockname()))
        expect_no_more(io_uring, "IORING_OP_CONNECT")
        io_uring.cancel(0xC3, 0xC2, 0)
        io_uring.submit()
        found = reap(io_uring, 2, "IORING_OP_CONNECT and its IORING_OP_ASYNC_CANCEL")
        assert [completion(0xC2, -errno.ECANCELED), completion(0xC3, 0)] == sorted(found)


@pytest.mark.title("bind, listen and their effect")
@pytest.mark.symbols("IORING_OP_BIND", "IORING_OP_LISTEN")
def test_bind_and_listen(ring: RingFactory, loopback: str) -> None:
    """A bound socket has an address, which is taken for others; nobody can connect before it listens."""
    io_uring = ring(1)
    with tcp_socket() as server, tcp_socket() as other, tcp_socket() as client:
        io_uring.bind(0xB1, server.fileno(), uring.sockaddr_in(loopback, 0))
        assert completion(0xB1, 0) == finish(io_uring, "IORING_OP_BIND")
        host, port = server.getsockname()
        assert loopback == host
        assert port != 0

        io_uring.bind(0xB2, other.fileno(), uring.sockaddr_in(host, port))
        assert completion(0xB2, -errno.EADDRINUSE) == finish(io_uring, "IORING_OP_BIND")

        assert errno.ECONNREFUSED == client.connect_ex((host, port))
        io_uring.listen(0xB3, server.fileno(), 1, 0)
        assert completion(0xB3, 0) == finish(io_uring, "IORING_OP_LISTEN")
        assert 0 == client.connect_ex((host, port))


# ---- making and shutting down


@pytest.mark.title("socket, its kind and its flags")
@pytest.mark.symbols("IORING_OP_SOCKET")
def test_socket_kinds(ring: RingFactory) -> None:
    """Domain, type and protocol are those that were asked for, and so are the flags of the descriptor."""
    io_uring = ring(1)
    for domain, kind, protocol in (
        (socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_UDP),
        (socket.AF_UNIX, socket.SOCK_SEQPACKET, 0),
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP),
    ):
        for flags in (0, socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK):
            io_uring.socket(0x50, domain, kind | flags, protocol, 0)
            cqe = finish(io_uring, "IORING_OP_SOCKET")
            assert cqe.res >= 0
            expect_result(cqe, 0x50, cqe.res)
            with socket.socket(fileno=cqe.res) as made:
                assert (domain, kind, protocol) == tuple(
                    made.getsockopt(socket.SOL_SOCKET, name)
                    for name in (socket.SO_DOMAIN, socket.SO_TYPE, socket.SO_PROTOCOL)
                )
                assert bool(flags) == bool(fcntl.fcntl(made, fcntl.F_GETFD) & fcntl.FD_CLOEXEC)
                assert bool(flags) == bool(fcntl.fcntl(made, fcntl.F_GETFL) & os.O_NONBLOCK)


@pytest.mark.title("shutdown of sending")
@pytest.mark.symbols("IORING_OP_SHUTDOWN")
def test_shutdown_write(ring: RingFactory) -> None:
    """The peer reads to an end, nothing more can be sent, and the other direction is open."""
    io_uring = ring(1)
    one, other = socket.socketpair()
    with one, other:
        one.send(b"last")
        io_uring.shutdown(0x51, one.fileno(), socket.SHUT_WR)
        assert completion(0x51, 0) == finish(io_uring, "IORING_OP_SHUTDOWN")
        assert b"last" == received(other, 99, "what was sent before IORING_OP_SHUTDOWN, and the end")
        with pytest.raises(BrokenPipeError):
            one.send(b"more", socket.MSG_NOSIGNAL)
        other.send(b"back")
        assert b"back" == received(one, 4, "the other direction")


@pytest.mark.title("shutdown of receiving")
@pytest.mark.symbols("IORING_OP_SHUTDOWN")
def test_shutdown_read(ring: RingFactory) -> None:
    """Receiving comes to an end, the peer can send nothing more, and the other direction is open."""
    io_uring = ring(1)
    one, other = socket.socketpair()
    with one, other:
        io_uring.shutdown(0x52, one.fileno(), socket.SHUT_RD)
        assert completion(0x52, 0) == finish(io_uring, "IORING_OP_SHUTDOWN")
        assert b"" == received(one, 1, "the end")
        with pytest.raises(BrokenPipeError):
            other.send(b"more", socket.MSG_NOSIGNAL)
        one.send(b"out")
        assert b"out" == received(other, 3, "the other direction")


@pytest.mark.title("shutdown of what is not connected")
@pytest.mark.symbols("IORING_OP_SHUTDOWN")
def test_shutdown_of_no_connection(ring: RingFactory) -> None:
    """Both directions of a socket that was never connected: an error."""
    io_uring = ring(1)
    with tcp_socket() as sock:
        io_uring.shutdown(0x53, sock.fileno(), socket.SHUT_RDWR)
        assert completion(0x53, -errno.ENOTCONN) == finish(io_uring, "IORING_OP_SHUTDOWN")


@pytest.mark.title("shutdown ends a receive that waits")
@pytest.mark.symbols("IORING_OP_SHUTDOWN", "IORING_OP_RECV", "IORING_OP_NOP")
def test_shutdown_ends_a_receive(ring: RingFactory) -> None:
    """A receive that waits completes with nothing, which is the end of the stream."""
    io_uring = ring(4)
    one, other = socket.socketpair()
    with one, other:
        io_uring.recv(0x54, one.fileno(), bytearray(4), 0)
        expect_no_more(io_uring, "IORING_OP_RECV")
        io_uring.shutdown(0x55, other.fileno(), socket.SHUT_WR)
        io_uring.submit()
        found = reap(io_uring, 2, "IORING_OP_SHUTDOWN and IORING_OP_RECV")
        for cqe, user_data in zip(sorted(found), (0x54, 0x55), strict=True):
            expect_result(cqe, user_data, 0)


# ---- commands


@pytest.mark.title("how much there is to receive")
@pytest.mark.symbols("SOCKET_URING_OP_SIOCINQ", "IORING_OP_URING_CMD")
def test_siocinq(ring: RingFactory, loopback: str) -> None:
    """The command tells how many bytes wait, before and after some of them were received."""
    io_uring = ring(1)
    with connection(loopback) as (client, server):
        client.sendall(b"12345")
        assert b"12345" == _peek_all(server, 5)
        for taken, left in ((0, 5), (2, 3), (3, 0)):
            assert taken == len(received(server, taken, "what was sent"))
            io_uring.cmd_sock(0xD1, uring.IO_URING_SOCKET_OP.SIOCINQ, server.fileno(), 0, 0, None, 0)
            assert completion(0xD1, left) == finish(io_uring, "SOCKET_URING_OP_SIOCINQ")


def _peek_all(sock: socket.socket, size_bytes: int) -> bytes:
    """Wait until as many bytes have arrived, and leave them."""
    data = b""
    until_s = time.monotonic() + 10
    while len(data) < size_bytes and time.monotonic() < until_s:
        await_event(sock, select.POLLIN, "what was sent")
        data = sock.recv(size_bytes, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    return data


@pytest.mark.title("how much was not delivered")
@pytest.mark.symbols("SOCKET_URING_OP_SIOCOUTQ", "IORING_OP_URING_CMD")
def test_siocoutq(ring: RingFactory, loopback: str) -> None:
    """The command tells what ioctl(2) tells of a peer that does not receive: that bytes wait, and how many."""
    io_uring = ring(1)
    with connection(loopback) as (client, _server):
        fill(client)
        before, cqe, after = (
            _outq(client),
            _siocoutq(io_uring, client.fileno()),
            _outq(client),
        )
        assert (0xD2, 0) == (cqe.user_data, cqe.flags)
        assert cqe.res > 0
        assert before >= cqe.res >= after


def _siocoutq(io_uring: uring.IoUring, fd: int) -> uring.io_uring_cqe:
    io_uring.cmd_sock(0xD2, uring.IO_URING_SOCKET_OP.SIOCOUTQ, fd, 0, 0, None, 0)
    return finish(io_uring, "SOCKET_URING_OP_SIOCOUTQ")


def _outq(sock: socket.socket) -> int:
    return int(struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0])


@pytest.mark.title("getsockopt")
@pytest.mark.symbols("SOCKET_URING_OP_GETSOCKOPT", "IORING_OP_URING_CMD")
def test_getsockopt(ring: RingFactory) -> None:
    """The option's value is written, and its length is the result."""
    io_uring = ring(1)
    with tcp_socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 77)
        value = bytearray(b"\xee" * 8)
        option = memoryview(value)[:4]
        io_uring.getsockopt(0xD3, sock.fileno(), socket.SOL_SOCKET, socket.SO_RCVLOWAT, option)
        assert completion(0xD3, 4) == finish(io_uring, "SOCKET_URING_OP_GETSOCKOPT")
        assert struct.pack("=i", 77) + b"\xee" * 4 == value


@pytest.mark.title("setsockopt")
@pytest.mark.symbols("SOCKET_URING_OP_SETSOCKOPT", "IORING_OP_URING_CMD")
def test_setsockopt(ring: RingFactory) -> None:
    """The socket has the option's value then, on the level that was named; an unknown option is refused."""
    io_uring = ring(1)
    with tcp_socket() as sock:
        for level, name, value in (
            (socket.SOL_SOCKET, socket.SO_RCVLOWAT, 55),
            (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        ):
            assert value != sock.getsockopt(level, name)
            io_uring.setsockopt(0xD4, sock.fileno(), level, name, struct.pack("=i", value))
            assert completion(0xD4, 0) == finish(io_uring, "SOCKET_URING_OP_SETSOCKOPT")
            assert value == sock.getsockopt(level, name)
        io_uring.setsockopt(0xD5, sock.fileno(), socket.SOL_SOCKET, 0x7FFF, bytes(4))
        assert completion(0xD5, -errno.ENOPROTOOPT) == finish(io_uring, "SOCKET_URING_OP_SETSOCKOPT")


@pytest.mark.title("getsockname and getpeername")
@pytest.mark.symbols("SOCKET_URING_OP_GETSOCKNAME", "IORING_OP_URING_CMD")
def test_getsockname(ring: RingFactory, loopback: str) -> None:
    """A connection's own address, and the peer's."""
    io_uring = ring(1)
    with connection(loopback) as (client, _server):
        for is_peer, expected in ((0, client.getsockname()), (1, client.getpeername())):
            address = uring.sockaddr_storage()
            length = uring.socklen_t(len(address))
            io_uring.cmd_getsockname(0xD6, client.fileno(), address, length, is_peer)
            assert completion(0xD6, 0) == finish(io_uring, "SOCKET_URING_OP_GETSOCKNAME")
            assert ctypes.sizeof(uring.sockaddr_in) == length.value
            name = uring.sockaddr_in.from_buffer(address)
            assert expected == (name.host, name.port)
    with tcp_socket() as sock:
        io_uring.cmd_getsockname(0xD7, sock.fileno(), uring.sockaddr_storage(), uring.socklen_t(128), 1)
        assert completion(0xD7, -errno.ENOTCONN) == finish(io_uring, "SOCKET_URING_OP_GETSOCKNAME")


# linux/net_tstamp.h
_TX_SOFTWARE, _SOFTWARE, _OPT_ID, _OPT_TSONLY = 1 << 1, 1 << 4, 1 << 7, 1 << 11
_SO_TIMESTAMPING = 37


@pytest.mark.title("time stamps of what was sent")
@pytest.mark.symbols(
    "SOCKET_URING_OP_TX_TIMESTAMP",
    "IORING_OP_URING_CMD",
    "IORING_SETUP_CQE32",
    "IORING_CQE_F_MORE",
    "IORING_OP_ASYNC_CANCEL",
)
def test_tx_timestamp(ring: RingFactory, loopback: str) -> None:
    """Each datagram brings a completion with its number and the time at which it was sent, until cancelled."""
    io_uring = ring(4, uring.IORING_SETUP_CQE32)
    with datagrams(loopback) as (sender, receiver):
        flags = _TX_SOFTWARE | _SOFTWARE | _OPT_ID | _OPT_TSONLY
        sender.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPING, flags)
        io_uring.cmd_sock(0xD8, uring.IO_URING_SOCKET_OP.TX_TIMESTAMP, sender.fileno(), 0, 0, None, 0)
        io_uring.submit()
        before_ns = time.time_ns()
        for number in range(2):
            sender.sendto(b"now", receiver.getsockname())
            cqe = finish(io_uring, "SOCKET_URING_OP_TX_TIMESTAMP")
            after_ns = time.time_ns()
            assert (0xD8, number) == (cqe.user_data, cqe.res)
            # SCM_TSTAMP_SND is 0, and there is no hardware.
            assert uring.IORING_CQE_F_MORE == cqe.flags & (
                uring.IORING_CQE_F_MORE | uring.IORING_CQE_F_TSTAMP_HW | 3 << uring.IORING_TIMESTAMP_TYPE_SHIFT
            )
            seconds, nanoseconds = cqe.big_cqe
            assert before_ns <= seconds * 1_000_000_000 + nanoseconds <= after_ns
            before_ns = after_ns
        io_uring.cancel(0xD9, 0xD8, 0)
        io_uring.submit()
        found = reap(io_uring, 2, "SOCKET_URING_OP_TX_TIMESTAMP and its IORING_OP_ASYNC_CANCEL")
        assert [(0xD8, -errno.ECANCELED, 0), (0xD9, 0, 0)] == sorted(cqe[:3] for cqe in found)
