"""`uring-matrix history`: runs in time, and what changed when."""

from collections.abc import Sequence
from pathlib import Path

from reports.diff_text import conclusion
from reports.history import history as derive
from reports.results import read
from reports.wording import count
from uring_matrix import output


def history(paths: Sequence[Path], out: Path) -> int:
    """Compare runs one after the other and write pages of them.

    Args:
        paths: results.json files, or directories that hold one, in any order.
        out: where index.html and the diffs go.

    Returns:
        0: the pages are written; `diff` is what judges.

    Raises:
        ResultsError: a file cannot be used, there are fewer than two runs, or a page cannot be written.
    """
    found = derive((str(path), read(path)) for path in paths)
    from reports.history_site import write_history  # noqa: PLC0415 - a wrong file name needs no Jinja2

    index = write_history(found, out)
    for step in found.steps:
        change = conclusion(step.diff, step.gate) if step.diff and step.gate else "the first run"
        output.tell(f"{step.results.started:%Y-%m-%d %H:%M} UTC  {change}")
    output.tell(f"{count(len(found.changed), 'cell')} changed, {found.steady:,} never did")
    output.say(str(index))
    return output.EXPECTED
