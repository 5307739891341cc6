"""How pytest-xdist shares out the work: a kernel's tests go to one worker, so that its guest boots once.

Only when a worker would have nothing to do, and a kernel has so much left that another guest pays, it helps with that.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, SupportsIndex

import pytest
from xdist.scheduler import LoadScopeScheduling

from harness import options, pieces
from harness.cells import Cell, split_node_id

# What has to be left for each of the guests that are at it, so that another one pays: its start takes as long as about
# half of these tests.
_ANOTHER_GUEST_TESTS = 256


class KernelScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist is untyped
    """Gives workers pieces of kernels; what belongs to no kernel goes by module, as `--dist loadscope` has it.

    xdist looks through all tests of a worker whenever one is done, and through all tests there are for the place of
    each: as long as pieces are modules that is little. With thousands of cells it would be most of the work.

    Args:
        config: the controller's.
        log: xdist's.
        cells: by their ids.
        observed: files whose items are observed in one go, which takes next to no time.
    """

    def __init__(
        self, config: pytest.Config, log: Any, cells: Mapping[str, Cell], observed: Collection[Path] = ()
    ) -> None:
        super().__init__(config, log)
        self._cells = cells
        self._observed = observed
        # By node id, the name of its piece; and by that the kernel that it is of, or itself.
        self._pieces: dict[str, str] = {}
        self._kernels: dict[str, str] = {}
        # Of each piece, what it is worth in tests.
        self._worth: Counter[str] = Counter()
        # How many tests of each piece are done.
        self._done: Counter[str] = Counter()
        # What each worker is at; and those that help another with it, from behind.
        self._at: dict[Any, str] = {}
        self._helpers: set[Any] = set()

    def _split_scope(self, nodeid: str) -> str:
        return self._pieces[nodeid]

    def _cut(self, collection: Sequence[str]) -> None:
        """Know which piece each test is of."""
        found = [split_node_id(nodeid, self._cells) for nodeid in collection]
        places = [
            (split[1] if split is not None else None, nodeid.partition("::")[0])
            for nodeid, split in zip(collection, found, strict=True)
        ]
        observed = {module for _, module in places if self.config.rootpath / module in self._observed}
        repeats = options.repeats(self.config)
        for nodeid, split, (_, module), number in zip(collection, found, places, pieces.numbered(places), strict=True):
            if split is None:
                kernel = piece = str(super()._split_scope(nodeid))
            else:
                kernel = " ".join(split[1].column)
                piece = f"{kernel} {number}"
            self._pieces[nodeid], self._kernels[piece] = piece, kernel
            self._worth[piece] += 0 if module in observed else repeats

    def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
        """Take what a worker has collected."""
        super().add_node_collection(node, collection)
        if node in self.registered_collections:
            self.registered_collections[node] = _Collection(self.registered_collections[node])
            if not self._pieces:
                self._cut(collection)

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        """Take down that a test is done."""
        nodeid = self.registered_collections[node][item_index]
        scope = self._split_scope(nodeid)
        if not self.assigned_work[node][scope][nodeid]:
            self._done[scope] += 1
        super().mark_test_complete(node, item_index, duration)

    def remove_node(self, node: Any) -> str | None:
        """Take a worker's work back."""
        self._at.pop(node, None)
        self._helpers.discard(node)
        # Else another worker gets pieces with nothing left in them, and waits for the end of that.
        workload = self.assigned_work[node]
        self.assigned_work[node] = {
            piece: tests for piece, tests in workload.items() if self._pending_of({piece: tests})
        }
        lost: str | None = super().remove_node(node)
        return lost

    def _assign_work_unit(self, node: Any) -> None:
        """Give a worker a piece, or nothing more to do."""
        piece = self._next_for(node)
        if piece is None:
            node.shutdown()
            return
        self.workqueue.move_to_end(piece, last=False)
        super()._assign_work_unit(node)

    def _next_for(self, node: Any) -> str | None:
        """The piece for a worker: of the kernel that it is at, of one that nobody is at, or of one with much left."""
        waiting: dict[str, list[str]] = {}
        for piece in self.workqueue:
            waiting.setdefault(self._kernels[piece], []).append(piece)
        if (kernel := self._at.get(node)) not in waiting:
            self._helpers.discard(node)
            busy = Counter(one for other, one in self._at.items() if not (other is node or other.shutting_down))
            kernel = next((one for one in waiting if not busy[one]), None)
            if kernel is None:
                worth = {one: sum(self._worth[each] for each in left) / busy[one] for one, left in waiting.items()}
                kernel = max(worth, key=lambda one: worth[one])
                if worth[kernel] < _ANOTHER_GUEST_TESTS:
                    return None
                self._helpers.add(node)
            self._at[node] = kernel
        return waiting[kernel][-1 if node in self._helpers else 0]

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
