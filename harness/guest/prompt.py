"""A Python prompt on the guest's console."""

import code
import contextlib
import fcntl
import importlib
import os
import termios
from typing import Any

CONSOLE = "/dev/console"


def main(port: Any, argument: Any) -> None:
    """Entry point for PID 1: talk to whoever sits at the console until they leave."""
    del port
    modules = {name: importlib.import_module(name) for name in argument["modules"]}

    _take_the_console()
    release = os.uname().release
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401, PLC0415 - line editing for input()
    code.interact(
        banner=f"Linux {release}. {', '.join(f'`{name}`' for name in modules)} imported; Ctrl-D ends the guest.",
        local={**modules, "os": os},
        exitmsg="",
    )


def _take_the_console() -> None:
    """Make the console this session's terminal, so that Ctrl-C and job control work."""
    descriptor = os.open("/dev/ttyS0", os.O_RDWR)
    with contextlib.suppress(OSError):
        fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)
    for standard in range(3):
        os.dup2(descriptor, standard)
