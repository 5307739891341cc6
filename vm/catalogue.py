"""Which kernels there are: packages of the index put together into kernels, sorted into series, newest first.

Debian builds a kernel into packages in two ways. The older: `linux-image-RELEASE` has the image, the configuration and
the modules (`-unsigned` is the same without a signature). The newer: `linux-binary-RELEASE` holds the image,
`linux-base-RELEASE` the configuration, `linux-modules-RELEASE` the modules, and `linux-image-RELEASE` only depends on
them. Packages like `linux-image-6.12-cloud-amd64`, which stand for whatever is newest, hold nothing and are left out.
"""

import datetime
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from debian.debian_support import Version

from vm.apt_text import Package

_KERNELS = Path(__file__).with_name("kernels.toml")
_NAME = re.compile(r"linux-(?P<part>image|binary-unsigned|binary)-(?P<release>\d+\.\d+\S*?)(?P<unsigned>-unsigned)?")
_SERIES = re.compile(r"(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Series:
    """What is known about a series of kernels before any of them is fetched."""

    name: str
    released: datetime.date | None = None
    is_lts: bool = False
    # The suites whose own kernel this series is.
    suites: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The contents of kernels.toml."""

    suites: tuple[str, ...]
    suites_to_come: tuple[str, ...]
    # Architecture to the ends of package names, best first.
    flavours: Mapping[str, tuple[str, ...]]
    qemu_suites: tuple[tuple[str, ...], ...]
    qemu_packages: Mapping[str, tuple[str, ...]]
    series: Mapping[str, Series]

    @classmethod
    def load(cls, path: Path = _KERNELS) -> "Catalogue":
        """Read the data."""
        document = tomllib.loads(path.read_text())
        return cls(
            suites=tuple(document["suites"]),
            suites_to_come=tuple(document["suites_to_come"]),
            flavours={arch: tuple(ends) for arch, ends in document["flavours"].items()},
            qemu_suites=tuple(tuple(group) for group in document["qemu"]["suites"]),
            qemu_packages={arch: tuple(names) for arch, names in document["qemu"]["packages"].items()},
            series={
                name: Series(name, facts.get("released"), facts.get("lts", False), tuple(facts.get("suites", ())))
                for name, facts in document["series"].items()
            },
        )

    def facts(self, series: str) -> Series:
        """What is known about a series; next to nothing, if it is younger than the data."""
        return self.series.get(series, Series(series))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A kernel that the index offers."""

    series: str
    # `uname -r`.
    release: str
    # Debian's version of the packages.
    version: str
    arch: str
    suite: str
    # "cloud-amd64", "amd64", "rt-amd64"; the end of the release.
    flavour: str
    # Everything to download; the one with the image is first.
    packages: tuple[Package, ...]

    @property
    def package(self) -> str:
        """The name of the package that holds the image."""
        return self.packages[0].name

    @property
    def size_bytes(self) -> int:
        """What has to be downloaded for it."""
        return sum(package.size_bytes for package in self.packages)


class Index:
    """All kernels of an archive.

    Args:
        candidates: in any order.
        flavours: which to prefer, best first; others are found by their release only.
        catalogue: what is known about series.
        first: of a series, whatever its version: what needs no download, where nothing may be downloaded.
        limit: why there may be others than these, if so.
    """

    def __init__(
        self,
        candidates: Iterable[Candidate],
        flavours: Iterable[str],
        catalogue: Catalogue,
        *,
        first: Iterable[Candidate] = (),
        limit: str = "",
    ) -> None:
        self.candidates = tuple(candidates)
        self.catalogue = catalogue
        self.limit = limit
        self._first = frozenset(first)
        self._rank = {flavour: rank for rank, flavour in enumerate(flavours)}

    @cached_property
    def _by_series(self) -> dict[str, list[Candidate]]:
        found: dict[str, list[Candidate]] = {}
        for candidate in self.candidates:
            if candidate.flavour in self._rank:
                found.setdefault(candidate.series, []).append(candidate)
        for series, candidates in found.items():
            own = self.catalogue.facts(series).suites
            if any(candidate.suite in own for candidate in candidates):
                candidates[:] = [candidate for candidate in candidates if candidate.suite in own]
            # A series that has the preferred flavour at all is only ever that flavour: one thing varies, the version.
            best = min(self._rank[candidate.flavour] for candidate in candidates)
            candidates[:] = [candidate for candidate in candidates if self._rank[candidate.flavour] == best]
            candidates.sort(key=lambda candidate: (candidate in self._first, Version(candidate.version)), reverse=True)
        return found

    @property
    def series(self) -> list[str]:
        """Every series, oldest first."""
        return sorted(self._by_series, key=series_key)

    def of_series(self, series: str) -> list[Candidate]:
        """The kernels of a series, the one that stands for it first, else newest first; empty for no series."""
        return self._by_series.get(series, [])

    def find(self, package: str | None, version: str | None) -> Candidate | None:
        """Find the kernel whose image is in that package."""
        return next((c for c in self.candidates if c.package == package and c.version == version), None)

    def preferred(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """Sort kernels: the preferred flavour first, then the newest, then the order of the suites."""
        newest = sorted(candidates, key=lambda candidate: Version(candidate.version), reverse=True)
        return sorted(newest, key=lambda candidate: self._rank.get(candidate.flavour, len(self._rank)))


def find_candidates(packages: Iterable[Package], arch: str) -> list[Candidate]:
    """Put packages together into kernels.

    Args:
        packages: of any suites; of equal ones, the first counts.
        arch: Debian's name of the architecture.

    Returns:
        One per release and version, whatever its flavour; debug builds and packages without an image are left out.
    """
    by_name: dict[tuple[str, str], Package] = {}
    for package in packages:
        by_name.setdefault((package.name, package.version), package)
    found: dict[tuple[str, str], tuple[int, Candidate]] = {}
    for (name, version), package in by_name.items():
        match = _NAME.fullmatch(name)
        if match is None or name.endswith(("-dbg", "-template")) or not match["release"].endswith(f"-{arch}"):
            continue
        release = match["release"]
        parts = [package]
        if match["part"] == "image":
            if re.search(r"\blinux-(image|binary)-\d", package.depends):
                continue  # stands for another package
        else:
            # A cloud kernel has built in whatever a guest needs; its modules would triple the download.
            others = ("base",) if "-cloud-" in release else ("base", "modules")
            parts += [
                by_name[f"linux-{other}-{release}", version]
                for other in others
                if (f"linux-{other}-{release}", version) in by_name
            ]
        # Signed and unsigned builds are the same kernel; the signed one is what people run.
        rank = int(match["unsigned"] is not None or match["part"] == "binary-unsigned")
        candidate = Candidate(
            series=series_of(release),
            release=release,
            version=version,
            arch=arch,
            suite=package.suite,
            flavour=flavour_of(release, arch),
            packages=tuple(parts),
        )
        if (release, version) not in found or rank < found[release, version][0]:
            found[release, version] = (rank, candidate)
    return [candidate for _rank, candidate in found.values()]


def is_newer(one: Candidate, other: Candidate) -> bool:
    """Whether a kernel has a higher version than another one."""
    return bool(Version(one.version) > Version(other.version))


def series_of(release: str) -> str:
    """Find the series of a release or version; empty when it does not begin with one."""
    match = _SERIES.match(release)
    return f"{match[1]}.{match[2]}" if match else ""


def series_key(series: str) -> tuple[int, int]:
    """Sort series by number: 6.9 before 6.12."""
    match = _SERIES.match(series)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def flavour_of(release: str, arch: str) -> str:
    """Find the flavour at the end of a release: `6.1.0-56-cloud-amd64` is a cloud-amd64."""
    match = re.search(rf"-((?:[a-z][a-z0-9]*-)*{re.escape(arch)})$", release)
    return match[1] if match else ""
