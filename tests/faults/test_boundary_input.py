"""Bad input, a bad disk and an impatient user: a sentence, the right exit code, and nothing left behind."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_world import Ended, Running, World, as_mortal, no_network, shared_cache, with_mount

pytestmark = [pytest.mark.vm, pytest.mark.slow]  # `tox -e faults`

Kernel = Callable[..., Path]
StandIn = Callable[..., World]

# A verdict takes longer, so that there is a middle to be struck in: the stand-in is much quicker than a guest.
SLOWLY = {"STAND_IN_TEST_SECONDS": "0.1"}
SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--kernel", "6.0"], "no kernel is called '6.0'; nearest: "),
        (["--kernel", "./nothing"], "./nothing: No such file or directory"),
        (["--kernel", "."], "a folder without arch/x86/boot/bzImage"),
        (["--kernel", "./empty"], "is not a kernel image (it is empty)"),
        (["--kernel", "./cut"], "breaks off in the middle"),
        (["--kernel", "./script"], "is not a kernel image"),
        (["--kernel", "./cut.deb"], "cut.deb"),
        (["--arch", "sparc"], "architecture 'sparc' are not supported"),
        (["--mode", "fast"], "'fast' is none of default"),
        (["--kernel", "host", "--out", "empty"], "'empty' is a file"),
        (["--kernel", "host", "--", "--no-such-option"], "unrecognized arguments: --no-such-option"),
        (["--kernel", "host", "--", "no-such-file.py"], "no-such-file.py"),
        (["--kernel", "host", "--", "-k", "nothing_is_called_so"], "no test is selected by -k nothing_is_called_so"),
        (["--kernel", "host", "-n", "0", "--", "-k", "nothing_is_called_so"], "no test is selected by -k"),
        (["--kernel", "host", "--resume"], "there is no run to go on with in "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_meant_is_refused(arguments: list[str], sentence: str, world: World, kernel: Kernel) -> None:
    """Exit code 2, one sentence, and no results: not even an empty directory for them."""
    whole = kernel("whole")
    (world.place / "cut").write_bytes(whole.read_bytes()[:-9])
    (world.place / "empty").touch()
    (world.place / "script").write_text("#!/bin/sh\n" * 100)
    (world.place / "cut.deb").write_bytes(b"!<arch>\ndebian-binary   1342943816")
    ended = world.matrix("run", "--out", "m", *arguments)
    assert (ended.code, sentence in ended.said) == (2, True), ended
    assert "Traceback" not in ended.said
    assert not (world.place / "m").exists()
    assert world.leftovers() == []


def test_a_wrong_word_costs_no_earlier_results(world: World) -> None:
    """Results are replaced by a run, not by a mistake on the command line."""
    assert world.matrix("run", "--kernel", "host", "--out", "m", "--", "-k", "test_nop").code == 0
    before = world.results()
    for arguments in (["--kernel", "host", "--", "-k", "none_at_all"], ["--kernel", "6.0"]):
        assert world.matrix("run", "--out", "m", *arguments).code == 2
        assert world.results() == before


def test_an_unreadable_kernel_is_refused(world: World, kernel: Kernel) -> None:
    image = kernel("secret")
    image.chmod(0)
    ended = world.matrix("run", "--kernel", image, "--out", "m", before=as_mortal())
    assert (ended.code, "cannot be read by this user" in ended.said) == (2, True), ended
    assert world.leftovers() == []


# -- network ----------------------------------------------------------------------------------------------------------


def test_without_a_network_and_with_an_empty_cache(world: World) -> None:
    ended = world.matrix(
        "run", "--kernel", "6.1", "--out", "m", before=no_network(), URING_MATRIX_CACHE=str(world.place / "cache")
    )
    assert ended.code == 3, ended
    assert "no guests on this machine: could not read the suite" in ended.said
    assert "Check the network" in ended.said
    assert not (world.place / "m").exists()
    assert world.leftovers() == []


def test_results_of_yesterday_are_not_shown_for_a_run_that_failed(world: World) -> None:
    """The exit code is about this run, although an earlier one left its results in the directory."""
    assert world.matrix("run", "--kernel", "host", "--out", "m", "--", "-k", "test_nop").code == 0
    ended = world.matrix(
        "run", "--kernel", "6.1", "--out", "m", before=no_network(), URING_MATRIX_CACHE=str(world.place / "cache")
    )
    assert (ended.code, "pass" in ended.out) == (3, False), ended


@pytest.mark.parametrize("how", ["no network", "offline"])
def test_what_is_cached_runs_without_a_network(how: str, stand_in: StandIn, kernel: Kernel) -> None:
    world = stand_in()
    before = no_network() if how == "no network" else []
    environment = {"URING_MATRIX_OFFLINE": "1"} if how == "offline" else {}
    assert world.matrix("run", "--kernel", kernel("k"), "--out", "warm", "--", "-k", "nop").code == 0
    ended = world.matrix(
        "run", "--kernel", kernel("one"), "--out", "m", "--", "-k", "nop", before=before, **environment
    )
    assert (ended.code, world.statuses()) == (0, ["pass"]), ended


# -- disks ------------------------------------------------------------------------------------------------------------


def test_a_read_only_cache_serves_what_it_has(stand_in: StandIn, kernel: Kernel) -> None:
    world = stand_in()
    assert world.matrix("run", "--kernel", kernel("k"), "--out", "warm", "--", "-k", "nop").code == 0
    before = with_mount('mount --bind "$place" "$place"; mount -o remount,ro,bind "$place"', shared_cache())
    ended = world.matrix("run", "--kernel", kernel("one"), "--out", "m", "--", "-k", "nop", before=before)
    assert (ended.code, world.statuses()) == (0, ["pass"]), ended


def test_a_read_only_cache_that_lacks_something(world: World) -> None:
    cache = world.place / "cache"
    cache.mkdir()
    before = with_mount('mount --bind "$place" "$place"; mount -o remount,ro,bind "$place"', cache)
    ended = world.matrix("run", "--kernel", "6.1", "--out", "m", before=before, URING_MATRIX_CACHE=str(cache))
    assert (ended.code, "the cache cannot be written (Read-only file system)" in ended.said) == (3, True), ended
    assert not (world.place / "m").exists()
    assert list(cache.iterdir()) == []
    assert world.leftovers() == []


def test_a_read_only_place_for_results(world: World) -> None:
    place = world.place / "ro"
    place.mkdir()
    before = with_mount('mount -t tmpfs -o ro none "$place"', place)
    ended = world.matrix("run", "--kernel", "host", "--out", "ro/m", before=before)
    assert (ended.code, "results.jsonl cannot be written: Read-only file system" in ended.said) == (3, True), ended
    assert "Choose another directory for the results" in ended.said
    assert world.leftovers() == []


@pytest.mark.parametrize(
    ("size", "workers"),
    [("4k", "0"), ("20k", "2")]
    + [pytest.param(*case, marks=SLOW) for case in (("64k", "2"), ("20k", "0"), ("4k", "2"))],
)
def test_a_full_disk_for_results(size: str, workers: str, stand_in: StandIn, kernel: Kernel) -> None:
    """Whether there is no room at all, for half of the verdicts, or for all but results.json: status 3, no lie."""
    world = stand_in()
    place = world.place / "small"
    place.mkdir()
    # The disk is gone with the run: what it held is copied off it.
    keep = world.place / "kept"
    command = f'mount -t tmpfs -o size={size} none "$place"; set +e; "$@"; code=$?; cp -r "$place" "{keep}"; exit $code'
    before = with_mount(command, place)
    ended = world.matrix(
        "run", "--kernel", kernel("one"), "--kernel", kernel("two"), "-n", workers, "--out", "small/m", before=before
    )
    assert (ended.code, "No space left on device" in ended.said) == (3, True), ended
    assert "Traceback" not in ended.said
    assert not (keep / "m" / "results.json").exists()
    assert world.leftovers() == []


@SLOW
def test_a_full_disk_for_the_cache(world: World) -> None:
    """Package lists do not fit: the sentence, and the disk is not kept full by halves of them."""
    place = world.place / "small"
    place.mkdir()
    kept = world.place / "kept"
    look = f'code=$?; find "$place" -path "*/partial/*" >"{kept}"; exit $code'
    command = f'mount -t tmpfs -o size=20m none "$place"; set +e; "$@"; {look}'
    ended = world.matrix(
        "run", "--kernel", "6.1", "--out", "m", before=with_mount(command, place), URING_MATRIX_CACHE=str(place)
    )
    assert (ended.code, "no space left for package lists" in ended.said) == (3, True), ended
    assert kept.read_text() == ""
    assert not (world.place / "m").exists()
    assert world.leftovers() == []


# -- lock files -------------------------------------------------------------------------------------------------------


def test_a_lock_file_decides_which_kernels_run(stand_in: StandIn, kernel: Kernel) -> None:
    """These and no others; and another image in a pinned one's place is not tested under its name."""
    world = stand_in()
    image = kernel("one")
    kernel("two")
    assert world.matrix("kernels", "lock", image, "-o", "k.lock").code == 0
    ended = world.matrix("run", "--lock", "k.lock", "--out", "m", "--", "-k", "nop")
    assert (ended.code, world.statuses()) == (0, ["pass"]), ended
    assert [(one["id"], one["location"]) for one in world.results()["kernels"]] == [("one", str(image))]
    kernel("one", "6.1.1-another")
    ended = world.matrix("run", "--lock", "k.lock", "--out", "m", "--", "-k", "nop")
    assert (ended.code, world.statuses()) == (3, ["infra"]), ended
    assert "is pinned to an image with sha256" in world.results()["kernels"][0]["error"]
    assert world.leftovers() == []


# -- Ctrl-C -----------------------------------------------------------------------------------------------------------


def start_two_kernels(world: World, kernel: Kernel, workers: str) -> Running:
    return world.start_matrix(
        "run", "--kernel", kernel("one"), "--kernel", kernel("two"), "-n", workers, "--out", "m", **SLOWLY
    )


def row_count(world: World) -> int:
    journal = world.place / "m" / "results.jsonl"
    return journal.read_text().count('"event":"result"') if journal.exists() else 0


def assert_interrupted(world: World, ended: Ended) -> None:
    """What is done is kept, what is not is `notrun`, and nothing of the run is alive."""
    assert ended.code == 130, ended
    assert "Traceback" not in ended.said
    results = world.results()
    assert results["complete"] is False
    counts = {status: world.statuses().count(status) for status in set(world.statuses())}
    assert set(counts) <= {"pass", "unsupported", "skip", "notrun"}, counts
    assert counts["pass"] >= 3
    assert counts["notrun"] >= 3
    assert world.leftovers() == []


@pytest.mark.parametrize(
    ("number", "group", "workers"),
    [
        pytest.param(signal.SIGINT, True, "2", id="Ctrl-C-2"),
        pytest.param(signal.SIGTERM, False, "2", id="SIGTERM-2"),
        pytest.param(signal.SIGINT, True, "0", id="Ctrl-C-0", marks=SLOW),
        pytest.param(signal.SIGINT, False, "2", id="SIGINT-2", marks=SLOW),
        pytest.param(signal.SIGTERM, False, "0", id="SIGTERM-0", marks=SLOW),
        pytest.param(signal.SIGHUP, True, "2", id="hang-up-2", marks=SLOW),
    ],
)
def test_an_interruption_during_tests(
    number: signal.Signals, group: bool, workers: str, stand_in: StandIn, kernel: Kernel
) -> None:
    world = stand_in()
    run = start_two_kernels(world, kernel, workers)
    run.wait_until(lambda: row_count(world) >= 4)
    run.signal(number, group=group)
    assert_interrupted(world, run.end(60))
    # And what was kept is what a resumed run goes on from.
    resumed = world.matrix(
        "run", "--kernel", kernel("one"), "--kernel", kernel("two"), "-n", workers, "--out", "m", "--resume"
    )
    assert (resumed.code, world.results()["complete"]) == (0, True), resumed


@pytest.mark.parametrize("workers", ["2", pytest.param("0", marks=SLOW)])
def test_two_interruptions(workers: str, stand_in: StandIn, kernel: Kernel) -> None:
    """Somebody who presses Ctrl-C again and again."""
    world = stand_in()
    run = start_two_kernels(world, kernel, workers)
    run.wait_until(lambda: row_count(world) >= 4)
    for _ in range(3):
        if run.process.poll() is None:
            run.signal(signal.SIGINT, group=True)
        try:
            run.process.wait(0.3)
        except subprocess.TimeoutExpired:
            continue
    ended = run.end(60)
    assert ended.code in {130, -signal.SIGINT}, ended
    assert [line for line in world.leftovers() if not line.startswith("uring-matrix-")] == []


@pytest.mark.parametrize("workers", ["2", pytest.param("0", marks=SLOW)])
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=SLOW)], ids=["Ctrl-C", "SIGTERM"])
def test_an_interruption_during_a_boot(number: signal.Signals, workers: str, stand_in: StandIn, kernel: Kernel) -> None:
    world = stand_in("deaf")
    run = start_two_kernels(world, kernel, workers)
    run.wait_until(lambda: run.find("id=channel"))
    run.signal(number, group=True)
    ended = run.end(60)
    assert ended.code == 130, ended
    assert (world.results()["complete"], set(world.statuses())) == (False, {"notrun"})
    assert world.leftovers() == []


@SLOW
def test_an_interruption_during_the_image(
    stand_in: StandIn, kernel: Kernel, cache_without: Callable[..., Path]
) -> None:
    """While the guest image is made, which runs the guest's Python: nothing half made is ever used."""
    world = stand_in()
    cache = cache_without("runtime", "image", "payload")
    arguments = ["run", "--kernel", kernel("one"), "--out", "m", "--cache", cache]
    run = world.start_matrix(*arguments)
    run.wait_until(lambda: run.find("ld-linux"))
    run.signal(signal.SIGINT, group=True)
    ended = run.end(60)
    assert (ended.code, "interrupted before the first test" in ended.said) == (130, True), ended
    assert not (world.place / "m").exists()
    assert not list(cache.glob("runtime/*"))
    assert not list(cache.glob("temporary/*"))
    assert world.leftovers() == []
    assert world.matrix(*arguments).code == 0


# -- two at the same time ---------------------------------------------------------------------------------------------


def test_a_second_run_in_the_same_directory_is_refused(stand_in: StandIn, kernel: Kernel) -> None:
    world = stand_in()
    first = start_two_kernels(world, kernel, "2")
    first.wait_until(lambda: row_count(world) >= 2)
    second = world.matrix("run", "--kernel", kernel("third"), "--out", "m")
    assert (second.code, "is being written by another run" in second.said) == (2, True), second
    ended = first.end()
    assert (ended.code, world.results()["complete"]) == (0, True), ended
    assert world.leftovers() == []


def test_two_runs_in_different_directories(stand_in: StandIn, kernel: Kernel) -> None:
    world = stand_in()
    image = kernel("one")
    runs = [world.start_matrix("run", "--kernel", image, "--out", name, "-n", "1") for name in ("a", "b", "c")]
    for name, run in zip("abc", runs, strict=True):
        ended = run.end()
        assert (ended.code, world.results(name)["complete"]) == (0, True), ended
    # Not the verdicts: this machine is no emulated one, and a test of time may find it too busy.
    assert set(world.verdicts("a")) == set(world.verdicts("b")) == set(world.verdicts("c"))
    assert world.leftovers() == []
