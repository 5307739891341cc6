"""Builds a source's kernel as it is, and with one change each: whatever is the same of two of them is compiled once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kernel_changes import KernelChange
from kernel_source import Source

from vm.cache import Cache
from vm.specs import BUILD_IMAGES

CONFIG = Path(__file__).with_name("kernel.config")
KIND = "broken-kernels"
IMAGE = "bzImage"
# What it takes, and Debian's package that has it. A path is a header.
NEEDS = {
    "make": "make",
    "gcc": "gcc",
    "ld": "binutils",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "tar": "tar",
    "xz": "xz-utils",
    "lz4": "lz4",
    "/usr/include/gelf.h": "libelf-dev",
    "/usr/include/openssl/opensslv.h": "libssl-dev",
}
_BUILDS = "kernel-build"
# The same source and change give the same image, whoever builds it, and whenever.
_REPRODUCIBLE = {
    "KBUILD_BUILD_TIMESTAMP": "Thu Jan  1 00:00:00 UTC 1970",
    "KBUILD_BUILD_USER": "broken",
    "KBUILD_BUILD_HOST": "kernels",
    "KBUILD_BUILD_VERSION": "1",
}
_LINES_MAX = 15


class BuildError(Exception):
    """A kernel was not built; with what the compiler said."""


def missing_packages(needs: Mapping[str, str] = NEEDS) -> list[str]:
    """Name Debian's packages that this machine lacks to build a kernel."""
    return sorted(
        {
            package
            for need, package in needs.items()
            if not (Path(need).exists() if need.startswith("/") else shutil.which(need))
        }
    )


class Builder:
    """Builds kernels of one source, one after the other.

    Args:
        source: it.
        cache: where images are kept, and the tree they are built in.
        jobs: compilers at a time.
    """

    def __init__(self, source: Source, cache: Cache, jobs: int) -> None:
        self._source, self._cache, self._jobs = source, cache, jobs
        self._tree = cache.folder(_BUILDS) / source.name
        said = subprocess.run(["gcc", "--version"], check=True, capture_output=True, text=True).stdout
        self._compiler = said.splitlines()[0]

    def key(self, change: KernelChange | None) -> str:
        """What an image depends on, in a word."""
        place = [change.file, change.scope, change.old, change.new] if change is not None else []
        whole = json.dumps([self._source.package, CONFIG.read_text(encoding="utf-8"), self._compiler, place])
        return hashlib.sha256(whole.encode()).hexdigest()[:32]

    def image(self, change: KernelChange | None) -> Path:
        """Have a kernel's image, its configuration beside it; built now unless the cache has it.

        Raises:
            ChangeError: the source does not have the text.
            BuildError: it could not be built.
        """

        def build(directory: Path) -> Mapping[str, Any]:
            with self._cache.lock(_BUILDS):
                self._build(change, directory)
            return {"change": change.id if change is not None else None, "source": self._source.package}

        return self._cache.get_or_build(KIND, self.key(change), build).path(IMAGE)

    def compile(self, change: KernelChange) -> None:
        """Compile what a change touches, and nothing else: whether it is C at all.

        Raises:
            ChangeError: the source does not have the text.
            BuildError: it is not.
        """
        path = Path("io_uring") / change.file
        with self._cache.lock(_BUILDS):
            self._make_changed(change, str(path.with_suffix(".o")) if path.suffix == ".c" else "io_uring/")

    def _build(self, change: KernelChange | None, directory: Path) -> None:
        self._make_changed(change, IMAGE)
        shutil.copyfile(self._tree / ".config", directory / "config")
        shutil.copyfile(self._tree / BUILD_IMAGES["amd64"], directory / IMAGE)

    def _make_changed(self, change: KernelChange | None, target: str) -> None:
        self._configure()
        self._restore()
        if change is not None:
            file = self._source.directory / "io_uring" / change.file
            file.write_text(change.apply(file.read_text(encoding="utf-8")), encoding="utf-8")
        try:
            self._make(target)
        finally:
            self._restore()

    def _configure(self) -> None:
        """Write the configuration, if it is not there or is another one than is asked for."""
        asked, stamp = CONFIG.read_text(encoding="utf-8"), self._tree / "asked.config"
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == asked:
            return
        self._tree.mkdir(parents=True, exist_ok=True)
        self._make("defconfig", "kvm_guest.config")
        config = self._tree / ".config"
        config.write_text(config.read_text(encoding="utf-8") + asked, encoding="utf-8")
        self._make("olddefconfig")
        if refused := unmet(asked, config.read_text(encoding="utf-8")):
            raise BuildError(f"{self._source.package} cannot be configured so: {', '.join(refused)}")
        stamp.write_text(asked, encoding="utf-8")

    def _restore(self) -> None:
        """Have `io_uring/` as it came, also where an earlier build was killed; what is so already is not compiled."""
        for path in self._source.pristine.iterdir():
            file, content = self._source.directory / "io_uring" / path.name, path.read_bytes()
            if path.is_file() and file.read_bytes() != content:
                file.write_bytes(content)

    def _make(self, *targets: str) -> None:
        command = ["make", "-s", f"-j{self._jobs}", f"O={self._tree}", *targets]
        done = subprocess.run(
            ["nice", "-n", "10", *command],
            cwd=self._source.directory,
            env={**os.environ, **_REPRODUCIBLE},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            lines = [line for line in done.stdout.splitlines() if "warning: override" not in line]
            raise BuildError(f"make {' '.join(targets)} failed:\n" + "\n".join(lines[-_LINES_MAX:]))


def unmet(asked: str, config: str) -> list[str]:
    """List what was asked of a configuration and did not come so; what a kernel does not know is not set."""
    lines = set(config.splitlines())
    on = {line.partition("=")[0] for line in lines if line.startswith("CONFIG_")}
    found = []
    for line in asked.splitlines():
        if (line.startswith("CONFIG_") and line not in lines) or (
            line.startswith("# CONFIG_") and line.split()[1] in on
        ):
            found.append(line)
    return found
