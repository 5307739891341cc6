"""Timeouts, polls, cancellation, no-ops."""

from __future__ import annotations

import errno
import select
import time

from .. import flags as f
from ..opcodes import OP
from .bare import sqe
from .finding import INVALID, Finding, add, judge, no, request, seen
from .operations import NOWHERE, mask32
from .transfers import multishot
from .world import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


_ETIME, _NOENT = (-errno.ETIME,), (-errno.ENOENT,)
_NOBODY_ASKED = 1 << 30


# ---- timeouts


def _absolute(clock: int, flags: int) -> Callable[[World], Finding]:
    def ask(w: World) -> Finding:
        # As a length of time it would be long.
        now = w.time(*divmod(time.clock_gettime_ns(clock), 10**9))
        result = w.fresh().ask(sqe(OP.TIMEOUT, addr=now, size=1, rw_flags=f.IORING_TIMEOUT_ABS | flags)).res
        return judge("a timeout at a time that is over", result, _ETIME)

    return ask


add("timeout-abs", "IORING_TIMEOUT_ABS IORING_OP_TIMEOUT", _absolute(time.CLOCK_MONOTONIC, 0))
add(
    "timeout-boottime",
    "IORING_TIMEOUT_BOOTTIME IORING_OP_TIMEOUT",
    _absolute(time.CLOCK_BOOTTIME, f.IORING_TIMEOUT_BOOTTIME),
)
add(
    "timeout-realtime",
    "IORING_TIMEOUT_REALTIME IORING_OP_TIMEOUT",
    _absolute(time.CLOCK_REALTIME, f.IORING_TIMEOUT_REALTIME),
)


@request("timeout-count", "IORING_OP_TIMEOUT")
def _count(w: World) -> Finding:
    """A timeout that ends with the first completion."""
    ring = w.fresh()
    first = ring.submit(sqe(OP.TIMEOUT, addr=w.time(60), size=1, off=1), sqe(OP.NOP))
    results = {cqe.user_data - first: cqe.res for cqe in ring.reap(2)}
    return judge("a timeout that waits for one completion", results[0], (0,), (*INVALID, *_ETIME))


def _update(flags: int, words: str) -> Callable[[World], Finding]:
    entry_flags = f.IORING_TIMEOUT_UPDATE | flags
    return lambda w: judge(
        words, w.ask(sqe(OP.TIMEOUT_REMOVE, addr=NOWHERE, off=w.time(1), rw_flags=entry_flags)), _NOENT
    )


add("timeout-update", "IORING_TIMEOUT_UPDATE IORING_OP_TIMEOUT_REMOVE", _update(0, "an update of no timeout"))
add(
    "link-timeout-update",
    "IORING_LINK_TIMEOUT_UPDATE IORING_OP_TIMEOUT_REMOVE",
    _update(f.IORING_LINK_TIMEOUT_UPDATE, "an update of no linked timeout"),
)


@request("timeout-etime-success", "IORING_TIMEOUT_ETIME_SUCCESS IORING_OP_TIMEOUT")
def _etime_success(w: World) -> Finding:
    """What is linked behind the timeout goes on."""
    ring = w.fresh()
    first = ring.submit(
        sqe(OP.TIMEOUT, addr=w.time(), size=1, rw_flags=f.IORING_TIMEOUT_ETIME_SUCCESS, flags=f.IOSQE_IO_LINK),
        sqe(OP.NOP),
    )
    results = {cqe.user_data - first: cqe.res for cqe in ring.reap(2)}
    if results[0] != -errno.ETIME:
        return judge("a timeout whose end is a success", results[0], ())
    return judge("behind a timeout whose end is a success", results[1], (0,), (-errno.ECANCELED,))


@request("timeout-multishot", "IORING_TIMEOUT_MULTISHOT IORING_OP_TIMEOUT")
def _timeout_multishot(w: World) -> Finding:
    cqe = w.fresh().ask(sqe(OP.TIMEOUT, addr=w.time(0, 1000), size=1, off=2, rw_flags=f.IORING_TIMEOUT_MULTISHOT))
    if cqe.res != -errno.ETIME:
        return judge("a timeout that repeats", cqe.res, ())
    return seen(bool(cqe.flags & f.IORING_CQE_F_MORE), f"flags of a timeout that repeats: {cqe.flags:#x}")


@request("timeout-immediate-arg", "IORING_TIMEOUT_IMMEDIATE_ARG IORING_OP_TIMEOUT")
def _immediate(w: World) -> Finding:
    result = w.ask(sqe(OP.TIMEOUT, addr=1000, size=1, rw_flags=f.IORING_TIMEOUT_IMMEDIATE_ARG))
    return judge("a timeout of 1000 ns in the entry itself", result, _ETIME)


# ---- polls


def _poll(flags: int, w: World) -> list[int]:
    return sqe(OP.POLL_ADD, w.pipe()[1], rw_flags=mask32(select.POLLOUT), size=flags)


@request("poll-multishot", "IORING_POLL_ADD_MULTI IORING_OP_POLL_ADD")
def _poll_multishot(w: World) -> Finding:
    return multishot("multishot poll", w.fresh().ask(_poll(f.IORING_POLL_ADD_MULTI, w)))


@request("poll-level", "IORING_POLL_ADD_LEVEL IORING_OP_POLL_ADD")
def _poll_level(w: World) -> Finding:
    result = w.fresh().ask(_poll(f.IORING_POLL_ADD_LEVEL, w)).res
    return judge("a level-triggered poll", result, (select.POLLOUT,))


def _poll_update(flags: int, **fields: int) -> Callable[[World], Finding]:
    return lambda w: judge(
        "an update of no poll", w.ask(sqe(OP.POLL_REMOVE, addr=NOWHERE, size=flags, **fields)), _NOENT
    )


add(
    "poll-update-events",
    "IORING_POLL_UPDATE_EVENTS IORING_OP_POLL_REMOVE",
    _poll_update(f.IORING_POLL_UPDATE_EVENTS, rw_flags=mask32(select.POLLIN)),
)
add(
    "poll-update-user-data",
    "IORING_POLL_UPDATE_USER_DATA IORING_OP_POLL_REMOVE",
    _poll_update(f.IORING_POLL_UPDATE_USER_DATA, off=1),
)


# ---- cancellation


_POLLED, _OTHER = 0x11, 0x22


def _cancel(flags: int, fixed: bool, **fields: int) -> Callable[[World], Finding]:
    """Cancel one of two polls that nothing else would end."""

    def ask(w: World) -> Finding:
        reading, other = w.pipe()[0], w.pipe()[0]
        ring = w.with_files(reading, other)
        kind = f.IOSQE_FIXED_FILE if fixed else 0
        for fd, slot, name in ((reading, 0, _POLLED), (other, 1, _OTHER)):
            mask = mask32(select.POLLIN)
            ring.submit(sqe(OP.POLL_ADD, slot if fixed else fd, flags=kind, rw_flags=mask, user_data=name))
        entry = sqe(OP.ASYNC_CANCEL, 0 if fixed else reading, rw_flags=flags, **fields)
        number = ring.submit(entry)
        found = {cqe.user_data: cqe.res for cqe in ring.reap(1)}
        if (result := found.get(number, 0)) < 0:
            return judge("cancelling a poll that waits", result, (), (*INVALID, -errno.ENOENT))
        found |= {cqe.user_data: cqe.res for cqe in ring.reap(0 if _POLLED in found else 1)}
        return judge(f"a poll that was to be cancelled ({result})", found.get(_POLLED, 0), (-errno.ECANCELED,), (0,))

    return ask


_CANCELS: tuple[tuple[str, int, dict[str, int]], ...] = (
    ("ALL", 0, {"addr": _POLLED}),
    ("FD", 0, {}),
    ("ANY", 0, {}),
    ("FD_FIXED", f.IORING_ASYNC_CANCEL_FD, {}),
    ("USERDATA", 0, {"addr": _POLLED}),
    ("OP", 0, {"size": int(OP.POLL_ADD)}),
)
for _name, _others, _fields in _CANCELS:
    _flags = int(getattr(f, f"IORING_ASYNC_CANCEL_{_name}")) | _others
    _ask = _cancel(_flags, _name == "FD_FIXED", **_fields)
    add(f"cancel-{_name.lower().replace('_', '-')}", f"IORING_ASYNC_CANCEL_{_name} IORING_OP_ASYNC_CANCEL", _ask)


# ---- no-ops, whose flags were overlooked before there were any

_OVERLOOKED = (0, *INVALID)


@request("nop-inject-result", "IORING_NOP_INJECT_RESULT IORING_OP_NOP")
def _inject(w: World) -> Finding:
    result = w.ask(sqe(OP.NOP, rw_flags=f.IORING_NOP_INJECT_RESULT, size=42))
    return judge("a no-op told to say 42", result, (42,), _OVERLOOKED)


def _nop(flags: int, **fields: int) -> Callable[[World], Finding]:
    """A flag that is taken, by a kernel that does not take any. Errors of the file went unsaid before 7.0."""

    def ask(w: World) -> Finding:
        if w.ask(sqe(OP.NOP, rw_flags=_NOBODY_ASKED)) == 0:
            return no("flags of no-ops are overlooked")
        return judge("a no-op with the flag", w.ask_fixed(sqe(OP.NOP, rw_flags=flags, **fields)), (0,))

    return ask


add("nop-file", "IORING_NOP_FILE IORING_OP_NOP", _nop(f.IORING_NOP_FILE, fd=0))
add(
    "nop-fixed-file",
    "IORING_NOP_FIXED_FILE IORING_OP_NOP",
    _nop(f.IORING_NOP_FILE | f.IORING_NOP_FIXED_FILE, fd=0),
)
add("nop-fixed-buffer", "IORING_NOP_FIXED_BUFFER IORING_OP_NOP", _nop(f.IORING_NOP_FIXED_BUFFER, buf_index=0))
add("nop-tw", "IORING_NOP_TW IORING_OP_NOP", _nop(f.IORING_NOP_TW))


@request("fsync-datasync", "IORING_FSYNC_DATASYNC IORING_OP_FSYNC")
def _datasync(w: World) -> Finding:
    unknown_flag = w.ask(sqe(OP.FSYNC, w.file, rw_flags=_NOBODY_ASKED))
    if unknown_flag == 0:
        return no("flags of fsync are overlooked")
    if unknown_flag != -errno.EINVAL:
        return judge("fsync with a flag that nobody knows", unknown_flag, (), ())
    return judge("fsync of data alone", w.ask(sqe(OP.FSYNC, w.file, rw_flags=f.IORING_FSYNC_DATASYNC)), (0,))
