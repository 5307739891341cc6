"""What a reader sees of capabilities that were observed: beside the tests, and never in one figure with them."""

import csv
import io
import json
import re
from collections import Counter
from functools import cache

import observed_run
import pytest
import sample
from page import parse

from reports.can import answer, as_builtins
from reports.can_text import sentences
from reports.capabilities import Basis, entries, exercised_by, find, requirement
from reports.cell_text import cells, text_of
from reports.diff import Change, diff_columns, gate
from reports.diff import as_builtins as diff_as_builtins
from reports.diff_text import conclusion, sections
from reports.export import export
from reports.folding import folds, losses, steps, value_changes
from reports.markdown import of_diff, of_run
from reports.matrix import Outcome, derive
from reports.site import render
from reports.summary import conclusion as run_conclusion
from reports.summary import summarize, troubles, verdict_heads, verdict_kind
from reports.wording import headline, shortfalls

TOTAL = len(observed_run.capability_tests())


@cache
def pages():
    return dict(render(observed_run.whole()))


def page(path):
    return parse(pages()[path])


def known(run):
    return entries(run, derive(run))


def by_id(run, name):
    return next(one for one in known(run) if one.id == name)


# -- figures -----------------------------------------------------------------------------------------------------------


def test_tests_and_capabilities_are_two_figures():
    matrix = derive(observed_run.whole())
    assert [26, 39, *[41] * 9] == [column.tests.passed for column in matrix.columns]
    assert {41} == {column.tests.total for column in matrix.columns}
    assert {TOTAL} == {column.capabilities.total for column in matrix.columns}
    passed = [column.capabilities.passed for column in matrix.columns]
    assert passed == sorted(set(passed)), "each kernel has more than the one before"
    assert [one.passed for one in matrix.sums_observed] == passed
    assert (len(matrix.tests), len(matrix.capabilities)) == (41, TOTAL)
    assert {41 + TOTAL} == {sum(column.counts.values()) for column in matrix.columns}


def test_what_a_kernel_lacks_keeps_no_test_from_passing():
    with_all, tests = derive(observed_run.whole()), derive(sample.whole())
    assert with_all.overall == tests.overall
    newest = with_all.columns[-1].capabilities
    unknown = newest.total - newest.judged
    assert headline(with_all) == (
        f"{headline(tests)}; Linux 7.3 has {newest.passed} of {TOTAL} capabilities, {unknown} not known"
    )
    assert shortfalls(with_all) == shortfalls(tests)


def test_without_tests_the_headline_is_about_capabilities_alone():
    from msgspec.structs import replace

    run = observed_run.whole()
    names = {test.id for test in run.tests if test.is_capability}
    run = replace(
        run,
        tests=tuple(test for test in run.tests if test.id in names),
        results=tuple(row for row in run.results if row.test in names),
    )
    assert re.fullmatch(rf"Linux 7\.3 has \d+ of {TOTAL} capabilities, 1 not known", headline(derive(run)))


def test_a_runs_summary_names_what_its_verdicts_are_about():
    run = observed_run.whole()
    found = summarize(run)
    assert found.unexpected
    assert run_conclusion(found, run).startswith(f"{len(found.unexpected)} unexpected verdicts of capabilities")
    mixed = sample.with_cell(run, "test_nop", "7.3", status="fail", reason="no")
    assert f"(1 of tests and {len(found.unexpected)} of capabilities)" in run_conclusion(summarize(mixed), mixed)
    several = [one for one in troubles(found.unexpected, run) if len(one.tests) > 1]
    assert {f"{len(one.tests)} capabilities" for one in several} == {one.what for one in several}
    heads = list(verdict_heads(run).values())
    assert heads == ["pass", "unsupported", "has", "lacks", "not known"]
    assert Counter(map(verdict_kind, run.results))[False, "pass"] == 26 + 39 + 9 * 41


def test_markdown_counts_them_in_two_tables():
    run = observed_run.whole()
    text = of_run(run, summarize(run), is_green=True)
    tests, capabilities = (text.index(head) for head in ("Verdicts by kernel", "Capabilities by kernel"))
    assert "| kernel | ✓ pass |" in text[tests:capabilities]
    assert "| 6.12\N{EN DASH}7.3 (9 alike) | 41 |" in text[tests:capabilities]
    assert "| kernel | ✓ has |" in text[capabilities:]
    assert "| 6.18 |" in text[capabilities:]


# -- one of them -------------------------------------------------------------------------------------------------------


def test_what_was_observed_takes_the_place_of_what_is_stated():
    run = observed_run.whole()
    names = [one.id for one in known(run)]
    assert len(set(names)) == len(names)
    one = by_id(run, "op-ftruncate")
    assert (one.basis, one.group, one.documented) == (Basis.OBSERVED, "Operations", "6.9")
    assert not [one for one in known(run) if one.basis is Basis.STATED]
    assert "can/op-ftruncate.html" in pages()


def test_a_test_says_more_than_what_was_observed_of_the_same_name():
    run = observed_run.whole()
    tested, observed = (by_id(run, f"{prefix}accept-multishot") for prefix in ("", "observed-"))
    assert (tested.basis, observed.basis) == (Basis.TESTED, Basis.OBSERVED)
    assert find("accept-multishot", known(run)) == (tested,)
    assert {one.entry.id for one in cells(run, "6.1", "accept-multishot")} == {"accept-multishot"}
    assert {"can/accept-multishot.html", "can/observed-accept-multishot.html"} <= set(pages())


def test_a_symbol_by_itself_is_what_was_observed():
    run = observed_run.whole()
    (found,) = find("IORING_OP_WAITID", known(run))
    assert found.id == "op-waitid"
    assert [one.id for one in exercised_by(found, known(run))] == ["waitid"]


def told(run, what, on=()):
    found = answer(run, what, on)
    return found.outcome, sentences(found, found.lines[0])


def test_the_basis_of_an_answer_is_named():
    run = observed_run.whole()
    outcome, said = told(run, ["op-ftruncate"], ["6.1"])
    assert outcome is Outcome.LACKS
    assert said[0] == "6.1.170 (Debian 12): no."
    assert said[1].startswith("ftruncate: observed whether the kernel knows it;")
    assert "observed from 6.12.94 on (not on 6.1.170)" in told(run, ["op-ftruncate"])[1][0]
    assert "tested or observed from" in told(run, ["op-ftruncate", "waitid"])[1][0]
    matrix = derive(run)
    needed = requirement([by_id(run, "op-ftruncate"), by_id(run, "nop")], matrix, matrix.lines[0])
    assert needed.tested.label() == "> 6.1.170, ≤ 6.12.94"


@pytest.mark.parametrize(
    ("state", "said"),
    [("off", "off: sysctl says no"), ("not-determinable", "not known: sysctl says no")],
)
def test_what_is_off_or_not_determinable_is_neither_yes_nor_no(state, said):
    run = observed_run.with_row(observed_run.whole(), "op-nop", "6.1", state, evidence="sysctl says no")
    outcome, lines = told(run, ["op-nop"], ["6.1"])
    assert outcome is Outcome.OPEN
    assert lines[0] == f"6.1.170 (Debian 12): {said}."
    assert f"nop: {said}" in told(run, ["op-nop", "op-readv"], ["6.1"])[1][0]
    capability = as_builtins(answer(run, ["op-nop"]))["lines"][0]["capabilities"][0]
    assert (capability["on"]["6.1"], capability["states"]["6.1"]) == ("unknown", state)


def test_a_limits_value_is_a_part_of_the_answer():
    assert told(observed_run.whole(), ["limit-sq-entries"], ["6.1"])[1][0].endswith(": yes (32,768).")


def test_one_cell_tells_state_value_and_claim(tmp_path):
    run = observed_run.whole()

    def shown(test):
        (found,) = cells(run, "6.1", test)
        return text_of(found, tmp_path)

    lacking = shown("op-ftruncate")
    assert (lacking.symbol, lacking.verdict) == ("\N{EN DASH}", "lacks")
    assert "By the kernel's own word it lacks it." in lacking.sentences
    limit = shown("limit-sq-entries")
    assert limit.verdict == "32,768"
    assert "The kernel says nothing of it itself." in limit.sentences


def test_a_kernels_word_against_what_was_observed_is_no_clean_pass(tmp_path):
    run = observed_run.with_row(observed_run.whole(), "op-nop", "6.1", "has", claimed=False)
    entry = by_id(run, "op-nop")
    cell = entry.row.cells[1]
    assert not cell.is_clean_pass
    (found,) = cells(run, "6.1", "op-nop")
    assert "which is not what was observed" in " ".join(text_of(found, tmp_path).sentences)
    one = dict(render(run))
    row = next(row for row in parse(one["can/op-nop.html"]).all("tr") if row.text.startswith("6.1 "))
    assert "lacks it not what was observed" in row.text
    assert "it says it lacks it" in parse(one["index.html"]).one("tr", "#row-op-nop").text


# -- pages -------------------------------------------------------------------------------------------------------------


def test_the_front_page_begins_with_what_differs_from_kernel_to_kernel():
    front = page("index.html")
    sections_ = [one.attributes.get("id") for one in front.one("main").all("section") if "id" in one.attributes]
    assert sections_[0] == "steps"
    rows = front.one("section", "#steps").all("tr")[1:]
    assert len(rows) == 11, "no two neighbours are alike"
    matrix = derive(observed_run.whole())
    for row, column in zip(rows, matrix.columns, strict=True):
        assert f"{column.tests.passed} of 41" in row.text
        assert f"{column.capabilities.passed} of {TOTAL}" in row.text
    gained = {group.text for group in rows[2].all("a", "group")}
    assert {"Tests", "Operations", "Setup flags"} <= gained
    assert "number of registered files 32,768 → 1,048,576" in rows[1].text
    assert rows[3].all("b", "worse"), "what was lost is not among what was gained"


def test_each_group_has_a_table_of_its_own_columns():
    front = page("index.html")
    groups = list(dict.fromkeys(test.group for test in observed_run.capability_tests()))
    tables = front.all("section", "table")
    heads = [one.all("h2")[0].text.removesuffix(" the kernel knows it: observed") for one in tables]
    assert heads == ["Tests it works: a test ran in each kernel", *groups]
    tests, operations = tables[0].all("table")[0], tables[1].all("table")[0]
    assert [one.text.split()[0] for one in tests.all("th") if one.attributes.get("scope") == "col"][3:] == [
        "5.10",
        "6.1",
        "6.12\N{EN DASH}7.3",
    ]
    assert "6.19\N{EN DASH}7.3" in operations.text
    assert [one.text for one in front.one("nav", "groups").all("a")] == ["Tests", *groups]


def test_many_equal_rows_are_one_line_until_somebody_opens_it():
    operations = page("index.html").one("section", "#observed-operations")
    summaries = [one.text for one in operations.all("summary")]
    assert [one.split(": ")[0] for one in summaries][-1].endswith("that every kernel here has")
    assert any(re.match(r"\d+ from ≤ 6\.12\.94 not on 6\.1\.170: ", one) for one in summaries)
    inside = sum(len(one.all("tr")) - 1 for details in operations.all("details") for one in details.all("table"))
    every = sum(len(one.all("tr")) - 1 for one in operations.all("table"))
    assert every == 65
    assert inside > every / 2
    # Where they are folded they have no more columns than they differ in.
    assert {1} == {len(one.all("tr")[1].all("td", "cell")) for one in operations.all("details")[-1].all("table")}


def test_a_limit_shows_its_value():
    row = page("index.html").one("tr", "#row-limit-fixed-files")
    values = [one.text.split()[-1] for one in row.all("td", "cell")]
    assert (values[0], set(values[1:])) == ("32,768", {"1,048,576"})
    assert all("valued" in one.classes for one in row.all("td", "cell"))
    folded = page("index.html").one("section", "#observed-limits").all("details")
    assert not [one for details in folded for one in details.all("tr", "#row-limit-fixed-files")], "it is to be seen"


def test_the_page_of_a_capability_has_all_that_is_known_of_it():
    one = page("can/op-waitid.html")
    assert "Documented: 6.7 by io_uring_prep_waitid(3); 6.5 by io_uring_enter(2). These contradict" in one.text
    assert "Require 6.7 (documented), 6.12 (observed)." in one.text
    assert "Its number is 50" in one.text
    assert "IORING_REGISTER_PROBE" in one.text
    assert "which waitid answers" in one.text
    rows = {row.all("th")[0].text: row.text for row in one.all("table", "kernels")[0].all("tr")[1:]}
    assert "lacks it EINVAL" in rows["6.1"]
    assert rows["7.3"].endswith("has it 0 console of 7.3")
    assert "has" in one.all("table", "across")[0].text
    assert "pass" not in one.all("table", "across")[0].text


def test_a_limit_has_a_value_and_no_number():
    one = page("can/limit-fixed-files.html")
    assert "1,048,576" in one.text
    assert "Its number is" not in one.text


def test_a_tests_page_says_how_a_program_finds_out_by_what_was_observed():
    assert "IORING_REGISTER_PROBE" in page("can/waitid.html").text


def test_a_kernels_page_says_what_it_has_lacks_and_has_switched_off():
    run = observed_run.with_row(observed_run.whole(), "op-nop", "6.12", "off", evidence="sysctl says no")
    one = parse(dict(render(run))["kernel/6.12.html"])
    operations = next(part for part in one.all("section", "observed") if part.text.startswith("Operations"))
    assert operations.text.startswith("Operations: 57 of 65")
    assert "New since 6.1: " in operations.text
    assert "Lacks 7: " in operations.text
    assert re.search(r"Off: nop IORING_OP_NOP ?: switched off: sysctl says no", operations.text)
    assert "41 of 41 tests pass" in one.all("h1")[0].text
    limits = next(part for part in one.all("section", "observed") if part.text.startswith("Limits"))
    assert re.search(r"number of registered files IORING_REGISTER_FILES ?: 1,048,576", limits.text)
    assert "Lost since 6.12" in page("kernel/6.16.html").text


def test_every_column_has_two_totals():
    rows = page("all.html").all("tr", "sum")
    assert rows[0].text.startswith("All 41 tests")
    assert rows[1].text.startswith(f"All {TOTAL} capabilities, observed")


def test_the_badge_says_what_it_counts():
    label = parse(pages()["badge.svg"]).one("svg").attributes["aria-label"]
    assert re.fullmatch(
        rf"io_uring: 41 of 41 tests, \d+ of {TOTAL} capabilities on 7\.3, \d capabilities lost", label
    ), label


def test_programs_get_states_claims_and_values():
    found = json.loads(pages()["can.json"])["capabilities"]
    (support,) = found["op-waitid"]["support"]
    assert (found["op-waitid"]["basis"], found["op-waitid"]["number"]) == ("observed", 50)
    assert [one["since"] for one in found["op-waitid"]["sources"]] == ["6.7", "6.5"]
    assert (support["states"]["6.1"], support["claimed"]["6.1"]) == ("lacks", False)
    (limit,) = found["limit-fixed-files"]["support"]
    assert limit["values"]["6.1"] == 1 << 20


# -- comparisons -------------------------------------------------------------------------------------------------------


def compared(old, new):
    run = observed_run.whole()
    return diff_columns(run, old, run, new)


def test_a_comparison_tells_capabilities_from_tests():
    found = compared("6.1", "6.12")
    by_section = {section.id: section for section in sections(found)}
    assert by_section["new-pass"].count == 2
    matrix = derive(observed_run.whole())
    assert by_section["observed-new-pass"].count == (
        matrix.columns[2].capabilities.passed - matrix.columns[1].capabilities.passed
    )
    assert {(line.was, line.now) for line in by_section["observed-new-pass"].lines} == {("lacks", "has")}
    assert (by_section["new-pass"].head, by_section["observed-new-pass"].head) == ("New passes", "Capabilities gained")
    assert "Capabilities gained" in of_diff(found, gate(found))
    assert not found.listed, "what was observed is not compared once more by the kernels' own word"


def test_a_comparison_shows_a_limit_that_is_another_one():
    found = compared("5.10", "6.1")
    (line,) = next(section for section in sections(found) if section.change is Change.VALUE).lines
    assert (line.test, line.was, line.now) == ("number of registered files", "32,768", "1,048,576")
    assert gate(found).is_green
    assert "limit with another value" in page("diff/5.10..6.1.html").all("h1")[0].text
    entry = next(one for one in diff_as_builtins(found)["entries"] if one["change"] == "value")
    assert (entry["is_capability"], entry["old"]["value"], entry["new"]["value"]) == (True, 32768, 1 << 20)


def test_a_capability_that_is_lost_is_worse():
    found = compared("6.12", "6.16")
    lost = next(section for section in sections(found) if section.id == "observed-regression")
    assert lost.head.startswith("Capabilities lost")
    assert conclusion(found, gate(found)) == f"worse: {lost.count} regressions ({lost.count} of capabilities)"
    assert f"{lost.count} capabilities lost" in page("diff/6.12..6.16.html").all("h1")[0].text
    matrix = derive(observed_run.whole())
    assert {loss.row.test.id for loss in losses(matrix)} >= {
        entry.test for entry in found.entries if entry.change is Change.REGRESSION
    }


def test_columns_are_folded_by_the_rows_that_are_shown():
    matrix = derive(observed_run.whole())
    (line,) = matrix.lines
    assert [fold.name for fold in folds(matrix, line, matrix.tests)] == ["5.10", "6.1", "6.12\N{EN DASH}7.3"]
    assert len(folds(matrix, line)) == 11
    (changed,) = value_changes(matrix.capabilities, 0, 1)
    assert (changed.row.test.id, changed.before, changed.after) == ("limit-fixed-files", 32768, 1 << 20)
    assert steps(matrix, line)[1].values == (changed,)
    assert [fold.count for fold in folds(matrix, line, [changed.row])] == [1, 10], "other values are no equal columns"


# -- other tools -------------------------------------------------------------------------------------------------------


def test_other_tools_get_them_as_cells():
    run = observed_run.whole()
    rows = {(row["test"], row["kernel"]): row for row in csv.DictReader(io.StringIO(export("csv", run).decode()))}
    assert len(rows) == len(run.results)
    one = rows["op-ftruncate", "6.1"]
    assert (one["kind"], one["state"], one["claimed"]) == ("capability", "lacks", "no")
    assert (rows["limit-fixed-files", "6.1"]["value"], rows["test_nop", "6.1"]["state"]) == ("1048576", "")
    tests = json.loads(export("ctrf", run))["results"]["tests"]
    extra = next(one["extra"] for one in tests if one["extra"].get("value") == 1 << 20)
    assert extra["state"] == "has"
    submitted = json.loads(export("kcidb", run))["tests"]
    misc = next(one["misc"] for one in submitted if one["misc"].get("test") == "op-ftruncate")
    assert (misc["state"], misc["claimed"]) == ("lacks", False)
