"""The host's end of the channel to a guest. Every wait has a deadline."""

import socket
import time
from typing import Any

from vm.errors import VmError
from vm.guest.frames import Decoder, FrameCorruptError, encode

_CHUNK_SIZE = 1 << 16


class ChannelError(VmError):
    """The conversation with a guest cannot go on."""


class ChannelClosedError(ChannelError):
    """The other end is gone: QEMU ended."""


class ChannelTimeoutError(ChannelError):
    """Nothing whole arrived before the deadline."""


class ChannelCorruptError(ChannelError):
    """What arrived is not what the guest sent; nothing after it can be trusted."""


class Channel:
    """Numbered, checksummed messages over a connected socket.

    Args:
        connection: our end.
        sent_count: messages that somebody else has sent to the other end.
        received_count: messages of the other end's that somebody else has received.

    Attributes:
        sent_count: all that were sent until now, theirs included.
    """

    def __init__(self, connection: socket.socket, sent_count: int = 0, received_count: int = 0) -> None:
        self._connection = connection
        self._decoder = Decoder()
        self._decoder.sequence = received_count
        self.sent_count = sent_count

    @property
    def received_count(self) -> int:
        """All messages that were received until now, by somebody else included."""
        return self._decoder.sequence

    def send(self, message: dict[str, Any], timeout_s: float) -> None:
        """Send one message.

        Raises:
            ChannelClosedError: QEMU ended.
            ChannelTimeoutError: the guest did not take it in time.
        """
        self._connection.settimeout(timeout_s)
        try:
            self._connection.sendall(encode(self.sent_count, message))
        except TimeoutError:
            raise ChannelTimeoutError(
                f"the guest took no {message.get('type')!r} message within {timeout_s:.1f} s"
            ) from None
        except OSError as error:
            raise ChannelClosedError(f"the guest is gone: {error}") from error
        self.sent_count += 1

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """Wait for the next message.

        Raises:
            ChannelClosedError: QEMU ended.
            ChannelTimeoutError: no message within ``timeout_s`` seconds.
            ChannelCorruptError: bytes arrived that are no message.
        """
        deadline_s = time.monotonic() + timeout_s
        try:
            while (message := self._decoder.next()) is None:
                self._connection.settimeout(max(deadline_s - time.monotonic(), 0.001))
                data = self._connection.recv(_CHUNK_SIZE)
                if not data:
                    raise ChannelClosedError("the guest is gone: QEMU closed the channel")
                self._decoder.feed(data)
        except TimeoutError:
            raise ChannelTimeoutError(f"the guest sent nothing whole within {timeout_s:.1f} s") from None
        except FrameCorruptError as error:
            raise ChannelCorruptError(f"the channel is corrupt: {error}") from error
        except OSError as error:
            raise ChannelClosedError(f"the guest is gone: {error}") from error
        return message

    def poll(self) -> dict[str, Any] | None:
        """A message that is there already; None when there is none.

        Raises:
            ChannelError: as `receive`, but for the deadline.
        """
        try:
            return self.receive(0.0)
        except ChannelTimeoutError:
            return None

    def close(self) -> None:
        """Hang up. Closing twice is fine."""
        self._connection.close()
