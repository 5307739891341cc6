"""What of a file is on its disk, as the file system tells.

What was written to a file lies in memory alone, and ext4, XFS and btrfs give it no place on the disk, until it is
written back: after some 30 seconds, or when somebody asks for it by fsync(2) and the like. So it can be seen at once
whether a request did that.
"""

from __future__ import annotations

import fcntl
import struct

# linux/fs.h, linux/fiemap.h
_FS_IOC_FIEMAP = 0xC020_660B
_HEADER = struct.Struct("=QQIIII")
_EXTENT = struct.Struct("=QQQ16xI12x")
_EXTENTS_MAX = 16
# No place yet (UNKNOWN, DELALLOC), or one that reads as zeros until it was written to (UNWRITTEN).
_NOT_WRITTEN = 0x2 | 0x4 | 0x800


def bytes_on_disk(fd: int, start: int, length: int) -> int:
    """How many bytes of a part of a file have been written to the disk."""
    request = bytearray(_HEADER.size + _EXTENTS_MAX * _EXTENT.size)
    _HEADER.pack_into(request, 0, start, length, 0, 0, _EXTENTS_MAX, 0)
    fcntl.ioctl(fd, _FS_IOC_FIEMAP, request)
    count = _HEADER.unpack_from(request)[3]
    found = 0
    for index in range(count):
        logical, _, size, flags = _EXTENT.unpack_from(request, _HEADER.size + index * _EXTENT.size)
        if not flags & _NOT_WRITTEN:
            found += max(0, min(logical + size, start + length) - max(logical, start))
    return found
