"""The verdict engine, as a table: facts in, verdict out."""

from typing import Any

import pytest

from harness.facts import phases_of_observation
from harness.verdict import Facts, GuestEnd, judge, plain_line
from reports.results import Qualifier, Status


def phase(when: str, outcome: str = "passed", kind: str = "none", **more: Any) -> dict[str, Any]:
    return {"when": when, "outcome": outcome, "kind": kind, **more}


SETUP, CALL, TEARDOWN = phase("setup"), phase("call"), phase("teardown")
UNSUPPORTED = phase("call", "skipped", "unsupported", message="no socket", evidence=["res -22 (EINVAL)"])
FAILED = phase(
    "call", "failed", "assertion", message="assert 1 == 2", exception="AssertionError", expected="1", actual="2"
)
PANIC = "[ 3.2] Kernel panic - not syncing: sysrq triggered crash"
# As a kernel prints it, shortened.
OOPS = """\
[    2.001] BUG: kernel NULL pointer dereference, address: 0000000000000008
[    2.002] #PF: supervisor read access in kernel mode
[    2.003] Oops: 0000 [#1] PREEMPT SMP NOPTI
[    2.004] RIP: 0010:io_issue_sqe+0x3e/0x4a0
[    2.005] Call Trace:
[    2.006]  <TASK>
[    2.007]  io_submit_sqes+0x1f1/0x5e0
[    2.008]  __x64_sys_io_uring_enter+0x2a8/0x5b0
[    2.009]  </TASK>
[    2.010] ---[ end trace 0000000000000000 ]---
[    2.011] Rebooting in 1 seconds.."""
CLOSED = GuestEnd("closed", "the guest is gone", "QEMU ended with status 0")

TABLE = {
    "all phases passed": (Facts([SETUP, CALL, TEARDOWN], is_done=True), Status.PASS),
    "an assertion of the test": (Facts([SETUP, FAILED, TEARDOWN], is_done=True), Status.FAIL),
    "a call that failed": (
        Facts([SETUP, phase("call", "failed", "kernel", message="EBUSY", exception="OSError"), TEARDOWN], is_done=True),
        Status.FAIL,
    ),
    "a broken test": (
        Facts([SETUP, phase("call", "failed", "other", message="x", exception="TypeError"), TEARDOWN], is_done=True),
        Status.ERROR,
    ),
    "a broken fixture": (Facts([phase("setup", "failed", "kernel"), TEARDOWN], is_done=True), Status.ERROR),
    "an assertion in a fixture": (Facts([phase("setup", "failed", "assertion"), TEARDOWN], is_done=True), Status.ERROR),
    "a broken teardown": (Facts([SETUP, CALL, phase("teardown", "failed", "other")], is_done=True), Status.ERROR),
    "unsupported": (Facts([SETUP, UNSUPPORTED, TEARDOWN], is_done=True), Status.UNSUPPORTED),
    "unsupported in setup": (
        Facts([{**UNSUPPORTED, "when": "setup"}, TEARDOWN], is_done=True),
        Status.UNSUPPORTED,
    ),
    "a plain skip is not unsupported": (
        Facts([SETUP, phase("call", "skipped", "skip", message="margin"), TEARDOWN], is_done=True),
        Status.SKIP,
    ),
    "done without any report": (Facts([], is_done=True), Status.INFRA),
    "done without a call": (Facts([SETUP, TEARDOWN], is_done=True), Status.INFRA),
    "done without a teardown": (Facts([SETUP, CALL], is_done=True), Status.INFRA),
    "all passed but never done": (Facts([SETUP, CALL, TEARDOWN], is_done=False), Status.INFRA),
    "nothing at all": (Facts(), Status.INFRA),
    "passed, then the guest vanished": (Facts([SETUP, CALL], guest_end=CLOSED), Status.CRASH),
    "passed whole, then the guest vanished": (Facts([SETUP, CALL, TEARDOWN], guest_end=CLOSED), Status.CRASH),
    "a panic": (Facts([SETUP], guest_end=GuestEnd("closed", "gone", console=PANIC)), Status.CRASH),
    "a panic beats a timeout": (Facts([SETUP], guest_end=GuestEnd("timeout", "late", console=PANIC)), Status.CRASH),
    "the agent died, and the kernel before it": (
        Facts([SETUP], guest_end=GuestEnd("exited", "killed by SIGKILL", console=PANIC)),
        Status.CRASH,
    ),
    "the test's process was killed": (Facts([SETUP], guest_end=GuestEnd("died", "killed by SIGSEGV")), Status.CRASH),
    "the test ended its process": (Facts([SETUP], guest_end=GuestEnd("quit", "exit status 3")), Status.ERROR),
    "a test that failed, then ended its process": (
        Facts([SETUP, FAILED], guest_end=GuestEnd("quit", "exit status 3")),
        Status.FAIL,
    ),
    "the guest's own watchdog": (Facts([SETUP], guest_end=GuestEnd("overdue", "15 s of its time")), Status.TIMEOUT),
    "guests lost before they began": (Facts(guest_end=GuestEnd("lost", "3 guests were lost")), Status.INFRA),
    "an oops": (Facts([SETUP], guest_end=GuestEnd("closed", "gone", console=OOPS)), Status.CRASH),
    "a hang": (Facts([SETUP], guest_end=GuestEnd("timeout", "no verdict within 90 s")), Status.TIMEOUT),
    "a failure, then a hang": (Facts([SETUP, FAILED], guest_end=GuestEnd("timeout", "late")), Status.TIMEOUT),
    "the agent died": (Facts([SETUP], guest_end=GuestEnd("exited", "killed by SIGSEGV")), Status.CRASH),
    "garbage on the channel": (Facts([SETUP, CALL], guest_end=GuestEnd("corrupt", "bad checksum")), Status.INFRA),
    "a kernel that did not boot": (Facts(guest_end=GuestEnd("no-boot", "silent")), Status.INFRA),
    "a test the guest does not know": (Facts(guest_end=GuestEnd("not-collected", "?")), Status.ERROR),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_table(name: str) -> None:
    facts, expected = TABLE[name]
    assert judge(facts).status is expected


def test_a_verdict_says_what_was_expected_and_what_came() -> None:
    verdict = judge(Facts([SETUP, FAILED, TEARDOWN], is_done=True))
    assert (verdict.expected, verdict.actual) == ("1", "2")
    assert verdict.reason == "assert 1 == 2"


def test_the_proof_of_unsupported_is_evidence() -> None:
    assert judge(Facts([SETUP, UNSUPPORTED, TEARDOWN], is_done=True)).evidence == ("res -22 (EINVAL)",)


def test_the_better_of_two_signals_stays_in_the_evidence() -> None:
    verdict = judge(Facts([SETUP, FAILED], guest_end=GuestEnd("timeout", "late")))
    assert "also fail: assert 1 == 2" in verdict.evidence


def test_a_pass_with_a_kernel_warning_is_marked() -> None:
    verdict = judge(
        Facts([SETUP, CALL, TEARDOWN], is_done=True, dmesg=["<4>[1.0] WARNING: CPU: 0 PID: 1 at io_uring.c:1"])
    )
    assert verdict.status is Status.PASS
    assert verdict.qualifiers == (Qualifier.KERNEL_WARNING,)
    assert any("WARNING: CPU" in line for line in verdict.evidence)


def test_an_ordinary_kernel_message_is_no_warning() -> None:
    verdict = judge(Facts([SETUP, CALL, TEARDOWN], is_done=True, dmesg=["<6>[1.0] loop: module loaded"]))
    assert verdict.qualifiers == ()


DONE = {"phases": [SETUP, CALL, TEARDOWN], "is_done": True}
SPLATS = [
    "<4>[1.0] WARNING: CPU: 0 PID: 1 at io_uring.c:1",
    "<3>[1.0] INFO: task init:82 blocked for more than 20 seconds.",
    "<3>[1.0] rcu: INFO: rcu_sched self-detected stall on CPU",
    "<0>[1.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!",
    "<4>[1.0] WARNING: possible circular locking dependency detected",
    "<4>[1.0] [ BUG: Invalid wait context ]",
    "<6>[1.0] INFO: trying to register non-static key.",
    "<3>[1.0] BUG: KASAN: slab-use-after-free in io_kill_timeouts",
    "<4>[1.0] python: page allocation failure: order:4",
    "<3>[1.0] Out of memory: Killed process 81 (init)",
]


@pytest.mark.parametrize("line", SPLATS)
def test_every_kind_of_splat_marks_a_pass(line: str) -> None:
    verdict = judge(Facts(**DONE, dmesg=[line]))
    assert (verdict.status, verdict.qualifiers) == (Status.PASS, (Qualifier.KERNEL_WARNING,))
    assert f"kernel: {line}" in verdict.evidence


@pytest.mark.parametrize("line", SPLATS)
def test_what_a_program_writes_into_the_log_is_no_splat(line: str) -> None:
    """Its facility says who wrote it, and a test cannot choose the kernel's."""
    assert judge(Facts(**DONE, dmesg=[f"<12>{line[3:]}"])).qualifiers == ()


def test_a_splat_between_two_tests_names_both() -> None:
    verdict = judge(Facts(**DONE, between=[SPLATS[0]], previous="test_before"))
    assert verdict.qualifiers == (Qualifier.KERNEL_WARNING,)
    assert verdict.evidence == (f"kernel: between test_before and this test: {SPLATS[0]}",)


def test_the_taint_is_a_witness_of_its_own() -> None:
    """A warning whose text nobody knows taints the kernel all the same."""
    verdict = judge(Facts(**DONE, taint="kernel.tainted is 512, was 0"))
    assert verdict.qualifiers == (Qualifier.KERNEL_WARNING,)


def test_what_is_left_behind_qualifies_and_is_named() -> None:
    verdict = judge(Facts(**DONE, leftovers=["descriptor 9 is open: anon_inode:[io_uring]"]))
    assert (verdict.status, verdict.qualifiers) == (Status.PASS, (Qualifier.LEFT_BEHIND,))
    assert verdict.evidence == ("left behind: descriptor 9 is open: anon_inode:[io_uring]",)


def test_the_stack_of_a_crash_is_evidence_from_its_first_line_to_its_last() -> None:
    verdict = judge(Facts([SETUP], guest_end=GuestEnd("closed", "gone", console=f"[1.0] before\n{OOPS}")))
    lines = OOPS.splitlines()
    assert verdict.reason == f"the kernel died: {lines[0].partition('] ')[2]}"
    assert verdict.evidence[-10:] == tuple(lines[:-1])


@pytest.mark.parametrize(
    "line",
    [
        "[    2.001] BUG: unable to handle page fault for address: ffff9a3c01234567",
        "<0>[  117.424242] BUG: unable to handle page fault for address: ffff8881deadbeef",
        "[    9.8][   T77] BUG: unable to handle page fault for address: ffffc90000000000",
    ],
)
def test_equal_crashes_have_equal_reasons(line: str) -> None:
    """When it happened and where memory lay is in the evidence; a reason is what crashes are grouped by."""
    verdict = judge(Facts([SETUP], guest_end=GuestEnd("closed", "gone", console=f"{line}\n")))
    assert verdict.reason == "the kernel died: BUG: unable to handle page fault for address: …"
    assert line in verdict.evidence


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        ("general protection fault, probably for non-canonical address 0xdeadbeef01234567: 0000 [#1] SMP",
         "general protection fault, probably for non-canonical address …: 0000 SMP"),
        ("BUG: unable to handle page fault for address: 00007f1234567890",
         "BUG: unable to handle page fault for address: …"),
        # The field of a structure, through a pointer that is NULL: it is always the same.
        ("BUG: kernel NULL pointer dereference, address: 0000000000000018",) * 2,
        ("Internal error: Oops: 0000000096000004 [#1] SMP", "Internal error: Oops: 0000000096000004 SMP"),
        ("kernel BUG at io_uring/rw.c:1234!",) * 2,
        ("watchdog: BUG: soft lockup - CPU#0 stuck [python3:81]", "watchdog: BUG: soft lockup - CPU#0 stuck [python3]"),
        ("INFO: task iou-wrk-81:82 blocked for more than 120 seconds.",
         "INFO: task iou-wrk-81 blocked for more than 120 seconds."),
        ("CPU: 0 PID: 80 Comm: init", "CPU: 0 PID: … Comm: init"),
        ("Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b",) * 2,
    ],
)  # fmt: skip
def test_what_differs_in_equal_crashes_is_no_part_of_a_reason(line: str, plain: str) -> None:
    assert plain_line(f"<0>[    9.8][   T77] {line}") == plain


def test_a_test_that_failed_by_a_program_says_which() -> None:
    phases = [SETUP, {**CALL, "outcome": "failed", "kind": "assertion", "message": "assert -11 == 0"}]
    segfault = "<6>[    1.5] prog[77]: segfault at 0 ip 0000 sp 0000 error 4 in libc.so.6"
    verdict = judge(Facts(phases, True, dmesg=[segfault]))
    assert verdict.reason.startswith("the program prog crashed (segfault): ")
    killed = "<3>[    1.5] Out of memory: Killed process 77 (prog) total-vm:1kB"
    verdict = judge(Facts(phases, True, dmesg=[killed]))
    assert (verdict.status, "killed prog; give guests more" in verdict.reason) == (Status.INFRA, True)
    assert "what came of it: fail: assert -11 == 0" in verdict.evidence


def test_a_hang_with_a_splat_on_the_console_is_marked() -> None:
    """The guest could not send its log any more; what it printed is there."""
    verdict = judge(
        Facts([SETUP], guest_end=GuestEnd("timeout", "late", console="[9.0] BUG: soft lockup - CPU#0 stuck"))
    )
    assert (verdict.status, verdict.qualifiers) == (Status.TIMEOUT, (Qualifier.KERNEL_WARNING,))


def test_where_a_hanging_test_was_is_evidence() -> None:
    end = GuestEnd("overdue", "late", stacks=["thread 80 (init): state D, waits in rwsem_down_write_slowpath"])
    assert end.stacks[0] in judge(Facts([SETUP], guest_end=end)).evidence


def test_a_pid_1_that_ends_by_an_exception_is_no_crash_of_the_kernel() -> None:
    console = (
        'Traceback (most recent call last):\n  File "/init", line 9, in <module>\n    main()\n'
        "ModuleNotFoundError: No module named 'x'\n"
        "[    2.1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\n"
    )
    verdict = judge(Facts(guest_end=GuestEnd("closed", "the guest is gone", console=console)))
    assert (Status.INFRA, "PID 1 of the guest ended: ModuleNotFoundError: No module named 'x'") == (
        verdict.status,
        verdict.reason,
    )
    silent = "[    2.1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\n"
    assert Status.CRASH is judge(Facts(guest_end=GuestEnd("closed", "the guest is gone", console=silent))).status


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ({"state": "has"}, (Status.PASS, "")),
        ({"state": "lacks"}, (Status.UNSUPPORTED, "asked: EINVAL")),
        ({"state": "off"}, (Status.SKIP, "switched off: asked: EINVAL")),
        ({"state": "not-determinable"}, (Status.SKIP, "not determinable: asked: EINVAL")),
        ({"state": "not-determinable", "ended": "died"}, (Status.CRASH, "asked: EINVAL")),
        ({"state": "not-determinable", "ended": "hung"}, (Status.TIMEOUT, "asked: EINVAL")),
    ],
)
def test_what_was_observed_is_judged_by_its_state(found: dict[str, str], verdict: tuple[Status, str]) -> None:
    judged = judge(Facts(phases_of_observation({**found, "evidence": "asked: EINVAL"}), is_done=True))
    assert (judged.status, judged.reason) == verdict
    assert judged.evidence[0] == "asked: EINVAL"


@pytest.mark.parametrize(("claimed", "words"), [(True, "it has it"), (False, "it lacks it")])
def test_the_kernels_own_word_stands_beside_what_was_observed(claimed: bool, words: str) -> None:
    phases = phases_of_observation({"state": "has", "evidence": "asked: 0", "claimed": claimed})
    assert judge(Facts(phases, is_done=True)).evidence == ("asked: 0", f"the kernel's own word: {words}")
