"""Runs a package's tests on one changed file of it, and says how that ended.

Each trial has a copy of the package and its tests, where the change stands in the file, so that programs which tests
start see it too. The tests run in a fork of this process, which has loaded pytest and nothing of the package.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest
from changes import Change

MEMORY_BYTES_MAX = 4 << 30
# What a process does to itself. Any other signal came from somewhere else.
_CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS}


class ToolError(Exception):
    """No trial could be held, or one ended so that nothing follows from it about the tests."""


@dataclass(frozen=True)
class Project:
    """What is tested by what.

    Attributes:
        root: the folder that both are in.
        package: the package that is changed.
        tests: the folder of its tests, relative to the root.
    """

    root: Path
    package: str
    tests: str

    def files(self) -> list[str]:
        """The package's Python files, relative to the root."""
        return sorted(str(path.relative_to(self.root)) for path in (self.root / self.package).rglob("*.py"))

    def copy_to(self, directory: Path) -> None:
        """Copy what the tests need: the package, their folder, pytest's settings, and the modules in folders above."""
        for name in (self.package, self.tests):
            shutil.copytree(self.root / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
        above = [path for folder in Path(self.tests).parents for path in (self.root / folder).glob("*.py")]
        for path in [self.root / "pyproject.toml", *above]:
            if path.is_file():
                shutil.copyfile(path, directory / path.relative_to(self.root))


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        kind: `survived`: the tests are green. `killed`: one failed. `crashed`, `hung`: killed as well.
        what: for a person: which test, which signal.
        seconds: how long it took.
        skipped: why tests were skipped, and how many for each reason.
        quickest_first: the files of tests, by how long they took.
    """

    kind: str
    what: str
    seconds: float
    skipped: dict[str, int] = field(default_factory=dict)
    quickest_first: tuple[str, ...] = ()

    @property
    def is_killed(self) -> bool:
        """Whether the tests noticed."""
        return self.kind != "survived"


class Trial:
    """One run of the tests, in a process of its own, in `directory`, which has a copy of the project."""

    def __init__(
        self, project: Project, directory: Path, change: Change | None, seconds_max: float, files: Iterable[str] = ()
    ) -> None:
        """Begin. Without a change it is the tests as they are; without files of tests, all in pytest's order."""
        self.change = change
        self._project = project
        self._directory = directory
        self._seconds_max = seconds_max
        self._files = list(files) or [project.tests]
        self._output = directory / "output.txt"
        self._facts = directory / "facts.jsonl"
        if change is not None:
            # Of the copy, which stays as it was when the changes were chosen, whoever edits the files meanwhile.
            path = directory / change.file
            self._unchanged = path.read_bytes()
            path.write_bytes(change.apply(self._unchanged))
        self._started = time.monotonic()
        # A file, since a pipe that nobody reads meanwhile would stop the tests when it is full.
        self._facts.unlink(missing_ok=True)
        self.pid = os.fork()
        if self.pid == 0:
            self._run()
        self.pidfd = os.pidfd_open(self.pid)

    def seconds_left(self) -> float:
        """Until it counts as hung."""
        return self._started + self._seconds_max - time.monotonic()

    def stop(self) -> None:
        """End it without a judgement."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def end(self) -> Outcome:
        """Judge it. Kills what still runs, which is no fault if the time was up.

        Raises:
            ToolError: nothing follows about the tests.
        """
        is_over = bool(select.select([self.pidfd], [], [], 0)[0])
        is_hung = not is_over and self.seconds_left() <= 0
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        os.close(self.pidfd)
        seconds = time.monotonic() - self._started
        if self.change is not None:
            (self._directory / self.change.file).write_bytes(self._unchanged)
        try:
            return judge(self._said(), os.waitstatus_to_exitcode(status), seconds, is_hung=is_hung)
        except ToolError as error:
            output = self._output.read_text(errors="replace") if self._output.exists() else ""
            raise ToolError(f"{error}\n{output[-3000:]}".rstrip()) from None

    def _said(self) -> dict[str, Any]:
        said: dict[str, Any] = {}
        if self._facts.exists():
            for line in self._facts.read_text(encoding="utf-8").splitlines():
                # The last line may be half of one.
                with contextlib.suppress(ValueError):
                    said.update(json.loads(line))
        return said

    def _run(self) -> None:
        """What the child does. Does not return."""
        report = self._facts.open("w", buffering=1, encoding="utf-8")
        try:
            # A group of its own, so that what the tests start ends with them.
            os.setsid()
            with self._output.open("wb") as output, Path(os.devnull).open("rb") as nothing:
                for stream, number in ((nothing, 0), (output, 1), (output, 2)):
                    os.dup2(stream.fileno(), number)
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.chdir(self._directory)
            os.environ |= {"PYTHONPATH": str(self._directory), "PYTHONDONTWRITEBYTECODE": "1"}
            sys.dont_write_bytecode = True
            sys.path.insert(0, str(self._directory))
            sys.argv = ["pytest"]
            self._test(report)
        except BaseException as error:
            _say(report, tool=f"{type(error).__name__}: {error}")
        finally:
            os._exit(0)

    def _test(self, report: IO[str]) -> None:
        _say(report, began=True)
        changed = self.change.file if self.change else f"{self._project.package}/__init__.py"
        name = changed.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        try:
            module = importlib.import_module(name)
        except BaseException as error:
            _say(report, failed=f"import {name}: {type(error).__name__}: {error}")
            return
        if module.__file__ != str(self._directory / changed):
            raise ToolError(f"{name} was imported from {module.__file__}, which is not the changed file")
        watcher = _Watcher(report)
        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *_own_plugins_off(), *self._files]
        try:
            status = int(pytest.main(options, plugins=[watcher]))
        except pytest.PytestWarning as warning:
            # What tests left behind and nobody could raise: pytest turns it into an error at its end.
            _say(report, failed=f"pytest's end: {warning}")
            return
        _say(report, status=status, ran=watcher.ran, skipped=watcher.skipped, seconds=watcher.seconds)


def _own_plugins_off() -> Iterable[str]:
    """Plugins of this distribution stay out of it: they would import the package before its tests do."""
    for name in ("uring-matrix", "uring-matrix-suite"):
        yield from ("-p", f"no:{name}")


def _say(report: IO[str], **facts: object) -> None:
    report.write(json.dumps(facts) + "\n")


class _Watcher:
    """A plugin that notes which test failed, at once: the process may not come to its end."""

    def __init__(self, report: IO[str]) -> None:
        self._report = report
        self.ran = 0
        self.skipped: dict[str, int] = {}
        # By file.
        self.seconds: dict[str, float] = {}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            _say(self._report, failed=f"collecting {report.nodeid}")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        _say(self._report, at=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            _say(self._report, failed=report.nodeid)
        elif report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.skipped[reason] = self.skipped.get(reason, 0) + 1
        file = report.nodeid.partition("::")[0]
        self.seconds[file] = self.seconds.get(file, 0) + report.duration
        self.ran += report.when == "call" and not report.skipped


def judge(said: dict[str, Any], exit_code: int, seconds: float, *, is_hung: bool) -> Outcome:
    """Say how a trial ended.

    Args:
        said: the facts that the process reported.
        exit_code: its own, or a signal's number below zero.
        seconds: how long it took.
        is_hung: whether it had to be killed because its time was up.

    Raises:
        ToolError: it ended neither with green tests nor by what the change did.
    """
    where = said.get("at", "before the first test")
    if failed := said.get("failed"):
        return Outcome("killed", failed, seconds)
    if tool := said.get("tool"):
        raise ToolError(f"the trial itself failed, {where}: {tool}")
    if not said.get("began"):
        raise ToolError(f"the trial did not begin; exit code {exit_code}")
    if is_hung:
        return Outcome("hung", where, seconds)
    if exit_code < 0:
        if -exit_code not in _CRASHES:
            raise ToolError(f"somebody ended the trial with signal {-exit_code}, {where}")
        return Outcome("crashed", f"{signal.Signals(-exit_code).name} in {where}", seconds)
    if "status" not in said:
        return Outcome("crashed", f"the process ended itself with {exit_code} in {where}", seconds)
    if said["status"] != 0 or said["ran"] == 0:
        raise ToolError(f"pytest ended with {said['status']} after {said['ran']} tests, and none failed")
    files = said.get("seconds", {})
    quickest_first = tuple(sorted(files, key=lambda file: float(files[file])))
    return Outcome("survived", f"{said['ran']} tests passed", seconds, said["skipped"], quickest_first)
