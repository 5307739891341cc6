"""The hooks that suites implement."""

import pytest

from harness.suites import Suite


@pytest.hookspec
def pytest_matrix_suite() -> Suite:  # type: ignore[empty-body]
    """Register a suite with the harness: the plugin of its tests, its modes, what is sent into guests with it."""
