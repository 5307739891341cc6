"""Registrations of the ring's own: what is passed, what comes back, what changes in the ring."""

from __future__ import annotations

import ctypes
import mmap
import time
from collections.abc import Callable

import pytest
from test_uring_registration import passed, words

import uring
from uring import syscalls

__all__ = ["passed"]
MakeRing = Callable[..., uring.IoUring]
Passed = list[tuple[int, bytes, int]]


def test_what_each_passes(ring: uring.IoUring, passed: Passed) -> None:
    ring.register_personality()
    ring.unregister_personality(7)
    ring.enable_rings()
    ring.unregister_iowq_aff()
    assert [(9, b"", 0), (10, b"", 7), (12, b"", 0), (18, b"", 0)] == passed
    del passed[:]
    ring.register_restrictions(
        [uring.io_uring_restriction(opcode=1, sqe_op=2), uring.io_uring_restriction(opcode=3, sqe_flags=0xF0)]
    )
    opcode, rules, count = passed.pop()
    assert (11, 2) == (opcode, count)
    assert (1, 2, 0, 0, 0, 0) == words(rules, 2, 1, 1, 4, 4, 4)
    assert (3, 0xF0 - 256, 0) == words(rules[16:], 2, 1, 1)
    ring.register_clock(time.CLOCK_BOOTTIME)
    opcode, clock, count = passed.pop()
    assert (29, 0, (7, 0, 0, 0)) == (opcode, count, words(clock, 4, 4, 4, 4))


@pytest.mark.parametrize(
    ("cpus", "mask"), [([0], b"\1" + bytes(7)), ([1, 9], b"\2\2" + bytes(6)), ([64], bytes(8) + b"\1" + bytes(7))]
)
def test_processors_are_a_mask(
    ring: uring.IoUring, monkeypatch: pytest.MonkeyPatch, cpus: list[int], mask: bytes
) -> None:
    seen = []
    monkeypatch.setattr(
        syscalls, "_register", lambda *given: seen.append((given[2], ctypes.string_at(given[3], given[4]))) or 0
    )
    ring.register_iowq_aff(cpus)
    assert [(17, mask)] == seen


def test_limits_come_back(ring: uring.IoUring, monkeypatch: pytest.MonkeyPatch) -> None:
    def register(number: int, fd: int, opcode: int, address: int, count: int) -> int:
        values = (ctypes.c_uint32 * count).from_address(address)
        assert (19, 2, [5, 6]) == (opcode, count, list(values))
        values[:] = (1, 2)
        return 0

    monkeypatch.setattr(syscalls, "_register", register)
    assert (1, 2) == ring.register_iowq_max_workers(5, 6)


def test_a_region_is_passed_and_kept(ring: uring.IoUring, passed: Passed) -> None:
    desc = uring.io_uring_region_desc(user_addr=4096, size=8192, flags=1)
    ring.register_region(desc, 3)
    opcode, request, count = passed.pop()
    assert (34, 1, (ctypes.addressof(desc), 3, 0, 0)) == (opcode, count, words(request, 8, 8, 8, 8))
    assert ring._shared == [desc]
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    arguments = ring.register_wait_reg(memory)
    opcode, request, count = passed.pop()
    assert (34, 1, 1) == (opcode, count, words(request, 8, 8)[1])
    assert mmap.PAGESIZE // 64 == len(arguments)
    arguments[1].min_wait_usec = 0x55
    assert 0x55 == memory[64 + 16]
    with pytest.raises(BufferError):
        memory.close()
    ring.deinit()
    del arguments
    memory.close()


def test_the_answer_to_a_query(monkeypatch: pytest.MonkeyPatch) -> None:
    def register(number: int, fd: int, opcode: int, address: int, count: int) -> int:
        assert (-1, 35, 0) == (fd, opcode, count)
        header = uring.structs.io_uring_query_hdr.from_address(address)
        assert (0, 0, ctypes.sizeof(uring.io_uring_query_opcode)) == (header.next_entry, header.query_op, header.size)
        uring.io_uring_query_opcode.from_address(header.query_data).sqe_flags = 0x7F
        header.result = results.pop()
        return 0

    monkeypatch.setattr(syscalls, "_register", register)
    results = [-22, 0]
    assert 0x7F == uring.query_opcodes().sqe_flags
    with pytest.raises(uring.ArgumentsInvalid, match=r"query_opcodes.*EINVAL"):
        uring.query_opcodes()


def deferred(make_ring: MakeRing, more: int = 0) -> uring.IoUring:
    ring = make_ring(4, uring.IORING_SETUP_SINGLE_ISSUER | uring.IORING_SETUP_DEFER_TASKRUN | more)
    try:
        resized(ring, 4, 8)
    except uring.ArgumentsInvalid as error:
        pytest.skip(f"older than 6.13: {error}")
    return ring


def resized(ring: uring.IoUring, entries: int, completions: int) -> None:
    params = uring.io_uring_params(flags=uring.IORING_SETUP_CQSIZE, sq_entries=entries, cq_entries=completions)
    ring.resize_rings(params)


@pytest.mark.parametrize("more", ["", "NO_MMAP", "CQE32", "SQE128", "NO_SQARRAY"])
def test_a_resized_ring_goes_on(make_ring: MakeRing, more: str) -> None:
    """From every place of the old queue, into larger and smaller ones."""
    ring = deferred(make_ring, uring.IORING_SETUP[more] if more else 0)
    for number, (entries, completions) in enumerate([(8, 32), (2, 8), (4, 8), (64, 128), (1, 2)] * 3):
        resized(ring, entries, completions)
        assert (entries, completions) == (len(ring.sq.sqes), len(ring.cq.cqes))
        for _ in range(number % 3 + 1):
            for user_data in range(entries):
                ring.nop(user_data)
            with pytest.raises(uring.SubmissionQueueFull):
                ring.nop(0)
            assert entries == ring.submit_and_wait(entries)
            assert list(range(entries)) == [ring.copy_cqe().user_data for _ in range(entries)]


def test_queued_entries_are_not_lost(make_ring: MakeRing) -> None:
    ring = deferred(make_ring)
    ring.nop(1)
    with pytest.raises(uring.EntriesNotSubmitted, match="1 entries"):
        resized(ring, 8, 16)
    assert 1 == ring.submit_and_wait(1)


def test_entries_of_the_old_queue_say_what_became_of_them(make_ring: MakeRing) -> None:
    ring = deferred(make_ring)
    sqe, queue = ring.nop(1), ring.sq
    ring.submit()
    resized(ring, 8, 16)
    with pytest.raises(uring.RingClosed):
        sqe.user_data = 2
    with pytest.raises(uring.RingClosed, match="resize_rings"):
        queue.head  # noqa: B018


def test_a_ring_without_the_flag_has_no_big_entries(ring: uring.IoUring) -> None:
    with pytest.raises(uring.EntriesTooSmall, match="64 bytes"):
        ring.get_sqe128()
