"""Setup flags: rings that have them."""

from __future__ import annotations

import errno
import os

from .. import flags as f
from .. import syscalls
from ..structs import io_uring_params
from .finding import Finding, RefusedError, add, judge, request, seen
from .world import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Flag, what it cannot be without, and whether it starts a thread or polls hardware.
_TABLE = (
    ("IOPOLL", "", False),
    ("SQPOLL", "", True),
    ("CLAMP", "", False),
    ("R_DISABLED", "", False),
    ("SUBMIT_ALL", "", False),
    ("COOP_TASKRUN", "", False),
    ("TASKRUN_FLAG", "COOP_TASKRUN", False),
    ("SQE128", "", False),
    ("CQE32", "", False),
    ("SINGLE_ISSUER", "", False),
    ("DEFER_TASKRUN", "SINGLE_ISSUER", False),
    ("NO_SQARRAY", "", False),
    ("HYBRID_IOPOLL", "IOPOLL", False),
    ("CQE_MIXED", "", False),
    ("SQE_MIXED", "", False),
    ("SQ_REWIND", "NO_SQARRAY", False),
)
_PRIVILEGE = {-errno.EPERM: "needs the capability CAP_SYS_NICE here"}


def identifier(name: str) -> str:
    """What a flag's capability is called."""
    return f"setup-{name.lower().replace('_', '-')}"


def bits(names: str) -> int:
    """The flags of some names."""
    return sum(int(f.IORING_SETUP[name]) for name in names.split())


def with_flags(w: World, names: str, companions: str = "", **fields: int) -> tuple[int, io_uring_params]:
    """Set up a ring with flags, if one with their companions alone can be. Returns the result and the parameters."""
    if companions:
        result, _ = w.setup(bits(companions))
        if result < 0:
            raise RefusedError(f"IORING_SETUP_{companions.replace(' ', ' and IORING_SETUP_')}", -result)
    return w.setup(bits(names) | bits(companions), **fields)


def _observation(name: str, companions: str) -> Callable[[World], Finding]:
    words = f"io_uring_setup with {name}" + (f" and {companions}" if companions else "")
    return lambda w: judge(words, min(0, with_flags(w, name, companions)[0]), (0,), off=_PRIVILEGE)


for _name, _companions, _is_risky in _TABLE:
    add(identifier(_name), f"IORING_SETUP_{_name}", _observation(_name, _companions), is_risky=_is_risky)


@request(identifier("CQSIZE"), "IORING_SETUP_CQSIZE")
def _cqsize(w: World) -> Finding:
    result, params = with_flags(w, "CQSIZE", cq_entries=64)
    if result < 0:
        return judge("io_uring_setup with CQSIZE", result, ())
    return seen(params.cq_entries == 64, f"asked for 64 completions, given {params.cq_entries}")


@request(identifier("ATTACH_WQ"), "IORING_SETUP_ATTACH_WQ")
def _attach(w: World) -> Finding:
    result, _ = with_flags(w, "ATTACH_WQ", wq_fd=w.fresh().fd)
    return judge("io_uring_setup with ATTACH_WQ to another ring", min(0, result), (0,))


@request(identifier("SQ_AFF"), "IORING_SETUP_SQ_AFF", is_risky=True)
def _affine(w: World) -> Finding:
    result, _ = with_flags(w, "SQ_AFF", "SQPOLL", sq_thread_cpu=min(os.sched_getaffinity(0)))
    return judge("io_uring_setup with SQ_AFF and SQPOLL", min(0, result), (0,), off=_PRIVILEGE)


def in_own_memory(w: World, flags: int) -> int:
    """Set up a ring in pages of ours. Returns the result."""
    params = io_uring_params(flags=flags | f.IORING_SETUP_NO_MMAP)
    params.cq_off.user_addr = w.pages(4096)
    params.sq_off.user_addr = w.pages(4096)
    return syscalls.io_uring_setup_errno(4, params)


@request(identifier("NO_MMAP"), "IORING_SETUP_NO_MMAP")
def _no_mmap(w: World) -> Finding:
    return judge("io_uring_setup with NO_MMAP", min(0, w.closed(in_own_memory(w, 0))), (0,))


@request(identifier("REGISTERED_FD_ONLY"), "IORING_SETUP_REGISTERED_FD_ONLY")
def _registered_only(w: World) -> Finding:
    if (result := w.closed(in_own_memory(w, 0))) < 0:
        raise RefusedError("IORING_SETUP_NO_MMAP", -result)
    # An index of this thread's registered rings, and no descriptor.
    result = in_own_memory(w, f.IORING_SETUP_REGISTERED_FD_ONLY)
    return judge("io_uring_setup with REGISTERED_FD_ONLY and NO_MMAP", min(0, result), (0,))
