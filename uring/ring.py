"""Registrations of eventfds, busy polling and the probe, and the finished `IoUring`."""

from __future__ import annotations

from ctypes import addressof, c_int32

from . import errno_tables as tables
from .opcodes import IORING_REGISTER as R
from .ring_registrations import RingRegistrations
from .structs import io_uring_probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .structs import io_uring_napi


class IoUring(RingRegistrations):
    """A ring: Zig's `std.os.linux.IoUring`, with its names, argument order and errors.

    Use it as a context manager, or call `deinit`. One thread at a time may use it. `user_data` comes first in every
    operation; each queues one SQE and returns it for further changes, and nothing reaches the kernel before `submit`.
    """

    __slots__ = ()

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

    def get_probe(self) -> io_uring_probe:
        """Ask which operations this kernel has. Since 5.6.

        Raises:
            ArgumentsInvalid: the kernel is older.
        """
        probe = io_uring_probe()
        self._register(R.REGISTER_PROBE, addressof(probe), len(probe.ops), tables.REGISTER_PROBE, "get_probe")
        return probe
