"""What the guest's side of the window writes is what the host put into the archive."""

import io
import os
import stat
from pathlib import Path

import pytest

from vm import cpio
from vm.guest import window

_NAMES = (b"with blank", b"test_f[y].py", b"new\nline", b"-dash", b"\xff\xfe", b"\xc3\xa4", b"TRAILER!!!")


def write(directory: Path, *entries: cpio.Entry) -> None:
    file = io.BytesIO()
    cpio.write_cpio(file, entries)
    window.write_all(file.getvalue(), str(directory))


@pytest.mark.parametrize("name", _NAMES, ids=repr)
def test_a_file_keeps_name_mode_time_and_content(tmp_path: Path, name: bytes) -> None:
    write(
        tmp_path,
        cpio.directory("work"),
        cpio.Entry(f"work/{os.fsdecode(name)}", 0o100750, b"#!", modified_s=1_000_000_000),
    )
    (path,) = (tmp_path / "work").iterdir()
    assert os.fsencode(path.name) == name
    assert path.read_bytes() == b"#!"
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_mtime) == (0o750, 1_000_000_000)


def test_links_stay_links_those_that_lead_nowhere_too(tmp_path: Path) -> None:
    write(tmp_path, cpio.symlink("here", "file"), cpio.symlink("gone", os.fsdecode(b"no/\xff")))
    assert (tmp_path / "here").readlink() == Path("file")
    assert os.fsencode((tmp_path / "gone").readlink()) == b"no/\xff"


def test_a_directory_may_be_empty_or_read_only(tmp_path: Path) -> None:
    try:
        write(
            tmp_path,
            cpio.directory("empty", 0o700),
            cpio.directory("full", 0o555),
            cpio.Entry("full/file", 0o100644, b"x"),
        )
        assert stat.S_IMODE((tmp_path / "empty").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "full").stat().st_mode) == 0o555
        assert (tmp_path / "full/file").read_bytes() == b"x"
    finally:
        (tmp_path / "full").chmod(0o755)


def test_pipes_and_sockets_are_there(tmp_path: Path) -> None:
    write(tmp_path, cpio.Entry("pipe", stat.S_IFIFO | 0o600), cpio.Entry("socket", stat.S_IFSOCK | 0o600))
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "socket").is_socket()


def test_it_writes_beside_what_is_there_and_through_no_link(tmp_path: Path) -> None:
    """A guest unpacks again for every process it starts; a test may have put a link where a file was."""
    (tmp_path / "outside").write_bytes(b"outside")
    (tmp_path / "file").symlink_to("outside")
    (tmp_path / "mine").write_bytes(b"mine")
    write(tmp_path, cpio.Entry("file", 0o100644, b"new"), cpio.symlink("mine", "file"))
    assert (tmp_path / "outside").read_bytes() == b"outside"
    assert (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / "mine").is_symlink()


@pytest.mark.parametrize("damage", ["header", "cut"])
def test_damage_is_named(tmp_path: Path, damage: str) -> None:
    file = io.BytesIO()
    cpio.write_cpio(file, [cpio.Entry("file", 0o100644, b"x" * 5000)])
    content = file.getvalue()
    content = content[:2000] if damage == "cut" else b"nonsense" + content
    with pytest.raises(window.WindowError, match="file is cut off" if damage == "cut" else "no archive header"):
        window.write_all(content, str(tmp_path))


def test_a_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(window.WindowError, match="of a kind"):
        write(tmp_path, cpio.character_device("null", 1, 3))
