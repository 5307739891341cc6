"""What a machine has of its own, brought up to date: it may be a copy of another one, restored."""

import fcntl
import os
import struct
import time
from typing import Any

RNDADDENTROPY, RNDRESEEDCRNG = 0x40085203, 0x5207


def renew(message: dict[str, Any]) -> None:
    """Take the host's time, and random numbers that nobody else has."""
    set_clock(message)
    add_entropy(bytes.fromhex(message["entropy"]))


def set_clock(message: dict[str, Any]) -> None:
    """Take the host's time."""
    if message.get("time") is not None:
        time.clock_settime(time.CLOCK_REALTIME, message["time"])


def add_entropy(entropy: bytes) -> None:
    """Credit random bytes of the host's, and have the kernel's generator seeded with them at once."""
    with open("/dev/urandom", "wb") as device:  # noqa: PTH123 - PID 1 does without pathlib
        fcntl.ioctl(device, RNDADDENTROPY, struct.pack("ii", 8 * len(entropy), len(entropy)) + entropy)
        fcntl.ioctl(device, RNDRESEEDCRNG)


def ready() -> dict[str, Any]:
    """What to tell the host: who is there."""
    name = os.uname()
    return {"type": "ready", "release": name.release, "version": name.version, "uptime_s": uptime_s()}


def uptime_s() -> float:
    """Seconds since the kernel started its clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
