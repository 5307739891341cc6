"""Kernels that are fetched while others are tested: real apt, a real server that holds one of them back."""

import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_world import Running, World, shared_cache
from own_archive import RELEASES, FakeArchive, bzimage, serving

from vm.cache import hash_file

pytestmark = [pytest.mark.vm, pytest.mark.slow]  # `tox -e faults`

StandIn = Callable[..., World]
# More than fits into the buffers between a server and a file.
SIZE = 4 << 20
WORKERS = pytest.mark.parametrize("workers", ["0", "2"])


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[FakeArchive]:
    """An archive with two kernels, the older of which breaks off in the middle."""
    place = tmp_path / "debian"
    place.mkdir()
    with serving(place) as archive:
        release = RELEASES["6.1"]
        image = bzimage(release) + random.Random(1).randbytes(SIZE)
        package = archive.add("bookworm", f"linux-image-{release}", "6.1.2-1", {f"boot/vmlinuz-{release}": image})
        archive.publish()
        archive.stalled[package] = SIZE // 2
        yield archive


@pytest.fixture
def world(
    stand_in: StandIn, archive: FakeArchive, cache_without: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> World:
    """A user whose apt knows that archive, and whose cache has everything but kernels."""
    world = stand_in()
    cache = cache_without("kernels", "packages", "apt", "index", "closure")
    folder = Path(__file__).parent
    world.environment |= {
        "APT_CONFIG": str(archive.root.parent / "apt.conf"),
        "URING_MATRIX_CACHE": str(cache),
        "URING_MATRIX_TEST_CACHE": str(shared_cache()),
        "PYTHONPATH": f"{folder.parents[1]}:{folder}",
    }
    return world


def sizes_of_packages(directory: Path) -> list[int]:
    """Of those that lie there now; directories may come and go meanwhile."""
    try:
        return [path.stat().st_size for path in directory.glob("**/*.deb")]
    except FileNotFoundError:
        return []


@pytest.mark.parametrize("group", [True, False], ids=["Ctrl-C", "SIGINT"])
def test_an_interruption_before_there_is_any_kernel(group: bool, world: World, archive: FakeArchive) -> None:
    """Half a package from a real server: what came is not trusted, and no process is left to go on."""
    cache = cache_of(world)
    run = world.start_matrix("run", "--kernel", "6.1", "--out", "m", "--", "-p", "image_of_this_machine")
    # The first half lies on the disk, and apt waits for the other.
    run.wait_until(lambda: SIZE // 2 in sizes_of_packages(cache / "temporary"))
    assert run.find("apt-helper")
    run.signal(signal.SIGINT, group=group)
    ended = run.end(60)
    assert (ended.code, "interrupted before the first test" in ended.said) == (130, True), ended
    assert "Traceback" not in ended.said
    assert not (world.place / "m").exists()
    assert_tidy(world)
    assert [*cache.glob("kernels/*"), *cache.glob("packages/*")] == []
    # The next one has it whole.
    archive.stalled.clear()
    ended = world.matrix("kernels", "lock", "6.1")
    assert ended.code == 0, ended
    (image,) = cache.glob("kernels/*/vmlinuz")
    assert image.stat().st_size > SIZE
    assert_tidy(world)


def start(world: World, workers: str) -> Running:
    """Start a run of both, and wait until everything has a verdict that can have one."""
    tests = ["--", "-p", "image_of_this_machine", "-k", "nop or read"]
    run = world.start_matrix("run", "--kernel", "6.1,6.12", "-n", workers, "--out", "m", *tests)
    run.wait_until(lambda: verdict_count(world, "6.12") > 3)
    assert verdict_count(world, "6.1") == 0
    assert run.find("apt-helper")
    return run


def verdict_count(world: World, kernel: str) -> int:
    journal = world.place / "m" / "results.jsonl"
    if not journal.exists():
        return 0
    lines = [line for line in journal.read_text().splitlines() if '"event":"result"' in line]
    return sum(f'"kernel":"{kernel}"' in line for line in lines)


def by_kernel(world: World) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in world.results()["results"]:
        found.setdefault(row["kernel"], set()).add(row["status"])
    return found


def cache_of(world: World) -> Path:
    return Path(world.environment["URING_MATRIX_CACHE"])


@WORKERS
def test_the_first_kernel_waits_for_no_other(workers: str, world: World, archive: FakeArchive) -> None:
    """One is tested to its end while half of the other is there; then comes the rest, and that one is tested, too."""
    run = start(world, workers)
    archive.stalled.clear()
    ended = run.end()
    results = world.results()
    assert (ended.code, results["complete"], by_kernel(world)) == (0, True, {"6.1": {"pass"}, "6.12": {"pass"}}), ended
    counts = Counter(row["kernel"] for row in results["results"])
    assert counts["6.1"] == counts["6.12"] > 3
    # What became known of it only then is in the results as if it had been there.
    known = {kernel["id"]: kernel for kernel in results["kernels"]}
    assert known["6.1"].keys() == known["6.12"].keys()
    (image,) = cache_of(world).glob("kernels/*6.1.2-1*/vmlinuz")
    assert (known["6.1"]["package_version"], known["6.1"]["sha256"]) == ("6.1.2-1", hash_file(image))
    assert "still being fetched while others are tested: 6.1" in ended.said
    assert_tidy(world)


def assert_tidy(world: World) -> None:
    """No process, no temporary file, in either place."""
    assert world.leftovers() == []
    assert list(cache_of(world).glob("temporary/*")) == []


@WORKERS
@pytest.mark.parametrize(
    ("number", "group"), [(signal.SIGINT, True), (signal.SIGTERM, False)], ids=["Ctrl-C", "SIGTERM"]
)
def test_an_interruption_while_a_kernel_comes(number: signal.Signals, group: bool, workers: str, world: World) -> None:
    run = start(world, workers)
    run.signal(number, group=group)
    ended = run.end(60)
    assert (ended.code, "Traceback" in ended.said) == (130, False), ended
    assert world.results()["complete"] is False
    assert by_kernel(world)["6.1"] == {"notrun"}
    assert "pass" in by_kernel(world)["6.12"]
    assert_tidy(world)


@WORKERS
def test_the_process_that_fetches_is_killed(workers: str, world: World) -> None:
    """What it was to bring cannot be tested, and nothing else is lost."""
    run = start(world, workers)
    (fetcher,) = [pid for pid in run.find("vm.prefetch") if "setpriv" not in run.processes()[pid]]
    os.kill(fetcher, signal.SIGKILL)
    ended = run.end(60)
    assert (ended.code, by_kernel(world)) == (3, {"6.1": {"infra"}, "6.12": {"pass"}}), ended
    sentence = "the process that fetches it ended before it was there"
    assert all(sentence in row["reason"] for row in world.results()["results"] if row["kernel"] == "6.1")
    assert sentence in next(kernel for kernel in world.results()["kernels"] if kernel["id"] == "6.1")["error"]
    assert world.leftovers() == []


def test_a_kernel_that_does_not_come_after_all(world: World, archive: FakeArchive) -> None:
    """It was there when the run began, and is gone when apt asks for it again."""
    run = start(world, "2")
    archive.gone.update(archive.stalled)
    # apt loses patience with the half that does not come, and asks anew.
    ended = run.end()
    assert (ended.code, by_kernel(world)) == (3, {"6.1": {"infra"}, "6.12": {"pass"}}), ended
    assert_tidy(world)
