"""Third-party packages for guests: taken from the host's environment, with everything they depend on.

Guests have pytest and Python's standard library. What else tests import, or what plugins they need, is named with
`--guest-package NAME`, by its distribution's name or by what one imports.
"""

import importlib.util
import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Of the suite that guests are made from (`vm.image`); what a package depends on may differ with it.
GUEST_PYTHON = "3.13"
# What guests have anyway: pytest and all it needs.
_THERE_ALREADY = frozenset(
    {"pytest", "pluggy", "iniconfig", "packaging", "pygments", "exceptiongroup", "tomli", "colorama"}
)
# `name.cpython-313-x86_64-linux-gnu.so`, `name.abi3.so`.
_EXTENSION = re.compile(r"\.(?P<tag>cpython-\d+|abi3)[\w.-]*\.so$")
_NOT_FOUND = re.compile(r"No module named '([\w.]+)'")
_UNWANTED_SUFFIXES = (".pyc", ".pyo")


@dataclass(frozen=True, slots=True)
class GuestPackages:
    """Packages that travel.

    Attributes:
        names: their distributions, canonical.
        files: path below the guest's folder for packages to the file here.
        extensions: extension modules among them, with the Python they are made for (`cpython-313`).
    """

    names: frozenset[str] = frozenset()
    files: Mapping[str, Path] = field(default_factory=dict)
    extensions: Mapping[str, str] = field(default_factory=dict)

    def check(self, python: str) -> None:
        """Refuse extension modules that the guest's Python cannot load.

        Args:
            python: the name of the guest's interpreter, `python3.13`.

        Raises:
            pytest.UsageError: there are some; they are named.
        """
        tag = "cpython-" + python.removeprefix("python").replace(".", "")
        for name, wanted in self.extensions.items():
            if wanted not in {tag, "abi3"}:
                raise pytest.UsageError(
                    f"{name} is made for {wanted}, and guests have {tag}: install this package and uring-matrix for "
                    f"{python} to send it into guests"
                )


def find(names: Iterable[str], python: str = GUEST_PYTHON) -> GuestPackages:
    """Find packages and what they depend on.

    Args:
        names: of distributions, or of modules.
        python: version of the guest's Python, `3.13`: dependencies may differ with it.

    Raises:
        pytest.UsageError: one is not installed here.
    """
    distributions: dict[str, metadata.Distribution] = {}
    files: dict[str, Path] = {}
    for name in names:
        distribution = _distribution(name)
        if distribution is None:
            files |= _module_files(name)
        else:
            _add_with_dependencies(distribution, python, distributions, f"--guest-package {name}")
    for distribution in distributions.values():
        files |= _files_of(distribution)
    extensions = {name: found["tag"] for name in files if (found := _EXTENSION.search(name)) is not None}
    return GuestPackages(frozenset(distributions), files, extensions)


def advice(text: str) -> str | None:
    """What to do about a module that a guest did not find, if that is what a text says.

    Args:
        text: an exception's message, or a traceback.
    """
    found = _NOT_FOUND.search(text)
    if found is None:
        return None
    module = found[1].partition(".")[0]
    if module.lstrip("_") in sys.stdlib_module_names or module in sys.stdlib_module_names:
        return f"{module} is a part of Python's standard library that guests do not have"
    owner = owner_of(module)
    return f"send it along with --guest-package {owner}" if owner is not None else None


def owner_of(module: str) -> str | None:
    """The distribution that a top-level module was installed with, if one was."""
    found = metadata.packages_distributions().get(module.partition(".")[0])
    return found[0] if found else None


def _distribution(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except (metadata.PackageNotFoundError, ValueError):
        owner = owner_of(name)
        return metadata.distribution(owner) if owner is not None else None


def _add_with_dependencies(
    distribution: metadata.Distribution, python: str, found: dict[str, metadata.Distribution], wanted_by: str
) -> None:
    name = canonicalize_name(distribution.metadata["Name"])
    if name in found or name in _THERE_ALREADY:
        return
    found[name] = distribution
    environment: dict[str, Any] = {
        **default_environment(),
        "python_version": python,
        "python_full_version": f"{python}.0",
        "extra": "",
    }
    for line in distribution.requires or ():
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate(environment):
            continue
        if canonicalize_name(requirement.name) in _THERE_ALREADY:
            continue
        try:
            needed = metadata.distribution(requirement.name)
        except metadata.PackageNotFoundError as error:
            raise pytest.UsageError(
                f"{wanted_by}: {distribution.metadata['Name']} needs {requirement.name} for Python {python}, which is "
                "not installed here"
            ) from error
        _add_with_dependencies(needed, python, found, wanted_by)


def _files_of(distribution: metadata.Distribution) -> dict[str, Path]:
    """The files of a distribution that Python can import, and its metadata: entry points make plugins of it."""
    files: dict[str, Path] = {}
    for file in distribution.files or ():
        path = Path(str(distribution.locate_file(file)))
        if ".." in file.parts or file.suffix in _UNWANTED_SUFFIXES or not path.is_file():
            continue  # scripts; bytecode; what was removed
        files[str(PurePosixPath(*file.parts))] = path
    if _is_editable(distribution):
        for module in _modules_of(distribution):
            files |= _module_files(module)
    return {name: path for name, path in files.items() if not name.endswith(".pth")}


def _is_editable(distribution: metadata.Distribution) -> bool:
    try:
        told = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return False
    return bool(told.get("dir_info", {}).get("editable"))


def _modules_of(distribution: metadata.Distribution) -> list[str]:
    told = distribution.read_text("top_level.txt")
    if told is not None:
        return told.split()
    name = canonicalize_name(distribution.metadata["Name"])
    return [
        module for module, owners in metadata.packages_distributions().items() if name in map(canonicalize_name, owners)
    ]


def _module_files(name: str) -> dict[str, Path]:
    """A module's file, or a package's folder, wherever Python finds it.

    Raises:
        pytest.UsageError: Python does not find it.
    """
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise pytest.UsageError(
            f"--guest-package {name}: neither a distribution nor a module of that name is installed here"
        )
    if spec.submodule_search_locations is None:
        if spec.origin is None or not Path(spec.origin).is_file():
            raise pytest.UsageError(
                f"--guest-package {name}: a part of Python itself, which guests have or cannot have"
            )
        return {Path(spec.origin).name: Path(spec.origin)}
    files: dict[str, Path] = {}
    for location in spec.submodule_search_locations:
        home = Path(location)
        files |= {
            str(PurePosixPath(name, path.relative_to(home))): path
            for path in sorted(home.rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts
        }
    return files
