"""Machines that lack something, and places with awkward names: a run, or a sentence that says what mends it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_world import ROOT, World, as_mortal, with_mount

from vm.qemu import kvm_obstacle

pytestmark = [pytest.mark.vm, pytest.mark.slow]  # `tox -e faults`

Kernel = Callable[..., Path]
StandIn = Callable[..., World]
SLOW = pytest.mark.slow
NOP = ("-n", "0", "--", "-k", "nop")


def test_no_qemu_and_no_apt(world: World, kernel: Kernel, tmp_path: Path) -> None:
    programs = tmp_path / "few programs"
    programs.mkdir()
    ended = world.matrix(
        "run", "--kernel", kernel("one"), "--out", "m", *NOP,
        PATH=str(programs), URING_MATRIX_CACHE=str(world.place / "cache"),
    )  # fmt: skip
    assert (ended.code, "apt is not to be had on this machine" in ended.said) == (3, True), ended
    assert "run on a Debian or Ubuntu system" in ended.said, ended
    assert "Traceback" not in ended.said
    assert not (world.place / "m").exists()
    assert world.leftovers() == []


def test_an_old_qemu_is_not_used(stand_in: StandIn, kernel: Kernel) -> None:
    """And it is said why. What is used instead is fetched, or was; here it may be neither."""
    world = stand_in()
    ended = world.matrix(
        "run", "--kernel", kernel("one"), "--out", "m", *NOP,
        STAND_IN_VERSION="4.2.1", URING_MATRIX_OFFLINE="1",
    )  # fmt: skip
    assert "the system's QEMU is not used: it is version 4.2.1, and 6.0 or newer is needed" in ended.said, ended


@pytest.mark.skipif(not Path("/dev/kvm").exists(), reason="this machine has no KVM to be taken away")
@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("mount -t tmpfs none /dev && mknod /dev/null c 1 3 && mknod /dev/urandom c 1 9", "there is no /dev/kvm"),
        ("mount --bind /dev/null /dev/kvm", "/dev/kvm does not answer"),
    ],
    ids=["absent", "broken"],
)
def test_kvm_that_is_not_there(command: str, sentence: str, world: World) -> None:
    """`--accel auto` emulates; asked for by name it is a sentence."""
    if os.getuid() != 0:
        pytest.skip("only root changes /dev")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom vm.qemu import kvm_obstacle\nprint(kvm_obstacle('amd64'))"
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-ec", f'{command}; exec "$@"', "sh", sys.executable, "-c", code],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, sentence in done.stdout) == (0, True), done


@pytest.mark.skipif(not Path("/dev/kvm").exists(), reason="this machine has no KVM to be taken away")
def test_kvm_that_may_not_be_opened(world: World) -> None:
    if kvm_obstacle("amd64") is not None:
        pytest.skip("KVM has another obstacle already")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom vm.qemu import kvm_obstacle\nprint(kvm_obstacle('amd64'))"
    )
    before = [*as_mortal(), "setpriv", "--reuid", "65534", "--clear-groups"] if os.getuid() == 0 else []
    if not before:
        pytest.skip("only root can become somebody without KVM")
    done = subprocess.run([*before, sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("nobody else may run this Python")
    assert "cannot be opened (Permission denied)" in done.stdout


@pytest.mark.parametrize("home", [None, "/nowhere"])
def test_no_home(home: str | None, stand_in: StandIn, kernel: Kernel) -> None:
    """The cache's place was given: no home is needed for anything."""
    world = stand_in()
    before = ["env", "-u", "HOME"] if home is None else ["env", f"HOME={home}"]
    ended = world.matrix("run", "--kernel", kernel("one"), "--out", "m", *NOP, before=before)
    assert (ended.code, world.statuses()) == (0, ["pass"]), ended


def test_a_home_that_cannot_be_written(world: World, kernel: Kernel) -> None:
    """Without a cache's place, and without a home: the sentence says what to choose."""
    ended = world.matrix(
        "run", "--kernel", kernel("one"), "--out", "m", *NOP, HOME="/proc", URING_MATRIX_CACHE="", XDG_CACHE_HOME=""
    )
    assert (ended.code, "URING_MATRIX_CACHE" in ended.said) == (3, True), ended
    assert "Traceback" not in ended.said


def test_spaces_letters_and_commas_in_every_path(
    stand_in: StandIn, kernel: Kernel, cache_without: Callable[..., Path], tmp_path: Path
) -> None:
    world = stand_in()
    cache = cache_without("temporary").rename(tmp_path / "Puffer, geschützt ☃")
    world.place = world.place.rename(tmp_path / "hier, då är vi")
    image = kernel("Kern, größer")
    ended = world.matrix("run", "--kernel", image, "--out", "Ergebnisse, neu ü", *NOP, URING_MATRIX_CACHE=str(cache))
    assert (ended.code, world.statuses("Ergebnisse, neu ü")) == (0, ["pass"]), ended
    assert world.leftovers() == []


def test_a_read_only_checkout(stand_in: StandIn, kernel: Kernel, tmp_path: Path) -> None:
    """The sources lie on a file system that cannot be written, in a folder with a blank in its name."""
    world = stand_in()
    checkout = tmp_path / "a checkout"
    ignored = shutil.ignore_patterns(".git", ".tox", "__pycache__", "matrix", ".*_cache", "*.egg-info")
    shutil.copytree(ROOT, checkout, ignore=ignored)
    before = with_mount('mount --bind "$place" "$place"; mount -o remount,ro,bind "$place"', checkout)
    ended = world.matrix("run", "--kernel", kernel("one"), "--out", "m", *NOP, before=before, PYTHONPATH=str(checkout))
    assert (ended.code, world.statuses()) == (0, ["pass"]), ended
    assert world.leftovers() == []
