"""One page per kernel: what it lacks and has, what an upgrade brings, and where its column comes from."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from reports.capabilities import Basis, Entry
from reports.folding import Move, move, moves, stated_changes
from reports.matrix import Cell, Column, ColumnState, Line, Outcome
from reports.records import Kernel, Status
from reports.site.cells import Face, joined
from reports.site.model import Model
from reports.site.troubles import troubles
from reports.untrusted import visible
from reports.wording import found_of, having

# What a cell that is no clean pass is to a reader, by what it shows.
_HEADS: Mapping[str, Callable[[Face], bool]] = {
    "Failed or lost": lambda face: face.tone == "bad" or face.is_unexpected,
    "Missing": lambda face: face.word == "unsupported",
    "Without a verdict": lambda face: face.tone != "good",
    "Passes, with something to know": lambda face: True,
}


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another kernel that somebody may go to, or has to run on as well."""

    kernel: Kernel
    gained: int
    lost: int
    unknown: int
    # What it lists of itself and this one does not, and the other way round
    listed: int
    unlisted: int
    # Of what was observed
    more: int
    fewer: int
    diff: str


@dataclass(frozen=True, slots=True)
class ObservedGroup:
    """What a kernel has of one group of capabilities, and what became of it since the kernel right before."""

    name: str
    has: tuple[Entry, ...]
    lacks: tuple[Entry, ...]
    # Switched off, with by what; not known, with why
    off: tuple[tuple[Entry, str], ...]
    unknown: tuple[tuple[Entry, str], ...]
    gained: tuple[Entry, ...]
    lost: tuple[Entry, ...]
    # Of limits
    values: tuple[tuple[Entry, str], ...]

    @property
    def count(self) -> int:
        """All that there are."""
        return len(self.has) + len(self.lacks) + len(self.off) + len(self.unknown)


@dataclass(frozen=True, slots=True)
class NotPassing:
    """Cells of one look that are no pass."""

    entry: Entry
    face: Face
    evidence: str | None
    # What is documented, and the reason
    reason: str


@dataclass(frozen=True, slots=True)
class ModeView:
    """One mode of the kernel."""

    line: Line
    column: Column
    # By what they are, the worst first
    sections: Mapping[str, tuple[NotPassing, ...]]
    having: tuple[Entry, ...]
    # The same as the items of a list
    items: Markup
    # Modes with the same verdicts
    alike: tuple[Column, ...] = ()


def pages(model: Model) -> Iterator[tuple[str, str]]:
    """Render the page of every kernel."""
    template = model.template("kernel.html")
    # Most capabilities stand on most of the pages.
    items = {one.id: _item(model, one) for one in model.of_basis(Basis.TESTED)}
    for kernel in model.kernels:
        columns = model.kernel_columns(kernel)
        yield (
            model.addresses.kernels[kernel.id],
            template.render(
                root="../",
                kernel=kernel,
                again=model.column_command(kernel),
                column=columns[0][1],
                modes=list(_modes(model, columns, items)),
                headline=_headline(model, columns),
                later=list(_others(model, kernel, is_later=True)),
                older=list(_others(model, kernel, is_later=False)),
                observed=list(_observed(model, kernel)),
                before=_neighbour(model, kernel),
                stated=[
                    (kind, _stated(model, columns[0][0], kind, Outcome.PASSES), _stated(model, columns[0][0], kind))
                    for kind in dict.fromkeys(one.kind for one in model.of_basis(Basis.STATED))
                ],
                troubles=troubles(model, kernels={kernel.id}),
                earlier_runs=model.earlier_runs(kernel),
                is_judged=any(column.state is ColumnState.JUDGED for _, column in columns),
            ),
        )


def _headline(model: Model, columns: Sequence[tuple[int, Column]]) -> str:
    parts = []
    for _, column in columns:
        mode = f" in {column.mode.id}" if len(columns) > 1 else ""
        if column.state is not ColumnState.JUDGED:
            parts.append(f"no verdict{mode}")
        else:
            tests, capabilities = column.tests, column.capabilities
            rest = tests.total - tests.judged
            open_ = f", {rest:,} without a verdict" if rest else ""
            noun = " tests" if capabilities.total else ""
            if tests.total or not capabilities.total:
                parts.append(f"{tests.passed:,} of {tests.judged:,}{noun} pass{mode}{open_}")
            if capabilities.total:
                parts.append(having(capabilities))
    return "; ".join(parts[:3]) + (f"; and {len(parts) - 3} more modes" if len(parts) > 3 else "")


def _item(model: Model, entry: Entry) -> Markup:
    href = f"../{model.addresses.capabilities[entry.id]}"
    return Markup('<li><a href="{}">{}</a></li>\n').format(href, visible(entry.title))


def _modes(model: Model, columns: Sequence[tuple[int, Column]], items: Mapping[str, Markup]) -> Iterator[ModeView]:
    """The first mode; and of the others, those in which anything differs from it."""
    first: Hashable = None
    alike: list[Column] = []
    views = []
    for index, column in columns:
        look = tuple(
            (row.test.id, cell and cell.row.status)
            for row in model.remarkable_rows[index]
            if (cell := row.cells[index]) is None or cell.row.status is not Status.PASS
        )
        if first == look:
            alike.append(column)
        else:
            views.append(_mode(model, index, column, items))
            first = look if first is None else first
    for place, view in enumerate(views):
        yield replace(view, alike=tuple(alike)) if place == 0 else view


def _mode(model: Model, index: int, column: Column, items: Mapping[str, Markup]) -> ModeView:
    sections: dict[str, list[NotPassing]] = {head: [] for head in _HEADS}
    having = []
    for entry in model.of_basis(Basis.TESTED):
        cell = entry.row.cells[index] if entry.row else None
        if cell is None:
            continue
        if cell.is_clean_pass:
            having.append(entry)
        else:
            shown = model.face(cell)
            head = next(head for head, is_there in _HEADS.items() if is_there(shown))
            sections[head].append(NotPassing(entry, shown, model.evidence(cell), cell.row.reason))
    return ModeView(
        Line(column.kernel.arch, column.mode),
        column,
        {head: tuple(own) for head, own in sections.items() if own},
        tuple(having),
        joined(items[entry.id] for entry in having),
    )


def _stated(model: Model, index: int, kind: str, wanted: Outcome = Outcome.LACKS) -> list[Entry]:
    return [one for one in model.of_basis(Basis.STATED) if one.kind == kind and one.outcomes[index] is wanted]


def _neighbour(model: Model, kernel: Kernel) -> Kernel | None:
    """The kernel right before one, of its architecture."""
    older = [one for one in model.kernels if one.arch == kernel.arch and model.age(one) < model.age(kernel)]
    return older[-1] if older else None


def _observed_index(model: Model, kernel: Kernel) -> int:
    """The column that has what was observed: one mode, since none changes what a kernel knows."""
    columns = model.kernel_columns(kernel)
    return next((index for index, column in columns if column.capabilities.total), columns[0][0])


def _observed(model: Model, kernel: Kernel) -> Iterator[ObservedGroup]:
    """What a kernel has, lacks and has switched off, by group."""
    own = _observed_index(model, kernel)
    neighbour = _neighbour(model, kernel)
    before = _observed_index(model, neighbour) if neighbour is not None else None
    for name, entries in model.observed.items():
        ways = {entry.id: move(entry.outcomes[before], entry.outcomes[own]) for entry in entries if before is not None}
        unknown = [entry for entry in entries if entry.outcomes[own] is Outcome.OPEN]
        yield ObservedGroup(
            name,
            tuple(entry for entry in entries if entry.outcomes[own] is Outcome.PASSES),
            tuple(entry for entry in entries if entry.outcomes[own] is Outcome.LACKS),
            tuple((entry, entry.why_open(own)) for entry in unknown if entry.is_off(own)),
            tuple((entry, entry.why_open(own)) for entry in unknown if not entry.is_off(own)),
            tuple(entry for entry in entries if ways.get(entry.id) is Move.GAINED),
            tuple(entry for entry in entries if ways.get(entry.id) is Move.LOST),
            tuple((entry, found_of(cell.row)) for entry in entries if (cell := _valued(entry, own)) is not None),
        )


def _valued(entry: Entry, index: int) -> Cell | None:
    cell = entry.row.cells[index] if entry.row is not None else None
    return cell if cell is not None and cell.row.value is not None else None


def _others(model: Model, kernel: Kernel, *, is_later: bool) -> Iterator[Neighbour]:
    """Compare with every kernel that there is a page for."""
    kernels = model.kernels
    ids = [one.id for one in kernels]
    own = ids.index(kernel.id)
    for pair, path in model.addresses.pairs.items():
        if own != (pair.before if is_later else pair.after):
            continue
        other = kernels[pair.after if is_later else pair.before]
        mine, theirs = model.kernel_columns(kernel)[0], model.kernel_columns(other)
        same = [one for one in theirs if one[1].mode.id == mine[1].mode.id]
        if same:
            found = moves(model.matrix.tests, mine[0], same[0][0])
            counts = {kind: len(rows) for kind, rows in found.items()}
            observed = moves(model.matrix.capabilities, mine[0], same[0][0])
            stated = None if model.observed else stated_changes(mine[1], same[0][1])
            yield Neighbour(
                other,
                counts.get(Move.GAINED, 0),
                counts.get(Move.LOST, 0),
                counts.get(Move.UNKNOWN, 0),
                stated.added_count if stated else 0,
                stated.gone_count if stated else 0,
                len(observed.get(Move.GAINED, ())),
                len(observed.get(Move.LOST, ())),
                path,
            )
