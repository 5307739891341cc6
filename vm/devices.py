"""What is behind a guest's devices: files in memory, which are gone with the guest."""

import os
from pathlib import Path

from vm.errors import BootError

# Of the disk: what ext4 and a few test files need.
DISK_SIZE = 64 << 20
# Of the window: a power of two, as PCI asks, and always the same, because a saved guest knows it.
WINDOW_SIZE = 64 << 20


def open_disk() -> int:
    """A file that QEMU takes for a disk with nothing on it."""
    descriptor = os.memfd_create("disk")
    os.truncate(descriptor, DISK_SIZE)
    return descriptor


def open_window(payload: Path) -> int:
    """A file with the payload in it, as large as the device.

    Raises:
        BootError: the payload is larger.
    """
    content = payload.read_bytes()
    if len(content) > WINDOW_SIZE:
        raise BootError(f"{payload} has {len(content)} bytes; at most {WINDOW_SIZE} can be handed to a guest")
    descriptor = os.memfd_create("window")
    os.truncate(descriptor, WINDOW_SIZE)
    os.pwrite(descriptor, content, 0)
    return descriptor
