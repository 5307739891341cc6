"""What a large run costs when every guest was booted before: each kernel by itself, and all of them in one run.

    python benchmarks/matrix.py [--kernel SERIES]... [--cells N] [--modes N] [--rounds N] [-n WORKERS]
                                [--against CHECKOUT]

A suite of small tests that set a ring up, run in several modes, so that a kernel has so many cells; without `--kernel`
in all kernels of the matrix. The modes have no flags, so that no kernel refuses one. With `--against`, another checkout
of this project runs the same suite in the same rounds, and the ratio is that checkout's processor time divided by this
one's. Processor seconds are of all processes, the elapsed time in brackets; the round with the least processor time
counts.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ratios import ROOT, Cost, environment, measured, shown
from uring_matrix.guests import references

CELLS, MODES = 1_500, 12
TESTS_PER_FILE = 25
# As many modes as somebody wants to see.
PLUGIN = """
from conformance.modes import RingMode
from conformance.plugin import SUITE

SUITE.modes.update({{f"mode-{{number}}": RingMode(f"mode-{{number}}", (), "5.1") for number in range({modes})}})
"""
TEST = """

@pytest.mark.since("5.4")
def test_nop_{number}(ring):
    io_uring = ring(4)
    io_uring.nop({number})
    assert 1 == io_uring.submit()
    assert {number} == io_uring.copy_cqe().user_data
"""


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", action="append", metavar="SERIES", help="default: each of the matrix")
    parser.add_argument("--cells", type=int, default=CELLS, help="in each kernel")
    parser.add_argument("--modes", type=int, default=MODES)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("-n", dest="workers", type=int, default=len(os.sched_getaffinity(0)), help="guests at once")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout to compare with")
    parser.add_argument("--only-all", action="store_true", help="leave out the runs of a single kernel")
    options = parser.parse_args()
    kernels = options.kernel or [ref.id for ref in references(["all"], None)]
    checkouts = [ROOT] if options.against is None else [ROOT, options.against.resolve()]
    runs = [] if options.only_all and len(kernels) > 1 else [[one] for one in kernels]
    runs += [kernels] if len(kernels) > 1 else []
    print(f"| kernels | {' | '.join(one.name for one in checkouts)} | ratio | a cell |")
    print(f"| --- | {'---: | ' * len(checkouts)}---: | ---: |")
    with tempfile.TemporaryDirectory(prefix="matrix-") as name:
        suite = Suite(Path(name), options.cells // options.modes, options.modes)
        for each in kernels:  # whatever has to be made or saved is there now
            for checkout in checkouts:
                suite.run(checkout, [each], 0, "-k", "test_nop_0")
        for some in runs:
            costs: dict[Path, list[Cost]] = {checkout: [] for checkout in checkouts}
            for _ in range(options.rounds):
                for checkout in checkouts:
                    costs[checkout].append(suite.run(checkout, some, options.workers))
            best = [min(found, key=lambda cost: cost.processor_s) for found in costs.values()]
            cell_ms = best[0].processor_s / (suite.cells * len(some)) * 1000
            label = some[0] if len(some) == 1 else f"{len(some)} together"
            ratio = best[-1].processor_s / best[0].processor_s
            print(
                f"| {label} | {' | '.join(map(shown, best))} | {ratio:.2f} | {cell_ms:.1f} ms |",
                flush=True,
            )
    print(f"\n{suite.cells:,} cells a kernel, {options.workers} workers.")
    print(f"The load average was {os.getloadavg()[0]:.1f} at the end.")


class Suite:
    """A folder with tests.

    Attributes:
        cells: how many there are in each kernel.
    """

    def __init__(self, folder: Path, tests: int, modes: int) -> None:
        self._folder = folder
        self._modes = [f"--mode=mode-{number}" for number in range(modes)]
        self.cells = tests * modes
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="ascii")
        (folder / "more_modes.py").write_text(PLUGIN.format(modes=modes), encoding="ascii")
        for first in range(0, tests, TESTS_PER_FILE):
            numbers = range(first, min(first + TESTS_PER_FILE, tests))
            text = "import pytest\n" + "".join(TEST.format(number=number) for number in numbers)
            (folder / f"test_{first // TESTS_PER_FILE}.py").write_text(text, encoding="ascii")

    def run(self, checkout: Path, kernels: Sequence[str], workers: int, *more: str) -> Cost:
        """Run it with what is in a checkout, and say what that cost."""
        command = [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "more_modes"),
            *("-n", str(workers), "--matrix-out", str(self._folder / "out"), *self._modes, *more),
            *(f"--kernel={kernel}" for kernel in kernels),
        ]
        variables = {**environment(self._folder), "PYTHONPATH": f"{checkout}:{self._folder}"}

        def work() -> None:
            done = subprocess.run(command, cwd=self._folder, env=variables, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise SystemExit(f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}")

        return measured(work)


if __name__ == "__main__":
    main()
