"""The ring itself: opening, closing, submitting, waiting, reaping."""

from __future__ import annotations

import os
import sys
from ctypes import addressof, c_uint32
from weakref import WeakSet

from . import errno_tables as tables
from . import flags as f
from . import lifetime, syscalls
from .cqe import CqeArray
from .errors import (
    RingClosed,
    RingInherited,
    SyscallError,
)
from .opcodes import IORING_REGISTER, IORING_REGISTER_USE_REGISTERED_RING
from .queues import NO_SLOTS, CompletionQueue, SubmissionQueue
from .ring_memory import QueueMemory
from .setup_checks import check_features, check_setup
from .structs import io_uring_params, io_uring_rsrc_update, io_uring_sync_cancel_reg

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableSequence
    from types import TracebackType
    from typing import Any, Self

    from .cqe import io_uring_cqe
    from .sqe import io_uring_sqe

_U32 = 0xFFFFFFFF
_SYS_ENTER = syscalls.SYS_IO_URING_ENTER
_SIGSET_BYTES = syscalls.SIGSET_BYTES
_GETEVENTS = f.IORING_ENTER_GETEVENTS
_LATE_WORK = f.IORING_SETUP_COOP_TASKRUN | f.IORING_SETUP_DEFER_TASKRUN
# How long deinit() waits for the kernel to end requests that still point to our memory.
_CANCEL_WAIT_NS = 100_000_000

_open_rings: WeakSet[RingCore] = WeakSet()


class RingCore:
    """Everything of `IoUring` but the operations and registrations.

    Attributes:
        fd: the ring's descriptor; -1 once closed.
        sq: the submission queue.
        cq: the completion queue.
        flags: IORING_SETUP_* bits the ring was made with.
        features: IORING_FEAT_* bits of the kernel.
    """

    __slots__ = (
        "__weakref__",
        "_closed_by",
        "_enter_fd",
        "_enter_flags",
        "_in_flight",
        "_is_polled",
        "_keep_alive",
        "_memory",
        "_peek_enters",
        "_registered_buffers",
        "_shared",
        "_submit_flags",
        "cq",
        "fd",
        "features",
        "flags",
        "sq",
    )

    def __init__(self, entries: int, flags: int = 0, *, keep_alive: bool = True) -> None:
        """Create a ring; the SQPOLL thread, if any, idles after one second.

        Args:
            entries: a power of two, 1 to 32768; the kernel has the last word. More with IORING_SETUP_CLAMP, which
                takes as many of them as the kernel has (since 5.6).
            flags: IORING_SETUP_* bits.
            keep_alive: hold the memory that queued requests point to until they are complete. Without it the caller
                must do so, and requests cost less.

        Raises:
            EntriesZero, EntriesNotPowerOfTwo: before anything is asked of the kernel.
            ArgumentsInvalid: EINVAL; often a flag newer than the kernel.
            PermissionDenied: EPERM; see sysctl kernel.io_uring_disabled and seccomp.
            SystemOutdated: no io_uring, or a kernel older than 5.4.
            SystemResources, ProcessFdQuotaExceeded, SystemFdQuotaExceeded: ENOMEM, EMFILE, ENFILE.

        Since 5.1 (here 5.4). Source: io_uring_setup(2).
        """
        self._open(entries, io_uring_params(flags=flags, sq_thread_idle=1000), keep_alive)

    @classmethod
    def init(cls, entries: int, flags: int = 0, *, keep_alive: bool = True) -> Self:
        """Zig's name of the constructor."""
        return cls(entries, flags, keep_alive=keep_alive)

    @classmethod
    def init_params(cls, entries: int, p: io_uring_params, *, keep_alive: bool = True) -> Self:
        """Create a ring with parameters of your own; the kernel's answer is left in `p`.

        Raises:
            ParamsInvalid: a field is set whose flag is missing, or one that only the kernel sets.
            And everything the constructor raises.
        """
        ring = cls.__new__(cls)
        ring._open(entries, p, keep_alive)
        return ring

    def _open(self, entries: int, params: io_uring_params, keep_alive: bool) -> None:
        # First, so that the finalizer finds a closed ring when anything below fails.
        self.fd = self._enter_fd = -1
        self._closed_by: tuple[type[RingClosed], str] = RingClosed, "the ring was never opened"
        check_setup(entries, params)
        self._memory: QueueMemory | None = None
        if params.flags & f.IORING_SETUP_NO_MMAP and not params.sq_off.user_addr:
            self._memory = QueueMemory(entries, params)
        self._enter_flags = 0
        if params.flags & f.IORING_SETUP_REGISTERED_FD_ONLY:
            self._enter_flags = f.IORING_ENTER_REGISTERED_RING
        try:
            fd = syscalls.io_uring_setup(entries, params)
            try:
                check_features(params.features)
                self._map(fd, params)
            except BaseException:
                _unregister_index(fd, -1) if self._enter_flags else syscalls.close(fd)
                raise
        except BaseException:
            if self._memory is not None:
                self._memory.free()
            raise
        self._enter_fd = fd
        self.fd = -1 if self._enter_flags else fd
        self.flags: int = params.flags
        self.features: int = params.features
        self._is_polled = bool(params.flags & f.IORING_SETUP_SQPOLL)
        self._submit_flags = self._enter_flags | (_GETEVENTS if params.flags & f.IORING_SETUP_IOPOLL else 0)
        self._keep_alive = keep_alive
        groups: dict[int, object] = {}
        if self.fd >= 0:
            lifetime.buffer_rings[fd] = groups
        self._in_flight = lifetime.InFlight(groups)
        # Slot -> what keeps the buffer in it alive.
        # What else the kernel may read until the ring closes.
        self._shared: list[object] = []
        self._registered_buffers: dict[int, object] = {}
        # Completions can be pending where only a system call brings them into view, and without TASKRUN_FLAG nothing
        # in the shared memory tells: polled I/O, and task work that waits until we enter the kernel.
        self._peek_enters = bool(
            (self.flags & f.IORING_SETUP_IOPOLL and not self._is_polled)
            or (self.flags & _LATE_WORK and not self.flags & f.IORING_SETUP_TASKRUN_FLAG)
        )
        _open_rings.add(self)

    def _map(self, fd: int, params: io_uring_params) -> None:
        self.sq = SubmissionQueue(fd, params)
        try:
            self.cq = CompletionQueue(fd, params, self.sq)
        except BaseException:
            self.sq.deinit()
            raise

    @property
    def _is_indexed(self) -> int:
        """Whether the ring is entered by an index."""
        return self._enter_flags & f.IORING_ENTER_REGISTERED_RING

    # ---- registering

    def _register(self, opcode: int, address: int, count: int, table: tables.Table, call: str) -> int:
        """Register something; errors are read from the `table` of the calling function."""
        if self._enter_fd < 0:
            self._refuse()
        result = self._register_errno(opcode, address, count)
        if result < 0:
            tables.fail(call, -result, table)
        return result

    def _register_errno(self, opcode: int, address: int, count: int) -> int:
        """Call io_uring_register(2), by the ring's index where there is one and the kernel takes it."""
        if self._is_indexed and (self.fd < 0 or self.features & f.IORING_FEAT_REG_REG_RING):
            opcode |= IORING_REGISTER_USE_REGISTERED_RING
            return syscalls.io_uring_register_errno(self._enter_fd, opcode, address, count)
        return syscalls.io_uring_register_errno(self.fd, opcode, address, count)

    # ---- closing

    def deinit(self) -> None:
        """Close the ring; `fd` becomes -1. A second call does nothing.

        Requests that still point to memory held here are cancelled first, which may take up to 0.1 s; memory of those
        that do not end in that time is never freed. Raises nothing for a ring inherited over fork, which was closed
        when the process forked.
        """
        if self._enter_fd < 0:
            return
        if self._in_flight.pins:
            self._cancel_all()
        self._close(RingClosed, "the ring was closed by deinit(); create a new one")

    def _cancel_all(self) -> None:
        """Ask the kernel to end every request, then reap what has ended. Best effort: what stays is abandoned."""
        request = io_uring_sync_cancel_reg(
            fd=-1, flags=f.IORING_ASYNC_CANCEL_ANY | f.IORING_ASYNC_CANCEL_ALL, timeout=(0, _CANCEL_WAIT_NS)
        )
        try:
            self._reap_for_close()
            if not self._in_flight.pins:
                return
            # ENOENT: nothing to cancel. EINVAL: older than 6.0. ETIME: not all ended in time. All are fine here.
            self._register_errno(IORING_REGISTER.REGISTER_SYNC_CANCEL, addressof(request), 1)
            self._reap_for_close()
        except SyscallError:
            # For example EEXIST: with SINGLE_ISSUER only the ring's own thread may enter.
            return

    def _reap_for_close(self) -> None:
        if self._peek_enters or self.cq_ring_needs_flush():
            self.enter(0, 0, _GETEVENTS)
        while self._reap(self.cq.mask + 1):
            pass

    def _close(self, kind: type[RingClosed], why: str) -> None:
        fd, enter_fd = self.fd, self._enter_fd
        self.fd = self._enter_fd = -1
        self._closed_by = self.sq._closed_by = kind, why
        if lifetime.buffer_rings.get(fd) is self._in_flight.groups:
            del lifetime.buffer_rings[fd]
        _open_rings.discard(self)
        self.cq.deinit()
        self.sq.deinit()
        if self._is_indexed and kind is not RingInherited:
            _unregister_index(enter_fd, fd)
        if fd >= 0:
            syscalls.close(fd)
        if self._memory is not None:
            self._memory.free()
        if kind is RingInherited:
            # The requests belong to the parent's memory, not to this process's copy of it.
            self._in_flight.clear()
        else:
            self._in_flight.abandon()
        self._registered_buffers = {}
        self._shared = []

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.deinit()

    def __del__(self) -> None:
        if getattr(self, "_enter_fd", -1) < 0:
            return
        fd = self._enter_fd
        self._close(RingClosed, "the ring was dropped")
        if sys.is_finalizing():
            return
        import warnings  # noqa: PLC0415 - only for programs that forget to close

        warnings.warn(
            f"unclosed io_uring (fd {fd}); use `with` or call deinit()", ResourceWarning, source=self, stacklevel=2
        )

    def _check_open(self) -> None:
        if self._enter_fd < 0:
            self._refuse()

    # ---- submitting

    def get_sqe(self) -> io_uring_sqe:
        """Take a vacant SQE, cleared to a no-op.

        Raises:
            SubmissionQueueFull: every entry is taken; submit first.
            RingClosed: the ring was closed.
        """
        sq = self.sq
        sqe = sq.vacant()
        # An entry that is taken and then not filled in must not repeat the request that lay there before. So this is
        # its prep_nop(), in a fourth of the time; whatever else is written into it says that it is plain no more.
        sqe._pins = None
        sq._nop(sqe._view, sqe._offset, 0)
        sq._slot += 1
        return sqe

    def _refuse(self) -> Any:
        kind, why = self._closed_by
        raise kind(why)

    def _take(self, sqe: io_uring_sqe, user_data: int) -> io_uring_sqe:
        """Name the filled-in vacant entry and take it; until here mistaken arguments leave the queue as it was."""
        sq = self.sq
        slot = sq._slot
        try:
            sq._user_data[slot] = user_data
        except (TypeError, ValueError):
            # Raises the error that names the field.
            sqe.user_data = user_data
        sq._slot = slot + 1
        return sqe

    def nop(self, user_data: int) -> io_uring_sqe:
        """Queue a no-op. Since 5.1."""
        # The usual case of SubmissionQueue.nop: this is the call whose cost is measured (benchmarks/noop.py).
        sq = self.sq
        if sq.is_plain:
            slot = sq._slot
            try:
                sq._zeros[slot] = user_data
            except (IndexError, TypeError, ValueError):
                # No room, no zeros, no number or no ring: the other way finds out.
                pass
            else:
                sq._slot = slot + 1
                return sq.sqes[slot]
        return sq.nop(user_data)

    def submit(self) -> int:
        """Submit what is queued. Returns the number of SQEs the kernel consumed.

        With IORING_SETUP_SQPOLL it is the number pending, which the kernel thread consumes on its own. With nothing
        queued no system call is made (Zig makes one).

        Raises: see `enter`.
        """
        return self.submit_and_wait(0)

    def submit_and_wait(self, wait_nr: int) -> int:
        """Submit what is queued and wait for `wait_nr` completions.

        Args:
            wait_nr: completions to wait for; 0 does not block.

        Returns:
            SQEs the kernel consumed.

        Raises: see `enter`.
        """
        submitted = self.flush_sq()
        flags = self._submit_flags
        if self._is_polled:
            wakeup = self._wakeup_flag() if submitted else 0
            if not wakeup and wait_nr <= 0:
                return submitted
            flags |= wakeup
        elif not submitted and wait_nr <= 0:
            return 0
        if wait_nr > 0:
            flags |= _GETEVENTS
        consumed: int = syscalls.enter(_SYS_ENTER, self._enter_fd, submitted, wait_nr, flags, None, _SIGSET_BYTES)
        if consumed < 0:
            syscalls.enter_failed(submitted, wait_nr, flags)
        sq = self.sq
        if sq.rewinds:
            sq.rewind(consumed)
        elif sq._slot > sq.mask and not self._is_polled and sq._words[sq._head_at] == (sq._lap + sq._slot) & _U32:
            # The lap is over and every entry vacant again. make_room() would find that out, too, but nop() gets there
            # by an exception, which takes as long as the system call.
            sq._lap += sq._slot
            sq._slot = 0
        return consumed

    def _wakeup_flag(self) -> int:
        # Without a full fence the poller may see the old tail while we see its old flag: then nobody acts.
        self.sq.fence()
        return f.IORING_ENTER_SQ_WAKEUP if self.sq.flags & f.IORING_SQ_NEED_WAKEUP else 0

    def enter(self, to_submit: int, min_complete: int, flags: int) -> int:
        """Call io_uring_enter(2).

        Args:
            to_submit: SQEs to submit.
            min_complete: completions to wait for, with IORING_ENTER_GETEVENTS.
            flags: IORING_ENTER_* bits.

        Returns:
            SQEs consumed.

        Raises:
            SystemResources: EAGAIN; wait for completions, then try again.
            CompletionQueueOvercommitted: EBUSY; reap completions, then try again.
            SignalInterrupt: EINTR while waiting.
            SubmissionQueueEntryInvalid, FileDescriptorInvalid, FileDescriptorInBadState, BufferInvalid,
            RingShuttingDown, OpcodeNotSupported: EINVAL, EBADF, EBADFD, EFAULT, ENXIO, EOPNOTSUPP.
            InvalidThread: EEXIST under IORING_SETUP_SINGLE_ISSUER (Zig 0.16 has it, 0.15 does not).
            CompletionsDropped, SubmissionThreadDead: EBADR, EOWNERDEAD (Zig: Unexpected).
            RingClosed: the ring was closed.

        Source: io_uring_enter(2).
        """
        self._check_open()
        return syscalls.io_uring_enter(self._enter_fd, to_submit, min_complete, flags | self._enter_flags)

    def sqring_wait(self) -> int:
        """Wait until the thread of IORING_SETUP_SQPOLL has taken an entry from a full submission queue.

        Other rings, and queues that are not full, do not wait. liburing's io_uring_sqring_wait.

        Returns:
            Entries that are free now.

        Raises: see `enter`; ArgumentsInvalid before 5.10.

        Since 5.10. Source: io_uring_enter(2), IORING_ENTER_SQ_WAIT.
        """
        self._check_open()
        if self._is_polled:
            self.enter(0, 0, f.IORING_ENTER_SQ_WAIT)
        return self.sq.mask + 1 - self.sq.pending()

    def flush_sq(self) -> int:
        """Make queued SQEs visible to the kernel. Returns how many it has not consumed yet."""
        if self._enter_fd < 0:
            self._refuse()
        # All in one place, with the usual case of _notice: every call between here and the kernel can be felt.
        sq = self.sq
        tail = sq._lap + sq._slot
        words = sq._words
        if tail != sq._flushed:
            is_plain = sq.is_plain
            if self._keep_alive:
                in_flight = self._in_flight
                if is_plain and not in_flight.counts and not self._is_polled:
                    in_flight.unnoticed += tail - sq._flushed
                    in_flight.plain_tail = tail
                else:
                    self._notice(sq)
            if sq._order is not None and self._is_polled:
                sq._order()
            words[sq._tail_at] = tail & _U32
            sq._flushed = tail
            if not is_plain:
                sq._zeros = NO_SLOTS
                sq.is_plain = True
        return (tail - words[sq._head_at]) & _U32

    def _notice(self, sq: SubmissionQueue) -> None:
        """Account for each of the entries about to become visible; see `uring.lifetime`."""
        in_flight = self._in_flight
        first, tail = sq._flushed, sq._lap + sq._slot
        if in_flight.plain_tail:
            head = tail - sq.pending()
            if in_flight.plain_tail > head:
                # Plain no-ops that the kernel has not taken yet: they complete with these entries, in any order.
                in_flight.unnoticed -= in_flight.plain_tail - head
                first = head
            in_flight.plain_tail = 0
        in_flight.note(sq.sqes, first, tail)

    def sq_ring_needs_enter(self, flags: c_uint32 | None = None) -> bool:
        """Whether the kernel must be entered to submit: always, but with an SQPOLL thread that is awake.

        Args:
            flags: takes IORING_ENTER_SQ_WAKEUP when the thread must be woken (Zig's `*u32`).
        """
        if self._enter_fd < 0:
            self._refuse()
        if not self._is_polled:
            return True
        wakeup = self._wakeup_flag()
        if wakeup and flags is not None:
            flags.value |= wakeup
        return bool(wakeup)

    def sq_ready(self) -> int:
        """SQEs the kernel has not consumed, whether visible to it or not."""
        if self._enter_fd < 0:
            self._refuse()
        return self.sq.pending()

    # ---- reaping

    def cq_ready(self) -> int:
        """Completions ready to be reaped (with IORING_SETUP_CQE_MIXED: 16-byte units of them)."""
        if self._enter_fd < 0:
            self._refuse()
        return self.cq.ready()

    def copy_cqes(self, cqes: MutableSequence[Any] | CqeArray, wait_nr: int) -> int:
        """Reap completions into the front of `cqes`, at most as many as it is long.

        When none is ready and `wait_nr` is above 0, waits for at least that many; with 0 the kernel is entered only
        if completions may be pending there.

        Args:
            cqes: a list of any length above 0, for example `[None] * 64`, whose items are replaced; or a `CqeArray`,
                which is faster.
            wait_nr: completions to wait for when none is ready.

        Returns:
            Completions reaped.

        Raises: see `enter`.
        """
        if self._enter_fd < 0:
            self._refuse()
        count = self.cq.take_into(cqes)
        if not count:
            if not (wait_nr > 0 or self._peek_enters or self.cq_ring_needs_flush()):
                return 0
            self.enter(0, wait_nr, _GETEVENTS)
            # Another thread may have closed the ring while this one was waiting.
            self._check_open()
            count = self.cq.take_into(cqes)
        in_flight = self._in_flight
        if in_flight.counts:
            in_flight.completed(cqes.rows(count) if isinstance(cqes, CqeArray) else cqes[:count])
        elif in_flight.unnoticed:
            in_flight.plain_completed(count)
        return count

    def copy_cqe(self) -> io_uring_cqe:
        """Reap one completion, waiting for it if necessary.

        Raises: see `enter`.
        """
        if self._enter_fd < 0:
            self._refuse()
        while (cqe := self.cq.take_one()) is None:
            self.enter(0, 1, _GETEVENTS)
            self._check_open()
        in_flight = self._in_flight
        if in_flight.counts:
            in_flight.completed((cqe,))
        elif in_flight.unnoticed:
            in_flight.unnoticed -= 1
        return cqe

    def _reap(self, limit: int) -> list[io_uring_cqe]:
        rows = self.cq.take(limit)
        in_flight = self._in_flight
        if in_flight.counts:
            in_flight.completed(rows)
        elif in_flight.unnoticed:
            in_flight.plain_completed(len(rows))
        return rows

    def cq_ring_needs_flush(self) -> bool:
        """Whether completions wait in the kernel: an overflow, or task work (which Zig does not look for)."""
        return bool(self.sq.flags & (f.IORING_SQ_CQ_OVERFLOW | f.IORING_SQ_TASKRUN))

    def cqe_seen(self, cqe: io_uring_cqe) -> None:
        """Hand the oldest completion's slot back; only for code that reads the ring itself, once per completion."""
        del cqe
        self.cq_advance(1)

    def cq_advance(self, count: int) -> None:
        """Hand back the slots of the `count` oldest completions; not after `copy_cqe` or `copy_cqes`, which do it."""
        if count > 0:
            if self._enter_fd < 0:
                self._refuse()
            self._reap(count)

    def forget(self, user_data: int) -> None:
        """Let go of memory held for requests named `user_data`, which the caller knows to be over.

        Needed only for IOSQE_CQE_SKIP_SUCCESS, whose success nobody is told about.
        """
        self._in_flight.forget(user_data)


def _unregister_index(index: int, fd: int) -> None:
    """Give a registered ring's index back; in another thread than the one that has it, it is none."""
    update = io_uring_rsrc_update(offset=index)
    opcode: int = IORING_REGISTER.UNREGISTER_RING_FDS
    if fd < 0:
        fd, opcode = index, opcode | IORING_REGISTER_USE_REGISTERED_RING
    syscalls.io_uring_register_errno(fd, opcode, addressof(update), 1)


def _close_inherited() -> None:
    """Runs in the child of a fork: the rings are the parent's, and using one here would upset it there."""
    for ring in list(_open_rings):
        ring._close(
            RingInherited, "the ring belongs to the parent process and was closed here when it forked; create a new one"
        )


os.register_at_fork(after_in_child=_close_inherited)
