"""Reads and echoes through `uring`, next to what else a Python program can use, in one process, taking turns.

    pip install liburing && python benchmarks/ring.py

Reads: pages of a file that is in memory, through `uring`, `os.preadv`, and the compiled `liburing` wheel if it is
installed. Echoes: messages of 64 bytes over pairs of sockets whose two ends both belong to the same library, `uring` or
asyncio. No-ops are in benchmarks/noop.py. Figures are operations per second of processor time, the kernel's part
included, which depends least on what else the machine does. Rounds alternate, and the best round of each counts. A
ratio above 1.0 means that `uring` is the faster one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import uring

PAGE_BYTES = 4096
PAGES = 256
MESSAGE = bytes(64)
# Above every socket's number: the user_data of a send.
SENT = 1 << 32

# What a round did: operations, and the processor time they took.
Work = tuple[int, float]


def read_uring(fd: int, count: int, batch: int, *, keep_alive: bool = True) -> Work:
    """Queue a batch of reads, submit them, reap them."""
    buffers = [bytearray(PAGE_BYTES) for _ in range(batch)]
    cqes = uring.CqeArray(batch)
    total = 0
    with uring.IoUring(batch, keep_alive=keep_alive) as ring:
        started = time.process_time()
        for first in range(0, count, batch):
            for index, buffer in enumerate(buffers):
                ring.read(index, fd, buffer, (first + index) % PAGES * PAGE_BYTES)
            ring.submit()
            reaped = 0
            while reaped < batch:
                rows = ring.copy_cqes(cqes, 1)
                for _user_data, res, _flags in cqes.rows(rows):
                    total += res
                reaped += rows
        seconds = time.process_time() - started
    return total // PAGE_BYTES, seconds


def read_liburing(fd: int, count: int, batch: int) -> Work:
    """The same through the wheel."""
    import liburing  # noqa: PLC0415

    buffers = [bytearray(PAGE_BYTES) for _ in range(batch)]
    ring, cqe = liburing.Ring(), liburing.Cqe()
    liburing.io_uring_queue_init(batch, ring)
    get_sqe, prep_read = liburing.io_uring_get_sqe, liburing.io_uring_prep_read
    total = 0
    started = time.process_time()
    for first in range(0, count, batch):
        for index, buffer in enumerate(buffers):
            sqe = get_sqe(ring)
            prep_read(sqe, fd, buffer, PAGE_BYTES, (first + index) % PAGES * PAGE_BYTES)
            sqe.user_data = index
        liburing.io_uring_submit(ring)
        reaped = 0
        while reaped < batch:
            liburing.io_uring_wait_cqe(ring, cqe)
            ready = liburing.io_uring_cq_ready(ring)
            for index in range(ready):
                total += cqe[index].res
            liburing.io_uring_cq_advance(ring, ready)
            reaped += ready
    seconds = time.process_time() - started
    liburing.io_uring_queue_exit(ring)
    return total // PAGE_BYTES, seconds


def read_preadv(fd: int, count: int, batch: int) -> Work:
    """A system call for every page."""
    buffers = [[bytearray(PAGE_BYTES)] for _ in range(batch)]
    total = 0
    started = time.process_time()
    for first in range(0, count, batch):
        for index, buffer in enumerate(buffers):
            total += os.preadv(fd, buffer, (first + index) % PAGES * PAGE_BYTES)
    return total // PAGE_BYTES, time.process_time() - started


def echo_uring(pairs: int, count: int, *, keep_alive: bool = True) -> Work:
    """Every socket always has a receive queued; what arrives goes back from one buffer while the other is filled."""
    with ExitStack() as stack:
        ends = [stack.enter_context(end) for _ in range(pairs) for end in socket.socketpair()]
        fds = [end.fileno() for end in ends]
        entries = 1 << (2 * len(ends) - 1).bit_length()
        ring = stack.enter_context(uring.IoUring(entries, keep_alive=keep_alive))
        buffers = [(bytearray(len(MESSAGE)), bytearray(len(MESSAGE))) for _ in ends]
        cqes = uring.CqeArray(2 * len(ends))
        started = time.process_time()
        for number, fd in enumerate(fds):
            ring.recv(number, fd, buffers[number][0], 0)
        for end in ends[::2]:
            end.send(MESSAGE)
        received = 0
        # There and back.
        while received < 2 * count:
            ring.submit_and_wait(1)
            for number, res, _flags in cqes.rows(ring.copy_cqes(cqes, 0)):
                if number >= SENT:
                    continue
                if res != len(MESSAGE):
                    raise SystemExit(f"a message of {res} bytes")
                received += 1
                full, empty = buffers[number]
                buffers[number] = empty, full
                ring.send(number | SENT, fds[number], full, 0)
                ring.recv(number, fds[number], empty, 0)
        return received // 2, time.process_time() - started


class Echo(asyncio.Protocol):
    """Sends back what it gets. One end of every pair counts."""

    def __init__(self, arrived: Callable[[], None]) -> None:
        self.arrived = arrived

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """There or back."""
        self.arrived()
        self.transport.write(data)  # type: ignore[attr-defined]


def echo_protocol(pairs: int, count: int) -> Work:
    """Echoes through asyncio's transports and protocols.

    It receives into 256 KiB at a time. In a fresh process malloc() maps and unmaps such a block for each message, which
    makes asyncio four times as slow. That ends when the process frees a bigger block, as main() does with the file's.
    """

    async def main() -> Work:
        loop = asyncio.get_running_loop()
        received = 0
        done = loop.create_future()

        def arrived() -> None:
            nonlocal received
            received += 1
            if received == 2 * count:
                done.set_result(None)

        ends = [end for _ in range(pairs) for end in socket.socketpair()]
        for end in ends:
            end.setblocking(False)
        transports = [(await loop.create_connection(lambda: Echo(arrived), sock=end))[0] for end in ends]
        started = time.process_time()
        for transport in transports[::2]:
            transport.write(MESSAGE)
        await done
        seconds = time.process_time() - started
        for transport in transports:
            transport.abort()
        await asyncio.sleep(0)
        return count, seconds

    return asyncio.run(main())


def echo_streams(pairs: int, count: int) -> Work:
    """Echoes through asyncio's streams."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, times: int) -> None:
        for _ in range(times):
            writer.write(await reader.readexactly(len(MESSAGE)))

    async def main() -> Work:
        streams = [await asyncio.open_connection(sock=end) for _ in range(pairs) for end in socket.socketpair()]
        times = count // pairs
        started = time.process_time()
        for _, writer in streams[::2]:
            writer.write(MESSAGE)
        await asyncio.gather(*(echo(reader, writer, times) for reader, writer in streams))
        seconds = time.process_time() - started
        for _, writer in streams:
            writer.transport.abort()
        await asyncio.sleep(0)
        return times * pairs, seconds

    return asyncio.run(main())


def compare(title: str, sides: dict[str, Callable[[], Work]], rounds: int, expected: int) -> None:
    """Run the sides in turns and print a line; the first side is ours. Each has to do as much as was expected."""
    best = dict.fromkeys(sides, 0.0)
    for _ in range(rounds):
        for name, side in sides.items():
            count, seconds = side()
            if count != expected:
                raise SystemExit(f"{title}: {name} did {count} of {expected} operations")
            best[name] = max(best[name], count / seconds)
    ours, *others = best
    figures = ", ".join(f"{name} {speed / 1e3:.0f}" for name, speed in best.items())
    ratios = ", ".join(f"{best[ours] / best[name]:.2f} of {name}" for name in others)
    print(f"{title}: {figures} thousand/s; ratio {ratios}", flush=True)


def main() -> None:
    """Print a line per batch size of reads and per number of connections."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--operations", type=int, default=16_384, help="per round (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds per side (default %(default)s)")
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 16, 128], help="reads per submit")
    parser.add_argument("--pairs", type=int, nargs="*", default=[1, 16, 128], help="connections")
    parser.add_argument("--no-keep-alive", action="store_true", help="have `uring` hold no memory of requests")
    arguments = parser.parse_args()
    keep_alive = not arguments.no_keep_alive
    readers: dict[str, Callable[[int, int, int], Work]] = {
        "uring": partial(read_uring, keep_alive=keep_alive),
        "os.preadv": read_preadv,
    }
    try:
        import liburing  # noqa: F401, PLC0415
    except ImportError:
        print("without the wheel: pip install liburing", file=sys.stderr)
    else:
        readers["liburing"] = read_liburing
    with tempfile.TemporaryFile() as file:
        file.write(os.urandom(PAGE_BYTES * PAGES))
        file.flush()
        for batch in arguments.batch:
            count = arguments.operations // batch * batch
            sides: dict[str, Callable[[], Work]] = {
                name: partial(read, file.fileno(), count, batch) for name, read in readers.items()
            }
            compare(f"reads, {batch} at a time", sides, arguments.rounds, count)
    echoes: dict[str, Callable[[int, int], Work]] = {
        "uring": partial(echo_uring, keep_alive=keep_alive),
        "asyncio protocols": echo_protocol,
        "asyncio streams": echo_streams,
    }
    for pairs in arguments.pairs:
        count = max(1, arguments.operations // 4 // pairs) * pairs
        sides = {name: partial(echo, pairs, count) for name, echo in echoes.items()}
        compare(f"echoes, {pairs} connections", sides, arguments.rounds, count)


if __name__ == "__main__":
    main()
