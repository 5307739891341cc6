"""`uring-matrix doctor`: what this machine can do, what it lacks, and the command that mends it.

Every check looks at one thing and says one sentence. "fail" is kept for what makes a run impossible; a run that is
slower or that lacks something optional is a "warn".
"""

import dataclasses
import errno
import os
import platform
import resource
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click
import psutil
import pytest

import uring
from harness.guest_packages import find
from harness.prepare import Setup
from reports.results import distributions
from uring_matrix import output
from vm.architectures import ARCHITECTURES
from vm.cache import Cache
from vm.catalogue import Catalogue
from vm.errors import FetchError, QemuError, SettingsError, SpecError, VmError
from vm.fetch import Kernels
from vm.kernel import KernelRef
from vm.progress import SILENT
from vm.qemu import Qemu, choose_accel, find_qemu, host_arch, kvm_obstacle
from vm.settings import Settings
from vm.sources import Sources, find_sources, without_credentials
from vm.specs import ALL, is_path, spec_of

SCHEMA_VERSION = 1
Status = Literal["ok", "warn", "fail"]

# Package lists, the guests' Python, QEMU, the newest kernel of every series and two snapshots of each; room to unpack.
_DISK_NEEDED_MB = 4600
_DISK_LEAST_MB = 300
# What one guest and the program beside it take.
_MEMORY_PER_GUEST_MB = 400
# What tests that register buffers need on kernels older than 5.12.
_MEMLOCK_NEEDED_BYTES = 1 << 20
_MIRROR_TIMEOUT_S = 20
_APT_HELPER = "/usr/lib/apt/apt-helper"
# Whatever says that nothing is to be fetched, the environment outweighs it, but for an option.
_FETCH = "URING_MATRIX_OFFLINE=0 uring-matrix kernels fetch"
_STYLES = {"ok": ("ok", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "red")}


@dataclass(frozen=True, slots=True)
class Check:
    """What one look found; its fields are those of `doctor --json`."""

    id: str
    title: str
    status: Status
    # One sentence.
    message: str
    # The command, or the step, that mends it; None where nothing has to be mended.
    mend: str | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """What several checks share, gathered once."""

    settings: Settings
    cache: Cache
    catalogue: Catalogue
    arch: str
    # None where apt or a Debian archive is missing; the reason is beside it.
    sources: Sources | None
    sources_problem: str
    # None where QEMU would have to be fetched first.
    qemu: Qemu | None
    qemu_problem: str
    # What is in the cache: a guest image, or what it is made of, and kernels.
    has_image: bool = False
    has_kernels: bool = False

    @property
    def has_apt(self) -> bool:
        """Packages can be fetched, as far as programs go."""
        return all(shutil.which(name) for name in ("apt-get", "apt-config", "dpkg-deb"))

    @property
    def can_run_offline(self) -> bool:
        """There is a QEMU, and the cache holds a kernel and a guest image: something can be run without fetching."""
        return self.qemu is not None and self.has_kernels and self.has_image

    @property
    def offline_settings(self) -> Settings:
        """A doctor does not start downloads."""
        return dataclasses.replace(self.settings, offline=True)


def doctor(*, kernels: Sequence[str] = (), as_json: bool) -> int:
    """Look at everything and say what was found.

    Args:
        kernels: those to look for in the cache.
        as_json: whether to write JSON.

    Returns:
        3 where something makes runs impossible, or lacks for one that is offline, else 0.
    """
    checks = list(examine(kernels))
    is_ready = all(check.status != "fail" for check in checks)
    if as_json:
        found = [dataclasses.asdict(check) for check in checks]
        output.say_json({"schema_version": SCHEMA_VERSION, "is_ready": is_ready, "checks": found})
    else:
        for line in lines(checks):
            output.say(line)
        output.say()
        output.say(_verdict(checks, is_ready))
    return output.EXPECTED if is_ready else output.INFRASTRUCTURE


def _verdict(checks: Sequence[Check], is_ready: bool) -> str:
    if any(check.id == "image" for check in checks):
        return "An offline run has all it needs." if is_ready else "An offline run lacks something, see above."
    if is_ready and any(check.id == "cache" and check.status != "ok" for check in checks):
        return "This machine can run what its cache holds, and fetch nothing more."
    return "This machine can run the matrix." if is_ready else "This machine cannot run the matrix as it is."


def lines(checks: Sequence[Check]) -> Iterator[str]:
    """Write the checks in plain text; what is to be done stands below each."""
    width = max(len(check.title) for check in checks)
    for check in checks:
        word, color = _STYLES[check.status]
        mark = click.style(f"{word:<4}", fg=color, bold=check.status != "ok")
        yield f"{mark}  {check.title:<{width}}  {check.message}"
        if check.mend is not None:
            yield f"{'':<4}  {'':<{width}}  → {output.bold(check.mend)}"


def examine(kernels: Sequence[str] = ()) -> Iterator[Check]:
    """Make every check, those that others rest on first.

    Args:
        kernels: those to look for in the cache; without any, all, if nothing may be fetched.
    """
    yield check_python()
    try:
        machine = look()
    except SettingsError as error:
        yield Check("settings", "Settings", "fail", str(error), "correct what the sentence names")
        return
    except QemuError as error:
        yield Check("qemu", "QEMU", "fail", str(error), "use a machine of another architecture")
        return
    except VmError as error:
        yield Check("cache", "Cache", "fail", str(error), "choose another cache: export URING_MATRIX_CACHE=/a/folder")
        return
    checks: tuple[Callable[[Machine], Check], ...] = (
        check_apt,
        check_sources,
        check_mirror,
        check_qemu,
        check_kvm,
        check_cache,
        check_disk,
        check_memory,
        check_cpus,
    )
    for check in checks:
        yield check(machine)
    if machine.settings.offline:
        yield from check_guests(machine, kernels)
    if machine.settings.offline or kernels:
        yield from check_kernels(machine, kernels)
    yield check_io_uring()
    yield check_memlock()


def look() -> Machine:
    """Gather what several checks need.

    Raises:
        SettingsError: a setting cannot be meant.
        QemuError: guests are not known for this kind of machine.
        VmError: the cache cannot be looked into.
    """
    settings = Settings.load()
    cache = Cache(settings.cache, SILENT)
    catalogue = Catalogue.load()
    arch = host_arch()
    sources, sources_problem = None, ""
    try:
        sources = find_sources(settings.mirror, catalogue.suites)
    except FetchError as error:
        sources_problem = str(error)
    qemu, qemu_problem = None, ""
    try:
        # Offline: a doctor does not start downloads.
        qemu = find_qemu(arch, cache, dataclasses.replace(settings, offline=True), SILENT, catalogue=catalogue)
    except VmError as error:
        qemu_problem = str(error)
    machine = Machine(settings, cache, catalogue, arch, sources, sources_problem, qemu, qemu_problem)
    setup = _setup(machine)
    return dataclasses.replace(
        machine,
        has_image=setup is not None and setup.is_image_at_hand,
        has_kernels=bool(_kernels(machine).cached()),
    )


def _setup(machine: Machine) -> Setup | None:
    """What guests need, without the network; None where there is no such thing for this machine's architecture."""
    known = ARCHITECTURES.get(machine.arch)
    return Setup(known, machine.offline_settings, SILENT) if known is not None else None


def _kernels(machine: Machine) -> Kernels:
    return Kernels(machine.cache, machine.offline_settings, SILENT, arch=machine.arch, distributions=distributions)


# -- programs and packages --------------------------------------------------------------------------------------------


def check_python() -> Check:
    """Say which Python this is; an older one than 3.11 could not have loaded this program."""
    return Check("python", "Python", "ok", f"{platform.python_version()} ({platform.python_implementation()})")


def check_apt(machine: Machine) -> Check:
    """Look for the programs that packages come through."""
    missing = [name for name in ("apt-get", "apt-config", "dpkg-deb") if shutil.which(name) is None]
    if not missing:
        return Check("apt", "apt", "ok", "apt-get and dpkg-deb are here; root is not needed")
    return Check(
        "apt",
        "apt",
        "warn" if machine.can_run_offline else "fail",
        f"{' and '.join(missing)} missing: kernels and the guests' Python come as Debian packages",
        "run on a Debian or Ubuntu system or container (elsewhere: apt from the distribution's own packages)",
    )


def check_sources(machine: Machine) -> Check:
    """Look for a Debian archive, and for the keys that its signatures are checked with."""
    bad: Status = "warn" if machine.can_run_offline else "fail"
    if machine.sources is None:
        if not machine.has_apt:
            return Check("sources", "Debian archive", bad, "unknown without apt", "see apt, above")
        mend = "export URING_MATRIX_MIRROR=ADDRESS and sudo apt-get install debian-archive-keyring"
        return Check("sources", "Debian archive", bad, machine.sources_problem, mend)
    problems = []
    for archive in dict.fromkeys((machine.sources.main, machine.sources.security)):
        for word in (archive.signed_by or "").split():
            if word.startswith("/") and not os.access(word, os.R_OK):
                problems.append(f"the keyring {word} is not there or cannot be read")
    if machine.sources.main.signed_by is None and not _has_trusted_keys():
        problems.append("no keyring is named, and apt trusts no key")
    if problems:
        mend = "sudo apt-get install debian-archive-keyring"
        return Check("sources", "Debian archive", bad, "; ".join(dict.fromkeys(problems)), mend)
    address = without_credentials(machine.sources.main.uri)
    origin = "of the settings" if machine.settings.mirror else "of this machine's apt configuration"
    return Check("sources", "Debian archive", "ok", f"{address}, {origin}, with its keys")


def _has_trusted_keys() -> bool:
    return any(Path("/etc/apt/trusted.gpg.d").glob("*.[ag]*")) or Path("/etc/apt/trusted.gpg").exists()


def check_mirror(machine: Machine) -> Check:
    """Fetch one small file from the archive, with apt's own proxies and certificates."""
    name, title = "mirror", "Network"
    if machine.settings.offline:
        return Check(name, title, "ok", "not asked, because offline is set: runs use what the cache has")
    bad: Status = "warn" if machine.can_run_offline else "fail"
    if machine.sources is None or not Path(_APT_HELPER).exists():
        return Check(name, title, bad, "not tried without an archive and apt", "see above")
    suite = machine.catalogue.qemu_suites[0][0]
    address = f"{machine.sources.of(suite).uri}/dists/{suite}/InRelease"
    command = [_APT_HELPER, "-o", f"Acquire::http::Timeout={_MIRROR_TIMEOUT_S}", "-o", "Acquire::Retries=0"]
    if os.getuid() == 0:
        command += ["-o", "APT::Sandbox::User=root"]
    with tempfile.TemporaryDirectory(prefix="uring-matrix-doctor-") as directory:
        try:
            done = subprocess.run(
                [*command, "download-file", address, f"{directory}/InRelease"],
                env={**os.environ, "LC_ALL": "C"},
                capture_output=True,
                text=True,
                timeout=2 * _MIRROR_TIMEOUT_S,
                check=False,
            )
            said = done.stdout + done.stderr
            is_there = done.returncode == 0
        except subprocess.TimeoutExpired:
            said, is_there = f"no answer within {2 * _MIRROR_TIMEOUT_S} s", False
    if is_there:
        return Check(name, title, "ok", "the archive answers")
    shown = without_credentials(address)
    # apt puts the reason on an indented line of its own, and sums up afterwards.
    why = next((line.strip() for line in said.splitlines() if line.startswith("  ")), said.strip().replace("\n", "; "))
    what_works = "; what the cache has can still be run" if bad == "warn" else ""
    mend = "check the network and apt's proxy (apt-config dump Acquire), or name another archive with --mirror"
    return Check(name, title, bad, f"{shown} could not be read ({why}){what_works}", mend)


# -- guests -----------------------------------------------------------------------------------------------------------


def check_qemu(machine: Machine) -> Check:
    """Say which QEMU there is, or where it will come from."""
    if machine.qemu is not None:
        return Check("qemu", "QEMU", "ok", str(machine.qemu))
    package = " ".join(machine.catalogue.qemu_packages.get(machine.arch, ("qemu-system",)))
    if machine.sources is not None and machine.has_apt and not machine.settings.offline:
        return Check("qemu", "QEMU", "ok", "none is here; the first run fetches one of its own (about 40 MB, no root)")
    install = f"sudo apt-get install {package}"
    mend = f"{_FETCH} all (or {install})" if machine.settings.offline else install
    return Check("qemu", "QEMU", "fail", machine.qemu_problem, mend)


def check_guests(machine: Machine, specs: Sequence[str]) -> Iterator[Check]:
    """Say whether guests can be had without fetching anything."""
    mend = f"{_FETCH} {shlex.join(specs) or ALL}"
    setup = _setup(machine)
    if setup is None:
        known = ", ".join(ARCHITECTURES)
        yield Check("image", "Guest image", "fail", f"guests of {machine.arch} are not supported; there are {known}")
    elif not machine.has_image:
        message = "neither the guest image nor the packages that it is made of are in the cache"
        yield Check("image", "Guest image", "fail", message, mend)
    else:
        yield Check("image", "Guest image", "ok", "it, or what it is made of, is in the cache")
        if machine.settings.packages:
            names = ", ".join(machine.settings.packages)
            try:
                setup.fitted(find(machine.settings.packages))
                yield Check("packages", "Guest packages", "ok", f"{names}: nothing has to be fetched")
            except (pytest.UsageError, VmError) as error:
                yield Check("packages", "Guest packages", "fail", str(error), mend)


def check_kernels(machine: Machine, specs: Sequence[str]) -> Iterator[Check]:
    """Say of each kernel whether it can be run without fetching anything."""
    bad: Status = "fail" if machine.settings.offline else "warn"
    kernels = _kernels(machine)
    refs: list[KernelRef] = []
    for spec in specs or (ALL,):
        try:
            refs += kernels.resolve([spec])
        except FetchError as error:  # there are no lists, and the cache is empty
            yield Check(f"kernel-{spec}", f"Kernel {spec}", bad, str(error), f"{_FETCH} {shlex.quote(spec)}")
        except SpecError as error:
            if is_path(spec) or not kernels.index.limit:
                raise  # there is no such kernel, here or elsewhere
            yield Check(f"kernel-{spec}", f"Kernel {spec}", bad, str(error), f"{_FETCH} {shlex.quote(spec)}")
    if refs and not specs and kernels.index.limit:
        message = f"only those in the cache are known: {kernels.index.limit}"
        yield Check("kernels", "Kernels", "warn", message, f"{_FETCH} {ALL}")
    for ref in refs:
        name, title = f"kernel-{ref.id}", f"Kernel {ref.id}"
        what = ref.package_version or ref.location or ref.release
        try:
            kernel = kernels.at_hand(ref)
        except VmError as error:
            yield Check(name, title, "fail", str(error), f"name another kernel than {ref.id}")
            continue
        if kernel is None:
            yield Check(name, title, bad, f"{what} is not in the cache", f"{_FETCH} {shlex.quote(spec_of(ref))}")
        else:
            where = "is in the cache" if ref.source == "debian" else "is here"
            yield Check(name, title, "ok", f"{what} {where}{f' ({kernel.note})' if kernel.note else ''}")


class _NotProved(Exception):  # noqa: N818 -- an answer, not a mistake
    """KVM could be tried, and nobody has done so yet."""


def check_kvm(machine: Machine) -> Check:
    """Say whether guests may use the processor's virtualization, and how that is known."""
    name, title = "kvm", "KVM"
    if machine.settings.accel == "tcg":
        return Check(name, title, "ok", "not used, because emulation (tcg) is asked for")
    obstacle = kvm_obstacle(machine.arch)
    if obstacle is not None:
        bad: Status = "fail" if machine.settings.accel == "kvm" else "warn"
        return Check(name, title, bad, f"{obstacle}; guests are emulated, which is slower but right", _mend_kvm())
    if machine.qemu is None:
        return Check(name, title, "ok", "/dev/kvm answers; the first run proves it with a short boot")

    def prove() -> None:
        raise _NotProved

    try:
        accel = choose_accel(machine.qemu, machine.arch, machine.cache, machine.settings, prove, SILENT)
    except _NotProved:
        return Check(name, title, "ok", "/dev/kvm answers; the next run proves it with a short boot")
    except QemuError as error:  # KVM is asked for by name
        return Check(name, title, "fail", str(error), _mend_kvm())
    if accel.name == "kvm":
        return Check(name, title, "ok", accel.reason)
    return Check(name, title, "warn", f"{accel.reason}; guests are emulated, which is slower but right")


def _mend_kvm() -> str | None:
    if Path("/dev/kvm").exists():
        return "sudo usermod -aG kvm $USER, then log in again"
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return "start the container with --device /dev/kvm"
    return "sudo modprobe kvm_intel || sudo modprobe kvm_amd; if that fails, turn virtualization on in the firmware"


# -- room -------------------------------------------------------------------------------------------------------------


def _existing(path: Path) -> Path:
    """Find the nearest folder that is there."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def check_cache(machine: Machine) -> Check:
    """Try to write where downloads are kept."""
    directory = machine.settings.cache
    folder = _existing(directory)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        mend = "export URING_MATRIX_CACHE=/a/writable/folder"
        why = f"{folder} cannot be written ({error.strerror or error})"
        if machine.can_run_offline:
            return Check("cache", "Cache", "warn", f"{why}; what {directory} holds can be used as it is", mend)
        return Check("cache", "Cache", "fail", why, mend)
    kernels = len(machine.cache.keys("kernels"))
    held = f"; {kernels} kernel{'s' if kernels != 1 else ''} in it" if kernels else "; empty so far"
    return Check("cache", "Cache", "ok", f"{directory}{held}")


def check_disk(machine: Machine) -> Check:
    """Compare the free space with what a first run of everything takes."""
    free_mb = shutil.disk_usage(_existing(machine.settings.cache)).free // 1_000_000
    message = f"{free_mb:,} MB free for the cache; a first run of everything takes about {_DISK_NEEDED_MB:,} MB"
    if free_mb >= _DISK_NEEDED_MB:
        return Check("disk", "Disk", "ok", message)
    mend = "uring-matrix kernels prune --all, or export URING_MATRIX_CACHE=/a/larger/disk"
    if free_mb < _DISK_LEAST_MB and not machine.can_run_offline:
        return Check("disk", "Disk", "fail", message, mend)
    return Check("disk", "Disk", "warn", message, mend)


def check_memory(_machine: Machine) -> Check:
    """Compare the memory with what the guests that run side by side take."""
    available_mb = psutil.virtual_memory().available // 1_000_000
    guests = len(os.sched_getaffinity(0))
    message = f"{available_mb:,} MB available; a guest takes about {_MEMORY_PER_GUEST_MB} MB"
    if available_mb >= guests * _MEMORY_PER_GUEST_MB:
        return Check("memory", "Memory", "ok", message)
    fitting = available_mb // _MEMORY_PER_GUEST_MB
    if fitting < 1:
        return Check("memory", "Memory", "fail", message, "free some memory, or give the container more")
    return Check("memory", "Memory", "warn", message, f"uring-matrix run -n {fitting}")


def check_cpus(_machine: Machine) -> Check:
    """Say how many guests will run side by side."""
    count = len(os.sched_getaffinity(0))
    return Check("cpus", "Processors", "ok", f"{count}: so many guests run side by side")


# -- this machine's own io_uring --------------------------------------------------------------------------------------


def check_io_uring() -> Check:
    """Set up a ring on the running kernel. Guests need nothing of it; `--kernel host` and `import uring` do."""
    name, title = "io_uring", "io_uring here"
    release = os.uname().release
    try:
        with uring.IoUring.init(2, 0) as ring:
            return Check(
                name, title, "ok", f"the running kernel ({release}) sets up rings, features {ring.features:#x}"
            )
    except uring.UringError as error:
        why, mend = explain_refusal(getattr(error, "errno", None), _disabled_sysctl(), _is_filtered())
        return Check(name, title, "warn", f"{why} ({error}); guests are not affected, --kernel host is", mend)


def explain_refusal(number: int | None, disabled: int | None, is_filtered: bool) -> tuple[str, str | None]:
    """Say why the running kernel gives no ring.

    Args:
        number: the errno of io_uring_setup.
        disabled: the sysctl kernel.io_uring_disabled; None where there is none (before 6.6).
        is_filtered: a seccomp filter is in force.

    Returns:
        The reason, and what mends it.
    """
    unconfined = "start the container with --security-opt seccomp=unconfined (or with a profile that allows io_uring)"
    if number == errno.EPERM:
        if disabled:
            who = "everybody" if disabled == 2 else "all but privileged users and the group kernel.io_uring_group"
            return f"kernel.io_uring_disabled={disabled} forbids it to {who}", "sudo sysctl kernel.io_uring_disabled=0"
        if is_filtered:
            return "a seccomp filter, of a container as a rule, forbids it", unconfined
        return "a security module forbids it", "look into the kernel's log: sudo dmesg | grep -i denied"
    if number == errno.ENOSYS:
        if is_filtered:
            return "the kernel lacks it, or a seccomp filter hides it", unconfined
        return "this kernel lacks it (older than 5.1, or built without CONFIG_IO_URING)", None
    if number == errno.ENOMEM:
        return "no memory could be locked for it", "ulimit -l unlimited (or raise memlock in limits.conf)"
    return "it could not be set up", None


def _disabled_sysctl() -> int | None:
    try:
        return int(Path("/proc/sys/kernel/io_uring_disabled").read_text())
    except (OSError, ValueError):
        return None


def _is_filtered() -> bool:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return False
    return any(line.split() == ["Seccomp:", "2"] for line in status.splitlines())


def check_memlock() -> Check:
    """Look at how much memory may be locked, which registered buffers count against."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY:
        return Check("memlock", "Locked memory", "ok", "unlimited")
    message = f"RLIMIT_MEMLOCK is {soft // 1024:,} KiB"
    if soft >= _MEMLOCK_NEEDED_BYTES or os.geteuid() == 0:
        return Check("memlock", "Locked memory", "ok", message)
    message += ", little for registered buffers; guests are not affected, --kernel host is"
    return Check("memlock", "Locked memory", "warn", message, "ulimit -l 8192 (or raise memlock in limits.conf)")
