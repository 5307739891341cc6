"""What can be read from a guest's console: text of the kernel and of programs, line by line in between."""

import re

_KERNEL = re.compile(r"\[ *\d+\.\d+\]")
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_TRACEBACK = "Traceback (most recent call last):"


def last_traceback(text: str) -> list[str]:
    """The last traceback of a Python program: its lines, the exception at the end; empty if there is none."""
    lines = [_COLOUR.sub("", line).rstrip() for line in text.splitlines()]
    lines = [line for line in lines if line and not _KERNEL.match(line)]
    for begin in range(len(lines) - 1, -1, -1):
        if lines[begin] == _TRACEBACK:
            for end in range(begin + 1, len(lines)):
                if not lines[end].startswith(" "):
                    return lines[begin : end + 1]
    return []
