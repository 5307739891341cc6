"""Writes the journal of a run: one line per event, flushed as it happens."""

import fcntl
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Self

from reports.errors import ResultsError
from reports.events import (
    End,
    Event,
    Kept,
    Plan,
    Resume,
    Row,
    Start,
    Update,
    decode_events,
    fold,
    fold_events,
)
from reports.records import (
    Capability,
    CellKey,
    Generator,
    Host,
    Kernel,
    KnownIssue,
    Mode,
    Result,
    Results,
    Test,
    utc_now,
)
from reports.storage import encode, write

# How much a power cut may cost. A killed process costs nothing: every line has reached the kernel.
SYNC_SECONDS_MAX = 1.0


class Journal:
    """Writes events, one process at a time. Every call returns with its line handed to the kernel.

    with Journal.create(directory / "results.jsonl", generator=..., command=..., host=...) as journal:
        journal.plan(kernels=..., tests=..., modes=..., cells=...)
        journal.result(row)
        journal.end()
    results = fold(journal.path)
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._size_bytes = os.fstat(descriptor).st_size
        self._synced_at = time.monotonic()
        self._kernels: set[str] = set()
        self._tests: set[str] = set()
        self._modes: set[str] = set()

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        generator: Generator,
        command: Iterable[str],
        host: Host,
        started: datetime | None = None,
    ) -> Self:
        """Start a journal; an old one at that path is dropped once it is certain that nobody writes it.

        Raises:
            ResultsError: it cannot be written, or another run is writing it.
        """
        journal = cls.claim(path)
        journal.begin(generator=generator, command=command, host=host, started=started)
        return journal

    @classmethod
    def claim(cls, path: str | os.PathLike[str]) -> Self:
        """Keep other runs from a path, for a run that may come to nothing: what is there stays until `begin`.

        Raises:
            ResultsError: it cannot be written, or another run is writing it.
        """
        return cls._open(Path(path))

    def begin(
        self,
        *,
        generator: Generator,
        command: Iterable[str],
        host: Host,
        started: datetime | None = None,
        kept: Results | None = None,
    ) -> None:
        """Replace what an earlier run wrote, in one step: whatever happens, the old or the new is there.

        Args:
            generator: the program.
            command: what it was called with.
            host: the machine.
            started: now, unless given.
            kept: what of earlier runs stays beside this one's (`reports.keep.kept`).

        Raises:
            ResultsError: it cannot be written; the old journal is unchanged.
        """
        start = Start(generator=generator, started=started or utc_now(), command=tuple(command), host=host)
        events: list[Event] = [start] if kept is None else [start, Kept(results=kept)]
        content = b"".join(encode(event) + b"\n" for event in events)
        temporary = self.path.with_name(f".{self.path.name}.{os.urandom(4).hex()}.tmp")
        descriptor = -1
        try:
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o666)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody finds it unlocked under its final name
            _write_all(descriptor, content)
            os.fsync(descriptor)
            temporary.replace(self.path)
        except OSError as error:
            if descriptor >= 0:
                os.close(descriptor)
            with suppress(OSError):
                temporary.unlink()
            raise ResultsError(
                f"{self.path} could not be written: {error.strerror or error}. What was there before is unchanged; "
                "make room or choose another directory for the results."
            ) from error
        os.close(self._descriptor)
        self._descriptor, self._size_bytes = descriptor, len(content)
        self._synced_at = time.monotonic()

    @classmethod
    def reopen(
        cls,
        path: str | os.PathLike[str],
        *,
        generator: Generator,
        command: Iterable[str],
        started: datetime | None = None,
    ) -> Self:
        """Go on with the journal of a run that was stopped; a line that was cut off is dropped.

        Raises:
            ResultsError: there is none, it is damaged, or another run is writing it.
        """
        file = Path(path)
        if not file.exists():
            raise ResultsError(f"There is no {file} to resume; start the run without --resume.")
        journal = cls._open(file)
        try:
            content = file.read_bytes()
            events, size_bytes = decode_events(content, str(file))
            results = fold_events(events, str(file))
        except BaseException:
            journal.close()
            raise
        journal._truncate(size_bytes)
        journal._learn(results.kernels, results.tests, results.modes)
        journal._write(
            Resume(generator=generator, started=started or utc_now(), command=tuple(command)), is_synced=True
        )
        return journal

    def plan(
        self,
        *,
        kernels: Iterable[Kernel] = (),
        tests: Iterable[Test] = (),
        modes: Iterable[Mode] = (),
        cells: Iterable[CellKey] = (),
        capabilities: Iterable[Capability] = (),
        known_issues: Iterable[KnownIssue] = (),
    ) -> None:
        """Write down what is going to be run, before it runs."""
        event = Plan(
            kernels=tuple(kernels),
            tests=tuple(tests),
            modes=tuple(modes),
            cells=tuple(cells),
            capabilities=tuple(capabilities),
            known_issues=tuple(known_issues),
        )
        self._learn(event.kernels, event.tests, event.modes)
        for cell in event.cells:
            self._check(cell)
        # More words about tests are no promise: they may wait for the disk as verdicts do.
        self._write(event, is_synced=bool(event.cells or event.kernels))

    def kernel(self, kernel: Kernel) -> None:
        """Replace what is known about a kernel (same id)."""
        self._learn((kernel,), (), ())
        self._write(Update(kernel=kernel), is_synced=True)

    def host(self, host: Host) -> None:
        """Replace what is known about the machine."""
        self._write(Update(host=host), is_synced=True)

    def note(self, note: str) -> None:
        """Add a plain sentence about the run as a whole."""
        self._write(Update(note=note))

    def result(self, result: Result) -> None:
        """Write the verdict of one cell."""
        self._check(result.key)
        self._write(Row(result=result))

    def end(self, *, is_done: bool = True, finished: datetime | None = None) -> None:
        """Write the end marker.

        Args:
            is_done: False where the run was interrupted: it ended in good order, but is not complete.
            finished: now, unless given.
        """
        self._write(End(finished=finished or utc_now(), is_done=is_done), is_synced=True)

    def publish(self) -> Results:
        """Fold what is there so far and write it as `results.json` beside the journal."""
        results = fold(self.path)
        write(self.path.with_name("results.json"), results)
        return results

    def close(self) -> None:
        """Close the file; no end marker is written. One that nothing was written to is no file."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            if self._size_bytes == 0:
                with suppress(OSError):
                    self.path.unlink()
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def _open(cls, path: Path) -> Self:
        """Open for appending and take the lock, which the kernel drops when this process ends in whatever way."""
        while True:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            except OSError as error:
                raise ResultsError(
                    f"{path} cannot be written: {error.strerror or error}. Choose another directory for the results."
                ) from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(descriptor)
                raise ResultsError(
                    f"{path} is being written by another run. "
                    "Wait for it to end, or choose another directory for the results."
                ) from error
            if os.fstat(descriptor).st_nlink > 0:
                return cls(path, descriptor)
            # Its owner came to nothing and removed it between our two calls.
            os.close(descriptor)

    def _learn(self, kernels: Iterable[Kernel], tests: Iterable[Test], modes: Iterable[Mode]) -> None:
        self._kernels.update(kernel.id for kernel in kernels)
        self._tests.update(test.id for test in tests)
        self._modes.update(mode.id for mode in modes)

    def _check(self, cell: CellKey) -> None:
        """Refuse a row about something that was never announced: the file could not be read back."""
        for kind, name, known in (
            ("kernel", cell.kernel, self._kernels),
            ("test", cell.test, self._tests),
            ("mode", cell.mode, self._modes),
        ):
            if name not in known:
                raise ValueError(f"{'/'.join(cell)}: {kind} {name!r} was not announced; call plan() with it first")

    def _truncate(self, size_bytes: int) -> None:
        os.ftruncate(self._descriptor, size_bytes)
        self._size_bytes = size_bytes

    def _write(self, event: Event, *, is_synced: bool = False) -> None:
        """Append one line as a whole or not at all."""
        if self._descriptor < 0:
            raise ValueError(f"{self.path} is closed; reopen it to go on")
        line = encode(event) + b"\n"
        try:
            _write_all(self._descriptor, line)
            if is_synced or time.monotonic() - self._synced_at > SYNC_SECONDS_MAX:
                os.fdatasync(self._descriptor)
                self._synced_at = time.monotonic()
        except OSError as error:
            # Half a line in the middle would spoil everything after it.
            with suppress(OSError):
                self._truncate(self._size_bytes)
            raise ResultsError(
                f"{self.path} could not be written: {error.strerror or error}. What was found so far is kept; "
                "make room and go on with --resume."
            ) from error
        self._size_bytes += len(line)


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
