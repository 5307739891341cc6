"""IORING_REGISTER_QUERY: what can be asked of a kernel about itself."""

from __future__ import annotations

import errno
import struct
from typing import NamedTuple

from .. import syscalls
from ..opcodes import IORING_REGISTER
from .finding import Finding, add, judge
from .numbers import number_of
from .world import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_HEADER = struct.Struct("=QQIIi3I")
_DATA_BYTES = 128
QUERY_OPCODES = 0
# What no kernel knows is a result of its own.
LACKS = (-errno.EINVAL, -errno.EBADF, -errno.EOPNOTSUPP)


def query(w: World, what: int, fd: int) -> tuple[int, bytes]:
    """Ask. Returns the call's result, or else that of the query, and what it left."""
    data = w.room(_DATA_BYTES)
    header = w.put(_HEADER.pack(0, data, what, _DATA_BYTES, 0, 0, 0, 0))
    result = syscalls.io_uring_register_errno(fd, IORING_REGISTER.REGISTER_QUERY, header, 0)
    if result == 0:
        result = _HEADER.unpack(w.get(header, _HEADER.size))[4]
    return result, w.get(data, _DATA_BYTES)


class Known(NamedTuple):
    """What the kernel says it knows: numbers of operations and registrations, and masks of flags."""

    operations: int
    registrations: int
    features: int
    setup: int
    enter: int
    sqe: int


def known(w: World) -> Known | None:
    """Ask for it; None if the kernel cannot be asked."""
    result, data = query(w, QUERY_OPCODES, w.ring.fd)
    return None if result else Known(*struct.unpack_from("=II4Q", data))


def _about(symbol: str, words: str, *, has_ring: bool = True) -> Callable[[World], Finding]:
    what = number_of(symbol) or 0
    called = f"IORING_REGISTER_QUERY of {words}"
    return lambda w: judge(called, query(w, what, w.ring.fd if has_ring else -1)[0], (0,), LACKS)


for _id, _words in (
    ("opcodes", "operations and flags"),
    ("zcrx", "zero-copy receive"),
    ("scq", "the rings' headers"),
    ("zcrx-event", "zero-copy receive's events"),
):
    _symbol = f"IO_URING_QUERY_{_id.upper().replace('-', '_')}"
    add(f"query-{_id}", f"{_symbol} IORING_REGISTER_QUERY", _about(_symbol, _words))
add(
    "query-without-ring",
    "IORING_REGISTER_QUERY",
    _about("IO_URING_QUERY_OPCODES", "operations, without a ring", has_ring=False),
)
