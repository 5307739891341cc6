"""The operations of `IoUring`: each queues what its `prep_*` writes; those that no Zig test runs do their work."""

from __future__ import annotations

import array
import ctypes
import inspect
import os
import select
import socket
from collections.abc import Callable
from typing import Any

import pytest
from test_uring_encoding import CASES, to_python

import uring

Pair = tuple[socket.socket, socket.socket]
USER_DATA = 0xFEDCBA9876543210

# What takes `user_data` first.
METHODS = {
    name
    for name, method in inspect.getmembers(uring.IoUring, inspect.isfunction)
    if not name.startswith("_") and "user_data" in method.__code__.co_varnames[:2]
}
# Operation -> the `prep_*` it goes through, where the names differ or there are several.
PREP_OF = {
    "accept_multishot": "prep_multishot_accept",
    "accept_multishot_direct": "prep_multishot_accept_direct",
}
# Those that have tests of their own below.
OWN = {"accept_direct", "setsockopt", "getsockopt", "forget"}
# Two operations take a buffer or a list of them.
BY_ARGUMENT = [("read", "prep_read"), ("read", "prep_readv"), ("recv", "prep_recv")]
SAME_NAME = METHODS - PREP_OF.keys() - OWN - {name for name, _ in BY_ARGUMENT}
OPERATIONS = [*((name, f"prep_{name}") for name in sorted(SAME_NAME)), *PREP_OF.items(), *BY_ARGUMENT]


@pytest.mark.parametrize(("operation", "prep"), OPERATIONS, ids=lambda name: name)
def test_operation_queues_what_its_prep_writes(ring: uring.IoUring, operation: str, prep: str) -> None:
    """All of its cases through the ring: the same bytes, and `user_data`; the entry is taken."""
    cases = [case for case in CASES if case["name"] == prep]
    assert cases
    for case in cases:
        arguments = [to_python(prep, value) for value in case["arguments"]]
        sqe = getattr(ring, operation)(USER_DATA, *arguments)
        assert ring.sq_ready() == 1
        expected = bytearray.fromhex(case["sqe"])
        expected[32:40] = USER_DATA.to_bytes(8, "little")
        assert bytes(sqe).hex() == expected.hex()
        # Never submitted: the addresses are made up. The slot is given back.
        ring.sq._slot -= 1


def test_accept_direct_lets_the_kernel_choose_the_slot(ring: uring.IoUring) -> None:
    """Zig's accept_direct has no slot argument."""
    sqe = ring.accept_direct(7, 5, 0x1000, 0x2000, 3)
    expected = uring.io_uring_sqe()
    expected.prep_accept_direct(5, 0x1000, 0x2000, 3, uring.IORING_FILE_INDEX_ALLOC)
    expected.user_data = 7
    assert sqe == expected


@pytest.mark.parametrize(
    "buffer",
    [
        b"abc",
        bytearray(b"abc"),
        memoryview(b"xxabc")[2:],
        memoryview(bytearray(b"xxabc"))[2:],
        memoryview(bytearray(b"abc")).toreadonly(),
        array.array("B", b"abc"),
        type("Text", (bytes,), {})(b"abc"),
        b"",
        bytearray(),
    ],
    ids=lambda buffer: f"{type(buffer).__name__}-{len(buffer)}",
)
def test_buffers_of_every_kind_name_their_memory(ring: uring.IoUring, buffer: Any) -> None:
    """What lies at the address for the length is what is in the buffer."""
    sqe = ring.write(1, 5, buffer, 0)
    assert sqe.len == len(buffer)
    assert ctypes.string_at(sqe.addr, sqe.len) == bytes(buffer)
    if not memoryview(buffer).readonly:
        assert ring.read(2, 5, buffer, 0).addr == sqe.addr


@pytest.mark.parametrize(("operation", "command"), [("getsockopt", 2), ("setsockopt", 3)])
def test_socket_options(ring: uring.IoUring, operation: str, command: int) -> None:
    """The option's memory becomes address and length of the command."""
    option = bytearray(12)
    sqe = getattr(ring, operation)(7, 5, 1, 2, option)
    expected = uring.io_uring_sqe()
    expected.prep_cmd_sock(command, 5, 1, 2, ctypes.addressof(ctypes.c_char.from_buffer(option)), 12)
    expected.user_data = 7
    assert sqe == expected


def test_lengths_of_addresses(ring: uring.IoUring) -> None:
    """connect, bind and sendto take the length from the address object when none is given."""
    assert ring.connect(1, 5, uring.sockaddr_in("127.0.0.1", 80)).off == 16
    assert ring.bind(1, 5, uring.sockaddr_in6("::1", 80)).off == 28
    assert ring.connect(1, 5, uring.sockaddr_un("/run/x")).off == 2 + 7
    assert ring.connect(1, 5, uring.sockaddr_un(b"\0abstract")).off == 2 + 9
    assert ring.connect(1, 5, bytes(16), 7).off == 7
    assert ring.sendto(1, 5, b"x", 0, uring.sockaddr_in6("::1", 80)).splice_fd_in == 28
    sqe = ring.send_zc(1, 5, b"x", 0, 0)
    sqe.send_set_addr(uring.sockaddr_in("127.0.0.1", 80))
    assert (sqe.splice_fd_in, bytes(uring.sockaddr_in.from_address(sqe.off))) == (
        16,
        bytes(uring.sockaddr_in("127.0.0.1", 80)),
    )


def test_length_of_an_address_on_a_big_endian_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the first 16 bits of its word."""
    from uring import prep_network

    monkeypatch.setattr(prep_network.sys, "byteorder", "big")
    sqe = uring.io_uring_sqe()
    sqe.send_set_addr(bytes(28))
    assert sqe.splice_fd_in == 28 << 16


def test_multishot_receive_selects_a_group(ring: uring.IoUring) -> None:
    """As IORING_OP_RECV does; the length is the most that a completion brings."""
    sqe = ring.recv_multishot(7, 5, uring.BufferSelection(3, 9), 1)
    expected = uring.io_uring_sqe(opcode=27, fd=5, len=9, rw_flags=1, user_data=7, buf_index=3)
    expected.flags, expected.ioprio = uring.IOSQE_BUFFER_SELECT, uring.IORING_RECV_MULTISHOT
    assert sqe == expected


def test_socket_addresses() -> None:
    """What the kernel reads, and what a person does."""
    address = uring.sockaddr_in("127.1.2.3", 0x1234)
    assert bytes(address) == socket.AF_INET.to_bytes(2, "little") + b"\x12\x34\x7f\x01\x02\x03" + bytes(8)
    assert (address.host, address.port, len(address)) == ("127.1.2.3", 0x1234, 16)
    six = uring.sockaddr_in6("::1", 80, flowinfo=1, scope_id=2)
    assert (six.host, six.port, six.scope_id, len(six)) == ("::1", 80, 2, 28)
    unix = uring.sockaddr_un("/run/socket")
    assert bytes(unix)[:14] == b"\x01\x00/run/socket\0"
    assert len(uring.sockaddr_storage()) == 128
    for wrong in (lambda: uring.sockaddr_un("x" * 108), lambda: uring.sockaddr_in(port=1 << 16)):
        with pytest.raises(uring.ArgumentOutOfRange):
            wrong()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda sqe: sqe.prep_read(3, bytearray(1), -2), "offset -2"),
        (lambda sqe: sqe.prep_openat_direct(3, "x", 0, 0, -1), "file index -1"),
        (lambda sqe: sqe.prep_close_direct(1 << 32), "file index"),
        (lambda sqe: sqe.prep_fsync(3, -1), "IORING_OP_FSYNC"),
        (lambda sqe: sqe.prep_cmd_sock(0, 3, 1 << 32, 0, 0, 0), "32 bits"),
        (lambda sqe: sqe.prep_provide_buffers(bytearray(10), 4, 3, 0, 0), "do not fit"),
        (lambda sqe: sqe.prep_send_zc_fixed(3, b"x", 0, 0, 1 << 16), "buf_index=65536"),
        (lambda sqe: sqe.prep_accept_direct(3, None, None, 0, 1 << 33), "file index"),
    ],
)
def test_numbers_that_do_not_fit(call: Callable[[uring.io_uring_sqe], None], message: str) -> None:
    """A usage error with the operation and the value, instead of a wrapped number."""
    with pytest.raises(uring.ArgumentOutOfRange, match=message):
        call(uring.io_uring_sqe())


def test_file_position_minus_one(ring: uring.IoUring) -> None:
    """-1 is the file's own position, all ones in the entry."""
    assert ring.read(1, 3, bytearray(1), -1).off == (1 << 64) - 1
    splice = ring.splice(1, 3, -1, 4, -1, 5)
    assert (splice.off, splice.addr) == ((1 << 64) - 1, (1 << 64) - 1)


def run(ring: uring.IoUring) -> uring.io_uring_cqe:
    """Submit one entry and reap its completion."""
    assert ring.submit() == 1
    return ring.copy_cqe()


def test_polls(ring: uring.IoUring, pair: Pair) -> None:
    """Add, update, fire, remove."""
    first, second = pair
    ring.poll_add(1, first.fileno(), select.POLLIN)
    ring.submit()
    ring.poll_update(2, 1, 9, select.POLLOUT, uring.IORING_POLL_UPDATE_EVENTS | uring.IORING_POLL_UPDATE_USER_DATA)
    ring.submit()
    by_name = {cqe.user_data: cqe for cqe in (ring.copy_cqe(), ring.copy_cqe())}
    if by_name.get(2, uring.io_uring_cqe()).err() == uring.E.INVAL:
        pytest.skip("this kernel cannot update polls")
    assert by_name[9].res & select.POLLOUT
    ring.poll_add(3, second.fileno(), select.POLLIN)
    ring.submit()
    ring.poll_remove(4, 3)
    ring.submit()
    assert {3: -125, 4: 0} == {cqe.user_data: cqe.res for cqe in (ring.copy_cqe(), ring.copy_cqe())}


def test_epoll_ctl(ring: uring.IoUring, pair: Pair) -> None:
    """An event added through the ring is the one that epoll reports."""
    first, second = pair
    with select.epoll() as epoll:
        event = uring.epoll_event(select.EPOLLIN, first.fileno())
        ring.epoll_ctl(1, epoll.fileno(), first.fileno(), 1, event)
        if (cqe := run(ring)).err() == uring.E.INVAL:
            pytest.skip("no epoll_ctl in this kernel's io_uring")
        assert cqe.res == 0
        second.send(b"x")
        assert epoll.poll(1) == [(first.fileno(), select.EPOLLIN)]


def test_files_update_through_the_ring(ring: uring.IoUring) -> None:
    """prep_files_update and its allocating form, which writes the slots into the array."""
    fd = os.open("/dev/null", os.O_RDONLY)
    ring.register_files_sparse(4)
    sqe = ring.get_sqe()
    sqe.prep_files_update([fd], 2)
    assert run(ring).res == 1
    slots = (ctypes.c_int32 * 2)(fd, fd)
    sqe = ring.get_sqe()
    sqe.prep_files_update_alloc(slots)
    if (cqe := run(ring)).res != 2:
        pytest.skip(f"no slot allocation in this kernel: {cqe}")
    # Two of the free slots; the kernel goes on searching from where it was.
    assert len(set(slots)) == 2
    assert set(slots) <= {0, 1, 3}
    os.close(fd)


def test_cancel_by_descriptor(ring: uring.IoUring, pair: Pair) -> None:
    """prep_cancel_fd ends the receive on that socket."""
    ring.recv(1, pair[0].fileno(), bytearray(1), 0)
    ring.submit()
    sqe = ring.get_sqe()
    sqe.prep_cancel_fd(pair[0].fileno(), 0)
    sqe.user_data = 2
    ring.submit()
    results = {cqe.user_data: cqe.res for cqe in (ring.copy_cqe(), ring.copy_cqe())}
    assert results == {1: -125, 2: 0}


def test_zero_copy_of_registered_memory(ring: uring.IoUring, tcp_pair: Pair) -> None:
    """send_zc_fixed sends part of a registered buffer; sendmsg_zc gathers."""
    client, server = tcp_pair
    memory = bytearray(b"registered for zero copy")
    ring.register_buffers([memory])
    ring.send_zc_fixed(1, client.fileno(), memoryview(memory)[:10], 0, 0, 0)
    first = run(ring)
    if first.err() in (uring.E.INVAL, uring.E.OPNOTSUPP):
        pytest.skip(f"no zero copy here: {first}")
    assert first.res == 10
    assert ring.copy_cqe().flags & uring.IORING_CQE_F_NOTIF
    ring.sendmsg_zc(2, client.fileno(), uring.msghdr(iov=[b" and", bytearray(b" gathered")]), 0)
    assert run(ring).res == 13
    assert ring.copy_cqe().flags & uring.IORING_CQE_F_NOTIF
    assert server.recv(23, socket.MSG_WAITALL) == b"registered and gathered"


def test_multishot_messages(ring: uring.IoUring) -> None:
    """prep_recvmsg_multishot with a buffer ring: each completion has the kernel's header in front of the data."""
    receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with receiver, sender:
        try:
            group = uring.BufferGroup(ring, 1, 64, 4)
        except uring.ArgumentsInvalid as error:
            pytest.skip(str(error))
        sqe = ring.get_sqe()
        sqe.prep_recvmsg_multishot(receiver.fileno(), uring.msghdr(), 0)
        sqe.flags |= uring.IOSQE_BUFFER_SELECT
        sqe.buf_index = 1
        ring.submit()
        for text in (b"one", b"two"):
            sender.send(text)
            cqe = ring.copy_cqe()
            if cqe.err() == uring.E.INVAL:
                pytest.skip("no multishot recvmsg in this kernel")
            assert cqe.flags & uring.IORING_CQE_F_MORE
            assert bytes(group.get(cqe)[16:]) == text
            group.put(cqe)


def test_message_header_layout_and_addresses(ring: uring.IoUring) -> None:
    """recvmsg fills in the sender's address and lengths."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        sender.bind(("127.0.0.1", 0))
        target = uring.sockaddr_in(*receiver.getsockname())
        ring.sendmsg(1, sender.fileno(), uring.msghdr(name=target, iov=[b"to ", b"you"]), 0)
        assert run(ring).res == 6
        source, data = uring.sockaddr_in(), bytearray(10)
        message = uring.msghdr(name=source, iov=[data], control=bytearray(32), flags=0)
        ring.recvmsg(2, receiver.fileno(), message, 0)
        assert run(ring).res == 6
        assert (source.host, source.port) == sender.getsockname()
        assert (message.namelen, message.controllen, data[:6]) == (16, 0, b"to you")


def test_timeouts_may_be_raw_addresses(ring: uring.IoUring) -> None:
    """An integer is an address the caller looks after."""
    soon = uring.kernel_timespec(0, 1000)
    ring.timeout(1, ctypes.addressof(soon), 0, 0)
    assert run(ring).err() == uring.E.TIME


def test_iovec_forms() -> None:
    """Of a buffer, of part of one, of an address."""
    memory = bytearray(10)
    whole = uring.iovec(memory)
    assert whole.len == 10
    assert (uring.iovec(memory, 4).base, uring.iovec(memory, 4).len) == (whole.base, 4)
    assert (uring.iovec(4096, 7).base, uring.iovec(4096, 7).len) == (4096, 7)
    assert uring.iovec(b"").len == 0
    with pytest.raises(uring.ArgumentOutOfRange):
        uring.iovec(memory, 11)
    array: Any = (uring.iovec * 2)(uring.iovec(memory, 1), uring.iovec(memory, 2))
    sqe = uring.io_uring_sqe()
    sqe.prep_writev(1, array, 0)
    assert (sqe.addr, sqe.len) == (ctypes.addressof(array), 2)
    assert "iovec(base=" in repr(whole)
