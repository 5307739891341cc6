"""What befalls a guest, and whose fault that is: guests whose every message is written down here."""

import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from harness.cells import Cell
from harness.deadlines import Deadlines, Pace
from harness.guests import Attempt, Column, Guests, PendingOutcome
from harness.session import remove_old
from harness.verdict import judge
from reports.results import Status
from vm.architectures import AMD64
from vm.channel import ChannelClosedError, ChannelCorruptError, ChannelError, ChannelTimeoutError
from vm.errors import BootError
from vm.machine import Emulator, Guest, MachineConfig
from vm.snapshots import Beginning, Snapshots
from vm.vmlinux import Vmlinux

CELL = Cell("6.1", "amd64", "default")
ITEM = "test_x.py::test_nop[6.1-default]"
STARTED = {"type": "started"}
DONE = {"type": "done", "item": 0}
COLLECTED = {"type": "collected", "items": [ITEM], "features": {}}


def report(when: str, outcome: str = "passed", **facts: str) -> dict[str, Any]:
    return {"when": when, "outcome": outcome, "start": 1.0, "duration": 0.5, "matrix_facts": {"kind": "none", **facts}}


PASSED = [STARTED, {**DONE, "reports": [report("setup"), report("call"), report("teardown")]}]
Script = Sequence[Mapping[str, Any] | ChannelError]


class ScriptedChannel:
    """Gives one message after another; what stands in front of a `None` comes unasked."""

    def __init__(self, script: Sequence[Any]) -> None:
        self.script = list(script)
        self.sent: list[Mapping[str, Any]] = []

    def poll(self) -> Mapping[str, Any] | None:
        if self.script and isinstance(self.script[0], tuple):
            return cast(Mapping[str, Any], self.script.pop(0)[0])
        return None

    def send(self, message: Mapping[str, Any], timeout_s: float) -> None:
        self.sent.append(message)

    def receive(self, timeout_s: float) -> Mapping[str, Any]:
        if not self.script:
            raise ChannelTimeoutError("the script is over")
        message = self.script.pop(0)
        if isinstance(message, ChannelError):
            raise message
        return cast(Mapping[str, Any], message)


class ScriptedGuest:
    boot_seconds = 1.0
    ready: Mapping[str, Any] = {"release": "6.1.0", "version": "#1"}
    is_restored = False

    config: MachineConfig

    def __init__(self, script: Script, directory: Path, collected: Mapping[str, Any]) -> None:
        self.channel = ScriptedChannel([collected, *script])
        self.console = directory / "console.txt"
        self.console.touch()
        self.is_killed = False
        self.is_up = False
        self.answer = ""

    def start(self, entry: str, argument: Any, *, timeout_s: float) -> None:
        pass

    def is_running(self) -> bool:
        return self.is_up

    def wait(self, timeout_s: float) -> int:
        return 0

    def await_end(self) -> None:
        pass

    def interrupt(self, timeout_s: float) -> None:
        self.console.write_text(f"{self.console.read_text()}{self.answer}")

    def how_qemu_ended(self) -> str:
        return "QEMU ended with status 0"

    def kill(self) -> None:
        self.is_killed = True


Make = Callable[..., tuple[Guests, list[ScriptedGuest]]]


@pytest.fixture
def guests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes guests that follow scripts, the first one the first script."""

    def make(
        *scripts: Script | BootError, collected: Mapping[str, Any] = COLLECTED, **options: Any
    ) -> tuple[Guests, list[ScriptedGuest]]:
        rest, booted = list(scripts), []

        def boot(config: MachineConfig, directory: Path, *, deadline_s: float) -> ScriptedGuest:
            script = rest.pop(0)
            if isinstance(script, BootError):
                raise script
            booted.append(ScriptedGuest(script, directory, collected))
            return booted[-1]

        monkeypatch.setattr(Guest, "boot", boot)
        machine = MachineConfig(AMD64, Emulator(("qemu",)), tmp_path / "vmlinuz", tmp_path / "initrd")
        columns = {("6.1", "amd64"): Column(machine, {"cells": [CELL.to_json()]})}
        return Guests(columns, tmp_path, {}, **options), booted

    return make


def test_what_failed_before_a_guest_was_gone_is_evidence(guests: Make) -> None:
    failed = report("call", "failed", kind="assertion", message="assert 1 == 2")
    sent = {"type": "reports", "reports": [report("setup"), failed]}
    some, _ = guests([STARTED, sent, ChannelClosedError("gone")])
    verdict = judge(some.run(CELL, ITEM, None).facts)
    assert Status.CRASH is verdict.status
    assert "also fail: assert 1 == 2" in verdict.evidence


def test_an_ordinary_test(guests: Make) -> None:
    some, booted = guests(PASSED)
    ran = some.run(CELL, ITEM, None)
    assert Status.PASS is judge(ran.facts).status
    assert {"type": "run", "items": [0], "next": None, "cell": 0} == booted[0].channel.sent[-1]
    assert not booted[0].is_killed
    some.close()
    assert booted[0].is_killed


def test_a_kernel_that_comes_later(guests: Make) -> None:
    """It is waited for once, when its first test is due; what became known of it goes into the results."""
    waited: list[tuple[tuple[str, str], float | None]] = []

    def await_kernel(key: tuple[str, str], until_s: float | None) -> PendingOutcome:
        waited.append((key, until_s))
        return PendingOutcome({"sha256": "5a"}, some._columns["6.1", "amd64"])

    some, _ = guests([*PASSED, *PASSED], await_kernel=await_kernel)
    late = replace(CELL, kernel="6.2")
    first, last = some.run(late, ITEM, ITEM), some.run(late, ITEM, None)
    assert [Status.PASS, Status.PASS] == [judge(ran.facts).status for ran in (first, last)]
    assert first.kernel is not None
    assert ("6.2", "5a") == (first.kernel["id"], first.kernel["sha256"])
    assert [(("6.2", "amd64"), None)] == waited


def test_a_kernel_that_does_not_come(guests: Make) -> None:
    """Every test of it says why, and its record, too; the others have nothing to do with it."""
    some, _ = guests(PASSED, await_kernel=lambda key, until_s: PendingOutcome({"error": "gone"}, why_not="gone"))
    late = replace(CELL, kernel="6.2")
    for update in ({"id": "6.2", "error": "gone"}, None):
        ran = some.run(late, ITEM, ITEM)
        verdict = judge(ran.facts)
        assert (Status.INFRA, "gone", update) == (verdict.status, verdict.reason, ran.kernel)
    assert Status.PASS is judge(some.run(CELL, ITEM, None).facts).status


def test_nothing_is_waited_for_when_the_run_is_over(guests: Make) -> None:
    def await_kernel(key: tuple[str, str], until_s: float | None) -> PendingOutcome:
        raise AssertionError

    some, _ = guests(await_kernel=await_kernel, run_s=0.0)
    ran = some.run(replace(CELL, kernel="6.2"), ITEM, None)
    assert "were over before this test's turn" in judge(ran.facts).reason


def test_where_a_kernels_time_went_is_told(guests: Make) -> None:
    some, _ = guests([*PASSED, *PASSED])
    first, last = some.run(CELL, ITEM, ITEM), some.run(CELL, ITEM, None)
    assert first.kernel is not None
    assert ["boot", "collect"] == list(first.kernel["phases"])
    assert last.kernel is not None
    assert ["tests"] == list(last.kernel["phases"])


EXIT: Mapping[str, Any] = {"type": "exit", "status": 9}
BETWEEN: dict[str, Sequence[Any]] = {
    "the agent's end came before it was asked": [(EXIT,)],
    "the agent's end came instead of an answer": [EXIT],
    "the machine is gone": [ChannelClosedError("the guest is gone")],
    "it does not begin": [ChannelTimeoutError("nothing whole")],
    "garbage": [ChannelCorruptError("bad checksum")],
    "another message": [DONE],
}


@pytest.mark.parametrize("name", BETWEEN)
def test_what_happens_between_two_tests_is_charged_to_none(guests: Make, name: str) -> None:
    some, booted = guests([*PASSED, *BETWEEN[name]], PASSED)
    some.run(CELL, ITEM, ITEM)
    ran = some.run(CELL, ITEM, None)
    assert Status.PASS is judge(ran.facts).status
    assert [True, False] == [guest.is_killed for guest in booted]
    assert ran.kernel is not None
    (note,) = ran.kernel["notes"]
    assert f"the guest was lost after {ITEM} and before {ITEM}" in note


def test_guests_that_are_lost_again_and_again_are_no_verdict_about_the_kernel(guests: Make) -> None:
    some, booted = guests(*[[ChannelClosedError("the guest is gone")]] * 3)
    verdict = judge(some.run(CELL, ITEM, None).facts)
    assert Status.INFRA is verdict.status
    assert "3 guests were lost before they began with the test" in verdict.reason
    assert all(guest.is_killed for guest in booted)


DURING: dict[str, tuple[Any, Status]] = {
    "the machine is gone": (ChannelClosedError("the guest is gone"), Status.CRASH),
    "no answer": (ChannelTimeoutError("nothing whole"), Status.TIMEOUT),
    "garbage": (ChannelCorruptError("bad checksum"), Status.INFRA),
    "the agent is gone": (EXIT, Status.CRASH),
    "another message": (COLLECTED, Status.INFRA),
}


@pytest.mark.parametrize("name", DURING)
def test_what_happens_during_a_test_is_the_tests(guests: Make, name: str) -> None:
    event, status = DURING[name]
    some, booted = guests([STARTED, {"type": "reports", "reports": [report("setup")]}, event], PASSED)
    assert status is judge(some.run(CELL, ITEM, ITEM).facts).status
    assert booted[0].is_killed
    assert Status.PASS is judge(some.run(CELL, ITEM, None).facts).status


def test_a_spoiled_guest_is_replaced(guests: Make) -> None:
    some, booted = guests([*PASSED[:-1], {**DONE, "is_spoiled": True, "leftovers": ["mounted: /x"]}], PASSED)
    assert ("mounted: /x",) == tuple(some.run(CELL, ITEM, ITEM).facts.leftovers)
    assert booted[0].is_killed
    assert Status.PASS is judge(some.run(CELL, ITEM, None).facts).status


def test_what_comes_between_two_tests_names_the_one_before_in_the_same_guest(guests: Make) -> None:
    line = "<4>[9.0] WARNING: CPU: 0 PID: 1"
    begun = [{**STARTED, "between": [line]}, *PASSED[1:]]
    some, _ = guests([*begun, *begun, ChannelClosedError("the guest is gone")], begun)
    said = [judge(some.run(CELL, ITEM, ITEM).facts).evidence[0] for _ in range(3)]
    assert [f"kernel: between {before} and this test: {line}" for before in ("the boot", ITEM, "the boot")] == said


NMI = """\
[ 9.1] Uhhuh. NMI received for unknown reason 21 on CPU 0.
[ 9.2] Kernel panic - not syncing: NMI: Not continuing
[ 9.3] RIP: 0010:native_safe_halt+0xb/0x10
"""
TASKS = """\
[ 9.4] task:init            state:T stack:0     pid:80    ppid:1      flags:0x00000002
[ 9.5]  do_signal_stop+0x1/0x2
[ 9.6] task:kworker/0:0     state:I stack:0     pid:7     ppid:2      flags:0x00000002
[ 9.7]  worker_thread+0x1/0x2
"""


@pytest.mark.parametrize(
    ("answer", "last"), [(NMI + TASKS, "own tasks are in"), (NMI, "did not list"), ("", "did not answer")]
)
def test_a_guest_that_does_not_answer_is_asked_where_it_is(guests: Make, answer: str, last: str) -> None:
    """The panic that this makes of it is our doing, and no crash of the test's."""
    some, booted = guests([*PASSED, STARTED])
    some.run(CELL, ITEM, ITEM)
    booted[0].is_up, booted[0].answer = True, answer
    verdict = judge(some.run(CELL, ITEM, None).facts)
    assert Status.TIMEOUT is verdict.status
    evidence = "\n".join(verdict.evidence)
    assert last in evidence
    assert ("native_safe_halt" in evidence) is bool(answer)
    assert ("do_signal_stop" in evidence) is ("task:" in answer)
    assert "worker_thread" not in evidence


def test_isolated_tests_have_a_guest_each(guests: Make) -> None:
    some, booted = guests(PASSED, PASSED, is_isolated=True)
    some.run(CELL, ITEM, ITEM)
    some.run(CELL, ITEM, None)
    assert [True, True] == [guest.is_killed for guest in booted]
    assert all(guest.channel.sent[-1]["next"] is None for guest in booted)


def test_a_boot_that_fails_once_is_tried_again_and_noted(guests: Make) -> None:
    some, _ = guests(BootError("6.1 did not boot: silence"), PASSED)
    ran = some.run(CELL, ITEM, None)
    assert Status.PASS is judge(ran.facts).status
    assert ran.kernel is not None
    assert ran.kernel["booted"]
    assert ("a boot failed and was tried again: 6.1 did not boot: silence",) == tuple(ran.kernel["notes"])


def test_a_kernel_that_does_not_start_unpacked_is_booted_from_its_image_from_then_on(
    guests: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some, _ = guests(PASSED, PASSED)
    key = (CELL.kernel, CELL.arch)
    column = some._columns[key]
    direct = replace(column.machine, vmlinux=Vmlinux(tmp_path / "vmlinux", ""))
    some._columns[key] = replace(column, machine=direct)
    boot, protocols = Guest.boot, []

    def boot_from_images_only(config: MachineConfig, directory: Path, **options: Any) -> Any:
        protocols.append(config.boot_protocol)
        if config.boot_protocol == "pvh":
            raise BootError("6.1 did not boot: silence")
        return boot(config, directory, **options)

    monkeypatch.setattr(Guest, "boot", boot_from_images_only)
    ran = some.run(CELL, ITEM, None)
    assert Status.PASS is judge(ran.facts).status
    assert ran.kernel is not None
    assert ran.kernel["boot_protocol"] == "linux"
    assert "a boot failed and was tried again" in ran.kernel["notes"][0]
    some.close()
    assert Status.PASS is judge(some.run(CELL, ITEM, None).facts).status
    assert protocols == ["pvh", "linux", "linux"]


def test_nobody_waits_twice_for_a_kernel_that_does_not_boot(guests: Make) -> None:
    some, _ = guests(BootError("silence"), BootError("silence"))
    assert [Status.INFRA, Status.INFRA] == [judge(some.run(CELL, ITEM, None).facts).status for _ in range(2)]


def test_no_test_begins_after_the_runs_deadline(guests: Make) -> None:
    some, booted = guests(run_s=1e-9)
    time.sleep(0.001)
    verdict = judge(some.run(CELL, ITEM, None).facts)
    assert (Status.INFRA, []) == (verdict.status, booted)
    assert "were over before this test's turn" in verdict.reason


def test_deadlines_grow_with_the_slowest_boot_and_not_without_end() -> None:
    pace = Pace()
    assert 1.0 == pace.factor
    pace.learn(0.2)  # a restored guest says nothing about the machine
    assert 1.0 == pace.factor
    pace.learn(10.0)
    pace.learn(2.5)
    assert 4.0 == pace.factor
    pace.learn(1000.0)
    assert 10.0 == pace.factor
    usual = Deadlines.of_test(None)
    assert usual.test_s * 2 == usual.scaled(2).test_s
    assert usual.test_s * 3 == usual.scaled(10).test_s  # a hanging test does not hold a worker for a quarter of an hour
    assert Deadlines.of_test(20).scaled(10).test_s == 20  # what somebody asked for is what they get
    assert usual.soft_s == usual.scaled(4).soft_s  # the guest's own clock
    assert (20.0, 10.0) == (Deadlines.of_test(20).test_s, Deadlines.of_test(20).soft_s)


def test_consoles_that_nobody_named_a_place_for_go_after_a_week(tmp_path: Path) -> None:
    for name, age_days in (("old", 8), ("new", 6)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "console.txt").touch()
        os.utime(tmp_path / name, (0, time.time() - age_days * 86_400))
    remove_old(tmp_path)
    assert ["new"] == [path.name for path in tmp_path.iterdir()]


# -- lists of tests ----------------------------------------------------------------------------------------------------

SECOND, THIRD = (ITEM.replace("nop", name) for name in ("second", "third"))
THREE = {**COLLECTED, "items": [ITEM, SECOND, THIRD]}


def passed(place: int, **facts: Any) -> dict[str, Any]:
    return {**PASSED[1], "item": place, **facts}


def run_three(some: Guests) -> list[Attempt]:
    """Run three items as pytest does that knows them all."""
    ids = [ITEM, SECOND, THIRD, None]
    return [some.run(CELL, ids[at], ids[at + 1], lambda at=at: ids[at + 1 :]) for at in range(3)]  # type: ignore[arg-type, misc]


def sent(guest: ScriptedGuest) -> list[tuple[Any, Any]]:
    return [(message["items"], message["next"]) for message in guest.channel.sent]


@pytest.fixture
def lists(guests: Make) -> Make:
    """Makes guests that have collected three items."""
    return functools.partial(guests, collected=THREE)


def test_a_list_is_handed_over_once(lists: Make) -> None:
    some, booted = lists([STARTED, passed(0), passed(1), passed(2)])
    assert [Status.PASS] * 3 == [judge(ran.facts).status for ran in run_three(some)]
    assert [[([0, 1, 2], None)]] == [sent(guest) for guest in booted]


DURING_A_LIST: dict[str, tuple[Any, Status]] = {
    "the machine is gone": (ChannelClosedError("the guest is gone"), Status.CRASH),
    "no answer": (ChannelTimeoutError("nothing whole"), Status.TIMEOUT),
    "garbage": (ChannelCorruptError("bad checksum"), Status.INFRA),
    "the agent is gone": (EXIT, Status.CRASH),
    "its process died": ({"type": "died", "item": 1, "how": "killed by SIGKILL"}, Status.CRASH),
    "a result of another test": (passed(2), Status.INFRA),
}


@pytest.mark.parametrize("name", DURING_A_LIST)
def test_the_first_result_that_is_missing_is_the_running_tests(lists: Make, name: str) -> None:
    """The one before has its verdict; the one behind is asked for anew."""
    event, status = DURING_A_LIST[name]
    rest = [STARTED, passed(2)]
    is_same_guest = isinstance(event, dict) and event["type"] == "died"
    some, booted = lists([STARTED, passed(0), event, *(rest if is_same_guest else ())], rest)
    assert [Status.PASS, status, Status.PASS] == [judge(ran.facts).status for ran in run_three(some)]
    asked = [one for guest in booted for one in sent(guest)]
    assert [([0, 1, 2], None), ([2], None)] == asked
    assert (1 if is_same_guest else 2) == len(booted)


@pytest.mark.parametrize("facts", [{"is_last": True}, {"is_last": True, "is_spoiled": True}])
def test_a_guest_that_stops_where_something_came_up_is_asked_anew(lists: Make, facts: Mapping[str, Any]) -> None:
    rest = [STARTED, passed(1), passed(2)]
    some, booted = lists([STARTED, passed(0, **facts), *rest], rest)
    assert [Status.PASS] * 3 == [judge(ran.facts).status for ran in run_three(some)]
    assert [([0, 1, 2], None), ([1, 2], None)] == [one for guest in booted for one in sent(guest)]


def test_what_is_said_within_a_list_is_the_next_tests(lists: Make) -> None:
    line = "<4>[9.0] WARNING: CPU: 0 PID: 1"
    said = {**STARTED, "between": [line], "notes": ["another process"]}
    some, _ = lists([STARTED, passed(0), said, passed(1), passed(2)])
    first, second, third = run_three(some)
    assert f"kernel: between {ITEM} and this test: {line}" in judge(second.facts).evidence
    assert [(), ()] == [judge(ran.facts).evidence for ran in (first, third)]
    assert second.kernel is not None
    assert (f"before {SECOND}: another process",) == second.kernel["notes"]


def test_a_list_that_nobody_wants_any_more_ends_its_guest(lists: Make) -> None:
    """What a guest is at, or has done, is not what pytest asks for: no verdict may come of it."""
    some, booted = lists([STARTED, passed(0), passed(1)], [STARTED, passed(2)])
    some.run(CELL, ITEM, SECOND, lambda: [SECOND, THIRD, None])
    ran = some.run(CELL, THIRD, None)
    assert Status.PASS is judge(ran.facts).status
    assert [True, False] == [guest.is_killed for guest in booted]


def test_an_item_that_was_not_collected_ends_the_list(guests: Make) -> None:
    some, booted = guests([STARTED, passed(0)])
    some.run(CELL, ITEM, SECOND, lambda: [SECOND, THIRD, None])
    assert [([0], None)] == sent(booted[0])
    assert Status.ERROR is judge(some.run(CELL, SECOND, THIRD).facts).status


def test_isolated_tests_are_no_list(lists: Make) -> None:
    some, booted = lists(*[[STARTED, passed(place)] for place in range(3)], is_isolated=True)
    run_three(some)
    assert [[([place], None)] for place in range(3)] == [sent(guest) for guest in booted]


def test_a_console_is_a_tests_own_from_its_mark_on(lists: Make) -> None:
    """Whatever is written while the host is still busy with the test before."""
    some, booted = lists([STARTED, passed(0), ChannelClosedError("gone")])
    some.run(CELL, ITEM, SECOND, lambda: [SECOND, THIRD, None])
    lines = ["of the first", f"uring-matrix: begins {SECOND}, mode default", "Kernel panic - not syncing: here"]
    booted[0].console.write_text("".join(f"{line}\r\n" for line in lines))
    end = some.run(CELL, SECOND, THIRD).facts.guest_end
    assert end is not None
    assert "Kernel panic - not syncing: here\n" == end.console


class ScriptedSnapshots:
    """Gives guests that were restored behind their collecting, until they are no good any more."""

    def __init__(self, scripts: Sequence[Script], directory: Path) -> None:
        self.scripts, self.directory = list(scripts), directory
        self.discarded: list[MachineConfig] = []

    def start(self, config: MachineConfig, directory: Path, beginning: Beginning, *, deadline_s: float) -> Any:
        guest = ScriptedGuest(self.scripts.pop(0), self.directory, COLLECTED)
        guest.config = config
        if not self.discarded:
            guest.is_restored = True
            guest.boot_seconds = 0.5
            return guest, guest.channel.receive(0.0)
        return guest, beginning.run(cast(Guest, guest))

    def discard(self, config: MachineConfig) -> None:
        self.discarded.append(config)


def test_a_restored_guest_that_dies_before_its_first_test_takes_its_snapshot_with_it(
    guests: Make, tmp_path: Path
) -> None:
    some, _ = guests()
    snapshots = ScriptedSnapshots([[ChannelClosedError("gone")], PASSED], tmp_path)
    some._snapshots = cast(Snapshots, snapshots)
    attempt = some.run(CELL, ITEM, None)
    assert judge(attempt.facts).status is Status.PASS
    assert len(snapshots.discarded) == 1
    assert attempt.kernel is not None
    assert list(attempt.kernel["phases"]) == ["restore", "boot", "collect", "tests"]


def test_one_that_dies_later_does_not(guests: Make, tmp_path: Path) -> None:
    some, _ = guests()
    snapshots = ScriptedSnapshots([[*PASSED, ChannelClosedError("gone")], PASSED], tmp_path)
    some._snapshots = cast(Snapshots, snapshots)
    attempts = [some.run(CELL, ITEM, ITEM), some.run(CELL, ITEM, None)]
    assert [judge(attempt.facts).status for attempt in attempts] == [Status.PASS, Status.PASS]
    assert snapshots.discarded == []
    assert attempts[0].kernel is not None
    assert "collect" not in attempts[0].kernel["phases"]
    assert some._pace.factor == 0.5 * 10 / 2.5
