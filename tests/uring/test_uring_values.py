"""Completions, errnos and entries as values: fields, bounds, texts."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import uring
from uring.prep_network import _length_of, _two_words
from uring.sqe_fields import SQE_BYTES, USER_DATA_OFFSET, Standalone, file_slot, signed32

ALLOC = uring.IORING_FILE_INDEX_ALLOC
E = uring.E


@pytest.mark.parametrize(
    ("number", "name", "text"),
    [
        (0, "SUCCESS", "SUCCESS"),
        (errno.EINVAL, "INVAL", f"EINVAL ({os.strerror(errno.EINVAL)})"),
        (errno.ENOENT, "NOENT", f"ENOENT ({os.strerror(errno.ENOENT)})"),
        (4000, "4000", f"E4000 ({os.strerror(4000)})"),
    ],
)
def test_an_errno_has_a_name_and_a_text(number: int, name: str, text: str) -> None:
    assert (E(number).name, repr(E(number)), str(E(number))) == (name, f"E.{name}", text)


def test_errnos_are_found_by_name() -> None:
    assert (E.SUCCESS, E.INVAL, E.AGAIN) == (0, errno.EINVAL, errno.EAGAIN)
    assert isinstance(E.INVAL, E)
    for name in ("NO_SUCH", "rror", "RRORCODE", "errorcode"):
        with pytest.raises(AttributeError, match=f"no errno is called E{name}"):
            getattr(E, name)


@pytest.mark.parametrize(("res", "expected"), [(1, 0), (0, 0), (-1, 1), (-4095, 4095), (-4096, 0), (-(1 << 31), 0)])
def test_which_results_are_errnos(res: int, expected: int) -> None:
    cqe = uring.io_uring_cqe(1, res)
    assert (cqe.err(), isinstance(cqe.err(), E)) == (expected, True)
    assert f"res={res} (" in repr(cqe) if expected else f"res={res}, " in repr(cqe)


def test_a_completion_is_empty_by_default_and_prints_all_it_has() -> None:
    assert uring.io_uring_cqe() == (0, 0, 0)
    assert (uring.io_uring_cqe().big_cqe, uring.io_uring_cqe(1, 2, 3, 4, 5).big_cqe) == ((), (4, 5))
    text = repr(uring.io_uring_cqe(0x10, 5, 0x30003, 0x11, 0x22))
    assert text.startswith("io_uring_cqe(user_data=0x10, res=5, flags=0x30003 ")
    assert "MORE" in text
    assert "BUFFER" in text
    assert text.endswith(", 0x11, 0x22)")


@pytest.mark.parametrize("buffer_id", [0, 1, 0xFFFF])
def test_a_buffers_id_is_above_the_flags(buffer_id: int) -> None:
    assert uring.io_uring_cqe(0, 0, buffer_id << 16 | 0xF).buffer_id() == buffer_id


# -- entries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "slot"),
    [(0, 1), (1, 2), (0x7FFFFFFE, 0x7FFFFFFF), (0x7FFFFFFF, -(1 << 31)), (0xFFFFFFFD, -2), (ALLOC, -1)],
)
def test_slots_are_one_more_in_signed_bits(index: int, slot: int) -> None:
    assert file_slot(index) == slot


@pytest.mark.parametrize("index", [-1, -2, 1 << 32])
def test_no_slot(index: int) -> None:
    with pytest.raises(uring.ArgumentOutOfRange, match=f"file index {index} "):
        file_slot(index)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, 0), (5, 5), ((1 << 31) - 1, (1 << 31) - 1), (1 << 31, -(1 << 31)), (0xFFFFFFFF, -1), (-1, -1)],
)
def test_the_same_bits_signed(value: int, expected: int) -> None:
    assert signed32(value) == expected


@pytest.mark.parametrize(
    ("first", "second"), [(0, 0), (1, 2), (0xFFFFFFFF, 0), (0, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF)]
)
def test_two_words_lie_next_to_each_other(first: int, second: int) -> None:
    assert _two_words(first, second) == int.from_bytes(
        first.to_bytes(4, "little") + second.to_bytes(4, "little"), "little"
    )


@pytest.mark.parametrize(("first", "second"), [(-1, 0), (0, -1), (1 << 32, 0), (0, 1 << 32)])
def test_words_that_do_not_fit(first: int, second: int) -> None:
    with pytest.raises(uring.ArgumentOutOfRange, match="32 bits"):
        _two_words(first, second)


def test_a_length_that_is_given_counts() -> None:
    assert (_length_of(bytes(16), None), _length_of(bytes(16), 0), _length_of(0x1000, 7)) == (16, 0, 7)


@pytest.mark.parametrize(
    "call",
    [
        lambda sqe, offset: sqe.prep_read(3, bytearray(1), offset),
        lambda sqe, offset: sqe.prep_splice(3, offset, 4, 0, 1),
        lambda sqe, offset: sqe.prep_splice(3, 0, 4, offset, 1),
    ],
)
def test_minus_one_is_the_files_own_position(call: Callable[[uring.io_uring_sqe, int], None]) -> None:
    for offset in (0, 1, (1 << 64) - 1):
        sqe = uring.io_uring_sqe()
        call(sqe, offset)
        assert offset in (sqe.off, sqe.addr)
    sqe = uring.io_uring_sqe()
    call(sqe, -1)
    assert (1 << 64) - 1 in (sqe.off, sqe.addr)
    for wrong in (-2, 1 << 64):
        with pytest.raises(uring.ArgumentOutOfRange):
            call(sqe, wrong)


def test_an_entry_of_its_own_is_empty() -> None:
    sqe = uring.io_uring_sqe()
    assert (bytes(sqe), sqe._offset, sqe._pins, len(sqe._view)) == (bytes(64), 0, None, 64)
    assert (SQE_BYTES, USER_DATA_OFFSET, Standalone.is_plain) == (64, 32, False)
    assert bytes(uring.io_uring_sqe(user_data=1))[USER_DATA_OFFSET] == 1
    with pytest.raises(AttributeError):
        uring.io_uring_sqe(no_such_field=1)


def test_an_entry_prints_what_is_set() -> None:
    assert repr(uring.io_uring_sqe()) == "io_uring_sqe(opcode=NOP)"
    sqe = uring.io_uring_sqe(opcode=uring.IORING_OP.READ, fd=5, off=16, addr=32, len=7, rw_flags=17, user_data=18)
    assert repr(sqe) == "io_uring_sqe(opcode=READ, fd=5, off=0x10, addr=0x20, len=7, rw_flags=0x11, user_data=0x12)"
    sqe = uring.io_uring_sqe(opcode=250, flags=uring.IOSQE_IO_LINK, buf_index=3, addr3=19, ioprio=4)
    assert repr(sqe).startswith("io_uring_sqe(opcode=250, flags=")
    assert "IO_LINK" in repr(sqe)
    assert repr(sqe).endswith(", ioprio=4, buf_index=3, addr3=0x13)")


def test_a_command_is_filled_up_with_zeros() -> None:
    sqe = uring.io_uring_sqe(fd=7)
    sqe.cmd = b"\xff" * 16
    sqe.cmd = b"ab"
    assert (sqe.cmd, bytes(sqe)[:48]) == (b"ab" + bytes(14), bytes(uring.io_uring_sqe(fd=7))[:48])
    sqe.cmd = bytearray(b"")  # type: ignore[assignment]
    assert sqe.cmd == bytes(16)


def test_bits_are_added() -> None:
    sqe = uring.io_uring_sqe(flags=uring.IOSQE_ASYNC)
    sqe.link_next()
    sqe.set_flags(uring.IOSQE_FIXED_FILE)
    assert sqe.flags == uring.IOSQE_ASYNC | uring.IOSQE_IO_LINK | uring.IOSQE_FIXED_FILE
    uring.BufferSelection(9, 3).select(sqe)
    assert sqe.flags == uring.IOSQE_ASYNC | uring.IOSQE_IO_LINK | uring.IOSQE_FIXED_FILE | uring.IOSQE_BUFFER_SELECT
    assert sqe.buf_index == 9
    assert repr(uring.BufferSelection(9, 3)) == "BufferSelection(group_id=9, len=3)"


@pytest.mark.parametrize(("size", "count", "fits"), [(4, 3, True), (12, 1, True), (13, 1, False), (4, 4, False)])
def test_provided_buffers_fit_their_memory(size: int, count: int, fits: bool) -> None:
    sqe = uring.io_uring_sqe()
    if fits:
        sqe.prep_provide_buffers(bytearray(12), size, count, 1, 0)
        assert (sqe.len, sqe.fd) == (size, count)
    else:
        with pytest.raises(uring.ArgumentOutOfRange, match=f"{count} buffers of {size} bytes"):
            sqe.prep_provide_buffers(bytearray(12), size, count, 1, 0)


# -- probes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last_op", "ops_len", "op", "flags", "expected"),
    [
        (5, 6, 5, 1, True),
        (5, 6, 5, 3, True),
        (5, 6, 5, 2, False),
        (5, 6, 0, 1, True),
        (5, 6, 6, 1, False),
        (5, 5, 5, 1, False),
        (4, 6, 5, 1, False),
    ],
)
def test_what_a_probe_says(last_op: int, ops_len: int, op: int, flags: int, expected: bool) -> None:
    """Within what the kernel filled in, by the lowest bit."""
    probe = uring.io_uring_probe(last_op=last_op, ops_len=ops_len)
    probe.ops[op].flags = flags
    assert probe.is_supported(op) is expected
    assert probe.ops[op].is_supported() is bool(flags & 1)


# -- machines ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("machine", "size_bytes", "data_at"), [("x86_64", 12, 4), ("aarch64", 16, 8), ("s390x", 16, 8)]
)
def test_epoll_events_are_packed_on_x86_64_only(
    monkeypatch: pytest.MonkeyPatch, machine: str, size_bytes: int, data_at: int
) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "", "", "", machine)))
    there: dict[str, object] = {"__name__": "uring.structs_there", "__package__": "uring"}
    exec(compile(Path(uring.structs.__file__).read_bytes(), uring.structs.__file__, "exec"), there)
    kind: Any = there["epoll_event"]
    assert (ctypes.sizeof(kind), kind.events.offset, kind.data.offset) == (size_bytes, 0, data_at)
