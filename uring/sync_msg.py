"""A message to a ring by a system call, from a program that has no ring of its own."""

from __future__ import annotations

from ctypes import addressof, c_char

from . import errno_tables as tables
from . import syscalls
from .opcodes import IORING_REGISTER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .sqe import io_uring_sqe


def register_sync_msg(sqe: io_uring_sqe) -> None:
    """Send what `prep_msg_ring` wrote into an entry; the ring it names has the completion when this returns.

    Args:
        sqe: an entry of its own, with no flags set.

    Raises:
        FileDescriptorInvalid, FileDescriptorInBadState: EBADF, EBADFD, the target is not open, no ring, or disabled.
        ArgumentsInvalid: EINVAL, a kernel older than 6.13, or no message of data.
        CompletionQueueOvercommitted, SubmissionThreadDead: EOVERFLOW, EOWNERDEAD, the target cannot take it.

    Since 6.13. Source: io_uring_register(2), IORING_REGISTER_SEND_MSG_RING.
    """
    entry = (c_char * 64).from_buffer_copy(bytes(sqe))
    table = tables.REGISTER_SEND_MSG_RING
    syscalls.io_uring_register(
        -1, IORING_REGISTER.REGISTER_SEND_MSG_RING, addressof(entry), 1, table, "register_sync_msg"
    )
