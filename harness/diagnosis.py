"""Whether the environment, rather than the kernel, is what made a test raise: asked where the test ran, right after.

What only a suite can know (is io_uring forbidden to this process?) it says itself, by a hook. What programs need to be
started is the same for every suite.
"""

import errno
import os
import signal
import subprocess
import traceback
from dataclasses import dataclass
from typing import Literal

import pytest

# What a shell and the dynamic loader end with where a program cannot be started.
_NOT_STARTED = {126: "cannot be executed", 127: "or something that it needs is not there"}
# Python's own calls that start programs, by the file they are in.
_STARTERS = ("subprocess.py", "os.py", "pty.py", "popen_fork.py", "popen_spawn_posix.py", "base_subprocess.py")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is known of the reason."""

    # `environment`: nothing follows about the kernel. `unsupported`: the kernel has none of it. `program`: one that the
    # test starts cannot be. `timeout`: one did not end in time. `died`: a signal ended one, whoever is to blame.
    kind: str
    # A sentence, with what to do about it
    reason: str
    evidence: tuple[str, ...] = ()


class HookSpecs:
    """The hooks of suites that are asked where a test ran: in guests as on this machine."""

    @pytest.hookspec(firstresult=True)
    def pytest_matrix_diagnose(self, error: BaseException) -> Diagnosis | None:
        """Say whether the environment is why a test raised this. None: as far as the suite knows, it is not."""

    @pytest.hookspec(firstresult=True)
    def pytest_matrix_expected_side(self, module: str) -> Literal["left", "right"] | None:
        """Say on which side of `==` a module of the suite has what it expects. None: it is none of the suite's."""


def of_program(error: BaseException) -> Diagnosis | None:
    """Diagnose what starting a program raises."""
    if isinstance(error, subprocess.TimeoutExpired):
        return Diagnosis("timeout", f"{_name(error.cmd)} did not end within {error.timeout:g} s")
    if isinstance(error, subprocess.CalledProcessError) and error.returncode in _NOT_STARTED:
        words = _words(error.stderr) or _words(error.output)
        return Diagnosis(
            "program",
            f"{_name(error.cmd)} {_NOT_STARTED[error.returncode]} (exit code {error.returncode})"
            + (f": {words}" if words else ""),
        )
    if isinstance(error, subprocess.CalledProcessError) and error.returncode < 0:
        return Diagnosis("died", f"{_name(error.cmd)} died of {_signal_name(-error.returncode)}")
    if not isinstance(error, OSError) or not _is_raised_by_a_starter(error):
        return None
    name = os.fsdecode(error.filename) if error.filename is not None else "a program"
    if error.errno == errno.ENOENT and os.path.exists(name):  # noqa: PTH110 - it may be no path at all
        return Diagnosis("program", f"{name} cannot be started: its interpreter or loader is not there")
    if error.errno in (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ELIBBAD):
        return Diagnosis("program", f"{name} cannot be started: {error.strerror}")
    return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _is_raised_by_a_starter(error: OSError) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    return last is not None and os.path.basename(last.filename) in _STARTERS  # noqa: PTH119


def _name(command: object) -> str:
    first = command if isinstance(command, str | bytes) else next(iter(command), "") if command else ""  # type: ignore[call-overload]
    return os.fsdecode(first) if isinstance(first, str | bytes | os.PathLike) else str(first)


def _words(output: object) -> str:
    text = output.decode(errors="replace") if isinstance(output, bytes) else output if isinstance(output, str) else ""
    return next(iter(text.strip().splitlines()), "")
