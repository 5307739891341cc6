"""What is said where a kernel or a program cannot go on is what helps."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
from made_up_kernel import replace_enter

import uring
from uring import syscalls

MakeRing = Callable[..., uring.IoUring]


def test_a_full_queue_of_a_polled_ring_is_waited_for(make_ring: MakeRing) -> None:
    """Everything is submitted already: what helps is waiting for the kernel's thread, and that is what is said."""
    # Its thread does not run yet, so that nothing is taken meanwhile.
    ring = make_ring(2, uring.IORING_SETUP_SQPOLL | uring.IORING_SETUP_R_DISABLED)
    ring.nop(1)
    ring.nop(2)
    assert ring.flush_sq() == 2
    with pytest.raises(uring.SubmissionQueueFull, match=r"wait for it with sqring_wait\(\)") as caught:
        ring.nop(3)
    assert "submit()" not in str(caught.value)
    ring.enable_rings()
    ring.submit()
    assert ring.sqring_wait() > 0
    ring.nop(3)
    ring.submit()
    assert sorted(ring.copy_cqe().user_data for _ in range(3)) == [1, 2, 3]


def test_a_full_queue_says_submit_where_that_helps(make_ring: MakeRing) -> None:
    """Entries that were never submitted are not the kernel's delay; not even of a polled ring."""
    for flags in (0, uring.IORING_SETUP_SQPOLL):
        ring = make_ring(2, flags)
        ring.nop(1)
        ring.nop(1)
        with pytest.raises(uring.SubmissionQueueFull, match=r"submit\(\) first"):
            ring.nop(1)


def test_waiting_asks_the_kernel_only_where_a_thread_polls(
    make_ring: MakeRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IORING_ENTER_SQ_WAIT is SQPOLL's; another ring's queue is emptied by submitting."""
    asked: list[tuple[int, ...]] = []

    def enter(fd: int, to_submit: int, min_complete: int, flags: int) -> int:
        asked.append((fd, to_submit, min_complete, flags))
        return 0

    plain, polled = make_ring(4), make_ring(4, uring.IORING_SETUP_SQPOLL)
    plain.nop(1)
    replace_enter(monkeypatch, enter)
    assert plain.sqring_wait() == 3
    assert polled.sqring_wait() == 4
    assert asked == [(polled.fd, 0, 0, uring.IORING_ENTER_SQ_WAIT)]
    monkeypatch.undo()
    polled.deinit()
    with pytest.raises(uring.RingClosed):
        polled.sqring_wait()


def test_clamp_is_the_kernels_to_apply(make_ring: MakeRing) -> None:
    """As many entries as the kernel has, however many were asked for; without the flag it is a mistake."""
    ring = make_ring(1 << 16, uring.IORING_SETUP_CLAMP)
    assert ring.sq.mask + 1 == 1 << 15
    for flags, entries in ((0, 1 << 16), (uring.IORING_SETUP_CLAMP, 1 << 32)):
        with pytest.raises(uring.ArgumentOutOfRange, match="IORING_SETUP_CLAMP"):
            uring.IoUring(entries, flags)


def test_a_buffer_too_large_to_register_is_named(ring: uring.IoUring) -> None:
    """The kernel says EFAULT, as for an address that is not ours."""
    start = uring.iovec(bytearray(8))
    with pytest.raises(uring.BufferInvalid) as caught:
        ring.register_buffers([bytearray(8), uring.iovec(base=start.base, len=(1 << 30) + 4096)])
    assert caught.value.errno == errno.EFAULT
    assert "buffer 1 has 1073745920 bytes, and one can have 1 GiB" in str(caught.value)


def test_an_address_that_is_not_ours_is_still_what_it_is(ring: uring.IoUring) -> None:
    """EFAULT without a buffer that is too large."""
    with pytest.raises(uring.BufferInvalid, match="an address is outside of this process"):
        ring.register_buffers([uring.iovec(base=8, len=1 << 30)])


def test_a_disabled_ring_is_enabled(make_ring: MakeRing) -> None:
    """Before, it says what helps; afterwards it works; a second time it says why not."""
    ring = make_ring(4, uring.IORING_SETUP_R_DISABLED)
    ring.nop(5)
    with pytest.raises(uring.FileDescriptorInBadState, match=r"enable_rings\(\)"):
        ring.submit()
    ring.enable_rings()
    assert ring.submit() == 1
    assert ring.copy_cqe().user_data == 5
    with pytest.raises(uring.FileDescriptorInBadState, match="not disabled"):
        ring.enable_rings()


def test_enabling_a_polled_ring_starts_its_thread(make_ring: MakeRing) -> None:
    """What was queued before is taken without another word."""
    ring = make_ring(4, uring.IORING_SETUP_R_DISABLED | uring.IORING_SETUP_SQPOLL)
    ring.enable_rings()
    ring.nop(5)
    ring.submit()
    assert ring.copy_cqe().user_data == 5


def test_a_kernel_that_cannot_enable_says_so(ring: uring.IoUring, monkeypatch: pytest.MonkeyPatch) -> None:
    """EINVAL is age."""
    monkeypatch.setattr(syscalls, "io_uring_register_errno", lambda *_: -errno.EINVAL)
    with pytest.raises(uring.ArgumentsInvalid, match=r"older than 5\.10"):
        ring.enable_rings()
