"""`prep_*` of operations on names: open, status, directories, links, extended attributes."""

from __future__ import annotations

from ctypes import sizeof

from .memory import address_of, path_of, readable, writable, writable_address_of
from .opcodes import OP
from .sqe_fields import SqeFields, file_slot
from .structs import open_how

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .memory import Address, Path, Readable, Writable

# fcntl.h: paths begin at the current directory.
AT_FDCWD = -100


class PathPreps(SqeFields):
    """Operations on names."""

    __slots__ = ()

    def prep_openat(self, fd: int, path: Path, flags: int, mode: int) -> None:
        """openat(2); `flags` are os.O_* bits. Since 5.6."""
        address, pin = path_of(path)
        self._write(OP.OPENAT, fd, 0, address, mode, flags, pins=pin)

    def prep_open(self, path: Path, flags: int, mode: int) -> None:
        """open(2); `flags` are os.O_* bits. Since 5.6."""
        self.prep_openat(AT_FDCWD, path, flags, mode)

    def prep_openat_direct(self, fd: int, path: Path, flags: int, mode: int, file_index: int) -> None:
        """openat(2) into a slot of the file table. Since 5.15."""
        address, pin = path_of(path)
        self._write(OP.OPENAT, fd, 0, address, mode, flags, splice_fd_in=file_slot(file_index), pins=pin)

    def prep_open_direct(self, path: Path, flags: int, mode: int, file_index: int) -> None:
        """open(2) into a slot of the file table. Since 5.15."""
        self.prep_openat_direct(AT_FDCWD, path, flags, mode, file_index)

    def prep_openat2(self, fd: int, path: Path, how: Address) -> None:
        """openat2(2) with an `open_how`. Since 5.6."""
        self._openat2(fd, path, how, 0)

    def prep_openat2_direct(self, fd: int, path: Path, how: Address, file_index: int) -> None:
        """openat2(2) with an `open_how` into a slot of the file table. Since 5.15."""
        self._openat2(fd, path, how, file_slot(file_index))

    def _openat2(self, fd: int, path: Path, how: Address, slot: int) -> None:
        address, path_pin = path_of(path)
        instructions, how_pin = address_of(how)
        pins = (path_pin, how_pin)
        self._write(OP.OPENAT2, fd, instructions, address, sizeof(open_how), splice_fd_in=slot, pins=pins)

    def prep_statx(self, fd: int, path: Path, flags: int, mask: int, buf: Address) -> None:
        """statx(2) into a `Statx`. Since 5.6."""
        address, path_pin = path_of(path)
        result, result_pin = writable_address_of(buf)
        self._write(OP.STATX, fd, result, address, mask, flags, pins=(path_pin, result_pin))

    def prep_renameat(self, old_dir_fd: int, old_path: Path, new_dir_fd: int, new_path: Path, flags: int) -> None:
        """renameat2(2). Since 5.11."""
        self._two_paths(OP.RENAMEAT, old_dir_fd, old_path, new_dir_fd, new_path, flags)

    def prep_rename(self, old_path: Path, new_path: Path) -> None:
        """rename(2). Since 5.11."""
        self.prep_renameat(AT_FDCWD, old_path, AT_FDCWD, new_path, 0)

    def prep_linkat(self, old_dir_fd: int, old_path: Path, new_dir_fd: int, new_path: Path, flags: int) -> None:
        """linkat(2). Since 5.15."""
        self._two_paths(OP.LINKAT, old_dir_fd, old_path, new_dir_fd, new_path, flags)

    def prep_link(self, old_path: Path, new_path: Path, flags: int) -> None:
        """link(2), with the flags of linkat(2). Since 5.15."""
        self.prep_linkat(AT_FDCWD, old_path, AT_FDCWD, new_path, flags)

    def _two_paths(self, op: int, old_dir_fd: int, old_path: Path, new_dir_fd: int, new_path: Path, flags: int) -> None:
        old, old_pin = path_of(old_path)
        new, new_pin = path_of(new_path)
        # The second directory travels in the unsigned `len`; AT_FDCWD is negative.
        self._write(op, old_dir_fd, new, old, new_dir_fd & 0xFFFFFFFF, flags, pins=(old_pin, new_pin))

    def prep_unlinkat(self, dir_fd: int, path: Path, flags: int) -> None:
        """unlinkat(2). Since 5.11."""
        address, pin = path_of(path)
        self._write(OP.UNLINKAT, dir_fd, 0, address, 0, flags, pins=pin)

    def prep_unlink(self, path: Path, flags: int) -> None:
        """unlink(2), or rmdir(2) with the flag AT_REMOVEDIR of unlinkat(2). Since 5.11."""
        self.prep_unlinkat(AT_FDCWD, path, flags)

    def prep_mkdirat(self, dir_fd: int, path: Path, mode: int) -> None:
        """mkdirat(2). Since 5.15."""
        address, pin = path_of(path)
        self._write(OP.MKDIRAT, dir_fd, 0, address, mode, pins=pin)

    def prep_mkdir(self, path: Path, mode: int) -> None:
        """mkdir(2). Since 5.15."""
        self.prep_mkdirat(AT_FDCWD, path, mode)

    def prep_symlinkat(self, target: Path, new_dir_fd: int, link_path: Path) -> None:
        """symlinkat(2). Since 5.15."""
        address, target_pin = path_of(target)
        link, link_pin = path_of(link_path)
        self._write(OP.SYMLINKAT, new_dir_fd, link, address, pins=(target_pin, link_pin))

    def prep_symlink(self, target: Path, link_path: Path) -> None:
        """symlink(2). Since 5.15."""
        self.prep_symlinkat(target, AT_FDCWD, link_path)

    def prep_getxattr(self, name: Path, value: Writable, path: Path) -> None:
        """getxattr(2) into a writable buffer; into an empty one, the result is the value's size. Since 5.19."""
        self._xattr(OP.GETXATTR, 0, name, writable(value), path, 0)

    def prep_setxattr(self, name: Path, value: Readable, path: Path, flags: int) -> None:
        """setxattr(2); `flags` are os.XATTR_* bits. Since 5.19."""
        self._xattr(OP.SETXATTR, 0, name, readable(value), path, flags)

    def prep_fgetxattr(self, fd: int, name: Path, value: Writable) -> None:
        """fgetxattr(2) into a writable buffer; into an empty one, the result is the value's size. Since 5.19."""
        self._xattr(OP.FGETXATTR, fd, name, writable(value), 0, 0)

    def prep_fsetxattr(self, fd: int, name: Path, value: Readable, flags: int) -> None:
        """fsetxattr(2); `flags` are os.XATTR_* bits. Since 5.19."""
        self._xattr(OP.FSETXATTR, fd, name, readable(value), 0, flags)

    def _xattr(self, op: int, fd: int, name: Path, value: tuple[int, int, object], path: Path, flags: int) -> None:
        name_at, name_pin = path_of(name)
        address, size_bytes, pin = value
        path_at, path_pin = path_of(path)
        pins = (name_pin, pin, path_pin)
        self._write(op, fd, address, name_at, size_bytes, flags, addr3=path_at, pins=pins)
