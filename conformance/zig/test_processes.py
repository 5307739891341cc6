"""Processes: waiting for a child to end."""

from __future__ import annotations

import contextlib
import os
import warnings

import pytest

from conformance.fixtures import RingFactory
from conformance.zig.support import require_kernel
from uring import IORING_OP, siginfo_t

pytestmark = pytest.mark.group("Processes")


@pytest.mark.zig("waitid")
@pytest.mark.title("wait for a process")
@pytest.mark.symbols("IORING_OP_WAITID")
@pytest.mark.since("6.7")
def test_waitid(ring: RingFactory) -> None:
    """A child's end is waited for, and its pid and exit status come back.

    Zig: "waitid"
    """
    require_kernel("6.7", ring, IORING_OP.WAITID)
    io_uring = ring(16)

    with warnings.catch_warnings():
        # Python warns of locks that other threads may hold over a fork; this child takes none and runs nothing.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os._exit(7)

    try:
        siginfo = siginfo_t()
        io_uring.waitid(0, os.P_PID, pid, siginfo, os.WEXITED, 0)
        assert 1 == io_uring.submit()

        cqe_waitid = io_uring.copy_cqe()
        assert 0 == cqe_waitid.res
        assert pid == siginfo.pid
        assert 7 == siginfo.status
    finally:
        # The ring has collected the child unless something went wrong.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
