"""How pytest-xdist shares out the work: one kernel is one piece, so that its guest boots once."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, SupportsIndex

import pytest
from xdist.scheduler import LoadScopeScheduling

from harness.cells import Cell, split_node_id


class KernelScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist is untyped
    """Gives each worker whole kernels; what belongs to no kernel goes by module, as `--dist loadscope` has it.

    xdist looks through all tests of a worker whenever one is done, and through all tests there are for the place of
    each: as long as pieces are modules that is little. With thousands of cells it would be most of the work.
    """

    def __init__(self, config: pytest.Config, log: Any, cells: Mapping[str, Cell]) -> None:
        super().__init__(config, log)
        self._cells = cells
        # How many tests of each piece are done.
        self._done: Counter[str] = Counter()

    def _split_scope(self, nodeid: str) -> str:
        found = split_node_id(nodeid, self._cells)
        if found is None:
            return str(super()._split_scope(nodeid))
        return f"{found[1].kernel} {found[1].arch}"

    def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
        """Take what a worker has collected."""
        super().add_node_collection(node, collection)
        if node in self.registered_collections:
            self.registered_collections[node] = _Collection(self.registered_collections[node])

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        """Take down that a test is done."""
        nodeid = self.registered_collections[node][item_index]
        scope = self._split_scope(nodeid)
        if not self.assigned_work[node][scope][nodeid]:
            self._done[scope] += 1
        super().mark_test_complete(node, item_index, duration)

    def _pending_of(self, workload: Mapping[str, Mapping[str, bool]]) -> int:
        return sum(len(tests) - self._done[scope] for scope, tests in workload.items())


class _Collection(list[str]):
    """Node ids that know their places."""

    @cached_property
    def _places(self) -> dict[str, int]:
        return {node_id: place for place, node_id in reversed(list(enumerate(self)))}

    def index(self, node_id: str, *bounds: SupportsIndex) -> int:
        """Where a node id stands first."""
        return super().index(node_id, *bounds) if bounds or node_id not in self._places else self._places[node_id]
