"""`uring-matrix run --baseline`: what a run means beside an earlier one."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import click
import msgspec

from reports.diff import Change, Diff, Gate, as_builtins, diff, diff_columns, gate
from reports.diff_text import conclusion
from reports.results import CellKey, Expectation, Result, Results, judge_all
from reports.summary import Summary
from uring_matrix import github, output
from uring_matrix.diff import exit_code, lines


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run held against its baseline."""

    found: Diff
    decided: Gate
    # Unexpected verdicts of cells that the baseline does not have: nothing excuses them
    fresh: tuple[Result, ...]

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
        fresh = tuple(
            row
            for row, expectation in zip(own.results, judge_all(own), strict=True)
            if expectation is Expectation.UNEXPECTED and row.key in known
        )
        return cls(found, gate(found, fail_on), fresh)

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
            count = len(self.fresh)
            cells = "1 cell that is" if count == 1 else f"{count:,} cells that are"
            output.say(click.style(f"and {cells} not in the baseline: unexpected", fg="red", bold=True))

    @property
    def told(self) -> frozenset[CellKey]:
        """The cells that are told of by what became of them; what is the same as before is not among them."""
        changed = {CellKey(entry.test, entry.new_kernel, entry.arch, entry.mode) for entry in self.found.entries}
        return frozenset(changed - {row.key for row in self.fresh})

    def errors(self, summary: Summary, own: Results) -> Iterator[github.Error]:
        """Say what a run is red for beside its baseline, the worst first.

        Args:
            summary: the run's cells, sorted.
            own: the run.
        """
        if self.decided.is_green and not self.fresh:
            # A hole that no comparison was to count is one nevertheless where the run itself has it.
            yield from github.errors_of_run(replace(summary, unexpected=()), own)
        yield from github.errors_of_diff(self.found, self.decided)
        yield from github.errors_of_cells("Unexpected, and not in the baseline", self.fresh, own)

    def as_builtins(self) -> dict[str, Any]:
        """The comparison for `--json`."""
        return as_builtins(self.found) | {
            "conclusion": conclusion(self.found, self.decided),
            "is_green": self.decided.is_green and not self.fresh,
            "new_and_unexpected": len(self.fresh),
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
