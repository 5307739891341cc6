"""Between us and a guest: QEMU dies or stops, bytes of the channel are changed, lost or repeated, a process is killed.

No such fault ends as a pass or a hang: the cell that was struck says so, and those after it still ran.
"""

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from fault_world import World, as_mortal
from kill_and_resume import disturbed

pytestmark = [pytest.mark.vm, pytest.mark.slow]  # `tox -e faults`

Kernel = Callable[..., Path]
StandIn = Callable[..., World]
SLOW = pytest.mark.slow
# Frames: 0 is `ready`, 1 `collected`; then, of a list of tests, that the first one began, and one for each test:
# of the second one and of the last one.
STARTED, DONE, LAST = 2, 4, 43
# What is no fault's doing: the stand-in calls this machine's kernel an old one.
HARMLESS = {"earlier-than-documented"}


def once(tmp_path: Path) -> dict[str, str]:
    """Have the fault happen in the first guest only."""
    return {"STAND_IN_ONCE": str(tmp_path / "once")}


def struck(world: World, out: str = "m") -> list[dict[str, Any]]:
    """The cells that are not as on an undisturbed machine."""
    return [
        row
        for row in world.results(out)["results"]
        if row["status"] not in {"pass", "skip"} or row["attempts"] or set(row["qualifiers"]) - HARMLESS
    ]


@pytest.mark.parametrize(
    ("fault", "statuses", "word"),
    [
        (f"flip-bit:{DONE}", {"infra"}, "checksum"),
        pytest.param(f"swallow-half:{DONE}", {"infra"}, "checksum", marks=SLOW),
        (f"twice:{STARTED}", {"infra"}, "lost or repeated"),
        (f"twice:{DONE}", {"infra"}, "lost or repeated"),
        pytest.param(f"lose:{DONE}", {"infra"}, "lost or repeated", marks=SLOW),
        pytest.param(f"lose:{LAST}", {"timeout"}, "no verdict within", marks=SLOW),
        pytest.param(f"noise:{DONE}", {"infra"}, "expected a frame", marks=SLOW),
        (f"break-off:{DONE}", {"crash"}, "SIGKILL"),
        pytest.param(f"die:{DONE}", {"crash"}, "SIGKILL", marks=SLOW),
        pytest.param(f"stop:{DONE}", {"timeout"}, "no verdict within", marks=SLOW),
    ],
)
def test_one_test_is_struck(
    fault: str, statuses: set[str], word: str, stand_in: StandIn, kernel: Kernel, tmp_path: Path
) -> None:
    """The fault happens once, in the middle of a test."""
    world = stand_in(fault)
    ended = world.matrix("run", "--kernel", kernel("one"), "--out", "m", "-n", "1", **once(tmp_path))
    rows = struck(world)
    assert len(rows) == 1, rows
    seen = {rows[0]["status"], *(attempt["status"] for attempt in rows[0]["attempts"])}
    assert seen & statuses, rows
    assert word in str(rows), rows
    assert world.results()["complete"] is True
    assert ended.code == (3 if rows[0]["status"] == "infra" else 1), ended
    assert world.statuses().count("pass") >= 38
    assert world.leftovers() == []


@pytest.mark.parametrize("fault", [f"lose:{STARTED}", f"flip-bit:{STARTED}"])
def test_a_guest_that_is_lost_between_tests_is_charged_to_none(
    fault: str, stand_in: StandIn, kernel: Kernel, tmp_path: Path
) -> None:
    """What is wrong with the channel before a guest says that it began with a test: a note, and a fresh guest."""
    world = stand_in(fault)
    ended = world.matrix("run", "--kernel", kernel("one"), "--out", "m", "-n", "1", **once(tmp_path))
    assert (ended.code, struck(world)) == (0, []), ended
    (said,) = world.results()["kernels"][0]["notes"]
    assert "It was booted again" in said
    assert world.leftovers() == []


@pytest.mark.parametrize("fault", ["die:0", pytest.param("flip-bit:0", marks=SLOW), "twice:1", "break-off:1"])
def test_a_boot_that_is_struck_is_tried_again(fault: str, stand_in: StandIn, kernel: Kernel, tmp_path: Path) -> None:
    world = stand_in(fault)
    ended = world.matrix("run", "--kernel", kernel("one"), "--out", "m", "-n", "1", **once(tmp_path))
    assert (ended.code, set(world.statuses()) <= {"pass", "skip"}) == (0, True), ended
    assert world.leftovers() == []


@pytest.mark.parametrize("fault", ["die:0", "break-off:1"])
def test_a_guest_that_never_boots(fault: str, stand_in: StandIn, kernel: Kernel) -> None:
    """Every cell is `infra`, with how QEMU ended; the other kernels are not waited for in vain."""
    world = stand_in(fault)
    ended = world.matrix("run", "--kernel", kernel("one"), "--kernel", "host", "--out", "m", "-n", "2")
    results = world.results()
    assert {row["status"] for row in results["results"] if row["kernel"] == "one"} == {"infra"}
    assert {row["status"] for row in results["results"] if row["kernel"] == "host"} <= {"pass", "skip"}
    assert ended.code == 3, ended
    assert all("SIGKILL" in str(row["evidence"]) for row in results["results"] if row["kernel"] == "one")
    assert world.leftovers() == []


# -- processes are killed ---------------------------------------------------------------------------------------------


def row_count(world: World, out: str = "m") -> int:
    journal = world.place / out / "results.jsonl"
    return journal.read_text().count('"event":"result"') if journal.exists() else 0


def test_a_killed_worker_costs_no_verdict(stand_in: StandIn, kernel: Kernel) -> None:
    """Its guest dies with it; another takes over and runs the test in flight again; the results say so."""
    world = stand_in()
    arguments = ("run", "--kernel", kernel("one"), "--kernel", kernel("two"), "-n", "2", "--out", "m")
    run = world.start_matrix(*arguments, STAND_IN_TEST_SECONDS="0.1")
    run.wait_until(lambda: row_count(world) >= 4)
    workers = [child.pid for child in psutil.Process(run.process.pid).children() if child.children()]
    os.kill(workers[0], signal.SIGKILL)
    ended = run.end()
    assert (ended.code, world.results()["complete"]) == (0, True), ended
    assert set(world.statuses()) <= {"pass", "skip"}
    assert "was lost" in str(world.results()["notes"])
    assert world.leftovers() == []


def test_a_killed_run_leaves_no_process_and_can_be_resumed(stand_in: StandIn, kernel: Kernel) -> None:
    world = stand_in()
    arguments = ["--kernel", kernel("one"), "--kernel", kernel("two"), "--kernel", kernel("three"), "-n", "2"]
    world.environment["STAND_IN_TEST_SECONDS"] = "0.05"
    chance = random.Random(4)
    verdicts, story = disturbed(world, arguments, "m", chance, 3 * 41)
    assert story
    assert len(verdicts) == 3 * 41
    assert set(verdicts.values()) <= {"pass", "skip"}


@SLOW
def test_real_guests_killed_at_random_moments(world: World) -> None:
    arguments = ["--kernel", "5.10", "--kernel", "6.1", "--kernel", "latest"]
    ended = world.matrix("run", *arguments, "--out", "undisturbed")
    assert ended.code == 0, ended
    chance = random.Random()
    for number in range(3):
        verdicts, story = disturbed(world, arguments, f"run-{number}", chance, 3 * 41)
        assert verdicts == world.verdicts("undisturbed"), story


# -- the cache --------------------------------------------------------------------------------------------------------


def damage(path: Path, how: str) -> None:
    """Change a file as disks, people and half-done copies do."""
    match how:
        case "flip":
            with path.open("r+b") as file:
                file.seek(path.stat().st_size // 2)
                (byte,) = file.read(1)
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte ^ 1]))
        case "truncate":
            os.truncate(path, path.stat().st_size // 2)
        case "replace":
            path.write_bytes(b"something else")
        case "remove":
            path.unlink()


@pytest.mark.parametrize(
    ("how", "pattern"),
    [
        ("flip", "payload/*/payload.cpio"),
        pytest.param("flip", "runtime/*/runtime.cpio", marks=SLOW),
        pytest.param("truncate", "payload/*/payload.cpio", marks=SLOW),
        pytest.param("replace", "runtime/*/manifest.json", marks=SLOW),
        pytest.param("remove", "runtime/*/root/usr/bin/python3*", marks=SLOW),
    ],
)
def test_a_damaged_cache_is_noticed_and_mended(
    how: str, pattern: str, stand_in: StandIn, kernel: Kernel, cache_without: Callable[..., Path]
) -> None:
    """A guest image that was truncated, changed by one bit, replaced or removed is made again, and it is said."""
    world = stand_in()
    cache = cache_without("runtime", "image", "payload")
    arguments = ("run", "--kernel", kernel("one"), "--cache", cache, "--out", "m", "--", "-k", "nop")
    assert world.matrix(*arguments).code == 0
    (path, *_) = cache.glob(pattern)
    damage(path, how)
    ended = world.matrix(*arguments)
    assert (ended.code, world.statuses()) == (0, ["pass"]), (how, ended)
    assert "was damaged" in ended.said, (how, ended)
    assert world.leftovers() == []


def test_a_cache_that_is_not_ours(stand_in: StandIn, kernel: Kernel) -> None:
    world = stand_in()
    cache = world.place / "cache"
    cache.mkdir(mode=0)
    ended = world.matrix("run", "--kernel", kernel("one"), "--out", "m", "--cache", cache, before=as_mortal())
    assert (ended.code, "Permission denied" in ended.said) == (3, True), ended
    assert "Traceback" not in ended.said
    assert not (world.place / "m").exists()
    assert world.leftovers() == []
