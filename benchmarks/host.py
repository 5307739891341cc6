"""What a cell costs on the host, and whether it costs more in a large run than in a small one.

    python benchmarks/host.py [CELLS]... [--rounds N] [-n WORKERS]          1,650, 5,500 and 16,500 cells; 1; 2

A suite of trivial tests for 11 kernels, through pytest-xdist, the journal and results.json. Nothing boots: in place of
guests is something that says of every test what a guest says of one that passes. Processor seconds of pytest's own
processes, the controller and all of its workers, the best round of each size. The last column is what a cell costs in a
run of that size, next to one in the smallest: beside 1.0 it is a knee. A run's start is not part of it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from own_archive import bzimage  # noqa: E402 - of the tests, whose folder is no package

SIZES = (1_650, 5_500, 16_500)
KERNELS = 11
MODES = ("default", "coop-taskrun", "single-issuer", "no-sqarray")
TESTS_PER_FILE = 25
# Answers for guests, and takes down what pytest's processes take, by the part of a session.
CONFTEST = """
import json
import os
import time

import harness.session
from harness.facts import phase_of
from harness.guests import Attempt
from harness.verdict import Facts

parts = {}


class NoGuests:
    def __init__(self, *_, **__):
        pass

    def run(self, cell, item, following, *_, **__):
        now_s = time.time()
        common = {"outcome": "passed", "start": now_s, "duration": 0.001}
        reports = [{**common, "when": when} for when in ("setup", "call", "teardown")]
        return Attempt(Facts([phase_of(report) for report in reports], True), reports, now_s)

    def close(self):
        pass


harness.session.Guests = NoGuests


def mark(name):
    parts[name] = time.process_time()


def pytest_sessionstart():
    mark("start")


def pytest_collection_finish():
    mark("collected")


def pytest_xdist_node_collection_finished():
    mark("collected")


def pytest_unconfigure(config):
    mark("end")
    kind = "worker" if hasattr(config, "workerinput") else "controller"
    with open(f"{os.environ['COSTS']}/{kind}-{os.getpid()}.json", "w") as file:
        json.dump(parts, file)
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """Processor seconds of a session's processes, by what they did."""

    start_s: float
    collecting_s: float
    workers_s: float
    controller_s: float

    @property
    def total_s(self) -> float:
        """All but the start."""
        return self.collecting_s + self.workers_s + self.controller_s


def main() -> int:
    """Measure and print a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", type=int, help="in all kernels together")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("-n", dest="workers", type=int, default=2, help="pytest-xdist's workers")
    options = parser.parse_args()
    sizes = options.cells or SIZES
    costs: dict[int, list[Cost]] = {size: [] for size in sizes}
    with tempfile.TemporaryDirectory(prefix="host-") as name:
        place = Place(Path(name))
        place.run(KERNELS * len(MODES), options.workers)  # whatever has to be made or fetched is there now
        for _ in range(options.rounds):
            for size in sizes:
                costs[size].append(place.run(size, options.workers))
    print("| cells | start | collection | workers | controller | a cell | of the smallest run's |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    base_s = 0.0
    for size, found in costs.items():
        best = min(found, key=lambda cost: cost.total_s)
        base_s = base_s or best.total_s / size
        seconds = (best.start_s, best.collecting_s, best.workers_s, best.controller_s)
        print(
            f"| {size:,} | {' | '.join(f'{one:.2f} s' for one in seconds)} "
            f"| {best.total_s / size * 1000:.2f} ms | {best.total_s / size / base_s:.2f} |"
        )
    return 0


class Place:
    """Where runs go on."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
            "PYTHONPATH": str(ROOT),
            "URING_MATRIX_ACCEL": "tcg",
        }
        self._kernels = [directory / f"kernel-{number}" for number in range(KERNELS)]
        for kernel in self._kernels:
            kernel.write_bytes(bzimage("6.1.0-stand-in"))

    def run(self, size: int, workers: int) -> Cost:
        """Run so many cells, and say what that cost."""
        directory = Path(tempfile.mkdtemp(dir=self._directory))
        suite, costs = directory / "suite", directory / "costs"
        costs.mkdir()
        write_suite(suite, size // KERNELS // len(MODES))
        command = [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-snapshots", "--matrix-out", "m"),
            *(f"--kernel={kernel}" for kernel in self._kernels),
            *(f"--mode={mode}" for mode in MODES),
            *(("-n", str(workers)) if workers else ()),
        ]
        ran = subprocess.run(
            command,
            cwd=suite,
            env={**self._environment, "COSTS": str(costs)},
            capture_output=True,
            text=True,
            check=False,
        )
        expected = size // KERNELS // len(MODES) * KERNELS * len(MODES)
        if ran.returncode != 0 or f"{expected} passed" not in ran.stdout:
            raise SystemExit(
                f"{' '.join(command)}: exit code {ran.returncode}\n{ran.stdout[-3000:]}{ran.stderr[-3000:]}"
            )
        return cost_of({path.name: msgspec.json.decode(path.read_bytes()) for path in costs.iterdir()})


def write_suite(directory: Path, tests: int) -> None:
    """Make files with so many tests."""
    directory.mkdir()
    (directory / "pytest.ini").write_text("[pytest]\n")
    (directory / "conftest.py").write_text(CONFTEST)
    for first in range(0, tests, TESTS_PER_FILE):
        functions = [
            f'def test_{number}():\n    """Number {number}."""\n    assert {number} + 1 == {number + 1}\n'
            for number in range(first, min(first + TESTS_PER_FILE, tests))
        ]
        (directory / f"test_file_{first // TESTS_PER_FILE}.py").write_text("\n\n".join(functions))


def cost_of(parts: dict[str, dict[str, float]]) -> Cost:
    """Sum up what the processes wrote down."""
    controllers = [one for name, one in parts.items() if name.startswith("controller")]
    workers = [one for name, one in parts.items() if name.startswith("worker")]
    everyone: Sequence[dict[str, float]] = [*controllers, *workers]
    return Cost(
        start_s=sum(one["start"] for one in everyone),
        collecting_s=sum(one["collected"] - one["start"] for one in everyone),
        workers_s=sum(one["end"] - one["collected"] for one in workers),
        controller_s=sum(one["end"] - one["collected"] for one in controllers),
    )


if __name__ == "__main__":
    sys.exit(main())
