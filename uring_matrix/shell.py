"""`uring-matrix shell`: a Python prompt inside a kernel, on this terminal; or a program from a pipe, run there."""

import sys
import tempfile
import termios
import tty
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.guest_shape import GuestShape
from uring_matrix.guests import boot, machine_of, references
from uring_matrix.output import INFRASTRUCTURE, USAGE, error_line, tell
from vm.channel import ChannelClosedError
from vm.kernel import KernelRef
from vm.machine import MachineConfig

_PROMPT, _PROGRAM = "harness.guest.prompt:main", "harness.guest.prompt:run"
_FOREVER_S = 7 * 24 * 3600.0
_MODULES = ["uring"]


def shell(
    spec: str,
    *,
    accel: str | None,
    cpus: int | None = None,
    memory_mib: int | None = None,
    parameters: Sequence[str] = (),
) -> int:
    """Boot a kernel, and connect its console to this terminal until the prompt ends.

    Where standard input is no terminal, it is a program: it runs there, and its output and exit code are ours.
    """
    shape = GuestShape.of(cpus, memory_mib, parameters)
    refs = references([spec], accel)
    if len(refs) != 1 or refs[0].source == "host":
        error_line(
            f"{spec} names {len(refs)} kernels" if len(refs) != 1 else "this machine's kernel has a shell already"
        )
        return USAGE
    is_terminal = sys.stdin.isatty()
    # All of it before the boot: nothing is lost on the way.
    program = None if is_terminal else sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
    machine = machine_of(refs[0], accel, shape)
    with tempfile.TemporaryDirectory(prefix="uring-matrix-") as directory:
        if program is not None:
            return _run(program, machine, refs[0], Path(directory))
        # A line, and no stage that ends: from here on the terminal is the guest's.
        tell(f"booting {refs[0].release or refs[0].id}")
        return _interact(machine, refs[0], Path(directory))


def _run(program: str, machine: MachineConfig, ref: KernelRef, directory: Path) -> int:
    streams = {1: sys.stdout.buffer, 2: sys.stderr.buffer}
    with boot(machine, ref, directory) as guest:
        guest.start(_PROGRAM, {"modules": _MODULES, "program": program})
        try:
            while (message := guest.channel.receive(_FOREVER_S))["type"] != "exit":
                stream = streams[message["stream"]]
                stream.write(message["data"].encode("latin-1"))
                stream.flush()
        except ChannelClosedError as error:
            error_line(f"the guest ended before the program did: {error}")
            return INFRASTRUCTURE
    return int(message["code"])


def make_raw(descriptor: int) -> None:
    """Let a terminal pass every key on; what was typed while the guest booted stays, which Python's default drops."""
    tty.setraw(descriptor, termios.TCSADRAIN)


def _interact(machine: MachineConfig, ref: KernelRef, directory: Path) -> int:
    saved = termios.tcgetattr(sys.stdin)
    try:
        with boot(replace(machine, is_interactive=True), ref, directory) as guest:
            make_raw(sys.stdin.fileno())
            guest.start(_PROMPT, {"modules": _MODULES})
            try:
                guest.channel.receive(_FOREVER_S)
            except ChannelClosedError:
                return 1
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)
        print()
    return 0
