"""Everything that a program can ask a kernel's io_uring for: one table of facts.

Here are the words: what each capability is for, since when by whose account, and how a program finds out. Numbers and
the first kernels of operations and features are those of `uring`, and how each is observed is `uring.observe`'s, under
the same id: the ring is useful without this table, and nothing is said twice.
"""

from collections.abc import Iterator
from typing import Any

from conformance.capabilities.flags import FLAGS
from conformance.capabilities.operations import OPERATIONS
from conformance.capabilities.record import Capability, Source
from conformance.capabilities.registrations import REGISTRATIONS
from conformance.capabilities.requests import REQUESTS

__all__ = ["BY_ID", "CAPABILITIES", "Capability", "Source", "stated"]

CAPABILITIES: tuple[Capability, ...] = (*OPERATIONS, *FLAGS, *REQUESTS, *REGISTRATIONS)
BY_ID = {one.id: one for one in CAPABILITIES}

# Where a kernel lists capabilities of a kind of itself: the fact, and what is cut off the symbol there.
_LISTED = {"operation": ("operations", "IORING_OP_"), "feature": ("features", "")}


def stated() -> Iterator[dict[str, Any]]:
    """What kernels list of themselves: operations (the probe) and feature bits, in what `conformance.features` asks.

    Yields:
        The arguments of `reports.results.Capability`.
    """
    for one in CAPABILITIES:
        if one.kind in _LISTED:
            fact, prefix = _LISTED[one.kind]
            yield {
                "id": one.id,
                "title": one.title,
                "kind": one.kind,
                "symbols": one.symbols[:1],
                "fact": fact,
                "value": one.symbols[0].removeprefix(prefix),
                "since": one.since,
                "detect": one.detect,
            }
