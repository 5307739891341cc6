"""The QEMU command as data, and guests whose QEMU is a program of the test's own."""

import gc
import itertools
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vm.architectures import AMD64
from vm.errors import BootError
from vm.machine import Emulator, Guest, MachineConfig, kernel_command_line, memory_mib, qemu_arguments

HANGS_UP = """
import os, sys, time
for word in ("socket,id=channel", "socket,id=monitor"):
    os.close(int(next(a for a in sys.argv if a.startswith(word)).rpartition("=")[2]))
time.sleep(0.5)
sys.exit("no memory")
"""
READY = """
import sys, time
sys.path.insert(0, {root!r})
from vm.guest.frames import encode
import os
fd = int(next(a for a in sys.argv if a.startswith("socket,id=channel")).rpartition("=")[2])
os.write(fd, encode(0, {{"type": {type!r}, "release": "6.1", "version": "#1", "uptime_s": 1.0}}))
sys.stdin.close()
time.sleep(60)
"""
ROOT = str(Path(__file__).parents[2])


def config(tmp_path: Path, script: str, **more: object) -> MachineConfig:
    program = tmp_path / "qemu"
    program.write_text(f"#!{sys.executable}\n{script}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    emulator = Emulator((str(program),), environment={"QEMU_MODULE_DIR": "/modules"})
    return MachineConfig(AMD64, emulator, tmp_path / "vmlinuz", tmp_path / "initrd", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("looks", "stop_count"), [([1], 1), ([0, 0, 1], 3), ([0] * 50, 50)])
def test_an_interrupt_finds_the_processor_asleep_if_that_can_be(looks: list[int], stop_count: int) -> None:
    """In the midst of its time-keeping the kernel would not come back from it; one that never sleeps gets it, too."""
    rest, commands = list(looks), []

    class Monitor:
        def execute(self, command: str, timeout_s: float, **_: str) -> str:
            commands.append(command)
            return f"RIP=ffffffff9df48f7a A20=1 SMM=0 HLT={rest.pop(0)}" if command.startswith("human") else ""

    guest = Guest.__new__(Guest)
    guest.monitor = Monitor()  # type: ignore[assignment]
    guest.interrupt(1.0)
    assert commands.count("stop") == stop_count
    assert commands[-2:] == ["inject-nmi", "cont"]
    # It stands still when it gets it, if it was found asleep.
    assert (commands[-3] == "human-monitor-command") is (1 in looks)
    assert not rest


def test_the_command_has_nothing_a_guest_does_not_need(tmp_path: Path) -> None:
    arguments = qemu_arguments(
        config(tmp_path, ""), console=Path("/a,b/console"), channel_descriptor=7, monitor_descriptor=8
    )
    pairs = dict(itertools.pairwise(arguments))
    assert pairs["-accel"] == "tcg"
    assert pairs["-cpu"] == AMD64.qemu_cpu
    assert pairs["-kernel"] == str(tmp_path / "vmlinuz")
    assert {"-nodefaults", "-no-reboot", "-no-user-config"} <= set(arguments)
    assert "file,id=console,append=on,path=/a,,b/console" in arguments
    assert "socket,id=channel,fd=7" in arguments
    assert "socket,id=monitor,fd=8" in arguments
    assert not {"-netdev", "-net", "-nic", "-hda"} & set(arguments)


def test_kvm_takes_the_hosts_cpu(tmp_path: Path) -> None:
    machine = config(tmp_path, "")
    kvm = MachineConfig(AMD64, Emulator(("q",), "kvm"), machine.kernel, machine.initrd)
    arguments = qemu_arguments(kvm, console=Path("c"), channel_descriptor=3, monitor_descriptor=4)
    assert arguments[arguments.index("-cpu") + 1] == "host"
    assert "-icount" not in arguments


def test_more_parameters_come_after_ours(tmp_path: Path) -> None:
    line = kernel_command_line(config(tmp_path, "", parameters=("loglevel=8",)))
    assert line.startswith("console=ttyS0 ")
    assert line.endswith(" loglevel=8")
    assert "panic=-1" in line.split()


def test_a_guest_that_reports_is_ready_and_ends_with_its_owner(tmp_path: Path) -> None:
    with Guest.boot(config(tmp_path, READY.format(root=ROOT, type="ready")), tmp_path, deadline_s=20) as guest:
        pid = guest.process.pid
        assert guest.ready["release"] == "6.1"
        assert guest.boot_seconds > 0
        assert guest.is_running()
    assert not guest.is_running()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    guest.kill()  # twice is fine


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("import sys; sys.exit('no such machine')", "no such machine"),
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
        (HANGS_UP, "QEMU ended with status 1; it said: no memory"),
        ("import time; time.sleep(60)", "nothing whole within 0.5 s; QEMU is still running"),
        (READY.format(root=ROOT, type="else"), "not 'ready'"),
        (READY.format(root=ROOT, type="ready").replace("encode(0", "encode(3"), "corrupt"),
    ],
    ids=["refused", "killed", "hangs-up", "silent", "another-message", "corrupt"],
)
def test_a_boot_that_fails_says_how(tmp_path: Path, script: str, message: str) -> None:
    deadline_s = 0.5 if "nothing" in message else 20.0
    with pytest.raises(BootError, match=message):
        Guest.boot(config(tmp_path, script), tmp_path, deadline_s=deadline_s)


def test_half_an_image_is_no_guest(tmp_path: Path) -> None:
    """The kernel goes on without the files that did not fit into its memory; PID 1 may well be among those that did."""
    console = """
path = next(a for a in sys.argv if a.startswith("file,id=console")).partition("path=")[2]
open(path, "w").write("Initramfs unpacking failed: write error")
"""
    script = READY.format(root=ROOT, type="ready").replace("fd = int", f"{console}fd = int")
    with pytest.raises(BootError, match="needs more memory"):
        Guest.boot(config(tmp_path, script), tmp_path, deadline_s=20)


def test_memory_grows_with_the_image(tmp_path: Path) -> None:
    image = tmp_path / "initrd"
    with image.open("wb") as file:
        file.truncate(100 << 20)
    assert memory_mib(image) == 384
    image.write_bytes(b"")
    assert memory_mib(image) == 256


def test_a_missing_program_is_a_sentence(tmp_path: Path) -> None:
    machine = MachineConfig(AMD64, Emulator((str(tmp_path / "none"),)), tmp_path / "k", tmp_path / "i")
    with pytest.raises(BootError, match="cannot start QEMU"):
        Guest.boot(machine, tmp_path, deadline_s=1)


def test_the_console_is_shown_whatever_is_in_it(tmp_path: Path) -> None:
    script = """
import sys
path = next(a for a in sys.argv if a.startswith("file,id=console")).partition("path=")[2]
open(path, "wb").write(b"\\xff\\x00 Kernel panic - not syncing\\r\\n")
"""
    with pytest.raises(BootError, match="Kernel panic"):
        Guest.boot(config(tmp_path, script), tmp_path, deadline_s=20)


def test_an_interruption_while_qemu_is_started_ends_it_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes when the process is there and nobody knows of it yet; Python warns of every socket that is forgotten."""
    started: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[call-overload]
            started.append(self)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        Guest(config(tmp_path, "import time; time.sleep(60)"), tmp_path)
    gc.collect()
    assert [-signal.SIGKILL] == [process.returncode for process in started]


def test_a_guest_has_the_signals_of_its_owner(tmp_path: Path) -> None:
    """What is held back while QEMU is started is not held back in QEMU."""
    script = "import signal, sys; sys.exit(3 if signal.pthread_sigmask(signal.SIG_BLOCK, []) else 4)"
    with Guest(config(tmp_path, script), tmp_path) as guest:
        assert guest.wait(30) == 4


def test_a_guest_outlives_a_fork_of_its_owner(tmp_path: Path) -> None:
    with Guest(config(tmp_path, "import time; time.sleep(60)"), tmp_path) as guest:
        child = os.fork()
        if child == 0:
            guest.__del__()
            os._exit(0)
        os.waitpid(child, 0)
        assert guest.is_running()
