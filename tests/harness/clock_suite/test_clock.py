"""Its tests."""

import importlib.util
import os
import sys
import time
import unittest

import pytest


def test_the_clock_goes_on(clock: int) -> None:
    before = time.clock_gettime_ns(clock)
    time.sleep(0.001)
    assert time.clock_gettime_ns(clock) - before >= 1_000_000


def test_each_mode_has_its_clock(clock: int, matrix_cell: object) -> None:
    assert (clock == time.CLOCK_BOOTTIME) == (getattr(matrix_cell, "mode", "") == "boottime")


def test_nobody_brought_io_uring() -> None:
    assert not {"uring", "conformance"} & set(sys.modules)
    if os.environ.get("URING_MATRIX_GUEST"):
        assert importlib.util.find_spec("uring") is None


@pytest.mark.since("5.1")
def test_skips() -> None:
    pytest.skip("as a suite may")


class Old(unittest.TestCase):
    def test_in_a_class(self) -> None:
        assert time.clock_gettime(time.CLOCK_BOOTTIME) > 0
