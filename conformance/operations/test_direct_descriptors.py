"""Direct descriptors: files, sockets and pipes are made in slots, used there, replaced, closed, and brought out."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.operations.support import DEADLINE_S, complete, content_of, is_open
from conformance.support import completion, listening, opened, owned_fds, tcp_socket
from uring import IORING_FILE_INDEX_ALLOC, IORING_FIXED_FD_NO_CLOEXEC, IOSQE_FIXED_FILE, IOSQE_IO_LINK

pytestmark = pytest.mark.group("Direct descriptors")


def _read(io_uring: uring.IoUring, slot: int) -> bytes | int:
    """What a read from a slot gets, or the error."""
    buffer = bytearray(16)
    io_uring.read(0x77, slot, buffer, 0).flags |= IOSQE_FIXED_FILE
    (cqe,) = complete(io_uring, 1, "IORING_OP_READ from a slot")
    assert (0x77, 0) == (cqe.user_data, cqe.flags)
    return bytes(buffer[: cqe.res]) if cqe.res >= 0 else cqe.res


@contextmanager
def _only_in_slot(io_uring: uring.IoUring, slots: int) -> Iterator[socket.socket]:
    """A table whose first slot has one end of a pair of sockets, which has no descriptor; the other end."""
    one, other = socket.socketpair()
    with other:
        with one:
            io_uring.register_files([one.fileno()] + [-1] * (slots - 1))
        yield other


def _received(peer: socket.socket) -> bytes:
    return content_of(peer.fileno(), DEADLINE_S)


def _is_at_end(peer: socket.socket) -> bool:
    """Whether nobody has the other end any more; the kernel may take a moment to let it go."""
    poll = select.poll()
    poll.register(peer, select.POLLIN)
    return bool(poll.poll(DEADLINE_S * 1000)) and peer.recv(1) == b""


@pytest.mark.title("openat2 into slots")
@pytest.mark.symbols(
    "IORING_OP_OPENAT2",
    "IORING_FILE_INDEX_ALLOC",
    "IORING_OP_READ",
    "IOSQE_FIXED_FILE",
    "IORING_REGISTER_FILES",
    "IORING_UNREGISTER_FILES",
)
@pytest.mark.needs("openat2-direct", "openat2-direct-alloc")
def test_openat2_direct(ring: RingFactory, scratch: Path) -> None:
    """A file is opened into the slot that is named, or into a free one, and read from there."""
    io_uring = ring(1)
    for name in ("one", "two"):
        (scratch / name).write_text(name)
    io_uring.register_files([-1, -1, -1])
    with opened(scratch, os.O_DIRECTORY) as directory:
        how = uring.open_how(os.O_RDONLY)
        io_uring.openat2_direct(0x11, directory, "one", how, 2)
        assert [completion(0x11, 0)] == complete(io_uring, 1, "IORING_OP_OPENAT2 into a slot")
        io_uring.openat2_direct(0x12, directory, "two", how, IORING_FILE_INDEX_ALLOC)
        (cqe,) = complete(io_uring, 1, "IORING_OP_OPENAT2 into a free slot")
        assert (0x12, 0) == (cqe.user_data, cqe.flags)
        assert cqe.res in (0, 1)
        assert (b"one", b"two", -errno.EBADF) == tuple(_read(io_uring, slot) for slot in (2, cqe.res, 1 - cqe.res))
    io_uring.unregister_files()


@pytest.mark.title("open into a slot, refused")
@pytest.mark.symbols(
    "IORING_OP_OPENAT", "IORING_OP_READ", "IOSQE_FIXED_FILE", "IORING_REGISTER_FILES", "IORING_UNREGISTER_FILES"
)
@pytest.mark.needs("openat-direct")
def test_open_direct_refused(ring: RingFactory, scratch: Path) -> None:
    """There are no slots but the table's, there is nothing to be closed by exec, and an error leaves the slot alone."""
    io_uring = ring(1)
    io_uring.open_direct(0x13, "/dev/null", os.O_RDONLY, 0, 0)
    assert [completion(0x13, -errno.ENXIO)] == complete(io_uring, 1, "IORING_OP_OPENAT without a table")
    (scratch / "file").write_bytes(b"content")
    with opened(scratch / "file") as file:
        io_uring.register_files([file])
        for path, flags, slot, number in (
            ("/dev/null", os.O_RDONLY, 1, errno.EINVAL),
            ("/dev/null", os.O_CLOEXEC, 0, errno.EINVAL),
            ("/dev/null/none", os.O_RDONLY, 0, errno.ENOTDIR),
        ):
            io_uring.open_direct(0x14, path, flags, 0, slot)
            assert [completion(0x14, -number)] == complete(io_uring, 1, "IORING_OP_OPENAT into a slot")
            assert b"content" == _read(io_uring, 0)
        io_uring.unregister_files()


@pytest.mark.title("a slot in use is replaced")
@pytest.mark.symbols(
    "IORING_OP_OPENAT", "IORING_OP_READ", "IOSQE_FIXED_FILE", "IORING_REGISTER_FILES", "IORING_UNREGISTER_FILES"
)
@pytest.mark.needs("openat-direct")
def test_slot_in_use_is_replaced(ring: RingFactory, scratch: Path) -> None:
    """A file that is opened into it takes the other one's place, which is closed."""
    io_uring = ring(1)
    (scratch / "file").write_bytes(b"content")
    with _only_in_slot(io_uring, 2) as peer:
        io_uring.open_direct(0x15, scratch / "file", os.O_RDONLY, 0, 0)
        assert [completion(0x15, 0)] == complete(io_uring, 1, "IORING_OP_OPENAT into a slot in use")
        assert b"content" == _read(io_uring, 0)
        assert _is_at_end(peer)
        io_uring.unregister_files()


@pytest.mark.title("close of a slot")
@pytest.mark.symbols(
    "IORING_OP_CLOSE",
    "IORING_OP_READ",
    "IORING_OP_WRITE",
    "IOSQE_FIXED_FILE",
    "IORING_REGISTER_FILES",
    "IORING_UNREGISTER_FILES",
)
@pytest.mark.needs("close-direct")
def test_close_direct(ring: RingFactory) -> None:
    """The file is closed, as its peer sees, and the slot empty; an empty one cannot be closed, one beyond neither."""
    io_uring = ring(1)
    with _only_in_slot(io_uring, 2) as peer:
        io_uring.write(0x21, 0, b"abc", 0).flags |= IOSQE_FIXED_FILE
        assert [completion(0x21, 3)] == complete(io_uring, 1, "IORING_OP_WRITE to a slot")
        assert b"abc" == _received(peer)
        io_uring.close_direct(0x22, 0)
        assert [completion(0x22, 0)] == complete(io_uring, 1, "IORING_OP_CLOSE of a slot")
        assert -errno.EBADF == _read(io_uring, 0)
        assert _is_at_end(peer)
        for slot, number in ((0, errno.EBADF), (1, errno.EBADF), (2, errno.EINVAL)):
            io_uring.close_direct(0x23, slot)
            assert [completion(0x23, -number)] == complete(io_uring, 1, "IORING_OP_CLOSE of a slot without a file")
        io_uring.unregister_files()
        io_uring.close_direct(0x24, 0)
        assert [completion(0x24, -errno.ENXIO)] == complete(io_uring, 1, "IORING_OP_CLOSE without a table")


@pytest.mark.title("close of a descriptor")
@pytest.mark.symbols("IORING_OP_CLOSE")
def test_close_of_a_descriptor(ring: RingFactory) -> None:
    """The file is closed, as its peer sees; its descriptor is none any more, and a ring is not closed by itself."""
    io_uring = ring(1)
    one, other = socket.socketpair()
    with one, other, owned_fds() as fds:
        fd = one.detach()
        fds.add(fd)
        io_uring.close(0x25, fd)
        assert [completion(0x25, 0)] == complete(io_uring, 1, "IORING_OP_CLOSE")
        fds.remove(fd)
        assert _is_at_end(other)
        for number in (fd, io_uring.fd):
            io_uring.close(0x26, number)
            assert [completion(0x26, -errno.EBADF)] == complete(io_uring, 1, "IORING_OP_CLOSE")


@pytest.mark.title("a chain that opens, reads and closes")
@pytest.mark.symbols(
    "IORING_OP_OPENAT",
    "IORING_OP_READ",
    "IORING_OP_CLOSE",
    "IOSQE_FIXED_FILE",
    "IOSQE_IO_LINK",
    "IORING_REGISTER_FILES",
    "IORING_UNREGISTER_FILES",
)
@pytest.mark.needs("openat-direct", "close-direct", "feat-linked-file")
def test_open_read_close(ring: RingFactory, scratch: Path) -> None:
    """One submission: the file that the first request opens is the one that those behind it use."""
    io_uring = ring(4)
    (scratch / "file").write_bytes(b"content")
    io_uring.register_files([-1])
    # A read of less than is asked for would end the chain.
    buffer = bytearray(len(b"content"))
    io_uring.open_direct(0x27, scratch / "file", os.O_RDONLY, 0, 0).link_next()
    io_uring.read(0x28, 0, buffer, 0).flags |= IOSQE_FIXED_FILE | IOSQE_IO_LINK
    io_uring.close_direct(0x29, 0)
    assert [completion(0x27, 0), completion(0x28, 7), completion(0x29, 0)] == complete(io_uring, 3, "a linked chain")
    assert b"content" == buffer
    assert -errno.EBADF == _read(io_uring, 0)
    io_uring.unregister_files()


@pytest.mark.title("accept into a named slot")
@pytest.mark.symbols(
    "IORING_OP_ACCEPT",
    "IORING_OP_READ",
    "IORING_OP_WRITE",
    "IOSQE_FIXED_FILE",
    "IORING_REGISTER_FILES",
    "IORING_UNREGISTER_FILES",
)
@pytest.mark.needs("accept-direct")
def test_accept_into_a_named_slot(ring: RingFactory, loopback: str) -> None:
    """The connection lies in the slot, is used there, and replaces what was in it."""
    io_uring = ring(1)
    with _only_in_slot(io_uring, 1) as peer, listening(loopback) as listener, tcp_socket() as client:
        client.connect(listener.getsockname())
        sqe = io_uring.get_sqe()
        sqe.prep_accept_direct(listener.fileno(), None, None, 0, 0)
        sqe.user_data = 0x31
        assert [completion(0x31, 0)] == complete(io_uring, 1, "IORING_OP_ACCEPT into a slot")
        assert _is_at_end(peer)
        client.sendall(b"to the slot")
        assert b"to the slot" == _read(io_uring, 0)
        io_uring.write(0x32, 0, b"from the slot", 0).flags |= IOSQE_FIXED_FILE
        assert [completion(0x32, 13)] == complete(io_uring, 1, "IORING_OP_WRITE to a slot")
        assert b"from the slot" == _received(client)
        io_uring.unregister_files()


@pytest.mark.title("socket into a named slot")
@pytest.mark.symbols(
    "IORING_OP_SOCKET",
    "IORING_OP_CONNECT",
    "IORING_OP_WRITE",
    "IOSQE_FIXED_FILE",
    "IORING_REGISTER_FILES",
    "IORING_UNREGISTER_FILES",
)
@pytest.mark.needs("socket-direct")
def test_socket_into_a_named_slot(ring: RingFactory, scratch: Path) -> None:
    """The socket lies in the slot and is used there; there are no other slots than the table's."""
    io_uring = ring(1)
    io_uring.register_files([-1, -1])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(scratch / "socket"))
        io_uring.socket_direct(0x33, socket.AF_UNIX, socket.SOCK_DGRAM, 0, 0, 1)
        assert [completion(0x33, 0)] == complete(io_uring, 1, "IORING_OP_SOCKET into a slot")
        address = uring.sockaddr_un(scratch / "socket")
        io_uring.connect(0x34, 1, address).flags |= IOSQE_FIXED_FILE
        assert [completion(0x34, 0)] == complete(io_uring, 1, "IORING_OP_CONNECT of a slot")
        io_uring.write(0x35, 1, b"abc", 0).flags |= IOSQE_FIXED_FILE
        assert [completion(0x35, 3)] == complete(io_uring, 1, "IORING_OP_WRITE to a slot")
        assert b"abc" == _received(receiver)
        io_uring.socket_direct(0x36, socket.AF_UNIX, socket.SOCK_DGRAM, 0, 0, 2)
        assert [completion(0x36, -errno.EINVAL)] == complete(io_uring, 1, "IORING_OP_SOCKET beyond the table")
    io_uring.unregister_files()


@pytest.mark.title("pipe into named slots")
@pytest.mark.symbols(
    "IORING_OP_PIPE",
    "IORING_OP_WRITE",
    "IORING_OP_READ",
    "IOSQE_FIXED_FILE",
    "IORING_REGISTER_FILES",
    "IORING_UNREGISTER_FILES",
)
@pytest.mark.needs("pipe-direct")
def test_pipe_into_named_slots(ring: RingFactory) -> None:
    """One end lies in the slot that is named, and the other one behind it."""
    io_uring = ring(1)
    io_uring.register_files([-1] * 4)
    io_uring.pipe_direct(0x41, (ctypes.c_int32 * 2)(-1, -1), 0, 1)
    assert [completion(0x41, 0)] == complete(io_uring, 1, "IORING_OP_PIPE into slots")
    io_uring.write(0x42, 2, b"abc", 0).flags |= IOSQE_FIXED_FILE
    assert [completion(0x42, 3)] == complete(io_uring, 1, "IORING_OP_WRITE to a slot")
    assert [-errno.EBADF, b"abc", -errno.EBADF] == [_read(io_uring, slot) for slot in (0, 1, 3)]
    io_uring.pipe_direct(0x43, (ctypes.c_int32 * 2)(-1, -1), 0, 3)
    assert [completion(0x43, -errno.EINVAL)] == complete(io_uring, 1, "IORING_OP_PIPE into the last slot")
    io_uring.unregister_files()


@pytest.mark.title("pipe into named slots, which are told")
@pytest.mark.symbols("IORING_OP_PIPE", "IORING_REGISTER_FILES", "IORING_UNREGISTER_FILES")
@pytest.mark.needs("pipe-direct")
def test_pipe_tells_named_slots(ring: RingFactory) -> None:
    """What is written where descriptors would be told are the slots."""
    io_uring = ring(1)
    io_uring.register_files([-1] * 4)
    ends = (ctypes.c_int32 * 2)(-1, -1)
    io_uring.pipe_direct(0x44, ends, 0, 1)
    assert [completion(0x44, 0)] == complete(io_uring, 1, "IORING_OP_PIPE into slots")
    assert [1, 2] == list(ends), "the slots that IORING_OP_PIPE tells"
    io_uring.unregister_files()


@pytest.mark.title("pipe into free slots")
@pytest.mark.symbols(
    "IORING_OP_PIPE",
    "IORING_FILE_INDEX_ALLOC",
    "IORING_OP_WRITE",
    "IORING_OP_READ",
    "IOSQE_FIXED_FILE",
    "IORING_REGISTER_FILES",
    "IORING_UNREGISTER_FILES",
)
@pytest.mark.needs("pipe-direct-alloc")
def test_pipe_into_free_slots(ring: RingFactory) -> None:
    """Its ends lie in slots of the kernel's choice, which are told; one free slot is not enough."""
    io_uring = ring(1)
    with opened("/dev/null") as null:
        io_uring.register_files([-1, null, -1, -1])
    ends = (ctypes.c_int32 * 2)(-1, -1)
    io_uring.pipe_direct(0x45, ends, 0, IORING_FILE_INDEX_ALLOC)
    assert [completion(0x45, 0)] == complete(io_uring, 1, "IORING_OP_PIPE into free slots")
    reading, writing = ends
    assert {0, 2, 3} > {reading, writing} != {reading}
    io_uring.write(0x46, writing, b"abc", 0).flags |= IOSQE_FIXED_FILE
    assert [completion(0x46, 3)] == complete(io_uring, 1, "IORING_OP_WRITE to a slot")
    assert b"abc" == _read(io_uring, reading)
    io_uring.pipe_direct(0x47, ends, 0, IORING_FILE_INDEX_ALLOC)
    assert [completion(0x47, -errno.ENFILE)] == complete(io_uring, 1, "IORING_OP_PIPE with one free slot")
    io_uring.unregister_files()


@pytest.mark.title("a descriptor made of a slot")
@pytest.mark.symbols(
    "IORING_OP_FIXED_FD_INSTALL", "IOSQE_FIXED_FILE", "IORING_REGISTER_FILES", "IORING_UNREGISTER_FILES"
)
def test_fixed_fd_install(ring: RingFactory) -> None:
    """It is the slot's file, stays when the slot is given up, and programs do not inherit it."""
    io_uring = ring(1)
    with _only_in_slot(io_uring, 2) as peer, owned_fds() as fds:
        io_uring.fixed_fd_install(0x51, 0, 0)
        (cqe,) = complete(io_uring, 1, "IORING_OP_FIXED_FD_INSTALL")
        assert (0x51, 0, True) == (cqe.user_data, cqe.flags, is_open(cqe.res))
        fds.add(cqe.res)
        io_uring.unregister_files()
        os.write(cqe.res, b"abc")
        assert b"abc" == _received(peer)
        assert not os.get_inheritable(cqe.res)


@pytest.mark.title("a descriptor that programs inherit")
@pytest.mark.symbols(
    "IORING_FIXED_FD_NO_CLOEXEC",
    "IORING_OP_FIXED_FD_INSTALL",
    "IOSQE_FIXED_FILE",
    "IORING_REGISTER_FILES",
    "IORING_UNREGISTER_FILES",
)
def test_fixed_fd_install_no_cloexec(ring: RingFactory) -> None:
    """With IORING_FIXED_FD_NO_CLOEXEC the descriptor survives exec; it is the slot's file as well."""
    io_uring = ring(1)
    with _only_in_slot(io_uring, 2) as peer, owned_fds() as fds:
        io_uring.fixed_fd_install(0x52, 0, IORING_FIXED_FD_NO_CLOEXEC)
        (cqe,) = complete(io_uring, 1, "IORING_OP_FIXED_FD_INSTALL")
        assert (0x52, 0, True) == (cqe.user_data, cqe.flags, is_open(cqe.res))
        fds.add(cqe.res)
        os.write(cqe.res, b"abc")
        assert b"abc" == _received(peer)
        assert os.get_inheritable(cqe.res)
        io_uring.unregister_files()


@pytest.mark.title("a descriptor made of a slot, refused")
@pytest.mark.symbols(
    "IORING_OP_FIXED_FD_INSTALL", "IOSQE_FIXED_FILE", "IORING_REGISTER_FILES", "IORING_UNREGISTER_FILES"
)
def test_fixed_fd_install_refused(ring: RingFactory) -> None:
    """The slot has to have a file, and there is one flag."""
    io_uring = ring(1)
    with _only_in_slot(io_uring, 2):
        for slot, flags, number in ((1, 0, errno.EBADF), (2, 0, errno.EBADF), (0, 2, errno.EINVAL)):
            io_uring.fixed_fd_install(0x53, slot, flags)
            assert [completion(0x53, -number)] == complete(io_uring, 1, "IORING_OP_FIXED_FD_INSTALL")
        io_uring.unregister_files()
