"""The suite's own pytest plugin: its fixtures and marker wherever its tests run, and what it tells the harness.

pytest loads this module in every session of an environment that has it installed: it does not load the ring.
"""

from pathlib import Path
from typing import Literal

import pytest

from conformance.fixtures import mode, ring
from conformance.modes import MODES
from harness.diagnosis import Diagnosis
from harness.suites import Observation, Suite

__all__ = ["mode", "ring"]

HOME = Path(__file__).resolve().parent
SUITE = Suite(
    plugin=__name__,
    packages=("uring", "conformance"),
    modes=MODES,
    kernel_facts="conformance.features:features",
    capabilities="conformance.capabilities:stated",
    observation=Observation(
        file=HOME / "capabilities" / "observed.py",
        describe="conformance.capabilities.observed:described",
        observe="conformance.features:observe",
    ),
    recorded_markers=("zig",),
    known_issues=HOME / "known-issues.toml",
)


@pytest.hookimpl(optionalhook=True)  # guests have no such hook
def pytest_matrix_suite() -> Suite:
    """Tell the harness."""
    return SUITE


@pytest.hookimpl(optionalhook=True)
def pytest_matrix_diagnose(error: BaseException) -> Diagnosis | None:
    """Say whether something stands between a test and io_uring."""
    from conformance.diagnosis import diagnose  # noqa: PLC0415 - only where something was raised

    return diagnose(error)


@pytest.hookimpl(optionalhook=True)
def pytest_matrix_expected_side(module: str) -> Literal["left"] | None:
    """Say that the suite writes `expected == actual`, as Zig's tests have it."""
    return "left" if module.partition(".")[0] == __package__ else None


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and the files that tests were in before they had a folder of their own."""
    config.args = [_moved(argument, config.invocation_params.dir) for argument in config.args]
    config.addinivalue_line("markers", "capability: something that a kernel is seen to have or to lack, and no test")
    config.addinivalue_line("markers", "needs(*ids): the capabilities that the test needs beside its `symbols`")
    config.addinivalue_line("markers", "zig(title): the test of Zig's std.os.linux.IoUring that this one ports")


def _moved(argument: str, directory: Path) -> str:
    """Where a file of the suite is now: ids that were published go on to name their tests."""
    name, colons, test = argument.partition("::")
    path = directory / name
    now = HOME / "zig" / path.name
    is_old = path.suffix == ".py" and path.parent.resolve() == HOME and not path.exists() and now.exists()
    return f"{now}{colons}{test}" if is_old else argument
