"""Memory of queues that the program brings itself: IORING_SETUP_NO_MMAP."""

from __future__ import annotations

from mmap import PAGESIZE

from . import flags as f
from . import syscalls
from .errors import ArgumentOutOfRange, ParamsInvalid
from .memory import writable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .memory import Writable
    from .structs import io_uring_params

# What lies before the completions in the kernel's `struct io_rings`; 64 bytes as yet.
_HEADER_BYTES_MAX = 512
# The kernel's, where IORING_SETUP_CLAMP is asked for more.
_ENTRIES_MAX = 32768


class QueueMemory:
    """Two pieces of memory, whole pages each: the entries, and the rings with the completions.

    Attributes:
        sqes: address of the entries.
        rings: address of the rings.
        size_bytes: what both need together.
    """

    __slots__ = ("_mapped", "_pin", "rings", "size_bytes", "sqes")

    def __init__(self, entries: int, params: io_uring_params, memory: Writable | None = None) -> None:
        """Find room for both.

        Args:
            entries: of the submission queue.
            params: flags, and `cq_entries` if their number is chosen; the addresses are written there.
            memory: room for both that begins at a page, and stays the caller's; memory of our own otherwise.

        Raises:
            ArgumentOutOfRange: the memory is too small.
            ParamsInvalid: it does not begin at a page.
            OutOfMemory: there is none.
        """
        sqes_bytes, rings_bytes = queue_bytes(entries, params)
        self.size_bytes = sqes_bytes + rings_bytes
        self._mapped = 0
        self._pin: object = None
        if memory is None:
            mode = syscalls.MAP_PRIVATE | syscalls.MAP_ANONYMOUS | syscalls.MAP_POPULATE
            self.rings = self._mapped = syscalls.mmap(self.size_bytes, mode, -1, 0, "the queues")
        else:
            self.rings, given, self._pin = writable(memory)
            if given < self.size_bytes:
                raise ArgumentOutOfRange(f"the queues take {self.size_bytes} bytes, and the memory has {given}")
            if self.rings % PAGESIZE:
                raise ParamsInvalid(f"the queues' memory begins at {self.rings:#x}, which is no page; take an mmap")
        self.sqes = self.rings + rings_bytes
        params.cq_off.user_addr = self.rings
        params.sq_off.user_addr = self.sqes

    def free(self) -> None:
        """Let go of it, after the ring was closed. May be called twice."""
        mapped, self._mapped = self._mapped, 0
        self._pin = None
        if mapped:
            syscalls.munmap(mapped, self.size_bytes)


def queue_bytes(entries: int, params: io_uring_params) -> tuple[int, int]:
    """How many bytes the entries and the rings take, in whole pages.

    Args:
        entries: of the submission queue.
        params: flags, and `cq_entries` with IORING_SETUP_CQSIZE.
    """
    flags = params.flags
    entries = min(entries, _ENTRIES_MAX)
    completions = params.cq_entries if flags & f.IORING_SETUP_CQSIZE else 2 * entries
    completions = min(1 << max(completions - 1, 0).bit_length(), 2 * _ENTRIES_MAX)
    sqes = entries * (128 if flags & f.IORING_SETUP_SQE128 else 64)
    rings = _HEADER_BYTES_MAX + completions * (32 if flags & f.IORING_SETUP_CQE32 else 16)
    if not flags & f.IORING_SETUP_NO_SQARRAY:
        rings += 4 * entries
    return _pages(sqes), _pages(rings)


def _pages(size_bytes: int) -> int:
    return -(-size_bytes // PAGESIZE) * PAGESIZE
