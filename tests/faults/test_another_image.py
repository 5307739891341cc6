"""Another kernel under the name of one that has verdicts: they are not the new one's."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fault_world import World

pytestmark = [pytest.mark.vm, pytest.mark.slow]  # `tox -e faults`

Kernel = Callable[..., Path]
StandIn = Callable[..., World]


def rebuilt(image: Path) -> None:
    """Make it another image of the same version."""
    image.write_bytes(image.read_bytes() + b"\0" * 16)


def test_resuming_judges_another_image_again(stand_in: StandIn, kernel: Kernel) -> None:
    world = stand_in()
    image = kernel("mine")
    arguments = ("run", "--kernel", image, "--kernel", kernel("other"), "--out", "m")
    assert world.matrix(*arguments, "--", "-k", "nop").code == 0
    again = world.matrix(*arguments, "--resume", "--", "-k", "nop")
    assert (again.code, "run again" in again.said) == (0, False), again
    before = {kernel["id"]: kernel["sha256"] for kernel in world.results()["kernels"]}
    rebuilt(image)
    again = world.matrix(*arguments, "--resume", "--", "-k", "nop")
    assert (again.code, "1 cell is run again: 1 whose kernel is another image" in again.said) == (0, True), again
    after = {kernel["id"]: kernel["sha256"] for kernel in world.results()["kernels"]}
    assert (before["mine"] == after["mine"], before["other"] == after["other"]) == (False, True)
    assert world.leftovers() == []


def test_a_column_does_not_mix_images(stand_in: StandIn, kernel: Kernel) -> None:
    world = stand_in()
    image = kernel("mine")
    assert world.matrix("run", "--kernel", image, "--out", "m", "--", "-k", "nop or fallocate").code == 0
    assert len(world.statuses()) == 2
    rebuilt(image)
    ended = world.matrix("run", "--kernel", image, "--out", "m", "--", "-k", "nop")
    assert (ended.code, [row["test"] for row in world.results()["results"]]) == (0, ["test_nop"]), ended
    (note,) = [note for note in world.results()["notes"] if "another kernel" in note]
    assert note.startswith("mine is another kernel than in an earlier run")
    assert note.endswith("1 verdict of that run is dropped")
    assert note in ended.said


def test_another_guest_is_another_key(stand_in: StandIn, kernel: Kernel) -> None:
    """Its verdicts stay, with what they were obtained with; but a resumed run does not take them for its own."""
    world = stand_in()
    arguments = ("run", "--kernel", kernel("mine"), "--out", "m")
    assert world.matrix(*arguments, "--", "-k", "nop").code == 0
    (column,) = world.results()["kernels"]
    assert column["guest"]["cpus"] == 1
    assert column["guest"]["memory_mib"] >= 256
    assert set(column["inputs"]) == {"kernel", "sources", "options", "guest", "emulator", "image", "packages"}
    again = world.matrix(*arguments, "--isolate", "--resume", "--", "-k", "nop")
    assert "1 cell is run again: 1 that had other options of pytest" in again.said, again


def test_another_emulator_is_another_key(stand_in: StandIn, kernel: Kernel) -> None:
    world = stand_in()
    arguments = ("run", "--kernel", kernel("mine"), "--out", "m")
    assert world.matrix(*arguments, "--", "-k", "nop").code == 0
    world.environment |= {"STAND_IN_VERSION": "9.9.8"}
    again = world.matrix(*arguments, "--resume", "--", "-k", "nop")
    assert "1 cell is run again: 1 that ran with another QEMU or accelerator" in again.said, again


def test_consoles_of_what_is_kept_stay(stand_in: StandIn, kernel: Kernel) -> None:
    world = stand_in()
    image = kernel("mine")
    assert world.matrix("run", "--kernel", image, "--out", "m", "--", "-k", "nop or fallocate").code == 0
    assert world.matrix("run", "--kernel", image, "--out", "m", "--", "-k", "nop").code == 0
    results = world.results()
    columns = [*results["kernels"], *(kernel for run in results["runs"] for kernel in run["kernels"])]
    consoles = [kernel["console"] for kernel in columns]
    assert len(set(consoles)) == 2
    assert all((world.place / "m" / console).is_file() for console in consoles)
    # Only those: nobody asks for what was replaced.
    assert world.matrix("run", "--kernel", image, "--out", "m", "--", "-k", "nop").code == 0
    assert len(list((world.place / "m/consoles").iterdir())) == 2
