"""What a verdict is to tools that know fewer: one decision per cell, which every format translates.

The words of other tools are about tests; ours are about kernels. A hole never becomes a pass or a skip, and nothing
that the run's exit code calls unexpected does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from reports.expectation import Expectation, judge_all
from reports.provenance import Provenance, with_provenance
from reports.records import Kernel, Mode, Qualifier, Result, Results, Status, Test


class Outcome(StrEnum):
    """What came of a cell."""

    PASSED = "passed"
    # The kernel did something else than it should, or lacks what its version should have.
    FAILED = "failed"
    # It ran, and says nothing certain of the kernel: the test is broken, did not end, or wavers.
    UNDECIDED = "undecided"
    # The kernel lacks it, and nobody expects it there.
    LACKING = "lacking"
    # The test declined to judge, or the verdict is a known issue.
    DECLINED = "declined"
    # There is no verdict: the environment prevented it, or the run ended before.
    MISSING = "missing"


OUTCOMES = {
    Status.PASS: Outcome.PASSED,
    Status.FAIL: Outcome.FAILED,
    Status.CRASH: Outcome.FAILED,
    Status.ERROR: Outcome.UNDECIDED,
    Status.TIMEOUT: Outcome.UNDECIDED,
    Status.UNSUPPORTED: Outcome.LACKING,
    Status.SKIP: Outcome.DECLINED,
    Status.INFRA: Outcome.MISSING,
    Status.NOTRUN: Outcome.MISSING,
}
_HARMLESS = frozenset({Outcome.PASSED, Outcome.LACKING, Outcome.DECLINED})


@dataclass(frozen=True, slots=True)
class Cell:
    """A row, with all that it refers to."""

    row: Result
    test: Test
    # As the row's run knew it, with where and when that was
    kernel: Kernel
    mode: Mode
    expectation: Expectation
    outcome: Outcome

    @property
    def name(self) -> str:
        """The item's name as pytest shows it, unique in the file."""
        return f"{self.test.id}[{self.row.kernel}-{self.row.mode}]"

    @property
    def is_flaky(self) -> bool:
        """Whether attempts did not agree."""
        return Qualifier.FLAKY in self.row.qualifiers


def outcome(row: Result, expectation: Expectation) -> Outcome:
    """Say what came of a cell, by its verdict and by what was expected."""
    plain = OUTCOMES[row.status]
    if expectation is Expectation.KNOWN:
        # As pytest's xfail: neither good nor news.
        return plain if plain in _HARMLESS and row.status is not Status.PASS else Outcome.DECLINED
    if expectation is not Expectation.UNEXPECTED or plain not in _HARMLESS:
        return plain
    return Outcome.UNDECIDED if Qualifier.FLAKY in row.qualifiers else Outcome.FAILED


def cells(results: Results) -> Iterator[Cell]:
    """Yield every cell, in the order of the results."""
    tests = {test.id: test for test in results.tests}
    modes = {mode.id: mode for mode in results.modes}
    provenance = Provenance(results)
    # One object for all cells of a run's column, so that what follows from it need not be derived for each.
    kernels: dict[tuple[str, str | None], Kernel] = {}
    for row, expectation in zip(results.results, judge_all(results), strict=True):
        place = row.kernel, row.run
        if place not in kernels:
            kernels[place] = with_provenance(provenance.kernel_of(row), results)
        yield Cell(row, tests[row.test], kernels[place], modes[row.mode], expectation, outcome(row, expectation))


def holes(results: Results) -> list[str]:
    """Say what is missing that no row stands for: a file in which all rows pass is not green above it."""
    judged = {row.kernel for row in results.results}
    found = [f"{kernel.id}: {kernel.error}" for kernel in results.kernels if kernel.error and kernel.id not in judged]
    if not results.complete:
        found.insert(0, "the run is not complete: it was interrupted or died, or cells have no verdict")
    if not results.results:
        found.append("no cell was planned")
    return found
