"""Deadlines in emulated guests, whose clock leaps to the next timer while they wait for what the host does for them.

A disk or a serial port takes the host's time to answer, and an idle guest's clock does not wait for it. The clock
chip goes by the host's.
"""

import time
from pathlib import Path

from harness.guest import leak_check

# The clock may have leapt while the process waited for the host, which has answered just now.
_IDLE_LOOKS_MIN = 3
_CHIP = Path("/sys/class/rtc/rtc0/since_epoch")


def host_s() -> float:
    """The host's time in a guest that has a clock chip, in whole seconds; else that of the monotonic clock."""
    try:
        return float(_CHIP.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return time.monotonic()


def is_waited_for(process: int) -> bool:
    """Whether the host is what holds a guest up.

    Args:
        process: waits for the host if it waits for a serial port to be empty.

    Returns:
        Whether it does, or any thread at all waits for a disk: nothing else is waited for without interruption so long.
    """
    return "tty_wait_until_sent" in _text(Path(f"/proc/{process}/stack")) or any(
        _text(thread).rpartition(")")[2].split()[:1] == ["D"] for thread in Path("/proc").glob("[0-9]*/task/*/stat")
    )


def _text(path: Path) -> str:
    """What a file says; nothing if it, or the process that it is about, is gone."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


class Deadline:
    """A time limit by the clock of a guest, for which waiting for the host does not count, within bounds."""

    def __init__(self, length_s: float, begun_s: float | None = None) -> None:
        """Set a limit.

        Args:
            length_s: how long.
            begun_s: since when, by the monotonic clock; now if None.
        """
        self._length_s = length_s
        self._until_s = (time.monotonic() if begun_s is None else begun_s) + length_s
        self._host_until_s: float | None = None
        self._idle_looks = 0

    @property
    def left_s(self) -> float:
        """How long to wait before the next look, above 0."""
        return max(self._until_s - time.monotonic(), 0.25)

    def has_passed(self, process: int) -> bool:
        """Whether there is no more time, to be asked again and again.

        Args:
            process: may wait for the host. Then its time begins anew, until the host has had a third of it.
        """
        if time.monotonic() < self._until_s:
            return False
        if not leak_check.is_guest():
            return True
        if not is_waited_for(process):
            self._idle_looks += 1
            self._until_s = time.monotonic() + 1
            return self._idle_looks >= _IDLE_LOOKS_MIN
        self._idle_looks = 0
        if self._host_until_s is None:
            self._host_until_s = host_s() + self._length_s / 3
        if host_s() >= self._host_until_s:
            return True
        self._until_s = time.monotonic() + self._length_s
        return False
