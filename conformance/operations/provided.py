"""Buffer rings for functional tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import uring


@contextmanager
def buffer_ring(
    io_uring: uring.IoUring, group: int, entries: int, flags: int = 0, min_left: int = 0
) -> Iterator[uring.io_uring_buf_ring]:
    """An empty buffer ring, registered until the block ends or it is freed."""
    br = uring.setup_buf_ring(io_uring.fd, entries, group, flags, min_left)
    try:
        uring.buf_ring_init(br)
        yield br
    finally:
        if br.address:
            uring.free_buf_ring(io_uring.fd, br, entries, group)


def add(br: uring.io_uring_buf_ring, *buffers: tuple[int, bytearray]) -> None:
    """Add numbered buffers."""
    for offset, (number, memory) in enumerate(buffers):
        uring.buf_ring_add(br, memory, number, uring.buf_ring_mask(br.entries), offset)
    uring.buf_ring_advance(br, len(buffers))


def picked(cqe: uring.io_uring_cqe) -> int | None:
    """Number of the buffer that a completion names; None where it names none, to be compared."""
    return cqe.buffer_id() if cqe.flags & uring.IORING_CQE_F_BUFFER else None
