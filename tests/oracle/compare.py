"""Holds the port's verdicts against Zig's own: runs Zig's test binary in the same kernels, and compares cell by cell.

    python tests/oracle/compare.py RESULTS [--binary FILE] [--write]

Exit status 0: every cell of every kernel agrees; 1: some do not, each is printed.
"""

import argparse
import base64
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # a script beside this file, not a package

import build

from reports.results import Results, Status, read
from uring_matrix.guests import machine_of, references
from vm.guest.init import WORK_PATH
from vm.machine import Guest

# How Zig's three outcomes read in the matrix. Zig's one skip that is not about support is the timing margin's.
AGREE = {"pass": {Status.PASS}, "skip": {Status.UNSUPPORTED, Status.SKIP}, "fail": {Status.FAIL}}
_DEADLINE_S = 300.0
_BINARY = "zig-iouring-tests"


def run_in_guest(kernel: str, binary: Path) -> dict[str, build.Verdict]:
    """Boot a kernel and run the binary there."""
    [ref] = references([kernel], None)
    machine = machine_of(ref, None, extra_files={_BINARY: binary})
    with (
        tempfile.TemporaryDirectory(prefix="zig-oracle-") as directory,
        Guest.boot(machine, Path(directory), deadline_s=_DEADLINE_S) as guest,
    ):
        guest.start("vm.guest.command:main", {"command": build.run_command(f"{WORK_PATH}/{_BINARY}")})
        ran = guest.channel.receive(_DEADLINE_S)
        if "output" not in ran:
            raise build.OracleError(f"the guest could not run Zig's tests: {ran}\n{guest.console_tail()}")
        return build.parse(base64.b64decode(ran["output"]))


def differences(results: Results, kernel: str, zig: dict[str, build.Verdict]) -> list[str]:
    """The cells of a kernel on which the port and Zig do not agree."""
    titles = {test.id: test.zig for test in results.tests if test.zig}
    rows = {
        titles[row.test]: row
        for row in results.results
        if row.kernel == kernel and row.test in titles and row.mode == "default"
    }
    found = [f"{kernel}: {title!r} has no row" for title in zig if title not in rows]
    found += [f"{kernel}: {title!r} is not one of Zig's" for title in rows if title not in zig]
    for title, row in rows.items():
        if title in zig and row.status not in AGREE[zig[title]]:
            found.append(f"{kernel}: {title!r} is {row.status} in the port, {zig[title]} in Zig ({row.reason})")
    return found


def main() -> int:
    """Compare every kernel of a results.json."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("results", type=Path, help="a results.json of the whole suite")
    parser.add_argument("--binary", type=Path, help="Zig's test binary, if it is built already")
    parser.add_argument("--write", action="store_true", help="keep what Zig says in expected.json")
    options = parser.parse_args()
    results = read(options.results)
    wrong: list[str] = []
    measured: dict[str, dict[str, build.Verdict]] = {}
    with tempfile.TemporaryDirectory(prefix="zig-oracle-") as directory:
        binary = options.binary or build.build(Path(directory) / "zig-iouring-tests")
        for kernel in results.kernels:
            zig = run_in_guest(kernel.id, binary)
            measured[kernel.id] = zig
            found = differences(results, kernel.id, zig)
            wrong += found
            counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(Counter(zig.values()).items()))
            print(f"{kernel.id}: Zig says {counts}; {len(zig) - len(found)} of {len(zig)} cells agree", flush=True)
    for line in wrong:
        print(line)
    if options.write:
        document = json.loads(build.EXPECTED.read_text(encoding="utf-8"))
        document["kernels"] |= measured
        build.EXPECTED.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
