"""A Debian archive with two kernel series, of which apt is told through its environment: to test whole commands."""

import contextlib
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from tree import ROOT

sys.path.append(str(ROOT / "tests" / "vm"))

from fake_archive import FakeArchive, serve
from fake_guest import add_guest, add_qemu

RELEASES = {"6.1": "6.1.0-9-cloud-amd64", "6.12": "6.12.1-3-cloud-amd64"}
_SUITES = {"6.1": "bookworm", "6.12": "trixie"}


def bzimage(release: str) -> bytes:
    """Make the header of an x86 kernel, and nothing it could boot."""
    content = bytearray(1024 + 256)
    content[0x1F1] = 1
    struct.pack_into("<I", content, 0x1F4, 256 // 16)
    content[0x1FE:0x200] = b"\x55\xaa"
    content[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", content, 0x206, 0x20F)
    struct.pack_into("<H", content, 0x20E, 0x100)
    struct.pack_into("<H", content, 0x236, 1)
    text = f"{release} (builder)".encode() + b"\0"
    content[0x300 : 0x300 + len(text)] = text
    return bytes(content)


def add_what_guests_need(archive: FakeArchive) -> None:
    """Add a guest image's packages and a QEMU, in which every program is a script."""
    add_guest(archive, _SUITES["6.12"])
    add_qemu(archive, suite=_SUITES["6.12"])
    archive.publish()


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[FakeArchive]:
    """Serve the archive. In the directory are then sources.list and apt.conf, which APT_CONFIG is to name."""
    fake = FakeArchive(directory / "archive")
    for series, release in RELEASES.items():
        files = {f"boot/vmlinuz-{release}": bzimage(release)}
        fake.add(_SUITES[series], f"linux-image-{release}", f"{series}.1-1", files)
    fake.publish()
    server = serve(fake)
    sources = directory / "sources.list"
    # The guest image's suite among them, although there is nothing for it.
    entry = f"deb [signed-by={fake.key}] {fake.address}"
    sources.write_text("".join(f"{entry} {suite} main\n" for suite in _SUITES.values()))
    (directory / "apt.conf").write_text(f'Dir::Etc::SourceList "{sources}";\nDir::Etc::SourceParts "/dev/null";\n')
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
