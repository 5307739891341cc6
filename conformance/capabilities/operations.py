"""Operations: what each is for. Their numbers and first kernels are those of `uring`."""

import uring
from conformance.capabilities.record import Capability, Row, build, operation_since

_ENTER = "io_uring_enter(2)"
_PAGES = {name: f"io_uring_prep_{name.lower()}(3)" for name in ("WAITID", "FUTEX_WAIT", "FUTEX_WAKE", "FUTEX_WAITV")}
# Who says otherwise than the source that `uring.OPERATION_SINCE` follows.
_OTHERWISE = {"WAITID": f"6.5 {_ENTER}"}
_INITIAL = "kernel history (the first release of io_uring)"

_SENTENCES = {
    "NOP": "Does nothing but complete: what a round trip costs.",
    "READV": "Reads into several buffers, as preadv2(2).",
    "WRITEV": "Writes from several buffers, as pwritev2(2).",
    "FSYNC": "Makes a file durable, as fsync(2).",
    "READ_FIXED": "Reads into a registered buffer, whose pages are pinned already.",
    "WRITE_FIXED": "Writes from a registered buffer, whose pages are pinned already.",
    "POLL_ADD": "Waits until a file is ready, as poll(2).",
    "POLL_REMOVE": "Ends a poll, or changes it.",
    "SYNC_FILE_RANGE": "Begins or waits for writing back a range, as sync_file_range(2).",
    "SENDMSG": "Sends a message, as sendmsg(2).",
    "RECVMSG": "Receives a message, as recvmsg(2).",
    "TIMEOUT": "Completes after a time, or after a number of completions.",
    "TIMEOUT_REMOVE": "Ends a timeout, or changes it.",
    "ACCEPT": "Accepts a connection, as accept4(2).",
    "ASYNC_CANCEL": "Cancels requests in flight.",
    "LINK_TIMEOUT": "Limits the time of the request that it is linked behind.",
    "CONNECT": "Connects a socket, as connect(2).",
    "FALLOCATE": "Reserves or punches space in a file, as fallocate(2).",
    "OPENAT": "Opens a file, as openat(2).",
    "CLOSE": "Closes a descriptor, as close(2).",
    "FILES_UPDATE": "Changes registered files without a system call of its own.",
    "STATX": "Asks about a file, as statx(2).",
    "READ": "Reads into one buffer, as pread(2).",
    "WRITE": "Writes from one buffer, as pwrite(2).",
    "FADVISE": "Announces a file's access pattern, as posix_fadvise(2).",
    "MADVISE": "Gives advice about memory, as madvise(2).",
    "SEND": "Sends, as send(2).",
    "RECV": "Receives, as recv(2).",
    "OPENAT2": "Opens a file with resolution rules, as openat2(2).",
    "EPOLL_CTL": "Changes an epoll set, as epoll_ctl(2).",
    "SPLICE": "Moves data to or from a pipe, as splice(2).",
    "PROVIDE_BUFFERS": "Gives the kernel buffers to choose from, one request at a time.",
    "REMOVE_BUFFERS": "Takes provided buffers back.",
    "TEE": "Copies between pipes, as tee(2).",
    "SHUTDOWN": "Shuts down part of a connection, as shutdown(2).",
    "RENAMEAT": "Renames, as renameat2(2).",
    "UNLINKAT": "Removes a name, as unlinkat(2).",
    "MKDIRAT": "Makes a directory, as mkdirat(2).",
    "SYMLINKAT": "Makes a symbolic link, as symlinkat(2).",
    "LINKAT": "Makes a hard link, as linkat(2).",
    "MSG_RING": "Puts a completion into another ring.",
    "FSETXATTR": "Sets an extended attribute of an open file, as fsetxattr(2).",
    "SETXATTR": "Sets an extended attribute by path, as setxattr(2).",
    "FGETXATTR": "Gets an extended attribute of an open file, as fgetxattr(2).",
    "GETXATTR": "Gets an extended attribute by path, as getxattr(2).",
    "SOCKET": "Makes a socket, as socket(2).",
    "URING_CMD": "Hands a command to a driver, a filesystem or a socket, as ioctl(2) would.",
    "SEND_ZC": "Sends without copying, and says when the memory is free again.",
    "SENDMSG_ZC": "Sends a message without copying, and says when the memory is free again.",
    "READ_MULTISHOT": "Reads again and again into buffers that the kernel picks.",
    "WAITID": "Waits for a process, as waitid(2).",
    "FUTEX_WAIT": "Waits on a futex.",
    "FUTEX_WAKE": "Wakes who waits on a futex.",
    "FUTEX_WAITV": "Waits on several futexes at once.",
    "FIXED_FD_INSTALL": "Makes a plain descriptor of a registered file.",
    "FTRUNCATE": "Changes a file's length, as ftruncate(2).",
    "BIND": "Binds a socket to an address, as bind(2).",
    "LISTEN": "Makes a socket listen, as listen(2).",
    "RECV_ZC": "Receives without copying, from a queue of a network card.",
    "EPOLL_WAIT": "Waits on an epoll set, as epoll_wait(2): for programs on their way to io_uring.",
    "READV_FIXED": "Reads into parts of a registered buffer.",
    "WRITEV_FIXED": "Writes from parts of a registered buffer.",
    "PIPE": "Makes a pipe, as pipe2(2).",
    "NOP128": "Does nothing, in an entry of 128 bytes.",
    "URING_CMD128": "Hands over a command in an entry of 128 bytes.",
}


def _sources(name: str) -> str:
    since = operation_since(name)
    where = _INITIAL if since == "5.1" else _PAGES.get(name, _ENTER)
    return "; ".join([f"{since} {where}", *([_OTHERWISE[name]] if name in _OTHERWISE else [])])


def _row(name: str) -> Row:
    words = name.lower().replace("_", " ")
    return (f"op-{words.replace(' ', '-')}", words, _sources(name), _SENTENCES[name])


OPERATIONS: tuple[Capability, ...] = build(
    "operation",
    tuple(_row(op.name) for op in uring.IORING_OP),
    "`io_uring_register(2)` with `IORING_REGISTER_PROBE`: `ops[{number}].flags` has `IO_URING_OP_SUPPORTED`; a kernel "
    "older than 5.6 has no probe, and one whose `last_op` is below {number} does not know the operation",
)
