"""How long each kernel took in earlier runs, so that the next one begins with the slowest.

It is a hint, in a file of the cache: one that is missing, damaged or cannot be written changes nothing but the order.
"""

import contextlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from harness.cells import Cell
from reports.results import Kernel, Result
from vm.cache import replace_file

_NAME = "durations.json"
# Kernels are compared by what a suite of so many tests would take, whatever was run in each of them.
_TEST_COUNT = 41


def longest_first(cells: Iterable[Cell], seconds: Mapping[str, float]) -> list[Cell]:
    """Sort cells so that no worker is left alone with a long kernel at the end.

    A kernel of which nothing is known may take any time, and goes first; of several the newer one, which boots slower.

    Args:
        cells: by age, the oldest kernel first.
        seconds: what `read` returned.
    """
    cells = list(cells)
    ages = {name: age for age, name in enumerate(dict.fromkeys(_name(cell.kernel, cell.arch) for cell in cells))}
    names = {cell: _name(cell.kernel, cell.arch) for cell in cells}
    return sorted(cells, key=lambda cell: (-seconds.get(names[cell], float("inf")), -ages[names[cell]]))


def read(cache: Path) -> dict[str, float]:
    """What is known of earlier runs: seconds by kernel and architecture."""
    try:
        found = json.loads((cache / _NAME).read_text(encoding="utf-8"))
        return {str(name): float(seconds) for name, seconds in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write(cache: Path, kernels: Iterable[Kernel], rows: Iterable[Result]) -> None:
    """Keep what the kernels of a run took: until a guest was ready, and for a test on the average."""
    starts: dict[tuple[str, str], list[datetime]] = {}
    for row in rows:
        if row.started is not None:
            starts.setdefault((row.kernel, row.arch), []).append(row.started)
    told: dict[str, float] = {}
    for kernel in kernels:
        of_tests = starts.get((kernel.id, kernel.arch), [])
        if kernel.phases and len(of_tests) > 1:
            # By this machine's clock: a guest's own leaps when it is idle.
            test_s = (max(of_tests) - min(of_tests)).total_seconds() / (len(of_tests) - 1)
            start_s = sum(value for name, value in kernel.phases.items() if name != "tests")
            total_s = start_s + test_s * _TEST_COUNT
            told[_name(kernel.id, kernel.arch)] = round(total_s, 3)
    if told:
        content = json.dumps({**read(cache), **told}, indent=1, sort_keys=True).encode()
        with contextlib.suppress(OSError):  # nothing is lost with it
            replace_file(cache / _NAME, content)


def _name(kernel: str, arch: str) -> str:
    return f"{kernel} {arch}"
