"""The command that repeats one cell, to be pasted into a shell in the directory that the session ran in.

What it is made of: every option that a verdict may depend on, the test by its full name, the kernel by what names
exactly it. Options are left out by name; a new one is in it.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.cells import Cell, native_architecture
from harness.hookspecs import Front
from harness.invocation import HOST_ONLY, Owners, given_options, is_of_reporting
from reports.results import Kernel, kernel_spec

# Options that say which cells there are, where results go and how they look: the command says it in its own way.
_SAID_OTHERWISE = frozenset({
    "--kernel", "--arch", "--mode", "--matrix-out", "--matrix-resume", "--matrix-lock", "--matrix-repeat",
    "--matrix-deadline", "--no-snapshots", "--allow-flaky", "--until-failure", "--gdb",
    "--basetemp", "--capture", "-s", "--junit-xml", "--log-file", "--quiet", "--verbose", "--verbosity", "--tb",
    "--show-capture", "--showlocals", "--no-showlocals", "--full-trace",
})  # fmt: skip
# Of them, those that decide how many cells there are and where results go: in a configuration file they do so again.
_CELLS = frozenset({"--kernel", "--arch", "--mode", "--matrix-out", "--matrix-resume", "--matrix-lock"})
_PLACES = frozenset({"-c", "--rootdir"})
# By what pytest takes a folder for the root directory, looking from the test's up.
_MARKS = (
    *("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg"),
    "setup.py",
)


class Command:
    """Makes the command for each cell of a session."""

    def __init__(self, config: pytest.Config) -> None:
        self._directory = config.invocation_params.dir
        front: Front | None = config.hook.pytest_matrix_front(config=config)
        words = (
            front.pytest_words
            if front is not None
            else (*shlex.split(os.environ.get("PYTEST_ADDOPTS", "")), *map(os.fspath, config.invocation_params.args))
        )
        options = _kept(config, words)
        given = given_options(config, words)
        self._root, self._settings = config.rootpath, config.inipath
        self._has_places = front is not None or any(_PLACES.intersection(option.names) for option in given)
        in_file = config.getini("addopts") if front is None else []
        if any(_CELLS.intersection(option.names) for option in given_options(config, in_file)):
            options = ["-o", f"addopts={shlex.join(_kept(config, in_file))}", *options]
        # The variable would say it once more; its options are among ours.
        self._environment = "PYTEST_ADDOPTS= " if front is None and os.environ.get("PYTEST_ADDOPTS") else ""
        self._is_module = front is not None or bool(config.getoption("pyargs"))
        pyargs = ["--pyargs"] if self._is_module else []
        self._words = [*front.words] if front is not None else ["pytest", *options, *pyargs]
        self._repeats = front.repeat_words if front is not None else _repeats(config)
        # A file as the command names it, after what says where its settings are.
        self._files: dict[Path, tuple[list[str], str]] = {}
        # Behind the kernel.
        self._rest = ["--", *options, *pyargs] if front is not None else []

    def of(self, path: Path, name: str, cell: Cell, kernel: Kernel, *, is_flaky: bool = False) -> str:
        """The command for one cell.

        Args:
            path: the test's file.
            name: the test's id, without the cell.
            cell: its kernel, architecture and mode.
            kernel: the record of the kernel.
            is_flaky: whether it wavered: once may show nothing, then.
        """
        words = [*self._words, "--kernel", kernel_spec(kernel)]
        if cell.arch != native_architecture():
            words += ["--arch", cell.arch]
        if cell.mode != "default":
            words += ["--mode", cell.mode]
        if is_flaky:
            words += self._repeats
        if path not in self._files:
            places = [] if self._has_places or self._is_module else self._places(path)
            self._files[path] = places, self._file_name(path)
        places, file = self._files[path]
        _, colons, inner = name.partition("::")
        return self._environment + shlex.join([*words, *self._rest, *places, f"{file}{colons}{inner}"])

    def _places(self, path: Path) -> list[str]:
        """Say where the settings and the root directory are, if pytest would not find them for this test alone."""
        settings = self._settings.parent if self._settings is not None else self._root
        nearer = [folder for folder in path.parents if settings in folder.parents]
        is_found = settings in path.parents and not any((one / name).exists() for one in nearer for name in _MARKS)
        if is_found and (self._settings is not None or self._root == self._directory):
            return []
        file = ["-c", os.path.relpath(self._settings, self._directory)] if self._settings is not None else []
        return [*file, "--rootdir", os.path.relpath(self._root, self._directory)]

    def _file_name(self, path: Path) -> str:
        return (_module(path) if self._is_module else None) or os.path.relpath(path, self._directory)


def _module(path: Path) -> str | None:
    """The name by which Python finds a file."""
    folders = [Path(entry).resolve() for entry in sys.path if entry]
    above = [folder for folder in folders if path.is_relative_to(folder)]
    if not above:
        return None
    inner = path.relative_to(max(above, key=lambda folder: len(folder.parts)))
    return ".".join(inner.with_suffix("").parts)


def _repeats(config: pytest.Config) -> tuple[str, ...]:
    count: int = config.getoption("matrix_repeat")
    return (
        *((f"--matrix-repeat={count}",) if count > 1 else ()),
        *(("--until-failure",) if config.getoption("until_failure") else ()),
    )


def _kept(config: pytest.Config, words: Sequence[str]) -> list[str]:
    owners = Owners(config)
    return [
        word
        for option in given_options(config, words)
        if not (HOST_ONLY | _SAID_OTHERWISE).intersection(option.names)
        and not is_of_reporting(config, owners.options.get(option.name))
        for word in option.words
    ]
