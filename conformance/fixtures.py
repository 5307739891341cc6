"""Fixtures and markers that tests have wherever they run: in a guest, or on this machine's kernel."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conformance.cells import Cell
from conformance.modes import MODES, Mode
from conformance.unsupported import unsupported

if TYPE_CHECKING:
    import uring

MARKERS = (
    "zig(title): the test of Zig's std.os.linux.IoUring that this one ports",
    "since(version): the documented minimum kernel: an expectation to check against, never a gate",
    "group(title): the table of the report that the test belongs to",
)


class RingFactory:
    """Makes rings in the session's mode, and closes them when the test is over."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._rings: list[uring.IoUring] = []

    def __call__(self, entries: int, flags: int = 0, **params: int) -> uring.IoUring:
        """Set up a ring.

        Args:
            entries: size of the submission queue.
            flags: setup flags, beside the mode's.
            **params: further fields of `io_uring_params`, such as `cq_entries`.

        Returns:
            The ring; it is closed for the test.
        """
        __tracebackhide__ = True
        import uring  # noqa: PLC0415 - every pytest session loads this module, few set up a ring

        try:
            ring = self._set_up(entries, flags | self._mode.flags, params)
        except (uring.SystemOutdated, uring.PermissionDenied) as error:
            unsupported("no io_uring for this process", str(error))
        except uring.ArgumentsInvalid as error:
            if not self._mode.flags:
                raise
            # Only if the kernel takes the same ring without the mode's flags do the flags explain the refusal.
            self._set_up(entries, flags, params).deinit()
            unsupported(
                f"no ring mode {self._mode.id}",
                f"{error}, with {' | '.join(self._mode.flag_names)}; the same ring without them is accepted",
            )
        self._rings.append(ring)
        return ring

    @staticmethod
    def _set_up(entries: int, flags: int, params: dict[str, int]) -> uring.IoUring:
        import uring  # noqa: PLC0415

        if not params:
            return uring.IoUring.init(entries, flags)
        record = uring.io_uring_params()
        record.flags = flags
        for name, value in params.items():
            setattr(record, name, value)
        return uring.IoUring.init_params(entries, record)

    def close(self) -> None:
        """Close every ring that the test left open."""
        for ring in self._rings:
            if ring.fd >= 0:
                ring.deinit()


@pytest.fixture(scope="session")
def matrix_cell(request: pytest.FixtureRequest) -> Cell:
    """The kernel, architecture and mode of this item."""
    cell: Cell = request.param
    return cell


@pytest.fixture(scope="session")
def mode(matrix_cell: Cell) -> Mode:
    """The ring mode of this item: `.id` and `.flags`."""
    return MODES[matrix_cell.mode]


@pytest.fixture
def ring(mode: Mode) -> Iterator[RingFactory]:
    """A factory of rings in the session's mode: `ring(entries, flags=0, **params)`."""
    factory = RingFactory(mode)
    yield factory
    factory.close()


@pytest.fixture
def scratch() -> Iterator[Path]:
    """An empty directory; in guests it lies on tmpfs."""
    directory = Path(tempfile.mkdtemp(prefix="scratch-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def scratch_ext4() -> Iterator[Path]:
    """An empty directory that takes O_DIRECT: on ext4 in guests, wherever TMPDIR is on this machine."""
    from conformance.guest import ext4  # noqa: PLC0415 - few tests need it

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
