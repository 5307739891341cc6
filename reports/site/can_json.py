"""can.json: what the site answers, for programs, in the manner of MDN's browser-compat-data; and the badge.

One record per capability, with a statement of support per architecture and mode; versions are kernel series, and
`version_exact` the release that was tested.
"""

from collections.abc import Iterator

import msgspec

from reports.capabilities import Entry
from reports.matrix import ColumnState, Line, Minimum, MinimumKind, Outcome, exact_name, kernel_name
from reports.records import Documented, Generator, Kernel, Record, Timestamp
from reports.site.model import Model
from reports.site.pictures import badge
from reports.storage import encode
from reports.untrusted import visible
from reports.wording import counted


class Support(Record, frozen=True, kw_only=True):
    """From which kernel on a capability works, for one architecture and mode."""

    arch: str
    mode: str
    # The oldest tested kernel from which on all have it; None where none has it, or nothing is known
    version_added: str | None
    # The same down to the point release
    version_exact: str | None
    # The series right before it lacks it: else it may be in an older kernel that nobody tested
    is_exact: bool
    # The newest older kernel that lacks it
    not_on: str | None = None
    # The first kernel that lost it
    version_removed: str | None = None
    # It is there on some kernels and gone on later ones
    partial: bool = False
    # Kernels that have it although a later one lacks it
    also_on: tuple[str, ...] = ()
    # Kernels without a verdict on it
    unknown_on: tuple[str, ...] = ()
    # Distributions whose own kernel was tested, by what it said
    distributions: dict[str, bool] = msgspec.field(default_factory=dict)
    # Of what was observed, by kernel: `has`, `lacks`, `off` or `not-determinable`
    states: dict[str, str] = msgspec.field(default_factory=dict)
    # What the kernels say of themselves, where they say something
    claimed: dict[str, bool] = msgspec.field(default_factory=dict)
    # A limit's values
    values: dict[str, int] = msgspec.field(default_factory=dict)


class CanCapability(Record, frozen=True, kw_only=True):
    """One capability."""

    id: str
    description: str
    # `zig`, `own`, `operation`, `feature`, …
    kind: str
    # `tested`: a test ran in each kernel; `observed`: each was asked whether it knows it; `stated`: the kernels list it
    basis: str
    symbols: tuple[str, ...]
    alias: str | None
    # The first kernel by the documentation
    documented: str | None
    # Its page, relative to this file
    url: str
    support: tuple[Support, ...]
    group: str = ""
    # Of what was observed: its opcode or bit, how a program finds out, who says what of its first kernel
    number: int | None = None
    detect: str = ""
    sources: tuple[Documented, ...] = ()


class CanKernel(Record, frozen=True, kw_only=True):
    """One kernel that the answers rest on."""

    id: str
    series: str
    arch: str
    release: str | None
    package_version: str | None
    distribution: str | None
    # `judged`, or why there is no verdict from it
    state: str
    url: str


class Can(Record, frozen=True, kw_only=True):
    """A whole can.json."""

    schema_version: int
    generator: Generator
    timestamp: Timestamp
    # The run came to its end with a verdict for each planned cell
    complete: bool
    kernels: tuple[CanKernel, ...]
    capabilities: dict[str, CanCapability]
    # Every symbol, with the capabilities that are about it or exercise it
    symbols: dict[str, tuple[str, ...]]


def text(model: Model) -> str:
    """Write can.json."""
    symbols: dict[str, list[str]] = {}
    for entry in model.entries:
        for symbol in entry.symbols:
            symbols.setdefault(symbol, []).append(entry.id)
    can = Can(
        schema_version=1,
        generator=model.results.generator,
        timestamp=model.results.started,
        complete=model.results.complete,
        kernels=tuple(_kernels(model)),
        capabilities={entry.id: _capability(model, entry) for entry in model.entries},
        symbols={name: tuple(symbols[name]) for name in sorted(symbols)},
    )
    return msgspec.json.format(encode(can), indent=1).decode() + "\n"


def badge_of(model: Model) -> str:
    """Draw the badge: how much of it the newest kernel has, and what was lost or left open before that."""
    judged = [column for _, column in model.columns if column.state is ColumnState.JUDGED]
    label = "io_uring"
    if not judged:
        return badge(label, "no verdict", "open")
    newest = judged[-1]
    tests, capabilities = newest.tests, newest.capabilities
    parts = [f"{tests.passed} of {tests.total}"] if tests.total or not capabilities.total else []
    if capabilities.total:
        # What is counted has to be said where it is two things.
        parts = [*(f"{one} tests" for one in parts), f"{capabilities.passed} of {capabilities.total} capabilities"]
    message = visible(f"{', '.join(parts)} on {newest.name}")
    if model.losses or model.matrix.unexpected:
        word = "lost" if model.losses else "unexpected"
        return badge(label, f"{message}, {_worse(model)} {word}", "bad")
    if not model.results.complete:
        return badge(label, f"{message}, incomplete", "open")
    # A run can come to its end without a verdict from the kernel that matters.
    if model.matrix.open:
        return badge(label, f"{message}, {len(model.matrix.open)} without a verdict", "open")
    return badge(label, message, "good" if tests.passed == tests.total else "open")


def _worse(model: Model) -> str:
    """Count the cells that are lost, else the unexpected ones; where some are of capabilities, of which they are."""
    cells = [loss.row.cells[index] for loss in model.losses for index in loss.after] or model.matrix.unexpected
    tests = {cell.row.key for cell in cells if cell is not None and not model.tests[cell.row.test].is_capability}
    if not model.observed:
        return str(len(tests))
    capabilities = {cell.row.test for cell in cells if cell is not None and model.tests[cell.row.test].is_capability}
    return counted(len({key.test for key in tests}), len(capabilities))


def _kernels(model: Model) -> Iterator[CanKernel]:
    for kernel in model.kernels:
        columns = model.kernel_columns(kernel)
        states = {column.state for _, column in columns}
        state = ColumnState.JUDGED if ColumnState.JUDGED in states else columns[0][1].state
        yield CanKernel(
            id=kernel.id,
            series=kernel.series,
            arch=kernel.arch,
            release=kernel.release,
            package_version=kernel.package_version,
            distribution=model.distribution(kernel) or None,
            state=state.value,
            url=model.addresses.kernels[kernel.id],
        )


def _capability(model: Model, entry: Entry) -> CanCapability:
    return CanCapability(
        id=entry.id,
        description=entry.title,
        kind=entry.kind,
        basis=entry.basis.value,
        symbols=entry.symbols,
        alias=entry.alias,
        documented=entry.documented,
        url=model.addresses.capabilities[entry.id],
        support=tuple(_support(model, entry, line, minimum) for line, minimum in entry.minimums.items()),
        group=entry.group,
        number=entry.row.test.number if entry.row else None,
        detect=entry.row.test.detect if entry.row else "",
        sources=entry.row.test.documented if entry.row else (),
    )


def _support(model: Model, entry: Entry, line: Line, minimum: Minimum) -> Support:
    versions = model.versions

    def exact(kernel: Kernel | None) -> str | None:
        return exact_name(kernel, versions) or None

    cells = [entry.row.cells[index] for index in model.matrix.places[line]] if entry.is_observed and entry.row else []
    rows = [cell.row for cell in cells if cell is not None]
    distributions = {}
    for index, name in model.distributed(line):
        if entry.outcomes[index] is not Outcome.OPEN:
            distributions[name] = entry.outcomes[index] is Outcome.PASSES
    return Support(
        arch=line.arch,
        mode=line.mode.id,
        version_added=kernel_name(minimum.at, versions) or None,
        version_exact=exact(minimum.at),
        is_exact=minimum.kind is MinimumKind.EXACT,
        not_on=exact(minimum.after),
        version_removed=exact(minimum.lost_by),
        partial=bool(minimum.regressions),
        also_on=tuple(exact_name(one, versions) for one in minimum.earlier_passes),
        unknown_on=tuple(exact_name(one, versions) for one in minimum.unknown),
        distributions=distributions,
        states={row.kernel: row.state for row in rows if row.state is not None},
        claimed={row.kernel: row.claimed for row in rows if row.claimed is not None},
        values={row.kernel: row.value for row in rows if row.value is not None},
    )
