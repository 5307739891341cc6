"""Connected sockets for functional tests, and receiving from them with a deadline."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import uring
from conformance.operations.support import DEADLINE_S
from conformance.support import listening, tcp_socket


@contextmanager
def connection(host: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection."""
    with listening(host) as listener, tcp_socket() as client:
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:
            yield client, server


@contextmanager
def datagrams(host: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two UDP sockets, each with a port of its own, and not connected."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        one.bind((host, 0))
        other.bind((host, 0))
        yield one, other


def peer_of(fd: int) -> tuple[str, int] | None:
    """Whom a descriptor is connected with; None if it is no connection."""
    try:
        with socket.socket(fileno=os.dup(fd)) as sock:
            host, port = sock.getpeername()
    except OSError:
        return None
    return host, port


def received(sock: socket.socket, size_bytes: int, what: str) -> bytes:
    """Receive as many bytes, or up to the end of the stream, without the ring.

    Args:
        sock: a stream, or a socket of datagrams whose next one has the size.
        size_bytes: how many.
        what: what should bring them, for the message.
    """
    __tracebackhide__ = True
    data = b""
    while len(data) < size_bytes:
        await_event(sock, select.POLLIN, what)
        # A socket with a time limit would be a non-blocking one, and the ring treats those differently.
        more = sock.recv(size_bytes - len(data), socket.MSG_DONTWAIT)
        if not more:
            break
        data += more
    return data


def await_event(sock: socket.socket, event: int, what: str) -> None:
    """Wait for a poll event of a socket."""
    __tracebackhide__ = True
    poll = select.poll()
    poll.register(sock, event)
    until_s = time.monotonic() + DEADLINE_S
    while not poll.poll(max(0.0, until_s - time.monotonic()) * 1000):
        if time.monotonic() >= until_s:
            pytest.fail(f"{what}: nothing arrived within {DEADLINE_S} s")


def fill(sock: socket.socket) -> int:
    """Send until no more goes in. Returns how many bytes are on their way."""
    sent = 0
    while True:
        try:
            sent += sock.send(bytes(1 << 16), socket.MSG_DONTWAIT)
        except BlockingIOError:
            return sent


def expect_result(cqe: uring.io_uring_cqe, user_data: int, result: int) -> None:
    """The completion of one request on a socket: it may tell that there is more to be had there, and nothing else."""
    __tracebackhide__ = True
    assert (user_data, result, 0) == (cqe.user_data, cqe.res, cqe.flags & ~uring.IORING_CQE_F_SOCK_NONEMPTY)
