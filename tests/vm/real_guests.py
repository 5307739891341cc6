"""Real guests for tests: of the oldest and the newest kernel, with the files they ask for."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from uring_matrix.guests import setup_for
from vm import disk, image
from vm.machine import Guest, MachineConfig
from vm.vmlinux import unpacked

DEADLINE_S = 300.0
_IN_GUEST = Path(__file__).parent / "in_guest.py"
OLDEST, NEWEST = "oldest", "newest"


def machine(
    which: str,
    files: Mapping[str, Path] = MappingProxyType({}),
    site: Mapping[str, Path] = MappingProxyType({}),
    *,
    has_window: bool = True,
    has_disk: bool = False,
) -> MachineConfig:
    """A guest that runs what tests hand to `run`.

    Args:
        which: kernel.
        files: name below ``/work`` to what is sent.
        site: name below ``/site`` to what is sent.
        has_window: whether the files come through the window, or on a disk if they are large, or in the initramfs.
        has_disk: whether there is an empty disk.
    """
    setup = setup_for(None)
    kernel = setup.kernels.fetch(setup.kernels.resolve(["all"])[0 if which == OLDEST else -1])
    runtime = setup.runtime()
    archive = image.payload(runtime, setup.cache, files={**files, "in_guest.py": _IN_GUEST}, site=site)
    initrd = runtime.initramfs if has_window else image.join(runtime.initramfs, archive, setup.cache)
    qemu = setup.qemu()
    bare = setup.machine(qemu, setup.accel(qemu, kernel, initrd).name, kernel.image, initrd)
    is_large = has_window and disk.is_needed(archive)
    return MachineConfig(
        bare.architecture,
        bare.emulator,
        bare.kernel,
        initrd,
        memory_mib=bare.memory_mib,
        payload=archive if has_window and not is_large else None,
        payload_disk=disk.make(runtime, archive, setup.cache) if is_large else None,
        has_disk=has_disk,
        vmlinux=unpacked(kernel, setup.cache, setup.progress) if bare.emulator.accelerator == "tcg" else None,
    )


def run(guest: Guest, code: str) -> Any:
    """Run code in a guest; what it leaves in `result`."""
    guest.start("in_guest:main", {"code": textwrap.dedent(code)})
    ran = guest.channel.receive(DEADLINE_S)
    assert ran["type"] == "ran", f"{ran}\n{guest.console_tail()}"
    assert guest.channel.receive(DEADLINE_S) == {"type": "exit", "status": 0}
    assert "error" not in ran, ran["error"]
    return ran["result"]
