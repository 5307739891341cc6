"""The site: true to the results, safe, the same twice, and usable without script, colour or network."""

import errno
import gzip
import re
from datetime import timedelta
from itertools import product
from urllib.parse import unquote, urldefrag

import html5lib
import pytest
import sample
from msgspec.structs import replace
from page import parse

from reports import storage
from reports.merge import merge
from reports.pages import remove_pages
from reports.results import Attempt, GuestConfig, Kernel, Mode, ResultsError, Run, Status, read
from reports.site import MARK, environment, render, reproduce, write_site


def all_infra():
    """A run in which no kernel gave a verdict."""
    whole = sample.whole()
    rows = tuple(replace(row, status=Status.INFRA, reason="no boot", qualifiers=()) for row in whole.results)
    kernels = tuple(replace(kernel, booted=False, boot_seconds=None, error="no boot") for kernel in whole.kernels)
    return replace(whole, results=rows, kernels=kernels)


def interrupted():
    """A run that Ctrl-C ended in its third kernel."""
    whole = sample.whole()
    done = {kernel.id for kernel in whole.kernels[:3]}
    rows = tuple(
        row if row.kernel in done else replace(row, status=Status.NOTRUN, reason="", qualifiers=())
        for row in whole.results
    )
    return replace(whole, results=rows, complete=False, finished=None)


def merged():
    """Two runs of different days, the newer of one kernel, in one file."""
    whole = sample.whole()
    newer = replace(whole, started=whole.started + timedelta(days=1), finished=whole.finished + timedelta(days=1))
    rows = tuple(row for row in newer.results if row.kernel == "7.3")
    return merge([whole, replace(newer, kernels=newer.kernels[-1:], results=rows)])


RUNS = {
    "whole": sample.whole(),
    "all infra": all_infra(),
    "interrupted": interrupted(),
    "merged": merged(),
    "every verdict": sample.every_verdict(),
    "two modes": sample.whole((sample.DEFAULT, sample.DEFER_TASKRUN)),
    "one kernel": sample.on_this_machine(),
    "nothing": replace(sample.whole(), results=(), complete=False),
}


@pytest.fixture(scope="module", params=RUNS.values(), ids=RUNS)
def pages(request):
    """All pages of a site, by path."""
    return pages_of(request.param)


@pytest.fixture(scope="module")
def every():
    """The pages of the run in which every verdict occurs."""
    return pages_of(sample.every_verdict())


def pages_of(results):
    """The pages of a site, without what is for programs."""
    return {path: text for path, text in render(results) if path.endswith(".html")}


def front_of(results):
    return parse(dict(render(results))["index.html"])


def index_of(results):
    """The page with every column."""
    return parse(dict(render(results))["all.html"])


def row_of(index, test):
    return next(row for row in index.all("tr") if row.attributes.get("id") == f"row-{test}")


def test_pages_are_well_formed_and_say_what_they_are(pages):
    for path, text in pages.items():
        assert text.startswith("<!doctype html>\n"), path
        page = parse(text)
        assert page.one("html").attributes["lang"] == "en"
        assert page.one("title").text
        assert len(page.all("h1")) == 1
        assert MARK in text[:1024]


# What is beside the pages: written by a run, or for programs.
BESIDE = re.compile(r"results\.json|can\.json|badge\.svg|consoles/[A-Za-z0-9./_-]+")
# Whatever makes a browser load something.
LOADS = re.compile(r"""(?:src|href|action)=["']?(?:https?:)?//|url\(|@import|<script[^>]* src|<iframe|\son\w+=""")


def test_pages_are_valid_html(pages):
    """By the parser of the standard, which browsers follow; and ids are what links can name."""
    for path, text in pages.items():
        parser = html5lib.HTMLParser(strict=True)
        try:
            parser.parse(text)
        except html5lib.html5parser.ParseError as error:
            pytest.fail(f"{path}: {error}")
        for element in parse(text).all("*"):
            assert not re.search(r"\s", element.attributes.get("id", "")), path
            assert "" not in (element.attributes.get("id"), element.attributes.get("href")), path


def test_every_link_leads_somewhere(pages):
    """To a page of the site, a place in it, or what lies beside the pages; and nothing is loaded from elsewhere."""
    anchors = {
        path: {element.attributes["id"] for element in parse(text).all("*") if "id" in element.attributes}
        for path, text in pages.items()
    }
    for path, text in pages.items():
        page = parse(text)
        base = f"{path.rpartition('/')[0]}/" if "/" in path else ""
        for link in page.all("a"):
            target, fragment = urldefrag(link.attributes["href"])
            target = unquote(target)
            full = path if not target else target.removeprefix("../") if target.startswith("../") else f"{base}{target}"
            if BESIDE.fullmatch(full):
                continue
            assert full in pages, f"{path} links to {target}"
            assert not fragment or fragment in anchors[full], f"{path} links to {target}#{fragment}"
        assert not LOADS.search(text), path
        for link in page.all("link"):
            assert link.attributes["href"].startswith("data:")


def test_every_page_is_two_clicks_from_the_front(pages):
    """But for evidence, which is one click behind what it is evidence for."""
    links = {
        path: {
            unquote(urldefrag(link.attributes["href"])[0]).removeprefix("../") or path for link in parse(text).all("a")
        }
        for path, text in pages.items()
    }
    first = links["index.html"]
    second = first.union(*(links[path] for path in first if path in links))
    assert {path for path in pages if not path.startswith("evidence/")} <= second | {"index.html"}
    third = second.union(*(links[path] for path in second if path in links))
    assert set(pages) <= third


def test_tables_are_real_tables(pages):
    """With captions, and heads that say what they head: that is what a screen reader goes by."""
    for text in pages.values():
        for table in parse(text).all("table"):
            assert table.one("caption").text
            for head in table.all("th"):
                assert head.attributes["scope"] in ("row", "col", "rowgroup", "colgroup")
            assert table.one("thead").all("th")


def widths(table):
    """Return how many columns each row fills, spans of earlier rows included."""
    found = []
    reaching = {}
    for row in table.all("tr"):
        column = 0
        below = {place: rows - 1 for place, rows in reaching.items() if rows > 1}
        for cell in row.children:
            if isinstance(cell, str):
                continue
            while column in reaching:
                column += 1
            for place in range(column, column + int(cell.attributes.get("colspan", 1))):
                rows = int(cell.attributes.get("rowspan", 1))
                if rows > 1:
                    below[place] = rows - 1
                column = place + 1
        found.append(max([column, *(place + 1 for place in reaching)]))
        reaching = below
    return found


def test_all_rows_of_a_table_have_the_same_width(pages):
    """A row that is one cell short puts every verdict below the wrong kernel."""
    for path, text in pages.items():
        for table in parse(text).all("table"):
            assert len(set(widths(table))) == 1, (path, table.one("caption").text, widths(table))


@pytest.mark.parametrize("name", ["all infra", "interrupted"])
def test_no_run_without_its_verdicts_looks_good(name):
    pages = pages_of(RUNS[name])
    front = parse(pages["index.html"])
    assert front.one("h1").text.startswith({"all infra": "No verdict: ", "interrupted": "Incomplete: "}[name])
    capabilities = front.one("section", "#capabilities")
    cells = [cell for cell in capabilities.all("td", "cell") if "7.3" in cell.attributes["data-on"]]
    assert cells
    assert not [cell for cell in cells if "good" in cell.classes]
    assert "no verdict" in parse(pages["kernel/7.3.html"]).one("h1").text
    badge = dict(render(RUNS[name]))["badge.svg"]
    assert "#1a7f3c" not in badge


def test_every_cell_has_a_symbol_and_a_word(every):
    index = parse(every["all.html"])
    words = set()
    for cell in index.all("td", "cell"):
        assert cell.one("span", "symbol").text
        assert cell.one("span", "symbol").attributes["aria-hidden"] == "true"
        words.add(cell.one("span", "word").text)
    assert words == {"pass", "unsupported", "skip", "fail", "error", "crash", "timeout", "infra", "not run"}


@pytest.mark.parametrize("name", ["whole", "every verdict"])
def test_the_matrix_shows_the_verdicts_of_the_results(name):
    """Cell by cell, by its column's head: nothing shifted, nothing merged, nothing filled in."""
    results = RUNS[name]
    index = index_of(results)
    words = {"notrun": "not run"}
    found = {}
    for table in index.one("div", "matrix").all("table"):
        heads = [head.one("a").text for head in table.one("thead").all("th")[3:]]
        for row in table.one("tbody").all("tr"):
            if "id" in row.attributes:
                for head, cell in zip(heads, row.all("td", "cell"), strict=True):
                    found[row.attributes["id"].removeprefix("row-"), head] = cell.one("span", "word").text
    expected = {(row.test, row.kernel): words.get(row.status.value, row.status.value) for row in results.results}
    assert expected == found


def test_the_minimum_kernel_stands_right_after_the_name():
    index = index_of(sample.whole())
    expected = {
        "test_nop": "≤ 5.10.249",
        "test_mkdirat": "≤ 6.1.170 not on 5.10.249",
        "test_waitid": "≤ 6.12.94 not on 6.1.170",
    }
    for test, text in expected.items():
        row = row_of(index, test)
        assert [child.tag for child in row.children if not isinstance(child, str)][:3] == ["th", "td", "td"]
        assert text == row.all("td")[0].text
        assert "minimum" in row.all("td")[0].classes
    assert row_of(index, "test_waitid").one("td", "documented").text == "6.7"


def test_summary_rows_count_each_kernel():
    index = index_of(sample.whole())
    first = index.one("div", "matrix").all("table")[0].one("tbody").all("tr")
    assert [cell.text for cell in first[0].all("td")[2:5]] == ["26 of 41", "39 of 41", "41 of 41"]
    assert first[0].one("th").text == "All 41 tests"
    paths = next(row for row in first if row.one("th").text == "Paths")
    assert [cell.text for cell in paths.all("td")[2:4]] == ["0 of 5", "5 of 5"]


def test_every_cell_that_is_no_clean_pass_has_its_evidence(every):
    """A clean pass has none but what its capability's page says."""
    results = sample.every_verdict()
    wanted = {
        f"evidence/{row.kernel}-{row.mode}-{row.test}.html"
        for row in results.results
        if row.status is not Status.PASS or row.qualifiers
    }
    # Their evidence is that of 5.10, to the letter.
    wanted -= {"evidence/6.1-default-test_bind_listen_connect.html"}
    assert wanted == {path for path in every if path.startswith("evidence/")}
    index = parse(every["all.html"])
    assert wanted == {cell.one("a").attributes["href"] for cell in index.all("td", "cell") if cell.all("a")}
    linked = sum(bool(cell.all("a")) for cell in index.all("td", "cell"))
    assert linked == sum(row.status is not Status.PASS or bool(row.qualifiers) for row in results.results)


def test_an_evidence_page_has_what_one_needs(every):
    page = parse(every["evidence/6.16-default-test_nop.html"])
    text = page.one("main", "evidence").raw
    assert page.one("h1").text.startswith("nop")
    assert "io_uring_cqe(user_data=0xaaaaaaaa, res=0, flags=0)" in text
    assert "io_uring_cqe(user_data=0xaaaaaaaa, res=-5, flags=0)" in text
    assert "res: -5 != 0" in text
    assert "pytest conformance/test_rings.py::test_nop --kernel 6.16.12-2\n" in text
    assert "uring-matrix shell 6.16.12-2\n" in text
    assert "Nobody expected this verdict here." in text
    assert "def test_nop(ring):" in text
    links = [link.attributes["href"] for link in page.all("a")]
    assert {"../can/nop.html", "../kernel/6.16.html", "../consoles/6.16-amd64-1/console.txt"} <= set(links)


def test_a_kernels_page_has_where_it_comes_from(every):
    page = parse(every["kernel/6.16.html"])
    assert page.one("h1").text == "Linux 6.16: 40 of 41 pass"
    assert sample.kernel_records()[3].sha256 in page.raw
    assert "CONFIG_IO_URING=y" in page.raw
    failed = page.all("table", "list")[0]
    assert failed.one("h2").text == "Failed or lost: 1 of 41"
    assert [row.one("th").text for row in failed.one("tbody").all("tr")] == ["nop"]
    old = parse(every["kernel/5.10.html"])
    assert old.one("h1").text == "Linux 5.10 (Debian 11): 26 of 41 pass"
    assert "if you go to 6.1 Debian 12: \N{MINUS SIGN}1 +14" in " ".join(old.raw.split())
    assert "Not listed: IORING_OP_SOCKET, IORING_OP_WAITID, IORING_OP_FTRUNCATE" in old.raw


def test_a_crash_shows_the_kernel_and_every_attempt(every):
    text = parse(every["evidence/6.19-default-test_accept_multishot.html"]).raw
    assert "BUG: kernel NULL pointer dereference" in text
    assert "2 attempts" in text
    assert "QEMU exited with status 0 after panic" in text


def test_a_kernel_that_did_not_boot_says_why(every):
    text = parse(every["evidence/7.2-default-test_nop.html"]).raw
    assert "no answer on the serial port within 60 s" in text
    assert "Decompressing Linux..." in text
    front = parse(every["index.html"])
    assert "7.2 gave no verdicts: no answer on the serial port" in front.raw
    for page in (front, parse(every["all.html"]), parse(every["kernel/7.2.html"])):
        assert "no boot" in page.raw


def test_a_qualified_pass_does_not_look_like_a_clean_one(every):
    index = parse(every["all.html"])
    statx = row_of(index, "test_statx").all("td", "cell")
    warned, clean = statx[8], statx[7]
    assert "qualified" in warned.classes
    assert warned.one("span", "qualifier").text == "kernel warning"
    assert "qualified" not in clean.classes
    assert not clean.all("a")


def test_an_unexpected_lack_is_marked_and_listed(every):
    index = parse(every["all.html"])
    assert "unexpected" in row_of(index, "test_socket").all("td", "cell")[1].classes
    assert "unexpected" not in row_of(index, "test_socket").all("td", "cell")[0].classes
    front = parse(every["index.html"])
    surprises = [item.text for item in front.one("section", "surprises").all("li")]
    assert [item.split(" on ")[0] for item in surprises] == ["readv"]
    lost = {banner.one("h2").text: banner.one("li").raw for banner in front.all("section", "lost")}
    assert lost == {
        "Linux 7.0 lost 1 that 6.19 has": "splice/read: timeout: no result within 30 s; the guest was ended",
        "Linux 6.19 lost 1 that 6.18 has": "accept multishot: crash: the kernel panicked while this test ran",
        "Linux 6.16 lost 1 that 6.12 has": "nop: fail: assert cqe == expected",
        "Linux 6.1 lost 1 that 5.10 has": "socket: unsupported: IORING_OP_SOCKET is not in the probe <b>bold</b>",
    }


@pytest.mark.parametrize(
    ("change", "is_shown"),
    [({"complete": True}, False), ({"complete": False}, True), ({"complete": False, "finished": None}, True)],
)
def test_an_incomplete_run_cannot_be_missed(change, is_shown):
    for page in (front_of(replace(sample.whole(), **change)), index_of(replace(sample.whole(), **change))):
        assert is_shown == bool(page.all("section", "alarm"))
        assert is_shown == page.one("h1").text.startswith("Incomplete: ")


def test_open_cells_are_counted_in_the_banner(every):
    assert "1 planned cell of 451 got no verdict." in parse(every["index.html"]).one("section", "alarm").text


HOSTILE = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\x1b]0;title\x07\0\u202e{{ 7*7 }}{% raw %}&amp;\udcff"
)


def test_hostile_text_stays_text_wherever_it_stands():
    """In every field that a guest, a file name or a test can fill."""
    whole = sample.whole()
    kernel = Kernel(
        id=HOSTILE,
        series=HOSTILE,
        arch=HOSTILE,
        source=HOSTILE,
        release=HOSTILE,
        version=HOSTILE,
        package=HOSTILE,
        package_version=HOSTILE,
        sha256=HOSTILE,
        cmdline=HOSTILE,
        boot_protocol=HOSTILE,
        config={HOSTILE: HOSTILE},
        features={HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]},
        error=HOSTILE,
        suite=HOSTILE,
        location=HOSTILE,
        console=HOSTILE,
        console_tail=(HOSTILE,),
        phases={HOSTILE: 1.0},
        notes=(HOSTILE,),
    )
    texts = {"title", "zig", "group", "doc", "since", "source", "code"}
    tests = tuple(
        replace(whole.tests[index], id=f"{HOSTILE}{index}", **dict.fromkeys(texts, HOSTILE)) for index in range(2)
    )
    host_texts = ("kernel", "machine", "python", "qemu", "accel", "accel_reason")
    mode = Mode(id=HOSTILE, flags=(HOSTILE,), since=HOSTILE)
    row = replace(
        whole.results[0],
        test=tests[0].id,
        kernel=HOSTILE,
        arch=HOSTILE,
        mode=HOSTILE,
        status=Status.FAIL,
        reason=HOSTILE,
        expected=HOSTILE,
        actual=HOSTILE,
        dmesg=(HOSTILE,),
        evidence=(HOSTILE,),
        qualifiers=(HOSTILE,),
        output=HOSTILE,
        console_tail=(HOSTILE,),
        reproduce=HOSTILE,
    )
    results = replace(
        whole,
        generator=replace(whole.generator, name=HOSTILE, version=HOSTILE, commit=HOSTILE),
        command=(HOSTILE,),
        host=replace(sample.HOST, **dict.fromkeys(host_texts, HOSTILE)),
        kernels=(kernel,),
        tests=tests,
        modes=(mode,),
        results=(row, replace(row, test=tests[1].id)),
        notes=(HOSTILE,),
    )
    pages = pages_of(results)
    # The front page, the matrix, a kernel, two capabilities, and the evidence of both.
    assert len(pages) == 7
    for path, text in pages.items():
        page = parse(text)
        # Our own two: the picker and its data.
        assert len(page.all("script")) == (2 if path == "index.html" else 0)
        assert page.all("img") == []
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", text), path
        assert "49" not in page.one("title").text
        assert "{{ 7*7 }}" in page.raw
        assert re.fullmatch(r"[A-Za-z0-9._/-]+", path)
        for element in page.all("*"):
            assert not any(name.startswith("on") for name in element.attributes)


def test_a_megabyte_of_output_does_not_make_a_megabyte_of_page():
    results = sample.with_cell(sample.whole(), "test_nop", "6.1", status=Status.FAIL, output="x" * 5_000_000)
    assert all(len(text) < 300_000 for text in dict(render(results)).values())


def test_the_same_results_give_the_same_bytes(tmp_path):
    """Whatever the order in which they were written down, and wherever the site goes."""
    results = sample.every_verdict()
    shuffled = replace(results, results=results.results[::-1], kernels=results.kernels[::-1])
    assert dict(render(results)) == dict(render(read_again(results, tmp_path)))
    ours, theirs = dict(render(results)), dict(render(shuffled))
    assert ours.keys() == theirs.keys()
    ordered = [path for path in ours if path.startswith(("evidence/", "kernel/", "can/"))]
    assert [ours[path] for path in ordered] == [theirs[path] for path in ordered]


def read_again(results, directory):
    storage.write(directory / "results.json", results)
    return read(directory)


def test_write_site_writes_all_pages_and_the_data(tmp_path):
    results = sample.every_verdict()
    index = write_site(results, tmp_path / "deep" / "site")
    assert tmp_path / "deep" / "site" / "index.html" == index
    assert results == read(index.parent)
    for path, text in render(results):
        assert text == (index.parent / path).read_text(encoding="utf-8")


def test_write_site_can_leave_the_data_out(tmp_path):
    write_site(sample.whole(), tmp_path, with_results=False)
    assert not (tmp_path / "results.json").exists()


def test_stale_evidence_goes_and_foreign_files_stay(tmp_path):
    write_site(sample.every_verdict(), tmp_path)
    foreign = {
        tmp_path / "evidence" / "notes.html": "<p>mine",
        tmp_path / "evidence" / "log.txt": MARK,
        tmp_path / "x.html": MARK,
    }
    for path, text in foreign.items():
        path.write_text(text)
    write_site(sample.whole(), tmp_path)
    left = {path.name for path in (tmp_path / "evidence").iterdir()}
    assert len(left) == 15 + 2
    assert "6.16-default-test_nop.html" not in left
    assert {path: path.read_text() for path in foreign} == foreign
    assert not list(tmp_path.rglob(".*"))


def test_with_a_site_goes_what_programs_read_of_it(tmp_path):
    """A green badge would stand beside a run that was killed since, and speak of another one."""
    write_site(sample.whole(), tmp_path)
    assert {"badge.svg", "can.json", "index.html"} <= {path.name for path in tmp_path.iterdir()}
    remove_pages(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_what_no_site_of_ours_is_beside_is_left_alone(tmp_path):
    for name in ("badge.svg", "can.json", "index.html"):
        (tmp_path / name).write_text("mine")
    remove_pages(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_full_disk_leaves_the_old_index_and_no_rubbish(tmp_path, monkeypatch):
    write_site(sample.whole(), tmp_path)
    before = (tmp_path / "index.html").read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage.Path, "replace", full)
    with pytest.raises(ResultsError, match="could not be written: No space left on device"):
        write_site(sample.every_verdict(), tmp_path, with_results=False)
    monkeypatch.undo()
    assert before == (tmp_path / "index.html").read_bytes()
    assert not list(tmp_path.rglob(".*"))


def test_each_mode_has_a_page_and_the_front_page_says_where_they_differ():
    pages = pages_of(RUNS["two modes"])
    first, other = parse(pages["all.html"]), parse(pages["all-amd64-defer-taskrun.html"])
    assert row_of(first, "test_nop").all("td")[0].text == "≤ 5.10.249"
    assert row_of(other, "test_nop").all("td")[0].text == "≤ 6.1.170 not on 5.10.249"
    front = parse(pages["index.html"])
    differing = {
        row.one("th").one("a").text: row.one("th").one("small").text
        for row in front.all("tr")
        if row.all("small", "differing")
    }
    assert differing["nop"] == "differs in defer-taskrun"
    assert "accept multishot" not in differing
    page = parse(pages["can/nop.html"])
    lines = [[cell.text for cell in row.all("td")[1:3]] for row in page.one("table", "kernels").one("tbody").all("tr")]
    assert lines[:3] == [["default", "✓ pass"], ["defer-taskrun", "\N{EN DASH} unsupported"], ["all modes", "✓ pass"]]


def test_what_is_lost_in_one_mode_is_not_called_lost_in_another_that_never_had_it():
    results = RUNS["two modes"]
    rows = tuple(
        replace(row, status=Status.UNSUPPORTED)
        if row.test == "test_nop" and (row.mode == "defer-taskrun" or row.kernel == "7.3")
        else row
        for row in results.results
    )
    pages = pages_of(replace(results, results=rows))
    shown = {
        path: row_of(parse(pages[path]), "test_nop").all("td", "cell")[-1].raw
        for path in ("all.html", "all-amd64-defer-taskrun.html")
    }
    assert "lost" in shown["all.html"]
    assert "lost" not in shown["all-amd64-defer-taskrun.html"]


def test_a_page_tells_what_is_wrong_with_its_own_kernel_and_test():
    """Of a loss that lasts, each of the kernels that lack it; of what is unexpected, what it is about."""
    results = sample.whole()
    for kernel in ("7.1", "7.2"):
        results = sample.with_cell(results, "test_nop", kernel, status=Status.UNSUPPORTED)
    results = sample.with_cell(results, "test_readv", "6.18", status=Status.ERROR)
    pages = pages_of(results)

    def wrong(path):
        banners = parse(pages[path]).all("section", "bad")
        return {name for name in ("lost", "surprises") for banner in banners if name in banner.classes}

    assert {
        "kernel/6.17.html": set(),
        "kernel/6.18.html": {"surprises"},
        "kernel/7.0.html": set(),
        "kernel/7.1.html": {"lost"},
        "kernel/7.2.html": {"lost"},
        "kernel/7.3.html": set(),
        "diff/6.17..6.18.html": {"surprises"},
        "diff/7.1..7.2.html": {"lost"},
        "can/nop.html": {"lost"},
        "can/readv.html": {"surprises"},
        "can/write-read.html": set(),
        "all.html": {"lost", "surprises"},
        "index.html": {"lost", "surprises"},
    } == {path: wrong(path) for path in pages if path in WITH_ALARMS}


WITH_ALARMS = {
    *(f"kernel/{name}.html" for name in ("6.17", "6.18", "7.0", "7.1", "7.2", "7.3")),
    "diff/6.17..6.18.html",
    "diff/7.1..7.2.html",
    *(f"can/{name}.html" for name in ("nop", "readv", "write-read")),
    "all.html",
    "index.html",
}


def test_a_pass_that_was_repeated_says_so_wherever_it_is_shown():
    """It is as clean as the others, which are not looked at one by one."""
    attempts = (Attempt(status=Status.PASS), Attempt(status=Status.PASS))
    pages = pages_of(sample.with_cell(sample.whole(), "test_nop", "6.12", attempts=attempts))
    assert ["2 of 2" in cell.text for cell in row_of(parse(pages["all.html"]), "test_nop").all("td", "cell")] == [
        column.id == "6.12" for column in sample.whole().kernels
    ]
    lines = parse(pages["can/nop.html"]).one("table", "kernels").all("tr")
    assert ["6.12"] == [line.all("th")[0].text for line in lines if "2 of 2" in line.text]


def test_one_mode_is_not_named():
    pages = pages_of(sample.whole())
    assert "default" not in parse(pages["all.html"]).one("main").raw + parse(pages["index.html"]).one("main").raw


def test_two_architectures_are_told_apart():
    whole = sample.whole()
    arm = tuple(replace(kernel, id=f"{kernel.id}-arm64", arch="arm64") for kernel in whole.kernels[:2])
    rows = tuple(
        replace(row, kernel=f"{row.kernel}-arm64", arch="arm64")
        for row in whole.results
        if row.kernel in ("5.10", "6.1")
    )
    pages = pages_of(replace(whole, kernels=whole.kernels + arm, results=whole.results + rows))
    heads = [parse(pages[path]).one("h1").text for path in ("all.html", "all-arm64-default.html")]
    assert heads == ["Every kernel, every test, amd64", "Every kernel, every test, arm64"]
    assert parse(pages["kernel/6.1-arm64.html"]).one("h1").text == "Linux 6.1 (Debian 12), arm64: 39 of 41 pass"
    # Equal evidence, and yet each with its own command.
    assert "--kernel 6.1.170-3 --arch arm64" in pages["evidence/5.10-default-test_waitid.html"]


@pytest.mark.parametrize(
    ("phases", "is_said"),
    [
        ({"restore": 0.3, "collect": 1.0}, True),
        ({"boot": 5.0, "collect": 1.0}, False),
        ({"restore": 0.3, "boot": 5.0}, False),
    ],
)
def test_a_restored_guest_is_not_said_to_have_booted_so_fast(phases, is_said):
    results = sample.whole()
    kernels = tuple(replace(kernel, boot_seconds=0.3, phases=phases) for kernel in results.kernels)
    page = parse(dict(render(replace(results, kernels=kernels)))["kernel/6.1.html"])
    assert ("Restored in 300 ms" in page.text) is is_said
    assert ("Booted in 300 ms" in page.text) is not is_said


@pytest.mark.parametrize(
    ("protocol", "said"),
    [("pvh", "PVH, of the unpacked vmlinux, without KASLR"), ("linux", "Linux, of the image as it is"), ("efi", "efi")],
)
def test_how_a_kernel_was_started_is_said_where_it_is_known(protocol, said):
    """Results of older versions do not tell."""
    results = sample.whole()
    texts = []
    for known in (protocol, None):
        kernels = tuple(replace(kernel, boot_protocol=known) for kernel in results.kernels)
        page = dict(render(replace(results, kernels=kernels)))["kernel/6.1.html"]
        texts.append(str(parse(page).text))
    assert ["Boot protocol" in text for text in texts] == [True, False]
    assert said in texts[0]


def test_this_machines_kernel_needs_no_boot():
    for path, text in pages_of(sample.on_this_machine()).items():
        raw = parse(text).raw
        assert "no boot" not in raw, path
        assert "did not boot" not in raw, path
    front = front_of(sample.on_this_machine())
    assert ", booted in a virtual machine" not in front.raw
    assert front.one("h1").text == "All 41 tests pass on Linux 6.18, this machine's own kernel"
    assert row_of(index_of(sample.on_this_machine()), "test_nop").all("td")[0].text == "≤ 6.18.44"


def test_cells_that_were_never_planned_are_shown_as_such():
    results = sample.whole()
    rows = tuple(row for row in results.results if (row.test, row.kernel) != ("test_nop", "5.10"))
    cells = row_of(index_of(replace(results, results=rows)), "test_nop").all("td", "cell")
    assert cells[0].text == "not planned"
    assert len(cells) == 11


def test_names_that_differ_in_case_only_get_files_of_their_own():
    """The site may be copied to a file system that ignores case."""
    whole = sample.whole()
    tests = (replace(whole.tests[0], id="test_a"), replace(whole.tests[1], id="test_A"))
    row = replace(whole.results[0], test="test_a", status=Status.SKIP)
    results = replace(whole, tests=tests, results=(row, replace(row, test="test_A")))
    names = [path.lower() for path, _ in render(results)]
    assert len(set(names)) == len(names)
    assert sum(name.startswith("evidence/") for name in names) == 2
    assert sum(name.startswith("can/a") for name in names) == 2


def test_branches_with_several_packages_are_judged_on_their_own():
    whole = sample.whole()
    kernel = whole.kernels[1]
    newer = replace(kernel, id="6.1.0-48", package_version="6.1.171-1", release="6.1.0-48-cloud-amd64")
    rows = [replace(row, kernel=newer.id) for row in whole.results if row.kernel == "6.1"]
    rows = [replace(row, status=Status.PASS, qualifiers=()) if row.test == "test_waitid" else row for row in rows]
    index = index_of(replace(whole, kernels=(*whole.kernels, newer), results=(*whole.results, *rows)))
    assert "in the 6.1 branch: > 6.1.170-3, ≤ 6.1.171-1" in row_of(index, "test_waitid").one("th").text
    assert "branch" not in row_of(index, "test_nop").raw


NOP = "pytest conformance/test_rings.py::test_nop"


@pytest.mark.parametrize(
    ("kernel", "row", "expected"),
    [
        ({}, {}, [f"{NOP} --kernel 6.1.170-3", "uring-matrix shell 6.1.170-3"]),
        (
            {"source": "path", "location": "/my kernel/bzImage"},
            {},
            [f"{NOP} --kernel '/my kernel/bzImage'", "uring-matrix shell '/my kernel/bzImage'"],
        ),
        ({"source": "host"}, {}, [NOP]),
        (
            {"package_version": None},
            {},
            [f"{NOP} --kernel 6.1.0-47-cloud-amd64", "uring-matrix shell 6.1.0-47-cloud-amd64"],
        ),
        ({}, {"reproduce": "make it so"}, ["make it so"]),
        ({}, {"mode": "sqpoll"}, [f"{NOP} --kernel 6.1.170-3 --mode sqpoll", "uring-matrix shell 6.1.170-3"]),
    ],
)
def test_reproduce(kernel, row, expected):
    whole = sample.whole()
    test = next(test for test in whole.tests if test.id == "test_nop")
    result = next(one for one in whole.results if (one.test, one.kernel) == ("test_nop", "6.1"))
    assert expected == reproduce(replace(result, **row), test, replace(whole.kernels[1], **kernel), whole)
    plain = reproduce(result, replace(test, source=None), replace(whole.kernels[1], source="host"), whole)
    assert plain == ["pytest conformance -k test_nop"]


def test_a_large_matrix_stays_small():
    """1,500 tests on 22 kernels: the evidence is elsewhere, and the page has few bytes per cell."""
    whole = sample.whole()
    tests = tuple(
        replace(test, id=f"{test.id}_{index}", group=f"Group {index % 20}")
        for index, test in product(range(37), whole.tests)
    )[:1500]
    kernels = tuple(replace(kernel, id=f"{kernel.id}-{index}") for index, kernel in product(range(2), whole.kernels))
    row = whole.results[0]
    rows = tuple(replace(row, test=test.id, kernel=kernel.id) for kernel, test in product(kernels, tests))
    pages = dict(render(replace(whole, tests=tests, kernels=kernels, results=rows)))
    assert len(pages["all.html"]) < 33_000 * 170
    assert len(gzip.compress(pages["index.html"].encode())) < 300_000


def test_templates_never_switch_escaping_off():
    for name in environment().list_templates():
        source = environment().loader.get_source(environment(), name)[0]
        assert not re.search(r"\|\s*safe|autoescape\s+false|Markup", source), name


# -- rows of several runs ---------------------------------------------------------------------------------------------


def test_a_row_of_an_earlier_run_shows_that_runs_machine():
    """Beside newer rows of the same column, which have theirs."""
    results = sample.every_verdict()
    guest = GuestConfig(cpus=4, memory_mib=512, append="io_uring=quiet", gdb=True)
    earlier = Run(
        id="2026-11-01T00:00:00.000Z",
        generator=results.generator,
        host=replace(results.host, accel="kvm", accel_reason="a short boot proved it"),
        command=("uring-matrix", "run", "--out", "earlier"),
        started=results.started.replace(day=1),
        kernels=tuple(replace(one, guest=guest) for one in results.kernels if one.id == "6.16"),
    )
    rows = tuple(
        replace(row, run=earlier.id) if (row.test, row.kernel) == ("test_nop", "6.16") else row
        for row in results.results
    )
    pages = dict(render(replace(results, results=rows, runs=(earlier,))))
    page = pages["evidence/6.16-default-test_nop.html"]
    assert "4 CPUs, 512 MiB, io_uring=quiet, under a debugger" in page
    assert "kvm (a short boot proved it)" in page
    assert "2026-11-01" in page
    assert "uring-matrix run --out earlier" in page
    assert "1 verdict of this column is of an earlier run: 2026-11-01" in pages["kernel/6.16.html"]
    other = pages["evidence/7.0-default-test_splice_read.html"]
    assert "512 MiB" not in other
    assert "../kernel/7.0.html" in other
    assert "tcg" in pages["kernel/7.0.html"]
