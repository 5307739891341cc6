"""Messages between the agent and the process that runs the tests: JSON behind its length, over a pair of sockets."""

import fcntl
import json
import os
import socket
from typing import Any

_HEADER_SIZE = 8
_MESSAGE_SIZE_MAX = 64 << 20
_CHUNK_SIZE = 1 << 16
# Far above what a test opens, or closes by number.
FIRST_DESCRIPTOR = 900


def out_of_reach(descriptor: int) -> int:
    """Move a descriptor to where no test looks."""
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FIRST_DESCRIPTOR)
    finally:
        os.close(descriptor)


class WireError(Exception):
    """What arrived is no message: the test wrote to a descriptor that is not its own."""


class Wire:
    """One end.

    Attributes:
        descriptor: to poll.
        is_ignored: whether the other end was closed before it had read everything that was sent.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.descriptor = out_of_reach(connection.detach())
        self.is_ignored = False
        self._pending = bytearray()

    @classmethod
    def pair(cls) -> tuple["Wire", "Wire"]:
        """Two ends that are connected."""
        one, other = socket.socketpair()
        return cls(one), cls(other)

    def send(self, message: dict[str, Any]) -> None:
        """Send a message, all of it.

        Raises:
            BrokenPipeError: the other end is gone.
        """
        payload = json.dumps(message).encode()
        rest = memoryview(b"%08x" % len(payload) + payload)
        try:
            while rest:
                rest = rest[os.write(self.descriptor, rest) :]
        except BrokenPipeError:
            self.is_ignored = True
            raise

    def receive(self) -> dict[str, Any] | None:
        """Wait for a message; None when the other end is gone."""
        while (message := self.next()) is None:
            if not self.feed():
                return None
        return message

    def feed(self) -> bool:
        """Read what there is, waiting for the first byte; False when the other end is gone."""
        try:
            data = os.read(self.descriptor, _CHUNK_SIZE)
        except ConnectionResetError:  # what AF_UNIX says of an end that was closed with something unread
            self.is_ignored = True
            return False
        self._pending += data
        return bool(data)

    def next(self) -> dict[str, Any] | None:
        """The next whole message that was read; None when there is none.

        Raises:
            WireError: the bytes are no message.
        """
        pending = self._pending
        if len(pending) < _HEADER_SIZE:
            return None
        try:
            end = _HEADER_SIZE + int(pending[:_HEADER_SIZE], 16)
            if end > _MESSAGE_SIZE_MAX:
                raise WireError(f"a message of {end} bytes")
            if len(pending) < end:
                return None
            message = json.loads(pending[_HEADER_SIZE:end])
        except ValueError as error:
            raise WireError(f"{bytes(pending[:60])!r}") from error
        if not isinstance(message, dict):
            raise WireError(f"{bytes(pending[:60])!r}")
        del pending[:end]
        return message

    def close(self) -> None:
        """Hang up."""
        os.close(self.descriptor)
