"""The verdict of a cell, judged from facts in one place. Pure: no clock, no process, no file.

Facts come from three witnesses: the test itself (its phases, `conformance.facts`), the guest (how the conversation with
it ended, how QEMU ended, what the console shows) and the kernel's log. Where witnesses contradict each other the worse
one is believed, and the evidence holds them all.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reports.results import Qualifier, Status, severity

# What the kernel prints when it is broken beyond going on. Source: kernel/panic.c, arch/*/kernel/dumpstack.c.
_DEAD = re.compile(
    r"Kernel panic - not syncing|BUG: kernel NULL pointer|BUG: unable to handle|Oops(?::| - )|general protection fault"
    r"|double fault|kernel BUG at|Unable to handle kernel|Internal error:|Attempted to kill init"
)
# What it prints when something is wrong although it goes on: lib/bug.c, lockdep, KASAN, hung tasks, RCU, allocations.
_WARNING = re.compile(
    r"WARNING: |BUG: |possible (?:circular|recursive) locking|INFO: task .* blocked for more than|INFO: rcu|rcu: INFO"
    r"|self-detected stall|page allocation failure|UBSAN:|KASAN:|KCSAN:|KFENCE:|soft lockup|kernel BUG|cut here"
)


@dataclass(frozen=True, slots=True)
class GuestEnd:
    """How the conversation with a guest ended, when it did not end well."""

    # `closed` (QEMU gone), `timeout` (silent too long), `corrupt` (bytes that are no message), `exited` (the agent's
    # process ended), `no-boot`, `not-collected` (the guest does not know the test).
    how: str
    # One sentence.
    message: str
    qemu: str = ""
    console: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known about one try at a cell."""

    # One record per phase that was reported, in order: see `conformance.facts`.
    phases: Sequence[Mapping[str, Any]] = ()
    # Whether the agent said that the item is done.
    is_done: bool = False
    guest_end: GuestEnd | None = None
    # Kernel messages that came while the test ran.
    dmesg: Sequence[str] = ()


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
    warnings = [line for line in facts.dmesg if _WARNING.search(line) or _DEAD.search(line)]
    return Verdict(
        worst.status,
        worst.reason,
        worst.expected,
        worst.actual,
        (*worst.evidence, *others, *(f"kernel: {line}" for line in warnings)),
        (*worst.qualifiers, *((Qualifier.KERNEL_WARNING,) if warnings else ())),
    )


def _of_phase(phase: Mapping[str, Any]) -> Verdict:
    outcome, kind = phase["outcome"], phase["kind"]
    message = _first_line(phase.get("message", ""))
    if outcome == "passed":
        return Verdict(Status.PASS)
    if outcome == "skipped":
        if kind == "unsupported":
            return Verdict(
                Status.UNSUPPORTED,
                message,
                expected="the operation is supported",
                actual="; ".join(phase.get("evidence", ())) or message,
                evidence=tuple(phase.get("evidence", ())),
            )
        return Verdict(Status.SKIP, message, evidence=(f"{phase.get('exception', 'skip')} in {phase['when']}",))
    evidence = (f"{phase.get('exception', 'failure')} in {phase['when']}: {phase.get('message', '')}",)
    if phase["when"] == "call" and kind == "assertion":
        return Verdict(Status.FAIL, message, phase.get("expected"), phase.get("actual"), evidence)
    if phase["when"] == "call" and kind == "kernel":
        return Verdict(Status.FAIL, message, "the call succeeds", f"{phase['exception']}: {message}", evidence)
    return Verdict(Status.ERROR, f"{phase['when']}: {message}", evidence=evidence)


def _of_guest(end: GuestEnd) -> Verdict:
    console = [line for line in end.console.splitlines() if line.strip()]
    dead = next((line for line in console if _DEAD.search(line)), None)
    evidence = tuple(line for line in (end.message, end.qemu, dead) if line)
    if end.how in {"no-boot", "not-collected"}:
        return Verdict(
            Status.INFRA if end.how == "no-boot" else Status.ERROR, _first_line(end.message), evidence=evidence
        )
    if dead is not None:
        return Verdict(
            Status.CRASH, f"the kernel died: {dead.strip()}", "the kernel survives the test", dead.strip(), evidence
        )
    if end.how == "timeout":
        return Verdict(Status.TIMEOUT, _first_line(end.message), "the test ends in time", "it did not", evidence)
    if end.how == "corrupt":
        return Verdict(Status.INFRA, _first_line(end.message), evidence=evidence)
    return Verdict(Status.CRASH, _first_line(end.message), "the guest survives the test", "it did not", evidence)


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0]
