"""Which QEMU to run, and how fast it may go: the system's or one of our own; KVM if it proved itself, or emulation."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from vm.apt import Archive
from vm.apt_text import Package
from vm.archives import extract
from vm.cache import Cache, Entry, hash_file
from vm.catalogue import Catalogue
from vm.errors import CacheError, FetchError, QemuError, SignatureError, VmError
from vm.progress import SILENT, Progress
from vm.settings import Settings

# Older ones lack what we say to them.
VERSION_MIN = (6, 0)
_PROGRAMS = {"amd64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}
# A machine type every guest of that architecture uses.
_MACHINES = {"amd64": "pc", "arm64": "virt"}
# `uname -m` to Debian's name: which packages run on this machine.
_HOSTS = {"x86_64": "amd64", "aarch64": "arm64"}
_ANSWER_MAX_S = 60.0
_DATA_FOLDERS = ("usr/share/qemu", "usr/share/seabios")
_KVM = Path("/dev/kvm")
_KVM_GET_API_VERSION, _KVM_API_VERSION = 0xAE00, 12
_KIND = "qemu"

AccelName = Literal["kvm", "tcg"]


@dataclass(frozen=True, slots=True)
class Qemu:
    """A QEMU that has answered."""

    # How to start it, where it finds its firmware included; the machine's options follow.
    command: tuple[str, ...]
    version: tuple[int, ...]
    source: Literal["system", "fetched"]
    # Of the program itself.
    sha256: str
    # What has to be in its environment.
    environment: Mapping[str, str] = field(default_factory=dict)
    # The package and version it was fetched as, or the system's path.
    origin: str = ""

    def __str__(self) -> str:
        return f"QEMU {'.'.join(map(str, self.version))} ({self.source}: {self.origin})"


@dataclass(frozen=True, slots=True)
class Accel:
    """How guests are run, and why so."""

    name: AccelName
    reason: str


def find_qemu(
    arch: str,
    cache: Cache,
    settings: Settings,
    progress: Progress = SILENT,
    *,
    catalogue: Catalogue | None = None,
    archives: Sequence[Archive] | None = None,
) -> Qemu:
    """Find a QEMU for guests of an architecture: the system's if it is good, else our own, fetched without root.

    Args:
        arch: the guests', by Debian's name.
        cache: where a fetched one is kept.
        settings: mirror and offline.
        progress: told what takes time, and why the system's is not good enough.
        catalogue: instead of the one that comes with the program.
        archives: where to fetch from, one after another until one has it; instead of what the catalogue says.

    Raises:
        QemuError: there is none, and none could be fetched.
    """
    if arch not in _PROGRAMS:
        raise QemuError(f"no QEMU program is known for {arch} guests; there are {', '.join(_PROGRAMS)}")
    path = shutil.which(_PROGRAMS[arch])
    if path is not None:
        try:
            return _system_qemu(Path(path), arch)
        except QemuError as error:
            progress.note(f"the system's QEMU is not used: {error}")
    entry = _cached(arch, cache) or _fetch(arch, cache, settings, progress, catalogue or Catalogue.load(), archives)
    return _qemu(entry.directory, entry.meta, entry.files)


def is_at_hand(arch: str, cache: Cache) -> bool:
    """Whether there is a QEMU that was not fetched, or was fetched before; it may turn out to be of no use."""
    return shutil.which(_PROGRAMS.get(arch, "")) is not None or any(
        key.startswith(f"{arch}-") for key in cache.keys(_KIND)
    )


def choose_accel(
    qemu: Qemu,
    arch: str,
    cache: Cache,
    settings: Settings,
    prove: Callable[[], object],
    progress: Progress = SILENT,
    own_kernel: str = "",
) -> Accel:
    """Choose between KVM and emulation. A device node proves nothing: only a kernel that booted does.

    Args:
        qemu: what is going to run.
        arch: the guests', by Debian's name.
        cache: where the verdict is remembered until the machine is booted again.
        settings: whose `accel` overrides everything.
        prove: boots a kernel under KVM, with a deadline; raises a VmError when that fails.
        progress: told of the proof, which takes seconds.
        own_kernel: the hash of the kernel that is booted, if it is the user's own: it may be the one at fault, so that
            what it says of KVM holds for it alone.

    Raises:
        QemuError: KVM was asked for by name and is not to be had.
    """
    if settings.accel == "tcg":
        return Accel("tcg", "emulation was asked for")
    obstacle = kvm_obstacle(arch)
    if settings.accel == "kvm":
        if obstacle is not None:
            raise QemuError(f"KVM was asked for, but {obstacle}; use --accel auto or tcg")
        return Accel("kvm", "KVM was asked for")
    if obstacle is not None:
        return Accel("tcg", obstacle)

    def build(_directory: Path) -> Mapping[str, Any]:
        started_s = time.monotonic()
        try:
            with progress.stage("trying KVM with a short boot"):
                prove()
        except VmError as error:
            reason = f"/dev/kvm is there, but a kernel did not boot with it: {_first_line(str(error))}"
            progress.note(f"KVM does not work here, guests are emulated: {_first_line(str(error))}")
            return {"name": "tcg", "reason": reason}
        return {"name": "kvm", "reason": f"a kernel booted with KVM in {time.monotonic() - started_s:.1f} s"}

    key = f"{_machine_key(qemu)}{own_kernel[:32]}"
    try:
        verdict = cache.get_or_build("accel", key, build).meta
    except CacheError:
        # Nowhere to remember it: proved anew each time.
        verdict = build(Path())
    return Accel("kvm" if verdict["name"] == "kvm" else "tcg", verdict["reason"])


def kvm_obstacle(arch: str) -> str | None:
    """Say why KVM cannot be tried at all; None when it can."""
    if _HOSTS.get(os.uname().machine) != arch:
        return f"KVM runs no {arch} guests on a {os.uname().machine} machine"
    if not _KVM.exists():
        return f"there is no {_KVM} (no virtualization, or not passed on to this machine)"
    try:
        descriptor = os.open(_KVM, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return f"{_KVM} cannot be opened ({error.strerror}); membership in the group kvm usually allows it"
    try:
        version = fcntl.ioctl(descriptor, _KVM_GET_API_VERSION)
    except OSError as error:
        return f"{_KVM} does not answer ({error.strerror})"
    finally:
        os.close(descriptor)
    return None if version == _KVM_API_VERSION else f"{_KVM} speaks version {version} of its interface"


def host_arch() -> str:
    """Debian's name for this machine's architecture.

    Raises:
        QemuError: packages for it are not known here.
    """
    machine = os.uname().machine
    if machine not in _HOSTS:
        raise QemuError(
            f"no QEMU packages are known for {machine} machines; install QEMU with the system's package manager"
        )
    return _HOSTS[machine]


# -- the system's -----------------------------------------------------------------------------------------------------


def _system_qemu(path: Path, arch: str) -> Qemu:
    command = (str(path),)
    version = _prove(command, {}, arch)
    return Qemu(command, version, "system", hash_file(path), origin=str(path))


def _prove(command: Sequence[str], environment: Mapping[str, str], arch: str) -> tuple[int, ...]:
    """Have a QEMU say its version and its machines. Returns the version.

    Raises:
        QemuError: it does not run, is too old, or lacks what guests need.
    """
    said = _ask(command, environment, "--version")
    match = re.search(r"version (\d+(?:\.\d+)+)", said)
    if match is None:
        raise QemuError(f"{command[-1]} --version says {_first_line(said)!r}")
    version = tuple(int(part) for part in match[1].split("."))
    if version < VERSION_MIN:
        raise QemuError(f"it is version {match[1]}, and {'.'.join(map(str, VERSION_MIN))} or newer is needed")
    machine = _MACHINES[arch]
    if not re.search(rf"^{machine}\b", _ask(command, environment, "-machine", "help"), re.MULTILINE):
        raise QemuError(f"it has no machine type {machine!r}")
    if "tcg" not in _ask(command, environment, "-accel", "help").split():
        raise QemuError("it is built without emulation (tcg)")
    return version


def _ask(command: Sequence[str], environment: Mapping[str, str], *arguments: str) -> str:
    try:
        done = subprocess.run(
            [*command, *arguments],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ANSWER_MAX_S,
            check=False,
        )
    except PermissionError as error:
        raise QemuError(
            f"{command[0]} cannot be started ({error.strerror}); its file system may be mounted noexec; "
            "choose another place with --cache or URING_MATRIX_CACHE"
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise QemuError(f"{command[0]} {' '.join(arguments)} does not run: {error}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise QemuError(f"{command[0]} {' '.join(arguments)} ended with status {done.returncode}: {_first_line(said)}")
    return done.stdout.decode(errors="replace")


# -- our own ----------------------------------------------------------------------------------------------------------


def _cached(arch: str, cache: Cache) -> Entry | None:
    """Find one that was fetched before: it stays good, so that nobody downloads a new one every month."""
    entries = [cache.get(_KIND, key) for key in cache.keys(_KIND) if key.startswith(f"{arch}-")]
    return max((entry for entry in entries if entry is not None), key=lambda e: tuple(e.meta["version"]), default=None)


def _fetch(
    arch: str,
    cache: Cache,
    settings: Settings,
    progress: Progress,
    catalogue: Catalogue,
    archives: Sequence[Archive] | None,
) -> Entry:
    host = host_arch()
    names = catalogue.qemu_packages[arch]
    failure: VmError | None = None
    for archive in archives or [Archive(suites, host, cache, settings, progress) for suites in catalogue.qemu_suites]:
        try:
            packages = archive.resolve(names)
        except SignatureError:
            raise
        except FetchError as error:
            failure = failure or error
            continue
        return _install(arch, archive, packages, cache, progress)
    raise QemuError(
        f"there is no {_PROGRAMS[arch]} on this machine, and none could be fetched: {failure}. "
        f"Installing the package {' '.join(names)} with the system's package manager helps as well"
    ) from failure


def _install(arch: str, archive: Archive, packages: Sequence[Package], cache: Cache, progress: Progress) -> Entry:
    """Download QEMU and all its libraries, and keep what it needs in order to run."""
    content = "\n".join(sorted(package.sha256 for package in packages))
    key = f"{arch}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    program = f"usr/bin/{_PROGRAMS[arch]}"
    own = next(
        (package for package in packages if package.name in {"qemu-system-x86", "qemu-system-arm"}), packages[-1]
    )

    def build(directory: Path) -> Mapping[str, Any]:
        with cache.temporary() as workspace:
            files = archive.download(packages, workspace, what=f"downloading QEMU ({len(packages)} packages)")
            with progress.stage("unpacking QEMU"):
                for file in files:
                    extract(file, directory, lambda name: _is_wanted(name, program))
                loader = _find_loader(directory)
                _drop_unneeded(directory, loader, program)
                meta: dict[str, Any] = {
                    "loader": loader,
                    "program": program,
                    "origin": own.exact,
                    "packages": {package.name: package.version for package in packages},
                }
                command, environment = _start(directory, meta)
                meta["version"] = list(_prove(command, environment, arch))
        return meta

    return cache.get_or_build(_KIND, key, build)


def _is_wanted(name: str, program: str) -> bool:
    """Whether QEMU may need this member of a package: itself, libraries, accelerators, firmware."""
    path = PurePosixPath(name)
    folder = str(path.parent)
    if name == program:
        return True
    if folder in _DATA_FOLDERS:
        return path.suffix in {".bin", ".rom"}
    if path.match("usr/lib/*/qemu/accel-*.so"):
        return True
    return path.match("usr/lib/*-linux-gnu/*.so*") or path.match("usr/lib/ld-linux*.so*")


def _find_loader(directory: Path) -> str:
    """Find the closure's dynamic loader: the file, not a link, which may point to the system's."""
    found = [path for path in sorted(directory.glob("usr/lib/**/ld-linux*.so.*")) if not path.is_symlink()]
    if not found:
        raise QemuError("QEMU's packages have no dynamic loader; fetch QEMU with the system's package manager")
    return str(found[0].relative_to(directory))


def _drop_unneeded(directory: Path, loader: str, program: str) -> None:
    """Keep the libraries that the loader would load, and no others: the closure has twice as many."""
    folder = directory / Path(loader).parent
    needed = {directory / loader}
    for path in [directory / program, *directory.glob("usr/lib/*/qemu/*.so")]:
        command = [str(directory / loader), "--inhibit-cache", "--library-path", str(folder), "--list", str(path)]
        for line in _ask(command, {}).splitlines():
            match = re.search(r"=> (/.+) \(0x", line)
            if match:
                library = Path(match[1])
                needed |= {library, library.resolve()}
            elif "not found" in line:
                raise QemuError(f"QEMU's packages lack a library: {line.strip()}")
    # Loaded by name when a thread ends.
    needed |= {path for library in folder.glob("libgcc_s.so*") for path in (library, library.resolve())}
    for path in folder.glob("*.so*"):
        if path not in needed:
            path.unlink()


def _start(directory: Path, meta: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, str]]:
    """How to start a QEMU that lies in a directory: through its own loader, with its own libraries and firmware."""
    loader = directory / meta["loader"]
    command = [str(loader), "--inhibit-cache", "--library-path", str(loader.parent), str(directory / meta["program"])]
    for folder in _DATA_FOLDERS:
        if (directory / folder).is_dir():
            command += ["-L", str(directory / folder)]
    return tuple(command), {"QEMU_MODULE_DIR": str(loader.parent / "qemu"), "GIO_MODULE_DIR": str(directory / "none")}


def _qemu(directory: Path, meta: Mapping[str, Any], files: Mapping[str, str]) -> Qemu:
    command, environment = _start(directory, meta)
    return Qemu(command, tuple(meta["version"]), "fetched", files[meta["program"]], environment, meta["origin"])


# -- the machine ------------------------------------------------------------------------------------------------------


def _machine_key(qemu: Qemu) -> str:
    """Name what a verdict about KVM depends on: this boot of this machine, its processor, and QEMU."""
    uname = os.uname()
    parts = [uname.release, uname.version, uname.machine, _read("/proc/sys/kernel/random/boot_id"), qemu.sha256]
    parts += [
        line
        for line in _read("/proc/cpuinfo").split("\n\n")[0].splitlines()
        if line.startswith(("model name", "flags"))
    ]
    parts += [_read(path) for path in sorted(Path("/sys/module").glob("kvm*/parameters/nested"))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
