"""Sharing out kernels among workers: as xdist does it, and without looking through every cell again and again."""

import random
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from harness.cells import Cell
from harness.scheduler import KernelScheduling

CELLS = {cell.id: cell for cell in (Cell(f"6.{number}", "amd64", "default") for number in range(4))}
COLLECTION = [f"test_a.py::test_{number}[{cell}]" for cell in CELLS for number in range(9)]


class ByHand(KernelScheduling):
    """Counts as xdist does."""

    _pending_of = LoadScopeScheduling._pending_of


class Worker:
    """What a scheduler knows of a worker."""

    def __init__(self, name: str) -> None:
        self.gateway = type("Gateway", (), {"id": name})
        self.name, self.queue, self.shutting_down = name, [], False

    def send_runtest_some(self, places: list[int]) -> None:
        self.queue += places

    def shutdown(self) -> None:
        self.shutting_down = True


def scheduling(kind: type[KernelScheduling], config: pytest.Config, seed: int) -> list[Any]:
    """What a scheduler of this kind does and says, while one of two workers is lost and a third comes."""
    config.option.tx, config.option.numprocesses = ["popen", "popen"], 2
    scheduler, chance = kind(config, None, CELLS), random.Random(seed)
    workers = [Worker("a"), Worker("b")]
    for worker in workers:
        scheduler.add_node(worker)
        scheduler.add_node_collection(worker, COLLECTION)
    scheduler.schedule()
    seen: list[Any] = []
    lost_after = chance.randrange(1, len(COLLECTION) // 2)
    while busy := [worker for worker in workers if worker.queue]:
        worker = chance.choice(busy)
        scheduler.mark_test_complete(worker, worker.queue.pop(0))
        if len(seen) == lost_after and worker.queue:
            workers.remove(worker)
            seen.append(("lost", scheduler.remove_node(worker)))
            workers.append(Worker("c"))
            scheduler.add_node(workers[-1])
            scheduler.add_node_collection(workers[-1], COLLECTION)
            scheduler.schedule()
        queues = [(one.name, [*one.queue], one.shutting_down) for one in workers]
        seen.append((queues, scheduler.has_pending, scheduler.tests_finished))
    return seen


@pytest.mark.parametrize("seed", range(12))
def test_the_count_is_what_one_gets_by_counting(pytestconfig: pytest.Config, seed: int) -> None:
    """Also when a worker is lost in the middle of a kernel, which another goes on with."""
    options = vars(pytestconfig.option).copy()
    try:
        expected = scheduling(ByHand, pytestconfig, seed)
        assert expected == scheduling(KernelScheduling, pytestconfig, seed)
        assert len(expected) >= len(COLLECTION)
    finally:
        vars(pytestconfig.option).update(options)


def test_the_place_of_a_cell_is_looked_up(pytestconfig: pytest.Config) -> None:
    """Searching for each of thousands among thousands is most of the work."""

    class Id(str):
        compared = 0

        def __eq__(self, other: object) -> bool:
            Id.compared += 1
            return str.__eq__(self, str(other))

        __hash__ = str.__hash__

    options = vars(pytestconfig.option).copy()
    try:
        pytestconfig.option.tx = ["popen"]
        scheduler, worker = KernelScheduling(pytestconfig, None, CELLS), Worker("a")
        scheduler.add_node(worker)
        scheduler.add_node_collection(worker, [Id(name) for name in COLLECTION])
        Id.compared = 0
        scheduler.schedule()
        done = []
        while worker.queue:
            done.append(worker.queue.pop(0))
            scheduler.mark_test_complete(worker, done[-1])
    finally:
        vars(pytestconfig.option).update(options)
    assert done == [*range(len(COLLECTION))]
    assert Id.compared <= 4 * len(COLLECTION)
