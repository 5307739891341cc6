"""What a kernel image and a kernel configuration say about themselves, without booting anything."""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vm.errors import UnfitKernel
from vm.kernel import Kernel

# Offsets in the x86 boot protocol's header (Documentation/arch/x86/boot.rst).
_SETUP_SECTORS, _SYSTEM_SIZE, _BOOT_FLAG, _MAGIC, _VERSION = 0x1F1, 0x1F4, 0x1FE, 0x202, 0x206
_KERNEL_VERSION, _LOAD_FLAGS = 0x20E, 0x236
_PAYLOAD_OFFSET, _PAYLOAD_LENGTH = 0x248, 0x24C
_SECTOR_SIZE, _PARAGRAPH_SIZE = 512, 16
_KERNEL_64 = 1
_VERSION_WITH_PAYLOAD = 0x208
_ELF_MAGIC = b"\x7fELF"
_MACHINES = {3: "i386", 40: "armhf", 62: "amd64", 183: "arm64", 243: "riscv64", 258: "loong64"}
# How an x86 vmlinux says that it can be started without a boot loader: XEN_ELFNOTE_PHYS32_ENTRY.
_PVH_NOTE = struct.pack("<I", 18) + b"Xen\0"
_BANNER = re.compile(rb"Linux version (\d+\.\d+\S*) \(")


@dataclass(frozen=True, slots=True)
class Image:
    """An image that can be booted."""

    # "bzImage", "vmlinux", "Image", "zboot", "Image.gz"
    format: str
    # Debian's name of the architecture.
    arch: str
    # `uname -r`; empty when the image does not tell without being unpacked.
    release: str


@dataclass(frozen=True, slots=True)
class Need:
    """An option of the kernel's configuration that the suite cannot do without."""

    option: str
    # What is not possible without it; ends a sentence.
    purpose: str


# Modules cannot help with any of these: they are used before a module could be loaded, or to load one.
NEEDS = (
    Need("CONFIG_IO_URING", "io_uring itself, which is what would be tested"),
    Need("CONFIG_BLK_DEV_INITRD", "an initramfs, from which the guest runs"),
    Need("CONFIG_BINFMT_ELF", "programs"),
    Need("CONFIG_BINFMT_SCRIPT", "the guest's init, which is a script"),
    Need("CONFIG_TTY", "terminals, serial ports among them"),
    Need("CONFIG_PROC_FS", "/proc"),
    Need("CONFIG_SYSFS", "/sys"),
    Need("CONFIG_TMPFS", "the guest's scratch space"),
    Need("CONFIG_DEVTMPFS", "/dev"),
    Need("CONFIG_NET", "sockets"),
    Need("CONFIG_INET", "the loopback network"),
    Need("CONFIG_UNIX", "socket pairs"),
    Need("CONFIG_FUTEX", "Python's locks"),
    Need("CONFIG_EPOLL", "Python's event loops"),
)
_NEEDS_OF = {
    "amd64": (
        Need("CONFIG_64BIT", "64-bit programs"),
        Need("CONFIG_SERIAL_8250", "the serial ports through which results come out"),
        Need("CONFIG_SERIAL_8250_CONSOLE", "a serial console, on which a crash could be seen"),
    ),
    "arm64": (
        Need("CONFIG_SERIAL_AMBA_PL011", "the serial port through which results come out"),
        Need("CONFIG_SERIAL_AMBA_PL011_CONSOLE", "a serial console, on which a crash could be seen"),
    ),
}


def inspect(path: Path, arch: str) -> Image:
    """Find out what sort of image a file is, and whether it is whole.

    Args:
        path: the file.
        arch: the guest's architecture, by Debian's name.

    Raises:
        UnfitKernel: it is no kernel, is truncated, or is for another machine.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnfitKernel(f"{path} cannot be read ({error.strerror}); give the path of a kernel image") from error
    image = _recognize(path, content)
    if image is None:
        raise UnfitKernel(f"{path} is not a kernel image ({_describe(content)}); a bzImage, vmlinuz or Image is needed")
    if image.arch != arch:
        raise UnfitKernel(f"{path} is a kernel for {image.arch}, and the guest is {arch}; say --arch {image.arch}")
    return image


def is_elf(path: Path) -> bool:
    """Whether an image is an ELF file, which QEMU starts at its PVH entry; false of one that cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(4) == _ELF_MAGIC
    except OSError:
        return False


def compressed_kernel(content: bytes) -> bytes | None:
    """What a bzImage decompresses when it is booted, with its size unpacked in the last four bytes.

    None for what is no bzImage, or one from before Linux 2.6.26, which does not tell.
    """
    if not _is_bzimage(content) or struct.unpack_from("<H", content, _VERSION)[0] < _VERSION_WITH_PAYLOAD:
        return None
    offset, size = struct.unpack_from("<II", content, _PAYLOAD_OFFSET)
    begin = _setup_size(content) + offset
    return content[begin : begin + size] if 4 <= size <= len(content) - begin else None


def read_config(text: str) -> dict[str, str]:
    """Read a kernel's .config; options that are not set are not in the result."""
    found = {}
    for line in text.splitlines():
        name, separator, value = line.partition("=")
        if separator and name.startswith("CONFIG_"):
            found[name] = value[1:-1] if value.startswith('"') else value
    return found


def lacks(config: Mapping[str, str], arch: str) -> list[Need]:
    """List what a configuration would have to have; nothing is said about one that is unknown."""
    if not config:
        return []
    missing = [need for need in (*NEEDS, *_NEEDS_OF.get(arch, ())) if config.get(need.option) != "y"]
    ports = config.get("CONFIG_SERIAL_8250_RUNTIME_UARTS", "2")
    if arch == "amd64" and not missing and ports.isdigit() and int(ports) < 2:
        missing.append(
            Need("CONFIG_SERIAL_8250_RUNTIME_UARTS=2", "a second serial port, through which results come out")
        )
    return missing


def check_fit(kernel: Kernel) -> None:
    """Say before a boot what would make it hang.

    Raises:
        UnfitKernel: the configuration lacks something the suite needs.
    """
    missing = lacks(kernel.config, kernel.ref.arch)
    if missing:
        listing = ", ".join(f"{need.option} ({need.purpose})" for need in missing)
        raise UnfitKernel(
            f"the kernel {kernel.ref.id} ({kernel.release}) cannot run the suite: it was configured without "
            f"{listing}; build it with that set to y"
        )


def _recognize(path: Path, content: bytes) -> Image | None:
    if _is_bzimage(content):
        return _bzimage(path, content)
    if content[:4] == _ELF_MAGIC:
        return _vmlinux(path, content)
    if content[0x38:0x3C] == b"ARM\x64":
        (size,) = struct.unpack_from("<Q", content, 0x10)
        # The size counts the memory for uninitialized data as well, so that only much too short a file is surely cut.
        if len(content) < size // 4:
            raise UnfitKernel(f"{path} breaks off in the middle; copy or build it again")
        return Image("Image", "arm64", _banner(content))
    if content[:2] == b"MZ" and content[4:8] == b"zimg":
        return Image("zboot", "arm64", "")
    if content[:2] == b"\x1f\x8b":
        return Image("Image.gz", "arm64", "")
    return None


def _is_bzimage(content: bytes) -> bool:
    return content[_MAGIC : _MAGIC + 4] == b"HdrS" and content[_BOOT_FLAG : _BOOT_FLAG + 2] == b"\x55\xaa"


def _setup_size(content: bytes) -> int:
    """The bytes of a bzImage that run in real mode, before all else."""
    return ((content[_SETUP_SECTORS] or 4) + 1) * _SECTOR_SIZE


def _bzimage(path: Path, content: bytes) -> Image:
    (system_size,) = struct.unpack_from("<I", content, _SYSTEM_SIZE)
    whole_bytes = _setup_size(content) + system_size * _PARAGRAPH_SIZE
    if len(content) < whole_bytes:
        raise UnfitKernel(
            f"{path} breaks off in the middle: it has {len(content)} bytes and its header says {whole_bytes}; "
            "copy or build it again"
        )
    (version,) = struct.unpack_from("<H", content, _VERSION)
    (load_flags,) = struct.unpack_from("<H", content, _LOAD_FLAGS)
    is_64_bit = version >= 0x20C and load_flags & _KERNEL_64
    (pointer,) = struct.unpack_from("<H", content, _KERNEL_VERSION)
    start = pointer + _SECTOR_SIZE
    text = content[start : content.find(b"\0", start, start + 512)] if pointer else b""
    return Image("bzImage", "amd64" if is_64_bit else "i386", text.decode(errors="replace").partition(" ")[0])


def _vmlinux(path: Path, content: bytes) -> Image:
    if len(content) < 64 or content[4] != 2:
        raise UnfitKernel(f"{path} is a 32-bit or broken ELF file, not a kernel this program can boot")
    (machine,) = struct.unpack_from("<H", content, 18)
    arch = _MACHINES.get(machine, f"machine type {machine}")
    release = _banner(content)
    if not release:
        raise UnfitKernel(f"{path} is an ELF file for {arch}, but not a kernel; a bzImage, vmlinuz or Image is needed")
    if arch == "amd64" and _PVH_NOTE not in content:
        raise UnfitKernel(
            f"{path} is a vmlinux without CONFIG_PVH, which QEMU cannot start; give the bzImage of the same build"
        )
    (section_offset,) = struct.unpack_from("<Q", content, 40)
    entry_size, count = struct.unpack_from("<HH", content, 58)
    if section_offset + entry_size * count > len(content):
        raise UnfitKernel(f"{path} breaks off in the middle; copy or build it again")
    return Image("vmlinux", arch, release)


def _banner(content: bytes) -> str:
    match = _BANNER.search(content)
    return match[1].decode(errors="replace") if match else ""


def _describe(content: bytes) -> str:
    """Say what a file is that is not a kernel, for the sentence about it."""
    if not content:
        return "it is empty"
    if content.startswith(b"!<arch>\ndebian"):
        return "it is a Debian package; its name has to end in .deb"
    if content.startswith((b"\x28\xb5\x2f\xfd", b"\xfd7zXZ")):
        return "it is a compressed file; unpack it first"
    if len(content) < _MAGIC + 4:
        return f"it has {len(content)} bytes"
    if not content.strip(b"\0"):
        return "it holds nothing but zeros"
    return "it lacks the magic number at its beginning"
