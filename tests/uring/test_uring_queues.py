"""The queues, in memory that the test fills in: every position, every wrap, every layout."""

from __future__ import annotations

import ctypes
import itertools
import mmap
from collections.abc import Callable
from typing import Any

import pytest
from made_up_kernel import (
    CQ_FLAGS,
    CQ_HEAD,
    CQ_MASK,
    CQ_OVERFLOW,
    CQ_TAIL,
    CQES,
    FD,
    SQ_ARRAY,
    SQ_DROPPED,
    SQ_FLAGS,
    SQ_HEAD,
    SQ_MASK,
    SQ_TAIL,
    MadeUpKernel,
    kernel,
    replace_enter,
)

import uring
from uring import barriers
from uring.flags import IORING_CQE_F_32, IORING_CQE_F_SKIP

__all__ = ["kernel"]
Work = Callable[[uring.IoUring], object]
POPULATED = mmap.MAP_SHARED | mmap.MAP_POPULATE


def cqe(user_data: int, res: int = 0, flags: int = 0, *more: int) -> uring.io_uring_cqe:
    return uring.io_uring_cqe(user_data, res, flags, *more)


def names(rows: list[Any]) -> list[int]:
    return [row[0] for row in rows]


# -- where things lie -------------------------------------------------------------------------------------------------


def test_every_position_is_read_where_the_kernel_put_it(kernel: MadeUpKernel) -> None:
    """Eight words, each at its own offset; the masks are read once."""
    ring = kernel.ring(4)
    for value, at in enumerate((SQ_HEAD, SQ_TAIL, SQ_FLAGS, SQ_DROPPED, CQ_HEAD, CQ_TAIL, CQ_OVERFLOW, CQ_FLAGS), 100):
        kernel.write(at, value)
    sq, cq = ring.sq, ring.cq
    assert [100, 101, 102, 103] == [sq.head, sq.tail, sq.flags, sq.dropped]
    assert [104, 105, 106, 107] == [cq.head, cq.tail, cq.overflow, cq.flags]
    kernel.write(SQ_MASK, 1)
    kernel.write(CQ_MASK, 1)
    assert (sq.mask, cq.mask, len(sq.sqes), len(cq.cqes), list(sq.array)) == (3, 7, 4, 8, [0, 1, 2, 3])


def test_the_queues_can_be_made_by_zigs_names(kernel: MadeUpKernel) -> None:
    """For code that calls io_uring_setup(2) itself."""
    params = uring.io_uring_params(flags=uring.IORING_SETUP_CQE32)
    assert kernel.setup(4, params) == FD
    sq = uring.SubmissionQueue.init(FD, params)
    cq = uring.CompletionQueue.init(FD, params, sq)
    assert (type(sq), type(cq), sq.mask, cq.mask) == (uring.SubmissionQueue, uring.CompletionQueue, 3, 7)
    assert [fd for _, _, fd, _ in kernel.mapped] == [FD, FD]
    posted = cqe(7, 1, 2, 3, 4)
    kernel.complete(posted, is_big=True)
    assert cq.take(2) == [posted]
    cq.deinit()
    sq.deinit()
    assert len(kernel.unmapped) == 2


@pytest.mark.parametrize(
    ("flags", "array_at", "rings_bytes", "sqe_bytes"),
    [
        (0, SQ_ARRAY, SQ_ARRAY + 4 * 4, 64),
        # The array may lie before the completions.
        (0, 64, CQES + 8 * 16, 64),
        (uring.IORING_SETUP_CQE32, 64, CQES + 8 * 32, 64),
        (uring.IORING_SETUP_CQE_MIXED, 64, CQES + 8 * 16, 64),
        (uring.IORING_SETUP_SQE128, 64, CQES + 8 * 16, 128),
        (uring.IORING_SETUP_NO_SQARRAY, SQ_ARRAY, CQES + 8 * 16, 64),
    ],
)
def test_what_is_mapped_and_given_back(
    kernel: MadeUpKernel, flags: int, array_at: int, rings_bytes: int, sqe_bytes: int
) -> None:
    """Both mappings have room for all of their entries, and are given back whole, once."""
    kernel.array_at = array_at
    ring = kernel.ring(4, flags)
    assert kernel.mapped == [
        (rings_bytes, POPULATED, FD, uring.IORING_OFF_SQ_RING),
        (4 * sqe_bytes, POPULATED, FD, uring.IORING_OFF_SQES),
    ]
    addresses = [ctypes.addressof(memory) for memory in kernel.memory]
    ring.deinit()
    ring.deinit()
    assert kernel.unmapped == [(addresses[0], rings_bytes), (addresses[1], 4 * sqe_bytes)]
    assert kernel.closed == [FD]


def test_no_view_of_memory_outlives_its_mapping(kernel: MadeUpKernel) -> None:
    """A view that is not released would read what lies there next."""
    ring = kernel.ring(4)
    sq, cq = ring.sq, ring.cq
    ring.deinit()
    for view in (sq._words, sq._view, sq._user_data, sq.array, cq._words, cq._view):
        with pytest.raises(ValueError, match="released"):
            _ = view[0]
    sq.deinit()
    cq.deinit()
    assert len(kernel.unmapped) == 2


@pytest.mark.parametrize("flags", [0, uring.IORING_SETUP_NO_SQARRAY])
def test_the_array_names_each_slot_once_where_there_is_one(kernel: MadeUpKernel, flags: int) -> None:
    ring = kernel.ring(4, flags)
    assert [kernel.read(SQ_ARRAY + 4 * index) for index in range(5)] == ([0] * 5 if flags else [0, 1, 2, 3, 0])
    ring.sq.array[3] = 9
    assert (kernel.read(SQ_ARRAY + 4 * 3), list(ring.sq.array)) == (0 if flags else 9, [0, 1, 2, 9])
    ring.deinit()


def test_the_eventfd_is_switched_in_the_completion_queues_flags(kernel: MadeUpKernel) -> None:
    """Only that bit changes, and nothing is written where it is as it should be."""
    ring = kernel.ring(4)
    kernel.write(CQ_FLAGS, 6)
    assert ring.cq_eventfd_enabled()
    for enabled, word in ((True, 6), (False, 7), (False, 7), (True, 6)):
        ring.cq_eventfd_toggle(enabled)
        assert (kernel.read(CQ_FLAGS), ring.cq_eventfd_enabled()) == (word, enabled)
    ring.deinit()
    with pytest.raises(uring.RingClosed):
        ring.cq.flags = 0


def test_before_5_8_the_eventfd_cannot_be_switched(kernel: MadeUpKernel) -> None:
    """There the offset is 0, where something else lies."""
    kernel.cq_flags_at = 0
    ring = kernel.ring(4)
    kernel.write(0, 1)
    assert (ring.cq.flags, ring.cq_eventfd_enabled()) == (0, True)
    ring.cq_eventfd_toggle(True)
    with pytest.raises(uring.OpcodeNotSupported, match=r"5\.8"):
        ring.cq_eventfd_toggle(False)
    assert kernel.read(0) == 1
    ring.deinit()


@pytest.mark.parametrize("flags", [0, uring.IORING_SETUP_SQE128])
def test_every_entry_lies_in_its_own_slot(kernel: MadeUpKernel, flags: int) -> None:
    size_bytes = 128 if flags else 64
    ring = kernel.ring(4, flags)
    for user_data in range(1, 5):
        ring.fsync(user_data, user_data, 0)
    entries = bytes(kernel.memory[1])
    for slot in range(4):
        assert entries[slot * size_bytes] == uring.IORING_OP.FSYNC
        assert entries[slot * size_bytes + 4] == entries[slot * size_bytes + 32] == slot + 1
    for slot in range(4):
        ring.sq._user_data[slot] = 7
        assert ring.sq.sqes[slot].user_data == 7


# -- the submission side ----------------------------------------------------------------------------------------------

ALMOST = [0xFFFFFFFD, 0xFFFFFFFE, 0xFFFFFFFF, 1 << 32, (7 << 32) - 2]


@pytest.mark.parametrize("position", ALMOST)
def test_entries_are_counted_over_the_end_of_32_bits(kernel: MadeUpKernel, position: int) -> None:
    """Positions grow for ever; what is shared wraps."""
    ring = kernel.ring(4)
    kernel.begin_at(ring, position)
    for lap in range(1, 4):
        taken = [ring.nop(index) for index in range(3)]
        at = position + 3 * (lap - 1)
        assert all(sqe is ring.sq.sqes[(at + index) % 4] for index, sqe in enumerate(taken))
        assert (ring.sq.sqe_head, ring.sq.sqe_tail) == (at % (1 << 32), (at + 3) % (1 << 32))
        assert (ring.sq_ready(), ring.flush_sq(), kernel.read(SQ_TAIL)) == (3, 3, (at + 3) % (1 << 32))
        assert (ring.sq.sqe_head, ring.flush_sq()) == ((at + 3) % (1 << 32), 3)
        kernel.take()
        assert (ring.sq_ready(), ring.flush_sq()) == (0, 0)


@pytest.mark.parametrize(
    "take", [lambda ring: ring.get_sqe(), lambda ring: ring.nop(1), lambda ring: ring.fsync(1, 2, 0)]
)
@pytest.mark.parametrize("position", [0xFFFFFFFC, 0xFFFFFFFE])
@pytest.mark.parametrize("taken", range(5))
def test_there_is_room_for_as_many_as_the_kernel_has_taken(
    kernel: MadeUpKernel, taken: int, position: int, take: Work
) -> None:
    ring = kernel.ring(4)
    kernel.begin_at(ring, position)
    for user_data in range(4):
        ring.nop(user_data)
    ring.flush_sq()
    kernel.write(SQ_HEAD, (position + taken) & 0xFFFFFFFF)
    for index in range(taken):
        assert take(ring) is ring.sq.sqes[(position + index) % 4]
    with pytest.raises(uring.SubmissionQueueFull, match="all 4 entries are taken"):
        ring.get_sqe()
    with pytest.raises(uring.SubmissionQueueFull):
        ring.nop(1)
    with pytest.raises(uring.SubmissionQueueFull):
        ring.sq.vacant()
    assert ring.sq_ready() == 4


@pytest.mark.parametrize("position", [0, 5 << 32])
@pytest.mark.parametrize("taken", [0, 3, 4])
def test_what_submit_left_behind_is_not_filled_in_again(
    kernel: MadeUpKernel, monkeypatch: pytest.MonkeyPatch, taken: int, position: int
) -> None:
    """Only where the kernel took everything the next entries may be had without looking how far it has come."""
    ring = kernel.ring(4)
    kernel.begin_at(ring, position)
    for user_data in range(4):
        ring.nop(user_data)
    replace_enter(monkeypatch, lambda *_: kernel.write(SQ_HEAD, taken) or taken)
    assert ring.submit() == taken
    loads: list[int] = []
    ring.sq._words = NotedWords(ring.sq._words, loads)  # type: ignore[assignment]
    for user_data in range(taken):
        assert ring.nop(user_data) is ring.sq.sqes[user_data]
    assert loads == ([] if taken in (0, 4) else [ring.sq._head_at])
    with pytest.raises(uring.SubmissionQueueFull):
        ring.nop(9)
    assert (ring.sq_ready(), ring.sq.sqe_tail) == (4, 4 + taken)


def test_no_ops_in_slots_of_other_entries_are_clean(kernel: MadeUpKernel) -> None:
    ring = kernel.ring(2)
    ring.fsync(1, 3, 1)
    ring.fsync(2, 3, 1)
    ring.flush_sq()
    kernel.take()
    assert [ring.nop(4), ring.nop(5)] == [uring.io_uring_sqe(user_data=4), uring.io_uring_sqe(user_data=5)]


def test_a_ring_closed_in_a_later_lap_has_no_room(kernel: MadeUpKernel) -> None:
    ring = kernel.ring(2)
    ring.nop(1)
    ring.nop(2)
    ring.flush_sq()
    kernel.take()
    ring.nop(3)
    ring.deinit()
    with pytest.raises(uring.RingClosed):
        ring.nop(4)
    assert ring.sq.sqe_tail == 3


class NotedWords:
    """Shared words that note what is read."""

    def __init__(self, words: Any, loads: list[int]) -> None:
        self.words, self.loads = words, loads

    def __getitem__(self, at: int) -> int:
        self.loads.append(at)
        return int(self.words[at])

    def release(self) -> None:
        self.words.release()


@pytest.mark.parametrize(
    ("flags", "is_flushed", "advice"),
    [
        (0, False, r"submit\(\) first"),
        (0, True, r"submit\(\) first"),
        (uring.IORING_SETUP_SUBMIT_ALL, True, r"submit\(\) first"),
        (uring.IORING_SETUP_SQPOLL, False, r"submit\(\) first"),
        (uring.IORING_SETUP_SQPOLL, True, r"sqring_wait\(\)"),
    ],
)
def test_a_full_queue_says_what_helps(kernel: MadeUpKernel, flags: int, is_flushed: bool, advice: str) -> None:
    ring = kernel.ring(2, flags)
    ring.nop(1)
    ring.nop(2)
    if is_flushed:
        ring.flush_sq()
    with pytest.raises(uring.SubmissionQueueFull, match=advice):
        ring.nop(3)


def test_only_what_is_no_plain_no_op_has_to_be_cleared(kernel: MadeUpKernel) -> None:
    """A queue that has had plain no-ops only is written in one place; from the first other entry on in all."""
    ring = kernel.ring(2)
    ring.nop(1)
    assert (ring.sq.is_plain, bool(ring.sq._zeros)) == (True, True)
    ring.flush_sq()
    assert (ring.sq.is_plain, bool(ring.sq._zeros)) == (True, True)
    kernel.take()
    ring.fsync(2, 3, 1)
    assert (ring.sq.is_plain, bool(ring.sq._zeros)) == (False, True)
    ring.flush_sq()
    assert (ring.sq.is_plain, bool(ring.sq._zeros)) == (True, False)


@pytest.mark.parametrize("take", [lambda ring: ring.get_sqe(), lambda ring: ring.nop(2)])
def test_a_no_op_behind_another_entry_hides_it_from_nobody(kernel: MadeUpKernel, take: Work) -> None:
    ring = kernel.ring(4)
    ring.fsync(1, 3, 0)
    take(ring)
    assert not ring.sq.is_plain
    ring.flush_sq()
    assert 1 in ring._in_flight.counts


@pytest.mark.parametrize(
    "touch",
    [
        lambda sqe: setattr(sqe, "fd", 5),
        lambda sqe: setattr(sqe, "cmd", b"x"),
        lambda sqe: sqe.prep_fsync(3, 0),
        lambda sqe: sqe.link_next(),
    ],
)
def test_a_no_op_that_was_touched_is_no_plain_one(
    kernel: MadeUpKernel, touch: Callable[[uring.io_uring_sqe], None]
) -> None:
    """The next one in its slot is clean again."""
    ring = kernel.ring(1)
    touch(ring.nop(1))
    assert not ring.sq.is_plain
    ring.flush_sq()
    kernel.take()
    assert ring.nop(2) == uring.io_uring_sqe(user_data=2)


# -- the completion side ----------------------------------------------------------------------------------------------

LIMITS = [1, 2, 3, 7, 8, 9]


@pytest.mark.parametrize("is_array", [False, True], ids=["list", "array"])
@pytest.mark.parametrize("flags", [0, uring.IORING_SETUP_CQE32], ids=["", "cqe32"])
@pytest.mark.parametrize("limit", LIMITS)
def test_every_batch_at_every_place(kernel: MadeUpKernel, limit: int, flags: int, is_array: bool) -> None:
    """All starts, counts and limits of a ring of eight, the wrap of 32 bits among them."""
    ring = kernel.ring(4, flags)
    is_big = bool(flags)
    for start, count in itertools.product(range(0xFFFFFFF8, 0x100000000), range(9)):
        kernel.begin_at(ring, start)
        posted = [
            cqe(start + index, -index, index, *((1 + index, 2 + index) if is_big else ())) for index in range(count)
        ]
        kernel.complete(*posted, is_big=is_big)
        assert ring.cq_ready() == count
        expected = posted[:limit]
        if is_array:
            array = uring.CqeArray(limit, is_big=is_big)
            assert ring.cq.take_into(array) == len(expected)
            assert expected == [uring.io_uring_cqe(*row) for row in array.rows(len(expected))]
            assert bytes(array.memory[len(expected) * array.entry_bytes :]).strip(b"\0") == b""
        else:
            assert ring.cq.take(limit) == expected
        assert kernel.read(CQ_HEAD) == (start + len(expected)) & 0xFFFFFFFF
        assert ring.cq_ready() == count - len(expected)


@pytest.mark.parametrize("limit", [0, -1])
def test_none_are_taken_where_none_are_wanted(kernel: MadeUpKernel, limit: int) -> None:
    ring = kernel.ring(4)
    kernel.complete(cqe(1), cqe(2))
    assert ring.cq.take(limit) == []
    assert ring.cq.take_into(uring.CqeArray(0)) == 0
    assert names(ring.cq.take(5)) == [1, 2]


def test_what_is_read_is_a_copy_in_its_slot(kernel: MadeUpKernel) -> None:
    ring = kernel.ring(2)
    kernel.complete(*(cqe(user_data, 3) for user_data in (5, 6, 7, 8)))
    assert names([ring.cq.peek(index) for index in range(4)]) == names(list(ring.cq.cqes)) == [5, 6, 7, 8]
    for index in (-1, 4):
        with pytest.raises(IndexError, match=f"slot {index} of 4"):
            ring.cq.peek(index)


SMALL, BIG, FILLER = "small", "big", "filler"
# Positions of a ring of eight are 16-byte units; a large completion never wraps.
MIXES = [
    (0, [SMALL, BIG, SMALL]),
    (0, [BIG, BIG, BIG, BIG]),
    (0, [FILLER, SMALL]),
    (7, [FILLER, BIG, SMALL]),
    (6, [BIG, SMALL, BIG]),
    (5, [SMALL, SMALL, FILLER, BIG]),
    (0xFFFFFFFF, [SMALL, BIG]),
]


@pytest.mark.parametrize(("start", "mix"), MIXES)
@pytest.mark.parametrize("limit", [1, 2, 8])
def test_completions_of_two_sizes(kernel: MadeUpKernel, start: int, mix: list[str], limit: int) -> None:
    """Each is read whole, fillers are passed over, and the head moves by what was read."""
    ring = kernel.ring(4, uring.IORING_SETUP_CQE_MIXED)
    kernel.begin_at(ring, start)
    expected: list[uring.io_uring_cqe] = []
    units = 0
    for number, kind in enumerate(mix):
        flags = {SMALL: 0, BIG: IORING_CQE_F_32, FILLER: IORING_CQE_F_SKIP}[kind]
        one = cqe(number, number, flags, *((10 + number, 20 + number) if kind == BIG else ()))
        layout = uring.cqe.CQE32_LAYOUT if kind == BIG else uring.cqe.CQE_LAYOUT
        layout.pack_into(kernel.memory[0], CQES + ((start + units) & 7) * 16, *one)
        units += 2 if kind == BIG else 1
        if kind != FILLER:
            expected.append(one)
    kernel.write(CQ_TAIL, (start + units) & 0xFFFFFFFF)
    assert ring.cq_ready() == units
    got: list[uring.io_uring_cqe] = []
    while ring.cq_ready():
        rows = ring.cq.take(limit)
        assert 0 < len(rows) <= limit
        got += rows
    assert got == expected
    assert kernel.read(CQ_HEAD) == (start + units) & 0xFFFFFFFF


def test_an_array_cannot_take_completions_of_two_sizes(kernel: MadeUpKernel) -> None:
    ring = kernel.ring(4, uring.IORING_SETUP_CQE_MIXED)
    kernel.complete(cqe(1))
    for array in (uring.CqeArray(2), uring.CqeArray(2, is_big=True)):
        with pytest.raises(uring.UsageError, match="IORING_SETUP_CQE_MIXED"):
            ring.cq.take_into(array)
    assert names(ring.cq.take(2)) == [1]


@pytest.mark.parametrize("length", [1, 3])
def test_an_array_knows_its_completions(length: int) -> None:
    array = uring.CqeArray(length)
    assert (len(array), array.entry_bytes, len(array.memory)) == (length, 16, 16 * length)
    assert (len(list(array.rows())), len(list(array.rows(1))), list(array.rows(0))) == (length, 1, [])
    big = uring.CqeArray(length, is_big=True)
    assert (big.entry_bytes, len(big.memory), len(big[length - 1])) == (32, 32 * length, 5)
    for index in (-1, length):
        with pytest.raises(IndexError, match=f"completion {index} of {length}"):
            array[index]


# -- order ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "work", "fences"),
    [
        (0, lambda ring: ring.cq.take(5), 2),
        (0, lambda ring: ring.cq.take(1), 2),
        (0, lambda ring: ring.cq.take_one(), 2),
        (0, lambda ring: ring.cq.take_into(uring.CqeArray(4)), 2),
        (uring.IORING_SETUP_CQE_MIXED, lambda ring: ring.cq.take(5), 2),
        (0, lambda ring: ring.cq.take(0), 0),
        (0, lambda ring: ring.cq.advance(1), 1),
        (0, lambda ring: ring.sq.make_room(), 1),
        # Without a polling thread the system call that follows orders the tail.
        (0, lambda ring: (ring.nop(1), ring.flush_sq()), 0),
        (uring.IORING_SETUP_SQPOLL, lambda ring: (ring.nop(1), ring.flush_sq()), 1),
    ],
)
def test_fences_of_a_weakly_ordered_machine(
    kernel: MadeUpKernel, monkeypatch: pytest.MonkeyPatch, flags: int, work: Work, fences: int
) -> None:
    machine = barriers.Machine("x86_64", None)
    made: list[int] = []
    machine.order = lambda: made.append(1)
    monkeypatch.setattr(barriers, "_machine", machine)
    ring = kernel.ring(4, flags)
    kernel.complete(cqe(1), cqe(2))
    work(ring)
    assert len(made) == fences


def test_one_completion_at_a_time_of_a_mixed_ring(kernel: MadeUpKernel) -> None:
    """A filler is none, and a large one is one."""
    ring = kernel.ring(4, uring.IORING_SETUP_CQE_MIXED)
    kernel.complete(cqe(1, 0, IORING_CQE_F_SKIP))
    assert (ring.cq.take_one(), ring.cq_ready()) == (None, 0)
    kernel.complete(cqe(2), cqe(3, 0, IORING_CQE_F_32), cqe(4), cqe(5))
    assert [ring.cq.take_one() for _ in range(4)] == [cqe(2), cqe(3, 0, IORING_CQE_F_32, 4, 0), cqe(5), None]


@pytest.mark.parametrize("flags", [0, uring.IORING_SETUP_CQE32], ids=["", "cqe32"])
def test_one_completion_at_a_time_at_every_place(kernel: MadeUpKernel, flags: int) -> None:
    ring = kernel.ring(4, flags)
    kernel.begin_at(ring, 0xFFFFFFFD)
    for index in range(12):
        more = (index + 20, index + 30) if flags else ()
        kernel.complete(cqe(index, -index, 7, *more), is_big=bool(flags))
        taken = ring.cq.take_one()
        assert (type(taken), taken) == (uring.io_uring_cqe, cqe(index, -index, 7, *more))
        assert kernel.read(CQ_HEAD) == ring.cq._head == (0xFFFFFFFE + index) & 0xFFFFFFFF
    assert ring.cq.take_one() is None


def test_what_a_polling_thread_has_taken_is_looked_at_behind_a_fence(
    kernel: MadeUpKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after a system call: that thread read the entries, not the call."""
    machine = barriers.Machine("x86_64", None)
    made: list[int] = []
    machine.order = lambda: made.append(1)
    monkeypatch.setattr(barriers, "_machine", machine)
    ring = kernel.ring(1, uring.IORING_SETUP_SQPOLL)
    ring.nop(1)
    ring.flush_sq()
    kernel.take()
    ring.submit_and_wait(1)
    assert len(kernel.entered) == 1
    del made[:]
    ring.nop(2)
    assert made == [1]
