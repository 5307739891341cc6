"""A ring that is closed, closed twice, dropped, or inherited: a clear error or a clean end, never a crash."""

from __future__ import annotations

import inspect
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import uring
from uring import zcrx

MakeRing = Callable[..., uring.IoUring]
RunPython = Callable[..., subprocess.CompletedProcess[str]]

# Values for required parameters, by name, that would be right on an open ring.
VALUES: dict[str, Any] = {
    "addr": uring.sockaddr_in(),
    "addrlen": None,
    "buffer": bytearray(4),
    "buffers": bytearray(4),
    "cqe": uring.io_uring_cqe(),
    "ctrl": zcrx.zcrx_ctrl(),
    "cqes": [None],
    "ev": None,
    "fds": [0],
    "futexes": (uring.futex_waitv * 1)(),
    "infop": uring.siginfo_t(),
    "buf": uring.Statx(),
    "iovecs": [bytearray(4)],
    "link_path": "x",
    "msg": uring.msghdr(),
    "cpus": [0],
    "desc": uring.io_uring_region_desc(),
    "memory": bytearray(4),
    "p": uring.io_uring_params(),
    "res": [uring.io_uring_restriction()],
    "tags": [1],
    "napi": uring.io_uring_napi(),
    "new_path": "x",
    "old_path": "x",
    "opt": bytearray(4),
    "path": "x",
    "reg": uring.io_uring_sync_cancel_reg(),
    "target": "x",
    "ts": uring.kernel_timespec(),
}
# These are right on a closed ring: closing again, and telling it to forget.
HARMLESS = {"deinit", "forget"}
METHODS = sorted(
    name
    for name, _ in inspect.getmembers(uring.IoUring, inspect.isfunction)
    if not name.startswith("_") and name not in HARMLESS
)


def arguments(method: Callable[..., Any], name: str) -> list[Any]:
    """One right argument for each required parameter."""
    required = [
        parameter.name
        for parameter in inspect.signature(method).parameters.values()
        if parameter.default is inspect.Parameter.empty
    ]
    # What is registered is a list of buffers.
    of_its_own = {"buffers": [bytearray(4)]} if name.startswith("register_buffers") else {}
    return [(VALUES | of_its_own).get(parameter, 1) for parameter in required]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_a_closed_ring_says_so(ring: uring.IoUring, name: str) -> None:
    """All of the API, by reflection, so that a new method cannot be forgotten."""
    ring.deinit()
    method = getattr(ring, name)
    with pytest.raises(uring.RingClosed, match=r"closed by deinit\(\)"):
        method(*arguments(method, name))


def test_the_api_is_complete() -> None:
    """77 functions of Zig's IoUring and the three that Zig 0.15.1 added, two being constructors and one private."""
    zig = """init init_params deinit get_sqe submit submit_and_wait enter flush_sq sq_ring_needs_enter sq_ready cq_ready
    copy_cqes copy_cqe cq_ring_needs_flush cqe_seen cq_advance fsync nop read write splice read_fixed writev write_fixed
    accept accept_multishot accept_direct accept_multishot_direct connect epoll_ctl recv send send_zc send_zc_fixed
    recvmsg sendmsg sendmsg_zc openat openat_direct close close_direct timeout timeout_remove link_timeout poll_add
    poll_remove poll_update fallocate statx cancel shutdown renameat unlinkat mkdirat symlinkat linkat provide_buffers
    remove_buffers waitid register_files register_files_update register_files_sparse register_file_alloc_range
    register_eventfd register_eventfd_async unregister_eventfd register_napi unregister_napi register_buffers
    unregister_buffers get_probe unregister_files socket socket_direct socket_direct_alloc bind listen cmd_sock
    setsockopt getsockopt"""
    assert [name for name in zig.split() if not callable(getattr(uring.IoUring, name, None))] == []
    groups = "init deinit recv recv_multishot get put get_by_id"
    assert [name for name in groups.split() if not callable(getattr(uring.BufferGroup, name, None))] == []
    free = "setup_buf_ring free_buf_ring buf_ring_init buf_ring_mask buf_ring_add buf_ring_advance"
    assert [name for name in free.split() if not callable(getattr(uring, name, None))] == []
    for queue in (uring.SubmissionQueue, uring.CompletionQueue):
        assert callable(queue.init)
        assert callable(queue.deinit)


def test_closing_twice_and_leaving_with(ring: uring.IoUring) -> None:
    """deinit may be called again; a closed ring cannot be entered."""
    with ring:
        ring.nop(1)
    assert ring.fd == -1
    ring.deinit()
    with pytest.raises(uring.RingClosed), ring:
        pass


def test_descriptor_closed_behind_our_back(make_ring: MakeRing) -> None:
    """The kernel's EBADF is an error; closing afterwards is not."""
    ring = make_ring(2)
    os.close(ring.fd)
    ring.nop(1)
    with pytest.raises(uring.FileDescriptorInvalid, match="io_uring_enter"):
        ring.submit()
    with pytest.raises(uring.FileDescriptorInvalid):
        ring.get_probe()
    ring.deinit()
    assert ring.fd == -1


@pytest.mark.parametrize("name", ["head", "tail", "flags", "dropped"])
def test_submission_queue_of_a_closed_ring(ring: uring.IoUring, name: str) -> None:
    """No read of unmapped memory."""
    sq = ring.sq
    ring.deinit()
    with pytest.raises(uring.RingClosed):
        getattr(sq, name)
    sq.deinit()


@pytest.mark.parametrize("name", ["head", "tail", "overflow"])
def test_completion_queue_of_a_closed_ring(ring: uring.IoUring, name: str) -> None:
    """No read of unmapped memory, by position or by slot."""
    cq = ring.cq
    cqes = cq.cqes
    ring.deinit()
    with pytest.raises(uring.RingClosed):
        getattr(cq, name)
    with pytest.raises(uring.RingClosed):
        _ = cqes[0]
    cq.deinit()


def test_entry_of_a_closed_ring(ring: uring.IoUring) -> None:
    """An SQE that someone kept: reading, writing, filling in, comparing and printing touch no unmapped memory."""
    sqe = ring.nop(1)
    slot = ring.sq.sqes[5]
    sqe_prep_nop = sqe.prep_nop
    ring.deinit()
    for use in (
        lambda: sqe.flags,
        lambda: sqe.prep_nop,
        lambda: sqe.link_next,
        lambda: setattr(sqe, "flags", 1),
        sqe_prep_nop,
        lambda: slot.prep_read(0, bytearray(1), 0),
        lambda: bytes(sqe),
        lambda: sqe.cmd,
    ):
        with pytest.raises(uring.RingClosed, match="SQE belonged to a ring that was closed"):
            use()
    assert sqe == sqe  # noqa: PLR0124
    assert sqe != slot
    assert "closed ring" in repr(sqe)


def test_buffer_group_of_a_closed_ring(make_ring: MakeRing) -> None:
    """Group methods after the ring's end, and the group's end after the ring's."""
    ring = make_ring(4)
    try:
        group = uring.BufferGroup(ring, 1, 16, 2)
    except uring.ArgumentsInvalid as error:
        pytest.skip(str(error))
    ring.deinit()
    with pytest.raises(uring.RingClosed):
        group.recv(1, 0, 0)
    group.deinit()
    group.deinit()
    with pytest.raises(uring.RingClosed):
        _ = group.br.tail
    with pytest.raises(uring.RingClosed):
        uring.buf_ring_advance(group.br, 1)
    with pytest.raises(uring.RingClosed):
        uring.BufferGroup(ring, 1, 16, 2)


def test_ring_closed_while_another_thread_waits(make_ring: MakeRing, pair: tuple[socket.socket, socket.socket]) -> None:
    """The waiting thread wakes to an error instead of reading unmapped memory."""
    first, second = pair
    buffer = bytearray(4)
    # Without bookkeeping, so that closing does not cancel the request that will wake the thread.
    ring = make_ring(4, keep_alive=False)
    ring.recv(1, first.fileno(), buffer, 0)
    ring.submit()
    results: list[object] = []
    started = threading.Event()

    def wait() -> None:
        started.set()
        try:
            results.append(ring.copy_cqe())
        except uring.RingClosed as error:
            results.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    started.wait()
    # The thread is in the kernel when its system call is io_uring_enter (426).
    waiting = Path(f"/proc/self/task/{thread.native_id}/syscall")
    while not waiting.read_text().startswith("426 "):
        assert thread.is_alive()
    ring.deinit()
    second.send(b"wake")
    thread.join(10)
    assert [uring.RingClosed] == [type(result) for result in results]


def test_dropped_ring_is_closed_with_a_warning(make_ring: MakeRing) -> None:
    """The finalizer closes the descriptor and says that someone forgot to."""
    make_ring(1)
    ring = uring.IoUring(2)
    fd = ring.fd
    with pytest.warns(ResourceWarning, match=f"unclosed io_uring \\(fd {fd}\\)"):
        del ring
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_ring_that_never_opened_can_be_dropped() -> None:
    """The finalizer of a failed constructor has nothing to do and does nothing."""
    ring = uring.IoUring.__new__(uring.IoUring)
    del ring
    with pytest.raises(uring.EntriesZero):
        uring.IoUring(0)


def test_failed_mapping_leaks_nothing(make_ring: MakeRing, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a step of opening fails, the descriptor and the mappings before it are given back."""
    from uring import queues, syscalls

    make_ring(1)
    mapped: list[tuple[int, int]] = []
    real_mmap, real_munmap = syscalls.mmap, syscalls.munmap

    def mmap(size_bytes: int, *rest: Any) -> int:
        if fail_at == len(mapped):
            raise uring.OutOfMemory(12, "mmap of a test")
        address = real_mmap(size_bytes, *rest)
        mapped.append((address, size_bytes))
        return address

    def munmap(address: int, size_bytes: int) -> None:
        mapped.remove((address, size_bytes))
        real_munmap(address, size_bytes)

    monkeypatch.setattr(syscalls, "mmap", mmap)
    monkeypatch.setattr(syscalls, "munmap", munmap)
    before = list(Path("/proc/self/fd").iterdir())
    for failing in (0, 1):
        fail_at = failing
        with pytest.raises(uring.OutOfMemory):
            uring.IoUring(2)
        assert mapped == []
    fail_at = 99
    monkeypatch.setattr(queues.CompletionQueue, "__init__", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        uring.IoUring(2)
    assert mapped == []
    assert before == list(Path("/proc/self/fd").iterdir())


FORK = """
import os, sys, uring, socket
ring = uring.IoUring(8)
group = None
try:
    group = uring.BufferGroup(ring, 1, 16, 2)
except uring.ArgumentsInvalid:
    pass
a, b = socket.socketpair()
buffer = bytearray(4)
sqe = ring.recv(1, a.fileno(), buffer, 0)
ring.submit()
fd = ring.fd
pid = os.fork()
if pid == 0:
    status = 1
    try:
        assert ring.fd == -1
        queue = (lambda: ring.nop(1), lambda: ring.recv(1, 0, bytearray(1), 0), ring.get_sqe, lambda: ring.sq.head)
        for use in (*queue, ring.submit, ring.copy_cqe, ring.get_probe, ring.__enter__, ring.sq_ready):
            try:
                use()
            except uring.RingInherited as error:
                assert "fork" in str(error), error
            else:
                raise SystemExit("used an inherited ring")
        try:
            sqe.flags
        except uring.RingClosed:
            pass
        else:
            raise SystemExit("used memory of an inherited ring")
        try:
            os.fstat(fd)
        except OSError:
            pass
        else:
            raise SystemExit("the descriptor is still open in the child")
        buffer.extend(b"free again")
        ring.deinit()
        if group:
            group.deinit()
        with uring.IoUring(2) as mine:
            mine.nop(5)
            mine.submit()
            assert mine.copy_cqe().user_data == 5
        status = 0
    finally:
        sys.stderr.flush()
        os._exit(status)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
b.send(b"data")
assert ring.copy_cqe()[:2] == (1, 4)
assert buffer == b"data"
ring.nop(2)
ring.submit()
assert ring.copy_cqe().user_data == 2
ring.deinit()
print("parent fine")
"""


def test_inherited_over_fork(run_python: RunPython) -> None:
    """In the child every use is an error and its own ring works; in the parent nothing has changed."""
    assert run_python(FORK).stdout.strip() == "parent fine"


def test_interpreter_ends_with_requests_in_flight(run_python: RunPython) -> None:
    """No crash and no noise when a program just ends: open ring, receive in flight, entries and groups alive."""
    done = run_python(
        "import uring, socket\n"
        "a, b = socket.socketpair()\n"
        "ring = uring.IoUring(8)\n"
        "sqe = ring.recv(1, a.fileno(), bytearray(100), 0)\n"
        "ring.submit()\n"
        "cycle = [ring]; cycle.append(cycle)\n"
        "b.send(b'x' * 50)\n"
        "keep = ring.sq.sqes[3]\n"
        "print('done')\n"
    )
    assert (done.stdout.strip(), done.stderr) == ("done", "")


def test_ring_in_a_cycle_is_collected(run_python: RunPython) -> None:
    """The garbage collector may end rings in any order; with -W error the warning is all there is."""
    done = run_python(
        "import gc, uring, socket, weakref\n"
        "a, b = socket.socketpair()\n"
        "for _ in range(50):\n"
        "    ring = uring.IoUring(8)\n"
        "    ring.recv(1, a.fileno(), bytearray(100), 0)\n"
        "    ring.submit()\n"
        "    cycle = [ring, ring.sq, ring.sq.sqes[0]]; cycle.append(cycle)\n"
        "    del ring, cycle\n"
        "    gc.collect()\n"
        "b.send(b'x' * 50)\n"
        "stuff = [bytearray(100) for _ in range(1000)]\n"
        "assert not any(any(item) for item in stuff)\n"
        "print('done')\n"
    )
    assert done.stdout.strip() == "done"


def test_import_is_light(run_python: RunPython) -> None:
    """The package is imported in emulated machines: nothing it does not need."""
    done = run_python(
        "import sys; sys.path.insert(0, '.')\nimport uring\n"
        "heavy = {'typing', 'dataclasses', 'inspect', 're', 'socket', 'logging', 'platform', 'subprocess', 'json'}\n"
        "print(*sorted(heavy & set(sys.modules)))\n",
        "-S",
        "-E",
    )
    assert done.stdout.split() == []


def test_mistakes_are_seen_with_python_optimized(run_python: RunPython) -> None:
    """With -O nothing that checks disappears."""
    done = run_python(
        "import uring\n"
        "for make in (lambda: uring.IoUring(0), lambda: uring.IoUring(3)):\n"
        "    try:\n"
        "        make()\n"
        "    except uring.UsageError as error:\n"
        "        print(type(error).__name__)\n",
        "-O",
    )
    assert done.stdout.split() == ["EntriesZero", "EntriesNotPowerOfTwo"]


def test_socket_of_a_request_in_flight_may_be_closed(ring: uring.IoUring) -> None:
    """The kernel holds the file itself."""
    first, second = socket.socketpair()
    ring.recv(1, first.fileno(), bytearray(4), 0)
    ring.submit()
    first.close()
    second.close()
    assert ring.copy_cqe()[:2] == (1, 0)
