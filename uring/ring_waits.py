"""Waiting for completions: with a time limit, for fewer after a while, with signals let in, by registered arguments."""

from __future__ import annotations

from ctypes import addressof, c_uint64, sizeof
from errno import EOPNOTSUPP

from . import errno_tables as tables
from . import flags as f
from . import syscalls
from .errors import ArgumentOutOfRange, OpcodeNotSupported
from .ring_resources import ResourceRegistrations
from .structs import io_uring_getevents_arg, io_uring_reg_wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .cqe import io_uring_cqe
    from .structs import kernel_timespec

_WAIT = f.IORING_ENTER_GETEVENTS | f.IORING_ENTER_EXT_ARG
_SIGNALS = 64
_REG_WAIT_BYTES = sizeof(io_uring_reg_wait)


class RingWaits(ResourceRegistrations):
    """Waiting. Completions that are there are reaped with `copy_cqe` and `copy_cqes`, whatever a wait says."""

    __slots__ = ()

    def peek_cqe(self) -> io_uring_cqe | None:
        """Look at the oldest completion, which stays in the queue; None if there is none.

        The kernel is entered only if completions may be pending there. `cqe_seen` hands it back.

        Raises: see `enter`.
        """
        self._check_open()
        cqe = self.cq.oldest()
        if cqe is None and (self._peek_enters or self.cq_ring_needs_flush()):
            self.get_events()
            cqe = self.cq.oldest()
        return cqe

    def get_events(self) -> int:
        """Have the kernel post what is pending, without waiting and without submitting.

        Raises: see `enter`.
        """
        return self.enter(0, 0, f.IORING_ENTER_GETEVENTS)

    def submit_and_get_events(self) -> int:
        """Submit what is queued, and have the kernel post what is pending, without waiting.

        Returns:
            SQEs the kernel consumed.

        Raises: see `enter`.
        """
        return self._submit_with(0, f.IORING_ENTER_GETEVENTS)

    def submit_and_wait_timeout(
        self,
        wait_nr: int,
        ts: kernel_timespec | None,
        sigmask: Iterable[int] | None = None,
        *,
        is_absolute: bool = False,
    ) -> int:
        """Submit what is queued and wait for completions, for a limited time.

        Args:
            wait_nr: completions to wait for.
            ts: how long; None is without limit.
            sigmask: signals to block meanwhile, instead of the thread's.
            is_absolute: `ts` is a time of the ring's clock (CLOCK_MONOTONIC, or what `register_clock` chose), since
                6.12.

        Returns:
            SQEs the kernel consumed. If it is not 0, whether the time is over is not told: look what is there.

        Raises:
            WaitTimedOut: ETIME, and nothing was submitted.
            And everything `enter` raises; SubmissionQueueEntryInvalid on kernels that lack a flag.

        Since 5.11; detect with IORING_FEAT_EXT_ARG. Source: io_uring_submit_and_wait_timeout(3).
        """
        return self._wait(wait_nr, ts, 0, sigmask, is_absolute)

    def submit_and_wait_min_timeout(
        self, wait_nr: int, ts: kernel_timespec | None, min_wait_us: int, sigmask: Iterable[int] | None = None
    ) -> int:
        """Submit what is queued and wait for completions: for all of them at first, then for any.

        Args:
            wait_nr: completions to wait for.
            ts: how long; None is without limit.
            min_wait_us: after so many microseconds one completion is enough.
            sigmask: signals to block meanwhile, instead of the thread's.

        Returns:
            SQEs the kernel consumed.

        Raises: as `submit_and_wait_timeout`.

        Since 6.12; detect with IORING_FEAT_MIN_TIMEOUT. Source: io_uring_submit_and_wait_min_timeout(3).
        """
        return self._wait(wait_nr, ts, min_wait_us, sigmask, is_absolute=False)

    def wait_cqes(
        self, wait_nr: int, ts: kernel_timespec | None = None, sigmask: Iterable[int] | None = None
    ) -> io_uring_cqe | None:
        """Wait until so many completions are there, for a limited time; nothing is submitted.

        Args:
            wait_nr: completions to wait for.
            ts: how long; None is without limit.
            sigmask: signals to block meanwhile, instead of the thread's.

        Returns:
            The oldest, which stays in the queue.

        Raises: as `submit_and_wait_timeout`.

        Since 5.11. Source: io_uring_wait_cqes(3).
        """
        return self._wait_here(wait_nr, ts, 0, sigmask)

    def wait_cqe_timeout(self, ts: kernel_timespec) -> io_uring_cqe | None:
        """Wait for one completion, for a limited time; see `wait_cqes`."""
        return self._wait_here(1, ts, 0, None)

    def wait_cqes_min_timeout(
        self, wait_nr: int, ts: kernel_timespec | None, min_wait_us: int, sigmask: Iterable[int] | None = None
    ) -> io_uring_cqe | None:
        """Wait as `wait_cqes`, but for one completion only when `min_wait_us` microseconds are over. Since 6.12."""
        return self._wait_here(wait_nr, ts, min_wait_us, sigmask)

    def submit_and_wait_reg(self, wait_nr: int, reg_index: int) -> int:
        """Submit what is queued and wait with arguments that lie in registered memory.

        Args:
            wait_nr: completions to wait for.
            reg_index: which `io_uring_reg_wait` of those that `register_wait_reg` registered.

        Returns:
            SQEs the kernel consumed.

        Raises: as `submit_and_wait_timeout`; BufferInvalid where there is no such argument.

        Since 6.13. Source: io_uring_submit_and_wait_reg(3).
        """
        flags = _WAIT | f.IORING_ENTER_EXT_ARG_REG
        return self._submit_with(wait_nr, flags, reg_index * _REG_WAIT_BYTES, _REG_WAIT_BYTES)

    def set_iowait(self, enable_iowait: bool) -> None:
        """Have waits counted as waiting for I/O, as they are at first, or not: CPUs sleep deeper then.

        Raises:
            OpcodeNotSupported: the kernel lacks IORING_FEAT_NO_IOWAIT.

        Since 6.15. Source: io_uring_set_iowait(3).
        """
        self._check_open()
        if not self.features & f.IORING_FEAT_NO_IOWAIT:
            raise OpcodeNotSupported(EOPNOTSUPP, "set_iowait: the kernel lacks IORING_FEAT_NO_IOWAIT (6.15)")
        for name in ("_enter_flags", "_submit_flags"):
            bits = getattr(self, name) & ~f.IORING_ENTER_NO_IOWAIT
            setattr(self, name, bits if enable_iowait else bits | f.IORING_ENTER_NO_IOWAIT)

    def _wait_here(
        self, wait_nr: int, ts: kernel_timespec | None, min_wait_us: int, sigmask: Iterable[int] | None
    ) -> io_uring_cqe | None:
        self._check_open()
        if self.cq.ready() < wait_nr:
            argument = _argument(ts, min_wait_us, sigmask)
            self._enter_with(0, wait_nr, _WAIT | self._enter_flags, addressof(argument), sizeof(argument))
        return self.cq.oldest()

    def _wait(
        self,
        wait_nr: int,
        ts: kernel_timespec | None,
        min_wait_us: int,
        sigmask: Iterable[int] | None,
        is_absolute: bool,
    ) -> int:
        argument = _argument(ts, min_wait_us, sigmask)
        flags = _WAIT | (f.IORING_ENTER_ABS_TIMER if is_absolute else 0)
        return self._submit_with(wait_nr, flags, addressof(argument), sizeof(argument))

    def _submit_with(self, wait_nr: int, flags: int, argument: int = 0, size: int = syscalls.SIGSET_BYTES) -> int:
        submitted = self.flush_sq()
        flags |= self._submit_flags
        if self._is_polled and submitted:
            flags |= self._wakeup_flag()
        consumed = self._enter_with(submitted, wait_nr, flags, argument, size)
        if self.sq.rewinds:
            self.sq.rewind(consumed)
        return consumed

    def _enter_with(self, to_submit: int, wait_nr: int, flags: int, argument: int, size: int) -> int:
        result = syscalls.io_uring_enter_errno(self._enter_fd, to_submit, wait_nr, flags, argument, size)
        if result < 0:
            call = f"io_uring_enter(to_submit={to_submit}, min_complete={wait_nr}, flags={flags:#x})"
            tables.fail(call, -result, tables.ENTER)
        return result


def _argument(ts: kernel_timespec | None, min_wait_us: int, sigmask: Iterable[int] | None) -> io_uring_getevents_arg:
    """What waiting takes; it holds what it points to."""
    if not 0 <= min_wait_us < 1 << 32:
        raise ArgumentOutOfRange(f"{min_wait_us} microseconds are not in 0 to 2**32 - 1")
    argument = io_uring_getevents_arg(min_wait_usec=min_wait_us)
    pins: list[object] = []
    if ts is not None:
        argument.ts = addressof(ts)
        pins.append(ts)
    if sigmask is not None:
        mask = c_uint64(mask_of(sigmask))
        argument.sigmask, argument.sigmask_sz = addressof(mask), sizeof(mask)
        pins.append(mask)
    argument._pins = pins
    return argument


def mask_of(signals: Iterable[int]) -> int:
    """Signals as the kernel's set of them."""
    mask = 0
    for number in signals:
        if not 1 <= number <= _SIGNALS:
            raise ArgumentOutOfRange(f"{number} is no signal")
        mask |= 1 << number - 1
    return mask
