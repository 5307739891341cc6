"""Fixtures of the ring's tests: real rings of this machine's kernel, where it lets us."""

from __future__ import annotations

import contextlib
import functools
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import uring

ROOT = Path(__file__).resolve().parent.parent.parent


@functools.cache
def why_no_ring() -> str | None:
    """Why this machine has no io_uring for us, or None."""
    try:
        uring.IoUring(1).deinit()
    except (uring.SystemOutdated, uring.PermissionDenied) as error:
        return str(error)
    return None


def open_files() -> dict[str, str]:
    """What each descriptor of this process is, by number."""
    found = {}
    for path in Path("/proc/self/fd").iterdir():
        # The one that lists them is closed by now.
        with contextlib.suppress(FileNotFoundError):
            found[path.name] = str(path.readlink())
    return found


@pytest.fixture
def make_ring() -> Iterator[Callable[..., uring.IoUring]]:
    """Rings that are closed at the end of the test; what the kernel does not know is skipped."""
    if why_no_ring():
        pytest.skip(f"no io_uring on this machine: {why_no_ring()}")
    made: list[uring.IoUring] = []

    def make(entries: int = 8, flags: int = 0, **params: int) -> uring.IoUring:
        keep_alive = bool(params.pop("keep_alive", True))
        try:
            ring = uring.IoUring.init_params(
                entries, uring.io_uring_params(flags=flags, sq_thread_idle=1000, **params), keep_alive=keep_alive
            )
        except uring.ArgumentsInvalid as error:
            pytest.skip(f"this kernel lacks a setup flag: {error}")
        made.append(ring)
        return ring

    yield make
    for ring in made:
        ring.deinit()


@pytest.fixture
def ring(make_ring: Callable[..., uring.IoUring]) -> uring.IoUring:
    """A ring of eight entries."""
    return make_ring(8)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected stream sockets."""
    first, second = socket.socketpair()
    with first, second:
        yield first, second


@pytest.fixture
def tcp_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connected TCP client and server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        yield client, server


@pytest.fixture
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run code in an interpreter of its own, which must end within a minute; a crash shows in the exit code."""
    if why_no_ring():
        pytest.skip(f"no io_uring on this machine: {why_no_ring()}")

    def run(code: str, *options: str, is_expected_to_pass: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", *options, "-c", code],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=ROOT,
            check=False,
        )
        if is_expected_to_pass:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run
