"""What a verdict means beside the documented minimum kernel, and the exit code a whole run earns."""

from enum import StrEnum

import msgspec

from reports.known_issues import Issues
from reports.records import Kernel, Mode, Qualifier, Result, Results, Status, Test, with_qualifier
from reports.versions import parse_series, point_release, upstream

# Verdicts that nobody expects on any kernel.
FAILURES = frozenset({Status.FAIL, Status.ERROR, Status.CRASH, Status.TIMEOUT})
# Verdicts that say nothing about the kernel.
OPEN = frozenset({Status.INFRA, Status.NOTRUN})


class Expectation(StrEnum):
    """How a verdict stands to what is documented."""

    AS_EXPECTED = "as-expected"
    # A failure, a flaky cell, or a kernel that lacks what its version should have.
    UNEXPECTED = "unexpected"
    # The same, but somebody wrote down that it is so, and why. Shown, no failure.
    KNOWN = "known-issue"
    # It passes on a kernel older than the documented minimum. Good news, shown, no failure.
    EARLIER = "earlier-than-documented"
    # No verdict about the kernel was reached.
    OPEN = "open"


def documented_minimum(test: Test, mode: Mode | None) -> tuple[int, int] | None:
    """Return the newer of the test's and the mode's documented minimum kernels.

    None for a test that names none: what it needs may not be documented, whatever its mode needs.
    """
    if parse_series(test.since) is None:
        return None
    known = [version for since in (test.since, mode.since if mode else None) if (version := parse_series(since))]
    return max(known, default=None)


def is_stable(kernel: Kernel) -> bool:
    """Whether a kernel is a point release, into which later things may have been backported."""
    return point_release(upstream(kernel.package_version, kernel.release)) > 0


def judge(
    row: Result, test: Test, kernel: Kernel, mode: Mode | None = None, issues: Issues | None = None
) -> Expectation:
    """Compare one verdict with the documented minimum.

    A kernel whose version cannot be read (a path, say) is held to no minimum, since there is nothing to hold it to.
    """
    return judge_beside(row, documented_minimum(test, mode), version_of(kernel), issues)


def version_of(kernel: Kernel) -> tuple[int, int] | None:
    """Return the series that a kernel is held to; None where none can be read."""
    return parse_series(kernel.series) or parse_series(kernel.release)


def judge_beside(
    row: Result, minimum: tuple[int, int] | None, version: tuple[int, int] | None, issues: Issues | None = None
) -> Expectation:
    """Compare one verdict with a documented minimum and a kernel's series that are known already.

    Args:
        row: the verdict.
        minimum: what `documented_minimum` says of its test and mode.
        version: what `version_of` says of its kernel.
        issues: the known issues of its results.
    """
    found = _beside(row, minimum, version)
    if found is Expectation.UNEXPECTED and issues is not None and issues.explaining(row) is not None:
        return Expectation.KNOWN
    return found


def _beside(row: Result, minimum: tuple[int, int] | None, version: tuple[int, int] | None) -> Expectation:
    if row.status in FAILURES or Qualifier.FLAKY in row.qualifiers:
        return Expectation.UNEXPECTED
    if row.status in OPEN:
        return Expectation.OPEN
    if minimum is None or version is None:
        return Expectation.AS_EXPECTED
    if row.status is Status.UNSUPPORTED and version >= minimum:
        return Expectation.UNEXPECTED
    if row.status is Status.PASS and version < minimum:
        return Expectation.EARLIER
    return Expectation.AS_EXPECTED


def judge_all(results: Results) -> list[Expectation]:
    """Judge every row, in the order of `results.results`."""
    tests = {test.id: test for test in results.tests}
    kernels = {kernel.id: kernel for kernel in results.kernels}
    modes = {mode.id: mode for mode in results.modes}
    issues = Issues(results)
    return [judge(row, tests[row.test], kernels[row.kernel], modes.get(row.mode), issues) for row in results.results]


def annotate(results: Results) -> Results:
    """Write the derived qualifiers into the rows, so that a reader of the JSON need not derive them."""
    derived = {
        Qualifier.UNEXPECTED,
        Qualifier.EARLIER_THAN_DOCUMENTED,
        Qualifier.BACKPORT,
        Qualifier.KNOWN_ISSUE,
    }
    stable = {kernel.id for kernel in results.kernels if is_stable(kernel)}
    rows = []
    for row, expectation in zip(results.results, judge_all(results), strict=True):
        kept = tuple(qualifier for qualifier in row.qualifiers if qualifier not in derived)
        plain = msgspec.structs.replace(row, qualifiers=kept)
        if expectation is Expectation.UNEXPECTED and row.status is Status.UNSUPPORTED:
            plain = with_qualifier(plain, Qualifier.UNEXPECTED)
        elif expectation is Expectation.KNOWN:
            plain = with_qualifier(plain, Qualifier.KNOWN_ISSUE)
        elif expectation is Expectation.EARLIER:
            backport = (Qualifier.BACKPORT,) if row.kernel in stable else ()
            plain = with_qualifier(plain, Qualifier.EARLIER_THAN_DOCUMENTED, *backport)
        rows.append(plain)
    return msgspec.structs.replace(results, results=tuple(rows))


def exit_code(results: Results, *, is_flaky_allowed: bool = False, is_error_open: bool = False) -> int:
    """Return what the command line returns for these results.

    Args:
        results: the whole run.
        is_flaky_allowed: let a cell that wavered count as its last attempt, not as its worst.
        is_error_open: take `error`, a test's own fault, for a cell without a verdict on the kernel.

    Returns:
        1 where a verdict is unexpected; else 3 where infrastructure left cells open, the run is incomplete or has no
        cell at all; else 0. A skip is no failure, but the report shows it.
    """
    if is_flaky_allowed:
        results = forgiven(results)
    expectations = {
        Expectation.OPEN if is_error_open and row.status is Status.ERROR else expectation
        for row, expectation in zip(results.results, judge_all(results), strict=True)
    }
    if Expectation.UNEXPECTED in expectations:
        return 1
    if Expectation.OPEN in expectations or not results.complete or not expectations:
        return 3
    return 0


def forgiven(results: Results) -> Results:
    """Return results in which every row that wavered is as if its last attempt had been the only one."""
    return msgspec.structs.replace(results, results=tuple(map(_forgiven, results.results)))


def _forgiven(row: Result) -> Result:
    """Return a row that wavered as if its last attempt had been the only one."""
    if Qualifier.FLAKY not in row.qualifiers or not row.attempts:
        return row
    kept = tuple(qualifier for qualifier in row.qualifiers if qualifier != Qualifier.FLAKY)
    return msgspec.structs.replace(row, status=row.attempts[-1].status, qualifiers=kept)
