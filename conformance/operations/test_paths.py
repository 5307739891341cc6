"""Operations on names that Zig's tests leave out: openat2, modes, flags, paths from the current directory."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.operations.support import complete, is_open
from conformance.support import completion, opened, owned_fds

pytestmark = pytest.mark.group("Paths")

# fcntl.h
_AT_FDCWD, _AT_SYMLINK_NOFOLLOW, _AT_REMOVEDIR, _AT_SYMLINK_FOLLOW, _AT_EMPTY_PATH = -100, 0x100, 0x200, 0x400, 0x1000
# linux/openat2.h
_RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH, _RESOLVE_IN_ROOT = 0x4, 0x8, 0x10
# linux/fs.h
_RENAME_NOREPLACE, _RENAME_EXCHANGE = 1, 2
# linux/stat.h
_STATX_BASIC_STATS = 0x7FF


@contextmanager
def _inside(directory: Path, umask: int = 0) -> Iterator[None]:
    """A current directory, and what is forbidden to files that are made."""
    before, mask = Path.cwd(), os.umask(umask)
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)
        os.umask(mask)


def _mode(path: Path) -> int | None:
    """A file's mode; None if there is none of that name."""
    return stat.S_IMODE(path.lstat().st_mode) if os.path.lexists(path) else None


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _is_same(path: Path, other: Path) -> bool:
    return os.path.lexists(path) and os.path.samestat(path.lstat(), other.lstat())


@pytest.mark.title("openat2")
@pytest.mark.symbols("IORING_OP_OPENAT2")
def test_openat2(ring: RingFactory, scratch: Path) -> None:
    """A file is made and opened as the structure says: its mode, and for what it can be used."""
    io_uring = ring(1)
    with _inside(scratch), opened(scratch, os.O_DIRECTORY) as directory, owned_fds() as fds:
        how = uring.open_how(os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o640)
        io_uring.openat2(0x11, directory, "file", how)
        (cqe,) = complete(io_uring, 1, "IORING_OP_OPENAT2")
        assert (0x11, 0, True) == (cqe.user_data, cqe.flags, is_open(cqe.res))
        fds.add(cqe.res)
        assert 3 == os.write(cqe.res, b"abc")
        assert not os.get_inheritable(cqe.res)
        assert (b"abc", 0o640) == (_content(scratch / "file"), _mode(scratch / "file"))
        io_uring.openat2(0x12, directory, "file", how)
        assert [completion(0x12, -errno.EEXIST)] == complete(io_uring, 1, "IORING_OP_OPENAT2")


@pytest.mark.title("openat2 that stays in a directory")
@pytest.mark.symbols("IORING_OP_OPENAT2")
def test_openat2_resolve_beneath(ring: RingFactory, scratch: Path) -> None:
    """RESOLVE_BENEATH refuses what leads out, RESOLVE_IN_ROOT makes the directory the root."""
    io_uring = ring(1)
    (scratch / "inside").mkdir()
    (scratch / "outside").write_bytes(b"outside")
    (scratch / "inside" / "outside").write_bytes(b"inside")
    with opened(scratch / "inside", os.O_DIRECTORY) as directory, owned_fds() as fds:
        for path in ("../outside", scratch / "outside"):
            io_uring.openat2(0x13, directory, path, uring.open_how(resolve=_RESOLVE_BENEATH))
            assert [completion(0x13, -errno.EXDEV)] == complete(io_uring, 1, "IORING_OP_OPENAT2 with RESOLVE_BENEATH")
        for path, resolve, content in (
            ("../outside", 0, b"outside"),
            ("outside", _RESOLVE_BENEATH, b"inside"),
            ("/../outside", _RESOLVE_IN_ROOT, b"inside"),
        ):
            io_uring.openat2(0x14, directory, path, uring.open_how(resolve=resolve))
            (cqe,) = complete(io_uring, 1, "IORING_OP_OPENAT2")
            assert (0x14, 0, True) == (cqe.user_data, cqe.flags, is_open(cqe.res))
            fds.add(cqe.res)
            assert content == os.read(cqe.res, 8)


@pytest.mark.title("openat2 without symbolic links")
@pytest.mark.symbols("IORING_OP_OPENAT2")
def test_openat2_resolve_no_symlinks(ring: RingFactory, scratch: Path) -> None:
    """RESOLVE_NO_SYMLINKS refuses them anywhere in a path; what it does not know the kernel refuses."""
    io_uring = ring(1)
    (scratch / "directory").mkdir()
    (scratch / "directory" / "file").write_bytes(b"content")
    (scratch / "link").symlink_to("directory")
    with opened(scratch, os.O_DIRECTORY) as directory, owned_fds() as fds:
        for path, resolve, number in (
            ("link/file", _RESOLVE_NO_SYMLINKS, errno.ELOOP),
            ("directory/file", 1 << 40, errno.EINVAL),
        ):
            io_uring.openat2(0x15, directory, path, uring.open_how(resolve=resolve))
            assert [completion(0x15, -number)] == complete(io_uring, 1, "IORING_OP_OPENAT2")
        for path, resolve in (("link/file", 0), ("directory/file", _RESOLVE_NO_SYMLINKS)):
            io_uring.openat2(0x16, directory, path, uring.open_how(resolve=resolve))
            (cqe,) = complete(io_uring, 1, "IORING_OP_OPENAT2")
            assert (0x16, 0, True) == (cqe.user_data, cqe.flags, is_open(cqe.res))
            fds.add(cqe.res)
            assert b"content" == os.read(cqe.res, 8)


@pytest.mark.title("open, from the current directory")
@pytest.mark.symbols("IORING_OP_OPENAT")
def test_open(ring: RingFactory, scratch: Path) -> None:
    """A path begins at the current directory, a file gets the mode that is asked for, and opens for what is asked."""
    io_uring = ring(1)
    with _inside(scratch), owned_fds() as fds:
        io_uring.open(0x21, "file", os.O_CREAT | os.O_WRONLY, 0o604)
        (cqe,) = complete(io_uring, 1, "IORING_OP_OPENAT")
        assert (0x21, 0, True) == (cqe.user_data, cqe.flags, is_open(cqe.res))
        fds.add(cqe.res)
        assert 3 == os.write(cqe.res, b"abc")
        assert (b"abc", 0o604) == (_content(scratch / "file"), _mode(scratch / "file"))
        for path, flags, number in (
            ("file", os.O_DIRECTORY, errno.ENOTDIR),
            ("none", os.O_RDONLY, errno.ENOENT),
            ("file", os.O_CREAT | os.O_EXCL, errno.EEXIST),
            (8, os.O_RDONLY, errno.EFAULT),
        ):
            io_uring.open(0x22, path, flags, 0)
            assert [completion(0x22, -number)] == complete(io_uring, 1, "IORING_OP_OPENAT")


@pytest.mark.title("files and the umask")
@pytest.mark.symbols("IORING_OP_OPENAT")
def test_open_umask(ring: RingFactory, scratch: Path) -> None:
    """What the umask forbids is not in the mode of a file that is made, for the ring either."""
    io_uring = ring(1)
    with _inside(scratch, 0o027), owned_fds() as fds:
        io_uring.open(0x23, "file", os.O_CREAT | os.O_WRONLY, 0o666)
        (cqe,) = complete(io_uring, 1, "IORING_OP_OPENAT")
        assert (0x23, 0, True) == (cqe.user_data, cqe.flags, is_open(cqe.res))
        fds.add(cqe.res)
        assert 0o640 == _mode(scratch / "file")


@pytest.mark.title("make a directory, its mode")
@pytest.mark.symbols("IORING_OP_MKDIRAT")
def test_mkdir_mode(ring: RingFactory, scratch: Path) -> None:
    """A directory has the mode that was asked for, less what the umask forbids."""
    io_uring = ring(1)
    with _inside(scratch):
        with opened(scratch, os.O_DIRECTORY) as directory:
            io_uring.mkdirat(0x31, directory, "one", 0o751)
            assert [completion(0x31, 0)] == complete(io_uring, 1, "IORING_OP_MKDIRAT")
        os.umask(0o022)
        io_uring.mkdir(0x32, "two", 0o777)
        assert [completion(0x32, 0)] == complete(io_uring, 1, "IORING_OP_MKDIRAT")
        assert (True, 0o751) == ((scratch / "one").is_dir(), _mode(scratch / "one"))
        assert (True, 0o755) == ((scratch / "two").is_dir(), _mode(scratch / "two"))
        io_uring.mkdir(0x33, "two", 0o777)
        assert [completion(0x33, -errno.EEXIST)] == complete(io_uring, 1, "IORING_OP_MKDIRAT")


@pytest.mark.title("remove a directory")
@pytest.mark.symbols("IORING_OP_UNLINKAT")
def test_unlink_directory(ring: RingFactory, scratch: Path) -> None:
    """AT_REMOVEDIR removes an empty directory and nothing else; without it no directory is removed."""
    io_uring = ring(1)
    for name in ("empty", "full"):
        (scratch / name).mkdir()
    (scratch / "full" / "file").touch()
    with opened(scratch, os.O_DIRECTORY) as directory:
        for path, flags, number in (
            ("empty", 0, errno.EISDIR),
            ("full", _AT_REMOVEDIR, errno.ENOTEMPTY),
            ("full/file", _AT_REMOVEDIR, errno.ENOTDIR),
        ):
            io_uring.unlinkat(0x41, directory, path, flags)
            assert [completion(0x41, -number)] == complete(io_uring, 1, "IORING_OP_UNLINKAT")
        assert ["empty", "full"] == sorted(path.name for path in scratch.iterdir())
        io_uring.unlinkat(0x42, directory, "empty", _AT_REMOVEDIR)
        assert [completion(0x42, 0)] == complete(io_uring, 1, "IORING_OP_UNLINKAT with AT_REMOVEDIR")
    assert ["full"] == [path.name for path in scratch.iterdir()]


@pytest.mark.title("unlink and rename, from the current directory")
@pytest.mark.symbols("IORING_OP_RENAMEAT", "IORING_OP_UNLINKAT")
def test_rename_unlink(ring: RingFactory, scratch: Path) -> None:
    """A rename replaces what has the new name; what is unlinked is gone."""
    io_uring = ring(1)
    with _inside(scratch):
        (scratch / "old").write_bytes(b"content")
        (scratch / "new").write_bytes(b"replaced")
        io_uring.rename(0x43, "old", "new")
        assert [completion(0x43, 0)] == complete(io_uring, 1, "IORING_OP_RENAMEAT")
        assert [("new", b"content")] == [(path.name, path.read_bytes()) for path in scratch.iterdir()]
        io_uring.unlink(0x44, "new", 0)
        assert [completion(0x44, 0)] == complete(io_uring, 1, "IORING_OP_UNLINKAT")
        assert [] == list(scratch.iterdir())
        io_uring.rename(0x45, "new", "old")
        assert [completion(0x45, -errno.ENOENT)] == complete(io_uring, 1, "IORING_OP_RENAMEAT")
        io_uring.unlink(0x46, "new", 0)
        assert [completion(0x46, -errno.ENOENT)] == complete(io_uring, 1, "IORING_OP_UNLINKAT")


@pytest.mark.title("rename that replaces nothing, or exchanges")
@pytest.mark.symbols("IORING_OP_RENAMEAT")
def test_renameat_flags(ring: RingFactory, scratch: Path) -> None:
    """RENAME_NOREPLACE leaves both where there are two, RENAME_EXCHANGE gives each the other's name."""
    io_uring = ring(1)
    (scratch / "directory").mkdir()
    one, two = scratch / "one", scratch / "directory" / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    with opened(scratch, os.O_DIRECTORY) as here, opened(scratch / "directory", os.O_DIRECTORY) as there:
        for flags, res, contents in (
            (_RENAME_NOREPLACE, -errno.EEXIST, (b"1", b"2")),
            (_RENAME_EXCHANGE, 0, (b"2", b"1")),
            (_RENAME_NOREPLACE | _RENAME_EXCHANGE, -errno.EINVAL, (b"2", b"1")),
        ):
            io_uring.renameat(0x47, here, "one", there, "two", flags)
            assert [completion(0x47, res)] == complete(io_uring, 1, "IORING_OP_RENAMEAT")
            assert contents == (_content(one), _content(two))
        io_uring.renameat(0x48, here, "one", there, "three", _RENAME_NOREPLACE)
        assert [completion(0x48, 0)] == complete(io_uring, 1, "IORING_OP_RENAMEAT with RENAME_NOREPLACE")
    assert (None, b"2") == (_content(one), _content(scratch / "directory" / "three"))


@pytest.mark.title("links, from the current directory")
@pytest.mark.symbols("IORING_OP_SYMLINKAT", "IORING_OP_LINKAT")
def test_symlink_link(ring: RingFactory, scratch: Path) -> None:
    """A symbolic link has its words; a hard link is the same file, or the symbolic link itself."""
    io_uring = ring(1)
    with _inside(scratch):
        (scratch / "file").write_bytes(b"content")
        io_uring.symlink(0x51, "file", "symbolic")
        assert [completion(0x51, 0)] == complete(io_uring, 1, "IORING_OP_SYMLINKAT")
        assert ["file", "symbolic"] == sorted(path.name for path in scratch.iterdir())
        assert Path("file") == (scratch / "symbolic").readlink()
        for name, flags, target in (("link", 0, "symbolic"), ("followed", _AT_SYMLINK_FOLLOW, "file")):
            io_uring.link(0x52, "symbolic", name, flags)
            assert [completion(0x52, 0)] == complete(io_uring, 1, "IORING_OP_LINKAT")
            assert _is_same(scratch / name, scratch / target)
        assert 2 == (scratch / "file").stat().st_nlink
        io_uring.symlink(0x53, "file", "symbolic")
        assert [completion(0x53, -errno.EEXIST)] == complete(io_uring, 1, "IORING_OP_SYMLINKAT")
        io_uring.link(0x54, "file", "link", 0)
        assert [completion(0x54, -errno.EEXIST)] == complete(io_uring, 1, "IORING_OP_LINKAT")


@pytest.mark.title("a name for an open file")
@pytest.mark.symbols("IORING_OP_LINKAT")
def test_linkat_empty_path(ring: RingFactory, scratch: Path) -> None:
    """AT_EMPTY_PATH gives a file that has no name one, to whoever has CAP_DAC_READ_SEARCH."""
    io_uring = ring(1)
    with opened(scratch, os.O_TMPFILE | os.O_WRONLY) as fd, opened(scratch, os.O_DIRECTORY) as directory:
        assert 7 == os.write(fd, b"content")
        io_uring.linkat(0x55, fd, "", directory, "file", _AT_EMPTY_PATH)
        assert [completion(0x55, 0)] == complete(io_uring, 1, "IORING_OP_LINKAT with AT_EMPTY_PATH")
    assert b"content" == _content(scratch / "file")


@pytest.mark.title("status of links, and of open files")
@pytest.mark.symbols("IORING_OP_STATX")
def test_statx_flags(ring: RingFactory, scratch: Path) -> None:
    """What a symbolic link names, or the link itself, or the file of a descriptor: as stat(2) has it."""
    io_uring = ring(1)
    with _inside(scratch):
        (scratch / "file").write_bytes(b"content")
        (scratch / "link").symlink_to("file")
        with opened(scratch / "file") as fd:
            for directory, path, flags, expected in (
                (_AT_FDCWD, "link", 0, (scratch / "file").stat()),
                (_AT_FDCWD, "link", _AT_SYMLINK_NOFOLLOW, (scratch / "link").lstat()),
                (fd, "", _AT_EMPTY_PATH, (scratch / "file").stat()),
            ):
                found = uring.Statx()
                io_uring.statx(0x61, directory, path, flags, _STATX_BASIC_STATS, found)
                assert [completion(0x61, 0)] == complete(io_uring, 1, "IORING_OP_STATX")
                assert _STATX_BASIC_STATS == found.mask & _STATX_BASIC_STATS
                assert (expected.st_mode, expected.st_nlink, expected.st_uid, expected.st_gid) == (
                    found.mode,
                    found.nlink,
                    found.uid,
                    found.gid,
                )
                assert (expected.st_ino, expected.st_size, expected.st_mtime_ns) == (
                    found.ino,
                    found.size,
                    found.mtime.sec * 10**9 + found.mtime.nsec,
                )
            io_uring.statx(0x62, _AT_FDCWD, "none", 0, _STATX_BASIC_STATS, uring.Statx())
            assert [completion(0x62, -errno.ENOENT)] == complete(io_uring, 1, "IORING_OP_STATX")
