"""Letting the kernel choose the buffer of a read or receive."""

from __future__ import annotations

from .flags import IOSQE_BUFFER_SELECT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .sqe import io_uring_sqe


class BufferSelection:
    """Zig's `.{ .buffer_selection = .{ .group_id, .len } }`: take a buffer of that group, use at most `len` bytes.

    Since 5.7 with provided buffers, 5.19 with a buffer ring.
    """

    __slots__ = ("group_id", "len")

    def __init__(self, group_id: int, len: int) -> None:  # noqa: A002 - Zig's name
        self.group_id = group_id
        self.len = len

    def __repr__(self) -> str:
        return f"BufferSelection(group_id={self.group_id}, len={self.len})"

    def select(self, sqe: io_uring_sqe) -> None:
        """Turn a filled-in entry into one that selects its buffer."""
        sqe.flags |= IOSQE_BUFFER_SELECT
        sqe.buf_index = self.group_id
