"""Completion queue entries, as immutable values, and the errno that a negative result stands for."""

from __future__ import annotations

import errno
import os
from operator import itemgetter
from struct import Struct

from .errors import NoBufferSelected
from .flags import IORING_CQE_BUFFER_SHIFT, IORING_CQE_F, IORING_CQE_F_BUFFER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

# user_data, res, flags, and the two extra words of a 32-byte completion.
CQE_LAYOUT = Struct("=QiI")
CQE32_LAYOUT = Struct("=QiIQQ")


class _ErrnoNames(type):
    """Makes `E.INVAL` out of the stdlib's `errno.EINVAL`, so that no second list of errnos is kept."""

    def __getattr__(cls, name: str) -> E:
        number = 0 if name == "SUCCESS" else getattr(errno, "E" + name, None)
        if not isinstance(number, int):
            raise AttributeError(f"no errno is called E{name}")  # noqa: TRY004 - what getattr wants
        return E(number)


class E(int, metaclass=_ErrnoNames):
    """An errno as an integer that knows its name: `E.INVAL == errno.EINVAL`, `E.SUCCESS == 0`."""

    @property
    def name(self) -> str:
        """Zig's name: without the leading E, and SUCCESS for 0."""
        return "SUCCESS" if self == 0 else errno.errorcode.get(self, f"E{int(self)}")[1:]

    def __repr__(self) -> str:
        return f"E.{self.name}"

    def __str__(self) -> str:
        return f"E{self.name} ({os.strerror(self)})" if self else "SUCCESS"


class io_uring_cqe(tuple[int, ...]):  # noqa: N801 - the kernel's name
    """One completion: `user_data` as given to the request, `res` (negative: an errno), `flags`.

    A plain tuple of three with names, so that comparing and copying are what they look like.
    """

    __slots__ = ()

    def __new__(cls, user_data: int = 0, res: int = 0, flags: int = 0, *more: int) -> Self:
        """A completion as the kernel would post it; `more` are the two extra words of a 32-byte one."""
        return tuple.__new__(cls, (user_data, res, flags, *more))

    def __getnewargs__(self) -> tuple[int, ...]:
        return tuple(self)

    if TYPE_CHECKING:

        @property
        def user_data(self) -> int: ...  # noqa: D102 - see below
        @property
        def res(self) -> int: ...  # noqa: D102 - see below
        @property
        def flags(self) -> int: ...  # noqa: D102 - see below
    else:
        # itemgetter is C: a loop over completions reads these three all the time.
        user_data = property(itemgetter(0), doc="The request's `user_data`.")
        res = property(itemgetter(1), doc="The result; negative is minus an errno.")
        flags = property(itemgetter(2), doc="IORING_CQE_F_* bits, and the buffer ID above bit 16.")

    @property
    def big_cqe(self) -> tuple[int, ...]:
        """The two extra 64-bit words of a 32-byte completion (IORING_SETUP_CQE32, CQE_MIXED), else empty."""
        return tuple(self[3:])

    def err(self) -> E:
        """The errno of a negative result, `E.SUCCESS` for any other."""
        res = self[1]
        return E(-res) if -4096 < res < 0 else E(0)

    def buffer_id(self) -> int:
        """ID of the provided buffer the kernel chose.

        Raises:
            NoBufferSelected: the completion names no buffer.
        """
        flags = self[2]
        if not flags & IORING_CQE_F_BUFFER:
            raise NoBufferSelected(f"{self!r} carries no buffer ID (IORING_CQE_F_BUFFER is not set)")
        return flags >> IORING_CQE_BUFFER_SHIFT

    def __repr__(self) -> str:
        res = f"{self.res} ({self.err().name})" if -4096 < self.res < 0 else str(self.res)
        bits = IORING_CQE_F(self.flags & 0xFFFF)
        more = "".join(f", {word:#x}" for word in self[3:])
        return f"io_uring_cqe(user_data={self.user_data:#x}, res={res}, flags={self.flags:#x} {bits!r}{more})"


class CqeArray:
    """Memory for many completions, for `IoUring.copy_cqes`: filled by one copy and decoded only where it is read.

    `array[index]` is an `io_uring_cqe`; `array.rows(count)` gives the first `count` completions as plain tuples
    (user_data, res, flags), which is the fastest way to look at all of them. A copy into the array replaces what it
    held; completions read from it before stay what they were.

    Args:
        length: how many completions fit.
        is_big: 32-byte completions, for a ring with IORING_SETUP_CQE32; rows then have five items.
    """

    __slots__ = ("_layout", "entry_bytes", "length", "memory")

    def __init__(self, length: int, *, is_big: bool = False) -> None:
        self._layout = CQE32_LAYOUT if is_big else CQE_LAYOUT
        self.length = length
        # Size of one completion: 16 or 32.
        self.entry_bytes = self._layout.size
        self.memory = memoryview(bytearray(length * self.entry_bytes))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> io_uring_cqe:
        if not 0 <= index < self.length:
            raise IndexError(f"completion {index} of {self.length}")
        return io_uring_cqe(*self._layout.unpack_from(self.memory, index * self.entry_bytes))

    def rows(self, count: int | None = None) -> Iterator[tuple[int, ...]]:
        """The first `count` completions (all, if None) as (user_data, res, flags)."""
        if count is None or count == self.length:
            return self._layout.iter_unpack(self.memory)
        return self._layout.iter_unpack(self.memory[: count * self.entry_bytes])
