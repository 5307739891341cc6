"""What requests are about is made for one of them, and gone behind it."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import why_no_ring

from uring.observe import State, find
from uring.observe.bare import Cqe, Ring
from uring.observe.world import BUFFER_BYTES, World

pytestmark = pytest.mark.skipif(why_no_ring() is not None, reason=f"no io_uring on this machine: {why_no_ring()}")

# In a process of its own, as observing is: requests may change what it may do and which network it has.
_EACH = """
import json
from conftest import open_files
from uring.observe import ordered
from uring.observe.runner import found_by
from uring.observe.world import World
one = World()
assert one.ring and one.fixed
one.loopback()
left = {}
for request in ordered():
    before = open_files()
    found_by(request, one)
    if one._ring is None:
        # It had no answer, and lets go of rings that may be stuck.
        assert one.ring and one.fixed
    elif open_files() != before:
        left[request.id] = sorted(open_files().items() - before.items())
print(json.dumps(left))
"""


def test_no_request_leaves_a_descriptor() -> None:
    # Several folders of tests have a `conftest`.
    places = [str(Path(__file__).parent), *(path for path in sys.path if path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    command = [sys.executable, "-c", _EACH]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}


def test_sockets_are_given_ports_by_the_system() -> None:
    """Whoever names one takes it from somebody, or is refused it."""
    one = World()
    ports = set()
    for fd in (one.udp(), one.udp(), *one.tcp(), *one.tcp()):
        with socket.socket(fileno=os.dup(fd)) as made:
            assert made.getsockname()[0] == "127.0.0.1"
            ports |= {made.getsockname()[1], made.getpeername()[1]}
    # Those below belong to services.
    assert min(ports) >= 1024
    one.clean()
    os.close(one.file)


@pytest.mark.parametrize(
    ("is_up", "refused", "called"),
    [
        (True, 0, []),
        (False, 0, ["unshare 0x40000000", "lo 0x49"]),
        (False, errno.EPERM, ["unshare 0x40000000"]),
    ],
)
def test_a_network_of_its_own_is_made_where_there_is_none(
    is_up: bool, refused: int, called: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []

    def ioctl(_: socket.socket, number: int, argument: bytes) -> bytes:
        name, flags = struct.unpack("=16sh22x", argument)
        if number == 0x8913:
            return struct.pack("=16sh22x", name, 0x48 | is_up)
        assert number == 0x8914
        found.append(f"{name.rstrip(bytes(1)).decode()} {flags:#x}")
        return argument

    def unshare(flags: int) -> int:
        found.append(f"unshare {flags:#x}")
        ctypes.set_errno(refused)
        return -1 if refused else 0

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, use_errno: SimpleNamespace(unshare=unshare if use_errno else None))
    one = World()
    if refused:
        with pytest.raises(PermissionError, match="no loopback network, and none can be made: Operation not permitted"):
            one.loopback()
    else:
        one.loopback()
        # Once is enough.
        one.loopback()
    assert found == called
    os.close(one.file)


def test_memory_is_given_as_far_as_there_is_some() -> None:
    one = World()
    whole = (1 << 16) - 2 * BUFFER_BYTES
    first, second = one.room(1), one.room(whole - 64)
    assert second - first == 64
    with pytest.raises(MemoryError):
        one.room(1)
    one.clean()
    assert one.put(b"x" * (whole - 1)) == first
    assert World.get(first + whole - 2, 2) == b"x\0"
    os.close(one.file)


def test_a_queue_without_flags_cannot_have_its_eventfd_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels before 5.8."""

    def need(ring: Ring, *_: Any) -> int:
        ring.params.cq_off.flags = 0
        return 0

    one = World()
    monkeypatch.setattr(one, "need", need)
    found = find("cq-eventfd-disabled").ask(one)
    assert (found.state, found.evidence) == (State.LACKS, "the completion queue has no flags")
    one.clean()
    os.close(one.file)


@pytest.mark.parametrize(
    ("batches", "failing", "state"),
    [
        ([4, 0], 0, State.HAS),
        ([2, 2, 0], 0, State.HAS),
        ([2, 0, 2], 0, State.LACKS),
        ([4, 0], -12, State.NOT_DETERMINABLE),
    ],
)
def test_completions_that_were_kept_may_come_later(
    batches: list[int], failing: int, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two have room, and as many again are kept."""
    one = World()
    with monkeypatch.context() as patched:
        left = iter(batches)
        patched.setattr(Ring, "reap", lambda *_: [Cqe(1, failing, 0)] * next(left))
        assert find("feat-nodrop").ask(one).state is state
    one.clean()
    os.close(one.file)
