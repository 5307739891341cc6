"""The number or bit of each of the kernel's names."""

from __future__ import annotations

from .. import flags as f
from ..opcodes import IO_URING_SOCKET_OP, IORING_OP, IORING_REGISTER, IORING_REGISTER_USE_REGISTERED_RING

# From <linux/io_uring/query.h> and <linux/io_uring/zcrx.h>, which say them without values.
_ELSEWHERE = {
    "IORING_REGISTER_USE_REGISTERED_RING": IORING_REGISTER_USE_REGISTERED_RING,
    "IO_URING_QUERY_OPCODES": 0,
    "IO_URING_QUERY_ZCRX": 1,
    "IO_URING_QUERY_SCQ": 2,
    "IO_URING_QUERY_ZCRX_EVENT": 3,
    "ZCRX_REG_IMPORT": 1,
    "ZCRX_REG_NODEV": 2,
    "ZCRX_CTRL_FLUSH_RQ": 0,
    "ZCRX_CTRL_EXPORT": 1,
    "ZCRX_CTRL_ARM_EVENT": 2,
    "ZCRX_CTRL_ADD_AREA": 3,
}
_ENUMS = (
    ("IORING_OP_", "", IORING_OP),
    ("IORING_REGISTER_", "REGISTER_", IORING_REGISTER),
    ("IORING_UNREGISTER_", "UNREGISTER_", IORING_REGISTER),
    ("SOCKET_URING_OP_", "", IO_URING_SOCKET_OP),
)


def number_of(symbol: str) -> int | None:
    """What a name of the kernel's stands for; None for one that is no number of io_uring.

    Args:
        symbol: `IORING_OP_NOP`, `IORING_SETUP_SQPOLL`.
    """
    if symbol in _ELSEWHERE:
        return _ELSEWHERE[symbol]
    for prefix, put_before, enum in _ENUMS:
        member = enum.__members__.get(put_before + symbol.removeprefix(prefix)) if symbol.startswith(prefix) else None
        if member is not None:
            return int(member)
    value = getattr(f, symbol, None)
    return value if isinstance(value, int) else None
