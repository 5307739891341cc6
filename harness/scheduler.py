"""How pytest-xdist shares out the work: one kernel is one piece, so that its guest boots once."""

from collections.abc import Mapping
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from harness.cells import Cell, split_node_id


class KernelScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist is untyped
    """Gives each worker whole kernels; what belongs to no kernel goes by module, as `--dist loadscope` has it."""

    def __init__(self, config: pytest.Config, log: Any, cells: Mapping[str, Cell]) -> None:
        super().__init__(config, log)
        self._cells = cells

    def _split_scope(self, nodeid: str) -> str:
        found = split_node_id(nodeid, self._cells)
        if found is None:
            return str(super()._split_scope(nodeid))
        return f"{found[1].kernel} {found[1].arch}"
