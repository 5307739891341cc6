"""Capabilities as items of pytest: each is one, in an order that costs least, and here they run in process."""

import subprocess
import sys
from pathlib import Path

import pytest

from conformance.capabilities import BY_ID
from conformance.capabilities.observed import described
from conformance.features import observe
from reports.results import Status, read
from uring.observe import REQUESTS

DESCRIBED = list(described())


def test_each_capability_is_described_once() -> None:
    assert sorted(one["id"] for one in DESCRIBED) == sorted(BY_ID)
    assert all(one["title"] and one["group"] and one["symbols"] and one["detect"] for one in DESCRIBED)


def test_those_that_have_crashed_kernels_are_observed_last() -> None:
    risky = [REQUESTS[one["id"]].is_risky for one in DESCRIBED]
    assert risky == sorted(risky)
    assert any(risky)


def test_they_are_observed_in_the_order_that_is_asked_for() -> None:
    names = ["op-write", "op-nop", "limit-cq-entries"]
    found = list(observe(names))
    assert [one["state"] for one in found] == ["has"] * 3
    assert ["WRITE" in found[0]["evidence"], "NOP" in found[1]["evidence"]] == [True, True]
    assert found[2]["value"] >= 4096


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--pyargs", "conformance", *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


def test_they_run_in_process_without_kernels(tmp_path: Path) -> None:
    done = run(tmp_path, "-k", "op-nop or op-openat")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_this_machines_kernel_gets_rows(tmp_path: Path) -> None:
    done = run(tmp_path, "--kernel=host", "--matrix-out=out", "-k", "op-nop or cqe-tstamp-hw")
    rows = {row.test: row for row in read(tmp_path / "out" / "results.json").results}
    assert done.returncode == 0, done.stdout
    assert (rows["op-nop"].status, rows["op-nop"].state, rows["op-nop"].claimed) == (Status.PASS, "has", True)
    assert rows["cqe-tstamp-hw"].state == "not-determinable"
    assert rows["cqe-tstamp-hw"].reason.startswith("not determinable: ")


def test_no_mode_but_the_default_one_has_them(tmp_path: Path) -> None:
    done = run(tmp_path, "--kernel=host", "--mode=coop-taskrun", "--collect-only", "-q", "-m", "capability")
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout
    done = run(
        tmp_path, "--kernel=host", "--mode=coop-taskrun", "--mode=default", "--collect-only", "-q", "-k", "op-nop"
    )
    assert "::op-nop[host-default]" in done.stdout
    assert "::op-nop[host-coop-taskrun]" not in done.stdout


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("nop", {"test_nop"}),
        ("op-nop", {"op-nop"}),
        ("ioring_op_nop", {"op-nop"}),
        ("nop or op-write", {"test_nop", "op-write"}),
        ("op-nop and capability", {"op-nop"}),
        ("(op-nop or op-write) and not nop", {"op-write"}),
    ],
)
def test_keywords_choose_them_by_whole_names(expression: str, chosen: set[str], tmp_path: Path) -> None:
    done = run(tmp_path, "--collect-only", "-q", "-k", expression)
    assert {line.rpartition("::")[2].partition("[")[0] for line in done.stdout.splitlines() if "::" in line} == chosen
