"""No-op throughput of `uring` next to the compiled `liburing` wheel, in one process, taking turns.

    pip install liburing && python benchmarks/noop.py [--out docs/performance-ring.md]

Both sides do the same work: fill a batch of no-ops with their own user_data, submit it, reap it, and read `user_data`
and `res` of every completion. The wheel is driven in its fastest documented style (`CqeIter`) and in the style of its
examples; the better one counts. Figures are processor time, the kernel's part included, which depends least on what
else the machine does. Rounds alternate, and the best round of each counts. A ratio above 1.0 means that pure Python is
the faster one.

The second table is about one no-op at a time, written down without loops over a batch of one, and about what no code in
Python can be faster than: the system call through ctypes, and the least of shared memory that has to be touched for it.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import uring
from benchmarks.ratios import machine_lines
from uring import syscalls

# (operations, batch) -> processor seconds
Round = Callable[[int, int], float]


def uring_round(operations: int, batch: int) -> float:
    """Through `uring`, completions copied into an array."""
    with uring.IoUring(batch) as ring:
        cqes = uring.CqeArray(batch)
        total = 0
        started = time.process_time()
        for _ in range(operations // batch):
            for user_data in range(batch):
                ring.nop(user_data)
            ring.submit()
            reaped = 0
            while reaped < batch:
                count = ring.copy_cqes(cqes, 1)
                for user_data, res, _flags in cqes.rows(count):
                    total += user_data + res
                reaped += count
        seconds = time.process_time() - started
    check(total, operations, batch)
    return seconds


def uring_plain_round(operations: int) -> float:
    """Through `uring`, one at a time and without a loop around it."""
    with uring.IoUring(8) as ring:
        total = 0
        started = time.process_time()
        for user_data in range(operations):
            ring.nop(user_data)
            ring.submit()
            cqe = ring.copy_cqe()
            total += cqe.user_data + cqe.res
        seconds = time.process_time() - started
    check(total, operations, operations)
    return seconds


def liburing_iterator_round(operations: int, batch: int) -> float:
    """Through the wheel, completions read with `CqeIter`."""
    import liburing  # noqa: PLC0415

    ring, cqe = liburing.Ring(), liburing.Cqe()
    liburing.io_uring_queue_init(batch, ring)
    get_sqe, prep_nop = liburing.io_uring_get_sqe, liburing.io_uring_prep_nop
    total = 0
    started = time.process_time()
    for _ in range(operations // batch):
        for user_data in range(batch):
            sqe = get_sqe(ring)
            prep_nop(sqe)
            sqe.user_data = user_data
        liburing.io_uring_submit(ring)
        reaped = 0
        while reaped < batch:
            liburing.io_uring_wait_cqe(ring, cqe)
            count = 0
            for _index in liburing.CqeIter(ring, cqe):
                entry = cqe[0]
                total += entry.user_data + entry.res
                count += 1
            liburing.io_uring_cq_advance(ring, count)
            reaped += count
    seconds = time.process_time() - started
    liburing.io_uring_queue_exit(ring)
    check(total, operations, batch)
    return seconds


def liburing_index_round(operations: int, batch: int) -> float:
    """Through the wheel, completions read by index as in its examples."""
    import liburing  # noqa: PLC0415

    ring, cqe = liburing.Ring(), liburing.Cqe()
    liburing.io_uring_queue_init(batch, ring)
    get_sqe, prep_nop = liburing.io_uring_get_sqe, liburing.io_uring_prep_nop
    total = 0
    started = time.process_time()
    for _ in range(operations // batch):
        for user_data in range(batch):
            sqe = get_sqe(ring)
            prep_nop(sqe)
            sqe.user_data = user_data
        liburing.io_uring_submit(ring)
        reaped = 0
        while reaped < batch:
            liburing.io_uring_wait_cqe(ring, cqe)
            count = liburing.io_uring_cq_ready(ring)
            for index in range(count):
                entry = cqe[index]
                total += entry.user_data + entry.res
            liburing.io_uring_cq_advance(ring, count)
            reaped += count
    seconds = time.process_time() - started
    liburing.io_uring_queue_exit(ring)
    check(total, operations, batch)
    return seconds


def liburing_plain_round(operations: int) -> float:
    """Through the wheel, one at a time and without a loop around it."""
    import liburing  # noqa: PLC0415

    ring, cqe = liburing.Ring(), liburing.Cqe()
    liburing.io_uring_queue_init(8, ring)
    get_sqe, prep_nop = liburing.io_uring_get_sqe, liburing.io_uring_prep_nop
    submit, wait, advance = liburing.io_uring_submit, liburing.io_uring_wait_cqe, liburing.io_uring_cq_advance
    total = 0
    started = time.process_time()
    for user_data in range(operations):
        sqe = get_sqe(ring)
        prep_nop(sqe)
        sqe.user_data = user_data
        submit(ring)
        wait(ring, cqe)
        entry = cqe[0]
        total += entry.user_data + entry.res
        advance(ring, 1)
    seconds = time.process_time() - started
    liburing.io_uring_queue_exit(ring)
    check(total, operations, operations)
    return seconds


def check(total: int, operations: int, batch: int) -> None:
    """A side that lost or mixed up completions has no throughput."""
    expected = (operations // batch) * (batch * (batch - 1) // 2)
    if total != expected:
        raise SystemExit(f"wrong completions: the sum of user_data is {total}, not {expected}")


OURS: dict[str, Round] = {"uring": uring_round}
THEIRS: dict[str, Round] = {"liburing, CqeIter": liburing_iterator_round, "liburing, by index": liburing_index_round}


def throughput_lines(batches: Sequence[int], operations: int, rounds: int) -> list[str]:
    """Nanoseconds per no-op by batch size."""
    sides = OURS | THEIRS
    lines = [
        f"| no-ops per submit | {' | '.join(f'{name}, ns' for name in sides)} | liburing ÷ uring |",
        f"| ---: |{' ---: |' * (len(sides) + 1)}",
    ]
    for batch in batches:
        count = max(batch, operations // batch * batch)
        best = fastest({name: partial(side, count, batch) for name, side in sides.items()}, rounds)
        ratio = min(best[name] for name in THEIRS) / min(best[name] for name in OURS)
        figures = " | ".join(f"{best[name] / count * 1e9:.0f}" for name in sides)
        lines.append(f"| {batch} | {figures} | {ratio:.2f} |")
    return lines


def floor_lines(operations: int, rounds: int) -> list[str]:
    """Nanoseconds of what lies below one no-op at a time, and of other ways to make the system call."""
    typed = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.c_long, *[ctypes.c_uint] * 4, ctypes.c_void_p, ctypes.c_size_t, use_errno=True
    )(("syscall", ctypes.CDLL(None)))
    keeping = ctypes.PyDLL(None, use_errno=True).syscall
    work: dict[str, Callable[[], float]] = {
        "a no-op through `uring`": partial(uring_plain_round, operations),
        "a no-op through liburing": partial(liburing_plain_round, operations),
        "the system call with a no-op, its stores and its load": partial(floor_round, syscalls.enter, operations, 1),
        "the same, keeping the interpreter lock": partial(floor_round, keeping, operations, 1),
    }
    for name, call in {
        "as `uring` makes it": syscalls.enter,
        "keeping the interpreter lock": keeping,
        "without errno": ctypes.CDLL(None).syscall,
        "without either": ctypes.PyDLL(None).syscall,
        "with declared argument types": typed,
    }.items():
        work[f"the system call with nothing to submit, {name}"] = partial(floor_round, call, operations, 0)
    best = fastest(work, rounds)
    return [
        "| one at a time | ns |",
        "| --- | ---: |",
        *(f"| {name} | {seconds / operations * 1e9:.0f} |" for name, seconds in best.items()),
    ]


def floor_round(enter: Callable[..., int], operations: int, to_submit: int) -> float:
    """Enter the kernel and do nothing but what has to be done: move the two indices, look at the third."""
    with uring.IoUring(1) as ring:
        words, fd = ring.sq._words, ring.fd
        tail_at, ready_at, head_at = ring.sq._tail_at, ring.cq._tail_at, ring.cq._head_at
        position = 0
        started = time.process_time()
        for _ in range(operations):
            position += to_submit
            words[tail_at] = position
            enter(syscalls.SYS_IO_URING_ENTER, fd, to_submit, 0, 0, None, syscalls.SIGSET_BYTES)
            if words[ready_at] != position:
                raise SystemExit("the kernel did not complete the no-op")
            words[head_at] = position
        return time.process_time() - started


def fastest(sides: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Let the sides take turns; the least seconds of each."""
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(rounds):
        for name, side in sides.items():
            best[name] = min(best[name], side())
    return best


def peer_version() -> str:
    """The wheel's version, once it is known to run here."""
    try:
        version = metadata.version("liburing")
    except metadata.PackageNotFoundError:
        raise SystemExit("the other side is missing: pip install liburing") from None
    # In a process of its own: the wheel of 2026 has instructions of AVX-512 in it, which not every processor knows.
    done = subprocess.run([sys.executable, "-c", "import liburing; liburing.Ring()"], check=False, capture_output=True)
    if done.returncode:
        raise SystemExit(
            f"liburing {version} does not run here, status {done.returncode} (-4 is an instruction that this processor "
            f"does not have): measure on another machine\n{done.stderr.decode()}"
        )
    return version


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--operations", type=int, default=10_000, help="no-ops per round (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=40, help="rounds per side (default %(default)s)")
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 16, 256, 1024], help="no-ops per submit")
    parser.add_argument("--note", help="what is special about this machine, for the head of the page")
    parser.add_argument("--out", type=Path, help="write the page there, too")
    options = parser.parse_args()
    version = peer_version()
    lines = [
        "# Performance of the ring",
        "",
        "Written by `python benchmarks/noop.py`; not edited by hand. Processor time per no-op, the best of "
        f"{options.rounds} rounds that took turns in one process.",
        "",
        *machine_lines(),
        f"- liburing {version} from its wheel{f', {options.note}' if options.note else ''}",
        "",
        *throughput_lines(options.batch, options.operations, options.rounds),
        "",
        *floor_lines(options.operations, options.rounds),
    ]
    text = "\n".join(lines) + "\n"
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
