"""The front page: the answer first, then what changed from kernel to kernel, then every capability in one table."""

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from markupsafe import Markup

from reports import wording
from reports.capabilities import Basis, Entry, general
from reports.distributions import Distribution, distribution_of, untested
from reports.folding import Fold, Move, Step
from reports.known_issues import no_longer_shown
from reports.matrix import Column, Line, MinimumKind, Outcome, exact_name
from reports.records import Kernel
from reports.site.cells import joined
from reports.site.engine import TEMPLATES
from reports.site.model import Model
from reports.site.pictures import Plot, plot
from reports.site.troubles import troubles
from reports.untrusted import slug
from reports.wording import MinimumText

# Of the titles that a step names; the page of the two kernels has all.
_NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class RowView:
    """One line of a table of capabilities."""

    entry: Entry
    href: str
    minimum: MinimumText
    cells: Markup
    # Architectures and modes whose verdicts differ from these
    differing: tuple[Line, ...]
    # Begins a group that works from the same kernel on
    is_first: bool
    # Per kernel of the front page, for the picker: 1 has it, 0 lacks it, ? not known
    known: str


@dataclass(frozen=True, slots=True)
class Table:
    """Capabilities of one kind: those that some kernel lacks, and those that every kernel here has."""

    id: str
    name: str
    folds: tuple[Fold, ...]
    rows: tuple[RowView, ...]
    settled: tuple[RowView, ...]
    # What the verdicts rest on, where that is no test
    basis: str = ""


@dataclass(frozen=True, slots=True)
class StepView:
    """One line of what changed from kernel to kernel."""

    step: Step
    gained: tuple[Entry, ...]
    lost: tuple[Entry, ...]
    unknown: tuple[Entry, ...]
    known: tuple[Entry, ...]
    # How many more than are named
    more: int
    # The page that compares it with the one before
    diff: str | None
    stated: tuple[str, ...]


def page(model: Model) -> str:
    """Render the front page."""
    tables = list(_tables(model))
    columns = model.columns
    script = (TEMPLATES / "picker.js").read_text(encoding="utf-8")
    digest = b64encode(sha256(script.encode()).digest()).decode()
    matrix = model.matrix
    return model.template("index.html").render(
        root="",
        troubles=troubles(model),
        mended=no_longer_shown(model.results),
        headline=wording.headline(matrix),
        shortfalls=wording.shortfalls(matrix),
        missing=wording.missing_kernels(matrix.columns),
        machines=_machines(model),
        untested=[one for one in untested(matrix.kernels) if matrix.kernels],
        steps=_steps(model),
        plot=_plot(model),
        tables=tables,
        symbols=_symbols(model),
        legend=[(verdict, matrix.counts.get(status, 0)) for status, verdict in wording.VERDICTS.items()],
        qualifiers=_qualifiers(model),
        run_span=wording.run_span(model.results),
        picker=_picker(model, columns),
        script=Markup(script),  # noqa: S704 (a file of ours)
        script_digest=digest,
        narrow_rem=max([48, *(_needed_rem(len(table.folds)) for table in tables)]),
    )


def _needed_rem(columns: int) -> int:
    """The width in rem below which a table becomes a list; wider ones than a screen scroll with the page."""
    return min(64, 34 + 5 * columns)


# -- tables ------------------------------------------------------------------------------------------------------------


def _tables(model: Model) -> Iterable[Table]:
    tested = model.of_basis(Basis.TESTED)
    if tested:
        yield _table(model, "capabilities", "Capabilities", tested, model.folds)
    kinds: dict[str, list[Entry]] = {}
    for entry in model.of_basis(Basis.STATED):
        kinds.setdefault(entry.kind, []).append(entry)
    for kind, own in kinds.items():
        name = f"{kind.capitalize()}s"
        yield _table(model, f"{slug(kind)}s", name, own, model.stated_folds, "as the kernels list them, not tested")


def _table(
    model: Model, anchor: str, name: str, entries: Sequence[Entry], folds: tuple[Fold, ...], basis: str = ""
) -> Table:
    """Sort entries: what somebody has to know first, then the newest; what every kernel has apart."""
    settled = [entry for entry in entries if _is_settled(model, entry)]
    apart = set(map(id, settled))
    moving = sorted((entry for entry in entries if id(entry) not in apart), key=lambda entry: _order(model, entry))
    return Table(anchor, name, folds, tuple(_rows(model, moving, folds)), tuple(_rows(model, settled, folds)), basis)


def _rows(model: Model, entries: Sequence[Entry], folds: tuple[Fold, ...]) -> Iterable[RowView]:
    previous: object = None
    for entry in entries:
        minimum = model.minimum(entry)
        text = model.minimum_text(minimum) if minimum else MinimumText("?")
        yield RowView(
            entry,
            model.addresses.capabilities[entry.id],
            text,
            joined(model.entry_td(entry, fold) for fold in folds),
            tuple(model.differing_lines(entry.row)) if entry.row else (),
            is_first=previous is not None and previous != text.figure,
            known=_known(model, entry),
        )
        previous = text.figure


def _is_settled(model: Model, entry: Entry) -> bool:
    """Whether every kernel of the front page has it, with nothing to add."""
    own = model.columns
    if not own or any(entry.outcomes[index] is not Outcome.PASSES for index, _ in own):
        return False
    cells = [entry.row.cells[index] for index, _ in own] if entry.row else []
    return all(cell is not None and cell.is_clean_pass for cell in cells) and not (
        entry.row and model.differing_lines(entry.row)
    )


def _order(model: Model, entry: Entry) -> tuple[object, ...]:
    minimum = model.minimum(entry)
    if minimum is None:
        return (0,)
    if minimum.regressions:
        return (0,)
    if minimum.at is None:
        return (1, minimum.kind is not MinimumKind.NEVER)
    # The newest first.
    return (2, -model.age(minimum.at))


def _known(model: Model, entry: Entry) -> str:
    signs = {Outcome.PASSES: "1", Outcome.LACKS: "0", Outcome.OPEN: "?"}
    return "".join(signs[entry.outcomes[index]] for index, _ in model.columns)


def _picker(model: Model, columns: Sequence[tuple[int, Column]]) -> str:
    """What the picker's script has to know of the kernels, as JSON that cannot end the element it stands in."""
    versions = model.versions
    data = [
        {
            "name": column.name,
            "exact": exact_name(column.kernel, versions),
            "distribution": model.distribution(column.kernel),
        }
        for _, column in columns
    ]
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace("&", "\\u0026"))  # noqa: S704 (no < or & is left)


# -- from kernel to kernel ---------------------------------------------------------------------------------------------


def _steps(model: Model) -> list[StepView]:
    found = []
    before: Step | None = None
    for step in model.steps:
        moved = {
            kind: tuple(model.entry_of[row.test.id] for row in rows if row.test.id in model.entry_of)
            for kind, rows in step.moves.items()
        }
        gained, lost = moved.get(Move.GAINED, ()), moved.get(Move.LOST, ())
        found.append(
            StepView(
                step,
                gained[:_NAMED_MAX],
                lost,
                moved.get(Move.UNKNOWN, ())[:_NAMED_MAX],
                moved.get(Move.KNOWN, ())[:_NAMED_MAX],
                more=max(0, len(gained) - _NAMED_MAX),
                diff=(model.pair_address(before.fold.newest.kernel, step.fold.columns[0].kernel) if before else None),
                stated=tuple(_stated_words(step)),
            )
        )
        before = step
    return found


def _stated_words(step: Step) -> Iterable[str]:
    """Word what kernels of a fold list more or less than the one before: `6.16 +5 operations`."""
    for one in step.stated:
        signs = (("+", one.added), ("\N{MINUS SIGN}", one.gone))
        parts = [
            f"{sign}{len(names)} {_noun(kind, len(names))}"
            for sign, kinds in signs
            for kind, names in kinds.items()
            if kind in ("operations", "features")
        ]
        if parts:
            yield f"{one.column.name} {', '.join(parts)}"


def _noun(plural: str, number: int) -> str:
    return plural.removesuffix("s") if number == 1 else plural


def _plot(model: Model) -> Plot | None:
    """Draw how many capabilities each kernel has."""
    points = []
    for index, column in model.columns:
        outcomes = Counter(entry.outcomes[index] for entry in model.entries)
        is_known = outcomes[Outcome.PASSES] + outcomes[Outcome.LACKS] > 0
        points.append((column.name, outcomes[Outcome.PASSES] if is_known else None))
    return plot(points, len(model.entries))


# -- names -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Machine:
    """A distribution whose own kernel was tested."""

    name: str
    kernel: Kernel


def _machines(model: Model) -> list[Machine]:
    found: dict[str, tuple[Distribution, Kernel]] = {}
    for kernel in model.kernels:
        one = distribution_of(kernel)
        if one is not None:
            # Of several releases the newest, which comes last.
            found[one.name] = (one, kernel)
    return [Machine(name, kernel) for name, (_, kernel) in found.items()]


@dataclass(frozen=True, slots=True)
class Symbol:
    """A name of the API, and the page that says most about it."""

    name: str
    href: str
    minimum: str


def _symbols(model: Model) -> list[Symbol]:
    """Every symbol in full, from A to Z: what the browser's own search finds, folds or not."""
    # What an entry is about stands early among its symbols; a kernel's own list is about nothing else.
    about: dict[str, dict[tuple[int, bool], list[Entry]]] = {}
    for entry in model.entries:
        for place, symbol in enumerate(entry.symbols):
            about.setdefault(symbol, {}).setdefault((place, entry.basis is not Basis.STATED), []).append(entry)
    found = []
    for symbol, places in sorted(about.items()):
        own = general(tuple(places[min(places)]))
        minimum = model.minimum(own[0])
        figure = model.minimum_text(minimum).figure if minimum else "?"
        # Of several tests none says from when on the symbol is there.
        found.append(Symbol(symbol, model.addresses.capabilities[own[0].id], figure if len(own) == 1 else ""))
    return found


def _qualifiers(model: Model) -> list[tuple[str, str]]:
    """The qualifiers that occur, with what they mean."""
    shown = {
        name
        for row in model.results.results
        if row.qualifiers
        for name in wording.qualifiers_of(row, model.provenance.kernel_of(row))
    }
    known: Mapping[str, tuple[str, str]] = {str(name): entry for name, entry in wording.QUALIFIERS.items()}
    return [entry for name, entry in known.items() if name in shown]
