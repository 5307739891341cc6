"""Paths: rename, unlink, make directories, links of both kinds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conformance.fixtures import RingFactory
from conformance.support import CREATE, completion, opened
from conformance.zig.support import unsupported_if
from uring import IORING_OP, E

pytestmark = pytest.mark.group("Paths")


@pytest.mark.zig("renameat")
@pytest.mark.title("rename a file")
@pytest.mark.symbols("IORING_OP_RENAMEAT")
@pytest.mark.since("5.11")
def test_renameat(ring: RingFactory, scratch: Path) -> None:
    """A file is renamed: the old name is gone, the new one has the content.

    Zig: "renameat"
    """
    io_uring = ring(1)
    old_path = "test_io_uring_renameat_old"
    new_path = "test_io_uring_renameat_new"

    with opened(scratch, os.O_DIRECTORY) as directory, opened(scratch / old_path, CREATE) as old_file:
        assert 5 == os.write(old_file, b"hello")

        sqe = io_uring.renameat(0x12121212, directory, old_path, directory, new_path, 0)
        assert IORING_OP.RENAMEAT == sqe.opcode
        assert directory == sqe.fd
        assert directory == sqe.len
        assert 1 == io_uring.submit()

        cqe = io_uring.copy_cqe()
        unsupported_if(cqe, "IORING_OP_RENAMEAT", E.BADF, E.INVAL)
        assert completion(0x12121212, 0) == cqe

    with pytest.raises(FileNotFoundError):
        (scratch / old_path).open("rb")
    assert b"hello" == (scratch / new_path).read_bytes()


@pytest.mark.zig("unlinkat")
@pytest.mark.title("unlink a file")
@pytest.mark.symbols("IORING_OP_UNLINKAT")
@pytest.mark.since("5.11")
def test_unlinkat(ring: RingFactory, scratch: Path) -> None:
    """A file is unlinked while it is open, and its name is gone.

    Zig: "unlinkat"
    """
    io_uring = ring(1)
    path = "test_io_uring_unlinkat"

    with opened(scratch, os.O_DIRECTORY) as directory, opened(scratch / path, CREATE):
        sqe = io_uring.unlinkat(0x12121212, directory, path, 0)
        assert IORING_OP.UNLINKAT == sqe.opcode
        assert directory == sqe.fd
        assert 1 == io_uring.submit()

        cqe = io_uring.copy_cqe()
        unsupported_if(cqe, "IORING_OP_UNLINKAT", E.BADF, E.INVAL)
        assert completion(0x12121212, 0) == cqe

        with pytest.raises(FileNotFoundError):
            (scratch / path).open("rb")


@pytest.mark.zig("mkdirat")
@pytest.mark.title("make a directory")
@pytest.mark.symbols("IORING_OP_MKDIRAT")
@pytest.mark.since("5.15")
def test_mkdirat(ring: RingFactory, scratch: Path) -> None:
    """A directory is made.

    Zig: "mkdirat"
    """
    io_uring = ring(1)
    path = "test_io_uring_mkdirat"

    with opened(scratch, os.O_DIRECTORY) as directory:
        sqe = io_uring.mkdirat(0x12121212, directory, path, 0o755)
        assert IORING_OP.MKDIRAT == sqe.opcode
        assert directory == sqe.fd
        assert 1 == io_uring.submit()

        cqe = io_uring.copy_cqe()
        unsupported_if(cqe, "IORING_OP_MKDIRAT", E.BADF, E.INVAL)
        assert completion(0x12121212, 0) == cqe

    with opened(scratch / path, os.O_DIRECTORY):
        pass


@pytest.mark.zig("symlinkat")
@pytest.mark.title("make a symbolic link")
@pytest.mark.symbols("IORING_OP_SYMLINKAT")
@pytest.mark.since("5.15")
def test_symlinkat(ring: RingFactory, scratch: Path) -> None:
    """A symbolic link is made, and opening it opens the file it names.

    Zig: "symlinkat"
    """
    io_uring = ring(1)
    path = "test_io_uring_symlinkat"
    link_path = "test_io_uring_symlinkat_link"

    with opened(scratch, os.O_DIRECTORY) as directory, opened(scratch / path, CREATE):
        sqe = io_uring.symlinkat(0x12121212, path, directory, link_path)
        assert IORING_OP.SYMLINKAT == sqe.opcode
        assert directory == sqe.fd
        assert 1 == io_uring.submit()

        cqe = io_uring.copy_cqe()
        unsupported_if(cqe, "IORING_OP_SYMLINKAT", E.BADF, E.INVAL)
        assert completion(0x12121212, 0) == cqe

        with opened(scratch / link_path):
            pass


@pytest.mark.zig("linkat")
@pytest.mark.title("make a hard link")
@pytest.mark.symbols("IORING_OP_LINKAT")
@pytest.mark.since("5.15")
def test_linkat(ring: RingFactory, scratch: Path) -> None:
    """A hard link is made, and has the file's content.

    Zig: "linkat"
    """
    io_uring = ring(1)
    first_path = "test_io_uring_linkat_first"
    second_path = "test_io_uring_linkat_second"

    with opened(scratch, os.O_DIRECTORY) as directory, opened(scratch / first_path, CREATE) as first_file:
        assert 5 == os.write(first_file, b"hello")

        sqe = io_uring.linkat(0x12121212, directory, first_path, directory, second_path, 0)
        assert IORING_OP.LINKAT == sqe.opcode
        assert directory == sqe.fd
        assert directory == sqe.len
        assert 1 == io_uring.submit()

        cqe = io_uring.copy_cqe()
        unsupported_if(cqe, "IORING_OP_LINKAT", E.BADF, E.INVAL)
        assert completion(0x12121212, 0) == cqe

        assert b"hello" == (scratch / second_path).read_bytes()
