"""Operation and registration numbers, and the kernel each operation came with.

Source: include/uapi/linux/io_uring.h. The numbers are compared with the header and with Zig in tests/uring.
"""

from __future__ import annotations

from enum import IntEnum
from types import SimpleNamespace

TYPE_CHECKING = False


class IORING_OP(IntEnum):  # noqa: N801 - the kernel's name
    """`io_uring_sqe.opcode`."""

    NOP = 0
    READV = 1
    WRITEV = 2
    FSYNC = 3
    READ_FIXED = 4
    WRITE_FIXED = 5
    POLL_ADD = 6
    POLL_REMOVE = 7
    SYNC_FILE_RANGE = 8
    SENDMSG = 9
    RECVMSG = 10
    TIMEOUT = 11
    TIMEOUT_REMOVE = 12
    ACCEPT = 13
    ASYNC_CANCEL = 14
    LINK_TIMEOUT = 15
    CONNECT = 16
    FALLOCATE = 17
    OPENAT = 18
    CLOSE = 19
    FILES_UPDATE = 20
    STATX = 21
    READ = 22
    WRITE = 23
    FADVISE = 24
    MADVISE = 25
    SEND = 26
    RECV = 27
    OPENAT2 = 28
    EPOLL_CTL = 29
    SPLICE = 30
    PROVIDE_BUFFERS = 31
    REMOVE_BUFFERS = 32
    TEE = 33
    SHUTDOWN = 34
    RENAMEAT = 35
    UNLINKAT = 36
    MKDIRAT = 37
    SYMLINKAT = 38
    LINKAT = 39
    MSG_RING = 40
    FSETXATTR = 41
    SETXATTR = 42
    FGETXATTR = 43
    GETXATTR = 44
    SOCKET = 45
    URING_CMD = 46
    SEND_ZC = 47
    SENDMSG_ZC = 48
    READ_MULTISHOT = 49
    WAITID = 50
    FUTEX_WAIT = 51
    FUTEX_WAKE = 52
    FUTEX_WAITV = 53
    FIXED_FD_INSTALL = 54
    FTRUNCATE = 55
    BIND = 56
    LISTEN = 57
    RECV_ZC = 58
    EPOLL_WAIT = 59
    READV_FIXED = 60
    WRITEV_FIXED = 61
    PIPE = 62
    NOP128 = 63
    URING_CMD128 = 64


# The same names for plain integers: Python 3.11 takes longer to look up a member of an enum than to write an entry.
if TYPE_CHECKING:
    OP = IORING_OP
else:
    OP = SimpleNamespace(**{op.name: op.value for op in IORING_OP})


# Operations that take 128 bytes, in queues whose entries have two sizes as well.
BIG = frozenset({IORING_OP.NOP128, IORING_OP.URING_CMD128})


class IORING_REGISTER(IntEnum):  # noqa: N801 - the kernel's name
    """First argument of io_uring_register(2) after the ring."""

    REGISTER_BUFFERS = 0
    UNREGISTER_BUFFERS = 1
    REGISTER_FILES = 2
    UNREGISTER_FILES = 3
    REGISTER_EVENTFD = 4
    UNREGISTER_EVENTFD = 5
    REGISTER_FILES_UPDATE = 6
    REGISTER_EVENTFD_ASYNC = 7
    REGISTER_PROBE = 8
    REGISTER_PERSONALITY = 9
    UNREGISTER_PERSONALITY = 10
    REGISTER_RESTRICTIONS = 11
    REGISTER_ENABLE_RINGS = 12
    REGISTER_FILES2 = 13
    REGISTER_FILES_UPDATE2 = 14
    REGISTER_BUFFERS2 = 15
    REGISTER_BUFFERS_UPDATE = 16
    REGISTER_IOWQ_AFF = 17
    UNREGISTER_IOWQ_AFF = 18
    REGISTER_IOWQ_MAX_WORKERS = 19
    REGISTER_RING_FDS = 20
    UNREGISTER_RING_FDS = 21
    REGISTER_PBUF_RING = 22
    UNREGISTER_PBUF_RING = 23
    REGISTER_SYNC_CANCEL = 24
    REGISTER_FILE_ALLOC_RANGE = 25
    REGISTER_PBUF_STATUS = 26
    REGISTER_NAPI = 27
    UNREGISTER_NAPI = 28
    REGISTER_CLOCK = 29
    REGISTER_CLONE_BUFFERS = 30
    REGISTER_SEND_MSG_RING = 31
    REGISTER_ZCRX_IFQ = 32
    REGISTER_RESIZE_RINGS = 33
    REGISTER_MEM_REGION = 34
    REGISTER_QUERY = 35
    REGISTER_ZCRX_CTRL = 36
    REGISTER_BPF_FILTER = 37


class IO_URING_SOCKET_OP(IntEnum):  # noqa: N801 - the kernel's name
    """Command of IORING_OP_URING_CMD on a socket. Zig spells the first SIOCIN; both names are here."""

    SIOCINQ = 0
    SIOCIN = 0
    SIOCOUTQ = 1
    GETSOCKOPT = 2
    SETSOCKOPT = 3
    TX_TIMESTAMP = 4
    GETSOCKNAME = 5


# Flag ORed into a registration number: the descriptor is an index from REGISTER_RING_FDS. Since 6.3.
IORING_REGISTER_USE_REGISTERED_RING = 1 << 31

# First kernel of each operation as its man page has it; distributions backport, so probe first.
_SINCE = (
    ("5.1", "NOP READV WRITEV FSYNC READ_FIXED WRITE_FIXED POLL_ADD POLL_REMOVE"),
    ("5.2", "SYNC_FILE_RANGE"),
    ("5.3", "SENDMSG RECVMSG"),
    ("5.4", "TIMEOUT"),
    ("5.5", "TIMEOUT_REMOVE ACCEPT ASYNC_CANCEL LINK_TIMEOUT CONNECT"),
    ("5.6", "FALLOCATE OPENAT CLOSE FILES_UPDATE STATX READ WRITE FADVISE MADVISE SEND RECV OPENAT2 EPOLL_CTL"),
    ("5.7", "SPLICE PROVIDE_BUFFERS REMOVE_BUFFERS"),
    ("5.8", "TEE"),
    ("5.11", "SHUTDOWN RENAMEAT UNLINKAT"),
    ("5.15", "MKDIRAT SYMLINKAT LINKAT"),
    ("5.18", "MSG_RING"),
    ("5.19", "FSETXATTR SETXATTR FGETXATTR GETXATTR SOCKET URING_CMD"),
    ("6.0", "SEND_ZC"),
    ("6.1", "SENDMSG_ZC"),
    ("6.7", "READ_MULTISHOT WAITID FUTEX_WAIT FUTEX_WAKE FUTEX_WAITV"),
    ("6.8", "FIXED_FD_INSTALL"),
    ("6.9", "FTRUNCATE"),
    ("6.11", "BIND LISTEN"),
    ("6.15", "RECV_ZC EPOLL_WAIT READV_FIXED WRITEV_FIXED"),
    ("6.16", "PIPE"),
    ("6.19", "NOP128 URING_CMD128"),
)
OPERATION_SINCE: dict[IORING_OP, str] = {
    IORING_OP[name]: release for release, names in _SINCE for name in names.split()
}
