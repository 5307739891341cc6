"""What requests are about is made for one of them, and gone behind it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest
from conftest import why_no_ring

from uring.observe.world import World

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
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
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
