"""`uring-matrix shell`: a Python prompt inside a kernel, on this terminal."""

import sys
import tempfile
import termios
import tty
from dataclasses import replace
from pathlib import Path

from uring_matrix.guests import machine_of, references
from uring_matrix.output import error_line
from vm.channel import ChannelClosedError
from vm.machine import Guest

_ENTRY = "harness.guest.prompt:main"
_BOOT_DEADLINE_S = 120.0
_FOREVER_S = 7 * 24 * 3600.0
USAGE = 2


def shell(spec: str, *, accel: str | None) -> int:
    """Boot a kernel and connect its console to this terminal until the prompt ends."""
    refs = references([spec], accel)
    if len(refs) != 1 or refs[0].source == "host":
        error_line(
            f"{spec} names {len(refs)} kernels" if len(refs) != 1 else "this machine's kernel has a shell already"
        )
        return USAGE
    machine = replace(machine_of(refs[0], accel), is_interactive=True)
    with tempfile.TemporaryDirectory(prefix="uring-matrix-") as directory:
        is_terminal = sys.stdin.isatty()
        saved = termios.tcgetattr(sys.stdin) if is_terminal else None
        try:
            with Guest.boot(machine, Path(directory), deadline_s=_BOOT_DEADLINE_S) as guest:
                if is_terminal:
                    tty.setraw(sys.stdin)
                guest.start(_ENTRY, {"modules": ["uring"]})
                try:
                    guest.channel.receive(_FOREVER_S)
                except ChannelClosedError:
                    return 1
        finally:
            if saved is not None:
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)
            print()
    return 0
