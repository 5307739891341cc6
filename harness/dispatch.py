"""Takes the items of guests out of pytest's hands before any plugin, ours or another's, begins to run them here."""

from collections.abc import Callable
from typing import Any

import pytest

_Run = Callable[[pytest.Item, pytest.Item | None], bool]


class Dispatch:
    """Stands in for the caller of `pytest_runtest_protocol`, whose implementations run an item where pytest runs.

    Some plugins wrap that hook with a time limit, or repeat the test: on the host they would measure a boot. In guests
    they do it all, where they are sent along.
    """

    def __init__(self, caller: Any, run: _Run) -> None:
        self._caller = caller
        self._run = run

    @classmethod
    def install(cls, relay: Any, run: _Run) -> None:
        """Put one in place.

        Args:
            relay: pytest's hooks.
            run: runs an item if it is one of a guest, and says whether it was.
        """
        relay.pytest_runtest_protocol = cls(relay.pytest_runtest_protocol, run)

    def __call__(self, *, item: pytest.Item, nextitem: pytest.Item | None) -> Any:
        """Call the hook for an item, or run it."""
        return True if self._run(item, nextitem) else self._caller(item=item, nextitem=nextitem)

    def __getattr__(self, name: str) -> Any:
        """All else, such as new implementations, is the hook's."""
        return getattr(self._caller, name)
