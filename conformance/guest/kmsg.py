"""The kernel's messages, read as they come, so that each belongs to the test during which it came."""

import os

_RECORD_SIZE_MAX = 8192


class KernelLog:
    """Reads /dev/kmsg from now on. A machine where that is not allowed has no messages to give."""

    def __init__(self) -> None:
        self._descriptor = -1
        try:
            self._descriptor = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._descriptor, 0, os.SEEK_END)
        except OSError:
            self.close()

    def new(self) -> list[str]:
        """Return what came since the last call, one `<level>[seconds] text` per record."""
        lines: list[str] = []
        while self._descriptor >= 0:
            try:
                record = os.read(self._descriptor, _RECORD_SIZE_MAX)
            except BlockingIOError:
                break
            except BrokenPipeError:
                lines.append("<4>[?] records were overwritten before they could be read")
                continue
            lines.append(_format(record.decode(errors="backslashreplace")))
        return lines

    def close(self) -> None:
        """Stop reading."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _format(record: str) -> str:
    """`6,339,5140900,-;text` as dmesg shows it. Source: Documentation/ABI/testing/dev-kmsg."""
    head, _, text = record.partition(";")
    fields = head.split(",")
    level = int(fields[0]) & 7
    seconds = int(fields[2]) / 1e6
    return f"<{level}>[{seconds:12.6f}] {text.splitlines()[0] if text else ''}"
