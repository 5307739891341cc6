"""Deadlines in emulated guests, whose clock leaps to the next timer while they wait for what the host does for them.

A disk or a serial port takes the host's time to answer, and an idle guest's clock does not wait for it. The clock
chip goes by the host's.
"""

import os
import time
from pathlib import Path

_CHIP = Path("/sys/class/rtc/rtc0/since_epoch")
# How long the host is given beside the guest's own time.
GRACE_S = 5.0


def host_s() -> float:
    """The host's time in a guest that has a clock chip, in whole seconds; elsewhere that of the monotonic clock."""
    if os.environ.get("URING_MATRIX_GUEST") == "1":
        try:
            return float(_CHIP.read_text(encoding="ascii"))
        except (OSError, ValueError):
            pass
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
    """A time limit that is over when the guest's clock says so, and the host has had time to do its part as well."""

    def __init__(self, until_s: float, grace_s: float = GRACE_S) -> None:
        """Set a limit.

        Args:
            until_s: by the monotonic clock.
            grace_s: how long the host is given from then on.
        """
        self._until_s = until_s
        self._grace_s = grace_s
        self._since_s: float | None = None

    @property
    def left_s(self) -> float:
        """How long to wait before the next look, above 0."""
        return max(self._until_s - time.monotonic(), 0.25)

    @property
    def is_past(self) -> bool:
        """Whether the guest's clock says that it is over."""
        return time.monotonic() >= self._until_s

    def extend(self, seconds: float) -> None:
        """Begin the guest's time anew; what the host was given is not given again."""
        self._until_s = time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        """Whether there is no more time: to be asked again and again."""
        if not self.is_past:
            return False
        if self._since_s is None:
            self._since_s = host_s()
        return host_s() - self._since_s >= self._grace_s
