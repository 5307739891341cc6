"""A diff as one self-contained page, in the look of the site."""

from reports.diff import BAD, Change, Diff, Gate
from reports.diff_text import conclusion, kernels_line, scope, sections
from reports.records import Status
from reports.site import environment
from reports.site.cells import Face, chip
from reports.wording import VERDICTS


def page(found: Diff, gate: Gate, home: str = "") -> str:
    """Render a diff as HTML.

    Args:
        found: the diff.
        gate: whether it is good.
        home: what the page beside it that leads here is called; empty where the page stands alone.
    """
    return (
        environment()
        .get_template("diff.html")
        .render(
            mark="",
            home=home,
            found=found,
            gate=gate,
            bad=BAD,
            verdict=_verdict,
            conclusion=conclusion(found, gate),
            scope=scope(found),
            kernels=kernels_line(found.kernels),
            sections=sections(found),
        )
    )


def _verdict(words: str, change: Change | None = None) -> str:
    """A verdict as the site shows it; what stands for several, or for none, as it is."""
    if words not in list(Status):
        return words
    status = Status(words)
    known = VERDICTS[status]
    # What is lost never looks like what was never there.
    is_lost = change is Change.REGRESSION and status is Status.UNSUPPORTED
    return chip(Face(known.symbol, known.word, "bad" if is_lost else known.tone, ("lost",) if is_lost else ()))
