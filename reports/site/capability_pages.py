"""One page per capability: from which kernel on, how a program finds out, and the verdict of every kernel."""

import errno
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from markupsafe import Markup, escape

from reports import wording
from reports.capabilities import Basis, Entry, exercised_by
from reports.distributions import untested
from reports.matrix import Cell, Column, Line, Minimum, MinimumKind, Outcome, exact_name, kernel_name
from reports.records import Kernel, Qualifier, Result, Status
from reports.site.cells import CLEAN, Face, chip, joined, stated_face, td
from reports.site.engine import is_inside
from reports.site.model import Model
from reports.site.troubles import troubles
from reports.untrusted import visible
from reports.versions import parse_series


@dataclass(frozen=True, slots=True)
class Strip:
    """What all kernels of one architecture and mode say, side by side."""

    line: Line
    head: Markup
    cells: Markup


def pages(model: Model) -> Iterator[tuple[str, str]]:
    """Render the page of every entry."""
    template = model.template("capability.html")
    by_symbol: dict[str, list[Entry]] = {}
    for entry in model.entries:
        for symbol in entry.symbols:
            by_symbol.setdefault(symbol, []).append(entry)
    by_name = _by_name(model)
    kernels = [_KernelParts(model, kernel) for kernel in model.kernels]
    heads = {line: _strip_head(model, line) for line in model.matrix.lines}
    without_column = untested(model.kernels)
    for entry in model.entries:
        related: dict[str, Entry] = {}
        for symbol in entry.symbols:
            related |= {one.id: one for one in by_symbol[symbol] if one is not entry}
        yield (
            model.addresses.capabilities[entry.id],
            template.render(
                root="../",
                entry=entry,
                answers=list(_answers(model, entry)),
                rows=joined(_rows(model, entry, kernels)),
                strips=[Strip(line, heads[line], _strip(model, entry, line)) for line in _distinct_lines(model, entry)],
                ways=list(_ways(model, entry, by_name)),
                # What was observed is an answer on every kernel, and stands in the table.
                refusals=[] if entry.is_observed else _refusals(entry),
                exercising=[] if entry.basis is Basis.TESTED else list(exercised_by(entry, model.entries)),
                related=list(related.values()),
                test=entry.row.test if entry.row else None,
                number=_number(entry),
                # Who says what of its first kernel, where they do not agree
                is_disputed=entry.row is not None and len({one.since for one in entry.row.test.documented}) > 1,
                troubles=troubles(model, tests={entry.row.test.id} if entry.row else set()),
                untested=without_column,
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


def _answers(model: Model, entry: Entry) -> Iterator[tuple[Line, Answer]]:
    """The answer of the first architecture and mode, and those that differ from it."""
    first = None
    for line, minimum in entry.minimums.items():
        if first is None or minimum != first:
            yield line, _answer(model, entry, line, minimum)
        first = minimum if first is None else first


def _answer(model: Model, entry: Entry, line: Line, minimum: Minimum) -> Answer:
    versions = model.versions
    has: list[str] = []
    lacks: list[str] = []
    for index, name in model.distributed(line):
        if entry.outcomes[index] is not Outcome.OPEN:
            (has if entry.outcomes[index] is Outcome.PASSES else lacks).append(name)
    return Answer(
        minimum,
        _require(entry.documented, minimum, versions, entry.basis),
        tuple(_notes(model, entry, line, minimum)),
        tuple(dict.fromkeys(has)),
        tuple(dict.fromkeys(lacks)),
    )


_SEEN = {Basis.TESTED: "tested", Basis.OBSERVED: "observed", Basis.STATED: "as the kernels list it"}


def _require(documented: str | None, minimum: Minimum, versions: dict[str, str], basis: Basis) -> str:
    """Say which kernel to require."""
    seen = _SEEN[basis]
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
    versions = model.versions
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
    for index, kernel, series in model.numbered(line):
        if entry.outcomes[index] is Outcome.PASSES and series < documented:
            early.append(exact_name(kernel, versions))
        if entry.outcomes[index] is Outcome.LACKS and series >= documented:
            late.append(exact_name(kernel, versions))
    if early:
        yield f"Earlier than documented: {', '.join(early)}. A backport, or a page that is too careful."
    if late:
        yield f"Documented since {entry.documented}, and yet not on {', '.join(late)}."


def _distinct_lines(model: Model, entry: Entry) -> list[Line]:
    """The first line, and those whose outcomes differ from it."""
    if entry.row is None:
        return list(model.matrix.lines[:1])
    return [*model.matrix.lines[:1], *model.differing_lines(entry.row)]


def _strip_head(model: Model, line: Line) -> Markup:
    cells = (
        Markup('<th scope="col">{}</th>').format(visible(column.name)) for _, column in model.matrix.line_columns(line)
    )
    return Markup("<thead><tr>{}</tr></thead>").format(Markup("").join(cells))


def _strip(model: Model, entry: Entry, line: Line) -> Markup:
    if entry.row is None:
        columns = model.matrix.line_columns(line)
        return joined(td(stated_face(entry, index), label=column.name) for index, column in columns)
    return model.cell_tds(entry.row, line, "../")


# What a line is put together from: joined, since formatting takes several times as long.
_EMPTY = Markup("")
_CELL = Markup("<td>")
_CELL_END = Markup("</td>")
_NEXT = Markup("</td><td>")
_NUMBER = Markup('</td><td class="number">')
_LINK = Markup(' <a href="../')
_END = Markup("</td></tr>")


class _KernelParts:
    """What stands in the line of a kernel on every page: made once, since there may be a thousand pages."""

    def __init__(self, model: Model, kernel: Kernel) -> None:
        self.kernel = kernel
        self.columns = model.kernel_columns(kernel)
        self.exact = exact_name(kernel, model.versions)
        name = visible(model.names[kernel.id])
        arch = Markup(" {}").format(visible(kernel.arch)) if len({one.arch for one in model.kernels}) > 1 else ""
        release = visible(kernel.package_version or kernel.release or "")
        self.head = Markup('<tr><th scope="row"><a href="../{}">{}</a>{}</th><td><code>{}</code></td>').format(
            model.addresses.kernels[kernel.id], name, arch, release
        )
        modes = (
            _EMPTY
            if len(model.results.modes) == 1
            else Markup("<td>{}</td>").format(_modes([(column, None) for _, column in self.columns], model))
        )
        # What stands there where it passes in every mode, up to how long it took
        self.clean = joined((self.head, modes, _CELL, chip(CLEAN), _NUMBER))
        self.on = Markup('">evidence<span class="unseen"> on {}</span></a>').format(name)
        self.console = Markup("")
        if kernel.console and is_inside(kernel.console):
            self.console = Markup(' <a href="../{}">console<span class="unseen"> of {}</span></a>').format(
                quote(kernel.console), name
            )


def _modes(own: Sequence[tuple[Column, Cell | None]], model: Model) -> str:
    """Name the modes of some columns of one kernel."""
    return "all modes" if len(own) == len(model.results.modes) else ", ".join(column.mode.id for column, _ in own)


def _rows(model: Model, entry: Entry, kernels: Sequence[_KernelParts]) -> Iterator[Markup]:
    """Pieces of one line per kernel; the modes of a kernel that agree together."""
    is_one_mode = len(model.results.modes) == 1
    remarkable = model.remarkable_on[entry.row.test.id] if entry.row else frozenset()
    for parts in kernels:
        if entry.row is None:
            shown = stated_face(entry, parts.columns[0][0])
            yield Markup("{}<td>{}</td><td>{}</td></tr>").format(parts.head, chip(shown), parts.console)
            continue
        if entry.is_observed:
            yield from _observed_row(model, entry, parts)
            continue
        if parts.kernel.id not in remarkable:
            first = entry.row.cells[parts.columns[0][0]]
            took = wording.span(first.row.duration_s if first else None)
            yield from (parts.clean, model.escaped(took), _NEXT, parts.console, _END)
            continue
        groups: dict[tuple[Face, str], list[tuple[Column, Cell | None]]] = {}
        for index, column in parts.columns:
            cell = entry.row.cells[index]
            groups.setdefault((model.face(cell), cell.row.reason if cell else ""), []).append((column, cell))
        for (shown, _), own in groups.items():
            _, cell = own[0]
            modes = _modes(own, model)
            evidence = model.evidence(cell)
            took = wording.span(cell.row.duration_s) if cell else ""
            remark = _remark(cell.row, parts.exact) if cell else ""
            yield from (
                parts.head,
                *(() if is_one_mode else (_CELL, model.escaped(modes), _CELL_END)),
                _CELL,
                chip(shown),
                _NUMBER,
                model.escaped(took),
                _NEXT,
                escape(visible(remark)),
                *((_LINK, model.escaped(evidence), parts.on) if evidence else ()),
                parts.console,
                _END,
            )


_CLAIM = Markup('<td data-on="by its own word">')
_CLAIMS = {True: "has it", False: "lacks it", None: ""}


def _number(entry: Entry) -> int | None:
    """The opcode or the bit that a capability has in the API: a limit has none."""
    return entry.row.test.number if entry.row is not None and entry.is_observed and not entry.has_values else None


def _observed_row(model: Model, entry: Entry, parts: "_KernelParts") -> Iterator[Markup]:
    """What was observed of a kernel, and its own word beside that: in one mode, since no mode changes what it knows."""
    cells = [entry.row.cells[index] if entry.row else None for index, _ in parts.columns]
    cell = next(filter(None, cells), None)
    row = cell.row if cell else None
    claim = _CLAIMS[row.claimed] if row else ""
    mark = Markup(' <span class="chip tag">not what was observed</span>') if row and row.is_contradicted else _EMPTY
    seen = row.evidence[0] if row and row.evidence else row.reason if row else ""
    evidence = model.evidence(cell)
    yield from (
        parts.head,
        _CELL,
        chip(model.face(cell)),
        _CELL_END,
        _CLAIM,
        model.escaped(claim),
        mark,
        _NEXT,
        escape(visible(seen)),
        *((_LINK, model.escaped(evidence), parts.on) if evidence else ()),
        parts.console,
        _END,
    )


def _remark(row: Result, release: str) -> str:
    if Qualifier.BACKPORT in row.qualifiers:
        return f"{release} has it earlier than documented: a backport"
    return row.reason


@dataclass(frozen=True, slots=True)
class _Asked:
    """Something that a program can ask a kernel for by itself."""

    entry: Entry
    symbol: str
    detect: str


def _by_name(model: Model) -> Mapping[str, _Asked]:
    """What programs can ask for, by id and by symbol: as it was observed, else as the kernels list it."""
    detects = {one.id: one.detect for one in model.results.capabilities}
    found: dict[str, _Asked] = {}
    for entry in (*model.of_basis(Basis.OBSERVED), *model.of_basis(Basis.STATED)):
        detect = entry.row.test.detect if entry.row is not None else detects[entry.id]
        asked = _Asked(entry, entry.symbols[0] if entry.symbols else entry.title, detect)
        found[entry.id] = asked
        # What is about a symbol has it first; others may have it, too.
        for symbol in entry.symbols if entry.basis is Basis.STATED else entry.symbols[:1]:
            found.setdefault(symbol, asked)
    return found


@dataclass(frozen=True, slots=True)
class Way:
    """What a program asks a kernel."""

    symbol: str
    detect: str
    # Kernels that say yes, and do not pass the test: the answer is needed and not enough
    misled: tuple[str, ...]


def _ways(model: Model, entry: Entry, by_name: Mapping[str, _Asked]) -> Iterator[Way]:
    """How a program finds out at run time: what it asks for each symbol that can be asked for by itself."""
    # What was observed is about one thing.
    names = (entry.id,) if entry.is_observed else (entry.id, *entry.symbols)
    found = [by_name[name] for name in names if name in by_name]
    for asked in {one.entry.id: one for one in found}.values():
        if not asked.detect:
            continue
        misled = (
            exact_name(model.matrix.columns[index].kernel, model.versions)
            for index in (entry.row.remarkable if entry.row else ())
            if asked.entry.outcomes[index] is Outcome.PASSES and entry.outcomes[index] is Outcome.LACKS
        )
        yield Way(asked.symbol, asked.detect, tuple(dict.fromkeys(misled)))


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a kernel said that lacks it."""

    # The name of the error that it answered with; empty where the test did not come to ask
    error: str
    reason: str


def _refusals(entry: Entry) -> list[tuple[str, Refusal]]:
    """Which kernels lack it, and how that showed."""
    found: dict[Refusal, list[str]] = {}
    for index in entry.row.remarkable if entry.row else ():
        cell = entry.row.cells[index] if entry.row else None
        if cell is not None and cell.row.status is Status.UNSUPPORTED and cell.row.reason:
            names = (name for line in cell.row.evidence for name in _ERROR.findall(line))
            error = next((name for name in names if name in _ERRORS), "")
            found.setdefault(Refusal(error, cell.row.reason), []).append(cell.row.kernel)
    return [(", ".join(dict.fromkeys(kernels)), refusal) for refusal, kernels in found.items()]


_ERROR = re.compile(r"\bE[A-Z0-9]+\b")
_ERRORS = frozenset(errno.errorcode.values())
