"""Registrations on this machine's kernel: what they do, and exactly what is passed."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from typing import Any

import pytest

import uring
from uring import syscalls, zcrx

MakeRing = Callable[..., uring.IoUring]


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bytes, int]]:
    """Every io_uring_register a test causes: number, first 40 bytes of the argument, count. The kernel is not asked."""
    calls: list[tuple[int, bytes, int]] = []

    def register(number: int, fd: int, opcode: int, address: int, count: int) -> int:
        assert number == 427
        calls.append((opcode, ctypes.string_at(address, 40) if address else b"", count))
        return 0

    monkeypatch.setattr(syscalls, "_register", register)
    return calls


def words(data: bytes, *sizes: int) -> tuple[int, ...]:
    """Little integers of the given sizes from the front."""
    out, at = [], 0
    for size_bytes in sizes:
        out.append(int.from_bytes(data[at : at + size_bytes], "little", signed=True))
        at += size_bytes
    return tuple(out)


def test_what_each_registration_passes(ring: uring.IoUring, passed: list[tuple[int, bytes, int]]) -> None:
    """Number, argument and count, as io_uring_register(2) has them."""
    fds = (ctypes.c_int32 * 3)(5, -1, 7)
    ring.register_files(fds)
    ring.register_files([8, 9])
    assert [(2, 3), (2, 2)] == [(opcode, count) for opcode, _, count in passed]
    assert words(passed[0][1], 4, 4, 4) == (5, -1, 7)
    assert words(passed[1][1], 4, 4) == (8, 9)
    del passed[:]
    ring.register_files_update(6, fds)
    opcode, update, count = passed.pop()
    assert (opcode, count) == (6, 3)
    assert words(update, 4, 4, 8) == (6, 0, ctypes.addressof(fds))
    ring.register_files_sparse(12)
    opcode, request, count = passed.pop()
    assert (opcode, count) == (13, 32)
    assert words(request, 4, 4, 8, 8, 8) == (12, 1, 0, 0, 0)
    ring.register_eventfd(11)
    ring.register_eventfd_async(12)
    assert [(4, 11, 1), (7, 12, 1)] == [(opcode, *words(data, 4), count) for opcode, data, count in passed]
    del passed[:]
    napi = uring.io_uring_napi(busy_poll_to=50, prefer_busy_poll=1)
    ring.register_napi(napi)
    ring.unregister_napi(napi)
    assert [(27, 50, 1, 1), (28, 50, 1, 1)] == [(opcode, *words(data, 4, 1), count) for opcode, data, count in passed]
    del passed[:]
    ring.register_ifq(zcrx.io_uring_zcrx_ifq_reg(if_idx=3, rq_entries=8))
    ring.register_zcrx_ctrl(zcrx.zcrx_ctrl(zcrx_id=5, op=zcrx.ZCRX_CTRL_ARM_EVENT))
    assert [(32, 3, 0, 8, 1), (36, 5, 2, 0, 0)] == [
        (opcode, *words(data, 4, 4, 4), count) for opcode, data, count in passed
    ]
    del passed[:]
    memory = [bytearray(3), bytearray(4)]
    ring.register_buffers(memory)
    opcode, iovecs, count = passed.pop()
    assert (opcode, count) == (0, 2)
    expected = [ctypes.addressof(ctypes.c_char.from_buffer(part)) for part in memory]
    assert words(iovecs, 8, 8, 8, 8) == (expected[0], 3, expected[1], 4)
    ring.get_probe()
    opcode, _, count = passed.pop()
    assert (opcode, count) == (8, 256)
    for call, number in (
        (ring.unregister_buffers, 1),
        (ring.unregister_files, 3),
        (ring.unregister_eventfd, 5),
    ):
        call()
        assert passed.pop() == (number, b"", 0)


def test_sync_cancel_passes_its_argument(ring: uring.IoUring, passed: list[tuple[int, bytes, int]]) -> None:
    ring.register_sync_cancel(uring.io_uring_sync_cancel_reg(addr=7, fd=-1, flags=3, timeout=(4, 5)))
    opcode, request, count = passed.pop()
    assert (opcode, count) == (24, 1)
    assert words(request, 8, 4, 4, 8, 8) == (7, -1, 3, 4, 5)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EBADF, uring.FileDescriptorInvalid),
        (errno.EINTR, uring.SignalInterrupt),
        (errno.EINVAL, uring.ArgumentsInvalid),
        (errno.ENOENT, uring.RequestNotFound),
        (errno.ETIME, uring.CancellationTimedOut),
    ],
)
def test_sync_cancel_errors(
    ring: uring.IoUring, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    monkeypatch.setattr(syscalls, "io_uring_register_errno", lambda *_: -number)
    with pytest.raises(kind, match="register_sync_cancel"):
        ring.register_sync_cancel(uring.io_uring_sync_cancel_reg())


def test_sync_cancel_says_how_many(ring: uring.IoUring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscalls, "io_uring_register_errno", lambda *_: 3)
    assert ring.register_sync_cancel(uring.io_uring_sync_cancel_reg()) == 3


def test_file_alloc_range_passes_a_count_of_zero(ring: uring.IoUring, passed: list[tuple[int, bytes, int]]) -> None:
    """Zig 0.15 and 0.16 pass the size of the argument, which the kernel refuses."""
    ring.register_file_alloc_range(3, 4)
    opcode, request, count = passed.pop()
    assert (opcode, count) == (25, 0)
    assert words(request, 4, 4, 8) == (3, 4, 0)


def test_file_alloc_range_works(ring: uring.IoUring) -> None:
    """On the real kernel: slots come from the range."""
    ring.register_files_sparse(8)
    try:
        ring.register_file_alloc_range(5, 2)
    except uring.ArgumentsInvalid as error:
        pytest.skip(f"older than 6.0: {error}")
    for expected in (5, 6, -23):
        ring.openat_direct(1, -100, "/dev/null", os.O_RDONLY, 0, uring.IORING_FILE_INDEX_ALLOC)
        ring.submit()
        assert ring.copy_cqe().res == expected
    with pytest.raises(uring.ArgumentsInvalid):
        ring.register_file_alloc_range(5, 9)


def test_fixed_files(ring: uring.IoUring) -> None:
    """Register, use by slot, replace, skip, empty."""
    zero, null = os.open("/dev/zero", os.O_RDONLY), os.open("/dev/null", os.O_RDONLY)
    ring.register_files([zero, -1])
    buffer = bytearray(b"x" * 8)

    def read(slot: int) -> int:
        ring.read(1, slot, buffer, 0).flags |= uring.IOSQE_FIXED_FILE
        ring.submit()
        return ring.copy_cqe().res

    assert (read(0), read(1)) == (8, -9)
    ring.register_files_update(0, [uring.IORING_REGISTER_FILES_SKIP, zero])
    assert (read(0), read(1)) == (8, 8)
    ring.register_files_update(0, [null])
    assert read(0) == 0
    ring.unregister_files()
    assert read(0) == -9
    os.close(zero)
    os.close(null)


def test_eventfd_is_signalled(ring: uring.IoUring) -> None:
    """One signal per completion."""
    event = os.eventfd(0, os.EFD_NONBLOCK)
    ring.register_eventfd(event)
    ring.nop(1)
    ring.submit()
    assert os.eventfd_read(event) == 1
    ring.unregister_eventfd()
    ring.nop(2)
    ring.submit()
    with pytest.raises(BlockingIOError):
        os.eventfd_read(event)
    os.close(event)


def test_probe(ring: uring.IoUring) -> None:
    """What this kernel has, and the rules for what it does not."""
    probe = ring.get_probe()
    assert probe.is_supported(uring.IORING_OP.NOP)
    assert probe.ops[uring.IORING_OP.READ].is_supported()
    assert not probe.is_supported(200)
    probe.last_op = 5
    assert probe.is_supported(5)
    assert not probe.is_supported(6)
    probe.last_op, probe.ops_len = 20, 3
    assert not probe.is_supported(3)
    probe.ops[2].flags = 0
    assert not probe.is_supported(2)


def test_napi(ring: uring.IoUring) -> None:
    """The settings before come back, where the kernel can."""
    napi = uring.io_uring_napi(busy_poll_to=100)
    try:
        ring.register_napi(napi)
    except (uring.ArgumentsInvalid, uring.OpcodeNotSupported) as error:
        pytest.skip(f"no busy polling here: {error}")
    assert napi.busy_poll_to == 0
    ring.unregister_napi(napi)
    assert napi.busy_poll_to == 100


def test_fixed_buffers(ring: uring.IoUring, tmp_path: Any) -> None:
    """Write from one registered buffer and read into another, by iovec and by part of the buffer itself."""
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    first, second = bytearray(b"registered memory"), bytearray(32)
    iovecs = [uring.iovec(first), uring.iovec(second)]
    try:
        ring.register_buffers(iovecs)
    except uring.SystemResources as error:
        pytest.skip(f"RLIMIT_MEMLOCK: {error}")
    ring.write_fixed(1, fd, iovecs[0], 3, 0).link_next()
    ring.read_fixed(2, fd, memoryview(second)[4:30], 0, 1)
    ring.submit()
    assert [(1, 17), (2, 20)] == [ring.copy_cqe()[:2] for _ in range(2)]
    assert bytes(7) + b"registered memory" + bytes(8) == second
    os.close(fd)
