"""Runs pytest as its command does, and writes down every report, warning and item: a program of its own.

    python observer.py FILE module|script PYTEST_ARGS...

Nothing of it shows in pytest's arguments, so a run with a kernel has nothing to carry into its guests.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class Here:
    def __init__(self, write: Callable[..., None]) -> None:
        self._write = write

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Called for what runs in this process, and for nothing that runs in a guest."""
        self._write("here", id=item.nodeid)


class Observer:
    """A plugin that looks on.

    Each record is written at once: the process may end at any time.
    """

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _write(self, kind: str, **record: Any) -> None:
        os.write(self._file, json.dumps({"kind": kind, **record}, default=str).encode("ascii") + b"\n")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._write("items", ids=[item.nodeid for item in session.items])

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self._write("deselected", ids=[item.nodeid for item in items])

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Watch what runs here: not before, as an object with such hooks is refused where tests run in guests."""
        session.config.pluginmanager.register(Here(self._write))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.outcome != "passed":
            self._write("collect", id=report.nodeid, outcome=report.outcome, longrepr=_longrepr(report))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        context = getattr(report, "context", None)  # of a subtest
        self._write(
            "report",
            id=report.nodeid,
            when=report.when,
            outcome=report.outcome,
            wasxfail=getattr(report, "wasxfail", None),
            longrepr=_longrepr(report),
            sections=[[name, text] for name, text in report.sections],
            properties=[[name, repr(value)] for name, value in report.user_properties],
            subtest=None if context is None else [context.msg, dict(context.kwargs)],
            keywords=sorted(map(str, report.keywords)),
            location=list(report.location),
        )

    def pytest_warning_recorded(self, warning_message: Any, when: str, nodeid: str, location: Any) -> None:
        self._write(
            "warning",
            category=warning_message.category.__name__,
            message=str(warning_message.message),
            file=warning_message.filename,
            line=warning_message.lineno,
            when=when,
            id=nodeid,
        )

    def pytest_internalerror(self, excrepr: Any) -> None:
        self._write("internal", text=str(excrepr))


def _longrepr(report: pytest.CollectReport | pytest.TestReport) -> Any:
    """A failure's text; a skip's file, line and reason."""
    if isinstance(report.longrepr, tuple):
        return [str(part) for part in report.longrepr]
    return report.longreprtext


def main() -> int:
    path, style, *arguments = sys.argv[1:]
    # What `python -m pytest` and the executable leave behind, each.
    if style == "module":
        sys.path[0] = str(Path.cwd())
        program = str(Path(pytest.__file__).with_name("__main__.py"))
    else:
        sys.path[0] = str(Path(sys.executable).parent)
        program = str(Path(sys.executable).with_name("pytest"))
    sys.argv = [program, *arguments]
    code = pytest.main(arguments, plugins=[Observer(path)])
    sys.stdout.flush()
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
