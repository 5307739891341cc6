"""A pytest session that knows kernels: sends items into guests, judges what comes back, and keeps the results.

With pytest-xdist the controller prepares everything once and records; its workers run the guests.
"""

import contextlib
import dataclasses
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from harness import bytecode, in_process, options, rows
from harness import facts as facts_room
from harness.attempts import GOOD, RETRIED, JudgedAttempt, is_enough, judged, settle
from harness.cell_inputs import TestInputs
from harness.cells import CURRENT, Cell, cell_of, ids_in_cells, one_per_cell, plain_name, split_node_id, without_cells
from harness.dispatch import Dispatch
from harness.guest_reports import GuestReports, synthetic
from harness.guests import Attempt, Guests, run_is_over
from harness.names import TestNames
from harness.observed import ObservedItem, cells_for, observer_of
from harness.payload import source_tree
from harness.pieces import numbered
from harness.plan import Plan
from harness.report_attributes import (
    JOURNAL_NAME,
    KERNEL_UPDATE,
    RESUMED,
    ROW,
    ROW_SO_FAR,
    TEST,
)
from harness.resume import sort
from harness.suites import Suite, capabilities_of
from harness.verdict import Facts, judge
from reports.results import Earlier, Qualifier, Status

_PHASES = pytest.StashKey[list[Mapping[str, Any]]]()
# Of runs that no directory was named for.
_CONSOLES_KEPT_S = 7 * 86_400
# How often is told what came of an item that is being repeated.
_SO_FAR_EVERY_S = 1.0
# How many items a guest is given at once.
_LIST_LENGTH_MAX = 64


@dataclasses.dataclass(slots=True)
class _Test:
    """What is the same of a test in each cell."""

    # The word for what its verdicts are obtained with.
    inputs: str
    # For the results.
    described: dict[str, Any]
    # Whether the process that keeps the results has that.
    is_told: bool = False


class Session:
    """The plugin object of one pytest process.

    Attributes:
        plan: what runs where; made once, by the controller.
        cells: the columns, in the order they are run.
    """

    def __init__(self, config: pytest.Config, plan: Plan, suites: Sequence[Suite], directory: Path | None) -> None:
        self.plan = plan
        self.cells: Sequence[Cell] = plan.cells
        self._config = config
        self._tree = source_tree(config, suites)
        self._reports = GuestReports(config, self._tree)
        # Markers that the results have an argument of.
        self._recorded = [marker for suite in suites for marker in suite.recorded_markers]
        self._observed = {suite.observation.file for suite in suites if suite.observation is not None}
        self._directory = directory
        self._cells_by_id = {cell.id: cell for cell in plan.cells}
        self._guests: Guests | None = None
        # Where each item stands among those of the session; in a worker also the piece it is of: others may get those.
        self._places: dict[pytest.Item, int] = {}
        self._pieces: list[int] = []
        # The files of the items that are to run, as guests know them.
        self._paths: list[str] = []
        self._names = TestNames(config, suites, plan.tree)
        self._inputs = TestInputs(plan.cache)
        # What is the same of a test in each cell, by its id without the cell.
        self._tests: dict[str, _Test] = {}
        self._guest_paths: dict[Path, str] = {}
        # When the first test began, by the monotonic clock.
        self._begun_s: float | None = None
        # When it was last told what came of an item so far, by the same clock.
        self._told_s = 0.0
        self._facts = facts_room.FactsPlugin()
        config.pluginmanager.register(self._facts, "uring-matrix-facts")
        bytecode.keep(config, plan.cache)
        self._choose_by_plain_ids()

    @classmethod
    def create(
        cls, config: pytest.Config, modes: Sequence[str], suites: Sequence[Suite], notes: Sequence[str] = ()
    ) -> Self:
        """Prepare the session: in a worker, from what the controller sent; else by fetching what is needed."""
        worker_input = getattr(config, "workerinput", None)
        if worker_input is not None:
            return cls(config, Plan.from_json(worker_input["uring_matrix_plan"]), suites, _directory(config))
        from harness.prepare import prepare  # noqa: PLC0415

        directory = _directory(config)
        is_resumed = _is_resumed(config, directory)
        plan = prepare(config, modes, suites)
        plan = dataclasses.replace(plan, notes=(*plan.notes, *notes))
        if directory is not None and not options.runs_nothing(config):
            from harness.known_issues import known_issues_of  # noqa: PLC0415
            from harness.recorder import Recorder  # noqa: PLC0415
            from harness.reproduce import Command  # noqa: PLC0415

            names = TestNames(config, suites, plan.tree)
            command = Command(config)
            recorder = Recorder(
                plan,
                directory,
                names,
                command,
                capabilities_of(suites),
                known_issues=known_issues_of(config, suites),
                is_resumed=is_resumed,
            )
            config.pluginmanager.register(recorder, "uring-matrix-recorder")
            if is_resumed:
                plan = dataclasses.replace(plan, earlier=recorder.earlier_cells())
        return cls(config, plan, suites, directory)

    # -- xdist --------------------------------------------------------------------------------------------------------

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Give a worker the plan."""
        node.workerinput["uring_matrix_plan"] = self.plan.to_json()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Keep a kernel's items together, unless a processor would have nothing to do."""
        from harness.scheduler import KernelScheduling  # noqa: PLC0415

        return KernelScheduling(config, log, self._cells_by_id, self._observed)

    # -- collection ---------------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Iterator[Any]:
        """Make one item per cell, also of tests that pytest does not parametrize."""
        report: pytest.CollectReport = yield  # type: ignore[assignment]
        if report.passed:
            report.result = one_per_cell(report.result, cells_for(collector, self.plan.cells))
        return report  # type: ignore[return-value]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> Iterator[Any]:
        """Keep the items of a cell together, in the order in which they would run without one; observe last."""
        with without_cells(items):  # pytest arranges items by what they are parametrized with
            result = yield
        columns = list(dict.fromkeys(cell.column for cell in self.plan.cells))
        places = {cell: (columns.index(cell.column), place) for place, cell in enumerate(self.plan.cells)}

        def place_of(item: pytest.Item) -> tuple[int, bool, int]:
            """Behind all tests of its kernel what is observed: it goes to the limits, and needs nothing tests share."""
            column, place = places[cell] if (cell := cell_of(item)) is not None else (len(columns), 0)
            return column, observer_of(item) is not None, place

        items.sort(key=place_of)
        self._leave_out_judged(config, items)
        return result

    def _leave_out_judged(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what a resumed run has verdicts for."""
        if not self.plan.earlier:
            return
        found = sort(items, self._cells_by_id, self._names, self._inputs, self.plan.earlier)
        done = set(found.kept)
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in done])
        items[:] = [item for item in items if item.nodeid not in done]
        if (output := getattr(config, "workeroutput", None)) is not None:
            output[RESUMED] = dataclasses.asdict(found)
        elif (recorder := config.pluginmanager.get_plugin("uring-matrix-recorder")) is not None:
            recorder.take_resumed(found)

    def _choose_by_plain_ids(self) -> None:
        """Let ids be given as they are at home, `test_x.py::test_y[1]`: they stand for that test in every cell."""
        config = self._config
        config.args = [word for given in config.args for word in ids_in_cells(given, self.plan.cells)]
        deselected = config.getoption("deselect", None)
        if deselected:
            config.option.deselect = [word for given in deselected for word in ids_in_cells(given, self.plan.cells)]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Have guests collect no more files than there are items of: who runs one test waits for no other."""
        files = dict.fromkeys(item.path for item in session.items if observer_of(item) is None)
        self._paths = [self._tree.guest_path(path) for path in files]

    # -- running ------------------------------------------------------------------------------------------------------

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Take the items of guests before any plugin's hook does something with them here."""
        Dispatch.install(session.config.hook, self._run)

    def _run(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """Run an item if it belongs into a guest.

        Returns:
            Whether it does; if not, pytest is to run it here.
        """
        if options.runs_nothing(self._config):
            return False
        self._begun_s = self._begun_s or time.monotonic()
        cell = cell_of(item)
        if cell is None:
            raise pytest.UsageError(f"{item.nodeid} has no kernel to run in, and is not run on this machine instead")
        if not self.plan.is_host(cell):
            self._run_in_guest(item, nextitem, cell)
        elif self._is_over or self._is_repeating:
            with _in_process(item):
                self._run_here(item, nextitem, cell)
        else:
            return False
        return True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[Any]:
        """In process: say which cell it is."""
        with _in_process(item):
            return (yield)

    @property
    def _is_over(self) -> bool:
        """Whether no test is to begin any more."""
        run_s: float | None = self._config.getoption("matrix_deadline")
        return None not in (run_s, self._begun_s) and time.monotonic() > self._begun_s + run_s  # type: ignore[operator]

    @property
    def _is_repeating(self) -> bool:
        return options.repeats(self._config) > 1

    def _is_enough(self, attempts: Sequence[JudgedAttempt]) -> bool:
        """Whether a test has shown what somebody waited for."""
        return self._config.getoption("until_failure") and is_enough(attempts)

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # around the hook that writes the facts down
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
        """In process: judge when the last phase is over."""
        report: pytest.TestReport = yield  # type: ignore[assignment]
        cell = cell_of(item)
        if cell is not None and not self._is_repeating:
            phases = item.stash.setdefault(_PHASES, [])
            phases.append(facts_room.phase_of(vars(report)))
            if report.when == "teardown":
                ran = Attempt(Facts(phases, is_done=True), [], phases[0]["started_s"])
                self._attach(report, item, cell, [JudgedAttempt(ran, judge(ran.facts))])
        return report  # type: ignore[return-value]

    def _run_here(self, item: pytest.Item, nextitem: pytest.Item | None, cell: Cell) -> None:
        """In process: several times, or not at all when the run is over."""
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        attempts: list[JudgedAttempt] = []
        interrupt: KeyboardInterrupt | None = None
        while len(attempts) < options.repeats(self._config) and not self._is_over and not self._is_enough(attempts):
            try:
                ran = in_process.attempt(item, nextitem)
            except KeyboardInterrupt as error:
                interrupt = error
                break
            attempts.append(judged(ran))
            self._tell_so_far(item, cell, attempts)
        if not attempts:
            facts = Facts(guest_end=run_is_over(self._config.getoption("matrix_deadline")))
            attempts.append(judged(Attempt(facts, [], time.time())))
        if interrupt is not None and len(attempts) < 2:
            raise interrupt
        self._conclude(item, cell, attempts)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        if interrupt is not None:
            raise interrupt

    def _run_in_guest(self, item: pytest.Item, nextitem: pytest.Item | None, cell: Cell) -> None:
        guests = self._guests or self._start()
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        following, is_last = None, True
        if nextitem is not None and (next_cell := cell_of(nextitem)) is not None:
            if next_cell == cell:  # else what its tests share has to be made anew for another mode
                following = self._guest_id(nextitem)
            is_last = next_cell.column != cell.column
        attempts: list[JudgedAttempt] = []
        try:
            self._attempt_all(attempts, guests, item, cell, following)
        except KeyboardInterrupt:
            # What was repeated so often is worth keeping; a first try that was cut off is not.
            if len(attempts) > 1:
                self._conclude(item, cell, attempts)
            raise
        if is_last or self._is_enough(attempts):
            guests.close()
        self._conclude(item, cell, attempts)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def _attempt_all(
        self, attempts: list[JudgedAttempt], guests: Guests, item: pytest.Item, cell: Cell, following: str | None
    ) -> None:
        """Run an item as often as it has to be: a crash or a timeout has to show twice to be beyond doubt."""
        wanted, name = options.repeats(self._config), self._guest_id(item)
        needs_retry = False
        while (len(attempts) < wanted or needs_retry) and not self._is_enough(attempts):
            if attempts and self._is_over:
                break  # what was found stands: another try would find that there is no time
            if needs_retry:
                guests.close()  # the next try gets a fresh one
            left = wanted - len(attempts) - 1
            if (observer := observer_of(item)) is not None and left > 0:
                # Whoever observes makes ready once for all tries.
                attempt = guests.run(cell, name, following, lambda: [*[name] * left, None], observer=observer)  # noqa: B023
            elif wanted > 1 or attempts:
                attempt = guests.run(cell, name, following if left <= 0 else name, observer=observer)
            else:
                upcoming = lambda: self._upcoming(item, cell, following)  # noqa: E731
                attempt = guests.run(cell, name, following, upcoming, observer=observer)
            attempts.append(judged(attempt))
            if wanted > 1:
                self._tell_so_far(item, cell, attempts)
            is_first = wanted == len(attempts) == 1 and not self._is_debugged  # else somebody saw it happen
            needs_retry = is_first and attempts[0].verdict.status in RETRIED
            if attempts[-1].verdict.status is Status.INFRA and attempt.facts.guest_end is not None:
                break  # no guest to be had: trying again is the next run's business

    def _upcoming(self, item: pytest.Item, cell: Cell, following: str | None) -> list[str | None]:
        """The items of a cell that pytest comes to behind one, in its order: in a worker as far as a piece goes.

        Empty where pytest's next one is another than that order has.
        """
        items = item.session.items
        if not self._places:
            self._places = {one: place for place, one in enumerate(items)}
            if hasattr(self._config, "workerinput"):
                self._pieces = numbered([(cell_of(one), one.nodeid.partition("::")[0]) for one in items])
        first = self._places[item] + 1
        # All that is observed is one list: the guest has nothing to set up between two of them.
        limit = _LIST_LENGTH_MAX if (observer := observer_of(item)) is None else len(items)
        found: list[str | None] = []
        for place in range(first, min(first + limit, len(items))):
            one = items[place]
            if self._pieces and self._pieces[place] != self._pieces[first]:
                break  # another worker may be given that
            if cell_of(one) != cell:
                found.append(None)
                break
            found.append(self._guest_id(one))
            if observer_of(one) != observer:
                break
        else:
            if len(found) < limit and not (self._pieces and found):
                found.append(None)
        return found if found[0] == following else []

    def _tell_so_far(self, item: pytest.Item, cell: Cell, attempts: Sequence[JudgedAttempt]) -> None:
        """Tell whoever keeps the results what came of an item so far.

        After Ctrl-C pytest-xdist listens to no worker any more: what was repeated until then would be lost.
        """
        if len(attempts) > 1 and time.monotonic() >= self._told_s + _SO_FAR_EVERY_S:
            report = synthetic(item, "setup", "passed", None)  # to all others as good as nothing
            self._attach(report, item, cell, attempts, ROW_SO_FAR)
            item.ihook.pytest_runtest_logreport(report=report)
            self._told_s = time.monotonic()

    def _conclude(self, item: pytest.Item, cell: Cell, attempts: Sequence[JudgedAttempt]) -> None:
        """Take the worst try for the verdict, and make sure that pytest counts what is no good one as a failure."""
        hook = item.ihook
        worst, last, is_flaky = settle(attempts)
        is_tolerated = is_flaky and self._config.getoption("allow_flaky") and last.verdict.status in GOOD
        shown = last if is_tolerated else worst
        reports = [self._reports.report(item, data) for data in shown.attempt.reports]
        has_failed = any(report.failed for report in reports)
        if shown.verdict.status not in GOOD and not has_failed:
            reports.append(synthetic(item, "call", "failed", rows.explain(worst.verdict, attempts)))
        if not reports and shown.verdict.status is Status.PASS:
            reports.append(synthetic(item, "call", "passed", None))
        elif not reports and shown.verdict.status in GOOD:
            reason = f"Skipped: {worst.verdict.reason}"
            reports.append(synthetic(item, "setup", "skipped", (str(item.path), 0, reason)))
        if not reports or reports[-1].when != "teardown":
            reports.append(synthetic(item, "teardown", "passed", None))
        self._attach(reports[-1], item, cell, attempts)
        for report in reports:
            hook.pytest_runtest_logreport(report=report)
        if shown.attempt.stop:
            item.session.shouldstop = shown.attempt.stop
        self._reports.tell_warnings(item, shown.attempt.warnings)

    def _attach(
        self,
        report: pytest.TestReport,
        item: pytest.Item,
        cell: Cell,
        attempts: Sequence[JudgedAttempt],
        attribute: str = ROW,
    ) -> None:
        """Put the row of the results on a report of the item's, which xdist carries to the controller."""
        worst, _, is_flaky = settle(attempts)
        qualifiers = dict.fromkeys(name for one in attempts for name in one.verdict.qualifiers)
        if is_flaky:
            qualifiers[Qualifier.FLAKY] = None
        verdict = dataclasses.replace(worst.verdict, qualifiers=tuple(qualifiers))
        test = self._test(item)
        row = rows.row(verdict, worst.attempt, report.sections)
        row |= {"inputs": test.inputs, "path": str(item.path)}
        if len(attempts) > 1:
            row["attempts"] = [rows.attempt_row(one) for one in attempts]
        setattr(report, attribute, row)
        # Once is enough; but what was told so far is nothing to whoever is told what came of it in the end.
        if not test.is_told:
            setattr(report, TEST, test.described)
            test.is_told = attribute == ROW
        update = rows.joined([one.attempt.kernel for one in attempts if one.attempt.kernel is not None])
        if update is not None:
            setattr(report, KERNEL_UPDATE, update)

    def _guest_id(self, item: pytest.Item) -> str:
        """An item's id in the guest: the path is the guest's, the rest is ours; what is observed goes by its name."""
        if isinstance(item, ObservedItem):
            return item.subject
        if (path := self._guest_paths.get(item.path)) is None:
            path = self._guest_paths[item.path] = self._tree.guest_path(item.path)
        return f"{path}::{self._plain_id(item).partition('::')[2]}"

    def _plain_id(self, item: pytest.Item) -> str:
        """An item's id without its cell."""
        found = split_node_id(item.nodeid, self._cells_by_id)
        return found[0] if found is not None else item.nodeid

    def _test(self, item: pytest.Item) -> "_Test":
        """What an item has in common with those of other cells."""
        plain = self._plain_id(item)
        if (test := self._tests.get(plain)) is None:
            name = self._names.of(plain)
            described = {**rows.describe(item, self._recorded), "node": name.node, "tree": name.tree}
            test = self._tests[plain] = _Test(self._inputs.of(item, name.node), described)
        return test

    def _start(self) -> Guests:
        directory = self.plan.consoles
        directory.mkdir(parents=True, exist_ok=True)
        if self._directory is None:
            remove_old(directory)
        unavailable = {(kernel, arch): why for kernel, arch, why in self.plan.unavailable}
        option = self._config.getoption
        self._guests = Guests(
            self.plan.columns(self._paths),
            directory,
            unavailable,
            self.plan.cache if self.plan.has_snapshots else None,
            await_kernel=lambda key, until_s: self.plan.await_kernel(key, self._paths, until_s),
            test_s=option("matrix_test_timeout"),
            is_isolated=option("isolate"),
            run_s=option("matrix_deadline"),
            begun_s=self._begun_s,
            tell_debugger=self._tell if self._is_debugged else None,
        )
        return self._guests

    @property
    def _is_debugged(self) -> bool:
        return self._config.getoption("guest_gdb") is not None

    def _tell(self, line: str) -> None:
        """Write a line to standard error, past pytest, which would keep it until a test is over."""
        capture = self._config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture is not None else contextlib.nullcontext():
            print(line, file=sys.stderr, flush=True)

    def pytest_report_header(self) -> list[str]:
        """Say which options are for some of the kernels only."""
        return list(self.plan.notes)

    def pytest_unconfigure(self) -> None:
        """Leave nothing running."""
        if self._guests is not None:
            self._guests.close()


@contextlib.contextmanager
def _in_process(item: pytest.Item) -> Iterator[None]:
    """Let an item that runs here know its cell, and have a TestCase's find its method."""
    if (cell := cell_of(item)) is not None:
        item.config.stash[CURRENT] = cell
    name, item.name = item.name, plain_name(item)
    try:
        yield
    finally:
        item.name = name


def remove_old(consoles: Path) -> None:
    """Remove the consoles that earlier runs without a directory of results left: nobody asks for them any more."""
    for path in consoles.iterdir():
        with contextlib.suppress(OSError):  # another run may be at it, too
            if time.time() - path.stat().st_mtime > _CONSOLES_KEPT_S:
                shutil.rmtree(path)


def _directory(config: pytest.Config) -> Path | None:
    name = config.getoption("matrix_out")
    return (config.invocation_params.dir / name).resolve() if name else None


def _is_resumed(config: pytest.Config, directory: Path | None) -> bool:
    """Whether to go on with an earlier run, which then has to be there."""
    if not config.getoption("matrix_resume"):
        return False
    if directory is None:
        raise pytest.UsageError("--matrix-resume needs --matrix-out: the directory of the run to go on with")
    if not Earlier.is_there(directory / JOURNAL_NAME):
        raise pytest.UsageError(f"there is no run to go on with in {directory}; start one without resuming")
    return True
