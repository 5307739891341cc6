"""Prefetching: a process of its own downloads and unpacks what will be wanted, while this one does something else.

Everything ordered of it has a file, which is locked until the outcome is in it. So whoever wants the outcome waits for
that lock, in any process, and for as long as it takes; and a file that is free without an outcome says that the process
is gone. What was fetched lies in the cache, as if whoever wants it had fetched it.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from vm.apt_process import tied_to_us
from vm.cache import Cache
from vm.errors import FetchError, VmError
from vm.fetch import Kernels
from vm.kernel import Kernel, KernelRef
from vm.lock import Pin, fetch_locked
from vm.progress import PlainProgress, Progress
from vm.qemu import find_qemu
from vm.settings import Settings

_T = TypeVar("_T")
# How long it may take to stop in good order; then it is killed.
_STOP_MAX_S = 10.0
# Waiting for a lock has no deadline of its own.
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What is in a file: a kernel, or why there is none; neither for what else was fetched."""

    kernel: Kernel | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class PrefetchRequest:
    """What to fetch."""

    settings: Settings
    arch: str
    # These, or these pinned ones, in the order they are wanted …
    kernels: tuple[KernelRef, ...] = ()
    pins: tuple[Pin, ...] = ()
    # … or one of these, which lies in the cache then.
    other: Literal["QEMU", "index"] | None = None

    @property
    def count(self) -> int:
        """How many outcomes it has."""
        return 1 if self.other is not None else len(self.kernels or self.pins)


class Prefetch:
    """A process that fetches.

    Attributes:
        outcomes: the file of each thing ordered, for `outcome` in whichever process.

    Args:
        order: what to fetch.
        directory: where to put those files; whoever made it removes it when the process has ended.
        progress: told what the process says, while somebody waits for it here.
    """

    def __init__(self, order: PrefetchRequest, directory: Path, progress: Progress) -> None:
        self._progress = progress
        self.outcomes = [directory / f"{number}.outcome" for number in range(order.count)]
        descriptors = [os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC) for path in self.outcomes]
        home = str(Path(__file__).parents[1])
        try:
            for descriptor in descriptors:
                # The lock is the open file's, which the process inherits: it ends with the last of us that has it.
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._process = subprocess.Popen(
                # Without the current directory in the path: a user's folder may be called like a module.
                [*tied_to_us("TERM"), sys.executable, "-P", "-m", "vm.prefetch", *map(str, descriptors)],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=descriptors,
                # Ctrl-C is for us: we end it in our own time.
                start_new_session=True,
            )
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        if self._process.stdin is None or self._process.stdout is None:
            raise VmError("no pipe to the process that fetches")
        self._said = self._process.stdout
        try:
            with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:
                pipe.write(_encode(order))
        except BaseException:
            self.end()
            raise

    def wait(self) -> int | None:
        """Wait for the next outcome, and pass on what the process says meanwhile.

        Returns:
            Its place in what was ordered; None when the process has ended.
        """
        while line := self._said.readline():
            kind, value = json.loads(line)
            if kind == "done":
                return int(value)
            self._progress.note(value)
        return None

    def leave(self) -> None:
        """Stop listening: the process goes on in silence."""
        self._said.close()

    def end(self) -> None:
        """End the process, whatever it is at; nothing half done is left."""
        self.leave()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_MAX_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def is_there(outcome: Path) -> bool:
    """Whether an outcome can be had without waiting."""
    try:
        with outcome.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # that is to say: it is not coming any more
    return True


def take(outcome: Path, until_s: float | None = None) -> Kernel | None:
    """Take an outcome, waiting for it if need be.

    Args:
        outcome: its file.
        until_s: when to give up, by the monotonic clock.

    Returns:
        The kernel; nothing of what else was ordered.

    Raises:
        VmError: it cannot be had; or the process ended before it was there.
    """
    while until_s is not None and not is_there(outcome):
        if time.monotonic() > until_s:
            raise FetchError("the run's time was over before it was fetched")
        time.sleep(_POLL_S)
    try:
        with outcome.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            found = _decode(file.read(), _Outcome)
    except (OSError, msgspec.DecodeError) as error:
        raise FetchError(
            f"the process that fetches it ended before it was there ({type(error).__name__}); run again"
        ) from error
    if found.error is not None:
        raise VmError(found.error)
    return found.kernel


def _encode(value: object) -> bytes:
    return msgspec.json.encode(value, enc_hook=str)


def _decode(content: bytes, kind: type[_T]) -> _T:
    return msgspec.json.decode(content, type=kind, dec_hook=lambda wanted, value: wanted(value))


# -- the process itself -----------------------------------------------------------------------------------------------


_saying = threading.Lock()


class _Outcomes:
    """The files of what was ordered."""

    def __init__(self, descriptors: Sequence[int]) -> None:
        self._descriptors = dict(enumerate(descriptors))

    def put(self, number: int, outcome: Kernel | VmError | None) -> None:
        """Write an outcome down, and then let it be read."""
        descriptor = self._descriptors.pop(number)
        found = _Outcome(error=str(outcome)) if isinstance(outcome, VmError) else _Outcome(outcome)
        with contextlib.suppress(OSError):  # a full disk: what is cut off is no outcome
            os.write(descriptor, _encode(found))
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)
        _say("done", number)

    def put_rest(self, error: VmError) -> None:
        """Have everything that is still open end with this error."""
        for number in list(self._descriptors):
            self.put(number, error)


class _Told(PlainProgress):
    """Progress in lines, for the pipe."""

    def write(self, line: str) -> None:
        _say("line", line)


def _say(kind: str, value: object) -> None:
    """Tell whoever waits; nobody may be listening any more. Kernels are unpacked by several threads."""
    with _saying, contextlib.suppress(OSError):
        os.write(sys.stdout.fileno(), json.dumps([kind, value]).encode() + b"\n")


def _fetch(order: PrefetchRequest, outcomes: _Outcomes) -> None:
    progress = _Told()
    cache = Cache(order.settings.cache, progress)
    kernels = Kernels(cache, order.settings, progress, arch=order.arch)
    if order.other is not None:
        try:
            if order.other == "QEMU":
                find_qemu(order.arch, cache, order.settings, progress)
            else:
                kernels.index  # noqa: B018 - a property, whose answer the cache remembers
            outcomes.put(0, None)
        except VmError as error:
            outcomes.put(0, error)
    elif order.pins:
        fetch_locked(kernels, order.pins, outcomes.put)
    else:
        kernels.fetch_all(order.kernels, tell=outcomes.put)


def main() -> None:
    """Fetch what is ordered on standard input; the arguments are the descriptors of the files for it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    outcomes = _Outcomes([int(argument) for argument in sys.argv[1:]])
    try:
        content = sys.stdin.buffer.read()
        if content:  # else whoever ordered was interrupted
            _fetch(_decode(content, PrefetchRequest), outcomes)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        outcomes.put_rest(VmError(f"{type(error).__name__}: {error} in the process that fetches: a mistake of ours"))
        raise


if __name__ == "__main__":
    main()
