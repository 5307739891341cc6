"""The pages of a history: the runs, and a diff for each but the first."""

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from reports.diff_page import page
from reports.diff_text import conclusion
from reports.history import History, Strip
from reports.ours import refuse_foreign
from reports.records import Result, Status
from reports.site.cells import Face, inner
from reports.site.engine import environment
from reports.storage import write_atomically
from reports.wording import VERDICTS, qualifier_words

# Cells that changed and are shown; there may be thousands after a suite was renamed.
_STRIPS_MAX = 500


def write_history(found: History, directory: str | os.PathLike[str]) -> Path:
    """Write a history into a directory.

    Returns:
        The path of index.html.

    Raises:
        ResultsError: a file could not be written, or is somebody else's.
    """
    root = Path(directory)
    refuse_foreign(root, ["index.html"])
    for name, content in render(found):
        write_atomically(root / name, content.encode("utf-8"), is_synced=False)
    return root / "index.html"


def render(found: History) -> Iterator[tuple[str, str]]:
    """Yield the pages as (relative path, text), the index last."""
    links = {}
    for before, step in pairwise(found.steps):
        if step.diff is not None and step.gate is not None:
            links[step.name] = f"{before.name}..{step.name}.html"
            yield links[step.name], page(step.diff, step.gate, "io_uring over time")
    yield (
        "index.html",
        environment()
        .get_template("history.html")
        .render(
            history=found,
            steps=list(reversed(found.steps)),
            links=links,
            conclusions={
                step.name: conclusion(step.diff, step.gate) for step in found.steps if step.diff and step.gate
            },
            verdicts=VERDICTS,
            statuses=[status for status in Status if any(step.counts.get(status) for step in found.steps)],
            strips=[(strip, _faces(strip)) for strip in found.changed[:_STRIPS_MAX]],
            more=max(0, len(found.changed) - _STRIPS_MAX),
            inner=inner,
            has_modes=len({strip.key.mode for strip in found.changed}) > 1,
        ),
    )


def _faces(strip: Strip) -> list[Face | None]:
    """What each run shows of a cell; what an earlier run had does not look like what was never there."""
    faces: list[Face | None] = []
    is_had = False
    for row in (mark.row for mark in strip.marks):
        shown = _face(row)
        if shown is not None and is_had and row is not None and row.status is Status.UNSUPPORTED:
            shown = shown._replace(tone="bad", qualifiers=(*shown.qualifiers, "lost"))
        faces.append(shown)
        is_had = is_had or (row is not None and row.status is Status.PASS)
    return faces


def _face(row: Result | None) -> Face | None:
    if row is None:
        return None
    verdict = VERDICTS[row.status]
    return Face(
        verdict.symbol, verdict.word, verdict.tone, tuple(qualifier_words(row)), is_qualified=bool(row.qualifiers)
    )
