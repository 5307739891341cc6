"""One page per capability: from which kernel on, how a program finds out, and the verdict of every kernel."""

from collections.abc import Iterator
from dataclasses import dataclass

from reports.capabilities import Entry, requirement
from reports.distributions import untested
from reports.matrix import Column, Line, Minimum, MinimumKind, Outcome, exact_name, kernel_name
from reports.records import Capability, Qualifier, Result
from reports.site.cells import Face, stated_face
from reports.site.model import Model
from reports.site.troubles import troubles
from reports.versions import parse_series


@dataclass(frozen=True, slots=True)
class KernelLine:
    """What one kernel has to say of a capability, in one architecture and mode, or in several that agree."""

    column: Column
    # The modes it speaks of; empty where there is only one
    modes: str
    face: Face
    row: Result | None
    evidence: str | None
    # Where the verdict is not what is documented
    remark: str


def pages(model: Model) -> Iterator[tuple[str, str]]:
    """Render the page of every entry."""
    template = model.template("capability.html")
    by_symbol: dict[str, list[Entry]] = {}
    for entry in model.entries:
        for symbol in entry.symbols:
            by_symbol.setdefault(symbol, []).append(entry)
    stated = {one.id: one for one in model.results.capabilities}
    of_symbol = {symbol: one for one in model.results.capabilities for symbol in one.symbols}
    for entry in model.entries:
        related: dict[str, Entry] = {}
        for symbol in entry.symbols:
            related |= {one.id: one for one in by_symbol[symbol] if one is not entry}
        yield (
            model.addresses.capabilities[entry.id],
            template.render(
                root="../",
                entry=entry,
                answers=[(line, _answer(model, entry, line)) for line in model.matrix.lines],
                lines=list(_lines(model, entry)),
                strips=[(line, _strip(model, entry, line)) for line in _distinct_lines(model, entry)],
                ways=list(_ways(entry, stated, of_symbol)),
                answered=_answered(entry),
                related=list(related.values()),
                troubles=troubles(model, tests={entry.row.test.id} if entry.row else set()),
                untested=untested(model.matrix.kernels),
            ),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """Which kernel to require, for one architecture and mode."""

    minimum: Minimum
    # One sentence, and what to know beside it
    sentence: str
    notes: tuple[str, ...]
    has: tuple[str, ...]
    lacks: tuple[str, ...]


def _answer(model: Model, entry: Entry, line: Line) -> Answer:
    needed = requirement([entry], model.matrix, line)
    minimum = needed.tested
    versions = model.matrix.versions
    has: list[str] = []
    lacks: list[str] = []
    for index, column in model.line_columns(line):
        name = model.distribution(column.kernel)
        if name and entry.outcomes[index] is not Outcome.OPEN:
            (has if entry.outcomes[index] is Outcome.PASSES else lacks).append(name)
    return Answer(
        minimum,
        _require(needed.documented, minimum, versions, is_tested=entry.row is not None),
        tuple(_notes(model, entry, line, minimum)),
        tuple(dict.fromkeys(has)),
        tuple(dict.fromkeys(lacks)),
    )


def _require(documented: str | None, minimum: Minimum, versions: dict[str, str], *, is_tested: bool) -> str:
    """Say which kernel to require."""
    seen = "tested" if is_tested else "as the kernels list it"
    told = f"{documented} (documented)" if documented else "no documented first kernel"
    match minimum.kind:
        case MinimumKind.NEVER:
            return f"No tested kernel has it; {told}." if documented else "No tested kernel has it."
        case MinimumKind.UNKNOWN:
            return f"Nothing is known from the kernels here; {told}."
    at = kernel_name(minimum.at, versions)
    if minimum.lost_by:
        lost = exact_name(minimum.lost_by, versions)
        return f"Not to be relied on: {lost} lost what {at} has."
    return f"Require {told}, {at} ({seen})." if documented else f"Require {at} ({seen})."


def _notes(model: Model, entry: Entry, line: Line, minimum: Minimum) -> Iterator[str]:
    """Say how exact the answer is, and what contradicts the documentation."""
    versions = model.matrix.versions
    match minimum.kind:
        case MinimumKind.EXACT:
            yield f"{exact_name(minimum.after, versions)}, the series right before it, lacks it."
        case MinimumKind.AT_MOST if minimum.after is None and minimum.at is not None:
            yield f"{exact_name(minimum.at, versions)} is the oldest kernel here: older ones may have it, too."
    if minimum.after is not None and minimum.kind is not MinimumKind.EXACT:
        yield (
            f"It came somewhere after {exact_name(minimum.after, versions)}, and is there in "
            f"{exact_name(minimum.at, versions)}: no series between them was tested."
        )
    if minimum.earlier_passes:
        names = ", ".join(exact_name(one, versions) for one in minimum.earlier_passes)
        yield f"Older kernels have it: {names}."
    if minimum.unknown:
        names = ", ".join(exact_name(one, versions) for one in minimum.unknown)
        yield f"Nothing is known of {names}."
    documented = parse_series(entry.documented)
    if documented is None:
        return
    early, late = [], []
    for index, column in model.line_columns(line):
        series = parse_series(column.kernel.series) or parse_series(column.kernel.release)
        if series is None:
            continue
        if entry.outcomes[index] is Outcome.PASSES and series < documented:
            early.append(exact_name(column.kernel, versions))
        if entry.outcomes[index] is Outcome.LACKS and series >= documented:
            late.append(exact_name(column.kernel, versions))
    if early:
        yield f"Earlier than documented: {', '.join(early)}. A backport, or a page that is too careful."
    if late:
        yield f"Documented since {entry.documented}, and yet not on {', '.join(late)}."


def _distinct_lines(model: Model, entry: Entry) -> list[Line]:
    """The first line, and those whose outcomes differ from it."""
    if entry.row is None:
        return list(model.matrix.lines[:1])
    return [*model.matrix.lines[:1], *model.differing_lines(entry.row)]


def _strip(model: Model, entry: Entry, line: Line) -> list[tuple[Column, Face, str | None]]:
    found: list[tuple[Column, Face, str | None]] = []
    for index, column in model.line_columns(line):
        if entry.row is None:
            found.append((column, stated_face(entry, index), None))
        else:
            cell = entry.row.cells[index]
            found.append((column, model.face(cell), model.evidence(cell)))
    return found


def _lines(model: Model, entry: Entry) -> Iterator[KernelLine]:
    """One line per kernel; the modes of a kernel that agree together."""
    versions = model.matrix.versions
    is_one_mode = len(model.results.modes) == 1
    for kernel in model.matrix.kernels:
        groups: dict[tuple[Face, str], list[tuple[int, Column]]] = {}
        for index, column in model.kernel_columns(kernel):
            cell = entry.row.cells[index] if entry.row else None
            shown = model.face(cell) if entry.row else stated_face(entry, index)
            groups.setdefault((shown, cell.row.reason if cell else ""), []).append((index, column))
        for (shown, _), own in groups.items():
            index, column = own[0]
            cell = entry.row.cells[index] if entry.row else None
            names = [one.mode.id for _, one in own]
            modes = "all modes" if len(names) == len(model.results.modes) else ", ".join(names)
            yield KernelLine(
                column,
                "" if is_one_mode or entry.row is None else modes,
                shown,
                cell.row if cell else None,
                model.evidence(cell),
                _remark(cell.row, exact_name(kernel, versions)) if cell else "",
            )


def _remark(row: Result, release: str) -> str:
    if Qualifier.BACKPORT in row.qualifiers:
        return f"{release} has it earlier than documented: a backport"
    return row.reason


def _ways(entry: Entry, stated: dict[str, Capability], of_symbol: dict[str, Capability]) -> Iterator[tuple[str, str]]:
    """How a program finds out at run time: what it asks for each symbol that can be asked for by itself."""
    own = [stated[entry.id]] if entry.id in stated else []
    found = [*own, *(of_symbol[symbol] for symbol in entry.symbols if symbol in of_symbol)]
    for one in dict.fromkeys(found):
        if one.detect:
            yield (one.symbols[0] if one.symbols else one.title, one.detect)


def _answered(entry: Entry) -> list[tuple[str, str]]:
    """What kernels that lack it answered: a reason, and which kernels gave it."""
    reasons: dict[str, list[str]] = {}
    for cell in entry.row.cells if entry.row else ():
        if cell is not None and cell.row.status.value == "unsupported" and cell.row.reason:
            reasons.setdefault(cell.row.reason, []).append(cell.row.kernel)
    return [(reason, ", ".join(dict.fromkeys(kernels))) for reason, kernels in reasons.items()]
