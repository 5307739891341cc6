"""Prepares a session: resolves specs, fetches kernels and QEMU, proves the accelerator, makes the guest image."""

import os
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from conformance import durations, payload
from conformance.cells import HOST, Cell, native_architecture
from conformance.plan import GuestPlan, Plan
from reports.results import Host, Kernel
from vm import image
from vm.apt import Archive
from vm.architectures import ARCHITECTURES, Architecture
from vm.cache import Cache
from vm.errors import SettingsError, SpecError, VmError
from vm.fetch import Kernels
from vm.kernel import Kernel as FetchedKernel
from vm.kernel import KernelRef
from vm.lock import Pin, fetch_locked, read_lock
from vm.machine import Emulator, Guest, MachineConfig, memory_mib
from vm.progress import PlainProgress, Progress
from vm.qemu import Accel, Qemu, choose_accel, find_qemu
from vm.settings import Settings

# The kernel options that say something about a verdict; the whole configuration has ten thousand lines.
_CONFIG_NAMES = (
    "CONFIG_IO_URING", "CONFIG_HZ", "CONFIG_PREEMPT", "CONFIG_PREEMPT_DYNAMIC", "CONFIG_PREEMPT_VOLUNTARY",
    "CONFIG_PREEMPT_LAZY", "CONFIG_NET", "CONFIG_INET", "CONFIG_EPOLL", "CONFIG_FUTEX", "CONFIG_NET_RX_BUSY_POLL",
    "CONFIG_NUMA", "CONFIG_SMP", "CONFIG_KASAN", "CONFIG_PROVE_LOCKING", "CONFIG_CC_VERSION_TEXT",
)  # fmt: skip

# With a working KVM a guest is ready within a second; on one that is broken it never is.
_KVM_DEADLINE_S = 15.0

PROGRESS = pytest.StashKey[Progress]()


class Setup:
    """What guests of one architecture need, fetched or made on first use."""

    def __init__(self, architecture: Architecture, settings: Settings, progress: Progress) -> None:
        self.architecture = architecture
        self.settings = settings
        self.progress = progress
        self.cache = Cache(settings.cache, progress)
        self.kernels = Kernels(self.cache, settings, progress, arch=architecture.name)

    def qemu(self) -> Qemu:
        """QEMU, the system's or fetched."""
        return find_qemu(self.architecture.name, self.cache, self.settings, self.progress)

    def runtime(self) -> image.Runtime:
        """The guest image's first layer."""
        archive = Archive(image.SUITES, self.architecture.name, self.cache, self.settings, self.progress)
        return image.runtime(
            archive,
            self.architecture,
            self.cache,
            trees=payload.trees(),
            preload=payload.PRELOAD,
            progress=self.progress,
            is_wanted=payload.is_wanted,
        )

    def machine(self, qemu: Qemu, accelerator: str, kernel: Path, initrd: Path) -> MachineConfig:
        """A guest's machine."""
        emulator = Emulator(qemu.command, accelerator, dict(qemu.environment))
        return MachineConfig(self.architecture, emulator, kernel, initrd, memory_mib=memory_mib(initrd))

    def accel(self, qemu: Qemu, kernel: FetchedKernel, initrd: Path) -> Accel:
        """KVM, if it boots this kernel; else emulation."""

        def prove() -> None:
            with tempfile.TemporaryDirectory(prefix="uring-matrix-kvm-") as directory:
                machine = self.machine(qemu, "kvm", kernel.image, initrd)
                with Guest.boot(machine, Path(directory), deadline_s=_KVM_DEADLINE_S):
                    pass

        own = kernel.sha256 if kernel.ref.source == "path" else ""
        return choose_accel(qemu, self.architecture.name, self.cache, self.settings, prove, self.progress, own)


def prepare(config: pytest.Config, modes: Sequence[str]) -> Plan:
    """Prepare a session.

    Raises:
        pytest.UsageError: a spec, an architecture or a setting cannot be meant.
        pytest.exit.Exception: guests cannot be had at all; status 3.
    """
    progress = config.stash.get(PROGRESS, None) or PlainProgress()
    try:
        settings = Settings.load({"accel": config.getoption("accel")})
        pins = _pins(config)
        named = config.getoption("arch") or dict.fromkeys(pin.arch for pin in pins) or [native_architecture()]
        if foreign := sorted({pin.arch for pin in pins} - set(named)):
            raise SpecError(f"the lock file pins kernels for {', '.join(foreign)}, and --arch is {', '.join(named)}")
        architectures = [_architecture(name) for name in named]
        return _prepare(config, modes, architectures, pins, settings, progress)
    except (SpecError, SettingsError) as error:
        raise pytest.UsageError(str(error)) from error
    except VmError as error:
        pytest.exit(f"no guests on this machine: {error}", returncode=3)


def _prepare(
    config: pytest.Config,
    modes: Sequence[str],
    architectures: Sequence[Architecture],
    pins: Sequence[Pin],
    settings: Settings,
    progress: Progress,
) -> Plan:
    specs = config.getoption("kernel") or [HOST]
    cells: list[Cell] = []
    guests: list[GuestPlan] = []
    unavailable: list[tuple[str, str, str]] = []
    records: list[Kernel] = []
    session: dict[str, object] = {}
    qemu: Qemu | None = None
    accel: Accel | None = None
    for architecture in architectures:
        setup = Setup(architecture, settings, progress)
        pinned = [pin for pin in pins if pin.arch == architecture.name]
        refs = [pin.ref for pin in pinned] if pins else setup.kernels.resolve(specs)
        is_native = architecture.name == native_architecture()
        for ref in refs:
            cells += [Cell(ref.id, ref.arch, mode, is_native) for mode in modes]
        to_boot = [ref for ref in refs if ref.source != HOST]
        records += [_host_record(ref) for ref in refs if ref.source == HOST]
        if not to_boot or config.getoption("collectonly", False):
            records += [_record(ref, None) for ref in to_boot]
            continue
        outcomes = fetch_locked(setup.kernels, pinned) if pins else setup.kernels.fetch_all(to_boot)
        fetched = dict(zip(to_boot, outcomes, strict=True))
        ready = {ref: kernel for ref, kernel in fetched.items() if isinstance(kernel, FetchedKernel)}
        unavailable += [(ref.id, ref.arch, str(why)) for ref, why in fetched.items() if ref not in ready]
        records += [_record(ref, fetched[ref]) for ref in to_boot]
        if not ready:
            continue
        sent = payload.collect(config)
        session = sent.session([])
        runtime = setup.runtime()
        archive = image.payload(runtime, setup.cache, files=sent.files, prepare=sent.prepare, recipe=sent.ini)
        qemu = setup.qemu()
        # One of the archive's, if there is one: it is known to boot.
        proof = min(ready, key=lambda ref: ref.source == "path")
        accel = setup.accel(qemu, ready[proof], runtime.initramfs)
        for ref, kernel in ready.items():
            # A kernel without PCI sees no window: what a test needs has to be in its initramfs. Unknown ones have it.
            has_window = kernel.config.get("CONFIG_PCI", "n" if kernel.config else "y") == "y"
            initrd = runtime.initramfs if has_window else image.join(runtime, setup.cache, archive)
            guests.append(
                GuestPlan(
                    ref.id,
                    ref.arch,
                    str(kernel.image),
                    str(initrd),
                    qemu.command,
                    accel.name,
                    dict(qemu.environment),
                    str(archive) if has_window else None,
                    sent.needs_disk,
                )
            )
    return Plan(
        cells=tuple(durations.longest_first(cells, durations.read(settings.cache))),
        guests=tuple(guests),
        session=session,
        unavailable=tuple(unavailable),
        kernels=tuple(records),
        host=_host(qemu, accel),
        consoles=_consoles(config),
        cache=settings.cache,
        has_snapshots=not config.getoption("no_snapshots"),
    )


def _pins(config: pytest.Config) -> list[Pin]:
    """The kernels of a lock file, if there is to be one."""
    lock: str | None = config.getoption("matrix_lock")
    if lock is None:
        return []
    if config.getoption("kernel"):
        raise SpecError("a lock file and --kernel both say which kernels to run; leave one of them out")
    return read_lock(config.invocation_params.dir / lock)


def _architecture(name: str) -> Architecture:
    if name not in ARCHITECTURES:
        raise SettingsError(f"guests of architecture {name!r} are not supported; there are {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def _consoles(config: pytest.Config) -> Path:
    out: str | None = config.getoption("matrix_out")
    if out is not None:
        return (config.invocation_params.dir / out).resolve() / "consoles"
    return Path(tempfile.gettempdir()) / f"uring-matrix-consoles-{os.getuid()}"


def _host(qemu: Qemu | None, accel: Accel | None) -> Host:
    return Host(
        kernel=os.uname().release,
        machine=platform.machine(),
        cpus=len(os.sched_getaffinity(0)),
        python=platform.python_version(),
        memory_mib=psutil.virtual_memory().total >> 20,
        qemu=str(qemu) if qemu is not None else None,
        qemu_version=".".join(map(str, qemu.version)) if qemu is not None else None,
        accel=accel.name if accel is not None else None,
        accel_reason=accel.reason if accel is not None else None,
    )


def _record(ref: KernelRef, kernel: FetchedKernel | VmError | None) -> Kernel:
    """What is known about a kernel before it boots. What was fetched may be another package than the one asked for."""
    fetched = kernel if isinstance(kernel, FetchedKernel) else None
    got = fetched.ref if fetched is not None else ref
    notes: tuple[str, ...] = ()
    if got.package_version != ref.package_version:
        notes = (f"{ref.package} {ref.package_version} is listed but gone from the archive; {got.package} was taken",)
    return Kernel(
        id=ref.id,
        series=got.series,
        arch=got.arch,
        source=got.source,
        release=got.release,
        package=got.package,
        package_version=got.package_version,
        suite=got.suite,
        location=got.location,
        sha256=fetched.sha256 if fetched is not None else None,
        config={name: fetched.config[name] for name in _CONFIG_NAMES if name in fetched.config} if fetched else {},
        error=str(kernel) if isinstance(kernel, VmError) else None,
        notes=notes,
    )


def _host_record(ref: KernelRef) -> Kernel:
    """This machine's kernel: nothing to boot."""
    from conformance.guest.features import features  # noqa: PLC0415 - loads the ring

    name = os.uname()
    return Kernel(
        id=ref.id,
        series=ref.series,
        arch=ref.arch,
        source=ref.source,
        release=name.release,
        version=name.version,
        features=features(),
        booted=True,
    )
