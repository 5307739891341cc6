"""Rings that are entered by an index, and rings whose queues lie in the program's memory."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable

import pytest

import uring
from uring.ring_memory import queue_bytes

MakeRing = Callable[..., uring.IoUring]


def completes(ring: uring.IoUring, user_data: int = 5) -> bool:
    ring.nop(user_data)
    return ring.submit_and_wait(1) == 1 and ring.copy_cqe() == uring.io_uring_cqe(user_data, 0, 0)


def test_a_ring_goes_by_its_index_and_back(ring: uring.IoUring) -> None:
    fd = ring.fd
    index = ring.register_ring_fd()
    assert 0 <= index < 16
    assert (fd, index) == (ring.fd, ring._enter_fd)
    assert completes(ring)
    assert ring.get_probe().is_supported(uring.IORING_OP.NOP)
    with pytest.raises(uring.RingAlreadyRegistered, match=f"index {index}"):
        ring.register_ring_fd()
    ring.unregister_ring_fd()
    assert fd == ring._enter_fd
    assert completes(ring)
    with pytest.raises(uring.RingNotRegistered, match="no index"):
        ring.unregister_ring_fd()


def test_a_ring_without_descriptor(ring: uring.IoUring) -> None:
    with pytest.raises(uring.RingNotRegistered, match="needs an index"):
        ring.close_ring_fd()
    fd = ring.fd
    ring.register_ring_fd()
    ring.close_ring_fd()
    assert -1 == ring.fd
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    assert completes(ring)
    assert ring.get_probe().is_supported(uring.IORING_OP.NOP)
    with pytest.raises(uring.FileDescriptorInvalid, match="has no descriptor"):
        ring.unregister_ring_fd()
    ring.close_ring_fd()
    ring.deinit()
    with pytest.raises(uring.RingClosed):
        ring.nop(1)


def test_closing_gives_the_index_back(make_ring: MakeRing) -> None:
    """There are sixteen for each thread."""
    for _ in range(40):
        ring = make_ring(1)
        ring.register_ring_fd()
        ring.deinit()


def test_the_seventeenth_has_its_name(make_ring: MakeRing) -> None:
    rings = [make_ring(1) for _ in range(17)]
    for ring in rings[:16]:
        ring.register_ring_fd()
    with pytest.raises(uring.ProcessFdQuotaExceeded, match=r"register_ring_fd.*EBUSY.*16 registered rings"):
        rings[16].register_ring_fd()


def test_another_thread_may_close_it(make_ring: MakeRing) -> None:
    """The index is not that thread's, and the descriptor is everybody's."""
    ring = make_ring(1)
    ring.register_ring_fd()
    closing = threading.Thread(target=ring.deinit)
    closing.start()
    closing.join()
    assert -1 == ring.fd


FLAGS = {
    "plain": 0,
    "sqe128": uring.IORING_SETUP_SQE128,
    "cqe32": uring.IORING_SETUP_CQE32,
    "no-sqarray": uring.IORING_SETUP_NO_SQARRAY,
}


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS)
@pytest.mark.parametrize("entries", [1, 8, 512])
def test_queues_in_our_memory(make_ring: MakeRing, entries: int, flags: int) -> None:
    """Every slot of both queues is used, and what lies behind them is left alone."""
    ring = make_ring(entries, uring.IORING_SETUP_NO_MMAP | flags)
    for start in range(0, 5 * entries, entries):
        for number in range(entries):
            ring.nop(start + number)
        assert entries == ring.submit_and_wait(entries)
        cqes: list[uring.io_uring_cqe] = [uring.io_uring_cqe()] * entries
        assert entries == ring.copy_cqes(cqes, entries)
        assert list(range(start, start + entries)) == [cqe.user_data for cqe in cqes]


def test_a_ring_that_never_had_a_descriptor(make_ring: MakeRing) -> None:
    ring = make_ring(4, uring.IORING_SETUP_NO_MMAP | uring.IORING_SETUP_REGISTERED_FD_ONLY)
    assert -1 == ring.fd
    assert completes(ring)
    assert ring.get_probe().is_supported(uring.IORING_OP.NOP)
    ring.deinit()
    with pytest.raises(uring.RingClosed):
        ring.submit()


def test_room_for_queues_is_whole_pages() -> None:
    def needed(entries: int, flags: int = 0, completions: int = 0) -> tuple[int, int]:
        pages = queue_bytes(entries, uring.io_uring_params(flags=flags, cq_entries=completions))
        assert all(not size % mmap.PAGESIZE for size in pages)
        return pages[0] // mmap.PAGESIZE, pages[1] // mmap.PAGESIZE

    page = mmap.PAGESIZE
    assert (1, 1) == needed(1)
    assert (1, 1) == needed(page // 64)  # 64 entries: 2 KiB of completions
    assert (2, 2) == needed(page // 32)
    assert (2, 1) == needed(page // 64, uring.IORING_SETUP_SQE128)
    assert (1, 2) == needed(page // 64, uring.IORING_SETUP_CQE32)
    assert (1, 2) == needed(1, uring.IORING_SETUP_CQSIZE, page // 16)
    # Rounded up as the kernel does.
    assert needed(1, uring.IORING_SETUP_CQSIZE, page // 16) == needed(1, uring.IORING_SETUP_CQSIZE, page // 32 + 1)
    assert needed(1 << 20, uring.IORING_SETUP_CLAMP) == needed(32768)
    assert needed(1024)[1] == needed(1024, uring.IORING_SETUP_NO_SQARRAY)[1] + 1
