"""What the suite's results in a broken kernel say, beside those in the unbroken one. Pure: no process, no file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from kernel_changes import KernelChange

from reports.results import Qualifier, Result, Results, Status, Test

RATE_MIN = 0.95
# How a test says that the kernel is wrong.
NOTICING = (Status.FAIL, Status.TIMEOUT)
# What says nothing about the kernel.
_OPEN = frozenset({Status.INFRA, Status.NOTRUN})


class Kind(StrEnum):
    """What became of a broken kernel."""

    # A test that is about what is broken failed or hung.
    NOTICED = "noticed"
    # Only other tests did.
    ELSEWHERE = "elsewhere"
    # No test did, and what is observed of the kernel is another.
    OBSERVED = "observed"
    # No test failed, and the kernel died under one.
    CRASHED = "crashed"
    # No test failed, and one broke: a test has to fail.
    ERROR = "error"
    UNNOTICED = "unnoticed"
    # Nobody can tell, and nobody did.
    UNDETECTABLE = "undetectable"
    # It was not built, or its results are not whole.
    OPEN = "open"


# By a test, wherever.
BY_TESTS = frozenset({Kind.NOTICED, Kind.ELSEWHERE})
# Those that a judgement counts.
COUNTED = (Kind.NOTICED, Kind.ELSEWHERE, Kind.OBSERVED, Kind.CRASHED, Kind.ERROR, Kind.UNNOTICED)


@dataclass(frozen=True, slots=True)
class Sign:
    """A verdict that is another one than in the unbroken kernel."""

    test: str
    mode: str
    status: str
    reason: str
    # Whether the test exercises what is broken.
    is_about: bool


@dataclass(frozen=True, slots=True)
class Judgement:
    """A broken kernel and what the suite made of it."""

    id: str
    area: str
    kind: Kind
    title: str
    about: tuple[str, ...]
    # By tests first that are about it.
    signs: tuple[Sign, ...] = ()
    # Ids of capabilities of which something else was observed.
    observed: tuple[str, ...] = ()
    # What the kernel complained of that it does not complain of unbroken, with the test during which it did.
    complaints: tuple[str, ...] = ()
    # Why nothing can be noticed, or why nothing is known.
    why: str = ""


def judge(change: KernelChange, unbroken: Results, broken: Results) -> Judgement:
    """Judge what the suite noticed of a change."""
    before = {(row.test, row.mode): row for row in unbroken.results}
    tests = {test.id: test for test in broken.tests}
    rows = [(row, before.get((row.test, row.mode))) for row in broken.results]
    signs = tuple(
        sorted(
            (
                Sign(row.test, row.mode, row.status, row.reason, is_about(change, tests[row.test]))
                for row, old in rows
                if not tests[row.test].is_capability and old is not None and row.status not in {old.status, *_OPEN}
            ),
            key=lambda sign: not sign.is_about,
        )
    )
    observed = tuple(
        row.test
        for row, old in rows
        if tests[row.test].is_capability
        and old is not None
        and row.status not in _OPEN
        and (row.state, row.value, row.claimed) != (old.state, old.value, old.claimed)
    )
    complaints = tuple(
        f"{row.test}: {line}"
        for row, old in rows
        if old is not None
        for line in _complaints(row)
        if not _complaints(old)
    )
    whole = not any(row.status in _OPEN for row in broken.results) and broken.complete
    kind = _kind(signs, observed)
    why = change.undetectable
    if kind is Kind.UNNOTICED and not whole:
        kind, why = Kind.OPEN, "its results are not whole"
    elif kind is Kind.UNNOTICED and change.undetectable:
        kind = Kind.UNDETECTABLE
    return Judgement(change.id, change.area, kind, change.title, change.about, signs, observed, complaints, why)


def is_about(change: KernelChange, test: Test) -> bool:
    """Whether a test exercises what a change breaks."""
    function = test.id.partition("[")[0]
    return function in change.about or not set(change.about).isdisjoint(test.symbols)


def not_known(change: KernelChange, why: str) -> Judgement:
    """Of a change that nothing is known of."""
    return Judgement(change.id, change.area, Kind.OPEN, change.title, change.about, why=why)


def _kind(signs: Sequence[Sign], observed: Sequence[str]) -> Kind:
    noticing = [sign for sign in signs if sign.status in NOTICING]
    if any(sign.is_about for sign in noticing):
        return Kind.NOTICED
    if noticing:
        return Kind.ELSEWHERE
    statuses = {sign.status for sign in signs}
    if Status.CRASH in statuses:
        return Kind.CRASHED
    if Status.ERROR in statuses:
        return Kind.ERROR
    return Kind.OBSERVED if observed else Kind.UNNOTICED


def _complaints(row: Result) -> list[str]:
    """What the kernel's log says beside a verdict."""
    if Qualifier.KERNEL_WARNING not in row.qualifiers:
        return []
    return [line.removeprefix("kernel: ") for line in row.evidence if line.startswith("kernel: ")] or ["(see its log)"]


def baseline_faults(unbroken: Results) -> list[str]:
    """What is wrong in the unbroken kernel: nothing can be told from a test that fails there."""
    tests = {test.id: test for test in unbroken.tests}
    wrong = (Status.FAIL, Status.TIMEOUT, Status.CRASH, Status.ERROR, *_OPEN)
    rows = [row for row in unbroken.results if not tests[row.test].is_capability or row.status in _OPEN]
    return [
        *(f"{row.test} [{row.mode}]: {row.status}: {row.reason}" for row in rows if row.status in wrong),
        *(f"{row.test} [{row.mode}]: {line}" for row in unbroken.results for line in _complaints(row)),
    ]


@dataclass(frozen=True, slots=True)
class Report:
    """All of one source."""

    # `linux-source-6.1=6.1.176-1`
    source: str
    judgements: tuple[Judgement, ...]
    # What is wrong without any change.
    baseline: tuple[str, ...] = ()
    counts: Mapping[Kind, int] = field(default_factory=dict)

    @classmethod
    def of(cls, source: str, judgements: Iterable[Judgement], baseline: Iterable[str]) -> Report:
        """Put it together."""
        found = tuple(judgements)
        return cls(source, found, tuple(baseline), Counter(one.kind for one in found))

    @property
    def rate(self) -> float:
        """The share that a test noticed, of those of which one could."""
        counted = sum(self.counts.get(kind, 0) for kind in COUNTED)
        return sum(self.counts.get(kind, 0) for kind in BY_TESTS) / counted if counted else 1.0

    @property
    def wrong_judgements(self) -> list[str]:
        """Changes that are said to be undetectable, and were noticed."""
        return [one.id for one in self.judgements if one.why and one.kind not in {Kind.UNDETECTABLE, Kind.OPEN}]

    @property
    def code(self) -> int:
        """The exit code: 1 where a change is not noticed by a test, 3 where something is not known."""
        if any(one.kind in COUNTED and one.kind not in BY_TESTS for one in self.judgements) or self.wrong_judgements:
            return 1
        return 3 if self.counts.get(Kind.OPEN) or self.baseline else 0

    def sentence(self) -> str:
        """The last line."""
        parts = [f"{self.counts[kind]} {kind}" for kind in Kind if self.counts.get(kind)]
        return (
            f"{self.source}: {len(self.judgements)} broken kernels: {', '.join(parts)}; tests noticed {self.rate:.1%}"
        )

    def as_builtins(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "source": self.source,
            "rate": round(self.rate, 4),
            "counts": {str(kind): count for kind, count in self.counts.items()},
            "baseline": list(self.baseline),
            "changes": [asdict(one) for one in self.judgements],
        }


def markdown(report: Report) -> str:
    """The report as Markdown: figures, what nobody noticed, and a line for each of the others."""
    lines = [f"## {report.source}", "", f"{report.sentence()}.", ""]
    if report.baseline:
        lines += ["Without any change:", "", *(f"- {line}" for line in report.baseline), ""]
    open_kinds = (Kind.UNNOTICED, Kind.OBSERVED, Kind.ERROR, Kind.CRASHED, Kind.ELSEWHERE, Kind.OPEN, Kind.UNDETECTABLE)
    for kind in open_kinds:
        rows = [one for one in report.judgements if one.kind is kind]
        if rows:
            lines += [f"### {kind.capitalize()}: {len(rows)}", "", "| Change | What is wrong | A test of | Signs |"]
            lines += ["| --- | --- | --- | --- |", *map(_row, rows), ""]
    rows = [one for one in report.judgements if one.kind is Kind.NOTICED]
    if rows:
        lines += [f"### Noticed: {len(rows)}", "", "| Change | By |", "| --- | --- |"]
        lines += [f"| `{one.id}` | {_tests(sign for sign in one.signs if sign.is_about)} |" for one in rows]
        lines += [""]
    return "\n".join(lines)


def _row(one: Judgement) -> str:
    signs = [_tests(one.signs)] if one.signs else []
    signs += [f"observed: {', '.join(one.observed[:3])}"] if one.observed else []
    signs += [f"the kernel complained: {len(one.complaints)}"] if one.complaints else []
    signs += [one.why] if one.why else []
    cells = [f"`{one.id}`", one.title, ", ".join(f"`{name}`" for name in one.about), "; ".join(signs)]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|').splitlines()[0] if cell else '' for cell in cells)} |"


def _tests(signs: Iterable[Sign]) -> str:
    names = [f"`{sign.test}` ({sign.status})" for sign in signs]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
