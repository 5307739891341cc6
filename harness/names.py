"""What makes a test this test: where its file is, its qualified name, its parameters; and the short id it goes by."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from harness.cell_inputs import word
from harness.source_tree import argument_path, package_folders
from harness.suites import Suite
from reports.results import Test


@dataclass(frozen=True, slots=True)
class TestName:
    """A test, whatever it is called in a table."""

    # `path::test_nop`, `path::TestX::test_y[1]`
    node: str
    # A word for the tree that the path is in; None for a file of an installed package.
    tree: str | None = None

    __test__ = False

    def is_same(self, other: "TestName") -> bool:
        """Whether it is the same test. Earlier versions recorded no trees."""
        return self.node == other.node and (self.tree == other.tree or self.tree is None or other.tree is None)


class TestNames:
    """Names the tests of a session, in whichever of its processes."""

    __test__ = False

    def __init__(self, config: pytest.Config, suites: Sequence[Suite], tree: str) -> None:
        self._config = config
        self._packages = package_folders(suites)
        self._tree = tree
        self._files: dict[str, tuple[str, str | None]] = {}

    def of(self, name: str) -> TestName:
        """Name a test.

        Args:
            name: an item's id without its cell. pytest's own begins with a path that depends on what was asked for.
        """
        file, colons, rest = name.partition("::")
        if file not in self._files:
            self._files[file] = self._place(file)
        path, tree = self._files[file]
        return TestName(f"{path}{colons}{rest}", tree)

    def _place(self, file: str) -> tuple[str, str | None]:
        base = self._base(file)
        path = (base / file).resolve()
        for package in self._packages:
            if path.is_relative_to(package):
                return str(PurePosixPath(path.relative_to(package.parent))), None
        root = self._config.rootpath
        return file, self._tree if base == root else word(self._tree, os.path.relpath(base, root))

    def _base(self, file: str) -> Path:
        """The folder that an id's path begins in: the root directory, or what was named outside of it."""
        folders = [self._config.rootpath]
        for argument in self._config.args:
            place = argument_path(self._config, argument)
            folders.append(place if place.is_dir() else place.parent)
        return next((folder for folder in folders if (folder / file).exists()), folders[0])


def tree_of(config: pytest.Config, directory: Path) -> str:
    """A word for the session's root directory, as seen from its results: both may be moved together."""
    return word(os.path.relpath(config.rootpath.resolve(), directory.resolve()))


def name_of(test: Test) -> TestName:
    """Name a test of results; of those that an earlier version wrote, from what they have."""
    if test.node is not None:
        return TestName(test.node, test.tree)
    file = test.source.rpartition(":")[0] if test.source else ""
    return TestName(test.id if "::" in test.id else f"{file}::{test.id.replace('.', '::')}")


def short_ids(names: Mapping[str, TestName], earlier: Iterable[Test]) -> dict[str, str]:
    """Give each test a short id that is its own.

    Args:
        names: tests, by whatever they are asked for with.
        earlier: those of earlier runs, which keep their ids.

    Returns:
        For each of them the id that it has, else the function's name, or more where that is another test's.
    """
    earlier = list(earlier)
    by_node: dict[str, list[Test]] = {}
    for test in earlier:
        by_node.setdefault(name_of(test).node, []).append(test)
    taken = {test.id for test in earlier}
    ids: dict[str, str] = {}
    for key, name in names.items():
        known = next((test for test in by_node.get(name.node, ()) if name_of(test).is_same(name)), None)
        if known is not None:
            ids[key] = known.id
    owners: dict[str, set[TestName]] = {}
    for name in names.values():
        owners.setdefault(_short(name), set()).add(name)
    for key, name in names.items():
        if key not in ids:
            candidates = (_short(name), name.node, f"{name.node} ({name.tree})")
            is_free = [len(owners[_short(name)]) == 1, True, True]
            ids[key] = next(one for one, is_own in zip(candidates, is_free, strict=True) if is_own and one not in taken)
    return ids


def _short(name: TestName) -> str:
    return name.node.partition("::")[2].replace("::", ".")
