"""A small ext4 file system for the tests that want O_DIRECT, which tmpfs does not take."""

import ctypes
import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# The host attaches an empty disk to guests whose tests ask for it; NVMe is built into every stock cloud kernel.
DEVICE = Path("/dev/nvme0n1")
_MNT_DETACH = 2


@contextmanager
def mounted() -> Iterator[Path]:
    """Give an empty directory that takes O_DIRECT: a fresh ext4 in a guest, a temporary directory elsewhere."""
    if os.environ.get("URING_MATRIX_GUEST") == "1":
        with _fresh_ext4() as directory:
            yield directory
        return
    with tempfile.TemporaryDirectory(prefix="scratch-") as name:
        directory = Path(name)
        if not _takes_o_direct(directory):
            pytest.skip(f"{directory.parent} does not take O_DIRECT; set TMPDIR to a directory on ext4, XFS or btrfs")
        yield directory


@contextmanager
def _fresh_ext4() -> Iterator[Path]:
    made = subprocess.run(
        ["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", str(DEVICE)],
        check=False,
        capture_output=True,
        text=True,
    )
    if made.returncode != 0:
        words = " ".join(made.stderr.split()) or f"exit code {made.returncode}"
        raise OSError(errno.EIO, f"no file system could be made on {DEVICE}: {words}")
    directory = Path(tempfile.mkdtemp(prefix="ext4-"))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(str(DEVICE).encode(), str(directory).encode(), b"ext4", 0, None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot mount {DEVICE}: {os.strerror(number)}")
    try:
        yield directory
    finally:
        # Rings of the test may have files open until their own fixture ends. Whether the device is free by the end of
        # the test is what the leak check looks at, so that nobody else is charged with it.
        libc.umount2(str(directory).encode(), _MNT_DETACH)
        directory.rmdir()


def _takes_o_direct(directory: Path) -> bool:
    path = directory / "probe"
    path.write_bytes(b"")
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT))
    except OSError:
        return False
    finally:
        path.unlink()
    return True
