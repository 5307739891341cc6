"""Why there is no io_uring for a process: asked again with a plain ring, apart from what a test wanted of it."""

import errno
import os
import re
import resource
from collections.abc import Callable
from pathlib import Path

import uring
from harness.diagnosis import Diagnosis
from uring import syscalls

# What filters answer, and kernels do not where a plain ring works.
_REFUSALS = frozenset({errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP})
_SECCOMP = {"1": "strict mode", "2": "a filter"}
_OUTSIDE = "run outside of the container, or allow io_uring_setup, io_uring_enter and io_uring_register in its profile"


def diagnose(error: BaseException) -> Diagnosis | None:
    """Say whether something other than the kernel is why a test raised this.

    Args:
        error: what was raised.

    Returns:
        What is known; None if a plain ring works, and nothing stands in its way.
    """
    if not isinstance(error, uring.SyscallError):
        return None
    refused = _errno_of(_plain_ring)
    if refused:
        return _without_a_ring(refused)
    if error.errno in _REFUSALS and _seccomp() and (call := _filtered_call(error.errno)):
        return Diagnosis(
            "environment",
            f"a seccomp filter refuses {call} to this process ({_name(error.errno)}); {_OUTSIDE}",
            (str(error),),
        )
    if error.errno == errno.ENOMEM and (limit := _memlock_limit()):
        return Diagnosis("environment", f"{limit}; raise it with `ulimit -l`", (str(error),))
    return None


def _without_a_ring(refused: int) -> Diagnosis | None:
    plain = f"a plain ring of one entry is refused with {_name(refused)}"
    disabled = _sysctl("io_uring_disabled")
    if disabled in ("1", "2") and refused in (errno.EPERM, errno.EACCES):
        return Diagnosis(
            "environment",
            f"io_uring is switched off here (kernel.io_uring_disabled is {disabled}); "
            "`sysctl kernel.io_uring_disabled=0` switches it on",
            (plain,),
        )
    if (filtered := _seccomp()) and refused not in (errno.ENOMEM, errno.EMFILE, errno.ENFILE):
        return Diagnosis(
            "environment",
            f"seccomp ({filtered}) refuses io_uring_setup to this process ({_name(refused)}); {_OUTSIDE}",
            (plain,),
        )
    if refused == errno.ENOMEM:
        limit = _memlock_limit() or "there is no memory for a ring"
        return Diagnosis("environment", f"{limit}; raise it with `ulimit -l`, or give more memory", (plain,))
    if refused == errno.ENOSYS:
        return Diagnosis("unsupported", "no io_uring in this kernel", (plain, "and no seccomp filter is in its way"))
    if refused in (errno.EPERM, errno.EACCES):
        return Diagnosis(
            "environment",
            f"io_uring is forbidden to this process ({_name(refused)}), by a security module perhaps",
            (plain,),
        )
    return None


def _filtered_call(refused: int | None) -> str | None:
    """Which of the calls on a ring that works is refused."""
    with uring.IoUring(1) as ring:
        calls: dict[str, Callable[[], object]] = {
            "io_uring_enter": lambda: syscalls.io_uring_enter(ring.fd, 0, 0, 0),
            "io_uring_register": ring.get_probe,
        }
        return next((name for name, call in calls.items() if _errno_of(call) == refused), None)


def _plain_ring() -> None:
    uring.IoUring(1).deinit()


def _errno_of(call: Callable[[], object]) -> int:
    try:
        call()
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _seccomp() -> str | None:
    found = re.search(r"^Seccomp:\s*(\d+)", _text("/proc/self/status"), re.MULTILINE)
    return _SECCOMP.get(found[1]) if found else None


def _memlock_limit() -> str | None:
    """A sentence about the limit, where there is one for us."""
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if limit == resource.RLIM_INFINITY or os.geteuid() == 0:
        return None
    return f"this process may lock {limit >> 10} KiB of memory (RLIMIT_MEMLOCK)"


def _sysctl(name: str) -> str | None:
    return _text(f"/proc/sys/kernel/{name}").strip() or None


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except OSError:
        return ""


def _name(number: int | None) -> str:
    # Of two names for one number the kernel's, not the C library's.
    return "EOPNOTSUPP" if number == errno.EOPNOTSUPP else errno.errorcode.get(number or 0, str(number))
