"""What is sent into a guest: our own code, and the folders of whatever tests were asked for."""

import importlib.util
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import _pytest
import iniconfig
import packaging
import pluggy
import py
import pygments
import pytest

import harness
from harness.suites import Suite, kernel_facts_of
from vm.image import Runtime, add_bytecode

# pytest and what it imports: the guest runs the host's own version.
_PYTEST_MODULES = (pytest, _pytest, pluggy, iniconfig, packaging, py, pygments)
# pytest draws in colour through pygments; nine tenths of that are languages and styles that nobody prints in a guest.
_PYGMENTS_LEXERS = frozenset({"__init__.py", "_mapping.py", "diff.py", "python.py"})
# What PID 1 imports before it says that it is ready.
PRELOAD = (
    "pytest",
    "ctypes",
    "tempfile",
    "socket",
    "struct",
    "_pytest.unittest",
    "_pytest.python",
    "_pytest.assertion.rewrite",
    # What pytest loads when it is configured and collects.
    "_pytest._argcomplete",
    "_pytest.helpconfig",
    "_pytest.skipping",
    "_pytest.threadexception",
    "_pytest.tracemalloc",
    "_pytest.unraisableexception",
    "_pytest.warnings",
    "encodings.unicode_escape",
    "faulthandler",
    "readline",
)
# The modules of ours that a guest needs beside the tests themselves.
_GUEST_MODULES = ("__init__", "cells", "facts", "fixtures", "suites", "unsupported")
# Settings of the host's pytest that decide what is collected and how strictly.
_INI_NAMES = (
    "python_files",
    "python_classes",
    "python_functions",
    "markers",
    "filterwarnings",
    "usefixtures",
    "xfail_strict",
)
_OPTION_NAMES = ("verbose", "tbstyle", "showlocals", "showcapture")
_SIZE_MAX_MIB = 32
_DISK_FIXTURE = b"scratch_ext4"
_PRECOMPILE = "import json, sys; from harness.guest.agent import precompile; precompile(json.loads(sys.argv[1]))"


@dataclass(frozen=True, slots=True)
class Payload:
    """Files for the guest, and what its pytest is to do with them."""

    # Path below the guest's working directory to the file here.
    files: Mapping[str, Path]
    # What to collect, as paths in the guest.
    paths: tuple[str, ...]
    ini: str
    options: Mapping[str, Any]
    # Modules that the guest's pytest loads as plugins, and functions that ask its kernel.
    plugins: tuple[str, ...] = ()
    kernel_facts: tuple[str, ...] = ()

    @property
    def needs_disk(self) -> bool:
        """Whether a test, or a conftest.py, names the fixture that wants one."""
        return any(
            _DISK_FIXTURE in path.read_bytes() for name, path in self.files.items() if not name.startswith("harness/")
        )

    def session(self, cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The agent's argument."""
        return {
            "paths": list(self.paths),
            "ini": self.ini,
            "options": dict(self.options),
            "cells": list(cells),
            "plugins": list(self.plugins),
            "kernel_facts": list(self.kernel_facts),
        }

    def prepare(self, runtime: Runtime, directory: Path) -> None:
        """Add bytecode: ours, and the tests' with their assertions rewritten, made by the guest's own pytest."""
        compile_only(runtime, directory)
        argument = json.dumps(self.session([]))
        runtime.run_python(["-c", _PRECOMPILE, argument], directory)


def trees() -> dict[str, Path]:
    """Module or package name to its file or directory, of pytest and all it needs."""
    return {module.__name__: _location(module.__file__) for module in _PYTEST_MODULES}


def is_wanted(name: str) -> bool:
    """Whether a guest needs this file of `trees`."""
    match name.split("/"):
        case ["pygments", "lexers", *rest]:
            return rest[-1] in _PYGMENTS_LEXERS
        case ["pygments", "styles" | "formatters", module]:
            return module in {"__init__.py", "_mapping.py", "terminal.py"}
    return True


def collect(config: pytest.Config, suites: Sequence[Suite]) -> Payload:
    """Gather what the command line's arguments need.

    Raises:
        pytest.UsageError: an argument cannot be found, lies outside every folder that can be sent, or is too large.
    """
    files = own_files(suites)
    paths: list[str] = []
    for argument in config.args:
        path = _resolve(argument, config)
        paths.append(guest_path(path, config.rootpath, suites))
        for file in _with_neighbours(path, config.rootpath):
            name = guest_path(file, config.rootpath, suites)
            if files.get(name, file) != file and files[name].read_bytes() != file.read_bytes():
                raise pytest.UsageError(f"{file} cannot be sent into a guest: {name} is {files[name]} there. Rename it")
            files[name] = file
    size_bytes = sum(file.stat().st_size for file in files.values())
    if size_bytes > _SIZE_MAX_MIB << 20:
        raise pytest.UsageError(
            f"{' '.join(config.args)}: {size_bytes >> 20} MiB of files; "
            f"at most {_SIZE_MAX_MIB} MiB can be sent into a guest. "
            "Name the folder of the tests only"
        )
    options = {name: config.getoption(name, None) for name in _OPTION_NAMES}
    return Payload(
        files,
        tuple(dict.fromkeys(paths)),
        _ini(config),
        {k: v for k, v in options.items() if v is not None},
        tuple(suite.plugin for suite in suites),
        tuple(kernel_facts_of(suites)),
    )


def guest_path(path: Path, root: Path, suites: Sequence[Suite]) -> str:
    """Where a file of the host lies below the guest's working directory."""
    for package in _packages(suites):
        if path.is_relative_to(package):
            return str(PurePosixPath(path.relative_to(package.parent)))
    if path == root:
        return "."
    if path.is_relative_to(root):
        return str(PurePosixPath(path.relative_to(root)))
    # A folder outside the root directory keeps its name; what is above it is nobody's business there.
    return str(PurePosixPath(*path.parts[-2:])) if path.is_file() else path.name


def own_files(suites: Sequence[Suite]) -> dict[str, Path]:
    """What every guest has: the guest's side of this room, and the packages of the suites."""
    home = _location(harness.__file__)
    files = {f"harness/{name}.py": home / f"{name}.py" for name in _GUEST_MODULES}
    for package in (home / "guest", *_packages(suites)):
        base = home.parent if package == home / "guest" else package.parent
        files |= {str(PurePosixPath(path.relative_to(base))): path for path in _files(package)}
    return files


def _packages(suites: Sequence[Suite]) -> list[Path]:
    """The folders of the suites' packages."""
    found = [importlib.util.find_spec(name) for suite in suites for name in suite.packages]
    return [_location(spec.origin) for spec in found if spec is not None]


def compile_only(runtime: Runtime, directory: Path) -> None:
    """Add bytecode to files that no pytest has to collect."""
    add_bytecode(runtime, [directory], root=directory.parent)


def _with_neighbours(path: Path, root: Path) -> Iterator[Path]:
    """A folder's files, or a file's folder's; and every conftest.py and __init__.py above."""
    if path.is_dir():
        yield from _files(path)
    else:
        yield from (file for file in sorted(path.parent.iterdir()) if file.is_file() and not file.name.startswith("."))
    for folder in path.parents:
        if not folder.is_relative_to(root):
            break
        yield from (file for name in ("conftest.py", "__init__.py") if (file := folder / name).is_file())


def _files(directory: Path) -> list[Path]:
    """Every file below a directory, but for caches and hidden things."""
    return sorted(
        path
        for path in directory.rglob("*")
        if path.is_file()
        and not any(part == "__pycache__" or part.startswith(".") for part in path.relative_to(directory).parts)
    )


def _resolve(argument: str, config: pytest.Config) -> Path:
    name = argument.partition("::")[0]
    if config.getoption("pyargs", False):
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            spec = None
        if spec is not None and spec.origin is not None:
            return _location(spec.origin)
    path = (config.invocation_params.dir / name).resolve()
    if not path.exists():
        raise pytest.UsageError(f"file or directory not found: {argument}")
    return path


def _location(file: str | None) -> Path:
    """A module's file, a package's folder."""
    if file is None:
        raise pytest.UsageError("a namespace package has no folder of its own to send")
    path = Path(file).resolve()
    return path.parent if path.name == "__init__.py" else path


def _ini(config: pytest.Config) -> str:
    """The host's settings, as a file for the guest's pytest."""
    lines = ["[pytest]"]
    for name in _INI_NAMES:
        value = config.getini(name)
        if isinstance(value, (list, tuple)):
            lines += [f"{name} ="] + [f"    {inspect.cleandoc(str(entry))}" for entry in value]
        else:
            lines.append(f"{name} = {str(value).lower()}")
    return "\n".join(lines) + "\n"
