"""Feature bits: that the kernel does what each of them says."""

from __future__ import annotations

import errno
import os
import re
import select
import struct
from pathlib import Path

from .. import flags as f
from ..opcodes import OP
from . import entries, registrations, transfers
from .bare import sqe
from .finding import ANY, INVALID, Finding, judge, no, request, seen, unknown, yes
from .operations import CWD, mask32
from .resources import tag_completion
from .world import CONTENT, World

_NOBODY = 65534
_EPOLLEXCLUSIVE = 1 << 28


@request("feat-single-mmap", "IORING_FEAT_SINGLE_MMAP")
def _single_mmap(w: World) -> Finding:
    """All of our rings are mapped once: a completion has to be visible in the submission ring's mapping."""
    return judge("a completion in the submission queue's mapping", w.ask(sqe(OP.NOP)), (0,), ())


@request("feat-nodrop", "IORING_FEAT_NODROP")
def _nodrop(w: World) -> Finding:
    ring = w.fresh(entries=1)
    count = ring.params.cq_entries + 2
    for _ in range(count):
        ring.submit(sqe(OP.NOP))
    found = ring.reap()
    while more := ring.reap():
        found += more
    if failed := [cqe.res for cqe in found if cqe.res != 0]:
        return judge("a no-op", failed[0], (), ())
    return seen(len(found) == count, f"{len(found)} of {count} completions from a queue of {ring.params.cq_entries}")


@request("feat-submit-stable", "IORING_FEAT_SUBMIT_STABLE")
def _submit_stable(w: World) -> Finding:
    """The iovec of a read that waits is overwritten: the data goes where the iovec said when it was submitted."""
    import ctypes  # noqa: PLC0415

    ring = w.fresh()
    reading, writing = w.pipe()
    first, second = w.room(16), w.room(16)
    iovec = w.iovec((first, 3))
    ring.submit(sqe(OP.READV, reading, addr=iovec, size=1))
    ctypes.memmove(iovec, struct.pack("=QQ", second, 3), 16)
    os.write(writing, b"abc")
    if (result := ring.reap(1)[0].res) not in (3, -errno.EFAULT):
        return judge("a read whose iovec was changed", result, (), ())
    return seen(w.get(first, 3) == b"abc", "data of a read whose iovec was changed after it was submitted")


@request("feat-rw-cur-pos", "IORING_FEAT_RW_CUR_POS")
def _cur_pos(w: World) -> Finding:
    os.lseek(w.file, 5, os.SEEK_SET)
    result = w.ask(sqe(OP.READ, w.file, addr=w.buffer, size=3, off=-1))
    if result != 3:
        return judge("a read at offset -1", result, ())
    place = os.lseek(w.file, 0, os.SEEK_CUR)
    return seen(w.get(w.buffer, 3) == CONTENT[5:8] and place == 8, f"a read at offset -1 moved the file's to {place}")


@request("feat-cur-personality", "IORING_FEAT_CUR_PERSONALITY")
def _cur_personality(w: World) -> Finding:
    """Somebody else opens what is the ring's owner's alone."""
    if os.geteuid() != 0:
        return unknown("only root can become somebody else for a while")
    ring = w.fresh()
    private = w.keep(os.memfd_create("private"))
    os.fchmod(private, 0o600)
    path = w.put(f"/proc/self/fd/{private}".encode())
    os.seteuid(_NOBODY)
    try:
        result = w.closed(ring.ask(sqe(OP.OPENAT, CWD, addr=path, flags=f.IOSQE_ASYNC)).res)
    finally:
        os.seteuid(0)
    return judge("openat of a private file after seteuid", result, (-errno.EACCES,), (ANY,))


@request("feat-fast-poll", "IORING_FEAT_FAST_POLL")
def _fast_poll(w: World) -> Finding:
    """A receive that waits is polled for, and no thread waits in it."""
    ring = w.fresh()
    ring.submit(sqe(OP.RECV, w.pair()[0], addr=w.buffer, size=3))
    text = Path(f"/proc/self/fdinfo/{ring.fd}").read_text(encoding="ascii")
    polled = re.search(rf"^PollList:\n(?:\s+op=.*\n)*?\s+op={int(OP.RECV)},", text, re.MULTILINE)
    if polled:
        return yes("a waiting recv is in the ring's list of polls")
    threads = workers()
    if threads:
        return no(f"a waiting recv holds {threads} threads")
    return unknown("a waiting recv is in no list that this kernel shows")


def workers() -> int:
    """How many threads of ours are the kernel's."""
    names = ((task / "comm").read_text(encoding="ascii") for task in Path("/proc/self/task").iterdir())
    return sum(name.startswith("iou-wrk") for name in names)


@request("feat-poll-32bits", "IORING_FEAT_POLL_32BITS")
def _poll_32(w: World) -> Finding:
    """Bit 28 of a mask makes a poll exclusive: of two that wait one is woken."""
    ring = w.fresh()
    reading, writing = w.pipe()
    mask = mask32(select.POLLIN | _EPOLLEXCLUSIVE)
    ring.submit(sqe(OP.POLL_ADD, reading, rw_flags=mask), sqe(OP.POLL_ADD, reading, rw_flags=mask))
    os.write(writing, b"x")
    found = ring.reap(1)
    found += ring.reap()
    if failed := [cqe.res for cqe in found if cqe.res < 0]:
        return judge("a poll with bit 28", failed[0], ())
    return seen(len(found) == 1, f"{len(found)} of two exclusive polls were woken")


@request("feat-sqpoll-nonfixed", "IORING_FEAT_SQPOLL_NONFIXED", is_risky=True)
def _nonfixed(w: World) -> Finding:
    ring = w.fresh(f.IORING_SETUP_SQPOLL, sq_thread_idle=100)
    result = ring.ask(sqe(OP.READV, w.file, addr=w.iovec(), size=1)).res
    return judge("a read with SQPOLL of a file that is not registered", result, (16,), (*INVALID, -errno.EBADF))


@request("feat-ext-arg", "IORING_FEAT_EXT_ARG")
def _ext_arg(w: World) -> Finding:
    return entries.waiting(w, f.IORING_ENTER_GETEVENTS | f.IORING_ENTER_EXT_ARG, w.time(0, 1))


@request("feat-native-workers", "IORING_FEAT_NATIVE_WORKERS")
def _native(w: World) -> Finding:
    ring = w.fresh()
    reading, writing = w.pipe()
    ring.submit(sqe(OP.READ, reading, addr=w.buffer, size=1, flags=f.IOSQE_ASYNC))
    found = workers()
    os.write(writing, b"x")
    if (result := ring.reap(1)[0].res) != 1:
        return judge("a read by a worker", result, (), ())
    # It may have been made only when there was something to read.
    found = found or workers()
    return seen(found > 0, f"threads of this process that are the kernel's workers: {found}")


@request("feat-rsrc-tags", "IORING_FEAT_RSRC_TAGS")
def _tags(w: World) -> Finding:
    return tag_completion(w, is_file=True)


@request("feat-cqe-skip", "IORING_FEAT_CQE_SKIP")
def _skip(w: World) -> Finding:
    return entries.silent_success(w)


@request("feat-linked-file", "IORING_FEAT_LINKED_FILE")
def _linked_file(w: World) -> Finding:
    """A read from a slot that the request before it fills."""
    ring = w.with_files(-1)
    path = w.put(f"/proc/self/fd/{w.file}".encode())
    first = ring.submit(
        sqe(OP.OPENAT, CWD, addr=path, file_index=1, flags=f.IOSQE_IO_LINK),
        sqe(OP.READ, 0, addr=w.buffer, size=16, flags=f.IOSQE_FIXED_FILE),
    )
    results = {cqe.user_data - first: cqe.res for cqe in ring.reap(2)}
    words = f"a read from a slot that an openat before it fills ({results[0]})"
    return judge(words, results[1], (16,), (-errno.EBADF, -errno.ECANCELED, *INVALID))


@request("feat-reg-reg-ring", "IORING_FEAT_REG_REG_RING")
def _reg_reg_ring(w: World) -> Finding:
    return registrations.through_registered_ring(w)


@request("feat-recvsend-bundle", "IORING_FEAT_RECVSEND_BUNDLE")
def _bundle(w: World) -> Finding:
    return transfers.received_bundle(w)


@request("feat-min-timeout", "IORING_FEAT_MIN_TIMEOUT")
def _min_timeout(w: World) -> Finding:
    return entries.waiting(w, f.IORING_ENTER_GETEVENTS | f.IORING_ENTER_EXT_ARG, w.time(0, 1), min_wait_us=1)


@request("feat-rw-attr", "IORING_FEAT_RW_ATTR")
def _rw_attr(w: World) -> Finding:
    # Attributes at an address that is none: kernels without them do not look.
    entry = sqe(OP.READ, w.file, addr=w.buffer, size=16, addr3=1, pad2=f.IORING_RW_ATTR_FLAG_PI)
    return judge("a read with attributes at address 1", w.ask(entry), (-errno.EFAULT,), (16, *INVALID))


@request("feat-no-iowait", "IORING_FEAT_NO_IOWAIT")
def _no_iowait(w: World) -> Finding:
    result = w.ring.enter(0, f.IORING_ENTER_GETEVENTS | f.IORING_ENTER_NO_IOWAIT)
    return judge("io_uring_enter with IORING_ENTER_NO_IOWAIT", result, (0,))
