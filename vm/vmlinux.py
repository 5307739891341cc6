"""The kernel in a bzImage, unpacked on the host: an emulated guest takes a second of processor time to do the same.

QEMU starts it where a note of the ELF file says (XEN_ELFNOTE_PHYS32_ENTRY, CONFIG_PVH). It is the same code at the same
virtual addresses; what is left out is the decompressor, and with it the kernel's choice of a random address (KASLR).
"""

import bz2
import ctypes
import lzma
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vm.cache import Cache, digest_of
from vm.errors import BootError, UnfitKernel, VmError
from vm.kernel import Kernel
from vm.kernelimage import compressed_kernel, inspect, is_elf
from vm.progress import Progress

KIND = "vmlinux"
_NAME = "vmlinux"
_RECIPE = 1  # count up when the same image would give another file
# What the libraries are called that apt itself cannot do without. Python has none for these before 3.14.
_LZ4, _ZSTD = "liblz4.so.1", "libzstd.so.1"
# What `lz4 -l` writes: after the magic number blocks of at most so many bytes, each behind its compressed size.
_LZ4_BLOCK_SIZE = 8 << 20
_LZ4_MAGIC = 0x184C2102
_SIZE_MAX = 1 << 30


@dataclass(frozen=True, slots=True)
class Vmlinux:
    """An unpacked kernel in the cache."""

    path: Path
    sha256: str

    def check(self) -> None:
        """Hash it, before anything is started from it.

        Raises:
            BootError: it is not what was unpacked. The file is removed, so that the next run makes another.
        """
        try:
            if digest_of(self.path) == self.sha256:
                return
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise BootError(f"the unpacked kernel {self.path} cannot be used: {error.strerror}") from error
        raise BootError(f"the unpacked kernel {self.path} was damaged; the next run unpacks it anew")


def unpacked(kernel: Kernel, cache: Cache, progress: Progress) -> Vmlinux | None:
    """Unpack a kernel, once; None when its image has to be booted as it is.

    Args:
        kernel: it.
        cache: where it is kept, and, of one that cannot be started this way, why.
        progress: told why, when that is found out.
    """
    if kernel.ref.arch != "amd64" or is_elf(kernel.image):  # what its build did not compress
        return None
    key = f"{kernel.sha256}_{_RECIPE}"
    try:
        entry = cache.get(KIND, key, unverified=(_NAME,))
        if entry is not None and "why_not" not in entry.meta and not (entry.directory / _NAME).is_file():
            cache.remove(KIND, key)
            entry = None
        if entry is None:

            def build(target: Path) -> Mapping[str, Any]:
                return _unpack(kernel.image, target / _NAME)

            entry = cache.get_or_build(KIND, key, build)
            if why_not := entry.meta.get("why_not"):
                progress.note(f"{kernel.ref.id}: its image is booted as it is: {why_not}")
    except (VmError, OSError) as error:
        progress.note(f"{kernel.ref.id}: its image is booted as it is: {error}")
        return None
    return None if "why_not" in entry.meta else Vmlinux(entry.path(_NAME), entry.files[_NAME])


def _unpack(image: Path, target: Path) -> Mapping[str, Any]:
    """Write the kernel of an image to a file. Returns why that is of no use, if it is so of every such image."""
    found = compressed_kernel(image.read_bytes())
    if found is None:
        return {"why_not": "it does not tell where the kernel in it lies, as a bzImage does"}
    target.write_bytes(decompress(found))
    try:
        inspect(target, "amd64")
    except UnfitKernel as error:
        target.unlink()
        return {"why_not": str(error).replace(f"{target} is", "what is in it is")}
    return {}


def decompress(content: bytes) -> bytes:
    """Decompress what a kernel's build has compressed, and put the size behind.

    Raises:
        UnfitKernel: it is damaged, or nothing here understands it.
    """
    (size,) = struct.unpack_from("<I", content, len(content) - 4)
    data = content[:-4]
    method = next((one for magic, one in _METHODS.items() if data.startswith(magic)), None)
    if method is None:
        raise UnfitKernel(f"nothing here understands its compression, which begins with {data[:4].hex()}")
    if size > _SIZE_MAX:
        raise UnfitKernel(f"it would have {size} bytes unpacked")
    try:
        unpacked_content = method(data, size)
    except (ValueError, OSError, EOFError, lzma.LZMAError, zlib.error, struct.error) as error:
        raise UnfitKernel(f"it cannot be decompressed: {error}") from error
    if len(unpacked_content) != size:
        raise UnfitKernel(f"it has {len(unpacked_content)} bytes unpacked, and says that it has {size}")
    return unpacked_content


def _gunzip(data: bytes, _size: int) -> bytes:
    return zlib.decompressobj(wbits=31).decompress(data)


def _unxz(data: bytes, _size: int) -> bytes:
    return lzma.LZMADecompressor().decompress(data)


def _bunzip2(data: bytes, _size: int) -> bytes:
    return bz2.BZ2Decompressor().decompress(data)


def _unzstd(data: bytes, size: int) -> bytes:
    library = ctypes.CDLL(_ZSTD)
    library.ZSTD_decompress.restype = ctypes.c_size_t
    library.ZSTD_getErrorName.restype = ctypes.c_char_p
    buffer = ctypes.create_string_buffer(size)
    written = ctypes.c_size_t(library.ZSTD_decompress(buffer, ctypes.c_size_t(size), data, ctypes.c_size_t(len(data))))
    if library.ZSTD_isError(written):
        raise ValueError(library.ZSTD_getErrorName(written).decode())
    return bytes(memoryview(buffer)[: written.value])


def _unlz4(data: bytes, _size: int) -> bytes:
    library = ctypes.CDLL(_LZ4)
    buffer = ctypes.create_string_buffer(_LZ4_BLOCK_SIZE)
    parts = []
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        at += 4
        if size == _LZ4_MAGIC:  # before the first block; and again, where somebody put several archives together
            continue
        block = data[at : at + size]
        written = library.LZ4_decompress_safe(block, buffer, len(block), len(buffer))
        if written < 0:
            raise ValueError(f"its block at byte {at} is damaged")
        parts.append(bytes(memoryview(buffer)[:written]))
        at += size
    return b"".join(parts)


# By the first bytes. Source: lib/decompress.c.
_METHODS: Mapping[bytes, Callable[[bytes, int], bytes]] = {
    b"\x1f\x8b": _gunzip,
    b"BZh": _bunzip2,
    b"\xfd7zXZ": _unxz,
    b"\x5d\x00\x00": _unxz,  # LZMA alone
    b"\x02\x21\x4c\x18": _unlz4,
    b"\x28\xb5\x2f\xfd": _unzstd,
}
