"""One record of a kernel that several workers had guests of."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.recorder import Recorder
from harness.report_attributes import NOTES_OF_FETCHING
from harness.rows import joined
from reports.results import Kernel

BOOTED = {"booted": True, "error": None, "phases": {"restore": 1.0, "collect": 2.0}}
FAILED = {"booted": False, "error": "no boot"}


def record(*updates: Mapping[str, Any]) -> tuple[Kernel, list[str]]:
    """What is recorded after these, and what the run was told."""
    said: list[str] = []
    kernel = Kernel(id="6.1", series="6.1", arch="amd64", source="debian")
    recorder: Any = SimpleNamespace(
        _kernels={"6.1": kernel},
        _directory=Path("/out"),
        _journal=SimpleNamespace(kernel=lambda _: None),
        _tell=lambda _, notes: said.extend(notes),
    )
    for update in updates:
        Recorder._update_kernel(recorder, {"id": "6.1", **update})
    return recorder._kernels["6.1"], said


def test_what_tests_took_adds_up_and_of_starts_the_last_one_is_told() -> None:
    tests = [{"phases": {"tests": 3.0}}, {"phases": {"restore": 4.0, "tests": 0.5}}]
    found, _ = record(BOOTED, *tests)
    assert found.phases == {"restore": 4.0, "collect": 2.0, "tests": 3.5}
    whole = joined([{"id": "6.1", **one} for one in (BOOTED, *tests)])
    assert whole is not None
    assert whole["phases"] == found.phases


@pytest.mark.parametrize("updates", [(BOOTED, FAILED), (FAILED, BOOTED)])
def test_a_guest_that_did_not_boot_is_told_whichever_came_first(updates: tuple[Mapping[str, Any], ...]) -> None:
    found, _ = record(*updates)
    assert (found.booted, found.error) == (False, "no boot")


def test_how_a_kernel_was_fetched_is_told_once() -> None:
    fetched = {NOTES_OF_FETCHING: ("6.1.3 instead",), "notes": ("6.1.3 instead",)}
    lost = {"notes": ("the guest was lost",)}
    found, said = record(fetched, lost, fetched, lost)
    assert found.notes == ("6.1.3 instead", "the guest was lost", "the guest was lost")
    assert said == ["6.1.3 instead"]
