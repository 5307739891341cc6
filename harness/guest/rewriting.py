"""Rewrites the assertions of a few modules and leaves the bytecode where pytest looks for it, without collecting.

The guest's Python runs this file on the host when somebody has edited a test: to collect everything takes several times
as long, and gives what is there already. A pytest whose functions for it are not these leaves the modules to the guest.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _pytest.assertion import rewrite as pytests


class _Settings:
    """What pytest asks its configuration for when it rewrites."""

    def __init__(self, *, has_pass_hook: bool) -> None:
        self._has_pass_hook = has_pass_hook

    def getini(self, name: str) -> bool:
        """The one setting that there is."""
        if name != "enable_assertion_pass_hook":
            raise KeyError(name)
        return self._has_pass_hook


def rewrite(names: Sequence[str], has_pass_hook: bool) -> None:
    """Rewrite.

    Args:
        names: files of bytecode to be made; each module lies above its folder.
        has_pass_hook: whether pytest calls a hook for each assertion that holds.
    """
    settings: Any = _Settings(has_pass_hook=has_pass_hook)
    for name in names:
        bytecode = Path(name)
        module = bytecode.parent.parent / f"{bytecode.name.partition('.')[0]}.py"
        mark, code = pytests._rewrite_test(module, settings)
        bytecode.parent.mkdir(exist_ok=True)
        with bytecode.open("wb") as file:
            pytests._write_pyc_fp(file, mark, code)


if __name__ == "__main__":
    rewrite(*json.loads(sys.argv[1]))
