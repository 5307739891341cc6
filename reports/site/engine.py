"""The template engine: everything is escaped, and control characters become visible, without exception."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports import wording
from reports.ours import MARK
from reports.untrusted import breakable, excerpt, prose, slug, visible

TEMPLATES = Path(__file__).parent.parent / "templates"


def is_inside(path: str) -> bool:
    """Whether a path that stands in results leads to a file beside them: no link may lead elsewhere."""
    parts = path.split("/")
    return not path.startswith("/") and ".." not in parts and ":" not in parts[0] and path == visible(path)


def environment() -> Environment:
    """Return the engine with the filters that every page may use."""

    def finalize(value: object) -> object:
        if isinstance(value, str) and not isinstance(value, Markup):
            return visible(value)
        return "" if value is None else value

    engine = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    engine.filters |= {
        "breakable": breakable,
        "count": wording.count,
        "excerpt": excerpt,
        "identity": id,
        "is_inside": is_inside,
        "moment": wording.moment,
        "prose": prose,
        "slug": slug,
        "span": wording.span,
    }
    engine.globals |= {"mark": Markup(MARK)}  # noqa: S704 (a constant of ours)
    return engine
