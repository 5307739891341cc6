"""The machine monitor: commands for a running QEMU (QMP), over a socket that only we and it hold.

Connecting costs an event loop and an import, so it happens with the first command: most guests never need one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from vm.errors import VmError

if TYPE_CHECKING:
    from qemu.qmp import QMPClient

_Answer = TypeVar("_Answer")


class MonitorError(VmError):
    """QEMU did not do what it was told, or does not answer."""


class Monitor:
    """One conversation with one QEMU. Every wait has a deadline.

    Args:
        connection: our end of the socket whose other end is QEMU's ``-mon chardev=…,mode=control``.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._client: QMPClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def execute(self, command: str, timeout_s: float = 10.0, **arguments: Any) -> Any:
        """Run a command and return what it gives.

        Args:
            command: QMP's name for it.
            timeout_s: seconds to wait for the answer, and before the first command for the greeting, too.
            **arguments: QMP's, with underscores for hyphens.

        Raises:
            MonitorError: QEMU refused, is gone, or did not answer in time.
        """
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        try:
            if self._client is None:
                self._run(self._connect(), timeout_s)
            return self._run(self._execute(command, named), timeout_s)
        except TimeoutError:
            raise MonitorError(f"QEMU's monitor gave no answer to {command} within {timeout_s:.0f} s") from None
        except Exception as error:  # qemu.qmp's own hierarchy, and OSError from the socket
            raise MonitorError(f"QEMU's monitor: {command}: {error or type(error).__name__}") from error

    def close(self) -> None:
        """Hang up. Closing twice is fine."""
        if self._loop is not None:
            if self._client is not None:
                with contextlib.suppress(Exception):  # it may be gone, or half connected: either way it is over
                    self._run(self._client.disconnect(), 1.0)
            self._loop.run_until_complete(asyncio.sleep(0))  # transports close in the loop's next round
            self._loop.close()
            self._loop = self._client = None
        self._connection.close()

    async def _connect(self) -> None:
        from qemu.qmp import QMPClient  # noqa: PLC0415 - a tenth of a second that few sessions need

        logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)  # what matters comes as an exception
        client = QMPClient()
        await client.connect(self._connection.dup())
        self._client = client

    async def _execute(self, command: str, arguments: dict[str, Any]) -> Any:
        if self._client is None:
            raise MonitorError("it is closed")
        return await self._client.execute(command, arguments)

    def _run(self, work: Coroutine[Any, Any, _Answer], timeout_s: float) -> _Answer:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(asyncio.wait_for(work, timeout_s))
