"""The suite's own pytest plugin: its fixtures and marker wherever its tests run, and what it tells the harness.

pytest loads this module in every session of an environment that has it installed: it does not load the ring.
"""

import pytest

from conformance.fixtures import mode, ring
from conformance.modes import MODES
from harness.suites import Suite

__all__ = ["mode", "ring"]

SUITE = Suite(
    plugin=__name__,
    packages=("uring", "conformance"),
    modes=MODES,
    kernel_facts="conformance.features:features",
)


@pytest.hookimpl(optionalhook=True)  # guests have no such hook
def pytest_matrix_suite() -> Suite:
    """Tell the harness."""
    return SUITE


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "zig(title): the test of Zig's std.os.linux.IoUring that this one ports")
