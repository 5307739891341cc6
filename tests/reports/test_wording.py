"""The sentences and figures of the site."""

from datetime import UTC, datetime

import pytest
import sample
from msgspec.structs import replace

from reports import wording
from reports.matrix import derive
from reports.results import Attempt, Status
from reports.wording import QUALIFIERS, VERDICTS, headline, minimum_text, qualifier_words, shortfalls


def only(*kernels, tests=None):
    """Return a whole run of some kernels (and tests)."""
    whole = sample.whole()
    kept = [test for test in whole.tests if tests is None or test.id in tests]
    return replace(
        whole,
        kernels=tuple(kernel for kernel in whole.kernels if kernel.id in kernels),
        tests=tuple(kept),
        results=tuple(row for row in whole.results if row.kernel in kernels and row.test in {test.id for test in kept}),
    )


def changed(kernel, status, test="test_nop"):
    return sample.with_cell(sample.whole(), test, kernel, status=status)


HEADLINES = {
    "All 41 tests pass on Linux 6.12 and every later kernel tested": sample.whole(),
    "All 41 tests pass on all 2 kernels, Linux 6.12 to 7.3": only("6.12", "7.3"),
    "All 41 tests pass on Linux 6.12, the newest kernel here, and on no older one": only("5.10", "6.1", "6.12"),
    "All 41 tests pass on Linux 6.12 and every later kernel with all its verdicts": changed("6.17", Status.INFRA),
    "All 41 tests pass on Linux 6.12; no later kernel has all its verdicts": replace(
        sample.with_cell(only("6.1", "6.12", "7.3"), "test_nop", "7.3", status=Status.NOTRUN), complete=False
    ),
    "40 of 41 tests pass on Linux 7.3, the newest kernel here": changed("7.3", Status.FAIL),
    "All 41 tests pass on Linux 7.3, the newest kernel here": changed("6.17", Status.CRASH),
    "39 of 41 tests pass on Linux 6.1, the newest kernel here": only("5.10", "6.1"),
    "39 of 41 tests pass on Linux 6.1": only("6.1"),
    "All 41 tests pass on Linux 7.0": only("7.0"),
    "The one test passes on Linux 7.0": only("7.0", tests={"test_nop"}),
    "No test was run": replace(sample.whole(), results=()),
}


@pytest.mark.parametrize(("sentence", "results"), HEADLINES.items(), ids=HEADLINES)
def test_headline(sentence, results):
    assert sentence == headline(derive(results))


def test_a_kernel_of_ones_own_is_called_by_its_name():
    results = only("7.0")
    kernels = (replace(results.kernels[0], source="path", id="bzImage"),)
    results = replace(
        results, kernels=kernels, results=tuple(replace(row, kernel="bzImage") for row in results.results)
    )
    assert headline(derive(results)) == "All 41 tests pass on bzImage (7.0)"


def test_shortfalls_are_named_and_counted():
    matrix = derive(sample.every_verdict())
    found = shortfalls(matrix)
    assert found[0] == "5.10 (15 unsupported)"
    # A kernel without any verdict falls short of nothing: it is named with its reason.
    assert not [one for one in found if one.startswith("7.2 ")]
    assert shortfalls(matrix, limit=3)[3:] == ["and 5 more columns"]
    assert shortfalls(derive(only("7.0"))) == []


def test_every_verdict_has_its_own_symbol_and_word():
    assert set(Status) == set(VERDICTS)
    assert len(VERDICTS) == len({verdict.symbol for verdict in VERDICTS.values()})
    assert len(VERDICTS) == len({verdict.word for verdict in VERDICTS.values()})


def test_symbols_never_turn_into_pictures():
    """Emoji would bring colours of their own, and differ from system to system."""
    for verdict in VERDICTS.values():
        assert len(verdict.symbol) == 1
        assert verdict.symbol not in "✔✖⚠⏱⛔❓❗‼"


def test_minimums_for_a_narrow_column():
    matrix = derive(sample.every_verdict())
    found = {row.test.id: minimum_text(next(iter(row.minimums.values())), matrix.names) for row in matrix.rows}
    assert found["test_readv"] == wording.MinimumText("≤ 5.10.249")
    assert found["test_mkdirat"] == wording.MinimumText("≤ 6.1.170", ("not on 5.10.249",))
    assert found["test_nop"] == wording.MinimumText(
        "6.17", ("not on 6.16.12", "also on 3 older ones"), is_worrying=True
    )
    broken = derive(changed("7.3", Status.FAIL))
    nop = next(row for row in broken.rows if row.test.id == "test_nop")
    assert minimum_text(next(iter(nop.minimums.values())), broken.names).notes == ("lost by 7.3-rc5",)


def test_qualifiers_in_words():
    row = sample.whole().results[0]
    tries = (Attempt(status=Status.PASS), Attempt(status=Status.FAIL), Attempt(status=Status.PASS))
    qualifiers = (*(name for name in QUALIFIERS if name != "backport"), "something-new")
    words = qualifier_words(replace(row, qualifiers=qualifiers, attempts=tries))
    assert words[:4] == ["flaky: 2 of 3 pass", "kernel warning", "unexpected", "earlier"]
    assert words[4:] == ["left behind", "known issue", "something new"]
    assert qualifier_words(replace(row, qualifiers=("flaky",))) == ["flaky"]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, ""),
        (0, "0 ms"),
        (0.0123, "12 ms"),
        (2.14, "2.1 s"),
        (59.94, "59.9 s"),
        (71, "1 min 11 s"),
        (3600, "60 min 0 s"),
    ],
)
def test_span(seconds, expected):
    assert expected == wording.span(seconds)


def test_moments_and_counts():
    assert wording.moment(datetime(2026, 1, 2, 3, 4, tzinfo=UTC)) == "2026-01-02 03:04 UTC"
    assert wording.moment(None) == "not finished"
    assert wording.count(1, "test") == "1 test"
    assert wording.count(2000, "test") == "2,000 tests"
