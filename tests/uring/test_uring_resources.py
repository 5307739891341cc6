"""Registrations of files and buffers with tags, updates of buffers, clones: what is passed, and what is kept alive."""

from __future__ import annotations

import ctypes
import errno
import gc
import weakref
from collections.abc import Callable

import pytest
from test_uring_registration import words

import uring
from uring import syscalls

MakeRing = Callable[..., uring.IoUring]


class Buffer(bytearray):
    """One that can be watched."""


class Kernel:
    """Takes registrations, and answers `result`.

    Attributes:
        result: of the next ones; None counts what an update is given.
        asked: number, count, and the argument's words of 32 bits.
        data: what the argument's pointer to resources points to, as bytes.
        tags: what its pointer to tags points to.
    """

    def __init__(self) -> None:
        self.result = 0
        self.asked: list[tuple[int, int, tuple[int, ...]]] = []
        self.data = b""
        self.tags: tuple[int, ...] = ()

    def register(self, number: int, fd: int, opcode: int, address: int, count: int) -> int:
        del number, fd
        raw = ctypes.string_at(address, 32) if address else b""
        self.asked.append((opcode, count, words(raw, *[4] * 8) if raw else ()))
        if opcode in (13, 14, 15, 16) and raw:
            # io_uring_rsrc_register has the number in front, io_uring_rsrc_update2 behind.
            is_update = opcode in (14, 16)
            nr = words(raw[24:28] if is_update else raw, 4)[0]
            data, tags = words(raw[8:] if is_update else raw[16:], 8, 8)
            self.data = ctypes.string_at(data, nr * (4 if opcode < 15 else 16)) if data else b""
            self.tags = words(ctypes.string_at(tags, nr * 8), *[8] * nr) if tags else ()
        if self.result < 0:
            ctypes.set_errno(-self.result)
            return -1
        return self.result


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(syscalls, "_register", made.register)
    return made


def alive(seen: list[weakref.ref[Buffer]]) -> list[bool]:
    gc.collect()
    return [one() is not None for one in seen]


def test_files_with_tags(ring: uring.IoUring, kernel: Kernel) -> None:
    ring.register_files_tags([5, -1, 7], [0, 11, 22])
    (opcode, size, (nr, flags, *_)) = kernel.asked.pop()
    assert (opcode, size, nr, flags) == (13, 32, 3, 0)
    assert words(kernel.data, 4, 4, 4) == (5, -1, 7)
    assert kernel.tags == (0, 11, 22)


def test_an_update_of_files_with_tags(ring: uring.IoUring, kernel: Kernel) -> None:
    kernel.result = 2
    assert ring.register_files_update_tag(9, (ctypes.c_int32 * 2)(5, -2), [33, 44]) == 2
    (opcode, size, (offset, reserved, *_, nr, also_reserved)) = kernel.asked.pop()
    assert (opcode, size, offset, reserved, nr, also_reserved) == (14, 32, 9, 0, 2, 0)
    assert words(kernel.data, 4, 4) == (5, -2)
    assert kernel.tags == (33, 44)


def test_an_update_of_files_says_how_far_it_got(ring: uring.IoUring, kernel: Kernel) -> None:
    kernel.result = 1
    assert ring.register_files_update(0, [3, 4]) == 1


def test_buffers_with_tags(ring: uring.IoUring, kernel: Kernel) -> None:
    memory = [bytearray(3), bytearray(4)]
    ring.register_buffers_tags(memory, [55, 66])
    (opcode, size, (nr, flags, *_)) = kernel.asked.pop()
    assert (opcode, size, nr, flags) == (15, 32, 2, 0)
    at = [ctypes.addressof(ctypes.c_char.from_buffer(part)) for part in memory]
    assert words(kernel.data, 8, 8, 8, 8) == (at[0], 3, at[1], 4)
    assert kernel.tags == (55, 66)


def test_a_table_of_empty_buffers(ring: uring.IoUring, kernel: Kernel) -> None:
    ring.register_buffers_sparse(12)
    assert kernel.asked == [(15, 32, (12, 1, 0, 0, 0, 0, 0, 0))]


def test_an_update_of_buffers(ring: uring.IoUring, kernel: Kernel) -> None:
    memory = bytearray(5)
    kernel.result = 1
    assert ring.register_buffers_update_tag(3, [memory], [77]) == 1
    (opcode, size, (offset, reserved, *_, nr, also_reserved)) = kernel.asked.pop()
    assert (opcode, size, offset, reserved, nr, also_reserved) == (16, 32, 3, 0, 1, 0)
    assert words(kernel.data, 8, 8) == (ctypes.addressof(ctypes.c_char.from_buffer(memory)), 5)
    assert kernel.tags == (77,)


def test_clones(make_ring: MakeRing, kernel: Kernel) -> None:
    ring, source = make_ring(1), make_ring(1)
    ring.clone_buffers(source)
    ring.clone_buffers_offset(source, 4, 3, 2, uring.IORING_REGISTER_DST_REPLACE)
    assert kernel.asked == [
        (30, 1, (source.fd, 0, 0, 0, 0, 0, 0, 0)),
        (30, 1, (source.fd, 2, 3, 4, 2, 0, 0, 0)),
    ]
    source.deinit()
    with pytest.raises(uring.RingClosed):
        ring.clone_buffers(source)


@pytest.mark.parametrize("call", ["register_buffers", "register_buffers_tags", "register_buffers_update_tag"])
def test_a_buffer_that_is_too_large_is_named_by_every_call(ring: uring.IoUring, kernel: Kernel, call: str) -> None:
    kernel.result = -errno.EFAULT
    vectors = [uring.iovec(4096, 1), uring.iovec(8192, (1 << 30) + 1)]
    arguments = {"register_buffers": (vectors,), "register_buffers_tags": (vectors, [1, 2])}.get(
        call, (0, vectors, [1, 2])
    )
    with pytest.raises(uring.BufferInvalid, match=f"{call} of 2 buffers.*buffer 1 has 1073741825 bytes"):
        getattr(ring, call)(*arguments)
    assert ring._registered_buffers == {}
    vectors[1].len -= 1
    with pytest.raises(uring.BufferInvalid, match="outside of this process"):
        getattr(ring, call)(*arguments)


@pytest.mark.parametrize("tags", [[1], [1, 2, 3]])
def test_tags_are_as_many_as_resources(ring: uring.IoUring, kernel: Kernel, tags: list[int]) -> None:
    """The kernel is not told how many there are."""
    for call, arguments in (
        (ring.register_files_tags, ([5, 6], tags)),
        (ring.register_files_update_tag, (0, [5, 6], tags)),
        (ring.register_buffers_tags, ([bytearray(1), bytearray(1)], tags)),
        (ring.register_buffers_update_tag, (0, [bytearray(1), bytearray(1)], tags)),
    ):
        with pytest.raises(uring.ArgumentOutOfRange, match="2 resources"):
            call(*arguments)
    assert kernel.asked == []


def test_a_replaced_buffer_is_let_go(ring: uring.IoUring, kernel: Kernel) -> None:
    """Each slot holds its own; what an update did not get to stays."""
    buffers = [Buffer(8) for _ in range(3)]
    others = [Buffer(8) for _ in range(2)]
    seen = [weakref.ref(one) for one in (*buffers, *others)]
    ring.register_buffers_tags(buffers, [0, 0, 0])
    kernel.result = 1
    ring.register_buffers_update_tag(1, others, [0, 0])
    del buffers, others
    assert [True, False, True, True, False] == alive(seen)
    ring.unregister_buffers()
    assert [False] * 5 == alive(seen)


def test_a_clone_keeps_its_buffers(make_ring: MakeRing, kernel: Kernel) -> None:
    """Also when the ring that they came from is closed; not those that were not cloned."""
    source, some, all_of_them = make_ring(1), make_ring(1), make_ring(1)
    buffers = [Buffer(8) for _ in range(4)]
    seen = [weakref.ref(one) for one in buffers]
    source.register_buffers(buffers)
    del buffers
    some.clone_buffers_offset(source, 7, 1, 2, 0)
    all_of_them.clone_buffers(source)
    assert [7, 8] == sorted(some._registered_buffers)
    assert [0, 1, 2, 3] == sorted(all_of_them._registered_buffers)
    source.deinit()
    assert [True] * 4 == alive(seen)
    all_of_them.deinit()
    assert [False, True, True, False] == alive(seen)
    some.unregister_buffers()
    assert [False] * 4 == alive(seen)
