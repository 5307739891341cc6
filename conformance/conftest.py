"""What holds for every test of the suite: it belongs to a cell, and assertions in its helpers are explained."""

import pytest

from conformance.modes import RingMode

pytest.register_assert_rewrite("conformance.zig.sockets")


@pytest.fixture(autouse=True)
def of_a_cell(mode: RingMode) -> None:
    """Give every test a cell, also where no kernel is named and no ring is used: ids and results tell the mode."""
