"""Comparisons and runs as Markdown: for a pull request, for the summary of a CI job. Pure functions.

What matters stands open and first, the rest is folded; what guests and tests say is text and nothing else.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from reports.diff import Change, Diff, Gate
from reports.diff_text import conclusion, kernels_line, scope, sections
from reports.folding import Fold, folds
from reports.matrix import Matrix, derive
from reports.records import Result, Results
from reports.summary import Summary, troubles
from reports.summary import conclusion as run_conclusion
from reports.wording import OBSERVED, VERDICTS, headline, line_name, verdict_of, without_verdict

# What GitHub takes as a comment, and as the summary of one step; with room for what it counts otherwise.
COMMENT_BYTES_MAX = 60_000
STEP_SUMMARY_BYTES_MAX = 1024 * 1024 - 1024
# What a reader must not have to unfold.
_SHOWN = frozenset(
    {Change.REGRESSION, Change.VALUE, Change.NEW_FAILURE, Change.NEWLY_FLAKY, Change.INCONCLUSIVE, Change.DISAPPEARED}
)
# Characters that mean something to Markdown, to the HTML in it, or to GitHub. What notifies people and links issues is
# found in the text of the finished page, and so has to be torn apart there.
_SPECIAL = {
    **{one: f"&#{ord(one)};" for one in "|`*_<>[]&~\\$"},
    **{one: f"&#{ord(one)};<wbr>" for one in "@#"},
    "\n": " ",
}
# What the line that counts left-out rows may take.
_CUT_BYTES = 80


@dataclass(frozen=True, slots=True)
class Table:
    """A table under a heading, of which rows may be left out where there is no room."""

    head: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    is_open: bool = True


def of_diff(found: Diff, gate: Gate, limit_bytes: int = COMMENT_BYTES_MAX) -> str:
    """Write a comparison.

    Args:
        found: the comparison.
        gate: what it means.
        limit_bytes: rows that would lead beyond it are counted instead.
    """
    head = [_heading(conclusion(found, gate), is_green=gate.is_green), *_compared(found)]
    return _document(head, _changes(found), limit_bytes)


def of_run(
    own: Results,
    summary: Summary,
    *,
    is_green: bool,
    limit_bytes: int = STEP_SUMMARY_BYTES_MAX,
    beside: tuple[Diff, Gate] | None = None,
    fresh: Sequence[Result] = (),
) -> str:
    """Write a run: what is worse than before, what nobody expected, what is not known, then the verdicts by kernel.

    Args:
        own: the run.
        summary: its cells, sorted.
        is_green: whether it is good, all things considered.
        limit_bytes: rows that would lead beyond it are counted instead.
        beside: the comparison with a baseline, and what it means.
        fresh: cells that the baseline has not, and that nobody expected.
    """
    matrix = derive(own)
    words = run_conclusion(summary, own)
    tables: list[Table] = []
    head: list[str] = []
    if beside is not None:
        found, gate = beside
        # What is known and no worse is not what a run is red for, unless there is nothing else.
        if is_green or not gate.is_green or fresh:
            words = conclusion(found, gate)
        words += f"; {len(fresh):,} unexpected and not in the baseline" if fresh else ""
        head = _compared(found)
        tables += _changes(found)
        told = {(entry.test, entry.new_kernel, entry.arch, entry.mode) for entry in found.entries}
        known = [row for row in (*summary.unexpected, *summary.open) if row.key not in told]
        tables += _cells("Unexpected, and not in the baseline", fresh, own)
        tables += _cells("As it was in the baseline", known, own, is_open=False)
    else:
        tables += _cells("Lost: passes on an older kernel, and not here", summary.lost, own)
        rest = [row for row in summary.unexpected if row not in summary.lost]
        tables += _cells("Unexpected verdicts", rest, own)
        tables += _cells("No verdict", summary.open, own)
    tables += _cells("Wavered, which was allowed", summary.forgiven, own)
    facts = [f"{escaped(headline(matrix))}.", *map(escaped, without_verdict(matrix.columns))]
    lines = [_heading(words, is_green=is_green), *head]
    for fact in facts:
        lines += ["", fact]
    return _document(lines, [*tables, *_kernels(matrix)], limit_bytes)


def escaped(text: str) -> str:
    """Text that Markdown, the HTML in it, and GitHub take as text."""
    return "".join(_SPECIAL.get(one, one) for one in text)


def _heading(words: str, *, is_green: bool) -> str:
    return f"### {'✅' if is_green else '❌'} uring-matrix: {escaped(words)}"


def _compared(found: Diff) -> list[str]:
    return [
        "",
        f"<code>{escaped(found.old)}</code> → <code>{escaped(found.new)}</code> · {escaped(scope(found))}",
        "",
        f"Kernels: {escaped(kernels_line(found.kernels))}",
        *(line for caveat in found.caveats for line in ("", f"> {escaped(caveat)}")),
    ]


def _changes(found: Diff) -> list[Table]:
    return [
        Table(
            f"{section.head} ({section.count:,})",
            ("capability" if section.is_observed else "test", "kernel", "was", "is", ""),
            tuple((one.test, one.where, one.was, one.now, one.reason) for one in section.lines),
            is_open=section.change in _SHOWN,
        )
        for section in sections(found)
    ]


def _cells(head: str, rows: Sequence[Result], own: Results, *, is_open: bool = True) -> Iterator[Table]:
    if rows:
        found = troubles(rows, own)
        lines = tuple((one.what, one.places, one.words, one.reason) for one in found)
        yield Table(f"{head} ({len(rows):,})", ("test", "kernel", "verdict", ""), lines, is_open=is_open)


def _kernels(matrix: Matrix) -> Iterator[Table]:
    """Count the verdicts kernel by kernel, tests and capabilities apart; neighbours alike in every cell are one row."""
    for head, own in (("Verdicts by kernel", matrix.tests), ("Capabilities by kernel", matrix.capabilities)):
        words = Counter(verdict_of(cell.row) for row in own for cell in row.cells if cell is not None)
        used = [one for one in (*VERDICTS.values(), *OBSERVED.values()) if words[one]]
        rows = []
        for line in matrix.lines:
            for fold in folds(matrix, line, own):
                cells = (row.cells[fold.indices[-1]] for row in own)
                counts = Counter(verdict_of(cell.row) for cell in cells if cell is not None)
                name = " ".join(filter(None, (_name(fold), line_name(line, matrix.lines))))
                if counts:
                    rows.append((name, *(f"{counts[one]:,}" if counts[one] else "·" for one in used)))
        if rows:
            yield Table(head, ("kernel", *(f"{one.symbol} {one.word}" for one in used)), tuple(rows))


def _name(fold: Fold) -> str:
    return fold.name if fold.count == 1 else f"{fold.name} ({fold.count} alike)"


def _document(head: Sequence[str], tables: Sequence[Table], limit_bytes: int) -> str:
    """Put the parts together; the room there is goes to the first tables first."""
    frames = [_frame(table) for table in tables]
    left = limit_bytes - _size([*head, *(line for before, after in frames for line in (*before, *after))])
    left -= _CUT_BYTES * len(tables)
    lines = list(head)
    for table, (before, after) in zip(tables, frames, strict=True):
        rows = [f"| {' | '.join(map(escaped, row))} |" for row in table.rows]
        kept = []
        for row in rows:
            if (size := _size([row])) > left:
                break
            left -= size
            kept.append(row)
        more = len(rows) - len(kept)
        cut = [f"| … and {more:,} more{' |' * len(table.columns)}"] if more else []
        lines += [*before, *kept, *cut, *after]
    return _within("\n".join(lines) + "\n", limit_bytes)


def _frame(table: Table) -> tuple[list[str], list[str]]:
    head = f"#### {table.head}" if table.is_open else f"<details><summary>{table.head}</summary>"
    columns = [f"| {' | '.join(table.columns)} |", f"|{' --- |' * len(table.columns)}"]
    return ["", head, "", *columns], [] if table.is_open else ["", "</details>"]


def _size(lines: Iterable[str]) -> int:
    return sum(len(line.encode(errors="replace")) + 1 for line in lines)


def _within(text: str, limit_bytes: int) -> str:
    """Cut a text whose heads alone are too long: thousands of kernels, say."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= limit_bytes:
        return encoded.decode()
    return encoded[: max(limit_bytes - 8, 0)].decode(errors="ignore").rpartition("\n")[0] + "\n\n…\n"
