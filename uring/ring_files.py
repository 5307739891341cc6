# ruff: noqa: A002, D402 - the argument names are Zig's, and naming a system call as read(2) is no signature
"""Operations of `IoUring` on files and directories: each queues one SQE and returns it."""

from __future__ import annotations

from .memory import is_buffer_list
from .opcodes import OP
from .ring_core import RingCore
from .selection import BufferSelection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .memory import Address, Iovecs, Path, Readable, Writable
    from .sqe import io_uring_sqe


class FileOperations(RingCore):
    """each queues one SQE and returns it."""

    __slots__ = ()

    def fsync(self, user_data: int, fd: int, flags: int) -> io_uring_sqe:
        """Queue fsync(2), or fdatasync(2) with IORING_FSYNC_DATASYNC. Since 5.1."""
        sqe = self.sq.vacant()
        sqe.prep_fsync(fd, flags)
        return self._take(sqe, user_data)

    def read(self, user_data: int, fd: int, buffer: Writable | Iovecs | BufferSelection, offset: int) -> io_uring_sqe:
        """Queue a read; offset -1 is the file's own position.

        Args:
            user_data: comes back in the completion.
            fd: descriptor, or slot with IOSQE_FIXED_FILE.
            buffer: a writable buffer (READ, since 5.6), a list, tuple or ctypes array of them (READV, since 5.1), or a
                `BufferSelection` (a provided buffer; READ, since 5.7).
            offset: in bytes.

        Raises:
            BufferNotWritable: the memory is read-only.
            SubmissionQueueFull: submit first.
        """
        sqe = self.sq.vacant()
        if isinstance(buffer, BufferSelection):
            sqe.prep_rw(OP.READ, fd, 0, buffer.len, offset)
            buffer.select(sqe)
        elif is_buffer_list(buffer):
            sqe.prep_readv(fd, buffer, offset)
        else:
            sqe.prep_read(fd, buffer, offset)  # type: ignore[arg-type]  # lists were sorted out above
        return self._take(sqe, user_data)

    def write(self, user_data: int, fd: int, buffer: Readable, offset: int) -> io_uring_sqe:
        """Queue pwrite(2); offset -1 is the file's own position. Since 5.6."""
        sqe = self.sq.vacant()
        sqe.prep_write(fd, buffer, offset)
        return self._take(sqe, user_data)

    def writev(self, user_data: int, fd: int, iovecs: Iovecs, offset: int) -> io_uring_sqe:
        """Queue pwritev(2) from a sequence of buffers. Since 5.1."""
        sqe = self.sq.vacant()
        sqe.prep_writev(fd, iovecs, offset)
        return self._take(sqe, user_data)

    def read_fixed(self, user_data: int, fd: int, buffer: Writable, offset: int, buffer_index: int) -> io_uring_sqe:
        """Queue a read into (part of) the registered buffer `buffer_index`. Since 5.1."""
        sqe = self.sq.vacant()
        sqe.prep_read_fixed(fd, buffer, offset, buffer_index)
        return self._take(sqe, user_data)

    def write_fixed(self, user_data: int, fd: int, buffer: Readable, offset: int, buffer_index: int) -> io_uring_sqe:
        """Queue a write from (part of) the registered buffer `buffer_index`. Since 5.1."""
        sqe = self.sq.vacant()
        sqe.prep_write_fixed(fd, buffer, offset, buffer_index)
        return self._take(sqe, user_data)

    def splice(self, user_data: int, fd_in: int, off_in: int, fd_out: int, off_out: int, len: int) -> io_uring_sqe:
        """Queue splice(2); the offset of a pipe is -1. Since 5.7."""
        sqe = self.sq.vacant()
        sqe.prep_splice(fd_in, off_in, fd_out, off_out, len)
        return self._take(sqe, user_data)

    def openat(self, user_data: int, fd: int, path: Path, flags: int, mode: int) -> io_uring_sqe:
        """Queue openat(2); the result is a descriptor. Since 5.6."""
        sqe = self.sq.vacant()
        sqe.prep_openat(fd, path, flags, mode)
        return self._take(sqe, user_data)

    def openat_direct(
        self, user_data: int, fd: int, path: Path, flags: int, mode: int, file_index: int
    ) -> io_uring_sqe:
        """Queue openat(2) into a slot of the file table. Since 5.15; older kernels return a descriptor instead."""
        sqe = self.sq.vacant()
        sqe.prep_openat_direct(fd, path, flags, mode, file_index)
        return self._take(sqe, user_data)

    def close(self, user_data: int, fd: int) -> io_uring_sqe:
        """Queue close(2). Since 5.6."""
        sqe = self.sq.vacant()
        sqe.prep_close(fd)
        return self._take(sqe, user_data)

    def close_direct(self, user_data: int, file_index: int) -> io_uring_sqe:
        """Queue emptying a slot of the file table. Since 5.15."""
        sqe = self.sq.vacant()
        sqe.prep_close_direct(file_index)
        return self._take(sqe, user_data)

    def fallocate(self, user_data: int, fd: int, mode: int, offset: int, len: int) -> io_uring_sqe:
        """Queue fallocate(2). Since 5.6."""
        sqe = self.sq.vacant()
        sqe.prep_fallocate(fd, mode, offset, len)
        return self._take(sqe, user_data)

    def ftruncate(self, user_data: int, fd: int, len: int) -> io_uring_sqe:
        """Queue ftruncate(2) to `len` bytes. Since 6.9."""
        sqe = self.sq.vacant()
        sqe.prep_ftruncate(fd, len)
        return self._take(sqe, user_data)

    def statx(self, user_data: int, fd: int, path: Path, flags: int, mask: int, buf: Address) -> io_uring_sqe:
        """Queue statx(2) into a `Statx`. Since 5.6."""
        sqe = self.sq.vacant()
        sqe.prep_statx(fd, path, flags, mask, buf)
        return self._take(sqe, user_data)

    def renameat(
        self, user_data: int, old_dir_fd: int, old_path: Path, new_dir_fd: int, new_path: Path, flags: int
    ) -> io_uring_sqe:
        """Queue renameat2(2). Since 5.11."""
        sqe = self.sq.vacant()
        sqe.prep_renameat(old_dir_fd, old_path, new_dir_fd, new_path, flags)
        return self._take(sqe, user_data)

    def unlinkat(self, user_data: int, dir_fd: int, path: Path, flags: int) -> io_uring_sqe:
        """Queue unlinkat(2). Since 5.11."""
        sqe = self.sq.vacant()
        sqe.prep_unlinkat(dir_fd, path, flags)
        return self._take(sqe, user_data)

    def mkdirat(self, user_data: int, dir_fd: int, path: Path, mode: int) -> io_uring_sqe:
        """Queue mkdirat(2). Since 5.15."""
        sqe = self.sq.vacant()
        sqe.prep_mkdirat(dir_fd, path, mode)
        return self._take(sqe, user_data)

    def symlinkat(self, user_data: int, target: Path, new_dir_fd: int, link_path: Path) -> io_uring_sqe:
        """Queue symlinkat(2). Since 5.15."""
        sqe = self.sq.vacant()
        sqe.prep_symlinkat(target, new_dir_fd, link_path)
        return self._take(sqe, user_data)

    def linkat(
        self, user_data: int, old_dir_fd: int, old_path: Path, new_dir_fd: int, new_path: Path, flags: int
    ) -> io_uring_sqe:
        """Queue linkat(2). Since 5.15."""
        sqe = self.sq.vacant()
        sqe.prep_linkat(old_dir_fd, old_path, new_dir_fd, new_path, flags)
        return self._take(sqe, user_data)

    def epoll_ctl(self, user_data: int, epfd: int, fd: int, op: int, ev: Address) -> io_uring_sqe:
        """Queue epoll_ctl(2) with an `epoll_event` or None. Since 5.6."""
        sqe = self.sq.vacant()
        sqe.prep_epoll_ctl(epfd, fd, op, ev)
        return self._take(sqe, user_data)
