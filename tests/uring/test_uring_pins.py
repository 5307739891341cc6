"""Every pointer that a `prep_*` writes is held by the entry until the entry is filled in again; no kernel is needed."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest

import uring

Prep = Callable[[uring.io_uring_sqe, Any], None]


def new_bytes() -> bytes:
    """Bytes that nobody else refers to."""
    return bytes(bytearray(b"some/path"))


# prep -> what makes an argument, and how it is passed; one entry for each pointer an operation takes.
POINTERS: list[tuple[str, Callable[[], Any], Prep]] = [
    ("prep_read", lambda: bytearray(8), lambda sqe, it: sqe.prep_read(1, it, 0)),
    ("prep_write", lambda: bytearray(8), lambda sqe, it: sqe.prep_write(1, it, 0)),
    ("prep_write", new_bytes, lambda sqe, it: sqe.prep_write(1, it, 0)),
    ("prep_write", lambda: uring.iovec(bytearray(8)), lambda sqe, it: sqe.prep_write(1, it, 0)),
    ("prep_readv", lambda: bytearray(8), lambda sqe, it: sqe.prep_readv(1, [bytearray(1), it], 0)),
    ("prep_readv", uring.iovec * 2, lambda sqe, it: sqe.prep_readv(1, it, 0)),
    ("prep_writev", new_bytes, lambda sqe, it: sqe.prep_writev(1, [it, b"x"], 0)),
    ("prep_read_fixed", lambda: bytearray(8), lambda sqe, it: sqe.prep_read_fixed(1, it, 0, 0)),
    ("prep_write_fixed", lambda: bytearray(8), lambda sqe, it: sqe.prep_write_fixed(1, it, 0, 0)),
    ("prep_openat", new_bytes, lambda sqe, it: sqe.prep_openat(1, it, 0, 0)),
    ("prep_openat_direct", new_bytes, lambda sqe, it: sqe.prep_openat_direct(1, it, 0, 0, 0)),
    ("prep_statx path", new_bytes, lambda sqe, it: sqe.prep_statx(1, it, 0, 0, uring.Statx())),
    ("prep_statx result", uring.Statx, lambda sqe, it: sqe.prep_statx(1, "x", 0, 0, it)),
    ("prep_renameat old", new_bytes, lambda sqe, it: sqe.prep_renameat(1, it, 1, "x", 0)),
    ("prep_renameat new", new_bytes, lambda sqe, it: sqe.prep_renameat(1, "x", 1, it, 0)),
    ("prep_linkat old", new_bytes, lambda sqe, it: sqe.prep_linkat(1, it, 1, "x", 0)),
    ("prep_linkat new", new_bytes, lambda sqe, it: sqe.prep_linkat(1, "x", 1, it, 0)),
    ("prep_unlinkat", new_bytes, lambda sqe, it: sqe.prep_unlinkat(1, it, 0)),
    ("prep_mkdirat", new_bytes, lambda sqe, it: sqe.prep_mkdirat(1, it, 0)),
    ("prep_symlinkat target", new_bytes, lambda sqe, it: sqe.prep_symlinkat(it, 1, "x")),
    ("prep_symlinkat link", new_bytes, lambda sqe, it: sqe.prep_symlinkat("x", 1, it)),
    ("prep_epoll_ctl", uring.epoll_event, lambda sqe, it: sqe.prep_epoll_ctl(1, 1, 1, it)),
    ("prep_open", new_bytes, lambda sqe, it: sqe.prep_open(it, 0, 0)),
    ("prep_open_direct", new_bytes, lambda sqe, it: sqe.prep_open_direct(it, 0, 0, 0)),
    ("prep_openat2 path", new_bytes, lambda sqe, it: sqe.prep_openat2(1, it, uring.open_how())),
    ("prep_openat2 how", uring.open_how, lambda sqe, it: sqe.prep_openat2(1, "x", it)),
    ("prep_openat2_direct path", new_bytes, lambda sqe, it: sqe.prep_openat2_direct(1, it, uring.open_how(), 0)),
    ("prep_openat2_direct how", uring.open_how, lambda sqe, it: sqe.prep_openat2_direct(1, "x", it, 0)),
    ("prep_rename old", new_bytes, lambda sqe, it: sqe.prep_rename(it, "x")),
    ("prep_rename new", new_bytes, lambda sqe, it: sqe.prep_rename("x", it)),
    ("prep_link old", new_bytes, lambda sqe, it: sqe.prep_link(it, "x", 0)),
    ("prep_link new", new_bytes, lambda sqe, it: sqe.prep_link("x", it, 0)),
    ("prep_unlink", new_bytes, lambda sqe, it: sqe.prep_unlink(it, 0)),
    ("prep_mkdir", new_bytes, lambda sqe, it: sqe.prep_mkdir(it, 0)),
    ("prep_symlink target", new_bytes, lambda sqe, it: sqe.prep_symlink(it, "x")),
    ("prep_symlink link", new_bytes, lambda sqe, it: sqe.prep_symlink("x", it)),
    ("prep_getxattr name", new_bytes, lambda sqe, it: sqe.prep_getxattr(it, bytearray(8), "x")),
    ("prep_getxattr value", lambda: bytearray(8), lambda sqe, it: sqe.prep_getxattr("x", it, "x")),
    ("prep_getxattr path", new_bytes, lambda sqe, it: sqe.prep_getxattr("x", bytearray(8), it)),
    ("prep_setxattr name", new_bytes, lambda sqe, it: sqe.prep_setxattr(it, b"x", "x", 0)),
    ("prep_setxattr value", new_bytes, lambda sqe, it: sqe.prep_setxattr("x", it, "x", 0)),
    ("prep_setxattr path", new_bytes, lambda sqe, it: sqe.prep_setxattr("x", b"x", it, 0)),
    ("prep_fgetxattr name", new_bytes, lambda sqe, it: sqe.prep_fgetxattr(1, it, bytearray(8))),
    ("prep_fgetxattr value", lambda: bytearray(8), lambda sqe, it: sqe.prep_fgetxattr(1, "x", it)),
    ("prep_fsetxattr name", new_bytes, lambda sqe, it: sqe.prep_fsetxattr(1, it, b"x", 0)),
    ("prep_fsetxattr value", new_bytes, lambda sqe, it: sqe.prep_fsetxattr(1, "x", it, 0)),
    ("prep_madvise", lambda: bytearray(8), lambda sqe, it: sqe.prep_madvise(it, 0)),
    ("prep_madvise64", lambda: bytearray(8), lambda sqe, it: sqe.prep_madvise64(it, 0)),
    ("prep_readv2", lambda: bytearray(8), lambda sqe, it: sqe.prep_readv2(1, [it], 0, 0)),
    ("prep_writev2", new_bytes, lambda sqe, it: sqe.prep_writev2(1, [it], 0, 0)),
    ("prep_readv_fixed", lambda: bytearray(8), lambda sqe, it: sqe.prep_readv_fixed(1, [it], 0, 0, 0)),
    ("prep_writev_fixed", new_bytes, lambda sqe, it: sqe.prep_writev_fixed(1, [it], 0, 0, 0)),
    ("prep_pipe", ctypes.c_int32 * 2, lambda sqe, it: sqe.prep_pipe(it, 0)),
    ("prep_pipe_direct", ctypes.c_int32 * 2, lambda sqe, it: sqe.prep_pipe_direct(it, 0, 0)),
    ("prep_epoll_wait", uring.epoll_event * 2, lambda sqe, it: sqe.prep_epoll_wait(1, it, 0)),
    ("prep_accept addr", uring.sockaddr_in, lambda sqe, it: sqe.prep_accept(1, it, None, 0)),
    ("prep_accept addrlen", ctypes.c_uint32, lambda sqe, it: sqe.prep_accept(1, None, it, 0)),
    ("prep_accept_direct", uring.sockaddr_in, lambda sqe, it: sqe.prep_accept_direct(1, it, None, 0, 0)),
    ("prep_multishot_accept", uring.sockaddr_in, lambda sqe, it: sqe.prep_multishot_accept(1, it, None, 0)),
    ("prep_multishot_accept_direct", ctypes.c_uint32, lambda sqe, it: sqe.prep_multishot_accept_direct(1, None, it, 0)),
    ("prep_connect", uring.sockaddr_in, lambda sqe, it: sqe.prep_connect(1, it)),
    ("prep_connect", new_bytes, lambda sqe, it: sqe.prep_connect(1, it)),
    ("prep_bind", uring.sockaddr_in, lambda sqe, it: sqe.prep_bind(1, it)),
    ("prep_recv", lambda: bytearray(8), lambda sqe, it: sqe.prep_recv(1, it, 0)),
    ("prep_recv_multishot", lambda: bytearray(8), lambda sqe, it: sqe.prep_recv_multishot(1, it, 0)),
    ("prep_send", new_bytes, lambda sqe, it: sqe.prep_send(1, it, 0)),
    ("prep_send_zc", new_bytes, lambda sqe, it: sqe.prep_send_zc(1, it, 0, 0)),
    ("prep_send_zc_fixed", lambda: bytearray(8), lambda sqe, it: sqe.prep_send_zc_fixed(1, it, 0, 0, 0)),
    ("prep_recvmsg", uring.msghdr, lambda sqe, it: sqe.prep_recvmsg(1, it, 0)),
    ("prep_recvmsg_multishot", uring.msghdr, lambda sqe, it: sqe.prep_recvmsg_multishot(1, it, 0)),
    ("prep_sendmsg", uring.msghdr, lambda sqe, it: sqe.prep_sendmsg(1, it, 0)),
    ("prep_sendmsg_zc", uring.msghdr, lambda sqe, it: sqe.prep_sendmsg_zc(1, it, 0)),
    ("prep_sendto data", new_bytes, lambda sqe, it: sqe.prep_sendto(1, it, 0, uring.sockaddr_in())),
    ("prep_sendto address", uring.sockaddr_in, lambda sqe, it: sqe.prep_sendto(1, b"x", 0, it)),
    ("prep_sendmsg_zc_fixed", uring.msghdr, lambda sqe, it: sqe.prep_sendmsg_zc_fixed(1, it, 0, 0)),
    ("prep_cmd_getsockname name", uring.sockaddr_in, lambda sqe, it: sqe.prep_cmd_getsockname(1, it, None, 0)),
    ("prep_cmd_getsockname length", ctypes.c_uint32, lambda sqe, it: sqe.prep_cmd_getsockname(1, None, it, 0)),
    ("prep_cmd_sock", ctypes.c_char * 8, lambda sqe, it: sqe.prep_cmd_sock(2, 1, 1, 1, it, 8)),
    ("prep_timeout", uring.kernel_timespec, lambda sqe, it: sqe.prep_timeout(it, 0, 0)),
    ("prep_link_timeout", uring.kernel_timespec, lambda sqe, it: sqe.prep_link_timeout(it, 0)),
    ("prep_files_update", ctypes.c_int32 * 2, lambda sqe, it: sqe.prep_files_update(it, 0)),
    ("prep_files_update_alloc", ctypes.c_int32 * 2, lambda sqe, it: sqe.prep_files_update_alloc(it)),
    ("prep_provide_buffers", lambda: bytearray(8), lambda sqe, it: sqe.prep_provide_buffers(it, 4, 2, 0, 0)),
    ("prep_timeout_update", uring.kernel_timespec, lambda sqe, it: sqe.prep_timeout_update(it, 0, 0)),
    ("prep_futex_wait", ctypes.c_uint32, lambda sqe, it: sqe.prep_futex_wait(it, 0, 1, 2, 0)),
    ("prep_futex_wake", ctypes.c_uint32, lambda sqe, it: sqe.prep_futex_wake(it, 0, 1, 2, 0)),
    ("prep_futex_waitv", uring.futex_waitv * 2, lambda sqe, it: sqe.prep_futex_waitv(it, 0)),
    ("prep_waitid", uring.siginfo_t, lambda sqe, it: sqe.prep_waitid(1, 1, it, 0, 0)),
]
# These hold no memory.
WITHOUT = """nop nop128 rw fsync sync_file_range fadvise fadvise64 ftruncate read_multishot fixed_fd_install splice tee
close close_direct fallocate listen shutdown socket socket_direct socket_direct_alloc
timeout_remove poll_add poll_remove poll_update cancel cancel_fd remove_buffers
send_bundle poll_multishot msg_ring msg_ring_cqe_flags msg_ring_fd msg_ring_fd_alloc"""


@pytest.mark.parametrize(("name", "make", "prep"), POINTERS, ids=[name for name, _, _ in POINTERS])
def test_entry_holds_what_it_points_to(name: str, make: Callable[[], Any], prep: Prep) -> None:
    """The entry adds a reference, and the next use of the entry takes it away."""
    sqe = uring.io_uring_sqe()
    argument = make()
    before = sys.getrefcount(argument)
    prep(sqe, argument)
    gc.collect()
    assert sys.getrefcount(argument) > before, f"{name} lets go of its argument at once"
    sqe.prep_nop()
    gc.collect()
    assert sys.getrefcount(argument) == before


def test_every_prep_is_in_a_table() -> None:
    """A new operation has to say which memory it holds."""
    listed = {name.split()[0] for name, _, _ in POINTERS} | {f"prep_{name}" for name in WITHOUT.split()}
    assert listed == {name for name in dir(uring.io_uring_sqe) if name.startswith("prep_")}


@pytest.mark.parametrize("operation", ["getsockopt", "setsockopt"])
def test_socket_option_is_held(ring: uring.IoUring, operation: str) -> None:
    """These two go through an address of their own."""
    option = bytearray(8)
    before = sys.getrefcount(option)
    getattr(ring, operation)(1, 0, 1, 2, option)
    assert sys.getrefcount(option) > before


def test_string_paths_are_held() -> None:
    """The encoded form of a `str` exists only in the entry."""
    sqe = uring.io_uring_sqe()
    sqe.prep_unlinkat(1, "a" * 100, 0)
    gc.collect()
    assert ctypes.string_at(sqe.addr) == b"a" * 100
    assert b"a" * 100 == sqe._pins


@pytest.mark.parametrize(
    "prep",
    [
        lambda sqe: sqe.prep_accept(3, None, None, 0),
        lambda sqe: sqe.prep_nop(),
        lambda sqe: sqe.prep_timeout(4096, 0, 0),
        lambda sqe: sqe.prep_poll_add(3, 1),
    ],
)
def test_what_points_to_nothing_of_ours_holds_nothing(prep: Prep) -> None:
    """And lets go of what the entry held before."""
    sqe = uring.io_uring_sqe()
    sqe.prep_read(3, bytearray(4), 0)
    assert sqe._pins is not None
    prep(sqe)
    assert sqe._pins is None
