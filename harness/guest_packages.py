"""Third-party packages for guests: taken from the host's environment, with everything they depend on.

Guests have pytest and Python's standard library. What else tests import, or what plugins they need, is named with
`--guest-package NAME`, by its distribution's name or by what one imports.
"""

import hashlib
import importlib.util
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from vm.cache import Cache
from vm.progress import Progress

# Of the suite that guests are made from (`vm.image`); what a package depends on may differ with it.
GUEST_PYTHON = "3.13"
# Its C library is 2.41.
_GLIBC_MINOR = 41
# What guests have anyway: pytest and all it needs.
_THERE_ALREADY = frozenset(
    {"pytest", "pluggy", "iniconfig", "packaging", "pygments", "exceptiongroup", "tomli", "colorama"}
)
# `name.cpython-313-x86_64-linux-gnu.so`, `name.abi3.so`.
_EXTENSION = re.compile(r"\.(?P<tag>cpython-\d+|abi3)[\w.-]*\.so$")
_NOT_FOUND = re.compile(r"No module named '([\w.]+)'")
_UNWANTED_SUFFIXES = (".pyc", ".pyo")


@dataclass(frozen=True, slots=True)
class GuestPackage:
    """A distribution that travels, or a module without one."""

    # Canonical; the version is empty for a module without a distribution.
    name: str
    version: str
    # Path below the guest's folder for packages to the file here.
    files: Mapping[str, Path]

    def misfits(self, tag: str) -> list[str]:
        """Extension modules that are made for another Python than the guest's.

        Args:
            tag: of the guest's Python, `cpython-313`.
        """
        found = [(name, _EXTENSION.search(name)) for name in self.files]
        return [name for name, match in found if match is not None and match["tag"] not in {tag, "abi3"}]


@dataclass(frozen=True, slots=True)
class GuestPackages:
    """Everything that was named, with what it depends on."""

    packages: tuple[GuestPackage, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """The distributions' names, canonical."""
        return frozenset(package.name for package in self.packages)

    @property
    def files(self) -> dict[str, Path]:
        """Path below the guest's folder for packages to the file here."""
        return {name: path for package in self.packages for name, path in package.files.items()}

    def fitted(
        self, python: str, machine: str, cache: Cache, *, is_offline: bool, progress: Progress
    ) -> "GuestPackages":
        """The same, with extension modules for the guest's Python: those of the same version's wheel, fetched by pip.

        Args:
            python: the name of the guest's interpreter, `python3.13`.
            machine: the guest's, as `uname -m` says it.
            cache: where wheels are kept.
            is_offline: whether nothing may be fetched.
            progress: told what is fetched.

        Raises:
            pytest.UsageError: there is no such wheel to be had.
        """
        version = python.removeprefix("python")
        if version != GUEST_PYTHON:
            raise pytest.UsageError(
                f"guests have {python}, and packages are chosen for {GUEST_PYTHON}: a mistake of ours"
            )
        tag = f"cpython-{version.replace('.', '')}"
        fitted: list[GuestPackage] = []
        for package in self.packages:
            misfits = package.misfits(tag)
            if misfits:
                what = (
                    f"{misfits[0]} of {package.name} {package.version} here is not made for {python}, which guests have"
                )
                if not package.version or (is_offline and not _is_cached(package, tag, machine, cache)):
                    raise pytest.UsageError(f"{what}; run uring-matrix with {python}, or once with the network")
                files = _wheel(package, version, tag, machine, cache, progress, what)
                fitted.append(GuestPackage(package.name, package.version, files))
            else:
                fitted.append(package)
        return GuestPackages(tuple(fitted))


def _wheel_key(package: GuestPackage, tag: str, machine: str) -> str:
    return hashlib.sha256(f"{package.name} {package.version} {tag} {machine}".encode()).hexdigest()


def _is_cached(package: GuestPackage, tag: str, machine: str, cache: Cache) -> bool:
    return _wheel_key(package, tag, machine) in cache.keys("wheel")


def _wheel(
    package: GuestPackage, version: str, tag: str, machine: str, cache: Cache, progress: Progress, what: str
) -> dict[str, Path]:
    """The files of a distribution's wheel for the guest's Python."""
    number = version.replace(".", "")

    def build(directory: Path) -> Mapping[str, object]:
        platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(_GLIBC_MINOR, 4, -1)]
        platforms += [f"manylinux{name}_{machine}" for name in ("2014", "2010", "1")]
        with cache.temporary() as workspace, progress.stage(f"fetching {package.name} for Python {version}"):
            command = [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"),
                *("--no-deps", "--only-binary=:all:", f"--python-version={version}", "--implementation=cp"),
                *(f"--abi={abi}" for abi in (f"cp{number}", "abi3", "none")),
                *(f"--platform={platform}" for platform in (*platforms, "any")),
                *(f"--dest={workspace}", f"{package.name}=={package.version}"),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            wheels = list(workspace.glob("*.whl"))
            if done.returncode != 0 or len(wheels) != 1:
                said = done.stderr.strip().rpartition("\n")[2]
                raise pytest.UsageError(f"{what}, and pip finds no wheel of it that is: {said}")
            with zipfile.ZipFile(wheels[0]) as wheel:
                wheel.extractall(directory / "files")
        return {"wheel": wheels[0].name}

    home = cache.get_or_build("wheel", _wheel_key(package, tag, machine), build).directory / "files"
    return {str(PurePosixPath(path.relative_to(home))): path for path in sorted(home.rglob("*")) if path.is_file()}


def find(names: Iterable[str], python: str = GUEST_PYTHON) -> GuestPackages:
    """Find packages and what they depend on.

    Args:
        names: of distributions, or of modules.
        python: version of the guest's Python, `3.13`: dependencies may differ with it.

    Raises:
        pytest.UsageError: one is not installed here.
    """
    distributions: dict[str, metadata.Distribution] = {}
    packages: list[GuestPackage] = []
    for name in names:
        distribution = _distribution(name)
        if distribution is None:
            packages.append(GuestPackage(name, "", _module_files(name)))
        else:
            _add_with_dependencies(distribution, python, distributions, f"--guest-package {name}")
    packages += [GuestPackage(name, found.version, _files_of(found)) for name, found in distributions.items()]
    return GuestPackages(tuple(packages))


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
