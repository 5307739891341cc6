"""Where Debian comes from: the machine's own apt configuration in all its forms, or the user's word."""

from pathlib import Path

import pytest

from vm.errors import FetchError
from vm.sources import Archive, Sources, find_sources, without_credentials

SUITES = ("bullseye", "bookworm", "bookworm-security", "sid")

MODERN = """
# a comment
Types: deb deb-src
# another one
URIs: http://mirror.invalid/debian/
Suites: bookworm bookworm-updates
Components: main
Signed-By: /keys/main.gpg

Types: deb
URIs: http://mirror.invalid/security
Suites: bookworm-security
Components: main
Signed-By: /keys/security.gpg
"""
CLASSIC = """
# deb http://commented.invalid/debian bookworm main
deb-src http://source.invalid/debian bookworm main
deb cdrom:[Debian]/ bookworm main
deb [arch=amd64 signed-by=/keys/a.gpg,/keys/b.gpg] http://mirror.invalid/debian bookworm main contrib # why not
deb http://mirror.invalid/security bookworm-security main
"""


def find(directory: Path, files: dict[str, str], mirror: str | None = None, keyring: str | None = None) -> Sources:
    parts, keyrings = directory / "sources.list.d", directory / "keyrings"
    parts.mkdir()
    keyrings.mkdir()
    for name, text in files.items():
        (directory / name).write_text(text)
    if keyring:
        (keyrings / keyring).write_bytes(b"key")
    return find_sources(mirror, SUITES, configuration=(directory / "sources.list", parts), keyrings=keyrings)


def test_the_modern_form_is_read(tmp_path: Path) -> None:
    sources = find(tmp_path, {"sources.list.d/debian.sources": MODERN})
    assert sources.main == Archive("http://mirror.invalid/debian", "/keys/main.gpg")
    assert sources.security == Archive("http://mirror.invalid/security", "/keys/security.gpg")
    assert sources.of("bullseye-security") == sources.security
    assert sources.of("bookworm-backports") == sources.main


def test_the_classic_form_is_read(tmp_path: Path) -> None:
    sources = find(tmp_path, {"sources.list": CLASSIC})
    assert sources.main == Archive("http://mirror.invalid/debian", "/keys/a.gpg /keys/b.gpg")
    assert sources.security == Archive("http://mirror.invalid/security", None)


def test_a_key_within_the_entry_is_kept_as_it_is(tmp_path: Path) -> None:
    key = "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----"
    text = f"Types: deb\nURIs: http://a.invalid/debian\nSuites: sid\nComponents: main\nSigned-By:{key}\n"
    assert find(tmp_path, {"sources.list.d/a.sources": text}).main.signed_by == key


def test_other_archives_are_not_taken_for_debian(tmp_path: Path) -> None:
    others = "deb http://other.invalid/node nodistro main\ndeb http://other.invalid/ubuntu noble main\n"
    off = "Enabled: no\nTypes: deb\nURIs: http://off.invalid/debian\nSuites: bookworm\nComponents: main\n"
    with pytest.raises(FetchError, match=r"names no Debian archive; give one with --mirror"):
        find(tmp_path, {"sources.list": others, "sources.list.d/off.sources": off})


def test_a_suite_younger_than_our_data_is_known_by_the_archives_name(tmp_path: Path) -> None:
    assert (
        find(tmp_path, {"sources.list": "deb http://a.invalid/debian future main\n"}).main.uri
        == "http://a.invalid/debian"
    )


def test_without_a_security_entry_the_one_beside_the_archive_is_used(tmp_path: Path) -> None:
    sources = find(tmp_path, {"sources.list": "deb http://a.invalid/debian bookworm main\n"})
    assert sources.security == Archive("http://a.invalid/debian-security", None)


@pytest.mark.parametrize(
    ("mirror", "security"),
    [
        ("http://m.invalid/debian", "http://m.invalid/debian-security"),
        ("http://m.invalid/debian http://s.invalid/x", "http://s.invalid/x"),
    ],
)
def test_the_users_mirror_is_checked_with_the_machines_keys(mirror: str, security: str, tmp_path: Path) -> None:
    sources = find(tmp_path, {"sources.list.d/debian.sources": MODERN}, mirror)
    assert sources == Sources(Archive("http://m.invalid/debian", "/keys/main.gpg"), Archive(security, "/keys/main.gpg"))


@pytest.mark.parametrize("name", ["debian-archive-keyring.gpg", "debian-archive-keyring.pgp"])
def test_where_debian_is_foreign_its_packaged_keyring_is_used(name: str, tmp_path: Path) -> None:
    sources = find(
        tmp_path, {"sources.list": "deb http://u.invalid/ubuntu noble main\n"}, "http://m.invalid/debian", name
    )
    assert sources.main.signed_by == str(tmp_path / "keyrings" / name)


def test_credentials_are_not_shown() -> None:
    assert without_credentials("http://user:secret@mirror.invalid/debian") == "http://mirror.invalid/debian"
    assert without_credentials("file:/srv/debian") == "file:/srv/debian"
