"""Runs items in guests: boots the kernel an item is for, hands items over one by one, starts anew after a crash."""

import os
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance.cells import Cell
from conformance.verdict import Facts, GuestEnd
from vm.channel import ChannelClosedError, ChannelCorruptError, ChannelError, ChannelTimeoutError
from vm.errors import BootError, VmError
from vm.machine import Guest, MachineConfig, kernel_command_line

ENTRY = "conformance.guest.agent:main"
# How long a dying QEMU may take to write its last lines.
_END_TIMEOUT_S = 5.0
_BOOT_TRIES = 2


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds to wait, generous: a deadline that strikes a slow machine is a wrong verdict."""

    boot_s: float = 120.0
    collect_s: float = 120.0
    test_s: float = 90.0
    soft_s: float = 45.0


@dataclass(frozen=True, slots=True)
class Column:
    """Everything needed to run one kernel's items."""

    machine: MachineConfig
    # `paths`, `ini`, `cells`, `options` for the agent.
    session: Mapping[str, Any]
    deadlines: Deadlines = field(default_factory=Deadlines)


@dataclass(slots=True)
class Ran:
    """What one try at an item gave."""

    facts: Facts
    # pytest's serialized reports, in order.
    reports: list[dict[str, Any]]
    # When it began, by this machine's clock: an emulated guest's runs at its own pace.
    started_s: float
    # News about the kernel since the last item, for `kernels[]` of the results.
    kernel: dict[str, Any] | None = None


class Guests:
    """The guest of the column in hand. One at a time: a worker has one processor's worth of work.

    Args:
        columns: by kernel id and architecture.
        directory: where consoles are kept.
        unavailable: columns whose kernel could not be had, and why.
    """

    def __init__(
        self,
        columns: Mapping[tuple[str, str], Column],
        directory: Path,
        unavailable: Mapping[tuple[str, str], str],
    ) -> None:
        self._columns = columns
        self._directory = directory
        self._current: tuple[str, str] | None = None
        self._guest: Guest | None = None
        self._known: frozenset[str] = frozenset()
        self._collect_errors: list[dict[str, str]] = []
        self._boot_count = 0
        # Kernels that cannot be booted, and why: nobody waits for them twice.
        self._dead = {key: GuestEnd("no-boot", why) for key, why in unavailable.items()}
        self._news: dict[str, Any] | None = None

    def run(self, cell: Cell, item: str, following: str | None) -> Iterator[dict[str, Any] | Ran]:
        """Run one item in its kernel.

        Args:
            cell: the item's.
            item: its id in the guest.
            following: the id of the next item of the same column, None at the end.

        Yields:
            pytest's serialized reports as they come, then one `Ran`.
        """
        key = (cell.kernel, cell.arch)
        if key in self._dead:
            yield Ran(Facts(guest_end=self._dead[key]), [], time.time())
            return
        column = self._columns[key]
        phases: list[Mapping[str, Any]] = []
        reports: list[dict[str, Any]] = []
        end: GuestEnd | None = None
        is_done, dmesg, started_s = False, [], time.time()
        try:
            guest = self._ready(key, column)
            if item not in self._known:
                raise _NotCollectedError(self._why_not_collected(item))
            started_s = time.time()
            guest.channel.send({"type": "run", "item": item, "next": following}, column.deadlines.test_s)
            deadline_s = time.monotonic() + column.deadlines.test_s
            while True:
                message = guest.channel.receive(max(deadline_s - time.monotonic(), 0.001))
                if message["type"] == "report":
                    reports.append(message["data"])
                    phases.append(message["data"].get("matrix_facts") or {})
                    yield message["data"]
                elif message["type"] == "done":
                    is_done, dmesg = True, message["dmesg"]
                    break
                else:
                    raise _ended(message)
        except _NotCollectedError as error:
            end = GuestEnd("not-collected", str(error))
        except BootError as error:
            end = self._dead.setdefault(key, GuestEnd("no-boot", str(error)))
        except ChannelError as error:
            end = self._lose(error, column.deadlines.test_s)
        news, self._news = self._news, None
        if end is None and following is None:
            self.close()
        yield Ran(Facts(phases, is_done, end, dmesg), reports, started_s, news)

    def close(self) -> None:
        """End the guest in hand."""
        if self._guest is not None:
            self._guest.kill()
            self._guest = None

    def _ready(self, key: tuple[str, str], column: Column) -> Guest:
        """The guest of this column, booted and with its items collected."""
        if self._guest is not None and self._current == key and self._guest.is_running():
            return self._guest
        self.close()
        self._current = key
        for attempt in range(1, _BOOT_TRIES + 1):
            try:
                self._guest = self._boot(key, column)
            except (BootError, ChannelError) as error:
                self.close()
                if attempt == _BOOT_TRIES:
                    self._news = {"id": key[0], "booted": False, "error": str(error)}
                    raise BootError(str(error)) from error
            else:
                return self._guest
        raise AssertionError

    def _boot(self, key: tuple[str, str], column: Column) -> Guest:
        self._boot_count += 1
        directory = Path(
            tempfile.mkdtemp(prefix=f"{'-'.join(key).replace('/', '_')}-{self._boot_count}-", dir=self._directory)
        )
        guest = Guest.boot(column.machine, directory, deadline_s=column.deadlines.boot_s)
        self._guest = guest
        started_s = time.monotonic()
        guest.start(ENTRY, {**column.session, "soft_timeout_s": column.deadlines.soft_s})
        message = guest.channel.receive(column.deadlines.collect_s)
        if message["type"] != "collected":
            raise _ended(message)
        self._known = frozenset(message["items"])
        self._collect_errors = message["errors"]
        self._news = {
            "id": key[0],
            "booted": True,
            "error": None,
            "release": guest.ready["release"],
            "version": guest.ready["version"],
            "boot_seconds": round(guest.boot_seconds, 3),
            "cmdline": kernel_command_line(column.machine),
            "console": str(guest.console),
            "features": message["features"],
            "phases": {
                "boot": round(guest.boot_seconds, 3),
                "collect": round(time.monotonic() - started_s, 3),
            },
        }
        return guest

    def _why_not_collected(self, item: str) -> str:
        path = item.partition("::")[0]
        for error in self._collect_errors:
            if path.startswith(error["path"]) or error["path"].startswith(path):
                return f"{path} could not be collected in the guest:\n{error['text']}"
        return f"the guest collected no {item}; does its parametrization depend on this machine?"

    def _lose(self, error: ChannelError, test_s: float) -> GuestEnd:
        """A guest that cannot be talked to any more: take down how it ended, and end it."""
        guest = self._guest
        if guest is None:
            return GuestEnd("closed", str(error))
        if isinstance(error, ChannelTimeoutError):
            how, message = "timeout", f"no verdict within {test_s:.0f} s; the guest was ended"
        elif isinstance(error, ChannelCorruptError):
            how, message = "corrupt", str(error)
        elif isinstance(error, _AgentExitedError):
            how, message = "exited", str(error)
        else:
            how, message = "closed", str(error)
            guest.wait(_END_TIMEOUT_S)  # so that its last words are on the console
        qemu = guest.how_qemu_ended()
        self.close()
        return GuestEnd(how, message, qemu, guest.console_tail())


class _NotCollectedError(VmError):
    """The guest does not know an item of the host."""


class _AgentExitedError(ChannelClosedError):
    """PID 1 says that the agent's process ended."""


def _ended(message: Mapping[str, Any]) -> ChannelError:
    """An error for a message that should not come now."""
    if message["type"] != "exit":
        return ChannelCorruptError(f"unexpected message {message['type']!r} from the guest")
    code = os.waitstatus_to_exitcode(message["status"])
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    return _AgentExitedError(f"the process that runs the tests ended in the guest: {how}")
