"""The tests' tree on the host: which files travel into guests, and what each is called there.

The root directory travels whole, for tests find data and helpers beside themselves; but for what programs made that can
be made again (environments, caches, version control's own files, results of ours).
"""

import importlib.util
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from harness.report_attributes import JOURNAL_NAME
from harness.suites import Suite
from vm.guest.init import WORK_PATH

_OUR_PACKAGES = ("conformance", "harness", "reports", "uring", "uring_matrix", "vm")
# Where it lies in guests.
GUEST_ROOT = PurePosixPath(WORK_PATH)
# Where pytest lies there, and here.
_GUEST_PACKAGES = PurePosixPath("/usr/lib/python3/dist-packages")
_HOST_PACKAGES = Path(pytest.__file__).parents[1]
# Folders that no test is about, wherever they are.
_UNWANTED_NAMES = frozenset({".git", ".hg", ".svn", ".bzr", ".jj", ".tox", ".nox", "__pycache__", "node_modules"})
# A folder with one of these in it is a cache (bford.info/cachedir), a virtual environment, or results of ours.
_UNWANTED_IF_CONTAINED = ("CACHEDIR.TAG", "pyvenv.cfg", JOURNAL_NAME)
# A root directory without a configuration file may be anything, a home directory say: beyond this much of it only the
# folders that were named travel.
_UNMARKED_FILES_MAX, _UNMARKED_BYTES_MAX = 2_000, 64 << 20
_ROOT_MARKS = ("pyproject.toml", "setup.py", "setup.cfg", "pytest.ini", "tox.ini", ".git", ".hg")


@dataclass(frozen=True, slots=True)
class SourceTree:
    """Where paths of the host lie below the guest's working directory.

    Attributes:
        root: pytest's root directory.
        packages: folders of packages that lie at the top in a guest, wherever they are here.
    """

    root: Path
    packages: Sequence[Path] = ()

    def guest_path(self, path: Path) -> str:
        """What a path of the host is called in a guest, relative to the working directory there."""
        for package in self.packages:
            if path.is_relative_to(package):
                return str(PurePosixPath(path.relative_to(package.parent)))
        if path.is_relative_to(self.root):
            return str(PurePosixPath(path.relative_to(self.root)))
        # What lies outside keeps its name; what is above it is nobody's business there.
        return str(PurePosixPath(*path.parts[-2:])) if path.is_file() else path.name

    def host_path(self, path: str) -> str:
        """What an absolute path of a guest is called here."""
        if path.startswith(f"{_GUEST_PACKAGES}/"):
            return str(_HOST_PACKAGES / PurePosixPath(path).relative_to(_GUEST_PACKAGES))
        if not path.startswith(f"{GUEST_ROOT}/"):
            return path
        name = PurePosixPath(path).relative_to(GUEST_ROOT)
        package = next((folder for folder in self.packages if name.parts[:1] == (folder.name,)), None)
        return str((package.parent if package is not None else self.root) / name)

    def is_within(self, path: Path) -> bool:
        """Whether a path has a place in guests without having been named."""
        return path.is_relative_to(self.root) or any(path.is_relative_to(package) for package in self.packages)


def package_folders(suites: Iterable[Suite]) -> list[Path]:
    """The folders of the suites' packages."""
    specs = [importlib.util.find_spec(name) for suite in suites for name in suite.packages]
    return [_location(spec.origin) for spec in specs if spec is not None and spec.origin is not None]


def argument_path(config: pytest.Config, argument: str) -> Path:
    """Where a file, folder or module of the command line lies, or would."""
    name = argument.partition("::")[0]
    if config.getoption("pyargs", False):
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            spec = None
        if spec is not None and spec.origin is not None:
            return _location(spec.origin)
    return Path(os.path.normpath(config.invocation_params.dir / name))


def _location(file: str) -> Path:
    """A module's file, a package's folder."""
    path = Path(file).resolve()
    return path.parent if path.name == "__init__.py" else path


def refuse_namesakes(root: Path) -> None:
    """Refuse a project whose own packages are called like ours, which are loaded already: it could not import them.

    Raises:
        pytest.UsageError: there is one; it is named.
    """
    ours = Path(__file__).parents[1]
    for name in _OUR_PACKAGES:
        if (root / name / "__init__.py").is_file() and not (root / name).samefile(ours / name):
            raise pytest.UsageError(
                f"{root / name} is called like a package of uring-matrix, so that `import {name}` finds that one. "
                "Rename the folder, or put it below another one that pythonpath names and import it by that path"
            )


def files_of(
    tree: SourceTree,
    named: Sequence[Path],
    configuration: Path | None,
    unwanted: Path | None,
    plugins: Sequence[Path] = (),
) -> dict[str, Path]:
    """Everything that travels.

    Args:
        tree: the root directory, and the packages that are sent anyway.
        named: files and folders of the command line.
        configuration: pytest's configuration file, if there is one.
        unwanted: a folder to leave out, the results of this very run.
        plugins: files of plugins that guests load, which lie in the tree, whether tests of it were named or not.

    Returns:
        Guest path to the file, symbolic link or empty folder here.

    Raises:
        pytest.UsageError: two different files would have one name in a guest.
    """
    found: dict[str, Path] = {}
    for folder in _folders(tree, named, configuration, plugins):
        for path in walk(folder, unwanted):
            name = tree.guest_path(path)
            if found.get(name, path) != path and not _is_same(found[name], path):
                raise pytest.UsageError(f"{path} cannot be sent into a guest: {name} is {found[name]} there. Rename it")
            found[name] = _content_of(path, tree.root)
    return found


def _folders(
    tree: SourceTree, named: Sequence[Path], configuration: Path | None, plugins: Sequence[Path]
) -> Iterator[Path]:
    others = _outside(tree.packages, named)
    if configuration is not None:
        yield configuration
    if any(path.is_relative_to(tree.root) for path in others) and (
        any((tree.root / name).exists() for name in _ROOT_MARKS) or not _is_large(tree.root)
    ):
        yield tree.root
    # What was named travels in any case, also if it looks like something that programs made.
    for path in (*others, *_outside(tree.packages, plugins)):
        if path.is_relative_to(tree.root):
            if path.resolve() != tree.root.resolve() / path.relative_to(tree.root):
                continue  # behind a link of the tree, and travels where it is
            yield from _configuring(path, tree.root)
        yield path if path.is_dir() else path.parent


def _outside(packages: Sequence[Path], paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if not any(path.is_relative_to(package) for package in packages)]


def _configuring(path: Path, root: Path) -> Iterator[Path]:
    """What pytest looks for in the folders above."""
    for folder in path.parents:
        if not folder.is_relative_to(root):
            return
        yield from (file for name in ("conftest.py", "__init__.py") if (file := folder / name).is_file())


def _is_large(root: Path) -> bool:
    size_bytes = 0
    for number, path in enumerate(walk(root, None)):
        size_bytes += path.lstat().st_size
        if number > _UNMARKED_FILES_MAX or size_bytes > _UNMARKED_BYTES_MAX:
            return True
    return False


def walk(path: Path, unwanted: Path | None) -> Iterator[Path]:
    """Files, links and empty folders at or below a path, in order. What cannot be read, no test reads either."""
    if not path.is_dir():
        yield path
        return
    try:
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except OSError:
        return
    is_empty = True
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            folder = Path(entry.path)
            if folder != unwanted and not _is_made_by_a_program(folder):
                is_empty = False
                yield from walk(folder, unwanted)
        elif entry.is_symlink() or _can_be_sent(entry):
            is_empty = False
            yield Path(entry.path)
    if is_empty:
        yield path


def _can_be_sent(entry: "os.DirEntry[str]") -> bool:
    """Whether it is a file that can be read, a pipe or a socket; devices stay where they are."""
    mode = entry.stat(follow_symlinks=False).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or (stat.S_ISREG(mode) and os.access(entry.path, os.R_OK))


def _is_made_by_a_program(folder: Path) -> bool:
    return folder.name in _UNWANTED_NAMES or any((folder / name).exists() for name in _UNWANTED_IF_CONTAINED)


def _content_of(path: Path, root: Path) -> Path:
    """What to send for a path: a link that leads out of the tree is what it leads to."""
    if not path.is_symlink() or not path.exists():
        return path
    target = path.readlink()
    resolved = path.resolve()
    if target.is_absolute() or not resolved.is_relative_to(root.resolve()):
        return resolved if stat.S_ISREG(resolved.stat().st_mode) else path
    return path


def _is_same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()


def with_packages(files: Mapping[str, Path], packages: Mapping[str, Path]) -> dict[str, Path]:
    """Add the files of packages that every guest has.

    Raises:
        pytest.UsageError: the tests' tree has another file of that name.
    """
    for name, path in packages.items():
        if name in files and not _is_same(files[name], path):
            raise pytest.UsageError(
                f"{files[name]} cannot be sent into a guest: {name} is {path} there. Rename the folder"
            )
    return {**files, **packages}
