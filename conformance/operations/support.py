"""What functional tests share: waiting for completions with a deadline."""

from __future__ import annotations

import os
import select
import time

import pytest

import uring

# How long a kernel may take to complete what completes at once: an emulated one on a busy machine needs its time.
DEADLINE_S = 10


def reap(ring: uring.IoUring, count: int, what: str, *, deadline_s: float = DEADLINE_S) -> list[uring.io_uring_cqe]:
    """Wait for completions, which leave the queue.

    Args:
        ring: whose.
        count: how many.
        what: that they are of, for the message.
        deadline_s: how long they may take together.

    Returns:
        As many as were asked for, in the order of their arrival.
    """
    __tracebackhide__ = True
    until_s = time.monotonic() + deadline_s
    poll = select.poll()
    poll.register(ring.fd, select.POLLIN)
    found: list[uring.io_uring_cqe] = []
    while True:
        batch: list[uring.io_uring_cqe] = [uring.io_uring_cqe()] * (count - len(found))
        found += batch[: ring.copy_cqes(batch, 0)]
        if len(found) == count:
            return found
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            pytest.fail(f"{what}: {count} completions were expected within {deadline_s} s, there are {found}")
        poll.poll(left_s * 1000)


def complete(ring: uring.IoUring, count: int, what: str) -> list[uring.io_uring_cqe]:
    """Submit what is queued, and wait for its completions, as `reap` does."""
    __tracebackhide__ = True
    ring.submit()
    return reap(ring, count, what)


def is_open(fd: int) -> bool:
    """Whether a number that a request gave back is a descriptor."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def content_of(fd: int, deadline_s: float = 0) -> bytes:
    """What can be read from a pipe or socket: nothing where one would have to wait longer."""
    if not select.select([fd], [], [], deadline_s)[0]:
        return b""
    return os.read(fd, 64)
