"""Direct descriptors: files and sockets that live in the ring's own table."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.support import listening, opened, owned_fds, tcp_socket
from conformance.zig.support import require_kernel
from uring import IORING_CQE_F_MORE, IORING_FILE_INDEX_ALLOC, IORING_OP, IOSQE_FIXED_FILE, E

pytestmark = pytest.mark.group("Direct descriptors")


@pytest.mark.zig("accept_direct")
@pytest.mark.title("accept, direct descriptors")
@pytest.mark.symbols(
    "IORING_OP_ACCEPT",
    "IORING_FILE_INDEX_ALLOC",
    "IOSQE_FIXED_FILE",
    "IORING_OP_RECV",
    "IORING_REGISTER_FILES",
    "IORING_REGISTER_FILES_UPDATE",
    "IORING_UNREGISTER_FILES",
)
@pytest.mark.since("5.19")
def test_accept_direct(ring: RingFactory, loopback: str) -> None:
    """Connections are accepted into free places of the ring's table, used from there, and refused when it is full.

    Zig: "accept_direct"
    """
    require_kernel("5.19", ring, IORING_OP.SOCKET, needs="IORING_OP_ACCEPT with IORING_FILE_INDEX_ALLOC")
    io_uring = ring(1)

    registered_fds = [-1, -1]
    io_uring.register_files(registered_fds)

    with listening(loopback) as listener:
        address = listener.getsockname()
        accept_userdata = 0xAAAAAAAA
        read_userdata = 0xBBBBBBBB
        data = bytes(range(15))

        for _ in range(2):
            for index in range(len(registered_fds)):
                buffer_recv = bytearray(16)
                buffer_send = data[: len(data) - index]  # another length in each round

                # The kernel chooses the place.
                io_uring.accept_direct(accept_userdata, listener.fileno(), None, None, 0)
                assert 1 == io_uring.submit()

                with tcp_socket() as client:
                    client.connect(address)

                    cqe_accept = io_uring.copy_cqe()
                    assert E.SUCCESS == cqe_accept.err()
                    fd_index = cqe_accept.res
                    assert fd_index < len(registered_fds)
                    assert accept_userdata == cqe_accept.user_data

                    client.send(buffer_send)

                    # An index into the table where a descriptor would stand, and the flag that says so.
                    recv_sqe = io_uring.recv(read_userdata, fd_index, buffer_recv, 0)
                    recv_sqe.flags |= IOSQE_FIXED_FILE
                    assert 1 == io_uring.submit()

                    recv_cqe = io_uring.copy_cqe()
                    assert read_userdata == recv_cqe.user_data
                    assert len(buffer_send) == recv_cqe.res
                    assert buffer_send == buffer_recv[: len(buffer_send)]

            # The table is full.
            io_uring.accept_direct(accept_userdata, listener.fileno(), None, None, 0)
            assert 1 == io_uring.submit()
            with tcp_socket() as client:
                client.connect(address)
                cqe_accept = io_uring.copy_cqe()
                assert accept_userdata == cqe_accept.user_data
                assert E.NFILE == cqe_accept.err()

            # Empty it for the next round.
            io_uring.register_files_update(0, registered_fds)
        io_uring.unregister_files()


@pytest.mark.zig("accept_multishot_direct")
@pytest.mark.title("accept, multishot, direct descriptors")
@pytest.mark.symbols(
    "IORING_OP_ACCEPT",
    "IORING_ACCEPT_MULTISHOT",
    "IORING_FILE_INDEX_ALLOC",
    "IORING_CQE_F_MORE",
    "IORING_REGISTER_FILES",
    "IORING_REGISTER_FILES_UPDATE",
    "IORING_UNREGISTER_FILES",
)
@pytest.mark.since("5.19")
def test_accept_multishot_direct(ring: RingFactory, loopback: str) -> None:
    """One accept request fills the ring's table and ends when it is full.

    Zig: "accept_multishot_direct"
    """
    require_kernel("5.19", ring, IORING_OP.SOCKET, needs="IORING_OP_ACCEPT with IORING_FILE_INDEX_ALLOC")
    io_uring = ring(1)

    registered_fds = [-1, -1]
    io_uring.register_files(registered_fds)

    with listening(loopback) as listener:
        address = listener.getsockname()
        accept_userdata = 0xAAAAAAAA

        for _ in range(2):
            io_uring.accept_multishot_direct(accept_userdata, listener.fileno(), None, None, 0)
            assert 1 == io_uring.submit()

            for _ in registered_fds:
                with tcp_socket() as client:
                    client.connect(address)

                    cqe_accept = io_uring.copy_cqe()
                    assert cqe_accept.res < len(registered_fds)
                    assert accept_userdata == cqe_accept.user_data
                    assert cqe_accept.flags & IORING_CQE_F_MORE != 0

            # The table is full, and the request is over.
            with tcp_socket() as client:
                client.connect(address)
                cqe_accept = io_uring.copy_cqe()
                assert accept_userdata == cqe_accept.user_data
                assert E.NFILE == cqe_accept.err()
                assert 0 == cqe_accept.flags & IORING_CQE_F_MORE

            # Empty it for the next round.
            io_uring.register_files_update(0, registered_fds)
        io_uring.unregister_files()


@pytest.mark.zig("socket_direct/socket_direct_alloc/close_direct")
@pytest.mark.title("socket and close, direct descriptors")
@pytest.mark.symbols(
    "IORING_OP_SOCKET",
    "IORING_OP_CLOSE",
    "IORING_FILE_INDEX_ALLOC",
    "IOSQE_FIXED_FILE",
    "IORING_OP_ACCEPT",
    "IORING_OP_CONNECT",
    "IORING_REGISTER_FILES",
    "IORING_UNREGISTER_FILES",
)
@pytest.mark.since("5.19")
def test_socket_direct_socket_direct_alloc_close_direct(ring: RingFactory, loopback: str) -> None:
    """Sockets are created in places of the ring's table, given or chosen, then connected and closed there.

    Zig: "socket_direct/socket_direct_alloc/close_direct"
    """
    require_kernel("5.19", ring, IORING_OP.SOCKET)
    io_uring = ring(2)

    registered_fds = [-1, -1, -1]
    io_uring.register_files(registered_fds)

    # A given place makes the result 0; a chosen one is the result.
    io_uring.socket_direct(0, socket.AF_INET, socket.SOCK_STREAM, 0, 0, 0)
    assert 1 == io_uring.submit()
    cqe_socket = io_uring.copy_cqe()
    assert E.SUCCESS == cqe_socket.err()
    assert 0 == cqe_socket.res

    io_uring.socket_direct(0, socket.AF_INET, socket.SOCK_STREAM, 0, 0, 1)
    assert 1 == io_uring.submit()
    cqe_socket = io_uring.copy_cqe()
    assert E.SUCCESS == cqe_socket.err()
    assert 0 == cqe_socket.res

    io_uring.socket_direct_alloc(0, socket.AF_INET, socket.SOCK_STREAM, 0, 0)
    assert 1 == io_uring.submit()
    cqe_socket = io_uring.copy_cqe()
    assert E.SUCCESS == cqe_socket.err()
    assert 2 == cqe_socket.res

    with listening(loopback) as listener, owned_fds() as accepted:
        address = uring.sockaddr_in(*listener.getsockname())
        accept_userdata = 0xAAAAAAAA
        connect_userdata = 0xBBBBBBBB
        close_userdata = 0xCCCCCCCC

        for fd_index in range(len(registered_fds)):
            io_uring.accept(accept_userdata, listener.fileno(), None, None, 0)
            connect_sqe = io_uring.connect(connect_userdata, fd_index, address, len(address))
            connect_sqe.flags |= IOSQE_FIXED_FILE
            assert 2 == io_uring.submit()

            cqe_connect = io_uring.copy_cqe()
            cqe_accept = io_uring.copy_cqe()
            # They come in either order.
            if cqe_connect.user_data == accept_userdata and cqe_accept.user_data == connect_userdata:
                cqe_connect, cqe_accept = cqe_accept, cqe_connect
            assert connect_userdata == cqe_connect.user_data
            assert E.SUCCESS == cqe_connect.err()
            assert accept_userdata == cqe_accept.user_data
            assert E.SUCCESS == cqe_accept.err()
            accepted.add(cqe_accept.res)

            io_uring.close_direct(close_userdata, fd_index)
            assert 1 == io_uring.submit()
            cqe_close = io_uring.copy_cqe()
            assert close_userdata == cqe_close.user_data
            assert E.SUCCESS == cqe_close.err()

    io_uring.unregister_files()


@pytest.mark.zig("openat_direct/close_direct")
@pytest.mark.title("open and close, direct descriptors")
@pytest.mark.symbols(
    "IORING_OP_OPENAT", "IORING_OP_CLOSE", "IORING_FILE_INDEX_ALLOC", "IORING_REGISTER_FILES", "IORING_UNREGISTER_FILES"
)
@pytest.mark.since("5.19")
def test_openat_direct_close_direct(ring: RingFactory, scratch: Path) -> None:
    """Files are opened into places of the ring's table, given or chosen, and closed there.

    Zig: "openat_direct/close_direct"
    """
    require_kernel("5.19", ring, IORING_OP.SOCKET, needs="IORING_OP_OPENAT with IORING_FILE_INDEX_ALLOC")
    io_uring = ring(2)

    registered_fds = [-1, -1, -1]
    io_uring.register_files(registered_fds)

    path = "test_io_uring_close_direct"
    flags = os.O_RDWR | os.O_CREAT
    mode = 0o666
    user_data = 0

    with opened(scratch, os.O_DIRECTORY) as directory:
        # A given place makes the result 0; a chosen one is the result.
        io_uring.openat_direct(user_data, directory, path, flags, mode, 0)
        assert 1 == io_uring.submit()
        cqe = io_uring.copy_cqe()
        assert E.SUCCESS == cqe.err()
        assert 0 == cqe.res

        io_uring.openat_direct(user_data, directory, path, flags, mode, 1)
        assert 1 == io_uring.submit()
        cqe = io_uring.copy_cqe()
        assert E.SUCCESS == cqe.err()
        assert 0 == cqe.res

        io_uring.openat_direct(user_data, directory, path, flags, mode, IORING_FILE_INDEX_ALLOC)
        assert 1 == io_uring.submit()
        cqe = io_uring.copy_cqe()
        assert E.SUCCESS == cqe.err()
        assert 2 == cqe.res

        for fd_index in range(len(registered_fds)):
            io_uring.close_direct(user_data, fd_index)
            assert 1 == io_uring.submit()
            assert E.SUCCESS == io_uring.copy_cqe().err()

    io_uring.unregister_files()
