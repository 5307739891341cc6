"""Entries of 128 bytes in a queue whose entries have 64: IORING_SETUP_SQE_MIXED."""

from __future__ import annotations

from .sqe import io_uring_sqe
from .sqe_fields import SQE128_LAYOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from .queues import SubmissionQueue


class BigSqe(io_uring_sqe):
    """An entry of two slots: the queue asks the first of them for the memory to be held."""

    __slots__ = ("_first",)

    if TYPE_CHECKING:
        _first: io_uring_sqe

    @classmethod
    def over(cls, first: io_uring_sqe, sq: SubmissionQueue) -> Self:
        """The entry that begins with a slot."""
        entry = cls.__new__(cls)
        entry._first = first
        entry._view, entry._offset, entry._owner = first._view, first._offset, _BigOwner(sq)
        entry._pins = None
        return entry

    @property
    def _pins(self) -> object:
        return self._first._pins

    @_pins.setter
    def _pins(self, pins: object) -> None:
        self._first._pins = pins


class _BigOwner:
    """Owner of an entry of two slots."""

    __slots__ = ("_sq",)

    layout = SQE128_LAYOUT

    def __init__(self, sq: SubmissionQueue) -> None:
        self._sq = sq

    @property
    def is_plain(self) -> bool:
        return self._sq.is_plain

    @is_plain.setter
    def is_plain(self, value: bool) -> None:
        self._sq.is_plain = value
