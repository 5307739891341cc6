"""What pages say of a verdict: each thing in a sentence, once."""

import pytest
import sample
from msgspec.structs import replace
from page import parse

from reports import wording
from reports.results import Attempt, Status
from reports.site import render


def test_what_was_found_is_there_once():
    """The evidence of what a kernel lacks is what was found: it stood there twice."""
    whole = sample.whole()
    row = next(row for row in whole.results if row.status is Status.UNSUPPORTED)
    lines = ("uname release 5.10 is below 6.7, the documented minimum", "IORING_REGISTER_PROBE: lacks it")
    run = sample.with_cell(whole, row.test, row.kernel, evidence=lines, actual="; ".join(lines))
    pages = dict(render(run))
    page = next(text for name, text in pages.items() if name.startswith("evidence/5.10-") and row.test in name)
    assert page.count(lines[1]) == 1


def test_a_crash_is_told_once():
    """Reason, what was found, evidence and console said the same four times, the stack twice."""
    dead = sample.PANIC[0].partition("] ")[2]
    run = sample.with_cell(
        sample.whole(),
        *("test_nop", "6.1"),
        status=Status.CRASH,
        reason=f"the kernel died: {dead}",
        expected="the kernel survives the test",
        actual=dead,
        evidence=("the guest is gone", f"the console's last line: {sample.PANIC[-1]}", *sample.PANIC),
        console_tail=sample.PANIC,
    )
    page = parse(dict(render(run))["evidence/6.1-default-test_nop.html"])
    assert page.raw.count(dead) == 2  # as a reason, and where it stands on the console
    assert [page.raw.count(line) for line in sample.PANIC[1:]] == [1] * 4
    assert next(pre.raw for pre in page.all("pre")) == "the guest is gone"
    assert "Expected and found" not in page.text


@pytest.mark.parametrize(
    ("reason", "actual", "evidence", "found"),
    [
        # The words of an exception are the reason, and in the evidence with its class.
        ("[Errno 2] No such file", "FileNotFoundError: [Errno 2] No such file", "FileNotFoundError in call: …", None),
        ("not supported", "res -22 (EINVAL)", "res -22 (EINVAL)", None),
        # The sides of a comparison stand in no sentence, also where a reason ends in one.
        ("assert 3 == 1", "1", "AssertionError in call: assert 3 == 1", "1"),
        ("late", "it did not", "late", "it did not"),
        ("no reason", None, "", None),
    ],
)
def test_what_was_found_is_left_out_where_it_was_said(reason, actual, evidence, found):
    row = replace(sample.whole().results[0], reason=reason, expected="x", actual=actual, evidence=(evidence,))
    told = wording.told(row)
    assert told.found == found
    assert told.expected == (None if found is None and actual is not None else "x")
    assert reason not in told.evidence or not reason


def test_equal_verdicts_stand_in_one_line_and_on_one_page():
    run = sample.whole()
    for kernel, reason in (("5.10", "res -5"), ("6.1", "res -5"), ("6.12", "res -6")):
        run = sample.with_cell(run, "test_nop", kernel, status=Status.FAIL, reason=reason)
    pages = dict(render(run))
    banner = parse(pages["index.html"]).one("section", "surprises")
    assert banner.one("h2").text == "3 unexpected verdicts"
    lines = banner.all("li")
    assert [[link.attributes["href"] for link in line.all("a")] for line in lines] == [
        ["evidence/5.10-default-test_nop.html"] * 2,
        ["evidence/6.12-default-test_nop.html"],
    ]
    assert lines[0].raw.endswith(": fail: res -5")
    page = parse(pages["evidence/5.10-default-test_nop.html"])
    assert page.one("h1").text == "nop on Linux 5.10, 6.1"
    assert "5.10.249-1" in page.raw
    assert "--kernel 6.1.170-3" in page.raw


def test_no_failure_is_left_out_of_the_banners():
    """What is named as lost is not named again; and what stays lost on later kernels is named with it."""
    run = sample.whole()
    for kernel, reason in (("6.1", "res -5"), ("6.12", "res -6"), ("7.3", "res -7")):
        run = sample.with_cell(run, "test_nop", kernel, status=Status.FAIL, reason=reason)
    front = parse(dict(render(run))["index.html"])
    heads = [banner.one("h2").text for banner in front.all("section", "lost")]
    assert heads == ["Linux 7.3 lost 1 that 7.2 has", "Linux 6.1 and 6.12 lost 1 that 5.10 has"]
    assert [banner.one("li").raw for banner in front.all("section", "lost")] == [
        "nop: fail: res -7",
        "nop: fail: res -5; 6.12: fail: res -6",
    ]
    assert front.all("section", "surprises") == []


def test_a_time_that_nobody_measured_has_no_column():
    tries = tuple(Attempt(status=Status.CRASH, reason="gone") for _ in range(2))
    for attempts, is_there in ((tries, False), ((replace(tries[0], duration_s=0.5), tries[1]), True)):
        run = sample.with_cell(sample.whole(), "test_nop", "6.1", status=Status.CRASH, attempts=attempts)
        page = parse(dict(render(run))["evidence/6.1-default-test_nop.html"])
        table = page.one("table", "attempts")
        assert ("Took" in table.text) is is_there
        assert len({len(row.all("th")) + len(row.all("td")) for row in table.all("tr")}) == 1


def test_what_passes_each_time_looks_like_a_pass():
    """A hundred passes of a hundred had the colour of a warning."""
    tries = tuple(Attempt(status=Status.PASS) for _ in range(100))
    run = sample.with_cell(sample.whole(), "test_nop", "6.1", attempts=tries)
    cells = parse(dict(render(run))["all.html"]).all("td", "cell")
    (cell,) = [cell for cell in cells if cell.text == "✓ pass 100 of 100"]
    assert "qualified" not in cell.classes


def test_equal_attempts_stand_in_one_line():
    """Three equal crashes were three lines, and a hundred attempts a hundred."""
    crash = Attempt(status=Status.CRASH, reason="the kernel died: BUG", evidence=("[    1.0] BUG",))
    tries = [Attempt(status=Status.PASS, duration_s=number / 10) for number in range(1, 98)]
    tries[3:3] = [crash, replace(crash, evidence=("[    2.0] BUG",))]
    tries.append(crash)
    run = sample.with_cell(sample.whole(), "test_nop", "6.1", status=Status.CRASH, attempts=tuple(tries))
    table = parse(dict(render(run))["evidence/6.1-default-test_nop.html"]).one("table", "attempts")
    assert table.one("h2").text == "100 attempts"
    lines = [[cell.text for cell in [row.one("th"), *row.all("td")]] for row in table.one("tbody").all("tr")]
    assert [(line[0], line[1], line[-1]) for line in lines] == [
        ("1 to 3, 6 to 99", "97", "100 ms to 9.7 s"),
        ("4 to 5, 100", "3", ""),
    ]
    assert "[ 1.0] BUG" in lines[1][3]
    assert "[ 2.0] BUG" not in lines[1][3]
