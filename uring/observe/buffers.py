"""Buffers that the kernel picks."""

from __future__ import annotations

import struct

from .. import flags as f
from .. import syscalls
from ..errors import SyscallError
from ..opcodes import IORING_REGISTER, OP
from ..structs import io_uring_buf_reg
from .bare import Ring, sqe
from .finding import Finding, judge, no, request, seen
from .transfers import GROUP, SELECT
from .world import World


def _read(w: World, ring: Ring) -> Finding:
    """Two reads, each into whichever buffer."""
    numbers = []
    for text in (b"abc", b"def"):
        cqe = ring.ask(sqe(OP.READ, w.pipe(text)[0], size=3, flags=SELECT, buf_index=GROUP))
        if cqe.res != 3:
            return judge("a read into a buffer that the kernel picks", cqe.res, ())
        numbers.append(cqe.flags >> f.IORING_CQE_BUFFER_SHIFT)
    found = [w.get(w.buffer + number * 8, 3) for number in numbers]
    return seen(found == [b"abc", b"def"], f"what was read is in the buffers {numbers}")


@request("buffers-provided", "IORING_OP_PROVIDE_BUFFERS IOSQE_BUFFER_SELECT")
def _provided(w: World) -> Finding:
    ring = w.fresh()
    w.provide(ring)
    return _read(w, ring)


@request("buffer-ring", "IORING_REGISTER_PBUF_RING IOSQE_BUFFER_SELECT")
def _ring(w: World) -> Finding:
    ring = w.fresh()
    w.buffer_ring(ring)
    return _read(w, ring)


@request("buffer-ring-mmap", "IOU_PBUF_RING_MMAP IORING_REGISTER_PBUF_RING IORING_OFF_PBUF_RING")
def _mapped(w: World) -> Finding:
    """A buffer ring in the kernel's memory, mapped and used."""
    ring = w.fresh()
    argument = w.at(io_uring_buf_reg(0, 8, GROUP, f.IOU_PBUF_RING_MMAP))
    result = ring.register(IORING_REGISTER.REGISTER_PBUF_RING, argument, 1)
    if result < 0:
        return judge("a buffer ring of the kernel's memory", result, ())
    offset = f.IORING_OFF_PBUF_RING | GROUP << f.IORING_OFF_PBUF_SHIFT
    try:
        address = syscalls.mmap(4096, syscalls.MAP_SHARED, ring.fd, offset, "a buffer ring")
    except SyscallError as error:
        return no(f"registered, and mmap of it failed with errno {error.errno}")
    try:
        for number in (0, 1):
            w.write(address + number * 16, struct.pack("=QIH", w.buffer + number * 8, 8, number))
        w.write(address + 14, struct.pack("=H", 2))
        return _read(w, ring)
    finally:
        syscalls.munmap(address, 4096)


@request("buffer-ring-inc", "IOU_PBUF_RING_INC IORING_REGISTER_PBUF_RING")
def _incremental(w: World) -> Finding:
    """Two receives into one buffer."""
    ring = w.fresh()
    w.buffer_ring(ring, count=1, size=64, flags=f.IOU_PBUF_RING_INC)
    for text in (b"abc", b"def"):
        result = ring.ask(sqe(OP.RECV, w.pair(text)[0], flags=SELECT, buf_index=GROUP)).res
        if result != 3:
            return judge("a recv into a part of a buffer", result, ())
    return seen(w.get(w.buffer, 6) == b"abcdef", "two receives lie one behind the other in one buffer")


@request("buffer-ring-min-left", "IORING_REGISTER_PBUF_RING IOU_PBUF_RING_INC")
def _min_left(w: World) -> Finding:
    ring = w.fresh()
    w.buffer_ring(ring, count=1, size=64, group=GROUP + 1, flags=f.IOU_PBUF_RING_INC)
    argument = w.put(struct.pack("=QIHHI5I", w.pages(4096), 8, GROUP, f.IOU_PBUF_RING_INC, 16, 0, 0, 0, 0, 0))
    result = ring.register(IORING_REGISTER.REGISTER_PBUF_RING, argument, 1)
    return judge("a buffer ring whose buffers end 16 bytes early", result, (0,))
