"""A ring with nothing between the caller and the kernel: entries as bytes, results as numbers.

`IoUring` refuses what it cannot handle and keeps memory alive; observing wants to ask for anything, and to see every
errno. Waiting is bounded: a ring's descriptor is polled, which every kernel can do without the request's help.
"""

from __future__ import annotations

import ctypes
import errno
import select
import struct
import time
from typing import NamedTuple

from .. import flags as f
from .. import syscalls
from ..barriers import this_machine
from ..structs import io_uring_params
from .finding import NoAnswerError, RefusedError

# How long a request may take that nothing outside of us holds up.
ANSWER_S = 2.0
_ENTRY = struct.Struct("=BBHiQQIIQHHIQQ")
_COMPLETION = struct.Struct("=QiI")
_SQ_LESS = f.IORING_SETUP_NO_SQARRAY | f.IORING_SETUP_SQ_REWIND


class Cqe(NamedTuple):
    """A completion."""

    user_data: int
    res: int
    flags: int


def sqe(
    opcode: int,
    fd: int = -1,
    *,
    addr: int = 0,
    size: int = 0,
    off: int = 0,
    flags: int = 0,
    ioprio: int = 0,
    rw_flags: int = 0,
    user_data: int = 0,
    buf_index: int = 0,
    personality: int = 0,
    file_index: int = 0,
    addr3: int = 0,
    pad2: int = 0,
) -> list[int]:
    """An entry; `size` is the field `len`, `file_index` the one that is also called `splice_fd_in`."""
    return [
        *(opcode, flags, ioprio, fd, off & 0xFFFF_FFFF_FFFF_FFFF, addr, size, rw_flags),
        *(user_data, buf_index, personality, file_index & 0xFFFF_FFFF, addr3, pad2),
    ]


_USER_DATA = 8


def packed(entry: list[int]) -> bytes:
    """An entry's 64 bytes."""
    return _ENTRY.pack(*entry)


class Ring:
    """An open ring.

    Attributes:
        fd: its descriptor; -1 once closed.
        params: what the kernel made of the parameters.
    """

    def __init__(self, entries: int = 8, flags: int = 0, **fields: int) -> None:
        """Set up a ring.

        Args:
            entries: of the submission queue.
            flags: IORING_SETUP_* bits.
            fields: others of `io_uring_params`.

        Raises:
            RefusedError: with the errno.
        """
        self.params = io_uring_params(flags=flags, **fields)
        self.fd = syscalls.io_uring_setup_errno(entries, self.params)
        if self.fd < 0:
            raise RefusedError(f"a ring with the flags {flags:#x}", -self.fd)
        self._maps: list[tuple[int, int]] = []
        self._serial = 0
        try:
            self._map()
        except BaseException:
            self.close()
            raise

    def _map(self) -> None:
        params = self.params
        self._sqe_bytes = 128 if params.flags & f.IORING_SETUP_SQE128 else 64
        self._cqe_bytes = 32 if params.flags & f.IORING_SETUP_CQE32 else 16
        size = max(
            params.sq_off.array + params.sq_entries * 4, params.cq_off.cqes + params.cq_entries * self._cqe_bytes
        )
        self._base = self._mapped(size, f.IORING_OFF_SQ_RING)
        self._sqes = self._mapped(params.sq_entries * self._sqe_bytes, f.IORING_OFF_SQES)
        machine = this_machine()
        self._order = machine.order or (lambda: None)
        self._fence = machine.fence
        self._words = machine.words(self._base, size)

    def _mapped(self, size: int, offset: int) -> int:
        address = syscalls.mmap(size, syscalls.MAP_SHARED | syscalls.MAP_POPULATE, self.fd, offset, "a ring")
        self._maps.append((address, size))
        return address

    def close(self) -> None:
        """Unmap and close; what is in flight ends on its own."""
        for address, size in self._maps:
            syscalls.munmap(address, size)
        self._maps = []
        if self.fd >= 0:
            syscalls.close(self.fd)
            self.fd = -1

    # ---- submitting

    def queue(self, *entries: list[int]) -> int:
        """Write entries and make them visible. Returns the `user_data` of the first; others count on from there."""
        params = self.params
        tail_at = params.sq_off.tail // 4
        tail = self._words[tail_at]
        first = self._serial + 1
        for entry in entries:
            self._serial += 1
            if not entry[_USER_DATA]:
                entry[_USER_DATA] = self._serial
            slot = tail & (params.sq_entries - 1)
            content = packed(entry).ljust(self._sqe_bytes, b"\0")
            ctypes.memmove(self._sqes + slot * self._sqe_bytes, content, len(content))
            if not params.flags & _SQ_LESS:
                self._words[params.sq_off.array // 4 + slot] = slot
            tail = tail + 1 & 0xFFFF_FFFF
        self._order()
        self._words[tail_at] = tail
        self._fence()
        return first

    def enter(self, to_submit: int, flags: int, wait: int = 0, argument: int = 0, size: int = 8) -> int:
        """io_uring_enter(2). Returns its result, an errno being negative."""
        return syscalls.io_uring_enter_errno(self.fd, to_submit, wait, flags, argument, size)

    def register(self, opcode: int, address: int = 0, count: int = 0) -> int:
        """io_uring_register(2). Returns its result, an errno being negative."""
        return syscalls.io_uring_register_errno(self.fd, opcode, address, count)

    def submit(self, *entries: list[int]) -> int:
        """Queue entries and let the kernel have them all. Returns the `user_data` of the first.

        Raises:
            RefusedError: the kernel does not take them.
        """
        first = self.queue(*entries)
        left = len(entries)
        if self.params.flags & f.IORING_SETUP_SQPOLL:
            self.enter(0, f.IORING_ENTER_SQ_WAKEUP)
            return first
        while left:
            taken = self.enter(left, f.IORING_ENTER_GETEVENTS)
            if taken <= 0:
                raise RefusedError("io_uring_enter", -taken or errno.EAGAIN)
            left -= taken
        return first

    # ---- reaping

    def reap(self, count: int = 0) -> list[Cqe]:
        """Wait for completions and take all that are there.

        Args:
            count: how many to wait for; 0 takes what has come by now.

        Raises:
            NoAnswerError: they do not come in time.
        """
        found: list[Cqe] = []
        end = time.monotonic() + ANSWER_S
        poll: select.poll | None = None
        while True:
            # Before looking, because completions may wait for us to be in the kernel.
            self.enter(0, f.IORING_ENTER_GETEVENTS)
            found += self.take()
            if len(found) >= count:
                return found
            if time.monotonic() > end:
                raise NoAnswerError(f"{len(found)} of {count} completions within {ANSWER_S:g} s")
            if poll is None:
                poll = select.poll()
                poll.register(self.fd, select.POLLIN)
            poll.poll(max(0, end - time.monotonic()) * 1000)

    def take(self) -> list[Cqe]:
        """Take the completions that are in the queue, without a system call."""
        params = self.params
        head_at, tail_at = params.cq_off.head // 4, params.cq_off.tail // 4
        head, tail = self._words[head_at], self._words[tail_at]
        self._order()
        found = []
        while head != tail:
            at = self._base + params.cq_off.cqes + (head & (params.cq_entries - 1)) * self._cqe_bytes
            found.append(Cqe(*_COMPLETION.unpack(ctypes.string_at(at, 16))))
            head = head + 1 & 0xFFFF_FFFF
            if found[-1].flags & f.IORING_CQE_F_32:
                head = head + 1 & 0xFFFF_FFFF
        self._order()
        self._words[head_at] = head
        return found

    def word(self, offset: int) -> int:
        """A word of the rings' memory, as `params.sq_off` and `params.cq_off` say where it is."""
        return self._words[offset // 4]

    def store(self, offset: int, value: int) -> None:
        """Set a word of the rings' memory."""
        self._words[offset // 4] = value

    def ask(self, entry: list[int]) -> Cqe:
        """Submit one entry and wait for its own completion; others are dropped."""
        mine = self.submit(entry)
        end = time.monotonic() + ANSWER_S
        while True:
            for cqe in self.reap(1):
                if cqe.user_data == mine:
                    return cqe
            if time.monotonic() > end:
                raise NoAnswerError(f"only others' completions within {ANSWER_S:g} s")
