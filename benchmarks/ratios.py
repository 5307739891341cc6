"""What a cell and a run cost, next to a bare boot of the same kernel, measured side by side in one run.

    python benchmarks/ratios.py [--kernel SERIES]... [--rounds N] [--matrix] [--peer] [--out docs/performance.md]

A bare boot is the same QEMU command and kernel, and an init of a few bytes that powers off at once; it starts the
kernel's image as it is, and once more, for comparison, the unpacked kernel. A cell is `uring-matrix run` with one
kernel: cold boots the guest, first boots and saves it, warm restores it where it had collected. An edit is what
somebody at work waits for: `pytest conformance -k IT` in that kernel, right after a line was added to that test's file.
Python keeps its bytecode, as it does where PYTHONDONTWRITEBYTECODE is not set.
The peer is virtme-ng with the same suite, kernel and QEMU. Rounds alternate, so that a busy machine hurts all of them,
and the smallest figure of each counts. The ratios are of processor time, of every process there was: that depends
least on what else the machine does. Elapsed time is given, too.
"""

import argparse
import os
import platform
import resource
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import peer
from uring_matrix.guests import machine_of, references, setup_for
from vm import cpio
from vm.cache import Cache
from vm.machine import Guest, MachineConfig
from vm.settings import Settings
from vm.snapshots import KIND

ROOT = Path(__file__).resolve().parent.parent
_DEADLINE_S = 600.0
_SAMPLE_S = 0.2
# The test that is edited, and its file.
EDITED = "test_timeout_after_a_relative_time", "conformance/zig/test_timeouts.py"


@dataclass(frozen=True, slots=True)
class Cost:
    """What something took."""

    processor_s: float
    elapsed_s: float
    # Of this process's children together, each page of memory counted once.
    memory_mib: float


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--kernel", action="append", metavar="SERIES", help="default: 5.10 and 7.3")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--matrix", action="store_true", help="measure the whole matrix, too")
    parser.add_argument("--peer", action="store_true", help="measure virtme-ng, too, in kernels it can boot")
    parser.add_argument("--out", type=Path, help="write the page there instead of printing it")
    options = parser.parse_args()
    lines = [
        "# Performance",
        "",
        "Written by `python benchmarks/ratios.py`; not edited by hand. "
        "Processor seconds are of all processes together, the best of "
        f"{options.rounds} rounds; in brackets the elapsed seconds of that round. "
        "[Where the time goes](performance-phases.md).",
        "",
        *machine_lines(),
        "",
        "| kernel | bare boot | unpacked | bare ÷ it | cold cell | ÷ bare | first cell | ÷ cold | warm cell | ÷ bare "
        "| edit | peak memory, cold | warm |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    with tempfile.TemporaryDirectory(prefix="ratios-") as name:
        directory = Path(name)
        for series in options.kernel or ["5.10", "7.3"]:
            lines.append(kernel_row(series, options.rounds, directory))
        if options.peer:
            lines += ["", *peer_lines(options.kernel or ["5.10", "7.3"], options.rounds, directory)]
        if options.matrix:
            lines += ["", *matrix_lines(directory)]
    lines += ["", f"The load average was {os.getloadavg()[0]:.1f} at the end."]
    text = "\n".join(lines) + "\n"
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")
    print(text)


def kernel_row(series: str, rounds: int, directory: Path) -> str:
    """One kernel's line of the table."""
    ref = references([series], None)[0]
    direct_machine = replace(machine_of(ref, None), initrd=bare_image(directory))
    bare_machine = direct_machine.from_image()
    run([f"--kernel={series}"], directory)  # whatever has to be fetched, made or saved is there now
    checkout = copy_of_checkout(directory / f"checkout-{series}")
    bare, direct, cold, first, warm, edit = [], [], [], [], [], []
    for _ in range(rounds):
        bare.append(measured(lambda: boot_bare(bare_machine, directory)))
        direct.append(measured(lambda: boot_bare(direct_machine, directory)))
        cold.append(measured(lambda: run([f"--kernel={series}", "--no-snapshots"], directory)))
        forget_snapshots(ref.release)
        first.append(measured(lambda: run([f"--kernel={series}"], directory)))
        warm.append(measured(lambda: run([f"--kernel={series}"], directory)))
        edit_a_test(checkout)
        edit.append(measured(lambda: run_edited(series, checkout)))
    base, quick, slow, saved, fast, few = (
        min(costs, key=lambda cost: cost.processor_s) for costs in (bare, direct, cold, first, warm, edit)
    )
    return (
        f"| {series} | {shown(base)} | {shown(quick)} | {base.processor_s / quick.processor_s:.2f} "
        f"| {shown(slow)} | {slow.processor_s / base.processor_s:.2f} "
        f"| {shown(saved)} | {saved.processor_s / slow.processor_s:.2f} "
        f"| {shown(fast)} | {fast.processor_s / base.processor_s:.2f} | {shown(few)} "
        f"| {max(cost.memory_mib for cost in cold):.0f} MiB | {max(cost.memory_mib for cost in warm):.0f} MiB |"
    )


def forget_snapshots(release: str | None) -> None:
    """Remove what was saved of a kernel's guests."""
    cache = Cache(Settings.load().cache)
    for key in cache.keys(KIND):
        if cache.meta(KIND, key).get("release") == release:
            cache.remove(KIND, key)


def peer_lines(kernels: Sequence[str], rounds: int, directory: Path) -> list[str]:
    """The same suite in the same kernels with virtme-ng, next to a cold and a warm cell."""
    lines = [
        "| kernel | virtme-ng | cold cell | virtme-ng ÷ cold | warm cell | virtme-ng ÷ warm |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    return [*lines, *(peer_row(series, rounds, directory) for series in kernels)]


def peer_row(series: str, rounds: int, directory: Path) -> str:
    """One kernel's line of that table."""
    setup = setup_for(None)
    kernel = setup.kernels.fetch(references([series], None)[0])
    if (why := peer.obstacle(kernel)) is not None:
        return f"| {series} | cannot boot it: {why} | | | | |"
    place = directory / f"peer-{series}"
    place.mkdir()
    virtme = peer.Virtme(setup, kernel, place)
    theirs, cold, warm = [], [], []
    for _ in range(rounds):
        theirs.append(measured(virtme.run))
        cold.append(measured(lambda: run([f"--kernel={series}", "--no-snapshots"], directory)))
        warm.append(measured(lambda: run([f"--kernel={series}"], directory)))
    base, slow, fast = (min(costs, key=lambda cost: cost.processor_s) for costs in (theirs, cold, warm))
    return (
        f"| {series} | {shown(base)} | {shown(slow)} | {base.processor_s / slow.processor_s:.2f} "
        f"| {shown(fast)} | {base.processor_s / fast.processor_s:.2f} |"
    )


def matrix_lines(directory: Path) -> list[str]:
    """The whole matrix, once without snapshots and once with all of them there."""
    cold = measured(lambda: run(["--no-snapshots"], directory))
    for _ in range(2):  # what is asked for twice is saved as it is behind its collecting
        run([], directory)
    warm = measured(lambda: run([], directory))
    for _ in range(2):
        run([], directory, expression="")
    whole = measured(lambda: run([], directory, expression=""))
    return [
        "| every kernel | processor time (elapsed) | peak memory |",
        "| --- | ---: | ---: |",
        f"| tests, cold | {shown(cold)} | {cold.memory_mib:.0f} MiB |",
        f"| tests, warm | {shown(warm)} | {warm.memory_mib:.0f} MiB |",
        f"| tests and capabilities, warm | {shown(whole)} | {whole.memory_mib:.0f} MiB |",
        "",
        f"The snapshots of the cache occupy {occupied_mib():.0f} MiB.",
    ]


def shown(cost: Cost) -> str:
    """Processor seconds, and elapsed ones."""
    return f"{cost.processor_s:.2f} s ({cost.elapsed_s:.1f})"


def run(arguments: Sequence[str], directory: Path, *, expression: str = "not capability") -> None:
    """The command, as a user types it; by itself the tests, as they were measured before anything was observed."""
    out = directory / "matrix"
    chosen = ["--", "-m", expression] if expression else []
    subprocess.run(
        [sys.executable, "-m", "uring_matrix", "run", "--no-report", "--out", str(out), *arguments, *chosen],
        cwd=ROOT,
        env=environment(directory),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    shutil.rmtree(out)


def environment(directory: Path) -> dict[str, str]:
    """Variables with which Python keeps its bytecode, in a directory of ours."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(directory / "bytecode")}


def copy_of_checkout(target: Path) -> Path:
    """A copy of this checkout's own files, to be edited."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    return target


def edit_a_test(checkout: Path) -> None:
    """Add a line that no version of this file has had."""
    with (checkout / EDITED[1]).open("a", encoding="utf-8") as file:
        file.write(f"# {time.time_ns()}\n")


def run_edited(series: str, checkout: Path) -> None:
    """The edited test, in one kernel."""
    command = [sys.executable, "-m", "pytest", "-q", "conformance", "-k", EDITED[0], f"--kernel={series}"]
    subprocess.run(command, cwd=checkout, env=environment(checkout.parent), check=True, stdout=subprocess.DEVNULL)


def boot_bare(machine: MachineConfig, directory: Path) -> None:
    """Boot until the kernel has started init, and init has powered off."""
    guest = Guest(machine, directory)
    try:
        if guest.wait(_DEADLINE_S) != 0:
            raise SystemExit(f"the bare boot did not end well: {guest.how_qemu_ended()}\n{guest.console_tail()}")
    finally:
        guest.kill()


def bare_image(directory: Path) -> Path:
    """An initramfs with nothing but an init that resets the machine, which QEMU's -no-reboot makes its end."""
    code = b"".join((
        b"\xb8" + struct.pack("<I", 169),  # mov eax, reboot
        b"\xbf" + struct.pack("<I", 0xFEE1DEAD),  # mov edi, LINUX_REBOOT_MAGIC1
        b"\xbe" + struct.pack("<I", 0x28121969),  # mov esi, LINUX_REBOOT_MAGIC2
        b"\xba" + struct.pack("<I", 0x01234567),  # mov edx, LINUX_REBOOT_CMD_RESTART
        b"\x0f\x05",  # syscall
        b"\xeb\xfe",  # jmp $
    ))  # fmt: skip
    base, header_size = 0x400000, 64 + 56
    size = header_size + len(code)
    elf = b"\x7fELF\x02\x01\x01" + bytes(9)
    elf += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + header_size, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    elf += struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 4096)
    path = directory / "bare.cpio"
    with path.open("wb") as file:
        cpio.write_cpio(
            file,
            [
                cpio.directory("dev"),
                cpio.character_device("dev/console", 5, 1),
                cpio.Entry("init", stat.S_IFREG | 0o755, elf + code),
            ],
        )
    return path


def measured(work: Callable[[], None]) -> Cost:
    """Do it, and say what it cost."""
    peak_mib = 0.0
    is_over = threading.Event()

    def watch() -> None:
        nonlocal peak_mib
        while not is_over.wait(_SAMPLE_S):
            peak_mib = max(peak_mib, memory_mib())

    before, started_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        is_over.set()
        watcher.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(processor_s, time.monotonic() - started_s, peak_mib)


def memory_mib() -> float:
    """What this process's children occupy now; of what several share, each has its part."""
    total_bytes = 0
    for process in psutil.Process().children(recursive=True):
        try:
            total_bytes += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total_bytes / (1 << 20)


def occupied_mib() -> float:
    """What the snapshots occupy on the disk, without their holes."""
    directory = Settings.load().cache / KIND
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file()) / (1 << 20)


def machine_lines() -> list[str]:
    """Where and when."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    return [
        f"- {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit or 'unknown'}",
        f"- {len(os.sched_getaffinity(0))} processors ({model}), {psutil.virtual_memory().total >> 20} MiB, "
        f"Linux {os.uname().release}, Python {platform.python_version()}",
        f"- load average when it began: {os.getloadavg()[0]:.1f}",
    ]


if __name__ == "__main__":
    main()
