"""The files the host hands to a running guest: a PCI device whose memory is a file of the host's (QEMU's ivshmem).

No driver is needed: any kernel with PCI lets PID 1 map the device's memory through sysfs. What is in it is a cpio
archive (newc), the same that can be unpacked behind an initramfs.
"""

import mmap
import os
import stat
from collections.abc import Iterator

DEVICES = "/sys/bus/pci/devices"
VENDOR, DEVICE = "0x1af4", "0x1110"
HEADER_SIZE = 110
TRAILER = b"TRAILER!!!"


class WindowError(Exception):
    """What the host handed over cannot be used."""


def unpack(directory: str, size_bytes: int) -> None:
    """Write the archive of ``size_bytes`` in the window below a directory."""
    device = find()
    with open(f"{device}/enable", "w", encoding="ascii") as file:  # noqa: PTH123 - PID 1 does without pathlib
        file.write("1")
    descriptor = os.open(f"{device}/resource2", os.O_RDWR | os.O_CLOEXEC)
    try:
        with mmap.mmap(descriptor, size_bytes, access=mmap.ACCESS_READ) as window:
            write_all(window, directory)
    finally:
        os.close(descriptor)


def find() -> str:
    """The device's directory in sysfs."""
    for name in os.listdir(DEVICES):  # noqa: PTH208
        path = f"{DEVICES}/{name}"
        if (read(f"{path}/vendor"), read(f"{path}/device")) == (VENDOR, DEVICE):
            return path
    raise WindowError(f"no PCI device {VENDOR}:{DEVICE} below {DEVICES}: this machine was started without its files")


def read(path: str) -> str:
    """A file's first line."""
    with open(path, encoding="ascii") as file:  # noqa: PTH123
        return file.read().strip()


def members(archive: bytes | mmap.mmap) -> Iterator[tuple[bytes, int, int, int, int]]:
    """Name, mode, time, and first and last byte of every member of an archive."""
    at = 0
    while True:
        header = archive[at : at + HEADER_SIZE]
        if header[:6] != b"070701":
            raise WindowError(f"no archive header at byte {at} of the host's files, but {header[:16]!r}")
        mode, modified_s, size, name_size = (int(header[o : o + 8], 16) for o in (14, 46, 54, 94))
        name = archive[at + HEADER_SIZE : at + HEADER_SIZE + name_size - 1]
        begin = aligned(at + HEADER_SIZE + name_size)
        at = aligned(begin + size)
        if name == TRAILER:
            return
        if begin + size > len(archive):
            raise WindowError(f"{os.fsdecode(name)} is cut off: the host's files end within it")
        yield name, mode, modified_s, begin, begin + size


def write_all(archive: bytes | mmap.mmap, directory: str) -> None:
    """Write every member of an archive below a directory. Parents come before their children in it."""
    times = []  # of directories, which change as long as something is written into them, and may be read-only
    for name, mode, modified_s, begin, end in members(archive):
        path = os.fsencode(directory) + b"/" + name
        if stat.S_ISDIR(mode):
            os.makedirs(path, exist_ok=True)  # noqa: PTH103
            times.append((path, mode, modified_s))
        else:
            write(path, mode, modified_s, archive[begin:end])
    for path, mode, modified_s in reversed(times):
        os.chmod(path, stat.S_IMODE(mode))  # noqa: PTH101
        os.utime(path, (modified_s, modified_s))


def write(path: bytes, mode: int, modified_s: int, content: bytes) -> None:
    """Write one member that is no directory, in place of whatever has its name."""
    if os.path.lexists(path):
        os.unlink(path)  # noqa: PTH108 - a link that a test left there must not lead what follows elsewhere
    if stat.S_ISLNK(mode):
        os.symlink(content, path)  # noqa: PTH211
    elif stat.S_ISREG(mode):
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(content)
        os.chmod(path, stat.S_IMODE(mode))  # noqa: PTH101
        os.utime(path, (modified_s, modified_s))  # pytest holds its bytecode against the source's time
    elif stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        os.mknod(path, mode)
    else:
        raise WindowError(f"{os.fsdecode(path)} is of a kind that no host sends: mode {mode:o}")


def aligned(position: int) -> int:
    """The next multiple of four."""
    return position + -position % 4
