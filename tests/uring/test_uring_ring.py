"""Opening, submitting and reaping on this machine's kernel."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from made_up_kernel import replace_enter

import uring
from uring import syscalls

MakeRing = Callable[..., uring.IoUring]


class Calls:
    """Counts and records io_uring_enter."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[tuple[int, int, int]] = []
        real = syscalls.enter

        def enter(fd: int, to_submit: int, min_complete: int, flags: int) -> int:
            self.made.append((to_submit, min_complete, flags))
            return int(real(syscalls.SYS_IO_URING_ENTER, fd, to_submit, min_complete, flags, None, 8))

        replace_enter(monkeypatch, enter)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Every io_uring_enter the test causes."""
    return Calls(monkeypatch)


@pytest.mark.parametrize(
    ("entries", "error"),
    [
        (0, uring.EntriesZero),
        (3, uring.EntriesNotPowerOfTwo),
        (-4, uring.EntriesNotPowerOfTwo),
        (1 << 16, uring.ArgumentOutOfRange),
    ],
)
def test_entries_are_checked(entries: int, error: type[uring.UsageError]) -> None:
    """Bad sizes are usage errors, and ValueErrors, before the kernel is asked."""
    with pytest.raises(error) as caught:
        uring.IoUring(entries)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(error):
        uring.IoUring.init(entries, 0)


@pytest.mark.parametrize("field", ["sq_entries", "features", "cq_entries", "wq_fd"])
def test_params_are_checked(field: str) -> None:
    """Output fields, and fields without their flag, are refused by name."""
    with pytest.raises(uring.ParamsInvalid, match=field):
        uring.IoUring.init_params(1, uring.io_uring_params(**{field: 1}))
    params = uring.io_uring_params()
    params.resv[1] = 1
    with pytest.raises(uring.ParamsInvalid, match="resv"):
        uring.IoUring.init_params(1, params)


def test_unknown_setup_flag_is_the_kernels_to_refuse(ring: uring.IoUring) -> None:
    """EINVAL has its Zig name, errno, and a message with call and flags."""
    with pytest.raises(
        uring.ArgumentsInvalid, match=r"io_uring_setup\(entries=1, flags=0x80000000\).*EINVAL"
    ) as caught:
        uring.IoUring(1, 1 << 31)
    assert caught.value.errno == 22


def test_kernel_without_single_mmap_is_outdated() -> None:
    """Kernels before 5.4 are refused by Zig's name."""
    from uring.setup_checks import check_features

    with pytest.raises(uring.SystemOutdated, match="SINGLE_MMAP"):
        check_features(uring.IORING_FEAT_NODROP)
    check_features(uring.IORING_FEAT_SINGLE_MMAP)


def test_params_come_back_filled_in(make_ring: MakeRing) -> None:
    """The caller's block has the kernel's answer, and the ring has its flags and features."""
    make_ring(1)
    params = uring.io_uring_params(flags=uring.IORING_SETUP_CQSIZE, cq_entries=16)
    with uring.IoUring.init_params(4, params) as ring:
        assert (params.sq_entries, params.cq_entries) == (4, 16)
        assert params.features == ring.features
        assert ring.flags & uring.IORING_SETUP_CQSIZE == uring.IORING_SETUP_CQSIZE
        assert (ring.sq.mask, ring.cq.mask) == (3, 15)
        assert (len(ring.sq.sqes), len(ring.cq.cqes)) == (4, 16)


def test_nop_moves_every_position(ring: uring.IoUring) -> None:
    """The positions Zig's test looks at, step by step."""
    sqe = ring.nop(0xAAAAAAAA)
    assert uring.io_uring_sqe(opcode=uring.IORING_OP.NOP, user_data=0xAAAAAAAA) == sqe
    assert (ring.sq.sqe_head, ring.sq.sqe_tail, ring.sq.tail, ring.sq.head) == (0, 1, 0, 0)
    assert (ring.sq_ready(), ring.cq_ready(), ring.cq.head) == (1, 0, 0)
    assert ring.submit() == 1
    assert (ring.sq.sqe_head, ring.sq.sqe_tail, ring.sq.tail, ring.sq.head) == (1, 1, 1, 1)
    assert (ring.sq_ready(), ring.cq_ready(), ring.cq.head, ring.cq.tail) == (0, 1, 0, 1)
    assert uring.io_uring_cqe(user_data=0xAAAAAAAA, res=0, flags=0) == ring.copy_cqe()
    assert (ring.cq.head, ring.cq_ready()) == (1, 0)
    assert (ring.sq.dropped, ring.cq.overflow) == (0, 0)


def test_full_queue_raises_and_recovers(make_ring: MakeRing) -> None:
    """Every way to take an entry says SubmissionQueueFull, and loses nothing."""
    ring = make_ring(2)
    ring.nop(1)
    ring.nop(2)
    for take in (
        ring.get_sqe,
        lambda: ring.nop(3),
        lambda: ring.fsync(3, 0, 0),
        lambda: ring.read(3, 0, bytearray(1), 0),
    ):
        with pytest.raises(uring.SubmissionQueueFull, match="submit"):
            take()
    assert ring.submit() == 2
    ring.nop(3)
    assert ring.submit() == 1
    assert [ring.copy_cqe().user_data for _ in range(3)] == [1, 2, 3]


def test_get_sqe_is_cleared(make_ring: MakeRing) -> None:
    """An entry taken and not filled in is a no-op, not the request that lay there before."""
    ring = make_ring(1)
    ring.write(7, -1, b"old", 3)
    ring.submit()
    assert ring.copy_cqe().err() == uring.E.BADF
    assert uring.io_uring_sqe() == ring.get_sqe()
    ring.submit()
    assert uring.io_uring_cqe(0, 0, 0) == ring.copy_cqe()


def test_nop_after_another_request_in_the_slot(make_ring: MakeRing) -> None:
    """The fast way of queueing no-ops never leaves parts of an older request behind."""
    ring = make_ring(2)
    ring.nop(1)
    assert uring.io_uring_sqe(user_data=1) == ring.nop(1)
    ring.submit()
    ring.fsync(2, 5, 1)
    assert uring.io_uring_sqe(user_data=3) == ring.nop(3)
    ring.submit()
    for user_data in (4, 5, 6):
        assert uring.io_uring_sqe(user_data=user_data) == ring.nop(user_data)
        ring.submit()


def test_no_op_changed_by_hand_is_cleared_the_next_time(make_ring: MakeRing) -> None:
    """Fields that a caller sets on a no-op do not stay in the slot."""
    ring = make_ring(1)
    sqe = ring.nop(1)
    sqe.fd = 5
    sqe.personality = 0
    ring.submit()
    ring.copy_cqe()
    assert ring.nop(2) == uring.io_uring_sqe(user_data=2)


@pytest.mark.parametrize(
    "flags", [0, uring.IORING_SETUP_CQE32, uring.IORING_SETUP_NO_SQARRAY], ids=["", "cqe32", "flat"]
)
def test_large_rings_are_mapped_to_the_end(make_ring: MakeRing, flags: int) -> None:
    """The last slots of queues of many pages are within the mapping."""
    ring = make_ring(2048, flags)
    array = uring.CqeArray(4096, is_big=bool(flags & uring.IORING_SETUP_CQE32))
    for lap in range(2):
        for user_data in range(2048):
            ring.nop(lap * 2048 + user_data)
        assert ring.submit() == 2048
    assert ring.copy_cqes(array, 4096) == 4096
    assert [row[0] for row in array.rows()] == list(range(4096))


def test_failed_request_leaves_nothing_behind_for_a_nop(make_ring: MakeRing) -> None:
    """An argument error takes no entry, and a no-op in that place is clean."""
    ring = make_ring(2)
    with pytest.raises(uring.ArgumentOutOfRange):
        ring.write(1 << 64, 5, b"x", 0)
    with pytest.raises(uring.ArgumentOutOfRange, match="IORING_OP_FSYNC"):
        ring.fsync(1, 1 << 40, 0)
    assert ring.sq_ready() == 0
    assert uring.io_uring_sqe(user_data=3) == ring.nop(3)


@pytest.mark.parametrize("user_data", [-1, 1 << 64, "x", None, 1.5])
@pytest.mark.parametrize("is_fast", [True, False])
def test_bad_user_data(ring: uring.IoUring, user_data: Any, is_fast: bool) -> None:
    """A `user_data` that does not fit is a usage error and takes no entry."""
    if not is_fast:
        ring.fsync(1, -1, 0)
        ring.submit()
        ring.copy_cqe()
    with pytest.raises(uring.ArgumentOutOfRange, match="user_data"):
        ring.nop(user_data)
    assert ring.sq_ready() == 0


def test_submit_with_nothing_queued_makes_no_system_call(ring: uring.IoUring, calls: Calls) -> None:
    """liburing skips it; Zig calls io_uring_enter(0, 0, 0)."""
    assert ring.submit() == 0
    assert calls.made == []
    ring.nop(1)
    ring.submit()
    assert calls.made == [(1, 0, 0)]


def test_submit_and_wait_with_nothing_queued_still_waits(ring: uring.IoUring, calls: Calls) -> None:
    """Waiting needs the kernel even when there is nothing to submit."""
    ring.timeout(1, uring.kernel_timespec(0, 1_000_000), 0, 0)
    ring.submit()
    assert ring.submit_and_wait(1) == 0
    assert calls.made[-1] == (0, 1, uring.IORING_ENTER_GETEVENTS)
    assert ring.copy_cqe().err() == uring.E.TIME


def test_peeking_at_an_empty_ring_makes_no_system_call(ring: uring.IoUring, calls: Calls) -> None:
    """Without late task work nothing can be pending in the kernel."""
    assert ring.copy_cqes([None], 0) == 0
    assert calls.made == []


@pytest.mark.parametrize(
    "flags",
    [
        uring.IORING_SETUP_COOP_TASKRUN,
        uring.IORING_SETUP_COOP_TASKRUN | uring.IORING_SETUP_TASKRUN_FLAG,
        uring.IORING_SETUP_SINGLE_ISSUER | uring.IORING_SETUP_DEFER_TASKRUN,
        uring.IORING_SETUP_SINGLE_ISSUER | uring.IORING_SETUP_DEFER_TASKRUN | uring.IORING_SETUP_TASKRUN_FLAG,
    ],
    ids=["coop", "coop+flag", "defer", "defer+flag"],
)
def test_late_task_work_is_seen_without_waiting(make_ring: MakeRing, pair: Any, flags: int) -> None:
    """copy_cqes(wait_nr=0) finds completions that only a system call brings into view."""
    ring = make_ring(4, flags)
    first, second = pair
    data = bytearray(4)
    ring.recv(1, first.fileno(), data, 0)
    ring.submit()
    second.send(b"late")
    cqes: list[Any] = [None]
    for _ in range(1000):
        if ring.copy_cqes(cqes, 0):
            break
    assert cqes[0][:2] == (1, 4)
    assert data == b"late"


def test_needs_flush_looks_at_task_work_and_overflow(ring: uring.IoUring) -> None:
    """Zig looks at the overflow bit only."""
    words, at = ring.sq._words, ring.sq._flags_at
    before = words[at]
    for flag, expected in (
        (uring.IORING_SQ_TASKRUN, True),
        (uring.IORING_SQ_CQ_OVERFLOW, True),
        (uring.IORING_SQ_NEED_WAKEUP, False),
    ):
        words[at] = flag
        assert expected is ring.cq_ring_needs_flush()
    words[at] = before
    assert not ring.cq_ring_needs_flush()


def test_sq_needs_enter_without_a_poller(ring: uring.IoUring) -> None:
    """Without SQPOLL nobody submits but us."""
    flags = ctypes.c_uint32(0)
    assert ring.sq_ring_needs_enter(flags)
    assert flags.value == 0


def test_sleeping_poller_is_woken(make_ring: MakeRing) -> None:
    """A poller that fell asleep takes what is submitted, every time."""
    make_ring(1, uring.IORING_SETUP_SQPOLL)
    params = uring.io_uring_params(flags=uring.IORING_SETUP_SQPOLL, sq_thread_idle=1)
    with uring.IoUring.init_params(4, params) as ring:
        for user_data in range(5):
            deadline = time.monotonic() + 10
            while not ring.sq.flags & uring.IORING_SQ_NEED_WAKEUP:
                assert time.monotonic() < deadline, "the poller does not fall asleep"
                time.sleep(0.001)
            flags = ctypes.c_uint32(0)
            assert ring.sq_ring_needs_enter(flags)
            assert flags.value == uring.IORING_ENTER_SQ_WAKEUP
            ring.nop(user_data)
            ring.submit()
            assert ring.copy_cqe().user_data == user_data


@pytest.mark.parametrize(
    "flags",
    [
        0,
        uring.IORING_SETUP_SQPOLL,
        uring.IORING_SETUP_NO_SQARRAY,
        uring.IORING_SETUP_SQE128,
        uring.IORING_SETUP_CQE32,
        uring.IORING_SETUP_SQE128 | uring.IORING_SETUP_CQE32 | uring.IORING_SETUP_NO_SQARRAY,
        uring.IORING_SETUP_CQE_MIXED,
        uring.IORING_SETUP_SINGLE_ISSUER | uring.IORING_SETUP_DEFER_TASKRUN,
    ],
    ids=lambda flags: str(uring.IORING_SETUP(flags)).removeprefix("IORING_SETUP."),
)
def test_many_laps_in_every_layout(make_ring: MakeRing, flags: int) -> None:
    """Strides, masks and wraps are right: every completion is the expected one over many laps of both queues."""
    ring = make_ring(4, flags)
    cqes: list[Any] = [None] * 3
    sent = seen = 0
    for lap in range(60):
        for _ in range(1 + lap % 4):
            # Not only no-ops: a failing close shows that fields of the right slot arrive.
            if sent % 3:
                ring.nop(sent)
            else:
                ring.close(sent, 1 << 30)
            sent += 1
        ring.submit()
        while seen < sent:
            for cqe in cqes[: ring.copy_cqes(cqes, 1)]:
                assert (seen, 0 if seen % 3 else -9, 0) == cqe[:3]
                seen += 1
    assert ring.sq.dropped == 0


def test_no_sqarray_does_not_write_over_the_ring_header(make_ring: MakeRing) -> None:
    """The kernel reports array offset 0 there, which is the SQ head."""
    ring = make_ring(8, uring.IORING_SETUP_NO_SQARRAY)
    header = [ring.sq.head, ring.sq.tail, ring.cq.head, ring.cq.tail, ring.sq.mask, ring.cq.mask]
    assert header == [0, 0, 0, 0, 7, 15]
    for user_data in range(8):
        ring.nop(user_data)
    assert ring.submit() == 8
    assert [ring.sq.head, ring.sq.tail, ring.cq.head, ring.cq.tail] == [8, 8, 0, 8]


def big_nop(ring: uring.IoUring, user_data: int) -> None:
    """A no-op with a 32-byte completion (IORING_NOP_CQE32, since 6.18)."""
    sqe = ring.get_sqe()
    sqe.prep_nop()
    sqe.rw_flags = uring.IORING_NOP_CQE32
    sqe.off, sqe.addr = 0x1111, 0x2222
    sqe.user_data = user_data


def test_mixed_completions_of_both_sizes(make_ring: MakeRing) -> None:
    """IORING_SETUP_CQE_MIXED: large, small and filler completions over many laps, none lost and none torn."""
    ring = make_ring(4, uring.IORING_SETUP_CQE_MIXED)
    cqes: list[Any] = [None] * 4
    for lap in range(40):
        expected = []
        for index in range(3):
            user_data = lap * 3 + index
            if (lap + index) % 2:
                big_nop(ring, user_data)
            else:
                ring.nop(user_data)
            expected.append((user_data, (lap + index) % 2))
        ring.submit()
        got: list[uring.io_uring_cqe] = []
        while len(got) < 3:
            got += cqes[: ring.copy_cqes(cqes, 1)]
        if got[0].res == -22 or got[1].res == -22:
            pytest.skip("this kernel has no IORING_NOP_CQE32")
        assert expected == [(cqe.user_data, int(bool(cqe.flags & uring.IORING_CQE_F_32))) for cqe in got]
        assert [2 if is_big else 0 for _, is_big in expected] == [len(cqe.big_cqe) for cqe in got]
    assert ring.cq_ready() == 0


def test_copy_cqes_wraps_around(make_ring: MakeRing) -> None:
    """A batch that crosses the end of the ring is in order, as a list and as an array."""
    ring = make_ring(4)
    array = uring.CqeArray(8)
    cqes: list[Any] = [None] * 8
    user_data = 0
    for lap in range(20):
        batch = list(range(user_data, user_data + 3))
        user_data += 3
        for value in batch:
            ring.nop(value)
        ring.submit()
        if lap % 2:
            assert ring.copy_cqes(array, 3) == 3
            assert [(value, 0, 0) for value in batch] == list(array.rows(3))
            assert uring.io_uring_cqe(batch[2]) == array[2]
        else:
            assert ring.copy_cqes(cqes, 3) == 3
            assert batch == [cqe.user_data for cqe in cqes[:3]]
            assert len(cqes) == 8


def test_array_of_the_wrong_kind_is_refused(make_ring: MakeRing) -> None:
    """Completions are never decoded with another ring's size."""
    ring = make_ring(2, uring.IORING_SETUP_CQE32)
    ring.nop(7)
    ring.submit()
    with pytest.raises(uring.UsageError, match="is_big"):
        ring.copy_cqes(uring.CqeArray(2), 1)
    array = uring.CqeArray(2, is_big=True)
    assert ring.copy_cqes(array, 1) == 1
    assert array[0] == (7, 0, 0, 0, 0)
    with pytest.raises(IndexError):
        array[2]


def test_partial_copy_leaves_the_rest(ring: uring.IoUring) -> None:
    """A short list takes what fits."""
    for user_data in range(5):
        ring.nop(user_data)
    ring.submit()
    cqes: list[Any] = [None, None]
    assert ring.copy_cqes(cqes, 1) == 2
    assert ring.cq_ready() == 3
    assert ring.copy_cqes([], 0) == 0
    assert [ring.copy_cqe().user_data for _ in range(3)] == [2, 3, 4]


def test_reading_the_ring_oneself(ring: uring.IoUring) -> None:
    """`cq.cqes` with cqe_seen and cq_advance, for code with a completion loop of its own."""
    for user_data in (4, 5, 6):
        ring.nop(user_data)
    ring.submit()
    head = ring.cq.head
    cqe = ring.cq.cqes[head & ring.cq.mask]
    assert cqe.user_data == 4
    ring.cqe_seen(cqe)
    assert ring.cq_ready() == 2
    ring.cq_advance(0)
    ring.cq_advance(2)
    assert (0, head + 3) == (ring.cq_ready(), ring.cq.head)
    with pytest.raises(IndexError):
        ring.cq.cqes[16]


def test_overflowing_completions_are_not_lost(make_ring: MakeRing) -> None:
    """More completions than the ring holds wait in the kernel and come in order."""
    ring = make_ring(2)
    for start in range(0, 8, 2):
        ring.nop(start)
        ring.nop(start + 1)
        ring.submit()
    assert ring.cq_ring_needs_flush()
    cqes: list[Any] = [None] * 16
    seen: list[int] = []
    while len(seen) < 8:
        seen += [cqe.user_data for cqe in cqes[: ring.copy_cqes(cqes, 0)]]
    assert list(range(8)) == seen
    assert not ring.cq_ring_needs_flush()


def test_waiting_lets_other_threads_run(ring: uring.IoUring) -> None:
    """A thread that waits for a completion does not hold the interpreter."""
    reader, writer = os.pipe()
    data = bytearray(2)
    thread = threading.Timer(0.02, os.write, (writer, b"hi"))
    thread.start()
    ring.read(1, reader, data, 0)
    ring.submit()
    assert ring.copy_cqe().res == 2
    thread.join()
    os.close(reader)
    os.close(writer)


def test_signal_interrupts_waiting(ring: uring.IoUring) -> None:
    """EINTR is an error of its own, and an InterruptedError; nothing is lost."""
    ring.timeout(1, uring.kernel_timespec(30, 0), 0, 0)
    ring.submit()
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(uring.SignalInterrupt, match="call again") as caught:
            ring.copy_cqe()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert isinstance(caught.value, InterruptedError)
    ring.timeout_remove(2, 1, 0)
    ring.submit()
    assert {1, 2} == {ring.copy_cqe().user_data, ring.copy_cqe().user_data}


def test_wrong_thread_under_single_issuer(make_ring: MakeRing) -> None:
    """EEXIST from enter and from registering is InvalidThread (Zig 0.16's name)."""
    ring = make_ring(4, uring.IORING_SETUP_SINGLE_ISSUER)
    ring.nop(1)
    caught: list[Exception] = []

    def use_it() -> None:
        for call in (ring.submit, ring.get_probe):
            try:
                call()
            except uring.InvalidThread as error:
                caught.append(error)

    thread = threading.Thread(target=use_it)
    thread.start()
    thread.join()
    assert [uring.InvalidThread, uring.InvalidThread] == [type(error) for error in caught]
    assert ring.submit() <= 1
    assert ring.copy_cqe().user_data == 1


def test_disabled_ring_is_in_a_bad_state(make_ring: MakeRing) -> None:
    """EBADFD has its Zig name."""
    ring = make_ring(4, uring.IORING_SETUP_R_DISABLED)
    ring.nop(1)
    with pytest.raises(uring.FileDescriptorInBadState, match="io_uring_enter"):
        ring.submit()


def test_cqe_is_a_value() -> None:
    """Completions compare, copy, pickle and print as what they are."""
    cqe = uring.io_uring_cqe(user_data=5, res=-22, flags=0x30001)
    assert (cqe.user_data, cqe.res, cqe.flags) == (5, -22, 0x30001)
    assert uring.E.INVAL == cqe.err() == 22
    assert cqe.err().name == "INVAL"
    assert cqe.buffer_id() == 3
    assert cqe == pickle.loads(pickle.dumps(cqe))
    assert cqe != uring.io_uring_cqe(5, -22, 0)
    assert "-22 (INVAL)" in repr(cqe)
    assert uring.E.SUCCESS == uring.io_uring_cqe(0, 5, 0).err() == uring.io_uring_cqe(0, -4096, 0).err() == 0
    assert uring.io_uring_cqe(0, -4095, 0).err() == 4095
    with pytest.raises(uring.NoBufferSelected):
        uring.io_uring_cqe(0, 1, 1 << 16).buffer_id()
    with pytest.raises(AttributeError):
        _ = uring.E.NO_SUCH_ERRNO
    big = uring.io_uring_cqe(1, 2, 3, 4, 5)
    assert big.big_cqe == (4, 5)
    assert big == pickle.loads(pickle.dumps(big))


def test_sqe_compares_and_prints() -> None:
    """Two entries are equal when all bytes are; a person can read one."""
    one, two = uring.io_uring_sqe(), uring.io_uring_sqe()
    one.prep_write(3, b"abc", 17)
    two.prep_write(3, b"abc", 17)
    assert (one == two) is (one.addr == two.addr)
    two.addr = one.addr
    assert one == two
    two.resv = 1
    assert one != two
    assert one != "x"
    one.set_flags(uring.IOSQE_ASYNC)
    one.link_next()
    one.set_flags(uring.IOSQE_IO_LINK)
    assert one.flags == uring.IOSQE_ASYNC | uring.IOSQE_IO_LINK
    assert "opcode=WRITE" in repr(one)
    assert "IO_LINK" in repr(one)
    with pytest.raises(TypeError):
        hash(one)
    with pytest.raises(uring.ArgumentOutOfRange, match=r"io_uring_sqe\.fd"):
        one.fd = 1 << 31


def test_command_bytes(make_ring: MakeRing) -> None:
    """The command area is 16 bytes, or 80 with SQE128, and cannot be overrun."""
    sqe = uring.io_uring_sqe()
    sqe.cmd = b"0123456789abcdef"
    assert b"0123456789abcdef" == sqe.cmd == bytes(sqe)[48:]
    with pytest.raises(uring.ArgumentOutOfRange, match="command of 17 bytes"):
        sqe.cmd = b"x" * 17
    ring = make_ring(2, uring.IORING_SETUP_SQE128)
    first, second = ring.get_sqe(), ring.get_sqe()
    first.cmd = b"y" * 80
    assert first.cmd == b"y" * 80
    assert uring.io_uring_sqe() == second
