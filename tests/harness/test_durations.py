"""The order of kernels, from what they took in earlier runs."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness import durations
from harness.cells import Cell
from reports.results import Kernel, Result, Status

OLD, MIDDLE, NEW = (Cell(kernel, "amd64", "default", True) for kernel in ("5.10", "6.1", "7.3"))


def kernel(name: str, **phases: float) -> Kernel:
    return Kernel(id=name, series=name, arch="amd64", source="debian", booted=True, phases=phases)


def rows(name: str, *at_s: float) -> list[Result]:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        Result(
            test=f"t{at}", kernel=name, arch="amd64", mode="default", status=Status.PASS,
            started=begin + timedelta(seconds=at),
        )
        for at in at_s
    ]  # fmt: skip


def test_the_slowest_comes_first_and_what_nobody_knows_before_it(tmp_path: Path) -> None:
    assert durations.longest_first([OLD, MIDDLE, NEW], durations.read(tmp_path)) == [NEW, MIDDLE, OLD]
    durations.write(
        tmp_path,
        [kernel("5.10", boot=30.0, collect=1.0), kernel("7.3", restore=1.0, tests=99.0)],
        rows("5.10", 0, 1) + rows("7.3", 0, 2, 4),
    )
    assert durations.longest_first([OLD, MIDDLE, NEW], durations.read(tmp_path)) == [MIDDLE, NEW, OLD]
    durations.write(tmp_path, [kernel("6.1", boot=1.0)], rows("6.1", 0, 0.5))
    assert durations.longest_first([OLD, MIDDLE, NEW], durations.read(tmp_path)) == [NEW, OLD, MIDDLE]


def test_a_kernel_that_ran_one_test_says_nothing_of_the_next_run(tmp_path: Path) -> None:
    durations.write(tmp_path, [kernel("6.1", boot=1.0)], rows("6.1", 0))
    assert durations.read(tmp_path) == {}


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"6.1 amd64": []}', '"6.1"', "\0"])
def test_a_damaged_hint_is_none_and_is_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "durations.json"
    path.write_text(content)
    assert durations.read(tmp_path) == {}
    durations.write(tmp_path, [kernel("6.1", boot=1.0)], rows("6.1", 0, 1))
    assert json.loads(path.read_text()) == {"6.1 amd64": 42.0}
    assert [path] == list(tmp_path.iterdir())


def test_a_cache_that_cannot_be_written_is_no_matter(tmp_path: Path) -> None:
    durations.write(tmp_path / "none", [kernel("6.1", boot=1.0)], rows("6.1", 0, 1))
    assert not (tmp_path / "none").exists()
