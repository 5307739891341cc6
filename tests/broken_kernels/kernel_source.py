"""Kernel source as Debian packages it: found in the signed lists, fetched, verified, unpacked once into the cache."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from debian.debian_support import Version
from kernel_changes import LATEST

from vm.apt import SOURCES, Archive
from vm.apt_text import Package
from vm.archives import extract
from vm.cache import Cache
from vm.catalogue import Catalogue, series_key
from vm.progress import PlainProgress
from vm.settings import Settings

_NAME = re.compile(r"linux-source-(\d+\.\d+)")
_FOLDER = "kernel-source"


class SourceError(Exception):
    """There is no such source."""


@dataclass(frozen=True, slots=True)
class Source:
    """An unpacked source.

    Attributes:
        series: `6.1`.
        package: `linux-source-6.1=6.1.176-1`.
        directory: where it is. Builds change files below `io_uring/` of it.
        pristine: those files as they came.
    """

    series: str
    package: str
    directory: Path
    pristine: Path

    @property
    def name(self) -> str:
        """For a folder: make takes what has an equals sign in it for a variable."""
        return self.package.replace("=", "_")


def choose_package(packages: Iterable[Package], wanted: str) -> Package:
    """Choose the newest version of a series, or of the newest series.

    Args:
        packages: of any names.
        wanted: a series, or `latest`.

    Raises:
        SourceError: there is none.
    """
    found = [(match[1], package) for package in packages if (match := _NAME.fullmatch(package.name))]
    found = [(series, package) for series, package in found if wanted in {series, LATEST}]
    if not found:
        raise SourceError(f"no suite of the archive has the source of Linux {wanted}")
    return max(found, key=lambda one: (series_key(one[0]), Version(one[1].version)))[1]


def fetch(wanted: str, cache: Cache, settings: Settings) -> Source:
    """Have a source ready: that of a series, or of the newest that the archive has.

    Raises:
        SourceError: there is none.
        VmError: it cannot be fetched.
    """
    catalogue = Catalogue.load()
    suites = (*catalogue.suites, *catalogue.suites_to_come)
    archive = Archive(suites, "amd64", cache, settings, PlainProgress(), optional=catalogue.suites_to_come)
    package = choose_package(archive.kernel_packages(SOURCES), wanted)
    place = cache.folder(_FOLDER) / package.exact.replace("=", "_")
    with cache.lock(_FOLDER):
        if not place.is_dir():
            _unpack(archive, package, cache, place)
    series = package.name.rpartition("-")[2]
    return Source(series, package.exact, place / package.name, place / "io_uring")


def _unpack(archive: Archive, package: Package, cache: Cache, place: Path) -> None:
    tarball = f"usr/src/{package.name}.tar.xz"
    with cache.temporary() as workspace:
        (workspace / "deb").mkdir()
        [deb] = archive.download([package], workspace / "deb", what=f"downloading {package.exact}")
        if extract(deb, workspace, lambda name: name == tarball) != [tarball]:
            raise SourceError(f"{package.exact} has no {tarball}")
        unpacked = workspace / "unpacked"
        unpacked.mkdir()
        # Python's own takes four times as long.
        subprocess.run(["tar", "-xJf", workspace / tarball, "-C", unpacked], check=True)
        shutil.copytree(unpacked / package.name / "io_uring", unpacked / "io_uring")
        unpacked.rename(place)
