"""What a kernel says of a buffer ring, and handing back buffers and completions together."""

from __future__ import annotations

import ctypes
import os

import pytest

import uring
from uring import syscalls


@pytest.fixture
def br(ring: uring.IoUring) -> uring.io_uring_buf_ring:
    """A ring of four, with two buffers of four bytes."""
    try:
        br = uring.setup_buf_ring(ring.fd, 4, 7)
        uring.buf_ring_head(ring.fd, 7)
    except uring.ArgumentsInvalid as error:
        pytest.skip(f"older than 6.8: {error}")
    for buffer_id in range(2):
        uring.buf_ring_add(br, bytearray(4), buffer_id, uring.buf_ring_mask(4), buffer_id)
    uring.buf_ring_advance(br, 2)
    return br


def take(ring: uring.IoUring) -> None:
    """Read into a buffer that the kernel picks; the completion stays in the queue."""
    source, sink = os.pipe()
    os.write(sink, b"abcd")
    ring.read(1, source, uring.BufferSelection(7, 4), 0)
    ring.submit_and_wait(1)
    os.close(source)
    os.close(sink)


def test_head_and_what_is_left(ring: uring.IoUring, br: uring.io_uring_buf_ring) -> None:
    assert (uring.buf_ring_head(ring.fd, 7), uring.buf_ring_available(ring.fd, br, 7)) == (0, 2)
    take(ring)
    assert (uring.buf_ring_head(ring.fd, 7), uring.buf_ring_available(ring.fd, br, 7)) == (1, 1)
    with pytest.raises(uring.BufferGroupNotRegistered):
        uring.buf_ring_head(ring.fd, 8)


def test_what_is_left_where_the_tail_wrapped(
    ring: uring.IoUring, br: uring.io_uring_buf_ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both positions have 16 bits."""

    def register(number: int, fd: int, opcode: int, address: int, count: int) -> int:
        assert (number, fd, opcode, count) == (427, ring.fd, 26, 1)
        status = uring.io_uring_buf_status.from_address(address)
        assert status.buf_group == 7
        status.head = 0xFFFE
        return 0

    monkeypatch.setattr(syscalls, "_register", register)
    br.tail = 3
    assert uring.buf_ring_available(ring.fd, br, 7) == 5


def test_both_queues_advance(ring: uring.IoUring, br: uring.io_uring_buf_ring) -> None:
    take(ring)
    uring.buf_ring_add(br, bytearray(4), 0, uring.buf_ring_mask(4), 0)
    uring.buf_ring_cq_advance(ring, br, 1)
    assert (ring.cq_ready(), br.tail) == (0, 3)


def test_a_message_without_a_ring_is_the_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """No descriptor, one entry of 64 bytes."""
    sqe = uring.io_uring_sqe()
    sqe.prep_msg_ring(5, 6, 7, 0)
    passed = []

    def register(number: int, fd: int, opcode: int, address: int, count: int) -> int:
        passed.append((number, fd, opcode, ctypes.string_at(address, 64), count))
        return 0

    monkeypatch.setattr(syscalls, "_register", register)
    uring.register_sync_msg(sqe)
    assert passed == [(427, -1, 31, bytes(sqe), 1)]
