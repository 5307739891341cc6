"""The submission queue entry: `prep_*` of timeouts, polls, cancels, buffers and tables, on top of files and sockets."""

from __future__ import annotations

import sys
from ctypes import addressof

from .errors import ArgumentOutOfRange
from .flags import IORING_ASYNC_CANCEL_FD, IORING_FILE_INDEX_ALLOC, IORING_POLL_ADD_MULTI, IORING_TIMEOUT_UPDATE
from .memory import address_of, fds_of, writable, writable_address_of
from .opcodes import OP
from .prep_network import NetworkPreps
from .sqe_fields import signed32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ctypes import Array, c_int32

    from .memory import Address, Fds, Writable
    from .structs import futex_waitv


def poll_bits(poll_mask: int) -> int:
    """The poll mask as the kernel reads it: on a big-endian machine with its two halves of 16 bits swapped.

    Source: `__io_uring_prep_poll_mask` of liburing, `io_poll_parse_events` of the kernel (both: swahw32).
    """
    if sys.byteorder == "little":
        return poll_mask
    return (poll_mask & 0xFFFF) << 16 | poll_mask >> 16


class io_uring_sqe(NetworkPreps):  # noqa: N801 - the kernel's name
    """A submission queue entry, 64 bytes.

    Fields are attributes: opcode, flags, ioprio, fd, off, addr, len, rw_flags, user_data, buf_index, personality,
    splice_fd_in, addr3, resv. `==` compares all 64 bytes. Every `prep_*` overwrites the whole entry; set `user_data`
    and flags afterwards. Memory handed to a `prep_*` is kept alive until the request is complete (docs/uring.md).
    """

    __slots__ = ()

    def prep_timeout(self, ts: Address, count: int, flags: int) -> None:
        """Complete after a time (`kernel_timespec`) or `count` completions, whichever is first. Since 5.4.

        With IORING_TIMEOUT_IMMEDIATE_ARG (since 7.1) `ts` is a number of nanoseconds.
        """
        address, pin = address_of(ts)
        self._write(OP.TIMEOUT, -1, count, address, 1, flags, pins=pin)

    def prep_timeout_remove(self, timeout_user_data: int, flags: int) -> None:
        """Remove the timeout with that `user_data`. Since 5.5."""
        self._write(OP.TIMEOUT_REMOVE, -1, 0, timeout_user_data, 0, flags)

    def prep_timeout_update(self, ts: Address, timeout_user_data: int, flags: int) -> None:
        """Give the timeout with that `user_data` another time (`kernel_timespec`), and no count.

        IORING_LINK_TIMEOUT_UPDATE is for a linked one (since 5.15), IORING_TIMEOUT_ABS for a time of day. Since 5.11.
        """
        address, pin = address_of(ts)
        self._write(OP.TIMEOUT_REMOVE, -1, address, timeout_user_data, 0, flags | IORING_TIMEOUT_UPDATE, pins=pin)

    def prep_link_timeout(self, ts: Address, flags: int) -> None:
        """Cancel the entry before, which must be linked to this one, when the time is over. Since 5.5."""
        address, pin = address_of(ts)
        self._write(OP.LINK_TIMEOUT, -1, 0, address, 1, flags, pins=pin)

    def prep_poll_add(self, fd: int, poll_mask: int) -> None:
        """Complete when one of the select.POLL* events happens. Since 5.1."""
        self._write(OP.POLL_ADD, fd, rw_flags=poll_bits(poll_mask))

    def prep_poll_multishot(self, fd: int, poll_mask: int) -> None:
        """Complete each time one of the select.POLL* events happens. Since 5.13."""
        self._write(OP.POLL_ADD, fd, len=IORING_POLL_ADD_MULTI, rw_flags=poll_bits(poll_mask))

    def prep_poll_remove(self, target_user_data: int) -> None:
        """Remove the poll with that `user_data`. Since 5.1."""
        self._write(OP.POLL_REMOVE, -1, 0, target_user_data)

    def prep_poll_update(self, old_user_data: int, new_user_data: int, poll_mask: int, flags: int) -> None:
        """Change a poll in flight; `flags` are IORING_POLL_UPDATE_* bits. Since 5.13."""
        self._write(OP.POLL_REMOVE, -1, new_user_data, old_user_data, flags, poll_bits(poll_mask))

    def prep_cancel(self, cancel_user_data: int, flags: int) -> None:
        """Cancel the request with that `user_data`. Since 5.5."""
        self._write(OP.ASYNC_CANCEL, -1, 0, cancel_user_data, 0, flags)

    def prep_cancel_fd(self, fd: int, flags: int) -> None:
        """Cancel a request on that descriptor. Since 5.19."""
        self._write(OP.ASYNC_CANCEL, fd, rw_flags=flags | IORING_ASYNC_CANCEL_FD)

    def prep_files_update(self, fds: Fds, offset: int) -> None:
        """Put descriptors into the file table from slot `offset` on. Since 5.6."""
        address, count, pin = fds_of(fds)
        self._write(OP.FILES_UPDATE, -1, offset, address, count, pins=pin)

    def prep_files_update_alloc(self, fds: Array[c_int32]) -> None:
        """Put descriptors into free slots; the kernel writes the slots into the array. Since 5.19."""
        address, count, pin = fds_of(fds)
        self._write(OP.FILES_UPDATE, -1, IORING_FILE_INDEX_ALLOC, address, count, pins=pin)

    def prep_provide_buffers(self, buffers: Writable, buffer_len: int, num: int, group_id: int, buffer_id: int) -> None:
        """Hand `num` buffers of `buffer_len` bytes, one after the other in `buffers`, to a group. Since 5.7."""
        address, size_bytes, pin = writable(buffers)
        if buffer_len * num > size_bytes:
            raise ArgumentOutOfRange(f"{num} buffers of {buffer_len} bytes do not fit into {size_bytes} bytes")
        self._write(OP.PROVIDE_BUFFERS, num, buffer_id, address, buffer_len, buf_index=group_id, pins=pin)

    def prep_remove_buffers(self, num: int, group_id: int) -> None:
        """Take up to `num` buffers back from a group. Since 5.7."""
        self._write(OP.REMOVE_BUFFERS, num, buf_index=group_id)

    def prep_waitid(self, id_type: int, id: int, infop: Address, options: int, flags: int) -> None:  # noqa: A002
        """waitid(2) into a `siginfo_t`. Since 6.7."""
        address, pin = writable_address_of(infop)
        self._write(OP.WAITID, id, address, 0, id_type, flags, splice_fd_in=signed32(options), pins=pin)

    def prep_futex_wait(self, futex: Address, val: int, mask: int, futex_flags: int, flags: int) -> None:
        """Wait while the word at `futex` is `val`, for a wake whose mask has a bit of `mask`. Since 6.7.

        `futex_flags` are FUTEX2_* bits, `flags` must be 0. Source: io_uring_prep_futex_wait(3).
        """
        address, pin = writable_address_of(futex)
        self._write(OP.FUTEX_WAIT, futex_flags, val, address, 0, flags, addr3=mask, pins=pin)

    def prep_futex_wake(self, futex: Address, val: int, mask: int, futex_flags: int, flags: int) -> None:
        """Wake up to `val` of those who wait at `futex` with a bit of `mask`; the result is how many. Since 6.7."""
        address, pin = writable_address_of(futex)
        self._write(OP.FUTEX_WAKE, futex_flags, val, address, 0, flags, addr3=mask, pins=pin)

    def prep_futex_waitv(self, futexes: Array[futex_waitv], flags: int) -> None:
        """Wait at up to 128 futexes; the result is the index of one that was woken. Since 6.7.

        The array is held, the words that it names are not.
        """
        self._write(OP.FUTEX_WAITV, 0, 0, addressof(futexes), len(futexes), flags, pins=futexes)
