"""Fixtures of tests that use a ring: in a guest, or on this machine's kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

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
        ring = self._set_up(entries, flags | self._mode.flags, params)
        self._rings.append(ring)
        return ring

    def _set_up(self, entries: int, flags: int, params: dict[str, int]) -> uring.IoUring:
        import uring  # noqa: PLC0415 - every pytest session loads this module, few set up a ring

        kind = self._mode.ring_class()
        entries = max(entries, self._mode.entries_min)
        if not params:
            return kind.init(entries, flags)
        record = uring.io_uring_params()
        record.flags = flags
        for name, value in params.items():
            setattr(record, name, value)
        return kind.init_params(entries, record)

    def close(self) -> None:
        """Close every ring that the test left open."""
        for ring in self._rings:
            ring.deinit()


@pytest.fixture(scope="session")
def mode(matrix_cell: Cell) -> RingMode:
    """The ring mode of this item: `.id` and `.flags`. A kernel that is observed to lack it has none of its tests."""
    mode = MODES[matrix_cell.mode]
    if mode.flag_names:
        import uring  # noqa: PLC0415

        for name, seen in uring.capabilities(*mode.flag_names).items():
            if seen.state in {"lacks", "off"}:
                end_as_unsupported(f"no ring mode {mode.id}", f"{name}: {seen.evidence}")
    return mode


def end_as_unsupported(reason: str, evidence: str) -> NoReturn:
    """End a test because of what was observed of the kernel, if it was the kernel.

    Args:
        reason: what is missing.
        evidence: what the observation says.

    Raises:
        Unsupported: a plain ring can be had.
        UringError: none can. What stands in its way is why, which the harness names (`conformance.diagnosis`).
    """
    __tracebackhide__ = True
    import uring  # noqa: PLC0415

    uring.IoUring(1).deinit()
    unsupported(reason, evidence)


@pytest.fixture
def ring(mode: RingMode) -> Iterator[RingFactory]:
    """A factory of rings in the session's mode: `ring(entries, flags=0, **params)`."""
    factory = RingFactory(mode)
    yield factory
    factory.close()
