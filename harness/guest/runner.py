"""The process that runs tests: a fork of the collected session, which is spoken to over a wire."""

import faulthandler
import os
import signal
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from harness.cells import CURRENT, Cell
from harness.facts import NOTHING
from harness.guest import leak_check
from harness.guest.wire import FIRST_DESCRIPTOR, Wire
from harness.report_attributes import ADDED_KEYWORDS, FAILED_SUBTESTS, IS_DRAWN

_STACKS_SIGNAL = signal.SIGRTMAX - 1
_STACKS_TIMEOUT_S = 1.0
_TEXT_SIZE_MAX = 64 << 10
_REPORT_SIZE_MAX = 512 << 10
# Of a report: the host has the item, too, and can add up.
_KNOWN = frozenset({"$report_type", "nodeid", "location", "keywords", "stop"})
# Session-wide fixtures that hold nothing a test could be blamed for.
_HARMLESS = frozenset({"matrix_cell", "mode", "loopback", "tmp_path_factory"})


class Runner:
    """The agent's side of it.

    Attributes:
        process: its id.
        wire: our end.
        end_descriptor: readable when the process ended; negative on kernels that cannot tell.
    """

    def __init__(self, process: int, wire: Wire, stacks_descriptor: int) -> None:
        self.process = process
        self.wire = wire
        self.end_descriptor = _watched(process)
        self._stacks_descriptor = stacks_descriptor
        self._status: int | None = None

    @classmethod
    def fork(cls, session: pytest.Session, cells: Sequence[Cell], console: int) -> Self:
        """Start one."""
        ours, theirs = Wire.pair()
        stacks = os.memfd_create("stacks")
        process = os.fork()
        if process == 0:
            ours.close()
            status = 1
            try:
                os.close(console)
                _serve(session, cells, theirs, stacks)
                status = 0
            except BaseException:
                os.write(FIRST_DESCRIPTOR - 1, traceback.format_exc().encode(errors="replace"))
            finally:
                os._exit(status)
        theirs.close()
        ours.receive()  # it is set up, and can be looked at as it is before its first test
        return cls(process, ours, stacks)

    def poll(self) -> int | None:
        """Its wait status, None while it runs."""
        if self._status is None:
            ended, status = os.waitpid(self.process, os.WNOHANG)
            if ended:
                self._status = status
        return self._status

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its end; its wait status, None when it still runs."""
        deadline_s = time.monotonic() + timeout_s
        while (status := self.poll()) is None and time.monotonic() < deadline_s:
            time.sleep(0.01)
        return status

    def kill(self, timeout_s: float) -> None:
        """End it. One that cannot be ended is the guest's end, too: nobody waits for it."""
        if self.poll() is None:
            os.kill(self.process, signal.SIGKILL)
            self.wait(timeout_s)
        self.wire.close()
        os.close(self._stacks_descriptor)
        if self.end_descriptor >= 0:
            os.close(self.end_descriptor)

    def ask_for_stacks(self) -> None:
        """Have it write where its threads are in Python, and give it a moment for that."""
        os.kill(self.process, _STACKS_SIGNAL)
        deadline_s = time.monotonic() + _STACKS_TIMEOUT_S
        while os.fstat(self._stacks_descriptor).st_size == 0 and time.monotonic() < deadline_s:
            time.sleep(0.05)

    def stacks(self) -> list[str]:
        """What it wrote when it was asked, or when it died of a fault."""
        size = min(os.fstat(self._stacks_descriptor).st_size, _TEXT_SIZE_MAX)
        return os.pread(self._stacks_descriptor, size, 0).decode(errors="replace").splitlines()


class Reporter:
    """The plugin that sends what the tests' process reports, and knows whether a wider fixture is in use."""

    def __init__(self, session: pytest.Session, wire: Wire) -> None:
        self._session = session
        self._wire = wire
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
        """Send the report of a phase at once: what was reported before a crash is known."""
        config = self._session.config
        data = _clipped(_without_known(config.hook.pytest_report_to_serializable(config=config, report=report)))
        if added := [name for name in report.keywords if name not in self._keywords]:
            data[ADDED_KEYWORDS] = added
        if count := _failed_subtests(config, report):
            data[FAILED_SUBTESTS] = count
        if isinstance(data.get("longrepr"), str) and not isinstance(report.longrepr, str):
            data[IS_DRAWN] = True
        self._wire.send({"type": "report", "data": data})


def _serve(session: pytest.Session, cells: Sequence[Cell], wire: Wire, stacks: int) -> None:
    """Run what the agent asks for, until it hangs up."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.setsid()  # a signal to the test's process group is not for the agent
    Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")  # the first to go when memory runs out
    os.dup2(stacks, FIRST_DESCRIPTOR - 1, inheritable=False)
    os.close(stacks)
    faulthandler.enable(file=FIRST_DESCRIPTOR - 1)
    faulthandler.register(_STACKS_SIGNAL, file=FIRST_DESCRIPTOR - 1, all_threads=True)
    capture = session.config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.read_global_capture()  # what an earlier process left there is not this one's
    reporter = Reporter(session, wire)
    session.config.pluginmanager.register(reporter, "uring-matrix-reporter")
    wire.send({"type": "ready"})
    while (message := wire.receive()) is not None:
        session.config.stash[CURRENT] = cells[message["cell"]]
        item = session.items[message["item"]]
        following: Any = session.items[message["next"]] if message["next"] is not None else None
        if following is item:
            following = item.parent  # the same once more: what it shares with others stays up, its own does not
        reporter.begin(item)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        stop, session.shouldstop = session.shouldstop, False
        timers = leak_check.stop_timers() if reporter.is_settled else []
        wire.send(
            {
                "type": "done",
                "is_settled": reporter.is_settled,
                "timers": timers,
                "warnings": reporter.take_warnings(),
                "stop": str(stop) if stop else "",
            }
        )


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


def _watched(process: int) -> int:
    try:
        return os.pidfd_open(process)
    except OSError:
        return -1
