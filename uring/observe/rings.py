"""Rings among each other and by themselves: messages, restrictions, regions, busy polling, clocks."""

from __future__ import annotations

import errno
import os
import struct
import time

from .. import flags as f
from .. import syscalls
from ..opcodes import IORING_REGISTER, OP
from ..structs import io_uring_napi
from .bare import Ring, sqe
from .finding import INVALID, Finding, add, judge, request, seen
from .registrations import NAPI_OFF, region, restriction
from .world import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

R = IORING_REGISTER
_SLOT_0 = 1


# ---- messages


@request("msg-ring-data", "IORING_MSG_DATA IORING_OP_MSG_RING")
def _data(w: World) -> Finding:
    ring, target = w.fresh(), w.fresh()
    result = ring.ask(sqe(OP.MSG_RING, target.fd, off=0x77, size=5)).res
    if result < 0:
        return judge("a message", result, ())
    found = target.reap(1)[0]
    return seen((found.user_data, found.res) == (0x77, 5), f"the other ring got {found.user_data:#x} and {found.res}")


@request("msg-ring-flags-pass", "IORING_MSG_RING_FLAGS_PASS IORING_OP_MSG_RING")
def _flags_pass(w: World) -> Finding:
    ring, target = w.fresh(), w.fresh()
    entry = sqe(OP.MSG_RING, target.fd, off=0x77, rw_flags=f.IORING_MSG_RING_FLAGS_PASS, file_index=1 << 4)
    result = ring.ask(entry).res
    if result < 0:
        return judge("a message with flags", result, ())
    return seen(target.reap(1)[0].flags == 1 << 4, "the flags that the other ring got")


def _sent_fd(w: World, slot: int, flags: int = 0) -> tuple[int, Ring]:
    ring, target = w.with_files(w.file), w.with_files(-1, -1)
    entry = sqe(OP.MSG_RING, target.fd, addr=f.IORING_MSG_SEND_FD, addr3=0, file_index=slot, rw_flags=flags, off=0x77)
    return ring.ask(entry).res, target


@request("msg-ring-fd", "IORING_MSG_SEND_FD IORING_OP_MSG_RING")
def _fd(w: World) -> Finding:
    return judge("a registered file into slot 0 of another ring", _sent_fd(w, _SLOT_0)[0], (0,))


@request("msg-ring-fd-alloc", "IORING_MSG_SEND_FD IORING_OP_MSG_RING IORING_FILE_INDEX_ALLOC")
def _fd_alloc(w: World) -> Finding:
    result, _ = _sent_fd(w, f.IORING_FILE_INDEX_ALLOC)
    return judge("a registered file into a free slot of another ring", result, (0, 1))


@request("msg-ring-cqe-skip", "IORING_MSG_RING_CQE_SKIP IORING_OP_MSG_RING")
def _cqe_skip(w: World) -> Finding:
    result, target = _sent_fd(w, _SLOT_0, f.IORING_MSG_RING_CQE_SKIP)
    if result < 0:
        return judge("a registered file, without a completion", result, ())
    return seen(not target.reap(), "whether the other ring had a completion")


# ---- restrictions


def _restricted(w: World, *restrictions: bytes) -> Ring:
    ring = w.fresh(f.IORING_SETUP_R_DISABLED)
    w.need(ring, "restrictions", R.REGISTER_RESTRICTIONS, w.put(b"".join(restrictions)), len(restrictions))
    w.need(ring, "IORING_REGISTER_ENABLE_RINGS", R.REGISTER_ENABLE_RINGS)
    return ring


_ACCESS = (-errno.EACCES,)
_NOP = restriction(f.IORING_RESTRICTION_SQE_OP, OP.NOP)
_ENABLE = restriction(f.IORING_RESTRICTION_REGISTER_OP, R.REGISTER_ENABLE_RINGS)


@request("restriction-register-op", "IORING_RESTRICTION_REGISTER_OP IORING_REGISTER_RESTRICTIONS")
def _register_op(w: World) -> Finding:
    result = _restricted(w, _ENABLE).register(R.REGISTER_PROBE, w.room(24), 1)
    return judge("a registration that is not allowed", result, _ACCESS, (0,))


@request("restriction-sqe-op", "IORING_RESTRICTION_SQE_OP IORING_REGISTER_RESTRICTIONS")
def _sqe_op(w: World) -> Finding:
    ring = _restricted(w, _NOP, _ENABLE)
    allowed = ring.ask(sqe(OP.NOP)).res
    if allowed != 0:
        return judge("an operation that is allowed", allowed, (), ())
    return judge("an operation that is not allowed", ring.ask(sqe(OP.FSYNC, w.file)).res, _ACCESS, (0,))


@request("restriction-sqe-flags-allowed", "IORING_RESTRICTION_SQE_FLAGS_ALLOWED IORING_REGISTER_RESTRICTIONS")
def _flags_allowed(w: World) -> Finding:
    ring = _restricted(w, _NOP, restriction(f.IORING_RESTRICTION_SQE_FLAGS_ALLOWED, f.IOSQE_ASYNC), _ENABLE)
    if (allowed := ring.ask(sqe(OP.NOP, flags=f.IOSQE_ASYNC)).res) != 0:
        return judge("a flag that is allowed", allowed, (), _ACCESS)
    return judge("a flag that is not allowed", ring.ask(sqe(OP.NOP, flags=f.IOSQE_IO_DRAIN)).res, _ACCESS, (0,))


@request("restriction-sqe-flags-required", "IORING_RESTRICTION_SQE_FLAGS_REQUIRED IORING_REGISTER_RESTRICTIONS")
def _flags_required(w: World) -> Finding:
    ring = _restricted(w, _NOP, restriction(f.IORING_RESTRICTION_SQE_FLAGS_REQUIRED, f.IOSQE_ASYNC), _ENABLE)
    return judge("an operation without a flag that it must have", ring.ask(sqe(OP.NOP)).res, _ACCESS, (0,))


@request("restriction-task", "IORING_REGISTER_RESTRICTIONS", is_risky=True)
def _task(w: World) -> Finding:
    """They hold for a process's later rings, and cannot be taken back: a process of its own has them."""
    reading, writing = w.pipe()
    argument = w.put(struct.pack("=HH3I", 0, 1, 0, 0, 0) + _NOP)
    child = os.fork()
    if child == 0:
        result = -errno.EIO
        try:
            result = syscalls.io_uring_register_errno(-1, R.REGISTER_RESTRICTIONS, argument, 1)
            if result == 0:
                result = 1 if Ring().ask(sqe(OP.FSYNC, w.file)).res == -errno.EACCES else 2
        finally:
            os.write(writing, struct.pack("=i", result))
            os._exit(0)
    os.waitpid(child, 0)
    (result,) = struct.unpack("=i", os.read(reading, 4))
    return judge("restrictions of a process", result, (1,), (*INVALID, -errno.EBADF, 2))


# ---- regions


def _wait(w: World, ring: Ring) -> Finding:
    """With arguments that lie in the region: the time is zero."""
    w.need(ring, "IORING_REGISTER_ENABLE_RINGS", R.REGISTER_ENABLE_RINGS)
    flags = f.IORING_ENTER_GETEVENTS | f.IORING_ENTER_EXT_ARG | f.IORING_ENTER_EXT_ARG_REG
    return judge("waiting with arguments in a region", ring.enter(0, flags, 1, 0, 64), (-errno.ETIME,))


@request("mem-region-wait", "IORING_MEM_REGION_REG_WAIT_ARG IORING_REG_WAIT_TS IORING_ENTER_EXT_ARG_REG")
def _region_wait(w: World) -> Finding:
    import ctypes  # noqa: PLC0415

    ring = w.fresh(f.IORING_SETUP_R_DISABLED)
    result, address = region(w, ring, flags=f.IORING_MEM_REGION_REG_WAIT_ARG)
    if result < 0:
        return judge("a region of arguments", result, ())
    argument = struct.pack("=qqIIQI", 0, 1, 0, f.IORING_REG_WAIT_TS, 0, 0)
    ctypes.memmove(address, argument, len(argument))
    return _wait(w, ring)


@request("mem-region-kernel", "IORING_REGISTER_MEM_REGION")
def _region_kernel(w: World) -> Finding:
    result, _ = region(w, w.fresh(), is_ours=False)
    return judge("a region of the kernel's memory", result, (0,), (*INVALID, -errno.EFAULT))


# ---- busy polling


def _napi(ring: Ring, w: World, operation: int = 0, parameter: int = 0) -> int:
    return ring.register(R.REGISTER_NAPI, w.at(io_uring_napi(0, 0, operation, (0, 0), parameter, 0)), 1)


@request("napi-tracking-static", "IO_URING_NAPI_TRACKING_STATIC IORING_REGISTER_NAPI")
def _static(w: World) -> Finding:
    result = _napi(w.fresh(), w, f.IO_URING_NAPI_REGISTER_OP, f.IO_URING_NAPI_TRACKING_STATIC)
    return judge("busy polling of named queues", result, (0,), off=NAPI_OFF)


def _listed(*operations: int) -> Callable[[World], Finding]:
    """Operations on the list of queues. A number that no queue can have is invalid to those who know the operation."""

    def ask(w: World) -> Finding:
        ring = w.fresh()
        result = _napi(ring, w, f.IO_URING_NAPI_REGISTER_OP, f.IO_URING_NAPI_TRACKING_STATIC)
        if result < 0:
            return judge("busy polling of named queues", result, (), off=NAPI_OFF)
        for operation in operations:
            result = _napi(ring, w, operation, 1 << 20)
        return judge("a queue in the list of those that are polled", result, (0,), off=NAPI_OFF)

    return ask


add("napi-static-add-id", "IO_URING_NAPI_STATIC_ADD_ID IORING_REGISTER_NAPI", _listed(f.IO_URING_NAPI_STATIC_ADD_ID))
add(
    "napi-static-del-id",
    "IO_URING_NAPI_STATIC_DEL_ID IORING_REGISTER_NAPI",
    _listed(f.IO_URING_NAPI_STATIC_ADD_ID, f.IO_URING_NAPI_STATIC_DEL_ID),
)


@request("napi-tracking-inactive", "IO_URING_NAPI_TRACKING_INACTIVE IORING_UNREGISTER_NAPI")
def _inactive(w: World) -> Finding:
    """What a ring without busy polling says when its settings are replaced."""
    ring = w.fresh()
    argument = w.at(io_uring_napi())
    result = ring.register(R.REGISTER_NAPI, argument, 1)
    if result < 0:
        return judge("IORING_REGISTER_NAPI", result, (), off=NAPI_OFF)
    before = struct.unpack("=I", w.get(argument + 8, 4))[0]
    return seen(before == f.IO_URING_NAPI_TRACKING_INACTIVE, f"the strategy before it was set: {before}")


# ---- clocks


@request("clock-boottime", "IORING_REGISTER_CLOCK")
def _boottime(w: World) -> Finding:
    clock = w.put(struct.pack("=4I", time.CLOCK_BOOTTIME, 0, 0, 0))
    return judge("waiting by the boot clock", w.fresh().register(R.REGISTER_CLOCK, clock), (0,))
