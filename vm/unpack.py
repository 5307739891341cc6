"""What is taken out of a kernel's packages: its image, its configuration, and the modules that a guest may want."""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vm.archives import decompress, members
from vm.errors import UnfitKernel
from vm.kernelimage import inspect, read_config

# What a guest may want to load, if the kernel has it as a module: block devices to put a real file system on.
_MODULES = ("loop", "nvme")
# Where those and what they depend on are, in every kernel so far.
_MODULE_FILES = re.compile(
    r"/kernel/(drivers/(block/loop|nvme/(host|common)/)|lib/|crypto/|block/).*\.ko(\.xz|\.zst|\.gz)?$"
)
_IMAGES = re.compile(r"boot/vmlinu[xz]-[^/]+|usr/lib/modules/[^/]+/vmlinuz")
_CONFIGS = re.compile(r"boot/config-[^/]+|usr/lib/modules/[^/]+/config")


def unpack_files(files: Sequence[Path], target: Path, arch: str, *, are_verified: bool = False) -> dict[str, Any]:
    """Take image, configuration and modules out of packages. Returns what to remember about them.

    Args:
        files: the packages.
        target: where to.
        arch: Debian's name of the architecture.
        are_verified: that they are whole is known: then they are read until everything is there, and no further.
    """
    image, config = target / "vmlinuz", target / "config"
    modules: dict[str, bytes] = {}
    known: Mapping[str, str] = {}
    wanted: list[str] = []
    for member in itertools.chain.from_iterable(map(members, files)):
        if not member.info.isreg():
            continue
        if _IMAGES.fullmatch(member.name):
            member.save(image)
        elif _CONFIGS.fullmatch(member.name):
            member.save(config)
            known = read_config(config.read_text(errors="replace"))
            wanted = wanted_modules(known)
        elif _MODULE_FILES.search(member.name):
            path = Path(member.name)
            modules[module_name(path)] = decompress(path.name, member.read())
        else:
            continue
        if are_verified and known and image.exists() and set(wanted) <= set(load_order(wanted, modules)):
            break
    if not image.exists():
        raise UnfitKernel(
            f"{' and '.join(path.name for path in files)} hold no kernel image; name a linux-image package"
        )
    facts = inspect(image, arch)
    order = load_order(wanted, modules)
    for name in order:
        (target / "modules").mkdir(exist_ok=True)
        (target / "modules" / f"{name}.ko").write_bytes(modules[name])
    return {"release": facts.release, "format": facts.format, "modules": order}


def wanted_modules(config: Mapping[str, str]) -> list[str]:
    """Name the modules that a guest may want of a kernel: what is built in, or is not there, is none of them."""
    return [name for name in _MODULES if config.get(f"CONFIG_BLK_DEV_{name.upper()}") == "m"]


def module_name(path: Path) -> str:
    """The name that the kernel has for a module in a file."""
    return path.name.partition(".ko")[0].replace("-", "_")


def load_order(wanted: Iterable[str], modules: Mapping[str, bytes]) -> list[str]:
    """Put modules into the order they have to be loaded; one whose dependencies are not all there is left out."""
    order: list[str] = []

    def add(name: str, above: tuple[str, ...]) -> bool:
        if name in order:
            return True
        if name not in modules or name in above:
            return False
        match = re.search(rb"\0depends=([^\0]*)\0", b"\0" + modules[name])
        needed = [part.replace("-", "_") for part in match[1].decode().split(",") if part] if match else []
        mark = len(order)
        if all(add(part, (*above, name)) for part in needed):
            order.append(name)
            return True
        del order[mark:]
        return False

    for name in wanted:
        add(name, ())
    return order
