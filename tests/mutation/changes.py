"""Every small change that could be made to a Python file: what mutation testing calls mutants."""

from __future__ import annotations

import ast
import re
import types
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

# Where an operator may be mistaken for another one, in the words of the source.
_OTHER_OPERATORS = {
    ast.Lt: ("<", ("<=", ">")),
    ast.LtE: ("<=", ("<", "==")),
    ast.Gt: (">", (">=", "<")),
    ast.GtE: (">=", (">", "==")),
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.Is: ("is", ("is not", "==")),
    ast.IsNot: ("is not", ("is",)),
    ast.In: ("in", ("not in",)),
    ast.NotIn: ("not in", ("in",)),
    ast.Add: ("+", ("-",)),
    ast.Sub: ("-", ("+",)),
    ast.Mult: ("*", ("//",)),
    ast.FloorDiv: ("//", ("*",)),
    ast.Mod: ("%", ("//",)),
    ast.BitAnd: ("&", ("|",)),
    ast.BitOr: ("|", ("&", "^")),
    ast.BitXor: ("^", ("|",)),
    ast.LShift: ("<<", (">>",)),
    ast.RShift: (">>", ("<<",)),
    ast.And: ("and", ("or",)),
    ast.Or: ("or", ("and",)),
}
# What `struct` and `memoryview.cast` take; the case of a letter is the sign.
_FORMAT = re.compile(r"[=<>]?(\d*[xbBhHiIqQ])+")
_OTHER_WIDTHS = {
    f"c_{sign}int{bits}": f"c_{sign}int{other}"
    for sign in ("", "u")
    for bits, other in ((8, 16), (16, 32), (32, 64), (64, 32))
}
_ANNOTATIONS = ("annotation", "returns")
_NAMES_ONLY = {"__all__", "__slots__", "TYPE_CHECKING"}


@dataclass(frozen=True)
class Change:
    """One change to one file.

    Attributes:
        file: relative to the root.
        scope: the function or class it is in, with dots between; empty for the module itself.
        line: where it begins, from 1 on.
        old: the lines that change, without what is around them.
        new: what becomes of them.
        start: where it begins in the file, in bytes.
        end: where what it replaces ends.
        text: what comes instead.
    """

    file: str
    scope: str
    line: int
    old: str
    new: str
    start: int
    end: int
    text: bytes

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What stays the same when lines are added elsewhere."""
        return self.file, self.scope, self.old, self.new

    def apply(self, source: bytes) -> bytes:
        """The file's content with this change."""
        return source[: self.start] + self.text + source[self.end :]

    def __str__(self) -> str:
        lines = [f"{self.file}:{self.line} in {self.scope or 'the module'}"]
        lines += [f"    - {line}" for line in self.old.splitlines()]
        lines += [f"    + {line}" for line in self.new.splitlines()]
        return "\n".join(lines)


@dataclass(frozen=True)
class _Place:
    """Bytes of the file, and what may come instead of them."""

    start: int
    end: int
    texts: tuple[bytes, ...]


class Source:
    """A Python file and what could be changed in it."""

    def __init__(self, file: str, content: bytes) -> None:
        self.file = file
        self.content = content
        self._alternatives: set[ast.AST] = set()
        self._begins = [0]
        for line in content.splitlines(keepends=True):
            self._begins.append(self._begins[-1] + len(line))

    @classmethod
    def read(cls, root: Path, file: str) -> Source:
        """Read `file`, which is relative to `root`."""
        return cls(file, (root / file).read_bytes())

    def sites(self) -> list[list[Change]]:
        """Find the places that can change, in the file's order, each with every change that can be made there.

        A place is a node of the syntax tree. Left out is what does nothing at run time: annotations, docstrings, what
        only a type checker sees, lists of names; and the texts of messages.
        """
        found: list[list[Change]] = []
        tree = ast.parse(self.content)
        self._alternatives = {kinds for node in ast.walk(tree) if (kinds := _kinds_in(node)) is not None}
        for node, scope, is_in_function in _visible(tree, ()):
            changes = [
                self._change(place, text, scope)
                for place in self._places(node, is_in_function=is_in_function)
                for text in place.texts
            ]
            if changes:
                found.append(changes)
        return sorted(found, key=lambda changes: (changes[0].start, changes[0].end))

    @cached_property
    def code(self) -> types.CodeType:
        """What the file compiles to."""
        return compile(self.content, self.file, "exec")

    def has_effect(self, change: Change) -> bool:
        """Whether the compiler makes something else of the changed file; False too where it is no Python any more."""
        try:
            changed = compile(change.apply(self.content), self.file, "exec")
        except SyntaxError:
            return False
        return _instructions(changed) != _instructions(self.code)

    # -- the text ---------------------------------------------------------------------------------------------------

    def _start(self, node: ast.AST) -> int:
        return self._begins[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined, no-any-return]

    def _end(self, node: ast.AST) -> int:
        return self._begins[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined, no-any-return]

    def _text(self, node: ast.AST) -> bytes:
        return self.content[self._start(node) : self._end(node)]

    def _change(self, place: _Place, text: bytes, scope: str) -> Change:
        first = bisect(self._begins, place.start) - 1
        last = bisect(self._begins, max(place.start, place.end - 1)) - 1
        begin, end = self._begins[first], self._begins[last + 1]
        old = self.content[begin:end]
        new = self.content[begin : place.start] + text + self.content[place.end : end]
        return Change(self.file, scope, first + 1, _stripped(old), _stripped(new), place.start, place.end, text)

    # -- what can change where --------------------------------------------------------------------------------------

    def _places(self, node: ast.AST, *, is_in_function: bool) -> Iterator[_Place]:
        if isinstance(node, ast.expr):
            yield from self._of_expression(node)
        else:
            yield from self._of_statement(node, is_in_function=is_in_function)

    def _of_expression(self, node: ast.expr) -> Iterator[_Place]:  # noqa: PLR0912 - a table
        match node:
            case ast.Compare():
                for left, operator, right in zip(
                    [node.left, *node.comparators], node.ops, node.comparators, strict=False
                ):
                    yield from self._operator(left, operator, right)
            case ast.BinOp():
                yield from self._operator(node.left, node.op, node.right)
                yield self._whole(node, self._text(node.left))
                if isinstance(node.op, ast.BitOr):
                    yield self._whole(node, self._text(node.right))
            case ast.BoolOp():
                for left, right in pairwise(node.values):
                    yield from self._operator(left, node.op, right)
                yield from (self._without(node.values, index) for index in range(len(node.values)))
            case ast.UnaryOp():
                yield self._whole(node, self._text(node.operand))
            case ast.Constant(value=bool() as value):
                yield self._whole(node, str(not value).encode())
            case ast.Constant(value=int() as number):
                yield self._whole(node, str(number + 1).encode(), f"({number - 1})".encode())
            case ast.Constant(value=str() as text) if _FORMAT.fullmatch(text):
                source = self._text(node)
                letters = [letter.start() for letter in re.finditer(rb"[bBhHiIqQ]", source)]
                yield self._whole(
                    node, *(source[:at] + source[at:][:1].swapcase() + source[at + 1 :] for at in letters)
                )
            case ast.Call():
                yield from self._arguments(node)
            case ast.Tuple(ctx=ast.Load()) | ast.List(ctx=ast.Load()) | ast.Set():
                yield from self._elements(node.elts)
                if not isinstance(node, ast.Set) and node not in self._alternatives:
                    yield from self._swapped(node.elts)
            case ast.Dict():
                yield from self._swapped(node.values)
                yield from self._items(node)
            case ast.Name(id=name) if name in _OTHER_WIDTHS:
                yield self._whole(node, _OTHER_WIDTHS[name].encode())
            case ast.IfExp():
                yield self._condition(node.test, b"True", b"False")

    def _of_statement(self, node: ast.AST, *, is_in_function: bool) -> Iterator[_Place]:
        match node:
            case ast.If():
                yield self._condition(node.test, b"True", b"False")
            case ast.While():
                # Not True: from a loop that never ends nothing is learned but that it never ends.
                yield self._condition(node.test, b"False")
            case ast.comprehension():
                yield from (self._condition(test, b"True") for test in node.ifs)
            case ast.For():
                yield self._whole(node.iter, b"()")
            case ast.ExceptHandler():
                yield _Place(self._start(node.body[0]), self._end(node.body[-1]), (b"raise",))
            case ast.Return(value=ast.expr() as value) if not _is_none(value):
                yield self._whole(value, b"None")
            case ast.Break():
                yield self._whole(node, b"continue", b"pass")
            case ast.Continue():
                yield self._whole(node, b"break", b"pass")
            case ast.Expr(value=ast.Call()) | ast.Raise() | ast.Delete():
                yield self._whole(node, b"pass")
            case ast.Assign() | ast.AugAssign() if is_in_function:
                yield self._whole(node, b"pass")
            case ast.AnnAssign(value=ast.expr()) if is_in_function:
                yield self._whole(node, b"pass")

    def _whole(self, node: ast.AST, *texts: bytes) -> _Place:
        return _Place(self._start(node), self._end(node), texts)

    def _condition(self, node: ast.expr, *forced: bytes) -> _Place:
        return self._whole(node, b"not (" + self._text(node) + b")", *forced)

    def _operator(self, left: ast.expr, operator: ast.AST, right: ast.expr) -> Iterator[_Place]:
        if type(operator) not in _OTHER_OPERATORS:
            return
        word, others = _OTHER_OPERATORS[type(operator)]
        if isinstance(operator, ast.Is) and _is_none(right):
            # Nothing of ours is equal to None but None.
            others = ("is not",)
        between = self.content[self._end(left) : self._start(right)]
        at = self._end(left) + between.index(word.encode())
        yield _Place(at, at + len(word), tuple(other.encode() for other in others))

    def _arguments(self, node: ast.Call) -> Iterator[_Place]:
        plain = [argument for argument in node.args if not isinstance(argument, ast.Starred)]
        yield from self._swapped(plain)
        yield from (self._whole(argument, b"0") for argument in plain if isinstance(argument, ast.Name | ast.Attribute))
        for keyword in node.keywords:
            # Up to the comma, if there is one.
            rest = re.match(rb"\s*,\s*", self.content[self._end(keyword) :])
            yield _Place(self._start(keyword), self._end(keyword) + (rest.end() if rest else 0), (b"",))

    def _without(self, nodes: list[ast.expr], index: int) -> _Place:
        """One of them gone, with the operator or comma beside it."""
        if index + 1 < len(nodes):
            return _Place(self._start(nodes[index]), self._start(nodes[index + 1]), (b"",))
        return _Place(self._end(nodes[index - 1]), self._end(nodes[index]), (b"",))

    def _items(self, node: ast.Dict) -> Iterator[_Place]:
        """Each item gone, but for those that come from another dictionary."""
        begins = [self._start(key or value) for key, value in zip(node.keys, node.values, strict=True)]
        for index, key in enumerate(node.keys):
            if key is not None and index + 1 < len(begins) and node.keys[index + 1] is not None:
                yield _Place(begins[index], begins[index + 1], (b"",))
            elif key is not None and index > 0:
                yield _Place(self._end(node.values[index - 1]), self._end(node.values[index]), (b"",))

    def _elements(self, nodes: list[ast.expr]) -> Iterator[_Place]:
        if len(nodes) > 1:
            yield from (self._without(nodes, index) for index in range(len(nodes)) if not _is_text(nodes[index]))

    def _swapped(self, nodes: list[ast.expr]) -> Iterator[_Place]:
        for one, other in pairwise(nodes):
            if self._text(one) != self._text(other) and not (_is_text(one) and _is_text(other)):
                between = self.content[self._end(one) : self._start(other)]
                yield _Place(self._start(one), self._end(other), (self._text(other) + between + self._text(one),))


def _visible(
    node: ast.AST, scope: tuple[str, ...], *, is_in_function: bool = False
) -> Iterator[tuple[ast.AST, str, bool]]:
    """Every node that does something at run time and is no part of a message, with its scope."""
    for name, value in ast.iter_fields(node):
        if name in _ANNOTATIONS or name == "decorator_list":
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or _is_left_out(child):
                continue
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                inner = (*scope, child.name)
                yield from _visible(child, inner, is_in_function=isinstance(child, ast.FunctionDef))
            else:
                yield child, ".".join(scope), is_in_function
                yield from _visible(child, scope, is_in_function=is_in_function)


def _is_left_out(node: ast.AST) -> bool:
    match node:
        # Python 3.11 does not know where in a text the pieces of an f-string are.
        case ast.JoinedStr():
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name in _NAMES_ONLY
    return False


def _kinds_in(node: ast.AST) -> ast.AST | None:
    """Classes of which any will do, in whatever order: those of `except` and `isinstance`."""
    match node:
        case ast.ExceptHandler(type=ast.Tuple() as kinds):
            return kinds
        case ast.Call(func=ast.Name(id="isinstance"), args=[_, kinds]):
            return kinds
    return None


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _stripped(lines: bytes) -> str:
    return "\n".join(line.strip() for line in lines.decode().splitlines())


def _instructions(code: types.CodeType) -> tuple[object, ...]:
    """What a code object does, without where it stands in the file."""
    constants = tuple(_instructions(it) if isinstance(it, types.CodeType) else (type(it), it) for it in code.co_consts)
    return code.co_code, code.co_names, code.co_varnames, constants, code.co_exceptiontable
