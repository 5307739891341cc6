"""Requests with credentials that were registered before. Who runs this has to be allowed to become somebody else."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

import uring
from conformance.fixtures import RingFactory
from conformance.operations.support import complete, is_open
from conformance.support import completion, opened, owned_fds

pytestmark = pytest.mark.group("Credentials")

# Nobody, as most systems have it: no owner of anything here.
_NOBODY = 65534


def _of_nobody(io_uring: uring.IoUring) -> int:
    """The number of somebody's credentials who may do nothing in particular."""
    before = os.geteuid()
    os.seteuid(_NOBODY)
    try:
        return io_uring.register_personality()
    finally:
        os.seteuid(before)


@pytest.mark.title("open with other credentials")
@pytest.mark.symbols("IORING_OP_OPENAT", "IORING_REGISTER_PERSONALITY", "IORING_UNREGISTER_PERSONALITY")
@pytest.mark.needs("sqe-personality")
def test_open_with_credentials(ring: RingFactory, scratch: Path) -> None:
    """What they do not allow is refused, what they make is theirs; without them all is as before."""
    io_uring = ring(1)
    scratch.chmod(0o777)
    for name, mode in (("private", 0o600), ("public", 0o644)):
        (scratch / name).write_text(name)
        (scratch / name).chmod(mode)
    nobody = _of_nobody(io_uring)
    with opened(scratch, os.O_DIRECTORY) as directory, owned_fds() as fds:
        for name, flags, personality, owner in (
            ("private", os.O_RDONLY, 0, os.geteuid()),
            ("public", os.O_RDONLY, nobody, os.geteuid()),
            ("new", os.O_CREAT | os.O_WRONLY, nobody, _NOBODY),
        ):
            io_uring.openat(0x11, directory, name, flags, 0o600).personality = personality
            (cqe,) = complete(io_uring, 1, "IORING_OP_OPENAT with a personality")
            assert (0x11, 0, True) == (cqe.user_data, cqe.flags, is_open(cqe.res))
            fds.add(cqe.res)
            assert owner == os.fstat(cqe.res).st_uid
        for name, flags in (("private", os.O_RDONLY), ("public", os.O_WRONLY)):
            io_uring.openat(0x12, directory, name, flags, 0).personality = nobody
            assert [completion(0x12, -errno.EACCES)] == complete(io_uring, 1, "IORING_OP_OPENAT with a personality")
        io_uring.unregister_personality(nobody)


@pytest.mark.title("credentials that are not registered")
@pytest.mark.symbols("IORING_OP_OPENAT", "IORING_REGISTER_PERSONALITY", "IORING_UNREGISTER_PERSONALITY")
@pytest.mark.needs("sqe-personality")
def test_open_without_credentials(ring: RingFactory) -> None:
    """A number that stands for none, or for none any more, is refused, and nothing is opened."""
    io_uring = ring(1)
    number = io_uring.register_personality()
    with owned_fds() as fds:
        io_uring.open(0x13, "/dev/null", os.O_RDONLY, 0).personality = number
        (cqe,) = complete(io_uring, 1, "IORING_OP_OPENAT with a personality")
        assert (0x13, 0, True) == (cqe.user_data, cqe.flags, is_open(cqe.res))
        fds.add(cqe.res)
        io_uring.unregister_personality(number)
        for other in (number, number + 1):
            io_uring.open(0x14, "/dev/null", os.O_RDONLY, 0).personality = other
            assert [completion(0x14, -errno.EINVAL)] == complete(io_uring, 1, "IORING_OP_OPENAT without a personality")
