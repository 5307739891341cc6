"""No-op throughput of `uring` next to the compiled `liburing` wheel, in one process, taking turns.

    pip install liburing && python benchmarks/noop.py

Both sides do the same work: fill a batch of no-ops with their own user_data, submit it, reap it, and read `user_data`
and `res` of every completion. The wheel is driven in its fastest documented style (`CqeIter`) and in the style of its
examples; the better one counts. Rounds alternate, so that a busy machine hurts both, and the best round of each counts.
The last line is the ratio: above 1.0, pure Python is the faster one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import uring

Round = Callable[[int, int], float]


def uring_round(operations: int, batch: int) -> float:
    """Operations per second through `uring`."""
    with uring.IoUring(batch) as ring:
        cqes = uring.CqeArray(batch)
        total = 0
        started = time.perf_counter()
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
        seconds = time.perf_counter() - started
    check(total, operations, batch)
    return operations / seconds


def liburing_iterator_round(operations: int, batch: int) -> float:
    """Operations per second through the wheel, completions read with `CqeIter`."""
    import liburing  # noqa: PLC0415

    ring, cqe = liburing.Ring(), liburing.Cqe()
    liburing.io_uring_queue_init(batch, ring)
    get_sqe, prep_nop = liburing.io_uring_get_sqe, liburing.io_uring_prep_nop
    total = 0
    started = time.perf_counter()
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
    seconds = time.perf_counter() - started
    liburing.io_uring_queue_exit(ring)
    check(total, operations, batch)
    return operations / seconds


def liburing_index_round(operations: int, batch: int) -> float:
    """Operations per second through the wheel, completions read by index as in its examples."""
    import liburing  # noqa: PLC0415

    ring, cqe = liburing.Ring(), liburing.Cqe()
    liburing.io_uring_queue_init(batch, ring)
    get_sqe, prep_nop = liburing.io_uring_get_sqe, liburing.io_uring_prep_nop
    total = 0
    started = time.perf_counter()
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
    seconds = time.perf_counter() - started
    liburing.io_uring_queue_exit(ring)
    check(total, operations, batch)
    return operations / seconds


def check(total: int, operations: int, batch: int) -> None:
    """A side that lost or mixed up completions has no throughput."""
    expected = (operations // batch) * (batch * (batch - 1) // 2)
    if total != expected:
        raise SystemExit(f"wrong completions: the sum of user_data is {total}, not {expected}")


def main() -> None:
    """Run both sides in turns and print a line per batch size."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--operations", type=int, default=200_000, help="no-ops per round (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds per side (default %(default)s)")
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 16, 256, 1024], help="no-ops per submit")
    arguments = parser.parse_args()
    try:
        import liburing  # noqa: F401, PLC0415
    except ImportError:
        raise SystemExit("the other side is missing: pip install liburing") from None
    sides: dict[str, Round] = {
        "uring": uring_round,
        "liburing CqeIter": liburing_iterator_round,
        "liburing by index": liburing_index_round,
    }
    for batch in arguments.batch:
        operations = max(batch, arguments.operations // (8 if batch == 1 else 1) // batch * batch)
        best = dict.fromkeys(sides, 0.0)
        for _ in range(arguments.rounds):
            for name, side in sides.items():
                best[name] = max(best[name], side(operations, batch))
        ours = best["uring"]
        theirs = max(speed for name, speed in best.items() if name != "uring")
        detail = ", ".join(f"{name} {speed / 1e6:.2f}" for name, speed in best.items())
        print(f"batch {batch:5}: {detail} million no-ops/s; ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
