"""Known issues: which kernels and verdicts they cover, what they excuse, and that they are reported once mended."""

from pathlib import Path

import observed_run
import pytest
import sample
from msgspec.structs import replace

from reports.diff import diff, gate
from reports.export.outcomes import Outcome, cells
from reports.folding import losses
from reports.keep import with_kept
from reports.known_issues import Issues, covers_kernel, known_sentence, no_longer_shown
from reports.matrix import derive
from reports.results import (
    Attempt,
    CellKey,
    Expectation,
    Kernel,
    KnownIssue,
    ResultsError,
    Status,
    annotate,
    decode,
    encode,
    exit_code,
    judge_all,
    kept,
    merge,
    read_known_issues,
)
from reports.wording import against_documentation, qualifier_words

CELL = ("test_nop", "6.16")


def issue(*status: str, **fields: object) -> KnownIssue:
    given = {"tests": ("test_nop",), "series": ("6.16",), "reason": "it is so", **fields}
    return KnownIssue(status=status or ("unsupported",), **given)


def knowing(results, *issues: KnownIssue):
    return annotate(replace(results, known_issues=issues))


DEBIAN = {"series": "6.17", "release": "6.17.13+deb13-amd64", "package_version": "6.17.13-1"}
ABI_ONLY = {"series": "6.1", "release": "6.1.0-47-amd64"}
KERNELS = [
    ({"series": ("6.16..7.1",)}, DEBIAN, True),
    ({"series": ("6.17",)}, DEBIAN, True),
    ({"series": ("6.18..",)}, DEBIAN, False),
    ({"series": ("..6.16",)}, DEBIAN, False),
    ({"series": ("..6.17",)}, DEBIAN, True),
    ({"series": ("5.10", "6.17")}, DEBIAN, True),
    ({"series": ("6.17.11..6.17.13",)}, DEBIAN, True),
    ({"series": ("6.17.11..6.17.12",)}, DEBIAN, False),
    ({"series": ("6.17.14..6.17.20",)}, DEBIAN, False),
    # Nine is less than ten, of series and of point releases.
    ({"series": ("6.2..6.9",)}, DEBIAN, False),
    ({"series": ("6.17.2..6.17.9",)}, DEBIAN, False),
    # A release that does not say which point release it is; the package does.
    ({"series": ("6.1.0..6.1.200",)}, ABI_ONLY, False),
    ({"series": ("6.1.0..6.1.200",)}, {**ABI_ONLY, "package_version": "6.1.170-3"}, True),
    ({"series": ("6.1",)}, ABI_ONLY, True),
    ({"series": ("5.1..",)}, {"series": "", "release": "mine"}, False),
    ({"releases": ("6.17.*-amd64",)}, DEBIAN, True),
    ({"releases": ("6.17.*-arm64",)}, DEBIAN, False),
    ({"package_versions": ("6.17.13-1",)}, DEBIAN, True),
    ({"package_versions": ("6.17.9-1..6.17.13-1",)}, DEBIAN, True),
    ({"package_versions": ("..6.17.13-1~bpo1",)}, DEBIAN, False),
    ({"series": ("6.17",), "releases": ("6.16*",)}, DEBIAN, False),
]


@pytest.mark.parametrize(("fields", "kernel", "expected"), KERNELS)
def test_which_kernels_an_issue_is_about(fields, kernel, expected) -> None:
    record = Kernel(id="k", arch="amd64", source="debian", **kernel)
    assert covers_kernel(issue(**{"series": (), **fields}), record) is expected


@pytest.mark.parametrize(
    ("status", "verdict", "code"),
    [
        ("unsupported", {"status": Status.UNSUPPORTED}, 0),
        ("fail", {"status": Status.FAIL}, 0),
        ("crash", {"status": Status.CRASH}, 0),
        ("unsupported", {"status": Status.CRASH}, 1),
        ("unsupported", {"status": Status.FAIL}, 1),
        ("unsupported", {"status": Status.UNSUPPORTED, "qualifiers": ("flaky",)}, 1),
        ("flaky", {"status": Status.FAIL}, 1),
    ],
)
def test_a_known_verdict_fails_no_run_and_no_other_is_excused(status, verdict, code) -> None:
    bare = sample.with_cell(sample.whole(), *CELL, **verdict)
    assert exit_code(bare) == 1
    found = knowing(bare, issue(status))
    assert exit_code(found) == code
    row = next(row for row in found.results if (row.test, row.kernel) == CELL)
    assert ("known-issue" in row.qualifiers) is (code == 0)
    assert known_sentence(found) == (None if code else "1 verdict is a known issue")
    # The table judges for itself, and so do exports.
    unexpected = [cell for cell in derive(found).unexpected if (cell.row.test, cell.row.kernel) == CELL]
    assert len(unexpected) == code
    (cell,) = [cell for cell in cells(found) if (cell.row.test, cell.row.kernel) == CELL]
    assert (cell.outcome in {Outcome.LACKING, Outcome.DECLINED}) is (code == 0)


@pytest.mark.parametrize(
    ("status", "tries", "expectation"),
    [
        (("flaky", "fail"), (Status.FAIL, Status.PASS), Expectation.KNOWN),
        (("fail",), (Status.FAIL, Status.PASS), Expectation.UNEXPECTED),
        (("flaky",), (Status.FAIL, Status.PASS), Expectation.UNEXPECTED),
        (("flaky", "fail"), (Status.CRASH, Status.PASS), Expectation.UNEXPECTED),
    ],
)
def test_what_wavers_is_excused_attempt_by_attempt(status, tries, expectation) -> None:
    attempts = tuple(Attempt(status=one) for one in tries)
    wavers = {"status": tries[0], "qualifiers": ("flaky",), "attempts": attempts}
    found = knowing(sample.with_cell(sample.whole(), *CELL, **wavers), issue(*status))
    assert set(judge_all(found)) - {Expectation.AS_EXPECTED, Expectation.EARLIER} == {expectation}


def test_a_reader_is_told_why() -> None:
    found = knowing(sample.with_cell(sample.whole(), *CELL, status=Status.FAIL), issue("fail", link="a link"))
    (cell,) = [cell for row in derive(found).rows for cell in row.cells if cell is not None and cell.issue is not None]
    test, kernel = found.tests[1], found.kernels[3]
    said = against_documentation(test, found.modes[0], kernel, cell.expectation, cell.issue)
    assert said[1:] == ["This is a known issue: it is so", "a link"]
    assert qualifier_words(cell.row, kernel) == ["known issue"]


def test_another_mode_test_or_kernel_is_not_excused() -> None:
    bare = sample.with_cell(sample.whole(), *CELL, status=Status.FAIL)
    for fields in ({"modes": ("sqpoll",)}, {"tests": ("test_nope",)}, {"series": ("6.17",)}):
        assert exit_code(knowing(bare, issue("fail", **fields))) == 1
    assert exit_code(knowing(bare, issue("fail", modes=("def*",), tests=("test_n*",)))) == 0


def test_what_passes_although_it_is_known_not_to_is_reported() -> None:
    found = knowing(sample.whole(), issue("fail", series=("6.16..6.17",)))
    assert no_longer_shown(found) == [
        f"known issue no longer shows: test_nop on {kernel}, known as fail: it is so"
        for kernel in ("6.16 (6.16.12)", "6.17 (6.17.13)")
    ]
    assert no_longer_shown(knowing(sample.with_cell(sample.whole(), *CELL, status=Status.FAIL), issue("fail"))) == []
    assert no_longer_shown(knowing(sample.whole(), issue("fail", "flaky"))) == []


def test_brackets_stand_for_themselves() -> None:
    lookup = Issues(replace(sample.whole(), known_issues=(issue(tests=("t[1]",)),)))
    assert [bool(lookup.covering(CellKey(name, "6.16", "amd64", "default"))) for name in ("t[1]", "t1")] == [
        True,
        False,
    ]


def test_a_gate_lets_a_known_issue_pass_and_nothing_else() -> None:
    bare = sample.with_cell(sample.whole(), *CELL, status=Status.FAIL)
    assert not gate(diff(sample.whole(), bare)).is_green
    assert gate(diff(sample.whole(), knowing(bare, issue("fail")))).is_green


def test_they_travel_and_merging_keeps_both() -> None:
    one, other = (knowing(sample.whole(), issue(status)) for status in ("fail", "crash"))
    assert decode(encode(one), "x").known_issues == (issue("fail"),)
    assert set(merge([one, other]).known_issues) == {issue("fail"), issue("crash")}


def test_an_entry_that_was_taken_out_excuses_no_newer_verdict() -> None:
    """It stays for what is kept of the run that knew it, unless the newer run judged what it is about."""
    entry = issue("fail", series=("6.16..6.17",))
    earlier = knowing(sample.with_cell(sample.whole(), *CELL, status=Status.FAIL), entry)
    for kernel, expected in (("6.17", ()), ("6.12", (entry,))):
        rows = tuple(row for row in earlier.results if row.kernel == kernel and row.test == "test_nop")
        own = replace(earlier, results=rows, known_issues=())
        left = kept(earlier, {row.key for row in rows})
        assert left is not None
        assert with_kept(own, left).known_issues == expected


# -- files ------------------------------------------------------------------------------------------------------------

GOOD = '[[issue]]\ntest = "t"\nstatus = "fail"\nseries = "6.1"\nreason = "r"\n'


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "known.toml"
    path.write_text(GOOD + 'link = "l"\nmode = ["m"]\nrelease = "x"\npackage-version = "1-1..2-1"\n')
    assert read_known_issues([path]) == (
        KnownIssue(
            tests=("t",), status=("fail",), series=("6.1",), reason="r", link="l", modes=("m",), releases=("x",),
            package_versions=("1-1..2-1",),
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[issue]", "is no TOML"),
        ("[[issues]]\n", "'issues' is nothing"),
        ("issue = 3\n", "each written as [[issue]]"),
        (GOOD + 'reasom = "x"\n', "issue 1: 'reasom' is no key of an issue; did you mean 'reason'?"),
        (GOOD + 'quux = "x"\n', "there are test, status"),
        (GOOD.replace('reason = "r"\n', ""), "has no 'reason'"),
        (GOOD.replace('series = "6.1"\n', ""), "names no kernels"),
        (GOOD.replace('"fail"', '"failed"'), "'failed' is no verdict that can be a known issue; did you mean 'fail'?"),
        (GOOD.replace('"fail"', '"infra"'), "'infra' is no verdict"),
        (GOOD.replace('"fail"', '"pass"'), "'pass' is no verdict"),
        (GOOD.replace('"fail"', "[]"), "status is []"),
        (GOOD.replace('"6.1"', '"six"'), "series 'six' is no range"),
        (GOOD.replace('"6.1"', '".."'), "is no range"),
        (GOOD.replace('"6.1"', '"6.16..5.1"'), "ends before it begins"),
        (GOOD.replace('"6.1"', '"6.17.3..6.17.1"'), "ends before it begins"),
        (GOOD.replace('"6.1"', '"6.16.3..6.17.1"'), "which is of one series and has both ends"),
        (GOOD.replace('"6.1"', '"6.16.3.."'), "which is of one series and has both ends"),
        (GOOD.replace('"6.1"', '"6.16..6.16.3"'), "which is of one series and has both ends"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "known.toml"
    path.write_text(text)
    with pytest.raises(ResultsError) as raised:
        read_known_issues([path])
    assert words in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"absent\.toml cannot be read: No such file"):
        read_known_issues([tmp_path / "absent.toml"])


def test_a_loss_that_is_known_raises_no_alarm_and_any_other_does() -> None:
    """A capability that nobody documents came as a backport: the front page had it in red."""
    run = observed_run.whole()
    tests = {"rings-without-memlock", "buffer-ring-min-left"}
    assert {loss.row.test.id for loss in losses(derive(run))} == tests
    known = knowing(run, *(issue(tests=(name,), series=("6.16..7.1",)) for name in tests))
    assert losses(derive(known)) == ()
    # Not of all the kernels that lack it.
    part = knowing(run, *(issue(tests=(name,), series=("6.16..6.17",)) for name in tests))
    assert {loss.row.test.id for loss in losses(derive(part))} == tests
