"""Shared indices: single accesses, fences where a machine needs them, refusal where neither is to be had."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

import uring
from uring import barriers


class FakeLibatomic:
    """libatomic's functions as Python; records the order of calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

        def atomic_thread_fence(order: int) -> None:
            assert order == 5
            self.calls.append("fence")

        self.atomic_thread_fence = atomic_thread_fence


def test_x86_64_needs_no_fence_but_the_full_one() -> None:
    """Loads and stores keep their order there."""
    machine = barriers.Machine("x86_64", None)
    assert machine.order is None
    machine.fence()
    assert isinstance(
        machine.words((buffer := ctypes.create_string_buffer(8)) and ctypes.addressof(buffer), 8), memoryview
    )


def test_aarch64_fences_every_acquire_and_release() -> None:
    """With libatomic's fence if there is one, the kernel's otherwise."""
    library = FakeLibatomic()
    machine = barriers.Machine("aarch64", library)  # type: ignore[arg-type]
    assert machine.order is machine.fence
    machine.fence()
    assert library.calls == ["fence"]
    call: Any = library.atomic_thread_fence
    assert (call.restype, call.argtypes) == (None, [ctypes.c_int])


def test_aarch64_without_libatomic_uses_membarrier(monkeypatch: pytest.MonkeyPatch) -> None:
    """GLOBAL_EXPEDITED; where the kernel does not offer it the ring refuses to start."""
    asked: list[str] = []

    def membarrier(machine: str) -> Any:
        asked.append(machine)
        return (lambda: None) if len(asked) == 1 else None

    monkeypatch.setattr(barriers, "membarrier_fence", membarrier)
    assert barriers.Machine("aarch64", None).order is not None
    with pytest.raises(uring.MachineNotSupported, match="libatomic"):
        barriers.Machine("aarch64", None)
    assert asked == ["aarch64", "aarch64"]


@pytest.mark.parametrize("name", ["riscv64", "s390x", "ppc64le", "loongarch64"])
def test_other_machines_need_libatomic(name: str) -> None:
    """CPython reads an index byte by byte on riscv64; untested machines are treated alike."""
    with pytest.raises(uring.MachineNotSupported, match=f"{name}.*libatomic"):
        barriers.Machine(name, None)


@pytest.mark.parametrize(("machine", "number"), [("x86_64", 324), ("aarch64", 283)])
def test_membarrier(monkeypatch: pytest.MonkeyPatch, machine: str, number: int) -> None:
    """Asks what the kernel offers (command 0), then fences with MEMBARRIER_CMD_GLOBAL_EXPEDITED (2)."""
    calls: list[tuple[int, ...]] = []
    offered = 0
    libraries: list[Library] = []

    class Library:
        def __init__(self, _: None) -> None:
            def syscall(*arguments: int) -> int:
                calls.append(arguments)
                return offered

            self.syscall: Any = syscall
            libraries.append(self)

    monkeypatch.setattr(ctypes, "PyDLL", Library)
    for refused in (-1, 0, 1, 4, 8 | 16):
        offered = refused
        assert barriers.membarrier_fence(machine) is None
    del calls[:]
    offered = 2 | 4
    fence = barriers.membarrier_fence(machine)
    assert fence is not None
    fence()
    assert calls == [(number, 0, 0, 0), (number, 2, 0, 0)]
    call = libraries[-1].syscall
    assert (call.restype, call.argtypes) == (
        ctypes.c_long,
        [ctypes.c_long, ctypes.c_int, ctypes.c_uint, ctypes.c_int],
    )


def test_membarrier_on_this_kernel() -> None:
    """The real one, where it is offered, does not fail."""
    machine = os.uname().machine
    if machine not in ("x86_64", "aarch64") or (fence := barriers.membarrier_fence(machine)) is None:
        pytest.skip("this kernel has no membarrier, or this machine does not use it")
    fence()


def test_atomic_words_with_the_real_library() -> None:
    """Same indexing as a memoryview, through libatomic."""
    library = barriers.load_libatomic()
    if library is None:
        pytest.skip("libatomic.so.1 is not installed")
    memory = (ctypes.c_uint32 * 4)(1, 2, 3, 0xFFFFFFFF)
    words = barriers.Machine("riscv64", library).words(ctypes.addressof(memory), 16)
    assert not isinstance(words, memoryview)
    assert [words[index] for index in range(4)] == [1, 2, 3, 0xFFFFFFFF]
    words[1] = 0xFFFFFFFE
    assert memory[1] == 0xFFFFFFFE
    halves = barriers.Machine("riscv64", library).words(ctypes.addressof(memory), 16, 2)
    assert halves[0] == 1
    halves[1] = 7
    assert memory[0] == 7 << 16 | 1
    for index in (-1, 4):
        with pytest.raises(IndexError):
            words[index]
    words.release()
    with pytest.raises(uring.RingClosed):
        words[0]
    with pytest.raises(uring.RingClosed):
        words[0] = 1


def test_whole_ring_through_libatomic(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ring as on riscv64, on this machine: every index goes through libatomic."""
    library = barriers.load_libatomic()
    if library is None:
        pytest.skip("libatomic.so.1 is not installed")
    monkeypatch.setattr(barriers, "_machine", barriers.Machine("riscv64", library))
    try:
        ring = uring.IoUring(4)
    except (uring.SystemOutdated, uring.PermissionDenied) as error:
        pytest.skip(str(error))
    with ring:
        assert not isinstance(ring.sq._words, memoryview)
        for user_data in range(50):
            ring.nop(user_data)
            ring.submit()
            assert ring.copy_cqe().user_data == user_data
    with pytest.raises(uring.RingClosed):
        _ = ring.sq.head


class OrderedWords:
    """Shared words that note every access in a common log."""

    def __init__(self, words: Any, log: list[str], names: dict[int, str]) -> None:
        self.words, self.log, self.names = words, log, names

    def __getitem__(self, index: int) -> int:
        self.log.append(f"load {self.names.get(index, index)}")
        return int(self.words[index])

    def __setitem__(self, index: int, value: int) -> None:
        self.log.append(f"store {self.names.get(index, index)}")
        self.words[index] = value

    def release(self) -> None:
        self.words.release()


def test_order_of_accesses_on_a_weakly_ordered_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Acquire behind CQ tail and SQ head; release before CQ head, a buffer ring's tail and, with SQPOLL, SQ tail."""
    log: list[str] = []
    machine = barriers.Machine("x86_64", None)
    machine.order = lambda: log.append("fence")
    monkeypatch.setattr(barriers, "_machine", machine)
    try:
        ring = uring.IoUring(1, uring.IORING_SETUP_SQPOLL)
    except (uring.SystemOutdated, uring.PermissionDenied) as error:
        pytest.skip(str(error))
    with ring:
        sq, cq = ring.sq, ring.cq
        names = {sq._tail_at: "sq.tail", sq._head_at: "sq.head", cq._tail_at: "cq.tail", cq._head_at: "cq.head"}
        sq._words = cq._words = OrderedWords(sq._words, log, names)  # type: ignore[assignment]
        ring.nop(1)
        ring.flush_sq()
        assert log[log.index("store sq.tail") - 1] == "fence"
        ring.submit()
        cqe = ring.copy_cqe()
        assert cqe.user_data == 1
        del log[:]
        ring.nop(2)
        assert log == ["load sq.head", "fence"]
        ring.submit()
        while not cq.ready():
            pass
        del log[:]
        assert [2] == [each.user_data for each in cq.take(5)]
        assert log == ["load cq.tail", "fence", "fence", "store cq.head"]
        ring.nop(4)
        ring.submit()
        while not cq.ready():
            pass
        del log[:]
        assert cq.take_one() == uring.io_uring_cqe(4)
        assert log == ["load cq.tail", "fence", "fence", "store cq.head"]
        ring.nop(3)
        ring.submit()
        while not cq.ready():
            pass
        del log[:]
        assert cq.take_into(uring.CqeArray(2)) == 1
        assert log == ["load cq.tail", "fence", "fence", "store cq.head"]
        try:
            br = uring.setup_buf_ring(ring.fd, 2, 1)
        except uring.ArgumentsInvalid:
            return
        br._words = OrderedWords(br._words, log, {7: "br.tail"})  # type: ignore[assignment]
        del log[:]
        uring.buf_ring_advance(br, 1)
        assert log == ["load br.tail", "fence", "store br.tail"]
        uring.free_buf_ring(ring.fd, br, 2, 1)


def test_poller_is_woken_behind_a_full_fence(make_ring: Callable[..., uring.IoUring]) -> None:
    """Between the tail's store and the look at NEED_WAKEUP there is a full fence; without it a sleeper is missed."""
    ring = make_ring(4, uring.IORING_SETUP_SQPOLL)
    sq = ring.sq
    log: list[str] = []
    real_fence = sq.fence
    sq.fence = lambda: (log.append("fence"), real_fence())[1]
    names = {sq._tail_at: "tail", sq._flags_at: "flags", sq._head_at: "head"}
    sq._words = OrderedWords(sq._words, log, names)  # type: ignore[assignment]
    ring.nop(5)
    ring.submit()
    assert log == ["store tail", "load head", "fence", "load flags"]
    assert ring.copy_cqe().user_data == 5


def test_full_fence_works_from_several_threads() -> None:
    """The lock behind the x86-64 fence is never left taken."""
    fence = barriers.lock_fence()
    threads = [threading.Thread(target=lambda: [fence() for _ in range(1000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def test_a_machine_without_libatomic_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be loaded is no error; a machine may do without."""
    asked: list[str] = []

    def refuse(name: str) -> None:
        asked.append(name)
        raise OSError("cannot open shared object file")

    monkeypatch.setattr(ctypes, "PyDLL", refuse)
    assert barriers.load_libatomic() is None
    assert asked == ["libatomic.so.1"]


@pytest.mark.parametrize(("name", "loaded"), [("x86_64", 0), ("aarch64", 1)])
def test_this_machine_is_examined_once(monkeypatch: pytest.MonkeyPatch, name: str, loaded: int) -> None:
    """x86-64 needs no library, and loads none."""
    libraries: list[FakeLibatomic] = []

    def load() -> FakeLibatomic:
        libraries.append(FakeLibatomic())
        return libraries[-1]

    monkeypatch.setattr(barriers, "_machine", None)
    monkeypatch.setattr(barriers, "load_libatomic", load)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "", "", "", name)))
    machine = barriers.this_machine()
    assert machine is barriers.this_machine() is barriers._machine
    assert len(libraries) == loaded
    assert (machine.order is None) == (loaded == 0)


@pytest.mark.parametrize(("step", "highest"), [(2, 0xFFFF), (4, 0xFFFFFFFF)])
def test_words_of_both_kinds_are_alike(step: int, highest: int) -> None:
    """As a view and through libatomic: the same items of the same memory, unsigned, to the end of it."""
    memory = ctypes.create_string_buffer(bytes(range(1, 17)), 16)
    address = ctypes.addressof(memory)
    kinds = [barriers.Machine("x86_64", None)]
    if (library := barriers.load_libatomic()) is not None:
        kinds.append(barriers.Machine("riscv64", library))
    for machine in kinds:
        words = machine.words(address, 16, step)
        assert [words[index] for index in range(16 // step)] == [
            int.from_bytes(memory.raw[at : at + step], "little") for at in range(0, 16, step)
        ]
        with pytest.raises(IndexError):
            words[16 // step]
        before = memory.raw
        words[1] = highest
        assert memory.raw == before[:step] + b"\xff" * step + before[2 * step :]
        words[1] = int.from_bytes(before[step : 2 * step], "little")
        assert memory.raw == before


def test_the_fence_takes_the_lock_and_lets_it_go(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    class Lock:
        def acquire(self) -> None:
            done.append("acquire")

        def release(self) -> None:
            done.append("release")

    monkeypatch.setattr(barriers, "allocate_lock", Lock)
    fence = barriers.lock_fence()
    fence()
    fence()
    assert done == ["acquire", "release"] * 2
