"""What is sent into a guest: our own code, and the folders of whatever tests were asked for."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

import _pytest
import iniconfig
import packaging
import pluggy
import py
import pygments
import pytest
from _pytest.config import default_plugins

import harness
from harness.guest_packages import GuestPackages, find
from harness.invocation import Invocation, plugin_files, read
from harness.source_tree import (
    SourceTree,
    argument_path,
    files_of,
    package_folders,
    refuse_namesakes,
    with_packages,
)
from harness.suites import Suite, kernel_facts_of
from vm.image import Runtime
from vm.settings import Settings, has_table

# pytest and what it imports: the guest runs the host's own version.
_PYTEST_MODULES = (pytest, _pytest, pluggy, iniconfig, packaging, py, pygments)
# Plugins ask which version of these they have.
_PYTEST_DISTRIBUTIONS = ("pytest", "pluggy", "iniconfig", "packaging")
# pytest draws in colour through pygments; nine tenths of that are languages and styles that nobody prints in a guest.
_PYGMENTS_LEXERS = frozenset({"__init__.py", "_mapping.py", "diff.py", "python.py"})
# What PID 1 imports before it says that it is ready.
PRELOAD = (
    "pytest",
    "ctypes",
    "tempfile",
    "socket",
    "struct",
    "_pytest.assertion.rewrite",
    # What pytest loads when it is configured and collects.
    "_pytest._argcomplete",
    "_pytest.tracemalloc",
    *(f"_pytest.{name}" for name in default_plugins),
    "encodings.unicode_escape",
    "packaging.version",
    "pdb",
    "readline",
    "tomllib",
)
# The modules of ours that a guest needs beside the tests themselves.
_GUEST_MODULES = (
    "__init__",
    "cells",
    "comparisons",
    "diagnosis",
    "facts",
    "fixtures",
    "passed",
    "report_attributes",
    "suites",
    "unsupported",
)
_DISK_FIXTURE = b"scratch_ext4"
_PRECOMPILE = "import json, sys; from harness.guest.agent import precompile; precompile(json.loads(sys.argv[1]))"


@dataclass(frozen=True, slots=True)
class Payload:
    """Files for the guest, and what its pytest is to do with them."""

    # Path below the guest's root directory to the file here.
    files: Mapping[str, Path]
    invocation: Invocation
    packages: GuestPackages
    # Modules that the guest's pytest loads as plugins, and functions that ask its kernel.
    plugins: tuple[str, ...]
    kernel_facts: tuple[str, ...]
    # For the tests, beside pytest's own.
    environment: Mapping[str, str]
    # Whether pytest calls a hook for each assertion that holds.
    has_pass_hook: bool = False

    @property
    def disk_users(self) -> tuple[str, ...]:
        """The modules that name the fixture which wants a disk, as guests call them."""
        return tuple(
            name
            for name, path in self.files.items()
            if not name.startswith("harness/")
            and name.endswith(".py")
            and path.is_file()
            and _DISK_FIXTURE in path.read_bytes()
        )

    def session(self) -> dict[str, Any]:
        """The agent's argument, but for the cells and for the files that items are wanted from."""
        return {
            **asdict(self.invocation),
            "environment": {**self.invocation.environment, **self.environment},
            "plugins": list(self.plugins),
            "kernel_facts": list(self.kernel_facts),
        }

    @property
    def recipe(self) -> str:
        """What shapes the bytecode, beside the files: which of them are collected, and how."""
        return json.dumps([self.invocation.paths, self.invocation.configuration, self.has_pass_hook])

    def prepare(self, runtime: Runtime, directory: Path, stale: Sequence[Path] | None) -> None:
        """Add the tests' bytecode with their assertions rewritten, made by the guest's own pytest.

        Args:
            runtime: what guests have.
            directory: where the files are.
            stale: bytecode of modules that were edited, if all other bytecode is there.
        """
        if stale is None:
            runtime.run_python(["-c", _PRECOMPILE, json.dumps(self.session())], directory)
        elif tests := [str(path) for path in stale if "-pytest-" in path.name]:
            program = str(_location(harness.__file__) / "guest" / "rewriting.py")
            runtime.run_python(["-P", program, json.dumps([tests, self.has_pass_hook])], directory)


def trees() -> dict[str, Path]:
    """Module or package name to its file or directory, of pytest and all it needs."""
    found = {module.__name__: _location(module.__file__) for module in _PYTEST_MODULES}
    for name in _PYTEST_DISTRIBUTIONS:
        folder = Path(str(metadata.distribution(name).locate_file(""))) / f"{name}-{metadata.version(name)}.dist-info"
        if folder.is_dir():
            found[folder.name] = folder
    return found


def is_wanted(name: str) -> bool:
    """Whether a guest needs this file of `trees`."""
    match name.split("/"):
        case [folder, *rest] if folder.endswith(".dist-info"):
            return rest == ["METADATA"]
        case ["pygments", "lexers", *rest]:
            return rest[-1] in _PYGMENTS_LEXERS
        case ["pygments", "styles" | "formatters", module]:
            return module in {"__init__.py", "_mapping.py", "terminal.py"}
    return True


def collect(config: pytest.Config, suites: Sequence[Suite], settings: Settings) -> Payload:
    """Gather what the command line's arguments need.

    Raises:
        pytest.UsageError: an argument cannot be found, or something cannot be sent into a guest.
    """
    refuse_namesakes(config.rootpath)
    packages = find(settings.packages)
    return Payload(
        files_of_session(config, suites),
        read(config, source_tree(config, suites), _named(config), packages.names),
        packages,
        tuple(suite.plugin for suite in suites),
        tuple(kernel_facts_of(suites)),
        _environment(settings.env),
        bool(config.getini("enable_assertion_pass_hook")),
    )


def load_settings(config: pytest.Config) -> Settings:
    """The settings of the project: of the current directory's, else of the root directory's.

    Raises:
        SettingsError: one cannot be meant.
    """
    given = {
        "accel": config.getoption("accel"),
        "packages": config.getoption("guest_package"),
        "env": config.getoption("guest_env"),
        "known-issues": config.getoption("known_issues"),
    }
    places = (config.invocation_params.dir, config.rootpath)
    return Settings.load(given, directory=next(filter(has_table, places), places[0]))


def files_of_session(config: pytest.Config, suites: Sequence[Suite]) -> dict[str, Path]:
    """Everything that tests may read: their tree, and what every guest has.

    Raises:
        pytest.UsageError: an argument cannot be found, or two files would have one name.
    """
    out: str | None = config.getoption("matrix_out")
    unwanted = (config.invocation_params.dir / out).resolve() if out is not None else None
    tree = source_tree(config, suites)
    files = files_of(tree, _named(config), config.inipath, unwanted, plugin_files(config, tree))
    return with_packages(files, own_files(suites))


def _named(config: pytest.Config) -> list[Path]:
    return [_resolve(argument, config) for argument in config.args]


def source_tree(config: pytest.Config, suites: Sequence[Suite]) -> SourceTree:
    """Where the session's files lie in guests."""
    return SourceTree(config.rootpath, package_folders(suites))


def _environment(wanted: Iterable[str]) -> dict[str, str]:
    """Variables for the tests.

    Args:
        wanted: `NAME`, which takes the value that it has here, or `NAME=VALUE`.

    Raises:
        pytest.UsageError: one is not set here, or has no name.
    """
    found: dict[str, str] = {}
    for word in wanted:
        name, is_given, value = word.partition("=")
        if not name or "\0" in word:
            raise pytest.UsageError(f"--guest-env {word!r}: expected NAME or NAME=VALUE")
        if not is_given and name not in os.environ:
            raise pytest.UsageError(f"--guest-env {name}: it is not set here; set it, or give its value: {name}=VALUE")
        found[name] = value if is_given else os.environ[name]
    return found


def own_files(suites: Sequence[Suite]) -> dict[str, Path]:
    """What every guest has: the guest's side of this room, and the packages of the suites."""
    home = _location(harness.__file__)
    files = {f"harness/{name}.py": home / f"{name}.py" for name in _GUEST_MODULES}
    for package in (home / "guest", *package_folders(suites)):
        base = home.parent if package == home / "guest" else package.parent
        files |= {str(PurePosixPath(path.relative_to(base))): path for path in _files(package)}
    return files


def _files(directory: Path) -> list[Path]:
    """Every file below a directory, but for caches and hidden things."""
    return sorted(
        path
        for path in directory.rglob("*")
        if path.is_file()
        and not any(part == "__pycache__" or part.startswith(".") for part in path.relative_to(directory).parts)
    )


def _resolve(argument: str, config: pytest.Config) -> Path:
    path = argument_path(config, argument)
    if not path.exists():
        raise pytest.UsageError(f"file or directory not found: {argument}")
    return path


def _location(file: str | None) -> Path:
    """A module's file, a package's folder."""
    if file is None:
        raise pytest.UsageError("a namespace package has no folder of its own to send")
    path = Path(file).resolve()
    return path.parent if path.name == "__init__.py" else path
