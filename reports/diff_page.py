"""A diff as one self-contained page."""

from reports.diff import Diff, Gate
from reports.diff_text import conclusion, kernels_line, scope, sections
from reports.site import environment


def page(found: Diff, gate: Gate) -> str:
    """Render a diff as HTML."""
    return (
        environment()
        .get_template("diff.html")
        .render(
            mark="",
            found=found,
            conclusion=conclusion(found, gate),
            scope=scope(found),
            kernels=kernels_line(found.kernels),
            sections=sections(found),
        )
    )
