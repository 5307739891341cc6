"""A kernel of our own making: rings whose memory the test fills in, with every offset where no real kernel puts it.

What a real kernel does is tested on one. Here is what it does not do on demand: counters near their end, completions of
every size at every place, errors, and layouts that differ from today's.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

import uring
from uring import syscalls

FD = 1_000_007
SQ_HEAD, SQ_TAIL, SQ_MASK, SQ_FLAGS, SQ_DROPPED = 132, 140, 148, 156, 164
CQ_HEAD, CQ_TAIL, CQ_MASK, CQ_OVERFLOW, CQ_FLAGS = 172, 180, 188, 196, 204
CQES, SQ_ARRAY = 256, 8192


@dataclass
class MadeUpKernel:
    """What was asked of it, and the memory it shares.

    Attributes:
        params: of the last ring that was set up, as they came.
        fd: the next ring's descriptor.
        features: what the next ring gets.
        array_at: where in the mapping the next ring's array lies.
        entered: (to_submit, min_complete, flags) of each io_uring_enter.
        mapped: (size, flags, fd, offset) of each mapping.
        unmapped: (address, size).
        closed: descriptors.
        registered: (opcode, the 64 bytes at the address, count) of each io_uring_register.
        memory: of each mapping.
        rings: to be closed at the end.
        entries: of the last ring.
        cq_entries: of the last ring.
    """

    params: list[int] = field(default_factory=list)
    fd: int = FD
    features: int = uring.IORING_FEAT_SINGLE_MMAP | uring.IORING_FEAT_NODROP
    array_at: int = SQ_ARRAY
    cq_flags_at: int = CQ_FLAGS
    entered: list[tuple[int, int, int]] = field(default_factory=list)
    mapped: list[tuple[int, int, int, int]] = field(default_factory=list)
    unmapped: list[tuple[int, int]] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    registered: list[tuple[int, bytes, int]] = field(default_factory=list)
    memory: list[ctypes.Array[ctypes.c_char]] = field(default_factory=list)
    rings: list[uring.IoUring] = field(default_factory=list)
    entries: int = 0
    cq_entries: int = 0

    def ring(self, entries: int, flags: int = 0, **options: bool) -> uring.IoUring:
        """Open a ring; it is closed at the end of the test."""
        ring = uring.IoUring(entries, flags, **options)
        self.rings.append(ring)
        return ring

    def setup(self, entries: int, params: uring.io_uring_params) -> int:
        """io_uring_setup(2)."""
        self.params = [params.flags, params.sq_thread_idle, params.cq_entries, entries]
        self.entries = params.sq_entries = entries
        self.cq_entries = params.cq_entries = params.cq_entries or 2 * entries
        params.features = self.features
        sq, cq = params.sq_off, params.cq_off
        sq.head, sq.tail, sq.ring_mask, sq.flags, sq.dropped = SQ_HEAD, SQ_TAIL, SQ_MASK, SQ_FLAGS, SQ_DROPPED
        sq.array = self.array_at
        cq.head, cq.tail, cq.ring_mask, cq.overflow, cq.cqes = CQ_HEAD, CQ_TAIL, CQ_MASK, CQ_OVERFLOW, CQES
        cq.flags = self.cq_flags_at
        return self.fd

    def mmap(self, size_bytes: int, flags: int, fd: int, offset: int, call: str) -> int:
        """mmap(2); a page before and behind belongs to nobody."""
        assert call
        self.mapped.append((size_bytes, flags, fd, offset))
        self.memory.append(ctypes.create_string_buffer(max(size_bytes, SQ_ARRAY) + 8192))
        if offset == uring.IORING_OFF_SQ_RING:
            self.write(SQ_MASK, self.entries - 1)
            self.write(CQ_MASK, self.cq_entries - 1)
        return ctypes.addressof(self.memory[-1])

    def munmap(self, address: int, size_bytes: int) -> None:
        """munmap(2)."""
        self.unmapped.append((address, size_bytes))

    def enter(self, fd: int, to_submit: int, min_complete: int, flags: int) -> int:
        """io_uring_enter(2); takes all there is."""
        assert fd == self.fd
        self.entered.append((to_submit, min_complete, flags))
        return to_submit

    def register(self, fd: int, opcode: int, address: int, count: int) -> int:
        """io_uring_register(2)."""
        assert fd == self.fd
        self.registered.append((opcode, ctypes.string_at(address, 64), count))
        return 0

    def read(self, at: int) -> int:
        """A word of the rings."""
        return int(ctypes.c_uint32.from_buffer(self.memory[0], at).value)

    def write(self, at: int, value: int) -> None:
        """Change a word of the rings."""
        ctypes.c_uint32.from_buffer(self.memory[0], at).value = value

    def take(self) -> None:
        """Consume every entry that is visible."""
        self.write(SQ_HEAD, self.read(SQ_TAIL))

    def complete(self, *cqes: uring.io_uring_cqe, is_big: bool = False) -> None:
        """Post completions behind the tail, each as large as the slots are."""
        layout, size_bytes = (uring.cqe.CQE32_LAYOUT, 32) if is_big else (uring.cqe.CQE_LAYOUT, 16)
        for cqe in cqes:
            tail = self.read(CQ_TAIL)
            slot = tail & (self.cq_entries - 1)
            row = (*cqe, 0, 0)[: len(layout.unpack(bytes(size_bytes)))]
            layout.pack_into(self.memory[0], CQES + slot * size_bytes, *row)
            self.write(CQ_TAIL, (tail + 1) & 0xFFFFFFFF)

    def begin_at(self, ring: uring.IoUring, position: int) -> None:
        """Let both queues of an empty ring have come so far."""
        for at in (SQ_HEAD, SQ_TAIL, CQ_HEAD, CQ_TAIL):
            self.write(at, position & 0xFFFFFFFF)
        ring.sq._slot = position & ring.sq.mask
        ring.sq._lap = position - ring.sq._slot
        ring.sq._end = self.entries
        ring.sq._flushed = position
        ring.cq._head = position & 0xFFFFFFFF


def replace_enter(monkeypatch: pytest.MonkeyPatch, enter: Callable[[int, int, int, int], int]) -> None:
    """Have (fd, to_submit, min_complete, flags) of every io_uring_enter go to a function instead of the kernel."""

    def system_call(*arguments: int | None) -> int:
        number, *numbers, signals, signals_bytes = arguments
        assert (number, signals, signals_bytes) == (426, None, 8)
        return enter(*map(int, numbers))

    monkeypatch.setattr(syscalls, "enter", system_call)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[MadeUpKernel]:
    """Rings that are made meanwhile are made of this."""
    made_up = MadeUpKernel()
    for name, function in {
        "io_uring_setup": made_up.setup,
        "io_uring_register_errno": made_up.register,
        "mmap": made_up.mmap,
        "munmap": made_up.munmap,
        "close": made_up.closed.append,
    }.items():
        monkeypatch.setattr(syscalls, name, function)
    replace_enter(monkeypatch, made_up.enter)
    yield made_up
    # While the functions above are still there.
    for ring in made_up.rings:
        ring.deinit()
