"""The site in a browser: what readers come to do, on any screen, by keyboard, without a script, for everybody."""

import itertools
import json
import random
import re

import pytest

pytestmark = pytest.mark.browser

# One page of each type.
PAGES = (
    "index.html",
    "all.html",
    "can/accept-multishot.html",
    "can/op-ftruncate.html",
    "kernel/6.1.html",
    "diff/6.1..6.12.html",
    "evidence/5.10-default-test_waitid.html",
)
RUNS = ("whole", "observed", "regressed", "every verdict", "two modes", "one kernel", "empty")


def pages_of(root):
    """Those that a site has, and one of each directory where it has others."""
    found = [path for path in PAGES if (root / path).exists()]
    for directory in ("can", "kernel", "diff", "evidence"):
        if not any(path.startswith(f"{directory}/") for path in found):
            found += [f"{directory}/{path.name}" for path in sorted((root / directory).glob("*.html"))[:1]]
    return found


# -- what readers come to do -------------------------------------------------------------------------------------------


def test_the_kernel_to_require_for_accept_multishot(visit, sites):
    """On the front page itself, and one click behind it."""
    one = visit(sites("whole"))
    page = one.open("index.html")
    row = page.locator("#row-accept-multishot")
    assert row.locator("td.minimum").inner_text() == "≤ 6.1.170 not on 5.10.249"
    row.get_by_role("link", name="accept multishot", exact=True).click()
    assert one.path == "can/accept-multishot.html"
    assert page.locator(".require").inner_text() == "Require 5.19 (documented), 6.1 (tested)."
    assert "Debian 12, Debian 13 have it; Debian 11 lacks it." in page.locator(".answer").inner_text()


def test_the_kernel_to_require_for_several_together(visit, sites):
    page = visit(sites("whole")).open("index.html")
    for name in ("bind/listen/connect", "accept/connect/send_zc/recv"):
        page.get_by_label(f"need {name}").check()
    assert page.locator("#answer").inner_text() == (
        "All 2 together: documented 6.11, tested from 6.12.94 on (not on 6.1.170); Debian 13; not Debian 11, Debian 12."
    )
    page.get_by_label("only what is ticked").check()
    assert page.locator(".can tbody tr:visible").count() == 2


def test_what_was_observed_can_be_required_with_what_was_tested(visit, sites):
    """From several tables, out of a fold, with what the answer rests on."""
    one = visit(sites("observed"))
    page = one.open("index.html", "#need=op-ftruncate,waitid,limit-fixed-files")
    assert page.locator("#answer").inner_text() == (
        "All 3 together: documented 6.9, tested or observed from 6.12.94 on (not on 6.1.170); Debian 13; "
        "not Debian 11, Debian 12."
    )
    assert page.locator("#row-op-ftruncate").is_visible(), "its fold is opened"
    page.get_by_label("only what is ticked").check()
    assert page.locator(".can tbody tr:visible").count() == 3
    # A limit's value is to be read, not only a sign.
    assert "1,048,576" in page.locator("#row-limit-fixed-files").inner_text()


def test_neighbouring_kernels_differ_at_a_glance(visit, sites):
    page = visit(sites("observed")).open("index.html")
    rows = page.locator("#steps tbody tr")
    assert rows.count() == 11
    assert page.locator("#steps").bounding_box()["y"] < page.locator("#machines").bounding_box()["y"]
    page.locator("nav.groups").get_by_role("link", name="Setup flags").click()
    assert page.locator("#observed-setup-flags h2").is_visible()


def test_the_choice_is_in_the_address(visit, sites):
    one = visit(sites("whole"))
    page = one.open("index.html")
    page.get_by_label("need waitid").first.check()
    address = page.url
    assert address.endswith("#need=waitid")
    again = visit(sites("whole"))
    again.page.goto(address)
    assert again.page.get_by_label("need waitid").first.is_checked()
    assert "documented 6.7" in again.page.locator("#answer").inner_text()
    again.page.get_by_role("button", name="untick all").click()
    assert again.page.locator("#answer").inner_text() == ""
    assert "#need" not in again.page.url


@pytest.mark.parametrize("name", ["whole", "observed", "regressed", "every verdict"])
def test_the_picker_says_what_the_results_say(visit, sites, name):
    """Of random choices: the kernel that it names is the one that `requirement` derives."""
    from conftest import RUNS as MADE

    from reports.capabilities import entries, requirement
    from reports.matrix import MinimumKind, derive, exact_name

    results = MADE[name]()
    matrix = derive(results)
    found = {entry.id: entry for entry in entries(results, matrix)}
    choose = random.Random(7)
    page = visit(sites(name)).open("index.html")
    for _ in range(25):
        wanted = choose.sample(sorted(found), choose.randint(1, 5))
        page.evaluate(
            """wanted => {
                for (const box of document.querySelectorAll("input[name=need]")) {
                    box.checked = wanted.includes(box.value);
                }
                document.querySelector("input[name=need]").dispatchEvent(new Event("change", {bubbles: true}));
            }""",
            wanted,
        )
        said = page.locator("#answer").inner_text()
        needed = requirement([found[one] for one in wanted], matrix, matrix.lines[0])
        at, after, lost = (
            exact_name(kernel, matrix.versions)
            for kernel in (needed.tested.at, needed.tested.after, needed.tested.lost_by)
        )
        observed = sum(found[one].is_observed for one in wanted)
        how = "observed" if observed == len(wanted) else "tested or observed" if observed else "tested"
        nowhere = "no tested kernel" if needed.tested.kind is MinimumKind.NEVER else "not known on any kernel"
        assert (f"{how} from {at} on" if at else nowhere) in said, (wanted, said)
        assert (f"not on {after}" in said) == bool(after), (wanted, said)
        assert (f"lost by {lost}" in said) == bool(lost), (wanted, said)
        assert (f"documented {needed.documented}," in said) == bool(needed.documented), (wanted, said)


def test_the_browsers_own_search_finds_an_operation(visit, sites):
    """Whatever is folded: and what it finds leads to the answer for 6.1."""
    one = visit(sites("whole"))
    page = one.open("index.html")
    assert page.evaluate("window.find('IORING_OP_FTRUNCATE')")
    row = page.evaluate("getSelection().anchorNode.parentElement.closest('tr')?.id")
    assert row == "row-op-ftruncate"
    on = page.locator("#row-op-ftruncate td.cell")
    heads = page.locator("#operations thead th").all_inner_texts()[3:]
    place = next(index for index, head in enumerate(heads) if head.startswith("6.1\n"))
    assert on.nth(place).inner_text().split() == ["\N{EN DASH}", "not", "listed"]
    # What every kernel has lies in a fold, and is found all the same.
    assert page.evaluate("getSelection().removeAllRanges(), window.find('IORING_OP_NOP')")


def test_why_a_cell_is_not_green_down_to_the_kernels_messages(visit, sites):
    one = visit(sites("regressed"))
    page = one.open("index.html")
    page.locator("section.lost").get_by_role("link", name="accept multishot").click()
    assert one.path == "evidence/7.3-default-test_accept_multishot.html"
    assert "WARNING: CPU: 0 PID: 7 at io_uring/net.c:1500" in page.locator("main").inner_text()
    assert (
        "pytest conformance/test_sockets.py::test_accept_multishot --kernel '7.3~rc5-1~exp1'"
        in page.locator("main").inner_text()
    )


def test_what_changes_from_one_kernel_to_another(visit, sites):
    one = visit(sites("whole"))
    page = one.open("index.html")
    page.locator("#steps").get_by_role("link", name="diff").last.click()
    assert one.path == "diff/6.1..6.12.html"
    assert page.locator("h1").inner_text() == "From Linux 6.1 to 6.12: 2 tests gained, 2 newly listed"
    text = page.locator("main").inner_text()
    assert "waitid" in text
    assert "IORING_OP_FTRUNCATE" in text


def test_a_regression_is_the_first_thing_one_sees_on_every_page_that_concerns_it(visit, sites):
    one = visit(sites("regressed"))
    concerned = (
        "index.html",
        "all.html",
        "kernel/7.3.html",
        "can/accept-multishot.html",
        "can/nop.html",
        "diff/7.2..7.3.html",
        "diff/5.10..7.3.html",
    )
    for path in concerned:
        page = one.open(path)
        banner, head = (page.locator(where).first.bounding_box() for where in ("section.lost", "h1"))
        assert banner["y"] < head["y"], path
        assert banner["y"] + banner["height"] < 900, path
        assert "Linux 7.3 lost" in page.locator("section.lost h2").inner_text(), path
    for path in ("kernel/7.2.html", "can/waitid.html", "diff/6.1..6.12.html"):
        assert one.open(path).locator("section.lost").count() == 0, path


# -- any screen, any reader --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("width", [1400, 1100, 360, 320])
def test_no_page_scrolls_sideways(visit, sites, name, width):
    one = visit(sites(name), width=width)
    for path in pages_of(one.root):
        page = one.open(path)
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 320])
def test_axe_finds_nothing(visit, sites, name, scheme, width):
    from axe_playwright_python.sync_playwright import Axe

    one = visit(sites(name), width=width, color_scheme=scheme)
    for path in pages_of(one.root):
        page = one.open(path)
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        # Ours forbids scripts; this one comes from outside, past the page's own policy.
        found = Axe().run(page).response["violations"]
        assert [(entry["id"], [node["html"][:200] for node in entry["nodes"][:3]]) for entry in found] == [], path


def test_without_a_script_everything_is_there_and_says_how_to_use_it(visit, sites):
    one = visit(sites("whole"), java_script_enabled=False)
    page = one.open("index.html")
    assert "of the ticked rows the one that came last names the kernel" in page.locator("#hint").inner_text()
    page.get_by_label("need accept multishot").check()
    page.get_by_label("need bind/listen/connect").check()
    page.get_by_label("only what is ticked").check()
    rows = page.locator(".can tbody tr:visible")
    assert rows.count() == 2
    # The upper one of a table came last, and names the kernel.
    assert rows.first.locator("td.minimum b").inner_text() == "≤ 6.12.94"


def test_everything_is_reached_by_keyboard(visit, sites):
    one = visit(sites("whole"))
    page = one.open("index.html")
    wanted = page.locator("a:visible, input:visible, summary:visible").count()
    seen = set()
    for _ in range(wanted + 5):
        page.keyboard.press("Tab")
        seen.add(
            page.evaluate(
                """() => {
                    const all = [...document.querySelectorAll("a, input, summary")];
                    const one = document.activeElement;
                    return one && one.matches(":focus-visible") && getComputedStyle(one).outlineStyle !== "none"
                        ? all.indexOf(one) : -1;
                }"""
            )
        )
    assert len(seen - {-1}) == wanted


def test_forced_colours_and_print_keep_the_signs(visit, sites):
    one = visit(sites("every verdict"), forced_colors="active")
    page = one.open("all.html")
    assert page.locator("td.cell").first.evaluate("one => getComputedStyle(one).borderTopStyle") == "solid"
    page.emulate_media(media="print")
    assert page.locator("td.cell .symbol").first.is_visible()
    page = one.open("index.html")
    page.emulate_media(media="print")
    assert not page.locator("form.picker").is_visible()
    assert page.locator("#capabilities td.cell .symbol").first.is_visible()


def test_hostile_names_run_nothing_and_break_nothing(visit, tmp_path):
    import sample
    from msgspec.structs import replace

    from reports.results import Status
    from reports.site import write_site

    bad = "<script>alert(1)</script></script><img src=x onerror=alert(2)>\u202e\x1b[31m\ud800&amp;]]>'\"\\u003c{{7*7}}"
    run = sample.with_cell(sample.whole(), "test_nop", "6.1", status=Status.FAIL, reason=bad, output="x" * 1_000_000)
    run = replace(
        run,
        tests=tuple(replace(test, title=f"{test.title} {bad}", symbols=(bad,)) for test in run.tests),
        kernels=tuple(replace(kernel, id=f"{kernel.id} {bad}", package_version=bad) for kernel in run.kernels),
        results=tuple(replace(row, kernel=f"{row.kernel} {bad}") for row in run.results),
    )
    one = visit(write_site(run, tmp_path).parent, width=320)
    for path in ("index.html", "all.html", *(f"{name}/" for name in ("can", "kernel", "diff", "evidence"))):
        found = path if path.endswith(".html") else path + min((one.root / path).iterdir()).name
        page = one.open(found)
        assert page.evaluate("document.querySelectorAll('img').length") == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, found


def test_the_data_of_the_picker_cannot_end_its_element(sites):
    text = (sites("whole") / "index.html").read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="kernels">(.*?)</script>', text, re.DOTALL)[1]
    assert [one["name"] for one in json.loads(data)][:2] == ["5.10", "6.1"]


def test_pages_of_one_type_have_one_address_each(sites):
    """Stable from run to run: nothing of the results is in them but names."""
    first, second = (
        {path.relative_to(sites(name)) for path in sites(name).rglob("*.html") if path.parent.name != "evidence"}
        for name in ("whole", "regressed")
    )
    assert first == second
    assert all(itertools.chain(first))
