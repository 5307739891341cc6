"""The book of requests in flight: who is counted, whose memory is held, and until when."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from made_up_kernel import SQ_HEAD, MadeUpKernel, kernel

import uring
from uring import lifetime
from uring.lifetime import InFlight

__all__ = ["kernel"]
MORE = uring.IORING_CQE_F_MORE


def entry(user_data: int, pin: object = None, **fields: int) -> uring.io_uring_sqe:
    sqe = uring.io_uring_sqe(user_data=user_data, **fields)
    sqe._pins = pin
    return sqe


def noted(*entries: uring.io_uring_sqe, groups: dict[int, object] | None = None) -> InFlight:
    """A book in which these stand."""
    book = InFlight({} if groups is None else groups)
    rows = list(entries)
    size = 1 << (len(rows) - 1).bit_length()
    book.note(rows + [entry(99)] * (size - len(rows)), 0, len(rows))
    return book


def row(user_data: int, flags: int = 0) -> tuple[int, int, int]:
    return user_data, 0, flags


def held(book: InFlight) -> dict[int, list[object]]:
    return {name: list(pins.values()) for name, pins in book.pins.items()}


def test_the_entries_between_two_positions_are_noted() -> None:
    """Modulo the queue."""
    rows = [entry(name, str(name)) for name in range(4)]
    book = InFlight({})
    book.note(rows, 6, 9)
    assert book.counts == {2: 1, 3: 1, 0: 1}
    assert held(book) == {2: ["2"], 3: ["3"], 0: ["0"]}
    assert [sqe._pins for sqe in rows] == [None, "1", None, None]


def test_memory_is_held_once_for_each_place_it_lies_at() -> None:
    """By what the entry says: two buffers of one name are two, the same one again is one."""
    book = noted(entry(1, "a", addr=8), entry(1, "b", addr=16), entry(1, "c", addr=8))
    assert book.counts == {1: 3}
    assert held(book) == {1: ["c", "b"]}
    for different in ("off", "len", "addr3"):
        assert held(noted(entry(1, "a"), entry(1, "b", **{different: 1}))) == {1: ["a", "b"]}


def test_each_completion_ends_one_request_of_its_name() -> None:
    book = noted(entry(1, "a"), entry(1, "b", addr=8), entry(2, "c"))
    book.completed([row(1, MORE), row(9), row(1)])
    assert (book.counts, held(book)) == ({1: 1, 2: 1}, {1: ["a", "b"], 2: ["c"]})
    book.completed([row(2), row(1)])
    assert (book.counts, book.pins) == ({}, {})


@pytest.mark.parametrize("first", [row(1, MORE), row(9), row(3)], ids=["more to come", "unknown", "one of two"])
def test_what_ends_nothing_hides_nothing_behind_it(first: tuple[int, int, int]) -> None:
    book = noted(entry(2, "a"), entry(3), entry(3))
    book.completed([first, row(2)])
    assert 2 not in book.counts
    assert book.pins == {}


def test_completions_of_no_ops_come_first() -> None:
    """As many as there were; the next one counts, whatever its name."""
    book = noted(entry(5, "a"))
    book.unnoticed = 2
    book.completed([row(5), row(5, MORE)])
    assert (book.unnoticed, book.counts) == (0, {5: 1})
    book.completed([row(5)])
    assert book.counts == {}


@pytest.mark.parametrize(("unnoticed", "count", "left"), [(3, 1, 2), (3, 3, 0), (3, 4, 0), (1, 0, 1)])
def test_no_ops_are_counted_in_bulk(unnoticed: int, count: int, left: int) -> None:
    book = InFlight({})
    book.unnoticed = unnoticed
    book.plain_completed(count)
    assert book.unnoticed == left


def test_provided_memory_is_the_groups() -> None:
    """By address and size in bytes, beside the request's own."""
    book = noted(entry(1, "a", opcode=uring.IORING_OP.PROVIDE_BUFFERS, fd=3, len=8, addr=64, buf_index=5))
    assert book.provided == {5: {(64, 24): "a"}}
    assert held(book) == {1: ["a"]}
    book.completed([row(1)])
    assert book.provided == {5: {(64, 24): "a"}}
    assert noted(entry(1, "a", opcode=uring.IORING_OP.READ, fd=3, len=8, buf_index=5)).provided == {}


def test_a_request_that_chooses_a_buffer_holds_its_group() -> None:
    """A ring of buffers, provided ones, or both; no other group's."""
    ring_of_buffers = object()
    selecting = {"opcode": uring.IORING_OP.RECV, "flags": uring.IOSQE_BUFFER_SELECT}
    book = noted(entry(1, buf_index=5, **selecting), entry(2, buf_index=6, **selecting), groups={5: ring_of_buffers})
    assert held(book) == {1: [ring_of_buffers]}
    provided = entry(1, "a", opcode=uring.IORING_OP.PROVIDE_BUFFERS, fd=1, len=8, buf_index=5)
    book = noted(provided, entry(2, buf_index=5, **selecting), groups={5: ring_of_buffers})
    assert held(book) == {1: ["a"], 2: [ring_of_buffers, book.provided[5]]}
    assert held(noted(entry(1, opcode=uring.IORING_OP.RECV, buf_index=5), groups={5: ring_of_buffers})) == {}


@pytest.mark.parametrize(
    ("opcode", "flags", "is_renamed"),
    [
        (uring.IORING_OP.POLL_REMOVE, uring.IORING_POLL_UPDATE_USER_DATA, True),
        (uring.IORING_OP.POLL_REMOVE, uring.IORING_POLL_UPDATE_EVENTS, False),
        (uring.IORING_OP.POLL_REMOVE, 0, False),
        (uring.IORING_OP.READ, uring.IORING_POLL_UPDATE_USER_DATA, False),
    ],
)
def test_a_poll_that_gets_another_name_is_expected_under_it(opcode: int, flags: int, is_renamed: bool) -> None:
    book = noted(entry(1, opcode=opcode, len=flags, off=4), entry(4))
    assert book.counts == ({1: 1, 4: 2} if is_renamed else {1: 1, 4: 1})


def test_what_is_forgotten_is_gone() -> None:
    book = noted(entry(1, "a"), entry(1, "b", addr=8), entry(2, "c"))
    book.forget(1)
    book.forget(3)
    assert (book.counts, held(book)) == ({2: 1}, {2: ["c"]})


def test_all_of_it_can_be_let_go() -> None:
    book = noted(entry(1, "a", opcode=uring.IORING_OP.PROVIDE_BUFFERS, fd=1))
    book.unnoticed = 4
    book.clear()
    assert (book.counts, book.pins, book.provided, book.unnoticed) == ({}, {}, {}, 0)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """What is given up for good."""
    given_up: list[object] = []
    monkeypatch.setattr(lifetime, "keep_forever", given_up.append)
    before = lifetime.abandoned_count
    yield given_up
    lifetime.abandoned_count = before


def test_what_is_abandoned_is_kept_for_ever_and_counted(kept: list[object]) -> None:
    """Each request's memory, and the groups that requests may have chosen from."""
    book = noted(entry(1, "a"), entry(2, "b"), groups={5: "ring"})
    before = lifetime.abandoned_count
    book.abandon()
    assert [list(one.values()) for one in kept[:2] if isinstance(one, dict)] == [["a"], ["b"]]
    assert kept[2:] == [{}, {5: "ring"}]
    assert (lifetime.abandoned_count, book.pins, book.counts) == (before + 2, {}, {})


def test_nothing_is_kept_where_nothing_is_in_flight(kept: list[object]) -> None:
    book = noted(entry(1), groups={5: "ring"})
    before = lifetime.abandoned_count
    book.abandon()
    assert (kept, lifetime.abandoned_count, book.counts) == ([], before, {})


def test_a_process_begins_with_nothing_in_flight(run_python: Callable[[str], object]) -> None:
    run_python("from uring import lifetime as book; assert (book.abandoned_count, book.buffer_rings) == (0, {})")


# -- with the queue ---------------------------------------------------------------------------------------------------


def test_no_ops_that_the_kernel_has_not_taken_complete_in_any_order(kernel: MadeUpKernel) -> None:
    """Those it has taken are over; the others are counted one by one with what follows them."""
    ring = kernel.ring(8)
    book = ring._in_flight
    for name in range(4):
        ring.nop(name)
    ring.flush_sq()
    assert (book.unnoticed, book.plain_tail, book.counts) == (4, 4, {})
    kernel.write(SQ_HEAD, 1)
    ring.fsync(9, 3, 0)
    ring.flush_sq()
    assert (book.unnoticed, book.plain_tail, book.counts) == (1, 0, {1: 1, 2: 1, 3: 1, 9: 1})


def test_no_ops_that_the_kernel_has_taken_are_not_counted_again(kernel: MadeUpKernel) -> None:
    ring = kernel.ring(8)
    book = ring._in_flight
    ring.nop(1)
    ring.nop(2)
    ring.flush_sq()
    kernel.take()
    ring.fsync(9, 3, 0)
    ring.flush_sq()
    assert (book.unnoticed, book.plain_tail, book.counts) == (2, 0, {9: 1})
    # With another request in flight each is counted.
    ring.nop(3)
    ring.flush_sq()
    assert (book.unnoticed, book.counts) == (2, {9: 1, 3: 1})


@pytest.mark.parametrize("is_array", [False, True])
def test_reaping_is_noticed(kernel: MadeUpKernel, is_array: bool) -> None:
    """No-ops in bulk, others by name, and only as many as were reaped."""
    ring = kernel.ring(8)
    for name in range(3):
        ring.nop(name)
    ring.flush_sq()
    kernel.take()
    kernel.complete(*(uring.io_uring_cqe(name) for name in range(3)))
    one = uring.CqeArray(1) if is_array else [None]
    many = uring.CqeArray(8) if is_array else [None] * 8
    assert (ring.copy_cqes(one, 0), ring._in_flight.unnoticed) == (1, 2)
    assert (ring.copy_cqes(many, 0), ring._in_flight.unnoticed) == (2, 0)
    for name in (7, 8):
        ring.fsync(name, 3, 0)
    ring.flush_sq()
    kernel.complete(uring.io_uring_cqe(8), uring.io_uring_cqe(7))
    assert (ring.copy_cqes(one, 0), ring._in_flight.counts) == (1, {7: 1})
    assert (ring.copy_cqes(many, 0), ring._in_flight.counts) == (1, {})


@pytest.mark.parametrize(
    ("flags", "unnoticed", "counts"), [(0, 3, {}), (uring.IORING_SETUP_SQPOLL, 0, {1: 1, 2: 1, 3: 1})]
)
def test_no_ops_add_up(kernel: MadeUpKernel, flags: int, unnoticed: int, counts: dict[int, int]) -> None:
    """Where a thread polls each is counted: they are not over when the system call is."""
    ring = kernel.ring(8, flags)
    ring.nop(1)
    ring.nop(2)
    ring.flush_sq()
    ring.nop(3)
    ring.flush_sq()
    assert (ring._in_flight.unnoticed, ring._in_flight.counts) == (unnoticed, counts)


def test_one_completion_at_a_time_is_noticed(kernel: MadeUpKernel) -> None:
    """Also one of nobody here (IORING_OP_MSG_RING), which no later no-op makes up for."""
    ring = kernel.ring(8)
    kernel.complete(uring.io_uring_cqe(5))
    assert (ring.copy_cqe(), ring._in_flight.unnoticed) == (uring.io_uring_cqe(5), 0)
    ring.nop(1)
    ring.nop(2)
    ring.flush_sq()
    kernel.take()
    kernel.complete(uring.io_uring_cqe(1))
    assert (ring.copy_cqe(), ring._in_flight.unnoticed) == (uring.io_uring_cqe(1), 1)
    ring.fsync(7, 3, 0)
    ring.flush_sq()
    kernel.complete(uring.io_uring_cqe(2), uring.io_uring_cqe(7))
    assert (ring.copy_cqe(), ring._in_flight.counts) == (uring.io_uring_cqe(2), {7: 1})
    assert (ring.copy_cqe(), ring._in_flight.counts) == (uring.io_uring_cqe(7), {})
