"""`prep_*` of operations on open files, memory and pipes, in Zig's argument order."""

from __future__ import annotations

from ctypes import addressof

from .flags import IOSQE_BUFFER_SELECT, IOSQE_FIXED_FILE
from .memory import address_of, iovecs_of, readable, writable, writable_address_of
from .opcodes import OP
from .prep_paths import PathPreps
from .sqe_fields import file_slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ctypes import Array

    from .memory import Address, Iovecs, Readable, Writable, iovec
    from .structs import epoll_event


class FilePreps(PathPreps):
    """Operations on open files, memory and pipes."""

    __slots__ = ()

    def prep_nop(self) -> None:
        """Do nothing. Since 5.1."""
        self._write(OP.NOP, 0)

    def prep_nop128(self) -> None:
        """Do nothing, with an entry of 128 bytes. Since 6.19."""
        self._write(OP.NOP128, -1)

    def prep_rw(self, op: int, fd: int, addr: int, len: int, offset: int) -> None:  # noqa: A002 - the field's name
        """The common shape: operation, descriptor, raw address, length, offset. The caller keeps the memory alive."""
        self._write(op, fd, offset, addr, len)

    def prep_fsync(self, fd: int, flags: int) -> None:
        """fsync(2), or fdatasync(2) with IORING_FSYNC_DATASYNC. Since 5.1."""
        self._write(OP.FSYNC, fd, rw_flags=flags)

    def prep_sync_file_range(self, fd: int, len: int, offset: int, flags: int) -> None:  # noqa: A002
        """sync_file_range(2); a length of 0 is up to the end of the file. Since 5.2."""
        self._write(OP.SYNC_FILE_RANGE, fd, offset, 0, len, flags)

    def prep_fadvise(self, fd: int, offset: int, len: int, advice: int) -> None:  # noqa: A002
        """posix_fadvise(2); `advice` is one of os.POSIX_FADV_*, a length of 0 is up to the end. Since 5.6."""
        self._write(OP.FADVISE, fd, offset, 0, len, advice)

    def prep_fadvise64(self, fd: int, offset: int, len: int, advice: int) -> None:  # noqa: A002
        """posix_fadvise(2) for lengths of 64 bits. Since 6.11."""
        self._write(OP.FADVISE, fd, offset, len, 0, advice)

    def prep_madvise(self, buffer: Readable, advice: int) -> None:
        """madvise(2) about a buffer that begins at a page; `advice` is one of mmap.MADV_*. Since 5.6."""
        address, size_bytes, pin = readable(buffer)
        self._write(OP.MADVISE, -1, 0, address, size_bytes, advice, pins=pin)

    def prep_madvise64(self, buffer: Readable, advice: int) -> None:
        """madvise(2) about a buffer of 4 GiB or more. Since 6.11."""
        address, size_bytes, pin = readable(buffer)
        self._write(OP.MADVISE, -1, size_bytes, address, 0, advice, pins=pin)

    def prep_read(self, fd: int, buffer: Writable, offset: int) -> None:
        """pread(2) into a writable buffer; offset -1 is the file's own position. Since 5.6."""
        address, size_bytes, pin = writable(buffer)
        self._write(OP.READ, fd, offset, address, size_bytes, pins=pin)

    def prep_read_multishot(self, fd: int, nbytes: int, offset: int, buf_group: int) -> None:
        """Read again and again into buffers of a group; kernels up to 7.3 want 0 for `nbytes`. Since 6.7."""
        self._write(OP.READ_MULTISHOT, fd, offset, 0, nbytes, buf_index=buf_group)
        self.flags = IOSQE_BUFFER_SELECT

    def prep_write(self, fd: int, buffer: Readable, offset: int) -> None:
        """pwrite(2); offset -1 is the file's own position. Since 5.6."""
        address, size_bytes, pin = readable(buffer)
        self._write(OP.WRITE, fd, offset, address, size_bytes, pins=pin)

    def prep_readv(self, fd: int, iovecs: Iovecs, offset: int) -> None:
        """preadv(2) into several writable buffers. Since 5.1."""
        self.prep_readv2(fd, iovecs, offset, 0)

    def prep_readv2(self, fd: int, iovecs: Iovecs, offset: int, flags: int) -> None:
        """preadv2(2) into several writable buffers; `flags` are os.RWF_* bits. Since 5.1."""
        address, count, pin = iovecs_of(iovecs, is_written=True)
        self._write(OP.READV, fd, offset, address, count, flags, pins=pin)

    def prep_writev(self, fd: int, iovecs: Iovecs, offset: int) -> None:
        """pwritev(2) from several buffers. Since 5.1."""
        self.prep_writev2(fd, iovecs, offset, 0)

    def prep_writev2(self, fd: int, iovecs: Iovecs, offset: int, flags: int) -> None:
        """pwritev2(2) from several buffers; `flags` are os.RWF_* bits. Since 5.1."""
        address, count, pin = iovecs_of(iovecs, is_written=False)
        self._write(OP.WRITEV, fd, offset, address, count, flags, pins=pin)

    def prep_read_fixed(self, fd: int, buffer: Writable | iovec, offset: int, buffer_index: int) -> None:
        """Read into part of registered buffer `buffer_index`. Since 5.1."""
        address, size_bytes, pin = writable(buffer)
        self._write(OP.READ_FIXED, fd, offset, address, size_bytes, buf_index=buffer_index, pins=pin)

    def prep_write_fixed(self, fd: int, buffer: Readable | iovec, offset: int, buffer_index: int) -> None:
        """Write from part of registered buffer `buffer_index`. Since 5.1."""
        address, size_bytes, pin = readable(buffer)
        self._write(OP.WRITE_FIXED, fd, offset, address, size_bytes, buf_index=buffer_index, pins=pin)

    def prep_readv_fixed(self, fd: int, iovecs: Iovecs, offset: int, flags: int, buf_index: int) -> None:
        """preadv2(2) into several parts of registered buffer `buf_index`. Since 6.15."""
        address, count, pin = iovecs_of(iovecs, is_written=True)
        self._write(OP.READV_FIXED, fd, offset, address, count, flags, buf_index=buf_index, pins=pin)

    def prep_writev_fixed(self, fd: int, iovecs: Iovecs, offset: int, flags: int, buf_index: int) -> None:
        """pwritev2(2) from several parts of registered buffer `buf_index`. Since 6.15."""
        address, count, pin = iovecs_of(iovecs, is_written=False)
        self._write(OP.WRITEV_FIXED, fd, offset, address, count, flags, buf_index=buf_index, pins=pin)

    def prep_splice(self, fd_in: int, off_in: int, fd_out: int, off_out: int, len: int) -> None:  # noqa: A002
        """splice(2); the offset of a pipe is -1. Since 5.7."""
        self._write(OP.SPLICE, fd_out, off_out, off_in, len, splice_fd_in=fd_in)

    def prep_tee(self, fd_in: int, fd_out: int, nbytes: int, splice_flags: int) -> None:
        """tee(2) between two pipes. Since 5.8."""
        self._write(OP.TEE, fd_out, 0, 0, nbytes, splice_flags, splice_fd_in=fd_in)

    def prep_pipe(self, fds: Address, flags: int) -> None:
        """pipe2(2); the kernel writes two descriptors of 32 bits into `fds`. Since 6.16."""
        self._pipe(fds, flags, 0)

    def prep_pipe_direct(self, fds: Address, flags: int, file_index: int) -> None:
        """pipe2(2) into two slots of the file table, the second behind the first. Since 6.16."""
        self._pipe(fds, flags, file_slot(file_index))

    def _pipe(self, fds: Address, flags: int, slot: int) -> None:
        address, pin = writable_address_of(fds)
        self._write(OP.PIPE, 0, 0, address, 0, flags, splice_fd_in=slot, pins=pin)

    def prep_close(self, fd: int) -> None:
        """close(2). Since 5.6."""
        self._write(OP.CLOSE, fd)

    def prep_close_direct(self, file_index: int) -> None:
        """Empty a slot of the file table. Since 5.15."""
        self._write(OP.CLOSE, 0, splice_fd_in=file_slot(file_index))

    def prep_fixed_fd_install(self, file_index: int, flags: int) -> None:
        """Make a descriptor of a slot; `flags` are 0 or IORING_FIXED_FD_NO_CLOEXEC. Since 6.8."""
        self._write(OP.FIXED_FD_INSTALL, file_index, rw_flags=flags)
        self.flags = IOSQE_FIXED_FILE

    def prep_fallocate(self, fd: int, mode: int, offset: int, len: int) -> None:  # noqa: A002 - the call's name
        """fallocate(2). Since 5.6."""
        self._write(OP.FALLOCATE, fd, offset, len, mode)

    def prep_ftruncate(self, fd: int, len: int) -> None:  # noqa: A002 - the call's name
        """ftruncate(2). Since 6.9."""
        self._write(OP.FTRUNCATE, fd, len)

    def prep_epoll_ctl(self, epfd: int, fd: int, op: int, ev: Address) -> None:
        """epoll_ctl(2) with an `epoll_event` or None. Since 5.6."""
        address, pin = address_of(ev)
        self._write(OP.EPOLL_CTL, epfd, fd, address, op, pins=pin)

    def prep_epoll_wait(self, epfd: int, events: Array[epoll_event], flags: int) -> None:
        """epoll_wait(2) for as many events as the array has. Since 6.15."""
        self._write(OP.EPOLL_WAIT, epfd, 0, addressof(events), len(events), flags, pins=events)
