"""System calls: what libc is given, and what becomes of its answer."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Callable
from typing import Any

import pytest

import uring
from uring import errno_tables as tables
from uring import syscalls


class Libc:
    """A function of libc that notes its arguments, and answers as told."""

    def __init__(self, answer: int | None, number: int = 0) -> None:
        self.answer, self.number = answer, number
        self.given: list[tuple[Any, ...]] = []

    def __call__(self, *arguments: Any) -> int | None:
        self.given.append(arguments)
        ctypes.set_errno(self.number)
        return self.answer


def test_flags_of_mappings_are_the_systems() -> None:
    for name in ("PROT_READ", "PROT_WRITE", "MAP_SHARED", "MAP_PRIVATE", "MAP_ANONYMOUS", "MAP_POPULATE"):
        assert getattr(syscalls, name) == getattr(mmap, name), name


def test_what_each_call_gives_to_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that are the same on every architecture, and the size of the kernel's signal set."""
    params = uring.io_uring_params()
    for name, call, given in (
        ("_setup", lambda: syscalls.io_uring_setup(8, params), (425, 8, ctypes.addressof(params))),
        ("enter", lambda: syscalls.io_uring_enter(5, 1, 2, 3), (426, 5, 1, 2, 3, None, 8)),
        ("_register", lambda: syscalls.io_uring_register_errno(5, 1, 2, 3), (427, 5, 1, 2, 3)),
        ("_mmap", lambda: syscalls.mmap(4096, 1, 5, 7, "a test"), (None, 4096, 3, 1, 5, 7)),
    ):
        for answer in (0, 7) if name != "_mmap" else (4096, (1 << 47) - 4096):
            libc = Libc(answer)
            monkeypatch.setattr(syscalls, name, libc)
            assert (call(), libc.given) == (answer, [given])
    libc = Libc(3)
    monkeypatch.setattr(syscalls, "_register", libc)
    syscalls.io_uring_register(5, 1, 2, 3, tables.REGISTER_NAPI, "a test")
    assert libc.given == [(427, 5, 1, 2, 3)]
    libc = Libc(0)
    monkeypatch.setattr(syscalls, "_munmap", libc)
    syscalls.munmap(4096, 8192)
    assert libc.given == [(4096, 8192)]


Call = Callable[[], object]


@pytest.mark.parametrize(
    ("name", "answer", "call", "error", "message"),
    [
        (
            "_setup",
            -1,
            lambda: syscalls.io_uring_setup(8, uring.io_uring_params(flags=0x11)),
            uring.SystemResources,
            r"io_uring_setup\(entries=8, flags=0x11\)",
        ),
        (
            "enter",
            -1,
            lambda: syscalls.io_uring_enter(5, 1, 2, 0x13),
            uring.UnexpectedErrno,
            r"io_uring_enter\(to_submit=1, min_complete=2, flags=0x13\)",
        ),
        (
            "_register",
            -1,
            lambda: syscalls.io_uring_register(5, 1, 2, 3, tables.REGISTER_FILES, "a test"),
            uring.SystemResources,
            "a test",
        ),
        ("_mmap", syscalls._MAP_FAILED, lambda: syscalls.mmap(64, 1, 5, 7, "a test"), uring.OutOfMemory, "of a test"),
        ("_mmap", None, lambda: syscalls.mmap(64, 1, 5, 7, "a test"), uring.OutOfMemory, r"\(64 bytes\)"),
        ("_munmap", -1, lambda: syscalls.munmap(0x1000, 64), uring.UringError, r"munmap\(0x1000, 64\)"),
    ],
)
def test_a_call_that_fails_raises_with_its_errno(
    monkeypatch: pytest.MonkeyPatch, name: str, answer: int | None, call: Call, error: type[Exception], message: str
) -> None:
    monkeypatch.setattr(syscalls, name, Libc(answer, errno.ENOMEM))
    with pytest.raises(error, match=message) as caught:
        call()
    assert caught.value.errno == errno.ENOMEM  # type: ignore[attr-defined]


@pytest.mark.parametrize(("answer", "number", "expected"), [(0, 22, 0), (3, 22, 3), (-1, 22, -22)])
def test_an_errno_may_be_handed_back(monkeypatch: pytest.MonkeyPatch, answer: int, number: int, expected: int) -> None:
    monkeypatch.setattr(syscalls, "_register", Libc(answer, number))
    assert syscalls.io_uring_register_errno(5, 1, 2, 3) == expected


def test_only_a_descriptor_that_is_gone_already_may_be_closed_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(fd, "of a test")

    monkeypatch.setattr(os, "close", fail)
    syscalls.close(errno.EBADF)
    with pytest.raises(OSError, match="of a test"):
        syscalls.close(errno.EIO)


def test_prototypes_are_those_of_the_manual() -> None:
    """A number that travels in too few bits arrives right on most machines, most of the time."""
    long, size, pointer, number, unsigned = (
        *(ctypes.c_long, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint),
    )
    for function, expected in (
        (syscalls._setup, (long, long, unsigned, pointer)),
        (syscalls._register, (long, long, number, unsigned, pointer, unsigned)),
        (syscalls._mmap, (pointer, pointer, size, number, number, number, ctypes.c_int64)),
        (syscalls._munmap, (number, pointer, size)),
    ):
        assert (function.restype, *function.argtypes) == expected  # type: ignore[attr-defined]


def test_the_systems_own_errors_arrive() -> None:
    """Through libc's errno, which belongs to the call."""
    ctypes.set_errno(errno.EXDEV)
    with pytest.raises(uring.UringError) as unaligned:
        syscalls.munmap(1, 64)
    with pytest.raises(uring.UringError) as no_file:
        syscalls.mmap(4096, syscalls.MAP_SHARED, -1, 0, "a test")
    assert [caught.value.errno for caught in (unaligned, no_file)] == [errno.EINVAL, errno.EBADF]  # type: ignore[attr-defined]
    assert syscalls.io_uring_register_errno(-1, 0, 0, 0) < 0


def test_memory_of_our_own_is_readable_writable_and_empty() -> None:
    address = syscalls.mmap(8192, syscalls.MAP_PRIVATE | syscalls.MAP_ANONYMOUS, -1, 0, "a test")
    memory = (ctypes.c_char * 8192).from_address(address)
    assert memory.raw == bytes(8192)
    memory[8191] = b"x"
    assert memory.raw[8190:] == b"\0x"
    syscalls.munmap(address, 8192)
