"""A debugger for tests, as small as can be: GDB's remote serial protocol, over a socket.

Source: the appendix "gdb Remote Serial Protocol" of GDB's manual.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

_LOOPBACK = "127.0.0.1"
_PATIENCE_S = 120.0
_INTERRUPT = b"\x03"
_FIRST_INSTRUCTION = 0xFFF0
_REGISTER_SIZE = 8
_RIP = 16


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.create_server((_LOOPBACK, 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Debugger:
    """A debugger that is attached; what it is attached to stands still then.

    Args:
        port: of this machine. Waits until somebody listens there.
    """

    def __init__(self, port: int) -> None:
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self._connection = socket.create_connection((_LOOPBACK, port), timeout=_PATIENCE_S)
            except ConnectionRefusedError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.05)
            else:
                break
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    def ask(self, packet: str) -> str:
        """Send a packet and wait for the answer."""
        self.send(packet)
        return self.answer()

    def send(self, packet: str) -> None:
        """Send a packet."""
        data = packet.encode()
        self._connection.sendall(b"$%s#%02x" % (data, sum(data) % 256))

    def answer(self) -> str:
        """Wait for a packet, and take it."""
        while True:
            head, mark, tail = self._received.partition(b"#")
            if mark and len(tail) >= 2:
                self._received = tail[2:]
                self._connection.sendall(b"+")
                return head.rpartition(b"$")[2].decode()
            if not (data := self._connection.recv(1 << 16)):
                raise EOFError("the other end hung up")
            self._received += data

    def instruction_pointer(self) -> int:
        """Where the processor is, an x86-64."""
        at = 2 * _REGISTER_SIZE * _RIP
        return int.from_bytes(bytes.fromhex(self.ask("g")[at : at + 2 * _REGISTER_SIZE]), "little")

    def is_at_the_beginning(self) -> bool:
        """Whether a PC's processor has not done anything yet."""
        return self.instruction_pointer() == _FIRST_INSTRUCTION

    def go_on(self) -> None:
        """Let it run."""
        self.send("c")

    def stop(self) -> str:
        """Have it stand still; the signal that it says."""
        self._connection.sendall(_INTERRUPT)
        return self.answer()

    def await_end(self) -> None:
        """Stay until there is nothing to be debugged any more."""
        with contextlib.suppress(EOFError, ConnectionResetError):
            while True:
                self.answer()


@contextlib.contextmanager
def letting_go(port: int) -> Iterator[list[bool]]:
    """Meanwhile, let go of the first guest that waits at a port, once.

    Yields:
        A list that says, afterwards, whether the guest stood still at its first instruction.
    """
    seen: list[bool] = []

    def attend() -> None:
        with Debugger(port) as debugger:
            seen.append(debugger.is_at_the_beginning())
            debugger.go_on()
            debugger.await_end()

    thread = threading.Thread(target=attend, daemon=True)
    thread.start()
    yield seen
    thread.join(_PATIENCE_S)
