"""cpio archives, read back by the system's own cpio where there is one, and field by field where there is not."""

import io
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from vm import cpio

ENTRIES = [
    cpio.directory("etc"),
    cpio.Entry("etc/motd", 0o100640, b"hello\n", modified_s=1_700_000_000),
    cpio.symlink("etc/link", "motd"),
    cpio.character_device("console", 5, 1),
]


def written(entries: list[cpio.Entry]) -> bytes:
    file = io.BytesIO()
    cpio.write_cpio(file, entries)
    return file.getvalue()


def fields(archive: bytes, offset: int) -> list[int]:
    return [int(archive[offset + 6 + 8 * index : offset + 14 + 8 * index], 16) for index in range(13)]


def test_the_first_header_is_newc() -> None:
    archive = written(ENTRIES)
    assert archive[:6] == b"070701"
    inode, mode, uid, gid, links, modified, size, *_ = fields(archive, 0)
    assert (inode, mode, uid, gid, links, modified, size) == (1, 0o40755, 0, 0, 2, 0, 0)


def test_a_device_node_has_its_numbers() -> None:
    archive = written([ENTRIES[3]])
    *_, major, minor, name_size, checksum = fields(archive, 0)
    assert (major, minor, name_size, checksum) == (5, 1, len("console") + 1, 0)


def test_the_same_entries_give_the_same_bytes_padded_for_a_follower() -> None:
    archive = written(ENTRIES)
    assert archive == written(ENTRIES)
    assert len(archive) % 512 == 0
    assert b"TRAILER!!!" in archive


@pytest.mark.skipif(shutil.which("cpio") is None, reason="no cpio program to read the archive with")
def test_the_systems_cpio_reads_it_back(tmp_path: Path) -> None:
    subprocess.run(
        ["cpio", "-idm", "--quiet", "etc", "etc/*"],
        input=written(ENTRIES),
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    assert (tmp_path / "etc/motd").read_bytes() == b"hello\n"
    assert (tmp_path / "etc/motd").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "etc/motd").stat().st_mtime == 1_700_000_000
    assert (tmp_path / "etc/link").readlink() == Path("motd")


def test_names_and_links_are_of_any_bytes() -> None:
    name, target = os.fsdecode(b"a \xff[b]\n"), os.fsdecode(b"\xfe/c")
    archive = written([cpio.Entry(name, 0o100644, b"x"), cpio.symlink("link", target)])
    assert b"a \xff[b]\n\0" in archive
    assert b"link\0" in archive
    assert b"\xfe/c" in archive


@pytest.mark.parametrize(("modified_s", "kept"), [(-1, 0), (1 << 40, 0xFFFFFFFF)])
def test_a_time_that_no_header_can_hold_damages_nothing(modified_s: int, kept: int) -> None:
    archive = written([cpio.Entry("old", 0o100644, b"x", modified_s=modified_s)])
    assert fields(archive, 0)[5] == kept
    assert archive[110:114] == b"old\0"


def test_entries_are_taken_one_by_one() -> None:
    """An archive may be larger than what fits into memory."""
    file = io.BytesIO()

    def entries() -> Iterator[cpio.Entry]:
        for number in range(3):
            sizes.append(len(file.getvalue()))
            yield cpio.Entry(f"{number}", 0o100644, b"x" * 512)

    sizes: list[int] = []
    cpio.write_cpio(file, entries())
    assert sizes == sorted(set(sizes))
