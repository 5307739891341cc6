"""What a run says before any kernel runs: the first thing that is wrong, and not what came of it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from own_archive import FakeArchive, bzimage

from .conftest import Ended

Command = Callable[..., Ended]


@pytest.mark.usefixtures("archive")
def test_a_wrong_word_is_named_although_there_is_nothing_to_boot_with(command: Command) -> None:
    """That archive has neither Python nor QEMU: which nobody wants to hear of who has mistyped a kernel."""
    ended = command("run", "--kernel", "6.l2")
    assert (ended.code, "no kernel is called '6.l2'; nearest: 6.12" in ended.err) == (2, True), ended


def test_what_a_guest_would_need_is_named_where_there_is_a_kernel(command: Command, archive: FakeArchive) -> None:
    ended = command("run", "--kernel", "6.12")
    assert ended.code == 3, ended
    assert "no guests on this machine: apt cannot install python3 e2fsprogs" in ended.err
    assert "Traceback" not in ended.err


def test_no_guest_is_needed_where_no_kernel_is_fit(command: Command) -> None:
    """Without a network: the running kernel is tested, and the other one's own reason is given."""
    folder = Path("kernels")
    folder.mkdir()
    (folder / "mine").write_bytes(bzimage("6.1.0-mine"))
    (folder / "config").write_text("CONFIG_HZ=250\n")
    arguments = ["--kernel", "kernels/mine", "--kernel", "host", "-n", "0", "--no-report", "--", "-k", "test_nop"]
    ended = command("run", *arguments, URING_MATRIX_OFFLINE="1")
    results = json.loads(Path("matrix/results.json").read_bytes())
    reasons = {row["kernel"]: row["reason"] for row in results["results"]}
    assert (ended.code, results["complete"]) == (3, True), ended
    assert "configured without CONFIG_IO_URING" in reasons["mine"]
    assert "infra" not in {row["status"] for row in results["results"] if row["kernel"] == "host"}
