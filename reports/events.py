"""The events of a journal, and what they add up to: results, whether the run ended or died."""

import os
from pathlib import Path

import msgspec

from reports.errors import ResultsError
from reports.expectation import annotate
from reports.keep import with_kept
from reports.records import (
    SCHEMA_VERSION,
    Capability,
    CellKey,
    Generator,
    Host,
    Kernel,
    KnownIssue,
    Mode,
    Record,
    Result,
    Results,
    Status,
    Test,
    Timestamp,
    combine,
)
from reports.versions import package_version_key, parse_series


class Start(Record, frozen=True, kw_only=True, tag_field="event", tag="start"):
    """First line of a journal."""

    schema_version: int = SCHEMA_VERSION
    generator: Generator
    started: Timestamp
    command: tuple[str, ...]
    host: Host


class Kept(Record, frozen=True, kw_only=True, tag_field="event", tag="kept"):
    """What stays of earlier runs. It comes with the start: a journal has both or neither."""

    results: Results


class Plan(Record, frozen=True, kw_only=True, tag_field="event", tag="plan"):
    """What is going to be run; several plans add up, and a record given again replaces the earlier one."""

    kernels: tuple[Kernel, ...] = ()
    tests: tuple[Test, ...] = ()
    modes: tuple[Mode, ...] = ()
    cells: tuple[CellKey, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    known_issues: tuple[KnownIssue, ...] = ()


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


Event = Start | Kept | Plan | Update | Row | Resume | End

_EVENTS = {"start": Start, "kept": Kept, "plan": Plan, "update": Update, "result": Row, "resume": Resume, "end": End}


class _Tag(msgspec.Struct):
    event: str


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
    return fold_events(decode_events(content, str(file))[0], str(file))


def remaining(results: Results) -> list[CellKey]:
    """Return the cells that a resumed run has to do: those without a verdict about the kernel."""
    return [row.key for row in results.results if row.status in (Status.NOTRUN, Status.INFRA)]


def decode_events(content: bytes, name: str) -> tuple[list[Event], int]:
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
        self.capabilities: dict[str, Capability] = {}
        self.known_issues: dict[KnownIssue, None] = {}
        self.notes: dict[str, None] = {}
        # Rows with the number of the process that wrote them.
        self.rows: dict[CellKey, tuple[int, Result]] = {}
        self.process = 0
        self.end: End | None = None
        self.kept: Results | None = None

    def add(self, event: Event) -> None:
        match event:
            case Kept():
                self.kept = event.results
            case Plan():
                self.kernels.update((kernel.id, kernel) for kernel in event.kernels)
                self.tests.update((test.id, test) for test in event.tests)
                self.modes.update((mode.id, mode) for mode in event.modes)
                self.cells.update(dict.fromkeys(event.cells))
                self.capabilities.update((one.id, one) for one in event.capabilities)
                self.known_issues.update(dict.fromkeys(event.known_issues))
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
        rows = tuple(self.rows[cell][1] if cell in self.rows else not_run(cell) for cell in self.cells)
        is_done = self.end is not None and self.end.is_done
        own = Results(
            generator=self.generator,
            started=self.start.started,
            finished=self.end.finished if self.end else None,
            complete=is_done and bool(rows or self.kept) and all(row.status is not Status.NOTRUN for row in rows),
            command=self.start.command,
            host=self.host,
            kernels=tuple(self.kernels.values()),
            tests=tuple(self.tests.values()),
            modes=tuple(self.modes.values()),
            results=rows,
            notes=tuple(self.notes),
            capabilities=tuple(self.capabilities.values()),
            known_issues=tuple(self.known_issues),
        )
        return annotate(in_order(own if self.kept is None else with_kept(own, self.kept)))


def in_order(results: Results) -> Results:
    """Sort kernels by version, and rows by kernel, mode and test.

    Raises:
        KeyError: a row is about something that is not listed.
    """
    kernels = sorted(results.kernels, key=kernel_order)
    kernel_index = {kernel.id: index for index, kernel in enumerate(kernels)}
    test_index = {test.id: index for index, test in enumerate(results.tests)}
    mode_index = {mode.id: index for index, mode in enumerate(results.modes)}
    rows = sorted(
        results.results,
        key=lambda row: (kernel_index[row.kernel], mode_index[row.mode], test_index[row.test], row.arch),
    )
    return msgspec.structs.replace(results, kernels=tuple(kernels), results=tuple(rows))


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


def fold_events(events: list[Event], name: str) -> Results:
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
