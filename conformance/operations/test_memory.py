"""Advice about memory."""

from __future__ import annotations

import errno
import mmap

import pytest

from conformance.fixtures import RingFactory
from conformance.operations.support import complete
from conformance.support import completion

pytestmark = pytest.mark.group("Memory")

_PAGE = mmap.PAGESIZE
# asm-generic/mman.h; older Pythons have no name for it.
_MAP_NORESERVE = 0x4000


@pytest.mark.title("madvise")
@pytest.mark.symbols("IORING_OP_MADVISE")
def test_madvise(ring: RingFactory) -> None:
    """MADV_DONTNEED empties the pages that it names and no others."""
    io_uring = ring(1)
    with mmap.mmap(-1, 4 * _PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory[:] = b"x" * 4 * _PAGE
        with memoryview(memory) as view, view[_PAGE : 3 * _PAGE] as part:
            io_uring.madvise(0x11, part, mmap.MADV_DONTNEED)
            assert [completion(0x11, 0)] == complete(io_uring, 1, "IORING_OP_MADVISE")
        assert b"x" * _PAGE + bytes(2 * _PAGE) + b"x" * _PAGE == memory[:]


@pytest.mark.title("madvise, refused")
@pytest.mark.symbols("IORING_OP_MADVISE")
def test_madvise_refused(ring: RingFactory) -> None:
    """Advice is about whole pages that are there, and the kernel has to know it."""
    io_uring = ring(1)
    with mmap.mmap(-1, 2 * _PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory[:] = b"x" * 2 * _PAGE
        with memoryview(memory) as view, view[1:_PAGE] as part, view[:_PAGE] as page:
            io_uring.madvise(0x12, part, mmap.MADV_DONTNEED)
            assert [completion(0x12, -errno.EINVAL)] == complete(io_uring, 1, "IORING_OP_MADVISE")
            io_uring.madvise(0x13, page, 9999)
            assert [completion(0x13, -errno.EINVAL)] == complete(io_uring, 1, "IORING_OP_MADVISE")
            # Nothing is ever mapped at the second page (vm.mmap_min_addr).
            io_uring.madvise(0x14, page, mmap.MADV_DONTNEED).addr = _PAGE
            assert [completion(0x14, -errno.ENOMEM)] == complete(io_uring, 1, "IORING_OP_MADVISE")
        assert b"x" * 2 * _PAGE == memory[:]


@pytest.mark.title("madvise of 64 bits")
@pytest.mark.symbols("IORING_OP_MADVISE")
@pytest.mark.needs("madvise-64")
def test_madvise64(ring: RingFactory) -> None:
    """A length of more than 32 bits is taken as it is: all pages are emptied, those behind 4 GiB as well."""
    io_uring = ring(1)
    # Of all of them two are ever touched.
    size_bytes = (1 << 32) + 4 * _PAGE
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    with mmap.mmap(-1, size_bytes, flags) as memory:
        last = size_bytes - _PAGE
        for start in (0, last):
            memory[start : start + 4] = b"data"
        with memoryview(memory) as view, view[:last] as most, view[_PAGE:] as rest:
            for part, found in ((most, (bytes(4), b"data")), (rest, (bytes(4), bytes(4)))):
                io_uring.madvise64(0x21, part, mmap.MADV_DONTNEED)
                assert [completion(0x21, 0)] == complete(io_uring, 1, "IORING_OP_MADVISE with a length of 64 bits")
                assert found == (memory[:4], memory[last : last + 4])
