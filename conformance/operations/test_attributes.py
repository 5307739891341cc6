"""Extended attributes: set and read by path and by descriptor."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from conformance.fixtures import RingFactory
from conformance.operations.support import complete
from conformance.support import CREATE, completion, opened

pytestmark = pytest.mark.group("Paths")

_ROOM_BYTES = 16
# Those of users came to tmpfs with 6.6 only, and those of root were always there.
_KIND = "trusted" if os.geteuid() == 0 else "user"
_TEST, _NONE, _NEW = f"{_KIND}.test", f"{_KIND}.none", f"{_KIND}.new"


def _attributes(file: Path | int) -> list[tuple[str, bytes]]:
    return [(name, os.getxattr(file, name)) for name in sorted(os.listxattr(file)) if name.startswith(_KIND)]


@pytest.mark.title("extended attributes, by path")
@pytest.mark.symbols("IORING_OP_SETXATTR", "IORING_OP_GETXATTR")
def test_setxattr_getxattr(ring: RingFactory, scratch: Path) -> None:
    """What one sets the other gets, as everybody does; into no room, its size."""
    io_uring = ring(1)
    path = scratch / "file"
    path.touch()
    io_uring.setxattr(0x11, _TEST, b"value", path, 0)
    assert [completion(0x11, 0)] == complete(io_uring, 1, "IORING_OP_SETXATTR")
    assert [(_TEST, b"value")] == _attributes(path)
    os.setxattr(path, _TEST, b"another")
    room = bytearray(b"." * _ROOM_BYTES)
    io_uring.getxattr(0x12, _TEST, room, path)
    assert [completion(0x12, 7)] == complete(io_uring, 1, "IORING_OP_GETXATTR")
    assert b"another".ljust(_ROOM_BYTES, b".") == room
    io_uring.getxattr(0x13, _TEST, bytearray(), path)
    assert [completion(0x13, 7)] == complete(io_uring, 1, "IORING_OP_GETXATTR into no room")


@pytest.mark.title("extended attributes, by descriptor")
@pytest.mark.symbols("IORING_OP_FSETXATTR", "IORING_OP_FGETXATTR")
def test_fsetxattr_fgetxattr(ring: RingFactory, scratch: Path) -> None:
    """What one sets the other gets, as everybody does; into no room, its size."""
    io_uring = ring(1)
    with opened(scratch / "file", CREATE) as fd:
        io_uring.fsetxattr(0x14, fd, _TEST, b"value", 0)
        assert [completion(0x14, 0)] == complete(io_uring, 1, "IORING_OP_FSETXATTR")
        assert [(_TEST, b"value")] == _attributes(fd)
        os.setxattr(fd, _TEST, b"another")
        room = bytearray(b"." * _ROOM_BYTES)
        io_uring.fgetxattr(0x15, fd, _TEST, room)
        assert [completion(0x15, 7)] == complete(io_uring, 1, "IORING_OP_FGETXATTR")
        assert b"another".ljust(_ROOM_BYTES, b".") == room
        io_uring.fgetxattr(0x16, fd, _TEST, bytearray())
        assert [completion(0x16, 7)] == complete(io_uring, 1, "IORING_OP_FGETXATTR into no room")


@pytest.mark.title("extended attributes, made or replaced")
@pytest.mark.symbols("IORING_OP_SETXATTR", "IORING_OP_FSETXATTR")
def test_setxattr_flags(ring: RingFactory, scratch: Path) -> None:
    """XATTR_CREATE leaves one that is there, XATTR_REPLACE makes none."""
    io_uring = ring(1)
    path = scratch / "file"
    with opened(path, CREATE) as fd:
        os.setxattr(fd, _TEST, b"first")
        for name, flags, res in (
            (_TEST, os.XATTR_CREATE, -errno.EEXIST),
            (_NONE, os.XATTR_REPLACE, -errno.ENODATA),
        ):
            io_uring.setxattr(0x21, name, b"second", path, flags)
            assert [completion(0x21, res)] == complete(io_uring, 1, "IORING_OP_SETXATTR")
            io_uring.fsetxattr(0x22, fd, name, b"third", flags)
            assert [completion(0x22, res)] == complete(io_uring, 1, "IORING_OP_FSETXATTR")
        assert [(_TEST, b"first")] == _attributes(fd)
        io_uring.setxattr(0x23, _TEST, b"second", path, os.XATTR_REPLACE)
        assert [completion(0x23, 0)] == complete(io_uring, 1, "IORING_OP_SETXATTR with XATTR_REPLACE")
        assert [(_TEST, b"second")] == _attributes(fd)
        io_uring.fsetxattr(0x24, fd, _NEW, b"third", os.XATTR_CREATE)
        assert [completion(0x24, 0)] == complete(io_uring, 1, "IORING_OP_FSETXATTR with XATTR_CREATE")
        assert [(_NEW, b"third"), (_TEST, b"second")] == _attributes(path)


@pytest.mark.title("extended attributes, refused")
@pytest.mark.symbols("IORING_OP_GETXATTR", "IORING_OP_FGETXATTR")
def test_getxattr_refused(ring: RingFactory, scratch: Path) -> None:
    """A value that does not fit is not cut, and one that was not set does not exist; nor does another path."""
    io_uring = ring(1)
    path = scratch / "file"
    with opened(path, CREATE) as fd:
        os.setxattr(fd, _TEST, b"value")
        room = bytearray(b"....")
        for name, number in ((_TEST, errno.ERANGE), (_NONE, errno.ENODATA)):
            io_uring.getxattr(0x31, name, room, path)
            assert [completion(0x31, -number)] == complete(io_uring, 1, "IORING_OP_GETXATTR")
            io_uring.fgetxattr(0x32, fd, name, room)
            assert [completion(0x32, -number)] == complete(io_uring, 1, "IORING_OP_FGETXATTR")
        io_uring.getxattr(0x33, _TEST, room, scratch / "none")
        assert [completion(0x33, -errno.ENOENT)] == complete(io_uring, 1, "IORING_OP_GETXATTR")
        assert b"...." == room
