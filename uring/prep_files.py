"""`prep_*` of file and directory operations, in Zig's argument order."""

from __future__ import annotations

from .memory import address_of, iovecs_of, path_of, readable, writable, writable_address_of
from .opcodes import OP
from .sqe_fields import SqeFields, file_slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .memory import Address, Iovecs, Path, Readable, Writable, iovec


class FilePreps(SqeFields):
    """File and directory operations."""

    __slots__ = ()

    def prep_nop(self) -> None:
        """Do nothing. Since 5.1."""
        self._write(OP.NOP, 0)

    def prep_rw(self, op: int, fd: int, addr: int, len: int, offset: int) -> None:  # noqa: A002 - the field's name
        """The common shape: operation, descriptor, raw address, length, offset. The caller keeps the memory alive."""
        self._write(op, fd, offset, addr, len)

    def prep_fsync(self, fd: int, flags: int) -> None:
        """fsync(2), or fdatasync(2) with IORING_FSYNC_DATASYNC. Since 5.1."""
        self._write(OP.FSYNC, fd, rw_flags=flags)

    def prep_read(self, fd: int, buffer: Writable, offset: int) -> None:
        """pread(2) into a writable buffer; offset -1 is the file's own position. Since 5.6."""
        address, size_bytes, pin = writable(buffer)
        self._write(OP.READ, fd, offset, address, size_bytes, pins=pin)

    def prep_write(self, fd: int, buffer: Readable, offset: int) -> None:
        """pwrite(2); offset -1 is the file's own position. Since 5.6."""
        address, size_bytes, pin = readable(buffer)
        self._write(OP.WRITE, fd, offset, address, size_bytes, pins=pin)

    def prep_readv(self, fd: int, iovecs: Iovecs, offset: int) -> None:
        """preadv(2) into several writable buffers. Since 5.1."""
        address, count, pin = iovecs_of(iovecs, is_written=True)
        self._write(OP.READV, fd, offset, address, count, pins=pin)

    def prep_writev(self, fd: int, iovecs: Iovecs, offset: int) -> None:
        """pwritev(2) from several buffers. Since 5.1."""
        address, count, pin = iovecs_of(iovecs, is_written=False)
        self._write(OP.WRITEV, fd, offset, address, count, pins=pin)

    def prep_read_fixed(self, fd: int, buffer: Writable | iovec, offset: int, buffer_index: int) -> None:
        """Read into part of registered buffer `buffer_index`. Since 5.1."""
        address, size_bytes, pin = writable(buffer)
        self._write(OP.READ_FIXED, fd, offset, address, size_bytes, buf_index=buffer_index, pins=pin)

    def prep_write_fixed(self, fd: int, buffer: Readable | iovec, offset: int, buffer_index: int) -> None:
        """Write from part of registered buffer `buffer_index`. Since 5.1."""
        address, size_bytes, pin = readable(buffer)
        self._write(OP.WRITE_FIXED, fd, offset, address, size_bytes, buf_index=buffer_index, pins=pin)

    def prep_splice(self, fd_in: int, off_in: int, fd_out: int, off_out: int, len: int) -> None:  # noqa: A002
        """splice(2); the offset of a pipe is -1. Since 5.7."""
        self._write(OP.SPLICE, fd_out, off_out, off_in, len, splice_fd_in=fd_in)

    def prep_openat(self, fd: int, path: Path, flags: int, mode: int) -> None:
        """openat(2); `flags` are os.O_* bits. Since 5.6."""
        address, pin = path_of(path)
        self._write(OP.OPENAT, fd, 0, address, mode, flags, pins=pin)

    def prep_openat_direct(self, fd: int, path: Path, flags: int, mode: int, file_index: int) -> None:
        """openat(2) into a slot of the file table. Since 5.15."""
        address, pin = path_of(path)
        self._write(OP.OPENAT, fd, 0, address, mode, flags, splice_fd_in=file_slot(file_index), pins=pin)

    def prep_close(self, fd: int) -> None:
        """close(2). Since 5.6."""
        self._write(OP.CLOSE, fd)

    def prep_close_direct(self, file_index: int) -> None:
        """Empty a slot of the file table. Since 5.15."""
        self._write(OP.CLOSE, 0, splice_fd_in=file_slot(file_index))

    def prep_fallocate(self, fd: int, mode: int, offset: int, len: int) -> None:  # noqa: A002 - the call's name
        """fallocate(2). Since 5.6."""
        self._write(OP.FALLOCATE, fd, offset, len, mode)

    def prep_ftruncate(self, fd: int, len: int) -> None:  # noqa: A002 - the call's name
        """ftruncate(2). Since 6.9."""
        self._write(OP.FTRUNCATE, fd, len)

    def prep_statx(self, fd: int, path: Path, flags: int, mask: int, buf: Address) -> None:
        """statx(2) into a `Statx`. Since 5.6."""
        address, path_pin = path_of(path)
        result, result_pin = writable_address_of(buf)
        self._write(OP.STATX, fd, result, address, mask, flags, pins=(path_pin, result_pin))

    def prep_renameat(self, old_dir_fd: int, old_path: Path, new_dir_fd: int, new_path: Path, flags: int) -> None:
        """renameat2(2). Since 5.11."""
        self._two_paths(OP.RENAMEAT, old_dir_fd, old_path, new_dir_fd, new_path, flags)

    def prep_linkat(self, old_dir_fd: int, old_path: Path, new_dir_fd: int, new_path: Path, flags: int) -> None:
        """linkat(2). Since 5.15."""
        self._two_paths(OP.LINKAT, old_dir_fd, old_path, new_dir_fd, new_path, flags)

    def _two_paths(self, op: int, old_dir_fd: int, old_path: Path, new_dir_fd: int, new_path: Path, flags: int) -> None:
        old, old_pin = path_of(old_path)
        new, new_pin = path_of(new_path)
        # The second directory travels in the unsigned `len`; AT_FDCWD is negative.
        self._write(op, old_dir_fd, new, old, new_dir_fd & 0xFFFFFFFF, flags, pins=(old_pin, new_pin))

    def prep_unlinkat(self, dir_fd: int, path: Path, flags: int) -> None:
        """unlinkat(2). Since 5.11."""
        address, pin = path_of(path)
        self._write(OP.UNLINKAT, dir_fd, 0, address, 0, flags, pins=pin)

    def prep_mkdirat(self, dir_fd: int, path: Path, mode: int) -> None:
        """mkdirat(2). Since 5.15."""
        address, pin = path_of(path)
        self._write(OP.MKDIRAT, dir_fd, 0, address, mode, pins=pin)

    def prep_symlinkat(self, target: Path, new_dir_fd: int, link_path: Path) -> None:
        """symlinkat(2). Since 5.15."""
        address, target_pin = path_of(target)
        link, link_pin = path_of(link_path)
        self._write(OP.SYMLINKAT, new_dir_fd, link, address, pins=(target_pin, link_pin))

    def prep_epoll_ctl(self, epfd: int, fd: int, op: int, ev: Address) -> None:
        """epoll_ctl(2) with an `epoll_event` or None. Since 5.6."""
        address, pin = address_of(ev)
        self._write(OP.EPOLL_CTL, epfd, fd, address, op, pins=pin)
