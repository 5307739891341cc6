# ruff: noqa: A002, D402 - the argument names are Zig's, and naming a system call as read(2) is no signature
"""Operations of `IoUring` on open files, memory and pipes: each queues one SQE and returns it."""

from __future__ import annotations

from .flags import IORING_SETUP_SQE_MIXED
from .memory import is_buffer_list
from .opcodes import OP
from .ring_paths import PathOperations
from .selection import BufferSelection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ctypes import Array, c_int32

    from .memory import Address, Fds, Iovecs, Readable, Writable
    from .sqe import io_uring_sqe
    from .structs import epoll_event


class FileOperations(PathOperations):
    """each queues one SQE and returns it."""

    __slots__ = ()

    def fsync(self, user_data: int, fd: int, flags: int) -> io_uring_sqe:
        """Queue fsync(2), or fdatasync(2) with IORING_FSYNC_DATASYNC. Since 5.1."""
        sqe = self.sq.vacant()
        sqe.prep_fsync(fd, flags)
        return self._take(sqe, user_data)

    def nop128(self, user_data: int) -> io_uring_sqe:
        """Queue a no-op of 128 bytes, in a ring with IORING_SETUP_SQE128 or IORING_SETUP_SQE_MIXED. Since 6.19."""
        if self.flags & IORING_SETUP_SQE_MIXED:
            sqe = self.sq.take_big()
            sqe.prep_nop128()
            sqe.user_data = user_data
            return sqe
        sqe = self.sq.vacant()
        sqe.prep_nop128()
        return self._take(sqe, user_data)

    def sync_file_range(self, user_data: int, fd: int, len: int, offset: int, flags: int) -> io_uring_sqe:
        """Queue sync_file_range(2); a length of 0 is up to the end of the file. Since 5.2."""
        sqe = self.sq.vacant()
        sqe.prep_sync_file_range(fd, len, offset, flags)
        return self._take(sqe, user_data)

    def fadvise(self, user_data: int, fd: int, offset: int, len: int, advice: int) -> io_uring_sqe:
        """Queue posix_fadvise(2); `advice` is one of os.POSIX_FADV_*, a length of 0 is up to the end. Since 5.6."""
        sqe = self.sq.vacant()
        sqe.prep_fadvise(fd, offset, len, advice)
        return self._take(sqe, user_data)

    def fadvise64(self, user_data: int, fd: int, offset: int, len: int, advice: int) -> io_uring_sqe:
        """Queue posix_fadvise(2) for lengths of 64 bits. Since 6.11."""
        sqe = self.sq.vacant()
        sqe.prep_fadvise64(fd, offset, len, advice)
        return self._take(sqe, user_data)

    def madvise(self, user_data: int, buffer: Readable, advice: int) -> io_uring_sqe:
        """Queue madvise(2) about a buffer that begins at a page; `advice` is one of mmap.MADV_*. Since 5.6."""
        sqe = self.sq.vacant()
        sqe.prep_madvise(buffer, advice)
        return self._take(sqe, user_data)

    def madvise64(self, user_data: int, buffer: Readable, advice: int) -> io_uring_sqe:
        """Queue madvise(2) about a buffer of 4 GiB or more. Since 6.11."""
        sqe = self.sq.vacant()
        sqe.prep_madvise64(buffer, advice)
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

    def readv2(self, user_data: int, fd: int, iovecs: Iovecs, offset: int, flags: int) -> io_uring_sqe:
        """Queue preadv2(2) into several writable buffers; `flags` are os.RWF_* bits. Since 5.1."""
        sqe = self.sq.vacant()
        sqe.prep_readv2(fd, iovecs, offset, flags)
        return self._take(sqe, user_data)

    def read_multishot(self, user_data: int, fd: int, nbytes: int, offset: int, buf_group: int) -> io_uring_sqe:
        """Queue reading again and again into buffers of a group; IORING_CQE_F_MORE is set while it goes on.

        Args:
            user_data: comes back in every completion.
            fd: a pipe or another file that can be polled.
            nbytes: 0, as many as a buffer takes; kernels up to 7.3 refuse another limit.
            offset: -1, or 0 for what has no position.
            buf_group: the group's ID.

        Since 6.7.
        """
        sqe = self.sq.vacant()
        sqe.prep_read_multishot(fd, nbytes, offset, buf_group)
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

    def writev2(self, user_data: int, fd: int, iovecs: Iovecs, offset: int, flags: int) -> io_uring_sqe:
        """Queue pwritev2(2) from several buffers; `flags` are os.RWF_* bits. Since 5.1."""
        sqe = self.sq.vacant()
        sqe.prep_writev2(fd, iovecs, offset, flags)
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

    def readv_fixed(
        self, user_data: int, fd: int, iovecs: Iovecs, offset: int, flags: int, buf_index: int
    ) -> io_uring_sqe:
        """Queue a read into several parts of the registered buffer `buf_index`. Since 6.15."""
        sqe = self.sq.vacant()
        sqe.prep_readv_fixed(fd, iovecs, offset, flags, buf_index)
        return self._take(sqe, user_data)

    def writev_fixed(
        self, user_data: int, fd: int, iovecs: Iovecs, offset: int, flags: int, buf_index: int
    ) -> io_uring_sqe:
        """Queue a write from several parts of the registered buffer `buf_index`. Since 6.15."""
        sqe = self.sq.vacant()
        sqe.prep_writev_fixed(fd, iovecs, offset, flags, buf_index)
        return self._take(sqe, user_data)

    def splice(self, user_data: int, fd_in: int, off_in: int, fd_out: int, off_out: int, len: int) -> io_uring_sqe:
        """Queue splice(2); the offset of a pipe is -1. Since 5.7."""
        sqe = self.sq.vacant()
        sqe.prep_splice(fd_in, off_in, fd_out, off_out, len)
        return self._take(sqe, user_data)

    def tee(self, user_data: int, fd_in: int, fd_out: int, nbytes: int, splice_flags: int) -> io_uring_sqe:
        """Queue tee(2) between two pipes. Since 5.8."""
        sqe = self.sq.vacant()
        sqe.prep_tee(fd_in, fd_out, nbytes, splice_flags)
        return self._take(sqe, user_data)

    def pipe(self, user_data: int, fds: Address, flags: int) -> io_uring_sqe:
        """Queue pipe2(2); `fds` is a ctypes array of two c_int32, or as much memory. Since 6.16."""
        sqe = self.sq.vacant()
        sqe.prep_pipe(fds, flags)
        return self._take(sqe, user_data)

    def pipe_direct(self, user_data: int, fds: Address, flags: int, file_index: int) -> io_uring_sqe:
        """Queue pipe2(2) into two slots of the file table, the second behind the first. Since 6.16."""
        sqe = self.sq.vacant()
        sqe.prep_pipe_direct(fds, flags, file_index)
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

    def fixed_fd_install(self, user_data: int, file_index: int, flags: int) -> io_uring_sqe:
        """Queue making a descriptor of a slot; `flags` are 0 or IORING_FIXED_FD_NO_CLOEXEC. Since 6.8."""
        sqe = self.sq.vacant()
        sqe.prep_fixed_fd_install(file_index, flags)
        return self._take(sqe, user_data)

    def files_update(self, user_data: int, fds: Fds, offset: int) -> io_uring_sqe:
        """Queue putting descriptors into the file table from slot `offset` on. Since 5.6."""
        sqe = self.sq.vacant()
        sqe.prep_files_update(fds, offset)
        return self._take(sqe, user_data)

    def files_update_alloc(self, user_data: int, fds: Array[c_int32]) -> io_uring_sqe:
        """Queue putting descriptors into free slots, whose numbers the kernel writes into the array. Since 5.19."""
        sqe = self.sq.vacant()
        sqe.prep_files_update_alloc(fds)
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

    def epoll_ctl(self, user_data: int, epfd: int, fd: int, op: int, ev: Address) -> io_uring_sqe:
        """Queue epoll_ctl(2) with an `epoll_event` or None. Since 5.6."""
        sqe = self.sq.vacant()
        sqe.prep_epoll_ctl(epfd, fd, op, ev)
        return self._take(sqe, user_data)

    def epoll_wait(self, user_data: int, epfd: int, events: Array[epoll_event], flags: int) -> io_uring_sqe:
        """Queue epoll_wait(2) for as many events as the array has. Since 6.15."""
        sqe = self.sq.vacant()
        sqe.prep_epoll_wait(epfd, events, flags)
        return self._take(sqe, user_data)
