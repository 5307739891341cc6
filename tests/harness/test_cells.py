"""Item ids and the cells they name."""

import pytest

from harness.cells import Cell, split_node_id

NATIVE = Cell("6.1", "amd64", "default")
FOREIGN = Cell("6.1", "arm64", "default", is_native=False)
RELEASE = Cell("6.1-rc1", "amd64", "default")
CELLS = {cell.id: cell for cell in (NATIVE, FOREIGN, RELEASE)}


def test_the_id_names_kernel_and_mode_and_a_foreign_architecture() -> None:
    assert NATIVE.id == "6.1-default"
    assert FOREIGN.id == "6.1-arm64-default"


@pytest.mark.parametrize(
    ("node_id", "expected"),
    [
        ("a.py::test_nop[6.1-default]", ("a.py::test_nop", NATIVE)),
        ("a.py::test_nop[6.1-arm64-default]", ("a.py::test_nop", FOREIGN)),
        ("a.py::test_nop[6.1-rc1-default]", ("a.py::test_nop", RELEASE)),
        ("a.py::TestX::test_y[6.1-default-1-two]", ("a.py::TestX::test_y[1-two]", NATIVE)),
        ("a[6.1-default].py::test_y[x[6.1-default-]", ("a[6.1-default].py::test_y[x[]", NATIVE)),
        ("a.py::test_y[6.1-defaults]", None),
        ("a.py::test_y[6.1-default]x", None),
        ("a.py::test_nop", None),
        ("a.py::test_nop[1]", None),
        ("a.py::test_nop[5.10-default]", None),
    ],
)
def test_an_items_id_is_taken_apart(node_id: str, expected: tuple[str, Cell] | None) -> None:
    assert split_node_id(node_id, CELLS) == expected


def test_a_cell_survives_json() -> None:
    assert Cell.from_json(FOREIGN.to_json()) == FOREIGN
