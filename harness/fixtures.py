"""Fixtures and markers that tests have wherever they run: in a guest, or on this machine's kernel."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cells import CURRENT, Cell

MARKERS = (
    "since(version): the documented minimum kernel: an expectation to check against, never a gate",
    "title(words): what the report calls the test",
    "kind(name): which kind of test it is, among those of its suite",
    "symbols(*names): the names of an API that the test exercises, what it is about first",
    "group(title): the table of the report that the test belongs to",
)


@pytest.fixture(scope="session")
def matrix_cell(request: pytest.FixtureRequest) -> Cell:
    """The kernel, architecture and mode of this item."""
    cell: Cell = getattr(request, "param", None) or request.config.stash[CURRENT]
    return cell


@pytest.fixture
def scratch() -> Iterator[Path]:
    """An empty directory; in guests it lies on tmpfs."""
    directory = Path(tempfile.mkdtemp(prefix="scratch-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def scratch_ext4() -> Iterator[Path]:
    """An empty directory that takes O_DIRECT: on ext4 in guests, wherever TMPDIR is on this machine."""
    from harness.guest import ext4  # noqa: PLC0415 - few tests need it

    with ext4.mounted() as directory:
        yield directory


@pytest.fixture(scope="session")
def loopback() -> str:
    """The address of the loopback interface, which is up."""
    return "127.0.0.1"


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
