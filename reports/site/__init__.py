"""The site: answers on the front page, a page for each capability, kernel and pair of kernels, evidence for each cell.

Pages depend on the results alone: the same results give the same bytes. They work without a script and from a file.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from reports.ours import MARK, SITE, refuse_foreign
from reports.pages import foreign_pages, remove_stale
from reports.records import Results
from reports.site import all_pages, can_json, capability_pages, diff_pages, evidence_pages, front, kernel_pages
from reports.site.engine import environment
from reports.site.evidence_pages import reproduce
from reports.site.model import Model
from reports.storage import write, write_atomically

__all__ = ["MARK", "environment", "render", "reproduce", "write_site"]


def write_site(results: Results, directory: str | os.PathLike[str], *, with_results: bool = True) -> Path:
    """Write the site into a directory.

    Pages replace those of an earlier run one by one, `index.html` last; pages that are not needed any more are
    removed, files of any other origin are left alone.

    Args:
        results: what to show.
        directory: where to; made if it is not there.
        with_results: write `results.json` beside the pages, which link to it.

    Returns:
        The path of index.html.

    Raises:
        ResultsError: a file could not be written, or is somebody else's.
    """
    root = Path(directory)
    refuse_foreign(root, SITE)
    if foreign := foreign_pages(root):
        # Which names the pages have is known when they are rendered; it takes somebody else's page to look before.
        refuse_foreign(root, {name for name, _ in render(results)}.intersection(foreign))
    if with_results:
        write(root / "results.json", results)
    written = set()
    for name, content in render(results):
        write_atomically(root / name, content.encode("utf-8"), is_synced=False)
        written.add(name)
    remove_stale(root, written)
    return root / "index.html"


def render(results: Results) -> Iterator[tuple[str, str]]:
    """Yield the site's files as (relative path, text), the front page last. Nothing is written."""
    model = Model(results)
    for room in (evidence_pages, capability_pages, diff_pages, kernel_pages, all_pages):
        yield from room.pages(model)
    yield "can.json", can_json.text(model)
    yield "badge.svg", can_json.badge_of(model)
    yield "index.html", front.page(model)
