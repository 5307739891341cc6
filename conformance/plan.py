"""What a session runs where: columns with everything their guests need. Made once, sent to xdist's workers as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec

from conformance.cells import HOST, Cell
from conformance.guests import Column
from reports.results import CellKey, Host, Kernel
from vm.architectures import ARCHITECTURES
from vm.machine import Emulator, MachineConfig, memory_mib


@dataclass(frozen=True, slots=True)
class GuestPlan:
    """One kernel's guest."""

    kernel_id: str
    arch: str
    # Paths on this machine.
    kernel: str
    initrd: str
    emulator: tuple[str, ...]
    accelerator: str
    environment: dict[str, str]
    # What the guest finds in its window; None when it is part of the initrd.
    payload: str | None = None
    has_disk: bool = False


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
    host: Host
    # Where consoles are kept.
    consoles: Path
    cache: Path
    # Whether guests that were booted before may be restored.
    has_snapshots: bool = True
    notes: tuple[str, ...] = field(default=())
    # Cells that a resumed run has verdicts for already: test, kernel, arch, mode.
    done: frozenset[CellKey] = frozenset()

    def is_host(self, cell: Cell) -> bool:
        """Whether a cell is this machine's kernel, in process."""
        return cell.kernel == HOST

    def columns(self, paths: Sequence[str]) -> Mapping[tuple[str, str], Column]:
        """What `Guests` needs.

        Args:
            paths: the files that guests have to collect.
        """
        return {
            (guest.kernel_id, guest.arch): Column(
                MachineConfig(
                    ARCHITECTURES[guest.arch],
                    Emulator(guest.emulator, guest.accelerator, guest.environment),
                    Path(guest.kernel),
                    Path(guest.initrd),
                    memory_mib=memory_mib(Path(guest.initrd)),
                    payload=Path(guest.payload) if guest.payload is not None else None,
                    has_disk=guest.has_disk,
                ),
                {
                    **self.session,
                    "paths": paths,
                    "cells": [cell.to_json() for cell in self.cells_of(guest.kernel_id, guest.arch)],
                },
            )
            for guest in self.guests
        }

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
