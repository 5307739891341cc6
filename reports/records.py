"""The records of results.json (schema_version 1): what one run found, cell by cell, and where it came from."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, NamedTuple

import msgspec

SCHEMA_VERSION = 1

Timestamp = Annotated[datetime, msgspec.Meta(tz=True)]


def utc_now() -> datetime:
    """Return the time as results.json writes it: UTC, whole milliseconds."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


class Status(StrEnum):
    """The verdict of one cell."""

    PASS = "pass"  # noqa: S105 (a verdict, no password)
    # An assertion about the kernel does not hold.
    FAIL = "fail"
    # Our own fault: a broken test or fixture.
    ERROR = "error"
    # The kernel lacks it; the evidence says how that showed.
    UNSUPPORTED = "unsupported"
    # Anything else that a test declines to judge, such as a missed timing margin.
    SKIP = "skip"
    # An oops, a panic or a vanished guest while this test ran.
    CRASH = "crash"
    TIMEOUT = "timeout"
    # No kernel to be had, no boot, a broken channel: nothing is known about the kernel.
    INFRA = "infra"
    NOTRUN = "notrun"


# From best to worst: where two rows contradict each other, the worse one is the verdict.
SEVERITY = (
    Status.NOTRUN,
    Status.PASS,
    Status.UNSUPPORTED,
    Status.SKIP,
    Status.INFRA,
    Status.ERROR,
    Status.FAIL,
    Status.TIMEOUT,
    Status.CRASH,
)


# The kind of what is observed instead of tested
CAPABILITY = "capability"


class State(StrEnum):
    """What was observed of a capability."""

    HAS = "has"
    LACKS = "lacks"
    # The kernel knows it, and something forbids it: a sysctl, a configuration
    OFF = "off"
    NOT_DETERMINABLE = "not-determinable"


class Qualifier(StrEnum):
    """What stands beside a verdict. Readers accept others: the list grows."""

    # Attempts at this cell did not agree; they are all in `attempts`.
    FLAKY = "flaky"
    # The kernel printed a warning while the test ran.
    KERNEL_WARNING = "kernel-warning"
    # The kernel is at or above the documented minimum and yet lacks it.
    UNEXPECTED = "unexpected"
    # It passes below the documented minimum: a backport, or documentation that is too careful.
    EARLIER_THAN_DOCUMENTED = "earlier-than-documented"
    # Beside it: a point release of a stable series has what is documented for a later series.
    BACKPORT = "backport"
    # The verdict is one that `known_issues` of the results speaks of
    KNOWN_ISSUE = "known-issue"
    # The test left its process or the guest changed; the evidence says how.
    LEFT_BEHIND = "left-behind"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Common ground: immutable (`msgspec.structs.replace` makes a changed copy); unknown fields are ignored."""


class CellKey(NamedTuple):
    """What a row is about. Every planned key has exactly one row."""

    test: str
    kernel: str
    arch: str
    mode: str


class Generator(Record, frozen=True, kw_only=True):
    """The program that wrote the file."""

    name: str
    version: str
    commit: str | None = None


class Host(Record, frozen=True, kw_only=True):
    """The machine that ran the guests."""

    # uname -r and uname -m
    kernel: str
    machine: str
    cpus: int | None = None
    python: str | None = None
    # Which QEMU, as a reader would name it; None where no guest was used.
    qemu: str | None = None
    # kvm, tcg, or None without a guest
    accel: str | None = None
    accel_reason: str | None = None
    qemu_version: str | None = None
    memory_mib: int | None = None


class GuestConfig(Record, frozen=True, kw_only=True):
    """What a guest had, beside its kernel."""

    cpus: int
    memory_mib: int
    # Kernel parameters beyond those that every guest has
    append: str = ""
    # A debugger was attached, and no deadline held
    gdb: bool = False


class Kernel(Record, frozen=True, kw_only=True):
    """One kernel: what was asked for, what was booted, and what it says of itself."""

    # Unique in the file; item ids show it. `6.1`, `6.1-arm64`, `host`, a file's name.
    id: str
    # major.minor
    series: str
    # Debian's name: amd64
    arch: str
    # debian, path or host
    source: str
    # uname -r, as the guest reported it
    release: str | None = None
    # uname -v
    version: str | None = None
    package: str | None = None
    package_version: str | None = None
    # Of the image that was booted
    sha256: str | None = None
    cmdline: str | None = None
    # How QEMU started it: `pvh` of the unpacked vmlinux, which leaves KASLR out, or `linux` as a boot loader would
    boot_protocol: str | None = None
    # The options that matter here, CONFIG_X -> y, m or a value
    config: dict[str, str] = msgspec.field(default_factory=dict)
    # What io_uring says of itself: feature bits, probe, limits
    features: dict[str, Any] = msgspec.field(default_factory=dict)
    booted: bool = False
    boot_seconds: float | None = None
    # Why there is no verdict from this kernel
    error: str | None = None

    suite: str | None = None
    # The file the user named, for source == "path"
    location: str | None = None
    # Of the package that the image came from
    package_sha256: str | None = None
    # The captured console, relative to results.json, and its last lines
    console: str | None = None
    console_tail: tuple[str, ...] = ()
    # Seconds per phase (fetch, boot, tests, ...), in the order in which they happened
    phases: dict[str, float] = msgspec.field(default_factory=dict)
    # Plain sentences worth knowing: a newer package was listed but gone, a snapshot was discarded
    notes: tuple[str, ...] = ()
    # None for the running kernel, which has no guest
    guest: GuestConfig | None = None
    # What its verdicts were obtained with, beside the test: a word for each input, equal where that is the same
    inputs: dict[str, str] = msgspec.field(default_factory=dict)
    # Where and when this column was made, if not as the file's head says (merged files)
    generator: Generator | None = None
    host: Host | None = None
    command: tuple[str, ...] | None = None
    started: Timestamp | None = None
    finished: Timestamp | None = None


class Documented(Record, frozen=True, kw_only=True):
    """Somebody's word for the first kernel that has something."""

    since: str
    # A man page, the kernel's history
    where: str


class Test(Record, frozen=True, kw_only=True):
    """One test, as the suite describes it."""

    # Else pytest takes the class for a test wherever it is imported.
    __test__: ClassVar[bool] = False

    # The function's name; where functions of several files have one name, something longer
    id: str
    title: str
    # File and qualified name, with parameters: what makes it this test
    node: str | None = None
    # A word for the tree that the file is in; None for a file of an installed package, which is the same everywhere
    tree: str | None = None
    # The title of the Zig test it ports
    zig: str | None = None
    # What kind of test it is by its suite: `zig`, `own`, …
    kind: str = "own"
    # The names of an API that it exercises, what it is about first
    symbols: tuple[str, ...] = ()
    group: str = ""
    doc: str = ""
    # The documented minimum kernel: an expectation, never a gate
    since: str | None = None
    # file:line
    source: str | None = None
    # The function's text, as it ran
    code: str | None = None
    # How a program finds out at run time, in a sentence, where it is a capability
    detect: str = ""
    # Its opcode, or its bit's value
    number: int | None = None
    # All that is said of its first kernel; those may contradict each other
    documented: tuple[Documented, ...] = ()

    @property
    def is_capability(self) -> bool:
        """Whether it was observed that a kernel knows it, and no test says that it works."""
        return self.kind == CAPABILITY


class Capability(Record, frozen=True, kw_only=True):
    """Something a program can ask a kernel for, and that kernels list of themselves: an operation, a feature bit."""

    # Part of an address: `op-ftruncate`
    id: str
    title: str
    # `operation`, `feature`
    kind: str
    # The API's own names for it, in full
    symbols: tuple[str, ...] = ()
    # The documented first kernel
    since: str | None = None
    # The list of `Kernel.features` that has it, and its name there
    fact: str
    value: str
    # How a program finds out at run time, in a sentence
    detect: str = ""


class Mode(Record, frozen=True, kw_only=True):
    """A way to set the ring up, under which every test must behave the same."""

    id: str
    flags: tuple[str, ...] = ()
    since: str | None = None


class Attempt(Record, frozen=True, kw_only=True):
    """One try at a cell, where there was more than one."""

    status: Status
    reason: str = ""
    duration_s: float | None = None
    started: Timestamp | None = None
    evidence: tuple[str, ...] = ()
    dmesg: tuple[str, ...] = ()


class Result(Record, frozen=True, kw_only=True):
    """The verdict of one cell and what it rests on."""

    test: str
    kernel: str
    arch: str
    mode: str
    status: Status
    # One sentence
    reason: str = ""
    expected: str | None = None
    actual: str | None = None
    duration_s: float | None = None
    # All attempts in order, where there was more than one
    attempts: tuple[Attempt, ...] = ()
    # Kernel messages that came while the test ran
    dmesg: tuple[str, ...] = ()
    # errno, probe, feature bit, version, traceback: whatever showed it
    evidence: tuple[str, ...] = ()
    qualifiers: tuple[str, ...] = ()

    started: Timestamp | None = None
    # What the test printed
    output: str = ""
    console_tail: tuple[str, ...] = ()
    # The command that repeats this cell
    reproduce: str | None = None
    # A word for the test's own files, name and parameters; what else the verdict was obtained with is the kernel's
    inputs: str | None = None
    # Which of `runs` the row is from; None: the run that the kernel's record names, else the file's head
    run: str | None = None
    # Of a capability that was observed: `has`, `lacks`, `off`, `not-determinable`
    state: str | None = None
    # What the kernel says of itself about that; None where it says nothing
    claimed: bool | None = None
    # A limit's value
    value: int | None = None

    @property
    def key(self) -> CellKey:
        """The cell this row belongs to."""
        return CellKey(self.test, self.kernel, self.arch, self.mode)

    @property
    def is_contradicted(self) -> bool:
        """Whether the kernel's own word and what was observed are not the same."""
        return self.claimed is not None and self.state in _CLAIMED and _CLAIMED[self.state] != self.claimed


_CLAIMED: dict[str, bool] = {State.HAS: True, State.LACKS: False}


class KnownIssue(Record, frozen=True, kw_only=True):
    """A verdict that is no good and no news: on these kernels these tests are known not to pass, and why."""

    # Globs of test ids, of which one has to fit
    tests: tuple[str, ...]
    # Verdicts that are known: `fail`, `unsupported`, `crash`, `timeout`, `error`; and `flaky`, where attempts disagree
    status: tuple[str, ...]
    # A sentence
    reason: str
    # Where it is followed
    link: str | None = None
    # Of what is named here all has to fit, and of each list one entry. `6.16..7.1`, by series; `6.17.11..6.17.13`, by
    # point release, within a series
    series: tuple[str, ...] = ()
    # Globs of uname -r
    releases: tuple[str, ...] = ()
    # As dpkg compares them: `6.1.170-3`, or `6.1.170-3..6.1.175-1`
    package_versions: tuple[str, ...] = ()
    # Globs of modes; none: in all of them
    modes: tuple[str, ...] = ()


class Run(Record, frozen=True, kw_only=True):
    """An earlier run, some rows of which stand in one column with newer ones."""

    # Unique in the file
    id: str
    generator: Generator
    host: Host
    command: tuple[str, ...]
    started: Timestamp
    finished: Timestamp | None = None
    # Those columns as that run knew them
    kernels: tuple[Kernel, ...] = ()


class Results(Record, frozen=True, kw_only=True):
    """A whole results.json."""

    schema_version: int = SCHEMA_VERSION
    generator: Generator
    started: Timestamp
    # None where the run did not come to its end
    finished: Timestamp | None
    # Every cell that the run planned has its verdict and the run's end marker came; no cell kept from an earlier run
    # is without a verdict on its kernel
    complete: bool
    command: tuple[str, ...]
    host: Host
    kernels: tuple[Kernel, ...]
    tests: tuple[Test, ...]
    modes: tuple[Mode, ...]
    results: tuple[Result, ...]

    # How many rows the file was written with; None in memory, and in files that do not say
    cells: int | None = None
    # Plain sentences about the run as a whole
    notes: tuple[str, ...] = ()
    # Earlier runs that rows name
    runs: tuple[Run, ...] = ()
    # What the suite knows to look for in what kernels list of themselves
    capabilities: tuple[Capability, ...] = ()
    # What is known not to pass: it is shown, and fails no run
    known_issues: tuple[KnownIssue, ...] = ()


def severity(status: Status) -> int:
    """Rank a verdict: the higher, the worse."""
    return SEVERITY.index(status)


def attempts_of(row: Result) -> tuple[Attempt, ...]:
    """Return a row's attempts; a row without a list is its own only attempt."""
    return row.attempts or (
        Attempt(
            status=row.status,
            reason=row.reason,
            duration_s=row.duration_s,
            started=row.started,
            evidence=row.evidence,
            dmesg=row.dmesg,
        ),
    )


def with_qualifier(row: Result, *qualifiers: str) -> Result:
    """Return the row with qualifiers added, each once, in order."""
    return msgspec.structs.replace(row, qualifiers=tuple(dict.fromkeys((*row.qualifiers, *qualifiers))))


def combine(older: Result, newer: Result, *, is_rerun: bool) -> Result:
    """Make one row of two for the same cell, hiding nothing.

    Args:
        older: the row that came first.
        newer: the row that came later.
        is_rerun: the newer row comes from another session (a resumed run, another file), which may settle what
            infrastructure left open. Within one session, two signals that contradict each other mean the worse one.

    Returns:
        The newer row where both agree; else the worse verdict, marked as flaky, with every attempt listed.
    """
    attempts = (*attempts_of(older), *attempts_of(newer))
    replace = msgspec.structs.replace
    if older.status == newer.status:
        merged = with_qualifier(newer, *older.qualifiers)
        return replace(merged, attempts=attempts) if older.attempts or newer.attempts else merged
    for open_row, row in ((older, newer), (newer, older)):
        if open_row.status is Status.NOTRUN:
            return row
        if is_rerun and open_row.status is Status.INFRA:
            return replace(row, attempts=attempts)
    worse = max((older, newer), key=lambda row: severity(row.status))
    return replace(
        with_qualifier(worse, *older.qualifiers, *newer.qualifiers, Qualifier.FLAKY),
        attempts=attempts,
    )
