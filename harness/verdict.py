"""The verdict of a cell, judged from facts in one place. Pure: no clock, no process, no file.

Facts come from three witnesses: the test itself (its phases, `harness.facts`), the guest (how the conversation with
it ended, how QEMU ended, what the console shows) and the kernel's log. Where witnesses contradict each other the worse
one is believed, and the evidence holds them all.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from reports.results import Qualifier, Status, severity
from vm.console import last_traceback

# What the kernel prints when it is broken beyond going on. Source: kernel/panic.c, arch/*/kernel/dumpstack.c.
_DEAD = re.compile(
    r"Kernel panic - not syncing|BUG: kernel NULL pointer|BUG: unable to handle|Oops(?::| - )|general protection fault"
    r"|double fault|kernel BUG at|Unable to handle kernel|Internal error:|Attempted to kill init"
)
_INIT_ENDED = "Attempted to kill init"
# What it prints when something is wrong although it goes on: lib/bug.c, lockdep, KASAN, hung tasks, RCU, allocations.
_WARNING = re.compile(
    r"WARNING: |BUG: |possible (?:circular|recursive) locking|INFO: trying to register non-static key"
    r"|INFO: task .* blocked for more than|INFO: rcu|rcu: INFO|self-detected stall|page allocation failure"
    r"|invoked oom-killer|Out of memory: Kill|UBSAN:|KASAN:|KCSAN:|KFENCE:|soft lockup|kernel BUG|cut here"
)
# A program that the kernel killed or that crashed: mm/oom_kill.c, arch/*/mm/fault.c, arch/*/kernel/traps.c.
_OUT_OF_MEMORY = re.compile(r"Out of memory: Killed process \d+ \((.+?)\)")
_PROGRAM_CRASH = re.compile(
    r"(?:^|[\s>\]])(?:traps: )?([^\s\[\]]+)\[\d+\](?:: | )"
    r"(segfault|general protection fault|trap invalid opcode|trap divide error)"
)
# `<priority>` in front of a line; a facility other than the kernel's own makes it 8 or more.
_PRIORITY = re.compile(r"<(\d+)>")
_PRIORITY_MAX = 7
# In front of a message: priority, time, thread or processor.
_STAMP = re.compile(r"^(?:<\d+>)?(?:\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? *)?")
# Numbers as wide as a pointer; small ones are an offset from NULL, say, and the same in equal crashes.
_WIDE = re.compile(r"\b(?:0x[0-9a-f]{9,16}|[0-9a-f]{16})\b")
_OFFSET_MAX = 1 << 32
# How often the kernel oopsed so far; processes, as `task name:81`, `[name:81]`, `PID: 81`, `process 81`.
_COUNTER = re.compile(r" *\[#\d+\]")
_PID = re.compile(r"(?<=PID: )\d+|(?<=process )\d+|(?<=task )(\S+?):\d+|(?<=\[)([^\s\[\]:]+):\d+(?=\])")
# What belongs to a splat or a panic on the console: from its first line to its last.
_TRACE_END = re.compile(r"---\[ end |Kernel Offset: ")
_TRACE_LINES_MAX = 60
_WARNINGS_MAX = 20
_STACKS_MAX = 150


@dataclass(frozen=True, slots=True)
class GuestEnd:
    """How the conversation with a guest ended, when it did not end well."""

    # `closed` (QEMU gone), `timeout` (silent too long), `overdue` (the guest's own watchdog says so), `corrupt` (bytes
    # that are no message), `exited` (the agent's process ended), `died` (the test's process was killed), `quit` (the
    # test ended its process itself), `no-boot`, `lost` (between tests, again and again), `not-collected` (the guest
    # does not know the test), `skipped` (the test's file skipped itself there).
    how: str
    # One sentence.
    message: str
    qemu: str = ""
    # What the console shows from the test's beginning on.
    console: str = ""
    # Where threads and tasks were, as far as the guest could still say.
    stacks: Sequence[str] = ()

    def behind(self, item: str) -> Self:
        """The same of a guest that may have been at another item by then."""
        return replace(self, message=f"a guest was lost at {item} or behind it: {self.message}")


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known about one try at a cell."""

    # One record per phase that was reported, in order: see `harness.facts`.
    phases: Sequence[Mapping[str, Any]] = ()
    # Whether the agent said that the item is done.
    is_done: bool = False
    guest_end: GuestEnd | None = None
    # Kernel messages that came while the test ran.
    dmesg: Sequence[str] = ()
    # Kernel messages that came between the test before and this one, and what happened to the guest meanwhile.
    between: Sequence[str] = ()
    # The test before, where `between` says something.
    previous: str = ""
    # What the test left behind, one sentence each.
    leftovers: Sequence[str] = ()
    # What the kernel's taint says: the flag that a warning sets, whatever its text.
    taint: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the matrix shows, and what it rests on."""

    status: Status
    reason: str = ""
    expected: str | None = None
    actual: str | None = None
    evidence: tuple[str, ...] = ()
    qualifiers: tuple[str, ...] = field(default=())


def judge(facts: Facts) -> Verdict:
    """Judge one try at a cell: the worst of what the witnesses say."""
    said = [_of_phase(phase) for phase in facts.phases]
    if facts.guest_end is not None:
        said.append(_of_guest(facts.guest_end))
    elif not facts.is_done:
        said.append(Verdict(Status.INFRA, "the run of this test was not finished, and nobody said why"))
    elif not any(phase.get("when") == "teardown" for phase in facts.phases):
        said.append(Verdict(Status.INFRA, "the guest called the test done, but its teardown was never reported"))
    elif not any(verdict.status is not Status.PASS for verdict in said) and not any(
        phase.get("when") == "call" for phase in facts.phases
    ):
        said.append(Verdict(Status.INFRA, "the guest called the test done, but its call was never reported"))
    worst = max(said, key=lambda verdict: severity(verdict.status))
    others = [
        f"also {verdict.status}: {verdict.reason}"
        for verdict in said
        if verdict is not worst and verdict.status is not Status.PASS
    ]
    worst = _with_programs(worst, facts.dmesg)
    dmesg = [line for line in facts.dmesg if is_splat(line)]
    between = [
        f"between {facts.previous or 'the boot'} and this test: {line}" for line in facts.between if is_splat(line)
    ]
    # Of a guest that is gone the console is all there is: what is on it may not be in any message.
    console = facts.guest_end.console.splitlines() if facts.guest_end is not None and not dmesg else []
    printed = [line for line in console if is_splat(line)] if worst.status is not Status.CRASH else []
    warnings = [*dmesg, *printed, *([facts.taint] if facts.taint else ())]
    return Verdict(
        worst.status,
        worst.reason,
        worst.expected,
        worst.actual,
        (
            *worst.evidence,
            *others,
            *(f"kernel: {line}" for line in (*warnings, *between)[:_WARNINGS_MAX]),
            *(f"left behind: {line}" for line in facts.leftovers),
        ),
        (
            *worst.qualifiers,
            *((Qualifier.KERNEL_WARNING,) if warnings or between else ()),
            *((Qualifier.LEFT_BEHIND,) if facts.leftovers else ()),
        ),
    )


def _with_programs(verdict: Verdict, dmesg: Sequence[str]) -> Verdict:
    """Say of a test that failed what the kernel logged about programs: killed for want of memory, or crashed."""
    if verdict.status not in {Status.FAIL, Status.ERROR, Status.CRASH, Status.TIMEOUT}:
        return verdict
    killed = next((found for line in dmesg if (found := _OUT_OF_MEMORY.search(line))), None)
    if killed is not None:
        return replace(
            verdict,
            status=Status.INFRA,
            reason=f"the guest's memory ran out: the kernel killed {killed[1]}; give guests more with --memory",
            evidence=(f"what came of it: {verdict.status}: {verdict.reason}", *verdict.evidence),
        )
    crashed = next((found for line in dmesg if (found := _PROGRAM_CRASH.search(line))), None)
    if crashed is not None and verdict.status is not Status.CRASH:
        return replace(verdict, reason=f"the program {crashed[1]} crashed ({crashed[2]}): {verdict.reason}")
    return verdict


def plain_line(line: str) -> str:
    """A line of the kernel's log without what differs in equal crashes: its time, where memory lay, who was running."""
    text = _COUNTER.sub("", _STAMP.sub("", line.strip()))
    text = _WIDE.sub(lambda found: found[0] if int(found[0], 16) < _OFFSET_MAX else "…", text)
    return _PID.sub(lambda found: found[1] or found[2] or "…", text).strip()


def is_splat(line: str) -> bool:
    """Whether a line of the kernel's log says that something is wrong. What a program wrote into the log is not it."""
    found = _PRIORITY.match(line)
    if found is not None and int(found[1]) > _PRIORITY_MAX:
        return False
    return _WARNING.search(line) is not None or _DEAD.search(line) is not None


def _of_phase(phase: Mapping[str, Any]) -> Verdict:
    if phase["kind"] == "observed":
        return _of_observation(phase)
    outcome, kind = phase["outcome"], phase["kind"]
    message = _first_line(phase.get("message", ""))
    if outcome == "passed":
        return Verdict(Status.PASS)
    if outcome == "skipped" and kind != "not-run":
        if kind == "unsupported":
            return Verdict(
                Status.UNSUPPORTED,
                message,
                expected="the operation is supported",
                actual="; ".join(phase.get("evidence", ())) or message,
                evidence=tuple(phase.get("evidence", ())),
            )
        return Verdict(Status.SKIP, message, evidence=(f"{phase.get('exception', 'skip')} in {phase['when']}",))
    said = tuple(phase.get("evidence", ()))
    if kind == "environment":
        return Verdict(Status.INFRA, message, evidence=said)
    if kind == "program":
        return Verdict(Status.ERROR, message, "the program can be started", "it cannot", said)
    if kind == "died":
        return Verdict(Status.FAIL, message, "the program ends by itself", "it died", said)
    if kind == "timeout":
        return Verdict(Status.TIMEOUT, message, "the program ends in time", "it did not", said)
    evidence = (f"{phase.get('exception', 'failure')} in {phase['when']}: {phase.get('message', '')}", *said)
    if phase["when"] == "call" and kind == "assertion":
        return Verdict(Status.FAIL, message, phase.get("expected"), phase.get("actual"), evidence)
    if phase["when"] == "call" and kind == "kernel":
        return Verdict(Status.FAIL, message, "the call succeeds", f"{phase['exception']}: {message}", evidence)
    return Verdict(Status.ERROR, f"{phase['when']}: {message}", evidence=evidence)


def _of_observation(found: Mapping[str, Any]) -> Verdict:
    """Judge what was seen of one thing that a kernel has or lacks."""
    evidence: tuple[str, ...] = (found["evidence"],)
    if (claimed := found.get("claimed")) is not None:
        evidence = (*evidence, f"the kernel's own word: it {'has' if claimed else 'lacks'} it")
    if found.get("ended") == "died":
        return Verdict(Status.CRASH, found["evidence"], "whoever asks survives", "it did not", evidence)
    if found.get("ended") == "hung":
        return Verdict(Status.TIMEOUT, found["evidence"], "the request ends in time", "it did not", evidence)
    if found["state"] == "has":
        return Verdict(Status.PASS, evidence=evidence)
    if found["state"] == "lacks":
        return Verdict(Status.UNSUPPORTED, found["evidence"], evidence=evidence)
    word = "switched off" if found["state"] == "off" else "not determinable"
    return Verdict(Status.SKIP, f"{word}: {found['evidence']}", evidence=evidence)


def _of_guest(end: GuestEnd) -> Verdict:
    console = [line for line in end.console.splitlines() if line.strip()]
    trace = _trace(console)
    last = f"the console's last line: {console[-1].strip()}" if console and end.how == "closed" else ""
    evidence = tuple(line for line in (end.message, end.qemu, last) if line)
    reason = _first_line(end.message)
    if end.how == "skipped":
        return Verdict(Status.SKIP, reason, evidence=("its file skipped itself while it was collected in the guest",))
    if end.how in {"no-boot", "not-collected"}:
        return Verdict(Status.INFRA if end.how == "no-boot" else Status.ERROR, reason, evidence=evidence)
    if any(_INIT_ENDED in line for line in trace) and (words := last_traceback(end.console)):
        # Our own program, in whose place the kernel cannot go on: no word about the kernel.
        return Verdict(Status.INFRA, f"PID 1 of the guest ended: {words[-1]}", evidence=(*evidence, *words))
    if trace:
        dead = plain_line(trace[0])
        return Verdict(
            Status.CRASH, f"the kernel died: {dead}", "the kernel survives the test", dead, (*evidence, *trace)
        )
    evidence = (*evidence, *end.stacks[:_STACKS_MAX])
    if end.how in {"timeout", "overdue"}:
        return Verdict(Status.TIMEOUT, reason, "the test ends in time", "it did not", evidence)
    if end.how in {"corrupt", "lost"}:
        return Verdict(Status.INFRA, reason, evidence=evidence)
    if end.how == "quit":
        return Verdict(Status.ERROR, reason, "the test returns or raises", "it ended its process", evidence)
    survivor = "the test's process" if end.how == "died" else "the guest"
    return Verdict(Status.CRASH, reason, f"{survivor} survives the test", "it did not", evidence)


def _trace(console: Sequence[str]) -> list[str]:
    """The kernel's last words: from the line that says it is dying to the end of the stack."""
    first = next((index for index, line in enumerate(console) if _DEAD.search(line)), None)
    if first is None:
        return []
    trace = []
    for line in console[first : first + _TRACE_LINES_MAX]:
        trace.append(line)
        if _TRACE_END.search(line):
            break
    return trace


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0]
