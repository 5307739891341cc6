"""What results say that nobody documents: every disagreement, every change from kernel to kernel. Pure functions."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from reports.expectation import OPEN, is_stable, version_of
from reports.known_issues import Issues
from reports.records import Documented, Kernel, KnownIssue, Mode, Qualifier, Result, Results, Status, Test
from reports.versions import parse_series, upstream

HAS, LACKS, OFF, UNDETERMINED = "has", "lacks", "off", "not-determinable"
# How a row's evidence quotes the kernel's log: with priority and time, which differ in equal complaints.
_QUOTED = re.compile(r"kernel: (?:<\d+>)?(?:\[ *\d+\.\d+\] )?(.*)")


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why documentation and kernels disagree, as somebody found out."""

    why: str
    # The kernels, by series
    series: frozenset[str]
    # Ids of tests, each with the first kernel that is documented
    claims: frozenset[tuple[str, str]]


class Direction(StrEnum):
    """Which way observation and documentation disagree."""

    EARLIER = "earlier"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One word about the first kernel, and the kernels that contradict it in one way and for one reason."""

    direction: Direction
    test: Test
    documented: Documented
    kernels: tuple[Kernel, ...]
    # Of the first of those kernels
    row: Result
    # None where nobody explained it
    why: str | None
    # What follows from the results alone
    hint: str


@dataclass(frozen=True, slots=True)
class Contradiction:
    """What a kernel says of itself against what was observed there."""

    test: Test
    claimed: bool
    kernels: tuple[Kernel, ...]
    row: Result


@dataclass(frozen=True, slots=True)
class ModeDifference:
    """A test that does not come out the same in every mode of a kernel."""

    test: Test
    kernel: Kernel
    # Mode id and verdict, in the order of the modes
    verdicts: tuple[tuple[str, str], ...]
    # None where nobody explained it
    why: str | None
    # Of the first row that differs from the first mode's
    row: Result


@dataclass(frozen=True, slots=True)
class Complaint:
    """What kernels wrote into their log while tests ran: KASAN, lockdep, a warning; whatever the tests' verdicts."""

    line: str
    rows: tuple[tuple[Test, Kernel, Result], ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One test on two neighbouring kernels."""

    test: Test
    before: str
    after: str
    row: Result


@dataclass(frozen=True, slots=True)
class Step:
    """Everything that differs between two neighbouring kernels of an architecture."""

    older: Kernel
    newer: Kernel
    gained: tuple[Change, ...]
    lost: tuple[Change, ...]
    # To or from what says nothing about having it: switched off, not determinable, a failure, a skip
    other: tuple[Change, ...]
    limits: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Findings:
    """All of it."""

    kernels: tuple[Kernel, ...]
    disagreements: tuple[Disagreement, ...]
    contradictions: tuple[Contradiction, ...]
    # Why something is switched off or could not be told, and where: by state and reason
    withheld: Mapping[tuple[str, str], tuple[tuple[Test, tuple[Kernel, ...]], ...]]
    modes: tuple[ModeDifference, ...]
    # Tests that a mode cannot have, by mode id
    not_in_mode: Mapping[str, tuple[Test, ...]]
    steps: tuple[Step, ...]
    # Where each known issue shows
    known: tuple[tuple[KnownIssue, tuple[Result, ...]], ...]
    complaints: tuple[Complaint, ...]


def findings(results: Results, explanations: Sequence[Explanation] = ()) -> Findings:
    """Find everything that documentation does not lead to expect, and all that changes from kernel to kernel."""
    seen = _Seen(results, explanations)
    return Findings(
        kernels=seen.kernels,
        disagreements=tuple(one for test in results.tests for one in seen.disagreements(test)),
        contradictions=tuple(one for test in results.tests for one in seen.contradictions(test)),
        withheld=seen.withheld(),
        modes=tuple(seen.mode_differences()),
        not_in_mode=seen.not_in_mode(),
        steps=tuple(seen.steps()),
        known=tuple(
            (
                issue,
                tuple(row for row in results.results if "known-issue" in row.qualifiers and issue in seen.known(row)),
            )
            for issue in results.known_issues
        ),
        complaints=tuple(seen.complaints()),
    )


def observed(row: Result) -> str:
    """Say what a row found: a capability's state; of a test `has` if it passes, and `lacks` if it is unsupported."""
    if row.state is not None and row.status in {Status.PASS, Status.UNSUPPORTED, Status.SKIP}:
        return row.state
    return {Status.PASS: HAS, Status.UNSUPPORTED: LACKS}.get(row.status, str(row.status))


class _Seen:
    """Results, looked up by test and kernel."""

    def __init__(self, results: Results, explanations: Sequence[Explanation]) -> None:
        self._results = results
        self._explanations = explanations
        self._issues = Issues(results)
        self.modes = {mode.id: mode for mode in results.modes}
        self._tests = {test.id: test for test in results.tests}
        plain = next((mode for mode in results.modes if not mode.flags), None)
        # Documentation speaks of a kernel, not of a mode: one mode stands for it.
        self._mode = plain or next(iter(results.modes), Mode(id=""))
        self._rows = {(row.test, row.kernel): row for row in results.results if row.mode == self._mode.id}
        judged = {row.kernel for row in results.results if row.status not in OPEN}
        self.kernels = tuple(kernel for kernel in results.kernels if kernel.id in judged)
        # By first kernel and the kernel that has something earlier
        self._early = {
            (word.since, kernel.id)
            for test in results.tests
            for word in test.documented
            for kernel, row in self.rows(test)
            if _contradicts(word, kernel, row) is Direction.EARLIER
        }

    def known(self, row: Result) -> tuple[KnownIssue, ...]:
        return self._issues.covering(row.key)

    def rows(self, test: Test) -> list[tuple[Kernel, Result]]:
        found = ((kernel, self._rows.get((test.id, kernel.id))) for kernel in self.kernels)
        return [(kernel, row) for kernel, row in found if row is not None]

    def disagreements(self, test: Test) -> Iterable[Disagreement]:
        said = test.documented or (
            (Documented(since=test.since, where="the test's documented minimum"),) if test.since else ()
        )
        for word in said:
            groups: dict[tuple[Direction, str | None, str], list[tuple[Kernel, Result]]] = {}
            for kernel, row in self.rows(test):
                direction = _contradicts(word, kernel, row)
                # What it exercises is there earlier, and is told of by itself.
                is_told = not test.documented and (word.since, kernel.id) in self._early
                if direction is not None and not (direction is Direction.EARLIER and is_told):
                    place = direction, self._why(test, word, kernel, row), self._hint(test, said, direction, kernel)
                    groups.setdefault(place, []).append((kernel, row))
            for (direction, why, hint), own in groups.items():
                yield Disagreement(direction, test, word, tuple(kernel for kernel, _ in own), own[0][1], why, hint)

    def _why(self, test: Test, word: Documented, kernel: Kernel, row: Result) -> str | None:
        for one in self._explanations:
            if (test.id, word.since) in one.claims and kernel.series in one.series:
                return one.why
        issue = self._issues.explaining(row)
        return issue.reason if issue is not None else None

    def _hint(self, test: Test, said: Sequence[Documented], direction: Direction, kernel: Kernel) -> str:
        if direction is Direction.EARLIER:
            # A first release has no backports; one that does not tell its point release may have some.
            is_first = upstream(kernel.package_version, kernel.release) is not None and not is_stable(kernel)
            return "the page is too careful" if is_first else "a backport, or a page that is too careful"
        rows = self.rows(test)
        fitting = [
            word for word in said if not any(_contradicts(word, one, row) is Direction.MISSING for one, row in rows)
        ]
        if fitting:
            return f"{fitting[0].where} has it since {fitting[0].since}, which fits"
        place = [one.id for one, _ in rows].index(kernel.id)
        if any(observed(row) == HAS for _, row in rows[:place]):
            return "a regression: an older kernel has it"
        return "no older kernel has it either"

    def contradictions(self, test: Test) -> Iterable[Contradiction]:
        groups: dict[bool, list[tuple[Kernel, Result]]] = {}
        for kernel, row in self.rows(test):
            if row.claimed is not None and observed(row) == (LACKS if row.claimed else HAS):
                groups.setdefault(row.claimed, []).append((kernel, row))
        for claimed, own in groups.items():
            yield Contradiction(test, claimed, tuple(kernel for kernel, _ in own), own[0][1])

    def withheld(self) -> dict[tuple[str, str], tuple[tuple[Test, tuple[Kernel, ...]], ...]]:
        found: dict[tuple[str, str], dict[str, list[Kernel]]] = {}
        for test in self._results.tests:
            for kernel, row in self.rows(test):
                if observed(row) in {OFF, UNDETERMINED}:
                    found.setdefault((observed(row), row.reason), {}).setdefault(test.id, []).append(kernel)
        return {
            place: tuple((self._tests[name], tuple(kernels)) for name, kernels in own.items())
            for place, own in sorted(found.items(), key=lambda item: item[0][0] != OFF)
        }

    def mode_differences(self) -> Iterable[ModeDifference]:
        cells: dict[tuple[str, str], dict[str, Result]] = {}
        for row in self._results.results:
            cells.setdefault((row.test, row.kernel), {})[row.mode] = row
        for test in self._results.tests:
            for kernel in self.kernels:
                own = cells.get((test.id, kernel.id), {})
                verdicts = tuple(
                    (mode.id, observed(own[mode.id]))
                    for mode in self._results.modes
                    if mode.id in own and own[mode.id].status not in OPEN and _is_offered(mode, kernel, own[mode.id])
                )
                differing = [own[mode] for mode, verdict in verdicts if verdict != verdicts[0][1]]
                if differing:
                    issues = [self._issues.explaining(row) for row in differing]
                    why = " ".join(dict.fromkeys(issue.reason for issue in issues if issue is not None))
                    yield ModeDifference(test, kernel, verdicts, None if None in issues else why, differing[0])

    def not_in_mode(self) -> dict[str, tuple[Test, ...]]:
        there = {(row.test, row.mode) for row in self._results.results}
        tests = [one for one in self._results.tests if one.kind != "capability" and (one.id, self._mode.id) in there]
        found = {mode: tuple(one for one in tests if (one.id, mode) not in there) for mode in self.modes}
        return {mode: own for mode, own in found.items() if own}

    def complaints(self) -> Iterable[Complaint]:
        kernels = {(kernel.id, kernel.arch): kernel for kernel in self.kernels}
        found: dict[str, list[tuple[Test, Kernel, Result]]] = {}
        for row in self._results.results:
            if Qualifier.KERNEL_WARNING in row.qualifiers and (kernel := kernels.get((row.kernel, row.arch))):
                said = [quoted[1] for line in row.evidence if (quoted := _QUOTED.match(line))]
                for line in dict.fromkeys(said or ["a line that only its log has"]):
                    found.setdefault(line, []).append((self._tests[row.test], kernel, row))
        return (Complaint(line, tuple(rows)) for line, rows in found.items())

    def steps(self) -> Iterable[Step]:
        for arch in dict.fromkeys(kernel.arch for kernel in self.kernels):
            for older, newer in pairwise(kernel for kernel in self.kernels if kernel.arch == arch):
                yield self._step(older, newer)

    def _step(self, older: Kernel, newer: Kernel) -> Step:
        gained: list[Change] = []
        lost: list[Change] = []
        other: list[Change] = []
        limits: list[Change] = []
        for test in self._results.tests:
            then, now = (self._rows.get((test.id, kernel.id)) for kernel in (older, newer))
            if then is None or now is None or {then.status, now.status} & OPEN:
                continue
            before, after = observed(then), observed(now)
            change = Change(test, before, after, now)
            if before != after:
                kind = {(LACKS, HAS): gained, (HAS, LACKS): lost}.get((before, after), other)
                kind.append(change)
            elif then.value != now.value:
                limits.append(Change(test, _value(then), _value(now), now))
        return Step(older, newer, tuple(gained), tuple(lost), tuple(other), tuple(limits))


def _contradicts(word: Documented, kernel: Kernel, row: Result) -> Direction | None:
    first, here = parse_series(word.since), version_of(kernel)
    if first is None or here is None:
        return None
    found = observed(row)
    if found == HAS and here < first:
        return Direction.EARLIER
    return Direction.MISSING if found == LACKS and here >= first else None


def _is_offered(mode: Mode, kernel: Kernel, row: Result) -> bool:
    """Whether a mode is one that a kernel should have: that an older one lacks it says nothing about the test."""
    first, here = parse_series(mode.since), version_of(kernel)
    return not (row.status is Status.UNSUPPORTED and first is not None and here is not None and here < first)


def _value(row: Result) -> str:
    return "none" if row.value is None else f"{row.value:,}"
