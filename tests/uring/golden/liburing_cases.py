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
)
