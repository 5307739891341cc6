# ruff: noqa: D402 - naming a system call as read(2) is no signature
"""Buffers the kernel picks on its own: buffer rings, and `BufferGroup` on top of one. Since 5.19."""

from __future__ import annotations

from ctypes import addressof

from . import errno_tables as tables
from . import lifetime, syscalls
from .barriers import this_machine
from .errors import ArgumentOutOfRange, EntriesNotInRange, EntriesNotPowerOfTwo, RingClosed
from .flags import IORING_CQE_F_BUF_MORE, IORING_RECV_MULTISHOT, IOSQE_BUFFER_SELECT, IOU_PBUF_RING_INC
from .memory import writable
from .opcodes import IORING_REGISTER, OP
from .structs import io_uring_buf, io_uring_buf_reg

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from .cqe import io_uring_cqe
    from .memory import Writable
    from .ring import IoUring
    from .sqe import io_uring_sqe

_EINVAL = 22
_BUF_BYTES = 16
# The ring's tail lies in the last two bytes of the first entry.
_TAIL_WORD = 7


class io_uring_buf_ring:  # noqa: N801 - the kernel's name
    """Memory of a buffer ring shared with the kernel: `entries` entries of 16 bytes, and a tail in the first one."""

    __slots__ = ("_address", "_order", "_pins", "_words", "entries", "is_incremental")

    def __init__(self, entries: int) -> None:
        machine = this_machine()
        self.entries = entries
        self.is_incremental = False
        mode = syscalls.MAP_PRIVATE | syscalls.MAP_ANONYMOUS
        self._address = syscalls.mmap(entries * _BUF_BYTES, mode, -1, 0, "a buffer ring")
        self._words = machine.words(self._address, entries * _BUF_BYTES, 2)
        self._order = machine.order
        # Buffer ID -> what keeps that buffer's memory alive.
        self._pins: dict[int, object] = {}

    @property
    def address(self) -> int:
        """Where the ring lies; 0 once freed."""
        return self._address

    @property
    def tail(self) -> int:
        """Position behind the last buffer the kernel can see."""
        self._check()
        return self._words[_TAIL_WORD]

    @tail.setter
    def tail(self, value: int) -> None:
        self._check()
        # Release: the kernel must see the entries before the tail that covers them.
        if self._order is not None:
            self._order()
        self._words[_TAIL_WORD] = value & 0xFFFF

    def __getitem__(self, index: int) -> io_uring_buf:
        """Entry `index`, as a view of the memory that must not outlive the ring."""
        self._check()
        if not 0 <= index < self.entries:
            raise IndexError(f"entry {index} of {self.entries}")
        return io_uring_buf.from_address(self._address + index * _BUF_BYTES)

    def _check(self) -> None:
        if not self._address:
            raise RingClosed("the buffer ring was freed")

    def free(self) -> None:
        """Unmap; the kernel must not know the ring any more. May be called twice."""
        address, self._address = self._address, 0
        if address:
            self._words.release()
            syscalls.munmap(address, self.entries * _BUF_BYTES)

    def __del__(self) -> None:
        # Only reached when no ring and no request refers to it.
        if getattr(self, "_address", 0):
            self.free()


def setup_buf_ring(fd: int, entries: int, group_id: int, flags: int = 0) -> io_uring_buf_ring:
    """Map a buffer ring and register it with the io_uring of descriptor `fd`.

    Args:
        fd: `IoUring.fd`.
        entries: a power of two, 1 to 32768.
        group_id: chosen by the caller, unique in its io_uring.
        flags: IOU_PBUF_RING_INC asks for incremental consumption (since 6.12); kernels without it get a plain ring,
            see `is_incremental` of the result.

    Raises:
        EntriesNotInRange, EntriesNotPowerOfTwo: usage.
        ArgumentsInvalid: EINVAL, a kernel older than 5.19.
        BufferGroupAlreadyRegistered: EEXIST (Zig: Unexpected).
        SystemResources: ENOMEM.

    Since 5.19. Source: io_uring_register(2).
    """
    if not 0 < entries <= 1 << 15:
        raise EntriesNotInRange(f"a buffer ring has 1 to 32768 entries, not {entries}")
    if entries & (entries - 1):
        raise EntriesNotPowerOfTwo(f"entries must be a power of two, not {entries}")
    br = io_uring_buf_ring(entries)
    try:
        br.is_incremental = _register_buf_ring(fd, br.address, entries, group_id, flags)
    except BaseException:
        br.free()
        raise
    # From now on the kernel may write into what is added: the ring must live until it is freed or its io_uring closed.
    lifetime.buffer_rings.setdefault(fd, {})[group_id] = br
    return br


def _register_buf_ring(fd: int, address: int, entries: int, group_id: int, flags: int) -> bool:
    """Returns whether the kernel consumes incrementally."""
    if not 0 <= group_id <= 0xFFFF:
        raise ArgumentOutOfRange(f"group ID {group_id} does not fit 16 bits")
    request = io_uring_buf_reg(ring_addr=address, ring_entries=entries, bgid=group_id, flags=flags)
    call = f"setup_buf_ring(entries={entries}, group_id={group_id}, flags={flags:#x})"
    result = syscalls.io_uring_register_errno(fd, IORING_REGISTER.REGISTER_PBUF_RING, addressof(request), 1)
    if result == -_EINVAL and flags & IOU_PBUF_RING_INC:
        request.flags = flags & ~IOU_PBUF_RING_INC
        result = syscalls.io_uring_register_errno(fd, IORING_REGISTER.REGISTER_PBUF_RING, addressof(request), 1)
    if result < 0:
        tables.fail(call, -result, tables.REGISTER_PBUF_RING)
    return bool(request.flags & IOU_PBUF_RING_INC)


def free_buf_ring(fd: int, br: io_uring_buf_ring, entries: int, group_id: int) -> None:
    """Unregister and unmap a buffer ring. As in Zig, a kernel that no longer knows the group is no error."""
    del entries  # Zig's signature; the ring knows
    request = io_uring_buf_reg(bgid=group_id)
    syscalls.io_uring_register_errno(fd, IORING_REGISTER.UNREGISTER_PBUF_RING, addressof(request), 1)
    groups = lifetime.buffer_rings.get(fd, {})
    if groups.get(group_id) is br:
        del groups[group_id]
    br.free()


def buf_ring_init(br: io_uring_buf_ring) -> None:
    """Set the tail to 0."""
    br.tail = 0


def buf_ring_mask(entries: int) -> int:
    """The mask of a ring with that many entries."""
    return entries - 1


def buf_ring_add(br: io_uring_buf_ring, buffer: Writable, buffer_id: int, mask: int, buffer_offset: int) -> None:
    """Put a buffer behind the tail; the kernel sees it after `buf_ring_advance`.

    Args:
        br: from `setup_buf_ring`.
        buffer: writable memory; kept alive until the ID is added again or the ring is freed.
        buffer_id: comes back in `io_uring_cqe.buffer_id()`.
        mask: `buf_ring_mask(entries)`.
        buffer_offset: 0 for the first buffer since the last advance, 1 for the second, and so on.

    Raises:
        BufferNotWritable: the memory is read-only.
        ArgumentOutOfRange: a number does not fit its field.
    """
    address, size_bytes, pin = writable(buffer)
    if not 0 <= buffer_id <= 0xFFFF or size_bytes > 0xFFFFFFFF:
        raise ArgumentOutOfRange(f"buffer ID {buffer_id} must fit 16 bits and its size {size_bytes} 32 bits")
    entry = br[(br.tail + buffer_offset) & mask & (br.entries - 1)]
    br._pins[buffer_id] = pin
    # Field by field: the tail shares the first entry's last bytes.
    entry.addr = address
    entry.len = size_bytes
    entry.bid = buffer_id


def buf_ring_advance(br: io_uring_buf_ring, count: int) -> None:
    """Make `count` added buffers visible to the kernel."""
    br.tail += count


class BufferGroup:
    """A group of equal buffers the kernel takes from as data arrives, over a buffer ring.

    `recv` needs no buffer; its completion names one, `get` shows the data, `put` hands the buffer back. With too few
    buffers a receive completes with ENOBUFS. Kernels since 6.12 fill one buffer with several completions
    (IORING_CQE_F_BUF_MORE); `get` then wants the completions of a buffer in the order they were reaped, and each
    completion is to be `put` once. Zig's `get` mixes up two completions of one buffer before the first `put`; this one
    keeps them apart.

    Attributes:
        ring: the `IoUring` the group is registered with.
        br: the buffer ring.
        buffers: the memory, `buffers_count` times `buffer_size` bytes.
        heads: per buffer, where its unclaimed part begins.
        group_id: the group's ID.
    """

    __slots__ = ("_finished", "_held", "br", "buffer_size", "buffers", "buffers_count", "group_id", "heads", "ring")

    def __init__(self, ring: IoUring, group_id: int, buffer_size: int, buffers_count: int) -> None:
        """Allocate the buffers, register the group, hand all buffers to the kernel.

        Zig's allocator argument has no counterpart. Raises as `setup_buf_ring`.
        """
        ring._check_open()
        if not 0 < buffer_size <= 0xFFFFFFFF:
            raise ArgumentOutOfRange(f"a buffer has 1 to 4294967295 bytes, not {buffer_size}")
        self.ring = ring
        self.group_id = group_id
        self.buffer_size = buffer_size
        self.buffers_count = buffers_count
        self.br = setup_buf_ring(ring.fd, buffers_count, group_id, IOU_PBUF_RING_INC)
        self.buffers = memoryview(bytearray(buffer_size * buffers_count))
        self.heads = [0] * buffers_count
        # Per buffer: completions shown by `get` and not `put` yet, with their part of the buffer.
        self._held: list[list[tuple[io_uring_cqe, int]]] = [[] for _ in range(buffers_count)]
        # Per buffer: whether the kernel is done with it.
        self._finished = [False] * buffers_count
        buf_ring_init(self.br)
        mask = buf_ring_mask(buffers_count)
        for buffer_id in range(buffers_count):
            buf_ring_add(self.br, self._whole(buffer_id), buffer_id, mask, buffer_id)
        buf_ring_advance(self.br, buffers_count)

    @classmethod
    def init(cls, ring: IoUring, group_id: int, buffer_size: int, buffers_count: int) -> Self:
        """Zig's name of the constructor."""
        return cls(ring, group_id, buffer_size, buffers_count)

    def deinit(self) -> None:
        """Unregister the group. Views that `get` returned stay valid. May be called twice, and after the ring's."""
        if self.br.address:
            free_buf_ring(self.ring.fd, self.br, self.buffers_count, self.group_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.deinit()

    def recv(self, user_data: int, fd: int, flags: int) -> io_uring_sqe:
        """Queue recv(2) into a buffer of the group, as much as fits into one. Since 5.19."""
        return self._recv(user_data, fd, flags, 0)

    def recv_multishot(self, user_data: int, fd: int, flags: int) -> io_uring_sqe:
        """Queue receiving again and again; over when a completion has no IORING_CQE_F_MORE. Since 6.0."""
        return self._recv(user_data, fd, flags, IORING_RECV_MULTISHOT)

    def _recv(self, user_data: int, fd: int, flags: int, ioprio: int) -> io_uring_sqe:
        sqe = self.ring.sq.vacant()
        sqe.prep_rw(OP.RECV, fd, 0, 0, 0)
        sqe.rw_flags = flags
        sqe.ioprio = ioprio
        sqe.flags = IOSQE_BUFFER_SELECT
        sqe.buf_index = self.group_id
        return self.ring._take(sqe, user_data)

    def _whole(self, buffer_id: int) -> memoryview:
        start = self.buffer_size * buffer_id
        return self.buffers[start : start + self.buffer_size]

    def get_by_id(self, buffer_id: int) -> memoryview:
        """The part of a buffer that no completion was matched with yet."""
        return self._whole(buffer_id)[self.heads[buffer_id] :]

    def get(self, cqe: io_uring_cqe) -> memoryview:
        """The data a completion brought; asking again for the same completion gives the same data.

        Raises:
            NoBufferSelected: the completion names no buffer.
        """
        buffer_id = cqe.buffer_id()
        start = self._claim(cqe, buffer_id)
        return self._whole(buffer_id)[start : start + max(0, cqe.res)]

    def put(self, cqe: io_uring_cqe) -> None:
        """Be done with a completion's data; the kernel gets the buffer back when all its completions were put.

        Raises:
            NoBufferSelected: the completion names no buffer.
        """
        buffer_id = cqe.buffer_id()
        self._claim(cqe, buffer_id)
        held = self._held[buffer_id]
        held[:] = [entry for entry in held if entry[0] is not cqe]
        if held or not self._finished[buffer_id]:
            return
        self.heads[buffer_id] = 0
        self._finished[buffer_id] = False
        buf_ring_add(self.br, self._whole(buffer_id), buffer_id, buf_ring_mask(self.buffers_count), 0)
        buf_ring_advance(self.br, 1)

    def _claim(self, cqe: io_uring_cqe, buffer_id: int) -> int:
        """Where the completion's data begins; by identity, because two completions of one buffer may be equal."""
        for known, start in self._held[buffer_id]:
            if known is cqe:
                return start
        start = self.heads[buffer_id]
        self.heads[buffer_id] += max(0, cqe.res)
        self._finished[buffer_id] = not cqe.flags & IORING_CQE_F_BUF_MORE
        self._held[buffer_id].append((cqe, start))
        return start
