"""Tests that wait for what never comes: the end of a pipe that somebody keeps open, a request that was not cancelled.

The lies of a kernel are told on this side of the system call, as no kernel at hand tells them.
"""

import os
import signal
import subprocess
import sys

import pytest

import uring
from uring import lifetime, syscalls

# Ends at once, and leaves a child that has its pipes and is not to be ended kindly.
LEAVES_A_CHILD = """
import os, signal, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    time.sleep(1_000_000)
"""
DOES_NOT_END = f"{LEAVES_A_CHILD}\nimport time; time.sleep(1_000_000)"


def python(code):
    return [sys.executable, "-c", code]


# -- pipes ------------------------------------------------------------------------------------------------------------


def test_leaves_a_child_with_its_output():
    print("before the child")
    subprocess.run(python(LEAVES_A_CHILD), check=True)


def test_after_a_child_with_its_output():
    pass


def test_waits_for_the_end_of_a_pipe():
    """The program has ended, and its pipe is open."""
    subprocess.run(python(LEAVES_A_CHILD), check=True, stdout=subprocess.PIPE)


def test_after_the_pipe():
    pass


def test_gives_a_program_a_second():
    subprocess.run(python(DOES_NOT_END), check=True, capture_output=True, timeout=1)


def test_after_a_second():
    pass


# -- cancelling -------------------------------------------------------------------------------------------------------


@pytest.fixture
def lies(monkeypatch):
    """Every way to cancel says that it did. Gives the registrations that were asked for."""
    asked = []

    def register(fd, opcode, address, count):
        asked.append(opcode)
        return 0 if opcode == uring.IORING_REGISTER.REGISTER_SYNC_CANCEL else told(fd, opcode, address, count)

    told = syscalls.io_uring_register_errno
    monkeypatch.setattr(syscalls, "io_uring_register_errno", register)
    # Whose completion has the same res as a cancellation that has succeeded.
    monkeypatch.setattr(uring.IoUring, "cancel", lambda self, user_data, *_: self.nop(user_data))
    return asked


def cancelled_in_words_only(io_uring):
    """A request in flight that would write into our memory; returns the end of the pipe that would complete it."""
    reader, writer = os.pipe()
    io_uring.read(1, reader, bytearray(64), 0)
    io_uring.submit()
    os.close(reader)
    io_uring.cancel(2, 1, 0)
    io_uring.submit()
    assert (2, 0) == io_uring.copy_cqe()[:2]
    return writer


def test_closes_a_ring_whose_request_stays(ring, lies):
    """The ring closes; memory that the kernel may write to is kept for good."""
    io_uring = ring(4)
    kept = lifetime.abandoned_count
    writer = cancelled_in_words_only(io_uring)
    io_uring.deinit()
    assert uring.IORING_REGISTER.REGISTER_SYNC_CANCEL in lies
    assert kept + 1 == lifetime.abandoned_count
    os.close(writer)


def test_leaves_a_ring_whose_request_stays(lies):
    """Nobody closes it: the leak check does without it."""
    io_uring = uring.IoUring.init(4, 0)
    cancelled_in_words_only(io_uring)
    # Not even its end is noticed.
    globals()["kept"] = io_uring


def test_after_a_ring_whose_request_stays(ring):
    io_uring = ring(4)
    io_uring.nop(3)
    assert 1 == io_uring.submit_and_wait(1)
    assert 3 == io_uring.copy_cqe().user_data


def test_waits_for_a_request_that_was_cancelled(ring, lies):
    io_uring = ring(4)
    cancelled_in_words_only(io_uring)
    assert 1 == io_uring.copy_cqe().user_data


def test_last():
    signal.raise_signal(signal.SIGCONT)
