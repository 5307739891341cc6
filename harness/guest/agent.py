"""The resident pytest session of a guest: collects once, then has the items the host asks for run, list by list.

Tests run in a process of their own, forked when the session has been collected: whatever a test does to its process,
the agent is there to say so, and has another one for the next test. One process runs test after test for as long as
each leaves it as it was (`harness.guest.item_loop`).

From the host: ``run`` {items, next, cell}, the items' places in what was collected, that of the one behind them, and
the cell's among the session's, or {items, observer, singly, cell}, what is to be observed, by which function, and
whether each is told of by itself; and ``finish``. What is empty is left out: a serial port costs by the byte. To the
host: ``collected`` {items, errors, features}; when a list begins, and later where there is something to say,
``started`` {between, notes} of the next item; then for each item, in order, one of ``done`` {item, passed, reports,
observed, dmesg, notes, leftovers, taint, warnings, stop, is_spoiled, is_last}, ``died``, ``quit`` and ``overdue``
{item, reports, how, dmesg, notes, output, stacks, leftovers, is_spoiled}: its process was killed, ended itself, or had
to be ended. ``done`` {observed} is about several at once. The item of the first result that is missing is the one that
runs. After one of the latter three, and where ``is_last`` says so, the rest of the list is not run: the host may have
had enough. Reports are in pytest's own serialized form. Those that are no good come at once, in ``reports`` {reports}:
whatever happens next, they are known.
"""

import builtins
import ctypes
import importlib
import os
import select
import signal
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from harness import cells, fixtures
from harness.facts import FactsPlugin
from harness.guest import leak_check
from harness.guest.host_clock import Deadline
from harness.guest.item_loop import Port, is_good
from harness.guest.kmsg import KernelLog
from harness.guest.runner import Runner
from harness.guest.wire import WireError, out_of_reach
from harness.suites import facts_of_kernel

_PR_SET_CHILD_SUBREAPER = 36
# How long a process that shall end may take, in the guest's own seconds.
_END_TIMEOUT_S = 5.0
_THREADS_END_S = 0.2
_OUTPUT_SIZE_MAX = 20_000


def main(port: Port, argument: dict[str, Any]) -> None:
    """Run the session. Called by PID 1 in a child process.

    Args:
        port: the channel.
        argument: what `harness.payload` makes of the host's invocation; ``files`` that items are wanted from and
            ``cells`` as JSON; ``soft_timeout_s`` after which a test is overdue, by the guest's clock.
    """
    os.environ.update(argument["environment"], URING_MATRIX_GUEST="1")
    words = _prepare(argument)
    pytest.main(words, plugins=[Agent(port, argument, Path(words[words.index("--rootdir") + 1])), *_plugins(argument)])
    port.send({"type": "finished"})


def precompile(argument: dict[str, Any]) -> None:
    """Collect and run nothing, so that pytest leaves the rewritten bytecode of every test module behind.

    What cannot be collected here is no matter: the guest says so when it fails there, too. But then the bytecode is not
    all that there could be, which the exit status says.
    """
    words = [*_prepare(argument), "--collect-only", "-p", "no:cacheprovider"]  # nothing is left on this machine
    code = pytest.main(words, plugins=[HostSettings(argument), *_plugins(argument)])
    if code not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        sys.exit(f"not everything could be collected: {code!r}")


def _plugins(argument: dict[str, Any]) -> list[Any]:
    return [fixtures, FactsPlugin(), *(importlib.import_module(name) for name in argument["plugins"])]


def _prepare(argument: dict[str, Any]) -> list[str]:
    """Make this process like the host's in which pytest was started; return pytest's command line."""
    root = Path.cwd()
    search_path = [str(root / name) for name in argument["search_path"]]
    # Our own packages lie there as well, and are found last: a module of the tests' may be called like one of Python's.
    sys.path[:] = [*search_path, *(entry for entry in sys.path if entry not in {"", str(root)}), str(root)]
    sys.warnoptions[:] = argument["warning_options"]
    for option in argument["warning_options"]:
        action, _, category = (*option.split(":"), "", "")[:3]
        warnings.simplefilter(cast(Any, action), getattr(builtins, category or "Warning", Warning))
    os.chdir(root / argument["directory"] if argument["directory"] is not None else "/")
    configuration = argument["configuration"]
    return [
        *(("-c", str(root / configuration)) if configuration is not None else ()),
        *("--rootdir", str(root), "--confcutdir", str(root / argument["confcutdir"])),
        *argument["options"],
        *(str(root / path) for path in argument["paths"]),
    ]


class HostSettings:
    """Makes the settings known that the configuration file has for plugins of the host: they have no effect here."""

    def __init__(self, argument: dict[str, Any]) -> None:
        self._names = argument["host_settings"]

    def pytest_addoption(self, parser: pytest.Parser) -> None:
        """Add them."""
        for name in self._names:
            parser.addini(name, "a setting of a plugin of the host")


class SilentTerminal:
    """In place of the terminal reporter, for plugins that ask for it: nobody sees this terminal."""

    def __init__(self, reporter: Any) -> None:
        self._reporter = reporter

    def __getattr__(self, name: str) -> Any:
        if name.startswith("pytest_"):  # else it would report after all
            raise AttributeError(name)
        return getattr(self._reporter, name)


class Agent(HostSettings):
    """The plugin that makes pytest a server."""

    def __init__(self, port: Port, argument: dict[str, Any], root: Path) -> None:
        super().__init__(argument)
        self._port = port
        self._cells = [cells.Cell.from_json(cell) for cell in argument["cells"]]
        self._kernel_facts = argument["kernel_facts"]
        self._host_arguments = tuple(argument["host_arguments"])
        files = [root / path for path in argument["files"]]
        self._wanted = {place for file in files for place in (file, *file.parents)}
        self._soft_timeout_s = argument["soft_timeout_s"]
        self._errors: list[dict[str, str]] = []
        self._log = KernelLog(is_guest=leak_check.is_guest())
        self._runner: Runner | None = None
        # What it and the guest were like before the tests whose shared fixtures are still in use.
        self._baseline: leak_check.State | None = None
        # What it and the guest were like when the last test was over and had left nothing.
        self._state: leak_check.State | None = None
        # Of the test that is running: reports that the host does not have yet.
        self._reports: list[dict[str, Any]] = []
        # What happened to the runner before the test, and the host was not told yet.
        self._notes: list[str] = []
        # Whether each of them was good.
        self._is_good = True
        # The console as it was before pytest captures.
        self._console = out_of_reach(os.dup(sys.stderr.fileno()))

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Silence the terminal; let tests see the command line that the host was given."""
        config.invocation_params = type(config.invocation_params)(
            args=self._host_arguments, plugins=None, dir=Path.cwd()
        )
        reporter = config.pluginmanager.unregister(name="terminalreporter")
        if reporter is not None:
            config.pluginmanager.register(SilentTerminal(reporter), "terminalreporter")

    @pytest.hookimpl(tryfirst=True)
    def pytest_ignore_collect(self, collection_path: Path) -> bool:
        """Look at the files of the items that may be asked for, and at folders on the way: the host chose them."""
        return collection_path not in self._wanted

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep what could not be collected: the host has those items, and is owed an explanation."""
        if report.failed:
            self._errors.append({"path": report.nodeid, "text": str(report.longrepr)})
        elif report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self._errors.append({"path": report.nodeid, "skipped": reason.removeprefix("Skipped: ")})

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Serve the host until it has had enough."""
        _protect()
        items = cells.distinct([item.nodeid for item in session.items])
        self._send("collected", items=items, errors=self._errors, features=facts_of_kernel(self._kernel_facts))
        while True:
            message = self._port.receive()
            if message["type"] != "run":
                return True
            cell = self._cells[message["cell"]]
            if cell != session.config.stash.get(cells.CURRENT, cell):
                self._end_runner()  # another mode's tests find nothing of what this one's left in their process
            session.config.stash[cells.CURRENT] = cell
            self._run(session, message)

    def _run(self, session: pytest.Session, wanted: dict[str, Any]) -> None:
        """Have a list of items run, and say how that went."""
        places, is_told, unbegun_count = wanted["items"], False, 0
        is_observed = "observer" in wanted
        while places:
            runner, before = self._ready(session)
            name = places[0] if is_observed else session.items[places[0]].nodeid
            between, notes = self._log.begin(name), self._take_notes()
            if not is_told or between or notes:
                self._send("started", between=between, notes=notes)
                is_told = True
            self._reports, self._is_good = [], True
            (kind, how), message = self._watch(runner, {**wanted, "items": places})
            if is_observed:
                self._tell_observed(runner)
            is_between, done_count = runner.progress.is_between_items, runner.progress.done_count
            before = replace(before, available_kib=before.available_kib - runner.progress.lost_kib)
            places = places[done_count:]
            if message is not None and message["type"] == "through":
                self._keep_state(message, before)
                return
            if message is None and is_between and (done_count or unbegun_count == 0):
                # It ended before it took the next test, which is not to blame for that, and is run by another process.
                unbegun_count = 0 if done_count else 1
                self._give_up(runner.wait(_END_TIMEOUT_S))
                continue
            unbegun_count = 0
            name = places[0] if is_observed else session.items[places[0]].nodeid
            if message is None:
                words = self._last_words(runner, name, session, before)
                self._send(kind, item=places[0], reports=self._reports, how=how, notes=self._take_notes(), **words)
                return
            if not self._conclude(runner, name, message, before, place=places[0]):
                return
            places = places[1:]

    def _tell_observed(self, runner: Runner) -> None:
        """Tell the host what was found and not told before whoever observed it ended, or was late with the next."""
        if found := runner.progress.take_observed():
            self._send("done", observed=found)

    def _keep_state(self, message: dict[str, Any], before: leak_check.State) -> None:
        """What things are like when a list is through, all of whose items have left nothing."""
        self._baseline, self._state = (None, before) if message["is_settled"] else (self._baseline or before, None)

    def _conclude(
        self, runner: Runner, name: str, message: dict[str, Any], before: leak_check.State, *, place: int | str
    ) -> bool:
        """Look closely at what a test left, and tell the host of it.

        Returns:
            Whether the rest of the list is to be run: nothing came up that the host might want to stop at.
        """
        leftovers: list[str] = []
        found, is_empty = leak_check.Leftovers(), True
        before = self._baseline or before
        self._baseline = None if message["is_settled"] else before
        if message["is_settled"]:
            leftovers, is_empty = leak_check.end_processes((os.getpid(), runner.process), (runner.process,))
            after = _state(runner)
            deadline_s = time.monotonic() + _THREADS_END_S
            while after and after.thread_count > before.thread_count and time.monotonic() < deadline_s:
                time.sleep(0.01)  # one that was joined takes a moment to be gone
                after = _state(runner)
            if after is None:
                leftovers.append(f"the process that runs the tests ended when the test was over: {_how(runner.poll())}")
            else:
                found = leak_check.compare(before, after)
                leftovers += found.leftovers
                leak_check.mend(before, after)
            leftovers += message["timers"]
            self._state = after
            if leftovers:
                self._end_runner()
            if message["observed"]:
                leftovers = [f"{one}: by any of those that were observed together" for one in leftovers]
        is_spoiled = found.is_machine_changed or not is_empty
        goes_on = self._is_good and not (leftovers or message["stop"] or is_spoiled)
        self._send(
            "done",
            item=place,
            reports=self._reports,
            dmesg=self._log.end(name),
            notes=self._take_notes(),
            leftovers=leftovers,
            taint=found.taint,
            warnings=message["warnings"],
            stop=message["stop"],
            observed=message["observed"],
            is_spoiled=is_spoiled,
            is_last=not goes_on,
        )
        return goes_on

    def _give_up(self, status: int | None) -> None:
        """Note that the tests' process ended when none of them ran."""
        self._notes.append(f"the process that runs the tests ended between two tests: {_how(status)}")
        self._end_runner()

    def _take_notes(self) -> list[str]:
        notes, self._notes = self._notes, []
        return notes

    def _send(self, kind: str, **said: Any) -> None:
        self._port.send({"type": kind, **{name: value for name, value in said.items() if value or name == "item"}})

    def _ready(self, session: pytest.Session) -> tuple[Runner, leak_check.State]:
        """The process for the next test, the last one's if it is still there; and what it and the guest look like."""
        while True:
            if self._runner is None:
                self._runner = Runner.fork(session, self._cells, self._port, self._console)
            state, self._state = self._state or _state(self._runner), None
            if state is not None and self._runner.poll() is None:
                return self._runner, state
            self._give_up(self._runner.poll())

    def _watch(self, runner: Runner, wanted: dict[str, Any]) -> tuple[tuple[str, str], dict[str, Any] | None]:
        """Pass reports on until a test is this side's to conclude, or the list is through, or the process has ended.

        Returns:
            The type of the message that the host is owed and how it came to that; and the runner's last message, None
            if there is none.
        """
        runner.progress.start()
        poll = select.poll()
        for descriptor in (runner.wire.descriptor, runner.end_descriptor, self._log.descriptor):
            if descriptor >= 0:
                poll.register(descriptor, select.POLLIN)
        try:
            runner.wire.send(wanted)
            deadline, begun_count = self._deadline(runner), 0
            while True:
                ready = dict(poll.poll(deadline.left_s * 1000 if runner.end_descriptor >= 0 else 100))
                if begun_count != runner.progress.begun_count:
                    deadline, begun_count = self._deadline(runner), runner.progress.begun_count
                if self._log.descriptor in ready:
                    self._log.collect()
                is_over = runner.poll() is not None
                if runner.wire.descriptor in ready and not runner.wire.feed():
                    return _ended(runner.wait(_END_TIMEOUT_S)), None
                while (message := runner.wire.next()) is not None:
                    if message["type"] != "report":
                        return (message["type"], ""), message
                    self._keep(message["data"])
                if is_over and runner.wire.descriptor not in ready:
                    return _ended(runner.poll()), None
                if runner.wire.descriptor not in ready and deadline.has_passed(runner.process):
                    break
        except WireError as error:
            return ("died", f"the test wrote to the agent's own descriptor: {error}"), None
        except OSError as error:
            return ("died", f"the process that runs the tests cannot be reached: {error}"), None
        return ("overdue", f"the test did not end within {self._soft_timeout_s:g} s of the guest's time"), None

    def _deadline(self, runner: Runner) -> Deadline:
        """The time that the test which runs has."""
        return Deadline(self._soft_timeout_s, runner.progress.started_s)

    def _keep(self, report: dict[str, Any]) -> None:
        """Take in a report; what must not get lost goes to the host at once."""
        self._reports.append(report)
        if not is_good(report):
            self._is_good = False
        if report["outcome"] != "passed":
            self._send("reports", reports=self._reports)
            self._reports = []

    def _last_words(
        self, runner: Runner, item: str, session: pytest.Session, before: leak_check.State
    ) -> dict[str, Any]:
        """Take down what is known of a test that did not end, and end its process."""
        stacks: list[str] = []
        if runner.poll() is None:
            stacks = leak_check.stacks(runner.process)
            runner.ask_for_stacks()
            _trigger("w")  # blocked tasks
        stacks += runner.stacks()
        os.write(self._console, "".join(f"{line}\n" for line in stacks).encode(errors="replace"))
        process = runner.process
        self._reports += [one for one in runner.progress.reports() if "outcome" in one]
        self._end_runner()
        leftovers, is_empty = leak_check.end_processes((os.getpid(), process), ())
        after = leak_check.take(os.getpid())
        leak_check.mend(before, after)
        changed = leak_check.compare_machine(before, leak_check.take(os.getpid()))
        return {
            "dmesg": self._log.end(item),
            "stacks": _readable(stacks),
            "leftovers": [*leftovers, *changed],
            "is_spoiled": bool(changed) or not is_empty or before.tainted != after.tainted,
            "output": _captured(session),
        }

    def _end_runner(self) -> None:
        if self._runner is not None:
            self._runner.kill(_END_TIMEOUT_S)
            self._runner = self._baseline = self._state = None


def _protect() -> None:
    """Let the kernel end tests, not us, when memory runs out; and give us the orphans of tests."""
    if leak_check.is_guest():
        Path("/proc/self/oom_score_adj").write_text("-999", encoding="ascii")
        # What a test's process says is taken in when it pauses: switching processes is what emulation is slowest at.
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER")


def _state(runner: Runner) -> leak_check.State | None:
    """What the tests' process is like; None when it is not there any more."""
    try:
        state = leak_check.take(runner.process)
    except OSError:
        return None
    return state if runner.poll() is None else None


def _readable(stacks: list[str]) -> list[str]:
    """Leave out how pytest came to call the test: it is always the same, and long."""
    lines, is_ours = [], True
    for line in stacks:
        is_ours = not line.startswith("  File ") or (is_ours and "/_pytest/" not in line)
        if is_ours:
            lines.append(line)
    return lines


def _ended(status: int | None) -> tuple[str, str]:
    """The message that the host is owed for a process that ended, by its wait status: `quit` is its own doing."""
    if status is None:
        return "died", "the process that runs the tests closed its line to the agent, and was ended"
    kind = "quit" if os.WIFEXITED(status) else "died"
    return kind, f"the process that runs the tests ended in the guest: {_how(status)}"


def _how(status: int | None) -> str:
    """Word a wait status."""
    if status is None:
        return "in an unknown way"
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _trigger(key: str) -> None:
    """Have the kernel print what this key of SysRq stands for."""
    if not leak_check.is_guest():
        return
    try:
        Path("/proc/sysrq-trigger").write_text(key, encoding="ascii")
    except OSError as error:
        print(f"agent: no SysRq {key}: {error}", file=sys.__stderr__)


def _captured(session: pytest.Session) -> str:
    """What a test printed before its process ended: pytest's captures outlive it."""
    capture = session.config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        return ""
    text = "".join(capture.read_global_capture())
    return text if len(text) <= _OUTPUT_SIZE_MAX else f"{text[:_OUTPUT_SIZE_MAX]}… ({len(text)} characters)"
