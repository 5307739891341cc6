"""Messages between rings: completions with data, files, and a message without a ring."""

from __future__ import annotations

import errno
import os

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.operations.support import expect_no_more, finish, reap
from conformance.support import completion, opened, owned_fds

pytestmark = pytest.mark.group("Messages between rings")


@pytest.mark.title("message, data")
@pytest.mark.symbols("IORING_OP_MSG_RING", "IORING_MSG_DATA")
def test_data(ring: RingFactory) -> None:
    """The other ring has a completion with the result and the user_data that were sent; the sender learns of it."""
    sender, target = ring(1), ring(1)
    for length, data in ((0, 1), (0x7FFF_FFFF, (1 << 64) - 1), (77, 0x0123_4567_89AB_CDEF)):
        sender.msg_ring(0x71, target.fd, length, data, 0)
        assert completion(0x71, 0) == finish(sender, "IORING_OP_MSG_RING")
        assert [completion(data, length)] == reap(target, 1, "what IORING_OP_MSG_RING sent")


@pytest.mark.title("message, to the own ring")
@pytest.mark.symbols("IORING_OP_MSG_RING", "IORING_MSG_DATA")
def test_data_for_itself(ring: RingFactory) -> None:
    """A ring can send to itself."""
    io_uring = ring(1)
    io_uring.msg_ring(0x72, io_uring.fd, 5, 0x73, 0)
    io_uring.submit()
    assert [completion(0x72, 0), completion(0x73, 5)] == sorted(reap(io_uring, 2, "IORING_OP_MSG_RING to its own ring"))


@pytest.mark.title("message, more than the queue holds")
@pytest.mark.symbols("IORING_OP_MSG_RING", "IORING_MSG_DATA")
def test_data_overflows(ring: RingFactory) -> None:
    """Messages that do not fit into the other ring's queue of two are kept, in their order."""
    sender, target = ring(8), ring(1)
    for number in range(6):
        sender.msg_ring(0x74, target.fd, number, 0x100 + number, 0)
        assert completion(0x74, 0) == finish(sender, "IORING_OP_MSG_RING")
    expected = [completion(0x100 + number, number) for number in range(6)]
    assert expected == reap(target, 6, "what IORING_OP_MSG_RING sent")


@pytest.mark.title("message, with flags")
@pytest.mark.symbols("IORING_MSG_RING_FLAGS_PASS", "IORING_OP_MSG_RING", "IORING_MSG_DATA")
def test_flags_are_passed(ring: RingFactory) -> None:
    """The other ring's completion has the flags that were sent."""
    sender, target = ring(1), ring(1)
    flags = 0x1234 << uring.IORING_CQE_BUFFER_SHIFT | uring.IORING_CQE_F_MORE
    sender.msg_ring_cqe_flags(0x75, target.fd, 9, 0x76, 0, flags)
    assert completion(0x75, 0) == finish(sender, "IORING_OP_MSG_RING with IORING_MSG_RING_FLAGS_PASS")
    assert [completion(0x76, 9, flags)] == reap(target, 1, "what IORING_OP_MSG_RING sent")


@pytest.mark.title("message, to what is no ring")
@pytest.mark.symbols("IORING_OP_MSG_RING", "IORING_MSG_DATA")
def test_not_a_ring(ring: RingFactory) -> None:
    """Another file is refused."""
    sender = ring(1)
    with opened("/dev/null") as fd:
        sender.msg_ring(0x77, fd, 1, 2, 0)
        assert completion(0x77, -errno.EBADFD) == finish(sender, "IORING_OP_MSG_RING to /dev/null")


@pytest.mark.title("message, to a disabled ring")
@pytest.mark.symbols("IORING_OP_MSG_RING", "IORING_MSG_DATA", "IORING_SETUP_R_DISABLED", "IORING_REGISTER_ENABLE_RINGS")
def test_disabled_ring(ring: RingFactory) -> None:
    """It is refused until the ring is enabled."""
    sender, target = ring(1), ring(1, uring.IORING_SETUP_R_DISABLED)
    sender.msg_ring(0x78, target.fd, 1, 0x79, 0)
    assert completion(0x78, -errno.EBADFD) == finish(sender, "IORING_OP_MSG_RING to a disabled ring")
    target.enable_rings()
    sender.msg_ring(0x7A, target.fd, 1, 0x7B, 0)
    assert completion(0x7A, 0) == finish(sender, "IORING_OP_MSG_RING")
    assert [completion(0x7B, 1)] == reap(target, 1, "what IORING_OP_MSG_RING sent")


# ---- files


@pytest.mark.title("message, a file")
@pytest.mark.symbols(
    "IORING_MSG_SEND_FD", "IORING_OP_MSG_RING", "IORING_REGISTER_FILES", "IORING_OP_WRITE", "IOSQE_FIXED_FILE"
)
def test_file(ring: RingFactory) -> None:
    """A file of one ring's table is in the named slot of the other's, works there, and only there."""
    sender, target = ring(1), ring(4)
    with owned_fds() as fds:
        source, sink = os.pipe()
        fds.update((source, sink))
        sender.register_files([-1, sink])
        target.register_files([-1, -1, -1])
        sender.msg_ring_fd(0x81, target.fd, 1, 2, 0x82, 0)
        assert completion(0x81, 0) == finish(sender, "IORING_OP_MSG_RING with IORING_MSG_SEND_FD")
        assert [completion(0x82, 0)] == reap(target, 1, "what IORING_OP_MSG_RING sent")
        for slot, result in ((2, 4), (1, -errno.EBADF)):
            target.write(0x83, slot, b"data", 0).flags |= uring.IOSQE_FIXED_FILE
            assert completion(0x83, result) == finish(target, f"IORING_OP_WRITE to slot {slot}")
        assert b"data" == os.read(source, 8)


@pytest.mark.title("message, a file into any slot")
@pytest.mark.symbols(
    "IORING_MSG_SEND_FD",
    "IORING_FILE_INDEX_ALLOC",
    "IORING_OP_MSG_RING",
    "IORING_REGISTER_FILES",
    "IORING_OP_WRITE",
    "IOSQE_FIXED_FILE",
)
@pytest.mark.needs("msg-ring-fd-alloc")
def test_file_into_any_slot(ring: RingFactory) -> None:
    """Both rings learn the slot, which is the one that was free; without one there is an error."""
    sender, target = ring(1), ring(4)
    with owned_fds() as fds, opened("/dev/null") as other:
        source, sink = os.pipe()
        fds.update((source, sink))
        sender.register_files([sink])
        target.register_files([other, -1, other])
        sender.msg_ring_fd_alloc(0x84, target.fd, 0, 0x85, 0)
        assert completion(0x84, 1) == finish(sender, "IORING_OP_MSG_RING with IORING_MSG_SEND_FD")
        assert [completion(0x85, 1)] == reap(target, 1, "what IORING_OP_MSG_RING sent")
        target.write(0x86, 1, b"data", 0).flags |= uring.IOSQE_FIXED_FILE
        assert completion(0x86, 4) == finish(target, "IORING_OP_WRITE to the slot")
        assert b"data" == os.read(source, 8)
        sender.msg_ring_fd_alloc(0x87, target.fd, 0, 0x88, 0)
        assert completion(0x87, -errno.ENFILE) == finish(sender, "IORING_OP_MSG_RING without a free slot")


@pytest.mark.title("message, a file, without telling")
@pytest.mark.symbols(
    "IORING_MSG_RING_CQE_SKIP",
    "IORING_MSG_SEND_FD",
    "IORING_OP_MSG_RING",
    "IORING_REGISTER_FILES",
    "IORING_OP_NOP",
    "IORING_OP_WRITE",
    "IOSQE_FIXED_FILE",
)
def test_file_without_completion(ring: RingFactory) -> None:
    """The other ring has the file and no completion."""
    sender, target = ring(1), ring(4)
    with owned_fds() as fds:
        source, sink = os.pipe()
        fds.update((source, sink))
        sender.register_files([sink])
        target.register_files([-1])
        sender.msg_ring_fd(0x89, target.fd, 0, 0, 0x8A, uring.IORING_MSG_RING_CQE_SKIP)
        assert completion(0x89, 0) == finish(sender, "IORING_OP_MSG_RING with IORING_MSG_RING_CQE_SKIP")
        expect_no_more(target, "IORING_OP_MSG_RING with IORING_MSG_RING_CQE_SKIP")
        target.write(0x8B, 0, b"data", 0).flags |= uring.IOSQE_FIXED_FILE
        assert completion(0x8B, 4) == finish(target, "IORING_OP_WRITE to the slot")
        assert b"data" == os.read(source, 8)


@pytest.mark.title("message, a file that is not there")
@pytest.mark.symbols("IORING_MSG_SEND_FD", "IORING_OP_MSG_RING", "IORING_REGISTER_FILES", "IORING_OP_NOP")
def test_file_of_an_empty_slot(ring: RingFactory) -> None:
    """Nothing is sent from an empty slot, and a slot outside of the other's table is refused."""
    sender, target = ring(1), ring(4)
    with opened("/dev/null") as fd:
        sender.register_files([-1, fd])
        target.register_files([-1])
        for source, slot, result in ((0, 0, -errno.EBADF), (1, 1, -errno.EINVAL)):
            sender.msg_ring_fd(0x8C, target.fd, source, slot, 0x8D, 0)
            assert completion(0x8C, result) == finish(sender, "IORING_OP_MSG_RING with IORING_MSG_SEND_FD")
            expect_no_more(target, "IORING_OP_MSG_RING, which failed")


# ---- without a ring


@pytest.mark.title("message, without a ring")
@pytest.mark.symbols("IORING_REGISTER_SEND_MSG_RING")
def test_without_a_ring(ring: RingFactory) -> None:
    """A system call is enough to post a completion in a ring."""
    target = ring(1)
    sqe = uring.io_uring_sqe()
    sqe.prep_msg_ring(target.fd, 55, 0x91, 0)
    uring.register_sync_msg(sqe)
    assert [completion(0x91, 55)] == reap(target, 1, "what IORING_REGISTER_SEND_MSG_RING sent")


@pytest.mark.title("message, without a ring, refused")
@pytest.mark.symbols("IORING_REGISTER_SEND_MSG_RING")
def test_without_a_ring_is_refused(ring: RingFactory) -> None:
    """No other file takes messages, and no other operation can be called so."""
    target = ring(1)
    sqe = uring.io_uring_sqe()
    with opened("/dev/null", os.O_RDWR) as fd:
        sqe.prep_msg_ring(fd, 1, 2, 0)
        with pytest.raises(uring.FileDescriptorInBadState):
            uring.register_sync_msg(sqe)
    sqe.prep_nop()
    sqe.fd = target.fd
    with pytest.raises(uring.ArgumentsInvalid):
        uring.register_sync_msg(sqe)
