"""Ways in which a guest does not do what it was asked for."""

import os
import signal
from collections.abc import Mapping
from typing import Any

from vm.channel import ChannelClosedError, ChannelCorruptError, ChannelError
from vm.errors import VmError


class NotCollectedError(VmError):
    """The guest does not know an item of the host."""


class SkippedError(VmError):
    """The item's file skipped itself in the guest."""


class LostError(VmError):
    """Guests are lost before they begin with an item."""


class AgentExitedError(ChannelClosedError):
    """PID 1 says that the agent's process ended."""


def unexpected(message: Mapping[str, Any]) -> ChannelError:
    """An error for a message that should not come now."""
    if message["type"] != "exit":
        return ChannelCorruptError(f"unexpected message {message['type']!r} from the guest")
    code = os.waitstatus_to_exitcode(message["status"])
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    return AgentExitedError(f"the process that runs the tests ended in the guest: {how}")
