"""Operations on open files that Zig's tests leave out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conformance.fixtures import RingFactory
from conformance.operations.support import reap
from conformance.support import CREATE, completion, opened

pytestmark = pytest.mark.group("Files")


@pytest.mark.title("ftruncate")
@pytest.mark.symbols("IORING_OP_FTRUNCATE")
def test_ftruncate(ring: RingFactory, scratch: Path) -> None:
    """A file gets shorter and keeps its beginning, then longer, with zeros at its end."""
    io_uring = ring(1)
    with opened(scratch / "file", CREATE) as fd:
        os.write(fd, b"0123456789")
        for length, content in ((4, b"0123"), (6, b"0123\0\0")):
            io_uring.ftruncate(0x11, fd, length)
            assert 1 == io_uring.submit()
            assert [completion(0x11, 0)] == reap(io_uring, 1, "IORING_OP_FTRUNCATE")
            assert content == os.pread(fd, 16, 0)
