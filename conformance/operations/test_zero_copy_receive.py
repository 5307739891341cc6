"""Receiving without a copy, as far as it goes without a network card: a receive queue of no device, which copies."""

from __future__ import annotations

import ctypes
import errno
import mmap
import socket
import struct

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.operations.sockets import connection
from conformance.operations.support import expect_no_more, finish
from conformance.support import completion
from uring import zcrx

pytestmark = [
    pytest.mark.group("Zero copy"),
    pytest.mark.needs("zcrx-nodev"),
]

_SYMBOLS = (
    "IORING_OP_RECV_ZC",
    "IORING_RECV_MULTISHOT",
    "IORING_REGISTER_ZCRX_IFQ",
    "IORING_SETUP_DEFER_TASKRUN",
    "IORING_SETUP_SINGLE_ISSUER",
    "IORING_SETUP_CQE32",
    "IORING_CQE_F_MORE",
)
_SETUP = uring.IORING_SETUP_DEFER_TASKRUN | uring.IORING_SETUP_SINGLE_ISSUER | uring.IORING_SETUP_CQE32
_PAGE_BYTES = mmap.PAGESIZE
_ENTRIES = 8


class _ReceiveQueue:
    """A receive queue of no device: memory for what is received, and a queue by which it goes back to the kernel."""

    def __init__(self, io_uring: uring.IoUring, pages: int) -> None:
        self.memory = mmap.mmap(-1, pages * _PAGE_BYTES)
        self._refill = mmap.mmap(-1, 2 * _PAGE_BYTES)
        self._ring = io_uring
        self._area = zcrx.io_uring_zcrx_area_reg(addr=_address_of(self.memory), len=len(self.memory))
        # struct io_uring_region_desc
        region = ctypes.create_string_buffer(
            struct.pack(
                *("=QQIIQ4Q", _address_of(self._refill), len(self._refill), uring.IORING_MEM_REGION_TYPE_USER),
                *[0] * 6,
            )
        )
        self.reg = zcrx.io_uring_zcrx_ifq_reg(
            rq_entries=_ENTRIES,
            flags=zcrx.ZCRX_REG_NODEV,
            area_ptr=ctypes.addressof(self._area),
            region_ptr=ctypes.addressof(region),
        )
        io_uring.register_ifq(self.reg)
        self._tail = 0

    def receive(self, user_data: int, sock: socket.socket) -> None:
        """Queue receiving into this memory again and again."""
        sqe = self._ring.get_sqe()
        sqe.prep_rw(uring.IORING_OP.RECV_ZC, sock.fileno(), 0, 0, 0)
        sqe.ioprio = uring.IORING_RECV_MULTISHOT
        # zcrx_ifq_idx
        sqe.splice_fd_in = self.reg.zcrx_id
        sqe.user_data = user_data

    def data(self, cqe: uring.io_uring_cqe) -> bytes:
        """What a completion brought."""
        start = cqe.big_cqe[0] & ~zcrx.IORING_ZCRX_AREA_MASK
        return self.memory[start : start + cqe.res]

    def give_back(self, cqe: uring.io_uring_cqe) -> None:
        """Let the kernel use a completion's memory again."""
        rqe = zcrx.io_uring_zcrx_rqe(
            off=cqe.big_cqe[0] & ~zcrx.IORING_ZCRX_AREA_MASK | self._area.rq_area_token, len=cqe.res
        )
        at = self.reg.offsets.rqes + self._tail % _ENTRIES * ctypes.sizeof(rqe)
        self._refill[at : at + ctypes.sizeof(rqe)] = bytes(rqe)
        self._tail += 1
        struct.pack_into("=I", self._refill, self.reg.offsets.tail, self._tail)

    def flush(self) -> None:
        """Have the kernel look at what was given back, as nothing else makes it do so without a device."""
        self._ring.register_zcrx_ctrl(zcrx.zcrx_ctrl(zcrx_id=self.reg.zcrx_id, op=zcrx.ZCRX_CTRL_FLUSH_RQ))
        assert self._tail == struct.unpack_from("=I", self._refill, self.reg.offsets.head)[0]


def _address_of(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


@pytest.mark.title("zero-copy receive, to the end of a stream")
@pytest.mark.symbols(*_SYMBOLS)
def test_receive(ring: RingFactory, loopback: str) -> None:
    """Each completion says where in the memory its data lies; the end of the stream is the last."""
    io_uring = ring(8, _SETUP)
    queue = _ReceiveQueue(io_uring, 8)
    with connection(loopback) as (client, server):
        queue.receive(0x71, server)
        places = set()
        for text in (b"Hello", b"zero-copy", b"!"):
            client.sendall(text)
            cqe = finish(io_uring, "IORING_OP_RECV_ZC")
            assert (0x71, len(text), uring.IORING_CQE_F_MORE) == cqe[:3]
            assert text == queue.data(cqe)
            places.add(cqe.big_cqe[0])
        assert 3 == len(places)
        client.shutdown(socket.SHUT_WR)
        assert (0x71, 0, 0) == finish(io_uring, "IORING_OP_RECV_ZC at the end of the stream")[:3]


@pytest.mark.title("zero-copy receive, memory used again")
@pytest.mark.symbols(*_SYMBOLS, "IORING_REGISTER_ZCRX_CTRL")
@pytest.mark.needs("zcrx-flush-rq")
def test_refill(ring: RingFactory, loopback: str) -> None:
    """With what is given back more is received than there is memory, and the queue goes round."""
    io_uring = ring(8, _SETUP)
    queue = _ReceiveQueue(io_uring, 2)
    with connection(loopback) as (client, server):
        queue.receive(0x72, server)
        for lap in range(3 * _ENTRIES):
            text = f"message {lap}".encode()
            client.sendall(text)
            cqe = finish(io_uring, "IORING_OP_RECV_ZC")
            assert (0x72, len(text), uring.IORING_CQE_F_MORE) == cqe[:3]
            assert text == queue.data(cqe)
            queue.give_back(cqe)
            queue.flush()


@pytest.mark.title("zero-copy receive, cancelled")
@pytest.mark.symbols(*_SYMBOLS, "IORING_OP_ASYNC_CANCEL", "IORING_OP_NOP")
def test_cancel(ring: RingFactory, loopback: str) -> None:
    """A receive that waits ends when it is cancelled."""
    io_uring = ring(8, _SETUP)
    queue = _ReceiveQueue(io_uring, 2)
    with connection(loopback) as (_client, server):
        queue.receive(0x73, server)
        expect_no_more(io_uring, "IORING_OP_RECV_ZC")
        io_uring.cancel(0x74, 0x73, 0)
        found = [finish(io_uring, "IORING_OP_RECV_ZC and its IORING_OP_ASYNC_CANCEL")[:3] for _ in range(2)]
        assert [completion(0x73, -errno.ECANCELED), completion(0x74, 0)] == sorted(found)


@pytest.mark.title("zero-copy receive, registration refused")
@pytest.mark.symbols(
    "IORING_REGISTER_ZCRX_IFQ",
    "IORING_REGISTER_ZCRX_CTRL",
    "IORING_SETUP_DEFER_TASKRUN",
    "IORING_SETUP_SINGLE_ISSUER",
    "IORING_SETUP_CQE32",
)
def test_refused(ring: RingFactory) -> None:
    """A ring with small completions has no room to say where data lies, and a queue that is not there does nothing."""
    with pytest.raises(uring.ArgumentsInvalid):
        _ReceiveQueue(ring(1, _SETUP & ~uring.IORING_SETUP_CQE32), 2)
    with pytest.raises(uring.ReceiveQueueNotRegistered):
        ring(1, _SETUP).register_zcrx_ctrl(zcrx.zcrx_ctrl(zcrx_id=1, op=zcrx.ZCRX_CTRL_FLUSH_RQ))
