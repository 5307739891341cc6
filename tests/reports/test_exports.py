"""Results in the formats of other tools: what each verdict becomes, that each file fulfils its format's own schema."""

import csv
import io
import json
import re
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from functools import cache
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
import sample
import xmlschema
from kcidb_io.schema import V5_3
from msgspec.structs import replace

from reports.export import FILES, export, remove_exports, to_kcidb
from reports.export.outcomes import OUTCOMES, Outcome
from reports.export.texts import clean
from reports.export.to_csv import CELL_CHARACTERS_MAX, HEAD
from reports.export.to_kcidb import LOG_CHARACTERS_MAX
from reports.results import (
    Attempt,
    GuestConfig,
    Qualifier,
    Results,
    ResultsError,
    Status,
    annotate,
    decode,
    encode,
    exit_code,
    merge,
)

SCHEMAS = Path(__file__).with_name("schemas")
DOCUMENT = (Path(__file__).parents[2] / "docs" / "exports.md").read_text(encoding="utf-8")


# -- reading them back ------------------------------------------------------------------------------------------------


@cache
def junit_schema() -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(SCHEMAS / "junit-10.xsd")


@cache
def ctrf_schema() -> jsonschema.Draft7Validator:
    schema = json.loads((SCHEMAS / "ctrf-schema-0.0.json").read_text())
    return jsonschema.Draft7Validator(schema, format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER)


def read(form: str, content: bytes):
    """Read a file back."""
    if form == "junit":
        return ElementTree.fromstring(content)
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True))
        assert all(tuple(row) == HEAD and None not in row.values() for row in rows)
        return rows
    return json.loads(content)


def checked(form: str, content: bytes):
    """Read a file back, and hold it against the schema of its format."""
    found = read(form, content)
    if form == "junit":
        junit_schema().validate(content.decode())
    elif form == "ctrf":
        ctrf_schema().validate(found)
    elif form == "kcidb":
        V5_3.validate(found)
    return found


def exported(form: str, results: Results, **options):
    return read(form, export(form, results, **options))


def cases(root) -> dict[str, ElementTree.Element]:
    found = list(root.iter("testcase"))
    named = {case.get("name"): case for case in found}
    assert len(found) == len(named)
    return named


# -- results ----------------------------------------------------------------------------------------------------------


def empty() -> Results:
    return replace(sample.whole(), kernels=(), tests=(), modes=(), results=())


def interrupted() -> Results:
    """Ctrl-C in the second kernel."""
    run = sample.whole()
    rows = tuple(
        row
        if row.kernel == "5.10"
        else replace(row, status=Status.NOTRUN, duration_s=None, evidence=(), reason="", expected=None, actual=None)
        for row in run.results
    )
    kernels = tuple(kernel if kernel.id == "5.10" else replace(kernel, booted=False) for kernel in run.kernels)
    return annotate(replace(run, kernels=kernels, results=rows, complete=False, finished=None))


def all_infra() -> Results:
    run = sample.whole()
    rows = tuple(replace(row, status=Status.INFRA, reason="no such package", duration_s=None) for row in run.results)
    kernels = tuple(
        replace(kernel, booted=False, sha256=None, release=None, version=None, error="no such package")
        for kernel in run.kernels
    )
    return annotate(replace(run, kernels=kernels, results=rows))


def merged() -> Results:
    """Two runs, of which the later one ran a part of a column again, and another mode."""
    first = sample.every_verdict()
    later = sample.whole((sample.DEFAULT, sample.DEFER_TASKRUN))
    kernels = tuple(kernel for kernel in later.kernels if kernel.id in {"6.16", "7.2"})
    of_616 = [row for row in later.results if row.kernel == "6.16"]
    rows = (*of_616[:20], *of_616[41:], *(row for row in later.results if row.kernel == "7.2"))
    day = timedelta(days=1)
    later = replace(later, kernels=kernels, results=rows, started=later.started + day, finished=None)
    results = merge([first, replace(later, complete=False)])
    assert results.runs
    return results


def with_guests() -> Results:
    run = sample.whole()
    guest = GuestConfig(cpus=2, memory_mib=512, append="slub_debug=FZPU")
    return replace(run, kernels=tuple(replace(kernel, guest=guest) for kernel in run.kernels))


RESULTS = {
    "whole": sample.whole,
    "every verdict": sample.every_verdict,
    "two modes": lambda: sample.whole((sample.DEFAULT, sample.DEFER_TASKRUN)),
    "this machine": sample.on_this_machine,
    "guests": with_guests,
    "empty": empty,
    "kernels alone": lambda: replace(sample.whole(), results=(), tests=()),
    "interrupted": interrupted,
    "all infra": all_infra,
    "merged": merged,
}


def one_cell(status: Status, *, flaky: bool = False, unexpected: bool = False, complete: bool = True) -> Results:
    """A run of a single cell, which its kernel should pass or need not know."""
    kernel, test = ("7.3", "test_nop") if unexpected or status is not Status.UNSUPPORTED else ("5.10", "test_waitid")
    attempts = (Attempt(status=status, reason="first"), Attempt(status=Status.PASS)) if flaky else ()
    qualifiers = (Qualifier.FLAKY,) if flaky else ()
    run = sample.with_cell(
        sample.whole(), test, kernel, status=status, reason="why", attempts=attempts, qualifiers=qualifiers
    )
    rows = tuple(row for row in run.results if (row.test, row.kernel) == (test, kernel))
    kernels = tuple(one for one in run.kernels if one.id == kernel)
    return replace(run, kernels=kernels, results=rows, complete=complete and status is not Status.NOTRUN)


# -- their schemas ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FILES)
@pytest.mark.parametrize("make", RESULTS.values(), ids=RESULTS)
def test_a_file_fulfils_the_schema_of_its_format(make, form) -> None:
    assert checked(form, export(form, make())) is not None


@pytest.mark.parametrize("form", FILES)
def test_the_same_results_give_the_same_bytes(form) -> None:
    results = merged()
    assert export(form, results) == export(form, decode(encode(results), "results.json"))


def test_the_schemas_can_refuse() -> None:
    """Else a file that fulfils one says nothing."""
    junit = export("junit", sample.whole())
    for old, new in ((b"<failure", b"<fail"), (b"<testcase classname", b"<testcase class"), (b"<skipped", b"<skip")):
        content = export("junit", sample.every_verdict()).replace(old, new).replace(b"</fail", b"</failure")
        with pytest.raises((xmlschema.XMLSchemaException, ElementTree.ParseError)):
            checked("junit", content)
    assert checked("junit", junit) is not None
    for form, path in (("ctrf", ("results", "tests", 0)), ("kcidb", ("tests", 0))):
        document = json.loads(export(form, sample.whole()))
        inner = document
        for step in path:
            inner = inner[step]
        for change in ({"status": "green"}, {"unheard_of": 1}):
            before = dict(inner)
            inner.update(change)
            with pytest.raises(jsonschema.ValidationError):
                checked(form, json.dumps(document).encode())
            inner.clear()
            inner.update(before)
        assert checked(form, json.dumps(document).encode())


# -- what a verdict becomes -------------------------------------------------------------------------------------------


def documented() -> dict[tuple[Status, str], tuple[str, ...]]:
    """The table of docs/exports.md: verdict and what stands beside it, to the words of the formats."""
    lines = DOCUMENT.split("| Verdict | `outcome` | JUnit | CTRF | KCIDB |\n")[1].split("\n\n")[0].splitlines()[1:]
    found = {}
    for line in lines:
        verdict, *words = (cell.strip() for cell in line.strip("|").split("|"))
        status, _, beside = verdict.partition(", ")
        found[Status(status.strip("`")), beside] = tuple(word.strip("`") for word in words)
    return found


def expected(status: Status, *, flaky: bool, unexpected: bool) -> tuple[str, ...]:
    table = documented()
    if flaky and (status, "flaky") in table:
        return table[status, "flaky"]
    return table[status, "unexpected"] if (status, "unexpected") in table and unexpected else table[status, ""]


CELLS = [
    (status, flaky, unexpected)
    for status, flaky, unexpected in product(Status, (False, True), (False, True))
    if status is Status.UNSUPPORTED or not unexpected
]
IDS = [f"{status}{', flaky' * flaky}{', unexpected' * unexpected}" for status, flaky, unexpected in CELLS]


def words_of(results: Results) -> tuple[str, ...]:
    """What the only cell of some results is in each format."""
    (case,) = [case for case in exported("junit", results).iter("testcase") if case.get("classname") != "run"]
    tags = [child.tag for child in case if child.tag in {"failure", "error", "skipped"}]
    assert len(tags) <= 1
    (ctrf,) = [test for test in exported("ctrf", results)["results"]["tests"] if test["suite"] != ["run"]]
    (kcidb,) = [test for test in exported("kcidb", results)["tests"] if test["path"] != "uring-matrix.run"]
    (row,) = exported("csv", results)
    return row["outcome"], tags[0] if tags else "–", ctrf["status"], kcidb["status"]  # noqa: RUF001


@pytest.mark.parametrize(("status", "flaky", "unexpected"), CELLS, ids=IDS)
def test_a_verdict_becomes_what_is_documented(status, flaky, unexpected) -> None:
    results = one_cell(status, flaky=flaky, unexpected=unexpected)
    assert expected(status, flaky=flaky, unexpected=unexpected) == words_of(results)
    for form in FILES:
        assert checked(form, export(form, results)) is not None, form


def test_every_verdict_and_outcome_is_in_the_documented_table() -> None:
    assert set(Status) == {status for status, _ in documented()} == set(OUTCOMES)
    assert set(Outcome) == {words[0] for words in documented().values()}


def colours(results: Results) -> dict[str, bool]:
    """Whether something is red, as a gate on each format sees it."""
    junit = exported("junit", results)
    ctrf = exported("ctrf", results)["results"]["summary"]
    kcidb = {test["status"] for test in exported("kcidb", results)["tests"]}
    return {
        "junit": int(junit.get("failures")) + int(junit.get("errors")) > 0,
        "ctrf": ctrf["failed"] + ctrf["other"] > 0,
        "kcidb": not kcidb.isdisjoint({"FAIL", "ERROR", "MISS"}),
    }


@pytest.mark.parametrize("complete", [True, False], ids=["complete", "incomplete"])
@pytest.mark.parametrize(("status", "flaky", "unexpected"), CELLS, ids=IDS)
def test_no_format_is_green_where_the_exit_code_is_not_0(status, flaky, unexpected, complete) -> None:
    results = one_cell(status, flaky=flaky, unexpected=unexpected, complete=complete)
    is_red = exit_code(results) != 0
    assert dict.fromkeys(("junit", "ctrf", "kcidb"), is_red) == colours(results)


@pytest.mark.parametrize("make", RESULTS.values(), ids=RESULTS)
def test_no_format_is_green_above_a_hole(make) -> None:
    results = make()
    found = colours(results)
    if not results.kernels:  # no build, about which something could be said
        assert not found.pop("kcidb")
    assert set(found.values()) == {exit_code(results) != 0}


@pytest.mark.parametrize("status", [Status.INFRA, Status.NOTRUN])
def test_what_has_no_verdict_accuses_no_kernel(status) -> None:
    """The environment's doing is not the kernel's: MISS, and never FAIL."""
    results = one_cell(status)
    (test,) = [test for test in exported("kcidb", results)["tests"] if test["path"] != "uring-matrix.run"]
    assert (test["status"], test["misc"]["status"]) == ("MISS", status)
    assert not any(case.find("failure") is not None for case in exported("junit", results).iter("testcase"))
    assert exported("ctrf", results)["results"]["environment"]["healthy"] is False


def test_an_unfinished_run_says_so_in_each_format() -> None:
    results = replace(sample.whole(), complete=False, finished=None)
    case = cases(exported("junit", results))["complete"]
    assert "interrupted" in case.find("error").get("message")
    ctrf = exported("ctrf", results)["results"]
    assert (ctrf["tests"][0]["status"], ctrf["tests"][0]["rawStatus"]) == ("other", "incomplete")
    kcidb = exported("kcidb", results)
    runs = [test for test in kcidb["tests"] if test["path"] == "uring-matrix.run"]
    assert {build["id"] for build in kcidb["builds"]} == {test["build_id"] for test in runs}
    assert {"no"} == {row["complete"] for row in exported("csv", results)}


def test_a_kernel_with_an_error_and_without_a_cell_is_not_forgotten() -> None:
    whole = sample.whole()
    kernels = tuple(replace(one, error="no answer") if one.id == "7.3" else one for one in whole.kernels)
    results = replace(whole, kernels=kernels, results=tuple(row for row in whole.results if row.kernel != "7.3"))
    assert set(colours(results).values()) == {True}
    assert "7.3: no answer" in export("junit", results).decode()


# -- what they say ----------------------------------------------------------------------------------------------------


def told() -> Results:
    """A cell about which there is everything to say."""
    run = with_guests()
    tests = tuple(replace(one, symbols=("IORING_OP_NOP",)) if one.id == "test_nop" else one for one in run.tests)
    return sample.with_cell(
        replace(run, tests=tests),
        "test_nop",
        "6.16",
        status=Status.CRASH,
        reason="the kernel panicked",
        expected="res = 0",
        actual="silence",
        evidence=("the guest is gone",),
        dmesg=sample.PANIC,
        console_tail=("the console's end",),
        output="printed\n",
        duration_s=1.5,
        started=sample.STARTED + timedelta(seconds=3),
        reproduce="uring-matrix run --kernel 6.16 -k test_nop",
        attempts=(
            Attempt(status=Status.CRASH, reason="once", duration_s=1.0, dmesg=sample.PANIC),
            Attempt(status=Status.CRASH, reason="twice", duration_s=1.5),
        ),
    )


TOLD = (
    *("crash", "the kernel panicked", "res = 0", "silence", "the guest is gone", sample.PANIC[1], "the console's end"),
    *("printed", "IORING_OP_NOP", "uring-matrix run --kernel 6.16 -k test_nop"),
)
OF_THE_RUN = (
    "6.16.12+deb14-cloud-amd64",
    "6.16.12-2",
    "QEMU 10.0.11",
    "slub_debug=FZPU",
    "512",
    "uring-matrix 0.1.0",
    "Debian",
)


@pytest.mark.parametrize("form", FILES)
def test_a_file_says_what_there_is_to_say(form) -> None:
    found = exported(form, told())
    if form == "junit":
        case = cases(found)["test_nop[6.16-default]"]
        (suite,) = [suite for suite in found if suite.get("name") == "6.16-default"]
        own, around = ElementTree.tostring(case, encoding="unicode"), ElementTree.tostring(suite, encoding="unicode")
        assert ("conformance.test_rings", "1.500") == (case.get("classname"), case.get("time"))
        assert "attempt 2: crash: twice" in own
    elif form == "csv":
        (row,) = [row for row in found if (row["test"], row["kernel"]) == ("test_nop", "6.16")]
        own = around = "\n".join(row.values())
        assert ("1.5", "crash crash", "2026-11-23T09:00:03Z") == (row["duration_s"], row["attempts"], row["started"])
    else:
        is_ctrf = form == "ctrf"
        tests = found["results"]["tests"] if is_ctrf else found["tests"]
        (test,) = [test for test in tests if "test_nop[6.16-default]" in test["name" if is_ctrf else "comment"]]
        own, around = json.dumps(test), json.dumps(found)
        assert (1500 if is_ctrf else 1.5) == test["duration"]
    assert [text for text in TOLD if text not in own] == []
    assert [text for text in OF_THE_RUN if text not in around] == []


def test_counts_are_those_of_the_cases() -> None:
    root = exported("junit", sample.every_verdict())
    for suite in root:
        found = Counter(child.tag for case in suite.iter("testcase") for child in case)
        said = {name: int(suite.get(name)) for name in ("failures", "errors", "skipped")}
        assert {"failures": found["failure"], "errors": found["error"], "skipped": found["skipped"]} == said
        assert len(list(suite.iter("testcase"))) == int(suite.get("tests"))
    assert sum(int(suite.get("tests")) for suite in root) == int(root.get("tests")) == 451 + 1
    summary = exported("ctrf", sample.every_verdict())["results"]["summary"]
    statuses = ("passed", "failed", "skipped", "pending", "other")
    assert summary["tests"] == sum(summary[status] for status in statuses) == 451 + 1


def test_no_two_cells_have_one_name() -> None:
    results = merged()
    assert len(results.results) <= len(cases(exported("junit", results)))
    tests = exported("ctrf", results)["results"]["tests"]
    assert len(tests) == len({test["testId"] for test in tests})


def test_ctrf_shows_attempts_as_its_readers_understand_them() -> None:
    tests = {test["name"]: test for test in exported("ctrf", told())["results"]["tests"]}
    crash = tests["test_nop[6.16-default]"]
    assert [("failed", "crash: once")] == [(one["status"], one["message"]) for one in crash["retryAttempts"]]
    assert ("retries" in crash, "flaky" in crash) == (True, False)
    assert one_of(one_cell(Status.TIMEOUT, flaky=True))["flaky"] is True


def one_of(results: Results):
    (test,) = exported("ctrf", results)["results"]["tests"]
    return test


def test_a_pass_that_was_repeated_is_not_taken_for_flaky() -> None:
    """Readers of CTRF take a pass with retries for flaky."""
    attempts = tuple(Attempt(status=Status.PASS) for _ in range(100))
    test = one_of(
        replace(one_cell(Status.PASS), results=(replace(one_cell(Status.PASS).results[0], attempts=attempts),))
    )
    assert not {"retries", "retryAttempts", "flaky"} & test.keys()
    assert ["pass"] * 100 == test["extra"]["attempts"]


def test_an_unfinished_run_stops_with_its_last_row_in_ctrf() -> None:
    results = replace(told(), finished=None, complete=False)
    summary = exported("ctrf", results)["results"]["summary"]
    assert (4500, 4500) == (summary["stop"] - summary["start"], summary["duration"])


def test_rows_of_an_earlier_run_keep_its_provenance() -> None:
    """Within one column, too: the later run had a part of 6.16."""
    results = merged()
    days = {"6.16": {"2026-11-23T09:00:00Z", "2026-11-24T09:00:00Z"}, "6.1": {"2026-11-23T09:00:00Z"}}
    for kernel, started in days.items():
        assert started == {row["run_started"] for row in exported("csv", results) if row["kernel"] == kernel}
        tests = exported("kcidb", results)["tests"]
        own = [test for test in tests if test["misc"]["kernel"] == kernel and test["path"] != "uring-matrix.run"]
        assert started == {test["environment"]["misc"]["started"] for test in own}
        cases = exported("junit", results).iter("testcase")
        texts = [case.findtext("system-out") for case in cases if case.get("name").endswith(f"[{kernel}-default]")]
        assert started == {re.search(r"^run: (.*)$", text, re.MULTILINE)[1] for text in texts}


# -- KCIDB ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", RESULTS.values(), ids=RESULTS)
def test_what_a_submission_refers_to_is_in_it_once(make) -> None:
    document = exported("kcidb", make())
    ids = {name: [one["id"] for one in document[name]] for name in ("checkouts", "builds", "tests")}
    assert all(len(found) == len(set(found)) for found in ids.values())
    assert {build["checkout_id"] for build in document["builds"]} == set(ids["checkouts"])
    assert {test["build_id"] for test in document["tests"]} <= set(ids["builds"])


def test_one_image_is_one_build_in_every_run() -> None:
    one, other = sample.whole(), replace(sample.whole(), started=sample.STARTED + timedelta(days=1))
    first, second = exported("kcidb", one), exported("kcidb", other)
    assert [build["id"] for build in first["builds"]] == [build["id"] for build in second["builds"]]
    assert first["checkouts"] == second["checkouts"]
    # A run is another one, and what is submitted twice is not.
    ids = [{test["id"] for test in document["tests"]} for document in (first, second, exported("kcidb", one))]
    assert ids[0].isdisjoint(ids[1])
    assert ids[0] == ids[2]


def test_kernels_that_were_not_to_be_had_are_not_one_build() -> None:
    document = exported("kcidb", all_infra())
    assert 11 == len(document["builds"])
    assert not any("valid" in checkout for checkout in document["checkouts"])
    assert {"MISS"} == {test["status"] for test in document["tests"]}


def test_the_origin_is_the_submitters() -> None:
    document = checked("kcidb", export("kcidb", sample.whole(), origin="my_ci"))
    everything = [one for name in ("checkouts", "builds", "tests") for one in document[name]]
    assert {"my_ci"} == {one["origin"] for one in everything} == {one["id"].partition(":")[0] for one in everything}


@pytest.mark.parametrize("origin", ["", "My CI", "a:b", "a\n", "ä", "\udcff"])
def test_an_origin_that_kcidb_would_refuse_is_refused(origin) -> None:
    with pytest.raises(ResultsError, match="small letters") as caught:
        to_kcidb.export(sample.whole(), origin=origin)
    assert str(caught.value).isprintable()


def test_different_ids_never_share_a_path() -> None:
    names = ["a.b", "a_b", "a b", "", "ä", "x" * 90, "x" * 91, "\udcff"]
    found = {to_kcidb._segment(name) for name in names}
    assert len(names) == len(found)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", one) for one in found)


# -- CSV --------------------------------------------------------------------------------------------------------------


def test_every_column_is_documented() -> None:
    text = DOCUMENT.split("## Columns of the CSV file")[1].split("Columns keep")[0]
    names = [name for name in re.findall(r"`(\w+)`", text) if name not in {"yes", "no"}]
    assert list(HEAD) == names


def test_a_text_is_no_formula() -> None:
    starts = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "－1")  # noqa: RUF001
    results = sample.whole()
    rows = tuple(
        replace(row, reason=start, expected=start) for row, start in zip(results.results, starts, strict=False)
    )
    found = exported("csv", replace(results, results=rows))
    assert len(starts) == len(found)
    for row, start in zip(found, starts, strict=True):
        # A carriage return is written out, and begins with a backslash.
        assert row["reason"] == row["expected"] == ("\\x0d=1" if start == "\r=1" else f"'{start}")


def test_lines_and_quotes_stay_in_their_cell() -> None:
    text = 'a,"b"\nc;d'
    results = sample.with_cell(sample.whole(), "test_nop", "6.1", reason=text, evidence=("one", "two"))
    rows = exported("csv", results)
    assert 451 == len(rows)
    (row,) = [row for row in rows if (row["test"], row["kernel"]) == ("test_nop", "6.1")]
    assert (text, "one\ntwo") == (row["reason"], row["evidence"])


def test_without_a_cell_there_is_the_head() -> None:
    assert export("csv", empty()) == ",".join(HEAD).encode() + b"\r\n"


# -- hostile text -----------------------------------------------------------------------------------------------------

HOSTILE = (
    "=cmd|'x'!A1 ]]> <script>alert(1)</script> &lt; \x00\x1b[31m\x9b \u202e\u200b\ufeff\ufffe\ud800\U000e0041 \r\n end"
)
WRITTEN = "\\x00\\x1b[31m\\x9b \\u202e\\u200b\\ufeff\\ufffe\\ud800\\U000e0041"
UNSAFE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\ufeff\ufffe\ud800-\udfff\U000e0000-\U000e007f]"
)


def hostile(extra: str = "") -> Results:
    """Hostile text wherever there can be text."""
    text = HOSTILE + extra
    kernel = replace(
        sample.kernel_records()[0],
        id=text,
        series=text,
        source=text,
        arch=text,
        package=text,
        package_version=text,
        suite=text,
        cmdline=text,
        error=text,
        config={text: text},
        guest=GuestConfig(cpus=1, memory_mib=256, append=text),
    )
    test = replace(
        sample.test_records()[0],
        id=text,
        title=text,
        group=text,
        since=text,
        source=f"{text}:7",
        node=text,
        code=text,
        kind=text,
        symbols=(text,),
    )
    mode = replace(sample.DEFER_TASKRUN, id=text, flags=(text,))
    row = replace(
        sample.whole().results[0],
        test=text,
        kernel=text,
        arch=text,
        mode=text,
        status=Status.FAIL,
        reason=text,
        expected=text,
        actual=text,
        evidence=(text,),
        dmesg=(text,),
        output=text,
        console_tail=(text,),
        reproduce=text,
        qualifiers=(text,),
        attempts=(Attempt(status=Status.FAIL, reason=text, evidence=(text,), dmesg=(text,)),) * 2,
    )
    generator = replace(sample.GENERATOR, name=text, version=text, commit=text)
    host = replace(sample.HOST, kernel=text, machine=text, qemu=text)
    run = replace(sample.whole(), kernels=(kernel,), tests=(test,), modes=(mode,), results=(row,), notes=(text,))
    return replace(run, generator=generator, host=host, command=(text,), complete=False)


@pytest.mark.parametrize("form", FILES)
def test_hostile_text_neither_breaks_a_file_nor_is_obeyed(form) -> None:
    content = export(form, hostile())
    checked(form, content)
    text = content.decode("utf-8")
    assert UNSAFE.search(text) is None
    # Readable, in JSON after its own escape.
    assert (WRITTEN.replace("\\", "\\\\") if form in {"ctrf", "kcidb"} else WRITTEN) in text


def test_hostile_text_does_not_leave_its_place_in_xml() -> None:
    root = ElementTree.fromstring(export("junit", hostile()))
    known = {
        "testsuites",
        "testsuite",
        "properties",
        "property",
        "testcase",
        "error",
        "failure",
        "system-out",
        "system-err",
    }
    assert {element.tag for element in root.iter()} <= known
    (case,) = [case for case in root.iter("testcase") if case.get("classname") != "run"]
    assert "]]> <script>alert(1)</script> &lt; " in case.find("failure").text


def test_no_cell_of_hostile_text_is_a_formula() -> None:
    (row,) = exported("csv", hostile())
    assert [name for name, value in row.items() if value.startswith(("=", "+", "-", "@"))] == []
    assert row["reason"].startswith("'=cmd")


@pytest.mark.parametrize("form", FILES)
def test_an_endless_line_is_cut_and_says_so(form) -> None:
    content = export(form, hostile("x" * 1_000_000))
    found = checked(form, content)
    assert len(content) < 2_000_000
    assert "characters left out here; results.json has them" in content.decode()
    if form == "csv":
        assert max(len(value) for row in found for value in row.values()) <= CELL_CHARACTERS_MAX
    if form == "kcidb":
        assert max(len(test.get("log_excerpt", "")) for test in found["tests"]) <= LOG_CHARACTERS_MAX


@pytest.mark.parametrize("limit", [2_000, 16_384, 32_766])
def test_a_text_is_no_longer_than_it_may_be(limit) -> None:
    for length in (limit - 1, limit, limit + 1, 10 * limit):
        assert len(clean("y" * length, limit)) <= limit
    assert "y" * limit == clean("y" * limit, limit)


def test_strange_durations_break_no_format() -> None:
    results = one_cell(Status.FAIL)
    for seconds in (-1.0, 1e300, 0.0004):
        changed = replace(results, results=(replace(results.results[0], duration_s=seconds),))
        for form in FILES:
            assert checked(form, export(form, changed)) is not None, (form, seconds)


# -- the door ---------------------------------------------------------------------------------------------------------


def test_naming_the_formats_loads_none_of_them() -> None:
    """The command line names them in every help text."""
    code = (
        "import sys, reports.export; print([m for m in ('msgspec', 'markupsafe', 'csv', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_exports_need_no_templates() -> None:
    code = (
        "import sys, reports.export.to_junit, reports.export.to_ctrf, reports.export.to_kcidb, reports.export.to_csv\n"
    )
    code += "print('jinja2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


# -- beside results that take the place of others ----------------------------------------------------------------------


@pytest.mark.parametrize("form", FILES)
@pytest.mark.parametrize("run", [sample.whole(), replace(sample.whole(), results=(), kernels=(), complete=False)])
def test_what_was_written_of_other_results_is_removed(tmp_path, form, run):
    """A green file of an earlier run would stand beside a run that was killed since."""
    (tmp_path / FILES[form]).write_bytes(export(form, run))
    remove_exports(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_files_of_another_origin_are_left_alone(tmp_path):
    for name, text in (
        ("junit.xml", '<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests">'),
        ("ctrf.json", '{"reportFormat": "CTRF"}'),
        ("kcidb.json", '{"version": {"major": 5, "minor": 3}}'),
        ("results.csv", "test,verdict\n"),
    ):
        (tmp_path / name).write_text(text)
    remove_exports(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(FILES.values())
