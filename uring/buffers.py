# ruff: noqa: D402 - naming a system call as read(2) is no signature
"""Buffers the kernel picks on its own: buffer rings, and `BufferGroup` on top of one. Since 5.19."""

from __future__ import annotations

from ctypes import addressof
from errno import EPROTO

from . import errno_tables as tables
from . import lifetime, syscalls
from .barriers import this_machine
from .errors import ArgumentOutOfRange, CompletionInvalid, EntriesNotInRange, EntriesNotPowerOfTwo, RingClosed
from .flags import (
    IORING_CQE_F_BUF_MORE,
    IORING_OFF_PBUF_RING,
    IORING_OFF_PBUF_SHIFT,
    IORING_RECV_MULTISHOT,
    IOSQE_BUFFER_SELECT,
    IOU_PBUF_RING_INC,
    IOU_PBUF_RING_MMAP,
)
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

    __slots__ = ("_added", "_address", "_ids", "_order", "_pins", "_words", "entries", "is_incremental")

    def __init__(self, entries: int, address: int | None = None) -> None:
        """Take memory that is mapped already, or map some."""
        machine = this_machine()
        self.entries = entries
        self.is_incremental = False
        if address is None:
            mode = syscalls.MAP_PRIVATE | syscalls.MAP_ANONYMOUS
            address = syscalls.mmap(entries * _BUF_BYTES, mode, -1, 0, "a buffer ring")
        self._address = address
        self._words = machine.words(self._address, entries * _BUF_BYTES, 2)
        self._order = machine.order
        # Buffer ID -> what keeps that buffer's memory alive.
        self._pins: dict[int, object] = {}
        # Buffer ID -> the entry it was last added to, and its size; and which buffer each entry has.
        self._added: dict[int, tuple[int, int]] = {}
        self._ids: list[int | None] = [None] * entries

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

    def bundle(self, buffer_id: int, size_bytes: int, start: int = 0) -> list[tuple[int, int, int]]:
        """Which buffers a completion filled or sent (IORING_RECVSEND_BUNDLE): the named one and those added behind it.

        Args:
            buffer_id: the completion's.
            size_bytes: its result.
            start: where in the first buffer the data begins.

        Returns:
            (buffer ID, start in the buffer, bytes) of each, in the order of the data.

        Raises:
            CompletionInvalid: the kernel names a buffer that was never added, or more bytes than the buffers have.

        Since 6.10. Source: IORING_RECVSEND_BUNDLE in io_uring_prep_recv(3).
        """
        if buffer_id not in self._added:
            raise CompletionInvalid(EPROTO, f"a completion names buffer {buffer_id}, which was never added")
        parts: list[tuple[int, int, int]] = []
        entry = self._added[buffer_id][0]
        left = size_bytes
        next_id: int | None = buffer_id
        for step in range(self.entries):
            if next_id is None:
                break
            capacity = self._added[next_id][1]
            taken = min(left, capacity - start)
            parts.append((next_id, start, taken))
            left -= taken
            if left <= 0:
                return parts
            start = 0
            next_id = self._ids[(entry + step + 1) & (self.entries - 1)]
        raise CompletionInvalid(
            EPROTO, f"a completion of {size_bytes} bytes in buffer {buffer_id} has more than the buffers behind it hold"
        )

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


def setup_buf_ring(fd: int, entries: int, group_id: int, flags: int = 0, min_left: int = 0) -> io_uring_buf_ring:
    """Map a buffer ring and register it with the io_uring of descriptor `fd`.

    Args:
        fd: `IoUring.fd`.
        entries: a power of two, 1 to 32768.
        group_id: chosen by the caller, unique in its io_uring.
        flags: IOU_PBUF_RING_INC asks for incremental consumption (since 6.12); kernels without it get a plain ring,
            see `is_incremental` of the result. IOU_PBUF_RING_MMAP has the kernel allocate the ring's memory, which is
            mapped from it (since 6.4).
        min_left: with IOU_PBUF_RING_INC, a buffer that has less than that many bytes left is used no more (since 7.1).

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
    if flags & IOU_PBUF_RING_MMAP:
        br = _mapped_buf_ring(fd, entries, group_id, flags, min_left)
    else:
        br = io_uring_buf_ring(entries)
        try:
            br.is_incremental = _register_buf_ring(fd, br.address, entries, group_id, flags, min_left)
        except BaseException:
            br.free()
            raise
    # From now on the kernel may write into what is added: the ring must live until it is freed or its io_uring closed.
    lifetime.buffer_rings.setdefault(fd, {})[group_id] = br
    return br


def _mapped_buf_ring(fd: int, entries: int, group_id: int, flags: int, min_left: int) -> io_uring_buf_ring:
    """A buffer ring in memory of the kernel's: registered without an address, then mapped."""
    is_incremental = _register_buf_ring(fd, 0, entries, group_id, flags, min_left)
    offset = IORING_OFF_PBUF_RING | group_id << IORING_OFF_PBUF_SHIFT
    try:
        mode = syscalls.MAP_SHARED | syscalls.MAP_POPULATE
        address = syscalls.mmap(entries * _BUF_BYTES, mode, fd, offset, "a buffer ring of the kernel's")
        br = io_uring_buf_ring(entries, address)
    except BaseException:
        _unregister_buf_ring(fd, group_id)
        raise
    br.is_incremental = is_incremental
    return br


def _unregister_buf_ring(fd: int, group_id: int) -> None:
    request = io_uring_buf_reg(bgid=group_id)
    syscalls.io_uring_register_errno(fd, IORING_REGISTER.UNREGISTER_PBUF_RING, addressof(request), 1)


def _register_buf_ring(fd: int, address: int, entries: int, group_id: int, flags: int, min_left: int) -> bool:
    """Returns whether the kernel consumes incrementally."""
    if not 0 <= group_id <= 0xFFFF:
        raise ArgumentOutOfRange(f"group ID {group_id} does not fit 16 bits")
    request = io_uring_buf_reg(address, entries, group_id, flags, min_left)
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
    _unregister_buf_ring(fd, group_id)
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
    index = (br.tail + buffer_offset) & mask & (br.entries - 1)
    entry = br[index]
    br._pins[buffer_id] = pin
    br._added[buffer_id] = index, size_bytes
    br._ids[index] = buffer_id
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

    With IORING_RECVSEND_BUNDLE in a receive's `ioprio` (since 6.10) one completion may fill several buffers: `get` and
    `put` then mean all of them, `parts` shows them one by one.

    Attributes:
        ring: the `IoUring` the group is registered with.
        br: the buffer ring.
        buffers: the memory, `buffers_count` times `buffer_size` bytes.
        heads: per buffer, where its unclaimed part begins.
        group_id: the group's ID.
    """

    __slots__ = (
        "_finished",
        "_held",
        "_holders",
        "br",
        "buffer_size",
        "buffers",
        "buffers_count",
        "group_id",
        "heads",
        "ring",
    )

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
        # Per first buffer: completions shown by `get` and not `put` yet, with their parts of buffers.
        self._held: list[list[tuple[io_uring_cqe, list[tuple[int, int, int]]]]] = [[] for _ in range(buffers_count)]
        # Per buffer: how many of those have a part of it.
        self._holders = [0] * buffers_count
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

        Returns:
            A view of the buffer; of a copy where a bundle lies in several buffers.

        Raises:
            NoBufferSelected: the completion names no buffer.
            CompletionInvalid: it names one that the group does not have, or more bytes than the group has.
        """
        views = self.parts(cqe)
        return views[0] if len(views) == 1 else memoryview(b"".join(views))

    def parts(self, cqe: io_uring_cqe) -> list[memoryview]:
        """The data a completion brought, as views of the buffers it lies in, in order. Raises as `get`."""
        return [self._whole(buffer_id)[start : start + size] for buffer_id, start, size in self._claim(cqe)]

    def put(self, cqe: io_uring_cqe) -> None:
        """Be done with a completion's data; the kernel gets a buffer back when all its completions were put.

        Raises as `get`.
        """
        claimed = self._claim(cqe)
        held = self._held[claimed[0][0]]
        held[:] = [entry for entry in held if entry[0] is not cqe]
        count = 0
        for buffer_id, _, _ in claimed:
            self._holders[buffer_id] -= 1
            if self._holders[buffer_id] or not self._finished[buffer_id]:
                continue
            self.heads[buffer_id] = 0
            buf_ring_add(self.br, self._whole(buffer_id), buffer_id, buf_ring_mask(self.buffers_count), count)
            count += 1
        buf_ring_advance(self.br, count)

    def _claim(self, cqe: io_uring_cqe) -> list[tuple[int, int, int]]:
        """Where the completion's data lies; by identity, because two completions of one buffer may be equal."""
        first = cqe.buffer_id()
        for known, parts in self._held[first] if first < self.buffers_count else ():
            if known is cqe:
                return parts
        parts = self.br.bundle(first, max(0, cqe.res), self.heads[first] if first < self.buffers_count else 0)
        for buffer_id, _, size in parts:
            self.heads[buffer_id] += size
            self._holders[buffer_id] += 1
            self._finished[buffer_id] = True
        # All but the last are full.
        self._finished[parts[-1][0]] = not cqe.flags & IORING_CQE_F_BUF_MORE
        self._held[first].append((cqe, parts))
        return parts
