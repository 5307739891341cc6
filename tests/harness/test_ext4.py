"""`scratch_ext4` in real guests: a file system that takes O_DIRECT, in the oldest and the newest kernel."""

import subprocess
import sys
from pathlib import Path

import pytest
from archive_kernels import oldest_and_newest

from reports.results import Status, read

TESTS = """
import mmap
import os

import pytest

def direct(path):
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT)

@pytest.mark.parametrize("again", [1, 2])
def test_o_direct_through_the_ring(scratch_ext4, ring, again):
    assert [] == [path for path in scratch_ext4.iterdir() if path.name != "lost+found"]
    page = mmap.mmap(-1, 4096)
    page[:5] = b"hello"
    fd = direct(scratch_ext4 / "file")
    io_uring = ring(2)
    io_uring.write(1, fd, page, 0)
    assert 1 == io_uring.submit()
    assert 4096 == io_uring.copy_cqe().res
    os.close(fd)
    assert b"hello" == (scratch_ext4 / "file").read_bytes()[:5]

def test_tmpfs_is_another_matter(scratch):
    filesystems = [line.split()[2] for line in open("/proc/self/mounts") if line.split()[1] == "/tmp"]
    assert ["tmpfs"] == filesystems
"""


@pytest.mark.vm
def test_ext4_in_guests(tmp_path: Path) -> None:
    (tmp_path / "test_disk.py").write_text(TESTS)
    kernels = [f"--kernel={name}" for name in oldest_and_newest()]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        *kernels,
        "--matrix-out",
        "out",
        "test_disk.py",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    results = read(tmp_path / "out/results.json")
    assert {row.status for row in results.results} == {Status.PASS}
    assert len(results.results) == 6
