"""Runs an item in this process, on this machine's kernel, as one of several attempts."""

import pytest
from _pytest.runner import runtestprotocol

from harness.facts import phase_of
from harness.guests import Attempt
from harness.packed_reports import unpacked
from harness.verdict import Facts


def attempt(item: pytest.Item, nextitem: pytest.Item | None) -> Attempt:
    """Set an item up, call it and tear it down, with fixtures of its own each time; nothing is logged yet.

    Args:
        item: it may have been run before.
        nextitem: what comes after it; fixtures that both use stay.
    """
    # What an earlier attempt has printed would be shown as this one's.
    item._report_sections.clear()
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    serialize = item.config.hook.pytest_report_to_serializable
    return Attempt(
        Facts([phase_of(vars(report)) for report in reports], is_done=True),
        [unpacked(serialize(config=item.config, report=report)) for report in reports],
        reports[0].start,
    )
