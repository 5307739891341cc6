"""`uring-matrix doctor`: what this machine can do, what it lacks, and the command that mends it.

Every check looks at one thing and says one sentence. "fail" is kept for what makes a run impossible; a run that is
slower or that lacks something optional is a "warn".
"""

import dataclasses
import errno
import os
import platform
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click
import psutil

import uring
from uring_matrix import output
from vm.cache import Cache
from vm.catalogue import Catalogue
from vm.errors import FetchError, QemuError, SettingsError, VmError
from vm.progress import SILENT
from vm.qemu import Qemu, choose_accel, find_qemu, host_arch, kvm_obstacle
from vm.settings import Settings
from vm.sources import Sources, find_sources, without_credentials

SCHEMA_VERSION = 1
Status = Literal["ok", "warn", "fail"]

# Package lists, the guests' Python, QEMU and the newest kernel of every series, with room to unpack them.
_DISK_NEEDED_MB = 1500
_DISK_LEAST_MB = 300
# What one guest and the program beside it take.
_MEMORY_PER_GUEST_MB = 400
# What tests that register buffers need on kernels older than 5.12.
_MEMLOCK_NEEDED_BYTES = 1 << 20
_MIRROR_TIMEOUT_S = 20
_APT_HELPER = "/usr/lib/apt/apt-helper"
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

    @property
    def has_apt(self) -> bool:
        """Packages can be fetched, as far as programs go."""
        return all(shutil.which(name) for name in ("apt-get", "apt-config", "dpkg-deb"))

    @property
    def can_run_offline(self) -> bool:
        """There is a QEMU, and the cache holds a kernel and a guest image: something can be run without fetching."""
        return self.qemu is not None and bool(self.cache.keys("kernels")) and bool(self.cache.keys("runtime"))


def doctor(*, as_json: bool) -> int:
    """Look at everything and say what was found.

    Returns:
        3 where something makes runs impossible, else 0.
    """
    checks = list(examine())
    is_ready = all(check.status != "fail" for check in checks)
    if as_json:
        found = [dataclasses.asdict(check) for check in checks]
        output.say_json({"schema_version": SCHEMA_VERSION, "is_ready": is_ready, "checks": found})
    else:
        for line in lines(checks):
            output.say(line)
        output.say()
        output.say("This machine can run the matrix." if is_ready else "This machine cannot run the matrix as it is.")
    return output.EXPECTED if is_ready else output.INFRASTRUCTURE


def lines(checks: Sequence[Check]) -> Iterator[str]:
    """Write the checks in plain text; what is to be done stands below each."""
    width = max(len(check.title) for check in checks)
    for check in checks:
        word, color = _STYLES[check.status]
        mark = click.style(f"{word:<4}", fg=color, bold=check.status != "ok")
        yield f"{mark}  {check.title:<{width}}  {check.message}"
        if check.mend is not None:
            yield f"{'':<4}  {'':<{width}}  → {output.bold(check.mend)}"


def examine() -> Iterator[Check]:
    """Make every check, those that others rest on first."""
    yield check_python()
    try:
        machine = look()
    except (SettingsError, QemuError) as error:
        yield Check("settings", "Settings", "fail", str(error), "correct what the sentence names")
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
    yield check_io_uring()
    yield check_memlock()


def look() -> Machine:
    """Gather what several checks need.

    Raises:
        SettingsError: a setting cannot be meant.
        QemuError: guests are not known for this kind of machine.
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
    return Machine(settings, cache, catalogue, arch, sources, sources_problem, qemu, qemu_problem)


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
    return Check("qemu", "QEMU", "fail", machine.qemu_problem, f"sudo apt-get install {package}")


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
