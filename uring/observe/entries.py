"""Flags of entries, of completions, of io_uring_enter(2), and of the rings' shared words."""

from __future__ import annotations

import errno
import os
import select
import struct
import time

from .. import flags as f
from .. import syscalls
from ..opcodes import IORING_REGISTER, OP
from .bare import sqe
from .finding import INVALID, Finding, RefusedError, add, judge, no, request, seen, unknown, yes
from .operations import CWD, NO_GROUP, mask32
from .registrations import DEFERRED, ring_fd, unregister_ring_fd
from .transfers import multishot
from .world import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# ---- entries


@request("sqe-fixed-file", "IOSQE_FIXED_FILE")
def _fixed_file(w: World) -> Finding:
    result = w.ask_fixed(sqe(OP.READV, 0, flags=f.IOSQE_FIXED_FILE, addr=w.iovec(), size=1))
    return judge("readv from registered file 0", result, (16,), (*INVALID, -errno.EBADF, 0))


@request("sqe-io-drain", "IOSQE_IO_DRAIN")
def _drain(w: World) -> Finding:
    """Behind a request that ends only when a byte is written."""
    ring = w.fresh()
    reading, writing = w.pipe()
    ring.submit(sqe(OP.READV, reading, addr=w.iovec((w.buffer, 1)), size=1), sqe(OP.NOP, flags=f.IOSQE_IO_DRAIN))
    early = ring.reap()
    if failed := [cqe.res for cqe in early if cqe.res < 0]:
        return judge("a no-op with IOSQE_IO_DRAIN", failed[0], ())
    os.write(writing, b"x")
    ring.reap(2 - len(early))
    return seen(not early, f"{len(early)} of 2 completions before the first request could end")


def _chain(w: World, flags: int) -> tuple[int, int]:
    """What a request comes to that fails when it is carried out (there is no such path), and one behind it."""
    ring = w.fresh()
    first = ring.submit(sqe(OP.OPENAT, CWD, addr=w.put(b"/proc/self/nothing"), flags=flags), sqe(OP.NOP))
    results = {cqe.user_data - first: cqe.res for cqe in ring.reap(2)}
    return results[0], results[1]


@request("sqe-io-link", "IOSQE_IO_LINK")
def _link(w: World) -> Finding:
    return judge("behind a link that failed", _chain(w, f.IOSQE_IO_LINK)[1], (-errno.ECANCELED,), (0, *INVALID))


@request("sqe-io-hardlink", "IOSQE_IO_HARDLINK")
def _hardlink(w: World) -> Finding:
    # That the chain does not break is also true of what knows no such flag: the first one's own result tells.
    failed, behind = _chain(w, f.IOSQE_IO_HARDLINK)
    if failed == -errno.EINVAL:
        return no("IOSQE_IO_HARDLINK: EINVAL")
    return judge("behind a hard link that failed", behind, (0,), (-errno.ECANCELED,))


@request("sqe-async", "IOSQE_ASYNC")
def _async(w: World) -> Finding:
    return judge("a no-op with IOSQE_ASYNC", w.fresh().ask(sqe(OP.NOP, flags=f.IOSQE_ASYNC)).res, (0,))


@request("sqe-buffer-select", "IOSQE_BUFFER_SELECT")
def _select(w: World) -> Finding:
    entry = sqe(OP.READ, w.pipe(b"abc")[0], size=3, flags=f.IOSQE_BUFFER_SELECT, buf_index=NO_GROUP)
    return judge("a read into a buffer of no group", w.ask(entry), (-errno.ENOBUFS,), (*INVALID, -errno.EFAULT))


@request("sqe-cqe-skip-success", "IOSQE_CQE_SKIP_SUCCESS")
def _skip(w: World) -> Finding:
    return silent_success(w)


def silent_success(w: World) -> Finding:
    """A no-op that is not to complete, and one that is."""
    ring = w.fresh()
    first = ring.submit(sqe(OP.NOP, flags=f.IOSQE_CQE_SKIP_SUCCESS), sqe(OP.NOP))
    found = ring.reap(1) + ring.reap()
    if failed := [cqe.res for cqe in found if cqe.res != 0]:
        return judge("a no-op with IOSQE_CQE_SKIP_SUCCESS", failed[0], ())
    return seen([cqe.user_data for cqe in found] == [first + 1], f"{len(found)} completions of two no-ops, one silent")


# ---- completions


@request("cqe-buffer", "IORING_CQE_F_BUFFER")
def _buffer(w: World) -> Finding:
    ring = w.fresh()
    w.provide(ring)
    cqe = ring.ask(sqe(OP.READ, w.pipe(b"abc")[0], size=3, flags=f.IOSQE_BUFFER_SELECT, buf_index=7))
    return seen(bool(cqe.flags & f.IORING_CQE_F_BUFFER), f"flags of a read into a provided buffer: {cqe.flags:#x}")


@request("cqe-more", "IORING_CQE_F_MORE")
def _more(w: World) -> Finding:
    entry = sqe(OP.POLL_ADD, w.pipe()[1], rw_flags=mask32(select.POLLOUT), size=f.IORING_POLL_ADD_MULTI)
    return multishot("multishot poll", w.fresh().ask(entry))


@request("cqe-sock-nonempty", "IORING_CQE_F_SOCK_NONEMPTY")
def _nonempty(w: World) -> Finding:
    """A receive that leaves something: the kernel knows what is left of stream sockets of the internet only."""
    one, other = w.tcp()
    os.write(other, b"abcdef")
    select.select([one], [], [], 2)
    cqe = w.fresh().ask(sqe(OP.RECV, one, addr=w.buffer, size=3))
    if cqe.res != 3:
        return judge("recv of a part", cqe.res, ())
    return seen(bool(cqe.flags & f.IORING_CQE_F_SOCK_NONEMPTY), f"flags of a recv that left 3 bytes: {cqe.flags:#x}")


@request("cqe-notif", "IORING_CQE_F_NOTIF")
def _notif(w: World) -> Finding:
    ring = w.fresh()
    fd = w.udp()
    ring.submit(sqe(OP.SEND_ZC, fd, addr=w.buffer, size=16))
    found = ring.reap(1)
    if not found[0].flags & f.IORING_CQE_F_MORE:
        return judge("a zero-copy send", found[0].res, ())
    # The memory may be in use until the message was received.
    os.read(fd, 16)
    found += ring.reap(2 - len(found))
    flags = found[1].flags
    return seen(bool(flags & f.IORING_CQE_F_NOTIF), f"flags of a zero-copy send's second completion: {flags:#x}")


@request("cqe-buf-more", "IORING_CQE_F_BUF_MORE")
def _buf_more(w: World) -> Finding:
    ring = w.fresh()
    w.buffer_ring(ring, count=1, size=64, flags=f.IOU_PBUF_RING_INC)
    cqe = ring.ask(sqe(OP.RECV, w.pair(b"abc")[0], flags=f.IOSQE_BUFFER_SELECT, buf_index=7))
    return seen(bool(cqe.flags & f.IORING_CQE_F_BUF_MORE), f"flags of a recv into a part of a buffer: {cqe.flags:#x}")


@request("cqe-32", "IORING_CQE_F_32 IORING_NOP_CQE32 IORING_SETUP_CQE_MIXED")
def _cqe_32(w: World) -> Finding:
    cqe = w.fresh(f.IORING_SETUP_CQE_MIXED).ask(sqe(OP.NOP, rw_flags=f.IORING_NOP_CQE32))
    if cqe.res != 0:
        return judge("a no-op with IORING_NOP_CQE32", cqe.res, ())
    return seen(bool(cqe.flags & f.IORING_CQE_F_32), f"flags of a no-op with IORING_NOP_CQE32: {cqe.flags:#x}")


@request("cqe-skip", "IORING_CQE_F_SKIP IORING_SETUP_CQE_MIXED")
def _cqe_skip(w: World) -> Finding:
    """A big completion does not fit into the last place of the queue, which is filled and passed over."""
    ring = w.fresh(f.IORING_SETUP_CQE_MIXED, entries=4)
    for _ in range(ring.params.cq_entries - 1):
        ring.ask(sqe(OP.NOP))
    ring.submit(sqe(OP.NOP, rw_flags=f.IORING_NOP_CQE32))
    found = ring.reap(2)
    if found[1].res != 0:
        return judge("a no-op with IORING_NOP_CQE32", found[1].res, ())
    return seen(
        bool(found[0].flags & f.IORING_CQE_F_SKIP), f"flags before a big completion that wraps: {found[0].flags:#x}"
    )


@request("cqe-tstamp-hw", "IORING_CQE_F_TSTAMP_HW")
def _tstamp(w: World) -> Finding:
    del w
    return unknown("needs a network card that takes timestamps")


# ---- io_uring_enter(2)

_GETEVENTS = f.IORING_ENTER_GETEVENTS
_EXT = _GETEVENTS | f.IORING_ENTER_EXT_ARG


def arguments(w: World, time_at: int, min_wait_us: int = 0) -> int:
    """Address of an io_uring_getevents_arg."""
    return w.put(struct.pack("=QIIQ", 0, 0, min_wait_us, time_at))


def _entered(flags: int) -> Callable[[World], Finding]:
    return lambda w: judge(f"io_uring_enter with the flags {flags:#x}", w.ring.enter(0, flags), (0,))


add("enter-getevents", "IORING_ENTER_GETEVENTS", _entered(_GETEVENTS))
add("enter-sq-wakeup", "IORING_ENTER_SQ_WAKEUP", _entered(f.IORING_ENTER_SQ_WAKEUP))
add("enter-sq-wait", "IORING_ENTER_SQ_WAIT", _entered(f.IORING_ENTER_SQ_WAIT))
add("enter-no-iowait", "IORING_ENTER_NO_IOWAIT", _entered(f.IORING_ENTER_NO_IOWAIT | _GETEVENTS))


def waiting(w: World, flags: int, time_at: int, min_wait_us: int = 0) -> Finding:
    """Wait for a completion that does not come, until a time that is over."""
    result = w.fresh().enter(0, flags, 1, arguments(w, time_at, min_wait_us), 24)
    return judge("io_uring_enter with a time to wait", result, (-errno.ETIME,))


@request("enter-ext-arg", "IORING_ENTER_EXT_ARG")
def _ext_arg(w: World) -> Finding:
    return waiting(w, _EXT, w.time(0, 1))


@request("enter-abs-timer", "IORING_ENTER_ABS_TIMER")
def _abs_timer(w: World) -> Finding:
    # A relative time of this length would not be over within our patience.
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    return waiting(w, _EXT | f.IORING_ENTER_ABS_TIMER, w.time(*divmod(now, 10**9)))


@request("enter-registered-ring", "IORING_ENTER_REGISTERED_RING")
def _registered_ring(w: World) -> Finding:
    ring = w.fresh()
    index = ring_fd(w, ring)
    result = syscalls.io_uring_enter_errno(index, 0, 0, f.IORING_ENTER_REGISTERED_RING)
    unregister_ring_fd(w, ring, index)
    return judge("io_uring_enter with a registered ring's index", result, (0,))


@request("enter-ext-arg-reg", "IORING_ENTER_EXT_ARG_REG IORING_REG_WAIT_TS IORING_MEM_REGION_REG_WAIT_ARG")
def _ext_arg_reg(w: World) -> Finding:
    # Without a region no offset is inside of it.
    result = w.fresh().enter(0, _EXT | f.IORING_ENTER_EXT_ARG_REG, 1, 0, 64)
    return judge("io_uring_enter with an offset into no region", result, (-errno.EFAULT,))


# ---- the rings' words


@request("sq-cq-overflow", "IORING_SQ_CQ_OVERFLOW")
def _overflow(w: World) -> Finding:
    ring = w.fresh(entries=1)
    for _ in range(ring.params.cq_entries + 1):
        ring.submit(sqe(OP.NOP))
    flags = ring.word(ring.params.sq_off.flags)
    return seen(bool(flags & f.IORING_SQ_CQ_OVERFLOW), f"the queue's flags with a completion too many: {flags:#x}")


@request("sq-taskrun", "IORING_SQ_TASKRUN IORING_SETUP_TASKRUN_FLAG")
def _taskrun(w: World) -> Finding:
    """A completion that waits for us to enter io_uring, whatever other system calls are made meanwhile."""
    w.fresh(f.IORING_SETUP_COOP_TASKRUN | f.IORING_SETUP_TASKRUN_FLAG)
    try:
        ring = w.fresh(DEFERRED | f.IORING_SETUP_TASKRUN_FLAG)
    except RefusedError as error:
        if error.number != errno.EINVAL:
            raise
        return unknown("without IORING_SETUP_DEFER_TASKRUN the flag is gone with the next system call")
    reading, writing = w.pipe()
    ring.submit(sqe(OP.POLL_ADD, reading, rw_flags=mask32(select.POLLIN)))
    os.write(writing, b"x")
    flags = ring.word(ring.params.sq_off.flags)
    return seen(bool(flags & f.IORING_SQ_TASKRUN), f"the queue's flags with a completion to be fetched: {flags:#x}")


@request("sq-need-wakeup", "IORING_SQ_NEED_WAKEUP IORING_SETUP_SQPOLL", is_risky=True)
def _need_wakeup(w: World) -> Finding:
    ring = w.fresh(f.IORING_SETUP_SQPOLL, sq_thread_idle=1)
    end = time.monotonic() + 2
    while time.monotonic() < end:
        if ring.word(ring.params.sq_off.flags) & f.IORING_SQ_NEED_WAKEUP:
            return yes("an idle thread went to sleep and said so")
        os.sched_yield()
    return no("an idle thread did not say that it sleeps")


@request("cq-eventfd-disabled", "IORING_CQ_EVENTFD_DISABLED")
def _eventfd_disabled(w: World) -> Finding:
    ring = w.fresh()
    eventfd = w.keep(os.eventfd(0, os.EFD_NONBLOCK))
    w.need(ring, "an eventfd", IORING_REGISTER.REGISTER_EVENTFD, w.fds(eventfd), 1)
    if not ring.params.cq_off.flags:
        return no("the completion queue has no flags")
    ring.store(ring.params.cq_off.flags, f.IORING_CQ_EVENTFD_DISABLED)
    ring.ask(sqe(OP.NOP))
    try:
        os.read(eventfd, 8)
    except BlockingIOError:
        return yes("a completion did not signal the eventfd")
    return no("a completion signalled the eventfd all the same")
