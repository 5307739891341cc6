"""A real browser, and sites to look at. `tox -e browser` has what it needs but for Debian's chromium."""

import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "reports"))

import observed_run
import sample
from msgspec.structs import replace

from reports.results import Status
from reports.site import write_site


@pytest.fixture(scope="session")
def chromium():
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.fail("There is no chromium on this machine: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Visit:
    """One page, and everything it did that a page of ours does not do."""

    page: object
    root: Path
    complaints: list = field(default_factory=list)

    def open(self, path, fragment=""):
        self.page.goto(f"{(self.root / path).as_uri()}{fragment}")
        return self.page

    @property
    def path(self):
        """Where the browser is, from the site's root."""
        from urllib.parse import unquote, urldefrag, urlsplit

        return str(Path(unquote(urlsplit(urldefrag(self.page.url)[0]).path)).relative_to(self.root))


@pytest.fixture
def visit(chromium, request):
    """Open sites; at the end no page has complained, asked for anything elsewhere, or run what is not ours."""
    contexts = []
    visits = []

    def make(root, *, width=1400, height=900, **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        one = Visit(page, root)
        page.on("console", lambda message: one.complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: one.complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: one.complaints.append(f"dialog: {dialog.message}"))
        page.on(
            "request",
            lambda asked: asked.url.startswith(("file:", "data:")) or one.complaints.append(f"asks for {asked.url}"),
        )
        visits.append(one)
        return one

    yield make
    for context in contexts:
        context.close()
    assert [complaint for one in visits for complaint in one.complaints] == []


def regressed():
    """7.3 loses two; one of them with a word of the kernel."""
    run = sample.with_cell(
        sample.whole(),
        "test_accept_multishot",
        "7.3",
        status=Status.UNSUPPORTED,
        reason="IORING_ACCEPT_MULTISHOT is not supported",
        dmesg=("WARNING: CPU: 0 PID: 7 at io_uring/net.c:1500 io_accept",),
    )
    return sample.with_cell(run, "test_nop", "7.3", status=Status.FAIL, reason="res: -22 != 0")


def two_modes():
    return sample.whole((sample.DEFAULT, sample.DEFER_TASKRUN))


def empty():
    return replace(sample.whole(), results=(), complete=False)


RUNS = {
    "whole": sample.whole,
    "observed": observed_run.whole,
    "regressed": regressed,
    "every verdict": sample.every_verdict,
    "two modes": two_modes,
    "one kernel": sample.on_this_machine,
    "empty": empty,
}


@pytest.fixture(scope="session")
def sites(tmp_path_factory):
    """The sites of `RUNS`, by name, each written once."""
    written = {}

    def site(name):
        if name not in written:
            written[name] = write_site(RUNS[name](), tmp_path_factory.mktemp("site")).parent
        return written[name]

    return site
