"""Zero-copy receive: what of it can be asked for without a network card."""

from __future__ import annotations

import errno
import struct

from .. import flags as f
from ..opcodes import IORING_REGISTER
from .bare import Ring
from .finding import INVALID, Finding, add, judge, name_of, request, unknown
from .world import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

ZCRX_OFF = {-errno.EOPNOTSUPP: "CONFIG_IO_URING_ZCRX"}
_REG_IMPORT, _REG_NODEV = 1, 2
_FLUSH_RQ, _EXPORT, _ARM_EVENT, _ADD_AREA = range(4)
_RING = f.IORING_SETUP_DEFER_TASKRUN | f.IORING_SETUP_SINGLE_ISSUER | f.IORING_SETUP_CQE32
# if_idx, if_rxq, rq_entries, flags, area, region, offsets, id, rx_buf_len, event, reserved
_IFQ = struct.Struct("=IIIIQQ4I2QIIQ2Q")
_ZCRX_ID_AT = 64
# No network device has this index.
_NO_DEVICE = 0x7FFF_FFFF


def _register(w: World, ring: Ring, flags: int, device: int, *, is_new: bool = True) -> tuple[int, int]:
    """Register a receive queue. Returns the call's result, and the queue's number."""
    area = region = entries = 0
    if is_new:
        entries = 8
        area = w.put(struct.pack("=QQQIIQQ", w.pages(1 << 16), 1 << 16, 0, 0, 0, 0, 0))
        memory = w.pages(1 << 14)
        region = w.put(struct.pack("=QQIIQ4Q", memory, 1 << 14, f.IORING_MEM_REGION_TYPE_USER, 0, 0, *[0] * 4))
    argument = w.put(_IFQ.pack(device, 0, entries, flags, area, region, *[0] * 11))
    result = ring.register(IORING_REGISTER.REGISTER_ZCRX_IFQ, argument, 1)
    return result, struct.unpack("=I", w.get(argument + _ZCRX_ID_AT, 4))[0]


def register_ifq(w: World) -> int:
    """Register a queue of a network device that is not there. Returns the call's result."""
    return _register(w, w.fresh(_RING), 0, _NO_DEVICE)[0]


@request("register-zcrx-ifq", "IORING_REGISTER_ZCRX_IFQ", is_risky=True)
def _ifq(w: World) -> Finding:
    return judge("a queue of no network device", register_ifq(w), (-errno.ENODEV,), off=ZCRX_OFF)


@request("zcrx-nodev", "ZCRX_REG_NODEV IORING_REGISTER_ZCRX_IFQ", is_risky=True)
def _nodev(w: World) -> Finding:
    return judge("ZCRX_REG_NODEV", _register(w, w.fresh(_RING), _REG_NODEV, 0)[0], (0,), off=ZCRX_OFF)


@request("zcrx-import", "ZCRX_REG_IMPORT IORING_REGISTER_ZCRX_IFQ", is_risky=True)
def _import(w: World) -> Finding:
    # A file that is no queue.
    result, _ = _register(w, w.fresh(_RING), _REG_IMPORT, w.file, is_new=False)
    # Kernels that do not know the flag look for the description of memory, which an import has not.
    return judge("ZCRX_REG_IMPORT of a memfd", result, (-errno.EBADF,), (*INVALID, -errno.EFAULT), ZCRX_OFF)


def _control(w: World, ring: Ring, number: int, operation: int) -> tuple[int, int]:
    argument = w.put(struct.pack("=II2Q", number, operation, 0, 0).ljust(24 + 48, b"\0"))
    result = ring.register(IORING_REGISTER.REGISTER_ZCRX_CTRL, argument)
    return result, struct.unpack("=i", w.get(argument + 24, 4))[0]


@request("register-zcrx-ctrl", "IORING_REGISTER_ZCRX_CTRL", is_risky=True)
def _ctrl(w: World) -> Finding:
    result, _ = _control(w, w.fresh(_RING), 99, _FLUSH_RQ)
    return judge("control of a queue that is not there", result, (-errno.ENXIO,), off=ZCRX_OFF)


def _operation(words: str, operation: int) -> Callable[[World], Finding]:
    """A control operation on a queue without a network card. What is unknown is not supported, whatever the rest."""

    def ask(w: World) -> Finding:
        ring = w.fresh(_RING)
        result, number = _register(w, ring, _REG_NODEV, 0)
        if result < 0:
            known, _ = _control(w, ring, 99, operation)
            if known in INVALID or result == -errno.EOPNOTSUPP:
                return judge("IORING_REGISTER_ZCRX_CTRL", known, (), off=ZCRX_OFF)
            return unknown(f"needs a queue to try it on, and ZCRX_REG_NODEV is refused with {name_of(result)}")
        result, fd = _control(w, ring, number, operation)
        if operation == _EXPORT and result == 0:
            w.keep(fd)
        has = (0, -errno.EINVAL, -errno.EFAULT, -errno.ENOENT, -errno.EALREADY)
        return judge(words, result, has, (-errno.EOPNOTSUPP,))

    return ask


for _id, _number in (("flush-rq", _FLUSH_RQ), ("export", _EXPORT), ("arm-event", _ARM_EVENT), ("add-area", _ADD_AREA)):
    _symbol = f"ZCRX_CTRL_{_id.upper().replace('-', '_')}"
    add(f"zcrx-{_id}", f"{_symbol} IORING_REGISTER_ZCRX_CTRL", _operation(_symbol, _number), is_risky=True)
