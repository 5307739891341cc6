"""The process that runs tests, as the agent sees it: a fork of the collected session, spoken to over a wire."""

import os
import signal
import time
import traceback
from collections.abc import Sequence
from typing import Self

import pytest

from harness.cells import Cell
from harness.guest import item_loop
from harness.guest.progress import Progress
from harness.guest.wire import FIRST_DESCRIPTOR, Wire

_STACKS_TIMEOUT_S = 1.0
_STACKS_SIZE_MAX = 64 << 10


class Runner:
    """The agent's side of it.

    Attributes:
        process: its id.
        wire: our end.
        progress: how far it has come.
        end_descriptor: readable when the process ended; negative on kernels that cannot tell.
    """

    def __init__(self, process: int, wire: Wire, progress: Progress, stacks_descriptor: int) -> None:
        self.process = process
        self.wire = wire
        self.progress = progress
        self.end_descriptor = _watched(process)
        self._stacks_descriptor = stacks_descriptor
        self._status: int | None = None

    @classmethod
    def fork(cls, session: pytest.Session, cells: Sequence[Cell], port: item_loop.Port, console: int) -> Self:
        """Start one.

        Args:
            session: collected.
            cells: the session's.
            port: the channel to the host, which it may send to while it has a list of items.
            console: the descriptor of the machine's console.
        """
        ours, theirs = Wire.pair()
        progress, agent = Progress(), os.getpid()
        stacks = os.memfd_create("stacks")
        process = os.fork()
        if process == 0:
            ours.close()
            status = 1
            try:
                item_loop.serve(session, cells, item_loop.Lines(theirs, port, console, progress), agent, stacks)
                status = 0
            except BaseException:
                os.write(FIRST_DESCRIPTOR - 1, traceback.format_exc().encode(errors="replace"))
            finally:
                os._exit(status)
        theirs.close()
        ours.receive()  # it is set up, and can be looked at as it is before its first test
        return cls(process, ours, progress, stacks)

    def poll(self) -> int | None:
        """Its wait status, None while it runs."""
        if self._status is None:
            ended, status = os.waitpid(self.process, os.WNOHANG)
            if ended:
                self._status = status
        return self._status

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its end; its wait status, None when it still runs."""
        deadline_s = time.monotonic() + timeout_s
        while (status := self.poll()) is None and time.monotonic() < deadline_s:
            time.sleep(0.01)
        return status

    def kill(self, timeout_s: float) -> None:
        """End it. One that cannot be ended is the guest's end, too: nobody waits for it."""
        if self.poll() is None:
            os.kill(self.process, signal.SIGKILL)
            self.wait(timeout_s)
        self.wire.close()
        self.progress.close()
        os.close(self._stacks_descriptor)
        if self.end_descriptor >= 0:
            os.close(self.end_descriptor)

    def ask_for_stacks(self) -> None:
        """Have it write where its threads are in Python, and give it a moment for that."""
        os.kill(self.process, item_loop.STACKS_SIGNAL)
        deadline_s = time.monotonic() + _STACKS_TIMEOUT_S
        while os.fstat(self._stacks_descriptor).st_size == 0 and time.monotonic() < deadline_s:
            time.sleep(0.05)

    def stacks(self) -> list[str]:
        """What it wrote when it was asked, or when it died of a fault."""
        size = min(os.fstat(self._stacks_descriptor).st_size, _STACKS_SIZE_MAX)
        return os.pread(self._stacks_descriptor, size, 0).decode(errors="replace").splitlines()


def _watched(process: int) -> int:
    try:
        return os.pidfd_open(process)
    except OSError:
        return -1
