"""Rings of modes that are more than setup flags: the same calls, another way into the kernel."""

from __future__ import annotations

import os
import time
from collections.abc import MutableSequence
from typing import Any

import uring
from uring import IORING_OP

# How long the kernel's thread may take to see entries: an emulated one on a busy machine needs its time.
_DEADLINE_S = 10

# The operations whose `fd` is an open file and may be a registered one, as include/uapi and io_uring/opdef.c have it.
# Those on paths have a directory there, which cannot be registered; IORING_OP_MSG_RING has a ring, which cannot either.
_TAKES_FILE = frozenset(
    {
        IORING_OP.READV, IORING_OP.WRITEV, IORING_OP.READ_FIXED, IORING_OP.WRITE_FIXED, IORING_OP.READ, IORING_OP.WRITE,
        IORING_OP.READV_FIXED, IORING_OP.WRITEV_FIXED, IORING_OP.READ_MULTISHOT, IORING_OP.FSYNC,
        IORING_OP.SYNC_FILE_RANGE, IORING_OP.FALLOCATE, IORING_OP.FADVISE, IORING_OP.FTRUNCATE, IORING_OP.FSETXATTR,
        IORING_OP.FGETXATTR, IORING_OP.SPLICE, IORING_OP.TEE, IORING_OP.POLL_ADD, IORING_OP.EPOLL_WAIT,
        IORING_OP.URING_CMD, IORING_OP.URING_CMD128, IORING_OP.ACCEPT, IORING_OP.CONNECT, IORING_OP.BIND,
        IORING_OP.LISTEN, IORING_OP.SHUTDOWN, IORING_OP.SEND, IORING_OP.SENDMSG, IORING_OP.SEND_ZC,
        IORING_OP.SENDMSG_ZC, IORING_OP.RECV, IORING_OP.RECVMSG, IORING_OP.RECV_ZC,
    }
)  # fmt: skip


class PolledRing(uring.IoUring):
    """A ring whose entries a thread of the kernel's takes.

    `submit` returns how many entries it made visible, and when the thread has taken them: the thread's pace is its own,
    and how many are left at a moment would say nothing.
    """

    __slots__ = ()

    def submit_and_wait(self, wait_nr: int) -> int:
        """Submit what is queued, and wait."""
        made = self.sq.sqe_tail - self.sq.sqe_head & 0xFFFFFFFF
        super().submit_and_wait(wait_nr)
        until_s = time.monotonic() + _DEADLINE_S
        while self.sq.pending():
            if time.monotonic() > until_s:
                raise AssertionError(f"the thread of IORING_SETUP_SQPOLL took nothing for {_DEADLINE_S} s")
            os.sched_yield()
        return made


class _ChangingRing(uring.IoUring):
    """A ring that changes requests on their way to the kernel."""

    __slots__ = ()

    def flush_sq(self) -> int:
        """Change what is about to become visible, and make it so."""
        for sqe in self.sq.queued():
            self._change(sqe)
        return super().flush_sq()

    def _change(self, sqe: uring.io_uring_sqe) -> None:
        raise NotImplementedError


class AsyncRing(_ChangingRing):
    """A ring whose every request goes to a worker without being tried first."""

    __slots__ = ()

    def _change(self, sqe: uring.io_uring_sqe) -> None:
        sqe.flags |= uring.IOSQE_ASYNC


class FixedFileRing(_ChangingRing):
    """A ring whose requests name registered files: each file is put into a slot when a request is submitted.

    Slots are emptied when no request is in flight any more: a file that stayed there would stay open.
    """

    __slots__ = ("_next", "_used")

    _SLOTS = 256

    def _open(self, *arguments: Any) -> None:
        super()._open(*arguments)
        self._next = 0
        self._used: set[int] = set()
        self.register_files([-1] * self._SLOTS)

    def _change(self, sqe: uring.io_uring_sqe) -> None:
        if sqe.opcode not in _TAKES_FILE or sqe.flags & uring.IOSQE_FIXED_FILE:
            return
        slot = self._next
        try:
            self.register_files_update(slot, [sqe.fd])
        except uring.FileDescriptorInvalid:
            return  # no file, or one that cannot be registered: what becomes of it is the test's business
        self._used.add(slot)
        self._next = (slot + 1) % self._SLOTS
        sqe.fd = slot
        sqe.flags |= uring.IOSQE_FIXED_FILE

    def copy_cqe(self) -> uring.io_uring_cqe:
        """Reap one completion."""
        cqe = super().copy_cqe()
        self._empty_slots()
        return cqe

    def copy_cqes(self, cqes: MutableSequence[Any] | uring.CqeArray, wait_nr: int) -> int:
        """Reap completions."""
        count = super().copy_cqes(cqes, wait_nr)
        self._empty_slots()
        return count

    def _empty_slots(self) -> None:
        if self._in_flight.counts or self.sq_ready():
            return
        for slot in self._used:
            self.register_files_update(slot, [-1])
        self._used.clear()


class RegisteredRing(uring.IoUring):
    """A ring that is entered by an index, and registers through it where the kernel can."""

    __slots__ = ()

    def _open(self, *arguments: Any) -> None:
        super()._open(*arguments)
        self.register_ring_fd()
