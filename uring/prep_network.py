"""`prep_*` of socket operations and of messages between rings, in Zig's or liburing's argument order."""

from __future__ import annotations

import sys

from .errors import ArgumentOutOfRange
from .flags import (
    IORING_ACCEPT_MULTISHOT,
    IORING_FILE_INDEX_ALLOC,
    IORING_MSG_DATA,
    IORING_MSG_RING_FLAGS_PASS,
    IORING_MSG_SEND_FD,
    IORING_RECV_MULTISHOT,
    IORING_RECVSEND_BUNDLE,
    IORING_RECVSEND_FIXED_BUF,
)
from .memory import address_of, readable, writable, writable_address_of
from .opcodes import IO_URING_SOCKET_OP, OP
from .prep_files import FilePreps
from .sqe_fields import file_slot, signed32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .memory import Address, Readable, Writable


def _length_of(addr: Address, addrlen: int | None) -> int:
    """The length given, else the address object's own."""
    return len(addr) if addrlen is None else addrlen  # type: ignore[arg-type]


def _two_words(first: int, second: int) -> int:
    """Two 32-bit fields that lie next to each other, as the 64-bit number that covers both on this machine."""
    if not (0 <= first < 1 << 32 and 0 <= second < 1 << 32):
        raise ArgumentOutOfRange(f"{first} or {second} does not fit 32 bits")
    low, high = (first, second) if sys.byteorder == "little" else (second, first)
    return low | high << 32


class NetworkPreps(FilePreps):
    """Socket operations, and messages between rings."""

    __slots__ = ()

    def _accept(self, fd: int, addr: Address, addrlen: Address, flags: int, ioprio: int = 0, slot: int = 0) -> None:
        address, address_pin = writable_address_of(addr)
        length, length_pin = writable_address_of(addrlen)
        pins = None if addr is None and addrlen is None else (address_pin, length_pin)
        self._write(OP.ACCEPT, fd, length, address, 0, flags, ioprio, splice_fd_in=slot, pins=pins)

    def prep_accept(self, fd: int, addr: Address, addrlen: Address, flags: int) -> None:
        """accept4(2); `addr` room for an address and `addrlen` a `socklen_t`, or both None. Since 5.5."""
        self._accept(fd, addr, addrlen, flags)

    def prep_accept_direct(self, fd: int, addr: Address, addrlen: Address, flags: int, file_index: int) -> None:
        """accept4(2) into a slot of the file table. Since 5.19."""
        self._accept(fd, addr, addrlen, flags, slot=file_slot(file_index))

    def prep_multishot_accept(self, fd: int, addr: Address, addrlen: Address, flags: int) -> None:
        """Accept again and again, a completion for each connection. Since 5.19."""
        self._accept(fd, addr, addrlen, flags, IORING_ACCEPT_MULTISHOT)

    def prep_multishot_accept_direct(self, fd: int, addr: Address, addrlen: Address, flags: int) -> None:
        """Accept again and again into slots the kernel chooses. Since 5.19."""
        slot = file_slot(IORING_FILE_INDEX_ALLOC)
        self._accept(fd, addr, addrlen, flags, IORING_ACCEPT_MULTISHOT, slot)

    def prep_connect(self, fd: int, addr: Address, addrlen: int | None = None) -> None:
        """connect(2); `addrlen` defaults to the length of the address object. Since 5.5."""
        address, pin = address_of(addr)
        self._write(OP.CONNECT, fd, _length_of(addr, addrlen), address, pins=pin)

    def prep_bind(self, fd: int, addr: Address, addrlen: int | None = None, flags: int = 0) -> None:
        """bind(2); `addrlen` defaults to the length of the address object. Since 6.11."""
        address, pin = address_of(addr)
        self._write(OP.BIND, fd, _length_of(addr, addrlen), address, 0, flags, pins=pin)

    def prep_listen(self, fd: int, backlog: int, flags: int) -> None:
        """listen(2). Since 6.11."""
        self._write(OP.LISTEN, fd, len=backlog, rw_flags=flags)

    def prep_shutdown(self, sockfd: int, how: int) -> None:
        """shutdown(2). Since 5.11."""
        self._write(OP.SHUTDOWN, sockfd, len=how)

    def prep_socket(self, domain: int, socket_type: int, protocol: int, flags: int) -> None:
        """socket(2). Since 5.19."""
        self._write(OP.SOCKET, domain, socket_type, 0, protocol, flags)

    def prep_socket_direct(self, domain: int, socket_type: int, protocol: int, flags: int, file_index: int) -> None:
        """socket(2) into a slot of the file table. Since 5.19."""
        self._write(OP.SOCKET, domain, socket_type, 0, protocol, flags, splice_fd_in=file_slot(file_index))

    def prep_socket_direct_alloc(self, domain: int, socket_type: int, protocol: int, flags: int) -> None:
        """socket(2) into a slot the kernel chooses. Since 5.19."""
        self.prep_socket_direct(domain, socket_type, protocol, flags, IORING_FILE_INDEX_ALLOC)

    def prep_recv(self, fd: int, buffer: Writable, flags: int) -> None:
        """recv(2). Since 5.6."""
        address, size_bytes, pin = writable(buffer)
        self._write(OP.RECV, fd, 0, address, size_bytes, flags, pins=pin)

    def prep_recv_multishot(self, fd: int, buffer: Writable, flags: int) -> None:
        """Receive again and again; needs IOSQE_BUFFER_SELECT and an empty `buffer`. Since 6.0."""
        address, size_bytes, pin = writable(buffer)
        self._write(OP.RECV, fd, 0, address, size_bytes, flags, IORING_RECV_MULTISHOT, pins=pin)

    def prep_send(self, fd: int, buffer: Readable, flags: int) -> None:
        """send(2). Since 5.6."""
        address, size_bytes, pin = readable(buffer)
        self._write(OP.SEND, fd, 0, address, size_bytes, flags, pins=pin)

    def prep_sendto(self, sockfd: int, buffer: Readable, flags: int, addr: Address, addrlen: int | None = None) -> None:
        """sendto(2); `addrlen` defaults to the length of the address object. Since 6.0."""
        self.prep_send(sockfd, buffer, flags)
        self.send_set_addr(addr, addrlen)

    def send_set_addr(self, dest_addr: Address, addr_len: int | None = None) -> None:
        """Have a filled-in send or zero-copy send go to an address. Since 6.0; liburing's io_uring_prep_send_set_addr.

        Args:
            dest_addr: the address.
            addr_len: defaults to the length of the address object.
        """
        self.off, pin = address_of(dest_addr)
        # A field of 16 bits, and 16 that stay zero.
        length = _length_of(dest_addr, addr_len)
        self.splice_fd_in = signed32(length if sys.byteorder == "little" else length << 16)
        self._pins = (self._pins, pin)

    def prep_send_bundle(self, sockfd: int, len: int, flags: int) -> None:  # noqa: A002 - the call's name
        """Send buffers of a group one after the other, up to `len` bytes or all (0); needs IOSQE_BUFFER_SELECT.

        Since 6.10.
        """
        self._write(OP.SEND, sockfd, 0, 0, len, flags, IORING_RECVSEND_BUNDLE)

    def prep_send_zc(self, fd: int, buffer: Readable, flags: int, zc_flags: int) -> None:
        """send(2) without a copy; the buffer must not change before the notification. Since 6.0."""
        address, size_bytes, pin = readable(buffer)
        self._write(OP.SEND_ZC, fd, 0, address, size_bytes, flags, zc_flags, pins=pin)

    def prep_send_zc_fixed(self, fd: int, buffer: Readable, flags: int, zc_flags: int, buf_index: int) -> None:
        """Send part of a registered buffer without a copy. Since 6.0."""
        address, size_bytes, pin = readable(buffer)
        ioprio = zc_flags | IORING_RECVSEND_FIXED_BUF
        self._write(OP.SEND_ZC, fd, 0, address, size_bytes, flags, ioprio, buf_index, pins=pin)

    def prep_recvmsg(self, fd: int, msg: Address, flags: int) -> None:
        """recvmsg(2) with a `msghdr`. Since 5.3."""
        address, pin = address_of(msg)
        self._write(OP.RECVMSG, fd, 0, address, 1, flags, pins=pin)

    def prep_recvmsg_multishot(self, fd: int, msg: Address, flags: int) -> None:
        """Receive messages again and again; needs IOSQE_BUFFER_SELECT. Since 6.0."""
        address, pin = address_of(msg)
        self._write(OP.RECVMSG, fd, 0, address, 1, flags, IORING_RECV_MULTISHOT, pins=pin)

    def prep_sendmsg(self, fd: int, msg: Address, flags: int) -> None:
        """sendmsg(2) with a `msghdr`. Since 5.3."""
        address, pin = address_of(msg)
        self._write(OP.SENDMSG, fd, 0, address, 1, flags, pins=pin)

    def prep_sendmsg_zc(self, fd: int, msg: Address, flags: int) -> None:
        """sendmsg(2) without a copy; the memory must not change before the notification. Since 6.1."""
        address, pin = address_of(msg)
        self._write(OP.SENDMSG_ZC, fd, 0, address, 1, flags, pins=pin)

    def prep_sendmsg_zc_fixed(self, fd: int, msg: Address, flags: int, buf_index: int) -> None:
        """sendmsg(2) without a copy, of parts of a registered buffer. Since 6.15."""
        address, pin = address_of(msg)
        self._write(OP.SENDMSG_ZC, fd, 0, address, 1, flags, IORING_RECVSEND_FIXED_BUF, buf_index, pins=pin)

    def prep_cmd_sock(self, cmd_op: int, fd: int, level: int, optname: int, optval: Address, optlen: int) -> None:
        """A socket command (IO_URING_SOCKET_OP); `optval` is an address or a structure. Since 6.7.

        The command number and the level/optname pair are 32-bit fields, packed in this machine's byte order; Zig packs
        them through 64-bit integers, which is wrong on big-endian machines.
        """
        address, pin = address_of(optval)
        self._write(
            OP.URING_CMD,
            fd,
            _two_words(cmd_op, 0),
            _two_words(level, optname),
            splice_fd_in=signed32(optlen),
            addr3=address,
            pins=pin,
        )

    def prep_cmd_getsockname(self, fd: int, sockaddr: Address, sockaddr_len: Address, peer: int) -> None:
        """getsockname(2), or getpeername(2) where `peer` is 1; `sockaddr_len` is a `socklen_t`. Since 6.19."""
        address, address_pin = writable_address_of(sockaddr)
        length, length_pin = writable_address_of(sockaddr_len)
        self._write(
            OP.URING_CMD,
            fd,
            _two_words(IO_URING_SOCKET_OP.GETSOCKNAME, 0),
            address,
            splice_fd_in=signed32(peer),
            addr3=length,
            pins=(address_pin, length_pin),
        )

    def prep_msg_ring(self, fd: int, len: int, data: int, flags: int) -> None:  # noqa: A002 - liburing's name
        """Have a completion posted in the ring of descriptor `fd`: `len` is its result, `data` its user_data.

        Args:
            fd: another ring's.
            len: 32 bits.
            data: 64 bits.
            flags: IORING_MSG_RING_* bits.

        Since 5.18.
        """
        self._write(OP.MSG_RING, fd, data, IORING_MSG_DATA, len, flags)

    def prep_msg_ring_cqe_flags(self, fd: int, len: int, data: int, flags: int, cqe_flags: int) -> None:  # noqa: A002
        """As `prep_msg_ring`, and the completion has these flags. Since 6.3."""
        flags |= IORING_MSG_RING_FLAGS_PASS
        self._write(OP.MSG_RING, fd, data, IORING_MSG_DATA, len, flags, splice_fd_in=signed32(cqe_flags))

    def prep_msg_ring_fd(self, fd: int, source_fd: int, target_fd: int, data: int, flags: int) -> None:
        """Put a file of this ring's table into the table of another ring, whose completion has `data`.

        Args:
            fd: the other ring's descriptor.
            source_fd: slot in this ring's table.
            target_fd: slot in the other's table; with IORING_FILE_INDEX_ALLOC the result is the kernel's choice.
            data: user_data of the other ring's completion.
            flags: IORING_MSG_RING_* bits; with IORING_MSG_RING_CQE_SKIP the other ring gets no completion.

        Since 6.0.
        """
        slot = file_slot(target_fd)
        self._write(OP.MSG_RING, fd, data, IORING_MSG_SEND_FD, 0, flags, splice_fd_in=slot, addr3=source_fd)

    def prep_msg_ring_fd_alloc(self, fd: int, source_fd: int, data: int, flags: int) -> None:
        """As `prep_msg_ring_fd`, into a slot that the kernel chooses. Since 6.1."""
        self.prep_msg_ring_fd(fd, source_fd, IORING_FILE_INDEX_ALLOC, data, flags)
