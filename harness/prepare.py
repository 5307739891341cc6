"""Prepares a session: resolves specs, fetches kernels and QEMU, proves the accelerator, makes the guest image."""

import contextlib
import os
import platform
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import psutil
import pytest

from harness import cell_inputs, durations, guest_packages, kernel_records, options, payload
from harness.cells import HOST, Cell, native_architecture
from harness.ending import end
from harness.guest_packages import GuestPackages
from harness.guest_shape import GuestShape
from harness.names import tree_of
from harness.pending_kernels import PendingKernels
from harness.plan import GuestPlan, Plan
from harness.suites import Suite, modes_of
from reports.results import Host, Kernel, distributions
from vm import disk, image
from vm.apt import Archive
from vm.architectures import ARCHITECTURES, Architecture
from vm.cache import Cache
from vm.catalogue import Catalogue
from vm.errors import SettingsError, SpecError, VmError
from vm.fetch import Kernels
from vm.kernel import Kernel as FetchedKernel
from vm.lock import Pin, read_lock
from vm.machine import Emulator, Guest, MachineConfig, memory_mib
from vm.prefetch import Prefetch, PrefetchRequest, take
from vm.progress import PlainProgress, Progress
from vm.qemu import Accel, Qemu, choose_accel, find_qemu, is_at_hand
from vm.settings import Settings
from vm.specs import is_path

# With a working KVM a guest is ready within a second; on one that is broken it never is.
_KVM_DEADLINE_S = 15.0

# What a guest's processes take for the program that was started.
_MAIN = "pytest"

# What hypothesis takes for a counterexample does not fit into a guest that only runs the suite.
_MEMORY_OF_PACKAGES_MIB = 256

PROGRESS = pytest.StashKey[Progress]()


class Setup:
    """What guests of one architecture need, fetched or made on first use."""

    def __init__(self, architecture: Architecture, settings: Settings, progress: Progress) -> None:
        self.architecture = architecture
        self.settings = settings
        self.progress = progress
        self.cache = Cache(settings.cache, progress)
        self.kernels = Kernels(self.cache, settings, progress, arch=architecture.name, distributions=distributions)
        self._qemu: Prefetch | None = None
        self._runtime: image.Runtime | None = None

    @cached_property
    def _image_archive(self) -> Archive:
        return Archive(image.SUITES, self.architecture.name, self.cache, self.settings, self.progress)

    def begin(self, beside: contextlib.ExitStack) -> None:
        """With an empty cache: have QEMU and the index of kernels fetched, and make the guest image meanwhile.

        Args:
            beside: ends the processes that fetch.

        Raises:
            VmError: the index cannot be had.
        """
        is_image_there = bool(self.cache.keys("runtime"))
        is_qemu_there = is_at_hand(self.architecture.name, self.cache)
        if self.settings.offline or (is_image_there and is_qemu_there):
            return
        try:
            # The lists that QEMU and the image need: here, lest one waits for the other's.
            self._image_archive.update()
        except VmError:
            return  # whoever needs them says so
        if not is_qemu_there:
            self._qemu = self._prefetch("QEMU", beside)
        if not is_image_there:
            index = self._prefetch("index", beside)
            with contextlib.suppress(VmError):  # said again, when it is known that guests are wanted at all
                self.runtime()
            index.wait()
            take(index.outcomes[0])

    def _prefetch(self, what: Literal["QEMU", "index"], beside: contextlib.ExitStack) -> Prefetch:
        directory = beside.enter_context(self.cache.temporary())
        prefetch = Prefetch(
            PrefetchRequest(self.settings, self.architecture.name, other=what), directory, self.progress
        )
        beside.callback(prefetch.end)
        return prefetch

    def qemu(self) -> Qemu:
        """QEMU, the system's or fetched."""
        if self._qemu is not None:
            self._qemu.wait()
            take(self._qemu.outcomes[0])
            self._qemu = None
        return find_qemu(self.architecture.name, self.cache, self.settings, self.progress)

    def runtime(self) -> image.Runtime:
        """The guest image's first layer."""
        if self._runtime is None:
            self._runtime = image.runtime(self._image_archive, self._recipe, self.cache, self.progress)
        return self._runtime

    def fetch(self) -> Iterator[tuple[str, str | VmError]]:
        """Have in the cache what guests need beside kernels.

        Yields:
            Each part by name, and what it is now, or why it cannot be had.
        """
        parts: list[tuple[str, Callable[[], str]]] = [
            ("guest image", self._fetch_image),
            ("QEMU", lambda: str(self.qemu())),
        ]
        if self.settings.packages:
            parts.append(("guest packages", self._fetch_guest_packages))
        for name, fetch in parts:
            try:
                yield name, fetch()
            except VmError as error:
                yield name, error

    def _fetch_image(self) -> str:
        runtime = self.runtime()
        if not self.settings.offline:
            image.fetch_packages(self._image_archive)
        return str(runtime.initramfs)

    def _fetch_guest_packages(self) -> str:
        try:
            fitted = self.fitted(guest_packages.find(self.settings.packages))
        except pytest.UsageError as error:
            raise VmError(str(error)) from error
        return ", ".join(f"{package.name} {package.version}" for package in fitted.packages)

    def fitted(self, packages: GuestPackages) -> GuestPackages:
        """Third-party packages as guests can use them.

        Raises:
            pytest.UsageError: one cannot be had.
        """
        return packages.fitted(
            self.runtime().python,
            self.architecture.machine,
            self.cache,
            is_offline=self.settings.offline,
            progress=self.progress,
        )

    @property
    def is_image_at_hand(self) -> bool:
        """Whether the guest image needs no download."""
        return image.is_at_hand(self._image_archive, self._recipe, self.cache)

    @cached_property
    def _recipe(self) -> image.Recipe:
        return image.Recipe(
            self.architecture,
            trees=payload.trees(),
            preload=payload.PRELOAD,
            main=_MAIN,
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


def prepare(config: pytest.Config, modes: Sequence[str], suites: Sequence[Suite]) -> Plan:
    """Prepare a session.

    Raises:
        pytest.UsageError: a spec, an architecture or a setting cannot be meant.
        pytest.exit.Exception: guests cannot be had at all; status 3.
    """
    progress = config.stash.get(PROGRESS, None) or PlainProgress()
    try:
        settings = payload.load_settings(config)
        pins = _pins(config)
        named = dict.fromkeys(config.getoption("arch") or [pin.arch for pin in pins] or [native_architecture()])
        if foreign := sorted({pin.arch for pin in pins} - set(named)):
            raise SpecError(f"the lock file pins kernels for {', '.join(foreign)}, and --arch is {', '.join(named)}")
        architectures = [_architecture(name) for name in named]
        return _prepare(config, modes, suites, architectures, pins, settings, progress)
    except (SpecError, SettingsError) as error:
        raise pytest.UsageError(str(error)) from error
    except VmError as error:
        end(f"no guests on this machine: {error}")


def _prepare(
    config: pytest.Config,
    modes: Sequence[str],
    suites: Sequence[Suite],
    architectures: Sequence[Architecture],
    pins: Sequence[Pin],
    settings: Settings,
    progress: Progress,
) -> Plan:
    specs = config.getoption("kernel") or [HOST]
    shape = GuestShape.of_session(config)
    seconds = durations.read(settings.cache)
    cells: list[Cell] = []
    guests: list[GuestPlan] = []
    unavailable: list[tuple[str, str, str]] = []
    late: set[tuple[str, str]] = set()
    kernels: list[Kernel] = []
    is_needed = not options.runs_nothing(config)
    # First of all: what cannot be sent is said before anything is fetched.
    is_any_guest = is_needed and bool(pins or set(specs) - {HOST})
    sent = payload.collect(config, suites, settings) if is_any_guest else None
    qemu: Qemu | None = None
    accel: Accel | None = None
    # What goes on beside the session, and ends with it.
    beside = contextlib.ExitStack()
    config.add_cleanup(beside.close)
    inputs = {cell_inputs.OPTIONS: cell_inputs.of_options(config)}
    if is_needed:
        # Everything that tests may read, the same in every guest and here.
        files = payload.files_of_session(config, suites) if sent is None else sent.files
        inputs[cell_inputs.SOURCES] = cell_inputs.of_sources(files, config, suites, settings.cache)
    for architecture in architectures:
        setup = Setup(architecture, settings, progress)
        pinned = [pin for pin in pins if pin.arch == architecture.name]
        is_from_archive = any(pin.location is None for pin in pinned) or any(
            spec != HOST and not is_path(spec) for spec in specs
        )
        if is_needed and is_from_archive:
            setup.begin(beside)
        refs = [pin.ref for pin in pinned] if pins else setup.kernels.resolve(specs)
        if shape.gdb_port is not None and len(refs) + len(kernels) != 1:
            names = ", ".join([*(kernel.id for kernel in kernels), *(ref.id for ref in refs)])
            raise SpecError(f"a debugger is attached to one kernel (--guest-gdb), and these are several: {names}")
        is_native = architecture.name == native_architecture()
        refs = [ref for ref in refs if is_native or ref.source != HOST]
        own_cells = [Cell(ref.id, ref.arch, mode, is_native) for ref in refs for mode in modes]
        cells += own_cells
        kernels += [kernel_records.host_record(ref, suites) for ref in refs if ref.source == HOST]
        to_boot = [ref for ref in refs if ref.source != HOST]
        if not to_boot or sent is None:
            kernels += [kernel_records.record(ref) for ref in to_boot]
            continue
        order = [cell.kernel for cell in durations.longest_first(own_cells, seconds)]
        to_boot.sort(key=lambda ref: order.index(ref.id))
        pending = PendingKernels(to_boot, pinned, setup.kernels, setup.cache, settings, progress, beside)
        if pending.is_any_to_come:
            equipped, qemu, accel = _equip(setup, pending, sent, inputs, shape)
            guests += equipped
        late |= {(ref.id, ref.arch) for ref in pending.late}
        kernels += [kernel_records.record(ref, pending.outcomes.get(ref)) for ref in to_boot]
        unavailable += [
            (ref.id, ref.arch, str(error)) for ref, error in pending.outcomes.items() if isinstance(error, VmError)
        ]
    ordered = durations.longest_first(cells, seconds)
    return Plan(
        # Those that are still being fetched come last, in the order they come in.
        cells=tuple(sorted(ordered, key=lambda cell: (cell.kernel, cell.arch) in late)),
        guests=tuple(guests),
        session=sent.session() if sent is not None else {},
        unavailable=tuple(unavailable),
        kernels=tuple(kernels),
        modes=modes_of(suites),
        host=_host(qemu, accel),
        consoles=_consoles(config),
        cache=settings.cache,
        has_snapshots=not config.getoption("no_snapshots"),
        host_inputs={
            **inputs,
            **cell_inputs.of_host(),
        }
        if any(cell.kernel == HOST for cell in cells)
        else {},
        tree=tree_of(config, directory) if (directory := _directory(config)) is not None else "",
    )


def _equip(
    setup: Setup, pending: PendingKernels, sent: payload.Payload, inputs: Mapping[str, str], shape: GuestShape
) -> tuple[list[GuestPlan], Qemu, Accel | None]:
    """Give every kernel, there or still coming, what its guests need; nothing if none comes after all."""
    runtime = setup.runtime()
    packages = setup.fitted(sent.packages)
    archive = image.payload(
        runtime,
        setup.cache,
        files=sent.files,
        site=packages.files,
        prepare=sent.prepare,
        recipe=sent.recipe,
    )
    qemu = setup.qemu()
    pending.await_one()
    ready = {ref: kernel for ref, kernel in pending.outcomes.items() if isinstance(kernel, FetchedKernel)}
    if not ready:
        return [], qemu, None
    # One of the archive's, if there is one: it is known to boot.
    proof = min(ready, key=lambda ref: ref.source == "path")
    accel = setup.accel(qemu, ready[proof], runtime.initramfs)
    common = GuestPlan(
        arch=setup.architecture.name,
        initrd=runtime.initramfs,
        payload=archive,
        emulator=qemu.command,
        accelerator=accel.name,
        environment=dict(qemu.environment),
        disk_users=sent.disk_users,
        memory_mib=shape.memory_for(
            memory_mib(runtime.initramfs) + (_MEMORY_OF_PACKAGES_MIB if packages.packages else 0)
        ),
        cpus=shape.cpus,
        parameters=shape.parameters,
        gdb_port=shape.gdb_port,
        payload_disk=disk.make(runtime, archive, setup.cache) if disk.is_needed(archive) else None,
        inputs={
            **inputs,
            cell_inputs.EMULATOR: cell_inputs.word(accel.name, str(qemu), qemu.sha256),
            cell_inputs.IMAGE: cell_inputs.word(runtime.key),
            cell_inputs.PACKAGES: cell_inputs.word(
                *sorted(f"{one.name} {one.version}" for one in packages.packages),
                *sorted(f"{name}={value}" for name, value in sent.environment.items()),
            ),
        },
    )
    guests = [common.of(ref.id).with_kernel(kernel, setup.cache, setup.progress) for ref, kernel in ready.items()]
    return guests + [common.of(ref.id, path) for ref, path in pending.late.items()], qemu, accel


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
        is_known = name in Catalogue.load().flavours
        raise SettingsError(
            f"guests of architecture {name!r} are not supported; there are {', '.join(ARCHITECTURES)}"
            + (f". Kernels of {name} can be listed, fetched and pinned, and not run" if is_known else "")
        )
    return ARCHITECTURES[name]


def _directory(config: pytest.Config) -> Path | None:
    out: str | None = config.getoption("matrix_out")
    return (config.invocation_params.dir / out).resolve() if out is not None else None


def _consoles(config: pytest.Config) -> Path:
    if (directory := _directory(config)) is not None:
        return directory / "consoles"
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
