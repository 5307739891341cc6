"""What each errno means, one table per system call or registration.

The same errno means different things in different calls, so nothing is shared by accident. Each entry is the class to
raise and a sentence that tells the reader what to do.
"""

from __future__ import annotations

import errno
import os

from . import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn, TypeAlias

    Table: TypeAlias = Mapping[int, tuple[type[errors.SyscallError], str]]

SETUP: Table = {
    errno.EFAULT: (errors.ParamsOutsideAccessibleAddressSpace, "the parameter block is not readable and writable"),
    errno.EINVAL: (
        errors.ArgumentsInvalid,
        "entries out of bounds, a setup flag this kernel does not know, or flags that exclude each other",
    ),
    errno.EMFILE: (errors.ProcessFdQuotaExceeded, "close files or raise RLIMIT_NOFILE"),
    errno.ENFILE: (errors.SystemFdQuotaExceeded, "the system's file table is full"),
    errno.ENOMEM: (errors.SystemResources, "ask for fewer entries or raise RLIMIT_MEMLOCK"),
    errno.EOVERFLOW: (errors.ArgumentsInvalid, "a queue whose entries have two sizes needs room for a big one: two"),
    errno.EPERM: (
        errors.PermissionDenied,
        "check sysctl kernel.io_uring_disabled, the container's seccomp profile, and privileges for SQPOLL",
    ),
    errno.ENOSYS: (errors.SystemOutdated, "this kernel has no io_uring, or a seccomp profile hides it"),
}

ENTER: Table = {
    errno.EAGAIN: (errors.SystemResources, "wait for some completions, then submit again"),
    errno.EBADF: (errors.FileDescriptorInvalid, "the ring's descriptor is not open"),
    errno.EBADFD: (errors.FileDescriptorInBadState, "the ring is disabled; enable_rings() first"),
    errno.EBADR: (errors.CompletionsDropped, "completions were lost; close the ring and start again"),
    errno.EBUSY: (errors.CompletionQueueOvercommitted, "reap completions, then submit again"),
    errno.EEXIST: (errors.InvalidThread, "use the ring from the thread that created or enabled it"),
    errno.EFAULT: (errors.BufferInvalid, "an address is outside of this process or of the registered buffer"),
    errno.EINTR: (errors.SignalInterrupt, "a signal arrived; call again"),
    errno.ETIME: (errors.WaitTimedOut, "the time limit is over; what is there can be reaped"),
    errno.EINVAL: (errors.SubmissionQueueEntryInvalid, "an SQE or an enter flag is invalid for this ring"),
    errno.ENXIO: (errors.RingShuttingDown, "the ring is being torn down"),
    errno.EOPNOTSUPP: (errors.OpcodeNotSupported, "the descriptor is no ring, or the operation is not supported"),
    errno.EOWNERDEAD: (errors.SubmissionThreadDead, "the kernel's submission thread died; create a new ring"),
}

_ANY_REGISTER: Table = {
    errno.EACCES: (errors.PermissionDenied, "the ring's restrictions forbid this registration"),
    errno.EBADF: (errors.FileDescriptorInvalid, "a descriptor is not open"),
    errno.EBADFD: (errors.FileDescriptorInBadState, "the ring is disabled; enable_rings() first"),
    errno.EEXIST: (errors.InvalidThread, "use the ring from the thread that created or enabled it"),
    errno.EFAULT: (errors.BufferInvalid, "an address is outside of this process"),
    errno.EINVAL: (errors.ArgumentsInvalid, "this kernel does not know the registration, or an argument is invalid"),
    errno.ENOMEM: (errors.SystemResources, "memory or the RLIMIT_MEMLOCK limit ran out"),
    errno.ENXIO: (errors.RingShuttingDown, "the ring is being torn down"),
}

REGISTER_FILES: Table = {
    **_ANY_REGISTER,
    errno.EBADF: (errors.FileDescriptorInvalid, "a descriptor is not open, or the kernel has no sparse sets (< 5.5)"),
    errno.EBUSY: (errors.FilesAlreadyRegistered, "unregister the present files first, or update them"),
    errno.EINVAL: (errors.FilesEmpty, "no files were given, or this kernel does not know the registration"),
    errno.EMFILE: (errors.UserFdQuotaExceeded, "register fewer files or raise RLIMIT_NOFILE"),
    errno.ENXIO: (
        errors.RingShuttingDownOrAlreadyRegisteringFiles,
        "the ring is being torn down, or files are being registered",
    ),
}

REGISTER_FILES_UPDATE: Table = {
    **_ANY_REGISTER,
    errno.EBADF: (errors.FileDescriptorInvalid, "a descriptor is not open, or the kernel has no sparse sets (< 5.5)"),
    errno.EINVAL: (errors.FilesEmpty, "no files were given, or a slot is outside of the table"),
    errno.EMFILE: (errors.UserFdQuotaExceeded, "register fewer files or raise RLIMIT_NOFILE"),
    errno.ENXIO: (errors.FilesNotRegistered, "register files first"),
}

UNREGISTER_FILES: Table = {
    **_ANY_REGISTER,
    errno.ENXIO: (errors.FilesNotRegistered, "no files are registered"),
}

REGISTER_FILE_ALLOC_RANGE: Table = {
    **_ANY_REGISTER,
    errno.EINVAL: (errors.ArgumentsInvalid, "the range is outside of the file table, or the kernel is older than 6.0"),
    errno.EOVERFLOW: (errors.ArgumentsInvalid, "offset + len does not fit 32 bits"),
}

REGISTER_EVENTFD: Table = {
    **_ANY_REGISTER,
    errno.EBADF: (errors.FileDescriptorInvalid, "the descriptor is not open"),
    errno.EBUSY: (errors.EventfdAlreadyRegistered, "a ring has one eventfd; unregister the present one first"),
    errno.EINVAL: (errors.ArgumentsInvalid, "the descriptor is no eventfd, or this kernel lacks the registration"),
}

UNREGISTER_EVENTFD: Table = {
    **_ANY_REGISTER,
    errno.ENXIO: (errors.EventfdNotRegistered, "no eventfd is registered"),
}

REGISTER_BUFFERS: Table = {
    **_ANY_REGISTER,
    errno.EBUSY: (errors.BuffersAlreadyRegistered, "unregister the present buffers first"),
    errno.EINVAL: (errors.ArgumentsInvalid, "no buffers, too many, or an empty one"),
    errno.EOPNOTSUPP: (errors.BufferNotSupported, "memory that maps a file cannot be registered"),
}

REGISTER_BUFFERS_UPDATE: Table = {
    **_ANY_REGISTER,
    errno.EINVAL: (
        errors.ArgumentsInvalid,
        "no buffers, a slot outside of the table, or a kernel before 5.13",
    ),
    errno.ENXIO: (errors.BuffersNotRegistered, "register buffers first, perhaps empty ones"),
    errno.EOPNOTSUPP: (errors.BufferNotSupported, "memory that maps a file cannot be registered"),
}

REGISTER_CLONE_BUFFERS: Table = {
    **_ANY_REGISTER,
    errno.EBUSY: (errors.BuffersAlreadyRegistered, "unregister the present buffers first, or replace them"),
    errno.EINVAL: (errors.ArgumentsInvalid, "the source has fewer buffers, or the kernel is older than 6.12"),
    errno.ENXIO: (errors.BuffersNotRegistered, "the other ring has no buffers"),
    errno.EOPNOTSUPP: (errors.OpcodeNotSupported, "the source is no ring"),
    errno.EOVERFLOW: (errors.ArgumentsInvalid, "the source has fewer buffers, or the slots do not fit 32 bits"),
}

UNREGISTER_BUFFERS: Table = {
    **_ANY_REGISTER,
    errno.ENXIO: (errors.BuffersNotRegistered, "no buffers are registered"),
}

REGISTER_PROBE: Table = {
    **_ANY_REGISTER,
    errno.EINVAL: (errors.ArgumentsInvalid, "the kernel is older than 5.6 and has no probe"),
}

REGISTER_ENABLE_RINGS: Table = {
    **_ANY_REGISTER,
    errno.EBADFD: (errors.FileDescriptorInBadState, "the ring is not disabled: it was made without, or enabled before"),
    errno.EINVAL: (errors.ArgumentsInvalid, "the kernel is older than 5.10"),
}

REGISTER_RING_FDS: Table = {
    **_ANY_REGISTER,
    errno.EBUSY: (errors.ProcessFdQuotaExceeded, "this thread has 16 registered rings, which is the most"),
    errno.EINVAL: (errors.ArgumentsInvalid, "the kernel is older than 5.18"),
}

UNREGISTER_RING_FDS: Table = {
    **_ANY_REGISTER,
    errno.EINVAL: (errors.ArgumentsInvalid, "the index is another thread's, or the kernel is older than 5.18"),
}

REGISTER_SYNC_CANCEL: Table = {
    **_ANY_REGISTER,
    errno.EBADF: (errors.FileDescriptorInvalid, "the descriptor whose requests are meant is not open"),
    errno.EINTR: (errors.SignalInterrupt, "a signal arrived while waiting; call again"),
    errno.EINVAL: (errors.ArgumentsInvalid, "the kernel is older than 6.0, or does not know a flag"),
    errno.ENOENT: (errors.RequestNotFound, "no request in flight matches"),
    errno.ETIME: (errors.CancellationTimedOut, "a request that runs has not ended in time; it still may"),
}

REGISTER_PERSONALITY: Table = {
    **_ANY_REGISTER,
    errno.EINVAL: (errors.ArgumentsInvalid, "no such personality, or the kernel is older than 5.6"),
    errno.EBUSY: (errors.SystemResources, "65,535 personalities are registered, which is the most"),
}

REGISTER_RESTRICTIONS: Table = {
    **_ANY_REGISTER,
    errno.EBADFD: (errors.FileDescriptorInBadState, "the ring is not disabled; make it with IORING_SETUP_R_DISABLED"),
    errno.EBUSY: (errors.RestrictionsAlreadyRegistered, "a ring is restricted once"),
    errno.EINVAL: (errors.ArgumentsInvalid, "an unknown restriction or number, or the kernel is older than 5.10"),
}

REGISTER_IOWQ: Table = {
    **_ANY_REGISTER,
    errno.EINVAL: (errors.ArgumentsInvalid, "no such CPU, or the kernel is older than 5.14 (5.15 for max_workers)"),
}

REGISTER_CLOCK: Table = {
    **_ANY_REGISTER,
    errno.EINVAL: (errors.ArgumentsInvalid, "a clock that is not for waiting, or the kernel is older than 6.12"),
}

REGISTER_RESIZE_RINGS: Table = {
    **_ANY_REGISTER,
    errno.EINVAL: (errors.ArgumentsInvalid, "the ring is not DEFER_TASKRUN, or the kernel is older than 6.13"),
    errno.EOVERFLOW: (errors.ArgumentsInvalid, "what is in a queue finds no place in a smaller one"),
}

REGISTER_MEM_REGION: Table = {
    **_ANY_REGISTER,
    errno.EBUSY: (errors.RegionAlreadyRegistered, "a ring has one region"),
    errno.EINVAL: (errors.ArgumentsInvalid, "no whole pages, a ring that is not disabled, or a kernel before 6.13"),
}

REGISTER_QUERY: Table = {
    errno.EINVAL: (errors.ArgumentsInvalid, "the kernel is older than 6.18, or does not know the question"),
    errno.EBADF: (errors.ArgumentsInvalid, "the kernel is older than 6.18 and asks nothing without a ring"),
    errno.EOPNOTSUPP: (errors.ArgumentsInvalid, "the kernel does not know the question"),
    errno.EFAULT: (errors.BufferInvalid, "an address is outside of this process"),
    errno.EPERM: (errors.PermissionDenied, "check sysctl kernel.io_uring_disabled and the container's seccomp profile"),
    errno.ENOSYS: (errors.SystemOutdated, "this kernel has no io_uring, or a seccomp profile hides it"),
}

REGISTER_NAPI: Table = {
    **_ANY_REGISTER,
    errno.EINVAL: (errors.ArgumentsInvalid, "the kernel is older than 6.9, has no busy polling, or a field is invalid"),
    errno.EOPNOTSUPP: (errors.OpcodeNotSupported, "the kernel was built without busy polling"),
}

REGISTER_PBUF_RING: Table = {
    **_ANY_REGISTER,
    errno.EEXIST: (errors.BufferGroupAlreadyRegistered, "free the group first or choose another group ID"),
    errno.EINVAL: (
        errors.ArgumentsInvalid,
        "the kernel is older than 5.19 (6.4 for IOU_PBUF_RING_MMAP), or an argument is invalid",
    ),
}

UNREGISTER_PBUF_RING: Table = {
    **_ANY_REGISTER,
    errno.EINVAL: (errors.ArgumentsInvalid, "the kernel is older than 5.19, or the group is of the other kind"),
    errno.ENOENT: (errors.BufferGroupNotRegistered, "no buffer ring has this group ID"),
}

REGISTER_PBUF_STATUS: Table = {
    **_ANY_REGISTER,
    errno.EINVAL: (errors.ArgumentsInvalid, "the kernel is older than 6.8, or the group's buffers are in no ring"),
    errno.ENOENT: (errors.BufferGroupNotRegistered, "no buffer ring has this group ID"),
}

REGISTER_SEND_MSG_RING: Table = {
    **_ANY_REGISTER,
    errno.EBADF: (errors.FileDescriptorInvalid, "the entry's descriptor is not open"),
    errno.EBADFD: (errors.FileDescriptorInBadState, "the entry's descriptor is no ring, or a disabled one"),
    errno.EINVAL: (errors.ArgumentsInvalid, "the kernel is older than 6.13, or the entry sends no data"),
    errno.EOVERFLOW: (errors.CompletionQueueOvercommitted, "the other ring's completion queue is full; reap there"),
    errno.EOWNERDEAD: (errors.SubmissionThreadDead, "the task of the other ring is gone"),
}

REGISTER_ZCRX_IFQ: Table = {
    **_ANY_REGISTER,
    errno.EINVAL: (
        errors.ArgumentsInvalid,
        "the kernel is older than 6.15, or the ring or an argument does not fit",
    ),
    errno.ENODEV: (errors.NetworkDeviceInvalid, "there is no network device with this index"),
    errno.EOPNOTSUPP: (errors.OpcodeNotSupported, "the kernel was built without it, or the device cannot do it"),
    errno.EPERM: (errors.PermissionDenied, "CAP_NET_ADMIN is needed"),
}

REGISTER_ZCRX_CTRL: Table = {
    **_ANY_REGISTER,
    errno.EINVAL: (errors.ArgumentsInvalid, "the kernel is older than 6.19, or a field is invalid"),
    errno.ENXIO: (errors.ReceiveQueueNotRegistered, "no receive queue has this number"),
    errno.EOPNOTSUPP: (errors.OpcodeNotSupported, "the kernel was built without it, or does not know this command"),
}

MMAP: Table = {
    errno.EACCES: (errors.AccessDenied, "the descriptor forbids the mapping"),
    errno.EAGAIN: (errors.LockedMemoryLimitExceeded, "raise RLIMIT_MEMLOCK"),
    errno.EMFILE: (errors.ProcessFdQuotaExceeded, "close files or raise RLIMIT_NOFILE"),
    errno.ENFILE: (errors.SystemFdQuotaExceeded, "the system's file table is full"),
    errno.ENODEV: (errors.MemoryMappingNotSupported, "the descriptor cannot be mapped"),
    errno.ENOMEM: (errors.OutOfMemory, "address space or memory ran out"),
    errno.EPERM: (errors.PermissionDenied, "a seal or a security module forbids the mapping"),
}

# munmap(2) of a mapping of our own has no reason to fail.
MUNMAP: Table = {}


def fail(call: str, number: int, table: Table) -> NoReturn:
    """Raise what `table` says about errno `number`, with the call's name in the message."""
    name = errno.errorcode.get(number, str(number))
    known = table.get(number)
    if known is None:
        raise errors.UnexpectedErrno(
            number, f"{call} failed with {name} ({os.strerror(number)}), which this call is not known to return"
        )
    kind, advice = known
    raise kind(number, f"{call} failed with {name} ({os.strerror(number)}): {advice}")
