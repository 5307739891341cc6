"""Files: read and write in every form, open, close, splice, allocate, stat, and registered files."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.support import CREATE, completion, opened, owned_fds
from conformance.zig.support import unsupported_if
from harness.unsupported import unsupported
from uring import IORING_OP, IOSQE_FIXED_FILE, IOSQE_IO_LINK, E

pytestmark = pytest.mark.group("Files")

#: linux/stat.h: the size is wanted, and was given.
STATX_SIZE = 0x200


@pytest.mark.zig("readv")
@pytest.mark.title("vectored read, registered file")
@pytest.mark.symbols("IORING_OP_READV", "IOSQE_FIXED_FILE", "IORING_REGISTER_FILES", "IORING_UNREGISTER_FILES")
@pytest.mark.since("5.4")
def test_readv(ring: RingFactory) -> None:
    """A vectored read through a registered file fills the buffer; a full submission queue says so.

    Zig: "readv"
    """
    io_uring = ring(1)
    with opened("/dev/zero", os.O_RDONLY) as fd:
        # One real file: a sparse set (-1) is younger than the registration itself.
        fd_index = 0
        io_uring.register_files([fd])

        buffer = bytearray([42] * 128)
        sqe = io_uring.read(0xCCCCCCCC, fd_index, [buffer], 0)
        assert IORING_OP.READV == sqe.opcode
        sqe.flags |= IOSQE_FIXED_FILE

        # None in Zig's ring of one entry; a mode may have larger ones.
        spare = len(io_uring.sq.sqes) - 1
        for _ in range(spare):
            io_uring.nop(0)
        with pytest.raises(uring.SubmissionQueueFull):
            io_uring.nop(0)
        assert 1 + spare == io_uring.submit()
        *_, cqe = sorted(io_uring.copy_cqe() for _ in range(1 + spare))
        assert completion(0xCCCCCCCC, len(buffer)) == cqe
        assert bytes(len(buffer)) == buffer

        io_uring.unregister_files()


@pytest.mark.zig("writev/fsync/readv")
@pytest.mark.title("vectored write and read, fsync, linked")
@pytest.mark.symbols("IORING_OP_WRITEV", "IORING_OP_FSYNC", "IORING_OP_READV", "IOSQE_IO_LINK")
@pytest.mark.since("5.4")
def test_writev_fsync_readv(ring: RingFactory, scratch: Path) -> None:
    """A chain of vectored write, fsync and vectored read keeps its order and its data.

    Zig: "writev/fsync/readv"
    """
    io_uring = ring(4)
    with opened(scratch / "test_io_uring_writev_fsync_readv", CREATE) as fd:
        buffer_write = bytes([42] * 128)
        buffer_read = bytearray(128)

        sqe_writev = io_uring.writev(0xDDDDDDDD, fd, [buffer_write], 17)
        assert IORING_OP.WRITEV == sqe_writev.opcode
        assert 17 == sqe_writev.off
        sqe_writev.flags |= IOSQE_IO_LINK

        sqe_fsync = io_uring.fsync(0xEEEEEEEE, fd, 0)
        assert IORING_OP.FSYNC == sqe_fsync.opcode
        assert fd == sqe_fsync.fd
        sqe_fsync.flags |= IOSQE_IO_LINK

        sqe_readv = io_uring.read(0xFFFFFFFF, fd, [buffer_read], 17)
        assert IORING_OP.READV == sqe_readv.opcode
        assert 17 == sqe_readv.off

        assert 3 == io_uring.sq_ready()
        assert 3 == io_uring.submit_and_wait(3)
        assert 0 == io_uring.sq_ready()
        assert 3 == io_uring.cq_ready()

        assert completion(0xDDDDDDDD, len(buffer_write)) == io_uring.copy_cqe()
        assert 2 == io_uring.cq_ready()

        assert completion(0xEEEEEEEE, 0) == io_uring.copy_cqe()
        assert 1 == io_uring.cq_ready()

        assert completion(0xFFFFFFFF, len(buffer_read)) == io_uring.copy_cqe()
        assert 0 == io_uring.cq_ready()

        assert buffer_write == buffer_read


@pytest.mark.zig("write/read")
@pytest.mark.title("write and read")
@pytest.mark.symbols("IORING_OP_WRITE", "IORING_OP_READ", "IOSQE_IO_LINK")
@pytest.mark.since("5.6")
def test_write_read(ring: RingFactory, scratch: Path) -> None:
    """A write at an offset and a read linked behind it give the same bytes.

    Zig: "write/read"
    """
    io_uring = ring(2)
    with opened(scratch / "test_io_uring_write_read", CREATE) as fd:
        buffer_write = bytes([97] * 20)
        buffer_read = bytearray([98] * 20)
        sqe_write = io_uring.write(0x11111111, fd, buffer_write, 10)
        assert IORING_OP.WRITE == sqe_write.opcode
        assert 10 == sqe_write.off
        sqe_write.flags |= IOSQE_IO_LINK
        sqe_read = io_uring.read(0x22222222, fd, buffer_read, 10)
        assert IORING_OP.READ == sqe_read.opcode
        assert 10 == sqe_read.off
        assert 2 == io_uring.submit()

        cqe_write = io_uring.copy_cqe()
        cqe_read = io_uring.copy_cqe()
        # Before 5.6 there is no other way to find out.
        unsupported_if(cqe_write, "IORING_OP_WRITE", E.INVAL)
        unsupported_if(cqe_read, "IORING_OP_READ", E.INVAL)
        assert completion(0x11111111, len(buffer_write)) == cqe_write
        assert completion(0x22222222, len(buffer_read)) == cqe_read
        assert buffer_write == buffer_read


@pytest.mark.zig("splice/read")
@pytest.mark.title("splice")
@pytest.mark.symbols("IORING_OP_SPLICE", "IORING_OP_READ", "IOSQE_IO_LINK")
@pytest.mark.since("5.7")
def test_splice_read(ring: RingFactory, scratch: Path) -> None:
    """Bytes go from a file into a pipe and from there into another file, and are read back from it.

    Zig: "splice/read"
    """
    io_uring = ring(4)
    with (
        opened(scratch / "test_io_uring_splice_src", CREATE) as fd_src,
        opened(scratch / "test_io_uring_splice_dst", CREATE) as fd_dst,
        owned_fds() as pipe_fds,
    ):
        buffer_write = bytes([97] * 20)
        buffer_read = bytearray([98] * 20)
        assert len(buffer_write) == os.write(fd_src, buffer_write)

        pipe_out, pipe_in = os.pipe()
        pipe_fds |= {pipe_out, pipe_in}
        # A pipe has no offsets: all bits set.
        pipe_offset = 2**64 - 1

        sqe_splice_to_pipe = io_uring.splice(0x11111111, fd_src, 0, pipe_in, pipe_offset, len(buffer_write))
        assert IORING_OP.SPLICE == sqe_splice_to_pipe.opcode
        assert 0 == sqe_splice_to_pipe.addr
        assert pipe_offset == sqe_splice_to_pipe.off
        sqe_splice_to_pipe.flags |= IOSQE_IO_LINK

        sqe_splice_from_pipe = io_uring.splice(0x22222222, pipe_out, pipe_offset, fd_dst, 10, len(buffer_write))
        assert IORING_OP.SPLICE == sqe_splice_from_pipe.opcode
        assert pipe_offset == sqe_splice_from_pipe.addr
        assert 10 == sqe_splice_from_pipe.off
        sqe_splice_from_pipe.flags |= IOSQE_IO_LINK

        sqe_read = io_uring.read(0x33333333, fd_dst, buffer_read, 10)
        assert IORING_OP.READ == sqe_read.opcode
        assert 10 == sqe_read.off
        assert 3 == io_uring.submit()

        cqe_splice_to_pipe = io_uring.copy_cqe()
        cqe_splice_from_pipe = io_uring.copy_cqe()
        cqe_read = io_uring.copy_cqe()
        unsupported_if(cqe_splice_to_pipe, "IORING_OP_SPLICE", E.INVAL)
        unsupported_if(cqe_splice_from_pipe, "IORING_OP_SPLICE", E.INVAL)
        unsupported_if(cqe_read, "IORING_OP_READ", E.INVAL)
        assert completion(0x11111111, len(buffer_write)) == cqe_splice_to_pipe
        assert completion(0x22222222, len(buffer_write)) == cqe_splice_from_pipe
        assert completion(0x33333333, len(buffer_read)) == cqe_read
        assert buffer_write == buffer_read


@pytest.mark.zig("write_fixed/read_fixed")
@pytest.mark.title("write and read, registered buffers")
@pytest.mark.symbols("IORING_OP_WRITE_FIXED", "IORING_OP_READ_FIXED", "IORING_REGISTER_BUFFERS", "IOSQE_IO_LINK")
@pytest.mark.since("5.4")
def test_write_fixed_read_fixed(ring: RingFactory, scratch: Path) -> None:
    """A registered buffer is written at an offset and read from the start into another: first a hole, then the data.

    Zig: "write_fixed/read_fixed"
    """
    io_uring = ring(2)
    with opened(scratch / "test_io_uring_write_read_fixed", CREATE) as fd:
        buffers = [bytearray(b"foobarzzzzz"), bytearray(11)]
        try:
            io_uring.register_buffers(buffers)
        except uring.SystemResources as error:
            # Not the kernel's lack but the limit on locked memory; ziglang/zig issue 15362.
            pytest.skip(f"the buffers cannot be registered: {error}; see RLIMIT_MEMLOCK")

        sqe_write = io_uring.write_fixed(0x45454545, fd, buffers[0], 3, 0)
        assert IORING_OP.WRITE_FIXED == sqe_write.opcode
        assert 3 == sqe_write.off
        sqe_write.flags |= IOSQE_IO_LINK

        sqe_read = io_uring.read_fixed(0x12121212, fd, buffers[1], 0, 1)
        assert IORING_OP.READ_FIXED == sqe_read.opcode
        assert 0 == sqe_read.off

        assert 2 == io_uring.submit()

        cqe_write = io_uring.copy_cqe()
        cqe_read = io_uring.copy_cqe()
        assert completion(0x45454545, len(buffers[0])) == cqe_write
        assert completion(0x12121212, len(buffers[1])) == cqe_read

        assert b"\0\0\0" == buffers[1][0:3]
        assert b"foobar" == buffers[1][3:9]
        assert b"zz" == buffers[1][9:11]


@pytest.mark.zig("openat")
@pytest.mark.title("open a file")
@pytest.mark.symbols("IORING_OP_OPENAT")
@pytest.mark.since("5.6")
def test_openat(ring: RingFactory, scratch: Path) -> None:
    """A file is created and opened relative to a directory, and its descriptor is the result.

    Zig: "openat"
    """
    io_uring = ring(1)
    path = "test_io_uring_openat"
    flags = os.O_CLOEXEC | os.O_RDWR | os.O_CREAT
    mode = 0o666

    with opened(scratch, os.O_DIRECTORY) as directory, owned_fds() as fds:
        sqe_openat = io_uring.openat(0x33333333, directory, path, flags, mode)
        # Zig's test knows the address of its path; here it has to be the address of the same characters.
        assert path.encode() == ctypes.string_at(sqe_openat.addr)
        expected = uring.io_uring_sqe(
            opcode=IORING_OP.OPENAT,
            fd=directory,
            addr=sqe_openat.addr,
            len=mode,
            rw_flags=flags,
            user_data=0x33333333,
        )
        assert expected == sqe_openat
        assert 1 == io_uring.submit()

        cqe_openat = io_uring.copy_cqe()
        assert 0x33333333 == cqe_openat.user_data
        unsupported_if(cqe_openat, "IORING_OP_OPENAT", E.INVAL, E.BADF)
        assert cqe_openat.res > 0
        fds.add(cqe_openat.res)
        assert 0 == cqe_openat.flags


@pytest.mark.zig("close")
@pytest.mark.title("close a file")
@pytest.mark.symbols("IORING_OP_CLOSE")
@pytest.mark.since("5.6")
def test_close(ring: RingFactory, scratch: Path) -> None:
    """An open file is closed.

    Zig: "close"
    """
    io_uring = ring(1)
    with owned_fds() as fds:
        fd = os.open(scratch / "test_io_uring_close", CREATE, 0o666)
        fds.add(fd)

        sqe_close = io_uring.close(0x44444444, fd)
        assert IORING_OP.CLOSE == sqe_close.opcode
        assert fd == sqe_close.fd
        assert 1 == io_uring.submit()

        cqe_close = io_uring.copy_cqe()
        unsupported_if(cqe_close, "IORING_OP_CLOSE", E.INVAL)
        if cqe_close.res == 0:
            fds.remove(fd)
        assert completion(0x44444444, 0) == cqe_close


@pytest.mark.zig("fallocate")
@pytest.mark.title("fallocate")
@pytest.mark.symbols("IORING_OP_FALLOCATE")
@pytest.mark.since("5.6")
def test_fallocate(ring: RingFactory, scratch: Path) -> None:
    """An empty file is given 64 KiB.

    Zig: "fallocate"
    """
    io_uring = ring(1)
    with opened(scratch / "test_io_uring_fallocate", CREATE) as fd:
        assert 0 == os.fstat(fd).st_size

        size_bytes = 65536
        sqe = io_uring.fallocate(0xAAAAAAAA, fd, 0, 0, size_bytes)
        assert IORING_OP.FALLOCATE == sqe.opcode
        assert fd == sqe.fd
        assert 1 == io_uring.submit()

        cqe = io_uring.copy_cqe()
        # The ring, the kernel, or the file system does not implement it.
        unsupported_if(cqe, "IORING_OP_FALLOCATE", E.INVAL, E.NOSYS, E.OPNOTSUPP)
        assert completion(0xAAAAAAAA, 0) == cqe

        assert size_bytes == os.fstat(fd).st_size


@pytest.mark.zig("statx")
@pytest.mark.title("statx")
@pytest.mark.symbols("IORING_OP_STATX")
@pytest.mark.since("5.6")
def test_statx(ring: RingFactory, scratch: Path) -> None:
    """A file's size is asked for, and comes back.

    Zig: "statx"
    """
    io_uring = ring(1)
    path = "test_io_uring_statx"
    with opened(scratch, os.O_DIRECTORY) as directory, opened(scratch / path, CREATE) as fd:
        assert 0 == os.fstat(fd).st_size
        assert 6 == os.write(fd, b"foobar")

        status = uring.Statx()
        sqe = io_uring.statx(0xAAAAAAAA, directory, path, 0, STATX_SIZE, status)
        assert IORING_OP.STATX == sqe.opcode
        assert directory == sqe.fd
        assert 1 == io_uring.submit()

        cqe = io_uring.copy_cqe()
        # The ring, the kernel, or the file system does not implement it; EBADF is what 5.4 says.
        refusals = (E.INVAL, E.NOSYS, E.OPNOTSUPP, E.BADF)
        unsupported_if(cqe, "IORING_OP_STATX", *refusals)
        assert completion(0xAAAAAAAA, 0) == cqe

        assert STATX_SIZE == status.mask & STATX_SIZE
        assert 6 == status.size


@pytest.mark.zig("register_files_update")
@pytest.mark.title("registered files, updated")
@pytest.mark.symbols(
    "IORING_REGISTER_FILES_UPDATE",
    "IORING_REGISTER_FILES",
    "IORING_OP_READ",
    "IORING_UNREGISTER_FILES",
    "IOSQE_FIXED_FILE",
)
@pytest.mark.since("5.6")
def test_register_files_update(ring: RingFactory) -> None:
    """Registered files are replaced and emptied place by place: a read works until its own place is empty.

    Zig: "register_files_update"
    """
    io_uring = ring(1)
    with opened("/dev/zero", os.O_RDONLY) as fd, opened("/dev/zero", os.O_RDONLY) as fd2:
        fd_index, fd_index2 = 0, 1
        registered_fds = [fd, -1]
        try:
            io_uring.register_files(registered_fds)
        except uring.FileDescriptorInvalid as error:
            unsupported("Sparse registered files are not supported", f"IORING_REGISTER_FILES of fd and -1: {error}")

        registered_fds[fd_index] = fd2
        registered_fds[fd_index2] = -1
        io_uring.register_files_update(0, registered_fds)

        buffer = bytearray([42] * 128)
        sqe = io_uring.read(0xCCCCCCCC, fd_index, buffer, 0)
        assert IORING_OP.READ == sqe.opcode
        sqe.flags |= IOSQE_FIXED_FILE
        assert 1 == io_uring.submit()
        assert completion(0xCCCCCCCC, len(buffer)) == io_uring.copy_cqe()
        assert bytes(len(buffer)) == buffer

        # With an offset that is not zero: the second place only, so that the next read still works.
        registered_fds[fd_index] = -1
        registered_fds[fd_index2] = -1
        io_uring.register_files_update(1, registered_fds[1:])

        sqe = io_uring.read(0xCCCCCCCC, fd_index, buffer, 0)
        assert IORING_OP.READ == sqe.opcode
        sqe.flags |= IOSQE_FIXED_FILE
        assert 1 == io_uring.submit()
        assert completion(0xCCCCCCCC, len(buffer)) == io_uring.copy_cqe()
        assert bytes(len(buffer)) == buffer

        # Both places are empty after this.
        io_uring.register_files_update(0, registered_fds)

        sqe = io_uring.read(0xCCCCCCCC, fd_index, buffer, 0)
        assert IORING_OP.READ == sqe.opcode
        sqe.flags |= IOSQE_FIXED_FILE
        assert 1 == io_uring.submit()
        assert E.BADF == io_uring.copy_cqe().err()

        io_uring.unregister_files()
