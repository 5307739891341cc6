"""Packages that a guest image and a QEMU are made of, in which every program is a script: small, and quickly made."""

import sys

from fake_archive import FakeArchive

PROGRAM = """#!/bin/sh
for word; do
    case $word in
        --version) echo "QEMU emulator version {version} (Debian)"; exit {status};;
        -machine) echo "Supported machines are:"; echo "{machine}    Standard PC"; exit 0;;
        -accel) echo "Accelerators supported in QEMU binary:"; echo "{accel}"; exit 0;;
    esac
done
exit 1
"""
# A loader that is a script: it lists what the test says, and starts the program it is given.
LOADER = """#!/bin/sh
test "$1" = --inhibit-cache || exit 9
folder=$3
shift 3
if test "$1" = --list; then
    echo "        linux-vdso.so.1 (0x1)"
    echo "        libneeded.so.1 => $folder/libneeded.so.1 (0x2)"
    {more}
    exit 0
fi
exec "$@"
"""
LIBRARIES = "usr/lib/x86_64-linux-gnu"


def program(version: str = "10.0.2", machine: str = "pc", accel: str = "tcg", status: int = 0) -> bytes:
    return PROGRAM.format(version=version, machine=machine, accel=accel, status=status).encode()


def add_qemu(archive: FakeArchive, content: bytes = program(), more: str = "", suite: str = "new") -> None:
    archive.add(
        suite,
        "qemu-system-x86",
        "1:10.0.2-1",
        {"usr/bin/qemu-system-x86_64": content, "usr/bin/qemu-system-i386": b"not for us"},
        depends="libc6, qemu-system-data, seabios",
    )
    archive.add(
        suite,
        "libc6",
        "2.41-1",
        {
            f"{LIBRARIES}/ld-linux-x86-64.so.2": LOADER.replace("{more}", more or ":").encode(),
            "lib64/ld-linux-x86-64.so.2": "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
            f"{LIBRARIES}/libneeded.so.1": "libneeded.so.1.2",
            f"{LIBRARIES}/libneeded.so.1.2": b"library",
            f"{LIBRARIES}/libgcc_s.so.1": b"library",
            f"{LIBRARIES}/libother.so.1": b"library",
            f"{LIBRARIES}/qemu/accel-tcg-x86_64.so": b"module",
            f"{LIBRARIES}/qemu/ui-gtk.so": b"module",
        },
    )
    archive.add(
        suite,
        "qemu-system-data",
        "1:10.0.2-1",
        {"usr/share/qemu/linuxboot_dma.bin": b"firmware", "usr/share/qemu/keymaps/de": b"keys"},
        architecture="all",
    )
    archive.add(suite, "seabios", "1.16-1", {"usr/share/seabios/bios-256k.bin": b"firmware"}, architecture="all")


# The guest's loader starts what it is given; its Python is this machine's.
_GUEST_LOADER = b'#!/bin/sh\nshift 2\nexec "$@"\n'
_PYTHON = f'#!/bin/sh\nunset PYTHONHOME\nexec {sys.executable} "$@"\n'.encode()


def add_guest(archive: FakeArchive, suite: str, version: str = "3.13.1-1") -> None:
    """Add the packages of the guest image."""
    name = "python3.13"  # Debian's, whichever it really is
    archive.add(suite, "python3", version, depends=name)
    files = {
        f"usr/bin/{name}": _PYTHON,
        f"usr/lib/{name}/nothing.py": b"",
        "usr/lib64/ld-linux-x86-64.so.2": _GUEST_LOADER,
    }
    archive.add(suite, name, version, files)
    archive.add(suite, "busybox", "1.37-1", {"usr/bin/busybox": b"#!/bin/sh\necho bin/sh\n"})
    for other in ("e2fsprogs", "libc-bin", "netbase"):
        archive.add(suite, other, "1-1")
