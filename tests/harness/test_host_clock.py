"""Deadlines that an idle guest's clock does not bring about by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.guest import host_clock
from harness.guest.host_clock import Deadline


class Clocks:
    """A guest's clock and the host's, which a test sets."""

    def __init__(self, chip: Path) -> None:
        self.guest_s = 1000.0
        self._chip = chip
        self.host_s = 5000

    @property
    def host_s(self) -> int:
        return int(self._chip.read_text())

    @host_s.setter
    def host_s(self, value: int) -> None:
        self._chip.write_text(f"{value}\n")

    def monotonic(self) -> float:
        return self.guest_s


@pytest.fixture
def clocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made = Clocks(tmp_path / "since_epoch")
    monkeypatch.setattr(host_clock, "_CHIP", tmp_path / "since_epoch")
    monkeypatch.setattr(host_clock.time, "monotonic", made.monotonic)
    monkeypatch.setenv("URING_MATRIX_GUEST", "1")
    return made


def test_a_clock_that_leaps_ends_nothing(clocks: Clocks) -> None:
    """The host has had no time to answer, however far the guest's own clock has come."""
    deadline = Deadline(clocks.guest_s + 45)
    clocks.guest_s += 100
    assert [False, False] == [deadline.is_over, deadline.is_over]
    clocks.guest_s += 10_000
    assert not deadline.is_over


def test_what_takes_long_by_both_clocks_is_over(clocks: Clocks) -> None:
    """A guest that waits for something that never comes: the host's time goes by as well."""
    deadline = Deadline(clocks.guest_s + 45)
    clocks.host_s += 60
    assert not deadline.is_over, "only the host's time has gone by"
    clocks.guest_s += 46
    assert not deadline.is_over, "the host is given its time from now on"
    clocks.host_s += 4
    assert not deadline.is_over
    clocks.host_s += 1
    assert deadline.is_over


def test_somebody_who_has_little_patience_is_not_kept_waiting(clocks: Clocks) -> None:
    """The host is given as long as was said."""
    short, long = Deadline(clocks.guest_s, 0.5), Deadline(clocks.guest_s, 15)
    assert [False, False] == [short.is_over, long.is_over]
    clocks.host_s += 1
    assert [True, False] == [short.is_over, long.is_over]
    clocks.host_s += 14
    assert long.is_over


def test_without_a_clock_chip_the_own_clock_counts(clocks: Clocks, monkeypatch: pytest.MonkeyPatch) -> None:
    """On this machine, and in guests that have none: their clock is the only one."""
    for environment, chip in (("", "since_epoch"), ("1", "nothing")):
        monkeypatch.setenv("URING_MATRIX_GUEST", environment)
        monkeypatch.setattr(host_clock, "_CHIP", host_clock._CHIP.with_name(chip))
        deadline = Deadline(clocks.guest_s + 1)
        clocks.guest_s += 2
        assert not deadline.is_over
        clocks.guest_s += 5
        assert deadline.is_over


def test_there_is_always_time_for_another_look(clocks: Clocks) -> None:
    """Who waits for what is left does not turn in a circle."""
    deadline = Deadline(clocks.guest_s + 1)
    assert 1 == deadline.left_s
    clocks.guest_s += 2
    assert 0.25 == deadline.left_s


def test_who_waits_for_a_disk_or_a_port_waits_for_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any thread that cannot be interrupted, or this process for a port; names with brackets and blanks are none."""
    threads = {
        "/proc/7/task/7/stat": "7 (a) D (b) S 1 7",
        "/proc/7/task/8/stat": "8 (sleeper) S 1 7",
        "/proc/7/stack": "[<0>] do_sys_poll+0x3d3/0x5b0\n",
    }
    monkeypatch.setattr(host_clock, "_text", lambda path: threads.get(str(path), ""))
    monkeypatch.setattr(
        Path, "glob", lambda _self, _pattern: [Path(name) for name in threads if name.endswith("/stat")]
    )
    assert not host_clock.is_waited_for(7)
    threads["/proc/7/task/8/stat"] = "8 (mke2fs) D 1 7"
    assert host_clock.is_waited_for(7)
    threads["/proc/7/task/8/stat"] = ""  # it has ended meanwhile
    assert not host_clock.is_waited_for(7)
    threads["/proc/7/stack"] = "[<0>] tty_wait_until_sent+0xd7/0x200\n"
    assert host_clock.is_waited_for(7)


def test_time_that_is_given_anew_gives_the_host_none(clocks: Clocks) -> None:
    """However often: a disk that never answers is no reason to wait for ever."""
    deadline = Deadline(clocks.guest_s, 5)
    assert not deadline.is_over
    clocks.host_s += 4
    deadline.extend(45)
    assert not deadline.is_past
    clocks.guest_s += 45
    assert (True, False) == (deadline.is_past, deadline.is_over)
    clocks.host_s += 1
    assert deadline.is_over
