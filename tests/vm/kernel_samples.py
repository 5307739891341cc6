"""Files that look like kernels from outside, and configurations that would do."""

import struct

from vm.kernelimage import _NEEDS_OF, NEEDS


def bzimage(release: str = "6.1.0-1-cloud-amd64", *, is_64_bit: bool = True, size_bytes: int = 40_000) -> bytes:
    """An x86 image whose header is right, with nothing in it."""
    content = bytearray(size_bytes)
    text = f"{release} (builder@host) #1 SMP".encode() + b"\0"
    content[0x1F1] = 3
    struct.pack_into("<I", content, 0x1F4, (size_bytes - 4 * 512) // 16)
    content[0x1FE:0x200] = b"\x55\xaa"
    content[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", content, 0x206, 0x20F)
    struct.pack_into("<H", content, 0x20E, 0x400 - 0x200)
    struct.pack_into("<H", content, 0x236, int(is_64_bit))
    content[0x400 : 0x400 + len(text)] = text
    return bytes(content)


def arm64_image(size_bytes: int = 40_000) -> bytes:
    """An arm64 image whose header is right."""
    content = bytearray(size_bytes)
    struct.pack_into("<Q", content, 0x10, size_bytes)
    content[0x38:0x3C] = b"ARM\x64"
    banner = b"Linux version 6.1.0-1-arm64 (builder@host)"
    content[0x100 : 0x100 + len(banner)] = banner
    return bytes(content)


def vmlinux(
    machine: int = 62, *, has_pvh: bool = True, banner: bytes = b"Linux version 6.1.0-own (me@host) #1"
) -> bytes:
    """An uncompressed kernel: an ELF file with a banner and, if it is to be started directly, a note."""
    header = bytearray(64)
    header[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<H", header, 18, machine)
    note = struct.pack("<III", 4, 8, 18) + b"Xen\0" + bytes(8) if has_pvh else b""
    return bytes(header) + note + banner + b"\0"


def config(**changes: str | None) -> str:
    """A configuration that has all the suite needs, with some options changed or (None) left out."""
    options: dict[str, str | None] = {need.option: "y" for need in (*NEEDS, *_NEEDS_OF["amd64"])}
    options |= {"CONFIG_BLK_DEV_LOOP": "m", "CONFIG_BLK_DEV_NVME": "y", "CONFIG_LOCALVERSION": '"-own"'} | changes
    lines = [f"{name}={value}" if value is not None else f"# {name} is not set" for name, value in options.items()]
    return "\n".join(["# Linux/x86 6.1 Kernel Configuration", *lines]) + "\n"


def module(depends: str = "") -> bytes:
    """A kernel module's part that says what it depends on."""
    return b"\x7fELF\0license=GPL\0depends=" + depends.encode() + b"\0vermagic=6.1\0"
