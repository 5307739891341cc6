"""The same suite in the same kernel with virtme-ng, for comparison: it boots kernels with the host's files as root.

virtme-ng comes from PyPI and virtiofsd from Debian, both only for as long as the comparison takes; QEMU is the one that
uring-matrix uses, and emulates, too. It needs a kernel that finds its root without an initramfs: `CONFIG_VIRTIO_FS` and
`CONFIG_VIRTIO_PCI` built in, which among Debian's cloud kernels only the newest have.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.prepare import Setup
from vm import archives, image
from vm.apt import Archive
from vm.kernel import Kernel
from vm.qemu import Qemu

ROOT = Path(__file__).resolve().parent.parent
_NEEDED = ("CONFIG_VIRTIO_FS", "CONFIG_VIRTIO_PCI")
# virtiofsd and what it is linked with, of all that its package depends on.
_PACKAGES = frozenset({"virtiofsd", "libcap-ng0", "libseccomp2", "libgcc-s1", "libc6"})
_DEADLINE_S = 600.0


class Virtme:
    """virtme-ng, made ready in a directory of the caller's."""

    def __init__(self, setup: Setup, kernel: Kernel, directory: Path) -> None:
        self._directory = directory
        self._programs = directory / "bin"
        self._programs.mkdir()
        self._image = directory / "bzImage"
        shutil.copyfile(kernel.image, self._image)
        _install("virtme-ng", directory / "virtme")
        qemu: Qemu = setup.qemu()
        _script(self._programs / setup.architecture.qemu_program, qemu.command, qemu.environment)
        self._add_virtiofsd(setup)

    def run(self) -> None:
        """Boot the kernel, run the suite in it with this Python, power off.

        Raises:
            SystemExit: not every test passed.
        """
        suite = shlex.join(
            [
                *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no"),
                *("conformance", "-m", "not capability"),
            ]
        )
        done = subprocess.run(
            [
                self._directory / "virtme" / "bin" / "vng",
                *("--disable-kvm", "--cpus", "1", "--memory", "512M"),
                # Without its own device, for which these kernels lack a module, only a verbose run shows any output.
                *("--verbose", "--append", "loglevel=0"),
                *("--run", self._image, "--", f"cd {shlex.quote(str(ROOT))} && {suite} --mode default"),
            ],
            env={
                **os.environ,
                "PATH": f"{self._programs}:{self._directory / 'virtme' / 'bin'}:{os.environ['PATH']}",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_DEADLINE_S,
            check=False,
        )
        # There is no status without that device, either.
        if not re.search(r"^41 passed", done.stdout, re.MULTILINE):
            raise SystemExit(f"virtme-ng did not pass: status {done.returncode}\n{done.stdout}")

    def _add_virtiofsd(self, setup: Setup) -> None:
        """Debian's, which runs on this system through the C library it comes with."""
        archive = Archive(image.SUITES, setup.architecture.name, setup.cache, setup.settings, setup.progress)
        packages = [package for package in archive.resolve(["virtiofsd"]) if package.name in _PACKAGES]
        root, downloads = self._directory / "virtiofsd", self._directory / "packages"
        root.mkdir()
        downloads.mkdir()
        for package in archive.download(packages, downloads):
            archives.extract(package, root, lambda _: True)
        libraries = root / "usr" / "lib" / setup.architecture.triplet
        command = [
            root / setup.architecture.loader,
            "--library-path",
            libraries,
            root / "usr" / "libexec" / "virtiofsd",
        ]
        _script(self._programs / "virtiofsd", [str(part) for part in command], {})


def obstacle(kernel: Kernel) -> str | None:
    """Why virtme-ng cannot boot a kernel with nothing else; None if it can."""
    missing = [name for name in _NEEDED if kernel.config.get(name) != "y"]
    return f"{' and '.join(missing)} not built in" if missing else None


def _install(package: str, directory: Path) -> None:
    venv.create(directory, with_pip=True)
    subprocess.run([directory / "bin" / "pip", "install", "--quiet", package], check=True)


def _script(path: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())
    path.write_text(f'#!/bin/sh\n{exports}exec {shlex.join(command)} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
