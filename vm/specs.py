"""What the user calls a kernel, and which kernel that is."""

import difflib
import fnmatch
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from debian.debian_support import Version

from vm.archives import control
from vm.catalogue import Candidate, Index, series_key, series_of
from vm.errors import SpecError, UnfitKernel, VmError
from vm.kernel import KernelRef
from vm.kernelimage import inspect

ALL, LATEST, HOST = "all", "latest", "host"
_GLOB = frozenset("*?[")
# `debian12`, `ubuntu-22.04`
_RELEASE = re.compile(r"(?P<name>[a-z]+)[\s_-]*\d+(\.\d+)*")
# Where a kernel build tree keeps what it made, by Debian's name of the architecture.
BUILD_IMAGES = {"amd64": "arch/x86/boot/bzImage", "arm64": "arch/arm64/boot/Image"}


class Distribution(Protocol):
    """A release of a distribution, by whose name its kernel may be asked for."""

    @property
    def name(self) -> str:
        """As people write it: `Debian 12`."""

    @property
    def names(self) -> Sequence[str]:
        """What it may be called in a spec."""

    @property
    def series(self) -> str:
        """The series of its kernel."""

    @property
    def suites(self) -> Sequence[str]:
        """Those of the archive that hold its own kernel."""

    @property
    def is_mainline_like(self) -> bool:
        """Whether a kernel of the same series from elsewhere says something about its own."""

    def is_called(self, text: str) -> bool:
        """Whether a spec is a name of it."""


def resolve(
    specs: Sequence[str],
    load_index: Callable[[], Index],
    arch: str,
    distributions: Callable[[], Sequence[Distribution]] = tuple,
) -> list[KernelRef]:
    """Find the kernels that specs name.

    Args:
        specs: series, package versions, releases, globs, paths, `all`, `latest`, `host`; several kernels may also be
            given in one, with commas between. None at all means `all`. A distribution's name stands for
            the kernel of its own suites.
        load_index: called only when a spec needs the archive's index.
        arch: Debian's name of the architecture.
        distributions: those whose names are known; called only when a spec is nothing else.

    Returns:
        The kernels in the order they were named (a glob's from the oldest to the newest), each once, with unique ids.

    Raises:
        SpecError: a spec names nothing; the message has the nearest that does.
    """
    found: dict[tuple[str | None, ...], KernelRef] = {}
    for spec in specs or [ALL]:
        # A path may have a comma in it; a list may not have a path of that name.
        parts = [spec] if Path(spec).exists() else [part for part in spec.split(",") if part.strip()]
        for part in parts or [spec]:
            for ref in _resolve_one(part.strip(), load_index, arch, distributions):
                found.setdefault((ref.source, ref.package, ref.package_version, ref.location), ref)
    return _with_unique_ids(list(found.values()))


def is_path(spec: str) -> bool:
    """Whether a spec can only be a path: it has a slash, or begins the way only paths do."""
    return os.sep in spec or spec.startswith(("~", ".")) or spec.endswith(".deb")


def reference(candidate: Candidate, kernel_id: str) -> KernelRef:
    """Describe a kernel of the index."""
    return KernelRef(
        id=kernel_id,
        series=candidate.series,
        arch=candidate.arch,
        source="debian",
        package=candidate.package,
        package_version=candidate.version,
        suite=candidate.suite,
        release=candidate.release,
        size_bytes=candidate.size_bytes,
    )


def spec_of(ref: KernelRef, *, exact: bool = False) -> str:
    """What to write for a kernel so that it comes of it.

    Args:
        ref: which.
        exact: whether it has to be this version for ever, and not what its series has as its newest.
    """
    if ref.location is not None:
        return ref.location
    # Only an id that stands for itself can be asked for again; one that was made longer to be unique cannot.
    if ref.id in {ref.release, HOST} or (ref.id == ref.series and not exact):
        return ref.id
    return f"{ref.package}={ref.package_version}"


def _resolve_one(
    spec: str, load_index: Callable[[], Index], arch: str, distributions: Callable[[], Sequence[Distribution]]
) -> list[KernelRef]:
    if not spec:
        raise SpecError("an empty kernel spec; name a series (6.1), a release, a path, all, latest or host")
    if spec == HOST:
        release = os.uname().release
        return [KernelRef(id=HOST, series=series_of(release), arch=arch, source="host", release=release)]
    if is_path(spec):
        return [_from_path(spec, arch)]
    index = load_index()
    if spec == ALL:
        return [reference(index.of_series(series)[0], series) for series in _some_series(index)]
    if spec == LATEST:
        series = _some_series(index)[-1]
        return [reference(index.of_series(series)[0], series)]
    if index.of_series(spec):
        return [reference(index.of_series(spec)[0], spec)]
    if _GLOB & set(spec):
        matches = _glob(spec, index)
    else:
        matches = _exact(spec, index)
        if not matches and (named := next((one for one in distributions() if one.is_called(spec)), None)):
            return [_own_kernel(named, index)]
        if not matches and Path(spec).exists():
            return [_from_path(spec, arch)]
    if not matches:
        raise SpecError(_unknown(spec, index, distributions()))
    return matches


def _own_kernel(distribution: Distribution, index: Index) -> KernelRef:
    """The newest kernel of a distribution's own suites: another one of that series is not what its machines run."""
    series = index.of_series(distribution.series)
    own = [candidate for candidate in series if candidate.suite in distribution.suites]
    if own:
        return reference(own[0], own[0].series if own[0] is series[0] else own[0].release)
    why_not = (
        f"this archive has none in {', '.join(distribution.suites)}"
        if distribution.suites
        else "its own kernel cannot be fetched yet"
    )
    if series:
        instead = f"nearest by version: {distribution.series}, another build of that series"
    else:
        instead = f"nearest by version: {', '.join(_around_series(distribution.series, index))}"
    if not distribution.is_mainline_like:
        instead += " (of which little can be told: this distribution's kernels carry much of later ones)"
    raise SpecError(
        f"{distribution.name} has Linux {distribution.series}, and {why_not}; {instead}. If you have its "
        "image, name the file (./vmlinuz)"
    )


def _some_series(index: Index) -> list[str]:
    if not index.series:
        raise SpecError("the archive's index has no kernels for this architecture; see `uring-matrix kernels list`")
    return index.series


def _glob(pattern: str, index: Index) -> list[KernelRef]:
    """Match series first; only a pattern that no series fits is about single releases."""
    series = [name for name in index.series if fnmatch.fnmatchcase(name, pattern)]
    if series:
        return [reference(index.of_series(name)[0], name) for name in series]
    matches = [
        candidate
        for name in index.series
        for candidate in reversed(index.of_series(name))
        if fnmatch.fnmatchcase(candidate.release, pattern) or fnmatch.fnmatchcase(candidate.version, pattern)
    ]
    return [reference(candidate, candidate.release) for candidate in matches]


def _exact(spec: str, index: Index) -> list[KernelRef]:
    """Match a release, a version, a package, `package=version`, or a release without its flavour."""
    package, _, version = spec.partition("=")
    tests: tuple[Callable[[Candidate], bool], ...] = (
        lambda candidate: candidate.package == package and version in {"", candidate.version},
        lambda candidate: candidate.release == spec,
        lambda candidate: candidate.version == spec,
        lambda candidate: candidate.release.removesuffix(f"-{candidate.flavour}") == spec,
        lambda candidate: candidate.version.rpartition("-")[0] == spec,
    )
    for test in tests:
        matches = index.preferred(candidate for candidate in index.candidates if test(candidate))
        if matches:
            return [reference(matches[0], matches[0].release)]
    return []


def _unknown(spec: str, index: Index, distributions: Sequence[Distribution]) -> str:
    called = [name for one in distributions for name in one.names]
    near = _neighbours(spec, index) or _other_releases(spec, called)
    if not near:
        names = [
            *index.series,
            *called,
            ALL,
            LATEST,
            HOST,
            *sorted({candidate.release for candidate in index.candidates}),
        ]
        near = difflib.get_close_matches(spec, names, n=3, cutoff=0.5)
    meant = f"; nearest: {', '.join(near)}" if near else ""
    if index.limit:
        return (
            f"no kernel in the cache is called {spec!r}{meant}. There are the series {', '.join(index.series)}; which "
            f"others there are is not known: {index.limit}"
        )
    return (
        f"no kernel is called {spec!r}{meant}. There are the series {', '.join(index.series)}; "
        "`uring-matrix kernels list` shows all, and a path needs a slash (./bzImage)"
    )


def _neighbours(spec: str, index: Index) -> list[str]:
    """What comes right before and right after a version: releases of its series, else series."""
    series = series_of(spec)
    if not series:
        return []
    if own := index.of_series(series):
        # `6.1.0-42-cloud-amd64` is a release, and compares with those.
        is_release = spec.startswith(f"{series}.0-") or spec.count("-") > 1
        names = {candidate.release if is_release else candidate.version for candidate in own}
        return _around(Version(spec), sorted(names, key=Version), Version)
    return _around_series(series, index)


def _other_releases(spec: str, called: Iterable[str]) -> list[str]:
    """The releases right before and right after, of a distribution that is known by others: `debian10`."""
    if (wanted := _RELEASE.fullmatch(spec.lower())) is None:
        return []
    own = [name for name in called if (one := _RELEASE.fullmatch(name)) and one["name"] == wanted["name"]]
    return _around(_numbers(spec), sorted(own, key=_numbers), _numbers)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def _around_series(series: str, index: Index) -> list[str]:
    return _around(series_key(series), index.series, series_key)


def _around(wanted: Any, names: Sequence[str], key: Callable[[str], Any]) -> list[str]:
    below = [name for name in names if key(name) < wanted]
    above = [name for name in names if key(name) > wanted]
    return [*below[-1:], *above[:1]]


def _from_path(spec: str, arch: str) -> KernelRef:
    path = Path(os.path.expanduser(spec))  # noqa: PTH111 -- leaves "~nobody" alone where Path.expanduser raises
    try:
        path = path.resolve(strict=True)
    except OSError as error:
        raise SpecError(
            f"{spec}: {error.strerror or error}; a kernel's path has to be of a file or a build tree"
        ) from error
    if path.is_dir():
        return _from_build_tree(path, spec, arch)
    if not path.is_file():
        raise SpecError(f"{spec} is neither a file nor a folder; give a bzImage, a .deb or a kernel build tree")
    if not os.access(path, os.R_OK):
        raise SpecError(f"{spec} cannot be read by this user; change its permissions (kernels in /boot often need it)")
    if path.suffix == ".deb":
        try:
            fields = control(path)
        except VmError as error:
            raise SpecError(str(error)) from error
        name, version, built_for = (fields.get(key) for key in ("Package", "Version", "Architecture"))
        if built_for != arch:
            raise SpecError(f"{spec} is a package for {built_for}, and the guest is {arch}; say --arch {built_for}")
        return KernelRef(
            id=_plain(path.stem),
            series=series_of(version or ""),
            arch=arch,
            source="path",
            package=name,
            package_version=version,
            location=str(path),
            size_bytes=path.stat().st_size,
        )
    _refuse_broken(path, arch)
    return KernelRef(
        id=_plain(path.name), series="", arch=arch, source="path", location=str(path), size_bytes=path.stat().st_size
    )


def _plain(name: str) -> str:
    """Make an id of a file's name: it is part of test ids, in which pytest escapes some characters and reads others."""
    return "".join(
        letter if letter.isascii() and letter.isprintable() and letter not in "[]:\\" else "_" for letter in name
    )


def _refuse_broken(image: Path, arch: str) -> None:
    """Refuse at once what cannot be meant: a file that is no kernel, is cut off, or is for another machine."""
    try:
        inspect(image, arch)
    except UnfitKernel as error:
        raise SpecError(str(error)) from error


def _from_build_tree(path: Path, spec: str, arch: str) -> KernelRef:
    image = BUILD_IMAGES.get(arch)
    if image is None or not (path / image).is_file():
        raise SpecError(
            f"{spec} is a folder without {image or 'a kernel image'}; a build tree has one after `make "
            f"{Path(image).name if image else 'bzImage'}`, or give the image's own path"
        )
    _refuse_broken(path / image, arch)
    try:
        release = (path / "include/config/kernel.release").read_text().strip()
    except OSError:
        release = None
    return KernelRef(
        id=_plain(path.name),
        series=series_of(release or ""),
        arch=arch,
        source="path",
        release=release,
        location=str(path),
        size_bytes=(path / image).stat().st_size,
    )


def _with_unique_ids(refs: Iterable[KernelRef]) -> list[KernelRef]:
    """Tell kernels of the same name apart: by their folder if they have one, then by a number."""
    result: list[KernelRef] = []
    taken: set[str] = set()
    for ref in refs:
        names = [ref.id]
        if ref.location is not None:
            names.append(f"{Path(ref.location).parent.name}-{ref.id}")
        if ref.package_version is not None:
            names.append(f"{ref.id}-{ref.package_version}")
        name = next((name for name in names if name not in taken), "")
        count = 2
        while not name:
            name = f"{ref.id}-{count}" if f"{ref.id}-{count}" not in taken else ""
            count += 1
        taken.add(name)
        result.append(replace(ref, id=name))
    return result
