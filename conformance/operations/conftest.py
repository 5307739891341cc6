"""What holds for every functional test: where a kernel is seen to lack what it needs, it does not run.

The first kernel that should pass it is the newest of those that first had what it needs.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

import uring
from conformance.fixtures import end_as_unsupported
from uring.observe import Observation, State, find

pytest.register_assert_rewrite("conformance.operations.sockets", "conformance.operations.support")

HOME = Path(__file__).resolve().parent

# What was seen of the running kernel, by the names that tests use.
_SEEN: dict[str, Observation] = {}
# The first kernel that has io_uring.
_OLDEST = "5.1"
_MISSING = {State.LACKS: "is not supported", State.OFF: "is switched off"}


def _needs(item: pytest.Item) -> list[str]:
    """The capabilities that a test needs: the kernel's names in `symbols` that are some, and all in `needs`."""
    named = [str(name) for marker in item.iter_markers("symbols") for name in marker.args if _is_capability(name)]
    return named + [str(name) for marker in item.iter_markers("needs") for name in marker.args]


def _is_capability(name: str) -> bool:
    try:
        find(name)
    except KeyError:
        return False
    return True


@pytest.fixture(autouse=True)
def needed(request: pytest.FixtureRequest) -> None:
    """End the test as unsupported on a kernel that is seen to lack what it needs.

    Asked for beforehand: a kernel that ignores what it does not know would leave the test waiting.
    """
    needs = _needs(request.node)
    if any(name not in _SEEN for name in needs):
        _observe(request.session.items)
    for name in needs:
        seen = _SEEN[name]
        if seen.state in _MISSING:
            end_as_unsupported(f"{name} {_MISSING[seen.state]}", seen.evidence)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Ask a guest's kernel once, before the tests of each mode have a process of their own.

    Not for what has crashed kernels: whoever needs that is charged with it.
    """
    if _is_in_guest(session.config):
        _observe(session.items, lambda name: not find(name).is_risky)


def _observe(items: Iterable[pytest.Item], is_wanted: Callable[[str], bool] = bool) -> None:
    """See what the running kernel has of all that tests need, together: a process is started for it."""
    own = (item for item in items if HOME in item.path.parents)
    names = {name for item in own for name in _needs(item) if name not in _SEEN and is_wanted(name)}
    if names:
        _SEEN.update(uring.capabilities(*sorted(names)))


def _is_in_guest(config: pytest.Config) -> bool:
    return not hasattr(config.hook, "pytest_matrix_suite")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Say which kind of test it is, and since when kernels have what it needs, unless the test itself says so."""
    if _is_in_guest(item.config):
        return  # where nobody asks
    item.add_marker(pytest.mark.kind("operation"))
    if item.get_closest_marker("since") is None and (since := _documented(_needs(item))) is not None:
        item.add_marker(pytest.mark.since(since))


def _documented(needs: Iterable[str]) -> str | None:
    """The newest of their documented first kernels; None if there is one of which nobody says."""
    from conformance.capabilities import BY_ID  # noqa: PLC0415 - guests do without
    from conformance.capabilities.expectation import series_key  # noqa: PLC0415

    versions = [_OLDEST]
    for name in needs:
        since = BY_ID[find(name).id].since
        if since is None:
            return None
        versions.append(since)
    return max(versions, key=series_key)
