"""Whether capabilities are there: on which kernel, from which one on, and what is not known."""

from typing import Any

import pytest
import sample
from msgspec.structs import replace

from reports.can import Answer, answer, as_builtins
from reports.can_text import legend, sentences, table
from reports.matrix import Outcome
from reports.results import Mode, Qualifier, Results, ResultsError, Status

YES, NO, UNKNOWN = Outcome.PASSES, Outcome.LACKS, Outcome.OPEN


def results(run: Results | None = None) -> Results:
    """A whole run whose kernels list ftruncate from 6.9 on; what else they list is left out."""
    return sample.listing_ftruncate(run or sample.whole())


def without(run: Results, *kernels: str) -> Results:
    """Leave kernels out, as if they had not been tested."""
    return replace(
        run,
        kernels=tuple(kernel for kernel in run.kernels if kernel.id not in kernels),
        results=tuple(row for row in run.results if row.kernel not in kernels),
    )


def said(found: Answer) -> str:
    return "\n".join(sentences(found, found.lines[0]))


@pytest.mark.parametrize(
    ("what", "on", "outcome"),
    [
        ("accept-multishot", "6.1", YES),
        ("accept-multishot", "5.10", NO),
        ("accept-multishot", "debian12", YES),
        ("accept-multishot", "bullseye", NO),
        ("accept-multishot", "6.1.170-3", YES),
        ("accept-multishot", "6.1.170", YES),
        ("accept-multishot", "latest", YES),
        ("accept-multishot", "all", NO),
        ("accept-multishot", "6.*", YES),
        ("waitid", "6.*", NO),
        ("IORING_OP_FTRUNCATE", "6.1", NO),
        ("IORING_OP_FTRUNCATE", "6.12", YES),
        # Between two that have it, newer than all, and another build of a series that has it: none of them was tested.
        ("accept-multishot", "6.13", UNKNOWN),
        ("accept-multishot", "9.0", UNKNOWN),
        ("accept-multishot", "6.1.99-1", UNKNOWN),
        ("accept-multishot", "el9", UNKNOWN),
        ("accept-multishot", "rhel10", UNKNOWN),
        ("accept-multishot", "alpine3.22", UNKNOWN),
    ],
)
def test_an_answer_is_of_the_kernel_that_was_asked_about(what: str, on: str, outcome: Outcome) -> None:
    assert answer(results(), [what], [on]).outcome is outcome


@pytest.mark.parametrize(
    ("ons", "outcome"),
    [(["6.1", "6.12"], YES), (["6.1", "el9"], UNKNOWN), (["el9", "5.10"], NO), (["6.1", "5.10"], NO)],
)
def test_no_wins_over_not_known_and_that_over_yes(ons: list[str], outcome: Outcome) -> None:
    assert answer(results(), ["accept-multishot"], ons).outcome is outcome


def test_neighbours_are_told_and_not_believed() -> None:
    text = said(answer(results(), ["accept-multishot"], ["5.15"]))
    assert text.splitlines()[0] == (
        "5.15: not known: not tested; 5.10.249 (Debian 11) lacks it, 6.1.170 (Debian 12) has it."
    )
    text = said(answer(results(), ["accept-multishot"], ["el9"]))
    assert text.startswith("RHEL 9 (5.14): not known: not tested; 5.10.249")
    assert "carry much of later ones" in text


def test_another_build_of_the_series_is_a_neighbour() -> None:
    (on,) = answer(results(), ["accept-multishot"], ["alpine3.22"]).lines[0].on
    assert [kernel.id for kernel, _ in on.beside] == ["6.1", "6.12", "6.16"]
    (on,) = answer(results(), ["accept-multishot"], ["6.1.0-30-cloud-amd64"]).lines[0].on
    assert [kernel.id for kernel, _ in on.beside] == ["5.10", "6.1", "6.12"]


def test_a_neighbour_without_a_verdict_says_nothing() -> None:
    run = sample.with_cell(results(), "test_accept_multishot", "6.1", status=Status.INFRA)
    (on,) = answer(run, ["accept-multishot"], ["5.15"]).lines[0].on
    assert [kernel.id for kernel, _ in on.beside] == ["5.10", "6.12"]


# -- from which kernel on ----------------------------------------------------------------------------------------------


def test_all_together_are_documented_and_tested_with_the_last_of_them() -> None:
    found = answer(results(), ["accept-multishot", "bind/listen/connect", "nop"])
    assert found.outcome is YES
    assert said(found).splitlines()[0] == (
        "all three: documented 6.11, tested from 6.12.94 on (not on 6.1.170): Debian 13, not Debian 11 or Debian 12."
    )


def test_distributions_that_were_not_tested_are_named_with_what_their_version_says() -> None:
    text = said(answer(results(), ["accept-multishot"]))
    assert "Ubuntu 20.04 (5.4), Ubuntu 22.04 (5.15): not tested; older than documented." in text
    assert "RHEL 9 (5.14)" in text.partition("carry much of later ones")[0].splitlines()[-1]
    assert "Ubuntu 24.04 (6.8), Alpine 3.22 (6.12): not tested; not older than documented." in text


def test_what_no_kernel_has_is_no() -> None:
    found = answer(without(results(), *(series for series, *_ in sample.KERNELS[1:])), ["accept-multishot"])
    assert found.outcome is NO
    assert "on no tested kernel" in said(found)


def test_what_the_newest_lost_is_no() -> None:
    run = sample.with_cell(results(), "test_accept_multishot", "7.3", status=Status.FAIL, reason="it is gone")
    found = answer(run, ["accept-multishot"])
    assert found.outcome is NO
    assert "lost by 7.3" in said(found)
    assert "✘ fail" in legend(table(found, found.lines[0], is_folded=True))


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"status": Status.INFRA}, UNKNOWN),
        ({"status": Status.NOTRUN}, UNKNOWN),
        ({"status": Status.ERROR}, UNKNOWN),
        ({"status": Status.PASS, "qualifiers": (Qualifier.FLAKY,)}, UNKNOWN),
        ({"status": Status.CRASH}, NO),
    ],
)
def test_a_hole_is_never_a_yes(changes: dict[str, Any], outcome: Outcome) -> None:
    run = sample.with_cell(replace(results(), complete=False), "test_accept_multishot", "7.3", **changes)
    found = answer(run, ["accept-multishot"])
    assert found.outcome is outcome
    assert answer(run, ["accept-multishot"], ["7.3"]).outcome is outcome
    # Where it is known, it goes on to be.
    assert answer(run, ["accept-multishot"], ["7.2"]).outcome is YES
    if outcome is UNKNOWN:
        assert "but not known of 7.3" in said(found)


def test_a_hole_before_the_first_that_has_it_takes_nothing_away() -> None:
    run = sample.with_cell(results(), "test_accept_multishot", "5.10", status=Status.INFRA)
    found = answer(run, ["accept-multishot"])
    assert found.outcome is YES
    assert "not known of Debian 11" in said(found)


def test_the_kernels_own_word_is_told_from_tests() -> None:
    run = results()
    tests = tuple(
        replace(test, symbols=("IORING_OP_FTRUNCATE",)) if test.id == "test_fallocate" else test for test in run.tests
    )
    assert "ftruncate: by the kernels' own word; no test is about it." in said(answer(run, ["op-ftruncate"]))
    found = answer(replace(run, tests=tests), ["op-ftruncate"])
    assert "ftruncate: by the kernels' own word; tested by fallocate." in said(found)
    assert "documented 6.9, listed from 6.12.94 on" in said(found)


# -- the table ---------------------------------------------------------------------------------------------------------


def test_neighbours_that_are_alike_fold() -> None:
    found = answer(results(), ["accept-multishot", "bind/listen/connect"])
    assert table(found, found.lines[0], is_folded=True).heads == ("5.10", "6.1", "6.12\N{EN DASH}7.3")
    assert len(table(found, found.lines[0], is_folded=False).heads) == 11
    row = table(found, found.lines[0], is_folded=True).rows[0]
    assert ([mark.symbol for mark in row.marks], row.documented, row.works_from) == (
        ["\N{EN DASH}", "✓", "✓"],
        "5.19",
        "≤ 6.1.170 not on 5.10.249",
    )


def test_only_what_was_asked_for_is_a_column() -> None:
    found = answer(results(), ["accept-multishot"], ["7.3", "debian11", "el9"])
    assert table(found, found.lines[0], is_folded=True).heads == ("5.10", "7.3")


def test_without_a_name_everything_is_there() -> None:
    found = answer(results(), [])
    assert (found.is_list, len(found.entries)) == (True, 42)
    assert table(found, found.lines[0], is_folded=True).rows[-1].symbols == "IORING_OP_FTRUNCATE"


def test_hostile_text_is_made_visible() -> None:
    run = results()
    tests = tuple(replace(test, title="\x1b[31mred\u202e") if test.id == "test_nop" else test for test in run.tests)
    found = answer(replace(run, tests=tests), ["test_nop"])
    assert table(found, found.lines[0], is_folded=True).rows[0].title == "\\x1b[31mred\\u202e"
    assert "\x1b" not in said(found)


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "on", "words"),
    [
        ("timeout", None, r"'timeout' may be .*timeout-remove.*: name one"),
        ("acept-multishot", None, r"nothing is called 'acept-multishot' .*; nearest: accept-multishot"),
        ("IORING_OP_FTRUNCAT", None, "nearest: op-ftruncate"),
        ("xyzzy", None, "`uring-matrix can` lists all"),
        ("nop", "xyzzy", "no kernel is called 'xyzzy'; there are 5.10, 6.1"),
        ("nop", "debain12", "nearest: .*debian12"),
        ("nop", "5.*.x", r"no kernel is called '5\.\*\.x'"),
    ],
)
def test_what_is_called_otherwise_is_an_error_that_names_the_nearest(what: str, on: str | None, words: str) -> None:
    with pytest.raises(ResultsError, match=words):
        answer(results(), [what], [on] if on else [])


@pytest.mark.parametrize(("mode", "arch"), [("turbo", None), (None, "s390x")])
def test_a_mode_or_architecture_that_was_not_tested_is_an_error(mode: str | None, arch: str | None) -> None:
    with pytest.raises(ResultsError, match=r"there are (default|amd64)"):
        answer(results(), ["nop"], mode=mode, arch=arch)


# -- modes, architectures, programs ------------------------------------------------------------------------------------


def test_the_mode_is_default_unless_another_is_named() -> None:
    run = results(sample.whole((Mode(id="a"), sample.DEFAULT)))
    assert [one.line.mode.id for one in answer(run, ["nop"]).lines] == ["default"]
    assert [one.line.mode.id for one in answer(run, ["nop"], mode="a").lines] == ["a"]


def test_every_architecture_has_to_have_it() -> None:
    run = results()
    lacking = tuple(
        replace(row, kernel=f"{row.kernel}-arm64", arch="arm64", status=Status.UNSUPPORTED) for row in run.results
    )
    kernels = tuple(replace(kernel, id=f"{kernel.id}-arm64", arch="arm64") for kernel in run.kernels)
    both = replace(run, kernels=(*run.kernels, *kernels), results=(*run.results, *lacking))
    assert [one.outcome for one in answer(both, ["nop"]).lines] == [YES, NO]
    assert answer(both, ["nop"]).outcome is NO
    assert answer(both, ["nop"], arch="amd64").outcome is YES


def test_programs_get_the_same() -> None:
    found = as_builtins(answer(results(), ["accept-multishot"], ["el9", "6.1"]))
    (line,) = found["lines"]
    assert (found["schema_version"], found["answer"], line["answer"]) == (1, "unknown", "unknown")
    assert [(one["asked"], one["kernels"], one["answer"]) for one in line["on"]] == [
        ("el9", [], "unknown"),
        ("6.1", ["6.1"], "yes"),
    ]
    assert line["on"][0]["beside"] == {"5.10": "no", "6.1": "yes"}
    assert line["together"]["works_from"] == "6.1.170"
    assert line["distributions"] == {"Debian 11": "no", "Debian 12": "yes", "Debian 13": "yes"}
    (capability,) = line["capabilities"]
    assert (capability["id"], capability["basis"], capability["on"]["5.10"]) == ("accept-multishot", "tested", "no")
    assert "RHEL 9" in [one["name"] for one in found["not_tested"]]
    assert as_builtins(answer(results(), []))["answer"] is None
