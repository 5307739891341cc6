# ruff: noqa: D402 - naming a system call as read(2) is no signature
"""Operations of `IoUring` on names: each queues one SQE and returns it."""

from __future__ import annotations

from .ring_core import RingCore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .memory import Address, Path, Readable, Writable
    from .sqe import io_uring_sqe


class PathOperations(RingCore):
    """each queues one SQE and returns it."""

    __slots__ = ()

    def openat(self, user_data: int, fd: int, path: Path, flags: int, mode: int) -> io_uring_sqe:
        """Queue openat(2); the result is a descriptor. Since 5.6."""
        sqe = self.sq.vacant()
        sqe.prep_openat(fd, path, flags, mode)
        return self._take(sqe, user_data)

    def open(self, user_data: int, path: Path, flags: int, mode: int) -> io_uring_sqe:
        """Queue open(2); the result is a descriptor. Since 5.6."""
        sqe = self.sq.vacant()
        sqe.prep_open(path, flags, mode)
        return self._take(sqe, user_data)

    def openat_direct(
        self, user_data: int, fd: int, path: Path, flags: int, mode: int, file_index: int
    ) -> io_uring_sqe:
        """Queue openat(2) into a slot of the file table. Since 5.15; older kernels return a descriptor instead."""
        sqe = self.sq.vacant()
        sqe.prep_openat_direct(fd, path, flags, mode, file_index)
        return self._take(sqe, user_data)

    def open_direct(self, user_data: int, path: Path, flags: int, mode: int, file_index: int) -> io_uring_sqe:
        """Queue open(2) into a slot of the file table. Since 5.15; older kernels return a descriptor instead."""
        sqe = self.sq.vacant()
        sqe.prep_open_direct(path, flags, mode, file_index)
        return self._take(sqe, user_data)

    def openat2(self, user_data: int, fd: int, path: Path, how: Address) -> io_uring_sqe:
        """Queue openat2(2) with an `open_how`; the result is a descriptor. Since 5.6."""
        sqe = self.sq.vacant()
        sqe.prep_openat2(fd, path, how)
        return self._take(sqe, user_data)

    def openat2_direct(self, user_data: int, fd: int, path: Path, how: Address, file_index: int) -> io_uring_sqe:
        """Queue openat2(2) into a slot of the file table. Since 5.15; older kernels return a descriptor instead."""
        sqe = self.sq.vacant()
        sqe.prep_openat2_direct(fd, path, how, file_index)
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

    def rename(self, user_data: int, old_path: Path, new_path: Path) -> io_uring_sqe:
        """Queue rename(2). Since 5.11."""
        sqe = self.sq.vacant()
        sqe.prep_rename(old_path, new_path)
        return self._take(sqe, user_data)

    def unlinkat(self, user_data: int, dir_fd: int, path: Path, flags: int) -> io_uring_sqe:
        """Queue unlinkat(2). Since 5.11."""
        sqe = self.sq.vacant()
        sqe.prep_unlinkat(dir_fd, path, flags)
        return self._take(sqe, user_data)

    def unlink(self, user_data: int, path: Path, flags: int) -> io_uring_sqe:
        """Queue unlink(2), or rmdir(2) with the flag AT_REMOVEDIR of unlinkat(2). Since 5.11."""
        sqe = self.sq.vacant()
        sqe.prep_unlink(path, flags)
        return self._take(sqe, user_data)

    def mkdirat(self, user_data: int, dir_fd: int, path: Path, mode: int) -> io_uring_sqe:
        """Queue mkdirat(2). Since 5.15."""
        sqe = self.sq.vacant()
        sqe.prep_mkdirat(dir_fd, path, mode)
        return self._take(sqe, user_data)

    def mkdir(self, user_data: int, path: Path, mode: int) -> io_uring_sqe:
        """Queue mkdir(2). Since 5.15."""
        sqe = self.sq.vacant()
        sqe.prep_mkdir(path, mode)
        return self._take(sqe, user_data)

    def symlinkat(self, user_data: int, target: Path, new_dir_fd: int, link_path: Path) -> io_uring_sqe:
        """Queue symlinkat(2). Since 5.15."""
        sqe = self.sq.vacant()
        sqe.prep_symlinkat(target, new_dir_fd, link_path)
        return self._take(sqe, user_data)

    def symlink(self, user_data: int, target: Path, link_path: Path) -> io_uring_sqe:
        """Queue symlink(2). Since 5.15."""
        sqe = self.sq.vacant()
        sqe.prep_symlink(target, link_path)
        return self._take(sqe, user_data)

    def linkat(
        self, user_data: int, old_dir_fd: int, old_path: Path, new_dir_fd: int, new_path: Path, flags: int
    ) -> io_uring_sqe:
        """Queue linkat(2). Since 5.15."""
        sqe = self.sq.vacant()
        sqe.prep_linkat(old_dir_fd, old_path, new_dir_fd, new_path, flags)
        return self._take(sqe, user_data)

    def link(self, user_data: int, old_path: Path, new_path: Path, flags: int) -> io_uring_sqe:
        """Queue link(2), with the flags of linkat(2). Since 5.15."""
        sqe = self.sq.vacant()
        sqe.prep_link(old_path, new_path, flags)
        return self._take(sqe, user_data)

    def getxattr(self, user_data: int, name: Path, value: Writable, path: Path) -> io_uring_sqe:
        """Queue getxattr(2); into an empty buffer, the result is the value's size. Since 5.19."""
        sqe = self.sq.vacant()
        sqe.prep_getxattr(name, value, path)
        return self._take(sqe, user_data)

    def setxattr(self, user_data: int, name: Path, value: Readable, path: Path, flags: int) -> io_uring_sqe:
        """Queue setxattr(2); `flags` are os.XATTR_* bits. Since 5.19."""
        sqe = self.sq.vacant()
        sqe.prep_setxattr(name, value, path, flags)
        return self._take(sqe, user_data)

    def fgetxattr(self, user_data: int, fd: int, name: Path, value: Writable) -> io_uring_sqe:
        """Queue fgetxattr(2); into an empty buffer, the result is the value's size. Since 5.19."""
        sqe = self.sq.vacant()
        sqe.prep_fgetxattr(fd, name, value)
        return self._take(sqe, user_data)

    def fsetxattr(self, user_data: int, fd: int, name: Path, value: Readable, flags: int) -> io_uring_sqe:
        """Queue fsetxattr(2); `flags` are os.XATTR_* bits. Since 5.19."""
        sqe = self.sq.vacant()
        sqe.prep_fsetxattr(fd, name, value, flags)
        return self._take(sqe, user_data)
