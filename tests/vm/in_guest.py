"""What tests run in a guest: code of theirs, in the process that PID 1 starts, with what it leaves in `result`."""

import json
import traceback
from typing import Any


def main(port: Any, argument: dict[str, Any]) -> None:
    """Run ``argument["code"]`` and send what is in `result` then; a traceback if it fails."""
    space: dict[str, Any] = {"__name__": "in_guest", "result": None}
    try:
        exec(argument["code"], space)
        message = {"result": json.loads(json.dumps(space["result"]))}
    except BaseException:
        message = {"error": traceback.format_exc()}
    port.send({"type": "ran", **message})
