"""Runs item after item of a list, in a process of its own, and tells the host what came of each.

What ends well and leaves nothing is told at once, in one message; all else is handed over to the agent, which looks
closely, has the last word, and hands over the rest of the list.
"""

import contextlib
import faulthandler
import os
import signal
import termios
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from harness.cells import CURRENT, Cell, console_mark
from harness.facts import ATTRIBUTE, NOTHING
from harness.guest import leak_check
from harness.guest.brief_protocol import BriefProtocol
from harness.guest.kmsg import News
from harness.guest.progress import Progress
from harness.guest.quick_check import QuickCheck
from harness.guest.wire import FIRST_DESCRIPTOR, Wire
from harness.report_attributes import ADDED_KEYWORDS, FAILED_SUBTESTS, IS_DRAWN
from harness.suites import load

STACKS_SIGNAL = signal.SIGRTMAX - 1
# What is larger is the agent's to send: the kernel takes no more at once, and who is killed meanwhile leaves a half.
_MESSAGE_SIZE_MAX = 2000
# Where what was observed is told, so that one more stays below that.
_OBSERVED_SIZE_MAX = 1500
_TEXT_SIZE_MAX = 64 << 10
_REPORT_SIZE_MAX = 512 << 10
# Of a report: the host has the item, too, and can add up.
_KNOWN = frozenset({"$report_type", "nodeid", "location", "keywords", "stop"})
# Session-wide fixtures that hold nothing a test could be blamed for.
_HARMLESS = frozenset({"matrix_cell", "mode", "loopback", "tmp_path_factory"})


class Port(Protocol):
    """The channel to the host."""

    def send(self, message: dict[str, Any]) -> None:
        """Send a message, and wait until it has left this machine."""

    def receive(self) -> dict[str, Any]:
        """Wait for one."""


@dataclass(frozen=True, slots=True)
class Lines:
    """To whom the tests' process speaks."""

    agent: Wire
    host: Port
    # The descriptor of the machine's console.
    console: int
    progress: Progress


def is_good(report: Mapping[str, Any]) -> bool:
    """Whether a report is one after which nobody who wants to stop at a failure stops."""
    kind = report.get(ATTRIBUTE, NOTHING)["kind"]
    return bool(report["outcome"] == "passed" or (report["outcome"] == "skipped" and kind != "not-run"))


class Reporter:
    """The plugin that takes down what pytest reports, and knows whether a wider fixture is in use."""

    def __init__(self, session: pytest.Session, lines: Lines) -> None:
        self._session = session
        self._lines = lines
        self._wide: set[int] = set()
        self._warnings: list[dict[str, Any]] = []
        # Of the item that runs: the keywords that it was collected with.
        self._keywords: frozenset[str] = frozenset()

    @property
    def is_settled(self) -> bool:
        """Whether no fixture lives on that may rightly hold descriptors, processes and the like."""
        return not self._wide

    def begin(self, item: pytest.Item) -> None:
        """Take note of an item before it runs."""
        self._keywords = frozenset(item.keywords)

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> None:
        """Note a fixture that outlives its test."""
        if fixturedef.scope != "function" and fixturedef.argname not in _HARMLESS:
            self._wide.add(id(fixturedef))

    def pytest_fixture_post_finalizer(self, fixturedef: Any) -> None:
        """Note its end."""
        self._wide.discard(id(fixturedef))

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, location: tuple[str, int, str] | None
    ) -> None:
        """Keep a warning until the test is over: pytest tells of them last. Those of collecting the host has, too."""
        if when != "runtest":
            return
        category = warning_message.category
        self._warnings.append(
            {
                "message": _clip(str(warning_message.message)),
                "category": [category.__module__, category.__qualname__],
                "filename": warning_message.filename,
                "lineno": warning_message.lineno,
                "when": when,
                "location": location,
            }
        )

    def take_warnings(self) -> list[dict[str, Any]]:
        """Those of the test that is over."""
        taken, self._warnings = self._warnings, []
        return taken

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the report of a phase where the agent finds it after a crash; one that is no good is sent at once."""
        config = self._session.config
        data = _clipped(_without_known(config.hook.pytest_report_to_serializable(config=config, report=report)))
        if added := [name for name in report.keywords if name not in self._keywords]:
            data[ADDED_KEYWORDS] = added
        if count := _failed_subtests(config, report):
            data[FAILED_SUBTESTS] = count
        if isinstance(data.get("longrepr"), str) and not isinstance(report.longrepr, str):
            data[IS_DRAWN] = True
        if self._lines.progress.is_handed_over or not is_good(data) or not self._lines.progress.keep(data):
            self.hand_over()
            self._lines.agent.send({"type": "report", "data": data})

    def hand_over(self) -> None:
        """Have the agent tell the host of this item."""
        for data in self._lines.progress.hand_over():
            self._lines.agent.send({"type": "report", "data": data})


class ItemLoop:
    """Runs what the agent hands over."""

    def __init__(self, session: pytest.Session, cells: Sequence[Cell], lines: Lines, agent: int) -> None:
        self._session = session
        self._cells = cells
        self._lines = lines
        self._process = os.getpid()
        self._is_guest = leak_check.is_guest()
        self._news = News(is_guest=self._is_guest)
        self._check = QuickCheck(agent)
        self._reporter = Reporter(session, lines)
        session.config.pluginmanager.register(self._reporter, "uring-matrix-reporter")
        session.config.pluginmanager.register(BriefProtocol(session, lines.progress), "uring-matrix-protocol")

    def run(self, wanted: Mapping[str, Any]) -> None:
        """Run a list of items, up to one that is the agent's to tell of.

        Args:
            wanted: `items`, their places in what was collected; `cell`, their cell's among the session's; `next`, what
                comes behind the last of them. With an `observer`, `items` are what it is to observe, and nothing was
                collected of them.
        """
        cell = self._cells[wanted["cell"]]
        self._session.config.stash[CURRENT] = cell
        has_news = self._news.is_there_beside_marks()
        if self._reporter.is_settled:
            self._check.renew()
        if "observer" in wanted:
            is_through = self._observe(wanted, cell, has_news=has_news)
        else:
            is_through = self._test(wanted, cell, has_news=has_news)
        if is_through:
            self._lines.agent.send({"type": "through", "is_settled": self._reporter.is_settled})

    def _test(self, wanted: Mapping[str, Any], cell: Cell, *, has_news: bool) -> bool:
        """Run one test after another. Whether the host was told of all of them."""
        items, places = self._session.items, wanted["items"]
        for place, following in zip(places, [*places[1:], wanted["next"]], strict=True):
            item = items[place]
            self._lines.progress.begin()
            self._mark(item.nodeid, cell)
            # The same once more: what it shares with others stays up, its own does not.
            after: Any = item.parent if following == place else None if following is None else items[following]
            self._reporter.begin(item)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            if not self._tell(place, has_news=has_news):
                return False
            has_news = False
        return True

    def _observe(self, wanted: Mapping[str, Any], cell: Cell, *, has_news: bool) -> bool:
        """Observe one thing after another. Whether the host was told of all of them.

        What is found is told together: to wait for a message to leave takes longer than to observe. The agent finds it
        in `Progress`, should this process end; and whoever loses the guest asks for single ones.
        """
        names, progress = wanted["items"], self._lines.progress
        self._mark(names[0], cell)
        observations = load(wanted["observer"])(names)
        for count, name in enumerate(names, 1):
            progress.begin_observing()
            begun_s = time.monotonic()
            found = {"item": name, **next(observations), "duration_s": round(time.monotonic() - begun_s, 6)}
            is_last = count == len(names)
            if is_last:
                observations.close()  # whoever observes has processes of its own, which are gone by now
            is_plain = not (has_news or self._news.is_there() or (is_last and not self._is_as_before()))
            has_news = False
            if is_plain:
                progress.observed(found)
            if not is_plain or is_last or wanted.get("singly") or progress.reports_size > _OBSERVED_SIZE_MAX:
                self._tell_observed()
            if not is_plain:
                self._conclude(observed=[found])
                return False
        return True

    def _tell_observed(self) -> None:
        """Tell the host what was found."""
        if found := self._lines.progress.take_observed():
            self._lines.host.send({"type": "done", "observed": found})

    def _mark(self, name: str, cell: Cell) -> None:
        """Write into the console which test begins, before anything that it makes the kernel print."""
        if self._is_guest:
            text = console_mark(name, cell.mode)
            with contextlib.suppress(OSError, termios.error):  # a test closed it, and that was told
                os.write(self._lines.console, text.encode(errors="backslashreplace"))
                termios.tcdrain(self._lines.console)

    def _is_as_before(self) -> bool:
        """Whether nothing was left, as far as that can be said while wider fixtures live on."""
        return not self._reporter.is_settled or self._check.is_as_before()

    def _tell(self, place: int, *, has_news: bool) -> bool:
        """Tell of the item that is over: the host, if there is nothing to it, and else the agent.

        Returns:
            Whether it was the host.
        """
        progress, session = self._lines.progress, self._session
        stop, session.shouldstop = session.shouldstop, False
        warned = self._reporter.take_warnings()
        if not (
            progress.is_handed_over
            or stop
            or warned
            or os.getpid() != self._process  # a child that a test forked, and that came back
            or not self._is_as_before()
            or has_news
            or self._news.is_there()
        ):
            message: dict[str, Any] = {"type": "done", "item": place}
            if progress.reports_size:
                message["reports"] = progress.reports()
            else:
                message["passed"] = progress.passed
            if progress.reports_size <= _MESSAGE_SIZE_MAX:
                self._lines.host.send(message)
                progress.end(self._check.lost_kib)
                return True
        self._reporter.hand_over()
        self._conclude(warnings=warned, stop=str(stop) if stop else "")
        return False

    def _conclude(
        self, *, warnings: Sequence[Any] = (), stop: str = "", observed: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Leave the item that is over to the agent."""
        is_settled = self._reporter.is_settled
        self._lines.agent.send(
            {
                "type": "done",
                "is_settled": is_settled,
                "timers": leak_check.stop_timers() if is_settled else [],
                "warnings": warnings,
                "stop": stop,
                "observed": observed,
            }
        )


def serve(session: pytest.Session, cells: Sequence[Cell], lines: Lines, agent: int, stacks: int) -> None:
    """Run what the agent asks for, until it hangs up.

    Args:
        session: collected.
        cells: the session's.
        lines: to whom to speak.
        agent: the agent's process.
        stacks: the descriptor of a file for where threads are, if somebody asks or the process dies.
    """
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.setsid()  # a signal to the test's process group is not for the agent
    Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")  # the first to go when memory runs out
    os.dup2(stacks, FIRST_DESCRIPTOR - 1, inheritable=False)
    os.close(stacks)
    faulthandler.enable(file=FIRST_DESCRIPTOR - 1)
    faulthandler.register(STACKS_SIGNAL, file=FIRST_DESCRIPTOR - 1, all_threads=True)
    capture = session.config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.read_global_capture()  # what an earlier process left there is not this one's
    loop = ItemLoop(session, cells, lines, agent)
    lines.agent.send({"type": "ready"})
    while (message := lines.agent.receive()) is not None:
        loop.run(message)


def _failed_subtests(config: pytest.Config, report: pytest.TestReport) -> int:
    """How many subtests of a test failed, if pytest makes a failure of that: since version 9."""
    if report.when != "call" or hasattr(report, "context"):
        return 0
    try:
        from _pytest.subtests import failed_subtests_key  # noqa: PLC0415
    except ImportError:
        return 0
    key: Any = getattr(report, "id", report.nodeid)  # an object since pytest 9.1
    return config.stash[failed_subtests_key][key]


def _without_known(data: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the host knows of the item anyway, and what is empty: a serial port costs by the byte."""
    return {
        name: round(value, 6) if isinstance(value, float) else value
        for name, value in data.items()
        if name not in _KNOWN and value not in (None, [], NOTHING)
    }


def _clipped(data: dict[str, Any]) -> dict[str, Any]:
    """Keep a report small enough for a serial port: a test that prints megabytes is heard, but not in full."""
    if "sections" in data:
        data["sections"] = [(name, _clip(text)) for name, text in data["sections"]]
    longrepr = data.get("longrepr")
    if isinstance(longrepr, Mapping) and len(str(longrepr)) > _REPORT_SIZE_MAX:
        crash = longrepr.get("reprcrash")
        data["longrepr"] = _clip(str(crash.get("message") if isinstance(crash, Mapping) else longrepr))
    elif isinstance(longrepr, str):
        data["longrepr"] = _clip(longrepr)
    return data


def _clip(text: str) -> str:
    """The beginning and the end."""
    if len(text) <= _TEXT_SIZE_MAX:
        return text
    half = _TEXT_SIZE_MAX // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
