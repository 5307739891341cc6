"""Buffer rings and groups."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

import uring
from uring import lifetime, syscalls

MakeRing = Callable[..., uring.IoUring]
Pair = tuple[socket.socket, socket.socket]
MORE = uring.IORING_CQE_F_BUF_MORE
BUFFER = uring.IORING_CQE_F_BUFFER


@pytest.fixture
def group(ring: uring.IoUring) -> uring.BufferGroup:
    """Two buffers of eight bytes."""
    try:
        return uring.BufferGroup(ring, 1, 8, 2)
    except uring.ArgumentsInvalid as error:
        pytest.skip(f"older than 5.19: {error}")


@pytest.mark.parametrize(
    ("entries", "error"),
    [
        (0, uring.EntriesNotInRange),
        (-1, uring.EntriesNotInRange),
        ((1 << 15) + 1, uring.EntriesNotInRange),
        (1 << 16, uring.EntriesNotInRange),
        (3, uring.EntriesNotPowerOfTwo),
    ],
)
def test_entries_are_checked(entries: int, error: type[uring.UsageError]) -> None:
    """Zig's names, before anything is mapped."""
    with pytest.raises(error):
        uring.setup_buf_ring(-1, entries, 0)


def test_largest_ring(group: uring.BufferGroup) -> None:
    """32768 entries are in range."""
    br = uring.setup_buf_ring(group.ring.fd, 1 << 15, 2)
    uring.free_buf_ring(group.ring.fd, br, 1 << 15, 2)


def test_what_is_registered(ring: uring.IoUring, monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument block, and one retry without incremental consumption for kernels before 6.12."""
    calls: list[tuple[int, tuple[int, ...], int]] = []

    def register(fd: int, opcode: int, address: int, count: int) -> int:
        block = uring.io_uring_buf_reg.from_address(address)
        calls.append((opcode, struct.unpack("=QIHHI5I", block), count))
        return -22 if block.flags else 0

    monkeypatch.setattr(syscalls, "io_uring_register_errno", register)
    br = uring.setup_buf_ring(ring.fd, 4, 9, uring.IOU_PBUF_RING_INC, 77)
    address = br.address
    rest = (0,) * 5
    assert [(22, (address, 4, 9, 2, 77, *rest), 1), (22, (address, 4, 9, 0, 77, *rest), 1)] == calls
    assert not br.is_incremental
    del calls[:]
    uring.free_buf_ring(ring.fd, br, 4, 9)
    assert [(23, (0, 0, 9, 0, 0, *rest), 1)] == calls
    with pytest.raises(uring.ArgumentsInvalid, match="setup_buf_ring"):
        uring.setup_buf_ring(ring.fd, 4, 9, uring.IOU_PBUF_RING_MMAP)
    with pytest.raises(uring.ArgumentOutOfRange):
        uring.setup_buf_ring(ring.fd, 4, 1 << 16)
    assert {} == lifetime.buffer_rings[ring.fd]


def test_group_id_taken_twice(group: uring.BufferGroup) -> None:
    """EEXIST has a name (Zig: Unexpected); the first group goes on."""
    with pytest.raises(uring.BufferGroupAlreadyRegistered):
        uring.BufferGroup(group.ring, 1, 8, 2)
    assert group.br is lifetime.buffer_rings[group.ring.fd][1]


def test_adding_buffers(group: uring.BufferGroup) -> None:
    """Entries go behind the tail, modulo the ring; the tail in the first entry is not disturbed."""
    br = uring.setup_buf_ring(group.ring.fd, 4, 2)
    br.tail = 7
    uring.buf_ring_init(br)
    assert br.tail == 0
    mask = uring.buf_ring_mask(4)
    assert mask == 3
    buffers = [bytearray(size) for size in (10, 20, 30)]
    br.tail = 3
    for offset, buffer in enumerate(buffers):
        uring.buf_ring_add(br, buffer, 100 + offset, mask, offset)
    assert br.tail == 3
    uring.buf_ring_advance(br, 3)
    assert br.tail == 6
    for index, buffer, buffer_id in ((3, buffers[0], 100), (0, buffers[1], 101), (1, buffers[2], 102)):
        entry = br[index]
        address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        assert (entry.addr, entry.len, entry.bid) == (address, len(buffer), buffer_id)
    with pytest.raises(BufferError):
        buffers[0].extend(b"x" * 1000)
    br.tail = 0xFFFF
    uring.buf_ring_advance(br, 2)
    assert br.tail == 1
    with pytest.raises(IndexError):
        br[4]
    with pytest.raises(uring.BufferNotWritable):
        uring.buf_ring_add(br, b"frozen", 1, mask, 0)
    with pytest.raises(uring.ArgumentOutOfRange):
        uring.buf_ring_add(br, bytearray(1), 1 << 16, mask, 0)
    uring.free_buf_ring(group.ring.fd, br, 4, 2)
    uring.free_buf_ring(group.ring.fd, br, 4, 2)


def test_group_hands_out_all_of_its_buffers(group: uring.BufferGroup) -> None:
    """The entries the kernel sees after init."""
    base = ctypes.addressof(ctypes.c_char.from_buffer(group.buffers))
    assert [(base, 8, 0), (base + 8, 8, 1)] == [(group.br[i].addr, group.br[i].len, group.br[i].bid) for i in (0, 1)]
    assert group.br.tail == 2


def test_receive_entry(group: uring.BufferGroup) -> None:
    """recv and recv_multishot queue what Zig queues."""
    expected = uring.io_uring_sqe(
        opcode=uring.IORING_OP.RECV, fd=5, rw_flags=3, flags=uring.IOSQE_BUFFER_SELECT, buf_index=1, user_data=9
    )
    assert group.recv(9, 5, 3) == expected
    expected.ioprio = uring.IORING_RECV_MULTISHOT
    assert group.recv_multishot(9, 5, 3) == expected


def cqe(buffer_id: int, res: int, flags: int = 0) -> uring.io_uring_cqe:
    return uring.io_uring_cqe(1, res, buffer_id << 16 | BUFFER | flags)


def test_two_completions_of_one_buffer_before_the_first_put(group: uring.BufferGroup) -> None:
    """The defect of Zig's get: the second completion's data is behind the first's, whether that was put or not."""
    group.buffers[:] = b"ABCDEFGHabcdefgh"
    first, second, third = cqe(1, 3, MORE), cqe(1, 3, MORE), cqe(1, 2)
    assert first == second
    tail = group.br.tail
    assert [b"abc", b"def", b"gh"] == [bytes(group.get(each)) for each in (first, second, third)]
    assert [b"gh", b"abc", b"def"] == [bytes(group.get(each)) for each in (third, first, second)]
    group.put(third)
    group.put(first)
    assert group.br.tail == tail, "the second completion's data is still in use"
    assert bytes(group.get(second)) == b"def"
    group.put(second)
    assert group.br.tail == tail + 1
    assert (group.br[0].addr, group.br[0].len, group.br[0].bid) == (group.br[1].addr, 8, 1)
    assert group.heads == [0, 0]
    assert bytes(group.get(cqe(1, 8))) == b"abcdefgh"


def test_put_without_get(group: uring.BufferGroup) -> None:
    """As Zig's own test does it, with get_by_id."""
    group.buffers[:] = b"ABCDEFGHabcdefgh"
    tail = group.br.tail
    first = cqe(0, 3, MORE)
    assert bytes(group.get_by_id(0)) == b"ABCDEFGH"
    group.put(first)
    assert group.heads == [3, 0]
    assert bytes(group.get_by_id(0)) == b"DEFGH"
    assert bytes(group.get(cqe(0, 2, MORE))) == b"DE"
    assert group.br.tail == tail


def test_failed_completion_with_a_buffer(group: uring.BufferGroup) -> None:
    """Some kernels name a buffer in an error; it is empty and can be put back."""
    failed = cqe(0, -22)
    tail = group.br.tail
    assert bytes(group.get(failed)) == b""
    group.put(failed)
    assert group.br.tail == tail + 1
    with pytest.raises(uring.NoBufferSelected):
        group.get(uring.io_uring_cqe(1, -105, 0))
    with pytest.raises(uring.NoBufferSelected):
        group.put(uring.io_uring_cqe(1, -105, 0))


def receive(group: uring.BufferGroup, fd: int) -> uring.io_uring_cqe:
    group.recv(1, fd, 0)
    assert group.ring.submit() == 1
    return group.ring.copy_cqe()


def test_group_on_the_kernel(group: uring.BufferGroup, pair: Pair) -> None:
    """Fill all buffers, run out, put back, go on; many laps of the ring."""
    first, second = pair
    for _ in range(20):
        data = b"0123456789abcde"
        second.send(data)
        got = [receive(group, first.fileno()) for _ in range(2)]
        assert data == b"".join(bytes(group.get(each)) for each in got)
        if not got[-1].flags & MORE:
            second.send(b"!")
            out = receive(group, first.fileno())
            assert out.err() == uring.E.NOBUFS
            for each in got:
                group.put(each)
            got = [receive(group, first.fileno())]
            assert bytes(group.get(got[0])) == b"!"
            # Use the rest of an incrementally filled buffer up.
            while got[-1].flags & MORE:
                second.send(b"x" * 8)
                got.append(receive(group, first.fileno()))
                while sum(each.res for each in got) < 9:
                    got.append(receive(group, first.fileno()))
                if not got[-1].flags & MORE:
                    break
        while any(each.flags & MORE for each in got[-1:]):
            second.send(b"y")
            got.append(receive(group, first.fileno()))
            assert bytes(group.get(got[-1])) == b"y"
        for each in got:
            group.put(each)


def test_small_pieces_into_one_buffer(ring: uring.IoUring, pair: Pair) -> None:
    """Incremental consumption (6.12): several completions of one buffer, all shown before any is put."""
    first, second = pair
    try:
        group = uring.BufferGroup(ring, 4, 16, 1)
    except uring.ArgumentsInvalid as error:
        pytest.skip(str(error))
    if not group.br.is_incremental:
        pytest.skip("this kernel does not consume incrementally")
    for _ in range(3):
        got = []
        for piece in (b"one", b"two", b"three", b"12345"):
            second.send(piece)
            got.append((receive(group, first.fileno()), piece))
        assert [piece for _, piece in got] == [bytes(group.get(each)) for each, _ in got]
        second.send(b"x")
        assert receive(group, first.fileno()).err() == uring.E.NOBUFS
        assert first.recv(1) == b"x"
        for each, _ in got:
            group.put(each)


def test_multishot_on_the_kernel(group: uring.BufferGroup, pair: Pair) -> None:
    """A completion per piece until the buffers run out."""
    first, second = pair
    group.recv_multishot(7, first.fileno(), 0)
    group.ring.submit()
    second.send(b"0123456789abcdef!")
    got = [group.ring.copy_cqe()]
    if got[0].err() == uring.E.INVAL:
        pytest.skip("this kernel has no multishot receive")
    while got[-1].flags & uring.IORING_CQE_F_MORE:
        got.append(group.ring.copy_cqe())
    assert got.pop().err() == uring.E.NOBUFS
    assert b"0123456789abcdef" == b"".join(bytes(group.get(each)) for each in got)


def test_views_outlive_the_group(group: uring.BufferGroup, pair: Pair) -> None:
    """What `get` returned is ordinary memory."""
    first, second = pair
    second.send(b"data")
    view = group.get(receive(group, first.fileno()))
    with group:
        pass
    group.ring.deinit()
    assert bytes(view) == b"data"


def test_buffer_size_is_checked(ring: uring.IoUring) -> None:
    """An empty buffer would never complete."""
    with pytest.raises(uring.ArgumentOutOfRange):
        uring.BufferGroup(ring, 1, 0, 2)


def test_selection_in_read_and_recv(ring: uring.IoUring) -> None:
    """The entries that Zig's buffer_selection makes."""
    selection = uring.BufferSelection(group_id=5, len=100)
    read = uring.io_uring_sqe(
        opcode=uring.IORING_OP.READ, fd=3, len=100, off=7, flags=uring.IOSQE_BUFFER_SELECT, buf_index=5, user_data=1
    )
    assert ring.read(1, 3, selection, 7) == read
    recv = uring.io_uring_sqe(
        opcode=uring.IORING_OP.RECV,
        fd=3,
        len=100,
        rw_flags=8,
        flags=uring.IOSQE_BUFFER_SELECT,
        buf_index=5,
        user_data=1,
    )
    assert ring.recv(1, 3, selection, 8) == recv
    assert "group_id=5" in repr(selection)
    any_ring: Any = ring
    with pytest.raises(uring.ArgumentOutOfRange):
        any_ring.recv(1, 3, uring.BufferSelection(1 << 16, 1), 0)


# -- edges ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """A kernel that takes every registration and notes group and flags."""
    noted: list[tuple[int, int]] = []

    def register(fd: int, opcode: int, address: int, count: int) -> int:
        block = uring.io_uring_buf_reg.from_address(address)
        noted.append((block.bgid, block.flags))
        return 0

    monkeypatch.setattr(syscalls, "io_uring_register_errno", register)
    monkeypatch.setattr(lifetime, "buffer_rings", {})
    return noted


@pytest.mark.parametrize("entries", [1, 2, 1 << 15])
@pytest.mark.parametrize("group_id", [0, 1, 0xFFFF])
def test_smallest_and_largest(registered: list[tuple[int, int]], entries: int, group_id: int) -> None:
    br = uring.setup_buf_ring(5, entries, group_id)
    assert (br.entries, br.is_incremental, registered) == (entries, False, [(group_id, 0)])
    assert lifetime.buffer_rings == {5: {group_id: br}}
    br[entries - 1].len = 7
    for index in (-1, entries):
        with pytest.raises(IndexError, match=f"entry {index} of {entries}"):
            br[index]
    uring.free_buf_ring(5, br, entries, group_id)
    assert (br.address, lifetime.buffer_rings) == (0, {5: {}})


@pytest.mark.parametrize("group_id", [-1, 1 << 16])
def test_group_ids_that_do_not_fit(registered: list[tuple[int, int]], group_id: int) -> None:
    with pytest.raises(uring.ArgumentOutOfRange, match=f"group ID {group_id} "):
        uring.setup_buf_ring(5, 4, group_id)
    assert (registered, lifetime.buffer_rings) == ([], {})


def test_what_the_kernel_consumes_bit_by_bit_says_so(registered: list[tuple[int, int]]) -> None:
    br = uring.setup_buf_ring(5, 4, 1, uring.IOU_PBUF_RING_INC)
    assert (br.is_incremental, registered) == (True, [(1, uring.IOU_PBUF_RING_INC)])
    br.free()


def test_a_mapped_ring_says_what_it_is(registered: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    """And lies where it was mapped."""
    memory = ctypes.create_string_buffer(64)
    monkeypatch.setattr(syscalls, "mmap", lambda *_: ctypes.addressof(memory))
    monkeypatch.setattr(syscalls, "munmap", lambda *_: None)
    for flags, is_incremental in ((0, False), (uring.IOU_PBUF_RING_INC, True)):
        br = uring.setup_buf_ring(5, 4, 1, uring.IOU_PBUF_RING_MMAP | flags)
        assert (br.is_incremental, br.address, br.entries) == (is_incremental, ctypes.addressof(memory), 4)
        br.free()


@pytest.mark.parametrize("result", [-22, -12])
def test_only_a_flag_that_is_unknown_is_asked_for_without(monkeypatch: pytest.MonkeyPatch, result: int) -> None:
    asked: list[int] = []

    def register(fd: int, opcode: int, address: int, count: int) -> int:
        asked.append(uring.io_uring_buf_reg.from_address(address).flags)
        return result

    monkeypatch.setattr(syscalls, "io_uring_register_errno", register)
    for flags, again in ((0, []), (uring.IOU_PBUF_RING_INC, [0] if result == -22 else [])):
        del asked[:]
        with pytest.raises(uring.SyscallError):
            uring.setup_buf_ring(5, 4, 1, flags)
        assert asked == [flags, *again]


@pytest.mark.parametrize("mask", [3, 0, 7])
@pytest.mark.parametrize("offset", [0, 1, 5])
def test_an_entry_is_within_the_ring_and_the_mask(mask: int, offset: int) -> None:
    br = uring.io_uring_buf_ring(4)
    br.tail = 3
    uring.buf_ring_add(br, bytearray(8), 9, mask, offset)
    index = (3 + offset) & mask & 3
    assert (br[index].bid, br[index].len, br.tail) == (9, 8, 3)
    assert [br[other].bid for other in range(4) if other != index] == [0, 0, 0]
    br.free()


@pytest.mark.parametrize(("buffer_id", "is_right"), [(-1, False), (0, True), (0xFFFF, True), (1 << 16, False)])
def test_buffer_ids(buffer_id: int, is_right: bool) -> None:
    br = uring.io_uring_buf_ring(2)
    if is_right:
        uring.buf_ring_add(br, bytearray(1), buffer_id, 1, 0)
        assert br[0].bid == buffer_id
    else:
        with pytest.raises(uring.ArgumentOutOfRange, match=f"buffer ID {buffer_id} "):
            uring.buf_ring_add(br, bytearray(1), buffer_id, 1, 0)
    br.free()


@pytest.mark.parametrize(("size", "is_right"), [(0xFFFFFFFF, True), (1 << 32, False)])
def test_sizes_of_buffers_fit_their_field(size: int, is_right: bool) -> None:
    """Of memory that is only claimed: nothing looks there."""
    br = uring.io_uring_buf_ring(2)
    if is_right:
        uring.buf_ring_add(br, uring.iovec(4096, size), 1, 1, 0)
        assert br[0].len == size
    else:
        with pytest.raises(uring.ArgumentOutOfRange, match=f"its size {size} 32 bits"):
            uring.buf_ring_add(br, uring.iovec(4096, size), 1, 1, 0)
    br.free()


@pytest.mark.parametrize(("size", "is_right"), [(0, False), (-1, False), (1, True), (1 << 32, False)])
def test_sizes_of_a_groups_buffers(
    ring: uring.IoUring, registered: list[tuple[int, int]], size: int, is_right: bool
) -> None:
    if not is_right:
        with pytest.raises(uring.ArgumentOutOfRange, match=f"not {size}"):
            uring.BufferGroup(ring, 1, size, 2)
        assert registered == []
        return
    with uring.BufferGroup(ring, 1, size, 2) as group:
        assert (len(group.buffers), group.buffer_size, group.buffers_count, group.heads) == (2 * size, size, 2, [0, 0])
        assert (group.group_id, group.ring, group.br.is_incremental) == (1, ring, True)
    assert group.br.address == 0


def test_a_group_can_be_made_by_zigs_name(ring: uring.IoUring, registered: list[tuple[int, int]]) -> None:
    with uring.BufferGroup.init(ring, 7, 16, 4) as group:
        assert (group.ring, group.group_id, group.buffer_size, group.buffers_count) == (ring, 7, 16, 4)
        assert (group.br.entries, group.br.tail, registered) == (4, 4, [(7, uring.IOU_PBUF_RING_INC)])
        # As if the kernel took the group's first two buffers; they go back in the order of the data.
        for expected, buffer_id in ((0, 1), (1, 0)):
            group.put(cqe(buffer_id, 3))
            assert (group.br[expected].bid, group.br[expected].len, group.br.tail) == (buffer_id, 16, 5 + expected)


def test_a_ring_alone_is_an_empty_one() -> None:
    br = uring.io_uring_buf_ring(4)
    assert (br.is_incremental, br.entries, br.tail, br._pins, br._added, br._ids) == (False, 4, 0, {}, {}, [None] * 4)
    assert [(br[index].addr, br[index].len, br[index].bid) for index in range(4)] == [(0, 0, 0)] * 4
    br.free()


def test_a_freed_ring_has_no_view_of_its_memory() -> None:
    br = uring.io_uring_buf_ring(2)
    br.free()
    br.free()
    with pytest.raises(ValueError, match="released"):
        _ = br._words[0]
    for use in (lambda: br.tail, lambda: setattr(br, "tail", 1), lambda: br[0], lambda: uring.buf_ring_init(br)):
        with pytest.raises(uring.RingClosed, match="freed"):
            use()


def test_a_ring_that_nobody_refers_to_is_unmapped(monkeypatch: pytest.MonkeyPatch) -> None:
    unmapped: list[tuple[int, int]] = []
    real = syscalls.munmap
    monkeypatch.setattr(syscalls, "munmap", lambda *what: (unmapped.append(what), real(*what))[1])
    br = uring.io_uring_buf_ring(8)
    expected = [(br.address, 128)]
    del br
    assert unmapped == expected
