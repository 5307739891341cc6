"""Every registration, and what some of them can do beside."""

from __future__ import annotations

import errno
import os
import struct
import time

from .. import flags as f
from .. import syscalls
from ..opcodes import IORING_REGISTER, IORING_REGISTER_USE_REGISTERED_RING, OP
from ..structs import (
    io_uring_buf_reg,
    io_uring_file_index_range,
    io_uring_files_update,
    io_uring_napi,
    io_uring_params,
    io_uring_rsrc_register,
    io_uring_sync_cancel_reg,
)
from .bare import Ring, packed, sqe
from .finding import INVALID, Finding, add, judge, request, seen
from .query import LACKS as NO_QUERY
from .query import QUERY_OPCODES, known, query
from .world import BUFFER_BYTES, World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from .finding import Results

    Ask: TypeAlias = Callable[[World], int]

R = IORING_REGISTER
_RSRC_BYTES = 32
_GROUP = 7
DEFERRED = f.IORING_SETUP_DEFER_TASKRUN | f.IORING_SETUP_SINGLE_ISSUER
NAPI_OFF = {-errno.EOPNOTSUPP: "CONFIG_NET_RX_BUSY_POLL"}
_BPF_RETURN_1 = struct.pack("=HBBI", 0x06, 0, 0, 1)


def with_buffer(w: World) -> Ring:
    """A ring of the request's own with one registered buffer."""
    ring = w.fresh()
    w.need(ring, "registered buffers", R.REGISTER_BUFFERS, w.iovec((w.buffer, BUFFER_BYTES)), 1)
    return ring


def resources(w: World, nr: int, data: int = 0, tags: int = 0, flags: int = 0) -> int:
    """Address of a description of files or buffers."""
    return w.at(io_uring_rsrc_register(nr, flags, 0, data, tags))


def update2(w: World, data: int, tags: int = 0) -> int:
    """Address of an update of the first slot."""
    return w.put(struct.pack("=IIQQII", 0, 0, data, tags, 1, 0))


def _eventfd(w: World) -> int:
    return w.fds(w.keep(os.eventfd(0, os.EFD_NONBLOCK)))


def _with_eventfd(w: World) -> Ring:
    ring = w.fresh()
    w.need(ring, "an eventfd", R.REGISTER_EVENTFD, _eventfd(w), 1)
    return ring


def _unregister_personality(w: World) -> int:
    ring = w.fresh()
    return ring.register(R.UNREGISTER_PERSONALITY, 0, w.need(ring, "a personality", R.REGISTER_PERSONALITY))


def restriction(kind: int, value: int) -> bytes:
    """One entry of IORING_REGISTER_RESTRICTIONS."""
    return struct.pack("=HBB12x", kind, value, 0)


def ring_fd(w: World, ring: Ring) -> int:
    """Register a ring's own descriptor. Returns its index."""
    update = w.put(struct.pack("=IIQ", 0xFFFF_FFFF, 0, ring.fd))
    w.need(ring, "a registered ring", R.REGISTER_RING_FDS, update, 1)
    return int(struct.unpack("=I", w.get(update, 4))[0])


def unregister_ring_fd(w: World, ring: Ring, index: int) -> int:
    """Undo `ring_fd`. Returns the call's result."""
    return ring.register(R.UNREGISTER_RING_FDS, w.put(struct.pack("=IIQ", index, 0, 0)), 1)


def _ring_fds(w: World) -> int:
    ring = w.fresh()
    update = w.put(struct.pack("=IIQ", 0xFFFF_FFFF, 0, ring.fd))
    result = ring.register(R.REGISTER_RING_FDS, update, 1)
    if result == 1:
        unregister_ring_fd(w, ring, struct.unpack("=I", w.get(update, 4))[0])
    return result


def _unregister_ring_fds(w: World) -> int:
    ring = w.fresh()
    return unregister_ring_fd(w, ring, ring_fd(w, ring))


def _with_group(w: World) -> Ring:
    ring = w.fresh()
    w.buffer_ring(ring, group=_GROUP)
    return ring


def _pbuf_ring(w: World) -> int:
    return w.fresh().register(R.REGISTER_PBUF_RING, w.at(io_uring_buf_reg(w.pages(4096), 8, _GROUP, 0)), 1)


def _send_msg_ring(w: World) -> int:
    entry = w.put(packed(sqe(OP.MSG_RING, w.fresh().fd, off=1)))
    return syscalls.io_uring_register_errno(-1, R.REGISTER_SEND_MSG_RING, entry, 1)


def clone(w: World, target: Ring, source: int, flags: int = 0, nr: int = 0) -> int:
    """Clone buffers into a ring. Returns the call's result."""
    return target.register(
        R.REGISTER_CLONE_BUFFERS, w.put(struct.pack("=IIIII3I", source, flags, 0, 0, nr, 0, 0, 0)), 1
    )


def region(w: World, ring: Ring, *, is_ours: bool = True, flags: int = 0) -> tuple[int, int]:
    """Register a memory region of a page. Returns the call's result, and the region's address if it is ours."""
    address = w.pages(4096) if is_ours else 0
    kind = f.IORING_MEM_REGION_TYPE_USER if is_ours else 0
    description = w.put(struct.pack("=QQIIQ4Q", address, 4096, kind, 0, 0, 0, 0, 0, 0))
    return ring.register(R.REGISTER_MEM_REGION, w.put(struct.pack("=QQ2Q", description, flags, 0, 0)), 1), address


def _resize(w: World) -> int:
    return w.fresh(DEFERRED).register(R.REGISTER_RESIZE_RINGS, w.at(io_uring_params(sq_entries=16, cq_entries=64)), 1)


# Registration, what only a kernel answers that knows it, the request.
_TABLE: tuple[tuple[str, Results, Ask], ...] = (
    ("REGISTER_BUFFERS", (0,), lambda w: w.fresh().register(R.REGISTER_BUFFERS, w.iovec(), 1)),
    ("UNREGISTER_BUFFERS", (0,), lambda w: with_buffer(w).register(R.UNREGISTER_BUFFERS)),
    ("REGISTER_FILES", (0,), lambda w: w.fresh().register(R.REGISTER_FILES, w.fds(w.file), 1)),
    ("UNREGISTER_FILES", (0,), lambda w: w.with_files(w.file).register(R.UNREGISTER_FILES)),
    ("REGISTER_EVENTFD", (0,), lambda w: w.fresh().register(R.REGISTER_EVENTFD, _eventfd(w), 1)),
    ("UNREGISTER_EVENTFD", (0,), lambda w: _with_eventfd(w).register(R.UNREGISTER_EVENTFD)),
    (
        "REGISTER_FILES_UPDATE",
        (1,),
        lambda w: w.with_files(w.file).register(
            R.REGISTER_FILES_UPDATE, w.at(io_uring_files_update(0, 0, w.fds(w.file))), 1
        ),
    ),
    ("REGISTER_EVENTFD_ASYNC", (0,), lambda w: w.fresh().register(R.REGISTER_EVENTFD_ASYNC, _eventfd(w), 1)),
    ("REGISTER_PROBE", (0,), lambda w: w.ring.register(R.REGISTER_PROBE, w.room(16 + 8 * 64), 64)),
    ("REGISTER_PERSONALITY", (range(1 << 16),), lambda w: w.fresh().register(R.REGISTER_PERSONALITY)),
    ("UNREGISTER_PERSONALITY", (0,), _unregister_personality),
    (
        "REGISTER_RESTRICTIONS",
        (0,),
        lambda w: w.fresh(f.IORING_SETUP_R_DISABLED).register(
            R.REGISTER_RESTRICTIONS, w.put(restriction(f.IORING_RESTRICTION_SQE_OP, OP.NOP)), 1
        ),
    ),
    ("REGISTER_ENABLE_RINGS", (0,), lambda w: w.fresh(f.IORING_SETUP_R_DISABLED).register(R.REGISTER_ENABLE_RINGS)),
    (
        "REGISTER_FILES2",
        (0,),
        lambda w: w.fresh().register(R.REGISTER_FILES2, resources(w, 1, w.fds(w.file)), _RSRC_BYTES),
    ),
    (
        "REGISTER_FILES_UPDATE2",
        (1,),
        lambda w: w.with_files(w.file).register(R.REGISTER_FILES_UPDATE2, update2(w, w.fds(w.file)), _RSRC_BYTES),
    ),
    (
        "REGISTER_BUFFERS2",
        (0,),
        lambda w: w.fresh().register(R.REGISTER_BUFFERS2, resources(w, 1, w.iovec()), _RSRC_BYTES),
    ),
    (
        "REGISTER_BUFFERS_UPDATE",
        (1,),
        lambda w: with_buffer(w).register(R.REGISTER_BUFFERS_UPDATE, update2(w, w.iovec()), _RSRC_BYTES),
    ),
    ("REGISTER_IOWQ_AFF", (0,), lambda w: w.fresh().register(R.REGISTER_IOWQ_AFF, w.put(b"\xff" * 8), 8)),
    ("UNREGISTER_IOWQ_AFF", (0,), lambda w: w.fresh().register(R.UNREGISTER_IOWQ_AFF)),
    ("REGISTER_IOWQ_MAX_WORKERS", (0,), lambda w: w.fresh().register(R.REGISTER_IOWQ_MAX_WORKERS, w.room(8), 2)),
    ("REGISTER_RING_FDS", (1,), _ring_fds),
    ("UNREGISTER_RING_FDS", (1,), _unregister_ring_fds),
    ("REGISTER_PBUF_RING", (0,), _pbuf_ring),
    (
        "UNREGISTER_PBUF_RING",
        (0,),
        lambda w: _with_group(w).register(R.UNREGISTER_PBUF_RING, w.at(io_uring_buf_reg(0, 0, _GROUP, 0)), 1),
    ),
    (
        "REGISTER_SYNC_CANCEL",
        (-errno.ENOENT,),
        lambda w: w.fresh().register(R.REGISTER_SYNC_CANCEL, w.at(io_uring_sync_cancel_reg(99, -1, 0, (-1, -1))), 1),
    ),
    (
        "REGISTER_FILE_ALLOC_RANGE",
        (0,),
        lambda w: w.with_files(-1, -1).register(R.REGISTER_FILE_ALLOC_RANGE, w.at(io_uring_file_index_range(0, 1))),
    ),
    (
        "REGISTER_PBUF_STATUS",
        (0,),
        lambda w: _with_group(w).register(R.REGISTER_PBUF_STATUS, w.put(struct.pack("=10I", _GROUP, *[0] * 9)), 1),
    ),
    ("REGISTER_NAPI", (0,), lambda w: w.fresh().register(R.REGISTER_NAPI, w.at(io_uring_napi()), 1)),
    ("UNREGISTER_NAPI", (0,), lambda w: w.fresh().register(R.UNREGISTER_NAPI, w.at(io_uring_napi()), 1)),
    (
        "REGISTER_CLOCK",
        (0,),
        lambda w: w.fresh().register(R.REGISTER_CLOCK, w.put(struct.pack("=4I", time.CLOCK_MONOTONIC, 0, 0, 0))),
    ),
    ("REGISTER_CLONE_BUFFERS", (0,), lambda w: clone(w, w.fresh(), with_buffer(w).fd)),
    ("REGISTER_SEND_MSG_RING", (0,), _send_msg_ring),
    ("REGISTER_MEM_REGION", (0,), lambda w: region(w, w.fresh())[0]),
    ("REGISTER_QUERY", (0,), lambda w: query(w, QUERY_OPCODES, w.ring.fd)[0]),
    ("REGISTER_RESIZE_RINGS", (0,), _resize),
)
_OFF: Mapping[str, Mapping[int, str]] = {"REGISTER_NAPI": NAPI_OFF, "UNREGISTER_NAPI": NAPI_OFF}
# Without a ring, kernels that do not know the registration look for the ring first.
_LACKS: Mapping[str, Results] = {"REGISTER_SEND_MSG_RING": (*INVALID, -errno.EBADF), "REGISTER_QUERY": NO_QUERY}
_RISKY = ("REGISTER_RESIZE_RINGS",)


def identifier(name: str) -> str:
    """What a registration's capability is called."""
    return name.lower().replace("_", "-")


def _observation(name: str, has: Results, ask: Ask) -> Callable[[World], Finding]:
    return lambda w: judge(f"IORING_{name}", ask(w), has, _LACKS.get(name, INVALID), _OFF.get(name))


for _name, _has, _ask in _TABLE:
    add(identifier(_name), f"IORING_{_name}", _observation(_name, _has, _ask), is_risky=_name in _RISKY)


def through_registered_ring(w: World) -> Finding:
    """A registration by way of an index of a registered ring."""
    ring = w.fresh()
    index = ring_fd(w, ring)
    opcode = R.REGISTER_PROBE | IORING_REGISTER_USE_REGISTERED_RING
    result = syscalls.io_uring_register_errno(index, opcode, w.room(16 + 8), 1)
    unregister_ring_fd(w, ring, index)
    return judge("a registration through a registered ring's index", result, (0,))


add("register-use-registered-ring", "IORING_REGISTER_USE_REGISTERED_RING", through_registered_ring)


@request("register-bpf-filter", "IORING_REGISTER_BPF_FILTER", is_risky=True)
def _bpf_filter(w: World) -> Finding:
    program = w.put(_BPF_RETURN_1)
    # cmd_type, cmd_flags, reserved; opcode, flags, filter_len, pdu_size, reserved, filter_ptr, reserved
    argument = w.put(struct.pack("=HHIIIIB3xQ5Q", 1, 0, 0, OP.NOP, 0, 1, 0, program, *[0] * 5))
    ring = w.fresh()
    result = ring.register(R.REGISTER_BPF_FILTER, argument, 1)
    claim = known(w)
    if result == -errno.EINVAL and claim is not None and claim.registrations > R.REGISTER_BPF_FILTER:
        return judge("a filter that allows every no-op", result, (), off={result: "CONFIG_IO_URING_BPF"})
    if result == 0:
        allowed = ring.ask(sqe(OP.NOP)).res
        return seen(allowed == 0, f"a no-op behind a filter that allows it: {allowed}")
    return judge("a filter that allows every no-op", result, ())
