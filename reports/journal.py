"""The journal of a run: one line per event, flushed as it happens, folded into results when the run ends or died."""

import fcntl
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Self

import msgspec

from reports.errors import ResultsError
from reports.expectation import annotate
from reports.records import (
    SCHEMA_VERSION,
    CellKey,
    Generator,
    Host,
    Kernel,
    Mode,
    Record,
    Result,
    Results,
    Status,
    Test,
    Timestamp,
    combine,
    utc_now,
)
from reports.storage import encode, write
from reports.versions import package_version_key, parse_series

# How much a power cut may cost. A killed process costs nothing: every line has reached the kernel.
SYNC_SECONDS_MAX = 1.0


class Start(Record, frozen=True, kw_only=True, tag_field="event", tag="start"):
    """First line of a journal."""

    schema_version: int = SCHEMA_VERSION
    generator: Generator
    started: Timestamp
    command: tuple[str, ...]
    host: Host


class Plan(Record, frozen=True, kw_only=True, tag_field="event", tag="plan"):
    """What is going to be run; several plans add up, and a record given again replaces the earlier one."""

    kernels: tuple[Kernel, ...] = ()
    tests: tuple[Test, ...] = ()
    modes: tuple[Mode, ...] = ()
    cells: tuple[CellKey, ...] = ()


class Update(Record, frozen=True, kw_only=True, tag_field="event", tag="update"):
    """More is known about a kernel or the host (fetched, booted, failed to boot, accelerator proved)."""

    kernel: Kernel | None = None
    host: Host | None = None
    note: str | None = None


class Row(Record, frozen=True, kw_only=True, tag_field="event", tag="result"):
    """The verdict of one cell."""

    result: Result


class Resume(Record, frozen=True, kw_only=True, tag_field="event", tag="resume"):
    """Another process goes on where an earlier one stopped."""

    generator: Generator
    started: Timestamp
    command: tuple[str, ...]


class End(Record, frozen=True, kw_only=True, tag_field="event", tag="end"):
    """The process came to its end; without this line it died."""

    finished: Timestamp
    # False after Ctrl-C and the like: the run is over, but not done
    is_done: bool


Event = Start | Plan | Update | Row | Resume | End

_EVENTS = {"start": Start, "plan": Plan, "update": Update, "result": Row, "resume": Resume, "end": End}


class _Tag(msgspec.Struct):
    event: str


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
        self, *, generator: Generator, command: Iterable[str], host: Host, started: datetime | None = None
    ) -> None:
        """Drop what an earlier run wrote, and start."""
        self._truncate(0)
        self._write(
            Start(generator=generator, started=started or utc_now(), command=tuple(command), host=host), is_synced=True
        )

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
            events, size_bytes = _events(content, str(file))
            results = _fold(events, str(file))
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
    ) -> None:
        """Write down what is going to be run, before it runs."""
        event = Plan(kernels=tuple(kernels), tests=tuple(tests), modes=tuple(modes), cells=tuple(cells))
        self._learn(event.kernels, event.tests, event.modes)
        for cell in event.cells:
            self._check(cell)
        self._write(event, is_synced=True)

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
                    f"{path} cannot be written: {error.strerror or error}. Choose another directory with --out."
                ) from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(descriptor)
                raise ResultsError(
                    f"{path} is being written by another run. "
                    "Wait for it to end, or choose another directory with --out."
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
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
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


def fold(path: str | os.PathLike[str]) -> Results:
    """Fold a journal into results, whether its run ended or died.

    A planned cell without a row becomes `notrun`. The results are complete only if the last process wrote its end
    marker and every planned cell has a verdict.

    Raises:
        ResultsError: there is no journal, or it is damaged before its last line.
    """
    file = Path(path)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ResultsError(f"{file} cannot be read: {error.strerror or error}.") from error
    return _fold(_events(content, str(file))[0], str(file))


def remaining(results: Results) -> list[CellKey]:
    """Return the cells that a resumed run has to do: those without a verdict about the kernel."""
    return [row.key for row in results.results if row.status in (Status.NOTRUN, Status.INFRA)]


def _events(content: bytes, name: str) -> tuple[list[Event], int]:
    """Decode a journal.

    Returns:
        The events, and the size of what they were read from: a last line that was cut off lies beyond it.
    """
    events: list[Event] = []
    size_bytes = 0
    lines = content.splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        try:
            if not line.endswith(b"\n"):
                raise msgspec.DecodeError("the line was cut off")
            tag = msgspec.json.decode(line, type=_Tag).event
            # An event that a later version added is nothing to this one.
            if kind := _EVENTS.get(tag):
                events.append(msgspec.json.decode(line, type=kind))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            # A power cut may leave more than one line's worth of NULs at the end.
            if number == len(lines) or not b"".join(lines[number:]).strip(b"\0\r\n"):
                break
            raise ResultsError(f"{name} is damaged: line {number}: {error}. Start the run anew.") from error
        size_bytes += len(line)
    return events, size_bytes


class _Fold:
    """What a journal adds up to, event by event."""

    def __init__(self, start: Start) -> None:
        self.start = start
        self.generator = start.generator
        self.host = start.host
        self.kernels: dict[str, Kernel] = {}
        self.tests: dict[str, Test] = {}
        self.modes: dict[str, Mode] = {}
        self.cells: dict[CellKey, None] = {}
        self.notes: dict[str, None] = {}
        # Rows with the number of the process that wrote them.
        self.rows: dict[CellKey, tuple[int, Result]] = {}
        self.process = 0
        self.end: End | None = None

    def add(self, event: Event) -> None:
        match event:
            case Plan():
                self.kernels.update((kernel.id, kernel) for kernel in event.kernels)
                self.tests.update((test.id, test) for test in event.tests)
                self.modes.update((mode.id, mode) for mode in event.modes)
                self.cells.update(dict.fromkeys(event.cells))
            case Update():
                if event.kernel:
                    self.kernels[event.kernel.id] = event.kernel
                if event.host:
                    self.host = event.host
                if event.note:
                    self.notes[event.note] = None
            case Row():
                self.row(event.result)
            case Resume():
                self.process += 1
                self.generator = event.generator
                self.end = None
            case End():
                self.end = event

    def row(self, row: Result) -> None:
        self.cells[row.key] = None
        if row.key in self.rows:
            process, older = self.rows[row.key]
            row = combine(older, row, is_rerun=process != self.process)
        self.rows[row.key] = (self.process, row)

    def results(self) -> Results:
        kernels = sorted(self.kernels.values(), key=kernel_order)
        kernel_index = {kernel.id: index for index, kernel in enumerate(kernels)}
        test_index = {test: index for index, test in enumerate(self.tests)}
        mode_index = {mode: index for index, mode in enumerate(self.modes)}
        cells = sorted(
            self.cells,
            key=lambda cell: (kernel_index[cell.kernel], mode_index[cell.mode], test_index[cell.test], cell.arch),
        )
        rows = tuple(self.rows[cell][1] if cell in self.rows else not_run(cell) for cell in cells)
        is_done = self.end is not None and self.end.is_done
        return annotate(
            Results(
                generator=self.generator,
                started=self.start.started,
                finished=self.end.finished if self.end else None,
                complete=is_done and bool(rows) and all(row.status is not Status.NOTRUN for row in rows),
                command=self.start.command,
                host=self.host,
                kernels=tuple(kernels),
                tests=tuple(self.tests.values()),
                modes=tuple(self.modes.values()),
                results=rows,
                notes=tuple(self.notes),
            )
        )


def not_run(cell: CellKey) -> Result:
    """Return the row of a planned cell that never got a verdict."""
    return Result(
        **cell._asdict(), status=Status.NOTRUN, reason="planned, but the run ended before this cell had a verdict"
    )


def kernel_order(kernel: Kernel) -> tuple[object, ...]:
    """Order kernels by version, then by package version; what has no version comes last."""
    version = parse_series(kernel.series) or parse_series(kernel.release)
    return (
        version is None,
        version or (0, 0),
        package_version_key(kernel.package_version or ""),
        kernel.release or "",
        kernel.arch,
        kernel.id,
    )


def _fold(events: list[Event], name: str) -> Results:
    """Fold decoded events."""
    if not events or not isinstance(events[0], Start):
        raise ResultsError(f"{name} is no journal of a run: it does not begin with a start event. Start the run anew.")
    start = events[0]
    if start.schema_version != SCHEMA_VERSION:
        raise ResultsError(
            f"{name} has schema_version {start.schema_version}; this version of uring-matrix reads {SCHEMA_VERSION}."
        )
    state = _Fold(start)
    for event in events[1:]:
        state.add(event)
    try:
        return state.results()
    except KeyError as error:
        raise ResultsError(f"{name} has a row about {error}, which no plan announced. Start the run anew.") from error
