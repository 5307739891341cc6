"""The front page: the answer first, then what changed from kernel to kernel, then every capability in one table."""

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby

from markupsafe import Markup

from reports import wording
from reports.capabilities import Basis, Entry, general
from reports.distributions import Distribution, distribution_of, untested
from reports.folding import Fold, Move, Step, folds
from reports.known_issues import no_longer_shown
from reports.matrix import Column, Line, MinimumKind, Outcome, exact_name
from reports.records import Kernel, Status
from reports.site.cells import Face, joined
from reports.site.engine import TEMPLATES
from reports.site.model import Model
from reports.site.pictures import Plot, plot
from reports.site.troubles import troubles
from reports.untrusted import slug
from reports.wording import MinimumText

# Of the titles that a step names of a group; the page of the two kernels has all.
_NAMED_MAX = 5
_NAMED_OBSERVED_MAX = 3
# So many equal rows one after another are one line until somebody wants to see them.
_STRETCH_MIN = 6


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
class Stretch:
    """Rows that say the same, folded into one line."""

    # What they have in common
    head: str
    name: str
    # Fewer columns than the table's: they differ in less
    folds: tuple[Fold, ...]
    rows: tuple[RowView, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Capabilities of one kind: those that have to be read one by one, and those of which many say the same."""

    id: str
    name: str
    folds: tuple[Fold, ...]
    rows: tuple[RowView, ...]
    # The newest first, and last those that every kernel here has
    stretches: tuple[Stretch, ...]
    # What the verdicts rest on
    basis: Basis
    said: str = ""

    @property
    def count(self) -> int:
        """How many rows it has, folded ones included."""
        return len(self.rows) + sum(len(one.rows) for one in self.stretches)


@dataclass(frozen=True, slots=True)
class GroupMoves:
    """What a group gained and lost from one kernel to another."""

    name: str
    href: str
    gained: tuple[Entry, ...]
    lost: tuple[Entry, ...]
    # How many more were gained than are named
    more: int


@dataclass(frozen=True, slots=True)
class StepView:
    """One line of what changed from kernel to kernel."""

    step: Step
    groups: tuple[GroupMoves, ...]
    # By kind (tests, capabilities) how many were gained and lost
    counts: Mapping[str, tuple[int, int]]
    unknown: tuple[Entry, ...]
    known: tuple[Entry, ...]
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
        legend=_legend(model),
        legend_observed=_legend_observed(model),
        kinds=_kinds(model),
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
        name = "Tests" if model.observed else "Capabilities"
        said = "it works: a test ran in each kernel" if model.observed else ""
        yield _table(model, "capabilities", name, tested, model.folds, Basis.TESTED, said)
    for group, own in model.observed.items():
        said = "the kernel knows it: observed"
        yield _table(model, _anchor(group), group, own, _folds(model, own), Basis.OBSERVED, said)
    kinds: dict[str, list[Entry]] = {}
    for entry in model.of_basis(Basis.STATED):
        kinds.setdefault(entry.kind, []).append(entry)
    for kind, own in kinds.items():
        name = f"{kind.capitalize()}s"
        said = "as the kernels list them, not tested"
        yield _table(model, f"{slug(kind)}s", name, own, model.stated_folds, Basis.STATED, said)


def _table(
    model: Model,
    anchor: str,
    name: str,
    entries: Sequence[Entry],
    folded: tuple[Fold, ...],
    basis: Basis,
    said: str,
) -> Table:
    """Sort entries: what somebody has to know first, then the newest; what many have in common folded."""
    settled = [entry for entry in entries if _is_settled(model, entry)]
    apart = set(map(id, settled))
    moving = sorted((entry for entry in entries if id(entry) not in apart), key=lambda entry: _order(model, entry))
    single: list[Entry] = []
    stretches: list[Stretch] = []
    for look, group in groupby(moving, key=lambda entry: _look(model, entry, folded)):
        own = list(group)
        if basis is Basis.OBSERVED and len(own) >= _STRETCH_MIN and not any(face.is_unexpected for face in look[1]):
            head = " ".join(filter(None, (f"from {look[0].figure}", ", ".join(look[0].notes))))
            stretches.append(_stretch(model, head, f"{name} {head}", own, _folds(model, own)))
        else:
            single += own
    if settled:
        its = _folds(model, settled) if basis is Basis.OBSERVED else folded
        stretches.append(
            _stretch(model, "that every kernel here has", f"{name} of every kernel here", settled, its),
        )
    return Table(anchor, name, folded, tuple(_rows(model, single, folded)), tuple(stretches), basis, said)


def _anchor(group: str) -> str:
    """Where a group's table is on the page."""
    return f"observed-{slug('-'.join(group.lower().split()))}"


def _stretch(model: Model, head: str, name: str, own: Sequence[Entry], folded: tuple[Fold, ...]) -> Stretch:
    return Stretch(head, name, folded, tuple(_rows(model, own, folded)))


def _folds(model: Model, own: Sequence[Entry]) -> tuple[Fold, ...]:
    """The front page's columns, by some rows of it."""
    rows = [entry.row for entry in own if entry.row is not None]
    return folds(model.matrix, model.line, rows) if model.line else ()


def _look(model: Model, entry: Entry, folded: Sequence[Fold]) -> tuple[MinimumText, tuple[Face, ...]]:
    """What a reader sees of a row beside its name."""
    minimum = model.minimum(entry)
    text = model.minimum_text(minimum) if minimum else MinimumText("?")
    cells = [entry.row.cells[fold.first] for fold in folded] if entry.row is not None else []
    return text, tuple(map(model.face, cells))


def _rows(model: Model, entries: Sequence[Entry], folded: tuple[Fold, ...]) -> Iterable[RowView]:
    previous: object = None
    for entry in entries:
        minimum = model.minimum(entry)
        text = model.minimum_text(minimum) if minimum else MinimumText("?")
        yield RowView(
            entry,
            model.addresses.capabilities[entry.id],
            text,
            joined(model.entry_td(entry, fold) for fold in folded),
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
    # A limit that is there is not settled where it is another one.
    if len({cell.row.value for cell in cells if cell is not None}) > 1:
        return False
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
        groups = _group_moves(moved.get(Move.GAINED, ()), moved.get(Move.LOST, ()))
        found.append(
            StepView(
                step,
                tuple(groups),
                {
                    kind: (_count(moved.get(Move.GAINED, ()), kind), _count(moved.get(Move.LOST, ()), kind))
                    for kind in ("tests", "capabilities")
                },
                moved.get(Move.UNKNOWN, ())[:_NAMED_MAX],
                moved.get(Move.KNOWN, ())[:_NAMED_MAX],
                diff=(model.pair_address(before.fold.newest.kernel, step.fold.columns[0].kernel) if before else None),
                # Where all of it was observed, the kernels' own word is beside that.
                stated=tuple(_stated_words(step)) if not model.observed else (),
            )
        )
        before = step
    return found


def _count(entries: Sequence[Entry], kind: str) -> int:
    return sum(entry.is_observed is (kind == "capabilities") for entry in entries)


def _group_moves(gained: Sequence[Entry], lost: Sequence[Entry]) -> Iterator[GroupMoves]:
    """Sort what moved by group, the tests together."""

    def group(entry: Entry) -> tuple[str, str]:
        if entry.is_observed:
            return entry.group, f"#{_anchor(entry.group)}"
        return "Tests", "#capabilities"

    for name, href in dict.fromkeys(map(group, sorted((*gained, *lost), key=lambda entry: entry.is_observed))):
        own = [entry for entry in gained if group(entry) == (name, href)]
        limit = _NAMED_OBSERVED_MAX if own and own[0].is_observed else _NAMED_MAX
        yield GroupMoves(
            name,
            href,
            tuple(own[:limit]),
            tuple(entry for entry in lost if group(entry) == (name, href)),
            more=max(0, len(own) - limit),
        )


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
    """Draw how many capabilities each kernel has: of what was observed, where anything was."""
    entries = model.of_basis(Basis.OBSERVED) or model.entries
    points = []
    for index, column in model.columns:
        outcomes = Counter(entry.outcomes[index] for entry in entries)
        is_known = outcomes[Outcome.PASSES] + outcomes[Outcome.LACKS] > 0
        points.append((column.name, outcomes[Outcome.PASSES] if is_known else None))
    return plot(points, len(entries))


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
            about.setdefault(symbol, {}).setdefault((place, entry.basis is Basis.TESTED), []).append(entry)
    found = []
    for symbol, places in sorted(about.items()):
        own = general(tuple(places[min(places)]))
        minimum = model.minimum(own[0])
        figure = model.minimum_text(minimum).figure if minimum else "?"
        # Of several tests none says from when on the symbol is there.
        found.append(Symbol(symbol, model.addresses.capabilities[own[0].id], figure if len(own) == 1 else ""))
    return found


def _kinds(model: Model) -> list[tuple[str, str]]:
    """What is counted for each kernel, with its head: tests and capabilities, never their sum."""
    matrix = model.matrix
    found = [("tests", "Tests" if matrix.capabilities else "Pass")] if matrix.tests or not matrix.capabilities else []
    return [*found, *([("capabilities", "Capabilities")] if matrix.capabilities else [])]


def _legend(model: Model) -> list[tuple[wording.Verdict, int]]:
    """The verdicts of tests, with how many there are of each."""
    counts = sum((Counter(column.tests.counts) for column in model.matrix.columns), Counter[Status]())
    return [(verdict, counts[status]) for status, verdict in wording.VERDICTS.items()]


def _legend_observed(model: Model) -> list[tuple[wording.Verdict, int]]:
    """What was observed, with how often."""
    cells = (cell for row in model.matrix.capabilities for cell in row.cells if cell is not None)
    counts = Counter(wording.verdict_of(cell.row) for cell in cells)
    return [(verdict, counts[verdict]) for verdict in dict.fromkeys((*wording.OBSERVED.values(), *counts))]


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
