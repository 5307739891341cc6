"""Sharing out kernels among workers: as xdist does it, and without looking through every cell again and again."""

import random
from collections.abc import Iterator, Sequence
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


# -- a kernel that several workers are at -----------------------------------------------------------------------------

MODES = ("default", "coop", "single", "plain")


def large(kernels: int, modules: int, tests: int, modes: Sequence[str] = MODES) -> tuple[dict[str, Cell], list[str]]:
    """Kernels in several modes."""
    cells = {cell.id: cell for cell in (Cell(f"6.{k}", "amd64", mode) for k in range(kernels) for mode in modes)}
    return cells, [
        f"test_{module}.py::test_{number}[{cell}]"
        for cell in cells
        for module in range(modules)
        for number in range(tests)
    ]


class Ran:
    """What workers did that a scheduler gave work."""

    def __init__(self, config: pytest.Config, cells: dict[str, Cell], collection: list[str], count: int) -> None:
        config.option.tx, config.option.numprocesses = ["popen"] * count, count
        self.scheduler = KernelScheduling(config, None, cells, {config.rootpath / "observed.py"})
        self.collection = collection
        self.done: dict[str, list[str]] = {}
        self.workers: list[Worker] = []
        for number in range(count):
            self.add(f"w{number}")
        self.scheduler.schedule()

    def add(self, name: str) -> None:
        self.workers.append(Worker(name))
        self.done[name] = []
        self.scheduler.add_node(self.workers[-1])
        self.scheduler.add_node_collection(self.workers[-1], self.collection)

    def is_able(self, worker: Worker) -> bool:
        """A worker begins with a test when it knows the next one, or that there is none."""
        return len(worker.queue) > 1 or (bool(worker.queue) and worker.shutting_down)

    def go_on(self, chance: random.Random, lost_after: Sequence[int] = ()) -> None:
        """Run until nobody has anything to do. Workers that are lost are replaced."""
        count = 0
        while able := [worker for worker in self.workers if self.is_able(worker)]:
            worker = chance.choice(able)
            place = worker.queue.pop(0)
            self.done[worker.name].append(self.collection[place])
            self.scheduler.mark_test_complete(worker, place)
            count += 1
            if count in lost_after and worker.queue:
                self.workers.remove(worker)
                self.scheduler.remove_node(worker)
                self.add(f"w{len(self.done)}")
                self.scheduler.schedule()

    @property
    def kernels(self) -> dict[str, list[str]]:
        """Those that each worker was at, in this order."""
        return {
            worker: list(dict.fromkeys(name.partition("[")[2].partition("-")[0] for name in done))
            for worker, done in self.done.items()
        }


@pytest.fixture
def config(pytestconfig: pytest.Config) -> Iterator[pytest.Config]:
    options = vars(pytestconfig.option).copy()
    yield pytestconfig
    vars(pytestconfig.option).update(options)


@pytest.mark.parametrize("modes", [MODES, MODES[:1]])
def test_two_workers_share_a_kernel_with_many_tests(config: pytest.Config, modes: Sequence[str]) -> None:
    """By modes, and where there is one by modules: nothing that tests share is torn."""
    cells, collection = large(1, 24 // len(modes), 50, modes)
    ran = Ran(config, cells, collection, 2)
    ran.go_on(random.Random(1))
    first, second = ran.done.values()
    assert sorted(collection) == sorted(first + second)
    assert min(len(first), len(second)) > 400
    assert first == collection[: len(first)]

    def shared(done: Sequence[str]) -> set[str]:
        return {name.partition("[")[2] if len(modes) > 1 else name.partition("::")[0] for name in done}

    assert shared(first).isdisjoint(shared(second))


@pytest.mark.parametrize(
    ("kernels", "modules", "tests", "shared"),
    [
        (1, 1, 41, []),  # a guest's start takes longer than what is left
        (2, 6, 50, []),  # each has one
        (3, 6, 50, ["6.2"]),
        (5, 1, 41, []),
    ],
)
def test_a_kernel_is_shared_only_where_somebody_would_wait(
    config: pytest.Config, kernels: int, modules: int, tests: int, shared: list[str]
) -> None:
    cells, collection = large(kernels, modules, tests)
    ran = Ran(config, cells, collection, 2)
    ran.go_on(random.Random(1))
    first, second = ran.kernels.values()
    assert shared == [kernel for kernel in first if kernel in second]
    assert sorted(collection) == sorted(name for done in ran.done.values() for name in done)


def test_what_is_observed_in_one_go_is_not_worth_a_guest(config: pytest.Config) -> None:
    cells, collection = large(1, 1, 41)
    collection += [f"observed.py::op_{number}[6.0-default]" for number in range(500)]
    ran = Ran(config, cells, collection, 2)
    ran.go_on(random.Random(1))
    assert [len(done) for done in ran.done.values()] == [len(collection), 0]


@pytest.mark.parametrize("seed", range(20))
def test_every_test_is_run_once_also_when_workers_are_lost(config: pytest.Config, seed: int) -> None:
    """What one was at when it was lost, somebody else runs; nobody waits for what is not to come."""
    chance = random.Random(seed)
    cells, collection = large(chance.randrange(1, 4), chance.randrange(1, 5), 60)
    ran = Ran(config, cells, collection, chance.randrange(1, 5))
    ran.go_on(chance, sorted(chance.sample(range(1, len(collection)), 3)))
    assert sorted(collection) == sorted(name for done in ran.done.values() for name in done)
    assert ran.scheduler.tests_finished
    assert not ran.scheduler.has_pending
