"""Sending without a copy: the result, the notification behind it, and what the receiver gets."""

from __future__ import annotations

import errno
import socket

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.operations.sockets import connection, datagrams, received
from conformance.operations.support import expect_no_more, finish
from conformance.support import completion

pytestmark = pytest.mark.group("Zero copy")

_MORE = uring.IORING_CQE_F_MORE
_NOTIF = uring.IORING_CQE_F_NOTIF


def _expect_both(io_uring: uring.IoUring, user_data: int, result: int, what: str) -> None:
    """A result that says that more follows, and the notification that the memory is free."""
    assert completion(user_data, result, _MORE) == finish(io_uring, what)
    assert completion(user_data, 0, _NOTIF) == finish(io_uring, f"the notification of {what}")
    expect_no_more(io_uring, what)


@pytest.mark.title("zero-copy send, the memory is free after the notification")
@pytest.mark.symbols("IORING_OP_SEND_ZC", "IORING_CQE_F_NOTIF", "IORING_CQE_F_MORE", "IORING_OP_NOP")
def test_send_zc(ring: RingFactory, loopback: str) -> None:
    """First the result, then the notification; what is changed behind it does not reach the receiver."""
    io_uring = ring(4)
    with connection(loopback) as (client, server):
        memory = bytearray(b"abc" * 2000)
        io_uring.send_zc(0xE1, client.fileno(), memory, 0, 0)
        _expect_both(io_uring, 0xE1, 6000, "IORING_OP_SEND_ZC")
        memory[:] = bytes(6000)
        assert b"abc" * 2000 == received(server, 6000, "IORING_OP_SEND_ZC")


@pytest.mark.title("zero-copy send to an address")
@pytest.mark.symbols("IORING_OP_SEND_ZC", "IORING_CQE_F_NOTIF", "IORING_CQE_F_MORE", "IORING_OP_NOP")
@pytest.mark.needs("send-zc-to-address")
def test_send_zc_to_an_address(ring: RingFactory, loopback: str) -> None:
    """A datagram of a socket that is not connected arrives where it was sent to."""
    io_uring = ring(4)
    with datagrams(loopback) as (sender, receiver):
        sqe = io_uring.send_zc(0xE2, sender.fileno(), b"to you", 0, 0)
        sqe.send_set_addr(uring.sockaddr_in(*receiver.getsockname()))
        _expect_both(io_uring, 0xE2, 6, "IORING_OP_SEND_ZC to an address")
        assert (b"to you", sender.getsockname()) == receiver.recvfrom(8, socket.MSG_DONTWAIT)


@pytest.mark.title("zero-copy send that reports whether there was a copy")
@pytest.mark.symbols(
    "IORING_SEND_ZC_REPORT_USAGE",
    "IORING_OP_SEND_ZC",
    "IORING_NOTIF_USAGE_ZC_COPIED",
    "IORING_CQE_F_NOTIF",
    "IORING_CQE_F_MORE",
)
def test_report_usage(ring: RingFactory, loopback: str) -> None:
    """On the loopback interface the receiver's queue holds a copy, and the notification says so."""
    io_uring = ring(4)
    with connection(loopback) as (client, server):
        io_uring.send_zc(0xE3, client.fileno(), b"x" * 5000, 0, uring.IORING_SEND_ZC_REPORT_USAGE)
        assert completion(0xE3, 5000, _MORE) == finish(io_uring, "IORING_OP_SEND_ZC")
        cqe = finish(io_uring, "the notification of IORING_OP_SEND_ZC")
        assert (0xE3, _NOTIF) == (cqe.user_data, cqe.flags)
        assert uring.IORING_NOTIF_USAGE_ZC_COPIED == cqe.res & 0xFFFF_FFFF
        assert b"x" * 5000 == received(server, 5000, "IORING_OP_SEND_ZC")


@pytest.mark.title("zero-copy send of a registered buffer")
@pytest.mark.symbols(
    "IORING_RECVSEND_FIXED_BUF",
    "IORING_OP_SEND_ZC",
    "IORING_REGISTER_BUFFERS",
    "IORING_CQE_F_NOTIF",
    "IORING_CQE_F_MORE",
    "IORING_OP_NOP",
)
def test_send_zc_fixed(ring: RingFactory, loopback: str) -> None:
    """The part that was named of the buffer that was named is sent; memory outside of it is refused."""
    io_uring = ring(4)
    with connection(loopback) as (client, server):
        one, other = bytearray(b"1" * 4096), bytearray(b"2" * 4000 + b"3" * 96)
        io_uring.register_buffers([one, other])
        io_uring.send_zc_fixed(0xE4, client.fileno(), memoryview(other)[3990:4010], 0, 0, 1)
        _expect_both(io_uring, 0xE4, 20, "IORING_OP_SEND_ZC with IORING_RECVSEND_FIXED_BUF")
        assert b"2" * 10 + b"3" * 10 == received(server, 20, "IORING_OP_SEND_ZC")
        io_uring.send_zc_fixed(0xE5, client.fileno(), memoryview(other)[:8], 0, 0, 0)
        _expect_failure(io_uring, 0xE5, -errno.EFAULT, "IORING_OP_SEND_ZC of memory outside of its buffer")


def _expect_failure(io_uring: uring.IoUring, user_data: int, error: int, what: str) -> None:
    """An error, and a notification behind it exactly if it says that more follows."""
    cqe = finish(io_uring, what)
    assert (user_data, error) == (cqe.user_data, cqe.res)
    if cqe.flags & _MORE:
        assert completion(user_data, 0, _NOTIF) == finish(io_uring, f"the notification of {what}")
    expect_no_more(io_uring, what)


@pytest.mark.title("zero-copy send that fails")
@pytest.mark.symbols("IORING_OP_SEND_ZC", "IORING_CQE_F_NOTIF", "IORING_CQE_F_MORE", "IORING_OP_NOP")
def test_send_zc_fails(ring: RingFactory, loopback: str) -> None:
    """Where nothing can be sent the result is the error, and a notification follows only if it says so."""
    io_uring = ring(4)
    with connection(loopback) as (client, _server):
        client.shutdown(socket.SHUT_WR)
        io_uring.send_zc(0xE6, client.fileno(), b"more", socket.MSG_NOSIGNAL, 0)
        _expect_failure(io_uring, 0xE6, -errno.EPIPE, "IORING_OP_SEND_ZC")
    one, other = socket.socketpair()
    with one, other:
        io_uring.send_zc(0xE7, one.fileno(), b"more", 0, 0)
        _expect_failure(io_uring, 0xE7, -errno.EOPNOTSUPP, "IORING_OP_SEND_ZC of a socket that cannot")


@pytest.mark.title("zero-copy sendmsg")
@pytest.mark.symbols("IORING_OP_SENDMSG_ZC", "IORING_CQE_F_NOTIF", "IORING_CQE_F_MORE", "IORING_OP_NOP")
def test_sendmsg_zc(ring: RingFactory, loopback: str) -> None:
    """The pieces of a message arrive together at its address; they are free after the notification."""
    io_uring = ring(4)
    with datagrams(loopback) as (sender, receiver):
        first, second = bytearray(b"one"), bytearray(b"two")
        address = uring.sockaddr_in(*receiver.getsockname())
        io_uring.sendmsg_zc(0xE8, sender.fileno(), uring.msghdr(name=address, iov=[first, second]), 0)
        _expect_both(io_uring, 0xE8, 6, "IORING_OP_SENDMSG_ZC")
        first[:], second[:] = b"???", b"???"
        assert (b"onetwo", sender.getsockname()) == receiver.recvfrom(8, socket.MSG_DONTWAIT)


@pytest.mark.title("zero-copy sendmsg of a registered buffer")
@pytest.mark.symbols(
    "IORING_OP_SENDMSG_ZC",
    "IORING_RECVSEND_FIXED_BUF",
    "IORING_REGISTER_BUFFERS",
    "IORING_CQE_F_NOTIF",
    "IORING_CQE_F_MORE",
    "IORING_OP_NOP",
)
@pytest.mark.needs("sendmsg-zc-fixed-buf")
def test_sendmsg_zc_fixed(ring: RingFactory, loopback: str) -> None:
    """Several parts of one registered buffer are sent one behind the other."""
    io_uring = ring(4)
    with connection(loopback) as (client, server):
        memory = bytearray(b"1" * 2000 + b"2" * 2096)
        io_uring.register_buffers([memory])
        view = memoryview(memory)
        message = uring.msghdr(iov=[view[3000:3003], view[1998:2001]])
        io_uring.sendmsg_zc_fixed(0xE9, client.fileno(), message, 0, 0)
        _expect_both(io_uring, 0xE9, 6, "IORING_OP_SENDMSG_ZC with IORING_RECVSEND_FIXED_BUF")
        assert b"222112" == received(server, 6, "IORING_OP_SENDMSG_ZC")
