"""Every operation, asked to do the least it can do.

What is asked for is valid wherever the operation is known, so EINVAL means that it is not: descriptors are open, which
old kernels look at before the opcode, pointers point somewhere, and paths lead to errors of their own.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import sys

from .. import flags as f
from ..opcodes import IORING_OP, OP
from ..structs import Statx
from .bare import sqe
from .finding import ANY, Finding, add, judge, request
from .world import CONTENT, World
from .zero_copy import ZCRX_OFF, register_ifq

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from .finding import Results

    Ask: TypeAlias = Callable[[World], int]

CWD = -100
_CWD32 = CWD & 0xFFFF_FFFF
NOWHERE = (1 << 64) - 1
_FUTEX_PRIVATE_U32 = 0x82
_P_PID, _WNOHANG_WEXITED = 1, 5
# No group of buffers has this number.
NO_GROUP = 999

_NOENT, _EXIST, _AGAIN = (-errno.ENOENT,), (-errno.EEXIST,), (-errno.EAGAIN,)
# The file may have no such attribute, or its filesystem none at all.
_NO_XATTR = (0, -errno.ENODATA, -errno.EOPNOTSUPP, -errno.EPERM)
# What kernels can be built without, and answer EOPNOTSUPP for then.
_WITHOUT = {
    "CONFIG_EPOLL": "EPOLL_CTL EPOLL_WAIT",
    "CONFIG_ADVISE_SYSCALLS": "FADVISE MADVISE",
    "CONFIG_FUTEX": "FUTEX_WAIT FUTEX_WAKE FUTEX_WAITV",
    "CONFIG_NET": "ACCEPT CONNECT SEND RECV SENDMSG RECVMSG SHUTDOWN SOCKET BIND LISTEN",
}
_SYMBOL = {name: symbol for symbol, names in _WITHOUT.items() for name in names.split()}


def mask32(events: int) -> int:
    """A poll mask as the field has it: the halves of a word are the other way round on big-endian machines."""
    return events if sys.byteorder == "little" else (events >> 16 | events << 16) & 0xFFFF_FFFF


def _nowhere(w: World) -> int:
    return w.put(b"/proc/self/nothing/there")


def _root(w: World) -> int:
    return w.put(b"/")


def _unix(w: World) -> int:
    return w.keep(socket.socket(socket.AF_UNIX).detach())


def _epoll(w: World, *watched: int) -> int:
    epoll = select.epoll()
    for fd in watched:
        epoll.register(fd, select.EPOLLOUT)
    w.pin(epoll)
    return epoll.fileno()


def _link_timeout(w: World) -> int:
    """Its own completion, behind a request that is over at once."""
    first = w.ring.submit(sqe(OP.NOP, flags=f.IOSQE_IO_LINK), sqe(OP.LINK_TIMEOUT, addr=w.time(10), size=1))
    return next(cqe.res for cqe in w.ring.reap(2) if cqe.user_data == first + 1)


def _moved(w: World, opcode: int, **fields: int) -> int:
    """From one pipe into another."""
    return w.ask(sqe(opcode, w.pipe()[1], size=3, file_index=w.pipe(b"abc")[0], **fields))


def _zero_copy(w: World, entry: Callable[[World, int], list[int]]) -> int:
    """What a zero-copy send comes to; that memory is free again is told by a second completion."""
    return w.fresh().ask(entry(w, w.udp())).res


def _connect(w: World) -> int:
    name = w.listener()[1]
    return w.ask(sqe(OP.CONNECT, _unix(w), addr=w.put(name), off=len(name)))


def _xattr(w: World, opcode: int, fd: int = -1, path: int = 0) -> int:
    return w.ask(sqe(opcode, fd, addr=w.put(b"user.uring"), off=w.buffer, size=4, addr3=path))


def _futex(w: World, opcode: int) -> int:
    """A futex that is not what is waited for, and that nobody waits for."""
    return w.ask(sqe(opcode, _FUTEX_PRIVATE_U32, addr=w.room(4), off=1, addr3=0xFFFF_FFFF))


def _waitv(w: World) -> int:
    waiter = struct.pack("=QQII", 1, w.room(4), _FUTEX_PRIVATE_U32, 0)
    return w.ask(sqe(OP.FUTEX_WAITV, 0, addr=w.put(waiter), size=1))


def _pipe(w: World) -> int:
    fds = w.room(8)
    result = w.ask(sqe(OP.PIPE, 0, addr=fds))
    if result == 0:
        for fd in struct.unpack("=ii", w.get(fds, 8)):
            w.keep(fd)
    return result


# Name of the operation, results that only a kernel gives that knows it, the request.
_TABLE: tuple[tuple[str, Results, Ask], ...] = (
    ("NOP", (0,), lambda w: w.ask(sqe(OP.NOP))),
    ("READV", (16,), lambda w: w.ask(sqe(OP.READV, w.file, addr=w.iovec(), size=1))),
    ("WRITEV", (16,), lambda w: w.ask(sqe(OP.WRITEV, w.file, addr=w.iovec((w.put(CONTENT[:16]), 16)), size=1))),
    ("FSYNC", (0,), lambda w: w.ask(sqe(OP.FSYNC, w.file))),
    ("READ_FIXED", (16,), lambda w: w.ask_fixed(sqe(OP.READ_FIXED, w.file, addr=w.buffer, size=16))),
    ("WRITE_FIXED", (16,), lambda w: w.ask_fixed(sqe(OP.WRITE_FIXED, w.pipe()[1], addr=w.buffer, size=16))),
    ("POLL_ADD", (select.POLLOUT,), lambda w: w.ask(sqe(OP.POLL_ADD, w.pipe()[1], rw_flags=mask32(select.POLLOUT)))),
    ("POLL_REMOVE", _NOENT, lambda w: w.ask(sqe(OP.POLL_REMOVE, addr=NOWHERE))),
    ("SYNC_FILE_RANGE", (0,), lambda w: w.ask(sqe(OP.SYNC_FILE_RANGE, w.file, size=16))),
    ("SENDMSG", (16,), lambda w: w.ask(sqe(OP.SENDMSG, w.pair()[0], addr=w.message(w.buffer, 16), size=1))),
    ("RECVMSG", (3,), lambda w: w.ask(sqe(OP.RECVMSG, w.pair(b"abc")[0], addr=w.message(w.buffer, 16), size=1))),
    ("TIMEOUT", (-errno.ETIME,), lambda w: w.ask(sqe(OP.TIMEOUT, addr=w.time(), size=1))),
    ("TIMEOUT_REMOVE", _NOENT, lambda w: w.ask(sqe(OP.TIMEOUT_REMOVE, addr=NOWHERE))),
    ("ACCEPT", (ANY,), lambda w: w.ask_fd(sqe(OP.ACCEPT, w.listener(1)[0]))),
    ("ASYNC_CANCEL", _NOENT, lambda w: w.ask(sqe(OP.ASYNC_CANCEL, addr=NOWHERE))),
    ("LINK_TIMEOUT", (-errno.ECANCELED,), _link_timeout),
    ("CONNECT", (0,), _connect),
    ("FALLOCATE", (0,), lambda w: w.ask(sqe(OP.FALLOCATE, w.file, addr=len(CONTENT)))),
    ("OPENAT", (ANY,), lambda w: w.ask_fd(sqe(OP.OPENAT, CWD, addr=_root(w), rw_flags=os.O_PATH))),
    ("CLOSE", (0,), lambda w: w.ask(sqe(OP.CLOSE, os.dup(w.file)))),
    ("FILES_UPDATE", (1,), lambda w: w.ask_fixed(sqe(OP.FILES_UPDATE, addr=w.fds(-1), size=1, off=1))),
    ("STATX", (0,), lambda w: w.ask(sqe(OP.STATX, CWD, addr=_root(w), off=w.at(Statx()), size=1))),
    ("READ", (16,), lambda w: w.ask(sqe(OP.READ, w.file, addr=w.buffer, size=16))),
    ("WRITE", (16,), lambda w: w.ask(sqe(OP.WRITE, w.file, addr=w.put(CONTENT[:16]), size=16))),
    ("FADVISE", (0,), lambda w: w.ask(sqe(OP.FADVISE, w.file, size=16))),
    ("MADVISE", (0,), lambda w: w.ask(sqe(OP.MADVISE, addr=w.pages(4096), size=4096))),
    ("SEND", (16,), lambda w: w.ask(sqe(OP.SEND, w.pair()[0], addr=w.buffer, size=16))),
    ("RECV", (3,), lambda w: w.ask(sqe(OP.RECV, w.pair(b"abc")[0], addr=w.buffer, size=16))),
    ("OPENAT2", (ANY,), lambda w: w.ask_fd(sqe(OP.OPENAT2, CWD, addr=_root(w), size=24, off=w.how(os.O_PATH)))),
    ("EPOLL_CTL", (0,), lambda w: w.ask(sqe(OP.EPOLL_CTL, _epoll(w), off=w.pipe()[0], addr=w.room(12), size=1))),
    ("SPLICE", (3,), lambda w: _moved(w, OP.SPLICE, off=-1, addr=NOWHERE)),
    ("PROVIDE_BUFFERS", (ANY,), lambda w: w.fresh().ask(sqe(OP.PROVIDE_BUFFERS, 1, addr=w.buffer, size=8)).res),
    ("REMOVE_BUFFERS", _NOENT, lambda w: w.ask(sqe(OP.REMOVE_BUFFERS, 1, buf_index=NO_GROUP))),
    ("TEE", (3,), lambda w: _moved(w, OP.TEE)),
    ("SHUTDOWN", (0,), lambda w: w.ask(sqe(OP.SHUTDOWN, w.pair()[0]))),
    ("RENAMEAT", _NOENT, lambda w: w.ask(sqe(OP.RENAMEAT, CWD, addr=_nowhere(w), size=_CWD32, off=_nowhere(w)))),
    ("UNLINKAT", _NOENT, lambda w: w.ask(sqe(OP.UNLINKAT, CWD, addr=_nowhere(w)))),
    ("MKDIRAT", _EXIST, lambda w: w.ask(sqe(OP.MKDIRAT, CWD, addr=_root(w)))),
    ("SYMLINKAT", _EXIST, lambda w: w.ask(sqe(OP.SYMLINKAT, CWD, addr=_root(w), off=_root(w)))),
    ("LINKAT", _NOENT, lambda w: w.ask(sqe(OP.LINKAT, CWD, addr=_nowhere(w), size=_CWD32, off=_nowhere(w)))),
    ("MSG_RING", (0,), lambda w: w.ask(sqe(OP.MSG_RING, w.fresh().fd, off=1))),
    ("FSETXATTR", _NO_XATTR, lambda w: _xattr(w, OP.FSETXATTR, w.file)),
    ("SETXATTR", _NOENT, lambda w: _xattr(w, OP.SETXATTR, path=_nowhere(w))),
    ("FGETXATTR", (ANY, *_NO_XATTR), lambda w: _xattr(w, OP.FGETXATTR, w.file)),
    ("GETXATTR", _NOENT, lambda w: _xattr(w, OP.GETXATTR, path=_nowhere(w))),
    ("SOCKET", (ANY,), lambda w: w.ask_fd(sqe(OP.SOCKET, socket.AF_UNIX, off=socket.SOCK_STREAM))),
    # A file without commands of its own.
    ("URING_CMD", (-errno.EOPNOTSUPP,), lambda w: w.ask(sqe(OP.URING_CMD, w.file))),
    ("SEND_ZC", (16,), lambda w: _zero_copy(w, lambda w, fd: sqe(OP.SEND_ZC, fd, addr=w.buffer, size=16))),
    (
        "SENDMSG_ZC",
        (16,),
        lambda w: _zero_copy(w, lambda w, fd: sqe(OP.SENDMSG_ZC, fd, addr=w.message(w.buffer, 16), size=1)),
    ),
    # There is something to read, and no buffer of the group to read it into.
    (
        "READ_MULTISHOT",
        (-errno.ENOBUFS,),
        lambda w: w.ask(sqe(OP.READ_MULTISHOT, w.pipe(b"abc")[0], flags=f.IOSQE_BUFFER_SELECT, buf_index=NO_GROUP)),
    ),
    # A process that is not our child.
    (
        "WAITID",
        (-errno.ECHILD,),
        lambda w: w.ask(sqe(OP.WAITID, os.getpid(), size=_P_PID, off=w.room(128), file_index=_WNOHANG_WEXITED)),
    ),
    ("FUTEX_WAIT", _AGAIN, lambda w: _futex(w, OP.FUTEX_WAIT)),
    ("FUTEX_WAKE", (0,), lambda w: _futex(w, OP.FUTEX_WAKE)),
    ("FUTEX_WAITV", _AGAIN, _waitv),
    (
        "FIXED_FD_INSTALL",
        (ANY,),
        lambda w: w.closed(w.ask_fixed(sqe(OP.FIXED_FD_INSTALL, 0, flags=f.IOSQE_FIXED_FILE))),
    ),
    ("FTRUNCATE", (0,), lambda w: w.ask(sqe(OP.FTRUNCATE, w.file, off=len(CONTENT)))),
    # Two bytes of an address let the kernel choose the rest.
    ("BIND", (0,), lambda w: w.ask(sqe(OP.BIND, _unix(w), addr=w.put(struct.pack("=H", socket.AF_UNIX)), off=2))),
    ("LISTEN", (0,), lambda w: w.ask(sqe(OP.LISTEN, w.listener()[0], size=8))),
    ("EPOLL_WAIT", (1,), lambda w: w.ask(sqe(OP.EPOLL_WAIT, _epoll(w, w.pipe()[1]), addr=w.room(24), size=1))),
    ("READV_FIXED", (16,), lambda w: w.ask_fixed(sqe(OP.READV_FIXED, w.file, addr=w.iovec(), size=1))),
    ("WRITEV_FIXED", (16,), lambda w: w.ask_fixed(sqe(OP.WRITEV_FIXED, w.pipe()[1], addr=w.iovec(), size=1))),
    ("PIPE", (0,), _pipe),
    ("NOP128", (0,), lambda w: w.fresh(f.IORING_SETUP_SQE128).ask(sqe(OP.NOP128)).res),
    (
        "URING_CMD128",
        (-errno.EOPNOTSUPP,),
        lambda w: w.fresh(f.IORING_SETUP_SQE128).ask(sqe(OP.URING_CMD128, w.file)).res,
    ),
)


def identifier(name: str) -> str:
    """What an operation's capability is called."""
    return f"op-{name.lower().replace('_', '-')}"


def _observation(name: str, has: Results, ask: Ask) -> Callable[[World], Finding]:
    off = {-errno.EOPNOTSUPP: _SYMBOL[name]} if name in _SYMBOL else None
    return lambda w: judge(f"IORING_OP_{name}", ask(w), has, off=off)


for _name, _has, _ask in _TABLE:
    add(identifier(_name), f"IORING_OP_{IORING_OP[_name].name}", _observation(_name, _has, _ask))


@request(identifier("RECV_ZC"), "IORING_OP_RECV_ZC")
def _recv_zc(w: World) -> Finding:
    # Without a queue of a network card every use is invalid. But a flag that the operation cannot have is looked at
    # first, and only where the operation is known.
    result = w.ask(sqe(OP.RECV_ZC, w.pair()[0], flags=f.IOSQE_BUFFER_SELECT, buf_index=NO_GROUP))
    finding = judge("IORING_OP_RECV_ZC with IOSQE_BUFFER_SELECT", result, (-errno.EOPNOTSUPP,))
    if result == -errno.EOPNOTSUPP and register_ifq(w) == -errno.EOPNOTSUPP:
        return judge("IORING_REGISTER_ZCRX_IFQ", -errno.EOPNOTSUPP, (), off=ZCRX_OFF)
    return finding


def _length_of_64_bits(name: str, entry: Callable[[World], list[int]]) -> Callable[[World], Finding]:
    """Kernels without it want zeros where the length is."""
    off = {-errno.EOPNOTSUPP: _SYMBOL[name]}
    return lambda w: judge(f"IORING_OP_{name} with a length of 64 bits", w.ask(entry(w)), (0,), off=off)


add("fadvise-64", "IORING_OP_FADVISE", _length_of_64_bits("FADVISE", lambda w: sqe(OP.FADVISE, w.file, addr=16)))
add(
    "madvise-64",
    "IORING_OP_MADVISE",
    _length_of_64_bits("MADVISE", lambda w: sqe(OP.MADVISE, addr=w.pages(4096), off=4096)),
)
