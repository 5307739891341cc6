"""The files the host hands over on a disk, because they are too many for a guest's memory."""

import ctypes
import os
import time

BLOCK_DEVICES = "/sys/block"
WORK_SERIAL, SCRATCH_SERIAL = "work", "1"  # of the drives
SCRATCH_DEVICE = "/dev/nvme0n1"
MOUNT_POINT = "/run/payload"
BOUND = ("work", "site")
WAIT_S = 60.0
MS_BIND = 0x1000

libc = ctypes.CDLL(None, use_errno=True)


class DiskError(Exception):
    """What the host handed over cannot be used."""


def mount(*, has_scratch: bool) -> None:
    """Put the disk's directories in their places, once. The empty disk is ``/dev/nvme0n1``, if there is one."""
    if os.path.ismount(MOUNT_POINT):
        return
    work = find(WORK_SERIAL)
    os.makedirs(MOUNT_POINT, exist_ok=True)  # noqa: PTH103
    call_mount(f"/dev/{work}", MOUNT_POINT, "ext4", 0)
    for name in BOUND:
        if os.path.isdir(f"{MOUNT_POINT}/{name}"):  # noqa: PTH112
            os.makedirs(f"/{name}", exist_ok=True)  # noqa: PTH103
            call_mount(f"{MOUNT_POINT}/{name}", f"/{name}", None, MS_BIND)
    # Which drive is the first depends on which was found first, and the other one must not be taken for empty.
    os.unlink(f"/dev/{work}")  # noqa: PTH108
    if has_scratch and (scratch := find(SCRATCH_SERIAL)) != os.path.basename(SCRATCH_DEVICE):  # noqa: PTH119
        os.rename(f"/dev/{scratch}", SCRATCH_DEVICE)  # noqa: PTH104


def find(serial: str) -> str:
    """The name of the drive with a serial number; kernels find drives in their own time."""
    deadline_s = time.monotonic() + WAIT_S
    while True:
        for name in os.listdir(BLOCK_DEVICES):  # noqa: PTH208
            try:
                with open(f"{BLOCK_DEVICES}/{name}/device/serial", encoding="ascii") as file:  # noqa: PTH123
                    if file.read().strip() == serial and os.path.exists(f"/dev/{name}"):  # noqa: PTH110
                        return name
            except OSError:
                continue  # not an NVMe drive
        if time.monotonic() > deadline_s:
            raise DiskError(f"no drive with the serial number {serial}: does this kernel have NVMe and ext4 built in?")
        time.sleep(0.01)


def call_mount(source: str, target: str, kind: str | None, flags: int) -> None:
    """mount(2)."""
    if libc.mount(source.encode(), target.encode(), kind and kind.encode(), flags, None) != 0:
        raise DiskError(f"cannot mount {source} on {target}: {os.strerror(ctypes.get_errno())}")
