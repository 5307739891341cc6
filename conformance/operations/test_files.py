"""Operations on open files that Zig's tests leave out: synchronizing, sizes, advice, flags of reads and writes."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import sys
from pathlib import Path

import pytest

from conformance.fixtures import RingFactory
from conformance.operations.extents import bytes_on_disk
from conformance.operations.support import complete, pipe
from conformance.support import CREATE, completion, opened
from uring import IORING_FSYNC_DATASYNC, IOSQE_CQE_SKIP_SUCCESS

pytestmark = pytest.mark.group("Files")

_PAGE = os.sysconf("SC_PAGE_SIZE")
# More than a file system would keep inside of an inode, and less than it would begin to write on its own.
_DATA = b"data" * (4 * _PAGE)
# linux/fs.h
_SYNC_FILE_RANGE = 1 | 2 | 4
# linux/falloc.h
_KEEP_SIZE, _PUNCH_HOLE = 1, 2
# Beyond the flags that reads and writes have.
_NO_RWF = 1 << 30


@pytest.mark.title("fsync writes to the disk")
@pytest.mark.symbols("IORING_OP_FSYNC")
def test_fsync(ring: RingFactory, scratch_ext4: Path) -> None:
    """What was written lies in memory alone, and on the disk once the request is complete."""
    io_uring = ring(1)
    with opened(scratch_ext4 / "file", CREATE) as fd:
        assert len(_DATA) == os.write(fd, _DATA)
        assert 0 == bytes_on_disk(fd, 0, len(_DATA))
        io_uring.fsync(0x11, fd, 0)
        assert [completion(0x11, 0)] == complete(io_uring, 1, "IORING_OP_FSYNC")
        assert len(_DATA) == bytes_on_disk(fd, 0, len(_DATA))


@pytest.mark.title("fsync of data alone")
@pytest.mark.symbols("IORING_FSYNC_DATASYNC", "IORING_OP_FSYNC")
def test_fsync_datasync(ring: RingFactory, scratch_ext4: Path) -> None:
    """IORING_FSYNC_DATASYNC writes a file's data to the disk."""
    io_uring = ring(1)
    with opened(scratch_ext4 / "file", CREATE) as fd:
        assert len(_DATA) == os.write(fd, _DATA)
        assert 0 == bytes_on_disk(fd, 0, len(_DATA))
        io_uring.fsync(0x12, fd, IORING_FSYNC_DATASYNC)
        assert [completion(0x12, 0)] == complete(io_uring, 1, "IORING_OP_FSYNC with IORING_FSYNC_DATASYNC")
        assert len(_DATA) == bytes_on_disk(fd, 0, len(_DATA))


@pytest.mark.title("fsync of a part")
@pytest.mark.symbols("IORING_OP_FSYNC")
def test_fsync_range(ring: RingFactory, scratch_ext4: Path) -> None:
    """With an offset and a length, that part is on the disk; more may be."""
    io_uring = ring(1)
    far = 64 * len(_DATA)
    with opened(scratch_ext4 / "file", CREATE) as fd:
        for offset in (0, far):
            assert len(_DATA) == os.pwrite(fd, _DATA, offset)
        assert 0 == bytes_on_disk(fd, 0, far + len(_DATA))
        sqe = io_uring.fsync(0x13, fd, 0)
        sqe.off, sqe.len = far, len(_DATA)
        assert [completion(0x13, 0)] == complete(io_uring, 1, "IORING_OP_FSYNC of a part")
        assert len(_DATA) == bytes_on_disk(fd, far, len(_DATA))


@pytest.mark.title("fsync, refused")
@pytest.mark.symbols("IORING_OP_FSYNC")
def test_fsync_refused(ring: RingFactory, scratch: Path) -> None:
    """A pipe cannot be synchronized, a descriptor that is closed neither, and there is one flag."""
    io_uring = ring(1)
    with pipe() as (_reading, writing), opened(scratch / "file", CREATE) as fd:
        closed = os.dup(fd)
        os.close(closed)
        for other, flags, number in ((writing, 0, errno.EINVAL), (closed, 0, errno.EBADF), (fd, 2, errno.EINVAL)):
            io_uring.fsync(0x14, other, flags)
            assert [completion(0x14, -number)] == complete(io_uring, 1, "IORING_OP_FSYNC")


@pytest.mark.title("sync_file_range")
@pytest.mark.symbols("IORING_OP_SYNC_FILE_RANGE")
def test_sync_file_range(ring: RingFactory, scratch_ext4: Path) -> None:
    """The part that is asked for is on the disk; a length of 0 means up to the end."""
    io_uring = ring(1)
    far = 64 * len(_DATA)
    with opened(scratch_ext4 / "file", CREATE) as fd:
        for offset in (0, far, 2 * far):
            assert len(_DATA) == os.pwrite(fd, _DATA, offset)
        assert 0 == bytes_on_disk(fd, 0, 2 * far + len(_DATA))
        for offset, length in ((far, len(_DATA)), (2 * far, 0)):
            io_uring.sync_file_range(0x21, fd, length, offset, _SYNC_FILE_RANGE)
            assert [completion(0x21, 0)] == complete(io_uring, 1, "IORING_OP_SYNC_FILE_RANGE")
            assert len(_DATA) == bytes_on_disk(fd, offset, len(_DATA))


@pytest.mark.title("sync_file_range, refused")
@pytest.mark.symbols("IORING_OP_SYNC_FILE_RANGE")
def test_sync_file_range_refused(ring: RingFactory, scratch: Path) -> None:
    """A pipe has no ranges, and there are three flags."""
    io_uring = ring(1)
    with pipe() as (_reading, writing), opened(scratch / "file", CREATE) as fd:
        for other, flags, number in ((writing, _SYNC_FILE_RANGE, errno.ESPIPE), (fd, 8, errno.EINVAL)):
            io_uring.sync_file_range(0x22, other, 0, 0, flags)
            assert [completion(0x22, -number)] == complete(io_uring, 1, "IORING_OP_SYNC_FILE_RANGE")


@pytest.mark.title("fallocate that keeps the size")
@pytest.mark.symbols("IORING_OP_FALLOCATE")
def test_fallocate_keep_size(ring: RingFactory, scratch: Path) -> None:
    """FALLOC_FL_KEEP_SIZE reserves room behind the end of the file, whose size stays."""
    io_uring = ring(1)
    with opened(scratch / "file", CREATE) as fd:
        assert 4 == os.write(fd, b"0123")
        before = os.fstat(fd).st_blocks
        io_uring.fallocate(0x31, fd, _KEEP_SIZE, 0, 16 * _PAGE)
        assert [completion(0x31, 0)] == complete(io_uring, 1, "IORING_OP_FALLOCATE")
        status = os.fstat(fd)
        assert 4 == status.st_size
        assert status.st_blocks >= 16 * _PAGE // 512 > before


@pytest.mark.title("fallocate that makes a hole")
@pytest.mark.symbols("IORING_OP_FALLOCATE")
def test_fallocate_punch_hole(ring: RingFactory, scratch: Path) -> None:
    """FALLOC_FL_PUNCH_HOLE leaves zeros just where it was asked for, and the size."""
    io_uring = ring(1)
    with opened(scratch / "file", CREATE) as fd:
        assert 4 * _PAGE == os.write(fd, b"x" * 4 * _PAGE)
        blocks = os.fstat(fd).st_blocks
        io_uring.fallocate(0x32, fd, _KEEP_SIZE | _PUNCH_HOLE, _PAGE, 2 * _PAGE)
        assert [completion(0x32, 0)] == complete(io_uring, 1, "IORING_OP_FALLOCATE")
        assert b"x" * _PAGE + bytes(2 * _PAGE) + b"x" * _PAGE == os.pread(fd, 5 * _PAGE, 0)
        assert blocks - 2 * _PAGE // 512 == os.fstat(fd).st_blocks


@pytest.mark.title("fallocate, refused")
@pytest.mark.symbols("IORING_OP_FALLOCATE")
def test_fallocate_refused(ring: RingFactory, scratch: Path) -> None:
    """Nothing is no length, and a file that was opened for reading is not changed."""
    io_uring = ring(1)
    (scratch / "file").write_bytes(b"0123")
    with opened(scratch / "file", os.O_RDWR) as fd, opened(scratch / "file", os.O_RDONLY) as read_only:
        for other, length, number in ((fd, 0, errno.EINVAL), (read_only, 8, errno.EBADF)):
            io_uring.fallocate(0x33, other, 0, 0, length)
            assert [completion(0x33, -number)] == complete(io_uring, 1, "IORING_OP_FALLOCATE")
        assert 4 == os.fstat(fd).st_size


@pytest.mark.title("ftruncate")
@pytest.mark.symbols("IORING_OP_FTRUNCATE")
def test_ftruncate(ring: RingFactory, scratch: Path) -> None:
    """A file gets shorter and keeps its beginning, then longer, with zeros at its end."""
    io_uring = ring(1)
    with opened(scratch / "file", CREATE) as fd:
        os.write(fd, b"0123456789")
        for length, content in ((4, b"0123"), (6, b"0123\0\0")):
            io_uring.ftruncate(0x11, fd, length)
            assert [completion(0x11, 0)] == complete(io_uring, 1, "IORING_OP_FTRUNCATE")
            assert content == os.pread(fd, 16, 0)


@pytest.mark.title("ftruncate, refused")
@pytest.mark.symbols("IORING_OP_FTRUNCATE")
def test_ftruncate_refused(ring: RingFactory, scratch: Path) -> None:
    """A file that was opened for reading keeps its length."""
    io_uring = ring(1)
    (scratch / "file").write_bytes(b"0123")
    with opened(scratch / "file", os.O_RDONLY) as fd:
        io_uring.ftruncate(0x15, fd, 0)
        assert [completion(0x15, -errno.EINVAL)] == complete(io_uring, 1, "IORING_OP_FTRUNCATE")
        assert 4 == os.fstat(fd).st_size


def _pages_in_memory(fd: int, count: int) -> list[int]:
    """Which of a file's first pages are cached."""
    found = (ctypes.c_ubyte * count)()
    with mmap.mmap(fd, count * _PAGE) as memory:
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        if ctypes.CDLL(None).mincore(ctypes.c_void_p(address), ctypes.c_size_t(count * _PAGE), found) != 0:
            pytest.fail("mincore(2) is refused")
    return [page for page in range(count) if found[page] & 1]


@pytest.mark.title("fadvise")
@pytest.mark.symbols("IORING_OP_FADVISE")
def test_fadvise(ring: RingFactory, scratch_ext4: Path) -> None:
    """POSIX_FADV_DONTNEED lets go of pages that are on the disk as well, just of those that it names."""
    io_uring = ring(1)
    with opened(scratch_ext4 / "file", CREATE) as fd:
        # One at a time: what is written at once may be cached as one large piece, which is let go as a whole.
        for _ in range(8):
            assert _PAGE == os.write(fd, b"x" * _PAGE)
        os.fsync(fd)
        assert list(range(8)) == _pages_in_memory(fd, 8)
        io_uring.fadvise(0x41, fd, 2 * _PAGE, 3 * _PAGE, os.POSIX_FADV_DONTNEED)
        assert [completion(0x41, 0)] == complete(io_uring, 1, "IORING_OP_FADVISE")
        assert [0, 1, 5, 6, 7] == _pages_in_memory(fd, 8)


@pytest.mark.title("fadvise of 64 bits")
@pytest.mark.symbols("IORING_OP_FADVISE")
@pytest.mark.needs("fadvise-64")
def test_fadvise64(ring: RingFactory, scratch_ext4: Path) -> None:
    """A length of more than 32 bits is taken as it is."""
    io_uring = ring(1)
    with opened(scratch_ext4 / "file", CREATE) as fd:
        for _ in range(8):
            assert _PAGE == os.write(fd, b"x" * _PAGE)
        os.fsync(fd)
        assert list(range(8)) == _pages_in_memory(fd, 8)
        for offset, length, pages in ((6 * _PAGE, _PAGE, [0, 1, 2, 3, 4, 5, 7]), (2 * _PAGE, 1 << 32, [0, 1])):
            io_uring.fadvise64(0x43, fd, offset, length, os.POSIX_FADV_DONTNEED)
            assert [completion(0x43, 0)] == complete(io_uring, 1, "IORING_OP_FADVISE with a length of 64 bits")
            assert pages == _pages_in_memory(fd, 8)


@pytest.mark.title("fadvise, refused")
@pytest.mark.symbols("IORING_OP_FADVISE")
def test_fadvise_refused(ring: RingFactory, scratch: Path) -> None:
    """A pipe takes no advice, and there is no such one as 99."""
    io_uring = ring(1)
    with pipe() as (reading, _writing), opened(scratch / "file", CREATE) as fd:
        for other, advice, number in (
            (reading, os.POSIX_FADV_DONTNEED, errno.ESPIPE),
            (fd, 99, errno.EINVAL),
        ):
            io_uring.fadvise(0x42, other, 0, 0, advice)
            assert [completion(0x42, -number)] == complete(io_uring, 1, "IORING_OP_FADVISE")


@pytest.mark.title("write that appends")
@pytest.mark.symbols("IORING_OP_WRITEV")
def test_writev2_append(ring: RingFactory, scratch: Path) -> None:
    """RWF_APPEND writes behind the end, whatever the offset is."""
    io_uring = ring(1)
    with opened(scratch / "file", CREATE) as fd:
        assert 4 == os.write(fd, b"0123")
        io_uring.writev2(0x51, fd, [b"ab", b"cde"], 1, os.RWF_APPEND)
        assert [completion(0x51, 5)] == complete(io_uring, 1, "IORING_OP_WRITEV with RWF_APPEND")
        assert b"0123abcde" == os.pread(fd, 16, 0)


@pytest.mark.title("write to the disk")
@pytest.mark.symbols("IORING_OP_WRITEV")
def test_writev2_dsync(ring: RingFactory, scratch_ext4: Path) -> None:
    """With RWF_DSYNC the data is on the disk when the request is complete."""
    io_uring = ring(1)
    with opened(scratch_ext4 / "file", CREATE) as fd:
        io_uring.writev2(0x52, fd, [_DATA, _DATA], 0, os.RWF_DSYNC)
        assert [completion(0x52, 2 * len(_DATA))] == complete(io_uring, 1, "IORING_OP_WRITEV with RWF_DSYNC")
        assert 2 * len(_DATA) == bytes_on_disk(fd, 0, 2 * len(_DATA))


@pytest.mark.title("read without waiting")
@pytest.mark.symbols("IORING_OP_READV")
def test_readv2_nowait(ring: RingFactory) -> None:
    """RWF_NOWAIT reads what is there, and ends where that would have to be waited for."""
    io_uring = ring(1)
    event = os.eventfd(0)
    try:
        buffers = [bytearray(4), bytearray(4)]
        for number, res in ((0, -errno.EAGAIN), (0x0102, 8)):
            if number:
                os.eventfd_write(event, number)
            io_uring.readv2(0x53, event, buffers, 0, os.RWF_NOWAIT)
            assert [completion(0x53, res)] == complete(io_uring, 1, "IORING_OP_READV with RWF_NOWAIT")
            assert number == int.from_bytes(b"".join(buffers), sys.byteorder)
    finally:
        os.close(event)


@pytest.mark.title("reads and writes with unknown flags")
@pytest.mark.symbols("IORING_OP_READV", "IORING_OP_WRITEV")
def test_readv2_writev2_refused(ring: RingFactory, scratch: Path) -> None:
    """What the kernel does not know it refuses, and writes nothing."""
    io_uring = ring(1)
    with opened(scratch / "file", CREATE) as fd:
        assert 4 == os.write(fd, b"0123")
        buffer = bytearray(4)
        io_uring.readv2(0x54, fd, [buffer], 0, _NO_RWF)
        assert [completion(0x54, -errno.EOPNOTSUPP)] == complete(io_uring, 1, "IORING_OP_READV")
        io_uring.writev2(0x55, fd, [b"x"], 0, _NO_RWF)
        assert [completion(0x55, -errno.EOPNOTSUPP)] == complete(io_uring, 1, "IORING_OP_WRITEV")
        assert [bytes(4), b"0123"] == [buffer, os.pread(fd, 8, 0)]


@pytest.mark.title("reads and writes at the file's position")
@pytest.mark.symbols("IORING_OP_READ", "IORING_OP_WRITE")
@pytest.mark.needs("feat-rw-cur-pos")
def test_current_position(ring: RingFactory, scratch: Path) -> None:
    """Offset -1 is where the file's position is, which moves; other offsets leave it."""
    io_uring = ring(1)
    with opened(scratch / "file", CREATE) as fd:
        for data in (b"0123", b"4567"):
            io_uring.write(0x61, fd, data, -1)
            assert [completion(0x61, 4)] == complete(io_uring, 1, "IORING_OP_WRITE at the position")
        assert 8 == os.lseek(fd, 0, os.SEEK_CUR)
        assert b"01234567" == os.pread(fd, 16, 0)

        os.lseek(fd, 2, os.SEEK_SET)
        buffer = bytearray(3)
        for offset, data, position in ((-1, b"234", 5), (0, b"012", 5), (-1, b"567", 8)):
            io_uring.read(0x62, fd, buffer, offset)
            assert [completion(0x62, 3)] == complete(io_uring, 1, "IORING_OP_READ at the position")
            assert data == buffer
            assert position == os.lseek(fd, 0, os.SEEK_CUR)


@pytest.mark.title("reads at the end of a file")
@pytest.mark.symbols("IORING_OP_READ", "IORING_OP_READV")
def test_short_reads(ring: RingFactory, scratch: Path) -> None:
    """A read gets what is there, and nothing behind the end; the rest of its memory is left alone."""
    io_uring = ring(1)
    with opened(scratch / "file", CREATE) as fd:
        assert 10 == os.write(fd, b"0123456789")
        for offset, count in ((4, 6), (10, 0), (99, 0)):
            content = b"0123456789"[offset : offset + count]
            one = bytearray(b"." * 8)
            io_uring.read(0x63, fd, one, offset)
            assert [completion(0x63, count)] == complete(io_uring, 1, "IORING_OP_READ at the end")
            assert content.ljust(8, b".") == one
            two = [bytearray(b".." * 2), bytearray(b".." * 2)]
            io_uring.read(0x64, fd, two, offset)
            assert [completion(0x64, count)] == complete(io_uring, 1, "IORING_OP_READV at the end")
            assert content.ljust(8, b".") == b"".join(two)


@pytest.mark.title("reads and writes, refused")
@pytest.mark.symbols("IORING_OP_READ", "IORING_OP_WRITE")
def test_reads_and_writes_refused(ring: RingFactory, scratch: Path) -> None:
    """A file is used only as it was opened, and memory that does not exist is nobody's."""
    io_uring = ring(1)
    path = scratch / "file"
    path.write_bytes(b"0123")
    with opened(path, os.O_WRONLY) as write_only, opened(path, os.O_RDONLY) as read_only:
        io_uring.read(0x65, write_only, bytearray(4), 0)
        assert [completion(0x65, -errno.EBADF)] == complete(io_uring, 1, "IORING_OP_READ")
        io_uring.write(0x66, read_only, b"abcd", 0)
        assert [completion(0x66, -errno.EBADF)] == complete(io_uring, 1, "IORING_OP_WRITE")
        # Nothing is ever mapped below 64 KiB (vm.mmap_min_addr).
        io_uring.read(0x67, read_only, bytearray(4), 0).addr = 8
        assert [completion(0x67, -errno.EFAULT)] == complete(io_uring, 1, "IORING_OP_READ")
    assert b"0123" == path.read_bytes()


@pytest.mark.title("silent writes")
@pytest.mark.symbols("IORING_OP_WRITE", "IOSQE_CQE_SKIP_SUCCESS", "IORING_OP_READ", "IOSQE_IO_LINK")
def test_silent_success(ring: RingFactory, scratch: Path) -> None:
    """IOSQE_CQE_SKIP_SUCCESS: a write that succeeds tells nothing, and one that fails does."""
    io_uring = ring(4)
    path = scratch / "file"
    with opened(path, CREATE) as fd, opened(path, os.O_RDONLY) as read_only:
        buffer = bytearray(4)
        sqe = io_uring.write(0x71, fd, b"0123", 0)
        sqe.flags |= IOSQE_CQE_SKIP_SUCCESS
        sqe.link_next()
        io_uring.read(0x72, fd, buffer, 0)
        assert [completion(0x72, 4)] == complete(io_uring, 1, "IORING_OP_READ behind a silent write")
        assert b"0123" == buffer
        io_uring.write(0x73, read_only, b"x", 0).flags |= IOSQE_CQE_SKIP_SUCCESS
        assert [completion(0x73, -errno.EBADF)] == complete(io_uring, 1, "a silent IORING_OP_WRITE that fails")
