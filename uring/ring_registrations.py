"""Registrations of the ring itself: its index, what it may do, its workers, its clock, its size."""

from __future__ import annotations

from ctypes import addressof, c_uint32, sizeof
from errno import EBADF

from . import errno_tables as tables
from . import flags as f
from . import lifetime, syscalls
from .errors import EntriesNotSubmitted, FileDescriptorInvalid, RingAlreadyRegistered, RingClosed, RingNotRegistered
from .memory import writable
from .opcodes import IORING_REGISTER as R
from .queues import cache_line_behind_completions
from .ring_memory import QueueMemory
from .ring_waits import RingWaits
from .structs import (
    io_uring_clock_register,
    io_uring_mem_region_reg,
    io_uring_query_hdr,
    io_uring_query_opcode,
    io_uring_reg_wait,
    io_uring_region_desc,
    io_uring_restriction,
    io_uring_rsrc_update,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from ctypes import Array

    from _typeshed import WriteableBuffer

    from .structs import io_uring_params

_U32 = 0xFFFFFFFF
_QUERY_OPCODES = 0


class RingRegistrations(RingWaits):
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
        if self._is_indexed:
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
        if not self._is_indexed:
            raise RingNotRegistered("the ring has no index; register_ring_fd() first")
        if self.fd < 0:
            raise FileDescriptorInvalid(EBADF, "unregister_ring_fd: the ring has no descriptor; deinit() closes it")
        update = io_uring_rsrc_update(offset=self._enter_fd)
        # By the descriptor: kernels before 6.3 do not register by an index.
        result = syscalls.io_uring_register_errno(self.fd, R.UNREGISTER_RING_FDS, addressof(update), 1)
        if result < 0:
            tables.fail("unregister_ring_fd", -result, tables.UNREGISTER_RING_FDS)
        self._enter_by(self.fd, 0)

    def close_ring_fd(self) -> None:
        """Close the descriptor of a ring that has an index: it goes on by that alone; `fd` becomes -1.

        Raises:
            RingNotRegistered: it has no index, or the kernel cannot register by it (IORING_FEAT_REG_REG_RING).

        Since 6.3. Source: io_uring_close_ring_fd(3).
        """
        self._check_open()
        if not self._is_indexed or not self.features & f.IORING_FEAT_REG_REG_RING:
            raise RingNotRegistered("a ring without descriptor needs an index that registrations can use, since 6.3")
        fd, self.fd = self.fd, -1
        if fd >= 0:
            lifetime.buffer_rings.pop(fd, None)
            syscalls.close(fd)

    def _enter_by(self, fd: int, flags: int) -> None:
        """Enter the ring by its descriptor or its index from now on."""
        self._submit_flags = self._submit_flags & ~f.IORING_ENTER_REGISTERED_RING | flags
        self._enter_flags = self._enter_flags & ~f.IORING_ENTER_REGISTERED_RING | flags
        self._enter_fd = fd

    # ---- what it may do, and as whom

    def register_personality(self) -> int:
        """Keep this moment's credentials, for requests that name them in `sqe.personality`.

        Returns:
            The personality's number.

        Raises:
            SystemResources: ENOMEM, or EBUSY: there are 65,535.
            ArgumentsInvalid: EINVAL, a kernel older than 5.6.

        Since 5.6. Source: io_uring_register_personality(3).
        """
        return self._register(R.REGISTER_PERSONALITY, 0, 0, tables.REGISTER_PERSONALITY, "register_personality")

    def unregister_personality(self, id: int) -> None:  # noqa: A002 - liburing's name
        """Let go of credentials. Since 5.6.

        Raises:
            ArgumentsInvalid: there is no such personality.
        """
        self._register(R.UNREGISTER_PERSONALITY, 0, id, tables.REGISTER_PERSONALITY, f"unregister_personality({id})")

    def register_restrictions(self, res: Sequence[io_uring_restriction]) -> None:
        """Allow a disabled ring nothing but what is listed, from `enable_rings` on.

        Operations and registrations that are not listed are refused with EACCES, as are flags of requests: those beside
        the allowed and required ones, and requests without the required ones.

        Args:
            res: what is allowed; nothing at all if it is empty (a kernel before 7.0 refuses that).

        Raises:
            FileDescriptorInBadState: EBADFD, the ring is not disabled.
            RestrictionsAlreadyRegistered: EBUSY.
            ArgumentsInvalid: EINVAL, a restriction or number that the kernel does not know.

        Since 5.10. Source: io_uring_register_restrictions(3).
        """
        array = (io_uring_restriction * len(res))(*res)
        call = f"register_restrictions of {len(res)} restrictions"
        self._register(R.REGISTER_RESTRICTIONS, addressof(array), len(res), tables.REGISTER_RESTRICTIONS, call)

    # ---- its workers

    def register_iowq_aff(self, cpus: Collection[int]) -> None:
        """Have workers run on some processors only.

        Args:
            cpus: their numbers.

        Raises:
            ArgumentsInvalid: EINVAL, none of them is there, or a kernel older than 5.14.

        Since 5.14. Source: io_uring_register_iowq_aff(3).
        """
        mask = bytearray(max(cpus, default=0) // 64 * 8 + 8)
        for cpu in cpus:
            mask[cpu // 8] |= 1 << cpu % 8
        address, size_bytes, pin = writable(mask)
        self._register(R.REGISTER_IOWQ_AFF, address, size_bytes, tables.REGISTER_IOWQ, f"register_iowq_aff({cpus})")
        del pin

    def unregister_iowq_aff(self) -> None:
        """Let workers run anywhere again. Since 5.14. Raises as `register_iowq_aff`."""
        self._register(R.UNREGISTER_IOWQ_AFF, 0, 0, tables.REGISTER_IOWQ, "unregister_iowq_aff")

    def register_iowq_max_workers(self, bounded: int, unbounded: int) -> tuple[int, int]:
        """Limit this thread's workers: for work on files and devices, and for what may wait for ever, as on sockets.

        Args:
            bounded: how many for the one; 0 leaves it as it is.
            unbounded: how many for the other; 0 leaves it as it is.

        Returns:
            Both limits as they were.

        Raises:
            ArgumentsInvalid: EINVAL, a kernel older than 5.15.

        Since 5.15. Source: io_uring_register_iowq_max_workers(3).
        """
        values = (c_uint32 * 2)(bounded, unbounded)
        call = f"register_iowq_max_workers({bounded}, {unbounded})"
        self._register(R.REGISTER_IOWQ_MAX_WORKERS, addressof(values), 2, tables.REGISTER_IOWQ, call)
        return values[0], values[1]

    # ---- waiting

    def register_clock(self, clock_id: int) -> None:
        """Choose the clock of waits with a time limit.

        Args:
            clock_id: time.CLOCK_MONOTONIC, as it is at first, or CLOCK_BOOTTIME.

        Raises:
            ArgumentsInvalid: EINVAL, another clock or a kernel older than 6.12.

        Since 6.12. Source: io_uring_register_clock(3).
        """
        argument = io_uring_clock_register(clockid=clock_id)
        call = f"register_clock({clock_id})"
        self._register(R.REGISTER_CLOCK, addressof(argument), 0, tables.REGISTER_CLOCK, call)

    def register_region(self, desc: io_uring_region_desc, flags: int = 0) -> None:
        """Share memory with the kernel until the ring closes: one region of whole pages.

        Args:
            desc: where it is, with IORING_MEM_REGION_TYPE_USER; without, the kernel allocates it, and leaves in
                `mmap_offset` where to map it from. Memory of the caller's is the caller's to keep.
            flags: IORING_MEM_REGION_REG_WAIT_ARG, arguments of waiting are there; the ring has to be disabled yet.

        Raises:
            RegionAlreadyRegistered: EBUSY.
            ArgumentsInvalid, BufferInvalid, SystemResources: EINVAL, EFAULT, ENOMEM.

        Since 6.13. Source: io_uring_register_region(3).
        """
        request = io_uring_mem_region_reg(region_uptr=addressof(desc), flags=flags)
        self._register(R.REGISTER_MEM_REGION, addressof(request), 1, tables.REGISTER_MEM_REGION, "register_region")
        self._shared.append(desc)

    def register_wait_reg(self, memory: WriteableBuffer) -> Array[io_uring_reg_wait]:
        """Keep arguments of `submit_and_wait_reg` in memory that the kernel looks at without copying.

        Args:
            memory: whole pages, an anonymous mmap say; the ring has to be disabled yet (IORING_SETUP_R_DISABLED).

        Returns:
            The arguments in it, to be filled in at any time.

        Raises: as `register_region`.

        Since 6.13. Source: io_uring_register_wait_reg(3).
        """
        address, size_bytes, pin = writable(memory)
        desc = io_uring_region_desc(user_addr=address, size=size_bytes, flags=f.IORING_MEM_REGION_TYPE_USER)
        self.register_region(desc, f.IORING_MEM_REGION_REG_WAIT_ARG)
        self._shared.append(pin)
        return (io_uring_reg_wait * (size_bytes // sizeof(io_uring_reg_wait))).from_address(address)

    # ---- its size

    def resize_rings(self, p: io_uring_params) -> None:
        """Give a living ring queues of another size; completions that were not reaped move along.

        SQEs and queues that the program holds on to are those of the old queues, and closed.

        Args:
            p: `sq_entries`, and `cq_entries` with IORING_SETUP_CQSIZE; the kernel's answer is left there.

        Raises:
            EntriesNotSubmitted: entries are queued; submit them first.
            ArgumentsInvalid: EINVAL (a ring without IORING_SETUP_DEFER_TASKRUN, a kernel older than 6.13), or
                EOVERFLOW: what is there finds no place.
            SystemResources: ENOMEM.

        Since 6.13. Source: io_uring_resize_rings(3).
        """
        self._check_open()
        if self.sq_ready():
            raise EntriesNotSubmitted(f"{self.sq_ready()} entries are queued in memory that is to go; submit() first")
        memory = None
        if self.flags & f.IORING_SETUP_NO_MMAP:
            asked = p.flags
            p.flags |= self.flags & ~f.IORING_SETUP_CQSIZE
            memory = QueueMemory(p.sq_entries, p)
            p.flags = asked
        call = f"resize_rings(sq_entries={p.sq_entries}, cq_entries={p.cq_entries})"
        try:
            self._register(R.REGISTER_RESIZE_RINGS, addressof(p), 1, tables.REGISTER_RESIZE_RINGS, call)
        except BaseException:
            if memory is not None:
                memory.free()
            raise
        old_sq, old_cq, old_memory = self.sq, self.cq, self._memory
        p.flags = self.flags
        if not p.sq_off.array and not p.flags & f.IORING_SETUP_NO_SQARRAY:
            # Kernels leave this one out of their answer (seen up to 7.3).
            p.sq_off.array = cache_line_behind_completions(p) + self.sq.array_gap
        self._map(self.fd, p)
        self.sq.adopt(old_sq)
        self._memory = memory
        old_sq._closed_by = RingClosed, "the queue was replaced by resize_rings(); take it from the ring anew"
        old_cq.deinit()
        old_sq.deinit()
        if old_memory is not None:
            old_memory.free()


def query_opcodes() -> io_uring_query_opcode:
    """Ask the kernel how many numbers it knows and which flags; no ring is needed.

    Raises:
        ArgumentsInvalid: EINVAL or EBADF, a kernel older than 6.18.

    Since 6.18. Source: include/uapi/linux/io_uring/query.h.
    """
    data = io_uring_query_opcode()
    header = io_uring_query_hdr(query_data=addressof(data), query_op=_QUERY_OPCODES, size=sizeof(data))
    result = syscalls.io_uring_register_errno(-1, R.REGISTER_QUERY, addressof(header), 0)
    if result < 0 or header.result < 0:
        tables.fail("query_opcodes", -min(result, header.result), tables.REGISTER_QUERY)
    return data
