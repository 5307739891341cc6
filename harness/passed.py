"""Reports of phases that passed and have nothing to tell, as what differs between them: a few numbers."""

from collections.abc import Sequence
from typing import Any

# In their order; the first one that is not so simple has a report, and so have those behind it.
PHASES = ("setup", "call", "teardown")


def reports(times: Sequence[float]) -> list[dict[str, Any]]:
    """The reports, as `harness.guest.item_loop` would send them.

    Args:
        times: start and duration of each phase in seconds, from the first one on.
    """
    pairs = zip(PHASES, times[::2], times[1::2], strict=False)
    return [
        {"outcome": "passed", "when": when, "duration": duration, "start": start} for when, start, duration in pairs
    ]
