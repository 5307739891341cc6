"""Writes the results of a session: the journal while it runs, results.json at its end. Lives in the controller only."""

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest

from harness import durations
from harness.cells import Cell, short_ids, split_node_id
from harness.plan import Plan
from harness.report_attributes import JOURNAL_NAME, KERNEL_UPDATE, ROW, TEST
from reports.results import Attempt, CellKey, Generator, Journal, Mode, Result, Results, ResultsError, Status, Test

# A disk's own trouble; everything else about a directory is how it was named.
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})


class Recorder:
    """A pytest plugin that keeps what the session finds.

    Attributes:
        results: the folded results, once the session is over; None when there was nothing to run.
        failure: why results could not be written, if they could not.
    """

    def __init__(self, plan: Plan, directory: Path, resumed: Results | None = None) -> None:
        self._plan = plan
        self._directory = directory
        self._cells = {cell.id: cell for cell in plan.cells}
        self._kernels = {kernel.id: kernel for kernel in plan.kernels}
        self._tests = {test.id: test for test in resumed.tests} if resumed is not None else {}
        self._names: dict[str, str] = {}  # an item's id without its cell, to the test's id
        self._is_planned = False
        self._is_begun = self._is_resumed = resumed is not None
        self.failure: str | None = None
        self.results: Results | None = None
        path = directory / JOURNAL_NAME
        try:
            if resumed is None:
                self._journal = Journal.claim(path)
            else:
                self._journal = Journal.reopen(path, generator=generator(), command=_command())
        except ResultsError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in _DISK_ERRORS:
                pytest.exit(str(error), returncode=3)
            raise pytest.UsageError(str(error)) from error
        if resumed is not None:
            (directory / "results.json").unlink(missing_ok=True)

    # -- the plan -----------------------------------------------------------------------------------------------------

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Without xdist: write down every cell before the first one runs."""
        if session.items:
            self._plan_or_stop([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """With xdist: the same, as soon as the first worker has collected."""
        del node
        if ids and not self._is_planned:
            self._plan_or_stop(ids)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object | None) -> None:
        """Say that a worker was lost: another one runs again what it was at."""
        if error is not None and self._is_begun and self.failure is None:
            name = node.gateway.id
            with contextlib.suppress(ResultsError):  # the next verdict meets the same disk, and stops the run
                self._journal.note(f"worker {name} was lost ({error}); the test it was at was run again by another")

    def _plan_or_stop(self, node_ids: Sequence[str]) -> None:
        try:
            self._write_plan(node_ids)
        except ResultsError as error:
            self._stop(error)

    def _stop(self, error: ResultsError) -> NoReturn:
        """End a run whose results cannot be kept, on a full disk say: going on would find verdicts and lose them."""
        self.failure = f"the results cannot be written: {error}"
        pytest.exit(self.failure, returncode=3)

    def _begin(self) -> None:
        """Replace what an earlier run left: it must not be taken for this one's if this one dies."""
        self._is_begun = True
        self._journal.begin(generator=generator(), command=_command(), host=self._plan.host)
        (self._directory / "results.json").unlink(missing_ok=True)
        shutil.rmtree(self._plan.consoles, ignore_errors=True)
        for note in self._plan.notes:
            self._journal.note(note)

    def _write_plan(self, node_ids: Sequence[str]) -> None:
        if not self._is_begun:
            self._begin()
        self._is_planned = True
        found = [(split, node_id) for node_id in node_ids if (split := split_node_id(node_id, self._cells)) is not None]
        self._names = short_ids((name for (name, _), _ in found), self._tests)
        for (name, _), _ in found:
            test = self._names[name]
            self._tests.setdefault(test, Test(id=test, title=test))
        modes = {cell.mode: self._plan.modes[cell.mode] for cell in self._plan.cells}
        self._journal.plan(
            kernels=self._kernels.values(),
            tests=self._tests.values(),
            modes=[Mode(id=mode.id, flags=mode.flag_names, since=mode.since) for mode in modes.values()],
            cells=[self._key(name, cell) for (name, cell), _ in found],
        )

    def _key(self, name: str, cell: Cell) -> CellKey:
        return CellKey(self._names[name], cell.kernel, cell.arch, cell.mode)

    # -- rows ---------------------------------------------------------------------------------------------------------

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the row, and update of tests and kernels, off a report that carries them."""
        split = split_node_id(report.nodeid, self._cells)
        if split is None or self.failure is not None:
            return
        try:
            if (update := getattr(report, KERNEL_UPDATE, None)) is not None:
                self._update_kernel(update)
            if (row := getattr(report, ROW, None)) is not None:
                self._describe(split[0], getattr(report, TEST))
                self._journal.result(self._result(self._key(*split), row))
        except ResultsError as error:
            self._stop(error)

    def _describe(self, name: str, facts: Mapping[str, Any]) -> None:
        test = self._names[name]
        described = Test(id=test, **facts)
        if self._tests.get(test) != described:
            self._tests[test] = described
            self._journal.plan(tests=[described])

    def _update_kernel(self, update: Mapping[str, Any]) -> None:
        facts = dict(update)
        kernel = self._kernels[facts.pop("id")]
        if console := facts.get("console"):
            facts["console"] = os.path.relpath(console, self._directory)
        facts["notes"] = (*kernel.notes, *facts.get("notes", ()))
        facts["phases"] = {**kernel.phases, **facts.get("phases", {})}
        self._kernels[kernel.id] = msgspec.structs.replace(kernel, **facts)
        self._journal.kernel(self._kernels[kernel.id])

    @staticmethod
    def _result(key: CellKey, row: Mapping[str, Any]) -> Result:
        fields = dict(row)
        fields["status"] = Status(fields["status"])
        fields["started"] = _moment(fields.pop("started_s"))
        fields["attempts"] = tuple(
            msgspec.convert({**attempt, "started": _moment(attempt["started_s"])}, Attempt)
            for attempt in fields.get("attempts", ())
        )
        for name in ("evidence", "qualifiers", "dmesg", "console_tail"):
            fields[name] = tuple(fields[name])
        return Result(**key._asdict(), **fields)

    # -- the end ------------------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Iterator[None]:
        """Write the end marker, and fold the journal: also when another plugin fails at this."""
        try:
            yield
        finally:
            self._finish(session, exitstatus)

    def _finish(self, session: pytest.Session, exitstatus: int) -> None:
        interrupted = exitstatus in {
            pytest.ExitCode.INTERRUPTED,
            pytest.ExitCode.INTERNAL_ERROR,
            pytest.ExitCode.USAGE_ERROR,
        }
        stopped = bool(session.shouldstop or session.shouldfail)
        try:
            if self._is_begun:
                if self.failure is None:
                    self._journal.end(is_done=not interrupted and not stopped)
                self.results = self._journal.publish()
                if not self._is_resumed:  # between the two parts anything may have passed
                    durations.write(self._plan.cache, self.results.kernels, self.results.results)
        except ResultsError as error:
            self.failure = self.failure or f"the results cannot be written: {error}"
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        finally:
            self._journal.close()
            # A session that came to nothing leaves nothing.
            with contextlib.suppress(OSError):
                self._directory.rmdir()

    def pytest_unconfigure(self) -> None:
        """Give the directory free when there never was a session."""
        self._journal.close()

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say where the results are."""
        if self.failure is not None:
            terminalreporter.write_line(self.failure, red=True)
        elif self.results is not None:
            state = "complete" if self.results.complete else "NOT complete"
            terminalreporter.write_line(f"{self._directory / 'results.json'} is {state}")


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(round(seconds, 3), UTC)


def generator() -> Generator:
    """This program: its version, and its commit where it runs from a checkout."""
    commit = None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        commit = found.stdout.strip() or None if _is_checkout() else None
    return Generator(name="uring-matrix", version=metadata.version("uring-matrix"), commit=commit)


def _is_checkout() -> bool:
    return (Path(__file__).parent.parent / ".git").exists()


def _command() -> list[str]:
    return [Path(sys.argv[0]).name, *sys.argv[1:]]
