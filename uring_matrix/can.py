"""`uring-matrix can`: whether capabilities are there, on which kernels, from results alone; nothing is booted."""

from collections.abc import Sequence
from pathlib import Path

from reports.can import Answer, OnLine, answer, as_builtins
from reports.can_text import Table, TableRow, legend, sentences, table
from reports.matrix import Outcome
from reports.results import Results, ResultsError, read
from uring_matrix import output

_CODES = {
    Outcome.PASSES: output.EXPECTED,
    Outcome.LACKS: output.UNEXPECTED,
    Outcome.OPEN: output.INFRASTRUCTURE,
}
_RESULTS = Path("matrix/results.json")
_HEADS = ("documented", "works from")


def can(
    words: Sequence[str], *, on: Sequence[str] = (), mode: str | None = None, arch: str | None = None, as_json: bool
) -> int:
    """Answer from results.

    Args:
        words: capabilities, and where the results are behind them, if that is not `matrix`.
        on: kernels.
        mode: a ring mode.
        arch: an architecture.
        as_json: write JSON.

    Returns:
        0 yes, 1 no, 3 not known; 0 for a list of everything.

    Raises:
        ResultsError: there are no results, or something is not called that way.
    """
    what, path = split(words)
    results = _read(what, path)
    found = answer(results, what, on, mode=mode, arch=arch)
    if as_json:
        output.say_json(as_builtins(found))
    else:
        for line in lines(found, output.width()):
            output.say(line)
    if not results.complete:
        output.tell(f"{path} is not complete: the run was interrupted, or died")
    return output.EXPECTED if found.is_list else _CODES[found.outcome]


def _read(what: Sequence[str], path: Path) -> Results:
    try:
        return read(path)
    except ResultsError as error:
        if path == _RESULTS and what and Path(what[-1]).is_dir():
            raise ResultsError(
                f"{error} {what[-1]} was taken for a capability: it is a directory, and has no results.json; "
                f"{what[-1]}/ is where to look for results."
            ) from error
        raise


def split(words: Sequence[str]) -> tuple[Sequence[str], Path]:
    """Tell the file of results, which is the last word if it is there, from names of capabilities."""
    if words and is_results(words[-1]):
        return words[:-1], Path(words[-1])
    return words, _RESULTS


def is_results(word: str) -> bool:
    """Whether a word can only be a file of results: names of capabilities may have slashes as well."""
    return (
        word.endswith((".json", "/"))
        or word.startswith(("/", "./", "../", "~"))
        or word in {".", ".."}
        or (Path(word) / "results.json").is_file()
        or (Path(word) / "results.jsonl").is_file()
    )


def lines(found: Answer, width: int | None) -> list[str]:
    """Write an answer in plain text.

    Args:
        found: the answer.
        width: of the terminal; None where there is none.
    """
    if not found.lines:
        raise ResultsError("these results have no kernel: `uring-matrix run` tests some")
    told: list[str] = []
    for one in found.lines:
        if len(found.matrix.lines) > 1:
            told += [*([""] if told else []), output.bold(f"{one.line.arch}, mode {one.line.mode.id}")]
        told += _part(found, one, width)
    return told


def _part(found: Answer, one: OnLine, width: int | None) -> list[str]:
    # Each kernel by itself, if there is room; else neighbours that are alike as one; else no table.
    tables = [table(found, one, is_folded=is_folded) for is_folded in ((True,) if found.is_list else (False, True))]
    fitting = (
        laid for shown in tables if output.fits(laid := _table(shown, is_list=found.is_list, width=width), width)
    )
    shown = tables[-1]
    laid = next(fitting, []) or _list(shown, width, is_list=found.is_list)
    marks = {mark.symbol for row in shown.rows for mark in row.marks}
    explained = [legend(shown)] if found.is_list or not marks <= {"✓", "\N{EN DASH}"} else []
    told = [line for text in (*explained, *sentences(found, one)) for line in output.wrapped(text, width)]
    return [*laid, "", *told] if found.is_list else [*laid, *told]


def _table(shown: Table, *, is_list: bool, width: int | None) -> list[str]:
    """One row per capability; where lines may have any length, with the symbols, to be searched."""
    has_symbols = is_list and width is None
    heads = ["", *_HEADS, *shown.heads, *(["symbols"] if has_symbols else [])]
    rows: list[list[str]] = []
    group = None
    for row in shown.rows:
        if is_list and row.group != group:
            group = row.group
            rows += [*([[""] * len(heads)] if rows else []), [output.bold(group), *[""] * (len(heads) - 1)]]
        rows.append(
            [
                row.title,
                row.documented,
                row.works_from,
                *(
                    " " * (len(head) - 1) + output.symbol(mark.symbol, mark.tone)
                    for head, mark in zip(shown.heads, row.marks, strict=True)
                ),
                *([row.symbols] if has_symbols else []),
            ]
        )
    return output.table(heads, rows)


def _list(shown: Table, width: int | None, *, is_list: bool) -> list[str]:
    """The same for narrow terminals."""
    told: list[str] = []
    group = None
    for row in shown.rows:
        if is_list and row.group != group:
            group = row.group
            told += [*([""] if told else []), output.bold(group)]
        told += _item(row, shown.heads, width)
    return told


def _item(row: TableRow, heads: Sequence[str], width: int | None) -> list[str]:
    known = ", ".join(
        filter(None, (f"documented {row.documented}" if row.documented else "", f"works from {row.works_from}"))
    )
    marks = [
        f"{output.symbol(mark.symbol, mark.tone)}\N{NO-BREAK SPACE}{head}"
        for head, mark in zip(heads, row.marks, strict=True)
    ]
    return [
        line.replace("\N{NO-BREAK SPACE}", " ")
        for text, indent in ((row.title, ""), (known, "  "), ("  ".join(marks), "  "))
        for line in output.wrapped(text, width, indent)
    ]
