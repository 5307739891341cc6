"""How this room says what it is busy with, whenever that takes longer than a second."""

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO


class Stage(Protocol):
    """One thing under way."""

    def advance(self, size_bytes: int) -> None:
        """Count that many more bytes as done."""


class Progress(Protocol):
    """Whoever wants to show what is going on; the command line has one that draws bars."""

    def stage(self, name: str, total_bytes: int | None = None) -> AbstractContextManager[Stage]:
        """Open a stage; leaving the context ends it, by success or not."""

    def note(self, line: str) -> None:
        """Show one line the user should see, such as a fallback that was taken."""


class _Counter:
    """A stage that counts, and tells its owner every now and then."""

    def __init__(self, progress: "PlainProgress | None", name: str, total_bytes: int | None) -> None:
        self._progress, self._name, self._total_bytes = progress, name, total_bytes
        self.done_bytes = 0
        self._shown_s = time.monotonic()

    def advance(self, size_bytes: int) -> None:
        self.done_bytes += size_bytes
        now_s = time.monotonic()
        if self._progress is not None and now_s - self._shown_s >= self._progress.interval_s:
            self._shown_s = now_s
            of_total = f" of {megabytes(self._total_bytes)}" if self._total_bytes else ""
            self._progress.write(f"{self._name}: {megabytes(self.done_bytes)}{of_total}")


class SilentProgress:
    """Shows nothing."""

    @contextmanager
    def stage(self, name: str, total_bytes: int | None = None) -> Iterator[Stage]:
        """Count for nobody."""
        yield _Counter(None, name, total_bytes)

    def note(self, line: str) -> None:
        """Drop the line."""


class PlainProgress:
    """Lines of text, for logs and for terminals that cannot do more."""

    def __init__(self, stream: TextIO | None = None, interval_s: float = 5.0) -> None:
        self._stream = stream
        self.interval_s = interval_s

    def write(self, line: str) -> None:
        """Put out one line at once; standard error is looked up late, so that captured output stays captured."""
        print(line, file=self._stream if self._stream is not None else sys.stderr, flush=True)

    @contextmanager
    def stage(self, name: str, total_bytes: int | None = None) -> Iterator[Stage]:
        """Say when it begins, how far it is every few seconds, and how long it took."""
        size = f" ({megabytes(total_bytes)})" if total_bytes else ""
        self.write(f"{name}{size} …")
        started_s = time.monotonic()
        counter = _Counter(self, name, total_bytes)
        yield counter
        done = f", {megabytes(counter.done_bytes)}" if counter.done_bytes else ""
        self.write(f"{name}: done{done} in {time.monotonic() - started_s:.1f} s")

    def note(self, line: str) -> None:
        """Put the line out as it is."""
        self.write(line)


def megabytes(size_bytes: int) -> str:
    """Give a size as people read it: `13.6 MB`, and `0.2 MB` rather than zero."""
    return f"{size_bytes / 1e6:.1f} MB"


SILENT: Progress = SilentProgress()
