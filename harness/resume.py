"""What a resumed run keeps: verdicts whose whole key is the same. And what it judges again, and why."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from harness.cell_inputs import CHANGED, KERNEL, TestInputs
from harness.cells import Cell, split_node_id
from harness.names import TestName, TestNames, name_of
from reports.results import Kernel, Provenance, Results, remaining

TEST_CHANGED = "whose test changed"
UNRECORDED = "of which an older version did not record what they were obtained with"


@dataclass(frozen=True, slots=True)
class EarlierCell:
    """A verdict of an earlier run."""

    test: TestName
    kernel: str
    arch: str
    mode: str
    # The word for its test; None where an earlier version wrote it.
    inputs: str | None
    # Which of the column's inputs differs, as a resumed run says it; empty if none does.
    changed: str = ""


@dataclass(slots=True)
class Sorted:
    """What became of the cells that a resumed run was asked for."""

    # Item ids of those that keep their verdict.
    kept: list[str] = field(default_factory=list)
    # How many are judged again, by the reason.
    again: dict[str, int] = field(default_factory=dict)

    def judge_again(self, why: str) -> None:
        """Count a cell."""
        self.again[why] = self.again.get(why, 0) + 1

    def sentence(self) -> str | None:
        """Say what is judged again, if anything."""
        total = sum(self.again.values())
        if not total:
            return None
        cells = "1 cell is" if total == 1 else f"{total:,} cells are"
        return f"{cells} run again: {', '.join(f'{count:,} {why}' for why, count in self.again.items())}"


def earlier_cells(results: Results, columns: Mapping[tuple[str, str], Kernel]) -> tuple[EarlierCell, ...]:
    """List the verdicts that a run may keep.

    Args:
        results: of earlier runs.
        columns: what is known of this run's kernels, by id and architecture.
    """
    tests = {test.id: name_of(test) for test in results.tests}
    provenance = Provenance(results)
    open_cells = set(remaining(results))
    return tuple(
        EarlierCell(
            tests[row.test],
            row.kernel,
            row.arch,
            row.mode,
            row.inputs,
            _changed(provenance.kernel_of(row), columns[row.kernel, row.arch]),
        )
        for row in results.results
        if row.key not in open_cells and (row.kernel, row.arch) in columns
    )


def _changed(before: Kernel, now: Kernel) -> str:
    """Say which input of a column is another one now."""
    if not before.inputs:
        return UNRECORDED
    names = (name for name in CHANGED if before.inputs.get(name) != now.inputs.get(name))
    return next((CHANGED[name] for name in names), "")


def sort(
    items: Sequence[pytest.Item],
    cells: Mapping[str, Cell],
    names: TestNames,
    inputs: TestInputs,
    earlier: Iterable[EarlierCell],
) -> Sorted:
    """Say of each item whether its verdict is there.

    Args:
        items: those that were asked for.
        cells: the session's, by id.
        names: names them.
        inputs: makes the words for what their verdicts are obtained with.
        earlier: what `earlier_cells` returned.
    """
    known: dict[tuple[str, str, str, str], list[EarlierCell]] = {}
    for one in earlier:
        known.setdefault((one.test.node, one.kernel, one.arch, one.mode), []).append(one)
    found = Sorted()
    for item in items:
        if (split := split_node_id(item.nodeid, cells)) is None:
            continue
        name, cell = names.of(split[0]), split[1]
        candidates = known.get((name.node, cell.kernel, cell.arch, cell.mode), ())
        verdict = next((one for one in candidates if one.test.is_same(name)), None)
        if verdict is None:
            continue
        if verdict.changed in {CHANGED[KERNEL], UNRECORDED}:
            found.judge_again(verdict.changed)
        elif verdict.inputs != inputs.of(item, name.node):
            found.judge_again(TEST_CHANGED)
        elif verdict.changed:
            found.judge_again(verdict.changed)
        else:
            found.kept.append(item.nodeid)
    return found
