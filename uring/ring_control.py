# ruff: noqa: A002, D402 - the argument names are Zig's, and naming a system call as read(2) is no signature
"""Operations of `IoUring` on time, polls, other requests, buffers and processes: each queues one SQE."""

from __future__ import annotations

from .ring_network import NetworkOperations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ctypes import Array

    from .memory import Address, Writable
    from .sqe import io_uring_sqe
    from .structs import futex_waitv


class ControlOperations(NetworkOperations):
    """each queues one SQE."""

    __slots__ = ()

    def timeout(self, user_data: int, ts: Address, count: int, flags: int) -> io_uring_sqe:
        """Queue a timeout (`kernel_timespec`), over early after `count` completions if that is not 0. Since 5.4.

        With IORING_TIMEOUT_IMMEDIATE_ARG (since 7.1) `ts` is a number of nanoseconds; with IORING_TIMEOUT_MULTISHOT
        (since 6.4) `count` is how often it repeats, 0 for ever.
        """
        sqe = self.sq.vacant()
        sqe.prep_timeout(ts, count, flags)
        return self._take(sqe, user_data)

    def timeout_remove(self, user_data: int, timeout_user_data: int, flags: int) -> io_uring_sqe:
        """Queue the removal of a timeout. Since 5.5."""
        sqe = self.sq.vacant()
        sqe.prep_timeout_remove(timeout_user_data, flags)
        return self._take(sqe, user_data)

    def timeout_update(self, user_data: int, ts: Address, timeout_user_data: int, flags: int) -> io_uring_sqe:
        """Queue giving a timeout another time, a linked one with IORING_LINK_TIMEOUT_UPDATE. Since 5.11."""
        sqe = self.sq.vacant()
        sqe.prep_timeout_update(ts, timeout_user_data, flags)
        return self._take(sqe, user_data)

    def link_timeout(self, user_data: int, ts: Address, flags: int) -> io_uring_sqe:
        """Queue a time limit for the request queued before, which must have IOSQE_IO_LINK set. Since 5.5."""
        sqe = self.sq.vacant()
        sqe.prep_link_timeout(ts, flags)
        return self._take(sqe, user_data)

    def poll_add(self, user_data: int, fd: int, poll_mask: int) -> io_uring_sqe:
        """Queue waiting for one of the select.POLL* events. Since 5.1."""
        sqe = self.sq.vacant()
        sqe.prep_poll_add(fd, poll_mask)
        return self._take(sqe, user_data)

    def poll_multishot(self, user_data: int, fd: int, poll_mask: int) -> io_uring_sqe:
        """Queue waiting for select.POLL* events again and again, while IORING_CQE_F_MORE is set. Since 5.13."""
        sqe = self.sq.vacant()
        sqe.prep_poll_multishot(fd, poll_mask)
        return self._take(sqe, user_data)

    def poll_remove(self, user_data: int, target_user_data: int) -> io_uring_sqe:
        """Queue the removal of a poll. Since 5.1."""
        sqe = self.sq.vacant()
        sqe.prep_poll_remove(target_user_data)
        return self._take(sqe, user_data)

    def poll_update(
        self, user_data: int, old_user_data: int, new_user_data: int, poll_mask: int, flags: int
    ) -> io_uring_sqe:
        """Queue changing a poll in flight; `flags` are IORING_POLL_UPDATE_* bits. Since 5.13."""
        sqe = self.sq.vacant()
        sqe.prep_poll_update(old_user_data, new_user_data, poll_mask, flags)
        return self._take(sqe, user_data)

    def cancel(self, user_data: int, cancel_user_data: int, flags: int) -> io_uring_sqe:
        """Queue cancelling the request of that `user_data`. Since 5.5."""
        sqe = self.sq.vacant()
        sqe.prep_cancel(cancel_user_data, flags)
        return self._take(sqe, user_data)

    def cancel_fd(self, user_data: int, fd: int, flags: int) -> io_uring_sqe:
        """Queue cancelling a request on a descriptor, a slot with IORING_ASYNC_CANCEL_FD_FIXED. Since 5.19."""
        sqe = self.sq.vacant()
        sqe.prep_cancel_fd(fd, flags)
        return self._take(sqe, user_data)

    def provide_buffers(
        self, user_data: int, buffers: Writable, buffer_size: int, buffers_count: int, group_id: int, buffer_id: int
    ) -> io_uring_sqe:
        """Queue handing buffers that lie one after the other in `buffers` to a group. Since 5.7."""
        sqe = self.sq.vacant()
        sqe.prep_provide_buffers(buffers, buffer_size, buffers_count, group_id, buffer_id)
        return self._take(sqe, user_data)

    def remove_buffers(self, user_data: int, buffers_count: int, group_id: int) -> io_uring_sqe:
        """Queue taking up to `buffers_count` buffers back from a group. Since 5.7."""
        sqe = self.sq.vacant()
        sqe.prep_remove_buffers(buffers_count, group_id)
        return self._take(sqe, user_data)

    def waitid(self, user_data: int, id_type: int, id: int, infop: Address, options: int, flags: int) -> io_uring_sqe:
        """Queue waitid(2) into a `siginfo_t`. Since 6.7."""
        sqe = self.sq.vacant()
        sqe.prep_waitid(id_type, id, infop, options, flags)
        return self._take(sqe, user_data)

    def futex_wait(
        self, user_data: int, futex: Address, val: int, mask: int, futex_flags: int, flags: int
    ) -> io_uring_sqe:
        """Queue waiting at a futex while its word is `val`; EAGAIN if it is not. Since 6.7.

        Args:
            user_data: comes back in the completion.
            futex: the 32-bit word.
            val: what is expected there.
            mask: bits of which a wake must have one, FUTEX_BITSET_MATCH_ANY for any wake.
            futex_flags: FUTEX2_SIZE_U32, with FUTEX2_PRIVATE if no other process wakes.
            flags: 0.
        """
        sqe = self.sq.vacant()
        sqe.prep_futex_wait(futex, val, mask, futex_flags, flags)
        return self._take(sqe, user_data)

    def futex_wake(
        self, user_data: int, futex: Address, val: int, mask: int, futex_flags: int, flags: int
    ) -> io_uring_sqe:
        """Queue waking up to `val` of those who wait at a futex; the result is how many. Since 6.7."""
        sqe = self.sq.vacant()
        sqe.prep_futex_wake(futex, val, mask, futex_flags, flags)
        return self._take(sqe, user_data)

    def futex_waitv(self, user_data: int, futexes: Array[futex_waitv], flags: int) -> io_uring_sqe:
        """Queue waiting at several futexes; the result is the index of one that was woken. Since 6.7."""
        sqe = self.sq.vacant()
        sqe.prep_futex_waitv(futexes, flags)
        return self._take(sqe, user_data)
