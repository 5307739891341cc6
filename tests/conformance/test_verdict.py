"""The verdict engine, as a table: facts in, verdict out."""

from typing import Any

import pytest

from conformance.verdict import Facts, GuestEnd, judge
from reports.results import Qualifier, Status


def phase(when: str, outcome: str = "passed", kind: str = "none", **more: Any) -> dict[str, Any]:
    return {"when": when, "outcome": outcome, "kind": kind, **more}


SETUP, CALL, TEARDOWN = phase("setup"), phase("call"), phase("teardown")
UNSUPPORTED = phase("call", "skipped", "unsupported", message="no socket", evidence=["res -22 (EINVAL)"])
FAILED = phase(
    "call", "failed", "assertion", message="assert 1 == 2", exception="AssertionError", expected="1", actual="2"
)
PANIC = "[ 3.2] Kernel panic - not syncing: sysrq triggered crash"
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
