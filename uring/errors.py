# ruff: noqa: N818 - the names are Zig's
"""Every error of the room: one class per Zig name, plus the names Zig lacks.

The tree: `UringError` has three branches. `UsageError` (a `ValueError`) is a mistake in the calling program and was
found without asking the kernel. `SubmissionQueueFull` is control flow: submit, then try again. `SyscallError` (an
`OSError`, with `errno` set) is the kernel's answer. A negative `res` in a completion is data and never raised.
"""

from __future__ import annotations


class UringError(Exception):
    """Anything this package raises on purpose."""


class UsageError(UringError, ValueError):
    """The call cannot be right, whatever the kernel is."""


class EntriesZero(UsageError):
    """A ring needs at least one entry."""


class EntriesNotPowerOfTwo(UsageError):
    """Ring sizes are powers of two."""


class EntriesNotInRange(UsageError):
    """A buffer ring holds 1 to 32768 entries."""


class ParamsInvalid(UsageError):
    """`io_uring_params` arrived with output fields set, or with fields whose flag is missing."""


class ArgumentOutOfRange(UsageError):
    """A number does not fit the field it is meant for."""


class BufferNotWritable(UsageError):
    """The kernel is asked to write into memory that Python promises never to change."""


class BufferNotContiguous(UsageError):
    """The kernel takes one address and one length; a strided view has more."""


class NoBufferSelected(UsageError):
    """The completion carries no buffer ID (`IORING_CQE_F_BUFFER` is not set)."""


class RingClosed(UsageError):
    """The ring, or the ring this object belonged to, was closed."""


class RingInherited(RingClosed):
    """The ring belongs to the parent process; it was closed here when the process forked."""


class RingAlreadyRegistered(UsageError):
    """The ring has an index already."""


class RingNotRegistered(UsageError):
    """The ring has no index that it could be entered by."""


class EntriesTooSmall(UsageError):
    """The ring's entries have no room for what is asked of them."""


class EntriesNotSubmitted(UsageError):
    """Entries are queued where none may be."""


class MachineNotSupported(UsageError):
    """No way to load and store a shared 32-bit index without tearing was found on this machine."""


class SubmissionQueueFull(UringError):
    """No vacant SQE: submit the queued ones first."""


class SyscallError(UringError, OSError):
    """The kernel refused; `errno` and `strerror` say what and which call."""


class UnexpectedErrno(SyscallError):
    """An errno that the call's table does not know (Zig: `error.Unexpected`)."""


class SystemOutdated(SyscallError):
    """ENOSYS, or a kernel without IORING_FEAT_SINGLE_MMAP (older than 5.4)."""


class PermissionDenied(SyscallError, PermissionError):
    """EPERM or EACCES: sysctl, seccomp, a security module, or missing privileges."""


class ParamsOutsideAccessibleAddressSpace(SyscallError):
    """EFAULT from io_uring_setup(2)."""


class ArgumentsInvalid(SyscallError):
    """EINVAL: often a flag or operation that this kernel does not know."""


class ProcessFdQuotaExceeded(SyscallError):
    """EMFILE: this process has too many open files."""


class SystemFdQuotaExceeded(SyscallError):
    """ENFILE: the system has too many open files."""


class SystemResources(SyscallError):
    """ENOMEM or EAGAIN: memory, the memlock limit, or requests in flight ran out."""


class FileDescriptorInvalid(SyscallError):
    """EBADF."""


class FileDescriptorInBadState(SyscallError):
    """EBADFD: the ring is disabled (IORING_SETUP_R_DISABLED) or otherwise not ready."""


class CompletionQueueOvercommitted(SyscallError):
    """EBUSY: completions wait in the kernel; reap some, then try again."""


class SubmissionQueueEntryInvalid(SyscallError):
    """EINVAL from io_uring_enter(2)."""


class BufferInvalid(SyscallError):
    """EFAULT: an address outside of this process, or outside of the registered buffer."""


class RingShuttingDown(SyscallError):
    """ENXIO: the ring is being torn down."""


class OpcodeNotSupported(SyscallError):
    """EOPNOTSUPP."""


class SignalInterrupt(SyscallError, InterruptedError):
    """EINTR: a signal arrived while waiting; nothing was lost, call again."""


class WaitTimedOut(SyscallError, TimeoutError):
    """ETIME: the time limit of a wait is over, and fewer completions are there than were waited for."""


class InvalidThread(SyscallError):
    """EEXIST: with IORING_SETUP_SINGLE_ISSUER only one thread may use the ring."""


class CompletionsDropped(SyscallError):
    """EBADR: the kernel ran out of memory and dropped completions; the ring's count is no longer right."""


class SubmissionThreadDead(SyscallError):
    """EOWNERDEAD: the SQPOLL thread is gone."""


class FilesAlreadyRegistered(SyscallError):
    """EBUSY from register_files."""


class FilesEmpty(SyscallError):
    """EINVAL from a file registration: no files, or a slot outside of the table."""


class FilesNotRegistered(SyscallError):
    """ENXIO: the ring has no file table."""


class UserFdQuotaExceeded(SyscallError):
    """EMFILE: more files than RLIMIT_NOFILE or the kernel's table allows."""


class RingShuttingDownOrAlreadyRegisteringFiles(SyscallError):
    """ENXIO from register_files."""


class BuffersAlreadyRegistered(SyscallError):
    """EBUSY from register_buffers (Zig reports FilesAlreadyRegistered)."""


class BuffersNotRegistered(SyscallError):
    """ENXIO: the ring has no buffer table."""


class BufferNotSupported(SyscallError):
    """EOPNOTSUPP from register_buffers: memory of a file that cannot be pinned."""


class EventfdAlreadyRegistered(SyscallError):
    """EBUSY from register_eventfd (Zig reports FilesAlreadyRegistered)."""


class EventfdNotRegistered(SyscallError):
    """ENXIO from unregister_eventfd."""


class RequestNotFound(SyscallError):
    """ENOENT: nothing that is in flight matches what was to be cancelled."""


class CancellationTimedOut(SyscallError):
    """ETIME: requests that were to be cancelled are still running."""


class RestrictionsAlreadyRegistered(SyscallError):
    """EBUSY from register_restrictions."""


class RegionAlreadyRegistered(SyscallError):
    """EBUSY from register_region."""


class CompletionInvalid(SyscallError):
    """EPROTO: a completion that no kernel may give, such as one that names a buffer nobody provided."""


class BufferGroupAlreadyRegistered(SyscallError):
    """EEXIST: the group ID is taken in this ring."""


class BufferGroupNotRegistered(SyscallError):
    """ENOENT: the ring has no such group."""


class NetworkDeviceInvalid(SyscallError):
    """ENODEV from register_ifq: no network device has the index."""


class ReceiveQueueNotRegistered(SyscallError):
    """ENXIO from register_zcrx_ctrl: the ring has no receive queue of that number."""


class AccessDenied(SyscallError):
    """EACCES from mmap(2)."""


class MemoryMappingNotSupported(SyscallError):
    """ENODEV from mmap(2)."""


class LockedMemoryLimitExceeded(SyscallError):
    """EAGAIN from mmap(2)."""


class OutOfMemory(SyscallError):
    """ENOMEM from mmap(2)."""
