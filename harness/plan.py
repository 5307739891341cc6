"""What a session runs where: columns with everything their guests need. Made once, sent to xdist's workers as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Self

import msgspec

from harness import cell_inputs, kernel_records
from harness.cells import HOST, Cell
from harness.guests import Column, PendingOutcome
from harness.report_attributes import NOTES_OF_FETCHING
from harness.resume import EarlierCell
from harness.suites import Mode
from reports.results import Host, Kernel
from vm.architectures import ARCHITECTURES
from vm.cache import Cache
from vm.errors import FetchError, VmError
from vm.kernel import Kernel as FetchedKernel
from vm.machine import Emulator, MachineConfig
from vm.progress import PlainProgress, Progress
from vm.vmlinux import Vmlinux

_INPUTS = ("sha256", "inputs", "guest")


@dataclass(frozen=True, slots=True)
class GuestPlan:
    """One kernel's guest. Paths are this machine's."""

    arch: str
    initrd: Path
    # What the guest finds in its window; None when it is part of the initrd.
    payload: Path | None
    emulator: tuple[str, ...]
    accelerator: str
    environment: dict[str, str]
    # Modules whose tests want a disk; guests that have one cannot be saved.
    disk_users: tuple[str, ...] = ()
    memory_mib: int = 0
    cpus: int = 1
    parameters: tuple[str, ...] = ()
    gdb_port: int | None = None
    kernel_id: str = ""
    # What verdicts are obtained with, as far as it is the same for every kernel (`harness.cell_inputs`).
    inputs: dict[str, str] = field(default_factory=dict)
    # The kernel's image, and its hash; None while it is still being fetched …
    kernel: Path | None = None
    sha256: str = ""
    # … and then its outcome will be here (`vm.prefetch`).
    outcome: Path | None = None
    # The payload once more, as a disk, if it is too large for the window.
    payload_disk: Path | None = None
    # The kernel unpacked, if it can be started that way.
    vmlinux: Vmlinux | None = None

    def of(self, kernel_id: str, outcome: Path | None = None) -> Self:
        """The same for a kernel, which may not be there yet."""
        return replace(self, kernel_id=kernel_id, outcome=outcome)

    def with_kernel(self, kernel: FetchedKernel, cache: Cache, progress: Progress) -> Self:
        """The same with a kernel that is there."""
        from vm import image, vmlinux  # noqa: PLC0415 - not needed in a worker whose kernels are there

        def has(*options: str) -> bool:
            """Whether these are built in. Of an unknown configuration one hopes so."""
            return not kernel.config or all(kernel.config.get(option) == "y" for option in options)

        # Under KVM unpacking takes no time worth mentioning; and whoever has a debugger sees all of the image's boot.
        is_direct = self.accelerator == "tcg" and self.gdb_port is None
        initrd, payload, payload_disk = self.initrd, self.payload, self.payload_disk
        # A kernel without PCI sees no window: what a test needs has to be in its initramfs.
        has_window = has("CONFIG_PCI") and payload_disk is None
        if payload_disk is not None and has("CONFIG_PCI", "CONFIG_BLK_DEV_NVME", "CONFIG_EXT4_FS"):
            payload = None
        elif payload is not None and not has_window:
            initrd, payload, payload_disk = image.join(initrd, payload, cache), None, None
        return replace(
            self,
            kernel=kernel.image,
            vmlinux=vmlinux.unpacked(kernel, cache, progress) if is_direct else None,
            sha256=kernel.sha256,
            initrd=initrd,
            payload=payload,
            payload_disk=payload_disk,
            outcome=None,
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole session."""

    cells: tuple[Cell, ...]
    guests: tuple[GuestPlan, ...]
    # The agent's argument, but for the cells.
    session: dict[str, Any]
    # Kernels that could not be had: id, architecture and why.
    unavailable: tuple[tuple[str, str, str], ...]
    kernels: tuple[Kernel, ...]
    modes: dict[str, Mode]
    host: Host
    # Where consoles are kept.
    consoles: Path
    cache: Path
    # Whether guests that were booted before may be restored.
    has_snapshots: bool = True
    notes: tuple[str, ...] = field(default=())
    # The running kernel's, like `GuestPlan.inputs`.
    host_inputs: dict[str, str] = field(default_factory=dict)
    # A word for the tree of the tests, where results are kept.
    tree: str = ""
    # What a resumed run has verdicts for.
    earlier: tuple[EarlierCell, ...] = ()

    def is_host(self, cell: Cell) -> bool:
        """Whether a cell is this machine's kernel, in process."""
        return cell.kernel == HOST

    def columns(self, paths: Sequence[str]) -> Mapping[tuple[str, str], Column]:
        """What `Guests` needs, of every kernel that is there.

        Args:
            paths: the files that guests have to collect.
        """
        return {
            (guest.kernel_id, guest.arch): self._column(guest, guest.kernel, paths)
            for guest in self.guests
            if guest.kernel is not None
        }

    def await_kernel(self, key: tuple[str, str], paths: Sequence[str], until_s: float | None) -> PendingOutcome:
        """Wait for a kernel that is still being fetched.

        Args:
            key: its id and architecture.
            paths: the files that guests have to collect.
            until_s: when to give up, by the monotonic clock.
        """
        from vm import prefetch  # noqa: PLC0415 - not needed in a worker whose kernels are there
        from vm.fetch import hold  # noqa: PLC0415

        guest = next(guest for guest in self.guests if (guest.kernel_id, guest.arch) == key)
        cache = Cache(self.cache)
        try:
            if guest.outcome is None or (kernel := prefetch.take(guest.outcome, until_s)) is None:
                raise FetchError(f"nobody fetches {guest.kernel_id}")
            hold(kernel, cache)
            guest = guest.with_kernel(kernel, cache, PlainProgress())
        except VmError as error:
            return PendingOutcome(kernel_records.facts(error), why_not=str(error))
        facts = kernel_records.facts(kernel)
        known = {**facts, NOTES_OF_FETCHING: facts["notes"], **self._inputs(guest, kernel.image)}
        return PendingOutcome(known, self._column(guest, kernel.image, paths))

    def is_fetching(self, cell: Cell) -> bool:
        """Whether a cell's kernel is not there yet."""
        from vm import prefetch  # noqa: PLC0415 - asked in the controller only, which has it

        return any(
            guest.outcome is not None and not prefetch.is_there(guest.outcome)
            for guest in self.guests
            if (guest.kernel_id, guest.arch) == (cell.kernel, cell.arch)
        )

    def inputs_of(self, kernel: Kernel) -> dict[str, Any]:
        """What verdicts of a kernel are obtained with, for its record; nothing as long as it is being fetched.

        Args:
            kernel: its record.
        """
        if kernel.id == HOST:
            return {"inputs": self.host_inputs}
        guest = self._guest((kernel.id, kernel.arch))
        return self._inputs(guest, guest.kernel) if guest is not None and guest.kernel is not None else {}

    def await_inputs(self, key: tuple[str, str]) -> dict[str, Any]:
        """The same of a kernel that is still being fetched, when it is there; nothing if it cannot be had."""
        guest = self._guest(key)
        if guest is None or guest.outcome is None:
            return {}
        return {name: fact for name, fact in self.await_kernel(key, (), None).update.items() if name in _INPUTS}

    def _guest(self, key: tuple[str, str]) -> GuestPlan | None:
        return next((guest for guest in self.guests if (guest.kernel_id, guest.arch) == key), None)

    def _inputs(self, guest: GuestPlan, kernel: Path) -> dict[str, Any]:
        machine = _machine(guest, kernel, ())
        words = {cell_inputs.KERNEL: guest.sha256, cell_inputs.GUEST: cell_inputs.of_machine(machine)}
        return {
            "inputs": {**guest.inputs, **words},
            "guest": msgspec.to_builtins(cell_inputs.guest_config(machine)),
        }

    def _column(self, guest: GuestPlan, kernel: Path, paths: Sequence[str]) -> Column:
        return Column(
            _machine(guest, kernel, paths),
            {
                **self.session,
                "files": paths,
                "cells": [cell.to_json() for cell in self.cells_of(guest.kernel_id, guest.arch)],
            },
        )

    def cells_of(self, kernel: str, arch: str) -> Sequence[Cell]:
        """A column's cells, one per mode."""
        return [cell for cell in self.cells if (cell.kernel, cell.arch) == (kernel, arch)]

    def to_json(self) -> str:
        """Write the plan for a worker."""
        return msgspec.json.encode(self, enc_hook=str).decode()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        return msgspec.json.decode(text, type=cls, dec_hook=lambda kind, value: kind(value))


def _is_test_module(name: str) -> bool:
    stem = PurePosixPath(name).stem
    return stem.startswith("test_") or stem.endswith("_test")


def _machine(guest: GuestPlan, kernel: Path, paths: Sequence[str]) -> MachineConfig:
    return MachineConfig(
        ARCHITECTURES[guest.arch],
        Emulator(guest.emulator, guest.accelerator, guest.environment),
        kernel,
        guest.initrd,
        memory_mib=guest.memory_mib,
        cpus=guest.cpus,
        parameters=guest.parameters,
        gdb_port=guest.gdb_port,
        payload=guest.payload,
        # A test module that is not asked for wants nothing; a conftest.py, say, speaks for whoever uses it.
        has_disk=any(name in paths or not _is_test_module(name) for name in guest.disk_users),
        payload_disk=guest.payload_disk,
        vmlinux=guest.vmlinux,
    )
