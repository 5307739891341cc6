"""Which way a payload takes into a guest depends on what its kernel has built in."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.plan import GuestPlan
from vm import vmlinux
from vm.cache import Cache
from vm.kernel import Kernel, KernelRef
from vm.progress import SILENT
from vm.vmlinux import Vmlinux

_ALL = {"CONFIG_PCI": "y", "CONFIG_BLK_DEV_NVME": "y", "CONFIG_EXT4_FS": "y"}


@pytest.mark.parametrize(
    ("config", "is_large", "way"),
    [
        (_ALL, False, "window"),
        (_ALL, True, "disk"),
        ({}, False, "window"),
        ({}, True, "disk"),
        ({"CONFIG_NET": "y"}, False, "initramfs"),
        ({"CONFIG_NET": "y"}, True, "initramfs"),
        (_ALL | {"CONFIG_BLK_DEV_NVME": "m"}, False, "window"),
        (_ALL | {"CONFIG_BLK_DEV_NVME": "m"}, True, "initramfs"),
        (_ALL | {"CONFIG_EXT4_FS": "m"}, True, "initramfs"),
    ],
)
def test_a_payload_goes_where_the_kernel_can_take_it(
    tmp_path: Path, config: Mapping[str, str], is_large: bool, way: str
) -> None:
    for name in ("initrd", "payload", "disk"):
        (tmp_path / name).write_text(name)
    disk = tmp_path / "disk" if is_large else None
    plan = GuestPlan("amd64", tmp_path / "initrd", tmp_path / "payload", (), "tcg", {}, False, payload_disk=disk)
    kernel = Kernel(KernelRef("6.1", "6.1", "amd64", "path"), tmp_path / "vmlinuz", "", "6.1.0", config)
    found = plan.with_kernel(kernel, Cache(tmp_path / "cache"), SILENT)
    ways = {"window": found.payload, "disk": found.payload_disk}
    assert [name for name, path in ways.items() if path is not None] == [way] * (way != "initramfs")
    assert found.initrd.read_text() == ("initrdpayload" if way == "initramfs" else "initrd")


@pytest.mark.parametrize(
    ("accelerator", "gdb_port", "is_unpacked"), [("tcg", None, True), ("kvm", None, False), ("tcg", 0, False)]
)
def test_an_emulated_guest_that_nobody_debugs_gets_the_unpacked_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accelerator: str, gdb_port: int | None, is_unpacked: bool
) -> None:
    found = Vmlinux(tmp_path / "vmlinux", "its hash")
    monkeypatch.setattr(vmlinux, "unpacked", lambda *_: found)
    plan = GuestPlan("amd64", tmp_path / "initrd", None, (), accelerator, {}, False, gdb_port=gdb_port)
    kernel = Kernel(KernelRef("6.1", "6.1", "amd64", "path"), tmp_path / "vmlinuz", "", "6.1.0", _ALL)
    made = plan.with_kernel(kernel, Cache(tmp_path / "cache"), SILENT)
    assert made.vmlinux == (found if is_unpacked else None)
