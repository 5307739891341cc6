"""A pytest plugin that holds what a test asks of io_uring against the names in its `symbols` marker.

What counts is what the kernel was given: operations and flags are read from the submission queue's entries just before
they become visible, registrations from the system call.
"""

import ctypes
from collections.abc import Iterator
from typing import Any

import pytest

import uring
from uring import syscalls
from uring.ring_core import RingCore

# Names that are not read from requests (offsets, what completions say) are the author's word.
_NOT_SEEN = (
    *("IORING_CQE_F_", "IORING_OFF_", "IORING_NOTIF_USAGE_", "IO_URING_NAPI_", "IO_URING_QUERY_"),
    "IORING_REG_WAIT_",
    *("IORING_SQ_", "IORING_CQ_", "IORING_FEAT_"),
)
# What `io_uring_sqe.ioprio` means to each operation that has flags of its own there.
_RECEIVE = ("IORING_RECV_MULTISHOT", "IORING_RECVSEND_")
_SEND = ("IORING_RECVSEND_", "IORING_SEND_VECTORIZED")
_IOPRIO = {
    uring.IORING_OP.ACCEPT: ("IORING_ACCEPT_",),
    uring.IORING_OP.RECV: _RECEIVE,
    uring.IORING_OP.RECVMSG: _RECEIVE,
    uring.IORING_OP.RECV_ZC: _RECEIVE,
    uring.IORING_OP.SEND: _SEND,
    uring.IORING_OP.SENDMSG: _SEND,
    uring.IORING_OP.SEND_ZC: (*_SEND, "IORING_SEND_ZC_"),
    uring.IORING_OP.SENDMSG_ZC: (*_SEND, "IORING_SEND_ZC_"),
}
# Other fields that have flags, by operation.
_FIELDS = {
    uring.IORING_OP.NOP: ("rw_flags", ("IORING_NOP_",)),
    uring.IORING_OP.POLL_ADD: ("len", ("IORING_POLL_ADD_",)),
    uring.IORING_OP.POLL_REMOVE: ("len", ("IORING_POLL_",)),
    uring.IORING_OP.TIMEOUT: ("rw_flags", ("IORING_TIMEOUT_",)),
    uring.IORING_OP.LINK_TIMEOUT: ("rw_flags", ("IORING_TIMEOUT_",)),
    uring.IORING_OP.TIMEOUT_REMOVE: ("rw_flags", ("IORING_TIMEOUT_", "IORING_LINK_TIMEOUT_")),
    uring.IORING_OP.ASYNC_CANCEL: ("rw_flags", ("IORING_ASYNC_CANCEL_",)),
    uring.IORING_OP.MSG_RING: ("rw_flags", ("IORING_MSG_RING_",)),
    uring.IORING_OP.FSYNC: ("rw_flags", ("IORING_FSYNC_",)),
    uring.IORING_OP.SPLICE: ("rw_flags", ("SPLICE_F_",)),
    uring.IORING_OP.TEE: ("rw_flags", ("SPLICE_F_",)),
    uring.IORING_OP.FIXED_FD_INSTALL: ("rw_flags", ("IORING_FIXED_FD_",)),
}
# Every wait has the one, every submission to a thread that sleeps the other.
_ORDINARY = uring.IORING_ENTER_GETEVENTS | uring.IORING_ENTER_SQ_WAKEUP
_RESTRICTIONS = {getattr(uring, name): name for name in dir(uring) if name.startswith("IORING_RESTRICTION_")}
_OF_THE_KERNELS_CHOICE = {
    uring.IORING_OP.FILES_UPDATE: "off",
    **dict.fromkeys((uring.IORING_OP.SPLICE, uring.IORING_OP.TEE)),
}


_SKIPPED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    """Remember which tests did not run to their end."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if report.skipped:
        item.stash[_SKIPPED] = True
    return report  # type: ignore[return-value]


@pytest.fixture(autouse=True)
def exercised(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Listen to one test, and compare."""
    names: set[str] = set()
    mode = request.getfixturevalue("mode")
    flush, register, deinit = RingCore.flush_sq, syscalls.io_uring_register_errno, RingCore.deinit
    setup, real_enter = syscalls.io_uring_setup, syscalls.enter

    def flush_sq(ring: Any) -> int:
        for sqe in ring.sq.queued():
            names.update(_names_of(sqe))
        return flush(ring)

    def io_uring_setup(entries: int, params: uring.io_uring_params) -> int:
        # What the mode asks for is not the test's doing.
        names.update(_flags(params.flags & ~mode.flags, ("IORING_SETUP_",)))
        return setup(entries, params)

    def io_uring_register_errno(fd: int, given: int, address: int, count: int) -> int:
        opcode = given
        # Whether the kernel has what the test needs is asked with made-up numbers, too.
        if opcode & uring.IORING_REGISTER_USE_REGISTERED_RING:
            names.add("IORING_REGISTER_USE_REGISTERED_RING")
            opcode &= ~uring.IORING_REGISTER_USE_REGISTERED_RING
        if opcode in list(uring.IORING_REGISTER):
            names.add(f"IORING_{uring.IORING_REGISTER(opcode).name}")
            names.update(_names_of_registration(uring.IORING_REGISTER(opcode), address, count))
        if opcode == uring.IORING_REGISTER.REGISTER_PBUF_RING:
            names.update(_flags(uring.io_uring_buf_reg.from_address(address).flags, ("IOU_PBUF_RING_",)))
        return register(fd, given, address, count)

    def close(ring: Any) -> None:
        # What the library does to close a ring is not the test's.
        seen = set(names)
        deinit(ring)
        names.intersection_update(seen)

    def enter(*words: Any) -> int:
        names.update(_flags(getattr(words[4], "value", words[4]) & ~_ORDINARY, ("IORING_ENTER_",)))
        return real_enter(*words)

    monkeypatch.setattr(syscalls, "enter", enter)
    monkeypatch.setattr(RingCore, "flush_sq", flush_sq)
    monkeypatch.setattr(syscalls, "io_uring_setup", io_uring_setup)
    monkeypatch.setattr(syscalls, "io_uring_register_errno", io_uring_register_errno)
    monkeypatch.setattr(RingCore, "deinit", close)
    yield
    if request.node.stash.get(_SKIPPED, False):
        return  # it asked for nothing, or for a part
    marker = request.node.get_closest_marker("symbols")
    assert sorted(names) == sorted(name for name in marker.args if not name.startswith(_NOT_SEEN))


def _names_of(sqe: uring.io_uring_sqe) -> Iterator[str]:
    if sqe.opcode not in list(uring.IORING_OP):
        return  # and no kernel has it
    operation = uring.IORING_OP(sqe.opcode)
    yield f"IORING_OP_{operation.name}"
    yield from _flags(sqe.flags, ("IOSQE_",))
    yield from _flags(sqe.ioprio, _IOPRIO.get(operation, ()))
    if operation in _FIELDS:
        field, prefixes = _FIELDS[operation]
        yield from _flags(getattr(sqe, field), prefixes)
    if operation is uring.IORING_OP.MSG_RING:
        yield ("IORING_MSG_DATA", "IORING_MSG_SEND_FD")[sqe.addr]
    if operation is uring.IORING_OP.URING_CMD:
        yield f"SOCKET_URING_OP_{uring.IO_URING_SOCKET_OP(sqe.off & 0xFFFFFFFF).name}"
    slot = _OF_THE_KERNELS_CHOICE.get(operation, "splice_fd_in")
    if slot and getattr(sqe, slot) & 0xFFFFFFFF == uring.IORING_FILE_INDEX_ALLOC:
        yield "IORING_FILE_INDEX_ALLOC"


def _names_of_registration(opcode: uring.IORING_REGISTER, address: int, count: int) -> Iterator[str]:
    """The flags that a registration's argument has."""
    if opcode in (uring.IORING_REGISTER.REGISTER_FILES2, uring.IORING_REGISTER.REGISTER_BUFFERS2):
        yield from _flags(uring.io_uring_rsrc_register.from_address(address).flags, ("IORING_RSRC_REGISTER_",))
    if opcode is uring.IORING_REGISTER.REGISTER_SYNC_CANCEL:
        yield from _flags(uring.io_uring_sync_cancel_reg.from_address(address).flags, ("IORING_ASYNC_CANCEL_",))
    if opcode is uring.IORING_REGISTER.REGISTER_RESTRICTIONS:
        for rule in (uring.io_uring_restriction * count).from_address(address):
            yield _RESTRICTIONS[rule.opcode]
    if opcode is uring.IORING_REGISTER.REGISTER_MEM_REGION:
        request = uring.structs.io_uring_mem_region_reg.from_address(address)
        yield from _flags(request.flags, ("IORING_MEM_REGION_REG_",))
        yield from _flags(
            uring.io_uring_region_desc.from_address(request.region_uptr).flags, ("IORING_MEM_REGION_TYPE_",)
        )
    if opcode is uring.IORING_REGISTER.REGISTER_CLONE_BUFFERS:
        flags = uring.io_uring_clone_buffers.from_address(address).flags
        yield from _flags(flags, ("IORING_REGISTER_SRC_", "IORING_REGISTER_DST_"))
    if opcode is uring.IORING_REGISTER.REGISTER_FILES_UPDATE:
        fds = (ctypes.c_int32 * count).from_address(uring.io_uring_files_update.from_address(address).fds)
        if uring.IORING_REGISTER_FILES_SKIP in list(fds):
            yield "IORING_REGISTER_FILES_SKIP"


def _flags(bits: int, prefixes: tuple[str, ...]) -> Iterator[str]:
    for name in dir(uring):
        if prefixes and name.startswith(prefixes) and not name.endswith("_MASK") and bits & getattr(uring, name):
            yield name
