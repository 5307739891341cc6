"""Connected TCP sockets for the ported tests, made as Zig's are: accepted and connected through the ring."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import uring
from conformance.support import completion, listening, tcp_socket
from conformance.zig.support import unsupported_if
from uring import E

_ACCEPT = 0xAAAAAAAA
_CONNECT = 0xCCCCCCCC


@dataclass(frozen=True, slots=True)
class SocketTestHarness:
    """Both ends of a connection and the socket that listened, as file descriptors."""

    listener: int
    server: int
    client: int


@contextmanager
def socket_test_harness(io_uring: uring.IoUring, host: str) -> Iterator[SocketTestHarness]:
    """Connect a client to a server through the ring; closes all three sockets afterwards.

    Ends the test as unsupported on a kernel that has neither IORING_OP_ACCEPT nor IORING_OP_CONNECT.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(listening(host))
        accept_address = uring.sockaddr_in()
        accept_address_length = uring.socklen_t(len(accept_address))
        io_uring.accept(_ACCEPT, listener.fileno(), accept_address, accept_address_length, 0)

        client = stack.enter_context(tcp_socket())
        address = uring.sockaddr_in(*listener.getsockname())
        io_uring.connect(_CONNECT, client.fileno(), address, len(address))

        assert 2 == io_uring.submit()

        cqe_accept = io_uring.copy_cqe()
        unsupported_if(cqe_accept, "IORING_OP_ACCEPT", E.INVAL)
        cqe_connect = io_uring.copy_cqe()
        unsupported_if(cqe_connect, "IORING_OP_CONNECT", E.INVAL)

        # They come in either order.
        if cqe_accept.user_data == _CONNECT and cqe_connect.user_data == _ACCEPT:
            cqe_accept, cqe_connect = cqe_connect, cqe_accept

        assert _ACCEPT == cqe_accept.user_data
        assert cqe_accept.res > 0
        stack.callback(os.close, cqe_accept.res)
        assert 0 == cqe_accept.flags
        assert completion(_CONNECT, 0) == cqe_connect

        yield SocketTestHarness(listener.fileno(), cqe_accept.res, client.fileno())
