"""Sending, receiving, accepting: flags in `ioprio`, multishot requests, commands of sockets."""

from __future__ import annotations

import errno
import socket
import struct
import sys

from .. import flags as f
from ..opcodes import IO_URING_SOCKET_OP, OP
from .bare import Cqe, Ring, sqe
from .finding import ANY, INVALID, Finding, add, judge, request, seen
from .world import LOOPBACK, World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .finding import Results

SELECT = f.IOSQE_BUFFER_SELECT
GROUP = 7
_MORE = f.IORING_CQE_F_MORE
_ZC_BYTES = 16


def multishot(words: str, cqe: Cqe) -> Finding:
    """Whether a completion of a request says that more follow."""
    if cqe.res < 0:
        return judge(words, cqe.res, ())
    return seen(bool(cqe.flags & _MORE), f"{words}: res {cqe.res}, flags {cqe.flags:#x}")


def _with_buffers(w: World, size: int = 8) -> Ring:
    ring = w.fresh()
    w.provide(ring, size=size)
    return ring


# ---- receive and send

_FLAGS: tuple[tuple[str, str, str, Results, Callable[[World], int]], ...] = (
    (
        "recv-poll-first",
        "IORING_RECVSEND_POLL_FIRST IORING_OP_RECV",
        "recv that polls first",
        (3,),
        lambda w: w.ask(sqe(OP.RECV, w.pair(b"abc")[0], addr=w.buffer, size=16, ioprio=f.IORING_RECVSEND_POLL_FIRST)),
    ),
    (
        "send-poll-first",
        "IORING_RECVSEND_POLL_FIRST IORING_OP_SEND",
        "send that polls first",
        (16,),
        lambda w: w.ask(sqe(OP.SEND, w.pair()[0], addr=w.buffer, size=16, ioprio=f.IORING_RECVSEND_POLL_FIRST)),
    ),
    (
        "recvmsg-poll-first",
        "IORING_RECVSEND_POLL_FIRST IORING_OP_RECVMSG",
        "recvmsg that polls first",
        (3,),
        lambda w: w.ask(
            sqe(
                OP.RECVMSG,
                w.pair(b"abc")[0],
                addr=w.message(w.buffer, 16),
                size=1,
                ioprio=f.IORING_RECVSEND_POLL_FIRST,
            )
        ),
    ),
    (
        "sendmsg-poll-first",
        "IORING_RECVSEND_POLL_FIRST IORING_OP_SENDMSG",
        "sendmsg that polls first",
        (16,),
        lambda w: w.ask(
            sqe(OP.SENDMSG, w.pair()[0], addr=w.message(w.buffer, 16), size=1, ioprio=f.IORING_RECVSEND_POLL_FIRST)
        ),
    ),
    (
        "send-vectorized",
        "IORING_SEND_VECTORIZED IORING_OP_SEND",
        "send of an iovec",
        (16,),
        lambda w: w.ask(sqe(OP.SEND, w.pair()[0], addr=w.iovec(), size=1, ioprio=f.IORING_SEND_VECTORIZED)),
    ),
    (
        "send-zc-fixed-buf",
        "IORING_RECVSEND_FIXED_BUF IORING_OP_SEND_ZC",
        "zero-copy send of a registered buffer",
        (_ZC_BYTES,),
        lambda w: w.ask_fixed(
            sqe(OP.SEND_ZC, w.udp(), addr=w.buffer, size=_ZC_BYTES, ioprio=f.IORING_RECVSEND_FIXED_BUF)
        ),
    ),
    (
        "sendmsg-zc-fixed-buf",
        "IORING_RECVSEND_FIXED_BUF IORING_OP_SENDMSG_ZC",
        "zero-copy sendmsg of a registered buffer",
        (_ZC_BYTES,),
        lambda w: w.ask_fixed(
            sqe(
                OP.SENDMSG_ZC,
                w.udp(),
                addr=w.message(w.buffer, _ZC_BYTES),
                size=1,
                ioprio=f.IORING_RECVSEND_FIXED_BUF,
            )
        ),
    ),
    (
        "send-zc-report-usage",
        "IORING_SEND_ZC_REPORT_USAGE IORING_NOTIF_USAGE_ZC_COPIED IORING_OP_SEND_ZC",
        "zero-copy send that reports usage",
        (_ZC_BYTES,),
        lambda w: (
            w.fresh()
            .ask(sqe(OP.SEND_ZC, w.udp(), addr=w.buffer, size=_ZC_BYTES, ioprio=f.IORING_SEND_ZC_REPORT_USAGE))
            .res
        ),
    ),
)


def _flagged(words: str, has: Results, ask: Callable[[World], int]) -> Callable[[World], Finding]:
    return lambda w: judge(words, ask(w), has)


for _id, _symbols, _words, _has, _ask in _FLAGS:
    add(_id, _symbols, _flagged(_words, _has, _ask))


@request("recv-multishot", "IORING_RECV_MULTISHOT IORING_OP_RECV")
def _recv_multishot(w: World) -> Finding:
    entry = sqe(OP.RECV, w.pair(b"abc")[0], flags=SELECT, buf_index=GROUP, ioprio=f.IORING_RECV_MULTISHOT)
    return multishot("multishot recv", _with_buffers(w).ask(entry))


@request("recv-multishot-length", "IORING_RECV_MULTISHOT IORING_OP_RECV")
def _recv_multishot_length(w: World) -> Finding:
    """Kernels without it refuse a length, because the buffer has one."""
    entry = sqe(OP.RECV, w.pair(b"abc")[0], size=2, flags=SELECT, buf_index=GROUP, ioprio=f.IORING_RECV_MULTISHOT)
    return judge("multishot recv of 2 bytes for each completion", _with_buffers(w).ask(entry).res, (2,))


@request("recv-multishot-total", "IORING_RECV_MULTISHOT IORING_OP_RECV")
def _recv_multishot_total(w: World) -> Finding:
    """Kernels without it refuse what they take for a slot of the file table."""
    entry = sqe(
        *(OP.RECV, w.pair(b"abc")[0]), flags=SELECT, buf_index=GROUP, ioprio=f.IORING_RECV_MULTISHOT, file_index=3
    )
    cqe = _with_buffers(w).ask(entry)
    if cqe.res != 3:
        return judge("multishot recv of 3 bytes in all", cqe.res, ())
    return seen(not cqe.flags & _MORE, f"multishot recv of 3 bytes in all: res {cqe.res}, flags {cqe.flags:#x}")


@request("recvmsg-multishot", "IORING_RECV_MULTISHOT IORING_OP_RECVMSG")
def _recvmsg_multishot(w: World) -> Finding:
    message = w.put(bytes(56))
    entry = sqe(
        *(OP.RECVMSG, w.pair(b"abc")[0]),
        addr=message,
        size=1,
        flags=SELECT,
        buf_index=GROUP,
        ioprio=f.IORING_RECV_MULTISHOT,
    )
    return multishot("multishot recvmsg", _with_buffers(w, 64).ask(entry))


@request("read-multishot", "IORING_OP_READ_MULTISHOT")
def _read_multishot(w: World) -> Finding:
    entry = sqe(OP.READ_MULTISHOT, w.pipe(b"abc")[0], flags=SELECT, buf_index=GROUP)
    return multishot("multishot read", _with_buffers(w).ask(entry))


def received_bundle(w: World) -> Finding:
    """One receive into several buffers; before 6.17 the first of them takes one buffer alone."""
    ring = w.fresh()
    w.buffer_ring(ring)
    entry = sqe(OP.RECV, w.pair(b"x" * 16)[0], flags=SELECT, buf_index=GROUP, ioprio=f.IORING_RECVSEND_BUNDLE)
    return judge("recv into a bundle of buffers of 8 bytes", ring.ask(entry).res, (16, 8))


add("recv-bundle", "IORING_RECVSEND_BUNDLE IORING_OP_RECV", received_bundle)


@request("send-bundle", "IORING_RECVSEND_BUNDLE IORING_OP_SEND")
def _send_bundle(w: World) -> Finding:
    ring = w.fresh()
    w.buffer_ring(ring)
    entry = sqe(OP.SEND, w.pair()[0], flags=SELECT, buf_index=GROUP, ioprio=f.IORING_RECVSEND_BUNDLE)
    # Without selection of buffers for sends the flag itself is not supported.
    return judge("send of a bundle of buffers of 8 bytes", ring.ask(entry).res, (16,), (8, *INVALID, -errno.EOPNOTSUPP))


@request("send-buffer-select", "IOSQE_BUFFER_SELECT IORING_OP_SEND")
def _send_select(w: World) -> Finding:
    ring = w.fresh()
    w.buffer_ring(ring)
    result = ring.ask(sqe(OP.SEND, w.pair()[0], flags=SELECT, buf_index=GROUP)).res
    return judge("send of a buffer that the kernel picks", result, (8,), (*INVALID, -errno.EOPNOTSUPP))


def _to_address(opcode: int) -> Callable[[World], Finding]:
    def ask(w: World) -> Finding:
        w.loopback()
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            receiver.bind((LOOPBACK, 0))
            port = receiver.getsockname()[1]
            address = w.put(struct.pack("=H", socket.AF_INET) + struct.pack(">H4s8x", port, socket.inet_aton(LOOPBACK)))
            length = int.from_bytes(struct.pack("=HH", 16, 0), sys.byteorder)
            entry = sqe(opcode, sender.fileno(), addr=w.buffer, size=16, off=address, file_index=length)
            result = w.fresh().ask(entry).res
        return judge("send to an address", result, (16,), (*INVALID, -errno.EDESTADDRREQ))

    return ask


add("send-to-address", "IORING_OP_SEND", _to_address(OP.SEND))
add("send-zc-to-address", "IORING_OP_SEND_ZC", _to_address(OP.SEND_ZC))


# ---- accept


@request("accept-multishot", "IORING_ACCEPT_MULTISHOT IORING_OP_ACCEPT")
def _accept_multishot(w: World) -> Finding:
    cqe = w.fresh().ask(sqe(OP.ACCEPT, w.listener(1)[0], ioprio=f.IORING_ACCEPT_MULTISHOT))
    w.closed(cqe.res)
    return multishot("multishot accept", cqe)


@request("accept-dontwait", "IORING_ACCEPT_DONTWAIT IORING_OP_ACCEPT")
def _accept_dontwait(w: World) -> Finding:
    result = w.fresh().ask(sqe(OP.ACCEPT, w.listener()[0], ioprio=f.IORING_ACCEPT_DONTWAIT)).res
    return judge("accept where nobody connects, without waiting", result, (-errno.EAGAIN,))


@request("accept-poll-first", "IORING_ACCEPT_POLL_FIRST IORING_OP_ACCEPT")
def _accept_poll_first(w: World) -> Finding:
    result = w.closed(w.fresh().ask(sqe(OP.ACCEPT, w.listener(1)[0], ioprio=f.IORING_ACCEPT_POLL_FIRST)).res)
    return judge("accept that polls first", result, (ANY,))


# ---- commands


def _inet(w: World) -> int:
    """A socket whose protocol has controls; sockets of the machine itself have none."""
    return w.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach())


def _two_words(first: int, second: int) -> int:
    return int.from_bytes(struct.pack("=II", first, second), sys.byteorder)


def without_commands(w: World) -> Finding | None:
    """What follows where there is no operation for commands; where there is, unknown ones are not supported."""
    result = w.ask(sqe(OP.URING_CMD, _inet(w), off=_two_words(0x7FFF, 0)))
    return None if result == -errno.EOPNOTSUPP else judge("a command that no socket knows", result, ())


def _option(w: World, command: int, name: int) -> int:
    value = w.put(struct.pack("=i", 1))
    entry = sqe(
        *(OP.URING_CMD, _inet(w)),
        off=_two_words(command, 0),
        addr=_two_words(socket.SOL_SOCKET, name),
        file_index=4,
        addr3=value,
    )
    return w.ask(entry)


def _name(w: World) -> int:
    entry = sqe(
        *(OP.URING_CMD, _inet(w)),
        off=_two_words(IO_URING_SOCKET_OP.GETSOCKNAME, 0),
        addr=w.room(32),
        addr3=w.put(struct.pack("=I", 32)),
    )
    return w.ask(entry)


_COMMANDS: tuple[tuple[IO_URING_SOCKET_OP, Results, Callable[[World], int]], ...] = (
    (IO_URING_SOCKET_OP.SIOCINQ, (ANY,), lambda w: w.ask(sqe(OP.URING_CMD, _inet(w), off=_two_words(0, 0)))),
    (IO_URING_SOCKET_OP.SIOCOUTQ, (ANY,), lambda w: w.ask(sqe(OP.URING_CMD, _inet(w), off=_two_words(1, 0)))),
    (
        IO_URING_SOCKET_OP.GETSOCKOPT,
        (4,),
        lambda w: _option(w, IO_URING_SOCKET_OP.GETSOCKOPT, socket.SO_TYPE),
    ),
    (
        IO_URING_SOCKET_OP.SETSOCKOPT,
        (0,),
        lambda w: _option(w, IO_URING_SOCKET_OP.SETSOCKOPT, socket.SO_REUSEADDR),
    ),
    # It needs a ring with big completions, and is invalid on others.
    (
        IO_URING_SOCKET_OP.TX_TIMESTAMP,
        INVALID,
        lambda w: w.ask(sqe(OP.URING_CMD, _inet(w), off=_two_words(IO_URING_SOCKET_OP.TX_TIMESTAMP, 0))),
    ),
    (IO_URING_SOCKET_OP.GETSOCKNAME, (0,), _name),
)


def _command(command: IO_URING_SOCKET_OP, has: Results, ask: Callable[[World], int]) -> Callable[[World], Finding]:
    def observe(w: World) -> Finding:
        if finding := without_commands(w):
            return finding
        return judge(f"SOCKET_URING_OP_{command.name}", ask(w), has, (-errno.EOPNOTSUPP,))

    return observe


for _op, _has, _ask in _COMMANDS:
    _dashed = f"socket-{_op.name.lower().replace('_', '-')}"
    add(_dashed, f"SOCKET_URING_OP_{_op.name} IORING_OP_URING_CMD", _command(_op, _has, _ask))


@request("uring-cmd-fixed", "IORING_URING_CMD_FIXED IORING_OP_URING_CMD")
def _cmd_fixed(w: World) -> Finding:
    if finding := without_commands(w):
        return finding
    result = w.ask_fixed(sqe(OP.URING_CMD, w.file, rw_flags=f.IORING_URING_CMD_FIXED))
    return judge("a command with a registered buffer, to a file without commands", result, (-errno.EOPNOTSUPP,))


@request("uring-cmd-multishot", "IORING_URING_CMD_MULTISHOT IORING_OP_URING_CMD")
def _cmd_multishot(w: World) -> Finding:
    """Only where commands can be multishot may one pick a buffer, and only a multishot one."""
    if finding := without_commands(w):
        return finding
    result = w.ask(sqe(OP.URING_CMD, w.file, flags=SELECT, buf_index=GROUP))
    return judge("a command that picks a buffer and is not multishot", result, INVALID, (-errno.EOPNOTSUPP,))
