"""Busy polling of network queues: settings that a ring keeps and gives back."""

from __future__ import annotations

import errno

import pytest

import uring
from conformance.fixtures import RingFactory

pytestmark = pytest.mark.group("Sockets")


def _settings(napi: uring.io_uring_napi) -> tuple[int, int, int]:
    return napi.busy_poll_to, napi.prefer_busy_poll, napi.op_param


@pytest.mark.title("busy polling, set, changed and ended")
@pytest.mark.symbols("IORING_REGISTER_NAPI", "IORING_UNREGISTER_NAPI")
def test_settings(ring: RingFactory) -> None:
    """Each call gives back the settings before it: none, what was set, what it was changed to."""
    io_uring = ring(1)
    first = uring.io_uring_napi(busy_poll_to=40, prefer_busy_poll=1)
    io_uring.register_napi(first)
    assert (0, 0) == _settings(first)[:2]
    second = uring.io_uring_napi(busy_poll_to=70, prefer_busy_poll=0)
    io_uring.register_napi(second)
    assert (40, 1) == _settings(second)[:2]
    third = uring.io_uring_napi()
    io_uring.unregister_napi(third)
    assert (70, 0) == _settings(third)[:2]
    fourth = uring.io_uring_napi()
    io_uring.unregister_napi(fourth)
    assert (0, 0) == _settings(fourth)[:2]


# As drivers number them: above the number of processors there can be.
_NAPI_ID = 0x5A5A5A


@pytest.mark.title("busy polling of named queues")
@pytest.mark.symbols("IO_URING_NAPI_TRACKING_STATIC", "IORING_REGISTER_NAPI")
@pytest.mark.needs("napi-static-add-id", "napi-static-del-id")
def test_named_queues(ring: RingFactory) -> None:
    """A queue is added once and taken out once, and only where the ring polls what it is told to."""
    io_uring = ring(1)
    assert errno.EINVAL == _errno_of(io_uring, uring.IO_URING_NAPI_STATIC_ADD_ID)
    static = uring.io_uring_napi(busy_poll_to=40, op_param=uring.IO_URING_NAPI_TRACKING_STATIC)
    io_uring.register_napi(static)
    for opcode, expected in (
        (uring.IO_URING_NAPI_STATIC_ADD_ID, 0),
        (uring.IO_URING_NAPI_STATIC_ADD_ID, errno.EEXIST),
        (uring.IO_URING_NAPI_STATIC_DEL_ID, 0),
        (uring.IO_URING_NAPI_STATIC_DEL_ID, errno.ENOENT),
    ):
        assert expected == _errno_of(io_uring, opcode)
    last = uring.io_uring_napi()
    io_uring.register_napi(last)
    assert (40, 0, uring.IO_URING_NAPI_TRACKING_STATIC) == _settings(last)


def _errno_of(io_uring: uring.IoUring, opcode: int) -> int | None:
    """What adding or taking out the queue ends with; 0 where it does not fail."""
    try:
        io_uring.register_napi(uring.io_uring_napi(opcode=opcode, op_param=_NAPI_ID))
    except uring.SyscallError as error:
        return error.errno
    return 0
