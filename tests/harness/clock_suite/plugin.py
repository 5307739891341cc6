"""How it registers itself: two modes, and a fact about a kernel."""

import sys
import time
from typing import Any

import pytest

from harness.cells import Cell
from harness.suites import Mode, Suite

CLOCKS = {"default": time.CLOCK_MONOTONIC, "boottime": time.CLOCK_BOOTTIME}


def facts() -> dict[str, Any]:
    return {"resolution_s": time.clock_getres(time.CLOCK_MONOTONIC)}


@pytest.hookimpl(optionalhook=True)
def pytest_matrix_suite() -> Suite:
    modes = {name: Mode(name, (f"clock {clock}",)) for name, clock in CLOCKS.items()}
    return Suite(__name__, ("clock_suite",), modes, f"{__name__}:facts")


@pytest.fixture(scope="session")
def clock(matrix_cell: Cell) -> int:
    return CLOCKS[matrix_cell.mode]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(f"io_uring here: {'uring' in sys.modules or 'conformance' in sys.modules}")
