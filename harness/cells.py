"""Cells: which kernel, architecture and mode a test item is for, and how that reads in its id."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import pytest

FIXTURE = "matrix_cell"
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
    """A column of the matrix."""

    kernel: str
    arch: str
    mode: str
    # Whether `arch` is the host's: then ids leave it out.
    is_native: bool = True

    @property
    def id(self) -> str:
        """What stands in the item's brackets: `6.1-default`, `6.1-arm64-default`."""
        return "-".join((self.kernel, self.mode) if self.is_native else (self.kernel, self.arch, self.mode))

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
    if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
        cell = item.callspec.params.get(FIXTURE)
        return cell if isinstance(cell, Cell) else None
    return None


def split_node_id(node_id: str, cells: Mapping[str, Cell]) -> tuple[str, Cell] | None:
    """Take an item's id apart.

    Args:
        node_id: `path::test_nop[6.1-default]`, with further parameters behind the cell's.
        cells: the session's, by id.

    Returns:
        The id without the cell (`path::test_nop`, `path::test_x[1]`) and the cell; None when it names none.
    """
    head, bracket, parameters = node_id.partition("[")
    if not bracket or not parameters.endswith("]"):
        return None
    parameters = parameters[:-1]
    for cell_id in sorted(cells, key=len, reverse=True):  # "7.3-rc1-default" before "7.3"
        if parameters == cell_id:
            return head, cells[cell_id]
        if parameters.startswith(f"{cell_id}-"):
            return f"{head}[{parameters[len(cell_id) + 1 :]}]", cells[cell_id]
    return None
