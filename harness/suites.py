"""What a suite brings to the harness: the plugin of its tests, the modes they run in, what it asks a kernel.

A suite registers itself with a hook, in a plugin of its own:

    @pytest.hookimpl(optionalhook=True)  # guests have no such hook
    def pytest_matrix_suite() -> Suite:
        return Suite(plugin=__name__, packages=("mine",))
"""

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast


@dataclass(frozen=True, slots=True)
class Mode:
    """One way to run every test: a dimension of cells beside kernel and architecture."""

    id: str
    # What the mode sets, as a reader would look it up; results show it.
    flag_names: tuple[str, ...] = ()
    # The first kernel that has it.
    since: str | None = None
    # Globs of what tests ask for (their `symbols`) and cannot have in this mode: those tests have no cell in it.
    excludes: tuple[str, ...] = ()


DEFAULT_MODE = Mode("default")
# What stands for every mode there is, where modes are named.
ALL_MODES = "all"


@dataclass(frozen=True, slots=True)
class Observation:
    """What a suite observes of a kernel in one go: a cell for each thing, in the default mode, and no test."""

    # pytest collects them from it: ids begin with its path.
    file: Path
    # `module:function` of a function without arguments, called on this machine: yields of each thing, in the order in
    # which they are to be observed, `id`, `function` (what observes it, for its source) and what results show: `kind`,
    # `title`, `symbols`, `group`, `doc`, `since`, `detect`, `number`, `documented`.
    describe: str
    # `module:function` of a function that takes a list of ids, called where a kernel runs: yields for each, in the
    # list's order, `state` (`has`, `lacks`, `off`, `not-determinable`), `evidence` (a sentence), and where there are
    # any `claimed`, `value`, and `ended` (`died`, `hung`), if whoever observed it did not live to tell.
    observe: str


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite, as it registers itself."""

    # The module that guests' pytest loads as a plugin: fixtures, markers.
    plugin: str
    # Top-level packages that are sent into every guest, whole.
    packages: tuple[str, ...] = ()
    # By id. `default`, which sets nothing, is always there.
    modes: Mapping[str, Mode] = field(default_factory=dict)
    # `module:function` of a function without arguments, called where a kernel runs: what it says of itself.
    kernel_facts: str | None = None
    # `module:function` of a function without arguments, called on this machine: what to look for in the lists among
    # those facts, as the arguments of `reports.results.Capability`.
    capabilities: str | None = None
    # What it observes beside its tests.
    observation: Observation | None = None
    # Markers whose argument results record with a test, under the marker's name; the first one that a test has is its
    # kind.
    recorded_markers: tuple[str, ...] = ()
    # A file of what is known not to pass, as `--known-issues` takes it.
    known_issues: Path | None = None


def modes_of(suites: Iterable[Suite]) -> dict[str, Mode]:
    """Every mode there is, by id."""
    modes = {DEFAULT_MODE.id: DEFAULT_MODE}
    for suite in suites:
        modes |= suite.modes
    return modes


def named_modes(names: Iterable[str], known: Mapping[str, Mode]) -> list[str]:
    """Modes as they were asked for, each once, in that order; the default one if none was.

    Args:
        names: ids, or `all`.
        known: every mode there is.

    Raises:
        KeyError: there is no such mode.
    """
    ids = [one for name in names for one in (known if name == ALL_MODES else [known[name].id])]
    return list(dict.fromkeys(ids)) or [DEFAULT_MODE.id]


def kernel_facts_of(suites: Iterable[Suite]) -> list[str]:
    """What each suite asks a kernel with."""
    return [suite.kernel_facts for suite in suites if suite.kernel_facts is not None]


def capabilities_of(suites: Iterable[Suite]) -> list[dict[str, Any]]:
    """Everything that the suites know to look for."""
    return [one for suite in suites if suite.capabilities is not None for one in load(suite.capabilities)()]


def facts_of_kernel(functions: Iterable[str]) -> dict[str, Any]:
    """Ask the running kernel.

    Args:
        functions: `Suite.kernel_facts` of each suite.
    """
    facts: dict[str, Any] = {}
    for name in functions:
        facts |= cast(Mapping[str, Any], load(name)())
    return facts


def load(name: str) -> Callable[..., Any]:
    """Import a `module:function` of a suite's."""
    module, _, function = name.partition(":")
    return cast(Callable[..., Any], getattr(importlib.import_module(module), function))
