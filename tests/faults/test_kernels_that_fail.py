"""Real kernels, stock ones of Debian's, that do not come up in a real QEMU: a reason, and the other kernels run."""

import json
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fault_world import ROOT, World, shared_cache

from uring_matrix.guests import machine_of, references, setup_for
from vm.cache import Cache, hash_file
from vm.progress import SILENT
from vm.qemu import find_qemu
from vm.settings import Settings
from vm.vmlinux import unpacked

sys.path.append(str(ROOT / "benchmarks"))
from ratios import bare_image

pytestmark = [pytest.mark.vm, pytest.mark.slow]  # `tox -e faults`

Damage = Callable[[bytearray], None]

_SECTOR_SIZE = 512
# Of an x86 image's header. Source: Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header".
_SETUP_SECTORS, _PAYLOAD_OFFSET, _PAYLOAD_LENGTH = 0x1F1, 0x248, 0x24C


@pytest.fixture
def stock() -> Path:
    """The image of a kernel that boots."""
    return machine_of(references(["6.1"], "tcg")[0], "tcg").kernel


@pytest.fixture
def copied(stock: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copies the stock kernel under another name, and may damage the copy.

    It does not tell any more where the kernel in it lies, so that QEMU is given the copy, and not what was in it.
    """

    def copy(name: str, damage: Damage | None = None) -> Path:
        content = bytearray(stock.read_bytes())
        if damage is not None:
            damage(content)
        struct.pack_into("<I", content, _PAYLOAD_LENGTH, 0)
        path = tmp_path / "kernels" / name / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        return path

    return copy


@pytest.fixture
def around(world: World, tmp_path: Path) -> World:
    """A world whose QEMU is the real one, but for kernels of certain names: see `around_qemu.py`."""
    qemu = find_qemu("amd64", Cache(shared_cache()), Settings.load())
    program = tmp_path / "programs" / "qemu-system-x86_64"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("around_qemu.py")} "$@"\n')
    program.chmod(0o755)
    world.environment |= {
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "URING_MATRIX_ACCEL": "tcg",
        "AROUND_QEMU": json.dumps([qemu.command, dict(qemu.environment)]),
        "AROUND_QEMU_INITRD": str(bare_image(tmp_path)),
    }
    return world


def entry(content: bytearray) -> int:
    """Where the code of an image begins."""
    return (content[_SETUP_SECTORS] + 1) * _SECTOR_SIZE


def fault_at_once(content: bytearray) -> None:
    """The first instruction is invalid, and nobody is there to catch that: a triple fault resets the machine."""
    content[entry(content) : entry(content) + 2] = b"\x0f\x0b"  # ud2


def spoil_payload(content: bytearray) -> None:
    """What the image unpacks itself from is no archive: it halts, and there is no console yet to say so."""
    start = entry(content) + struct.unpack_from("<I", content, _PAYLOAD_OFFSET)[0]
    content[start : start + 64] = b"\xff" * 64


def faults_at_once_unpacked() -> bytes:
    """An ELF file with a PVH entry, where there is an invalid instruction."""
    base, entry_offset, note_offset = 0x100000, 0x1000, 64 + 2 * 56
    content = bytearray(entry_offset + 16)
    note = struct.pack("<III", 4, 8, 18) + b"Xen\0" + struct.pack("<Q", base + entry_offset)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + entry_offset, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    size = len(content)
    header += struct.pack("<IIQQQQQQ", 1, 7, 0, base, base, size, size, 4096)
    header += struct.pack(
        "<IIQQQQQQ", 4, 4, note_offset, base + note_offset, base + note_offset, len(note), len(note), 4
    )
    content[: len(header)] = header
    content[note_offset : note_offset + len(note)] = note
    content[entry_offset : entry_offset + 2] = b"\x0f\x0b"  # ud2
    return bytes(content)


def rows_of(world: World, kernel: str) -> list[dict[str, Any]]:
    """The cells of a kernel."""
    return [row for row in world.results()["results"] if row["kernel"] == kernel]


def assert_never_came_up(world: World, kernel: str, *evidence: str) -> None:
    """Its cells are `infra`, each with the evidence, which begins in the reason; and the kernel has not booted."""
    for row in rows_of(world, kernel):
        assert row["status"] == "infra", row
        assert evidence[0] in row["reason"], row
        for part in evidence:
            assert part in "\n".join(row["evidence"]), row
    (facts,) = [facts for facts in world.results()["kernels"] if facts["id"] == kernel]
    assert facts["booted"] is False, facts


def test_kernels_that_panic_or_reset_instead_of_coming_up(around: World, copied: Callable[..., Path]) -> None:
    """Whether the kernel, its init or its first instruction is at fault; a fit one beside them has its verdicts."""
    kernels = [copied("panics"), copied("resets"), copied("faults", fault_at_once), copied("fit")]
    specs = [f"--kernel={path}" for path in kernels]
    ended = around.matrix("run", *specs, "--no-snapshots", "--out", "m", "-n", "2", "--", "-k", "nop")
    assert_never_came_up(
        around, "panics", "QEMU ended with status 0", "Kernel panic - not syncing: VFS: Unable to mount root fs"
    )
    assert_never_came_up(around, "resets", "QEMU ended with status 0", "reboot: Restarting system")
    assert_never_came_up(around, "faults", "QEMU ended with status 0", "(nothing was printed)")
    assert [row["status"] for row in rows_of(around, "fit")] == ["pass"]
    assert (ended.code, around.results()["complete"]) == (3, True), ended
    assert "Traceback" not in ended.said
    assert around.leftovers() == []


def test_a_kernel_that_halts_without_a_word(around: World, copied: Callable[..., Path]) -> None:
    """The deadline ends it; it is minutes for others, and shortened here."""
    kernel = copied("halts", spoil_payload)
    ended = around.matrix(
        "run", "--kernel", kernel, "--kernel", "host", "--no-snapshots", "--out", "m",
        "-n", "0", "--", "-p", "short_boots", "-k", "nop",
        PYTHONPATH=f"{ROOT}{os.pathsep}{Path(__file__).parent}",
    )  # fmt: skip
    assert_never_came_up(around, "halts", "within 8.0 s; QEMU is still running", "(nothing was printed)")
    assert [row["status"] for row in rows_of(around, "host")] == ["pass"]
    assert (ended.code, around.results()["complete"]) == (3, True), ended
    assert ended.seconds < 60
    assert around.leftovers() == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--no-snapshots"], "cannot set up guest memory"),
        ([], "unable to map backing store for guest RAM"),
    ],
    ids=["its own", "in a file"],
)
def test_no_memory_for_a_guest(options: list[str], sentence: str, around: World, copied: Callable[..., Path]) -> None:
    """QEMU may not have what a guest needs: its words are the reason, and it costs no other kernel its verdict."""
    specs = [f"--kernel={copied('starves')}", "--kernel=host"]
    ended = around.matrix("run", *specs, *options, "--out", "m", "-n", "0", "--", "-k", "nop")
    assert_never_came_up(around, "starves", "QEMU ended with status 1", sentence, "Cannot allocate memory")
    assert "Cannot allocate memory" in ended.said, ended
    assert [row["status"] for row in rows_of(around, "host")] == ["pass"]
    assert (ended.code, around.results()["complete"]) == (3, True), ended
    assert "Traceback" not in ended.said
    assert around.leftovers() == []


def test_a_disk_that_the_host_is_slow_with(around: World, copied: Callable[..., Path]) -> None:
    """An idle guest's clock leaps meanwhile: what takes seconds is no test that did not end."""
    test = around.place / "test_disk.py"
    test.write_text("def test_disk(scratch_ext4):\n    (scratch_ext4 / 'file').write_text('written')\n")
    ended = around.start(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", test.name, "--rootdir", around.place,
        "--kernel", copied("crawls"), "--no-snapshots", "--matrix-out", "m",
    ).end()  # fmt: skip
    assert [(row["status"], row["attempts"]) for row in rows_of(around, "crawls")] == [("pass", [])], ended
    assert around.leftovers() == []


@pytest.mark.parametrize(
    ("is_noticed", "sentence"),
    [(True, "was damaged; the next run unpacks it anew"), (False, "QEMU ended with status 0")],
    ids=["damaged", "does not start"],
)
def test_an_unpacked_kernel_that_does_not_come_up(
    is_noticed: bool, sentence: str, world: World, cache_without: Callable[..., Path]
) -> None:
    """The image it came from is booted, which is said, and has its verdicts; with another one all is as before."""
    cache = cache_without("vmlinux")
    kernel = setup_for("tcg").kernels.fetch(references(["6.1"], "tcg")[0])
    found = unpacked(kernel, Cache(cache), SILENT)
    assert found is not None
    found.path.write_bytes(faults_at_once_unpacked())
    if not is_noticed:
        manifest = found.path.with_name("manifest.json")
        manifest.write_text(manifest.read_text().replace(found.sha256, hash_file(found.path)))
    protocols = []
    for _ in range(2):
        ended = world.matrix(
            "run", "6.1", "--accel", "tcg", "--no-snapshots", "--out", "m", "-n", "0", "--", "-k", "test_nop",
            URING_MATRIX_CACHE=str(cache),
        )  # fmt: skip
        assert (ended.code, {row["status"] for row in rows_of(world, "6.1")}) == (0, {"pass"}), ended
        (facts,) = world.results()["kernels"]
        protocols.append(facts["boot_protocol"])
        if facts["boot_protocol"] == "linux":
            (note,) = facts["notes"]
            assert note.startswith("a boot failed and was tried again: "), facts
            assert sentence in note
    assert protocols == ["linux", "pvh" if is_noticed else "linux"]
    assert world.leftovers() == []
