"""How long a site takes to render, and how large its front page is.

    python benchmarks/site.py                     41 tests on 11 kernels, and 1,500 on 60 in 12 modes
    python benchmarks/site.py 300 60 12           tests, kernels, modes

Processor seconds of this process alone, the pages made and not written. The ratio is to encoding and decoding the same
results as JSON in the same run, which is what reading and writing them costs anyway: machines are noisy, and it is not.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import time
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from reports.results import Generator, Host, Kernel, Mode, Result, Results, Status, Test, encode
from reports.site import render
from reports.storage import decode

SIZES = ((41, 11, 1), (1500, 60, 12))
# One in so many tests is not there on older kernels.
EVERY = 7


def results_of(tests: int, kernels: int, modes: int) -> Results:
    """A run in which kernels differ from each to the next."""
    series = [f"{5 + number // 20}.{number % 20}" for number in range(kernels)]
    rows = []
    for (place, kernel), mode, number in product(enumerate(series), range(modes), range(tests)):
        is_there = number % EVERY != 0 or place >= number % kernels
        rows.append(
            Result(
                test=f"test_{number}",
                kernel=kernel,
                arch="amd64",
                mode=f"mode-{mode}",
                status=Status.PASS if is_there else Status.UNSUPPORTED,
                reason="" if is_there else "the kernel does not know it",
                duration_s=0.01,
            )
        )
    began = datetime(2026, 1, 1, tzinfo=UTC)
    return Results(
        generator=Generator(name="uring-matrix", version="0"),
        started=began,
        finished=began,
        complete=True,
        command=("uring-matrix", "run"),
        host=Host(kernel="6.18", machine="x86_64"),
        kernels=tuple(
            Kernel(id=name, series=name, arch="amd64", source="debian", package_version=f"{name}.7-1", booted=True)
            for name in series
        ),
        tests=tuple(
            Test(
                id=f"test_{number}",
                title=f"capability number {number}",
                group=f"Group {number % 12}",
                symbols=(f"IORING_OP_{number}",),
                since=series[number % kernels] if number % EVERY == 0 else series[0],
            )
            for number in range(tests)
        ),
        modes=tuple(Mode(id=f"mode-{number}") for number in range(modes)),
        results=tuple(rows),
    )


def main() -> int:
    """Measure and print a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", nargs="*", type=int, help="tests, kernels and modes")
    size = parser.parse_args().size
    if len(size) not in (0, 3):
        parser.error("name three numbers: tests, kernels, modes")
    for tests, kernels, modes in (tuple(size),) if size else SIZES:
        results = results_of(tests, kernels, modes)
        began = time.process_time()
        decode(encode(results), "results.json")
        read = time.process_time()
        pages = dict(render(results))
        rendered = time.process_time()
        front = len(gzip.compress(pages["index.html"].encode()))
        cost, beside = rendered - read, (rendered - read) / (read - began)
        print(
            f"{len(results.results):>9,} cells  {cost:6.2f} s  {beside:5.1f} x JSON  {len(pages):,} files, "
            f"front page {front / 1000:.0f} kB compressed"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
