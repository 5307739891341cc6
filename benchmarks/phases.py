"""Prints, as a Markdown table, where the time of a run went: per kernel the boot, the collection and the tests.

    python benchmarks/phases.py matrix/results.json

Read from the results themselves: wall-clock seconds of that run on that machine, with whatever else it was doing.
"""

import sys
from datetime import datetime
from pathlib import Path

from reports.results import Kernel, Results, read


def main(path: Path) -> None:
    """Print the table."""
    results = read(path)
    host = results.host
    print(
        f"{results.started:%Y-%m-%d}, {host.cpus} processors, {host.qemu}, {host.accel}; "
        f"uring-matrix {results.generator.version} {results.generator.commit or ''}".rstrip()
    )
    print("\n| kernel | release | boot or restore | collection | tests | all |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for kernel in results.kernels:
        boot = kernel.phases.get("boot", kernel.phases.get("restore", 0.0))
        collect = kernel.phases.get("collect", 0.0)
        tests = tests_seconds(results, kernel)
        seconds = " | ".join(f"{value:.1f} s" for value in (boot, collect, tests, boot + collect + tests))
        print(f"| {kernel.id} | {kernel.release} | {seconds} |")
    if results.finished is not None:
        total = (results.finished - results.started).total_seconds()
        print(f"\nThe whole run, {len(results.results)} cells: {total:.0f} s.")


def tests_seconds(results: Results, kernel: Kernel) -> float:
    """From the start of a kernel's first test to the start of its last, by the host's clock."""
    starts: list[datetime] = [
        row.started for row in results.results if row.kernel == kernel.id and row.started is not None
    ]
    return (max(starts) - min(starts)).total_seconds() if starts else 0.0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
