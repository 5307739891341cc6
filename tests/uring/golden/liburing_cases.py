"""What liburing's `io_uring_prep_*` are called with, beside those that Zig has: data.

A case is the name without its prefix, and the arguments in liburing's order; ours takes them in the same order.
regenerate.py makes a C program of them, whose entries golden.json has.
"""

from __future__ import annotations

from typing import Any, NamedTuple

# Addresses that nothing lies at: entries are compared, never submitted. All of their bytes differ.
HERE = 0x7F1E_2D3C_4B5A_6970
THERE = 0x0A1B_2C3D_4E5F_6078
U16, U32, U64, I32 = (1 << 16) - 1, (1 << 32) - 1, (1 << 64) - 1, (1 << 31) - 1


class Pointer(NamedTuple):
    """An address."""

    pointer: int


class Slice(NamedTuple):
    """A buffer: an address and how many of its items; liburing takes them as two arguments, one after the other."""

    address: int
    length: int


CASES: tuple[tuple[Any, ...], ...] = (
    ("ftruncate", 3, 0),
    ("ftruncate", I32, (1 << 63) - 1),
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
)
