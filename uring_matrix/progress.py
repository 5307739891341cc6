"""Progress for people: bars on a terminal, plain lines elsewhere. Implements what `vm.progress` asks for.

The bars are drawn whenever something moves, never by a thread of their own: guests are started by forking, and a
fork must not find a lock held by a thread that the child does not have.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from vm.progress import PlainProgress, Progress, Stage, megabytes

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_REDRAW_S = 0.1
# A stage that was over before anybody could read its name leaves no line.
_REMEMBERED_S = 1.0


def progress(stream: TextIO | None = None) -> Progress:
    """Choose how to show progress on a stream, standard error unless given: bars if it is a terminal that can."""
    target = stream if stream is not None else sys.stderr
    if target.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return TerminalProgress(target)
    return PlainProgress(stream)


class TerminalProgress:
    """Bars with sizes and speeds; what is done stays above them as one line each.

    Args:
        stream: a terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bars: Bars | None = None
        self._open = 0
        self._drawn_s = 0.0
        # Stages open and close in several threads while kernels are unpacked.
        self._lock = threading.RLock()

    @contextmanager
    def stage(self, name: str, total_bytes: int | None = None) -> Iterator[Stage]:
        """Show a bar for as long as the context is open."""
        with self._lock:
            bars = self._start()
            task = bars.add_task(name, total=total_bytes)
            bars.refresh()
        shown = _Bar(self, task)
        started_s = time.monotonic()
        mark = "✗"
        try:
            yield shown
            mark = "✓"
        finally:
            taken_s = time.monotonic() - started_s
            with self._lock:
                bars.remove_task(task)
                if taken_s >= _REMEMBERED_S or mark == "✗":
                    size = f", {megabytes(shown.done_bytes)}" if shown.done_bytes else ""
                    self._print(f"{mark} {name}{size} in {taken_s:.1f} s")
                self._stop()

    def note(self, line: str) -> None:
        """Show a line above the bars."""
        with self._lock:
            self._print(line)

    def advance(self, task: "TaskID", size_bytes: int) -> None:
        """Move a bar; it is redrawn a few times a second at most."""
        with self._lock:
            if self._bars is None:
                return
            self._bars.advance(task, size_bytes)
            now_s = time.monotonic()
            if now_s - self._drawn_s >= _REDRAW_S:
                self._drawn_s = now_s
                self._bars.refresh()

    def _start(self) -> "Bars":
        """Bring the bars up with the first open stage. rich is loaded here: most commands never need it."""
        self._open += 1
        if self._bars is None:
            from uring_matrix.bars import make_bars  # noqa: PLC0415

            self._bars = make_bars(self._stream)
            self._bars.start()
        return self._bars

    def _stop(self) -> None:
        self._open -= 1
        if self._open == 0 and self._bars is not None:
            self._bars.stop()
            self._bars = None
        elif self._bars is not None:
            self._bars.refresh()

    def _print(self, line: str) -> None:
        if self._bars is None:
            print(line, file=self._stream, flush=True)
        else:
            self._bars.console.print(line, markup=False, highlight=False)


class _Bar:
    """One stage on the terminal."""

    def __init__(self, progress: TerminalProgress, task: "TaskID") -> None:
        self._progress, self._task = progress, task
        self.done_bytes = 0

    def advance(self, size_bytes: int) -> None:
        """Count that many more bytes as done."""
        self.done_bytes += size_bytes
        self._progress.advance(self._task, size_bytes)
