"""Files that are mostly holes, as the memory of a guest is."""

import os
from collections.abc import Iterator

_CHUNK_SIZE = 1 << 16
_ZEROS = bytes(_CHUNK_SIZE)


def filled(descriptor: int) -> Iterator[tuple[int, bytes]]:
    """Give what is in a file beside zeros, whether those are holes or written: chunks, and where they begin.

    Chunks lie at multiples of their size, so that the same content gives the same ones wherever its holes are.
    """
    size_bytes = os.fstat(descriptor).st_size
    at = 0
    while at < size_bytes:
        try:
            at = os.lseek(descriptor, at, os.SEEK_DATA) // _CHUNK_SIZE * _CHUNK_SIZE
        except OSError:  # ENXIO: nothing but a hole from here on
            break
        chunk = os.pread(descriptor, _CHUNK_SIZE, at)
        if not chunk:
            break
        if chunk != _ZEROS[: len(chunk)]:
            yield at, chunk
        at += len(chunk)
