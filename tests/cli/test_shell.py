"""`uring-matrix shell` in a pipe: a program goes in, its output and its exit code come out."""

import subprocess
import sys

import pytest
from archive_kernels import oldest_and_newest
from tree import ROOT

pytestmark = pytest.mark.vm
PROGRAM = """
import sys
print("first", os.uname().release)
sys.stdout.buffer.write(bytes(range(256)) * 100)
sys.stdout.flush()
print("to the other stream", file=sys.stderr)
if os.fork() == 0:
    import signal
    signal.pause()  # it holds both pipes, and nobody waits for it
uring.IoUring(2).deinit()
exit(7)
"""


def shell(program: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "uring_matrix", "shell", oldest_and_newest()[-1]]
    return subprocess.run(command, cwd=ROOT, input=program, capture_output=True, check=False)


def test_a_program_in_a_pipe() -> None:
    ended = shell(PROGRAM.encode())
    assert ended.returncode == 7, ended.stderr
    head, _, rest = ended.stdout.partition(b"\n")
    assert head.startswith(b"first ")
    assert rest == bytes(range(256)) * 100
    assert ended.stderr.endswith(b"to the other stream\n")


def test_what_it_raises_is_its_own() -> None:
    ended = shell(b"print(1)\nundefined\n")
    assert (ended.returncode, ended.stdout) == (1, b"1\n")
    assert b"NameError: name 'undefined' is not defined" in ended.stderr
