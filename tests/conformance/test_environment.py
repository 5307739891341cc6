"""What stands between a test and io_uring is named as what it is, and never charged to the kernel."""

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import uring
from conformance.fixtures import end_as_unsupported

# A seccomp filter by hand: calls of these numbers end with that errno, all others go on.
PRELUDE = """
import ctypes, struct, sys, pytest
numbers, answer = {numbers}, {answer}
def op(code, k, yes=0, no=0): return struct.pack("=HBBI", code, yes, no, k)
program = op(0x20, 0)
for number in numbers:
    program += op(0x15, number, 0, 1) + op(0x06, 0x00050000 | answer)
program += op(0x06, 0x7fff0000)
code = ctypes.create_string_buffer(program)
class Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(len(program) // 8, ctypes.addressof(code))), 0, 0) == 0
sys.exit(pytest.main(sys.argv[1:]))
"""
# The same on every architecture.
SETUP, ENTER, REGISTER = 425, 426, 427
TESTS = """
import os
import pytest

def test_a_ring(ring):
    io_uring = ring(2)
    io_uring.nop(1)
    io_uring.submit()
    io_uring.get_probe()

def test_that_wants_to_see_it(ring):
    with pytest.raises(OSError):
        ring(2).get_probe()

def test_that_fails_on_its_own():
    os.open("/nowhere/at/all", os.O_RDONLY)
"""


@pytest.fixture(autouse=True)
def _needs_a_ring() -> None:
    try:
        uring.IoUring(1).deinit()
    except uring.SyscallError as error:
        pytest.skip(f"no io_uring on this machine: {error}")


def rows_under(directory: Path, prelude: str) -> dict[str, dict[str, Any]]:
    (directory / "test_mine.py").write_text(TESTS)
    words = ["-p", "no:cacheprovider", "--kernel", "host", "--matrix-out", "out", "test_mine.py"]
    subprocess.run([sys.executable, "-c", prelude, *words], cwd=directory, capture_output=True, check=False)
    rows = json.loads((directory / "out/results.json").read_text())["results"]
    return {row["test"]: row for row in rows}


@pytest.mark.parametrize(
    ("numbers", "answer", "words"),
    [
        ([SETUP], errno.EPERM, "io_uring_setup to this process (EPERM)"),
        ([SETUP], errno.ENOSYS, "io_uring_setup to this process (ENOSYS)"),
        ([SETUP], errno.EOPNOTSUPP, "io_uring_setup to this process (EOPNOTSUPP)"),
        ([SETUP], errno.EACCES, "io_uring_setup to this process (EACCES)"),
        ([SETUP], errno.EINVAL, "io_uring_setup to this process (EINVAL)"),
        ([ENTER], errno.EPERM, "io_uring_enter to this process (EPERM)"),
        ([REGISTER], errno.EOPNOTSUPP, "io_uring_register to this process (EOPNOTSUPP)"),
    ],
)
def test_a_filter_is_not_the_kernel(tmp_path: Path, numbers: list[int], answer: int, words: str) -> None:
    """Whatever it answers: `infra`, with the filter's name and what to do; what a test itself expects is its own."""
    rows = rows_under(tmp_path, PRELUDE.format(numbers=numbers, answer=answer))
    row = rows["test_a_ring"]
    assert row["status"] == "infra", row
    assert words in row["reason"]
    assert "seccomp" in row["reason"]
    assert "run outside of the container" in row["reason"]
    assert rows["test_that_fails_on_its_own"]["status"] == "fail"
    assert rows["test_that_wants_to_see_it"]["status"] == ("pass" if numbers != [ENTER] else "fail")


def test_without_a_filter_nothing_is_excused(tmp_path: Path) -> None:
    rows = rows_under(tmp_path, "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))")
    assert rows["test_a_ring"]["status"] == "pass"
    assert rows["test_that_wants_to_see_it"]["status"] == "fail"


def test_a_probe_that_was_refused_is_no_answer(tmp_path: Path) -> None:
    """It is not "no operation", and the exit code says so."""
    prelude = PRELUDE.format(numbers=[SETUP], answer=errno.EOPNOTSUPP)
    prelude = prelude.replace("sys.exit(pytest.main(sys.argv[1:]))", "from uring_matrix.cli import main; main()")
    done = subprocess.run(
        [sys.executable, "-c", prelude, "probe"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "host could not be asked: seccomp (a filter) refuses io_uring_setup" in done.stderr
    assert not [line for line in done.stdout.splitlines() if line.startswith("IORING_OP_") and line.split()[1] != "?"]


def test_what_is_missing_without_a_ring_is_not_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sysctl that switches io_uring off lets every observation say so; no kernel lacks anything for that."""
    with pytest.raises(pytest.skip.Exception, match="no pipes"):
        end_as_unsupported("no pipes", "EINVAL")

    def refused(*_: object) -> None:
        raise uring.PermissionDenied(errno.EPERM, "io_uring_setup(entries=1, flags=0x0)")

    monkeypatch.setattr(uring.IoUring, "__init__", refused)
    with pytest.raises(uring.PermissionDenied):
        end_as_unsupported("no pipes", "EPERM")
