"""How many workers `run` starts when nobody says."""

import os

import pytest

from uring_matrix.run import worker_count


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        ([], "4"),
        (["all"], "4"),
        (["6.*"], "4"),
        (["5.10,6.1"], "4"),
        (["6.1"], "0"),
        (["6.1", "6.1"], "0"),
        (["5.10", "6.1"], "2"),
        (["a", "b", "c", "d", "e"], "4"),
    ],
)
def test_no_worker_is_started_for_nothing(monkeypatch: pytest.MonkeyPatch, specs: list[str], expected: str) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert worker_count(specs) == expected


@pytest.mark.parametrize(
    ("specs", "modes", "expected"),
    [(["6.1"], 4, "0"), (["6.1"], 12, "2"), (["6.1"], 100, "4"), (["5.10", "6.1"], 12, "4"), (["5.10", "6.1"], 4, "2")],
)
def test_workers_share_a_kernel_that_has_many_cells(
    monkeypatch: pytest.MonkeyPatch, specs: list[str], modes: int, expected: str
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert worker_count(specs, modes) == expected
