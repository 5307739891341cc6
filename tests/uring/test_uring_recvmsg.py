"""The parts of a message in a buffer, where it has everything, too much, and too little; made up byte by byte."""

from __future__ import annotations

import socket
import struct

import pytest

import uring

NAME, CONTROL, PAYLOAD = b"n" * 8, b"c" * 24, b"payload"


def received(namelen: int, controllen: int, flags: int = 0) -> bytes:
    """A buffer with room for 8 bytes of name and 24 of control data."""
    return struct.pack("=4I", namelen, controllen, len(PAYLOAD), flags) + NAME + CONTROL + PAYLOAD


ROOM = uring.msghdr(name=bytearray(8), control=bytearray(24))


@pytest.mark.parametrize(
    ("namelen", "controllen", "name", "control"),
    [(8, 24, NAME, CONTROL), (3, 5, b"nnn", b"ccccc"), (0, 0, b"", b""), (99, 99, NAME, CONTROL)],
)
def test_parts(namelen: int, controllen: int, name: bytes, control: bytes) -> None:
    """Name and control data are as long as the header says, at most as there was room; the payload is the rest."""
    buffer = received(namelen, controllen, 0x20)
    message = uring.recvmsg_validate(bytearray(buffer + b"not received"), len(buffer), ROOM)
    assert message is not None
    header = message.header
    assert (header.namelen, header.controllen, header.payloadlen, header.flags) == (namelen, controllen, 7, 0x20)
    assert (bytes(message.name), bytes(message.control), bytes(message.payload)) == (name, control, PAYLOAD)


@pytest.mark.parametrize(("size_bytes", "payload"), [(47, None), (48, b""), (50, b"pa"), (0, None), (-105, None)])
def test_a_result_that_is_too_short(size_bytes: int, payload: bytes | None) -> None:
    """Without room for header, name and control data there is no message."""
    message = uring.recvmsg_validate(received(8, 24), size_bytes, ROOM)
    assert (message and bytes(message.payload)) == payload


def control_data(*pieces: bytes) -> uring.ReceivedMessage:
    view = memoryview(b"".join(pieces))
    return uring.ReceivedMessage(uring.io_uring_recvmsg_out(), view[:0], view, view[:0])


def piece(length: int, data: bytes) -> bytes:
    return struct.pack("=Qii", length, socket.SOL_SOCKET, socket.SCM_RIGHTS) + data


def test_control_data() -> None:
    """Each piece begins at a multiple of 8 bytes; the last may end anywhere."""
    message = control_data(piece(19, b"abc"), bytes(5), piece(16, b""), piece(17, b"z"))
    assert [(level, kind, bytes(data)) for level, kind, data in message.cmsgs()] == [
        (socket.SOL_SOCKET, socket.SCM_RIGHTS, data) for data in (b"abc", b"", b"z")
    ]


@pytest.mark.parametrize("length", [0, 15, 20, 1 << 40])
def test_control_data_that_cannot_be(length: int) -> None:
    """A length shorter than its own header, or longer than what is there, ends the list."""
    assert [bytes(data) for _, _, data in control_data(piece(17, b"a"), bytes(7), piece(length, b"abc")).cmsgs()] == [
        b"a"
    ]
    assert list(control_data(b"x" * 15).cmsgs()) == []
