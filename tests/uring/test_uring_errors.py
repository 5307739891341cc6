"""Each errno of each call has its name; exceptions say what was tried and survive pickling."""

from __future__ import annotations

import copy
import ctypes
import errno
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import uring
from uring import errors, syscalls, zcrx

# What the calls are to raise, written down a second time from Zig 0.15.1's IoUring.zig and the man pages: call -> lines
# of "errno class". The names that Zig lacks are marked with *.
REGISTER_ANY = """EACCES PermissionDenied*
EBADF FileDescriptorInvalid
EBADFD FileDescriptorInBadState*
EEXIST InvalidThread*
EFAULT BufferInvalid*
EINVAL ArgumentsInvalid*
ENOMEM SystemResources
ENXIO RingShuttingDown*"""
EXPECTED: dict[str, str] = {
    "setup": """EFAULT ParamsOutsideAccessibleAddressSpace
EINVAL ArgumentsInvalid
EMFILE ProcessFdQuotaExceeded
ENFILE SystemFdQuotaExceeded
ENOMEM SystemResources
EOVERFLOW ArgumentsInvalid
EPERM PermissionDenied
ENOSYS SystemOutdated""",
    "enter": """EAGAIN SystemResources
EBADF FileDescriptorInvalid
EBADFD FileDescriptorInBadState
EBADR CompletionsDropped*
EBUSY CompletionQueueOvercommitted
EEXIST InvalidThread
EFAULT BufferInvalid
EINTR SignalInterrupt
EINVAL SubmissionQueueEntryInvalid
ENXIO RingShuttingDown
EOPNOTSUPP OpcodeNotSupported
EOWNERDEAD SubmissionThreadDead*
ETIME WaitTimedOut""",
    "mmap": """EACCES AccessDenied
EAGAIN LockedMemoryLimitExceeded
EMFILE ProcessFdQuotaExceeded
ENFILE SystemFdQuotaExceeded
ENODEV MemoryMappingNotSupported
ENOMEM OutOfMemory
EPERM PermissionDenied""",
    "register_files": """EBUSY FilesAlreadyRegistered
EINVAL FilesEmpty
EMFILE UserFdQuotaExceeded
ENXIO RingShuttingDownOrAlreadyRegisteringFiles""",
    "register_files_sparse": """EBUSY FilesAlreadyRegistered
EINVAL FilesEmpty
EMFILE UserFdQuotaExceeded
ENXIO RingShuttingDownOrAlreadyRegisteringFiles""",
    "register_files_update": """EINVAL FilesEmpty
EMFILE UserFdQuotaExceeded
ENXIO FilesNotRegistered*""",
    "unregister_files": "ENXIO FilesNotRegistered",
    "register_file_alloc_range": "EOVERFLOW ArgumentsInvalid*",
    "register_eventfd": "EBUSY EventfdAlreadyRegistered*",
    "register_eventfd_async": "EBUSY EventfdAlreadyRegistered*",
    "unregister_eventfd": "ENXIO EventfdNotRegistered*",
    "register_buffers": """EBUSY BuffersAlreadyRegistered*
EOPNOTSUPP BufferNotSupported*""",
    "unregister_buffers": "ENXIO BuffersNotRegistered",
    "register_buffers_update_tag": """ENXIO BuffersNotRegistered
EOPNOTSUPP BufferNotSupported""",
    "clone_buffers": """EBUSY BuffersAlreadyRegistered
ENXIO BuffersNotRegistered
EOPNOTSUPP OpcodeNotSupported
EOVERFLOW ArgumentsInvalid""",
    "get_probe": "",
    "register_napi": "EOPNOTSUPP OpcodeNotSupported*",
    "unregister_napi": "EOPNOTSUPP OpcodeNotSupported*",
    "setup_buf_ring": "EEXIST BufferGroupAlreadyRegistered*",
    "buf_ring_head": "ENOENT BufferGroupNotRegistered*",
    "register_ifq": """ENODEV NetworkDeviceInvalid*
EOPNOTSUPP OpcodeNotSupported
EPERM PermissionDenied""",
    "register_zcrx_ctrl": """ENXIO ReceiveQueueNotRegistered*
EOPNOTSUPP OpcodeNotSupported""",
    "register_sync_msg": """EOVERFLOW CompletionQueueOvercommitted*
EOWNERDEAD SubmissionThreadDead""",
}
EXPECTED |= {
    "register_ring_fd": "EBUSY ProcessFdQuotaExceeded\nEINVAL ArgumentsInvalid",
    "register_personality": "EBUSY SystemResources\nEINVAL ArgumentsInvalid",
    "register_restrictions": "EBUSY RestrictionsAlreadyRegistered\nEINVAL ArgumentsInvalid",
    "register_iowq_aff": "EINVAL ArgumentsInvalid",
    "register_clock": "EINVAL ArgumentsInvalid",
    "register_region": "EBUSY RegionAlreadyRegistered\nEINVAL ArgumentsInvalid",
    "resize_rings": "EINVAL ArgumentsInvalid\nEOVERFLOW ArgumentsInvalid",
    "query_opcodes": """EBADF ArgumentsInvalid
EFAULT BufferInvalid
EINVAL ArgumentsInvalid
ENOSYS SystemOutdated
EOPNOTSUPP ArgumentsInvalid
EPERM PermissionDenied""",
}
EXPECTED["unregister_personality"] = EXPECTED["register_personality"]
EXPECTED["unregister_iowq_aff"] = EXPECTED["register_iowq_max_workers"] = EXPECTED["register_iowq_aff"]
EXPECTED["submit"] = EXPECTED["submit_and_wait_timeout"] = EXPECTED["wait_cqes"] = EXPECTED["enter"]
EXPECTED["register_files_tags"] = EXPECTED["register_files"]
EXPECTED["register_files_update_tag"] = EXPECTED["register_files_update"]
EXPECTED["register_buffers_tags"] = EXPECTED["register_buffers_sparse"] = EXPECTED["register_buffers"]
EXPECTED["clone_buffers_offset"] = EXPECTED["clone_buffers"]
CALLS: dict[str, Callable[[uring.IoUring], Any]] = {
    "setup": lambda _: uring.IoUring(1),
    "enter": lambda ring: ring.enter(1, 0, 0),
    "submit": lambda ring: ring.submit_and_wait(1),
    "mmap": lambda ring: uring.SubmissionQueue.init(
        ring.fd, uring.io_uring_params(sq_entries=1, cq_entries=2, flags=0)
    ),
    "register_files": lambda ring: ring.register_files([0]),
    "register_files_sparse": lambda ring: ring.register_files_sparse(4),
    "register_files_update": lambda ring: ring.register_files_update(0, [0]),
    "unregister_files": lambda ring: ring.unregister_files(),
    "register_file_alloc_range": lambda ring: ring.register_file_alloc_range(0, 1),
    "register_eventfd": lambda ring: ring.register_eventfd(1),
    "register_eventfd_async": lambda ring: ring.register_eventfd_async(1),
    "unregister_eventfd": lambda ring: ring.unregister_eventfd(),
    "register_buffers": lambda ring: ring.register_buffers([bytearray(1)]),
    "unregister_buffers": lambda ring: ring.unregister_buffers(),
    "register_files_tags": lambda ring: ring.register_files_tags([0], [1]),
    "register_files_update_tag": lambda ring: ring.register_files_update_tag(0, [0], [1]),
    "register_buffers_tags": lambda ring: ring.register_buffers_tags([bytearray(1)], [1]),
    "register_buffers_sparse": lambda ring: ring.register_buffers_sparse(1),
    "register_buffers_update_tag": lambda ring: ring.register_buffers_update_tag(0, [bytearray(1)], [1]),
    "clone_buffers": lambda ring: ring.clone_buffers(ring),
    "clone_buffers_offset": lambda ring: ring.clone_buffers_offset(ring, 0, 0, 1, 0),
    "get_probe": lambda ring: ring.get_probe(),
    "register_ring_fd": lambda ring: ring.register_ring_fd(),
    "register_personality": lambda ring: ring.register_personality(),
    "unregister_personality": lambda ring: ring.unregister_personality(1),
    "register_restrictions": lambda ring: ring.register_restrictions([uring.io_uring_restriction()]),
    "register_iowq_aff": lambda ring: ring.register_iowq_aff([0]),
    "unregister_iowq_aff": lambda ring: ring.unregister_iowq_aff(),
    "register_iowq_max_workers": lambda ring: ring.register_iowq_max_workers(1, 2),
    "register_clock": lambda ring: ring.register_clock(1),
    "register_region": lambda ring: ring.register_region(uring.io_uring_region_desc()),
    "resize_rings": lambda ring: ring.resize_rings(uring.io_uring_params(sq_entries=4, cq_entries=8)),
    "query_opcodes": lambda _: uring.query_opcodes(),
    "submit_and_wait_timeout": lambda ring: ring.submit_and_wait_timeout(1, uring.kernel_timespec(1, 0)),
    "wait_cqes": lambda ring: ring.wait_cqes(1, uring.kernel_timespec(1, 0)),
    "register_napi": lambda ring: ring.register_napi(uring.io_uring_napi()),
    "unregister_napi": lambda ring: ring.unregister_napi(uring.io_uring_napi()),
    "setup_buf_ring": lambda ring: uring.setup_buf_ring(ring.fd, 1, 7, uring.IOU_PBUF_RING_INC),
    "register_ifq": lambda ring: ring.register_ifq(zcrx.io_uring_zcrx_ifq_reg()),
    "register_zcrx_ctrl": lambda ring: ring.register_zcrx_ctrl(zcrx.zcrx_ctrl()),
    "buf_ring_head": lambda ring: uring.buf_ring_head(ring.fd, 7),
    "register_sync_msg": lambda _: uring.register_sync_msg(uring.io_uring_sqe()),
}
IN_MESSAGE = {
    "setup": "io_uring_setup",
    "enter": "io_uring_enter",
    "submit": "io_uring_enter",
    "submit_and_wait_timeout": "io_uring_enter",
    "wait_cqes": "io_uring_enter",
    "clone_buffers_offset": "clone_buffers",
}


def expected_of(call: str) -> dict[int, str]:
    """errno -> class name, of one call."""
    lines = EXPECTED[call].splitlines()
    if call not in ("setup", "enter", "submit", "submit_and_wait_timeout", "wait_cqes", "mmap", "query_opcodes"):
        lines = REGISTER_ANY.splitlines() + lines
    pairs = (line.rstrip("*").split() for line in lines)
    return {getattr(errno, name): kind for name, kind in pairs}


def fail_with(monkeypatch: pytest.MonkeyPatch, number: int, *, is_mmap: bool = False) -> None:
    """Every io_uring system call fails with that errno, or mmap does."""

    def fail(*_: object) -> int:
        ctypes.set_errno(number)
        return -1

    if is_mmap:
        monkeypatch.setattr(syscalls, "_mmap", lambda *_: fail() and syscalls._MAP_FAILED)
        return
    for name in ("_setup", "enter", "_register"):
        monkeypatch.setattr(syscalls, name, fail)


@pytest.mark.parametrize("call", EXPECTED)
def test_every_errno_of_every_call(ring: uring.IoUring, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """All errnos there are: the named ones by name, any other as UnexpectedErrno; the message has call and errno."""
    expected = expected_of(call)
    with monkeypatch.context() as patch:
        for number, name in errno.errorcode.items():
            fail_with(patch, number, is_mmap=call == "mmap")
            with pytest.raises(uring.SyscallError) as caught:
                CALLS[call](ring)
            kind = expected.get(number, "UnexpectedErrno")
            assert type(caught.value).__name__ == kind, f"{call}: {name}"
            assert caught.value.errno == number
            text = str(caught.value)
            assert IN_MESSAGE.get(call, call) in text
            assert name in text


# What the advice must mention where the same class means something of its own.
ADVICE = {
    ("register_files", errno.EBADF): "sparse",
    ("register_files_update", errno.EBADF): "sparse",
    ("register_file_alloc_range", errno.EINVAL): "range",
    ("register_eventfd", errno.EBADF): "the descriptor",
    ("register_eventfd", errno.EINVAL): "eventfd",
    ("register_buffers", errno.EINVAL): "buffers",
    ("register_buffers_update_tag", errno.EINVAL): "5.13",
    ("clone_buffers", errno.EINVAL): "6.12",
    ("clone_buffers", errno.EOVERFLOW): "fewer",
    ("get_probe", errno.EINVAL): "5.6",
    ("register_napi", errno.EINVAL): "6.9",
    ("setup_buf_ring", errno.EINVAL): "5.19",
    ("buf_ring_head", errno.EINVAL): "6.8",
    ("register_ifq", errno.EINVAL): "6.15",
    ("register_zcrx_ctrl", errno.EINVAL): "6.19",
    ("register_sync_msg", errno.EBADF): "the entry's descriptor",
    ("register_sync_msg", errno.EBADFD): "no ring",
    ("register_sync_msg", errno.EINVAL): "6.13",
}


@pytest.mark.parametrize(("call", "number"), ADVICE, ids=lambda value: errno.errorcode.get(value, value))
def test_advice_fits_the_call(ring: uring.IoUring, monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    """A general class comes with a particular reason."""
    with monkeypatch.context() as patch:
        fail_with(patch, number)
        with pytest.raises(uring.SyscallError) as caught:
            CALLS[call](ring)
    assert ADVICE[call, number] in str(caught.value).partition("): ")[2]


def test_unknown_errno_number(ring: uring.IoUring, monkeypatch: pytest.MonkeyPatch) -> None:
    """An errno without a name is still reported, with its number."""
    with monkeypatch.context() as patch:
        fail_with(patch, 4000)
        with pytest.raises(uring.UnexpectedErrno, match="4000"):
            ring.enter(0, 0, 0)


def test_what_was_asked_for_is_in_the_message(ring: uring.IoUring, monkeypatch: pytest.MonkeyPatch) -> None:
    ring.nop(1)
    ring.nop(2)
    with monkeypatch.context() as patch:
        fail_with(patch, errno.EAGAIN)
        with pytest.raises(uring.SystemResources, match="to_submit=2, min_complete=3, flags=0x1"):
            ring.submit_and_wait(3)


def test_unregister_of_a_buffer_ring_has_a_table() -> None:
    """free_buf_ring swallows errors as Zig does; its table is for the tests of a kernel."""
    from uring import errno_tables as tables

    assert tables.UNREGISTER_PBUF_RING[errno.ENOENT][0] is uring.BufferGroupNotRegistered
    kind, advice = tables.UNREGISTER_PBUF_RING[errno.EINVAL]
    assert kind is uring.ArgumentsInvalid
    assert "of the other kind" in advice


ALL_ERRORS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.UringError)]


@pytest.mark.parametrize("kind", ALL_ERRORS, ids=lambda kind: kind.__name__)
def test_error_is_exported_pickles_and_copies(kind: type[uring.UringError]) -> None:
    """pytest-xdist carries exceptions between processes."""
    assert getattr(uring, kind.__name__) is kind
    if issubclass(kind, uring.SyscallError):
        error: Any = kind(22, "io_uring_enter failed")
        assert (error.errno, error.strerror) == (22, "io_uring_enter failed")
    else:
        error = kind("what was tried")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is kind
        assert again.args == error.args
        assert str(again) == str(error)


def test_tree_of_errors() -> None:
    """One root; usage errors are ValueErrors, the kernel's answers OSErrors, and the built-in relatives fit."""
    assert issubclass(uring.UsageError, ValueError)
    assert issubclass(uring.SyscallError, OSError)
    assert issubclass(uring.PermissionDenied, PermissionError)
    assert issubclass(uring.SignalInterrupt, InterruptedError)
    assert issubclass(uring.RingInherited, uring.RingClosed)
    assert not issubclass(uring.SubmissionQueueFull, (OSError, ValueError))


def test_real_errors_of_the_kernel(ring: uring.IoUring) -> None:
    """The tables meet the kernel: what a caller can do wrong, by the name it gets."""
    import os

    with pytest.raises(uring.FilesNotRegistered):
        ring.unregister_files()
    with pytest.raises(uring.FilesNotRegistered):
        ring.register_files_update(0, [0])
    with pytest.raises(uring.FilesEmpty):
        ring.register_files([])
    with pytest.raises(uring.FileDescriptorInvalid):
        ring.register_files([1 << 20])
    ring.register_files([0])
    with pytest.raises(uring.FilesAlreadyRegistered):
        ring.register_files([0])
    with pytest.raises(uring.FilesEmpty):
        ring.register_files_update(5, [0])
    ring.unregister_files()
    with pytest.raises(uring.BuffersNotRegistered):
        ring.unregister_buffers()
    ring.register_buffers([bytearray(4096)])
    with pytest.raises(uring.BuffersAlreadyRegistered):
        ring.register_buffers([bytearray(4096)])
    ring.unregister_buffers()
    with pytest.raises(uring.EventfdNotRegistered):
        ring.unregister_eventfd()
    event = os.eventfd(0)
    ring.register_eventfd(event)
    with pytest.raises(uring.EventfdAlreadyRegistered):
        ring.register_eventfd_async(event)
    ring.unregister_eventfd()
    ring.register_eventfd_async(event)
    os.close(event)
    with pytest.raises(uring.ArgumentsInvalid):
        ring.register_buffers([])
