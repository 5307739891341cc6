"""The resident pytest session of a guest: collects once, then runs the items the host asks for, one by one.

From the host: ``run`` {item, next}, ``finish``. To the host: ``collected`` {items, errors, features}, then for each
item its ``report`` {data} messages, in pytest's own serialized form, and ``done`` {item, dmesg}.
"""

import faulthandler
import os
import sys
from pathlib import Path
from typing import Any, Protocol

import pytest

from conformance import cells, fixtures
from conformance.facts import FactsPlugin
from conformance.guest import features
from conformance.guest.kmsg import KernelLog

_INI = "guest-pytest.ini"
# Of no use to a session whose terminal is on another machine.
_PLUGINS_OFF = (
    "cacheprovider",
    "terminal",
    "junitxml",
    "pastebin",
    "debugging",
    "stepwise",
    "setupplan",
    "setuponly",
    "faulthandler",
)


class Port(Protocol):
    """The channel to the host."""

    def send(self, message: dict[str, Any]) -> None:
        """Send a message."""

    def receive(self) -> dict[str, Any]:
        """Wait for one."""


def main(port: Port, argument: dict[str, Any]) -> None:
    """Run the session. Called by PID 1 in a child process.

    Args:
        port: the channel.
        argument: ``paths`` to collect below the working directory, ``ini`` text, ``cells`` as JSON, ``options`` for
            pytest's option namespace, ``soft_timeout_s`` after which the stacks of a test go to the console.
    """
    os.environ["URING_MATRIX_GUEST"] = "1"
    pytest.main(_arguments(argument), plugins=[Agent(port, argument), fixtures, FactsPlugin()])
    port.send({"type": "finished"})


def precompile(argument: dict[str, Any]) -> None:
    """Collect and run nothing, so that pytest leaves the rewritten bytecode of every test module behind.

    What cannot be collected here is no matter: the guest says so when it fails there, too.
    """
    pytest.main([*_arguments(argument), "--collect-only"], plugins=[fixtures])
    Path(_INI).unlink()


def _arguments(argument: dict[str, Any]) -> list[str]:
    Path(_INI).write_text(argument["ini"], encoding="utf-8")
    off = [f"-pno:{name}" for name in _PLUGINS_OFF]
    return ["-c", _INI, "--rootdir", str(Path.cwd()), *off, *argument["paths"]]


class Agent:
    """The plugin that makes pytest a server."""

    def __init__(self, port: Port, argument: dict[str, Any]) -> None:
        self._port = port
        self._cells = [cells.Cell.from_json(cell) for cell in argument["cells"]]
        self._options = argument["options"]
        self._soft_timeout_s = argument["soft_timeout_s"]
        self._config: pytest.Config | None = None
        self._errors: list[dict[str, str]] = []
        self._log = KernelLog()
        # The console as it was before pytest captures: what a hanging test's stacks are printed to.
        self._console = os.dup(sys.stderr.fileno())

    def pytest_configure(self, config: pytest.Config) -> None:
        """Take over the options that shape a failure's text from the host's command line."""
        self._config = config
        for name, value in self._options.items():
            setattr(config.option, name, value)

    @pytest.hookimpl(tryfirst=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make the same items as the host, of this guest's cells."""
        cells.parametrize(metafunc, self._cells)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep what could not be collected: the host has those items, and is owed an explanation."""
        if report.failed:
            self._errors.append({"path": report.nodeid, "text": str(report.longrepr)})

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Serve the host until it has had enough."""
        items = {item.nodeid: item for item in session.items}
        self._port.send(
            {"type": "collected", "items": list(items), "errors": self._errors, "features": features.features()}
        )
        while True:
            message = self._port.receive()
            if message["type"] != "run":
                return True
            self._run(items[message["item"]], items.get(message["next"]))

    def _run(self, item: pytest.Item, following: pytest.Item | None) -> None:
        self._log.new()
        faulthandler.dump_traceback_later(self._soft_timeout_s, file=self._console)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        faulthandler.cancel_dump_traceback_later()
        self._port.send({"type": "done", "item": item.nodeid, "dmesg": self._log.new()})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Send the report of a phase at once: what was reported before a crash is known."""
        assert self._config is not None
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._port.send({"type": "report", "data": data})
