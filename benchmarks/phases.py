"""Prints, as a Markdown table, where the processor time of a cell goes: on the host, and in the guest phase by phase.

    python benchmarks/phases.py [--kernel SERIES]... [--rounds N]

Cold boots a guest, warm restores one where it had collected, and edit runs one test right after a line was added to its
file (`benchmarks/ratios.py` has the same three as a whole). What QEMU has used is asked whenever the guest has come to
the end of a phase; what the host used beside this process is what makes bytecode. Of several rounds each figure is that
of the one with the least processor time.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

_PHASES = ("host", "bytecode", "QEMU and boot or restore", "collect", "tests")


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", action="append", metavar="SERIES", help="default: 6.1 and 7.3")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"| kernel | | {' | '.join(_PHASES)} | all |")
    print(f"| --- | --- |{' ---: |' * (len(_PHASES) + 1)}")
    with tempfile.TemporaryDirectory(prefix="phases-") as name:
        checkout = ratios.copy_of_checkout(Path(name) / "checkout")
        for series in options.kernel or ["6.1", "7.3"]:
            measured("warm", series, checkout)  # whatever has to be fetched or made is there now
            for kind in ("cold", "warm", "edit"):
                for _ in range(2 if kind == "warm" else 0):
                    measured(kind, series, checkout)  # saves what the others restore
                rounds = [measured(kind, series, checkout) for _ in range(options.rounds)]
                best = min(rounds, key=lambda figures: sum(figures.values()))
                seconds = " | ".join(f"{value:.2f} s" for value in (*best.values(), sum(best.values())))
                print(f"| {series} | {kind} | {seconds} |", flush=True)
    print(f"\nThe load average was {os.getloadavg()[0]:.1f} at the end.")


def measured(kind: str, series: str, checkout: Path) -> dict[str, float]:
    """Run one cell, and say what its phases took."""
    chosen = ["-m", "not capability"]
    if kind == "edit":
        ratios.edit_a_test(checkout)
        chosen = ["-k", ratios.EDITED[0]]
    command = [sys.executable, __file__, "--inside", "-q", "conformance", f"--kernel={series}", *chosen]
    variables = {**ratios.environment(checkout.parent), "PYTHONPATH": str(checkout)}
    command += ["--no-snapshots"] if kind == "cold" else []
    done = subprocess.run(command, cwd=checkout, env=variables, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def run_inside(arguments: Sequence[str]) -> None:
    """Run pytest in this process, and print on the last line what the phases took."""
    ends: dict[str, float] = {}

    def take_down(name: str, owner: Any, method: str, guest_of: Callable[[Any], Any]) -> None:
        original = getattr(owner, method)

        def wrapped(self: Any, *given: Any, **named: Any) -> Any:
            result = original(self, *given, **named)
            if (guest := guest_of(self)) is not None and guest.process.poll() is None:
                times = psutil.Process(guest.process.pid).cpu_times()
                ends[name] = times.user + times.system
            return result

        setattr(owner, method, wrapped)

    import pytest  # noqa: PLC0415

    class Watching:
        """Wraps the harness once pytest has loaded it."""

        @pytest.hookimpl(trylast=True)
        def pytest_configure(self) -> None:
            from harness.guests import Guests  # noqa: PLC0415
            from vm.machine import Guest  # noqa: PLC0415

            take_down("ready", Guest, "_await_ready", lambda guest: guest)
            take_down("collected", Guests, "_boot", lambda guests: guests._guest)
            take_down("ran", Guests, "run", lambda guests: guests._guest)

    code = pytest.main([*arguments], plugins=[Watching()])
    if code != 0:
        sys.exit(int(code))
    host, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    seconds = [
        host.ru_utime + host.ru_stime,
        children.ru_utime + children.ru_stime - ends["ran"],
        ends["ready"],
        ends["collected"] - ends["ready"],
        ends["ran"] - ends["collected"],
    ]
    print(json.dumps(dict(zip(_PHASES, seconds, strict=True))))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        run_inside(sys.argv[2:])
    else:
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
        from benchmarks import ratios

        main()
