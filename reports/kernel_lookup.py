"""Kernels of results by what people call them, and what is known beside one that is not among them. Pure functions."""

import difflib
import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from reports.distributions import Distribution, by_name, distribution_of, distributions
from reports.errors import ResultsError
from reports.events import kernel_order
from reports.matrix import Outcome
from reports.records import Kernel
from reports.versions import parse_series, upstream

ALL, LATEST = "all", "latest"
_GLOB = frozenset("*?[")
# The version of a package or an upstream release: `6.1.170-1`, `6.1.170`, `v6.1`.
_VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?")
_NEAREST_MAX = 3


@dataclass(frozen=True, slots=True)
class Named:
    """What somebody calls a kernel, and which of the results it is."""

    text: str
    # Oldest first; empty for a kernel that was not tested
    kernels: tuple[Kernel, ...]
    # Whose kernel was asked for, where that is what the name says
    distribution: Distribution | None = None


def named(text: str, among: Iterable[Kernel]) -> Named:
    """Find the kernels that somebody means.

    Args:
        text: an id, series, release, package or upstream version, a glob of these, a distribution's name, `latest`
            or `all`.
        among: those of the results.

    Raises:
        ResultsError: it can be no kernel's name; the message has the nearest that are.
    """
    kernels = sorted(among, key=kernel_order)
    if text == ALL:
        return Named(text, tuple(kernels))
    if text == LATEST:
        return Named(text, tuple(kernels[-1:]))
    for names in (_ids, _series, _versions):
        if found := tuple(one for one in kernels if _fits(text, names(one))):
            return Named(text, found)
    if (distribution := by_name(text)) is not None:
        own = tuple(one for one in kernels if distribution_of(one) == distribution)
        return Named(text, own, distribution)
    if _VERSION.match(text) and not _GLOB & set(text):
        return Named(text, ())
    raise ResultsError(f"no kernel is called {text!r}{_nearest(text, kernels)}")


def only(text: str, among: Iterable[Kernel]) -> Kernel:
    """Find the one kernel that somebody means.

    Raises:
        ResultsError: there is none of that name, or several.
    """
    kernels = tuple(among)
    found = named(text, kernels)
    if len(found.kernels) == 1:
        return found.kernels[0]
    if found.kernels:
        raise ResultsError(f"{text} names several kernels: {', '.join(one.id for one in found.kernels)}; name one")
    raise ResultsError(not_tested(found, kernels))


def not_tested(asked: Named, among: Iterable[Kernel]) -> str:
    """Say of a kernel that it is not among these, and which are."""
    whose = (
        f"{asked.distribution.name} has Linux {asked.distribution.series}, which" if asked.distribution else asked.text
    )
    return f"{whose} was not tested{_nearest(asked.text, sorted(among, key=kernel_order))}"


def _ids(kernel: Kernel) -> Sequence[str]:
    return (kernel.id,)


def _series(kernel: Kernel) -> Sequence[str]:
    return (kernel.series,) if kernel.series else ()


def _versions(kernel: Kernel) -> Sequence[str]:
    package = f"{kernel.package}={kernel.package_version}"
    return tuple(
        filter(
            None,
            (
                kernel.release,
                kernel.package_version,
                kernel.package and package,
                upstream(kernel.package_version, kernel.release),
                # Without its flavour
                re.sub(r"-((?:[a-z]+-)*[a-z0-9]+)$", "", kernel.release or ""),
            ),
        )
    )


def _fits(text: str, names: Sequence[str]) -> bool:
    if _GLOB & set(text):
        return any(fnmatch.fnmatchcase(name, text) for name in names)
    return text in names


def _nearest(text: str, kernels: Sequence[Kernel]) -> str:
    found = beside(Named(text, (), by_name(text)), kernels)
    near = [one.id for one in (*found.older[-1:], *found.same, *found.newer[:1])]
    if not near:
        names = [*(one.id for one in kernels), LATEST, ALL, *(name for one in distributions() for name in one.names)]
        near = difflib.get_close_matches(text.lower(), names, n=_NEAREST_MAX, cutoff=0.5)
    known = ", ".join(dict.fromkeys(one.id for one in kernels)) or "none"
    return f"; nearest: {', '.join(near[:_NEAREST_MAX])}" if near else f"; there are {known}"


# -- what is known beside a kernel that was not tested ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Beside:
    """The tested kernels around one that was not tested, each oldest first."""

    older: tuple[Kernel, ...] = ()
    # Of the same series, where the name does not say which of them is older
    same: tuple[Kernel, ...] = ()
    newer: tuple[Kernel, ...] = ()


def beside(asked: Named, among: Iterable[Kernel]) -> Beside:
    """Sort kernels into those before and after the one that was asked for; none where its name says no version."""
    text = asked.distribution.series if asked.distribution is not None else asked.text
    if (match := _VERSION.match(text)) is None:
        return Beside()
    version = (int(match[1]), int(match[2]))
    point = _point(upstream(None, text) if asked.distribution is None else None)
    older: list[Kernel] = []
    same: list[Kernel] = []
    newer: list[Kernel] = []
    for kernel in sorted(among, key=kernel_order):
        series = parse_series(kernel.series) or parse_series(kernel.release)
        if series is None:
            continue
        own = _point(upstream(kernel.package_version, kernel.release))
        if series != version:
            (older if series < version else newer).append(kernel)
        elif point is None or own is None or own == point:
            same.append(kernel)
        else:
            (older if own < point else newer).append(kernel)
    return Beside(tuple(older), tuple(same), tuple(newer))


def _point(version: str | None) -> int | None:
    """The point release that a version names; of one that names none it is not known."""
    match = _VERSION.match(version or "")
    return int(match[3]) if match and match[3] else None


def known_beside(found: Beside, outcome: Callable[[Kernel], Outcome]) -> tuple[tuple[Kernel, Outcome], ...]:
    """The nearest kernels around one that was not tested which say something, with what they say."""
    told = []
    for some in (reversed(found.older), found.same, found.newer):
        for kernel in some:
            if (one := outcome(kernel)) is not Outcome.OPEN:
                told.append((kernel, one))
                break
    return tuple(told)
