"""Whether a test left anything: all that `leak_check` compares, asked by the test's process itself, for a third of it.

Each part of `leak_check.State` has something here that cannot stay as it was if that part changed; what is quick to
read, or a hint that it may have changed. What is found is not told from here: the agent, which looks from outside, says
what it is.
"""

import os
import resource
import select
import signal
import time

from harness.guest import leak_check
from harness.guest.wire import FIRST_DESCRIPTOR, out_of_reach

_LIMITS = sorted({getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")})
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_SIGNALS = (b"SigBlk:", b"SigIgn:", b"SigCgt:")
_TEXT_SIZE_MAX = 4096
# A kernel copies as much as is asked for, whatever there is.
_SETTING_SIZE_MAX = 64
# Half of what a test may lose of the memory that is available: this looks at the memory that is free.
_MEMORY_LOST_MAX_KIB = 16 << 10
_CLOCK_ERROR_MAX_S = 0.5
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") >> 10


class QuickCheck:
    """Compares this process and its machine with what they were.

    Args:
        agent: the process that gets the orphans of tests.
    """

    def __init__(self, agent: int) -> None:
        self._is_guest = leak_check.is_guest()
        me, others = os.getpid(), leak_check.descriptors()
        self._status = _opened(f"/proc/{me}/status")
        self._agent = _opened(f"/proc/{agent}/stat")
        self._orphans = _opened(f"/proc/{agent}/task/{agent}/children")
        self._children = _opened(f"/proc/{me}/task/{me}/children")
        self._timers = _opened(f"/proc/{me}/timers")
        self._settings: list[int] = []
        self._mounts = select.poll()
        if self._is_guest:
            self._settings = [_opened(f"/proc/sys/kernel/{name}") for name in ("tainted", *leak_check.SETTINGS)]
        # What was opened so far is read from: it speaks for itself.
        self._ours = set(leak_check.descriptors()).difference(others)
        if self._is_guest:
            self._mounts.register(_opened("/proc/self/mountinfo"), select.POLLPRI)
        self._before: tuple[object, ...] | None = None
        # Descriptors that are not ours to read from.
        self._known: list[int] = []
        self._identities: list[object] = []
        self._count = 0
        # Megabytes that tests may use and give back make no difference between two of them.
        self._free_kib = self._first_free_kib = 0
        self._clock_offset_s = 0.0

    @property
    def lost_kib(self) -> int:
        """Memory that is not free any more since `renew`, but for what the last test used."""
        return max(self._first_free_kib - self._free_kib, 0)

    def renew(self) -> None:
        """Take how things are now for how they should be."""
        self._mounts.poll(0)
        self._before = self._look()
        self._count = self._descriptor_count()
        self._known = [number for number in leak_check.descriptors() if number not in self._ours]
        self._identities = self._identified()
        self._free_kib = self._first_free_kib = self._now_free_kib()
        self._clock_offset_s = _clock_offset_s()

    def is_as_before(self) -> bool:
        """Whether all is as it was. If not, or if that is not certain, somebody has to look closely."""
        try:
            return self._is_as_before()
        except OSError:  # a test closed what is looked at, say
            return False

    def _is_as_before(self) -> bool:
        if (
            not self._is_agent_asleep()
            or self._look() != self._before
            or self._descriptor_count() != self._count
            or self._identified() != self._identities
            or self._mounts.poll(0)
            or abs(_clock_offset_s() - self._clock_offset_s) > _CLOCK_ERROR_MAX_S
        ):
            return False
        free_kib = self._now_free_kib()
        if self._free_kib - free_kib > _MEMORY_LOST_MAX_KIB:
            return False
        self._free_kib = free_kib
        return True

    def _look(self) -> tuple[object, ...]:
        return (
            _read(self._orphans),
            _read(self._children),
            [signal.getitimer(which) for which in _TIMERS],
            _read(self._timers),
            self._state_of_process(),
            [resource.getrlimit(which) for which in _LIMITS],
            _directory(),
            [_read(descriptor, _SETTING_SIZE_MAX) for descriptor in self._settings],
            leak_check.scratch() if self._is_guest else (),
        )

    def _now_free_kib(self) -> int:
        return os.sysconf("SC_AVPHYS_PAGES") * _PAGE_KIB if self._is_guest else 0

    def _is_agent_asleep(self) -> bool:
        """Nobody would notice a stopped one as long as all goes well. One that is going to stop is woken up first."""
        return _read(self._agent).rpartition(b") ")[2].startswith(b"S")

    def _state_of_process(self) -> tuple[bytes, ...]:
        """Those fields of its status that `leak_check` compares. They are sought by hand: that costs a tenth."""
        status = _read(self._status)
        threads = _field(status, b"Threads:")
        if threads != b"1":
            # The kernel's own workers come and go.
            threads = b"%d" % leak_check.thread_count(os.getpid())
        return threads, _field(status, b"Umask:"), *(_field(status, name) for name in _SIGNALS)

    def _identified(self) -> list[object]:
        """What the descriptors stand for."""
        return [os.fstat(descriptor)[1:4] for descriptor in self._known]  # inode, device, links

    def _descriptor_count(self) -> int:
        """How many are open: together with all that are known there is no room for others."""
        count = os.stat("/proc/self/fd").st_size  # noqa: PTH116
        return count or len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - Linux before 6.2


def _field(status: bytes, name: bytes) -> bytes:
    begin = status.find(name) + len(name)
    return status[begin : status.find(b"\n", begin)].strip()


def _opened(path: str) -> int:
    try:
        return out_of_reach(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError:  # what this kernel has no file for, it lacks
        return -1


def _read(descriptor: int, size: int = _TEXT_SIZE_MAX) -> bytes:
    return os.pread(descriptor, size, 0) if descriptor >= FIRST_DESCRIPTOR else b""


def _directory() -> str:
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:
        return ""


def _clock_offset_s() -> float:
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
