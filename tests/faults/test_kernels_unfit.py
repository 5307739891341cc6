"""Kernels that cannot run the suite, or end before they could: a reason, never a hang, and the other kernels run."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fault_world import World
from own_archive import bzimage

pytestmark = [pytest.mark.vm, pytest.mark.slow]  # `tox -e faults`

Kernel = Callable[..., Path]
StandIn = Callable[..., World]
SLOW = pytest.mark.slow

FIT = dict.fromkeys(
    (
        *("CONFIG_IO_URING", "CONFIG_BLK_DEV_INITRD", "CONFIG_BINFMT_ELF", "CONFIG_BINFMT_SCRIPT", "CONFIG_TTY"),
        *("CONFIG_PROC_FS", "CONFIG_SYSFS", "CONFIG_TMPFS", "CONFIG_DEVTMPFS", "CONFIG_NET", "CONFIG_INET"),
        *("CONFIG_UNIX", "CONFIG_FUTEX", "CONFIG_EPOLL", "CONFIG_64BIT", "CONFIG_PCI"),
        *("CONFIG_SERIAL_8250", "CONFIG_SERIAL_8250_CONSOLE"),
    ),
    "y",
)


def test_a_kernel_that_lacks_what_the_suite_needs(stand_in: StandIn, kernel: Kernel) -> None:
    """It is not booted; its cells are `infra` with the option's name, and those of a kernel that fits have verdicts."""
    world = stand_in()
    lacking = ("CONFIG_IO_URING", "CONFIG_BLK_DEV_INITRD", "CONFIG_SERIAL_8250_CONSOLE")
    images = [
        kernel(f"without-{option}", config={key: value for key, value in FIT.items() if key != option})
        for option in lacking
    ]
    specs = [f"--kernel={image}" for image in (*images, kernel("fit", config=FIT))]
    ended = world.matrix("run", *specs, "--out", "m", "-n", "1", "--", "-k", "nop")
    rows = {row["kernel"]: row for row in world.results()["results"]}
    assert rows.pop("fit")["status"] == "pass"
    for option in lacking:
        row = rows[f"without-{option}"]
        assert row["status"] == "infra"
        assert f"it was configured without {option} (" in row["reason"]
    assert ended.code == 3, ended
    assert world.leftovers() == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (bytearray(b"\x7fELF\x02") + bytes(100), "not a kernel"),
        (bytes(5000), "it holds nothing but zeros"),
        (b"\x28\xb5\x2f\xfd" + bytes(1000), "it is a compressed file; unpack it first"),
        ("i386", "is a kernel for i386, and the guest is amd64"),
    ],
    ids=["a program", "zeros", "compressed", "another machine's"],
)
def test_what_is_no_kernel_for_this_machine(content: bytes | str, sentence: str, world: World) -> None:
    """Nothing is run, not even the kernel that was named beside it: it is the command line that is wrong."""
    if isinstance(content, str):
        image = bytearray(bzimage("6.1.0-32-bit"))
        image[0x236] = 0
        content = image
    (world.place / "image").write_bytes(content)
    ended = world.matrix("run", "--kernel", "./image", "--kernel", "host", "--out", "m")
    assert (ended.code, sentence in ended.said) == (2, True), ended
    assert not (world.place / "m").exists()
    assert world.leftovers() == []


OFF = """
import errno, os, pathlib
import pytest


@pytest.fixture(scope="module", autouse=True)  # what a test alone changes is the end of its guest
def switched_off():
    setting = pathlib.Path("/proc/sys/kernel/io_uring_disabled")
    setting.write_text("2")
    yield setting
    setting.write_text("0")


def test_it_is_off(switched_off):
    assert switched_off.read_text() == "2\\n"


@pytest.mark.parametrize("number", range(3))
def test_ring(ring, number):
    ring(4)
"""


@SLOW
def test_a_kernel_that_forbids_io_uring(world: World) -> None:
    """io_uring_disabled=2: whatever needs a ring is `infra`, with the setting; never a pass, nor the kernel's fault."""
    tests = world.place / "mine"
    tests.mkdir()
    (tests / "test_off.py").write_text(OFF)
    run = world.start("-m", "pytest", "mine", "--kernel", "latest", "--matrix-out", "m", "--rootdir", world.place)
    ended = run.end()
    statuses = world.statuses()
    assert (statuses[0], set(statuses[1:])) == ("pass", {"infra"}), (world.results()["results"], ended)
    for row in world.results()["results"][1:]:
        assert "kernel.io_uring_disabled is 2" in row["reason"], row
        assert "EPERM" in str(row["evidence"]), row


@SLOW
def test_a_parameter_that_keeps_a_kernel_from_booting(world: World) -> None:
    """Memory that the kernel is told not to use: it panics, and the parameter stands in the reason."""
    ended = world.matrix("run", "latest", "--append", "mem=24M", "--out", "m", "-k", "test_nop")
    row = world.results()["results"][0]
    assert (ended.code, row["status"]) == (3, "infra"), row
    assert "it was started with mem=24M, which may be why" in row["reason"], row
