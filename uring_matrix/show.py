"""What a run shows while it goes on: a line per kernel, alive on a terminal, one when it is done elsewhere."""

import contextlib
import time
from collections import Counter
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from harness.cells import Cell, split_node_id
from harness.prepare import PROGRESS
from harness.report_attributes import KERNEL_UPDATE, ROW
from reports.events import kernel_order
from reports.records import State
from reports.results import Kernel, Results, Status
from uring_matrix.bars import bar_width
from uring_matrix.output import error_line
from vm.progress import Progress

if TYPE_CHECKING:
    from harness.recorder import Recorder
    from uring_matrix.arguments import Wishes

# Two columns between two parts of a line; a kernel's name takes no more of it than a third.
_GAP, _NAME_SHARE = 2, 3
_SECONDS_WIDTH = len("1234.5 s")
# One colour per kind of verdict; the word beside it carries the meaning.
_STYLES = {
    Status.PASS: "green",
    Status.UNSUPPORTED: "yellow",
    Status.SKIP: "cyan",
    Status.FAIL: "bold red",
    Status.ERROR: "bold magenta",
    Status.CRASH: "bold red",
    Status.TIMEOUT: "bold red",
    Status.INFRA: "bold blue",
    Status.NOTRUN: "dim",
}


class Line:
    """One kernel's progress."""

    def __init__(self, total: int, kernel: Kernel) -> None:
        self.total = total
        # As far as it is known: of an image of the user's own, only its boot tells the release.
        self.kernel = kernel
        self.counts: Counter[Status] = Counter()
        # What was observed, by its word: no verdicts of tests
        self.observed: Counter[str] = Counter()
        self.started_s: float | None = None
        self.seconds = 0.0
        self.note = ""

    @property
    def done(self) -> int:
        """Cells that have a verdict."""
        return self.counts.total() + self.observed.total()


class Show:
    """A pytest plugin in place of pytest's own terminal reporter, where that is not asked for."""

    def __init__(self, console: Console, progress: Progress, wishes: "Wishes", *, is_quiet: bool) -> None:
        self._console = console
        self._progress = progress
        self._wishes = wishes
        self._is_quiet = is_quiet
        self._lines: dict[str, Line] = {}
        self._cells: dict[str, Cell] = {}
        self._live: Live | None = None
        self._config: pytest.Config | None = None

    @property
    def _recorder(self) -> "Recorder | None":
        return self._config.pluginmanager.get_plugin("uring-matrix-recorder") if self._config is not None else None

    @property
    def results(self) -> Results | None:
        """What this session found; None when it came to nothing."""
        return self._recorder.results if self._recorder is not None else None

    @property
    def own(self) -> Results | None:
        """The same without the cells that this session was not asked for."""
        return self._recorder.own if self._recorder is not None else None

    @property
    def sentences(self) -> Sequence[str]:
        """What else there is to say of the results."""
        return self._recorder.sentences if self._recorder is not None else ()

    @property
    def collect_errors(self) -> Sequence[tuple[str, str]]:
        """What could not be collected, and why."""
        return self._recorder.collect_errors if self._recorder is not None else ()

    @property
    def failure(self) -> str | None:
        """Why results could not be written, if so."""
        return self._recorder.failure if self._recorder is not None else None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_cmdline_main(self) -> Generator[None, Any, Any]:
        """Tell errors of usage as every other command does; pytest has a prefix of its own, and an empty line."""
        try:
            return (yield)
        except pytest.UsageError as error:
            self.finish()
            for message in error.args:
                error_line(str(message))
            return pytest.ExitCode.USAGE_ERROR

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Have downloads and the like shown our way."""
        config.stash[PROGRESS] = self._progress
        self._config = config

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """Begin, once it is known what will run."""
        if not self._lines:
            self._begin(node.config, ids)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Begin, without xdist."""
        if session.items and not self._lines:
            self._begin(session.config, [item.nodeid for item in session.items])

    def _begin(self, config: pytest.Config, ids: Sequence[str]) -> None:
        if self._wishes.is_terminal:
            return
        session = config.pluginmanager.get_plugin("uring-matrix-session")
        cells = session.cells  # type: ignore[union-attr]
        kernels = {(kernel.id, kernel.arch): kernel for kernel in session.plan.kernels}  # type: ignore[union-attr]
        self._cells = {cell.id: cell for cell in cells}
        totals = Counter(_line_name(split[1]) for node_id in ids if (split := split_node_id(node_id, self._cells)))
        self._lines = {
            name: Line(totals[name], kernels[cell.kernel, cell.arch])
            for cell in cells
            if totals[name := _line_name(cell)]
        }
        if self._console.is_terminal and not self._is_quiet:
            self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=8)
            self._live.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Start a kernel's clock with its first test."""
        if (line := self._line(nodeid)) is not None and line.started_s is None:
            line.started_s = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a verdict."""
        line = self._line(report.nodeid)
        if line is None:
            return
        if (update := getattr(report, KERNEL_UPDATE, None)) is not None:
            line.note = str(update.get("error") or update.get("release") or "").split("\n", 1)[0]
            if release := update.get("release"):
                line.kernel = msgspec.structs.replace(line.kernel, release=release)
        if (row := getattr(report, ROW, None)) is not None:
            if (state := row.get("state")) is None:
                line.counts[Status(row["status"])] += 1
            else:
                line.observed[state] += 1
            line.seconds = time.monotonic() - (line.started_s or time.monotonic())
            if line.done == line.total and self._live is None and not self._is_quiet:
                name = next(name for name, other in self._lines.items() if other is line)
                self._console.print(
                    f"{name}: {line.done}/{line.total} {_counts(line).plain} in {line.seconds:.1f} s", style=None
                )

    def _line(self, node_id: str) -> Line | None:
        split = split_node_id(node_id, self._cells)
        return self._lines.get(_line_name(split[1])) if split else None

    def _table(self) -> Group:
        """A line per kernel, in the order of the table that comes at the end."""
        width = self._console.width
        lines = sorted(self._lines.items(), key=lambda item: kernel_order(item[1].kernel))
        name_width = min(max(len(name) for name in self._lines), width // _NAME_SHARE)
        done_width = max(2 * len(str(line.total)) + 1 for line in self._lines.values())
        return Group(*(self._drawn(name, line, width, name_width, done_width) for name, line in lines))

    def _drawn(self, name: str, line: Line, width: int, name_width: int, done_width: int) -> Text:
        """One line. Each part has its width whatever stands in another: a bar that shrinks tells of a step back."""
        bar, done = bar_width(width), min(line.done, line.total)
        filled = bar * done // line.total
        is_done = line.done >= line.total
        seconds = line.seconds if is_done else time.monotonic() - (line.started_s or time.monotonic())
        said = _counts(line) if line.done else Text(self._state(name, line), style="dim")
        if line.note:
            said = said + Text(f"{' ' * _GAP}{line.note}", style="dim")
        parts = (
            (Text(name, style="bold"), name_width),
            (Text("━" * filled, style="green") + Text("━" * (bar - filled), style="dim"), bar),
            (Text(f"{done}/{line.total}".rjust(done_width)), done_width),
            (Text(f"{seconds:.1f} s".rjust(_SECONDS_WIDTH) if line.started_s else ""), _SECONDS_WIDTH),
        )
        drawn = Text(no_wrap=True, overflow="ellipsis")
        for text, own_width in parts:
            text.truncate(own_width, overflow="ellipsis", pad=True)
            drawn = drawn + text + Text(" " * _GAP)
        drawn = drawn + said
        drawn.truncate(width, overflow="ellipsis")
        return drawn

    def _state(self, name: str, line: Line) -> str:
        """What a kernel without a verdict is about."""
        plan = self._config.pluginmanager.get_plugin("uring-matrix-session").plan  # type: ignore[union-attr]
        if any(plan.is_fetching(cell) for cell in self._cells.values() if _line_name(cell) == name):
            return "being fetched"
        return "booting" if line.started_s else "waiting"

    def finish(self) -> None:
        """Leave the last state on the terminal."""
        if self._live is not None:
            live, self._live = self._live, None
            with contextlib.suppress(KeyboardInterrupt):
                live.stop()


def _line_name(cell: Cell) -> str:
    return cell.kernel if cell.is_native else f"{cell.kernel} {cell.arch}"


def _counts(line: Line) -> Text:
    tests = Text(", ").join(
        Text(f"{line.counts[status]} {status}", style=_STYLES[status]) for status in Status if line.counts[status]
    )
    if not line.observed:
        return tests
    # What works and what is known are two figures, and never one.
    capabilities = Text(f"{line.observed[State.HAS]} of {line.observed.total()} capabilities")
    return Text("; ").join((tests, capabilities)) if line.counts else capabilities
