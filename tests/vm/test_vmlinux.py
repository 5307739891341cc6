"""Kernels unpacked on the host: whatever they are compressed with, and what becomes of those that cannot be."""

import bz2
import gzip
import lzma
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kernel_samples import bzimage, vmlinux
from real_guests import DEADLINE_S, NEWEST, OLDEST, machine, run

from vm import vmlinux as unpacking
from vm.architectures import AMD64
from vm.cache import Cache, hash_file
from vm.errors import BootError, UnfitKernel
from vm.kernel import Kernel, KernelRef
from vm.machine import Emulator, Guest, MachineConfig, qemu_arguments
from vm.snapshots import key_of
from vm.vmlinux import decompress, unpacked


def lz4(content: bytes, block_size: int = 8 << 20) -> bytes:
    """The archive that `lz4 -l` writes, of blocks that repeat nothing."""
    made = struct.pack("<I", 0x184C2102)
    for at in range(0, len(content), block_size):
        plain = content[at : at + block_size]
        more = len(plain) - 15
        block = b"\xf0" + b"\xff" * (more // 255) + bytes([more % 255]) + plain
        made += struct.pack("<I", len(block)) + block
    return made


def zstd(content: bytes) -> bytes:
    """A frame of one block that is not compressed."""
    block = struct.pack("<I", len(content) << 3 | 1)[:3]
    return b"\x28\xb5\x2f\xfd" + b"\xa0" + struct.pack("<I", len(content)) + block + content


METHODS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lambda content: lzma.compress(content, check=lzma.CHECK_CRC32),
    "lzma": lambda content: lzma.compress(content, format=lzma.FORMAT_ALONE),
    "lz4": lz4,
    "zstd": zstd,
}


def payload(content: bytes, method: str = "gzip") -> bytes:
    return METHODS[method](content) + struct.pack("<I", len(content))


def kernel_of(directory: Path, content: bytes, name: str = "vmlinuz") -> Kernel:
    """A kernel whose image has this to be decompressed."""
    image = bytearray(bzimage())
    image[0x1000 : 0x1000 + len(content)] = content
    struct.pack_into("<II", image, 0x248, 0x1000 - 4 * 512, len(content))
    path = directory / name
    path.write_bytes(image)
    return Kernel(KernelRef("6.1", "6.1", "amd64", "path"), path, hash_file(path), "6.1.0")


@pytest.mark.parametrize("method", METHODS)
def test_what_is_compressed_comes_out_as_it_was(method: str) -> None:
    content = vmlinux() + bytes(range(256)) * 20
    assert decompress(payload(content, method)) == content


def test_blocks_follow_each_other() -> None:
    content = bytes(range(256)) * 40
    assert decompress(lz4(content, 4000) + struct.pack("<I", len(content))) == content


@pytest.mark.parametrize("method", METHODS)
def test_damage_is_a_sentence_and_no_kernel(method: str) -> None:
    whole = payload(vmlinux() + bytes(range(256)) * 20, method)
    with pytest.raises(UnfitKernel, match=r"cannot be decompressed|bytes unpacked"):
        decompress(whole[:200] + whole[-4:])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\x89LZO" + bytes(20), "which begins with 894c5a4f"),
        (gzip.compress(b"kernel") + struct.pack("<I", 7), "it has 6 bytes unpacked, and says that it has 7"),
        (gzip.compress(b"kernel") + struct.pack("<I", 0xFFFFFFFF), "it would have 4294967295 bytes"),
    ],
    ids=["unknown", "another size", "huge"],
)
def test_what_cannot_be_right_is_a_sentence(content: bytes, sentence: str) -> None:
    with pytest.raises(UnfitKernel, match=sentence):
        decompress(content)


def test_a_kernel_is_unpacked_once(
    tmp_path: Path, cache: Cache, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = kernel_of(tmp_path, payload(vmlinux()))
    first = unpacked(kernel, cache, recorder)
    assert first is not None
    assert first.path.read_bytes() == vmlinux()
    first.check()
    monkeypatch.setattr(unpacking, "decompress", None)
    assert unpacked(kernel, cache, recorder) == first
    assert recorder.notes == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (payload(vmlinux(has_pvh=False)), "what is in it is a vmlinux without CONFIG_PVH"),
        (payload(b"\x7fELF\x01" + bytes(100)), "what is in it is a 32-bit or broken ELF file"),
        (b"", "it does not tell where the kernel in it lies"),
    ],
    ids=["no entry", "another machine", "no payload"],
)
def test_why_an_image_is_booted_as_it_is_is_said_once(
    tmp_path: Path, cache: Cache, recorder: Any, content: bytes, sentence: str
) -> None:
    kernel = kernel_of(tmp_path, content)
    assert [unpacked(kernel, cache, recorder) for _ in range(2)] == [None, None]
    assert len(recorder.notes) == 1
    assert recorder.notes[0].startswith(f"6.1: its image is booted as it is: {sentence}")


def test_a_kernel_that_is_not_compressed_is_booted_as_it_is_without_a_word(
    tmp_path: Path, cache: Cache, recorder: Any
) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(vmlinux())
    kernel = Kernel(KernelRef("6.1", "6.1", "amd64", "path"), path, hash_file(path), "6.1.0")
    assert unpacked(kernel, cache, recorder) is None
    assert recorder.notes == []
    assert cache.kinds() == []


def test_what_this_machine_lacks_is_not_held_against_the_kernel(
    tmp_path: Path, cache: Cache, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = kernel_of(tmp_path, payload(vmlinux(), "lz4"))
    with monkeypatch.context() as without:
        without.setattr(unpacking, "_LZ4", "libnone.so.1")
        assert unpacked(kernel, cache, recorder) is None
    assert "libnone.so.1" in recorder.notes[0]
    assert unpacked(kernel, cache, recorder) is not None


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path: Path, recorder: Any) -> None:
    (tmp_path / "file").touch()
    assert unpacked(kernel_of(tmp_path, payload(vmlinux())), Cache(tmp_path / "file"), recorder) is None
    assert "cannot be written" in recorder.notes[0] or "could not" in recorder.notes[0]


def test_an_unpacked_kernel_that_was_damaged_is_not_started(tmp_path: Path, cache: Cache, recorder: Any) -> None:
    """It is hashed when a guest starts from it, not before: one that is restored has its kernel in its memory."""
    kernel = kernel_of(tmp_path, payload(vmlinux()))
    found = unpacked(kernel, cache, recorder)
    assert found is not None
    found.path.write_bytes(vmlinux(banner=b"Linux version 6.1.1"))
    config = MachineConfig(AMD64, Emulator(("false",)), kernel.image, kernel.image, vmlinux=found)
    for how in ("was damaged; the next run unpacks it anew", "cannot be used: No such file"):
        with pytest.raises(BootError, match=how):
            Guest.boot(config, tmp_path, deadline_s=1)
    again = unpacked(kernel, Cache(cache.directory, recorder), recorder)
    assert again is not None
    again.check()
    assert again.path.read_bytes() == vmlinux()


def test_how_a_kernel_is_started_is_part_of_its_command_its_key_and_its_record(
    tmp_path: Path, cache: Cache, recorder: Any
) -> None:
    kernel = kernel_of(tmp_path, payload(vmlinux()))
    found = unpacked(kernel, cache, recorder)
    assert found is not None
    plain = MachineConfig(AMD64, Emulator(("qemu",)), kernel.image, kernel.image)
    direct = replace(plain, vmlinux=found)
    for config, started in ((plain, kernel.image), (direct, found.path), (direct.from_image(), kernel.image)):
        arguments = qemu_arguments(config, console=tmp_path, channel_descriptor=3, monitor_descriptor=4)
        assert arguments[arguments.index("-kernel") + 1] == str(started)
    assert [one.boot_protocol for one in (plain, direct)] == ["linux", "pvh"]
    assert replace(plain, kernel=found.path).boot_protocol == "pvh"  # somebody's own vmlinux
    assert key_of(plain) == key_of(direct.from_image()) != key_of(direct)


_SAYS = """
import os
here = {"release": os.uname().release, "version": os.uname().version}
here["text"] = next(line.split()[0] for line in open("/proc/kallsyms") if line.split()[2] == "_text")
result = here
"""


@pytest.mark.vm
@pytest.mark.parametrize("which", [OLDEST, NEWEST])
def test_it_is_the_same_kernel_at_the_address_it_was_linked_for(which: str, tmp_path: Path) -> None:
    """Without KASLR, that is; from its image, the same kernel chooses an address at random."""
    direct = machine(which)
    assert direct.boot_protocol == "pvh"
    said = []
    for config in (direct, direct.from_image()):
        with Guest.boot(config, tmp_path, deadline_s=DEADLINE_S) as guest:
            said.append(run(guest, _SAYS))
    unpacked_one, from_image = said
    assert unpacked_one.pop("text") == "ffffffff81000000"
    del from_image["text"]  # it may be any
    assert unpacked_one == from_image
