"""What apt says and what an archive's files say, as data."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

_FIELDS = (b"Package", b"Version", b"Architecture", b"Depends", b"Filename", b"Size", b"Installed-Size", b"SHA256")
_SIGNATURE = re.compile(
    r"GPG error|OpenPGP|NO_PUBKEY|BADSIG|ERRSIG|EXPSIG|EXPKEYSIG|REVKEYSIG|KEYEXPIRED|NOSPLIT|NODATA|is not signed"
    r"|no longer signed|weak security|Missing key|Bad signature|sqv returned|gpgv returned"
)
_ABSENT = re.compile(r"\b(404|410) +[A-Z]|File not found")
_FULL = re.compile(r"No space left on device|enough free space|\(28: |\(122: ")


class Trouble(Enum):
    """What a message of apt is about; who has to act on it differs."""

    SIGNATURE = auto()
    ABSENT = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Package:
    """One version of a package, as a signed index describes it."""

    name: str
    version: str
    arch: str
    # Where the index was found that has it.
    suite: str
    size_bytes: int
    installed_bytes: int
    sha256: str
    # Where the archive's pool has it.
    filename: str
    depends: str = ""

    @property
    def exact(self) -> str:
        """Name this version the way apt wants it named."""
        return f"{self.name}={self.version}"

    @property
    def file(self) -> str:
        """The name of the downloaded file, as apt would choose it."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.arch}.deb"


def classify(text: str) -> Trouble:
    """Tell what a message is about; a signature outweighs everything else it may be about."""
    for trouble, pattern in ((Trouble.SIGNATURE, _SIGNATURE), (Trouble.ABSENT, _ABSENT)):
        if pattern.search(text):
            return trouble
    return Trouble.OTHER


def is_disk_full(text: str) -> bool:
    """Whether apt could not write something, whatever else it says came of that."""
    return _FULL.search(text) is not None


def failures(text: str, suites: Sequence[str]) -> dict[str, str]:
    """Collect what an update says against each suite.

    Args:
        text: everything apt-get wrote.
        suites: those that were asked for.

    Returns:
        Suite to what went wrong; a suite that is fine is not in it.
    """
    found: dict[str, list[str]] = {}
    lines = text.splitlines()
    for index, line in enumerate(lines):
        match = re.match(r"Err:\d+ \S+ (\S+)", line)
        if match:
            suite = next((s for s in suites if match[1] == s or match[1].startswith(f"{s}/")), None)
            details = []
            for detail in lines[index + 1 :]:
                if not detail.startswith("  "):
                    break
                details.append(detail.strip())
        elif line.startswith(("W: ", "E: ")):
            suite = next((s for s in suites if f" {s} " in line or f"/dists/{s}/" in line), None)
            details = [line[3:]]
        else:
            continue
        if suite is not None:
            found.setdefault(suite, []).extend(detail for detail in details if detail)
    return {suite: "; ".join(dict.fromkeys(details)) or "failed" for suite, details in found.items()}


def parse_package(stanza: bytes, suite: str) -> Package:
    """Read an index's stanza of one package."""
    fields: dict[bytes, str] = {}
    for line in stanza.split(b"\n"):
        name, separator, value = line.partition(b":")
        if separator and name in _FIELDS:
            fields[name] = value.strip().decode()
    return Package(
        name=fields[b"Package"],
        version=fields[b"Version"],
        arch=fields[b"Architecture"],
        suite=suite,
        size_bytes=int(fields[b"Size"]),
        installed_bytes=int(fields.get(b"Installed-Size", "0")) * 1024,
        sha256=fields[b"SHA256"],
        filename=fields[b"Filename"],
        depends=fields.get(b"Depends", ""),
    )


def hash_in_release(path: Path, arch: str) -> str | None:
    """Find the hash that a list's Release file gives for it; None when it gives none."""
    name = re.sub(rf"main_binary-{arch}_Packages.*", "InRelease", path.name)
    try:
        release = path.with_name(name).read_text(errors="replace")
    except OSError:
        return None
    match = re.search(rf"^ ([0-9a-f]{{64}}) +\d+ +\S*main/binary-{arch}/Packages$", release, re.MULTILINE)
    return match[1] if match else None
