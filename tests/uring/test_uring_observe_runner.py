"""Observing in a process of its own: what ends it, what it leaves behind, and where there is no io_uring to ask."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import open_files, why_no_ring

import uring
from uring import IORING_REGISTER, syscalls
from uring.observe import REQUESTS, Observation, State, observe, runner, world
from uring.observe.bare import Cqe, Ring, sqe
from uring.observe.finding import Finding, Request, judge

HAS, LACKS, OFF, UNKNOWN = State.HAS, State.LACKS, State.OFF, State.NOT_DETERMINABLE
needs_ring = pytest.mark.skipif(why_no_ring() is not None, reason=f"no io_uring on this machine: {why_no_ring()}")


# -- processes that die -----------------------------------------------------------------------------------------------


def requests(*asks: Callable[[world.World], Finding]) -> list[Request]:
    return [Request(f"made-up-{place}", ("X",), ask) for place, ask in enumerate(asks)]


def fine(w: world.World) -> Finding:
    return judge("fine", w.ask(sqe(0)), (0,))


def killed(w: world.World) -> Finding:
    del w
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def hanging(w: world.World) -> Finding:
    del w
    time.sleep(1000)
    raise AssertionError


def ending(w: world.World) -> Finding:
    del w
    os._exit(0)


def mistaken(w: world.World) -> Finding:
    raise ZeroDivisionError(w.buffer)


def unprovided(w: world.World) -> Finding:
    raise FileNotFoundError(errno.ENOENT, "no such thing", str(w.file))


def without_answer(w: world.World) -> Finding:
    w.fresh().submit(sqe(uring.IORING_OP.READ, w.pipe()[0], addr=w.buffer, size=1))
    w.ring.reap(1)
    raise AssertionError


@needs_ring
def test_what_ends_the_process_costs_itself_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uring.observe.bare.ANSWER_S", 0.05)
    asks = (fine, killed, fine, hanging, fine, ending, mistaken, unprovided, without_answer, fine)
    before = open_files()
    found = list(runner.one_by_one(requests(*asks), deadline_s=0.5))
    assert open_files() == before
    assert [one.id for one in found] == [f"made-up-{place}" for place in range(len(asks))]
    assert [(one.state, one.evidence) for one in found if one.state is not HAS] == [
        (UNKNOWN, "the process that observed it died of SIGKILL"),
        (UNKNOWN, "the process that observed it did not answer in time, and was ended"),
        (UNKNOWN, "the process that observed it ended without a result"),
        (UNKNOWN, mistaken_words(found[6])),
        (UNKNOWN, found[7].evidence),
        (UNKNOWN, "a request does not complete: 0 of 1 completions within 0.05 s"),
    ]
    assert "what the request needs cannot be made here: [Errno 2] no such thing" in found[7].evidence
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def mistaken_words(one: Observation) -> str:
    assert one.evidence.startswith("the observation itself failed: ZeroDivisionError: ")
    return one.evidence


@needs_ring
def test_who_stops_listening_leaves_no_process(tmp_path: Path) -> None:
    listening = runner.one_by_one(requests(fine, hanging))
    assert next(listening).state is HAS
    start = time.monotonic()
    listening.close()  # type: ignore[attr-defined]
    assert time.monotonic() - start < 60
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert tmp_path


@needs_ring
@pytest.mark.parametrize(
    ("asks", "listened", "calls"),
    [
        # Killed is who has more to say and nobody to say it to, or says nothing; not who has ended or is about to.
        ((fine, hanging), 1, ["kill", "wait"]),
        ((hanging,), 1, ["kill", "wait"]),
        ((fine, fine), None, ["wait"]),
        ((ending,), None, ["wait"]),
        ((fine, ending), None, ["wait"]),
    ],
)
def test_only_who_is_not_done_is_killed(
    asks: tuple[Callable[[world.World], Finding], ...],
    listened: int | None,
    calls: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[str] = []
    real_kill, real_waited = os.kill, runner._waited

    def kill(pid: int, number: int) -> None:
        found.append("kill")
        real_kill(pid, number)

    def waited(pid: int, *, kill: bool) -> int | None:
        found.append("wait")
        return real_waited(pid, kill=kill)

    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(runner, "_waited", waited)
    listening = runner.one_by_one(requests(*asks), deadline_s=0.3 if asks == (hanging,) else 60)
    assert len(list(itertools.islice(listening, listened))) == (listened or len(asks))
    listening.close()  # type: ignore[attr-defined]
    assert found == calls


def test_who_is_stuck_in_the_kernel_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waited for, killed, waited for once more."""
    seconds = itertools.count()
    calls: list[str] = []
    pauses: list[float] = []

    def sleep(pause_s: float) -> None:
        calls.append("sleep")
        pauses.append(pause_s)

    times = {"monotonic": lambda: next(seconds) / 5, "sleep": sleep}
    monkeypatch.setattr(runner, "time", SimpleNamespace(**times))
    monkeypatch.setattr(os, "waitpid", lambda pid, options: (0, pid * options))
    monkeypatch.setattr(os, "kill", lambda pid, number: calls.append(f"kill {pid} {signal.Signals(number).name}"))
    assert runner._waited(77, kill=True) is None
    assert [name for name, _ in itertools.groupby(calls)] == ["sleep", "kill 77 SIGKILL", "sleep"]
    # Often at first, since most end at once.
    assert pauses == [min(0.0005 * 2**turn, 0.05) for turn in range(len(pauses) // 2)] * 2
    assert pauses[-2:] == [0.05, 0.05]


@needs_ring
def test_memory_that_is_given_back_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(runner.time, "sleep", pauses.append)
    one = world.World()
    results = iter([-errno.ENOMEM, -errno.ENOMEM, 0])
    (request,) = requests(lambda _: judge("a ring", next(results), (0,)))
    assert runner.found_by(request, one).state is HAS
    assert pauses == [0.02, 0.02]
    (never,) = requests(lambda _: judge("a ring", -errno.ENOMEM, (0,)))
    assert runner.found_by(never, one).evidence.startswith("a ring: ENOMEM")
    assert sum(pauses[2:]) == pytest.approx(0.5, abs=0.03)
    for _ in range(40):
        assert runner.found_by(never, one).state is UNKNOWN
    assert sum(pauses) == pytest.approx(15, abs=0.1)


@needs_ring
def test_programs_that_let_the_system_reap_may_ask() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert [one.state for one in runner.one_by_one(requests(fine, ending, fine))] == [HAS, UNKNOWN, HAS]
    finally:
        signal.signal(signal.SIGCHLD, before)


# -- where there is no io_uring, or one of no use ---------------------------------------------------------------------


def all_alike(monkeypatch: pytest.MonkeyPatch, name: str, answer: Any) -> set[tuple[State, str]]:
    monkeypatch.setattr(f"uring.observe.runner.{name}", answer)
    return {(one.state, one.evidence) for one in observe(["op-nop", "setup-sqpoll"])}


@pytest.mark.parametrize(
    ("number", "sysctl", "is_filtered", "state", "words"),
    [
        (errno.EPERM, "2", False, OFF, "sysctl kernel.io_uring_disabled is 2; "),
        (errno.EPERM, "1", True, OFF, "sysctl kernel.io_uring_disabled is 1; "),
        (errno.EPERM, "0", True, OFF, "seccomp: "),
        (errno.EPERM, "", False, UNKNOWN, ""),
        (errno.ENOSYS, "", True, OFF, "seccomp: "),
        (errno.EINVAL, "", True, OFF, "seccomp: "),
        (errno.ENOSYS, "", False, LACKS, "no io_uring in this kernel; "),
        (errno.ENOMEM, "2", True, UNKNOWN, ""),
    ],
)
def test_without_rings_the_reason_is_the_same_for_all(
    number: int, sysctl: str, is_filtered: bool, state: State, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syscalls, "io_uring_setup_errno", lambda *_: -number)
    monkeypatch.setattr(runner, "_is_filtered", lambda: is_filtered)
    ((found, evidence),) = all_alike(monkeypatch, "_text", lambda _: f"{sysctl}\n")
    assert (found, evidence.startswith(f"{words}a plain ring of one entry is refused with E")) == (state, True)


@needs_ring
@pytest.mark.parametrize("name", [name for name in REQUESTS if "napi" in name])
def test_busy_polling_that_was_configured_out_is_off_and_the_symbol_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As io_uring/napi.h answers without CONFIG_NET_RX_BUSY_POLL."""
    real = Ring.register

    def without(ring: Ring, opcode: int, *arguments: int) -> int:
        is_napi = opcode in {IORING_REGISTER.REGISTER_NAPI, IORING_REGISTER.UNREGISTER_NAPI}
        return -errno.EOPNOTSUPP if is_napi else real(ring, opcode, *arguments)

    monkeypatch.setattr(Ring, "register", without)
    [one] = observe([name])
    assert (one.state, "EOPNOTSUPP (CONFIG_NET_RX_BUSY_POLL)" in one.evidence) == (OFF, True)


@needs_ring
@pytest.mark.parametrize("call", ["io_uring_enter", "io_uring_register"])
@pytest.mark.parametrize("name", ["EPERM", "EACCES", "ENOSYS", "EOPNOTSUPP", "EINVAL"])
def test_filters_of_single_calls_are_named(call: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_is_filtered", lambda: True)
    monkeypatch.setattr(Ring, call.removeprefix("io_uring_"), lambda *_: -getattr(errno, name))
    ((state, evidence),) = {(one.state, one.evidence) for one in observe(["op-nop", "setup-sqpoll"])}
    assert (state, evidence.startswith(f"seccomp: {call} is refused with {name};")) == (OFF, True)


@needs_ring
@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("ask", "operation 255: 0"),
        ("register", "registration 250: 0"),
        ("enter", "flag 31 of io_uring_enter: 0"),
    ],
)
def test_a_kernel_that_refuses_nothing_says_nothing(call: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = getattr(Ring, call)
    answer = Cqe(1, 0, 0) if call == "ask" else 0

    def careless(ring: Ring, *arguments: Any) -> Any:
        is_unknown = call != "enter" or arguments == (0, 1 << 31)
        return answer if is_unknown else real(ring, *arguments)

    monkeypatch.setattr(Ring, call, careless)
    ((state, evidence),) = {(one.state, one.evidence) for one in observe(["op-nop", "setup-sqpoll"])}
    assert (state, evidence) == (UNKNOWN, f"this kernel does not refuse what nobody knows ({words})")


@needs_ring
def test_what_cannot_begin_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: world.World) -> dict[str, bool]:
        raise LookupError("no claims")

    ((state, evidence),) = all_alike(monkeypatch, "claims", broken)
    assert (state, evidence) == (UNKNOWN, "observing cannot begin: LookupError: no claims")


def test_what_the_system_does_not_show_is_empty(tmp_path: Path) -> None:
    (tmp_path / "sysctl").write_text("2\n", encoding="ascii")
    assert (runner._text(str(tmp_path / "sysctl")), runner._text(str(tmp_path / "none"))) == ("2\n", "")
