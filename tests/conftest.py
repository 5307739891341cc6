"""Makes the rooms importable before the folders of the same names below `tests`.

pytest puts this folder onto the path. An editable installation is asked only after the path, and there `tests/uring`
looks like a package called `uring`.
"""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

# A job in the background of a shell inherits that Ctrl-C is ignored (under nohup the hang-up, too), and so would the
# programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Set by pytest itself, anew for each phase of a test
_PYTESTS_OWN = "PYTEST_CURRENT_TEST"


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """A test that leaves a variable behind fails, and harms none after it: an option may have exported a setting."""
    before = {name: value for name, value in os.environ.items() if name != _PYTESTS_OWN}
    yield
    after = {name: value for name, value in os.environ.items() if name != _PYTESTS_OWN}
    left = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    for name in left:
        if name in before:
            os.environ[name] = before[name]
        else:
            del os.environ[name]
    assert left == [], "the test left these variables of the environment changed"
