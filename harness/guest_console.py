"""What a guest printed: the part that is about a test, and where a kernel is that does not answer."""

import os
import re
from dataclasses import dataclass

from vm.machine import Guest
from vm.monitor import MonitorError

_CONSOLE_SIZE_MAX = 1 << 20
# Before each task in the list of all of them; and those that are programs of ours, or of a test's.
_TASK = re.compile(r"^(?=.*\btask:\S+ +state:)", re.MULTILINE)
_OUR_TASK = re.compile(r".*\btask:(?:init|python)")


@dataclass(frozen=True, slots=True)
class Since:
    """Where the part of a console that is about a test begins."""

    # No earlier than here, in bytes.
    offset: int
    # Behind the last line that says so, which the guest writes where it has a console.
    mark: str = ""


def size(guest: Guest) -> int:
    """How much a guest has printed so far, in bytes."""
    try:
        return guest.console.stat().st_size
    except OSError:
        return 0


def _printed(guest: Guest, offset: int) -> str:
    """What the guest printed since then: as much of its end as one wants to search."""
    try:
        with guest.console.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _CONSOLE_SIZE_MAX, offset))
            return file.read().decode(errors="replace").replace("\r\n", "\n")
    except OSError as error:
        return f"({guest.console} cannot be read: {error.strerror})"


def own_part(guest: Guest, since: Since) -> str:
    """What the guest printed since then, but for the list of all tasks that a panic ends with: it is in the file."""
    printed = _printed(guest, since.offset)
    own = printed.rpartition(since.mark)[2] if since.mark else printed
    head, panic, tail = own.partition("Kernel panic - not syncing")
    return head + panic + re.split(_TASK, tail, maxsplit=1)[0]


def backtraces(guest: Guest, timeout_s: float) -> list[str]:
    """Have a kernel that does not answer print where it is and what its tasks wait for. That is its end.

    PID 1 has set `unknown_nmi_panic`, so that an NMI makes a panic of it even where interrupts are off.
    """
    offset = size(guest)
    try:
        guest.interrupt(timeout_s)
    except MonitorError as error:
        return [f"no backtraces: {error}"]
    guest.wait(timeout_s)
    printed = _printed(guest, offset)
    if not printed.strip():
        return ["the kernel did not answer an NMI"]
    own, *tasks = re.split(_TASK, printed)
    ours = [line for task in tasks if _OUR_TASK.match(task) for line in task.splitlines()]
    rest = f"the kernel's own tasks are in {guest.console.parent.name}/{guest.console.name}"
    # Linux 5.10 cannot print that much from within an NMI.
    return [
        "the kernel, asked by an NMI where it is:",
        *own.splitlines(),
        *ours,
        f"({rest if tasks else 'it did not list its tasks'})",
    ]
