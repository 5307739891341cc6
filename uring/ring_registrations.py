"""Registrations of the ring itself: its index, what it may do, its workers, its clock, its size."""

from __future__ import annotations

from ctypes import addressof
from errno import EBADF

from . import errno_tables as tables
from . import flags as f
from . import lifetime, syscalls
from .errors import FileDescriptorInvalid, RingAlreadyRegistered, RingNotRegistered
from .opcodes import IORING_REGISTER as R
from .ring_resources import ResourceRegistrations
from .structs import io_uring_rsrc_update

_U32 = 0xFFFFFFFF


class RingRegistrations(ResourceRegistrations):
    """Registrations of the ring itself."""

    __slots__ = ()

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

    # ---- its index

    def register_ring_fd(self) -> int:
        """Enter the ring by an index of this thread's from now on, which saves looking up its descriptor each time.

        Registrations use it as well where the kernel can (IORING_FEAT_REG_REG_RING, since 6.3). Other threads cannot
        use the ring any more: the index is this one's.

        Returns:
            The index.

        Raises:
            RingAlreadyRegistered: this ring has an index.
            ProcessFdQuotaExceeded: EBUSY, this thread has 16 of them already.
            ArgumentsInvalid, SystemResources: EINVAL (a kernel older than 5.18), ENOMEM.

        Since 5.18. Source: io_uring_register_ring_fd(3).
        """
        self._check_open()
        if self._enter_flags:
            raise RingAlreadyRegistered(f"the ring has index {self._enter_fd}")
        update = io_uring_rsrc_update(offset=_U32, data=self.fd)
        self._register(R.REGISTER_RING_FDS, addressof(update), 1, tables.REGISTER_RING_FDS, "register_ring_fd")
        self._enter_by(update.offset, f.IORING_ENTER_REGISTERED_RING)
        return int(update.offset)

    def unregister_ring_fd(self) -> None:
        """Give the index back, and enter the ring by its descriptor again.

        Raises:
            RingNotRegistered: it has no index, or it is another thread's.
            FileDescriptorInvalid: the descriptor was closed (`close_ring_fd`): there is no other way to the ring.

        Since 5.18. Source: io_uring_unregister_ring_fd(3).
        """
        self._check_open()
        if not self._enter_flags:
            raise RingNotRegistered("the ring has no index; register_ring_fd() first")
        if self.fd < 0:
            raise FileDescriptorInvalid(EBADF, "unregister_ring_fd: the ring has no descriptor; deinit() closes it")
        update = io_uring_rsrc_update(offset=self._enter_fd)
        self._register(R.UNREGISTER_RING_FDS, addressof(update), 1, tables.UNREGISTER_RING_FDS, "unregister_ring_fd")
        self._enter_by(self.fd, 0)

    def close_ring_fd(self) -> None:
        """Close the descriptor of a ring that has an index: it goes on by that alone; `fd` becomes -1.

        Raises:
            RingNotRegistered: it has no index, or the kernel cannot register by it (IORING_FEAT_REG_REG_RING).

        Since 6.3. Source: io_uring_close_ring_fd(3).
        """
        self._check_open()
        if not self._enter_flags or not self.features & f.IORING_FEAT_REG_REG_RING:
            raise RingNotRegistered("a ring without descriptor needs an index that registrations can use, since 6.3")
        fd, self.fd = self.fd, -1
        if fd >= 0:
            lifetime.buffer_rings.pop(fd, None)
            syscalls.close(fd)

    def _enter_by(self, fd: int, flags: int) -> None:
        """Enter the ring by its descriptor or its index from now on."""
        self._submit_flags = self._submit_flags & ~f.IORING_ENTER_REGISTERED_RING | flags
        self._enter_fd, self._enter_flags = fd, flags
