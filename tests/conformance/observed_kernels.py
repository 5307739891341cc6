"""What kernels were seen to have: asks real ones, and writes tests/uring/observed.json.

    python tests/conformance/observed_kernels.py             every series of the archive
    python tests/conformance/observed_kernels.py 6.1 7.3     these, beside what is in the file

Tests of `uring` hold this machine's kernel against the file, and tests that boot the oldest and the newest kernel hold
those against it exactly.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from uring_matrix.guests import references

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "tests" / "uring" / "observed.json"
# Runs in the guest.
PROGRAM = """
import json, os
from uring.observe import observe
found = list(observe())
print(json.dumps({"release": os.uname().release, "observations": [[one.id, one.state, one.evidence, one.value, one.claimed] for one in found]}))
"""  # noqa: E501


def ask(kernel: str, program: str = PROGRAM) -> Any:
    """Boot a kernel and run a program there; what it prints as JSON."""
    command = [sys.executable, "-c", "import uring_matrix.cli as cli; cli.main()", "shell", kernel]
    done = subprocess.run(command, input=program, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode != 0:
        raise RuntimeError(f"{kernel}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def record(answer: Any) -> dict[str, Any]:
    """What is kept of it: what is not there, and the values of limits."""
    others: dict[str, list[str]] = {}
    for identifier, state, *_ in answer["observations"]:
        if state != "has":
            others.setdefault(state, []).append(identifier)
    values = {one[0]: one[3] for one in answer["observations"] if one[3] is not None}
    return {"release": answer["release"], "others": others, "values": values}


def main() -> None:
    """Ask, and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kernels", nargs="*", help="series; every one of the archive if none is named")
    parser.add_argument("--evidence", type=Path, help="a folder for all that the kernels answered")
    options = parser.parse_args()
    kept = json.loads(FILE.read_text(encoding="utf-8"))["kernels"] if options.kernels else {}
    for kernel in options.kernels or [ref.id for ref in references(["all"], None)]:
        answer = ask(kernel)
        kept[kernel] = record(answer)
        if options.evidence:
            (options.evidence / f"{kernel}.json").write_text(json.dumps(answer, indent=1), encoding="utf-8")
        print(kernel, answer["release"])
    ordered = dict(sorted(kept.items(), key=lambda one: [int(number) for number in one[0].split(".")]))
    FILE.write_text(json.dumps({"kernels": ordered}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
