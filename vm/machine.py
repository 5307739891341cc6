"""One guest: a kernel, an image and a QEMU process that ends with us."""

import ctypes
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vm.architectures import Architecture
from vm.channel import Channel, ChannelClosedError, ChannelError
from vm.console import last_traceback
from vm.devices import WINDOW_SIZE, open_disk, open_window
from vm.errors import BootError
from vm.guest.disk import SCRATCH_SERIAL, WORK_SERIAL
from vm.kernelimage import is_elf
from vm.monitor import Monitor, MonitorError
from vm.vmlinux import Vmlinux

_PR_SET_PDEATHSIG = 1
_CONSOLE_TAIL_SIZE = 16_384
# A panic prints all tasks behind what led to it.
_CONSOLE_SIZE_MAX = 1 << 20
# What QEMU says of every guest that waits for nothing but us.
_IDLE = "warning: icount sleep disabled and no active timers"
_KILL_TIMEOUT_S = 10.0
_INTERRUPTIONS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
# How long a QEMU that has hung up may take to end by itself.
_END_TIMEOUT_S = 5.0
CONSOLE_NAME = "console.txt"
# Where a debugger is awaited: whoever reaches it is the guest's master, and QEMU's with it.
LOOPBACK = "127.0.0.1"
_ENTROPY_SIZE = 64
_POLL_S = 0.005
# How often a processor is looked at in order to find it asleep.
_SLEEP_TRIES = 50
# The kernel goes on with half an image. Source: init/initramfs.c.
_UNPACKING_FAILED = "Initramfs unpacking failed"

# One line per reason. What io_uring does must not depend on any of these; they are recorded with every result.
_PARAMETERS = (
    "loglevel=5",  # warnings and worse reach the console, the rest stays in dmesg: a serial port is slow
    "panic=-1",  # a panic resets at once, and -no-reboot makes that the end of QEMU
    "random.trust_cpu=on",  # entropy without waiting
    # The names of enumerators are put into the descriptions of tracepoints, for programs that print a trace; events and
    # their fields are the same without. It is a twentieth of an emulated boot.
    "initcall_blacklist=trace_eval_init",
    "cryptomgr.notests",  # the self-tests of ciphers that nobody here uses are half of an emulated boot
)


@dataclass(frozen=True, slots=True)
class Emulator:
    """How to start QEMU: the program (perhaps through a loader), its data folders and its environment."""

    command: tuple[str, ...]
    accelerator: str = "tcg"
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MachineConfig:
    """Everything that shapes a guest before it boots."""

    architecture: Architecture
    emulator: Emulator
    kernel: Path
    initrd: Path
    memory_mib: int = 256
    cpus: int = 1
    # More kernel parameters, after ours.
    parameters: tuple[str, ...] = ()
    # Whether the console is our terminal, too.
    is_interactive: bool = False
    # An archive that the guest sees through its window, and unpacks when it is started. Needs a kernel with PCI.
    payload: Path | None = None
    # Whether the guest has an empty disk, /dev/nvme0n1. NVMe is built into every stock kernel, and cannot be saved.
    has_disk: bool = False
    # A file system with what would be the payload (`vm.disk`). The guest may write to it; the file stays as it is.
    payload_disk: Path | None = None
    # Where gdb finds QEMU, on loopback only; 0 is any free port. Such a guest stands still until a debugger lets it go.
    gdb_port: int | None = None
    # The kernel unpacked, to be started instead of its image.
    vmlinux: Vmlinux | None = None

    @property
    def boot_protocol(self) -> str:
        """How QEMU starts the kernel: ``pvh``, which leaves KASLR out, or ``linux``, as a boot loader would."""
        return "pvh" if self.vmlinux is not None or is_elf(self.kernel) else "linux"

    def from_image(self) -> Self:
        """The same, with the kernel's image started as it is."""
        return replace(self, vmlinux=None)


@dataclass(frozen=True, slots=True)
class Memory:
    """Where the memory of a guest that can be saved, or was, lies."""

    # A file of the guest's size.
    descriptor: int
    # The rest of what was saved of it, if it is to be restored.
    state: Path | None = None
    # Messages that whoever saved it had sent to it, and received from it.
    sent_count: int = 0
    received_count: int = 0
    # Whether the file is a restored guest's own, which writes to it and can be saved once more.
    is_own: bool = False


def memory_mib(initrd: Path) -> int:
    """How much memory a guest with this initramfs gets: while it is unpacked there are two of it."""
    image_mib = initrd.stat().st_size >> 20
    return max(256, (160 + 2 * image_mib + 63) // 64 * 64)


def kernel_command_line(config: MachineConfig) -> str:
    """The parameters the kernel is started with."""
    # Without queues of its own to poll, a disk refuses IORING_SETUP_IOPOLL, on kernels since 6.12 at least.
    disk = ("nvme.poll_queues=1",) if config.has_disk else ()
    # Breakpoints are set where the symbols say, before the kernel could move itself elsewhere.
    debugged = ("nokaslr",) if config.gdb_port is not None else ()
    return " ".join(
        (
            f"console={config.architecture.console}",
            *_PARAMETERS,
            *config.architecture.parameters,
            *disk,
            *debugged,
            *config.parameters,
        )
    )


def qemu_arguments(
    config: MachineConfig,
    *,
    console: Path,
    channel_descriptor: int,
    monitor_descriptor: int,
    window_descriptor: int = -1,
    disk_descriptor: int = -1,
    gdb_descriptor: int = -1,
    memory: Memory | None = None,
) -> list[str]:
    """The whole QEMU command: nothing by default, two serial ports, a monitor, no disk, no network, no display."""
    architecture = config.architecture
    is_emulated = config.emulator.accelerator == "tcg"
    # Emulated time counts instructions, one a nanosecond, and leaps to the next timer when the guest is idle: a guest
    # that had to wait for its turn on a busy host does not notice, and no verdict depends on what else the host does.
    clock = ("-icount", "shift=0,sleep=off") if is_emulated else ()
    return [
        *config.emulator.command,
        *("-machine", architecture.qemu_machine + (",memory-backend=memory" if memory is not None else "")),
        *("-accel", config.emulator.accelerator),
        *("-cpu", architecture.qemu_cpu if is_emulated else "host"),
        *clock,
        *("-m", str(config.memory_mib)),
        *(("-smp", str(config.cpus)) if config.cpus > 1 else ()),
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        *("-display", "none"),
        *("-kernel", str(config.vmlinux.path if config.vmlinux is not None else config.kernel)),
        *("-initrd", str(config.initrd)),
        *("-append", kernel_command_line(config)),
        *("-chardev", _console(config, console)),
        *("-serial", "chardev:console"),
        *("-chardev", f"socket,id=channel,fd={channel_descriptor}"),
        *("-serial", "chardev:channel"),
        *("-chardev", f"socket,id=monitor,fd={monitor_descriptor}"),
        *("-mon", "chardev=monitor,mode=control"),
        *_gdb(gdb_descriptor),
        *_window(config, window_descriptor, memory),
        *_disk(disk_descriptor),
        *_payload_disk(config),
        *_memory(config, memory),
    ]


def _window(config: MachineConfig, descriptor: int, memory: Memory | None) -> Sequence[str]:
    """A PCI device whose memory is a file of ours."""
    if config.payload is None:
        return ()
    # What is shared is left out when a guest is saved, and when one is restored it is looked for where it was: a device
    # comes to lie there later only.
    share = "share=on" if memory is None or memory.state is None else "share=off"
    backend = f"memory-backend-file,id=window,mem-path=/proc/self/fd/{descriptor},size={WINDOW_SIZE},{share}"
    return ("-object", backend, "-device", "ivshmem-plain,memdev=window,master=on")


def _gdb(descriptor: int) -> Sequence[str]:
    """A socket of ours that listens for a debugger, and a processor that does nothing until one says so."""
    if descriptor < 0:
        return ()
    return ("-chardev", f"socket,id=gdb,fd={descriptor},server=on,wait=off", "-gdb", "chardev:gdb", "-S")


def _disk(descriptor: int) -> Sequence[str]:
    """An NVMe drive that is a file of ours."""
    if descriptor < 0:
        return ()
    return (
        "-drive",
        f"if=none,id=disk,format=raw,file=/proc/self/fd/{descriptor}",
        "-device",
        f"nvme,drive=disk,serial={SCRATCH_SERIAL}",
    )


def _payload_disk(config: MachineConfig) -> Sequence[str]:
    """Another NVMe drive. What the guest writes goes to a file that QEMU makes for itself and has no name any more."""
    if config.payload_disk is None:
        return ()
    drive = f"if=none,id=payload,format=raw,snapshot=on,file={_escape(config.payload_disk)}"
    return ("-drive", drive, "-device", f"nvme,drive=payload,serial={WORK_SERIAL}")


def _memory(config: MachineConfig, memory: Memory | None) -> Sequence[str]:
    """Memory in a file: shared with us in order to be saved; a private copy, page by page as it writes, if restored."""
    if memory is None:
        return ()
    path, size = f"/proc/self/fd/{memory.descriptor}", f"{config.memory_mib}M"
    share = "share=on" if memory.state is None or memory.is_own else "share=off"
    backend = ("-object", f"memory-backend-file,id=memory,mem-path={path},size={size},{share}")
    return backend if memory.state is None else (*backend, "-incoming", "defer")


def _console(config: MachineConfig, path: Path) -> str:
    if config.is_interactive:
        return f"stdio,id=console,signal=off,logfile={_escape(path)}"
    return f"file,id=console,append=on,path={_escape(path)}"


def _escape(path: Path) -> str:
    """Double the commas, as QEMU's option syntax asks."""
    return str(path).replace(",", ",,")


class Guest:
    """A running guest. Use it as a context manager: leaving ends QEMU.

    Boot it from the main thread: QEMU's death signal is tied to the thread that started it.

    Attributes:
        channel: the conversation with PID 1, or with the entry point it runs.
        monitor: the conversation with QEMU itself.
        console: the file that everything the guest prints goes to.
        ready: what PID 1 said of itself: ``release``, ``version``, ``uptime_s``.
        boot_seconds: from the start of QEMU to that message.
        is_restored: whether it goes on from a saved state.
        gdb_port: where a debugger is awaited, if it is to have one.
    """

    def __init__(self, config: MachineConfig, directory: Path, memory: Memory | None = None) -> None:
        self.config = config
        self.console = directory / CONSOLE_NAME
        self.log = directory / "qemu.txt"
        self.ready: dict[str, Any] = {}
        self.boot_seconds = 0.0
        self.is_restored = memory is not None and memory.state is not None
        self.gdb_port: int | None = None
        self._started_s = time.monotonic()
        self._owner = os.getpid()
        # An interruption waits until there is a process that `kill` knows of.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTIONS)
        try:
            self._start(config, memory, mask)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _start(self, config: MachineConfig, memory: Memory | None, mask: Collection[int]) -> None:
        if config.vmlinux is not None and not self.is_restored:  # who is restored has the kernel in its memory
            config.vmlinux.check()
        # First: it may be that there is none.
        gdb = listen(config.gdb_port) if config.gdb_port is not None else None
        window = open_window(config.payload) if config.payload is not None else -1
        disk = open_disk() if config.has_disk else -1
        ours, theirs = socket.socketpair()
        our_monitor, their_monitor = socket.socketpair()
        given = [theirs.fileno(), their_monitor.fileno()]
        opened = [window, disk]
        if gdb is not None:
            self.gdb_port = gdb.getsockname()[1]
            opened.append(gdb_descriptor := gdb.detach())
        else:
            gdb_descriptor = -1
        given += [descriptor for descriptor in (*opened, memory.descriptor if memory else -1) if descriptor >= 0]
        # A restored guest goes on with a conversation that it had with whoever saved it.
        self.channel = Channel(ours, *((memory.sent_count, memory.received_count) if memory is not None else ()))
        self.monitor = Monitor(our_monitor)
        try:
            arguments = qemu_arguments(
                config,
                console=self.console,
                channel_descriptor=theirs.fileno(),
                monitor_descriptor=their_monitor.fileno(),
                window_descriptor=window,
                disk_descriptor=disk,
                gdb_descriptor=gdb_descriptor,
                memory=memory,
            )
            with self.log.open("wb") as log:
                self.process = subprocess.Popen(
                    arguments,
                    pass_fds=given,
                    stdin=None if config.is_interactive else subprocess.DEVNULL,
                    stdout=None if config.is_interactive else log,
                    stderr=log,
                    env={**os.environ, **config.emulator.environment},
                    # Ctrl-C is for us: we end the guest in our own time.
                    process_group=0 if not config.is_interactive else None,
                    preexec_fn=_die_with(os.getpid(), mask),  # noqa: PLW1509 - no other thread of ours runs while we fork
                )
        except OSError as error:
            ours.close()
            our_monitor.close()
            raise BootError(
                f"cannot start QEMU ({arguments[0]}): {error}. `uring-matrix doctor` says what is missing"
            ) from error
        finally:
            theirs.close()
            their_monitor.close()
            for descriptor in opened:
                if descriptor >= 0:
                    os.close(descriptor)

    @classmethod
    def boot(
        cls,
        config: MachineConfig,
        directory: Path,
        *,
        deadline_s: float,
        memory: Memory | None = None,
        on_start: Callable[[Self], object] = lambda _: None,
    ) -> Self:
        """Start a guest and wait until its PID 1 is ready.

        Args:
            config: the machine.
            directory: an existing directory for the console and QEMU's own messages.
            deadline_s: seconds until a silent guest is given up.
            memory: a file for its memory, so that it can be saved.
            on_start: called when QEMU is there and the wait begins.

        Raises:
            BootError: QEMU did not start, ended, or the guest did not answer in time; with the console's end.
        """
        guest = cls(config, directory, memory)
        try:
            on_start(guest)
            guest._await_ready(deadline_s)
            if _UNPACKING_FAILED in guest.console_tail():
                raise BootError("the guest image was not unpacked whole; the guest needs more memory")
        except (ChannelError, BootError) as error:
            how = f"{error}; {guest._end(error)}"
            if traceback := guest.traceback():
                how = "\n".join([f"PID 1 ended: {traceback[-1]}", *traceback, how])
            raise BootError(
                f"{config.kernel.name} did not boot: {how}\n"
                f"the console's end ({guest.console}):\n{guest.console_tail() or '(nothing was printed)'}"
            ) from error
        except BaseException:
            guest.kill()
            raise
        return guest

    @classmethod
    def restore(
        cls,
        config: MachineConfig,
        directory: Path,
        memory: Memory,
        *,
        deadline_s: float,
        find_damage: Callable[[], str | None] = lambda: None,
    ) -> Self:
        """Have a saved guest go on, as one of its own: with its own time, random numbers and payload.

        Args:
            config: the machine.
            directory: for the console and QEMU's messages.
            memory: what was saved.
            deadline_s: seconds until it is given up.
            find_damage: says what is wrong with the memory, if anything is. It is asked while QEMU starts, and before
                the guest runs.

        Raises:
            BootError: it did not; with what QEMU said.
        """
        guest = cls(config, directory, memory)
        try:
            if (damage := find_damage()) is not None:
                raise BootError(damage)
            capabilities = [{"capability": "x-ignore-shared", "state": True}]
            guest.monitor.execute("migrate-set-capabilities", deadline_s, capabilities=capabilities)
            guest.monitor.execute("migrate-incoming", deadline_s, uri=f"exec:cat {shlex.quote(str(memory.state))}")
            guest._await_migration(deadline_s)
            guest.go_on(deadline_s)  # it was saved standing still
            guest.channel.send(
                {"type": "renew", "time": time.time(), "entropy": os.urandom(_ENTROPY_SIZE).hex()}, deadline_s
            )
            guest._await_ready(deadline_s)
        except (ChannelError, MonitorError, BootError) as error:
            raise BootError(f"the saved guest did not go on: {error}; {guest._end(error)}") from error
        except BaseException:
            guest.kill()
            raise
        return guest

    def save(self, state: Path, deadline_s: float) -> None:
        """Write everything but its memory to a file, and stop. The memory is in the file it was booted with.

        Raises:
            MonitorError: QEMU could not.
        """
        self.monitor.execute("stop", deadline_s)
        capabilities = [{"capability": "x-ignore-shared", "state": True}]
        self.monitor.execute("migrate-set-capabilities", deadline_s, capabilities=capabilities)
        self.monitor.execute("migrate", deadline_s, uri=f"exec:cat > {shlex.quote(str(state))}")
        self._await_migration(deadline_s)

    def go_on(self, deadline_s: float) -> None:
        """Let a stopped guest run again."""
        self.monitor.execute("cont", deadline_s)

    def _await_ready(self, deadline_s: float) -> None:
        message = self.channel.receive(deadline_s)
        if message.get("type") != "ready":
            raise BootError(f"the guest's first message is {message.get('type')!r}, not 'ready'")
        self.ready = message
        self.boot_seconds = time.monotonic() - self._started_s

    def _await_migration(self, deadline_s: float) -> None:
        """Wait until QEMU has written or read a state; it has no command that waits."""
        end_s = time.monotonic() + deadline_s
        while True:
            answer = self.monitor.execute("query-migrate", deadline_s)
            match answer.get("status"):
                case "completed":
                    return
                case "failed" | "cancelled":
                    raise MonitorError(f"QEMU could not move the state: {answer.get('error-desc', answer['status'])}")
            if not self.is_running() or time.monotonic() > end_s:
                raise MonitorError(f"QEMU did not move the state within {deadline_s:.0f} s: {answer}")
            time.sleep(_POLL_S)

    def start(self, entry: str, argument: Any, *, timeout_s: float = 30.0) -> None:
        """Have PID 1 run ``module:function`` in a child; from now on the channel is that function's.

        The guest's clock is set to ours. When the child ended, an ``exit`` message with its wait status comes.
        """
        message = {"type": "start", "entry": entry, "argument": argument, "time": time.time()}
        if self.config.payload is not None:
            message["payload_size"] = self.config.payload.stat().st_size
        if self.config.payload_disk is not None:
            message["disk"] = {"has_scratch": self.config.has_disk}
        self.channel.send(message, timeout_s)

    def interrupt(self, timeout_s: float) -> None:
        """Send the guest's processor an NMI, if possible while it sleeps.

        The clock of an idle guest leaps, so that it is busy with its time-keeping often; and a kernel that an NMI finds
        there waits for itself, for good, as soon as it asks for the time. Source: ktime_get in
        kernel/time/timekeeping.c, which spins on a sequence count while it is odd.

        Raises:
            MonitorError: QEMU refused, or does not answer.
        """
        for _ in range(_SLEEP_TRIES):
            self.monitor.execute("stop", timeout_s)
            registers = self.monitor.execute("human-monitor-command", timeout_s, command_line="info registers")
            if "HLT=1" in registers:
                break
            self.monitor.execute("cont", timeout_s)
        self.monitor.execute("inject-nmi", timeout_s)
        self.monitor.execute("cont", timeout_s)

    def is_running(self) -> bool:
        """Whether QEMU still runs."""
        return self.process.poll() is None

    def wait(self, timeout_s: float) -> int | None:
        """Wait for QEMU to end by itself; its exit status, or None when it still runs."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def await_end(self) -> None:
        """Give a QEMU that has hung up a moment to end by itself, so that its status and its last words are there."""
        self.wait(_END_TIMEOUT_S)

    def kill(self) -> None:
        """End QEMU, now, and wait until it is gone. Calling it again is fine."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(_KILL_TIMEOUT_S)
        self.channel.close()
        self.monitor.close()

    def _end(self, error: Exception) -> str:
        """End QEMU after an error; how it had ended by itself until then, or that it had not."""
        if isinstance(error, (ChannelClosedError, MonitorError)):
            self.await_end()
        how = self.how_qemu_ended()
        self.kill()
        return how

    def how_qemu_ended(self) -> str:
        """One sentence about QEMU's end, if there is one, with what it said."""
        status = self.process.poll()
        lines = self.log.read_text(errors="replace").splitlines()
        said = "\n".join(line for line in lines if not line.endswith(_IDLE)).strip()
        if status is None:
            how = "is still running"
        else:
            how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"QEMU {how}; it said: {said}" if said else f"QEMU {how}"

    def console_tail(self) -> str:
        """The last of what the guest printed, as text that cannot fail to decode."""
        return self._printed(_CONSOLE_TAIL_SIZE)

    def traceback(self) -> list[str]:
        """The last traceback that a program of the guest's printed, the exception in its last line; or nothing."""
        return last_traceback(self._printed(_CONSOLE_SIZE_MAX))

    def _printed(self, size_bytes: int) -> str:
        try:
            with self.console.open("rb") as file:
                file.seek(max(file.seek(0, os.SEEK_END) - size_bytes, 0))
                return file.read().decode(errors="replace").replace("\r\n", "\n")
        except FileNotFoundError:
            return ""

    def __del__(self) -> None:
        """An interruption may come when nobody has hold of the guest yet: it ends all the same, without a word."""
        if hasattr(self, "process") and self._owner == os.getpid():  # not in a fork of ours
            self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()


def listen(port: int) -> socket.socket:
    """Listen for a debugger of this machine's.

    Args:
        port: 0 is any that is free.

    Raises:
        BootError: somebody else has it, or it is for root alone.
    """
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise BootError(
            f"no debugger can be awaited at {LOOPBACK}:{port}: {reason}; name another port, or 0 for any that is free"
        ) from error


def _die_with(parent: int, mask: Collection[int]) -> Callable[[], None]:
    """A function that ties a fresh child to the life of the process ``parent``, and gives it that one's signals."""
    libc = ctypes.CDLL(None, use_errno=True)

    def tie() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:  # it died before the call: nobody would end us
            os._exit(1)

    return tie
