"""Which modules of the tests' tree a module imports, directly or by way of others.

What a module names is found by parsing it, which takes ten times as long as reading it. So it is kept in the cache, by
the module's content: a file that is missing, damaged or cannot be written costs time and nothing else.
"""

import ast
import contextlib
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from vm.cache import replace_file

_NAME = "imports.json"
# Of edited modules there is no end: above this only what was wanted last is kept.
_MODULES_MAX = 5_000


class Imports:
    """What modules import.

    Args:
        directory: the cache.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / _NAME
        # By the sha256 of their content.
        self._kept = _read(self._path)
        self._wanted: dict[str, list[str]] = {}

    def reachable(self, paths: Iterable[Path]) -> set[Path]:
        """Some files, and what they import of the files beside them, and so on: a test may use another's helpers."""
        found: set[Path] = set()
        pending = list(paths)
        while pending:
            file = pending.pop()
            if file not in found:
                found.add(file)
                for name in self._names(file):
                    pending += _files_of_module(name, file.parent)
        return found

    def keep(self) -> None:
        """Have what was found so far known to later runs."""
        if self._wanted.keys() <= self._kept.keys():
            return
        kept = {**self._kept, **self._wanted}
        content = json.dumps(kept if len(kept) <= _MODULES_MAX else self._wanted)
        with contextlib.suppress(OSError):
            replace_file(self._path, content.encode())

    def _names(self, path: Path) -> list[str]:
        if path.suffix != ".py":
            return []
        try:
            content = path.read_bytes()
        except OSError:
            return []
        digest = hashlib.sha256(content).hexdigest()
        if (names := self._wanted.get(digest, self._kept.get(digest))) is None:
            names = sorted(_imported_names(content))
        self._wanted[digest] = names
        return names


def _read(path: Path) -> dict[str, list[str]]:
    try:
        found = json.loads(path.read_bytes())
        return {str(digest): [str(name) for name in names] for digest, names in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _imported_names(content: bytes) -> set[str]:
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return set()
    names: set[str] = set()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names |= {module, *(f"{module}.{alias.name}".strip(".") for alias in node.names)}
    return names


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Every statement, however deep it is in others. Expressions are nine tenths of a tree, and none is in them."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        yield node
        for name in ("body", "orelse", "handlers", "finalbody", "cases"):
            pending += getattr(node, name, ())


def _files_of_module(name: str, folder: Path) -> Iterator[Path]:
    """Where a module of the tests' tree lies: beside the file that imports it, or wherever this process has it from."""
    beside = _modules_beside(folder).get(name.rpartition(".")[2])
    if beside is not None:
        yield beside
    if (module := sys.modules.get(name)) is not None:
        origin = _own_file(getattr(module, "__file__", None) or "")
        if origin is not None:
            yield origin


@cache
def _modules_beside(folder: Path) -> dict[str, Path]:
    """The modules in a folder, by name."""
    return {path.stem: path for path in folder.glob("*.py") if path.is_file()}


@cache
def _own_file(name: str) -> Path | None:
    """A module's file, unless it is Python's or was installed."""
    path = Path(name)
    is_own = path.suffix == ".py" and "site-packages" not in path.parts and not path.is_relative_to(sys.base_prefix)
    return path if is_own else None
