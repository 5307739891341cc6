"""Which side of a comparison that failed was expected: by its source, since pytest knows only left and right.

People write `assert value == 5`, others `assert 5 == value`. What the source has as a constant was expected. Where both
sides are constants or neither is, nothing says which, unless the suite has an order of its own.
"""

import ast
import linecache
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

Side = Literal["left", "right"]

_OPERATORS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip
# The same seen from the other side.
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "in": "contains", "not in": "does not contain"}
# pytest's name for itself in a module whose assertions it has rewritten.
_REWRITTEN = "@pytest_ar"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One that failed, as pytest tells it: both sides in words."""

    operator: str
    left: str
    right: str

    def as_expected(self, side: Side) -> dict[str, str]:
        """Say what was expected and what came.

        Args:
            side: the one that was expected.
        """
        wanted, came = (self.left, self.right) if side == "left" else (self.right, self.left)
        if self.operator == "==":
            return {"expected": wanted, "actual": came}
        operator = self.operator if side == "right" else _TURNED.get(self.operator, self.operator)
        return {"expected": f"{operator} {wanted}", "actual": came}

    def in_neutral_words(self) -> list[str]:
        """Say what stood on either side, where nobody knows which was expected."""
        return [f"left of {self.operator}: {self.left}", f"right of {self.operator}: {self.right}"]


@dataclass(frozen=True, slots=True)
class Assertion:
    """The assert statement that raised, as far as it is a comparison or several that all have to hold."""

    module: str
    # By operator what the source has on either side: left and right, of each such comparison
    pairs: tuple[tuple[str, ast.expr, ast.expr], ...]

    def constant_side(self, operator: str) -> Side | None:
        """Say which side is a constant; None if that is neither or both, or not the same in all that it may be."""
        sides = {_constant_side(left, right) for name, left, right in self.pairs if name == operator}
        return sides.pop() if len(sides) == 1 else None


def raised_by(traceback: TracebackType | None) -> Assertion | None:
    """Find the assert statement that raised.

    Args:
        traceback: the exception's.

    Returns:
        None where it was none that pytest explains, or where what pytest compared last need not be what failed, such as
        below a `not`.
    """
    if traceback is None:
        return None
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    frame, line = traceback.tb_frame, traceback.tb_lineno
    if _REWRITTEN not in frame.f_globals:
        return None
    try:
        tree = ast.parse("".join(linecache.getlines(frame.f_code.co_filename, frame.f_globals)))
    except (SyntaxError, ValueError):
        return None
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Assert) and node.lineno == line]
    pairs = _pairs(found[0].test) if len(found) == 1 else None
    return Assertion(str(frame.f_globals.get("__name__", "")), tuple(pairs)) if pairs is not None else None


def _pairs(test: ast.expr) -> list[tuple[str, ast.expr, ast.expr]] | None:
    """The comparisons that all have to hold; None if it takes anything else."""
    if isinstance(test, ast.Compare):
        names = (_OPERATORS[type(operator)] for operator in test.ops)
        return list(zip(names, [test.left, *test.comparators], test.comparators, strict=False))
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        parts = [pairs for one in test.values if (pairs := _pairs(one)) is not None]
        return [pair for pairs in parts for pair in pairs] if len(parts) == len(test.values) else None
    return None


def _constant_side(left: ast.expr, right: ast.expr) -> Side | None:
    is_left, is_right = _is_constant(left), _is_constant(right)
    if is_left is is_right:
        return None
    return "left" if is_left else "right"


def _is_constant(node: ast.expr) -> bool:
    """Whether it is written as a value: literals, names in capitals, and what is put together of these alone."""
    match node:
        case ast.Constant():
            return True
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.isupper()
        case ast.UnaryOp(operand=inner):
            return _is_constant(inner)
        case ast.BinOp(left=left, right=right):
            return _is_constant(left) and _is_constant(right)
        case ast.Tuple(elts=inner) | ast.List(elts=inner) | ast.Set(elts=inner):
            return all(map(_is_constant, inner))
        case ast.Dict(keys=keys, values=values):
            return all(key is not None and _is_constant(key) for key in keys) and all(map(_is_constant, values))
    return False
