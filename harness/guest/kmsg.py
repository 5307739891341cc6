"""The kernel's messages, read as they come, so that each belongs to the test during which it came.

Where a test begins and ends is written into the log itself: what lies between the two lines is the test's, however late
it is read. They are no warnings by their level, and stay off the console, where every character costs an emulated guest
time: the host writes there which test runs.
"""

import os

from harness.guest.wire import out_of_reach

_RECORD_SIZE_MAX = 8192
_NAME_SIZE_MAX = 300  # the kernel takes about a thousand bytes a record
_LINES_MAX = 1000
_MARKER = "uring-matrix: "
_LEVEL = 6  # KERN_INFO


class KernelLog:
    """Reads /dev/kmsg from now on. A machine where that is not allowed, or that is no guest, has no messages to give.

    Args:
        is_guest: whether this machine's log is ours to write to.

    Attributes:
        descriptor: to poll; negative where there is none.
    """

    def __init__(self, *, is_guest: bool) -> None:
        self.descriptor = _opened(is_guest=is_guest)
        self._lines: list[str] = []
        self._dropped_count = 0

    def begin(self, name: str) -> list[str]:
        """Mark where a test begins; returns what came since the last one ended."""
        return self._mark(f"begins {name}")

    def end(self, name: str) -> list[str]:
        """Mark where a test ends; returns what came since it began."""
        return self._mark(f"ends {name}")

    def collect(self) -> None:
        """Take in what there is: the kernel's own buffer is small, and a talkative test could overwrite it."""
        while (line := self._read()) is not None:
            self._keep(line)

    def close(self) -> None:
        """Stop reading."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _mark(self, text: str) -> list[str]:
        """Write a line, and return what came before it. What comes after it stays for the next call."""
        marker = f"{_MARKER}{text}"[:_NAME_SIZE_MAX].encode("ascii", "backslashreplace").decode()
        self.collect()
        if self.descriptor >= 0:
            os.write(self.descriptor, f"<{_LEVEL}>{marker}\n".encode())
        while (line := self._read()) is not None:
            if line.endswith(marker):
                break
            self._keep(line)
        lines, self._lines = self._lines, []
        if self._dropped_count:
            lines.append(f"<4>[?] {self._dropped_count} more lines, which only the console's file has")
            self._dropped_count = 0
        return lines

    def _read(self) -> str | None:
        """One `<priority>[seconds] text`; None when there is no more."""
        while self.descriptor >= 0:
            try:
                record = os.read(self.descriptor, _RECORD_SIZE_MAX)
            except BlockingIOError:
                return None
            except BrokenPipeError:
                return "<4>[?] records were overwritten before they could be read"
            return _format(record.decode(errors="backslashreplace"))
        return None

    def _keep(self, line: str) -> None:
        if len(self._lines) < _LINES_MAX:
            self._lines.append(line)
        else:
            self._dropped_count += 1


class News:
    """Whether the kernel said anything: asked by who runs tests. What it said is kept by who has the `KernelLog`.

    Args:
        is_guest: as there.
    """

    def __init__(self, *, is_guest: bool) -> None:
        descriptor = _opened(is_guest=is_guest)
        self._descriptor = out_of_reach(descriptor) if descriptor >= 0 else -1

    def is_there(self) -> bool:
        """Whether it did since the last time, in whatever way; what we wrote ourselves counts, too."""
        if (record := self._read()) is None:
            return False
        while record is not None:
            record = self._read()
        return True

    def is_there_beside_marks(self) -> bool:
        """The same, but for where a list of tests was marked to begin."""
        found = False
        while (record := self._read()) is not None:
            found = found or _MARKER.encode() not in record
        return found

    def _read(self) -> bytes | None:
        try:
            return os.read(self._descriptor, _RECORD_SIZE_MAX) if self._descriptor >= 0 else None
        except BlockingIOError:
            return None
        except BrokenPipeError:  # some were overwritten
            return b""


def _opened(*, is_guest: bool) -> int:
    """A descriptor that reads what the kernel says from now on; negative where there is none."""
    if not is_guest:
        return -1
    try:
        descriptor = os.open("/dev/kmsg", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(descriptor, 0, os.SEEK_END)
    except OSError:
        return -1
    return descriptor


def _format(record: str) -> str:
    """`6,339,5140900,-;text` as dmesg shows it. Source: Documentation/ABI/testing/dev-kmsg.

    The number is the whole priority: what a program wrote has a facility in it and is 8 or more, whatever it says.
    """
    head, _, text = record.partition(";")
    fields = head.split(",")
    seconds = int(fields[2]) / 1e6
    return f"<{fields[0]}>[{seconds:12.6f}] {text.splitlines()[0] if text else ''}"
