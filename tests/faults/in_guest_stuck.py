"""Tests after which a guest does not answer any more: only the host's own clock ends them."""

import os
import signal
import time
from pathlib import Path


def test_stops_the_agent():
    os.kill(os.getppid(), signal.SIGSTOP)


def test_starves_everybody():
    """A busy loop that nothing on this CPU may interrupt but interrupts."""
    Path("/proc/sys/kernel/sched_rt_runtime_us").write_text("-1")
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(99))
    while True:
        pass


def test_last():
    time.sleep(0.1)
