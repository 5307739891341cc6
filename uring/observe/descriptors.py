"""Direct descriptors: operations that put what they open into a slot of the registered files.

Kernels without them may overlook the field and hand back a descriptor: a result above the table's slots.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from .. import flags as f
from ..opcodes import OP
from .bare import Ring, sqe
from .finding import INVALID, Finding, add, judge, no, request, seen
from .operations import CWD
from .world import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

ALLOC = f.IORING_FILE_INDEX_ALLOC
_SLOT_0 = 1
# Two slots that were free; above them is a descriptor.
_SLOTS = (0, 1)
_IGNORED = (*INVALID, range(2, 1 << 31))


def _ring(w: World) -> Ring:
    return w.with_files(-1, -1)


def _openat(w: World, index: int) -> list[int]:
    return sqe(OP.OPENAT, CWD, addr=w.put(b"/"), file_index=index)


def _openat2(w: World, index: int) -> list[int]:
    return sqe(OP.OPENAT2, CWD, addr=w.put(b"/"), size=24, off=w.how(os.O_RDONLY), file_index=index)


def _accept(w: World, index: int) -> list[int]:
    return sqe(OP.ACCEPT, w.listener(1)[0], file_index=index)


def _socket(w: World, index: int) -> list[int]:
    del w
    return sqe(OP.SOCKET, socket.AF_UNIX, off=socket.SOCK_STREAM, file_index=index)


def _direct(name: str, entry: Callable[[World, int], list[int]], index: int) -> Callable[[World], Finding]:
    words = f"{name} into {'a free slot' if index == ALLOC else 'slot 0'}"

    def ask(w: World) -> Finding:
        result = _ring(w).ask(entry(w, index)).res
        if result >= len(_SLOTS):
            w.keep(result)
        return judge(words, result, _SLOTS if index == ALLOC else (0,), _IGNORED)

    return ask


for _name, _entry in (("openat", _openat), ("openat2", _openat2), ("accept", _accept), ("socket", _socket)):
    _symbol = f"IORING_OP_{_name.upper()}"
    add(f"{_name}-direct", _symbol, _direct(_name, _entry, _SLOT_0))
    add(f"{_name}-direct-alloc", f"{_symbol} IORING_FILE_INDEX_ALLOC", _direct(_name, _entry, ALLOC))


@request("accept-multishot-direct", "IORING_ACCEPT_MULTISHOT IORING_OP_ACCEPT IORING_FILE_INDEX_ALLOC")
def _accept_multishot(w: World) -> Finding:
    entry = sqe(OP.ACCEPT, w.listener(1)[0], file_index=ALLOC, ioprio=f.IORING_ACCEPT_MULTISHOT)
    cqe = _ring(w).ask(entry)
    if cqe.res >= len(_SLOTS):
        w.keep(cqe.res)
    if cqe.res < 0 or not cqe.flags & f.IORING_CQE_F_MORE:
        return judge("multishot accept into free slots", cqe.res, (), (*INVALID, range(1 << 31)))
    return seen(cqe.res in _SLOTS, f"multishot accept into free slots: {cqe.res}")


def _pipe(index: int) -> Callable[[World], Finding]:
    def ask(w: World) -> Finding:
        fds = w.room(8)
        result = _ring(w).ask(sqe(OP.PIPE, 0, addr=fds, file_index=index)).res
        ends = struct.unpack("=ii", w.get(fds, 8))
        if result < 0:
            return judge("a pipe into slots", result, ())
        if any(end >= len(_SLOTS) for end in ends):
            for end in ends:
                w.keep(end)
            return no(f"the pipe's ends are {ends}")
        return judge("a pipe into slots", result, (0,))

    return ask


add("pipe-direct", "IORING_OP_PIPE", _pipe(_SLOT_0))
add("pipe-direct-alloc", "IORING_OP_PIPE IORING_FILE_INDEX_ALLOC", _pipe(ALLOC))


@request("close-direct", "IORING_OP_CLOSE")
def _close(w: World) -> Finding:
    """That the slot is free then, not what the request says of itself: kernels that overlook the field close fd 0."""
    ring = w.with_files(w.file)
    zero = os.dup(0) if _is_open(0) else -1
    try:
        result = ring.ask(sqe(OP.CLOSE, 0, file_index=_SLOT_0)).res
    finally:
        if zero >= 0:
            os.dup2(zero, 0)
            os.close(zero)
    if result < 0:
        return judge("close of slot 0", result, ())
    after = ring.ask(sqe(OP.READ, 0, addr=w.buffer, size=1, flags=f.IOSQE_FIXED_FILE)).res
    return judge("a read from a slot that was closed", after, (-errno.EBADF,), (1,))


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@request("fixed-fd-no-cloexec", "IORING_FIXED_FD_NO_CLOEXEC IORING_OP_FIXED_FD_INSTALL")
def _no_cloexec(w: World) -> Finding:
    flags = f.IORING_FIXED_FD_NO_CLOEXEC
    result = w.closed(w.ask_fixed(sqe(OP.FIXED_FD_INSTALL, 0, flags=f.IOSQE_FIXED_FILE, rw_flags=flags)))
    if result < 0:
        return judge("a descriptor that programs inherit", result, ())
    return seen(os.get_inheritable(result), "whether programs inherit the descriptor")


@request("splice-fd-in-fixed", "SPLICE_F_FD_IN_FIXED IORING_OP_SPLICE")
def _splice_fixed(w: World) -> Finding:
    entry = sqe(OP.SPLICE, w.pipe()[1], off=-1, size=3, file_index=0, rw_flags=f.SPLICE_F_FD_IN_FIXED)
    return judge("splice from registered file 0", w.ask_fixed(entry), (3,), (*INVALID, -errno.EBADF))
