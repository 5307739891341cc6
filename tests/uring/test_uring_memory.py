"""From objects to addresses: what lies there, how much of it, and what holds on to it."""

from __future__ import annotations

import array
import ctypes
import os
from pathlib import Path
from typing import Any

import pytest

import uring
from uring import memory


def at(address: int, size_bytes: int) -> bytes:
    return ctypes.string_at(address, size_bytes)


DATA = b"0123456789"
READABLE: list[Any] = [
    DATA,
    bytearray(DATA),
    memoryview(DATA)[2:7],
    memoryview(bytearray(DATA))[2:7],
    memoryview(bytearray(DATA)).toreadonly(),
    array.array("H", [1, 2, 3]),
    b"",
    bytearray(),
]


@pytest.mark.parametrize("buffer", READABLE, ids=lambda it: f"{type(it).__name__}-{len(it)}")
def test_address_length_and_pin(buffer: Any) -> None:
    """The length is in bytes, and the pin is there."""
    address, size_bytes, pin = memory.readable(buffer)
    assert size_bytes == memoryview(buffer).nbytes
    assert at(address, size_bytes) == memoryview(buffer).tobytes()
    assert pin is not None
    assert memory.address_of(buffer)[0] == address
    assert memory.address_of(buffer)[1] is not None
    if memoryview(buffer).readonly:
        for ask in (memory.writable, memory.writable_address_of):
            with pytest.raises(uring.BufferNotWritable):
                ask(buffer)
    else:
        assert memory.writable(buffer)[:2] == (address, size_bytes)
        assert memory.writable(buffer)[2] is not None
        assert memory.writable_address_of(buffer)[0] == address


def test_a_view_of_several_dimensions_is_counted_in_bytes() -> None:
    view = memoryview(bytearray(24)).cast("I", (2, 3))
    assert (len(view), memory.readable(view)[1], memory.writable(view)[1]) == (2, 24, 24)


@pytest.mark.parametrize("buffer", [memoryview(b"abcdef")[::2], memoryview(bytearray(6))[::2]])
def test_what_lies_in_pieces_has_no_address(buffer: memoryview) -> None:
    with pytest.raises(uring.BufferNotContiguous, match=r"strides \(2,\)"):
        memory.readable(buffer)


@pytest.mark.parametrize("make", [lambda: bytearray(8), lambda: array.array("B", bytes(8))])
def test_a_pin_keeps_memory_in_its_place(make: Any) -> None:
    buffer = make()
    pin = memory.writable(buffer)[2]
    with pytest.raises(BufferError):
        buffer.extend(b"x" * 4096)
    del pin
    buffer.extend(b"x" * 4096)


@pytest.mark.parametrize("value", [0, 4096, None])
def test_an_address_is_the_callers_to_look_after(value: int | None) -> None:
    for ask in (memory.address_of, memory.writable_address_of):
        assert ask(value) == (value or 0, None)


@pytest.mark.parametrize("value", [uring.kernel_timespec(1, 2), (ctypes.c_int * 2)(1, 2), ctypes.c_uint32(7)])
def test_a_structure_lies_where_it_is(value: Any) -> None:
    for ask in (memory.address_of, memory.writable_address_of):
        assert ask(value) == (ctypes.addressof(value), value)


@pytest.mark.parametrize("path", ["/tmp/é", b"/tmp/x", Path("/tmp/x")])
def test_a_path_ends_with_a_nul(path: Any) -> None:
    address, pin = memory.path_of(path)
    assert at(address, len(os.fsencode(path)) + 1) == os.fsencode(path) + b"\0"
    assert pin == os.fsencode(path)
    assert memory.path_of(4096) == (4096, None)


def test_a_path_cannot_end_early() -> None:
    for path in ("a\0b", b"\0"):
        with pytest.raises(uring.UsageError, match="NUL"):
            memory.path_of(path)


# -- iovec ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 9, 10])
def test_a_part_of_a_buffer(length: int) -> None:
    whole = bytearray(DATA)
    vector = uring.iovec(whole, length)
    assert (at(vector.base, vector.len), vector.is_writable) == (DATA[:length], True)
    assert uring.iovec(whole).len == 10
    with pytest.raises(BufferError):
        whole.clear()


@pytest.mark.parametrize("length", [-1, 11])
def test_no_more_than_the_buffer(length: int) -> None:
    with pytest.raises(uring.ArgumentOutOfRange, match=f"{length} bytes over a buffer of 10"):
        uring.iovec(DATA, length)


def test_an_iovec_of_an_address() -> None:
    empty, some = uring.iovec(), uring.iovec(4096, 7)
    assert (empty.base, empty.len, uring.iovec(4096).len) == (0, 0, 0)
    assert (some.base, some.len, some.is_writable, some.pin) == (4096, 7, True, None)
    assert memory.writable(some) == memory.readable(some) == (4096, 7, some)


def test_an_iovec_of_what_is_not_to_change() -> None:
    vector = uring.iovec(DATA)
    assert not vector.is_writable
    assert memory.readable(vector) == (vector.base, 10, vector)
    with pytest.raises(uring.BufferNotWritable, match="read-only memory"):
        memory.writable(vector)


@pytest.mark.parametrize("is_written", [False, True])
def test_several_buffers_are_one_array(is_written: bool) -> None:
    buffers = [bytearray(b"abc"), uring.iovec(bytearray(b"defg"), 2), memoryview(bytearray(b"hi"))]
    address, count, pin = memory.iovecs_of(buffers, is_written=is_written)
    entries = (uring.iovec * count).from_address(address)
    assert [at(entry.base, entry.len) for entry in entries] == [b"abc", b"de", b"hi"]
    assert isinstance(pin, list)
    # The array itself, and each buffer.
    assert (len(pin), ctypes.addressof(pin[0])) == (4, address)
    with pytest.raises(BufferError):
        buffers[0].clear()  # type: ignore[union-attr]


def test_what_is_written_must_be_writable() -> None:
    assert memory.iovecs_of([DATA], is_written=False)[1] == 1
    with pytest.raises(uring.BufferNotWritable):
        memory.iovecs_of([DATA], is_written=True)


def test_an_array_is_used_in_place() -> None:
    vectors = (uring.iovec * 2)(uring.iovec(4096, 1), uring.iovec(8192, 2))
    assert memory.iovecs_of(vectors, is_written=True) == (ctypes.addressof(vectors), 2, vectors)
    fds = (ctypes.c_int32 * 3)(1, 2, 3)
    assert memory.fds_of(fds) == (ctypes.addressof(fds), 3, fds)
    address, count, pin = memory.fds_of([5, -1])
    assert (count, list((ctypes.c_int32 * 2).from_address(address)), list(pin)) == (2, [5, -1], [5, -1])  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], True),
        ((), True),
        ((uring.iovec * 1)(), True),
        ((ctypes.c_char * 4)(), False),
        (bytearray(1), False),
        (b"x", False),
        (uring.iovec(), False),
        (None, False),
    ],
)
def test_what_means_several_buffers(value: Any, expected: bool) -> None:
    assert memory.is_buffer_list(value) is expected


# -- messages ---------------------------------------------------------------------------------------------------------


def test_a_message_has_its_parts() -> None:
    name, control = uring.sockaddr_in("127.0.0.1", 80), bytearray(b"ctl")
    message = uring.msghdr(name, [b"ab", b"cde"], control, flags=5)
    assert (at(message.name, message.namelen), at(message.control, message.controllen)) == (bytes(name), b"ctl")
    vectors = (uring.iovec * message.iovlen).from_address(message.iov)
    assert [at(vector.base, vector.len) for vector in vectors] == [b"ab", b"cde"]
    assert (message.flags, len(message.pins)) == (5, 3)


@pytest.mark.parametrize(("namelen", "expected"), [(None, 16), (0, 0), (7, 7)])
def test_a_part_of_a_name(namelen: int | None, expected: int) -> None:
    assert uring.msghdr(uring.sockaddr_in(), namelen=namelen).namelen == expected


def test_an_empty_message() -> None:
    message = uring.msghdr()
    fields = (message.name, message.namelen, message.iovlen, message.control, message.controllen, message.flags)
    assert fields == (0, 0, 0, 0, 0, 0)


# -- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", [0, 1, 0xFFFF])
def test_ports(port: int) -> None:
    assert (uring.sockaddr_in(port=port).port, uring.sockaddr_in6(port=port).port) == (port, port)
    assert bytes(uring.sockaddr_in(port=port))[2:4] == port.to_bytes(2, "big")


@pytest.mark.parametrize("port", [-1, 0x10000])
def test_no_port(port: int) -> None:
    for kind in (uring.sockaddr_in, uring.sockaddr_in6):
        with pytest.raises(uring.ArgumentOutOfRange, match=f"port {port}"):
            kind(port=port)


def test_addresses_that_are_room_for_one() -> None:
    room: Any = uring.sockaddr_storage.from_buffer_copy(bytes(uring.sockaddr_in6("::1", 80)).ljust(128, b"\0"))
    assert (room.family, bytes(room.data)[:2], len(room), ctypes.sizeof(room)) == (10, b"\0P", 128, 128)
    four, six = uring.sockaddr_in(), uring.sockaddr_in6()
    assert (four.host, four.port, six.host, six.port, six.flowinfo, six.scope_id) == ("0.0.0.0", 0, "::", 0, 0, 0)
    other = uring.sockaddr_in6("2001:db8::1", 5, 6, 7)
    assert (other.host, other.flowinfo, other.scope_id) == ("2001:db8::1", 6, 7)


@pytest.mark.parametrize(
    ("path", "length"),
    [(b"", 3), (b"x", 4), (b"\0", 3), (b"\0x", 4), (b"x" * 107, 110), (b"\0" + b"x" * 106, 109)],
)
def test_lengths_of_unix_addresses(path: bytes, length: int) -> None:
    """Family, path and the NUL behind it; an abstract name has none."""
    address = uring.sockaddr_un(path)
    assert (len(address), bytes(address)) == (length, b"\x01\0" + path.ljust(108, b"\0"))
