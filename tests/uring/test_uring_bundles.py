"""Buffer rings that the kernel maps, and completions that span several buffers: no byte lost, none stale."""

from __future__ import annotations

import errno
import socket

import pytest

import uring
from uring import lifetime, syscalls

Pair = tuple[socket.socket, socket.socket]
BUNDLE = uring.IORING_RECVSEND_BUNDLE


def require(feature: bool, why: str) -> None:
    """End a test that this kernel cannot run."""
    if not feature:
        pytest.skip(why)


@pytest.fixture
def bundles(ring: uring.IoUring) -> uring.IoUring:
    """A ring of a kernel that has bundles."""
    require(bool(ring.features & uring.IORING_FEAT_RECVSEND_BUNDLE), "this kernel is older than 6.10")
    return ring


def received(group: uring.BufferGroup, server: socket.socket, *, flags: int = BUNDLE) -> uring.io_uring_cqe:
    """Receive once, into as many buffers as the message needs."""
    group.recv(7, server.fileno(), 0).ioprio |= flags
    group.ring.submit()
    return group.ring.copy_cqe()


# -- bundles -----------------------------------------------------------------------------------------------------------


def test_a_bundle_is_all_of_its_buffers(bundles: uring.IoUring, pair: Pair) -> None:
    """Twenty bytes into buffers of eight: one completion, three buffers, twenty bytes in order."""
    client, server = pair
    with uring.BufferGroup(bundles, 1, 8, 4) as group:
        client.sendall(b"abcdefghijklmnopqrst")
        cqe = received(group, server)
        assert cqe.res == 20
        assert bytes(group.get(cqe)) == b"abcdefghijklmnopqrst"
        assert [bytes(part) for part in group.parts(cqe)] == [b"abcdefgh", b"ijklmnop", b"qrst"]
        group.put(cqe)


def test_nothing_is_stale_after_a_bundle(bundles: uring.IoUring, pair: Pair) -> None:
    """Every buffer of a bundle goes back, and what comes next is read from where it was written."""
    client, server = pair
    with uring.BufferGroup(bundles, 1, 8, 4) as group:
        for turn in range(20):
            message = bytes((turn * 31 + index) % 256 for index in range(1 + (turn * 7) % 30))
            client.sendall(message)
            got = b""
            while len(got) < len(message):
                cqe = received(group, server)
                assert cqe.res > 0
                got += bytes(group.get(cqe))
                group.put(cqe)
            assert got == message


def test_bundles_of_one_buffer_are_views_of_it(bundles: uring.IoUring, pair: Pair) -> None:
    """What lies in one buffer is not copied."""
    client, server = pair
    with uring.BufferGroup(bundles, 1, 8, 4) as group:
        client.sendall(b"abc")
        cqe = received(group, server)
        shown = group.get(cqe)
        group.buffers[8 * cqe.buffer_id()] = ord("x")
        assert bytes(shown) == b"xbc"


def test_two_bundles_in_hand_are_kept_apart(bundles: uring.IoUring, pair: Pair) -> None:
    """A buffer that two completions share goes back when both were put, in whatever order."""
    client, server = pair
    with uring.BufferGroup(bundles, 1, 8, 4) as group:
        client.sendall(b"abcdefghijk")
        first = received(group, server)
        shown = bytes(group.get(first))
        client.sendall(b"lmnopqrst")
        second = received(group, server)
        assert (shown, bytes(group.get(second))) == (b"abcdefghijk", b"lmnopqrst")
        group.put(second)
        assert bytes(group.get(first)) == b"abcdefghijk"
        group.put(first)
        # All four buffers are there again.
        client.sendall(b"z" * 32)
        got = b""
        while len(got) < 32:
            cqe = received(group, server)
            got += bytes(group.get(cqe))
            group.put(cqe)
        assert got == b"z" * 32


def test_multishot_bundles_lose_no_byte(bundles: uring.IoUring, pair: Pair) -> None:
    """One request, message after message, each larger than a buffer."""
    client, server = pair
    with uring.BufferGroup(bundles, 1, 8, 8) as group:
        group.recv_multishot(7, server.fileno(), 0).ioprio |= BUNDLE
        bundles.submit()
        for turn in range(10):
            message = bytes([65 + turn]) * (9 + turn)
            client.sendall(message)
            got = b""
            while len(got) < len(message):
                cqe = bundles.copy_cqe()
                assert cqe.res > 0
                assert cqe.flags & uring.IORING_CQE_F_MORE
                got += bytes(group.get(cqe))
                group.put(cqe)
            assert got == message


def test_a_bundle_is_sent_from_all_its_buffers(bundles: uring.IoUring, pair: Pair) -> None:
    """Provided buffers leave in the order in which they were added; the result says how much of which."""
    client, server = pair
    fd = bundles.fd
    br = uring.setup_buf_ring(fd, 4, 3)
    uring.buf_ring_init(br)
    chunks = {2: bytearray(b"first "), 0: bytearray(b"second "), 1: bytearray(b"third")}
    for offset, (buffer_id, chunk) in enumerate(chunks.items()):
        uring.buf_ring_add(br, chunk, buffer_id, uring.buf_ring_mask(4), offset)
    uring.buf_ring_advance(br, 3)
    bundles.send(1, client.fileno(), uring.BufferSelection(3, 0), 0).ioprio |= BUNDLE
    bundles.submit()
    cqe = bundles.copy_cqe()
    assert cqe.res == 18
    assert server.recv(64) == b"first second third"
    assert br.bundle(cqe.buffer_id(), cqe.res) == [(2, 0, 6), (0, 0, 7), (1, 0, 5)]
    uring.free_buf_ring(fd, br, 4, 3)


# -- what a kernel must not say ----------------------------------------------------------------------------------------


@pytest.fixture
def group(ring: uring.IoUring) -> uring.BufferGroup:
    """Two buffers of eight bytes."""
    try:
        return uring.BufferGroup(ring, 1, 8, 2)
    except uring.ArgumentsInvalid as error:
        pytest.skip(f"older than 5.19: {error}")


def completion(buffer_id: int, res: int, flags: int = 0) -> uring.io_uring_cqe:
    """A completion as if from the kernel."""
    bits = uring.IORING_CQE_F_BUFFER | buffer_id << uring.IORING_CQE_BUFFER_SHIFT | flags
    return uring.io_uring_cqe(user_data=0, res=res, flags=bits)


@pytest.mark.parametrize("buffer_id", [2, 0xFFFF])
def test_a_buffer_that_nobody_provided_is_the_kernels_mistake(group: uring.BufferGroup, buffer_id: int) -> None:
    """It has a name of its own, is an OSError like all that kernels answer, and leaves the group as it was."""
    for ask in (group.get, group.put, group.parts):
        with pytest.raises(uring.CompletionInvalid, match=f"buffer {buffer_id}, which was never added") as caught:
            ask(completion(buffer_id, 3))
        assert caught.value.errno == errno.EPROTO
    assert group.heads == [0, 0]
    assert len(group.get(completion(1, 3))) == 3


def test_more_bytes_than_there_are_is_the_kernels_mistake(group: uring.BufferGroup) -> None:
    """A length is no length of ours before it was held against the buffers."""
    with pytest.raises(uring.CompletionInvalid, match="17 bytes in buffer 1 has more than the buffers behind it hold"):
        group.get(completion(1, 17))
    assert [bytes(part) for part in group.parts(completion(1, 16))] == [bytes(8), bytes(8)]


def test_a_bundle_ends_where_nothing_was_added(ring: uring.IoUring) -> None:
    """Entries that were never filled belong to no bundle."""
    br = uring.io_uring_buf_ring(4)
    uring.buf_ring_init(br)
    uring.buf_ring_add(br, bytearray(8), 5, 3, 0)
    with pytest.raises(uring.CompletionInvalid):
        br.bundle(5, 9)
    assert br.bundle(5, 3, 5) == [(5, 5, 3)]
    with pytest.raises(uring.CompletionInvalid):
        br.bundle(5, 4, 5)
    br.free()


# -- rings that the kernel allocates -----------------------------------------------------------------------------------


def test_a_mapped_ring_is_the_one_the_kernel_looks_into(ring: uring.IoUring, pair: Pair) -> None:
    """What is added to it is received into."""
    client, server = pair
    try:
        br = uring.setup_buf_ring(ring.fd, 4, 2, uring.IOU_PBUF_RING_MMAP)
    except uring.ArgumentsInvalid as error:
        pytest.skip(f"older than 6.4: {error}")
    uring.buf_ring_init(br)
    memory = bytearray(8)
    uring.buf_ring_add(br, memory, 3, uring.buf_ring_mask(4), 0)
    uring.buf_ring_advance(br, 1)
    client.sendall(b"mapped")
    ring.recv(1, server.fileno(), uring.BufferSelection(2, 0), 0)
    ring.submit()
    cqe = ring.copy_cqe()
    assert (cqe.res, cqe.buffer_id(), bytes(memory[:6])) == (6, 3, b"mapped")
    uring.free_buf_ring(ring.fd, br, 4, 2)
    assert br.address == 0


def test_two_mapped_groups_are_two_rings(ring: uring.IoUring, pair: Pair) -> None:
    """The group's ID is a part of the offset that is mapped."""
    client, server = pair
    try:
        rings = {name: uring.setup_buf_ring(ring.fd, 2, name, uring.IOU_PBUF_RING_MMAP) for name in (1, 300)}
    except uring.ArgumentsInvalid as error:
        pytest.skip(f"older than 6.4: {error}")
    for name, br in rings.items():
        uring.buf_ring_add(br, bytearray(8), name % 256, 1, 0)
        uring.buf_ring_advance(br, 1)
    for name in (300, 1):
        client.sendall(b"x")
        ring.recv(1, server.fileno(), uring.BufferSelection(name, 0), 0)
        ring.submit()
        assert ring.copy_cqe().buffer_id() == name % 256


def test_what_is_asked_for_a_mapped_ring(ring: uring.IoUring, monkeypatch: pytest.MonkeyPatch) -> None:
    """No address of ours, the offset of the group; and if mapping fails, the kernel forgets the group again."""
    registered: list[tuple[int, int, int, int, int]] = []

    def register(fd: int, opcode: int, address: int, count: int) -> int:
        block = uring.io_uring_buf_reg.from_address(address)
        registered.append((opcode, block.ring_addr, block.bgid, block.flags, block.min_left))
        return 0

    def mmap(size_bytes: int, flags: int, fd: int, offset: int, call: str) -> int:
        assert (size_bytes, fd, offset) == (4 * 16, ring.fd, 0x80000000 | 9 << 16)
        assert flags == syscalls.MAP_SHARED | syscalls.MAP_POPULATE
        raise uring.OutOfMemory(errno.ENOMEM, f"mmap of {call}")

    monkeypatch.setattr(syscalls, "io_uring_register_errno", register)
    monkeypatch.setattr(syscalls, "mmap", mmap)
    with pytest.raises(uring.OutOfMemory):
        uring.setup_buf_ring(ring.fd, 4, 9, uring.IOU_PBUF_RING_MMAP, 5)
    assert registered == [(22, 0, 9, uring.IOU_PBUF_RING_MMAP, 5), (23, 0, 9, 0, 0)]
    assert lifetime.buffer_rings[ring.fd] == {}
