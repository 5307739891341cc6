"""Unpacking packages: what is wanted, where it belongs, and nothing that leads elsewhere."""

import gzip
import lzma
import shutil
import subprocess
from pathlib import Path

import pytest
from fake_archive import FakeArchive, ar_archive, deb, tar_archive

from vm import archives
from vm.archives import ArchiveError, control, decompress, extract, members

CONTROL = "Package: linux-image-6.1\nVersion: 6.1-1\nArchitecture: amd64\nDescription: one\n more lines: of it\n"
FILES: dict[str, bytes | str] = {
    "lib/modules/6.1/loop.ko": b"module",
    "usr/share/doc/readme": b"text",
    "lib64/ld.so": "/lib/ld.so",
    "boot/vmlinuz-6.1": b"image" * 1000,
}


@pytest.fixture(params=["dpkg-deb", "python"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of reading a package; machines without dpkg-deb use the second."""
    name: str = request.param
    if name == "python":
        monkeypatch.setattr(archives.shutil, "which", lambda _program: None)
    elif shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not there to be tested")
    return name


def package(directory: Path, files: dict[str, bytes | str] | None = None) -> Path:
    path = directory / "package.deb"
    path.write_bytes(deb(CONTROL, files or FILES))
    return path


@pytest.mark.usefixtures("reader")
def test_names_are_those_of_a_merged_system(tmp_path: Path) -> None:
    names = [member.name for member in members(package(tmp_path)) if not member.info.isdir()]
    assert names == ["usr/lib/modules/6.1/loop.ko", "usr/share/doc/readme", "usr/lib64/ld.so", "boot/vmlinuz-6.1"]


@pytest.mark.usefixtures("reader")
def test_only_what_is_wanted_is_unpacked(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    names = extract(package(tmp_path), root, lambda name: "doc" not in name)
    assert names == ["usr/lib/modules/6.1/loop.ko", "usr/lib64/ld.so", "boot/vmlinuz-6.1"]
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()) == sorted(names)
    assert (root / "usr/lib/modules/6.1/loop.ko").read_bytes() == b"module"
    assert (root / "usr/lib64/ld.so").readlink() == Path("/lib/ld.so")


@pytest.mark.usefixtures("reader")
def test_reading_may_stop_early(tmp_path: Path) -> None:
    big = package(tmp_path, {"first": b"1", "second": bytes(range(256)) * 100_000})
    reader = members(big)
    assert next(reader).read() == b"1"
    reader.close()


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "usr/../../outside"])
def test_a_name_that_leads_outside_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "package.deb"
    members_ = {"debian-binary": b"2.0\n", "control.tar.gz": gzip.compress(tar_archive({"control": CONTROL.encode()}))}
    path.write_bytes(ar_archive({**members_, "data.tar.xz": lzma.compress(tar_archive({name: b"x"}))}))
    (tmp_path / "root").mkdir()
    with pytest.raises(ArchiveError, match="leads outside"):
        extract(path, tmp_path / "root", lambda _name: True)
    assert not (tmp_path / "outside").exists()


@pytest.mark.usefixtures("reader")
def test_nothing_is_unpacked_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    path = package(tmp_path, {"usr/trap": str(tmp_path / "outside"), "usr/trap/file": b"x"})
    with pytest.raises(ArchiveError, match="through the link usr/trap"):
        extract(path, tmp_path / "root", lambda _name: True)
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_a_truncated_package_is_an_error_that_says_so(share: float, tmp_path: Path) -> None:
    path = package(tmp_path, {"boot/vmlinuz": bytes(range(256)) * 5000})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    (tmp_path / "root").mkdir()
    with pytest.raises(ArchiveError, match=r"damaged|not a Debian package"):
        extract(path, tmp_path / "root", lambda _name: True)


@pytest.mark.usefixtures("reader")
def test_damage_after_the_last_file_is_noticed(tmp_path: Path) -> None:
    path = package(tmp_path)
    content = bytearray(path.read_bytes())
    content[-12] ^= 1  # in the footer of the compressed stream
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="is damaged"):
        list(members(path))


@pytest.mark.usefixtures("reader")
def test_what_is_no_package_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "package.deb"
    path.write_bytes(b"<html>Please log in</html>" * 50)
    with pytest.raises(ArchiveError, match=r"package\.deb is"):
        list(members(path))


def test_control_fields_are_read_without_any_program(tmp_path: Path) -> None:
    fields = control(package(tmp_path))
    assert fields == {"Package": "linux-image-6.1", "Version": "6.1-1", "Architecture": "amd64", "Description": "one"}


@pytest.mark.parametrize(
    "content", [b"", b"not a package", b"!<arch>\n", b"!<arch>\n" + b"x" * 60, ar_archive({"a": b"b"})]
)
def test_a_package_without_control_fields_is_an_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "package.deb"
    path.write_bytes(content)
    with pytest.raises(ArchiveError):
        control(path)


@pytest.mark.parametrize("ending", ["", ".xz", ".gz", ".zst"])
def test_modules_are_decompressed_by_their_names(ending: str) -> None:
    if ending == ".zst" and shutil.which("zstd") is None:
        pytest.skip("the program zstd makes the sample")
    content = b"\x7fELF" + bytes(5000)
    packed = {
        "": lambda: content,
        ".xz": lambda: lzma.compress(content),
        ".gz": lambda: gzip.compress(content),
        ".zst": lambda: subprocess.run(["zstd", "-c"], input=content, capture_output=True, check=True).stdout,
    }[ending]()
    assert decompress(f"loop.ko{ending}", packed) == content


@pytest.mark.parametrize("ending", [".xz", ".gz"])
def test_a_damaged_module_is_an_error(ending: str) -> None:
    packed = lzma.compress(bytes(5000)) if ending == ".xz" else gzip.compress(bytes(5000))
    with pytest.raises(ArchiveError, match=rf"loop\.ko{ending} is damaged"):
        decompress(f"loop.ko{ending}", packed[:-10])


def test_zstd_without_the_means_to_read_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives.shutil, "which", lambda _program: None)

    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(archives.importlib, "import_module", missing)
    with pytest.raises(ArchiveError, match="install the program zstd"):
        decompress("loop.ko.zst", b"x")


def test_an_archive_of_a_test_is_signed_without_any_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    archive = FakeArchive(tmp_path / "archive")
    archive.add("trixie", "linux-image-6.12", "6.12.1-1")
    archive.publish()
    assert (
        b"-----BEGIN PGP SIGNED MESSAGE-----" == (archive.root / "dists/trixie/InRelease").read_bytes().split(b"\n")[0]
    )
