"""Tests that have no cell in a mode: what they are about cannot be had there, and no verdict would say anything."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import pytest

from harness.cells import cell_of


def leave_out(config: pytest.Config, items: list[pytest.Item], excludes: Mapping[str, tuple[str, ...]]) -> None:
    """Deselect the items of tests in modes that exclude what the tests ask for.

    Args:
        config: the session's.
        items: of the session; shortened.
        excludes: by mode, globs of names in a test's `symbols`.
    """
    out = set()
    for item in items:
        cell = cell_of(item)
        globs = excludes.get(cell.mode, ()) if cell is not None else ()
        if not globs:
            continue
        if is_excluded((str(name) for marker in item.iter_markers("symbols") for name in marker.args), globs):
            out.add(item)
    if out:
        config.hook.pytest_deselected(items=[item for item in items if item in out])
        items[:] = [item for item in items if item not in out]


def is_excluded(names: Iterable[str], globs: Iterable[str]) -> bool:
    """Whether a test asks for something that a mode excludes.

    Args:
        names: what it asks for.
        globs: what is excluded.
    """
    return any(fnmatchcase(name, glob) for name in names for glob in globs)
