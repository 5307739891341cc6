"""Registrations of files and buffers: tables, with tags and without, updates, clones."""

from __future__ import annotations

from ctypes import Array, addressof, c_uint64, sizeof
from errno import EFAULT

from . import errno_tables as tables
from .errors import ArgumentOutOfRange, BufferInvalid
from .flags import IORING_RSRC_REGISTER_SPARSE
from .memory import fds_of, iovec, iovecs_of
from .opcodes import IORING_REGISTER as R
from .ring_control import ControlOperations
from .structs import (
    io_uring_clone_buffers,
    io_uring_file_index_range,
    io_uring_files_update,
    io_uring_rsrc_register,
    io_uring_rsrc_update2,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from .memory import Fds, Iovecs

_REGISTERED_BYTES_MAX = 1 << 30


class ResourceRegistrations(ControlOperations):
    """Tables of files and of buffers.

    A *tag* other than 0 comes back as the `user_data` of a completion once its file or buffer was replaced or taken
    away and no request uses it any more.
    """

    __slots__ = ()

    # ---- files

    def register_files(self, fds: Fds) -> None:
        """Make a table of open files, addressed by slot with IOSQE_FIXED_FILE; -1 leaves a slot empty (since 5.5).

        Raises:
            FileDescriptorInvalid: a descriptor is not open, or the kernel has no empty slots.
            FilesAlreadyRegistered, FilesEmpty, UserFdQuotaExceeded, SystemResources,
            RingShuttingDownOrAlreadyRegisteringFiles: EBUSY, EINVAL, EMFILE, ENOMEM, ENXIO.

        Since 5.1. Source: io_uring_register(2).
        """
        address, count, pin = fds_of(fds)
        self._register(R.REGISTER_FILES, address, count, tables.REGISTER_FILES, f"register_files of {count} files")
        del pin

    def register_files_tags(self, fds: Fds, tags: Sequence[int]) -> None:
        """Make a table of open files, each with a tag. Since 5.13. Raises as `register_files`."""
        address, count, pin = fds_of(fds)
        labels = _tags(tags, count)
        request = io_uring_rsrc_register(nr=count, data=address, tags=addressof(labels))
        call = f"register_files_tags of {count} files"
        self._register(R.REGISTER_FILES2, addressof(request), sizeof(request), tables.REGISTER_FILES, call)
        del pin

    def register_files_sparse(self, nr_files: int) -> None:
        """Make a table of empty slots. Since 5.19. Raises as `register_files`."""
        request = io_uring_rsrc_register(nr=nr_files, flags=IORING_RSRC_REGISTER_SPARSE)
        call = f"register_files_sparse of {nr_files} slots"
        self._register(R.REGISTER_FILES2, addressof(request), sizeof(request), tables.REGISTER_FILES, call)

    def register_files_update(self, offset: int, fds: Fds) -> int:
        """Replace files of the table from slot `offset` on; -1 empties a slot, IORING_REGISTER_FILES_SKIP keeps it.

        Returns:
            Slots that were gone through: fewer than `fds` where one in the middle is refused.

        Raises:
            FilesNotRegistered: ENXIO, there is no table (Zig: RingShuttingDownOrAlreadyRegisteringFiles).
            FilesEmpty: EINVAL, no files or a slot outside of the table.
            FileDescriptorInvalid, UserFdQuotaExceeded, SystemResources: EBADF, EMFILE, ENOMEM.

        Since 5.5. Source: io_uring_register(2).
        """
        address, count, pin = fds_of(fds)
        update = io_uring_files_update(offset=offset, resv=0, fds=address)
        call = f"register_files_update of {count} files at {offset}"
        done = self._register(R.REGISTER_FILES_UPDATE, addressof(update), count, tables.REGISTER_FILES_UPDATE, call)
        del pin
        return done

    def register_files_update_tag(self, offset: int, fds: Fds, tags: Sequence[int]) -> int:
        """Replace files of the table and their tags. Since 5.13. Returns and raises as `register_files_update`."""
        address, count, pin = fds_of(fds)
        labels = _tags(tags, count)
        update = io_uring_rsrc_update2(offset=offset, data=address, tags=addressof(labels), nr=count)
        call = f"register_files_update_tag of {count} files at {offset}"
        table = tables.REGISTER_FILES_UPDATE
        done = self._register(R.REGISTER_FILES_UPDATE2, addressof(update), sizeof(update), table, call)
        del pin
        return done

    def register_file_alloc_range(self, offset: int, len: int) -> None:  # noqa: A002 - Zig's name
        """Choose slots only from this part of the table where the kernel chooses (IORING_FILE_INDEX_ALLOC).

        Raises:
            ArgumentsInvalid: EINVAL or EOVERFLOW, not within the table.

        Since 6.0. Source: io_uring_register(2). Zig 0.15 and 0.16 pass a size where the kernel wants 0.
        """
        request = io_uring_file_index_range(off=offset, len=len)
        call = f"register_file_alloc_range({offset}, {len})"
        self._register(R.REGISTER_FILE_ALLOC_RANGE, addressof(request), 0, tables.REGISTER_FILE_ALLOC_RANGE, call)

    def unregister_files(self) -> None:
        """Give up the file table. Since 5.1.

        Raises:
            FilesNotRegistered: there is none.
        """
        self._register(R.UNREGISTER_FILES, 0, 0, tables.UNREGISTER_FILES, "unregister_files")

    # ---- buffers

    def register_buffers(self, buffers: Iovecs) -> None:
        """Pin buffers for `read_fixed`, `write_fixed` and `send_zc_fixed`; they stay alive until unregistered.

        Args:
            buffers: writable buffers or `iovec`s, 1 to 16384, up to 1 GiB each; an empty one leaves a slot empty
                (since 5.13).

        Raises:
            BuffersAlreadyRegistered: EBUSY (Zig: FilesAlreadyRegistered).
            SystemResources: ENOMEM, often RLIMIT_MEMLOCK.
            ArgumentsInvalid, BufferInvalid, BufferNotSupported: EINVAL, EFAULT, EOPNOTSUPP.

        Since 5.1. Source: io_uring_register(2).
        """
        address, count, pin = iovecs_of(buffers, is_written=True)
        call = f"register_buffers of {count} buffers"
        try:
            self._register(R.REGISTER_BUFFERS, address, count, tables.REGISTER_BUFFERS, call)
        except BufferInvalid:
            _name_too_large(address, count, call)
            raise
        self._hold_buffers(0, count, pin)

    def register_buffers_tags(self, buffers: Iovecs, tags: Sequence[int]) -> None:
        """Pin buffers, each with a tag. Since 5.13. Raises as `register_buffers`."""
        address, count, pin = iovecs_of(buffers, is_written=True)
        labels = _tags(tags, count)
        request = io_uring_rsrc_register(nr=count, data=address, tags=addressof(labels))
        call = f"register_buffers_tags of {count} buffers"
        try:
            self._register(R.REGISTER_BUFFERS2, addressof(request), sizeof(request), tables.REGISTER_BUFFERS, call)
        except BufferInvalid:
            _name_too_large(address, count, call)
            raise
        self._hold_buffers(0, count, pin)

    def register_buffers_sparse(self, nr: int) -> None:
        """Make a table of empty slots, for `register_buffers_update_tag`. Since 5.19. Raises as `register_buffers`."""
        request = io_uring_rsrc_register(nr=nr, flags=IORING_RSRC_REGISTER_SPARSE)
        call = f"register_buffers_sparse of {nr} slots"
        self._register(R.REGISTER_BUFFERS2, addressof(request), sizeof(request), tables.REGISTER_BUFFERS, call)

    def register_buffers_update_tag(self, offset: int, buffers: Iovecs, tags: Sequence[int]) -> int:
        """Replace buffers of the table from slot `offset` on, and their tags; an empty one empties its slot.

        Returns:
            Slots that were gone through: fewer than `buffers` where one in the middle is refused.

        Raises:
            BuffersNotRegistered: ENXIO, there is no table.
            ArgumentsInvalid, BufferInvalid, BufferNotSupported, SystemResources: EINVAL, EFAULT, EOPNOTSUPP, ENOMEM.

        Since 5.13. Source: io_uring_register(2).
        """
        address, count, pin = iovecs_of(buffers, is_written=True)
        labels = _tags(tags, count)
        update = io_uring_rsrc_update2(offset=offset, data=address, tags=addressof(labels), nr=count)
        call = f"register_buffers_update_tag of {count} buffers at {offset}"
        table = tables.REGISTER_BUFFERS_UPDATE
        try:
            done = self._register(R.REGISTER_BUFFERS_UPDATE, addressof(update), sizeof(update), table, call)
        except BufferInvalid:
            _name_too_large(address, count, call)
            raise
        self._hold_buffers(offset, done, pin)
        return done

    def clone_buffers(self, source: Self) -> None:
        """Use the registered buffers of another ring, too, in the same slots; this ring must have none.

        Raises:
            BuffersAlreadyRegistered: EBUSY, this ring has buffers.
            BuffersNotRegistered: ENXIO, the other one has none.
            ArgumentsInvalid, SystemResources: EINVAL (no such registration, or another user's ring), ENOMEM.

        Since 6.12. Source: io_uring_clone_buffers(3).
        """
        self.clone_buffers_offset(source, 0, 0, 0, 0)

    def clone_buffers_offset(self, source: Self, dst_off: int, src_off: int, nr: int, flags: int) -> None:
        """Use some registered buffers of another ring, too.

        Args:
            source: the other ring.
            dst_off: this ring's slot for the first of them.
            src_off: the other ring's slot of the first of them.
            nr: how many; 0 is all.
            flags: IORING_REGISTER_DST_REPLACE lets this ring have buffers, which are replaced.

        Raises:
            ArgumentsInvalid: also EOVERFLOW, the other ring has not as many.
            And everything `clone_buffers` raises.

        Since 6.13. Source: io_uring_clone_buffers(3).
        """
        self._check_open()
        source._check_open()
        request = io_uring_clone_buffers(src_fd=source.fd, flags=flags, src_off=src_off, dst_off=dst_off, nr=nr)
        call = f"clone_buffers(dst_off={dst_off}, src_off={src_off}, nr={nr}, flags={flags:#x})"
        self._register(R.REGISTER_CLONE_BUFFERS, addressof(request), 1, tables.REGISTER_CLONE_BUFFERS, call)
        for slot, pin in source._registered_buffers.items():
            if src_off <= slot and (nr == 0 or slot < src_off + nr):
                self._registered_buffers[slot - src_off + dst_off] = pin

    def unregister_buffers(self) -> None:
        """Unpin the registered buffers; requests in flight keep theirs. Since 5.1.

        Raises:
            BuffersNotRegistered: there are none.
        """
        self._register(R.UNREGISTER_BUFFERS, 0, 0, tables.UNREGISTER_BUFFERS, "unregister_buffers")
        self._registered_buffers = {}

    def _hold_buffers(self, offset: int, count: int, pin: object) -> None:
        """Keep what lies in slots alive: requests in flight that use what lay there before hold it themselves."""
        for index in range(count):
            # Of a list, each buffer has a pin of its own behind that of the array.
            self._registered_buffers[offset + index] = pin[1 + index] if isinstance(pin, list) else pin


def _tags(tags: Sequence[int], count: int) -> Array[c_uint64]:
    """As many as there are resources, which the kernel reads without being told how many."""
    if len(tags) != count:
        raise ArgumentOutOfRange(f"{count} resources want as many tags, not {len(tags)}; 0 is none")
    return (c_uint64 * count)(*tags)


def _name_too_large(address: int, count: int, call: str) -> None:
    """Tell which buffer is: the kernel has one word for an address that is not ours and for a size that is not its."""
    for index, entry in enumerate((iovec * count).from_address(address)):
        if entry.len > _REGISTERED_BYTES_MAX:
            raise BufferInvalid(
                EFAULT, f"{call}: buffer {index} has {entry.len} bytes, and one can have 1 GiB; register parts"
            ) from None
