"""What one more test costs in a guest that is up: on the guest's side and on the host's, in processor time.

    python benchmarks/further_test.py [--kernel SERIES] [--rounds N] [--tests N] [--against CHECKOUT]

A small suite runs twice, a few tests of it and many; the difference, divided, is a further test's share. The tests are
small ones that set up a ring, as most of the matrix's. With `--against`, another checkout of this project runs the same
suite in the same rounds, and the last column is the ratio. The smallest figure of each counts.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_FEW = 20
_SUITE = """
import pytest
import uring


@pytest.mark.parametrize("number", range({count}))
@pytest.mark.since("5.4")
def test_nop(ring, number):
    io_uring = ring(4)
    io_uring.nop(number)
    assert 1 == io_uring.submit()
    assert number == io_uring.copy_cqe().user_data
"""
# Runs pytest, and tells on its last line what it and its children, which are guests, have used.
_PROGRAM = """
import resource, sys
import pytest

code = pytest.main(sys.argv[1:])
used = [resource.getrusage(who) for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)]
print(int(code), *(one.ru_utime + one.ru_stime for one in used))
"""


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--kernel", default="7.3", metavar="SERIES")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tests", type=int, default=320, help="how many are many")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout to compare with")
    options = parser.parse_args()
    checkouts = [ROOT] if options.against is None else [options.against.resolve(), ROOT]
    with tempfile.TemporaryDirectory(prefix="further-test-") as name:
        few, many = (suite(Path(name), count) for count in (_FEW, _FEW + options.tests))
        for checkout in checkouts:
            used_by(checkout, few, options.kernel)  # whatever has to be made or saved is there now
        costs: dict[Path, list[tuple[float, float]]] = {checkout: [] for checkout in checkouts}
        for _ in range(options.rounds):
            for checkout in checkouts:
                begin, end = (used_by(checkout, folder, options.kernel) for folder in (few, many))
                costs[checkout].append(
                    ((end[0] - begin[0]) / options.tests * 1000, (end[1] - begin[1]) / options.tests * 1000)
                )
    print("| a further test | guest | host | together |")
    print("| --- | ---: | ---: | ---: |")
    for checkout, measured in costs.items():
        guest, host = (min(column) for column in zip(*measured, strict=True))
        print(f"| {checkout.name} | {guest:.1f} ms | {host:.1f} ms | {guest + host:.1f} ms |")
        print(f"  all rounds: {' '.join(f'{one:.1f}+{other:.1f}' for one, other in measured)}", file=sys.stderr)
    print(f"\nThe load average was {os.getloadavg()[0]:.1f} at the end.")


def suite(place: Path, count: int) -> Path:
    """Write one down."""
    folder = place / str(count)
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="ascii")
    (folder / "test_nop.py").write_text(_SUITE.format(count=count), encoding="ascii")
    return folder


def used_by(checkout: Path, folder: Path, kernel: str) -> tuple[float, float]:
    """Processor seconds of the guest and of the host."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, "-p", "no:xdist", "-p", "no:cacheprovider", "-q", f"--kernel={kernel}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )
    *_, last = done.stdout.splitlines()
    code, guest_s, host_s = last.split()
    if code != "0":
        raise SystemExit(f"{done.stdout}\n{done.stderr}")
    return float(guest_s), float(host_s)


if __name__ == "__main__":
    main()
