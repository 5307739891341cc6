"""Reports of phases that passed and have nothing to tell, as what differs between them: a few numbers."""

from collections.abc import Sequence
from typing import Any

# In their order; the first one that is not so simple has a report, and so have those behind it.
PHASES = ("setup", "call", "teardown")


def numbers(times: Sequence[float]) -> list[int]:
    """What is sent of them: short ones, as a serial port costs by the byte.

    Args:
        times: start and duration of each phase in seconds, from the first one on.

    Returns:
        The same in microseconds; starts behind the first one count from that.
    """
    micros = [round(time * 1e6) for time in times]
    return [number - micros[0] if place in {2, 4} else number for place, number in enumerate(micros)]


def reports(sent: Sequence[int]) -> list[dict[str, Any]]:
    """The reports, as `harness.guest.item_loop` would send them."""
    starts = [start + (sent[0] if place else 0) for place, start in enumerate(sent[::2])]
    return [
        {"outcome": "passed", "when": when, "duration": duration / 1e6, "start": start / 1e6}
        for when, start, duration in zip(PHASES, starts, sent[1::2], strict=False)
    ]
