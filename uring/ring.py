"""Registrations, and the finished `IoUring`."""

from __future__ import annotations

from ctypes import addressof, c_int32, sizeof
from errno import EFAULT

from . import errno_tables as tables
from . import syscalls
from .errors import BufferInvalid
from .flags import IORING_RSRC_REGISTER_SPARSE
from .memory import fds_of, iovec, iovecs_of
from .opcodes import IORING_REGISTER as R
from .ring_control import ControlOperations
from .structs import io_uring_file_index_range, io_uring_files_update, io_uring_probe, io_uring_rsrc_register

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .memory import Fds, Iovecs
    from .structs import io_uring_napi


_REGISTERED_BYTES_MAX = 1 << 30


class IoUring(ControlOperations):
    """A ring: Zig's `std.os.linux.IoUring`, with its names, argument order and errors.

    Use it as a context manager, or call `deinit`. One thread at a time may use it. `user_data` comes first in every
    operation; each queues one SQE and returns it for further changes, and nothing reaches the kernel before `submit`.
    """

    __slots__ = ()

    def _register(self, opcode: int, address: int, count: int, table: tables.Table, call: str) -> None:
        if self.fd < 0:
            self._refuse()
        syscalls.io_uring_register(self.fd, opcode, address, count, table, call)

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

    def register_files_update(self, offset: int, fds: Fds) -> None:
        """Replace files of the table from slot `offset` on; -1 empties a slot, IORING_REGISTER_FILES_SKIP keeps it.

        Raises:
            FilesNotRegistered: ENXIO, there is no table (Zig: RingShuttingDownOrAlreadyRegisteringFiles).
            FilesEmpty: EINVAL, no files or a slot outside of the table.
            FileDescriptorInvalid, UserFdQuotaExceeded, SystemResources: EBADF, EMFILE, ENOMEM.

        Since 5.5. Source: io_uring_register(2).
        """
        address, count, pin = fds_of(fds)
        update = io_uring_files_update(offset=offset, resv=0, fds=address)
        call = f"register_files_update of {count} files at {offset}"
        self._register(R.REGISTER_FILES_UPDATE, addressof(update), count, tables.REGISTER_FILES_UPDATE, call)
        del pin

    def register_files_sparse(self, nr_files: int) -> None:
        """Make a table of empty slots. Since 5.19. Raises as `register_files`."""
        request = io_uring_rsrc_register(nr=nr_files, flags=IORING_RSRC_REGISTER_SPARSE)
        call = f"register_files_sparse of {nr_files} slots"
        self._register(R.REGISTER_FILES2, addressof(request), sizeof(request), tables.REGISTER_FILES, call)

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

    def register_eventfd(self, fd: int) -> None:
        """Signal an eventfd at every completion. Since 5.2.

        Raises:
            EventfdAlreadyRegistered: EBUSY (Zig: FilesAlreadyRegistered).
            FileDescriptorInvalid, ArgumentsInvalid: EBADF, EINVAL (not an eventfd).
        """
        self._register_eventfd(R.REGISTER_EVENTFD, fd, "register_eventfd")

    def register_eventfd_async(self, fd: int) -> None:
        """Signal an eventfd at completions that did not happen while submitting. Since 5.6. Raises as the other."""
        self._register_eventfd(R.REGISTER_EVENTFD_ASYNC, fd, "register_eventfd_async")

    def _register_eventfd(self, opcode: int, fd: int, call: str) -> None:
        descriptor = c_int32(fd)
        self._register(opcode, addressof(descriptor), 1, tables.REGISTER_EVENTFD, f"{call}({fd})")

    def unregister_eventfd(self) -> None:
        """Stop signalling. Since 5.2.

        Raises:
            EventfdNotRegistered: there is none.
        """
        self._register(R.UNREGISTER_EVENTFD, 0, 0, tables.UNREGISTER_EVENTFD, "unregister_eventfd")

    def register_napi(self, napi: io_uring_napi) -> None:
        """Busy-poll network queues; the settings before are left in `napi`. Since 6.9.

        Raises:
            ArgumentsInvalid: EINVAL, an older kernel or a field out of range.
        """
        self._register(R.REGISTER_NAPI, addressof(napi), 1, tables.REGISTER_NAPI, "register_napi")

    def unregister_napi(self, napi: io_uring_napi) -> None:
        """Stop busy-polling; the settings before are left in `napi`. Since 6.9. Raises as `register_napi`."""
        self._register(R.UNREGISTER_NAPI, addressof(napi), 1, tables.REGISTER_NAPI, "unregister_napi")

    def register_buffers(self, buffers: Iovecs) -> None:
        """Pin buffers for `read_fixed`, `write_fixed` and `send_zc_fixed`; they stay alive until unregistered.

        Args:
            buffers: writable buffers or `iovec`s, 1 to 16384, up to 1 GiB each.

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
            # The kernel has one word for an address that is not ours and for a size that is not its.
            for index, entry in enumerate((iovec * count).from_address(address)):
                if entry.len > _REGISTERED_BYTES_MAX:
                    raise BufferInvalid(
                        EFAULT, f"{call}: buffer {index} has {entry.len} bytes, and one can have 1 GiB; register parts"
                    ) from None
            raise
        self._registered_buffers = pin

    def unregister_buffers(self) -> None:
        """Unpin the registered buffers; requests in flight keep theirs. Since 5.1.

        Raises:
            BuffersNotRegistered: there are none.
        """
        self._register(R.UNREGISTER_BUFFERS, 0, 0, tables.UNREGISTER_BUFFERS, "unregister_buffers")
        self._registered_buffers = None

    def enable_rings(self) -> None:
        """Let a ring begin that was made with IORING_SETUP_R_DISABLED, once what restricts it is registered.

        Until then it takes registrations, and `submit` raises FileDescriptorInBadState. With
        IORING_SETUP_SINGLE_ISSUER the thread that calls this is the one that may submit.

        Raises:
            FileDescriptorInBadState: EBADFD, the ring is not disabled.
            ArgumentsInvalid: EINVAL, a kernel older than 5.10.

        Since 5.10. Source: io_uring_register(2), IORING_REGISTER_ENABLE_RINGS.
        """
        self._register(R.REGISTER_ENABLE_RINGS, 0, 0, tables.REGISTER_ENABLE_RINGS, "enable_rings")

    def get_probe(self) -> io_uring_probe:
        """Ask which operations this kernel has. Since 5.6.

        Raises:
            ArgumentsInvalid: the kernel is older.
        """
        probe = io_uring_probe()
        self._register(R.REGISTER_PROBE, addressof(probe), len(probe.ops), tables.REGISTER_PROBE, "get_probe")
        return probe
