"""The guest's end of the channel: framed messages over the second serial port.

A guest that waits for a message can be saved. One that was restored is told ``renew`` {time, entropy} in place of that
message: it is another guest now, and answers ``ready`` {release, version, uptime_s}, whoever it is that waits.
"""

import errno
import fcntl
import mmap
import os
import termios
from typing import Any

from vm.guest.frames import Decoder, encode
from vm.guest.renewal import ready, renew

FIRST_DESCRIPTOR = 900  # far above what a test opens, or closes by number


class Port:
    """Sends and receives messages on a serial device. One reader at a time: two would steal each other's bytes.

    A port survives ``fork``: frames are counted in shared memory, so that the parent goes on where its child stopped.
    """

    def __init__(self, path: str) -> None:
        opened = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        self.descriptor = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, FIRST_DESCRIPTOR)
        os.close(opened)
        _make_raw(self.descriptor)
        self._decoder = Decoder()
        self._counts = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("I")  # frames sent, frames received

    def send(self, message: dict[str, Any]) -> None:
        """Send one message, all of it, and wait until it has left this machine: whatever happens next, it is known."""
        frame = memoryview(encode(self._counts[0], message))
        self._counts[0] += 1
        while frame:
            frame = frame[os.write(self.descriptor, frame) :]
        _drain(self.descriptor)

    def receive(self) -> dict[str, Any]:
        """Wait for the next message. The deadline is the host's: it ends a guest that waits too long."""
        self._decoder.sequence = self._counts[1]
        while True:
            message = self._decoder.next()
            if message is None:
                self._decoder.feed(os.read(self.descriptor, 65536))
                continue
            self._counts[1] += 1
            if message["type"] != "renew":
                return message
            renew(message)
            self.send(ready())


def _drain(descriptor: int) -> None:
    """Wait until all is sent. A child that ended meanwhile, say, is no reason to wait no longer."""
    while True:
        try:
            termios.tcdrain(descriptor)
        except termios.error as error:
            if error.args[0] != errno.EINTR:
                raise
        else:
            return


def _make_raw(descriptor: int) -> None:
    attributes: list[Any] = termios.tcgetattr(descriptor)
    attributes[0] = 0  # iflag: no translation, no flow control
    attributes[1] = 0  # oflag: no translation
    attributes[2] = termios.CS8 | termios.CREAD | termios.CLOCAL
    attributes[3] = 0  # lflag: no echo, no line editing, no signals
    attributes[4] = attributes[5] = termios.B115200
    attributes[6][termios.VMIN] = 1
    attributes[6][termios.VTIME] = 0
    termios.tcsetattr(descriptor, termios.TCSANOW, attributes)
