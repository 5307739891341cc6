"""Waiting for processes, in all the ways there are to name them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from conformance.fixtures import RingFactory
from conformance.operations.support import complete, expect_no_more, is_cancelled, reap
from conformance.support import completion
from uring import E, siginfo_t

pytestmark = pytest.mark.group("Processes")

WAIT, BEHIND = 0xC1, 0xC2
STATUS = 7


class Child:
    """A process that waits for the word to end with `STATUS`."""

    def __init__(self, *, leads_a_group: bool = False) -> None:
        reading, self._word = os.pipe()
        with warnings.catch_warnings():
            # Python warns of locks that other threads may hold over a fork; this child takes none and runs nothing.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            os.read(reading, 1)
            os._exit(STATUS)
        os.close(reading)
        if leads_a_group:
            os.setpgid(self.pid, self.pid)

    def end(self) -> None:
        """Let it end; who waits sees that."""
        os.write(self._word, b"x")

    def has_been_reaped(self) -> bool:
        """Whether somebody has waited for its end; where it was left, this does."""
        try:
            os.waitpid(self.pid, 0)
        except ChildProcessError:
            return True
        return False

    def close(self) -> None:
        """Leave nothing of it."""
        os.close(self._word)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


@contextmanager
def child(*, leads_a_group: bool = False) -> Iterator[Child]:
    """A process for the length of a block."""
    process = Child(leads_a_group=leads_a_group)
    try:
        yield process
    finally:
        process.close()


def _fields(info: siginfo_t) -> tuple[int, int, int, int, int]:
    return info.signo, info.code, info.pid, info.uid, info.status


def _exited(process: Child) -> tuple[int, int, int, int, int]:
    return signal.SIGCHLD, os.CLD_EXITED, process.pid, os.getuid(), STATUS


@pytest.mark.title("wait for a child")
@pytest.mark.symbols("IORING_OP_WAITID", "IORING_OP_NOP")
def test_waitid_of_a_child_that_ends(ring: RingFactory) -> None:
    """A wait lasts until the child ends; it tells how, and leaves nothing to be waited for."""
    io_uring = ring(8)
    info = siginfo_t()
    with child() as process:
        io_uring.waitid(WAIT, os.P_PID, process.pid, info, os.WEXITED, 0)
        io_uring.submit()
        expect_no_more(io_uring, "a wait for a child that runs")
        process.end()
        assert [completion(WAIT, 0)] == reap(io_uring, 1, "IORING_OP_WAITID")
        assert _exited(process) == _fields(info)
        assert process.has_been_reaped()


@pytest.mark.title("wait for a child that is killed")
@pytest.mark.symbols("IORING_OP_WAITID")
def test_waitid_of_a_child_that_is_killed(ring: RingFactory) -> None:
    """The signal that killed it is told."""
    io_uring = ring(8)
    info = siginfo_t()
    with child() as process:
        io_uring.waitid(WAIT, os.P_PID, process.pid, info, os.WEXITED, 0)
        io_uring.submit()
        os.kill(process.pid, signal.SIGKILL)
        assert [completion(WAIT, 0)] == reap(io_uring, 1, "IORING_OP_WAITID")
        assert (signal.SIGCHLD, os.CLD_KILLED, process.pid, os.getuid(), signal.SIGKILL) == _fields(info)


@pytest.mark.title("wait for a child that stops")
@pytest.mark.symbols("IORING_OP_WAITID", "IORING_OP_NOP")
def test_waitid_of_a_child_that_stops_and_goes_on(ring: RingFactory) -> None:
    """Stopping and going on are told, where they are asked for."""
    io_uring = ring(8)
    with child() as process:
        for options, sent, code in (
            (os.WSTOPPED, signal.SIGSTOP, os.CLD_STOPPED),
            (os.WCONTINUED, signal.SIGCONT, os.CLD_CONTINUED),
        ):
            info = siginfo_t()
            io_uring.waitid(WAIT, os.P_PID, process.pid, info, options, 0)
            io_uring.submit()
            expect_no_more(io_uring, "a wait for a child that has not changed")
            os.kill(process.pid, sent)
            assert [completion(WAIT, 0)] == reap(io_uring, 1, f"IORING_OP_WAITID for {sent.name}")
            assert (signal.SIGCHLD, code, process.pid, os.getuid(), sent) == _fields(info)


@pytest.mark.title("wait for a process group")
@pytest.mark.symbols("IORING_OP_WAITID", "IORING_OP_NOP")
def test_waitid_of_a_group(ring: RingFactory) -> None:
    """A child of that group is waited for, and one of another group is not, though it has ended."""
    io_uring = ring(8)
    info = siginfo_t()
    with child() as other, child(leads_a_group=True) as process:
        other.end()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        io_uring.waitid(WAIT, os.P_PGID, process.pid, info, os.WEXITED, 0)
        io_uring.submit()
        expect_no_more(io_uring, "a wait for a group that runs")
        process.end()
        assert [completion(WAIT, 0)] == reap(io_uring, 1, "IORING_OP_WAITID with P_PGID")
        assert _exited(process) == _fields(info)
        assert not other.has_been_reaped()


@pytest.mark.title("wait for any child")
@pytest.mark.symbols("IORING_OP_WAITID", "IORING_OP_NOP")
def test_waitid_of_any(ring: RingFactory) -> None:
    """Whichever child ends is told."""
    io_uring = ring(8)
    info = siginfo_t()
    with child(), child() as process:
        io_uring.waitid(WAIT, os.P_ALL, 0, info, os.WEXITED, 0)
        io_uring.submit()
        expect_no_more(io_uring, "a wait for two children that run")
        process.end()
        assert [completion(WAIT, 0)] == reap(io_uring, 1, "IORING_OP_WAITID with P_ALL")
        assert _exited(process) == _fields(info)
        assert process.has_been_reaped()


@pytest.mark.title("wait for a process by descriptor")
@pytest.mark.symbols("IORING_OP_WAITID")
def test_waitid_by_descriptor(ring: RingFactory) -> None:
    """The child is the one that the pidfd stands for."""
    io_uring = ring(8)
    info = siginfo_t()
    with child() as process:
        fd = os.pidfd_open(process.pid)
        try:
            io_uring.waitid(WAIT, os.P_PIDFD, fd, info, os.WEXITED, 0)
            io_uring.submit()
            process.end()
            assert [completion(WAIT, 0)] == reap(io_uring, 1, "IORING_OP_WAITID with P_PIDFD")
            assert _exited(process) == _fields(info)
        finally:
            os.close(fd)


@pytest.mark.title("wait for nobody yet")
@pytest.mark.symbols("IORING_OP_WAITID")
def test_waitid_without_waiting(ring: RingFactory) -> None:
    """With WNOHANG a child that runs is nothing to tell of: the information is of no process."""
    io_uring = ring(8)
    info = siginfo_t(signo=1, code=2, pid=3, uid=4, status=5)
    with child() as process:
        io_uring.waitid(WAIT, os.P_PID, process.pid, info, os.WEXITED | os.WNOHANG, 0)
        assert [completion(WAIT, 0)] == complete(io_uring, 1, "IORING_OP_WAITID with WNOHANG")
        assert (0, 0) == (info.signo, info.pid)


@pytest.mark.title("wait and leave it")
@pytest.mark.symbols("IORING_OP_WAITID")
def test_waitid_that_leaves_the_child(ring: RingFactory) -> None:
    """With WNOWAIT a child that ended is told of, and can be waited for again."""
    io_uring = ring(8)
    with child() as process:
        process.end()
        for _ in range(2):
            info = siginfo_t()
            io_uring.waitid(WAIT, os.P_PID, process.pid, info, os.WEXITED | os.WNOWAIT, 0)
            assert [completion(WAIT, 0)] == complete(io_uring, 1, "IORING_OP_WAITID with WNOWAIT")
            assert _exited(process) == _fields(info)
        assert not process.has_been_reaped()


@pytest.mark.title("wait for no information")
@pytest.mark.symbols("IORING_OP_WAITID")
def test_waitid_without_information(ring: RingFactory) -> None:
    """Who does not want to know anything waits all the same."""
    io_uring = ring(8)
    with child() as process:
        process.end()
        io_uring.waitid(WAIT, os.P_PID, process.pid, None, os.WEXITED, 0)
        assert [completion(WAIT, 0)] == complete(io_uring, 1, "IORING_OP_WAITID without a siginfo_t")
        assert process.has_been_reaped()


@pytest.mark.title("wait for a stranger")
@pytest.mark.symbols("IORING_OP_WAITID")
def test_waitid_of_no_child(ring: RingFactory) -> None:
    """A process that is no child of this one cannot be waited for."""
    io_uring = ring(8)
    io_uring.waitid(WAIT, os.P_PID, os.getpid(), siginfo_t(), os.WEXITED, 0)
    assert [completion(WAIT, -E.CHILD)] == complete(io_uring, 1, "IORING_OP_WAITID of this process")


@pytest.mark.title("wait for nothing")
@pytest.mark.symbols("IORING_OP_WAITID")
def test_waitid_for_nothing_is_refused(ring: RingFactory) -> None:
    """Somebody has to say what to wait for."""
    io_uring = ring(8)
    io_uring.waitid(WAIT, os.P_ALL, 0, siginfo_t(), os.WNOHANG, 0)
    assert [completion(WAIT, -E.INVAL)] == complete(io_uring, 1, "IORING_OP_WAITID for no event")


@pytest.mark.title("cancel, wait for a child")
@pytest.mark.symbols("IORING_OP_WAITID", "IORING_OP_ASYNC_CANCEL")
def test_cancel_of_a_waitid(ring: RingFactory) -> None:
    """A wait ends, and takes nothing of a child that ends then."""
    io_uring = ring(8)
    info = siginfo_t()
    with child() as process:
        io_uring.waitid(WAIT, os.P_PID, process.pid, info, os.WEXITED, 0)
        is_cancelled(io_uring, WAIT, "WAITID", (0, 1))
        process.end()
        assert not process.has_been_reaped()
        assert 0 == info.pid


@pytest.mark.title("poll of a process")
@pytest.mark.symbols("IORING_OP_POLL_ADD", "IORING_OP_NOP")
def test_poll_of_a_process(ring: RingFactory) -> None:
    """A pidfd can be polled: it is readable when the process has ended, which waits to be reaped."""
    io_uring = ring(8)
    with child() as process:
        fd = os.pidfd_open(process.pid)
        try:
            io_uring.poll_add(WAIT, fd, select.POLLIN)
            io_uring.submit()
            expect_no_more(io_uring, "a poll of a process that runs")
            process.end()
            [cqe] = reap(io_uring, 1, "IORING_OP_POLL_ADD of a pidfd")
            assert (WAIT, True, select.POLLIN) == (cqe.user_data, cqe.res > 0, cqe.res & select.POLLIN)
            assert not process.has_been_reaped()
        finally:
            os.close(fd)
