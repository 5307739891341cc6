"""`uring-matrix run --baseline`: what a run means beside an earlier one."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import click
import msgspec

from reports.diff import Change, Diff, Gate, Side, as_builtins, diff_sides, gate
from reports.diff_text import conclusion
from reports.markdown import of_run
from reports.pairing import same_kernels
from reports.results import CellKey, Expectation, Result, Results, judge_all
from reports.summary import Summary
from uring_matrix import github, output
from uring_matrix.diff import exit_code, lines


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run was to have: all that there is, or what somebody chose. What was not chosen is not missing."""

    all_kernels: bool
    all_tests: bool
    all_modes: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run held against its baseline."""

    found: Diff
    decided: Gate
    # Unexpected verdicts of cells that the baseline does not have: nothing excuses them
    fresh: tuple[Result, ...]

    @classmethod
    def of(cls, baseline: Side, own: Side, asked: Asked, fail_on: Collection[str]) -> Self:
        """Compare.

        Args:
            baseline: the earlier results.
            own: what the run was asked for.
            asked: what of the baseline is missing if the run does not have it.
            fail_on: see `reports.diff.gate`.
        """
        left_out: list[str] = []
        old, rows = baseline.results, own.results.results
        if not asked.all_tests:
            old = _only(old, tests={row.test for row in rows})
        if baseline.kernel is not None:
            old = _only(old, kernels={baseline.kernel})
        elif not asked.all_kernels and not len(old.kernels) == len(own.results.kernels) == 1:
            names = [kernel.id for kernel in own.results.kernels]
            same = same_kernels(old.kernels, own.results.kernels)
            if not same and not any(kernel.id in names for kernel in old.kernels):
                left_out.append(
                    f"the baseline has no {', '.join(names)}; {baseline.name}#KERNEL is one of its kernels: "
                    f"{', '.join(kernel.id for kernel in old.kernels)}"
                )
            old = _only(old, kernels=[*names, *same.values()])
        if not asked.all_modes:
            modes = list(dict.fromkeys(row.mode for row in rows))
            left_out += [
                f"mode {mode} of the baseline was not asked for, and is not compared"
                for mode in dict.fromkeys(row.mode for row in old.results)
                if mode not in modes
            ]
            old = _only(old, modes=modes)
        # A column of which nothing was asked for is not there any more.
        is_column = any(kernel.id == baseline.kernel for kernel in old.kernels)
        found = diff_sides(Side(baseline.name, old, baseline.kernel if is_column else None), own)
        found = replace(found, caveats=(*found.caveats, *left_out))
        # New failures are counted as such.
        appeared = [entry for entry in found.entries if entry.change is Change.APPEARED]
        known = {(entry.test, entry.new_kernel, entry.arch, entry.mode) for entry in appeared}
        fresh = tuple(
            row
            for row, expectation in zip(rows, judge_all(own.results), strict=True)
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

    def say(self, write: Callable[[str], None] = output.say) -> None:
        """Write it, to standard output unless told otherwise."""
        for line in lines(self.found, self.decided):
            write(line)
        if self.fresh:
            count = len(self.fresh)
            cells = "1 cell that is" if count == 1 else f"{count:,} cells that are"
            write(click.style(f"and {cells} not in the baseline: unexpected", fg="red", bold=True))

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


def leave_for_github(
    own: Results, summary: Summary, compared: Comparison | None, *, is_green: bool, has_errors: bool = True
) -> None:
    """Leave a run's summary, and its errors, where GitHub Actions is there to show them.

    Args:
        own: the run.
        summary: its cells, sorted.
        compared: what it is beside its baseline, if it has one.
        is_green: whether it is good, all things considered.
        has_errors: whether what is not good is an error of the command's.
    """
    beside = None if compared is None else (compared.found, compared.decided)
    fresh = () if compared is None else compared.fresh

    def document(limit_bytes: int) -> str:
        return of_run(own, summary, is_green=is_green, limit_bytes=limit_bytes, beside=beside, fresh=fresh)

    github.summarize(document)
    if has_errors and not is_green:
        github.annotate(github.errors_of_run(summary, own) if compared is None else compared.errors(summary, own))


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
