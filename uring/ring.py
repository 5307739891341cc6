"""Big entries, registrations of eventfds, busy polling and the probe, and the finished `IoUring`."""

from __future__ import annotations

from ctypes import addressof, c_int32

from . import errno_tables as tables
from . import flags as f
from .errors import EntriesTooSmall
from .flags import IORING_CQ_EVENTFD_DISABLED
from .opcodes import IORING_REGISTER as R
from .ring_registrations import RingRegistrations
from .structs import io_uring_probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .sqe import io_uring_sqe
    from .structs import io_uring_napi, io_uring_sync_cancel_reg
    from .zcrx import io_uring_zcrx_ifq_reg, zcrx_ctrl


class IoUring(RingRegistrations):
    """A ring: Zig's `std.os.linux.IoUring`, with its names, argument order and errors.

    Use it as a context manager, or call `deinit`. One thread at a time may use it. `user_data` comes first in every
    operation; each queues one SQE and returns it for further changes, and nothing reaches the kernel before `submit`.
    """

    __slots__ = ()

    def get_sqe128(self) -> io_uring_sqe:
        """Take a vacant SQE of 128 bytes, cleared; for IORING_OP_NOP128 and IORING_OP_URING_CMD128.

        In a ring with IORING_SETUP_SQE_MIXED it takes two slots (three at the queue's end), and `submit` counts them;
        with IORING_SETUP_SQE128 every entry is one.

        Raises:
            SubmissionQueueFull: there are not as many slots; submit first.
            EntriesTooSmall: the ring has neither flag.

        Since 6.19. Source: io_uring_get_sqe128(3).
        """
        self._check_open()
        if self.flags & f.IORING_SETUP_SQE128:
            return self.get_sqe()
        if not self.flags & f.IORING_SETUP_SQE_MIXED:
            raise EntriesTooSmall("this ring's entries have 64 bytes; see IORING_SETUP_SQE_MIXED")
        return self.sq.take_big()

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

    def cq_eventfd_enabled(self) -> bool:
        """Whether completions signal the registered eventfd."""
        self._check_open()
        return not self.cq.flags & IORING_CQ_EVENTFD_DISABLED

    def cq_eventfd_toggle(self, enabled: bool) -> None:
        """Let completions signal the registered eventfd, or not, without a system call.

        Raises:
            OpcodeNotSupported: EOPNOTSUPP, a kernel older than 5.8.

        Since 5.8. Source: io_uring_register(2), IORING_CQ_EVENTFD_DISABLED.
        """
        self._check_open()
        if enabled != self.cq_eventfd_enabled():
            self.cq.flags ^= IORING_CQ_EVENTFD_DISABLED

    def register_sync_cancel(self, reg: io_uring_sync_cancel_reg) -> int:
        """Cancel requests in flight, and wait until those that are running have ended.

        Args:
            reg: `flags` are IORING_ASYNC_CANCEL_* bits, `addr` a `user_data`, `fd` a descriptor or slot, `opcode` an
                operation (since 6.6), as far as the flags ask for them; `timeout` limits the wait, -1 in both of its
                fields stands for no limit.

        Returns:
            Requests that were cancelled at once, if the flags allow several; else 0.

        Raises:
            RequestNotFound: ENOENT, no request matches.
            CancellationTimedOut: ETIME, a request that runs did not end in time.
            FileDescriptorInvalid, ArgumentsInvalid: EBADF, EINVAL.

        Since 6.0. Source: io_uring_register_sync_cancel(3).
        """
        return self._register(
            R.REGISTER_SYNC_CANCEL, addressof(reg), 1, tables.REGISTER_SYNC_CANCEL, "register_sync_cancel"
        )

    def register_napi(self, napi: io_uring_napi) -> None:
        """Busy-poll network queues; the settings before are left in `napi`. Since 6.9.

        Raises:
            ArgumentsInvalid: EINVAL, an older kernel or a field out of range.
        """
        self._register(R.REGISTER_NAPI, addressof(napi), 1, tables.REGISTER_NAPI, "register_napi")

    def unregister_napi(self, napi: io_uring_napi) -> None:
        """Stop busy-polling; the settings before are left in `napi`. Since 6.9. Raises as `register_napi`."""
        self._register(R.UNREGISTER_NAPI, addressof(napi), 1, tables.REGISTER_NAPI, "unregister_napi")

    def register_ifq(self, reg: io_uring_zcrx_ifq_reg) -> None:
        """Receive what arrives in a queue of a network device without a copy (IORING_OP_RECV_ZC).

        Args:
            reg: the queue, and addresses of an `io_uring_zcrx_area_reg` and of a region's description. The kernel fills
                in `zcrx_id`, `offsets` and the area's token. The memory that is named has to live as long as the ring.

        Raises:
            NetworkDeviceInvalid, PermissionDenied, OpcodeNotSupported: ENODEV, EPERM, EOPNOTSUPP.
            ArgumentsInvalid: EINVAL, an older kernel, or a ring without IORING_SETUP_DEFER_TASKRUN and big completions.

        Since 6.15; without a device (ZCRX_REG_NODEV) since 7.1. Source: include/uapi/linux/io_uring/zcrx.h.
        """
        self._register(R.REGISTER_ZCRX_IFQ, addressof(reg), 1, tables.REGISTER_ZCRX_IFQ, "register_ifq")

    def register_zcrx_ctrl(self, ctrl: zcrx_ctrl) -> None:
        """Have a receive queue look at its refill queue, or do another of the ZCRX_CTRL_* commands.

        Raises:
            ReceiveQueueNotRegistered: ENXIO, there is none of that number.
            OpcodeNotSupported: EOPNOTSUPP, a command that the kernel does not know.
            ArgumentsInvalid: EINVAL, a kernel older than 6.19.

        Since 6.19.
        """
        call = f"register_zcrx_ctrl(zcrx_id={ctrl.zcrx_id}, op={ctrl.op})"
        self._register(R.REGISTER_ZCRX_CTRL, addressof(ctrl), 0, tables.REGISTER_ZCRX_CTRL, call)

    def get_probe(self) -> io_uring_probe:
        """Ask which operations this kernel has. Since 5.6.

        Raises:
            ArgumentsInvalid: the kernel is older.
        """
        probe = io_uring_probe()
        self._register(R.REGISTER_PROBE, addressof(probe), len(probe.ops), tables.REGISTER_PROBE, "get_probe")
        return probe
