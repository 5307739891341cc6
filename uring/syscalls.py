"""System calls, each raising from its own errno table: io_uring_*(2), mmap(2), munmap(2), close(2).

libc's `syscall` is called through `CDLL`, which lets other Python threads run: a submission may block in the kernel
(it executes requests inline), so even calls that do not wait must not keep the interpreter lock.
`mmap.mmap` is not used: it duplicates the ring's descriptor and cannot be closed while a view of it lives.
"""

from __future__ import annotations

import ctypes
import os
from errno import EBADF

from . import errno_tables as tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from .structs import io_uring_params

# The three numbers are the same on every architecture (they came after the tables were unified; alpha adds 110).
SYS_IO_URING_SETUP = 425
SYS_IO_URING_ENTER = 426
SYS_IO_URING_REGISTER = 427

PROT_READ = 1
PROT_WRITE = 2
MAP_SHARED = 1
MAP_PRIVATE = 2
MAP_ANONYMOUS = 0x20
MAP_POPULATE = 0x8000
_MAP_FAILED = ctypes.c_void_p(-1).value
# The kernel's sigset size, passed even when no signal mask is (64 signals; 128 on MIPS, which is not supported).
SIGSET_BYTES = 8

_libc = ctypes.CDLL(None, use_errno=True)
_setup = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long, ctypes.c_uint, ctypes.c_void_p, use_errno=True)(
    ("syscall", _libc)
)
# Without argument types: converting seven arguments through them costs more than the system call. Python integers then
# travel as C ints, which is what io_uring_enter(2) takes for all of its numbers. Called from outside where a call of
# `io_uring_enter` more would be felt: (SYS_IO_URING_ENTER, fd, to_submit, min_complete, flags, None, SIGSET_BYTES), and
# behind it `enter_failed` if the result is negative.
enter = _libc.syscall
_register = ctypes.CFUNCTYPE(
    ctypes.c_long, ctypes.c_long, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p, ctypes.c_uint, use_errno=True
)(("syscall", _libc))
_mmap = ctypes.CFUNCTYPE(
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int64,
    use_errno=True,
)(("mmap64" if hasattr(_libc, "mmap64") else "mmap", _libc))
_munmap = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, use_errno=True)(("munmap", _libc))


def io_uring_setup(entries: int, params: io_uring_params) -> int:
    """Create a ring; `params` is filled in by the kernel. Returns its descriptor."""
    result = _setup(SYS_IO_URING_SETUP, entries, ctypes.addressof(params))
    if result < 0:
        tables.fail(f"io_uring_setup(entries={entries}, flags={params.flags:#x})", ctypes.get_errno(), tables.SETUP)
    return int(result)


def io_uring_enter(fd: int, to_submit: int, min_complete: int, flags: int) -> int:
    """Submit and wait. Returns the number of SQEs the kernel consumed."""
    result: int = enter(SYS_IO_URING_ENTER, fd, to_submit, min_complete, flags, None, SIGSET_BYTES)
    if result < 0:
        enter_failed(to_submit, min_complete, flags)
    return result


def enter_failed(to_submit: int, min_complete: int, flags: int) -> NoReturn:
    """Raise what the errno of this thread's last `enter` stands for."""
    tables.fail(
        f"io_uring_enter(to_submit={to_submit}, min_complete={min_complete}, flags={flags:#x})",
        ctypes.get_errno(),
        tables.ENTER,
    )


def io_uring_setup_errno(entries: int, params: io_uring_params) -> int:
    """Like `io_uring_setup`, but hands back a negative errno instead of raising."""
    result: int = _setup(SYS_IO_URING_SETUP, entries, ctypes.addressof(params))
    return result if result >= 0 else -ctypes.get_errno()


def io_uring_enter_errno(
    fd: int, to_submit: int, min_complete: int, flags: int, argument: int = 0, size: int = SIGSET_BYTES
) -> int:
    """Like `io_uring_enter`, but hands back a negative errno instead of raising.

    `argument` and `size` are a signal mask, or with IORING_ENTER_EXT_ARG an `io_uring_getevents_arg`.
    """
    result: int = enter(
        SYS_IO_URING_ENTER,
        fd,
        to_submit,
        min_complete,
        ctypes.c_uint(flags),
        ctypes.c_void_p(argument),
        ctypes.c_size_t(size),
    )
    return result if result >= 0 else -ctypes.get_errno()


def io_uring_register_errno(fd: int, opcode: int, address: int, count: int) -> int:
    """Like `io_uring_register`, but hands back a negative errno instead of raising."""
    result: int = _register(SYS_IO_URING_REGISTER, fd, opcode, address, count)
    return result if result >= 0 else -ctypes.get_errno()


def io_uring_register(fd: int, opcode: int, address: int, count: int, table: tables.Table, call: str) -> int:
    """Register or unregister something with a ring; errors are read from the `table` of the calling function."""
    result = io_uring_register_errno(fd, opcode, address, count)
    if result < 0:
        tables.fail(call, -result, table)
    return result


def mmap(size_bytes: int, flags: int, fd: int, offset: int, call: str) -> int:
    """Map readable and writable memory. Returns its address."""
    address = _mmap(None, size_bytes, PROT_READ | PROT_WRITE, flags, fd, offset)
    if address is None or address == _MAP_FAILED:
        tables.fail(f"mmap of {call} ({size_bytes} bytes)", ctypes.get_errno(), tables.MMAP)
    return int(address)


def munmap(address: int, size_bytes: int) -> None:
    """Undo `mmap`."""
    if _munmap(address, size_bytes) < 0:
        tables.fail(f"munmap({address:#x}, {size_bytes})", ctypes.get_errno(), tables.MUNMAP)


def close(fd: int) -> None:
    """Close a descriptor; one that was closed behind our back is no error, the aim is reached."""
    try:
        os.close(fd)
    except OSError as error:
        if error.errno != EBADF:
            raise
