"""The pytest plugin, an entry point: `--kernel`, `--arch`, `--mode`, `--matrix-out`, `--accel` and more.

pytest loads this module in every session of an environment that has it installed, so it imports little: what needs
kernels, guests or results comes in only when a session asks for it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from harness import fixtures, hookspecs, options
from harness.cells import HOST, Cell, native_architecture, parametrize
from harness.fixtures import loopback, matrix_cell, scratch, scratch_ext4
from harness.suites import ALL_MODES, DEFAULT_MODE, modes_of, named_modes

__all__ = ["loopback", "matrix_cell", "scratch", "scratch_ext4"]

CELLS = pytest.StashKey[Iterable[Cell]]()
# By mode, globs of what tests ask for and cannot have in it.
EXCLUDES = pytest.StashKey[Mapping[str, tuple[str, ...]]]()
# What suites have things collected from that no test is for.
OBSERVED_FILES = pytest.StashKey[frozenset[Path]]()

_CPUS_MAX = 64
_PORT_MAX = 65_535


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _count_of_cpus(text: str) -> int:
    count = _count(text)
    if count > _CPUS_MAX:
        raise argparse.ArgumentTypeError(f"{text} is more than the {_CPUS_MAX} processors a guest can have")
    return count


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > _PORT_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; a number up to {_PORT_MAX}, or 0 for any that is free")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def _directory(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it has to be a directory")
    return text


def _file(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it has to be a file")
    return text


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Let suites register themselves."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("uring-matrix", "run tests inside real Linux kernels")
    group.addoption(
        "--kernel",
        action="append",
        default=[],
        metavar="SPEC",
        help="run every test in this kernel: a series (6.1), package version, uname release, glob, all, latest, a path "
        "(bzImage, .deb, build tree), a distribution (debian12), or host (this machine's, in process); may be given "
        "several times",
    )
    group.addoption(
        "--arch",
        action="append",
        default=[],
        metavar="ARCH",
        help="the guests' architecture, as Debian names it; as yet there is amd64 only",
    )
    group.addoption(
        "--mode",
        action="append",
        default=[],
        metavar="MODE",
        help=f"a way to run each test that a suite offers, a ring mode say, or {ALL_MODES}; may be given several times "
        f"(default: {DEFAULT_MODE.id})",
    )
    group.addoption(
        "--matrix-out",
        type=_directory,
        metavar="DIR",
        help="write results.json and the guests' consoles to this directory",
    )
    group.addoption("--matrix-resume", action="store_true", help="go on with the run that was stopped in --matrix-out")
    group.addoption(
        "--matrix-lock", type=_file, metavar="FILE", help="use exactly the kernels that this kernels.lock pins"
    )
    group.addoption(
        "--guest-package",
        action="append",
        default=[],
        metavar="NAME",
        help="send an installed package into guests, with all it depends on; may be given several times",
    )
    group.addoption(
        "--guest-env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="set an environment variable in guests, to the value it has here or another; may be given several times",
    )
    group.addoption(
        "--no-snapshots",
        action="store_true",
        help="boot every guest anew instead of restoring one that was saved when it had booted; not about host",
    )
    group.addoption(
        "--accel",
        choices=("auto", "kvm", "tcg"),
        help="how guests run (auto: KVM if it proves to work); not about host",
    )
    group.addoption(
        "--guest-cpus",
        type=_count_of_cpus,
        metavar="N",
        help="give each guest so many processors (default: 1)",
    )
    group.addoption(
        "--guest-memory",
        type=_count,
        metavar="MIB",
        help="give each guest so much memory (default: what its image needs, 256 or more)",
    )
    group.addoption(
        "--guest-append",
        action="append",
        default=[],
        metavar="PARAMETERS",
        help="start the guests' kernels with these parameters as well; may be given several times",
    )
    group.addoption(
        "--guest-gdb",
        type=_port,
        metavar="PORT",
        help="have the guest of one kernel wait for gdb at this port of 127.0.0.1 (0: any free one), without deadlines",
    )
    group.addoption(
        "--known-issues",
        action="append",
        default=[],
        type=_file,
        metavar="FILE",
        help="read from this TOML file which tests are known not to pass on which kernels: shown, and no failure; may "
        "be given several times",
    )
    group.addoption("--isolate", action="store_true", help="give each test a guest of its own; not about host")
    group.addoption(
        "--matrix-repeat", type=_count, default=1, metavar="N", help="run each test N times, to find those that waver"
    )
    group.addoption(
        "--until-failure",
        action="store_true",
        help=f"stop repeating a test when it fails; with --matrix-repeat, or up to {options.UNTIL_FAILURE_MAX:,} times",
    )
    group.addoption(
        "--allow-flaky",
        action="store_true",
        help="let a test pass whose last attempt was good; it is marked as flaky either way",
    )
    group.addoption(
        "--matrix-test-timeout",
        type=_seconds,
        metavar="SECONDS",
        help="how long a test may take in a guest, exactly (default: 90, and up to three times that where guests "
        "are slow); not about host",
    )
    group.addoption(
        "--matrix-deadline",
        type=_seconds,
        metavar="SECONDS",
        help="begin no test after so many seconds (default: no limit)",
    )


@pytest.hookimpl(trylast=True)  # by then --collect-only, -n and the like have been settled
def pytest_configure(config: pytest.Config) -> None:
    """Prepare kernels and guests, if this session asks for any."""
    fixtures.pytest_configure(config)
    suites = config.hook.pytest_matrix_suite()
    config.stash[OBSERVED_FILES] = frozenset(one.observation.file for one in suites if one.observation is not None)
    known = modes_of(suites)
    try:
        modes = named_modes(config.getoption("mode"), known)
    except KeyError as error:
        raise pytest.UsageError(f"no mode is called {error}; there are {', '.join([*known, ALL_MODES])}") from error
    config.stash[EXCLUDES] = {name: known[name].excludes for name in modes if known[name].excludes}
    notes = options.check(config)
    if options.names_kernels(config) and not options.wants_no_session(config):
        from harness import markers, packed_reports  # noqa: PLC0415
        from harness.session import Session  # noqa: PLC0415

        config.pluginmanager.register(markers, "uring-matrix-markers")
        config.pluginmanager.register(packed_reports, "uring-matrix-packed-reports")
        session = Session.create(config, modes, suites, notes)
        config.stash[CELLS] = session.cells
        config.pluginmanager.register(session, "uring-matrix-session")
    else:
        config.stash[CELLS] = [Cell(HOST, native_architecture(), name) for name in modes]


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect what suites observe without a test for each."""
    if file_path not in parent.config.stash[OBSERVED_FILES]:
        return None
    from harness.observed import file_of  # noqa: PLC0415 - few sessions have one

    return file_of(file_path, parent, parent.config.hook.pytest_matrix_suite())


@pytest.hookimpl(tryfirst=True)  # before pytest lets parts of names choose
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests that a mode cannot have, and let `-k` choose what is observed by whole names only."""
    if config.stash[EXCLUDES]:
        from harness.excluded import leave_out  # noqa: PLC0415 - the default mode has every test

        leave_out(config, items, config.stash[EXCLUDES])
    expression = config.getoption("keyword")
    if not expression or not config.stash[OBSERVED_FILES]:
        return
    from harness.observed import unchosen  # noqa: PLC0415 - few sessions have any

    if dropped := unchosen(items, expression):
        config.hook.pytest_deselected(items=dropped)
        left_out = set(dropped)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(tryfirst=True)  # so that the kernel stands first in the id
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one item per cell: of every test when kernels are named, else of those that ask for their cell."""
    config = metafunc.config
    if (
        config.pluginmanager.has_plugin("uring-matrix-session")
        or config.getoption("mode")
        or "matrix_cell" in metafunc.fixturenames
    ):
        parametrize(metafunc, config.stash[CELLS])
