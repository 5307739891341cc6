"""A strict little reader of HTML: refuses what is not nested properly, and gives elements to ask questions of."""

from dataclasses import dataclass, field
from functools import lru_cache
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "hr", "img", "input", "col", "wbr"}


@dataclass
class Element:
    """One element with its attributes and children (elements and text)."""

    tag: str
    attributes: dict[str, str | None]
    children: list = field(default_factory=list)

    @property
    def classes(self):
        return (self.attributes.get("class") or "").split()

    def all(self, tag, *classes):
        """Return all descendants of a kind, in document order; `#x` among the classes is an id."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                own = {*child.classes, f"#{child.attributes.get('id')}"}
                if (tag in ("*", child.tag)) and set(classes) <= own:
                    found.append(child)
                found += child.all(tag, *classes)
        return found

    def one(self, tag, *classes):
        """Return the only descendant of a kind."""
        (found,) = self.all(tag, *classes)
        return found

    @property
    def text(self):
        """Return the text as a reader sees it, spaces collapsed."""
        parts = [child if isinstance(child, str) else child.text for child in self.children]
        separator = " " if self.tag in ("tr", "dl", "div", "td", "th", "a", "section", "p", "li") else ""
        return " ".join(separator.join(parts).split())

    @property
    def raw(self):
        """Return the text exactly as it stands."""
        return "".join(child if isinstance(child, str) else child.raw for child in self.children)


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag, attrs):
        element = Element(tag, dict(attrs))
        assert len(attrs) == len(element.attributes), f"an attribute twice in <{tag}>"
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data):
        self.open[-1].children.append(data)


@lru_cache(maxsize=512)
def parse(text):
    """Read a page; nobody changes what it returns.

    Raises:
        AssertionError: elements are not nested properly, or an id is there twice.
    """
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert [reader.root] == reader.open, f"<{reader.open[-1].tag}> is not closed"
    ids = [element.attributes["id"] for element in reader.root.all("*") if "id" in element.attributes]
    assert sorted(set(ids)) == sorted(ids), "an id is there twice"
    return reader.root
