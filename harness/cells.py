"""Cells: which kernel, architecture and mode a test item is for, and how that reads in its id."""

import contextlib
import copy
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import pytest

FIXTURE = "matrix_cell"
# The cell of the item that is running in this process, for items that have no parameters.
CURRENT = pytest.StashKey["Cell"]()
_CELL = pytest.StashKey["Cell"]()
# The kernel id of this machine's own kernel, where items run in process.
HOST = "host"
# Debian's names for what `uname -m` says.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def native_architecture() -> str:
    """Debian's name of this machine's architecture."""
    machine = os.uname().machine
    return _ARCHITECTURES.get(machine, machine)


@dataclass(frozen=True, slots=True)
class Cell:
    """A column of the matrix in one mode."""

    kernel: str
    arch: str
    mode: str
    # Whether `arch` is the host's: then ids leave it out.
    is_native: bool = True

    @property
    def id(self) -> str:
        """What stands in the item's brackets: `6.1-default`, `6.1-arm64-default`."""
        return "-".join((self.kernel, self.mode) if self.is_native else (self.kernel, self.arch, self.mode))

    @property
    def column(self) -> tuple[str, str]:
        """What its guests boot: all modes run in the same ones."""
        return self.kernel, self.arch

    def to_json(self) -> dict[str, Any]:
        """Plain data, for guests and for xdist's workers."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**data)


def parametrize(metafunc: pytest.Metafunc, cells: Iterable[Cell]) -> None:
    """Make one item of a test function per cell. Session scope: pytest then keeps the items of a kernel together."""
    if FIXTURE not in metafunc.fixturenames:
        metafunc.fixturenames.append(FIXTURE)
    cells = list(cells)
    metafunc.parametrize(FIXTURE, cells, ids=[cell.id for cell in cells], indirect=True, scope="session")


def cell_of(item: pytest.Item) -> Cell | None:
    """The cell an item is for; None for an item that no matrix knows of."""
    made_for = item.stash.get(_CELL, None)
    if made_for is not None:
        return made_for
    cell = (
        item.callspec.params.get(FIXTURE) if isinstance(item, pytest.Function) and hasattr(item, "callspec") else None
    )
    return cell if isinstance(cell, Cell) else None


def one_per_cell(
    items: Sequence[pytest.Item | pytest.Collector], cells: Sequence[Cell]
) -> list[pytest.Item | pytest.Collector]:
    """Make one item per cell of those that pytest does not parametrize: TestCases, doctests, a plugin's own.

    Args:
        items: what a collector collected; what is no item, or has its cell, stays as it is.
        cells: the session's.
    """
    made: list[pytest.Item | pytest.Collector] = []
    for node, base in zip(items, distinct([node.name for node in items]), strict=True):
        if not isinstance(node, pytest.Item) or cell_of(node) is not None:
            made.append(node)
            continue
        made += [_copy(node, base, cell) for cell in cells]
    return made


def ids_in_cells(given: str, cells: Sequence[Cell]) -> list[str]:
    """An id of the command line that has parameters and names no cell, as it reads in each cell; any other as it is."""
    path, colons, names = given.partition("::")
    name, bracket, parameters = names.partition("[")
    if not bracket or any(parameters.startswith((f"{cell.id}]", f"{cell.id}-")) for cell in cells):
        return [given]
    return [f"{path}{colons}{name}[{cell.id}-{parameters}" for cell in cells]


def distinct(names: Sequence[str]) -> list[str]:
    """Tell things of one name apart: the second `x` is `x#2`. Plugins may collect several items of one name."""
    counts: Counter[str] = Counter()
    told = []
    for name in names:
        counts[name] += 1
        told.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
    return told


@contextlib.contextmanager
def without_cells(items: Iterable[pytest.Item]) -> Iterator[None]:
    """Let pytest arrange items as if they had no cell: its order is by parameters of wider scopes than a function's."""
    scopes = [callspec._arg2scope for item in items if (callspec := getattr(item, "callspec", None)) is not None]
    own = [(scope, scope[FIXTURE]) for scope in scopes if FIXTURE in scope]
    for scope, wide in own:
        scope[FIXTURE] = type(wide).Function
    try:
        yield
    finally:
        for scope, wide in own:
            scope[FIXTURE] = wide


def plain_name(item: pytest.Item) -> str:
    """The name by which a TestCase knows its method, of an item that was made for a cell; else the item's."""
    return getattr(item, "originalname", item.name) if _CELL in item.stash else item.name


def _copy(item: pytest.Item, base: str, cell: Cell) -> pytest.Item:
    """An item like another one, for a cell. It shares the other's place in the collection tree."""
    clone = copy.copy(item)
    head = item.nodeid.removesuffix(item.name)
    clone.name = f"{base}[{cell.id}]"
    if hasattr(item, "_id"):  # since pytest 9.1 a node's id is an object
        clone._id = type(item._id).parse(f"{head}{clone.name}")
    else:
        clone._nodeid = f"{head}{clone.name}"  # type: ignore[attr-defined]
    clone.keywords = type(item.keywords)(clone)  # type: ignore[call-arg]
    clone.keywords.update(
        {name: item.keywords[name] for name in item.keywords if name not in {*clone.keywords, item.name}}
    )
    clone.own_markers = list(item.own_markers)
    clone.extra_keyword_matches = set(item.extra_keyword_matches)
    clone.user_properties = list(item.user_properties)
    clone._report_sections = []
    clone.stash = clone._store = pytest.Stash()
    clone.stash[_CELL] = cell
    clone.__dict__.pop("location", None)  # cached
    if hasattr(clone, "_initrequest"):  # its fixtures are its own
        clone._initrequest()
    return clone


def console_mark(item: str, mode: str) -> str:
    """The line that a guest writes into its console before it begins with an item."""
    return f"uring-matrix: begins {item}, mode {mode}\n"


def split_node_id(node_id: str, cells: Mapping[str, Cell]) -> tuple[str, Cell] | None:
    """Take an item's id apart.

    Args:
        node_id: `path::test_nop[6.1-default]`, with further parameters behind the cell's.
        cells: the session's, by id.

    Returns:
        The id without the cell (`path::test_nop`, `path::test_x[1]`) and the cell; None when it names none.
    """
    path, colons, names = node_id.partition("::")  # a path may have brackets of its own
    if not names.endswith("]"):
        return None
    bracket = names.find("[")
    while bracket >= 0:
        head, parameters = names[:bracket], names[bracket + 1 : -1]
        # A cell's id has dashes, too, and the longest there is counts: "7.3-rc1-default" before "7.3".
        end = len(parameters)
        while end >= 0:
            if (cell := cells.get(parameters[:end])) is not None:
                rest = parameters[end + 1 :]
                return (f"{path}{colons}{head}[{rest}]" if end < len(parameters) else f"{path}{colons}{head}"), cell
            end = parameters.rfind("-", 0, end)
        bracket = names.find("[", bracket + 1)
    return None
