"""PID 1 of a guest: makes the machine usable, then runs entry points the host names, one after another.

The host's messages: ``start`` {entry, argument, payload_size, disk, time} runs ``entry`` in a child process,
``power-off`` ends the guest. Ours: ``ready`` at first, then ``exit`` {status} each time the child ended, however it
ended. ``renew``, which a restored guest is told first, is the port's to answer (`vm.guest.port`).
"""

import ctypes
import fcntl
import gc
import importlib
import importlib.util
import json
import os
import signal
import socket
import struct
import sys
import traceback
from typing import Any

from vm.guest import disk, window
from vm.guest.port import Port
from vm.guest.renewal import ready, set_clock

CONFIG_PATH = "/etc/guest.json"
WORK_PATH = "/work"  # where the host's payload is unpacked
SITE_PATH = "/site"  # and its third-party packages

MOUNTS = (
    ("proc", "/proc", "proc", 0, ""),
    ("sysfs", "/sys", "sysfs", 0, ""),
    ("devtmpfs", "/dev", "devtmpfs", 0, ""),
    # Of the usual half of the memory, the image has taken too much: a full disk is to be an ENOSPC, no want of memory.
    ("tmpfs", "/tmp", "tmpfs", 0, "mode=1777,size=33%"),  # noqa: S108 - the guest's own
    ("tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777,size=33%"),  # noqa: S108
    ("devpts", "/dev/pts", "devpts", 0, "gid=5,mode=620,ptmxmode=666"),
)
LINKS = (
    # What udev makes elsewhere.
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
)
ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "LOGNAME": "root",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "SHELL": "/bin/sh",
    "USER": "root",
}
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
RB_POWER_OFF, RB_AUTOBOOT = 0x4321FEDC, 0x01234567
SETTINGS = (
    # What a kernel has no file for, it lacks: nothing to set.
    ("/proc/sys/kernel/panic_on_oops", "1"),  # an oops ends the guest at once, with its stack on the console
    ("/proc/sys/kernel/panic_on_warn", "0"),  # a warning is evidence, and no end
    ("/proc/sys/kernel/hung_task_timeout_secs", "20"),
    ("/proc/sys/kernel/hung_task_warnings", "-1"),  # each one, not only the first ten
    ("/proc/sys/kernel/hung_task_panic", "0"),  # the test's deadline ends it, and whoever waits may yet be served
    # A CPU that is stuck says so. It need not be the kernel's fault: under KVM the host may have been busy.
    ("/proc/sys/kernel/softlockup_panic", "0"),
    ("/proc/sys/kernel/panic_on_rcu_stall", "0"),
    ("/proc/sys/vm/panic_on_oom", "0"),  # the test's process is the one to go
    # The host's last resort for a guest that does not answer: an NMI makes it print where it is, and what all its
    # tasks wait for.
    ("/proc/sys/kernel/unknown_nmi_panic", "1"),
    ("/proc/sys/kernel/panic_print", "1"),
    ("/proc/sys/kernel/printk_devkmsg", "on"),  # our markers must not be rate limited
    ("/proc/sys/kernel/sysrq", "1"),
)

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Run the guest until the host ends it. What fails here goes to the console, and the kernel panics."""
    try:
        run()
    except BaseException:
        traceback.print_exc()  # without the colours that Python has for a terminal
        sys.exit(1)


def run() -> None:
    """Make the machine usable, and obey."""
    mount_all()
    apply_settings()
    bring_up_loopback()
    os.environ.update(ENVIRONMENT)
    os.environ.pop("LC_CTYPE", None)  # Python's own doing, when it starts without any language
    with open(CONFIG_PATH, encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs an import before the first message
        config = json.load(file)
    socket.sethostname(config["hostname"])
    port = Port(config["port"])
    for name in config["preload"]:
        importlib.import_module(name)
    if config["main"]:
        pass_for(config["main"])
    gc.freeze()  # children share these pages, and never search them
    gc.enable()
    port.send(ready())
    while True:
        message = port.receive()
        if message["type"] == "start":
            port.send({"type": "exit", "status": run_child(port, message)})
        elif message["type"] == "power-off":
            power_off()


def pass_for(package: str) -> None:
    """Look as if we had been started as ``python -m package``, to whatever runs in a child of ours.

    Processes that `multiprocessing` spawns run the file of their parent's main module again, unless that is the
    ``__main__`` of a package. Ours is PID 1.
    """
    spec = importlib.util.find_spec(f"{package}.__main__")
    if spec is None:
        raise ModuleNotFoundError(f"No module named {package}.__main__")
    sys.modules["__main__"] = importlib.util.module_from_spec(spec)
    sys.modules["__main__"].__name__ = "__main__"
    sys.argv = [spec.origin or package]


def run_child(port: Port, message: dict[str, Any]) -> int:
    """Run one entry point in a child and wait for it, reaping what it leaves behind. Returns its wait status."""
    set_clock(message)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setsid()
            run_entry(port, message)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    while True:
        reaped, status = os.waitpid(-1, 0)
        if reaped == child:
            return status


def run_entry(port: Port, message: dict[str, Any]) -> None:
    """Unpack the payload and call the entry point, ``module:function``, with the port and its argument."""
    if message.get("payload_size"):
        window.unpack("/", message["payload_size"])
    if message.get("disk"):
        disk.mount(**message["disk"])
    os.chdir(WORK_PATH)
    if WORK_PATH not in sys.path:
        sys.path.insert(0, WORK_PATH)
    if SITE_PATH not in sys.path:
        sys.path.append(SITE_PATH)
    importlib.invalidate_caches()
    module, _, function = message["entry"].partition(":")
    getattr(importlib.import_module(module), function)(port, message["argument"])


def mount_all() -> None:
    """Mount what programs expect. The initramfs brings only the mount points."""
    for source, target, kind, flags, data in MOUNTS:
        os.makedirs(target, exist_ok=True)  # noqa: PTH103
        if libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()) != 0:
            number = ctypes.get_errno()
            print(f"init: cannot mount {kind} on {target}: {os.strerror(number)}", file=sys.stderr, flush=True)
    for source, target in LINKS:
        if not os.path.lexists(target):
            os.symlink(source, target)  # noqa: PTH211
    os.makedirs(WORK_PATH, exist_ok=True)  # noqa: PTH103


def apply_settings() -> None:
    """Make the kernel say what is wrong, and stop when it is."""
    for path, value in SETTINGS:
        try:
            with open(path, "w", encoding="ascii") as file:  # noqa: PTH123
                file.write(f"{value}\n")
        except FileNotFoundError:
            continue
        except OSError as error:
            print(f"init: cannot set {path} to {value}: {error}", file=sys.stderr, flush=True)


def bring_up_loopback() -> None:
    """Set IFF_UP on ``lo``, as ``ip link set lo up`` does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def power_off() -> None:
    """End the machine without asking anybody: there is nothing to save."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    libc.reboot(RB_AUTOBOOT)  # QEMU runs with -no-reboot: a reset is the end, and needs no ACPI
    libc.reboot(RB_POWER_OFF)
