"""How far the process that runs tests has come: in memory that its parent reads, too, whatever becomes of the process.

A list of items is handed over at once, and nobody talks between two of them: switching processes, and waiting for the
host, is what an emulated guest is slowest at.
"""

import json
import mmap
import time
from typing import Any

from harness import passed

_HEAD_SIZE = mmap.PAGESIZE
# Pages that nothing is written to take no memory.
_SIZE = _HEAD_SIZE + (2 << 20)
_BEGUN, _DONE, _REPORTS_SIZE, _IS_HANDED_OVER, _LOST_KIB, _TIMES_COUNT = range(6)


class Progress:
    """Made before the fork; the child writes, the parent reads."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SIZE)
        self._counts = memoryview(self._memory)[: _HEAD_SIZE // 2].cast("Q")
        self._times = memoryview(self._memory)[_HEAD_SIZE // 2 : _HEAD_SIZE].cast("d")

    @property
    def begun_count(self) -> int:
        """Items of the list that were begun."""
        return self._counts[_BEGUN]

    @property
    def done_count(self) -> int:
        """Items of the list whose results the host has from the child, or finds here."""
        return self._counts[_DONE]

    @property
    def is_between_items(self) -> bool:
        """Whether no item is running."""
        return self.begun_count == self.done_count

    @property
    def started_s(self) -> float:
        """When the last item was begun, or the list was handed over, by the monotonic clock."""
        return self._times[0]

    @property
    def reports_size(self) -> int:
        """Of what was noted, in bytes."""
        return self._counts[_REPORTS_SIZE]

    @property
    def is_handed_over(self) -> bool:
        """Whether the result of the item that runs is the parent's to send: so said the child, or a child of its."""
        return bool(self._counts[_IS_HANDED_OVER])

    @property
    def lost_kib(self) -> int:
        """Memory that the items that are done have used since the list began, and is not free."""
        return self._counts[_LOST_KIB]

    def start(self) -> None:
        """The parent: a list is handed over."""
        self._counts[_BEGUN] = self._counts[_DONE] = self._counts[_LOST_KIB] = 0
        self._forget()

    def begin(self) -> None:
        """The child: the next item begins."""
        self._forget()
        self._counts[_BEGUN] += 1

    def begin_observing(self) -> None:
        """The child: the next thing is observed. What was found so far and not sent yet stays here."""
        self._times[0] = time.monotonic()
        self._counts[_BEGUN] += 1

    def observed(self, found: dict[str, Any]) -> None:
        """The child: keep what was found, for the host."""
        self.keep(found)
        self._counts[_DONE] += 1

    def take_observed(self) -> list[dict[str, Any]]:
        """Either: what was found and the host does not have. Whoever takes it sends it."""
        found = self.reports()
        self._counts[_REPORTS_SIZE] = 0
        return found

    def end(self, lost_kib: int) -> None:
        """The child: the host has the item's result."""
        self._counts[_LOST_KIB] = lost_kib
        self._counts[_DONE] += 1

    def hand_over(self) -> list[dict[str, Any]]:
        """The child: the parent is told all about this item. Gives the reports that were kept so far."""
        reports = self.reports()
        self._counts[_REPORTS_SIZE] = self._counts[_TIMES_COUNT] = 0
        self._counts[_IS_HANDED_OVER] = 1
        return reports

    def note_passed(self, start: float, duration: float) -> bool:
        """The child: note a phase that passed and has nothing to tell. False if an earlier one had something."""
        count = self._counts[_TIMES_COUNT]
        if self._counts[_REPORTS_SIZE] or self._counts[_IS_HANDED_OVER] or count >= 2 * len(passed.PHASES):
            return False
        self._times[1 + count], self._times[2 + count] = start, duration
        self._counts[_TIMES_COUNT] = count + 2
        return True

    @property
    def passed(self) -> list[int]:
        """The phases that passed and have nothing to tell, as `harness.passed` has them."""
        return passed.numbers(self._times[1 : 1 + self._counts[_TIMES_COUNT]])

    def keep(self, report: dict[str, Any]) -> bool:
        """The child: note a report, which the parent finds here should nothing more come. False if it is too large."""
        line = json.dumps(report).encode() + b"\n"
        begin = _HEAD_SIZE + self._counts[_REPORTS_SIZE]
        if begin + len(line) > _SIZE:
            return False
        self._memory[begin : begin + len(line)] = line
        self._counts[_REPORTS_SIZE] += len(line)
        return True

    def reports(self) -> list[dict[str, Any]]:
        """The reports that were noted of the item that runs."""
        text = self._memory[_HEAD_SIZE : _HEAD_SIZE + self._counts[_REPORTS_SIZE]]
        return [*passed.reports(self.passed), *(json.loads(line) for line in text.splitlines())]

    def close(self) -> None:
        """Give the memory back."""
        self._counts.release()
        self._times.release()
        self._memory.close()

    def _forget(self) -> None:
        self._counts[_REPORTS_SIZE] = self._counts[_IS_HANDED_OVER] = self._counts[_TIMES_COUNT] = 0
        self._times[0] = time.monotonic()
