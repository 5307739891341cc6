"""What liburing's `io_uring_prep_*` are called with, beside those that Zig has: data.

A case is the name without its prefix, and the arguments in liburing's order; ours takes them in the same order.
regenerate.py makes a C program of them, whose entries golden.json has.
"""

from __future__ import annotations

from typing import Any, NamedTuple

# Addresses that nothing lies at: entries are compared, never submitted. All of their bytes differ.
HERE = 0x7F1E_2D3C_4B5A_6970
THERE = 0x0A1B_2C3D_4E5F_6078
ELSEWHERE = 0x1122_3344_5566_7788
U16, U32, U64, I32 = (1 << 16) - 1, (1 << 32) - 1, (1 << 64) - 1, (1 << 31) - 1


class Pointer(NamedTuple):
    """An address."""

    pointer: int


class Slice(NamedTuple):
    """A buffer: an address and how many of its items; liburing takes them as two arguments, one after the other."""

    address: int
    length: int


class Split(NamedTuple):
    """A buffer whose length liburing takes as its last argument."""

    address: int
    length: int


_CWD = -100
# IORING_FILE_INDEX_ALLOC, and the last slot that can be named.
_ALLOC, _LAST_SLOT = U32, U32 - 1

CASES: tuple[tuple[Any, ...], ...] = (
    # names
    ("open", Pointer(HERE), 0o2101, 0o644),
    ("open_direct", Pointer(HERE), 0o2101, 0o644, 0),
    ("open_direct", Pointer(HERE), 0, 0, _ALLOC),
    ("openat2", _CWD, Pointer(HERE), Pointer(THERE)),
    ("openat2", I32, Pointer(THERE), Pointer(HERE)),
    ("openat2_direct", 3, Pointer(HERE), Pointer(THERE), 5),
    ("openat2_direct", _CWD, Pointer(HERE), Pointer(THERE), _ALLOC),
    ("openat2_direct", _CWD, Pointer(HERE), Pointer(THERE), _LAST_SLOT - 1),
    ("rename", Pointer(HERE), Pointer(THERE)),
    ("unlink", Pointer(HERE), 0x200),
    ("mkdir", Pointer(HERE), 0o751),
    ("symlink", Pointer(HERE), Pointer(THERE)),
    ("link", Pointer(HERE), Pointer(THERE), 0x400),
    ("getxattr", Pointer(HERE), Split(THERE, 70), Pointer(ELSEWHERE)),
    ("getxattr", Pointer(HERE), Split(0, 0), Pointer(ELSEWHERE)),
    ("setxattr", Pointer(HERE), Split(THERE, U32), Pointer(ELSEWHERE), 2),
    ("fgetxattr", 3, Pointer(HERE), Slice(THERE, 70)),
    ("fsetxattr", 3, Pointer(HERE), Split(THERE, 70), 1),
    # open files and memory
    ("nop128",),
    ("sync_file_range", 3, U32, U64, 7),
    ("sync_file_range", I32, 0, 4096, 2),
    ("fadvise", 3, U64, U32, 4),
    ("fadvise64", 3, 4096, (1 << 63) - 1, 4),
    ("madvise", Slice(HERE, U32), 4),
    ("madvise64", Slice(HERE, (1 << 63) - 1), 4),
    ("ftruncate", 3, 0),
    ("ftruncate", I32, (1 << 63) - 1),
    ("readv2", 3, Slice(HERE, 2), U64, 8),
    ("writev2", 3, Slice(HERE, 2), 17, 16),
    ("readv_fixed", 3, Slice(HERE, 2), U64, 8, U16),
    ("writev_fixed", 3, Slice(HERE, 2), 17, 16, 1),
    ("read_multishot", 3, U32, U64, U16),
    ("read_multishot", I32, 0, 0, 1),
    ("fixed_fd_install", I32, 1),
    ("fixed_fd_install", 0, 0),
    # pipes
    ("tee", 3, 4, U32, 1 << 31 | 2),
    ("pipe", Pointer(HERE), 0o2000000),
    ("pipe_direct", Pointer(HERE), 0, 7),
    ("pipe_direct", Pointer(HERE), 0, _ALLOC),
    ("epoll_wait", 3, Slice(HERE, 9), 0),
    # sockets
    ("sendto", 3, Slice(HERE, 0), 0, Pointer(0), 0),
    ("sendto", I32, Slice(HERE, U32), I32, Pointer(THERE), U16),
    ("send_bundle", 3, 0, 0),
    ("send_bundle", I32, U32, I32),
    ("sendmsg_zc_fixed", 3, Pointer(HERE), 0, 0),
    ("sendmsg_zc_fixed", I32, Pointer(HERE), U32, U16),
    ("cmd_getsockname", 3, Pointer(HERE), Pointer(THERE), 0),
    ("cmd_getsockname", I32, Pointer(THERE), Pointer(HERE), 1),
    # polls
    ("poll_multishot", 3, 0),
    ("poll_multishot", I32, U32),
    # messages between rings
    ("msg_ring", 3, 0, 0, 0),
    ("msg_ring", I32, U32, U64, U32),
    ("msg_ring_cqe_flags", 3, 0, 0, 0, 0),
    ("msg_ring_cqe_flags", I32, U32, U64, 1, U32),
    ("msg_ring_fd", 3, 0, 0, 0, 0),
    ("msg_ring_fd", I32, I32, I32 - 1, U64, U32),
    ("msg_ring_fd", 3, 1, U32, 2, 0),
    ("msg_ring_fd_alloc", 3, 0, 0, 0),
    ("msg_ring_fd_alloc", I32, I32, U64, U32),
    ("timeout_update", Pointer(HERE), 0, 0),
    ("timeout_update", Pointer(HERE), THERE, 1 << 4),
    ("timeout_update", Pointer(THERE), U64, U32),
    ("futex_wait", Pointer(HERE), 0, 0, 0, 0),
    ("futex_wait", Pointer(HERE), 0x0102_0304_0506_0708, U64, 0x82, 0),
    ("futex_wait", Pointer(THERE), U64, THERE, I32, U32),
    ("futex_wake", Pointer(HERE), 0, 0, 0, 0),
    ("futex_wake", Pointer(HERE), 0x0102_0304_0506_0708, U64, 0x82, 0),
    ("futex_wake", Pointer(THERE), U64, THERE, I32, U32),
    ("futex_waitv", Slice(HERE, 1), 0),
    ("futex_waitv", Slice(THERE, 128), U32),
)
