"""Order kernel versions: series, releases and Debian package versions, compared without any tool."""

import re
from collections.abc import Iterator
from functools import cmp_to_key, lru_cache

# The last minor release of every finished major: what comes right after 5.19 is 6.0. Needed to tell "the first series
# that passes" from "somewhere in a gap of series that nobody tested".
LAST_MINOR = {3: 19, 4: 20, 5: 19, 6: 19}

_SERIES = re.compile(r"v?(\d+)\.(\d+)(?![\d])")
_PARTS = re.compile(r"(\D*)(\d*)")


@lru_cache(maxsize=4096)  # asked of every cell, and there are few versions
def parse_series(text: str | None) -> tuple[int, int] | None:
    """Read the leading `major.minor` of a series, release or package version.

    Args:
        text: `6.1`, `6.1.0-42-cloud-amd64`, `7.3~rc2-1~exp1`, ...

    Returns:
        `(6, 1)`, or None where the text does not begin with a version.
    """
    match = _SERIES.match(text or "")
    return (int(match[1]), int(match[2])) if match else None


def upstream(package_version: str | None, release: str | None) -> str | None:
    """Return the kernel's own version, down to the point release: `5.10.262`, `7.3-rc5`.

    Args:
        package_version: Debian's, whose upstream part it is.
        release: uname -r, where there is no package; one like `6.1.0-42-amd64` names an ABI and no point release.
    """
    if package_version:
        match = re.match(r"(?:\d+:)?(\d+\.\d+(?:\.\d+)*)(?:~(rc\d+))?", package_version)
    else:
        is_abi = re.match(r"\d+\.\d+\.0-\d", release or "")
        match = None if is_abi else re.match(r"(\d+\.\d+(?:\.\d+)*)(?:-(rc\d+))?", release or "")
    return "-".join(filter(None, match.groups())) if match else None


def point_release(version: str | None) -> int:
    """Return which point release of its series a version is; 0 where it is the first, or none is named."""
    parts = re.split(r"[.-]", version or "")
    return int(parts[2]) if len(parts) > 2 and parts[2].isdigit() else 0


def is_next_series(older: tuple[int, int], newer: tuple[int, int]) -> bool:
    """Say whether no mainline release lies between two series."""
    if older[0] == newer[0]:
        return older[1] + 1 == newer[1]
    return newer == (older[0] + 1, 0) and LAST_MINOR.get(older[0]) == older[1]


def compare_package_versions(left: str, right: str) -> int:
    """Compare two Debian package versions as dpkg does: -1, 0 or 1 (deb-version(7))."""
    left_epoch, left_upstream, left_revision = _split(left)
    right_epoch, right_upstream, right_revision = _split(right)
    if left_epoch != right_epoch:
        return -1 if left_epoch < right_epoch else 1
    return _compare_part(left_upstream, right_upstream) or _compare_part(left_revision, right_revision)


package_version_key = cmp_to_key(compare_package_versions)


def _split(version: str) -> tuple[int, str, str]:
    """Split `epoch:upstream-revision`; what is absent counts as zero or empty."""
    epoch, colon, rest = version.partition(":")
    if not colon or not epoch.isdigit():
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-")
    return (int(epoch), upstream, revision) if upstream else (int(epoch), rest, "")


def _pieces(part: str) -> Iterator[tuple[list[int], int]]:
    """Yield alternating non-digit and digit runs, the former as dpkg's letter weights."""
    for letters, digits in _PARTS.findall(part):
        yield [*(_weight(letter) for letter in letters), 0], int(digits or 0)


def _weight(letter: str) -> int:
    """Order characters as dpkg does: tilde before the end, letters before everything else."""
    if letter == "~":
        return -1
    return ord(letter) if letter.isalpha() else ord(letter) + 0x110000


def _compare_part(left: str, right: str) -> int:
    """Compare upstream versions or revisions; a part that ends is filled up with empty runs."""
    left_pieces, right_pieces = list(_pieces(left)), list(_pieces(right))
    length = max(len(left_pieces), len(right_pieces))
    empty: tuple[list[int], int] = ([0], 0)
    left_pieces += [empty] * (length - len(left_pieces))
    right_pieces += [empty] * (length - len(right_pieces))
    return (left_pieces > right_pieces) - (left_pieces < right_pieces)
