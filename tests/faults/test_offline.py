"""A run without a network: real apt, an archive that is switched off, and guests of the stand-in."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_world import World
from own_archive import RELEASES, FakeArchive, add_what_guests_need, bzimage, serving

pytestmark = [pytest.mark.vm, pytest.mark.slow]  # `tox -e faults`

StandIn = Callable[..., World]
OFFLINE = {"URING_MATRIX_OFFLINE": "1"}


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[FakeArchive]:
    """An archive with two kernels, a guest image's packages and a QEMU."""
    place = tmp_path / "debian"
    place.mkdir()
    with serving(place) as archive:
        add_what_guests_need(archive)
        yield archive


@pytest.fixture
def world(stand_in: StandIn, archive: FakeArchive, tmp_path: Path) -> World:
    """A user whose apt knows that archive, and whose cache is empty."""
    world = stand_in()
    world.environment |= {
        "APT_CONFIG": str(archive.root.parent / "apt.conf"),
        "URING_MATRIX_CACHE": str(tmp_path / "cache"),
    }
    return world


def switch_off(archive: FakeArchive) -> None:
    """Have the archive answer nothing but 404."""
    shutil.rmtree(archive.root)


def test_what_was_fetched_runs_offline(world: World, archive: FakeArchive, tmp_path: Path) -> None:
    """With one command before: the kernel, the guest image and its packages."""
    fetched = world.matrix("kernels", "fetch", "6.1")
    assert fetched.code == 0, fetched
    switch_off(archive)
    asked = len(archive.requests)
    assert world.matrix("doctor", "--offline", "6.1").code == 0
    ended = world.matrix("run", "6.1", "--out", "m", "-k", "nop", **OFFLINE)
    assert (ended.code, world.statuses()) == (0, ["pass"]), ended
    # Without any list, too; and what is run is said.
    shutil.rmtree(tmp_path / "cache/apt")
    for arguments in (["--offline"], []):
        ended = world.matrix("run", "--out", "m", "-k", "nop", *arguments, **({} if arguments else OFFLINE))
        assert (ended.code, world.statuses()) == (0, ["pass"]), ended
        assert "a series is the newest kernel of it in the cache: 6.1 is 6.1.1-1. No other is fetched" in ended.err
        assert "the guest image has the packages of an earlier one: offline was asked for" in ended.err
    assert len(archive.requests) == asked
    assert world.leftovers() == []


def test_a_kernel_that_was_not_fetched_has_failed_nothing(world: World, archive: FakeArchive) -> None:
    assert world.matrix("kernels", "fetch", "6.1").code == 0
    ended = world.matrix("run", "all", "--out", "m", "-k", "nop", **OFFLINE)
    results = world.results()
    assert (ended.code, results["complete"]) == (3, True), ended
    assert {row["kernel"]: row["status"] for row in results["results"]} == {"6.1": "pass", "6.12": "infra"}
    known = {kernel["id"]: kernel for kernel in results["kernels"]}
    assert "`uring-matrix kernels fetch 6.12` fetches it, with the network" in known["6.12"]["error"]
    assert "without a verdict: 6.12 could not be fetched" in ended.said
    assert "not in the cache: 6.12" in ended.said


def test_older_kernels_stand_for_their_series(world: World, archive: FakeArchive) -> None:
    """The lists were brought up to date since: what they have is known, and not to be had."""
    assert world.matrix("kernels", "fetch", "6.1").code == 0
    release = "6.1.0-10-cloud-amd64"
    archive.add("bookworm", f"linux-image-{release}", "6.1.2-1", {f"boot/vmlinuz-{release}": bzimage(release)})
    archive.publish()
    assert world.matrix("kernels", "list", "--update").code == 0
    ended = world.matrix("run", "6.1", "--out", "m", "-k", "nop", **OFFLINE)
    assert (ended.code, world.statuses()) == (0, ["pass"]), ended
    (kernel,) = world.results()["kernels"]
    sentence = "6.1.1-1 from the cache is used instead of 6.1.2-1, which is not fetched offline"
    assert (kernel["package_version"], kernel["notes"]) == ("6.1.1-1", [sentence])
    assert world.results()["notes"] == [f"6.1: {sentence}"]


@pytest.mark.parametrize("is_first", [True, False], ids=["alone", "while another is tested"])
def test_what_is_gone_is_named_in_the_run_and_on_the_kernel(is_first: bool, world: World, archive: FakeArchive) -> None:
    """Also where it becomes known only when nobody listens to the process that fetches any more."""
    if not is_first:
        assert world.matrix("kernels", "fetch", "6.12").code == 0
    packages = []
    for number in (10, 11):
        release = f"6.1.0-{number}-cloud-amd64"
        files = {f"boot/vmlinuz-{release}": bzimage(release)}
        archive.gone.add(archive.add("bookworm", f"linux-image-{release}", f"6.1.{number}-1", files))
        packages.append(f"linux-image-{release}=6.1.{number}-1")
    archive.publish()
    assert world.matrix("kernels", "list", "--update").code == 0
    ended = world.matrix("run", "6.1" if is_first else "all", "--out", "m", "-k", "nop")
    assert (ended.code, set(world.statuses())) == (0, {"pass"}), ended
    note = f"the archive no longer has {', '.join(reversed(packages))} (404); 6.1.1-1 is used instead. `uring-matrix "
    assert f"6.1: {note}" in ended.said
    kernel = next(kernel for kernel in world.results()["kernels"] if kernel["id"] == "6.1")
    assert (kernel["package_version"], kernel["release"]) == ("6.1.1-1", "6.1.0-stand-in")
    assert [text.startswith(note) for text in kernel["notes"]] == [True]
    assert [text.startswith(f"6.1: {note}") for text in world.results()["notes"]] == [True]
    assert RELEASES["6.1"] not in packages
