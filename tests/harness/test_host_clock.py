"""Deadlines that an idle guest's clock does not bring about by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.guest import host_clock
from harness.guest.host_clock import Deadline

WAITING, RUNNING = 7, 8


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
    monkeypatch.setattr(host_clock, "is_waited_for", lambda process: process == WAITING)
    monkeypatch.setattr(host_clock.leak_check, "is_guest", lambda: True)
    return made


def test_who_waits_for_the_host_is_given_time_anew(clocks: Clocks) -> None:
    """However far an idle guest's clock has come: the host has had no time to answer."""
    deadline = Deadline(45)
    for _ in range(100):
        assert not deadline.has_passed(WAITING)
        clocks.guest_s += 100
    assert not deadline.has_passed(WAITING)
    clocks.guest_s += 1
    assert 44 == deadline.left_s


def test_the_host_is_given_a_third_of_it(clocks: Clocks) -> None:
    """A disk that never answers is no reason to wait for ever."""
    deadline = Deadline(45)
    clocks.host_s += 60
    clocks.guest_s += 46
    assert not deadline.has_passed(WAITING), "what the host took before does not count"
    clocks.host_s += 14
    clocks.guest_s += 46
    assert not deadline.has_passed(WAITING)
    clocks.host_s += 1
    clocks.guest_s += 46
    assert deadline.has_passed(WAITING)


def test_who_waits_for_nobody_has_no_more_time(clocks: Clocks) -> None:
    """After three looks, so that nobody waits long for what hangs; and not before."""
    deadline = Deadline(45, clocks.guest_s - 40)
    clocks.guest_s += 4.9
    assert not deadline.has_passed(RUNNING)
    clocks.guest_s += 0.1
    assert not deadline.has_passed(RUNNING), "it may have waited for the host until now"
    clocks.guest_s += 1
    assert not deadline.has_passed(RUNNING)
    clocks.guest_s += 1
    assert 0.25 == deadline.left_s, "who waits for what is left does not turn in a circle"
    assert deadline.has_passed(RUNNING)


def test_who_goes_on_waiting_for_the_host_is_not_idle(clocks: Clocks) -> None:
    """Between two answers of the host a program runs for a while."""
    deadline = Deadline(45)
    for process in (RUNNING, RUNNING, WAITING) * 4:
        clocks.guest_s += 46
        assert not deadline.has_passed(process)


def test_outside_of_guests_the_own_clock_counts(clocks: Clocks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's threads are looked at on this machine."""
    monkeypatch.setattr(host_clock.leak_check, "is_guest", lambda: False)
    deadline = Deadline(1)
    clocks.guest_s += 2
    assert deadline.has_passed(WAITING)


def test_a_guest_without_a_clock_chip_has_its_own_clock(clocks: Clocks, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is then the host's as well: nothing waits for ever."""
    monkeypatch.setattr(host_clock, "_CHIP", Path("/nothing/there"))
    deadline = Deadline(3)
    clocks.guest_s += 3
    assert not deadline.has_passed(WAITING)
    clocks.guest_s += 3
    assert deadline.has_passed(WAITING)


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
