"""Writes the results of a session: the journal while it runs, results.json at its end. Lives in the controller only."""

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest

from harness import durations
from harness.attempts import GOOD
from harness.cells import Cell, split_node_id
from harness.ending import end
from harness.names import TestNames, short_ids
from harness.plan import Plan
from harness.report_attributes import JOURNAL_NAME, KERNEL_UPDATE, NOTES_OF_FETCHING, RESUMED, ROW, ROW_SO_FAR, TEST
from harness.reproduce import Command
from harness.resume import EarlierCell, Sorted, earlier_cells
from reports.results import (
    Attempt,
    Capability,
    CellKey,
    Earlier,
    Generator,
    GuestConfig,
    Journal,
    Kernel,
    KnownIssue,
    Mode,
    Provenance,
    Qualifier,
    Result,
    Results,
    ResultsError,
    Status,
    Test,
    about,
    kept,
    kept_sentence,
    known_sentence,
    no_longer_shown,
    part,
    repeated_sentence,
    resume_sentence,
)

# A disk's own trouble; everything else about a directory is how it was named.
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})


class Recorder:
    """A pytest plugin that keeps what the session finds.

    What lies in the directory stays as it is until there is a verdict: a session that judges nothing changes nothing.
    From then on the directory holds this session's cells, and those of earlier runs that it did not run again.

    Attributes:
        results: everything in the directory, once the session is over; None when the session judged nothing.
        own: the same without what other runs were asked for.
        failure: why results could not be written, if they could not.
        collect_errors: the files that could not be collected, and pytest's words for why.
    """

    def __init__(
        self,
        plan: Plan,
        directory: Path,
        names: TestNames,
        command: Command,
        capabilities: Sequence[Mapping[str, Any]] = (),
        *,
        known_issues: Sequence[KnownIssue] = (),
        is_resumed: bool = False,
    ) -> None:
        self._plan = plan
        self._known_issues = known_issues
        self._command = command
        self._capabilities = [Capability(**one) for one in capabilities]
        self._directory = directory
        self._test_names = names
        self._cells = {cell.id: cell for cell in plan.cells}
        self._kernels = {kernel.id: _with_facts(kernel, plan.inputs_of(kernel)) for kernel in plan.kernels}
        self._tests: dict[str, Test] = {}
        self._ids: dict[str, str] = {}  # an item's id without its cell, to the test's id
        self._planned: dict[CellKey, None] = {}
        self._is_resumed = is_resumed
        # What a resumed run keeps, and what it judges again.
        self._resumed = Sorted()
        self._is_begun = self._is_judged = self._is_partly_collected = False
        self._left: Results | None = None  # what stays of earlier runs
        self._so_far: dict[str, pytest.TestReport] = {}  # of items that are being repeated, by id
        self.collect_errors: list[tuple[str, str]] = []
        self.failure: str | None = None
        self.results: Results | None = None
        self.own: Results | None = None
        path = directory / JOURNAL_NAME
        try:
            self._journal = Journal.claim(path)
            self._earlier = Earlier(path)
            if self._earlier.recover():  # the journal that was claimed is gone
                self._journal.close()
                self._journal = Journal.claim(path)
                self._earlier = Earlier(path)
            self.earlier = self._earlier.read()
        except ResultsError as error:
            if hasattr(self, "_journal"):
                self._journal.close()
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in _DISK_ERRORS:
                end(str(error))
            raise pytest.UsageError(f"{error} Nothing was run: what lies there would be lost.") from error

    def earlier_cells(self) -> tuple[EarlierCell, ...]:
        """What a resumed run may keep, going by its kernels and guests."""
        if self.earlier is None:
            return ()
        known = {(kernel.id, kernel.arch) for kernel in self.earlier.kernels}
        columns = {}
        for kernel in self._kernels.values():
            key = (kernel.id, kernel.arch)
            if key in known and not kernel.inputs:  # it is still being fetched: which image that is has to be known
                columns[key] = _with_facts(kernel, self._plan.await_inputs(key))
            else:
                columns[key] = kernel
        return earlier_cells(self.earlier, columns)

    # -- the plan -----------------------------------------------------------------------------------------------------

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep what could not be collected, and why."""
        if report.failed:
            self.collect_errors.append((report.nodeid, report.longreprtext))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Without xdist: know every cell before the first one runs. Collecting is over, and nothing came between."""
        if not self.collect_errors or session.config.getoption("continue_on_collection_errors"):
            self._plan_cells([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """With xdist: the same, as soon as the first worker has collected."""
        if self.collect_errors and not node.config.getoption("continue_on_collection_errors"):
            # pytest-xdist would go on with what it has.
            count = len(self.collect_errors)
            raise pytest.Session.Interrupted(f"{count} error{'s' if count > 1 else ''} during collection")
        if not self._planned:
            self._plan_cells(ids)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object | None) -> None:
        """Take what a worker knows; say that one was lost: another runs again what it was at."""
        output = getattr(node, "workeroutput", {}).get(RESUMED)
        if output is not None:
            self.take_resumed(msgspec.convert(output, Sorted))
        if error is not None and self._is_begun and self.failure is None:
            name = node.gateway.id
            with contextlib.suppress(ResultsError):  # the next verdict meets the same disk, and stops the run
                self._journal.note(f"worker {name} was lost ({error}); the test it was at was run again by another")

    def take_resumed(self, resumed: Sorted) -> None:
        """Take what became of the cells that a resumed run was asked for; every process says the same."""
        self._resumed = resumed

    def _stop(self, error: ResultsError) -> NoReturn:
        """End a run whose results cannot be kept, on a full disk say: going on would find verdicts and lose them."""
        self.failure = f"the results cannot be written: {error}"
        end(self.failure)

    def _plan_cells(self, node_ids: Sequence[str]) -> None:
        found = [split for node_id in node_ids if (split := split_node_id(node_id, self._cells)) is not None]
        names = {name: self._test_names.of(name) for name, _ in found}
        self._ids = short_ids(names, self.earlier.tests if self.earlier is not None else ())
        for name, test in names.items():
            known = Test(id=self._ids[name], title=self._ids[name], node=test.node, tree=test.tree)
            self._tests.setdefault(known.id, known)
        self._planned = {self._key(*split): None for split in found}
        if self.earlier is None:  # nothing has to be spared
            self._begin_or_stop()

    def _begin_or_stop(self) -> None:
        if not self._is_begun and self._planned and self.failure is None:
            try:
                self._begin()
            except ResultsError as error:
                self._stop(error)

    def _begin(self) -> None:
        """Write down every cell before there is a verdict, and beside them what stays of earlier runs."""
        self._is_begun = True
        left = None
        if self.earlier is not None:
            continued = self._planned.keys() if self._is_resumed else ()
            left = kept(self.earlier, self._planned.keys(), continued)
            self._earlier.set_aside()
        try:
            self._journal.begin(generator=generator(), command=_command(), host=self._plan.host, kept=left)
            for note in self._plan.notes:
                self._journal.note(note)
            kernels, asked = ({getattr(cell, kind) for cell in self._planned} for kind in ("kernel", "mode"))
            modes = {
                name: self._plan.modes[name] for name in (cell.mode for cell in self._cells.values()) if name in asked
            }
            for kernel in self._plan.kernels:
                self._tell(kernel.id, kernel.notes if kernel.id in kernels else ())
            self._journal.plan(
                kernels=[kernel for kernel in self._kernels.values() if kernel.id in kernels],
                tests=self._tests.values(),
                modes=[Mode(id=mode.id, flags=mode.flag_names, since=mode.since) for mode in modes.values()],
                cells=self._planned,
                capabilities=self._capabilities,
                known_issues=about(self._known_issues, self._tests),
            )
        except ResultsError:
            if self.earlier is not None:
                self._put_back()
            raise
        self._left = left
        if self.earlier is None:
            self._give_up_earlier()  # there is nothing but, perhaps, consoles of a run that was killed

    def _give_up_earlier(self) -> None:
        self._is_judged = True
        left = self._left
        columns = map(Provenance(left).kernel_of, left.results) if left is not None else ()
        self._earlier.give_up({kernel.console for kernel in columns if kernel.console is not None})

    def _put_back(self) -> None:
        self._is_begun = False
        self._earlier.put_back()

    def _key(self, name: str, cell: Cell) -> CellKey:
        return CellKey(self._ids[name], cell.kernel, cell.arch, cell.mode)

    # -- rows ---------------------------------------------------------------------------------------------------------

    def pytest_runtest_logstart(self) -> None:
        """Begin with the first test."""
        self._begin_or_stop()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the row, and update of tests and kernels, off a report that carries them."""
        if hasattr(report, ROW_SO_FAR):
            self._so_far[report.nodeid] = report
        elif self.failure is None:
            try:
                self._take(report, getattr(report, ROW, None))
            except ResultsError as error:
                self._stop(error)

    def _take(self, report: pytest.TestReport, row: dict[str, Any] | None) -> None:
        split = split_node_id(report.nodeid, self._cells)
        if split is None:
            return
        if (update := getattr(report, KERNEL_UPDATE, None)) is not None:
            self._update_kernel(update)
        if row is not None:
            self._so_far.pop(report.nodeid, None)
            if (described := getattr(report, TEST, None)) is not None:
                self._describe(split[0], described)
            if not self._is_judged:
                self._give_up_earlier()
            self._is_partly_collected |= row.pop("is_uncollected", False)
            path = Path(row.pop("path"))
            kernel, is_flaky = self._kernels[split[1].kernel], Qualifier.FLAKY in row["qualifiers"]
            row["reproduce"] = self._command.of(path, *split, kernel, is_flaky=is_flaky)
            self._journal.result(self._result(self._key(*split), row))

    def _describe(self, name: str, facts: Mapping[str, Any]) -> None:
        test = self._ids[name]
        # What parametrizes a test tells it from the others of its title.
        title = " ".join(
            filter(None, (facts["title"], f"[{parameter}" if (parameter := test.partition("[")[2]) else ""))
        )
        described = Test(id=test, **{**facts, "title": title})
        if self._tests.get(test) != described:
            self._tests[test] = described
            self._journal.plan(tests=[described])

    def _tell(self, kernel: str, notes: Iterable[str]) -> None:
        """Have the run say what was fetched instead of what was asked for: its column is of another version."""
        for note in notes:
            self._journal.note(f"{kernel}: {note}")

    def _update_kernel(self, update: Mapping[str, Any]) -> None:
        facts = dict(update)
        kernel = self._kernels[facts.pop("id")]
        self._tell(kernel.id, facts.pop(NOTES_OF_FETCHING, ()))
        if console := facts.get("console"):
            facts["console"] = os.path.relpath(console, self._directory)
        facts["notes"] = (*kernel.notes, *facts.get("notes", ()))
        facts["phases"] = {**kernel.phases, **facts.get("phases", {})}
        self._kernels[kernel.id] = _with_facts(kernel, facts)
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
        is_whole = not self.collect_errors and not self._is_partly_collected
        is_done = not interrupted and not stopped and is_whole
        try:
            if self._is_begun and self.failure is None:
                for report in list(self._so_far.values()):  # the run ended while they were repeated
                    self._take(report, getattr(report, ROW_SO_FAR))
            if self._is_begun and not self._is_judged:
                self._put_back()
            if self._is_resumed and not self._is_begun and self._resumed.kept and is_done:
                self._conclude_earlier()
            elif self._is_begun:
                if self.failure is None:
                    self._journal.end(is_done=is_done)
                self.results = self._journal.publish()
                ran = part(self.results, self._planned, is_done=is_done)
                durations.write(self._plan.cache, ran.kernels, ran.results)
            if self.results is not None:
                self.own = part(self.results, self._asked(), is_done=is_done)
                self._judge_kept(session)
                self._excuse_known(session)
        except (ResultsError, OSError) as error:
            self.failure = self.failure or f"the results cannot be written: {error}"
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        finally:
            self._journal.close()
            # A session that came to nothing leaves nothing.
            with contextlib.suppress(OSError):
                self._directory.rmdir()

    def _judge_kept(self, session: pytest.Session) -> None:
        """Let verdicts that a resumed run keeps count as if it had found them: pytest knows of none of them."""
        if self._resumed.kept and session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
            is_good = self.own is not None and all(row.status in GOOD for row in self.own.results)
            session.exitstatus = pytest.ExitCode.OK if is_good else pytest.ExitCode.TESTS_FAILED

    def _excuse_known(self, session: pytest.Session) -> None:
        """Let failures that are known issues fail nothing, if they are all that pytest counted."""
        if self.own is None or session.exitstatus != pytest.ExitCode.TESTS_FAILED:
            return
        bad = [row for row in self.own.results if row.status not in GOOD]
        if (
            bad
            and all(Qualifier.KNOWN_ISSUE in row.qualifiers for row in bad)
            and session.testsfailed == len(bad)
            and not self.collect_errors
        ):
            session.exitstatus = pytest.ExitCode.OK

    def _conclude_earlier(self) -> None:
        """End a resumed run that found every verdict there already."""
        if self.earlier is not None and self.earlier.complete and not self._earlier.is_rebuilt:
            self.results = self.earlier
            return
        self._begin()
        self._give_up_earlier()
        self._journal.end()
        self.results = self._journal.publish()

    def _asked(self) -> set[CellKey]:
        """The cells that this session was to judge, those included that had their verdict."""
        asked = set(self._planned)
        splits = [split for node_id in self._resumed.kept if (split := split_node_id(node_id, self._cells)) is not None]
        names = {name: self._test_names.of(name) for name, _ in splits}
        ids = short_ids(names, self.earlier.tests if self.earlier is not None else ())
        return asked | {CellKey(ids[name], cell.kernel, cell.arch, cell.mode) for name, cell in splits}

    def pytest_unconfigure(self) -> None:
        """Give the directory free when there never was a session."""
        self._journal.close()

    @property
    def sentences(self) -> list[str]:
        """What there is to say of the results, beside the verdicts."""
        if self.results is None or self.own is None:
            return []
        own = {row.key for row in self.own.results}
        known = {*self._plan.notes, *(self.earlier.notes if self.earlier is not None else ())}
        notes = [note for note in self.results.notes if note not in known]
        found = [
            repeated_sentence(self.own),
            known_sentence(self.own),
            *no_longer_shown(self.own),
            *notes,
            self._resumed.sentence(),
            kept_sentence(self.results, own),
            resume_sentence(self.own) if self._is_begun else None,
        ]
        return [sentence for sentence in found if sentence is not None]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say where the results are."""
        if self.failure is not None:
            terminalreporter.write_line(self.failure, red=True)
        elif self.results is not None:
            state = "complete" if self.results.complete else "NOT complete"
            terminalreporter.write_line(f"{self._directory / 'results.json'} is {state}")
            for sentence in self.sentences:
                terminalreporter.write_line(sentence)


def _with_facts(kernel: Kernel, facts: Mapping[str, Any]) -> Kernel:
    """A record with what became known since."""
    known = dict(facts)
    if known.get("guest") is not None:
        known["guest"] = msgspec.convert(known["guest"], GuestConfig)
    return msgspec.structs.replace(kernel, **known)


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
    program = Path(sys.argv[0])
    # `python -m pytest` has the path of the package's own file there, which is no command.
    name = ["python", "-m", program.parent.name] if program.name == "__main__.py" else [program.name]
    return [*name, *sys.argv[1:]]
