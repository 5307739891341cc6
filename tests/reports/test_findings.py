"""Findings: everything that disagrees or changes is listed, with evidence, and explained where somebody did."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from observed_sample import OBSERVED, disagreements, observed_results, row_of, with_state
from sample import whole, with_cell

from conformance.capabilities import CAPABILITIES
from conformance.capabilities.explanations import explanations
from reports.findings import Direction, Explanation, findings
from reports.findings_text import UNEXPLAINED, text
from reports.records import KnownIssue
from reports.results import (
    Kernel,
    Mode,
    Qualifier,
    Results,
    Status,
    annotate,
    exit_code,
    judge_all,
    no_longer_shown,
    write,
)

WHY = [Explanation(**one) for one in explanations()]


@pytest.fixture(scope="module")
def results() -> Results:
    return observed_results()


def of(results: Results) -> str:
    return text(findings(results, WHY), results)


def part(document: str, head: str) -> str:
    """A section."""
    return document.partition(f"## {head}\n")[2].partition("\n## ")[0]


# -- the first line's run ---------------------------------------------------------------------------------------------


def test_what_is_known_of_the_kernels_fails_no_run(results: Results) -> None:
    assert exit_code(results) == 0
    assert exit_code(annotate(replace(results, known_issues=()))) == 1
    known = [(row.test, row.kernel) for row in results.results if "known-issue" in row.qualifiers]
    assert {test for test, _ in known} == {"rings-without-memlock", "buffers-without-memlock"}
    assert len(known) == 6 + 10
    # None of them is written down without need.
    assert no_longer_shown(results) == []


@pytest.mark.parametrize(("test", "kernel"), [("op-ftruncate", "6.12"), ("op-nop", "5.10"), ("register-query", "7.3")])
def test_a_kernel_that_lacks_what_it_should_have_fails_the_run(test: str, kernel: str, results: Results) -> None:
    assert exit_code(with_state(results, test, kernel, "lacks")) == 1


def test_a_known_issue_that_is_mended_is_reported(results: Results) -> None:
    found = with_state(results, "rings-without-memlock", "6.17", "has")
    (sentence,) = no_longer_shown(found)
    assert sentence.startswith("known issue no longer shows: rings-without-memlock on 6.17 (6.17.13)")
    assert exit_code(found) == 0


def test_what_is_off_is_no_failure(results: Results) -> None:
    assert exit_code(with_state(results, "register-napi", "7.3", "off")) == 0


# -- disagreements ----------------------------------------------------------------------------------------------------


def test_every_disagreement_of_the_sample_is_listed_and_explained(results: Results) -> None:
    found = findings(results, WHY)
    listed = {
        (f"{one.test.id} {one.documented.since}", kernel.series, one.why)
        for one in found.disagreements
        for kernel in one.kernels
    }
    assert listed == {
        (claim, series, one["why"])
        for one in disagreements()
        for claim in one["capabilities"]
        for series in one["series"]
    }
    document = of(results)
    symbols = {one.id: one.symbols[0] for one in CAPABILITIES}
    for one in disagreements():
        section = next(
            section
            for section in document.split("\n\n")
            if section.startswith("| capability")
            and all(f"`{symbols[claim.split()[0]]}`" in section for claim in one["capabilities"])
        )
        assert section
    assert UNEXPLAINED not in document
    # What somebody found out is not contradicted by a guess.
    assert "too careful" not in document
    assert "it may be" not in document
    assert "of those disagreements not explained yet: 0" in document


def test_what_nobody_explained_comes_first_with_what_follows_from_the_results(results: Results) -> None:
    changed = with_state(results, "op-ftruncate", "7.1", "lacks")
    missing = part(of(changed), "Missing though documented")
    assert missing.index(UNEXPLAINED) < missing.index("The manual page errs")
    (line,) = [line for line in missing.splitlines() if "`IORING_OP_FTRUNCATE`" in line]
    assert "| 7.1.13 |" in line
    assert "| a regression: an older kernel has it | `a request for op-ftruncate: lacks` |" in line
    assert "of those disagreements not explained yet: 1" in of(changed)


@pytest.mark.parametrize(
    ("test", "states", "hint"),
    [
        ("op-ftruncate", {"6.12": "lacks"}, "no older kernel has it either"),
        ("op-ftruncate", {"6.16": "lacks"}, "a regression: an older kernel has it"),
        ("op-ftruncate", {"6.1": "has"}, "a backport, or a page that is too careful"),
        # Two pages, of which one fits what kernels do.
        ("register-query", {}, "kernel history has it since 6.18, which fits"),
    ],
)
def test_what_follows_from_results_alone(test: str, states: dict[str, str], hint: str, results: Results) -> None:
    changed = results
    for kernel, state in states.items():
        changed = with_state(changed, test, kernel, state)
    assert [one.hint for one in findings(changed).disagreements if one.test.id == test] == [hint]


@pytest.mark.parametrize(
    ("package", "exact", "hint"),
    [
        ("6.1.192-1", "6.1.192", "a backport, or a page that is too careful"),
        ("6.1-1", "6.1", "the page is too careful"),
    ],
)
def test_a_first_release_has_no_backports(package: str, exact: str, hint: str, results: Results) -> None:
    changed = with_state(results, "op-ftruncate", "6.1", "has")
    kernels = tuple(replace(one, package_version=package) if one.id == "6.1" else one for one in changed.kernels)
    (found,) = [
        one for one in findings(replace(changed, kernels=kernels)).disagreements if one.test.id == "op-ftruncate"
    ]
    assert (found.direction, found.hint) == (Direction.EARLIER, hint)
    assert f"| {exact} |" in text(findings(replace(changed, kernels=kernels)), changed)


def test_the_minimum_of_a_test_is_documentation_as_well() -> None:
    results = with_cell(whole(), "test_waitid", "6.1", status=Status.PASS)
    (found,) = findings(results).disagreements
    assert (found.test.id, found.direction, [one.id for one in found.kernels]) == ("test_waitid", "earlier", ["6.1"])


@pytest.mark.parametrize(("since", "kernels"), [("5.11", []), ("5.13", []), ("5.17", ["5.10"])])
def test_what_a_test_needs_is_told_of_once(since: str, kernels: list[str], results: Results) -> None:
    """A test is there earlier because what it exercises is: the capability's line has the evidence."""
    (row,) = [row for row in results.results if (row.test, row.kernel) == ("op-nop", "5.10")]
    (test,) = [test for test in results.tests if test.id == "op-nop"]
    own = replace(test, id="test_own", kind="operation", since=since, documented=())
    found = findings(
        replace(
            results,
            tests=[*results.tests, own],
            results=[*results.results, replace(row, test="test_own", state=None)],
        )
    )
    assert [one.id for seen in found.disagreements if seen.test is own for one in seen.kernels] == kernels


# -- all else ---------------------------------------------------------------------------------------------------------


def test_a_port_and_its_operation_have_one_explanation() -> None:
    """The ports are held to the first kernels of what they use: what explains an operation explains its test."""
    (found,) = findings(with_cell(whole(), "test_shutdown", "5.10", status=Status.UNSUPPORTED)).disagreements
    assert (found.test.id, found.why) == ("test_shutdown", None)
    (own,) = [one for one in WHY if ("test_shutdown", "5.11") in one.claims]
    for name in ("test_shutdown", "test_renameat", "test_unlinkat"):
        assert (name, "5.11") in own.claims
        assert (f"op-{name.removeprefix('test_')}", "5.11") in own.claims


def test_what_a_kernel_claims_against_the_observation(results: Results) -> None:
    changed = with_state(results, "op-ftruncate", "6.1", "lacks", claimed=True)
    changed = with_state(changed, "op-nop", "6.1", "has", claimed=False)
    changed = with_state(changed, "op-readv", "6.1", "has", claimed=True)
    found = findings(changed, WHY)
    assert [(one.test.id, one.claimed) for one in found.contradictions] == [("op-nop", False), ("op-ftruncate", True)]
    section = part(of(changed), "The kernel's own word against the observation")
    assert "| has it | lacks it | 6.1.0-56-cloud-amd64 | `a request for op-ftruncate: lacks` |" in section
    assert part(of(results), "The kernel's own word against the observation").strip() == "None."


def test_what_is_configured_out_names_the_symbol(results: Results) -> None:
    section = part(of(with_state(results, "register-napi", "7.3", "off")), "Switched off, or not to be told")
    assert section.index("Off: `CONFIG_NET_RX_BUSY_POLL is not set`") < section.index("Not determinable: `no network")
    assert "(`IORING_REGISTER_NAPI`) on 7.3.4\n" in section


def test_every_pair_of_neighbours_is_counted(results: Results) -> None:
    steps = findings(results, WHY).steps
    assert [(one.older.id, one.newer.id) for one in steps] == list(pairwise(OBSERVED))
    for one in steps:
        old, new = (OBSERVED[kernel.id]["others"] for kernel in (one.older, one.newer))
        lacked, lacks = set(old["lacks"]), set(new["lacks"])
        unclear = set(old["not-determinable"]) | set(new["not-determinable"])
        assert {change.test.id for change in one.gained} == lacked - lacks - unclear
        assert {change.test.id for change in one.lost} == lacks - lacked - unclear
        assert {change.test.id for change in one.other} == set(old["not-determinable"]) ^ set(new["not-determinable"])
    assert all(one.gained for one in steps if (one.older.id, one.newer.id) != ("7.0", "7.1"))
    document = of(results)
    assert "pairs of neighbouring kernels that differ: 10 of 10" in document
    (files,) = [change for change in steps[0].limits if change.test.id == "limit-fixed-files"]
    assert (files.before, files.after) == ("32,768", "1,048,576")
    assert re.search(r"- limit: number of registered files \(`\w+`\): 32,768 → 1,048,576", document)
    assert "- lost: rings beside RLIMIT\\_" not in document
    assert (
        "- lost: rings beside RLIMIT_MEMLOCK (`RLIMIT_MEMLOCK`): `a request for rings-without-memlock: lacks`"
        in document
    )


def test_how_many_capabilities_differ_is_told_of_each_pair(results: Results) -> None:
    """In the page that is published, too, which has the tests beside them."""
    limits = {series: known["values"] for series, known in OBSERVED.items()}
    states = {
        series: {name: state for state, names in known["others"].items() for name in names}
        for series, known in OBSERVED.items()
    }
    names = [one.id for one in CAPABILITIES]
    expected = [
        sum(
            states[old].get(name) != states[new].get(name) or limits[old].get(name) != limits[new].get(name)
            for name in names
        )
        for old, new in pairwise(OBSERVED)
    ]
    assert all(expected)
    published = (Path(__file__).parents[2] / "docs/findings.md").read_text(encoding="utf-8")
    for document in (of(results), published):
        rows = re.findall(r"^\| \S+ \| \S+ ((?:\| \d+ ){6})\|$", part(document, "From kernel to kernel"), re.MULTILINE)
        counts = [[int(number) for number in row.split("|")[1:]] for row in rows]
        assert [capabilities for capabilities, *_ in counts] == expected
        assert all(capabilities + tests == sum(rest) for capabilities, tests, *rest in counts)


def test_a_test_whose_verdict_changed_is_listed() -> None:
    document = of(with_cell(whole(), "test_nop", "6.16", status=Status.FAIL, reason="no\n# heading"))
    assert "has → fail: `no`" in part(document, "From kernel to kernel")
    assert "\n# heading" not in document


def test_modes_that_differ(results: Results) -> None:
    mode = Mode(id="defer-taskrun", flags=("IORING_SETUP_DEFER_TASKRUN",), since="6.1")
    rows = [
        replace(row_of("op-nop", kernel, state), mode=mode.id)
        for kernel, state in (("5.10", "lacks"), ("6.1", "lacks"), ("6.12", "has"))
    ]
    changed = replace(results, modes=(*results.modes, mode), results=(*results.results, *rows))
    (found,) = findings(changed, WHY).modes
    assert (found.kernel.id, found.verdicts) == ("6.1", (("default", "has"), ("defer-taskrun", "lacks")))
    assert "default: has, defer-taskrun: lacks | **Not explained yet**: `" in part(
        of(changed), "Differences between modes"
    )
    assert "of those differences not explained yet: 1" in of(changed)


def test_why_modes_differ_is_said_by_known_issues(results: Results) -> None:
    modes = [Mode(id=name, flags=(name,)) for name in ("fast", "odd")]
    rows = [
        replace(row, mode=mode.id, status=Status.FAIL if mode.id == "odd" and row.test == "test_nop" else row.status)
        for row in whole().results
        for mode in modes
        if row.kernel == "6.1" and row.state is None
    ]
    issue = KnownIssue(tests=("test_nop",), status=("fail",), reason="Odd ones do.", series=("6.1",), modes=("odd",))
    changed = replace(whole(), modes=(*whole().modes, *modes), results=(*whole().results, *rows))
    (found,) = findings(changed).modes
    assert found.why is None
    (found,) = findings(replace(changed, known_issues=(issue,))).modes
    assert (found.why, found.verdicts) == ("Odd ones do.", (("default", "has"), ("fast", "has"), ("odd", "fail")))
    section = part(of(replace(changed, known_issues=(issue,))), "Differences between modes")
    assert "| default: has, odd: fail | Odd ones do. |" in section
    assert "no cell" not in section


def test_tests_that_a_mode_cannot_have_are_counted() -> None:
    results = whole()
    mode = Mode(id="narrow", flags=("NARROW",))
    rows = [replace(row, mode="narrow") for row in results.results if row.state is None and row.test != "test_nop"]
    changed = replace(results, modes=(*results.modes, mode), results=(*results.results, *rows))
    assert "- narrow (1): `test_nop`" in part(of(changed), "Differences between modes")


def test_kernels_without_a_verdict_say_nothing(results: Results) -> None:
    dead = Kernel(id="9.9", series="9.9", arch="amd64", source="debian")
    rows = [
        replace(row, kernel="9.9", status=Status.INFRA, state=None) for row in results.results if row.kernel == "7.3"
    ]
    changed = replace(results, kernels=(*results.kernels, dead), results=(*results.results, *rows))
    assert of(changed) == of(results)


def test_known_issues_say_where_they_show(results: Results) -> None:
    section = part(of(results), "Known issues")
    assert section.count("Shows on 6.") == 2
    assert "Shows on 6.16.12, 6.17.13, 6.18.15, 6.19.14, 7.0.13, 7.1.13." in section


def test_what_a_kernel_complains_of_is_a_finding_where_the_test_passes(results: Results) -> None:
    assert "What kernels complained of" not in of(results)
    lines = (
        "read -> 5",
        "kernel: <4>[    3.141592] WARNING: possible circular locking dependency detected",
        "kernel: <3>[    3.141593] BUG: KASAN: use-after-free in io_nop+0x116/0x130",
    )
    warned = {("op-nop", "6.1"), ("op-nop", "7.1"), ("op-readv", "7.1")}
    rows = tuple(
        replace(row, qualifiers=(Qualifier.KERNEL_WARNING,), evidence=lines)
        if (row.test, row.kernel) in warned
        else row
        for row in results.results
    )
    section = part(of(replace(results, results=rows)), "What kernels complained of")
    assert "`BUG: KASAN: use-after-free in io_nop+0x116/0x130`" in section
    (line,) = re.findall(r"\| .*WARNING.*", section)
    assert "`WARNING: possible circular locking dependency detected`" in line
    assert line.count(": pass") == 3
    assert line.endswith(" 7.1.13 |")


def test_text_of_guests_is_text(results: Results) -> None:
    changed = with_state(results, "op-ftruncate", "7.1", "lacks")
    rows = tuple(
        replace(row, evidence=("`</code>` | <script>\x1b[31m",))
        if (row.test, row.kernel) == ("op-ftruncate", "7.1")
        else row
        for row in changed.results
    )
    line = next(one for one in of(replace(changed, results=rows)).splitlines() if "script" in one)
    assert "`'</code>' \\| <script>" in line
    assert "\x1b" not in line


def test_all_judge_alike(results: Results) -> None:
    assert set(map(str, judge_all(results))) == {"as-expected", "earlier-than-documented", "known-issue"}


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command_writes_what_the_function_says(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[Any]
) -> None:
    from uring_matrix.cli import execute

    monkeypatch.chdir(tmp_path)
    write(tmp_path / "results.json", results)
    assert execute(["findings", "results.json"]) == 0
    assert capsys.readouterr().out == of(results)
    for _ in range(2):
        assert execute(["findings", "results.json", "--out", "mine.md"]) == 0
        assert (tmp_path / "mine.md").read_text() == of(results)
    (tmp_path / "README.md").write_text("# Mine\n")
    assert execute(["findings", "results.json", "--out", "README.md"]) == 2
    assert (tmp_path / "README.md").read_text() == "# Mine\n"
    assert execute(["findings", "absent.json"]) == 2
