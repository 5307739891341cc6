"""What functional tests share: waiting for completions with a deadline."""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

import uring
from harness.guest.host_clock import Deadline
from uring import kernel_timespec

# How long a kernel may take to complete what completes at once: an emulated one on a busy machine needs its time.
DEADLINE_S = 10
_BROUGHT_BY_LOOKING = uring.IORING_SETUP_IOPOLL | uring.IORING_SETUP_DEFER_TASKRUN


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
    deadline = Deadline(deadline_s)
    poll = select.poll()
    poll.register(ring.fd, select.POLLIN)
    found: list[uring.io_uring_cqe] = []
    while True:
        batch: list[uring.io_uring_cqe] = [uring.io_uring_cqe()] * (count - len(found))
        found += batch[: ring.copy_cqes(batch, 0)]
        if len(found) == count:
            return found
        if deadline.has_passed(os.getpid()):
            pytest.fail(f"{what}: {count} completions were expected within {deadline_s} s, there are {found}")
        # Nothing wakes who waits for polled I/O, or for work that is left until the ring is entered (though poll(2)
        # tells of it when it begins): looking for completions is what brings them.
        poll.poll(1 if ring.flags & _BROUGHT_BY_LOOKING else deadline.left_s * 1000)


def complete(ring: uring.IoUring, count: int, what: str) -> list[uring.io_uring_cqe]:
    """Submit what is queued, and wait for its completions, as `reap` does."""
    __tracebackhide__ = True
    ring.submit()
    return reap(ring, count, what)


def finish(ring: uring.IoUring, what: str) -> uring.io_uring_cqe:
    """Submit what is queued, and wait for the next completion.

    Args:
        ring: whose.
        what: the operation, for the message.
    """
    __tracebackhide__ = True
    return complete(ring, 1, what)[0]


def expect_no_more(ring: uring.IoUring, what: str) -> None:
    """Submit what is queued, and see that nothing completes but no-ops behind it.

    The second one is there for what completes while the kernel is left behind the first.
    """
    __tracebackhide__ = True
    for user_data in (0xFFFF_FFF1, 0xFFFF_FFF2):
        ring.nop(user_data)
        ring.submit()
        found = reap(ring, 1, f"a no-op behind {what}")[0]
        assert (user_data, 0, 0) == found[:3], f"{what}: no completion was expected, there is {found}"


#: `user_data` of the requests that helpers here make themselves.
_OWN = 0x0123_4567_89AB_CDEF


def settled(
    ring: uring.IoUring, ask: Callable[[], uring.io_uring_sqe], count: int, what: str
) -> list[uring.io_uring_cqe]:
    """Ask about a request in flight, and wait for what comes of it.

    A request may still be on its way to where it can be found, if a thread of the kernel's submits it or a worker has
    it. So ENOENT is no answer before the deadline.

    Args:
        ring: whose.
        ask: queues the question, and can do so again.
        count: how many completions come of it at least, its own among them.
        what: that they are of, for the message.

    Returns:
        The completions, sorted.
    """
    __tracebackhide__ = True
    until_s = time.monotonic() + DEADLINE_S
    found: list[uring.io_uring_cqe] = []
    while True:
        name = ask().user_data
        ring.submit()
        while name not in (cqe.user_data for cqe in found):
            found += reap(ring, 1, what)
        answer = next(cqe for cqe in found if cqe.user_data == name)
        if answer.res != -errno.ENOENT or time.monotonic() > until_s:
            break
        found.remove(answer)
    return sorted(found + reap(ring, max(0, count - len(found)), what))


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait for what another thread of the kernel's does, where nothing but memory tells.

    Args:
        condition: whether it is so.
        what: what is waited for, for the message.
    """
    __tracebackhide__ = True
    until_s = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > until_s:
            pytest.fail(f"{what}: not within {DEADLINE_S} s")
        os.sched_yield()


def is_cancelled(ring: uring.IoUring, target: int, operation: str, answers: tuple[int, ...] = (0,)) -> None:
    """Cancel a request that waits, and see it end.

    One that a worker runs is interrupted, and the cancellation says that it came upon it so.

    Args:
        ring: whose.
        target: its `user_data`.
        operation: the request's, for the message.
        answers: what the cancellation says of one that it found waiting.
    """
    __tracebackhide__ = True
    found = settled(ring, lambda: ring.cancel(_OWN, target, 0), 2, f"IORING_OP_ASYNC_CANCEL of IORING_OP_{operation}")
    results = {cqe.user_data: cqe.res for cqe in found}
    assert {target, _OWN} == results.keys(), f"{found} of IORING_OP_{operation} and its cancellation"
    if results[_OWN] == -errno.EALREADY:
        assert results[target] in (-errno.ECANCELED, -errno.EINTR), f"IORING_OP_{operation} was to be interrupted"
    else:
        assert results[_OWN] in answers, f"IORING_OP_ASYNC_CANCEL of IORING_OP_{operation}"
        assert -errno.ECANCELED == results[target], f"IORING_OP_{operation} was cancelled"


def milliseconds(count: int) -> kernel_timespec:
    """A length of time."""
    return kernel_timespec(*divmod(count * 1_000_000, 10**9))


def at_ns(time_ns: int) -> kernel_timespec:
    """A time of a clock's."""
    return kernel_timespec(*divmod(time_ns, 10**9))


def an_hour() -> kernel_timespec:
    """A time that no test waits for."""
    return kernel_timespec(3600, 0)


@contextmanager
def pipe(content: bytes = b"", flags: int = 0) -> Iterator[tuple[int, int]]:
    """A pipe for the length of a block: the end to read from, the end to write to.

    Args:
        content: what is in it.
        flags: such as O_NONBLOCK.
    """
    ends = os.pipe2(flags)
    try:
        os.write(ends[1], content)
        yield ends
    finally:
        for end in ends:
            os.close(end)


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


def elsewhere(call: Callable[[], object]) -> object:
    """What a call returns in another thread, or the error of the kernel's that it raises there."""
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(call)
    error = future.exception()
    return error if isinstance(error, OSError) else future.result()
