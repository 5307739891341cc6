"""The two queues: memory shared with the kernel, and the positions both sides move."""

from __future__ import annotations

import ctypes
from errno import EOPNOTSUPP
from struct import Struct
from struct import error as struct_error

from . import syscalls
from .barriers import this_machine
from .big_sqe import BigSqe
from .cqe import CQE32_LAYOUT, CQE_LAYOUT, CqeArray, io_uring_cqe
from .errors import ArgumentOutOfRange, OpcodeNotSupported, RingClosed, SubmissionQueueFull, UsageError
from .flags import (
    IORING_CQE_F_32,
    IORING_CQE_F_SKIP,
    IORING_OFF_SQ_RING,
    IORING_OFF_SQES,
    IORING_SETUP_CQE32,
    IORING_SETUP_CQE_MIXED,
    IORING_SETUP_NO_MMAP,
    IORING_SETUP_NO_SQARRAY,
    IORING_SETUP_SQ_REWIND,
    IORING_SETUP_SQE128,
    IORING_SETUP_SQPOLL,
    IOSQE_CQE_SKIP_SUCCESS,
)
from .opcodes import BIG
from .sqe import io_uring_sqe
from .sqe_fields import SQE128_LAYOUT, SQE_LAYOUT, USER_DATA_OFFSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, MutableSequence
    from typing import Any, NoReturn, Self

    from .structs import io_uring_params

_U32 = 0xFFFFFFFF
_CACHE_LINE = 64
_NOP = Struct("=32xQ24x")
_NOP128 = Struct("=32xQ24x64x")
# user_data of no slot.
NO_SLOTS = memoryview(bytearray())
_new_tuple = tuple.__new__


class _ClosedSqe(io_uring_sqe):
    """What the entries of a closed ring turn into: their memory is gone, every use is an error."""

    __slots__ = ()

    def _refuse(self, *_: object) -> NoReturn:
        raise RingClosed("this SQE belonged to a ring that was closed; its memory is gone")

    __getattribute__ = __setattr__ = __bytes__ = _refuse

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None  # type: ignore[assignment]  # as its base

    def __repr__(self) -> str:
        return "<io_uring_sqe of a closed ring>"


class SubmissionQueue:
    """The submission side. `head`, `tail`, `flags` and `dropped` read the shared memory.

    Attributes:
        array: which slot has the entry of each position; every position has its own unless the caller writes here.
        mask: number of entries minus one.
        sqes: the entries themselves, one object for each slot.
        is_plain: whether everything queued since the last flush is a no-op that nothing else was made of.
        array_gap: how much further behind the completions than need be the array of indices lies.
        rewinds: whether every submission begins at the first slot (IORING_SETUP_SQ_REWIND): there is no head and tail.
    """

    __slots__ = (
        "_closed_by",
        "_dropped_at",
        "_end",
        "_flags_at",
        "_flushed",
        "_head_at",
        "_is_mapped",
        "_is_polled",
        "_lap",
        "_mapping",
        "_nop",
        "_order",
        "_slot",
        "_tail_at",
        "_user_data",
        "_view",
        "_words",
        "_zeros",
        "array",
        "array_gap",
        "fence",
        "is_plain",
        "layout",
        "mask",
        "rewinds",
        "sqes",
    )

    def __init__(self, fd: int, params: io_uring_params) -> None:
        """Map the queue of ring `fd`. `params` are the kernel's, from io_uring_setup(2).

        Raises:
            OutOfMemory and the other errors of mmap(2).
            MachineNotSupported: see `uring.barriers`.
        """
        # What every use is answered with once the mappings are gone; the ring knows more and says so when it closes.
        self._closed_by: tuple[type[RingClosed], str] = RingClosed, "the queue was unmapped by deinit()"
        machine = this_machine()
        self._order = machine.order
        self.fence = machine.fence
        flags = params.flags
        self._is_polled = bool(flags & IORING_SETUP_SQPOLL)
        self.rewinds = bool(flags & IORING_SETUP_SQ_REWIND)
        entries = params.sq_entries
        has_array = not flags & IORING_SETUP_NO_SQARRAY
        cqe_bytes = 32 if flags & IORING_SETUP_CQE32 else 16
        size_bytes = params.cq_off.cqes + params.cq_entries * cqe_bytes
        self.array_gap = params.sq_off.array - cache_line_behind_completions(params)
        if has_array:
            size_bytes = max(size_bytes, params.sq_off.array + entries * 4)
        self.layout = SQE128_LAYOUT if flags & IORING_SETUP_SQE128 else SQE_LAYOUT
        self._nop = (_NOP128 if flags & IORING_SETUP_SQE128 else _NOP).pack_into
        stride = self.layout.size

        # Nothing of it is ours to unmap where the memory is the program's.
        self._is_mapped = not flags & IORING_SETUP_NO_MMAP
        rings, sqes = params.cq_off.user_addr, params.sq_off.user_addr
        if self._is_mapped:
            mode = syscalls.MAP_SHARED | syscalls.MAP_POPULATE
            rings = syscalls.mmap(size_bytes, mode, fd, IORING_OFF_SQ_RING, "the rings")
            try:
                sqes = syscalls.mmap(entries * stride, mode, fd, IORING_OFF_SQES, "the submission queue entries")
            except BaseException:
                syscalls.munmap(rings, size_bytes)
                raise
        self._mapping: tuple[tuple[int, int], ...] = ((rings, size_bytes), (sqes, entries * stride))
        self._words = machine.words(rings, size_bytes & ~3)
        self._view = memoryview((ctypes.c_ubyte * (entries * stride)).from_address(sqes)).cast("B")

        # Every entry's user_data by slot.
        self._user_data = self._view.cast("Q")[USER_DATA_OFFSET // 8 :: stride // 8]

        self._head_at = params.sq_off.head // 4
        self._tail_at = params.sq_off.tail // 4
        self._flags_at = params.sq_off.flags // 4
        self._dropped_at = params.sq_off.dropped // 4
        self.mask = self._words[params.sq_off.ring_mask // 4]
        self.sqes = [io_uring_sqe.at(self._view, index * stride, self) for index in range(entries)]
        # Slot and array position are always the same here, so the array is written once. With NO_SQARRAY the kernel
        # reports offset 0, which is the ring's header: nothing may be written there.
        self.array = (
            machine.words(rings + params.sq_off.array, entries * 4)
            if has_array
            else memoryview(bytearray(entries * 4)).cast("I")
        )
        for index in range(entries):
            self.array[index] = index
        # The next entry to be taken lies in slot `_slot`, and `_end` is the slot where the vacant ones end. Positions
        # are ever-growing integers, of slot 0 and of the first entry that is not visible yet; only what is stored in
        # shared memory wraps at 32 bits.
        self._slot = 0
        self._end = entries
        self._lap = 0
        self._flushed = 0
        self.is_plain = True
        # user_data of the slots up to `_end` while no entry was ever anything but a plain no-op, so that all the rest
        # of every slot is zero; of no slot from then on.
        self._zeros = self._user_data

    @classmethod
    def init(cls, fd: int, p: io_uring_params) -> Self:
        """Zig's name of the constructor."""
        return cls(fd, p)

    def deinit(self) -> None:
        """Unmap. Entries that someone still holds answer every use with `RingClosed`. May be called twice."""
        mapping, self._mapping = self._mapping, ()
        if not mapping:
            return
        # With no room left, taking an entry goes the slow way, which notices that the ring is closed.
        self._lap += self._slot
        self._slot = self._end = 0
        self._zeros = NO_SLOTS
        for sqe in self.sqes:
            sqe._pins = None
            sqe.__class__ = _ClosedSqe
        self._words.release()
        self.array.release()
        self._user_data.release()
        self._view.release()
        for address, size_bytes in mapping if self._is_mapped else ():
            syscalls.munmap(address, size_bytes)

    def _check_mapped(self) -> None:
        if not self._mapping:
            kind, why = self._closed_by
            raise kind(why)

    def _word(self, at: int) -> int:
        self._check_mapped()
        return self._words[at]

    @property
    def head(self) -> int:
        """Position up to which the kernel has taken entries."""
        return self._word(self._head_at)

    @property
    def tail(self) -> int:
        """Position up to which entries are visible to the kernel."""
        return self._word(self._tail_at)

    @property
    def flags(self) -> int:
        """IORING_SQ_* bits, set by the kernel."""
        return self._word(self._flags_at)

    @property
    def dropped(self) -> int:
        """Entries the kernel skipped because their index in `array` is invalid."""
        return self._word(self._dropped_at)

    @property
    def sqe_head(self) -> int:
        """Position of the first entry not yet visible to the kernel."""
        return self._flushed & _U32

    @property
    def sqe_tail(self) -> int:
        """Position of the next entry to be taken."""
        return (self._lap + self._slot) & _U32

    def vacant(self) -> io_uring_sqe:
        """The next entry, not taken yet.

        Raises:
            SubmissionQueueFull: submit first.
            RingClosed: the ring was closed.
        """
        if self._slot == self._end:
            self.make_room()
        return self.sqes[self._slot]

    def nop(self, user_data: int) -> io_uring_sqe:
        """Fill in and take the next entry as a plain no-op. Raises as `vacant`."""
        sqe = self.vacant()
        try:
            self._nop(sqe._view, sqe._offset, user_data)
        except struct_error as error:
            raise ArgumentOutOfRange(f"nop: user_data {user_data!r} is no number of 64 bits: {error}") from None
        self._slot += 1
        return sqe

    def take_big(self) -> io_uring_sqe:
        """Take two slots side by side, cleared, as one entry of 128 bytes.

        Where the first would be the last slot, it becomes a silent no-op, and the first two are taken: an entry does
        not go round the end.

        Raises:
            SubmissionQueueFull: there are not as many.
        """
        entries = self.mask + 1
        vacant = entries - self.pending()
        if self._order is not None:
            self._order()
        needed = 3 if self._slot == self.mask else 2
        if vacant < needed:
            raise SubmissionQueueFull(f"a big entry takes {needed} slots here, {vacant} are vacant; submit() first")
        if needed == 3:
            self.nop(0)
            self.sqes[self.mask].flags = IOSQE_CQE_SKIP_SUCCESS
        if self._slot == entries:
            self._lap += entries
            self._slot = 0
        big = BigSqe.over(self.sqes[self._slot], self)
        _NOP128.pack_into(self._view, big._offset, 0)
        self._slot += 2
        self._end = min(entries, self._slot + vacant - needed)
        self.is_plain = False
        return big

    def queued(self) -> Iterator[io_uring_sqe]:
        """The entries that are taken and not visible to the kernel yet."""
        position, end = self._flushed, self._lap + self._slot
        while position < end:
            sqe = self.sqes[position & self.mask]
            yield sqe
            position += 2 if sqe.opcode in BIG and self.layout is SQE_LAYOUT else 1

    def adopt(self, other: Self) -> None:
        """Go on where another queue stopped, which is empty."""
        self._lap = other._lap + other._slot
        self._slot = self._lap & self.mask
        self._lap -= self._slot
        self._flushed = self._lap + self._slot

    def rewind(self, consumed: int) -> None:
        """Begin at the first slot again, with what the kernel did not take of the last submission."""
        stride = self.layout.size
        left = self._slot - consumed
        if left and consumed:
            for index in range(left):
                self.sqes[index]._pins = self.sqes[index + consumed]._pins
            self._view[: left * stride] = bytes(self._view[consumed * stride : self._slot * stride])
        self._slot = self._flushed = left
        self._words[self._tail_at] = left

    def make_room(self) -> None:
        """Look how far the kernel has come; raise when every entry is still taken."""
        entries = self.mask + 1
        self._check_mapped()
        vacant = entries - self.pending()
        if self._order is not None:
            self._order()
        if not vacant:
            if self._lap + self._slot == self._flushed and self._is_polled:
                advice = "the kernel's thread has not taken them yet; wait for it with sqring_wait()"
            else:
                advice = "submit() first"
            raise SubmissionQueueFull(f"all {entries} entries are taken; {advice}")
        if self._slot == entries:
            self._lap += entries
            self._slot = 0
        self._end = min(entries, self._slot + vacant)
        if self._zeros:
            self._zeros = self._user_data[: self._end]

    def pending(self) -> int:
        """Entries the kernel has not taken yet, visible to it or not."""
        return (self._lap + self._slot - self._words[self._head_at]) & _U32


class CompletionEntries:
    """The slots of a completion queue by position, for code that reads the ring itself."""

    __slots__ = ("_cq",)

    def __init__(self, cq: CompletionQueue) -> None:
        self._cq = cq

    def __len__(self) -> int:
        return self._cq.mask + 1

    def __getitem__(self, index: int) -> io_uring_cqe:
        """The completion in slot `index`; meaningful from `head & mask` on for `cq_ready()` slots."""
        return self._cq.peek(index)


class CompletionQueue:
    """The completion side. `head`, `tail` and `overflow` read the shared memory.

    Attributes:
        mask: number of entries minus one.
    """

    __slots__ = (
        "_flags_at",
        "_head",
        "_head_at",
        "_is_mixed",
        "_iterate",
        "_order",
        "_overflow_at",
        "_read",
        "_sq",
        "_stride",
        "_tail_at",
        "_view",
        "_words",
        "mask",
    )

    def __init__(self, fd: int, params: io_uring_params, sq: SubmissionQueue) -> None:
        """Find the completion ring in the mapping it shares with `sq`."""
        del fd  # Zig's signature; the mapping is shared since 5.4
        layout = CQE32_LAYOUT if params.flags & IORING_SETUP_CQE32 else CQE_LAYOUT
        self._stride = layout.size
        self._iterate = layout.iter_unpack
        self._read = layout.unpack_from
        self._is_mixed = bool(params.flags & IORING_SETUP_CQE_MIXED)
        self._words = sq._words
        self._sq = sq
        self._head_at = params.cq_off.head // 4
        self._tail_at = params.cq_off.tail // 4
        self._overflow_at = params.cq_off.overflow // 4
        # 0 before 5.8, which has no such word: the ring's head lies there.
        self._flags_at = params.cq_off.flags // 4
        self.mask = self._words[params.cq_off.ring_mask // 4]
        self._order = sq._order
        self._head = self._words[self._head_at]
        size_bytes = (self.mask + 1) * self._stride
        base = sq._mapping[0][0] + params.cq_off.cqes
        self._view = memoryview((ctypes.c_ubyte * size_bytes).from_address(base)).cast("B")

    @classmethod
    def init(cls, fd: int, p: io_uring_params, sq: SubmissionQueue) -> Self:
        """Zig's name of the constructor."""
        return cls(fd, p, sq)

    def deinit(self) -> None:
        """Let go of the memory; unmapping it is `SubmissionQueue.deinit`'s part. May be called twice."""
        self._view.release()

    @property
    def head(self) -> int:
        """Position up to which completions were reaped."""
        return self._sq._word(self._head_at)

    @property
    def tail(self) -> int:
        """Position up to which the kernel has posted completions."""
        return self._sq._word(self._tail_at)

    @property
    def overflow(self) -> int:
        """Completions the kernel could not post (before 5.5: lost)."""
        return self._sq._word(self._overflow_at)

    @property
    def flags(self) -> int:
        """IORING_CQ_* bits, which the program sets and the kernel reads (none before 5.8)."""
        return self._sq._word(self._flags_at) if self._flags_at else 0

    @flags.setter
    def flags(self, bits: int) -> None:
        self._sq._check_mapped()
        if not self._flags_at:
            raise OpcodeNotSupported(EOPNOTSUPP, "the completion queue has no flags; Linux 5.8 or later is needed")
        self._words[self._flags_at] = bits

    @property
    def cqes(self) -> CompletionEntries:
        """The slots; what is read from them is a copy."""
        return CompletionEntries(self)

    def peek(self, index: int) -> io_uring_cqe:
        """A copy of the completion in slot `index`."""
        if not 0 <= index <= self.mask:
            raise IndexError(f"slot {index} of {self.mask + 1}")
        self._sq._check_mapped()
        return _new_tuple(io_uring_cqe, self._read(self._view, index * self._stride))

    def oldest(self) -> io_uring_cqe | None:
        """A copy of the oldest completion, which stays; None if there is none."""
        if self._is_mixed:
            while self._words[self._tail_at] != self._head:
                at = (self._head & self.mask) * 16
                row: tuple[Any, ...] = CQE_LAYOUT.unpack_from(self._view, at)
                if row[2] & IORING_CQE_F_SKIP:
                    self.advance(1)
                    continue
                if row[2] & IORING_CQE_F_32:
                    row = CQE32_LAYOUT.unpack_from(self._view, at)
                return _new_tuple(io_uring_cqe, row)
            return None
        if self._words[self._tail_at] == self._head:
            return None
        if self._order is not None:
            self._order()
        return _new_tuple(io_uring_cqe, self._read(self._view, (self._head & self.mask) * self._stride))

    def ready(self) -> int:
        """Posted completions that were not reaped; in a mixed ring, 16-byte units of them."""
        return (self._words[self._tail_at] - self._head) & _U32

    def advance(self, count: int) -> None:
        """Hand `count` slots back to the kernel."""
        if self._order is not None:
            self._order()
        self._words[self._head_at] = self._head = (self._head + count) & _U32

    def take_one(self) -> io_uring_cqe | None:
        """Reap the oldest completion, if one is ready."""
        head = self._head
        if self._words[self._tail_at] == head:
            return None
        if self._is_mixed:
            rows = self.take(1)
            return rows[0] if rows else None
        order = self._order
        if order is not None:
            order()
        cqe = _new_tuple(io_uring_cqe, self._read(self._view, (head & self.mask) * self._stride))
        if order is not None:
            order()
        self._words[self._head_at] = self._head = (head + 1) & _U32
        return cqe

    def take(self, limit: int) -> list[io_uring_cqe]:
        """Reap up to `limit` completions that are ready."""
        head = self._head
        count = (self._words[self._tail_at] - head) & _U32
        if not count or limit <= 0:
            return []
        if self._order is not None:
            self._order()
        if self._is_mixed:
            return self._take_mixed(limit, count)
        first = head & self.mask
        stride = self._stride
        # Not min(), here and below: calling it takes as long as the copy.
        if count > limit:  # noqa: PLR1730
            count = limit
        end = first + count
        over = end - self.mask - 1
        if over <= 0:
            rows = [_new_tuple(io_uring_cqe, row) for row in self._iterate(self._view[first * stride : end * stride])]
        else:
            rows = [_new_tuple(io_uring_cqe, row) for row in self._iterate(self._view[first * stride :])]
            rows += [_new_tuple(io_uring_cqe, row) for row in self._iterate(self._view[: over * stride])]
        self.advance(count)
        return rows

    def take_into(self, array: MutableSequence[Any] | CqeArray) -> int:
        """Reap what is ready, at most as much as the list or array is long, into its front. Returns how much it was.

        The array gets bytes that are not decoded yet, which is faster.
        """
        if not isinstance(array, CqeArray):
            rows = self.take(len(array))
            array[: len(rows)] = rows
            return len(rows)
        if self._is_mixed or array.entry_bytes != self._stride:
            raise UsageError(
                "the array holds completions of another size than this ring's; see CqeArray(is_big=True), "
                "and use a list with IORING_SETUP_CQE_MIXED"
            )
        head = self._head
        count = (self._words[self._tail_at] - head) & _U32
        if not count:
            return 0
        order = self._order
        if order is not None:
            order()
        if count > array.length:  # noqa: PLR1730
            count = array.length
        stride = self._stride
        first = head & self.mask
        end = first + count
        over = end - self.mask - 1
        if over <= 0:
            array.memory[: count * stride] = self._view[first * stride : end * stride]
        else:
            until_end = (count - over) * stride
            array.memory[:until_end] = self._view[first * stride :]
            array.memory[until_end : count * stride] = self._view[: over * stride]
        if order is not None:
            order()
        self._words[self._head_at] = self._head = (head + count) & _U32
        return count

    def _take_mixed(self, limit: int, count: int) -> list[io_uring_cqe]:
        """IORING_SETUP_CQE_MIXED: completions of one or two slots, and fillers before the end of the ring."""
        rows: list[io_uring_cqe] = []
        used = 0
        while used < count and len(rows) < limit:
            at = ((self._head + used) & self.mask) * 16
            row: tuple[Any, ...] = CQE_LAYOUT.unpack_from(self._view, at)
            used += 1
            if row[2] & IORING_CQE_F_SKIP:
                continue
            if row[2] & IORING_CQE_F_32:
                # The kernel never lets a large one wrap: it posts a filler first.
                row = CQE32_LAYOUT.unpack_from(self._view, at)
                used += 1
            rows.append(_new_tuple(io_uring_cqe, row))
        self.advance(used)
        return rows


def cache_line_behind_completions(params: io_uring_params) -> int:
    """Where in the rings' mapping something else can begin."""
    end = params.cq_off.cqes + params.cq_entries * (32 if params.flags & IORING_SETUP_CQE32 else 16)
    return int(-(-end // _CACHE_LINE) * _CACHE_LINE)
