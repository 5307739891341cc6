"""How far the kernel has come in a buffer ring, and handing back buffers together with completions."""

from __future__ import annotations

from ctypes import addressof

from . import errno_tables as tables
from . import syscalls
from .buffers import buf_ring_advance
from .opcodes import IORING_REGISTER
from .structs import io_uring_buf_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .buffers import io_uring_buf_ring
    from .ring import IoUring


def buf_ring_head(fd: int, group_id: int) -> int:
    """Position of the next buffer that the kernel takes.

    Args:
        fd: `IoUring.fd`.
        group_id: as given to `setup_buf_ring`.

    Raises:
        BufferGroupNotRegistered: ENOENT, no such group.
        ArgumentsInvalid: EINVAL, a kernel older than 6.8, or a group without a ring.

    Since 6.8. Source: io_uring_register(2), IORING_REGISTER_PBUF_STATUS.
    """
    status = io_uring_buf_status(buf_group=group_id)
    call = f"buf_ring_head(group_id={group_id})"
    table = tables.REGISTER_PBUF_STATUS
    syscalls.io_uring_register(fd, IORING_REGISTER.REGISTER_PBUF_STATUS, addressof(status), 1, table, call)
    return int(status.head)


def buf_ring_available(fd: int, br: io_uring_buf_ring, group_id: int) -> int:
    """Buffers of the ring that the kernel has not taken yet. Since 6.8. Raises as `buf_ring_head`."""
    return (br.tail - buf_ring_head(fd, group_id)) & 0xFFFF


def buf_ring_cq_advance(ring: IoUring, br: io_uring_buf_ring, count: int) -> None:
    """Hand back the slots of the `count` oldest completions, and as many added buffers.

    As `IoUring.cq_advance`: not after `copy_cqe` or `copy_cqes`.
    """
    buf_ring_advance(br, count)
    ring.cq_advance(count)
