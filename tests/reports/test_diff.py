"""What changed: every pair of verdicts has one kind of change, and what else differs is said."""

import json
from collections.abc import Mapping, Sequence
from itertools import product

import html5lib
import pytest
import sample
from click import unstyle
from msgspec.structs import replace
from page import parse

from reports.diff import Change, as_builtins, classify, diff, diff_columns, diff_files, gate
from reports.diff_page import page
from reports.diff_text import conclusion, sections
from reports.markdown import of_diff as markdown
from reports.results import Qualifier, Results, ResultsError, Status, write
from uring_matrix.diff import exit_code, lines

ORDER = ["pass", "unsupported", "skip", "fail", "error", "crash", "timeout", "infra", "notrun"]
C = Change
F, S, I, U = C.STILL_FAILING, C.UNCHANGED, C.INCONCLUSIVE, C.UNKNOWN  # noqa: E741
#                  to: pass        unsupported   skip fail           error crash          timeout        infra notrun
TABLE = {
    "pass":        [S,          C.REGRESSION, I, C.REGRESSION,  I, C.REGRESSION,  C.REGRESSION,  I, I],
    "unsupported": [C.NEW_PASS, S,            I, C.NEW_FAILURE, I, C.NEW_FAILURE, C.NEW_FAILURE, I, I],
    "skip":        [C.NEW_PASS, C.OTHER,      S, C.NEW_FAILURE, U, C.NEW_FAILURE, C.NEW_FAILURE, U, U],
    "fail":        [C.FIXED,    C.OTHER,      I, F,             I, F,             F,             I, I],
    "error":       [C.NEW_PASS, U,            U, C.NEW_FAILURE, U, C.NEW_FAILURE, C.NEW_FAILURE, U, U],
    "crash":       [C.FIXED,    C.OTHER,      I, F,             I, F,             F,             I, I],
    "timeout":     [C.FIXED,    C.OTHER,      I, F,             I, F,             F,             I, I],
    "infra":       [C.NEW_PASS, U,            U, C.NEW_FAILURE, U, C.NEW_FAILURE, C.NEW_FAILURE, U, U],
    "notrun":      [C.NEW_PASS, U,            U, C.NEW_FAILURE, U, C.NEW_FAILURE, C.NEW_FAILURE, U, U],
}  # fmt: skip


@pytest.mark.parametrize(("old", "new"), list(product(ORDER, ORDER)))
def test_classify(old, new):
    assert TABLE[old][ORDER.index(new)] is classify(Status(old), Status(new))


def test_the_table_has_every_verdict():
    assert set(Status) == {Status(name) for name in ORDER} == {Status(name) for name in TABLE}


def test_cells_on_one_side_only():
    """What nobody saw before is no regression; but if it fails, or has no verdict, it is not let pass either."""
    expected = dict.fromkeys(("pass", "unsupported", "skip"), Change.APPEARED)
    expected |= dict.fromkeys(("fail", "crash", "timeout"), Change.NEW_FAILURE)
    expected |= dict.fromkeys(("error", "infra", "notrun"), Change.UNKNOWN)
    assert expected == {name: classify(None, Status(name)) for name in ORDER}
    assert {classify(Status(name), None) for name in ORDER} == {Change.DISAPPEARED}


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
    with pytest.raises(ResultsError, match=r"6\.6 was not tested; nearest: 6\.1, 6\.12"):
        diff_columns(sample.whole(), "6.6", sample.whole(), "6.1")


@pytest.mark.parametrize("name", ["6.1", "debian12", "6.1.170-3", "6.1.170"])
def test_a_column_is_found_by_whatever_its_kernel_is_called(name):
    found = diff_columns(sample.whole(), "5.10", sample.whole(), name)
    assert [(pair.old.id, pair.new.id) for pair in found.kernels] == [("5.10", "6.1")]
    assert found.counts[Change.NEW_PASS] == 13


def test_a_name_of_several_columns_is_an_error_that_names_them():
    with pytest.raises(ResultsError, match=r"7\.\* names several kernels: 7\.0, 7\.1, 7\.2, 7\.3; name one"):
        diff_columns(sample.whole(), "7.*", sample.whole(), "6.1")


def test_files_and_columns_by_name(tmp_path):
    file = tmp_path / "results.json"
    write(file, sample.whole())
    assert diff_files(f"{file}#5.10", f"{file}#6.1").counts[Change.NEW_PASS] == 13
    assert diff_files(str(tmp_path), str(file)).entries == ()
    with pytest.raises(
        ResultsError, match=r"one is a kernel, the other a run of several\. Write .*#KERNEL; it has 5\.10,"
    ):
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


# -- the gate ----------------------------------------------------------------------------------------------------------


def judged(old, new, **options):
    found = diff(old, new)
    return gate(found, **options), found


def without(results, *, kernels=(), tests=()):
    rows = tuple(row for row in results.results if row.kernel not in kernels and row.test not in tests)
    return replace(
        results,
        results=rows,
        kernels=tuple(kernel for kernel in results.kernels if kernel.id not in kernels),
        tests=tuple(test for test in results.tests if test.id not in tests),
    )


def test_a_run_that_is_the_same_is_green():
    decided, found = judged(sample.whole(), sample.whole())
    assert (decided.is_green, exit_code(decided)) == (True, 0)
    assert conclusion(found, decided) == "no regression: 451 cells compared, no verdict lost"


@pytest.mark.parametrize("status", [Status.INFRA, Status.NOTRUN, Status.SKIP, Status.ERROR])
def test_a_verdict_that_is_lost_is_not_green(status):
    decided, found = judged(sample.whole(), sample.with_cell(sample.whole(), "test_nop", "6.1", status=status))
    assert (decided.holes, exit_code(decided)) == ({"lost": 1}, 3)
    assert conclusion(found, decided) == "not known to be good: 1 verdict lost"
    assert "no regression" not in "\n".join(lines(found, decided))


def test_kernels_that_vanished_are_not_green():
    """Two of eleven kernels are left, and all that is left passes."""
    new = without(sample.whole(), kernels=[kernel.id for kernel in sample.whole().kernels[2:]])
    decided, found = judged(sample.whole(), new)
    assert (decided.holes, exit_code(decided)) == ({"missing": 9 * 41}, 3)
    text = "\n".join(lines(found, decided))
    assert "82 of 451 cells have a verdict on both sides" in text
    assert "7.3 (7.3~rc5-1~exp1 → not there)" in text
    assert "no regression" not in text
    # One line for each kernel, not 369.
    assert [one.test for one in sections(found)[0].lines] == ["all 41 tests"] * 9


def test_tests_that_vanished_are_not_green():
    decided, found = judged(sample.whole(), without(sample.whole(), tests=["test_nop", "test_readv"]))
    assert (decided.holes, exit_code(decided)) == ({"missing": 22}, 3)
    assert [(one.test, one.where) for one in sections(found)[0].lines] == [("nop", "11 cells"), ("readv", "11 cells")]


def test_a_cell_that_wavers_newly_is_bad():
    new = sample.with_cell(sample.whole(), "test_nop", "6.1", qualifiers=(Qualifier.FLAKY,))
    decided, found = judged(sample.whole(), new)
    assert (decided.bad, exit_code(decided)) == ({"flaky": 1}, 1)
    assert conclusion(found, decided) == "worse: 1 newly flaky cell"
    assert judged(new, new)[0].is_green


def test_a_regression_wins_over_a_hole_and_both_are_said():
    new = without(sample.with_cell(sample.whole(), "test_nop", "6.1", status=Status.FAIL), kernels=["7.3"])
    decided, found = judged(sample.whole(), new)
    assert exit_code(decided) == 1
    assert conclusion(found, decided) == "worse: 1 regression, 41 cells missing"


def test_a_baseline_without_verdicts_is_no_basis():
    whole = sample.whole()
    nothing = replace(whole, results=tuple(replace(row, status=Status.INFRA) for row in whole.results))
    decided, found = judged(nothing, whole)
    assert (decided.is_empty, decided.is_green, exit_code(decided)) == (True, False, 3)
    assert conclusion(found, decided) == "nothing was compared: no cell has a verdict on both sides"
    decided, _ = judged(nothing, nothing)
    assert (decided.holes, exit_code(decided)) == ({"unknown": 451}, 3)
    # Not even if holes were not to count.
    assert exit_code(judged(nothing, whole, fail_on=["regression"])[0]) == 3


def test_what_is_not_to_count_is_said_nevertheless():
    new = without(sample.whole(), kernels=["7.3"])
    decided, found = judged(sample.whole(), new, fail_on=["regression", "flaky"])
    assert (decided.is_green, exit_code(decided)) == (True, 0)
    assert conclusion(found, decided) == (
        "nothing worse among 410 cells; 41 cells could not be compared, which was not to count"
    )


@pytest.mark.parametrize("fail_on", [["lost"], ["missing", "unknown"], ["flaky"]])
def test_what_is_worse_counts_whatever_is_named(fail_on):
    """Who chooses among the holes did not mean that a regression is green."""
    worse = sample.with_cell(sample.whole(), "test_nop", "6.1", status=Status.FAIL)
    decided, found = judged(sample.whole(), worse, fail_on=fail_on)
    assert (exit_code(decided), conclusion(found, decided)) == (1, "worse: 1 regression")
    wavers = sample.with_cell(sample.whole(), "test_nop", "6.1", qualifiers=(Qualifier.FLAKY,))
    assert exit_code(judged(sample.whole(), wavers, fail_on=fail_on)[0]) == 1


def test_a_kernel_without_verdicts_in_the_baseline_is_a_hole():
    """What lacks everything now may have had everything then; a pass is proof in itself."""
    whole = sample.whole()

    def everywhere(status):
        rows = tuple(replace(row, status=status) if row.kernel == "6.1" else row for row in whole.results)
        return replace(whole, results=rows)

    decided, found = judged(everywhere(Status.INFRA), everywhere(Status.UNSUPPORTED))
    assert (decided.holes, exit_code(decided)) == ({"unknown": 41}, 3)
    assert conclusion(found, decided) == "not known to be good: 41 cells with nothing to compare"
    assert judged(everywhere(Status.INFRA), everywhere(Status.PASS))[0].is_green


def test_a_new_test_that_fails_is_not_green():
    whole = sample.with_cell(sample.whole(), "test_nop", "6.1", status=Status.CRASH)
    decided, found = judged(without(whole, tests=["test_nop"]), whole)
    assert (exit_code(decided), found.counts[Change.NEW_FAILURE]) == (1, 1)
    wavers = sample.with_cell(sample.whole(), "test_nop", "6.1", qualifiers=(Qualifier.FLAKY,))
    assert judged(without(wavers, tests=["test_nop"]), wavers)[0].bad == {"flaky": 1}


def test_a_run_that_did_not_come_to_its_end_is_not_green():
    whole = sample.whole()
    decided, found = judged(whole, replace(whole, complete=False))
    assert (exit_code(decided), conclusion(found, decided)) == (3, "not known to be good: the new run is incomplete")
    decided, found = judged(whole, replace(whole, complete=False), fail_on=["lost"])
    assert exit_code(decided) == 0
    assert "no regression" not in conclusion(found, decided)
    column = diff_columns(whole, "6.1", replace(whole, complete=False), "6.1")
    assert gate(column).is_green


def test_a_test_that_is_skipped_on_purpose_stays_skipped():
    old = sample.with_cell(sample.whole(), "test_nop", "6.1", status=Status.SKIP)
    assert judged(old, old)[0].is_green


def test_equal_context_stands_in_the_head_alone():
    whole = sample.whole()
    found = diff_columns(whole, "5.10", whole, "6.12", old_name="a", new_name="b")
    text = lines(found, gate(found))
    assert "kernels: 5.10 → 6.12 (5.10.249-1 → 6.12.94-1)" in text
    assert "cells:   41 of 41 cells have a verdict on both sides (amd64, default); 26 unchanged" in text
    changes = [line for line in text if line.startswith("  ")]
    assert changes
    assert not [line for line in changes if "amd64" in line or "5.10" in line]


def test_versions_of_both_sides_stand_in_the_head():
    old = sample.whole()
    kernels = (replace(old.kernels[0], package_version="5.10.250-1"), *old.kernels[1:])
    found = diff(old, replace(old, kernels=kernels))
    assert "kernels: 5.10 (5.10.249-1 → 5.10.250-1), 10 that are the same" in lines(found, gate(found))


def test_a_file_with_one_kernel_needs_no_name(tmp_path):
    write(tmp_path / "all.json", sample.whole())
    one = without(sample.whole(), kernels=[kernel.id for kernel in sample.whole().kernels if kernel.id != "6.1"])
    other = without(sample.whole(), kernels=[kernel.id for kernel in sample.whole().kernels if kernel.id != "5.10"])
    write(tmp_path / "one.json", one)
    write(tmp_path / "other.json", other)
    assert diff_files(f"{tmp_path}/all.json#5.10", f"{tmp_path}/one.json").counts[Change.NEW_PASS] == 13
    assert diff_files(f"{tmp_path}/other.json", f"{tmp_path}/all.json#6.1").counts[Change.NEW_PASS] == 13
    # Two files with one kernel each are those two kernels, whatever they are called.
    assert diff_files(f"{tmp_path}/other.json", f"{tmp_path}/one.json").counts[Change.NEW_PASS] == 13


def test_the_first_line_says_whether_it_is_good_and_the_worst_comes_next():
    """It stood below everything that had changed."""
    old = sample.with_cell(sample.whole(), "test_nop", "5.10", status=Status.FAIL)
    new = sample.with_cell(sample.whole(), "test_nop", "7.3", status=Status.FAIL, reason="res is -22")
    text = [unstyle(line) for line in lines(*judged_pair(old, new))]
    assert text[0] == "worse: 1 regression"
    assert text[2] == "Regressions: passed, and does not any more (1)"
    assert text[3].split() == ["nop", "7.3", "pass", "fail", "res", "is", "-22"]
    assert text.index("Fixed (1)") < text.index("old:     old")
    assert text.count("worse: 1 regression") == 1


def test_what_scrolls_away_is_said_again():
    whole = sample.whole()
    new = replace(whole, results=tuple(replace(row, status=Status.FAIL) for row in whole.results))
    text = [unstyle(line) for line in lines(*judged_pair(whole, new))]
    assert text[0] == text[-1]
    assert text[0].startswith("worse: ")


def judged_pair(old, new):
    found = diff(old, new)
    return found, gate(found)


# -- other forms -------------------------------------------------------------------------------------------------------

HOSTILE = "<script>alert(1)</script> | `x` [a](http://b) \x1b[31m\u202e"


def hostile():
    old = sample.whole()
    new = sample.with_cell(old, "test_nop", "6.1", status=Status.FAIL, reason=HOSTILE)
    tests = tuple(replace(test, title=HOSTILE) if test.id == "test_nop" else test for test in new.tests)
    found = diff(old, replace(new, tests=tests))
    return found, gate(found)


def test_markdown_says_what_matters_first_and_obeys_nobody():
    text = markdown(*hostile())
    assert text.startswith("### ❌ uring-matrix: worse: 1 regression\n")
    assert "\n#### Regressions: passed, and does not any more (1)\n" in text
    assert "<script" not in text
    assert "](http" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    row = next(line for line in text.splitlines() if "alert" in line)
    assert row.count("|") == 6


def test_markdown_folds_what_is_not_urgent():
    whole = sample.whole()
    found = diff_columns(whole, "5.10", whole, "6.12")
    text = markdown(found, gate(found))
    assert text.startswith("### ✅")
    assert "<details><summary>New passes (15)</summary>" in text
    assert "<details><summary>Newly listed: by the kernels' own word, not tested" in text
    assert text.count("<details>") == text.count("</details>") == 2


def test_a_page_says_the_same_and_obeys_nobody():
    text = page(*hostile())
    html5lib.HTMLParser(strict=True).parse(text)
    assert parse(text).one("h1").text == "Worse: 1 regression"
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text


def test_a_page_shows_verdicts_as_the_site_does():
    """With a sign and a tone each: what is lost never looks like what was never there."""
    every = sample.every_verdict()
    found = diff(sample.whole(), every)
    decided = gate(found)
    text = page(found, decided)
    html5lib.HTMLParser(strict=True).parse(text)
    read = parse(text)
    assert "worse" in read.one("h1").classes
    rows = {(row.all("th")[0].text, row.all("td")[0].text): row for row in read.all("tr") if row.all("td")}
    of_cell = {cell: [(chip.text, chip.classes[1]) for chip in row.all("span", "chip")] for cell, row in rows.items()}
    assert [("✓ pass", "good"), ("\N{EN DASH} unsupported", "bad"), ("lost", "tag")] == of_cell["socket", "6.1"]
    assert [("\N{EN DASH} unsupported", "plain"), ("✓ pass", "good")] == of_cell["waitid", "6.1"]
    assert [("✓ pass", "good"), ("· not run", "open")] == of_cell["waitid", "7.3"]
    ids = {f"#{one.attributes['id']}" for one in read.all("h2")}
    assert ids == {link.attributes["href"] for link in read.one("nav").all("a")}
    assert [one.attributes["id"] for one in read.all("h2", "worse")] == ["regression"]
    assert "worse" not in parse(page(diff(every, every), gate(diff(every, every)))).one("h1").classes


def listing(run: Results, lists: Mapping[str, Sequence[str] | None]) -> Results:
    """Have kernels list operations; None: they were not asked."""
    kernels = tuple(
        replace(one, features={} if lists.get(one.id) is None else {"operations": list(lists[one.id])})
        for one in run.kernels
    )
    return replace(run, kernels=kernels, capabilities=sample.capability_records())


def test_what_kernels_list_is_compared_in_every_form():
    """`diff 6.1 6.12` said "39 unchanged", and no word of nine operations."""
    run = listing(sample.whole(), {"6.1": ["NOP", "ACCEPT"], "6.12": ["NOP", "ACCEPT", "WAITID", "FTRUNCATE"]})
    found = diff_columns(run, "6.1", run, "6.12")
    names = ("IORING_OP_WAITID", "IORING_OP_FTRUNCATE")
    assert [(one.fact, one.gained, one.lost) for one in found.listed] == [("operations", names, ())]
    assert gate(found).is_green
    text = unstyle("\n".join(lines(found, gate(found))))
    assert "Newly listed: by the kernels' own word, not tested (2)" in text
    assert ["IORING_OP_FTRUNCATE", "not", "listed", "listed"] in [line.split() for line in text.splitlines()]
    for name in names:
        assert name.replace("_", "&#95;") in markdown(found, gate(found))
        assert name in page(found, gate(found)).replace("<wbr>", "")
    [listed] = as_builtins(found)["listed"]
    assert listed == {
        "old_kernel": "6.1",
        "new_kernel": "6.12",
        "fact": "operations",
        "gained": list(names),
        "lost": [],
        "is_known": True,
    }


def test_what_a_kernel_does_not_list_any_more_is_a_regression():
    """It is the kernel's own claim, and what programs ask for: no test need have noticed."""
    old = listing(sample.whole(), {"6.1": ["NOP", "ACCEPT"], "6.12": ["NOP", "ACCEPT"]})
    new = listing(sample.whole(), {"6.1": ["NOP"], "6.12": ["NOP"]})
    found = diff(old, new)
    decided = gate(found, fail_on=())
    assert (found.is_worse, dict(decided.bad), exit_code(decided)) == (True, {"regression": 2}, 1)
    assert conclusion(found, decided) == "worse: 2 regressions"
    [section] = sections(found)
    assert [(one.test, one.where, one.was, one.now) for one in section.lines] == [
        ("IORING_OP_ACCEPT", "6.1, 6.12", "listed", "not listed")
    ]
    assert gate(diff(new, old)).is_green


def test_a_list_that_is_gone_is_a_hole():
    old = listing(sample.whole(), {"6.1": ["NOP"]})
    new = listing(sample.whole(), {})
    found = diff(old, new)
    assert (dict(gate(found).holes), exit_code(gate(found))) == ({"lost": 1}, 3)
    assert exit_code(gate(found, fail_on=["missing"])) == 0
    [section] = sections(found)
    assert [(one.test, one.where, one.now) for one in section.lines] == [("all operations", "6.1", "not known")]
    # A kernel that nobody asked before has lost nothing, and gained nothing that is known.
    assert diff(new, old).listed == ()
