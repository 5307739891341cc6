"""Columns of two results that are about the same kernel, whatever they are called."""

import pytest
import sample
from msgspec.structs import replace

from reports.diff import Change, Side, diff, gate
from reports.pairing import same_kernels
from reports.results import Kernel, Results
from uring_matrix.baseline import Asked, Comparison
from uring_matrix.diff import lines


def kernel(name: str, sha256: str | None = None, version: str | None = None, arch: str = "amd64") -> Kernel:
    package = "linux-image-6.1.0-47-cloud-amd64" if version else None
    known = sample.whole().kernels[1]
    return replace(known, id=name, sha256=sha256, package=package, package_version=version, arch=arch)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([kernel("6.1", "a")], [kernel("6.1.0-47", "a")], {"6.1.0-47": "6.1"}),
        ([kernel("6.1", None, "6.1.170-3")], [kernel("6.1.0-47", "a", "6.1.170-3")], {"6.1.0-47": "6.1"}),
        ([kernel("6.1", "a", "6.1.170-3")], [kernel("6.1.0-47", "b", "6.1.170-3")], {}),
        ([kernel("6.1", "a")], [kernel("6.1.0-47", "a", arch="arm64")], {}),
        ([kernel("6.1", None)], [kernel("6.1.0-47", None)], {}),
        # In more than one way
        ([kernel("6.1", "a"), kernel("mine", "a")], [kernel("6.1.0-47", "a")], {}),
        ([kernel("6.1", "a")], [kernel("6.1.0-47", "a"), kernel("mine", "a")], {}),
        # A name says it already
        ([kernel("6.1", "a"), kernel("mine", "b")], [kernel("6.1", "b"), kernel("other", "a")], {}),
    ],
)
def test_the_same_image_is_the_same_kernel(old: list[Kernel], new: list[Kernel], expected: dict[str, str]) -> None:
    assert same_kernels(old, new) == expected
    assert same_kernels(new, old) == {before: after for after, before in expected.items()}


def repeated(run: Results, test: str, column: str) -> Results:
    """What the command that repeats a cell makes: one cell of a kernel that goes by its release."""
    [own] = [one for one in run.kernels if one.id == column]
    [row] = [row for row in run.results if (row.test, row.kernel) == (test, column)]
    assert own.release
    return replace(run, kernels=(replace(own, id=own.release),), results=(replace(row, kernel=own.release),))


def test_a_repeated_cell_is_compared_with_the_one_in_the_matrix() -> None:
    run = sample.whole()
    again = repeated(run, "test_nop", "6.1")
    found = diff(run, again)
    assert (found.compared, found.counts[Change.UNCHANGED], found.counts[Change.DISAPPEARED]) == (1, 1, 450)
    assert "6.1 → 6.1.0-47-cloud-amd64 (6.1.170-3)" in " ".join(lines(found, gate(found)))
    back = diff(again, run)
    assert (back.compared, back.counts[Change.APPEARED]) == (1, 450)


def test_a_repeated_cell_is_compared_with_a_baseline_of_all_kernels() -> None:
    run = sample.whole()
    own = Side("now", repeated(run, "test_nop", "6.1"))
    asked = Asked(all_kernels=False, all_tests=False, all_modes=True)
    compared = Comparison.of(Side("good", run), own, asked, ())
    assert (compared.found.compared, compared.found.caveats, compared.decided.is_green) == (1, (), True)
