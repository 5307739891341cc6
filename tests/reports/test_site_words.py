"""What the site says in words, where it once said what is not so."""

import re

import pytest
import sample
from msgspec.structs import replace
from page import parse

from reports.results import Results, Status
from reports.site import render

RUN = "uring-matrix run --kernel 'linux-image-x={}' -- --pyargs conformance.zig.{}::{}"


def features(names: list[str]) -> dict[str, list[str]]:
    return {"operations": names}


@pytest.fixture(scope="module")
def run() -> Results:
    whole = sample.whole()
    reason = "IORING_OP_ACCEPT with IORING_ACCEPT_MULTISHOT is not supported"
    whole = sample.with_cell(
        *(whole, "test_accept_multishot", "5.10"),
        status=Status.UNSUPPORTED,
        reason=reason,
        evidence=("res -22 (EINVAL) from IORING_OP_ACCEPT",),
    )
    whole = sample.with_cell(whole, "test_waitid", "5.10", reason="needs Linux 6.7", evidence=("EVERY release is old",))
    lists = {"5.10": ["NOP", "ACCEPT"], "6.1": ["NOP", "ACCEPT", "SOCKET"]}
    every = ["NOP", "ACCEPT", "SOCKET", "WAITID", "FTRUNCATE"]
    kernels = tuple(replace(one, features=features(lists.get(one.id, every))) for one in whole.kernels)
    listed = tuple(replace(one, detect=f"`ops` has {one.value}") for one in sample.capability_records())
    results = tuple(
        replace(row, reproduce=RUN.format(row.kernel, "test_a" if row.test < "test_n" else "test_b", row.test))
        for row in whole.results
    )
    return replace(whole, kernels=kernels, results=results, capabilities=listed)


@pytest.fixture(scope="module")
def pages(run: Results) -> dict[str, str]:
    return dict(render(run))


def said(page: str) -> str:
    """A page's text as one reads it: without the blanks that elements leave before punctuation."""
    return re.sub(r" (?=[:;,.])", "", parse(page).text)


def page_of(pages: dict[str, str], directory: str, title: str) -> str:
    """The text of the page with that title."""
    return next(
        said(text)
        for path, text in pages.items()
        if path.startswith(directory) and parse(text).one("h1").text.startswith(title)
    )


def test_a_kernel_that_says_yes_and_has_it_not_is_named(pages: dict[str, str]) -> None:
    """The probe lists ACCEPT on 5.10, which refuses multishot: the page said to ask the probe."""
    text = page_of(pages, "can/", "accept multishot")
    assert "Needed, but not enough: 5.10.249 says yes to this, and does not pass the test." in text
    assert "5.10 answered the test's request with EINVAL: IORING_OP_ACCEPT with IORING_ACCEPT_MULTISHOT is" in text


def test_what_was_not_asked_is_no_answer(pages: dict[str, str]) -> None:
    """A word in capitals is no error, and WAITID is listed by no kernel that lacks it."""
    text = page_of(pages, "can/", "waitid")
    assert "On 5.10: needs Linux 6.7." in text
    assert "5.10 answered" not in text
    assert "not enough" not in text


def test_the_way_from_one_kernel_to_another_counts_what_is_listed(pages: dict[str, str]) -> None:
    assert (
        "From Linux 6.1 to 6.12: 2 tests gained, 2 newly listed" in parse(pages["diff/6.1..6.12.html"]).one("h1").text
    )
    text = said(pages["kernel/6.1.html"])
    assert "if you go to 6.12 Debian 13: +2 tests, 2 newly listed" in text
    assert "if it must run on 5.10, too Debian 11: \N{MINUS SIGN}13 tests, 1 not listed there" in text
    assert "if you go to 6.18: the same if" in said(pages["kernel/6.17.html"])


def test_what_a_later_kernel_lists_no_more_is_said_before_what_it_gained(run: Results) -> None:
    kernels = tuple(replace(one, features=features([])) if one.id == "6.12" else one for one in run.kernels)
    text = dict(render(replace(run, kernels=kernels)))["diff/6.1..6.12.html"]
    assert "3 not listed any more, 2 tests gained" in parse(text).one("h1").text


def test_a_kernels_page_repeats_that_kernel(pages: dict[str, str], run: Results) -> None:
    command = "uring-matrix run --kernel linux-image-x=6.1 -- --pyargs conformance.zig"
    assert f"The same again: {command}" in parse(pages["kernel/6.1.html"]).text
    older = replace(run, results=tuple(replace(row, reproduce=None) for row in run.results))
    assert "The same again" not in dict(render(older))["kernel/6.1.html"]


def test_what_passes_is_folded(pages: dict[str, str]) -> None:
    [passing] = [one for one in parse(pages["kernel/6.1.html"]).all("details") if "39 tests that pass" in one.text]
    assert "open" not in passing.attributes


def test_only_what_was_tested_is_called_a_test(pages: dict[str, str], run: Results) -> None:
    text = parse(pages["index.html"]).text
    assert (
        "each cell under Capabilities is a test that ran in that kernel; Operations are what the kernels list" in text
    )
    alone = dict(render(replace(run, capabilities=())))["index.html"]
    assert "each cell here is a test that ran in that kernel." in parse(alone).text


def test_what_works_from_means_is_one_click_away(pages: dict[str, str]) -> None:
    page = parse(pages["index.html"])
    for head in page.all("th", "minimum"):
        assert head.one("a").attributes["href"] == "#works-from"
    assert [one for one in page.all("p") if one.attributes.get("id") == "works-from"]


def test_each_symbol_that_one_test_is_about_has_a_version(pages: dict[str, str]) -> None:
    """ACCEPT_MULTISHOT had none, since the operation stands before it among the test's symbols."""
    symbols = next(one for one in parse(pages["index.html"]).all("section") if one.attributes.get("id") == "symbols")
    text = {one.one("code").text: one.text for one in symbols.all("li")}
    assert text["IORING_ACCEPT_MULTISHOT"] == "IORING_ACCEPT_MULTISHOT ≤ 6.1.170"


def test_cells_keep_their_heads_on_a_phone(pages: dict[str, str]) -> None:
    """Where the table is a list, "unsupported pass" left open which kernel is which."""
    row = next(one for one in parse(pages["diff/6.1..6.12.html"]).all("tr") if "waitid" in one.text and one.all("td"))
    assert [one.attributes.get("data-on") for one in row.all("td")] == ["documented", "on 6.1", "on 6.12", None]
    row = next(one for one in parse(pages["kernel/6.1.html"]).all("tr") if "waitid" in one.text and one.all("td"))
    assert row.all("td")[0].attributes["data-on"] == "documented"
