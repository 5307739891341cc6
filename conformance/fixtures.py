"""Fixtures of tests that use a ring: in a guest, or on this machine's kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from conformance.modes import MODES, RingMode
from harness.cells import Cell
from harness.unsupported import unsupported

if TYPE_CHECKING:
    import uring


class RingFactory:
    """Makes rings in the session's mode, and closes them when the test is over."""

    def __init__(self, mode: RingMode) -> None:
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

        Raises:
            UringError: whatever `uring.IoUring.init_params` raises. A test may expect it; where it escapes one, the
                verdict says whether the environment or the kernel is why (`conformance.diagnosis`).
        """
        __tracebackhide__ = True
        import uring  # noqa: PLC0415 - every pytest session loads this module, few set up a ring

        try:
            ring = self._set_up(entries, flags | self._mode.flags, params)
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
def mode(matrix_cell: Cell) -> RingMode:
    """The ring mode of this item: `.id` and `.flags`."""
    return MODES[matrix_cell.mode]


@pytest.fixture
def ring(mode: RingMode) -> Iterator[RingFactory]:
    """A factory of rings in the session's mode: `ring(entries, flags=0, **params)`."""
    factory = RingFactory(mode)
    yield factory
    factory.close()
