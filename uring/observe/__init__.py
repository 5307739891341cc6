"""What the running kernel's io_uring has, found by asking it for each thing: real requests, judged by their results.

    for one in uring.observe.observe():
        print(one.id, one.state, one.evidence)

Programs ask for what they need with `uring.capabilities`. What the kernel says of itself (feature bits, the probe, its
answer to IORING_REGISTER_QUERY) is a claim: it stands beside an observation as `claimed`, and decides nothing.
"""

from __future__ import annotations

# Each of them fills REQUESTS.
from . import (  # noqa: F401
    buffers,
    descriptors,
    entries,
    features,
    limits,
    operations,
    query,
    registrations,
    resources,
    rings,
    setups,
    transfers,
    waiting,
    zero_copy,
)
from .finding import REQUESTS, Observation, Request, State, own_id
from .runner import DEADLINE_S, one_by_one, ordered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["DEADLINE_S", "REQUESTS", "Observation", "Request", "State", "each", "observe", "ordered"]


def observe(
    selection: Iterable[str] | None = None,
    *,
    exclude: Iterable[str] = (),
    after: str | None = None,
    deadline_s: float = DEADLINE_S,
) -> Iterator[Observation]:
    """Observe capabilities, one after another, in child processes.

    The order is always that of `ordered()`: where a kernel crashes, the first one without an observation was running,
    and `after` goes on behind it.

    Args:
        selection: ids of capabilities, or the kernel's names for what they are about; all if None.
        exclude: ids to leave out.
        after: leave out this one, and all before it.
        deadline_s: how long each may take.

    Yields:
        An observation for each, as soon as it is made.

    Raises:
        KeyError: there is no such capability.
    """
    requests = ordered()
    if after is not None:
        requests = requests[[one.id for one in requests].index(REQUESTS[after].id) + 1 :]
    wanted = {one.id for one in requests} if selection is None else {find(name).id for name in selection}
    wanted -= {REQUESTS[name].id for name in exclude}
    yield from one_by_one([one for one in requests if one.id in wanted], deadline_s)


def each(names: Iterable[str], *, deadline_s: float = DEADLINE_S) -> Iterator[Observation]:
    """Observe capabilities in the order in which they are named; `observe` has its own order.

    Args:
        names: ids of capabilities, or the kernel's names for what they are about.
        deadline_s: how long each may take.

    Yields:
        An observation for each, as soon as it is made.

    Raises:
        KeyError: there is no such capability.
    """
    yield from one_by_one([find(name) for name in names], deadline_s)


def find(name: str) -> Request:
    """What a capability is observed with.

    Args:
        name: its id, or the kernel's name of what it is about: `op-ftruncate`, `IORING_OP_FTRUNCATE`.

    Raises:
        KeyError: there is none.
    """
    if (identifier := own_id(name) or name) in REQUESTS:
        return REQUESTS[identifier]
    for one in REQUESTS.values():
        if one.symbols[0] == name:
            return one
    raise KeyError(f"no capability is called {name!r}")
