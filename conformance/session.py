"""A pytest session that knows kernels: sends items into guests, judges what comes back, and keeps the results.

With pytest-xdist the controller prepares everything once and records; its workers run the guests.
"""

import dataclasses
import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, cast

import pytest

from conformance import facts as facts_room
from conformance.cells import Cell, cell_of, short_ids, split_node_id
from conformance.guests import Guests, Ran
from conformance.payload import guest_path
from conformance.plan import Plan
from conformance.verdict import Facts, Verdict, judge
from reports.results import Results, ResultsError, Status, fold, remaining

JOURNAL_NAME = "results.jsonl"
# Attributes of the reports that carry more than pytest's own.
ROW, TEST, KERNEL = "matrix_row", "matrix_test", "matrix_kernel"
_GOOD = frozenset({Status.PASS, Status.UNSUPPORTED, Status.SKIP})
_PHASES = pytest.StashKey[list[Mapping[str, Any]]]()
_DMESG_LINES_MAX = 300


class Session:
    """The plugin object of one pytest process.

    Attributes:
        plan: what runs where; made once, by the controller.
        cells: the columns, in the order they are run.
    """

    def __init__(self, config: pytest.Config, plan: Plan, directory: Path | None) -> None:
        self.plan = plan
        self.cells: Sequence[Cell] = plan.cells
        self._config = config
        self._directory = directory
        self._cells_by_id = {cell.id: cell for cell in plan.cells}
        self._guests: Guests | None = None
        self._facts = facts_room.FactsPlugin()
        config.pluginmanager.register(self._facts, "uring-matrix-facts")

    @classmethod
    def create(cls, config: pytest.Config, modes: Sequence[str]) -> Self:
        """Prepare the session: in a worker, from what the controller sent; else by fetching what is needed."""
        worker_input = getattr(config, "workerinput", None)
        if worker_input is not None:
            return cls(config, Plan.from_json(worker_input["uring_matrix_plan"]), _directory(config))
        from conformance.prepare import prepare  # noqa: PLC0415

        directory = _directory(config)
        resumed = _resumed(config, directory)
        plan = prepare(config, modes)
        if resumed is not None:
            open_cells = set(remaining(resumed))
            done = frozenset(row.key for row in resumed.results if row.key not in open_cells)
            plan = dataclasses.replace(plan, done=done)
        if directory is not None:
            from conformance.recorder import Recorder  # noqa: PLC0415

            config.pluginmanager.register(Recorder(plan, directory, resumed), "uring-matrix-recorder")
        return cls(config, plan, directory)

    # -- xdist --------------------------------------------------------------------------------------------------------

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Give a worker the plan."""
        node.workerinput["uring_matrix_plan"] = self.plan.to_json()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Keep a kernel's items together."""
        from conformance.schedule import KernelScheduling  # noqa: PLC0415

        return KernelScheduling(config, log, self._cells_by_id)

    # -- collection ---------------------------------------------------------------------------------------------------

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what a resumed run has verdicts for."""
        if not self.plan.done:
            return
        splits = {item: split for item in items if (split := split_node_id(item.nodeid, self._cells_by_id)) is not None}
        names = short_ids((name for name, _ in splits.values()), {key[0] for key in self.plan.done})
        done = [
            item
            for item, (name, cell) in splits.items()
            if (names[name], cell.kernel, cell.arch, cell.mode) in self.plan.done
        ]
        config.hook.pytest_deselected(items=done)
        items[:] = [item for item in items if item not in set(done)]

    # -- running ------------------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run an item where it belongs."""
        cell = cell_of(item)
        if cell is not None and not self.plan.is_host(cell):
            self._run_in_guest(item, nextitem, cell)
            return True
        if cell is None:
            item.stash[_PHASES] = []
        return None

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # around the hook that writes the facts down
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
        """In process: judge when the last phase is over."""
        report: pytest.TestReport = yield  # type: ignore[assignment]
        cell = cell_of(item)
        if cell is not None:
            phases = item.stash.setdefault(_PHASES, [])
            phases.append(getattr(report, facts_room.ATTRIBUTE))
            if report.when == "teardown":
                facts = Facts(phases, is_done=True)
                self._attach(report, item, cell, judge(facts), facts, phases[0]["started_s"])
        return report  # type: ignore[return-value]

    def _run_in_guest(self, item: pytest.Item, nextitem: pytest.Item | None, cell: Cell) -> None:
        guests = self._guests or self._start()
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        following = None
        if nextitem is not None:
            next_cell = cell_of(nextitem)
            if next_cell is not None and (next_cell.kernel, next_cell.arch) == (cell.kernel, cell.arch):
                following = self._guest_id(nextitem)
        held: pytest.TestReport | None = None
        ran: Ran | None = None
        for message in guests.run(cell, self._guest_id(item), following):
            if isinstance(message, Ran):
                ran = message
                break
            if held is not None:
                hook.pytest_runtest_logreport(report=held)
            held = self._report(item, message)
        if ran is None:  # pragma: no cover - `run` always ends with one
            raise RuntimeError(f"{item.nodeid}: the guest's run ended without an outcome")
        self._conclude(item, cell, held, ran)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def _conclude(self, item: pytest.Item, cell: Cell, held: pytest.TestReport | None, ran: Ran) -> None:
        """Judge, and make sure that pytest counts what is no good verdict as a failure."""
        hook = item.ihook
        verdict = judge(ran.facts)
        has_failed = any(phase.get("outcome") == "failed" for phase in ran.facts.phases)
        reports = [held] if held is not None else []
        if verdict.status not in _GOOD and not has_failed:
            reports.append(_synthetic(item, "call", "failed", _explain(verdict, ran.facts)))
        if not reports or reports[-1].when != "teardown":
            reports.append(_synthetic(item, "teardown", "passed", None))
        last = reports[-1]
        self._attach(last, item, cell, verdict, ran.facts, ran.started_s)
        if ran.kernel is not None:
            setattr(last, KERNEL, ran.kernel)
        for report in reports:
            hook.pytest_runtest_logreport(report=report)

    def _attach(
        self,
        report: pytest.TestReport,
        item: pytest.Item,
        cell: Cell,
        verdict: Verdict,
        facts: Facts,
        started_s: float,
    ) -> None:
        """Put the row of the results on the item's last report, which xdist carries to the controller."""
        end = facts.guest_end
        is_plain = verdict.status is Status.PASS and not verdict.qualifiers
        name = item.originalname if isinstance(item, pytest.Function) else item.name
        row = {
            "status": str(verdict.status),
            "reason": verdict.reason,
            "expected": verdict.expected,
            "actual": verdict.actual,
            "evidence": list(verdict.evidence),
            "qualifiers": list(verdict.qualifiers),
            "started_s": started_s,
            "duration_s": sum(phase.get("duration_s", 0.0) for phase in facts.phases),
            "dmesg": [] if is_plain else list(facts.dmesg[-_DMESG_LINES_MAX:]),
            "output": "" if is_plain else "\n".join(text for _, text in report.sections),
            "console_tail": end.console.splitlines()[-100:] if end is not None else [],
            "reproduce": f"pytest '{_file_of(item)}::{name}' --kernel {cell.kernel} --mode {cell.mode}",
        }
        setattr(report, ROW, row)
        setattr(report, TEST, _describe(item))

    def _report(self, item: pytest.Item, data: dict[str, Any]) -> pytest.TestReport:
        report = self._config.hook.pytest_report_from_serializable(config=self._config, data=data)
        report.nodeid, report.location = item.nodeid, item.location
        if isinstance(report.longrepr, list):  # a skip's (path, line, reason), after a trip through JSON
            report.longrepr = (str(item.path), *report.longrepr[1:])
        return cast(pytest.TestReport, report)

    def _guest_id(self, item: pytest.Item) -> str:
        """An item's id in the guest: the path is the guest's, the rest is ours."""
        return f"{guest_path(item.path, self._config.rootpath)}::{item.nodeid.partition('::')[2]}"

    def _start(self) -> Guests:
        directory = self.plan.consoles
        directory.mkdir(parents=True, exist_ok=True)
        unavailable = {(kernel, arch): why for kernel, arch, why in self.plan.unavailable}
        self._guests = Guests(self.plan.columns(), directory, unavailable)
        return self._guests

    def pytest_unconfigure(self) -> None:
        """Leave nothing running."""
        if self._guests is not None:
            self._guests.close()


def _directory(config: pytest.Config) -> Path | None:
    name = config.getoption("matrix_out")
    return (config.invocation_params.dir / name).resolve() if name else None


def _resumed(config: pytest.Config, directory: Path | None) -> Results | None:
    """What an earlier, unfinished run found."""
    if not config.getoption("matrix_resume"):
        return None
    if directory is None:
        raise pytest.UsageError("--matrix-resume needs --matrix-out: the directory of the run to go on with")
    if not (directory / JOURNAL_NAME).exists():
        raise pytest.UsageError(f"there is no run to go on with in {directory}; start one without resuming")
    try:
        return fold(directory / JOURNAL_NAME)
    except ResultsError as error:
        raise pytest.UsageError(str(error)) from error


def _file_of(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _describe(item: pytest.Item) -> dict[str, Any]:
    """What the results say of a test."""

    def argument(name: str) -> str | None:
        marker = item.get_closest_marker(name)
        return str(marker.args[0]) if marker is not None and marker.args else None

    function = getattr(item, "function", None)
    path, line, _ = item.location
    doc = inspect.getdoc(function) or "" if function is not None else ""
    try:
        code = inspect.getsource(function) if function is not None else None
    except OSError:
        code = None
    zig = argument("zig")
    return {
        "title": zig or doc.split("\n", 1)[0] or item.name.partition("[")[0],
        "zig": zig,
        "group": argument("group") or "",
        "doc": doc,
        "since": argument("since"),
        "source": f"{path}:{(line or 0) + 1}",
        "code": code,
    }


def _synthetic(item: pytest.Item, when: str, outcome: str, text: str | None) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome=cast(Any, outcome),
        longrepr=text,
        when=cast(Any, when),
    )


def _explain(verdict: Verdict, facts: Facts) -> str:
    lines = [f"{verdict.status}: {verdict.reason}", *verdict.evidence]
    if facts.guest_end is not None and facts.guest_end.console:
        lines += ["", "the console's end:", facts.guest_end.console.rstrip()]
    return "\n".join(lines)
