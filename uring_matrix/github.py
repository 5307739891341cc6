"""What a command leaves for GitHub Actions beside its output: a summary of the step, and errors at the top of the run.

Both only where the service says that it is there. Neither changes what a command exits with.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from reports.diff import BAD, GATES, Change, Diff, Gate
from reports.diff_text import conclusion, kernels_line, sections
from reports.markdown import STEP_SUMMARY_BYTES_MAX
from reports.results import Result, Results
from reports.summary import Summary, troubles
from uring_matrix import output

# The service shows so many errors of a step, and drops the rest without a word.
_ERRORS_MAX = 10
# Below this there is no room for more than a heading.
_SUMMARY_BYTES_MIN = 1024

# A title and a message.
Error = tuple[str, str]


def summarize(document: Callable[[int], str]) -> None:
    """Append Markdown to the step's summary, if there is one.

    Args:
        document: makes it, in no more than the given number of bytes.
    """
    name = os.environ.get("GITHUB_STEP_SUMMARY")
    if not name:
        return
    path = Path(name)
    try:
        # A step may run several commands, and the service drops a summary that is too large as a whole.
        there = path.stat().st_size if path.exists() else 0
        left = STEP_SUMMARY_BYTES_MAX - there
        if left < _SUMMARY_BYTES_MIN:
            output.tell(f"the step's summary, {path}, is full: nothing was added")
            return
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            # Whatever is there may not have ended its line.
            file.write("\n" * min(there, 2) + document(left - 2))
    except OSError as error:
        output.tell(f"the step's summary, {path}, could not be written: {error.strerror or error}")


def annotate(errors: Iterable[Error]) -> None:
    """Write errors as workflow commands, to standard error: standard output may be somebody's JSON."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    found = list(errors)
    if len(found) > _ERRORS_MAX:
        left = len(found) - _ERRORS_MAX + 1
        found[_ERRORS_MAX - 1 :] = [("More", f"{left:,} more; the step's summary has them all")]
    for title, message in found:
        output.tell(command("error", message, title=title))


def command(name: str, message: str, **properties: str) -> str:
    """Write a workflow command: `::error title=What::message`."""
    given = ",".join(f"{key}={_escaped(value, '%', chr(13), chr(10), ':', ',')}" for key, value in properties.items())
    return f"::{name}{' ' if given else ''}{given}::{_escaped(message, '%', chr(13), chr(10))}"


def _escaped(text: str, *special: str) -> str:
    return "".join(f"%{ord(one):02X}" if one in special else one for one in text)


def errors_of_diff(found: Diff, gate: Gate) -> Iterator[Error]:
    """Say what a gate is not green for, the worst first."""
    if gate.is_green:
        return
    counted = BAD.union(*(GATES[name] for name in gate.holes))
    is_said = False
    for section in sections(found):
        if section.change in counted:
            for line in section.lines:
                is_said = True
                where = line.where or kernels_line(found.kernels)
                reason = f": {line.reason}" if line.reason else ""
                yield _TITLES[section.change], f"{line.test} on {where}: {line.was} → {line.now}{reason}"
    if not is_said:
        yield "Not known to be good", conclusion(found, gate)


_TITLES = {
    Change.REGRESSION: "Regression",
    Change.NEW_FAILURE: "New failure",
    Change.NEWLY_FLAKY: "Newly flaky",
    Change.INCONCLUSIVE: "No verdict any more",
    Change.DISAPPEARED: "Not there any more",
    Change.UNKNOWN: "Not known",
}


def errors_of_run(summary: Summary, own: Results) -> Iterator[Error]:
    """Say what a run is not green for, the worst first."""
    yield from errors_of_cells("Unexpected verdict", summary.unexpected, own)
    yield from errors_of_cells("No verdict", summary.open, own)
    if not own.complete and not summary.open:
        yield "Not complete", "the run ended before it was done"


def errors_of_cells(title: str, rows: Iterable[Result], own: Results) -> Iterator[Error]:
    """Say the same of some cells, equal ones together."""
    for one in troubles(rows, own):
        yield title, f"{one.what} on {one.places}: {one.words}{f': {one.reason}' if one.reason else ''}"
