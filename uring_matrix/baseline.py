"""`uring-matrix run --baseline`: what a run means beside an earlier one."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Self

import msgspec

from reports.diff import Change, Diff, Gate, as_builtins, diff, diff_columns, gate
from reports.diff_text import conclusion
from reports.results import Expectation, Results, judge_all
from uring_matrix import output
from uring_matrix.diff import exit_code, lines


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run held against its baseline."""

    found: Diff
    decided: Gate
    # Unexpected verdicts of cells that the baseline does not have: nothing excuses them
    fresh: int

    @classmethod
    def of(
        cls,
        baseline: Results,
        own: Results,
        baseline_name: str,
        own_name: str,
        is_whole: tuple[bool, bool],
        fail_on: Collection[str],
    ) -> Self:
        """Compare.

        Args:
            baseline: the earlier results.
            own: what the run was asked for.
            baseline_name: what the text calls the one.
            own_name: and the other.
            is_whole: whether the run was to have every kernel, and every test: what of the baseline lies outside of
                what was asked for is not missing.
            fail_on: see `reports.diff.gate`.
        """
        names = {"old_name": baseline_name, "new_name": own_name}
        tests = {row.test for row in own.results}
        if not is_whole[1]:
            baseline = _only(baseline, tests=tests)
        if len(baseline.kernels) == len(own.kernels) == 1:
            found = diff_columns(baseline, baseline.kernels[0].id, own, own.kernels[0].id, **names)
        else:
            if not is_whole[0]:
                baseline = _only(baseline, kernels={kernel.id for kernel in own.kernels})
            found = diff(_only(baseline, modes={row.mode for row in own.results}), own, **names)
        # New failures are counted as such.
        appeared = [entry for entry in found.entries if entry.change is Change.APPEARED]
        known = {(entry.test, entry.new_kernel, entry.arch, entry.mode) for entry in appeared}
        unexpected = {
            (row.test, row.kernel, row.arch, row.mode)
            for row, expectation in zip(own.results, judge_all(own), strict=True)
            if expectation is Expectation.UNEXPECTED
        }
        return cls(found, gate(found, fail_on), len(known & unexpected))

    def code(self, own: int) -> int:
        """The exit code of the run: a regression is bad, a hole is a hole, and what the baseline has is known.

        Args:
            own: what the run alone would exit with.
        """
        if own in (output.USAGE, output.INTERRUPTED):
            return own
        if self.decided.bad or self.fresh:
            return output.UNEXPECTED
        if own == output.INFRASTRUCTURE:
            return own
        return exit_code(self.decided)

    def say(self) -> None:
        """Write it to standard output."""
        for line in lines(self.found, self.decided):
            output.say(line)
        if self.fresh:
            cells = "1 cell that is" if self.fresh == 1 else f"{self.fresh:,} cells that are"
            output.say(f"and {cells} not in the baseline: unexpected")

    def as_builtins(self) -> dict[str, Any]:
        """The comparison for `--json`."""
        return as_builtins(self.found) | {
            "conclusion": conclusion(self.found, self.decided),
            "is_green": self.decided.is_green and not self.fresh,
            "new_and_unexpected": self.fresh,
        }


def _only(
    results: Results,
    *,
    kernels: Collection[str] | None = None,
    tests: Collection[str] | None = None,
    modes: Collection[str] | None = None,
) -> Results:
    """The part of a run that is about some kernels, tests or modes."""
    wanted = (("kernel", kernels), ("test", tests), ("mode", modes))
    rows = tuple(
        row for row in results.results if all(names is None or getattr(row, field) in names for field, names in wanted)
    )
    used = {row.kernel for row in rows}
    return msgspec.structs.replace(
        results, results=rows, kernels=tuple(kernel for kernel in results.kernels if kernel.id in used)
    )
