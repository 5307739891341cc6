"""What changed: every pair of verdicts has one kind of change, and what else differs is said."""

import json
from itertools import product

import pytest
import sample
from msgspec.structs import replace

from reports.diff import Change, as_builtins, classify, diff, diff_columns, diff_files
from reports.results import ResultsError, Status, write

ORDER = ["pass", "unsupported", "skip", "fail", "error", "crash", "timeout", "infra", "notrun"]
C = Change
F, S, I = C.STILL_FAILING, C.UNCHANGED, C.INCONCLUSIVE  # noqa: E741
#                  to: pass        unsupported   skip fail           error crash          timeout        infra notrun
TABLE = {
    "pass":        [S,          C.REGRESSION, I, C.REGRESSION,  I, C.REGRESSION,  C.REGRESSION,  I, I],
    "unsupported": [C.NEW_PASS, S,            I, C.NEW_FAILURE, I, C.NEW_FAILURE, C.NEW_FAILURE, I, I],
    "skip":        [C.NEW_PASS, C.OTHER,      S, C.NEW_FAILURE, S, C.NEW_FAILURE, C.NEW_FAILURE, S, S],
    "fail":        [C.FIXED,    C.OTHER,      I, F,             I, F,             F,             I, I],
    "error":       [C.NEW_PASS, C.OTHER,      S, C.NEW_FAILURE, S, C.NEW_FAILURE, C.NEW_FAILURE, S, S],
    "crash":       [C.FIXED,    C.OTHER,      I, F,             I, F,             F,             I, I],
    "timeout":     [C.FIXED,    C.OTHER,      I, F,             I, F,             F,             I, I],
    "infra":       [C.NEW_PASS, C.OTHER,      S, C.NEW_FAILURE, S, C.NEW_FAILURE, C.NEW_FAILURE, S, S],
    "notrun":      [C.NEW_PASS, C.OTHER,      S, C.NEW_FAILURE, S, C.NEW_FAILURE, C.NEW_FAILURE, S, S],
}  # fmt: skip


@pytest.mark.parametrize(("old", "new"), list(product(ORDER, ORDER)))
def test_classify(old, new):
    assert TABLE[old][ORDER.index(new)] is classify(Status(old), Status(new))


def test_the_table_has_every_verdict():
    assert set(Status) == {Status(name) for name in ORDER} == {Status(name) for name in TABLE}


def test_cells_on_one_side_only():
    """A new test is neither a pass nor a failure of the kernel's."""
    assert classify(None, Status.FAIL) is Change.APPEARED
    assert classify(Status.PASS, None) is Change.DISAPPEARED


def test_a_run_does_not_differ_from_itself():
    found = diff(sample.whole(), sample.whole())
    assert () == found.entries == found.caveats
    assert found.counts == {Change.UNCHANGED: 451}
    assert not found.is_worse


def test_two_runs():
    old = sample.whole()
    new = sample.with_cell(old, "test_nop", "6.1", status=Status.FAIL, reason="res -5")
    new = sample.with_cell(new, "test_waitid", "6.1", status=Status.PASS)
    new = sample.with_cell(new, "test_readv", "7.3", status=Status.TIMEOUT)
    found = diff(old, new, old_name="monday", new_name="tuesday")
    assert [(entry.change, entry.test, entry.new_kernel) for entry in found.entries] == [
        ("regression", "test_nop", "6.1"),
        ("regression", "test_readv", "7.3"),
        ("new-pass", "test_waitid", "6.1"),
    ]
    assert found.is_worse
    back = {entry.test: entry.change for entry in diff(new, old).entries}
    assert back == {"test_nop": "fixed", "test_readv": "fixed", "test_waitid": "regression"}
    assert not diff(old, sample.with_cell(old, "test_waitid", "6.1", status=Status.PASS)).is_worse


def test_tests_and_kernels_that_come_and_go():
    whole = sample.whole()
    without = replace(
        whole, results=tuple(row for row in whole.results if row.test != "test_nop" and row.kernel != "5.10")
    )
    assert diff(without, whole).counts[Change.APPEARED] == 41 + 10
    assert diff(whole, without).counts[Change.DISAPPEARED] == 41 + 10
    assert not diff(whole, without).is_worse


def test_what_else_differs_is_said():
    old = sample.whole()
    kernels = (replace(old.kernels[0], package_version="5.10.250-1"), *old.kernels[1:])
    kernels = (*kernels[:-1], replace(kernels[-1], sha256="0" * 64))
    new = replace(
        old,
        kernels=kernels,
        complete=False,
        host=replace(old.host, accel="kvm"),
        generator=replace(old.generator, commit=None, version="0.2.0"),
    )
    caveats = diff(old, new).caveats
    assert (
        f"the suite differs: {sample.GENERATOR.commit}, 0.2.0",
        "the accelerator differs: tcg, kvm",
        "the new run is incomplete",
        "5.10 was 5.10.249-1, is 5.10.250-1",
        "7.3 is another image of the same version",
    ) == caveats


def test_a_test_that_changed_itself_is_marked():
    old = sample.whole()
    tests = tuple(replace(test, code="other") if test.id == "test_nop" else test for test in old.tests)
    new = replace(sample.with_cell(old, "test_nop", "6.1", status=Status.FAIL), tests=tests)
    assert [entry.is_test_changed for entry in diff(old, new).entries] == [True]


def test_two_columns():
    whole = sample.whole()
    found = diff_columns(whole, "5.10", whole, "6.12")
    assert found.counts == {Change.NEW_PASS: 15, Change.UNCHANGED: 26}
    assert {("5.10", "6.12")} == {(entry.old_kernel, entry.new_kernel) for entry in found.entries}
    assert diff_columns(whole, "6.12", whole, "5.10").counts == {Change.REGRESSION: 15, Change.UNCHANGED: 26}


def test_two_columns_with_different_tests():
    whole = sample.whole()
    fewer = replace(whole, results=tuple(row for row in whole.results if (row.test, row.kernel) != ("test_nop", "6.1")))
    assert diff_columns(whole, "6.1", fewer, "6.1").counts[Change.DISAPPEARED] == 1
    assert diff_columns(fewer, "6.1", whole, "6.1").counts[Change.APPEARED] == 1


def test_columns_of_two_architectures_carry_a_caveat():
    whole = sample.whole()
    arm = replace(
        whole,
        kernels=tuple(replace(kernel, arch="arm64") for kernel in whole.kernels),
        results=tuple(replace(row, arch="arm64") for row in whole.results),
    )
    found = diff_columns(whole, "6.1", arm, "6.1")
    assert found.caveats == ("the architecture differs: amd64, arm64",)
    assert found.counts == {Change.UNCHANGED: 41}


def test_an_unknown_column_names_those_there_are():
    with pytest.raises(ResultsError, match=r"There is no kernel '6\.6' in these results; they have: 5\.10, 6\.1,"):
        diff_columns(sample.whole(), "6.6", sample.whole(), "6.1")


def test_files_and_columns_by_name(tmp_path):
    file = tmp_path / "results.json"
    write(file, sample.whole())
    assert diff_files(f"{file}#5.10", f"{file}#6.1").counts[Change.NEW_PASS] == 13
    assert diff_files(str(tmp_path), str(file)).entries == ()
    with pytest.raises(ResultsError, match="one names a kernel, the other a whole run"):
        diff_files(f"{file}#5.10", str(file))
    with pytest.raises(ResultsError, match=r"There is no .*missing\.json"):
        diff_files(str(tmp_path / "missing.json"), str(file))


def test_a_file_whose_name_has_a_hash_sign(tmp_path):
    file = tmp_path / "run#1.json"
    write(file, sample.whole())
    assert diff_files(str(file), str(file)).entries == ()
    assert diff_files(f"{file}#5.10", f"{file}#6.1").counts[Change.NEW_PASS] == 13


def test_a_diff_is_plain_json():
    whole = sample.whole()
    raw = json.loads(json.dumps(as_builtins(diff_columns(whole, "6.12", whole, "5.10"))))
    assert raw["is_worse"]
    assert raw["counts"] == {"regression": 15, "unchanged": 26}
    entry = raw["entries"][0]
    assert entry["change"] == "regression"
    assert entry["old"] == {"status": "pass", "reason": "", "qualifiers": []}
    assert entry["new"]["status"] == "unsupported"
