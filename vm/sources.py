"""Where this machine gets Debian from, and which keys it trusts for that: read from its own apt configuration.

No address is written in this program. The archive is the one the machine's administrator chose, or the one the user
names; and nothing is ever trusted that is not signed by a key the machine already has.
"""

import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from debian.deb822 import Deb822

from vm.errors import FetchError

# Names every Debian archive has beside its code names.
_ALIASES = frozenset({"stable", "testing", "unstable", "sid", "experimental", "oldstable", "oldoldstable"})
_SECURITY = ("-security", "/updates")
_SUFFIXES = ("-security", "/updates", "-updates", "-backports", "-proposed-updates")
_KEYRINGS = ("debian-archive-keyring.gpg", "debian-archive-keyring.pgp")


@dataclass(frozen=True, slots=True)
class Archive:
    """One archive: its address and what its signatures are checked with."""

    uri: str
    # The value of Signed-By: a keyring's path, fingerprints, or a key; None: the keys in apt's trusted.gpg.d.
    signed_by: str | None


@dataclass(frozen=True, slots=True)
class Sources:
    """The Debian archive and its security archive."""

    main: Archive
    security: Archive

    def of(self, suite: str) -> Archive:
        """Find the archive that holds a suite."""
        return self.security if suite.endswith(_SECURITY) else self.main


@dataclass(frozen=True, slots=True)
class _Entry:
    """One address of one entry of the machine's configuration."""

    uri: str
    suites: tuple[str, ...]
    signed_by: str | None


def find_sources(
    mirror: str | None,
    suites: Iterable[str],
    *,
    configuration: tuple[Path, Path] | None = None,
    keyrings: Path = Path("/usr/share/keyrings"),
) -> Sources:
    """Find the Debian archives to use.

    Args:
        mirror: the user's choice, `URI` or `URI SECURITY_URI`; None for the machine's.
        suites: Debian's code names, by which an entry of the machine's configuration is known to be Debian's.
        configuration: sources.list and sources.list.d, instead of where apt says they are.
        keyrings: where keyring packages put their keys.

    Raises:
        FetchError: neither the user nor the machine names a Debian archive.
    """
    known = {_base(suite) for suite in suites} | _ALIASES
    entries = [entry for entry in _entries(*(configuration or _apt_paths())) if _is_debian(entry, known)]
    main = next((entry for entry in entries if not all(suite.endswith(_SECURITY) for suite in entry.suites)), None)
    security = next((entry for entry in entries if any(suite.endswith(_SECURITY) for suite in entry.suites)), None)
    packaged = next((str(keyrings / name) for name in _KEYRINGS if (keyrings / name).is_file()), None)
    if mirror is not None:
        uri, _, security_uri = mirror.partition(" ")
        signed_by = main.signed_by if main is not None else packaged
        return Sources(Archive(uri, signed_by), Archive(security_uri or _beside(uri), signed_by))
    if main is None:
        raise FetchError(
            "this machine's apt configuration names no Debian archive; give one with --mirror or URING_MATRIX_MIRROR "
            "(the address as it would stand in sources.list, ending in /debian), and install the package "
            "debian-archive-keyring so that its signatures can be checked"
        )
    if security is None:
        return Sources(Archive(main.uri, main.signed_by), Archive(_beside(main.uri), main.signed_by))
    return Sources(Archive(main.uri, main.signed_by), Archive(security.uri, security.signed_by))


def without_credentials(uri: str) -> str:
    """Drop user and password from an address that is going to be shown."""
    return re.sub(r"(?<=://)[^/@]*@", "", uri)


def _base(suite: str) -> str:
    for suffix in _SUFFIXES:
        suite = suite.removesuffix(suffix)
    return suite


def _beside(uri: str) -> str:
    """Guess the security archive's address: beside the main one, on every ordinary mirror."""
    return f"{uri.rstrip('/')}-security"


def _is_debian(entry: _Entry, known: set[str]) -> bool:
    if entry.uri.startswith("cdrom:"):
        return False
    if any(_base(suite) in known for suite in entry.suites):
        return True
    # A suite younger than our data, from an archive that is Debian's by its name or by its key.
    last = urlsplit(entry.uri).path.rstrip("/").rpartition("/")[2]
    return last in {"debian", "debian-security"} or "debian-archive-keyring" in (entry.signed_by or "")


def _apt_paths() -> tuple[Path, Path]:
    """Ask apt where its sources are."""
    try:
        answer = subprocess.run(
            ["apt-config", "shell", "LIST", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise FetchError(
            "apt is not to be had on this machine, and packages come through it; run on a Debian or Ubuntu system, "
            "or name kernels by path and install QEMU with the system's package manager"
        ) from error
    found = dict(word.partition("=")[::2] for word in shlex.split(answer))
    return Path(found.get("LIST", "/etc/apt/sources.list")), Path(found.get("PARTS", "/etc/apt/sources.list.d"))


def _entries(sourcelist: Path, sourceparts: Path) -> Iterator[_Entry]:
    """Read every enabled binary entry, in apt's order."""
    files = [sourcelist]
    if sourceparts.is_dir():
        files += sorted(path for path in sourceparts.iterdir() if path.suffix in {".list", ".sources"})
    for path in files:
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue  # absent, or not for our eyes; apt skips it as well
        yield from _deb822_entries(text) if path.suffix == ".sources" else _one_line_entries(text)


def _deb822_entries(text: str) -> Iterator[_Entry]:
    for stanza in Deb822.iter_paragraphs(text, use_apt_pkg=False):
        enabled = stanza.get("Enabled", "yes").strip().lower() not in {"no", "false", "0", "off"}
        if not enabled or "deb" not in stanza.get("Types", "").split():
            continue
        for uri in stanza.get("URIs", "").split():
            yield _Entry(uri.rstrip("/"), tuple(stanza.get("Suites", "").split()), stanza.get("Signed-By"))


def _one_line_entries(text: str) -> Iterator[_Entry]:
    for line in text.splitlines():
        kind, _, rest = line.partition("#")[0].strip().partition(" ")
        if kind != "deb":
            continue
        options, rest = "", rest.strip()
        if rest.startswith("["):
            options, _, rest = rest[1:].partition("]")
        words = rest.split()
        if len(words) >= 2:
            settings = dict(option.partition("=")[::2] for option in options.split())
            signed_by = settings.get("signed-by")
            yield _Entry(words[0].rstrip("/"), (words[1],), signed_by.replace(",", " ") if signed_by else None)
