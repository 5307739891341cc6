"""The hooks that suites implement."""

from dataclasses import dataclass

import pytest

from harness.suites import Suite


@dataclass(frozen=True, slots=True)
class Front:
    """A command that starts pytest in its own way, and what stands where in it."""

    # In front: the command, with options of its own
    words: tuple[str, ...]
    # pytest's own options, as they were given behind `--`
    pytest_words: tuple[str, ...]
    # Of its own: how often each test was to be run
    repeat_words: tuple[str, ...] = ()


@pytest.hookspec
def pytest_matrix_suite() -> Suite:  # type: ignore[empty-body]
    """Register a suite with the harness: the plugin of its tests, its modes, what is sent into guests with it."""


@pytest.hookspec(firstresult=True)
def pytest_matrix_front(config: pytest.Config) -> Front | None:
    """Say how this session was started, if not as pytest: what repeats one of its cells is started in the same way."""
