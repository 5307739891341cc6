"""Which function ports which of Zig's tests: read from the suite's sources, so that there is no second list to keep.

Needs neither pytest nor io_uring: a report can be made where no ring can.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

SUITE = Path(__file__).parent / "zig"


@dataclass(frozen=True, slots=True)
class PortedTest:
    """A test function that names the Zig test it ports."""

    # Zig's title, as in `test "accept multishot"`; a doctest's is the name of what it documents.
    title: str
    # What the report calls the test.
    words: str
    # The uapi names that it exercises, what it is about first.
    symbols: tuple[str, ...]
    # The pytest function's name.
    function: str
    # Its file, relative to the suite.
    file: str
    line: int
    # The module's group: a heading in the report.
    group: str
    # Documented minimum kernel of everything the test uses together; an expectation, never a gate.
    since: str
    # First line of the docstring: what the test shows about the kernel.
    summary: str
    # The title as the docstring repeats it for a reader of the source.
    docstring_title: str


def function_name(title: str) -> str:
    """The pytest function's name for a Zig test's title.

    Lower case, and every run of other characters is one underscore: `timeout (after a relative time)` becomes
    `test_timeout_after_a_relative_time`.
    """
    return "test_" + re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")


def ported_tests(suite: Path = SUITE) -> list[PortedTest]:
    """Every test of the suite that carries a `zig` marker, in the order of files and lines.

    Raises:
        ValueError: a test has no docstring, no `title`, `symbols` or `since` marker, or its module no group.
    """
    return [test for path in sorted(suite.glob("test_*.py")) for test in _ported_in(path)]


def _ported_in(path: Path) -> Iterator[PortedTest]:
    module = ast.parse(path.read_text(encoding="utf-8"), str(path))
    module_markers = _markers(
        [node.value for node in module.body if isinstance(node, ast.Assign) and _assigns(node, "pytestmark")]
    )
    for node in module.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        markers = module_markers | _markers(node.decorator_list)
        if "zig" not in markers:
            continue
        docstring = ast.get_docstring(node) or ""
        named = re.search(r'^Zig: "(.+)"$', docstring, re.MULTILINE)
        missing = [name for name in ("title", "symbols", "since", "group") if name not in markers]
        if missing or not named:
            lack = [f"a {name} marker" for name in missing] + (
                [] if named else ['a docstring with a line Zig: "title"']
            )
            raise ValueError(f"{path}:{node.lineno}: {node.name} lacks {' and '.join(lack)}")
        yield PortedTest(
            title=markers["zig"][0],
            words=markers["title"][0],
            symbols=markers["symbols"],
            function=node.name,
            file=path.name,
            line=node.lineno,
            group=markers["group"][0],
            since=markers["since"][0],
            summary=docstring.splitlines()[0],
            docstring_title=named[1],
        )


def _assigns(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


def _markers(expressions: list[ast.expr]) -> dict[str, tuple[str, ...]]:
    """`pytest.mark.name("text", …)` expressions, alone or in a list, as name -> texts."""
    found: dict[str, tuple[str, ...]] = {}
    for expression in expressions:
        match expression:
            case ast.List(elts=elements):
                found |= _markers(elements)
            case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="mark"), attr=name), args=arguments):
                texts = tuple(one.value for one in arguments if isinstance(one, ast.Constant))
                if texts and all(isinstance(text, str) for text in texts):
                    found[name] = cast(tuple[str, ...], texts)
    return found
