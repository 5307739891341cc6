# ruff: noqa: A002, D402 - the argument names are liburing's, and naming a system call as read(2) is no signature
"""Operations of `IoUring` on sockets and other rings: each queues one SQE and returns it."""

from __future__ import annotations

from .flags import IORING_FILE_INDEX_ALLOC
from .memory import iovec, readable, writable
from .opcodes import IO_URING_SOCKET_OP, OP
from .ring_files import FileOperations
from .selection import BufferSelection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .memory import Address, Readable, Writable
    from .sqe import io_uring_sqe


class NetworkOperations(FileOperations):
    """each queues one SQE and returns it."""

    __slots__ = ()

    def accept(self, user_data: int, fd: int, addr: Address, addrlen: Address, flags: int) -> io_uring_sqe:
        """Queue accept4(2); `addr` is room for an address and `addrlen` a `socklen_t`, or both None. Since 5.5."""
        sqe = self.sq.vacant()
        sqe.prep_accept(fd, addr, addrlen, flags)
        return self._take(sqe, user_data)

    def accept_multishot(self, user_data: int, fd: int, addr: Address, addrlen: Address, flags: int) -> io_uring_sqe:
        """Queue accepting again and again; IORING_CQE_F_MORE is set while it goes on. Since 5.19."""
        sqe = self.sq.vacant()
        sqe.prep_multishot_accept(fd, addr, addrlen, flags)
        return self._take(sqe, user_data)

    def accept_direct(self, user_data: int, fd: int, addr: Address, addrlen: Address, flags: int) -> io_uring_sqe:
        """Queue accept4(2) into a slot the kernel chooses; the result is the slot. Since 5.19."""
        sqe = self.sq.vacant()
        sqe.prep_accept_direct(fd, addr, addrlen, flags, IORING_FILE_INDEX_ALLOC)
        return self._take(sqe, user_data)

    def accept_multishot_direct(
        self, user_data: int, fd: int, addr: Address, addrlen: Address, flags: int
    ) -> io_uring_sqe:
        """Queue accepting again and again into slots the kernel chooses. Since 5.19."""
        sqe = self.sq.vacant()
        sqe.prep_multishot_accept_direct(fd, addr, addrlen, flags)
        return self._take(sqe, user_data)

    def connect(self, user_data: int, fd: int, addr: Address, addrlen: int | None = None) -> io_uring_sqe:
        """Queue connect(2); `addrlen` defaults to the length of the address object. Since 5.5."""
        sqe = self.sq.vacant()
        sqe.prep_connect(fd, addr, addrlen)
        return self._take(sqe, user_data)

    def bind(self, user_data: int, fd: int, addr: Address, addrlen: int | None = None, flags: int = 0) -> io_uring_sqe:
        """Queue bind(2); `addrlen` defaults to the length of the address object. Since 6.11."""
        sqe = self.sq.vacant()
        sqe.prep_bind(fd, addr, addrlen, flags)
        return self._take(sqe, user_data)

    def listen(self, user_data: int, fd: int, backlog: int, flags: int) -> io_uring_sqe:
        """Queue listen(2). Since 6.11."""
        sqe = self.sq.vacant()
        sqe.prep_listen(fd, backlog, flags)
        return self._take(sqe, user_data)

    def shutdown(self, user_data: int, sockfd: int, how: int) -> io_uring_sqe:
        """Queue shutdown(2). Since 5.11."""
        sqe = self.sq.vacant()
        sqe.prep_shutdown(sockfd, how)
        return self._take(sqe, user_data)

    def socket(self, user_data: int, domain: int, socket_type: int, protocol: int, flags: int) -> io_uring_sqe:
        """Queue socket(2); the result is a descriptor. Since 5.19."""
        sqe = self.sq.vacant()
        sqe.prep_socket(domain, socket_type, protocol, flags)
        return self._take(sqe, user_data)

    def socket_direct(
        self, user_data: int, domain: int, socket_type: int, protocol: int, flags: int, file_index: int
    ) -> io_uring_sqe:
        """Queue socket(2) into a slot of the file table. Since 5.19."""
        sqe = self.sq.vacant()
        sqe.prep_socket_direct(domain, socket_type, protocol, flags, file_index)
        return self._take(sqe, user_data)

    def socket_direct_alloc(
        self, user_data: int, domain: int, socket_type: int, protocol: int, flags: int
    ) -> io_uring_sqe:
        """Queue socket(2) into a slot the kernel chooses; the result is the slot. Since 5.19."""
        sqe = self.sq.vacant()
        sqe.prep_socket_direct_alloc(domain, socket_type, protocol, flags)
        return self._take(sqe, user_data)

    def recv(self, user_data: int, fd: int, buffer: Writable | BufferSelection, flags: int) -> io_uring_sqe:
        """Queue recv(2) into a writable buffer, or into a provided one (`BufferSelection`). Since 5.6.

        Raises:
            BufferNotWritable: the memory is read-only.
            SubmissionQueueFull: submit first.
        """
        sqe = self.sq.vacant()
        if isinstance(buffer, BufferSelection):
            sqe.prep_rw(OP.RECV, fd, 0, buffer.len, 0)
            sqe.rw_flags = flags
            buffer.select(sqe)
        else:
            sqe.prep_recv(fd, buffer, flags)
        return self._take(sqe, user_data)

    def recv_multishot(self, user_data: int, fd: int, buffer: Writable | BufferSelection, flags: int) -> io_uring_sqe:
        """Queue receiving again and again into provided buffers; IORING_CQE_F_MORE is set while it goes on. Since 6.0.

        Args:
            user_data: of every completion.
            fd: socket.
            buffer: the group; a `len` above 0 is the most that one completion brings (since 6.17). Or an empty buffer,
                and the group is selected in the entry.
            flags: MSG_* bits.
        """
        sqe = self.sq.vacant()
        if isinstance(buffer, BufferSelection):
            sqe.prep_recv_multishot(fd, iovec(0, buffer.len), flags)
            buffer.select(sqe)
        else:
            sqe.prep_recv_multishot(fd, buffer, flags)
        return self._take(sqe, user_data)

    def send(self, user_data: int, fd: int, buffer: Readable | BufferSelection, flags: int) -> io_uring_sqe:
        """Queue send(2), of a readable buffer (since 5.6) or of a provided one (`BufferSelection`, since 6.10)."""
        sqe = self.sq.vacant()
        if isinstance(buffer, BufferSelection):
            sqe.prep_rw(OP.SEND, fd, 0, buffer.len, 0)
            sqe.rw_flags = flags
            buffer.select(sqe)
        else:
            sqe.prep_send(fd, buffer, flags)
        return self._take(sqe, user_data)

    def sendto(
        self, user_data: int, fd: int, buffer: Readable, flags: int, addr: Address, addrlen: int | None = None
    ) -> io_uring_sqe:
        """Queue sendto(2); `addrlen` defaults to the length of the address object. Since 6.0."""
        sqe = self.sq.vacant()
        sqe.prep_sendto(fd, buffer, flags, addr, addrlen)
        return self._take(sqe, user_data)

    def send_bundle(self, user_data: int, fd: int, len: int, flags: int) -> io_uring_sqe:
        """Queue sending several buffers of a group at once; select the group in the entry. Since 6.10.

        The completion names the first buffer that was sent, `io_uring_buf_ring.bundle` the others.
        """
        sqe = self.sq.vacant()
        sqe.prep_send_bundle(fd, len, flags)
        return self._take(sqe, user_data)

    def send_zc(self, user_data: int, fd: int, buffer: Readable, send_flags: int, zc_flags: int) -> io_uring_sqe:
        """Queue send(2) without a copy. Since 6.0.

        There are two completions: the result (with IORING_CQE_F_MORE), and later a notification (IORING_CQE_F_NOTIF)
        that the buffer is no longer used. Without IORING_CQE_F_MORE in the first there is no second.
        """
        sqe = self.sq.vacant()
        sqe.prep_send_zc(fd, buffer, send_flags, zc_flags)
        return self._take(sqe, user_data)

    def send_zc_fixed(
        self, user_data: int, fd: int, buffer: Readable, send_flags: int, zc_flags: int, buf_index: int
    ) -> io_uring_sqe:
        """Queue sending (part of) a registered buffer without a copy. Since 6.0."""
        sqe = self.sq.vacant()
        sqe.prep_send_zc_fixed(fd, buffer, send_flags, zc_flags, buf_index)
        return self._take(sqe, user_data)

    def recvmsg(self, user_data: int, fd: int, msg: Address, flags: int) -> io_uring_sqe:
        """Queue recvmsg(2) with a `msghdr`. Since 5.3."""
        sqe = self.sq.vacant()
        sqe.prep_recvmsg(fd, msg, flags)
        return self._take(sqe, user_data)

    def recvmsg_multishot(self, user_data: int, fd: int, msg: Address, flags: int) -> io_uring_sqe:
        """Queue receiving messages again and again; select a group in the entry, and see `recvmsg_validate`. Since 6.0.

        Args:
            user_data: of every completion.
            fd: socket.
            msg: a `msghdr` whose `namelen` and `controllen` are each buffer's room for name and control data.
            flags: MSG_* bits.
        """
        sqe = self.sq.vacant()
        sqe.prep_recvmsg_multishot(fd, msg, flags)
        return self._take(sqe, user_data)

    def sendmsg(self, user_data: int, fd: int, msg: Address, flags: int) -> io_uring_sqe:
        """Queue sendmsg(2) with a `msghdr`. Since 5.3."""
        sqe = self.sq.vacant()
        sqe.prep_sendmsg(fd, msg, flags)
        return self._take(sqe, user_data)

    def sendmsg_zc(self, user_data: int, fd: int, msg: Address, flags: int) -> io_uring_sqe:
        """Queue sendmsg(2) without a copy; completions as for `send_zc`. Since 6.1."""
        sqe = self.sq.vacant()
        sqe.prep_sendmsg_zc(fd, msg, flags)
        return self._take(sqe, user_data)

    def sendmsg_zc_fixed(self, user_data: int, fd: int, msg: Address, flags: int, buf_index: int) -> io_uring_sqe:
        """Queue sendmsg(2) of parts of a registered buffer without a copy. Since 6.15."""
        sqe = self.sq.vacant()
        sqe.prep_sendmsg_zc_fixed(fd, msg, flags, buf_index)
        return self._take(sqe, user_data)

    def cmd_sock(
        self, user_data: int, cmd_op: int, fd: int, level: int, optname: int, optval: Address, optlen: int
    ) -> io_uring_sqe:
        """Queue a socket command (IO_URING_SOCKET_OP). Since 6.7."""
        sqe = self.sq.vacant()
        sqe.prep_cmd_sock(cmd_op, fd, level, optname, optval, optlen)
        return self._take(sqe, user_data)

    def cmd_getsockname(
        self, user_data: int, fd: int, sockaddr: Address, sockaddr_len: Address, peer: int
    ) -> io_uring_sqe:
        """Queue getsockname(2), or getpeername(2) where `peer` is 1; `sockaddr_len` is a `socklen_t`. Since 6.19."""
        sqe = self.sq.vacant()
        sqe.prep_cmd_getsockname(fd, sockaddr, sockaddr_len, peer)
        return self._take(sqe, user_data)

    def setsockopt(self, user_data: int, fd: int, level: int, optname: int, opt: Readable) -> io_uring_sqe:
        """Queue setsockopt(2). Since 6.7."""
        address, size_bytes, pin = readable(opt)
        return self._sockopt(user_data, IO_URING_SOCKET_OP.SETSOCKOPT, fd, level, optname, address, size_bytes, pin)

    def getsockopt(self, user_data: int, fd: int, level: int, optname: int, opt: Writable) -> io_uring_sqe:
        """Queue getsockopt(2) into a writable buffer. Since 6.7.

        Raises:
            BufferNotWritable: the memory is read-only.
        """
        address, size_bytes, pin = writable(opt)
        return self._sockopt(user_data, IO_URING_SOCKET_OP.GETSOCKOPT, fd, level, optname, address, size_bytes, pin)

    def _sockopt(
        self, user_data: int, op: int, fd: int, level: int, optname: int, address: int, size_bytes: int, pin: object
    ) -> io_uring_sqe:
        sqe = self.sq.vacant()
        sqe.prep_cmd_sock(op, fd, level, optname, address, size_bytes)
        sqe._pins = pin
        return self._take(sqe, user_data)

    def msg_ring(self, user_data: int, fd: int, len: int, data: int, flags: int) -> io_uring_sqe:
        """Queue a message to the ring of descriptor `fd`: a completion there, `len` its result, `data` its user_data.

        Since 5.18.
        """
        sqe = self.sq.vacant()
        sqe.prep_msg_ring(fd, len, data, flags)
        return self._take(sqe, user_data)

    def msg_ring_cqe_flags(
        self, user_data: int, fd: int, len: int, data: int, flags: int, cqe_flags: int
    ) -> io_uring_sqe:
        """Queue a message to another ring whose completion there has these flags. Since 6.3."""
        sqe = self.sq.vacant()
        sqe.prep_msg_ring_cqe_flags(fd, len, data, flags, cqe_flags)
        return self._take(sqe, user_data)

    def msg_ring_fd(
        self, user_data: int, fd: int, source_fd: int, target_fd: int, data: int, flags: int
    ) -> io_uring_sqe:
        """Queue putting the file of slot `source_fd` into slot `target_fd` of another ring's table. Since 6.0."""
        sqe = self.sq.vacant()
        sqe.prep_msg_ring_fd(fd, source_fd, target_fd, data, flags)
        return self._take(sqe, user_data)

    def msg_ring_fd_alloc(self, user_data: int, fd: int, source_fd: int, data: int, flags: int) -> io_uring_sqe:
        """Queue putting a file of this ring's table into another's; both completions' result is the slot. Since 6.1."""
        sqe = self.sq.vacant()
        sqe.prep_msg_ring_fd_alloc(fd, source_fd, data, flags)
        return self._take(sqe, user_data)
