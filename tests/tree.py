"""What the tests that hold across the whole tree look at: tracked files, rooms, and who imports whom."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# The packages that are shipped, each a room with its own reason to change.
ROOMS = ("uring", "vm", "reports", "harness", "conformance", "uring_matrix")


@cache
def tracked_files() -> tuple[Path, ...]:
    """Every file under version control that is there, relative to the root; skips the test outside of a checkout."""
    done = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"not a git checkout: {done.stderr.decode().strip()}")
    names = [Path(name) for name in done.stdout.decode().split("\0") if name]
    return tuple(path for path in names if (ROOT / path).is_file())


def modules(room: str) -> list[Path]:
    """The Python files of a room, relative to the root."""
    return sorted(path.relative_to(ROOT) for path in (ROOT / room).rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    """A module's syntax."""
    return ast.parse((ROOT / path).read_bytes(), filename=str(path))


def module_name(path: Path) -> str:
    """What a file is imported as."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, *, at_run_time: bool = True) -> Iterator[tuple[str, int]]:
    """Find what a module imports, wherever in it.

    Args:
        path: the module, relative to the root.
        at_run_time: leave out what only the type checker sees.

    Yields:
        The absolute names (`reports.results`, and `vm.image` for `from vm import image`), with their lines.
    """
    unseen = set(_type_checking_only(parsed(path))) if at_run_time else set()
    for node in ast.walk(parsed(path)):
        if node in unseen:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(path, node)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield (full if _is_module(full) else base), node.lineno


def _base(path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = path.parent.parts[: len(path.parent.parts) - node.level + 1]
    return ".".join([*package, *([node.module] if node.module else [])])


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def _type_checking_only(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            for child in node.body:
                yield from ast.walk(child)


def is_standard(name: str) -> bool:
    """Whether a module belongs to Python itself."""
    return name.partition(".")[0] in sys.stdlib_module_names
