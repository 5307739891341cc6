"""What kernels were seen to have: takes it out of a run's results, and writes tests/uring/observed.json.

    python tests/conformance/observed_kernels.py matrix/results.json

Series that the run has not stay as they are in the file. Tests of `uring` hold this machine's kernel against it, and a
test that boots the oldest and the newest kernel holds those against it exactly.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from reports.results import Results, read

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "tests" / "uring" / "observed.json"


def known() -> dict[str, Any]:
    """What the file has, by series."""
    kernels: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))["kernels"]
    return kernels


def record(results: Results, kernel: str) -> dict[str, Any]:
    """What is kept of a kernel: what it was not seen to have, and the values of limits."""
    rows = [row for row in results.results if row.kernel == kernel and row.state is not None]
    others: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda one: one.test):
        if row.state is not None and row.state != "has":
            others.setdefault(row.state, []).append(row.test)
    release = next(one.release for one in results.kernels if one.id == kernel)
    return {"release": release, "others": others, "values": {row.test: row.value for row in rows if row.value}}


def main() -> None:
    """Read, and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("results", type=Path)
    results = read(parser.parse_args().results)
    made = known() | {kernel.series: record(results, kernel.id) for kernel in results.kernels}
    ordered = dict(sorted(made.items(), key=lambda one: [int(number) for number in one[0].split(".")]))
    FILE.write_text(json.dumps({"kernels": ordered}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
