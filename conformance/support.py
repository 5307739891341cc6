"""What tests share: completions to compare with, files and sockets that are closed."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uring


class _Expected(uring.io_uring_cqe):
    """Equal to a completion of either size: what else a big one holds is its operation's, and most have nothing."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return tuple(self) == other[:3] if isinstance(other, uring.io_uring_cqe) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = uring.io_uring_cqe.__hash__


def completion(user_data: int, res: int, flags: int = 0) -> uring.io_uring_cqe:
    """The completion a test expects, all three fields of it."""
    return _Expected(user_data=user_data, res=res, flags=flags)


@contextmanager
def opened(path: str | os.PathLike[str], flags: int = os.O_RDONLY, mode: int = 0o666) -> Iterator[int]:
    """A file descriptor for the length of a block."""
    fd = os.open(path, flags, mode)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def owned_fds() -> Iterator[set[int]]:
    """File descriptors that requests make or close: those still in the set when the block ends are closed."""
    fds: set[int] = set()
    try:
        yield fds
    finally:
        for fd in fds:
            try:
                os.close(fd)
            except OSError as error:
                # A test that failed between a close through the ring and its completion could not take it out.
                if error.errno != errno.EBADF:
                    raise


#: How Zig's tests create a file: empty, for reading and writing.
CREATE = os.O_RDWR | os.O_CREAT | os.O_TRUNC


def tcp_socket() -> socket.socket:
    """A TCP socket, closed by the `with` that it is used in."""
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


@contextmanager
def listening(host: str) -> Iterator[socket.socket]:
    """A TCP socket that listens on a free port, with a backlog of one."""
    with tcp_socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, 0))
        listener.listen(1)
        yield listener
