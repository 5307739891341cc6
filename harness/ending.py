"""How a session ends that cannot go on for reasons of infrastructure."""

from typing import NoReturn

import pytest

INCOMPLETE = 3
# pytest writes an exception's class in front of its message, and no class of ours could be called that by a statement.
_End = type("uring-matrix", (pytest.exit.Exception,), {"__module__": __name__})


def end(message: str) -> NoReturn:
    """End the session with a sentence that begins like every other of ours, and exit code 3."""
    raise _End(message, returncode=INCOMPLETE)
