"""The two records a kernel is known by: before it is fetched and after."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Source = Literal["debian", "path", "host"]


@dataclass(frozen=True, slots=True)
class KernelRef:
    """A kernel as the index or the user names it; nothing is downloaded yet."""

    # Unique in a run: the series for a series spec ("6.1"), the release for an exact one, a file name, "host".
    id: str
    # Major and minor number, "6.1"; what the matrix groups and sorts by.
    series: str
    # Debian's name for the architecture: "amd64".
    arch: str
    source: Source
    # The package that holds the image, its version and the suite it was found in; None for paths and the host.
    package: str | None = None
    package_version: str | None = None
    suite: str | None = None
    # `uname -r` as far as it is known before the boot.
    release: str | None = None
    # The path the user gave.
    location: str | None = None
    # Bytes to download, every package this kernel needs.
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel on disk, verified and ready to boot."""

    ref: KernelRef
    image: Path
    # Of the image.
    sha256: str
    release: str
    # `CONFIG_…` to its value ("y", "m", a number, a string without quotes); empty when the configuration is unknown.
    config: Mapping[str, str] = field(default_factory=dict)
    # Why it is another version than the one that was asked for, if it is.
    note: str = ""
    # Module name to an uncompressed .ko, in the order they have to be loaded; only those a guest needs.
    modules: Mapping[str, Path] = field(default_factory=dict)
