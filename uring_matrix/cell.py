"""`uring-matrix show`: one cell of results with all that its verdict rests on."""

from pathlib import Path

from reports.cell_text import CellText, as_builtins, cells, text_of
from reports.consoles import directory_of
from reports.results import Expectation, read
from uring_matrix import output


def show(
    kernel: str,
    test: str,
    path: Path,
    *,
    mode: str | None = None,
    arch: str | None = None,
    has_whole_console: bool = False,
    as_json: bool = False,
) -> int:
    """Show cells.

    Args:
        kernel: by whatever it is called.
        test: the same.
        path: of the results, or their directory.
        mode: a ring mode, if not each.
        arch: an architecture, if not each.
        has_whole_console: show all of the console.
        as_json: write JSON.

    Returns:
        1 where a verdict is unexpected, else 3 where a cell has none, else 0.

    Raises:
        ResultsError: there are no results, or no such cell.
    """
    results = read(path)
    directory = directory_of(path)
    found = cells(results, kernel, test, mode=mode, arch=arch)
    if as_json:
        output.say_json(as_builtins(found, directory, has_whole_console=has_whole_console))
    else:
        for number, one in enumerate(found):
            if number:
                output.say()
            for line in lines(text_of(one, directory, has_whole_console=has_whole_console), output.width()):
                output.say(line)
    expectations = {one.expectation for one in found}
    if Expectation.UNEXPECTED in expectations:
        return output.UNEXPECTED
    return output.INFRASTRUCTURE if Expectation.OPEN in expectations else output.EXPECTED


def lines(shown: CellText, width: int | None) -> list[str]:
    """Write a cell in plain text; what was quoted keeps its lines."""
    verdict = output.symbol(shown.symbol, shown.tone)
    told = [*map(output.bold, output.wrapped(shown.title, width)), *output.wrapped(f"{verdict} {shown.verdict}", width)]
    for sentence in shown.sentences:
        told += [line for part in sentence.split("\n") for line in output.wrapped(part, width)]
    for passage in shown.passages:
        told += ["", *map(output.bold, output.wrapped(passage.head, width))]
        for line in passage.lines:
            told += [f"  {line}".rstrip()] if passage.is_quoted else output.wrapped(line, width, "  ")
    return told
