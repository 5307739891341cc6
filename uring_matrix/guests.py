"""Guests for commands that boot one kernel and talk to it, without pytest."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from conformance.plugin import SUITE
from harness import payload
from harness.guest_shape import GuestShape
from harness.prepare import Setup
from uring_matrix.progress import progress
from vm import image, vmlinux
from vm.architectures import AMD64
from vm.errors import BootError
from vm.kernel import KernelRef
from vm.machine import Guest, MachineConfig
from vm.settings import Settings

BOOT_DEADLINE_S = 120.0
_PLAIN = GuestShape()


def setup_for(accel: str | None) -> Setup:
    """The machinery for guests of this machine's architecture."""
    return Setup(AMD64, Settings.load({"accel": accel}), progress())


def references(specs: Sequence[str], accel: str | None) -> list[KernelRef]:
    """Resolve specs."""
    return setup_for(accel).kernels.resolve(specs)


def machine_of(
    ref: KernelRef,
    accel: str | None,
    shape: GuestShape = _PLAIN,
    extra_files: Mapping[str, Path] = MappingProxyType({}),
) -> MachineConfig:
    """Fetch a kernel, QEMU and the guest image with `uring` in it, and say how to boot them.

    Args:
        ref: the kernel.
        accel: `auto`, `kvm` or `tcg`; None for what the settings say.
        shape: what the guest is given.
        extra_files: path below `/work` to a file to send along.
    """
    setup = setup_for(accel)
    kernel = setup.kernels.fetch(ref)
    runtime = setup.runtime()
    files = {**payload.own_files([SUITE]), **extra_files}
    archive = image.payload(runtime, setup.cache, files=files)
    initrd = image.join(runtime.initramfs, archive, setup.cache)
    qemu = setup.qemu()
    chosen = setup.accel(qemu, kernel, initrd)
    machine = setup.machine(qemu, chosen.name, kernel.image, initrd)
    return replace(
        machine,
        memory_mib=shape.memory_for(machine.memory_mib),
        cpus=shape.cpus,
        parameters=shape.parameters,
        vmlinux=vmlinux.unpacked(kernel, setup.cache, setup.progress) if chosen.name == "tcg" else None,
    )


def guest_of(ref: KernelRef, accel: str | None, shape: GuestShape, directory: Path) -> Guest:
    """Fetch and boot a kernel; the console is kept in the directory."""
    return boot(machine_of(ref, accel, shape), ref, directory)


def boot(machine: MachineConfig, ref: KernelRef, directory: Path) -> Guest:
    """Boot a kernel, and say so meanwhile: it takes a while. A terminal that is the guest's is left alone."""
    shown = progress()
    stage = contextlib.nullcontext() if machine.is_interactive else shown.stage(f"booting {ref.release or ref.id}")
    with stage:
        try:
            return Guest.boot(machine, directory, deadline_s=BOOT_DEADLINE_S)
        except BootError as error:
            if machine.vmlinux is None:
                raise
            why = str(error).partition("\n")[0]
            shown.note(f"{ref.id}: its image is booted, because the unpacked kernel did not: {why}")
            return Guest.boot(machine.from_image(), directory, deadline_s=BOOT_DEADLINE_S)
