"""What a guest lacks, and what a test leaves on its disk: charged to nobody else, and said as what it is."""

import subprocess
import sys

import pytest
from archive_kernels import oldest_and_newest

from reports.results import Result, Results, Status, read

pytestmark = [pytest.mark.vm, pytest.mark.slow]  # `tox -e faults`

TESTS = """
import mmap
import os
import signal
import socket
import subprocess
import sys

import pytest
import uring

def test_a_program_that_is_not_there():
    subprocess.run(["no-such-program", "-v"], check=True)

def test_a_script_whose_interpreter_is_not_there(tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/usr/bin/no-such-interpreter\\n")
    script.chmod(0o755)
    subprocess.run([script], check=True)

def test_a_command_of_the_shell_that_is_not_there():
    subprocess.run("no-such-command --help", shell=True, check=True, capture_output=True)

def test_a_program_that_does_not_end():
    subprocess.run([sys.executable, "-c", "import time; time.sleep(60)"], timeout=1)

def test_a_program_that_crashes():
    code = "import ctypes; ctypes.string_at(0)"
    assert subprocess.run([sys.executable, "-c", code], env={}).returncode == 0

def test_a_program_that_dies():
    subprocess.run([sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"], check=True)

def test_a_program_that_needs_more_memory_than_there_is():
    code = "held = [bytearray(b\'x\' * (8 << 20)) for _ in range(200)]"
    subprocess.run([sys.executable, "-c", code], check=True)

def test_a_file_that_is_not_there_is_still_the_tests():
    os.open("/no/such/file", os.O_RDONLY)

def test_iopoll(ring, scratch_ext4):
    page = mmap.mmap(-1, 4096)
    page[:5] = b"hello"
    fd = os.open(scratch_ext4 / "file", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    os.posix_fallocate(fd, 0, 4096)
    io_uring = ring(2, uring.IORING_SETUP_IOPOLL)
    # A first write has more to do than can be polled for; what comes after it is polled.
    for turn in range(2):
        io_uring.writev(turn, fd, [page], 0)
        io_uring.submit_and_wait(1)
        assert io_uring.copy_cqe().res == 4096
    got = mmap.mmap(-1, 4096)
    io_uring.read(3, fd, [uring.iovec(got)], 0)
    io_uring.submit_and_wait(1)
    assert io_uring.copy_cqe().res == 4096
    assert got[:5] == b"hello"
    os.close(fd)

def test_that_keeps_the_file_system(scratch_ext4):
    file = open(scratch_ext4 / "held", "w")
    if os.fork() == 0:
        os.setsid()
        signal.pause()

@pytest.mark.parametrize("turn", range(3))
def test_that_comes_after_it(scratch_ext4, turn):
    (scratch_ext4 / "mine").write_text("x")
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    directory = tmp_path_factory.mktemp("programs")
    (directory / "test_mine.py").write_text(TESTS)
    kernels = [f"--kernel={name}" for name in oldest_and_newest()]
    words = ["-m", "pytest", "-p", "no:cacheprovider", *kernels, "--matrix-out", "out", "test_mine.py"]
    subprocess.run([sys.executable, *words], cwd=directory, capture_output=True, text=True, check=False)
    return read(directory / "out/results.json")


def rows(results: Results, test: str) -> list[Result]:
    found = [row for row in results.results if row.test.partition("[")[0] == test]
    assert len({row.kernel for row in found}) == 2
    return found


@pytest.mark.parametrize(
    ("test", "status", "words"),
    [
        ("a_program_that_is_not_there", Status.ERROR, "no-such-program cannot be started: No such file"),
        ("a_script_whose_interpreter_is_not_there", Status.ERROR, "its interpreter or loader is not there"),
        ("a_command_of_the_shell_that_is_not_there", Status.ERROR, "is not there (exit code 127): "),
        ("a_program_that_does_not_end", Status.TIMEOUT, "did not end within 1 s"),
        ("a_program_that_crashes", Status.FAIL, "crashed (segfault): "),
        ("a_program_that_dies", Status.FAIL, "died of SIGSEGV"),
        (
            "a_program_that_needs_more_memory_than_there_is",
            Status.INFRA,
            "the guest's memory ran out: the kernel killed",
        ),
        ("a_file_that_is_not_there_is_still_the_tests", Status.FAIL, "No such file or directory"),
        ("iopoll", Status.PASS, ""),
        ("that_comes_after_it", Status.PASS, ""),
    ],
)
def test_it_is_said_as_what_it_is(results: Results, test: str, status: Status, words: str) -> None:
    for row in rows(results, f"test_{test}"):
        assert (row.status, words in row.reason) == (status, True), (row.kernel, row.status, row.reason, row.evidence)


def test_what_keeps_the_disk_is_charged_to_who_left_it(results: Results) -> None:
    for row in rows(results, "test_that_keeps_the_file_system"):
        assert "left-behind" in row.qualifiers, row
    for row in rows(results, "test_that_comes_after_it"):
        assert row.qualifiers == ()
