"""Which known issue explains a verdict. Pure functions; `reports.issue_files` reads what people write down.

A range of series is compared with a kernel's series, so that it covers every point release of it. In one that a fix
was backported to, the test passes, which is reported. What only some point releases
of a series have is a range of point releases.
"""

import re
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from functools import lru_cache

import msgspec

from reports.records import CellKey, Kernel, KnownIssue, Qualifier, Result, Results, Status, attempts_of
from reports.versions import compare_package_versions, parse_series, upstream

# Beside verdicts: attempts may disagree.
FLAKY = str(Qualifier.FLAKY)
_POINT = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")


class Issues:
    """The known issues of results, looked up by cell."""

    def __init__(self, results: Results) -> None:
        self._issues = results.known_issues
        kernels = {kernel.id: kernel for kernel in results.kernels} if self._issues else {}
        self._of_kernel = {
            name: tuple(issue for issue in self._issues if covers_kernel(issue, kernel))
            for name, kernel in kernels.items()
        }
        # By test, kernel and mode: there are few of each, and many rows.
        self._found: dict[tuple[str, str, str], tuple[KnownIssue, ...]] = {}

    def covering(self, key: CellKey) -> tuple[KnownIssue, ...]:
        """Those that are about a cell, whatever its verdict."""
        if not self._issues:
            return ()
        place = key.test, key.kernel, key.mode
        if place not in self._found:
            self._found[place] = tuple(
                issue
                for issue in self._of_kernel.get(key.kernel, ())
                if matches(key.test, issue.tests) and (not issue.modes or matches(key.mode, issue.modes))
            )
        return self._found[place]

    def explaining(self, row: Result) -> KnownIssue | None:
        """The first that says a row's verdict, if any does."""
        return next((issue for issue in self.covering(row.key) if explains(issue, row)), None)


def explains(issue: KnownIssue, row: Result) -> bool:
    """Whether an issue speaks of a verdict, of a cell that it covers.

    A cell that wavers is explained by an issue that says so, and only if each attempt was good or is one of the
    verdicts that it names: nothing known to fail now and then is allowed to crash.
    """
    if Qualifier.FLAKY not in row.qualifiers:
        return str(row.status) in issue.status
    seen = {str(attempt.status) for attempt in attempts_of(row)} - {str(Status.PASS)}
    return FLAKY in issue.status and seen <= set(issue.status)


def covers_kernel(issue: KnownIssue, kernel: Kernel) -> bool:
    """Whether a kernel is one of an issue's: all that the issue names has to fit, and of each list one is enough."""
    return (
        (not issue.series or any(_is_in_series(text, kernel) for text in issue.series))
        and (not issue.releases or (kernel.release is not None and matches(kernel.release, issue.releases)))
        and (
            not issue.package_versions
            or (
                kernel.package_version is not None
                and any(_is_version(text, kernel.package_version) for text in issue.package_versions)
            )
        )
    )


def matches(name: str, globs: Iterable[str]) -> bool:
    """Whether a name is one of several; `[` and `]` stand for themselves, as tests' names have them."""
    return any(fnmatchcase(name, glob.replace("[", "[[]")) for glob in globs)


def ends(text: str) -> tuple[str, str]:
    """Split `FROM..TO`, either of which may be empty; one version is its own range."""
    first, dots, last = text.partition("..")
    return (first.strip(), last.strip()) if dots else (first.strip(), first.strip())


@lru_cache(maxsize=1024)
def point(text: str | None) -> tuple[int, int, int | None] | None:
    """Read `6.17` or `6.17.11`; None where it is neither."""
    match = _POINT.fullmatch(text or "")
    return (int(match[1]), int(match[2]), int(match[3]) if match[3] else None) if match else None


def _is_in_series(text: str, kernel: Kernel) -> bool:
    first, last = map(point, ends(text))
    series = parse_series(kernel.series) or parse_series(kernel.release)
    if series is None:
        return False
    if (first and series < first[:2]) or (last and series > last[:2]):
        return False
    points = [one[2] for one in (first, last) if one and one[2] is not None]
    if not points:
        return True
    # A release that does not tell its point release is not covered: nothing is known to be known of it.
    here = point((upstream(kernel.package_version, kernel.release) or "").partition("-")[0])
    if here is None:
        return False
    return points[0] <= (here[2] or 0) <= points[-1]


def _is_version(text: str, version: str) -> bool:
    first, last = ends(text)
    return (not first or compare_package_versions(first, version) <= 0) and (
        not last or compare_package_versions(version, last) <= 0
    )


def no_longer_shown(results: Results) -> list[str]:
    """Say which known issues do not show any more where they should: a verdict passes that was known not to.

    One that says `flaky` passes now and then, and is never reported.
    """
    lookup = Issues(results)
    gone: dict[KnownIssue, dict[str, dict[str, None]]] = {}
    for row in results.results if results.known_issues else ():
        if row.status is Status.PASS and Qualifier.FLAKY not in row.qualifiers:
            for issue in lookup.covering(row.key):
                if FLAKY not in issue.status:
                    gone.setdefault(issue, {}).setdefault(row.kernel, {})[row.test] = None
    names = {kernel.id: _exact(kernel) for kernel in results.kernels}
    return [
        f"known issue no longer shows: {_some(tests)} on {names[kernel]}, known as {' or '.join(issue.status)}: "
        f"{issue.reason}"
        for issue, kernels in gone.items()
        for kernel, tests in kernels.items()
    ]


def known_sentence(results: Results) -> str | None:
    """Count the verdicts that are known issues; None where there is none."""
    count = sum(Qualifier.KNOWN_ISSUE in row.qualifiers for row in results.results)
    return f"{count:,} {'verdict is a known issue' if count == 1 else 'verdicts are known issues'}" if count else None


def _exact(kernel: Kernel) -> str:
    release = upstream(kernel.package_version, kernel.release) or kernel.release
    return f"{kernel.id} ({release})" if release and release != kernel.id else kernel.id


def _some(tests: Collection[str]) -> str:
    names = list(tests)
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} others"


def united(*lists: Iterable[KnownIssue]) -> tuple[KnownIssue, ...]:
    """Put lists together, equal ones once."""
    return tuple(dict.fromkeys(issue for issues in lists for issue in issues))


def still_valid(earlier: Results, own: Results, kept: Collection[CellKey]) -> tuple[KnownIssue, ...]:
    """What of an earlier run's known issues stays beside a newer run's.

    An entry that was taken out of its file since must not go on excusing what the newer run found: an earlier one stays
    only if it is about a kept cell, and about none of the newer run's.
    """
    lookup = Issues(msgspec.structs.replace(earlier, kernels=(*earlier.kernels, *own.kernels)))
    needed = {issue for key in kept for issue in lookup.covering(key)}
    judged = {issue for row in own.results for issue in lookup.covering(row.key)}
    return tuple(issue for issue in earlier.known_issues if issue in needed and issue not in judged)


def about(issues: Iterable[KnownIssue], tests: Collection[str]) -> tuple[KnownIssue, ...]:
    """Those that are about some of these tests."""
    return tuple(issue for issue in issues if any(matches(test, issue.tests) for test in tests))
