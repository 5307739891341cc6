"""Runs items in guests: boots the kernel an item is for, hands items over in lists, starts anew after a crash."""

import itertools
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness import guest_console, passed
from harness.cells import Cell, console_mark
from harness.deadlines import Deadlines, Pace
from harness.debugger import how_to_attach
from harness.facts import phase_of, phases_of_observation
from harness.guest_console import Since
from harness.guest_errors import AgentExitedError, LostError, NotCollectedError, SkippedError, unexpected
from harness.guest_packages import advice
from harness.verdict import Facts, GuestEnd
from vm.cache import Cache
from vm.channel import ChannelClosedError, ChannelCorruptError, ChannelError, ChannelTimeoutError
from vm.errors import BootError, VmError
from vm.machine import Guest, MachineConfig, kernel_command_line
from vm.progress import SilentProgress
from vm.snapshots import Beginning, Snapshots

ENTRY = "harness.guest.agent:main"
# How long a guest that does not answer may take to print where all its tasks are.
_BACKTRACES_S, _BACKTRACES_MAX_S = 40.0, 120.0
_BOOT_TRIES = 2
# How often a guest may be gone before it began with a test, until that is the machine's fault.
_START_TRIES = 3
# What QEMU says when gdb was told to kill what it debugs.
_DEBUGGERS_END = "Terminated via GDBstub"
# Of a report of pytest's own.
_OUTCOMES = frozenset({"passed", "failed", "skipped"})
# How a test can end the process it runs in, by the agent's word for it.
_ENDED = frozenset({"died", "quit", "overdue"})


@dataclass(frozen=True, slots=True)
class Column:
    """Everything needed to run one kernel's items."""

    machine: MachineConfig
    # `paths`, `ini`, `cells`, `options` for the agent.
    session: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PendingOutcome:
    """What came of a kernel that was still being fetched when the session began."""

    # For its record in the results.
    update: Mapping[str, Any]
    # None when it cannot be had.
    column: Column | None = None
    why_not: str = ""


@dataclass(slots=True)
class Attempt:
    """What one try at an item gave."""

    facts: Facts
    # pytest's serialized reports, in order.
    reports: list[dict[str, Any]]
    # When it began, by this machine's clock: an emulated guest's runs at its own pace.
    started_s: float
    # News about the kernel since the last item, for `kernels[]` of the results.
    kernel: dict[str, Any] | None = None
    # What the test had printed when its process ended without a report.
    output: str = ""
    # Python's warnings, as `harness.guest.runner` writes them down.
    warnings: list[dict[str, Any]] = field(default_factory=list)
    # Why the session is to stop, if the test asked for that.
    stop: str = ""


def run_is_over(run_s: float | None) -> GuestEnd:
    """Why a test was not begun: the whole run was to take so many seconds."""
    return GuestEnd("no-boot", f"the run's {run_s:g} s were over before this test's turn")


class Guests:
    """The guest of the column in hand. One at a time: a worker has one processor's worth of work.

    Args:
        columns: by kernel id and architecture.
        directory: where consoles are kept.
        unavailable: columns whose kernel could not be had, and why.
        await_kernel: waits for a column that is in neither of them, at most until then by the monotonic clock.
        snapshots: the cache of guests that were booted before; None to boot each.
        test_s: seconds that a test may take, instead of the usual.
        is_isolated: whether each test gets a guest of its own.
        run_s: seconds until no further test is begun.
        begun_s: when they began, by the monotonic clock; now, if nothing else ran before.
        tell_debugger: says a line to somebody who has a debugger, for which each guest waits; None if there is none.
    """

    def __init__(
        self,
        columns: Mapping[tuple[str, str], Column],
        directory: Path,
        unavailable: Mapping[tuple[str, str], str],
        snapshots: Path | None = None,
        *,
        await_kernel: Callable[[tuple[str, str], float | None], PendingOutcome] | None = None,
        test_s: float | None = None,
        is_isolated: bool = False,
        run_s: float | None = None,
        begun_s: float | None = None,
        tell_debugger: Callable[[str], None] | None = None,
    ) -> None:
        self._columns = dict(columns)
        self._await_kernel = await_kernel
        self._directory = directory
        self._deadlines = Deadlines.of_test(test_s) if tell_debugger is None else Deadlines.suspended()
        self._tell_debugger = tell_debugger
        self._is_isolated = is_isolated
        self._run_s = run_s
        self._ends_s = None if run_s is None else (begun_s or time.monotonic()) + run_s
        self._pace = Pace()
        self._current: tuple[str, str] | None = None
        self._guest: Guest | None = None
        # Item to its place in what the guest collected.
        self._known: Mapping[str, int] = {}
        self._collect_errors: list[dict[str, str]] = []
        self._boot_count = 0
        # The item that ran last in this column, and in this very guest.
        self._previous = ""
        self._previous_here = ""
        # What this guest runs by itself behind the item in hand, in this order, and in which cell.
        self._handed_over: deque[str] = deque()
        self._handed_cell: Cell | None = None
        # What it told of items of that list before their turn came here.
        self._told: deque[dict[str, Any]] = deque()
        # Whether it tells of several of them at once; and how it was lost when it did, until one is found to blame.
        self._is_together = False
        self._unblamed: GuestEnd | None = None
        # How much the console had when they were handed over.
        self._console_size = 0
        # Of the item in hand: what the kernel said since the one before.
        self._between: Sequence[str] = ()
        # When the first test of this column began of which is not told yet what they took.
        self._tests_since_s: float | None = None
        # Kernels that cannot be booted, and why: nobody waits for them twice.
        self._dead = {key: GuestEnd("no-boot", why) for key, why in unavailable.items()}
        self._update: dict[str, Any] | None = None
        self._notes = _Notes()
        self._snapshots = Snapshots(Cache(snapshots, self._notes), self._notes) if snapshots is not None else None

    @property
    def _limits(self) -> Deadlines:
        is_debugged = self._tell_debugger is not None
        return self._deadlines if is_debugged else self._deadlines.scaled(self._pace.factor)

    def run(
        self,
        cell: Cell,
        item: str,
        following: str | None,
        upcoming: Callable[[], Sequence[str | None]] = tuple,
        *,
        observer: str | None = None,
    ) -> Attempt:
        """Run one item in its kernel, once; or take in what came of it, if the guest had it on its list.

        Args:
            cell: the item's.
            item: its id in the guest.
            following: the id of the next item of the same column, None at the end: fixtures that several tests share
                are taken down when none of them follows.
            upcoming: gives the ids of all items of the column that will be asked for from now on, as far as that is
                certain, `following` first, and None behind the column's last: the guest is given all but the last one
                at once, and goes on by itself as long as nothing comes up. Empty: that is not certain.
            observer: what the guest has it observed with (`harness.suites.Observation.observe`), if it is no test.
        """
        key = (cell.kernel, cell.arch)
        is_over = self._ends_s is not None and time.monotonic() > self._ends_s
        if self._await_kernel is not None and not is_over and key not in self._columns and key not in self._dead:
            self._take_pending(key, self._await_kernel(key, self._ends_s))
            is_over = self._ends_s is not None and time.monotonic() > self._ends_s
        if is_over:
            self._dead[key] = run_is_over(self._run_s)
            self.close()
        if key in self._dead:
            update, self._update = self._update, None
            return Attempt(Facts(guest_end=self._dead[key]), [], time.time(), update)
        attempt = Attempt(Facts(), [], time.time())
        try:
            self._between = ()
            guest = self._next_on_the_list(cell, item) or self._begin(cell, item, following, upcoming, observer)
            attempt.started_s = time.time()
            self._tests_since_s = self._tests_since_s or time.monotonic()
            rest = [*self._handed_over, None]
            facts = self._follow(guest, cell, item, attempt)
            if self._is_together and facts.guest_end is not None and facts.guest_end.how not in _ENDED:
                # Which of those it was that the guest did not tell of yet, asking for one at a time will show.
                self._unblamed = facts.guest_end.behind(item)
                self._note(key, f"{self._unblamed.message}; the rest was observed singly")
                guest = self._begin(cell, item, following, lambda: rest, observer, is_singly=True)
                facts = self._follow(guest, cell, item, attempt)
            if self._unblamed is not None and (facts.guest_end is not None or not self._handed_over):
                # If nobody does it again, the last one has to stand for all: no crash passes.
                facts, self._unblamed = replace(facts, guest_end=facts.guest_end or self._unblamed), None
            attempt.facts = replace(facts, between=self._between, previous=self._previous_here)
        except SkippedError as error:
            attempt.facts = Facts(guest_end=GuestEnd("skipped", str(error)))
        except NotCollectedError as error:
            attempt.facts = Facts(guest_end=GuestEnd("not-collected", str(error)))
        except LostError as error:
            attempt.facts = Facts(guest_end=GuestEnd("lost", str(error)))
        except BootError as error:
            sentence, newline, console = str(error).partition("\n")
            why = f"{sentence}{self._suspicion(key)}{newline}{console}"
            attempt.facts = Facts(guest_end=self._dead.setdefault(key, GuestEnd("no-boot", why)))
        self._previous = self._previous_here = item
        if self._is_isolated and not self._handed_over:
            self.close()
        if following is None and self._tests_since_s is not None:
            now_s = time.monotonic()
            self._update_phases(key, tests=now_s - self._tests_since_s)
            self._tests_since_s = now_s  # what comes behind another mode's is told then
        attempt.kernel, self._update = self._update, None
        return attempt

    def _take_pending(self, key: tuple[str, str], outcome: PendingOutcome) -> None:
        """Have a kernel that was fetched meanwhile, or know that it cannot be had."""
        self._update_kernel(key, **outcome.update)
        if outcome.column is not None:
            self._columns[key] = outcome.column
        else:
            self._dead[key] = GuestEnd("no-boot", outcome.why_not)

    def _next_on_the_list(self, cell: Cell, item: str) -> Guest | None:
        """The guest that has an item on its list and has come to it; None if it has yet to be handed over."""
        if not self._handed_over:
            return None
        if self._handed_cell == cell and self._handed_over[0] == item:
            self._handed_over.popleft()
            return self._guest
        # Whoever arranges tests thought better of it: what a guest is at now nobody asked for.
        self.close()
        return None

    def _begin(
        self,
        cell: Cell,
        item: str,
        following: str | None,
        upcoming: Callable[[], Sequence[str | None]],
        observer: str | None,
        *,
        is_singly: bool = False,
    ) -> Guest:
        """Hand an item over, and what comes behind it.

        What befalls a guest before it says that it began is not the item's fault.

        Raises:
            LostError: that happened again and again.
        """
        key = (cell.kernel, cell.arch)
        # What is observed is apart from each other in any case: a list of it is isolated as one.
        *ahead, last = [None] if self._is_isolated and observer is None else upcoming() or [following]
        for attempt in range(1, _START_TRIES + 1):
            guest = self._ready(key, self._columns[key])
            if observer is None and item not in self._known:
                if (reason := self._why_skipped(item)) is not None:
                    raise SkippedError(reason)
                raise NotCollectedError(self._why_not_collected(item))
            try:
                if (stray := guest.channel.poll()) is not None:
                    raise unexpected(stray)
                modes = [one["mode"] for one in self._columns[key].session["cells"]]
                wanted: dict[str, Any]
                if observer is not None:
                    handed = [name for name in ahead if name is not None]
                    wanted = {"observer": observer, "items": [item, *handed], "singly": is_singly}
                else:
                    # One that the guest has not collected is asked for by itself, and it says why.
                    handed = [name for name in itertools.takewhile(self._known.__contains__, ahead) if name is not None]
                    behind = [*ahead, last][len(handed)]
                    wanted = {
                        "items": [self._known[name] for name in (item, *handed)],
                        "next": self._known.get(behind or ""),
                    }
                self._console_size = guest_console.size(guest)
                cell_place = modes.index(cell.mode)
                guest.channel.send({"type": "run", "cell": cell_place, **wanted}, self._limits.start_s)
                self._handed_over, self._handed_cell = deque(handed), cell
                self._is_together = observer is not None and not is_singly
                message = guest.channel.receive(self._limits.start_s)
                if message["type"] != "started":
                    raise unexpected(message)
            except ChannelError as error:
                end = self._lose(error, Since(0))
                if self._snapshots is not None and guest.is_restored and not self._previous_here:
                    self._snapshots.discard(guest.config)  # the next one owes nothing to the same snapshot
                after = f"after {self._previous}" if self._previous else "before its first test"
                sentence = "; ".join(part for part in (end.message, end.qemu) if part)
                self._note(key, f"the guest was lost {after} and before {item}: {sentence}. It was booted again")
                if attempt == _START_TRIES:
                    raise LostError(
                        f"{attempt} guests were lost before they began with the test: {sentence}"
                    ) from error
            else:
                self._note_all(key, item, message)
                return guest
        raise AssertionError

    def _follow(self, guest: Guest, cell: Cell, item: str, attempt: Attempt) -> Facts:
        """Take in what the guest says of the item it began with, until it is over."""
        key = (cell.kernel, cell.arch)
        since = Since(self._console_size, console_mark(item, cell.mode))
        phases: list[Mapping[str, Any]] = []
        test_s = self._limits.test_s
        deadline_s = time.monotonic() + test_s
        try:
            while True:
                message = self._receive(guest, max(deadline_s - time.monotonic(), 0.001))
                phases += _take_reports(message, attempt)
                if message["type"] == "reports":
                    continue
                if message["type"] == "started":  # after something had come up
                    self._note_all(key, item, message)
                    continue
                if message["type"] != "done" and message["type"] not in _ENDED:
                    raise unexpected(message)
                if message["item"] != self._known.get(item, item):
                    raise ChannelCorruptError(f"the guest tells of another test than {item}")
                if message.get("is_last") or message["type"] in _ENDED:
                    self._handed_over.clear()
                self._note_all(key, item, message)
                end = None
                if message["type"] in _ENDED:
                    attempt.output = message.get("output", "")
                    stacks = message.get("stacks", ())
                    end = GuestEnd(message["type"], message["how"], "", guest_console.own_part(guest, since), stacks)
                attempt.warnings = message.get("warnings", [])
                attempt.stop = message.get("stop", "")
                if message.get("is_spoiled"):
                    self.close()
                return Facts(
                    phases,
                    end is None,
                    end,
                    message.get("dmesg", ()),
                    leftovers=message.get("leftovers", ()),
                    taint=message.get("taint", ""),
                )
        except ChannelTimeoutError:
            return Facts(
                phases,
                False,
                self._lose(
                    ChannelTimeoutError(f"no verdict within {self._said(test_s)}; the guest was ended"),
                    since,
                ),
            )
        except ChannelError as error:
            return Facts(phases, False, self._lose(error, since))

    def _receive(self, guest: Guest, timeout_s: float) -> dict[str, Any]:
        """What the guest tells next; of things that were observed it tells together."""
        if not self._told:
            message = guest.channel.receive(timeout_s)
            if message["type"] == "done" and "item" not in message:
                self._told += [{"type": "done", "item": one["item"], "observed": [one]} for one in message["observed"]]
            else:
                self._told.append(message)
        return self._told.popleft()

    def _suspicion(self, key: tuple[str, str]) -> str:
        """What somebody asked for that may be why a guest does not come up."""
        column = self._columns.get(key)
        if column is None or not column.machine.parameters:
            return ""
        return f" (it was started with {' '.join(column.machine.parameters)}, which may be why)"

    def _said(self, test_s: float) -> str:
        usual_s = self._deadlines.test_s
        return f"{round(test_s, 1):g} s" + (
            f" ({usual_s:g} s on an ordinary machine; this one is slower)" if test_s > usual_s else ""
        )

    def close(self) -> None:
        """End the guest in hand."""
        self._handed_over.clear()
        self._told.clear()
        if self._guest is not None:
            self._guest.kill()
            self._guest = None

    def _note_all(self, key: tuple[str, str], item: str, message: Mapping[str, Any]) -> None:
        """Keep what the agent says of the time before the item."""
        self._between = message.get("between", self._between)
        for note in message.get("notes", ()):
            self._note(key, f"before {item}: {note}")

    def _note(self, key: tuple[str, str], sentence: str) -> None:
        """Keep a sentence about the kernel's guests for the results."""
        self._update = self._update or {"id": key[0]}
        self._update["notes"] = (*self._update.get("notes", ()), sentence)

    def _ready(self, key: tuple[str, str], column: Column) -> Guest:
        """The guest of this column, booted and with its items collected."""
        if self._guest is not None and self._current == key:
            return self._guest
        self.close()
        if self._current != key:
            self._current, self._previous, self._tests_since_s = key, "", None
        # Somebody who watches a boot fail has seen it, and does not attach to another one unasked.
        tries = _BOOT_TRIES if self._tell_debugger is None else 1
        for attempt in range(1, tries + 1):
            try:
                self._guest = self._boot(key, column)
            except (BootError, ChannelError) as error:
                sentence = self._how_boot_ended(error)
                self.close()
                if self._snapshots is not None:  # whatever was wrong, the next guest owes nothing to an earlier one
                    self._snapshots.discard(column.machine)
                if attempt == tries:
                    self._update_kernel(key, booted=False, error=sentence)
                    raise BootError(sentence) from error
                self._note(key, f"a boot failed and was tried again: {sentence.splitlines()[0]}")
                # Should that have been the unpacked kernel's fault, no guest of this column starts from it any more.
                column = self._columns[key] = replace(column, machine=column.machine.from_image())
            else:
                return self._guest
        raise AssertionError

    def _how_boot_ended(self, error: VmError) -> str:
        """Why there is no guest: also one that was lost when it had booted and was collecting owes an account."""
        guest = self._guest
        if guest is None or isinstance(error, BootError):
            return str(error)
        if isinstance(error, ChannelClosedError):
            guest.await_end()
        tail = guest.console_tail() or "(nothing was printed)"
        reason = "\n".join(
            [f"{error}: {traceback[-1]}", *traceback] if (traceback := guest.traceback()) else [str(error)]
        )
        return f"{reason}\n{guest.how_qemu_ended()}\nthe console's end ({guest.console}):\n{tail}"

    def _update_kernel(self, key: tuple[str, str], **facts: Any) -> None:
        """Keep update about the kernel for the results, beside its notes."""
        self._update = {**(self._update or {}), "id": key[0], **facts}

    def _update_phases(self, key: tuple[str, str], **seconds: float) -> None:
        """Keep what parts of the kernel's work took."""
        known = (self._update or {}).get("phases", {})
        self._update_kernel(key, phases={**known, **{name: round(value, 3) for name, value in seconds.items()}})

    def _boot(self, key: tuple[str, str], column: Column) -> Guest:
        self._boot_count += 1
        self._previous_here = ""
        directory = Path(
            tempfile.mkdtemp(prefix=f"{'-'.join(key).replace('/', '_')}-{self._boot_count}-", dir=self._directory)
        )
        session = {**column.session, "soft_timeout_s": self._deadlines.soft_s}
        # Of a guest that was restored behind its collecting there are none.
        phases: dict[str, float] = {}

        def collect(guest: Guest) -> dict[str, Any]:
            self._guest = guest
            if not guest.is_restored:
                self._pace.learn(guest.boot_seconds)
            started_s = time.monotonic()
            guest.start(ENTRY, session, timeout_s=self._limits.start_s)
            message = guest.channel.receive(self._limits.collect_s)
            if message["type"] != "collected":
                raise unexpected(message)
            phases["collect"] = time.monotonic() - started_s
            return message

        if self._snapshots is not None and self._tell_debugger is None:
            guest, message = self._snapshots.start(
                column.machine, directory, Beginning([ENTRY, session], collect), deadline_s=self._limits.boot_s
            )
        else:
            if self._tell_debugger is not None:
                tell, name = self._tell_debugger, key[0]
                guest = Guest.boot(
                    column.machine,
                    directory,
                    deadline_s=self._limits.boot_s,
                    on_start=lambda guest: tell(f"{name} waits for a debugger: {how_to_attach(guest)}"),
                )
            else:
                guest = Guest.boot(column.machine, directory, deadline_s=self._limits.boot_s)
            message = collect(guest)
        self._guest = guest
        if guest.is_restored:
            # It has not booted here. Its collecting, about a third of a boot, has to say how slow this machine is, or,
            # if there was none, its being restored, a tenth of one.
            self._pace.learn(3 * phases["collect"] if phases else 10 * guest.boot_seconds)
        self._known = {name: place for place, name in enumerate(message.get("items", ()))}
        self._collect_errors = message.get("errors", [])
        self._update_kernel(
            key,
            booted=True,
            error=None,
            release=guest.ready["release"],
            version=guest.ready["version"],
            boot_seconds=round(guest.boot_seconds, 3),
            cmdline=kernel_command_line(column.machine),
            boot_protocol=column.machine.boot_protocol,
            console=str(guest.console),
            features=message.get("features", {}),
            notes=(*(self._update or {}).get("notes", ()), *self._notes.take()),
        )
        name = "restore" if guest.is_restored else "boot"
        self._update_phases(key, **{name: guest.boot_seconds, **phases})
        return guest

    def _why_skipped(self, item: str) -> str | None:
        """Why the guest has no such item, if its file, or a folder of it, skipped itself there."""
        path = item.partition("::")[0]
        return next(
            (
                error["skipped"]
                for error in self._collect_errors
                if "skipped" in error and (path == error["path"] or path.startswith(f"{error['path']}/"))
            ),
            None,
        )

    def _why_not_collected(self, item: str) -> str:
        path = item.partition("::")[0]
        for error in self._collect_errors:
            if "text" in error and (path.startswith(error["path"]) or error["path"].startswith(path)):
                text = error["text"]
                last = text.strip().rpartition("\n")[2].removeprefix("E").strip()
                what = "; ".join(part for part in (last, advice(text)) if part)
                return f"{path} could not be collected in the guest: {what}\n{text}"
        unsent = self._columns[self._current].session.get("unsent_plugins") if self._current is not None else ()
        plugins = f", or on a plugin that was not sent ({', '.join(unsent)}: --guest-package)" if unsent else ""
        return f"the guest collected no {item}; does its parametrization depend on this machine{plugins}?"

    def _lose(self, error: ChannelError, since: Since) -> GuestEnd:
        """A guest that cannot be talked to any more: take down how it ended, and end it.

        Args:
            error: what the conversation ended with.
            since: where the console's part about the test begins.
        """
        guest = self._guest
        if guest is None:
            return GuestEnd("closed", str(error))
        stacks: list[str] = []
        if isinstance(error, ChannelTimeoutError):
            how = "timeout"
        elif isinstance(error, ChannelCorruptError):
            how = "corrupt"
        elif isinstance(error, AgentExitedError):
            how = "exited"
        else:
            how = "closed"
            guest.await_end()
        qemu, console = guest.how_qemu_ended(), guest_console.own_part(guest, since)
        if how in {"corrupt", "exited"} and guest.is_running():
            qemu = ""  # as it should
        if _DEBUGGERS_END in qemu:
            how, error = "lost", type(error)("the debugger ended the guest")
        if how == "timeout" and guest.is_running():
            stacks = guest_console.backtraces(guest, min(_BACKTRACES_S * self._pace.factor, _BACKTRACES_MAX_S))
        self.close()
        return GuestEnd(how, str(error), qemu, console, stacks)


def _take_reports(message: Mapping[str, Any], attempt: Attempt) -> list[Mapping[str, Any]]:
    """Take in the reports that a message brings; the phases that they are about."""
    phases: list[Mapping[str, Any]] = []
    for report in (*passed.reports(message.get("passed", ())), *message.get("reports", ())):
        attempt.reports.append(report)
        if report["outcome"] in _OUTCOMES:  # a plugin's own says nothing that the next report does not
            phases.append(phase_of(report))
    for observed in message.get("observed", ()):
        phases += phases_of_observation(observed)
    return phases


class _Notes(SilentProgress):
    """Puts lines on standard error, which is the controller's in a worker, too, and keeps them for the results."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def note(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)
        self._lines.append(line)

    def take(self) -> list[str]:
        """What was said since the last time."""
        lines, self._lines = self._lines, []
        return lines
