"""Registrations of a ring's own: credentials, restrictions, workers, memory regions, what the kernel says of itself."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.operations.support import elsewhere, finish, reap
from conformance.support import CREATE, completion, opened
from uring import (
    IORING_MEM_REGION_TYPE_USER,
    IORING_OFF_MMAP_MASK,
    IORING_RESTRICTION_REGISTER_OP,
    IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
    IORING_RESTRICTION_SQE_FLAGS_REQUIRED,
    IORING_RESTRICTION_SQE_OP,
    IORING_SETUP_R_DISABLED,
    IOSQE_ASYNC,
    IOSQE_IO_DRAIN,
    E,
    IoUring,
)

pytestmark = pytest.mark.group("Registrations")

FIRST, SECOND, THIRD = 0xA1, 0xA2, 0xA3
NOBODY = 65534


# ---- credentials


@contextmanager
def _somebody_else() -> Iterator[None]:
    """Be nobody in particular for the length of a block."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.title("registered credentials")
@pytest.mark.symbols("IORING_REGISTER_PERSONALITY", "IORING_OP_OPENAT", "IORING_OP_CLOSE")
def test_requests_run_with_registered_credentials(ring: RingFactory, scratch: Path) -> None:
    """A request that names the credentials of an unprivileged user may open what that user may, and nothing else."""
    io_uring = ring(1)
    with _somebody_else():
        personality = io_uring.register_personality()
    assert 0 < personality < 1 << 16
    scratch.chmod(0o755)
    for name, mode in (("everybody's", 0o644), ("owner's", 0o600)):
        (scratch / name).touch()
        (scratch / name).chmod(mode)

    with opened(scratch, os.O_PATH) as directory:
        for number, name, expected in (
            (personality, "owner's", False),
            (0, "owner's", True),
            (personality, "everybody's", True),
        ):
            io_uring.openat(FIRST, directory, name, os.O_RDONLY, 0).personality = number
            found = finish(io_uring, "IORING_OP_OPENAT with a personality")
            assert FIRST == found.user_data
            if expected:
                assert found.res >= 0, f"{name} file with personality {number}: {found}"
                io_uring.close(SECOND, found.res)
                assert completion(SECOND, 0) == finish(io_uring, "IORING_OP_CLOSE")
            else:
                assert completion(FIRST, -E.ACCES) == found


@pytest.mark.title("registered credentials, given back")
@pytest.mark.symbols("IORING_UNREGISTER_PERSONALITY", "IORING_REGISTER_PERSONALITY", "IORING_OP_NOP")
def test_credentials_that_were_given_back(ring: RingFactory) -> None:
    """A request that names credentials is done while they are registered, and refused with EINVAL afterwards."""
    io_uring = ring(1)
    personality = io_uring.register_personality()
    for expected in (0, -E.INVAL):
        io_uring.nop(FIRST).personality = personality
        assert completion(FIRST, expected) == finish(io_uring, "IORING_OP_NOP with a personality")
        if expected == 0:
            io_uring.unregister_personality(personality)
    with pytest.raises(uring.ArgumentsInvalid):
        io_uring.unregister_personality(personality)


# ---- restrictions


def _restricted(ring: RingFactory, *allowed: tuple[int, int]) -> IoUring:
    """A ring that may do what is listed, and be enabled."""
    io_uring = ring(4, IORING_SETUP_R_DISABLED)
    rules = [*allowed, (IORING_RESTRICTION_REGISTER_OP, uring.IORING_REGISTER.REGISTER_ENABLE_RINGS)]
    io_uring.register_restrictions([uring.io_uring_restriction(opcode=kind, sqe_op=value) for kind, value in rules])
    io_uring.enable_rings()
    return io_uring


_NOP = (IORING_RESTRICTION_SQE_OP, int(uring.IORING_OP.NOP))
_RESTRICTS = ("IORING_REGISTER_RESTRICTIONS", "IORING_REGISTER_ENABLE_RINGS", "IORING_SETUP_R_DISABLED")


@pytest.mark.title("restrictions, operations")
@pytest.mark.symbols(
    "IORING_RESTRICTION_SQE_OP", "IORING_RESTRICTION_REGISTER_OP", *_RESTRICTS, "IORING_OP_NOP", "IORING_OP_WRITE"
)
def test_only_listed_operations_are_done(ring: RingFactory, scratch: Path) -> None:
    """An operation that is not listed is refused with EACCES, and does nothing."""
    io_uring = _restricted(ring, _NOP)
    with opened(scratch / "file", CREATE) as fd:
        io_uring.nop(FIRST)
        io_uring.write(SECOND, fd, b"x", 0)
        assert 2 == io_uring.submit()
        assert [completion(FIRST, 0), completion(SECOND, -E.ACCES)] == sorted(reap(io_uring, 2, "a restricted ring"))
        assert b"" == os.pread(fd, 1, 0)


@pytest.mark.title("restrictions, registrations")
@pytest.mark.symbols("IORING_RESTRICTION_REGISTER_OP", *_RESTRICTS, "IORING_REGISTER_PROBE", "IORING_REGISTER_FILES")
def test_only_listed_registrations_are_made(ring: RingFactory, scratch: Path) -> None:
    """A registration that is not listed is refused with EACCES."""
    io_uring = _restricted(ring, (IORING_RESTRICTION_REGISTER_OP, int(uring.IORING_REGISTER.REGISTER_PROBE)))
    assert io_uring.get_probe().is_supported(uring.IORING_OP.NOP)
    with opened(scratch / "file", CREATE) as fd, pytest.raises(uring.PermissionDenied):
        io_uring.register_files([fd])


@pytest.mark.title("restrictions, no operations")
@pytest.mark.symbols("IORING_RESTRICTION_REGISTER_OP", *_RESTRICTS, "IORING_OP_NOP")
def test_no_operation_is_listed(ring: RingFactory) -> None:
    """A ring that may do registrations only refuses every operation with EACCES."""
    io_uring = _restricted(ring)
    io_uring.nop(FIRST)
    assert completion(FIRST, -E.ACCES) == finish(io_uring, "IORING_OP_NOP of a ring without operations")


@pytest.mark.title("restrictions, flags that are allowed")
@pytest.mark.symbols(
    "IORING_RESTRICTION_SQE_FLAGS_ALLOWED",
    "IORING_RESTRICTION_SQE_OP",
    "IORING_RESTRICTION_REGISTER_OP",
    *_RESTRICTS,
    "IORING_OP_NOP",
    "IOSQE_ASYNC",
    "IOSQE_IO_DRAIN",
)
def test_only_listed_flags_are_taken(ring: RingFactory) -> None:
    """A request may have a flag that is allowed, or none; with any other it is refused with EACCES."""
    io_uring = _restricted(ring, _NOP, (IORING_RESTRICTION_SQE_FLAGS_ALLOWED, IOSQE_ASYNC))
    for flags, expected in (
        (0, 0),
        (IOSQE_ASYNC, 0),
        (IOSQE_IO_DRAIN, -E.ACCES),
        (IOSQE_ASYNC | IOSQE_IO_DRAIN, -E.ACCES),
    ):
        io_uring.nop(FIRST).flags |= flags
        assert completion(FIRST, expected) == finish(io_uring, f"IORING_OP_NOP with flags {flags:#x}")


@pytest.mark.title("restrictions, flags that are required")
@pytest.mark.symbols(
    "IORING_RESTRICTION_SQE_FLAGS_REQUIRED",
    "IORING_RESTRICTION_SQE_OP",
    "IORING_RESTRICTION_REGISTER_OP",
    *_RESTRICTS,
    "IORING_OP_NOP",
    "IOSQE_ASYNC",
)
def test_required_flags_are_required(ring: RingFactory) -> None:
    """A request without the flag that is required is refused with EACCES."""
    io_uring = _restricted(ring, _NOP, (IORING_RESTRICTION_SQE_FLAGS_REQUIRED, IOSQE_ASYNC))
    for flags, expected in ((IOSQE_ASYNC, 0), (0, -E.ACCES)):
        io_uring.nop(FIRST).flags |= flags
        assert completion(FIRST, expected) == finish(io_uring, f"IORING_OP_NOP with flags {flags:#x}")


@pytest.mark.title("restrictions, twice or too late")
@pytest.mark.symbols("IORING_REGISTER_RESTRICTIONS", "IORING_RESTRICTION_SQE_OP", "IORING_SETUP_R_DISABLED")
def test_restrictions_are_made_once(ring: RingFactory) -> None:
    """A ring that has restrictions takes no more, and one that is not disabled takes none."""
    rules = [uring.io_uring_restriction(opcode=_NOP[0], sqe_op=_NOP[1])]
    io_uring = ring(1, IORING_SETUP_R_DISABLED)
    io_uring.register_restrictions(rules)
    with pytest.raises(uring.RestrictionsAlreadyRegistered):
        io_uring.register_restrictions(rules)
    with pytest.raises(uring.FileDescriptorInBadState):
        ring(1).register_restrictions(rules)


# ---- workers


@pytest.mark.title("number of workers")
@pytest.mark.symbols("IORING_REGISTER_IOWQ_MAX_WORKERS")
def test_number_of_workers_is_read_back(ring: RingFactory) -> None:
    """Each call tells both limits as they were; zero leaves one as it is."""
    io_uring = ring(1)
    before = io_uring.register_iowq_max_workers(0, 0)
    try:
        assert before == io_uring.register_iowq_max_workers(3, 5)
        assert (3, 5) == io_uring.register_iowq_max_workers(2, 0)
        assert (2, 5) == io_uring.register_iowq_max_workers(0, 0)
    finally:
        # They are this thread's, and other rings' as well.
        io_uring.register_iowq_max_workers(*before)
    assert before == io_uring.register_iowq_max_workers(0, 0)


def _workers() -> set[int]:
    """The workers of this process."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            name = (task / "comm").read_text(encoding="ascii")
        except OSError:
            continue  # it is over
        if name.startswith("iou-wrk"):
            found.add(int(task.name))
    return found


@pytest.mark.title("the workers' processors")
@pytest.mark.symbols("IORING_REGISTER_IOWQ_AFF", "IORING_UNREGISTER_IOWQ_AFF", "IORING_OP_WRITE", "IOSQE_ASYNC")
def test_workers_are_on_their_processors(ring: RingFactory, scratch: Path) -> None:
    """A worker that begins may run on the processors that were chosen only."""
    cpu = max(os.sched_getaffinity(0))

    def work() -> None:
        # A thread has workers of its own, so that none is there yet.
        others = _workers()
        io_uring = ring(1)
        io_uring.register_iowq_aff([cpu])
        with opened(scratch / "file", CREATE) as fd:
            io_uring.write(FIRST, fd, b"x", 0).flags |= IOSQE_ASYNC
            assert completion(FIRST, 1) == finish(io_uring, "IORING_OP_WRITE by a worker")
        (worker,) = _workers() - others
        assert {cpu} == os.sched_getaffinity(worker), "a worker may run on other processors than those chosen"
        io_uring.unregister_iowq_aff()

    assert elsewhere(work) is None


# ---- memory


@pytest.mark.title("memory region of the program's")
@pytest.mark.symbols("IORING_REGISTER_MEM_REGION", "IORING_MEM_REGION_TYPE_USER")
def test_region_of_the_programs_memory(ring: RingFactory) -> None:
    """A ring takes one region of whole pages: a second one is refused with EBUSY, a part of a page with EINVAL."""
    io_uring = ring(1)
    place = uring.iovec(mmap.mmap(-1, mmap.PAGESIZE))

    def region(size_bytes: int) -> uring.io_uring_region_desc:
        return uring.io_uring_region_desc(user_addr=place.base, size=size_bytes, flags=IORING_MEM_REGION_TYPE_USER)

    with pytest.raises(uring.ArgumentsInvalid):
        io_uring.register_region(region(100))
    io_uring.register_region(region(mmap.PAGESIZE))
    with pytest.raises(uring.RegionAlreadyRegistered):
        io_uring.register_region(region(mmap.PAGESIZE))


@pytest.mark.title("memory region of the kernel's")
@pytest.mark.symbols("IORING_REGISTER_MEM_REGION")
@pytest.mark.needs("mem-region-kernel")
def test_region_of_the_kernels_memory(ring: RingFactory) -> None:
    """Memory that the kernel allocates can be mapped, more than once, and is the same memory each time."""
    io_uring = ring(1)
    region = uring.io_uring_region_desc(size=mmap.PAGESIZE)
    io_uring.register_region(region)
    assert IORING_OFF_MMAP_MASK & region.mmap_offset
    with (
        mmap.mmap(io_uring.fd, mmap.PAGESIZE, offset=region.mmap_offset) as first,
        mmap.mmap(io_uring.fd, mmap.PAGESIZE, offset=region.mmap_offset) as second,
    ):
        assert bytes(mmap.PAGESIZE) == first[:]
        first[:5] = b"hello"
        assert b"hello" == second[:5]


# ---- what the kernel says of itself


@pytest.mark.title("what the kernel knows")
@pytest.mark.symbols("IORING_REGISTER_QUERY", "IO_URING_QUERY_OPCODES", "IORING_REGISTER_PROBE")
@pytest.mark.needs("query-without-ring")
def test_answers_fit_together(ring: RingFactory) -> None:
    """Asked for everything, a kernel says what it says to the probe and when a ring is made."""
    io_uring = ring(1)
    answer, probe = uring.query_opcodes(), io_uring.get_probe()
    assert probe.last_op + 1 == answer.nr_request_opcodes
    assert probe.ops_len == answer.nr_request_opcodes
    assert io_uring.features == answer.feature_flags
    assert io_uring.flags == answer.ring_setup_flags & io_uring.flags
    assert answer.nr_register_opcodes > uring.IORING_REGISTER.REGISTER_QUERY
    assert (1 << 7) - 1 == answer.sqe_flags & (1 << 7) - 1
    assert uring.IORING_ENTER_GETEVENTS | uring.IORING_ENTER_EXT_ARG == answer.enter_flags & (
        uring.IORING_ENTER_GETEVENTS | uring.IORING_ENTER_EXT_ARG
    )


@pytest.mark.title("probe")
@pytest.mark.symbols("IORING_REGISTER_PROBE")
def test_probe_tells_what_is_known(ring: RingFactory) -> None:
    """The probe names each operation once, up to the last; and one behind that is none."""
    io_uring = ring(1)
    probe = io_uring.get_probe()
    assert list(range(probe.ops_len)) == [probe.ops[place].op for place in range(probe.ops_len)]
    assert probe.last_op + 1 == probe.ops_len
    assert all(probe.is_supported(operation) for operation in (uring.IORING_OP.NOP, uring.IORING_OP.READ))
    io_uring.nop(THIRD).opcode = max(probe.last_op, *uring.IORING_OP) + 1
    assert completion(THIRD, -E.INVAL) == finish(io_uring, "an operation that nobody knows")
