"""A QEMU that boots nothing: its guest is this process, on this machine's kernel, running the real agent.

It takes QEMU's arguments and speaks what PID 1 of a guest speaks. What goes wrong is in STAND_IN_FAULT, as `what` or
`what:number`; with STAND_IN_ONCE, a path, it goes wrong in the first guest only.
"""

import importlib
import itertools
import mmap
import os
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

VERSION = "9.9.9"


class Port:
    """PID 1's end of the channel, with faults in what it sends, whichever process of the guest's sends it."""

    def __init__(self, connection: socket.socket, fault: str, number: int) -> None:
        from vm.guest.frames import Decoder

        self._connection, self._fault, self._number = connection, fault, number
        self._decoder = Decoder()
        self._machine = os.getpid()
        self._counts = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("I")  # frames sent

    def send(self, message: dict[str, Any]) -> None:
        from vm.guest.frames import encode

        if message["type"] == "done":
            time.sleep(float(os.environ.get("STAND_IN_TEST_SECONDS", "0")))
        frame, is_struck = encode(self._counts[0], message), self._counts[0] == self._number
        self._counts[0] += 1
        self._connection.sendall(self._spoil(frame) if is_struck else frame)

    def _signal(self, number: signal.Signals) -> None:
        """To the whole machine: to this process last."""
        for process in dict.fromkeys((self._machine, os.getpid())):
            os.kill(process, number)

    def _spoil(self, frame: bytes) -> bytes:
        match self._fault:
            case "flip-bit":
                middle = len(frame) // 2
                return frame[:middle] + bytes([frame[middle] ^ 1]) + frame[middle + 1 :]
            case "swallow-half":
                return frame[: len(frame) // 2]
            case "break-off":  # half a frame, and then the machine is gone
                self._connection.sendall(frame[: len(frame) // 2])
                self._signal(signal.SIGKILL)
            case "twice":
                return frame * 2
            case "lose":
                return b""
            case "noise":
                return b"\xff\x00[   12.345678] a line of the kernel's log\r\n" + frame
            case "die":
                self._signal(signal.SIGKILL)
            case "stop":
                os.kill(self._machine, signal.SIGSTOP)
                while os.getppid() == self._machine:  # of a machine nothing is left when it is ended
                    time.sleep(0.05)
                os._exit(1)
        return frame

    def receive(self) -> dict[str, Any]:
        while (message := self._decoder.next()) is None:
            data = self._connection.recv(1 << 16)
            if not data:
                sys.exit(0)
            self._decoder.feed(data)
        return message


def unpack(initrd: Path, directory: Path, size_bytes: int = sys.maxsize) -> None:
    """Take what lies in /work out of an initramfs, or out of what the guest sees through its window."""
    with initrd.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = 0
        while at < min(len(content), size_bytes):
            if content[at : at + 4] == b"\0\0\0\0":  # between two archives
                at += 4
                continue
            fields = [int(content[at + 6 + 8 * index : at + 14 + 8 * index], 16) for index in range(13)]
            mode, size, name_size = fields[1], fields[6], fields[11]
            name = content[at + 110 : at + 110 + name_size - 1].decode()
            start = at + 110 + name_size + -(110 + name_size) % 4
            if name.startswith("work/") and mode & 0o170000 == 0o100000:
                target = directory / name.removeprefix("work/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content[start : start + size])
            at = start + size + -size % 4


def main() -> None:
    """Be asked about QEMU, or be a guest."""
    arguments = sys.argv[1:]
    match arguments:
        case ["--version"]:
            print(f"QEMU emulator version {os.environ.get('STAND_IN_VERSION', VERSION)}")
            return
        case ["-machine", "help"]:
            print("Supported machines are:\npc    Standard PC (alias of pc-i440fx-9.9)")
            return
        case ["-accel", "help"]:
            print("Accelerators supported in QEMU binary:\ntcg\nkvm")
            return
    fault, _, number = os.environ.get("STAND_IN_FAULT", "").partition(":")
    if once := os.environ.get("STAND_IN_ONCE"):
        try:
            os.close(os.open(once, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            fault = ""
    options = dict(itertools.pairwise(arguments))
    for word in arguments:
        if word.startswith("socket,id=monitor"):
            os.close(int(word.rpartition("=")[2]))
    descriptor = next(int(word.rpartition("=")[2]) for word in arguments if word.startswith("socket,id=channel"))
    console = next(word for word in arguments if word.startswith("file,id=console")).partition("path=")[2]
    Path(console.replace(",,", ",")).write_text("the stand-in's console\n")
    if fault == "deaf":
        signal.pause()
    work = Path(tempfile.mkdtemp(dir=os.environ.get("STAND_IN_WORK")))
    unpack(Path(options["-initrd"].replace(",,", ",")), work)
    os.chdir(work)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # a guest has no entry points
    os.environ["TMPDIR"] = tempfile.tempdir = str(work)
    sys.path.insert(0, os.environ["PYTHONPATH"].partition(os.pathsep)[0])  # for the frames
    port = Port(socket.socket(fileno=descriptor), fault, int(number or -1))
    release = os.environ.get("STAND_IN_RELEASE", "6.1.0-stand-in")
    port.send({"type": "ready", "release": release, "version": "#1", "uptime_s": 1.0})
    sys.path.insert(0, str(work))
    while True:
        message = port.receive()
        if message["type"] == "power-off":
            return
        if message.get("payload_size"):
            window = next(word for word in arguments if "id=window" in word)
            unpack(Path(window.partition("mem-path=")[2].partition(",")[0]), work, message["payload_size"])
            importlib.invalidate_caches()
        module, _, function = message["entry"].partition(":")
        getattr(importlib.import_module(module), function)(port, message["argument"])
        port.send({"type": "exit", "status": 0})


if __name__ == "__main__":
    main()
