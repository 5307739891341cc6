"""What is first to be said of a run, wherever it is said: what nobody expected, what has no verdict. Pure functions."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from reports.events import kernel_order
from reports.expectation import Expectation, judge_all
from reports.folding import losses
from reports.matrix import derive
from reports.records import CellKey, Result, Results, Status
from reports.untrusted import visible
from reports.wording import OBSERVED, counted, listed, qualifier_words, verdict_of

_NAMES_MAX = 4
_REASON_CHARACTERS_MAX = 200


@dataclass(frozen=True, slots=True)
class Trouble:
    """Equal verdicts with one reason: some tests, each in all of some columns."""

    # The verdict, and what qualifies it
    words: str
    tests: tuple[str, ...]
    # Columns: kernels, and their architectures and modes as far as there is a choice
    where: tuple[str, ...]
    reason: str
    count: int
    # How many of the tests are capabilities, which were observed
    capabilities: int = 0

    @property
    def what(self) -> str:
        """Name the test, or say how many they are."""
        if len(self.tests) == 1:
            return self.tests[0]
        return counted(len(self.tests) - self.capabilities, self.capabilities)

    @property
    def places(self) -> str:
        """Name the columns: all of a few, else the first and the last."""
        if len(self.where) <= _NAMES_MAX:
            return ", ".join(self.where)
        return f"{self.where[0]} … {self.where[-1]} ({len(self.where):,})"


@dataclass(frozen=True, slots=True)
class Summary:
    """The cells of a run that are not as they should be, sorted by what that means."""

    # Cells that do not pass although an older kernel does, whether that was to be expected or not
    lost: tuple[Result, ...]
    # Verdicts that nobody expected: first what is lost
    unexpected: tuple[Result, ...]
    # No verdict about the kernel was reached
    open: tuple[Result, ...]
    # What wavered where that was allowed
    forgiven: tuple[Result, ...]


def summarize(own: Results, judged: Results | None = None) -> Summary:
    """Sort a run's cells.

    Args:
        own: the run.
        judged: the same as it counts, where wavering is forgiven; row by row.
    """
    gone = _lost(own)
    kinds: dict[Expectation, list[Result]] = {expectation: [] for expectation in Expectation}
    forgiven = []
    for row, one, forgiving in zip(own.results, judge_all(own), judge_all(judged or own), strict=True):
        kinds[forgiving].append(row)
        if one is Expectation.UNEXPECTED and forgiving is not Expectation.UNEXPECTED:
            forgiven.append(row)
    return Summary(
        lost=tuple(row for row in own.results if row.key in gone),
        unexpected=tuple(sorted(kinds[Expectation.UNEXPECTED], key=lambda row: row.key not in gone)),
        open=tuple(kinds[Expectation.OPEN]),
        forgiven=tuple(forgiven),
    )


def _lost(own: Results) -> Collection[CellKey]:
    """Find what a kernel does not pass and an older one does."""
    cells = (loss.row.cells[index] for loss in losses(derive(own)) for index in loss.after)
    return {cell.row.key for cell in cells if cell is not None}


def troubles(rows: Iterable[Result], own: Results) -> list[Trouble]:
    """Fold cells of equal verdict and reason: over the tests of a column, then over columns with the same tests.

    Args:
        rows: some of the run's.
        own: the run; it knows whether architectures and modes need to be named.
    """
    archs, modes = ({getattr(row, name) for row in own.results} for name in ("arch", "mode"))
    order = {kernel.id: index for index, kernel in enumerate(sorted(own.kernels, key=kernel_order))}
    columns: dict[tuple[str, str, str], list[Result]] = {}
    for row in sorted(rows, key=lambda row: order.get(row.kernel, len(order))):
        words = ", ".join([row.status, *(word for word in qualifier_words(row) if word != "unexpected")])
        where = " ".join([row.kernel, *([row.arch] if len(archs) > 1 else []), *([row.mode] if len(modes) > 1 else [])])
        columns.setdefault((words, where, one_line(row.reason)), []).append(row)
    folded: dict[tuple[str, tuple[str, ...], str], list[str]] = {}
    for (words, where, reason), group in columns.items():
        folded.setdefault((words, tuple(visible(row.test) for row in group), reason), []).append(visible(where))
    observed = {test.id for test in own.tests if test.is_capability}
    return [
        Trouble(words, tests, tuple(where), reason, len(tests) * len(where), sum(test in observed for test in tests))
        for (words, tests, reason), where in folded.items()
    ]


def one_line(text: str) -> str:
    """Keep the first line, bounded, without the control characters that a guest may have put into it."""
    lines = text.strip().splitlines() or [""]
    return visible(lines[0][:_REASON_CHARACTERS_MAX])


def conclusion(found: Summary, own: Results) -> str:
    """Say in a line how a run stands that is held against no other."""
    parts = []
    if found.unexpected:
        parts.append(f"{len(found.unexpected):,} unexpected {_verdicts(found.unexpected, own)}")
    if count := len(found.open):
        parts.append(f"{count:,} {'cell' if count == 1 else 'cells'} without a verdict")
    if not own.results:
        parts.append("no test was run")
    elif not own.complete and not found.open:
        parts.append("the run is not complete")
    return ", ".join(parts) or "everything as expected"


# Of a verdict, whether it was observed, and its word
VerdictKind = tuple[bool, str]


def verdict_kind(row: Result) -> VerdictKind:
    """What a row counts as: what works and what a kernel knows are never one figure."""
    return row.state is not None, verdict_of(row).word if row.state is not None else row.status.value


def verdict_heads(own: Results) -> dict[VerdictKind, str]:
    """The heads of a table that counts a run's verdicts: those of tests first."""
    used = {verdict_kind(row) for row in own.results}
    kinds = [
        *((False, status.value) for status in Status),
        *((True, one.word) for one in OBSERVED.values()),
    ]
    return {kind: kind[1] for kind in kinds if kind in used}


def _verdicts(rows: Sequence[Result], own: Results) -> str:
    """Say what some verdicts are about: of tests that ran, of capabilities that were observed."""
    observed = {test.id for test in own.tests if test.is_capability}
    capabilities = sum(row.test in observed for row in rows)
    noun = "verdict" if len(rows) == 1 else "verdicts"
    if not capabilities:
        return noun
    tests = len(rows) - capabilities
    parts = [f"{tests:,} of tests"] if tests else []
    return f"{noun} ({listed([*parts, f'{capabilities:,} of capabilities'])})" if tests else f"{noun} of capabilities"
