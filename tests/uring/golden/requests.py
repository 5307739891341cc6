"""Write requests.toml again: what is asked of a kernel for each capability, and what each answer says.

    python tests/uring/golden/requests.py

The answers that are given are read from the file, and kept: they are written by hand, one list for each way through a
request, the first of them by a kernel that has the capability. What is written anew is what was asked, in the words of
the kernel's header, and how each answer is judged. Read every line of the difference against the kernel's source: the
test only says that nothing has changed since somebody did.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from observing import Observing

from uring.observe import ordered

FILE = Path(__file__).with_name("requests.toml")
HEAD = """\
# What is asked of a kernel for each capability, and what it is taken for.
# `python tests/uring/golden/requests.py` writes this file again, but for `answers`: those are written by hand.
#   answers  what a made-up kernel answers, one after another; rings are always made
#   asked    what it was asked, in the words of <linux/io_uring.h>; 16[...] are 16 bytes of memory, in words of 32 bits
#   found    what was made of it
#   judged   for each thing asked: what is made of which other answer, where it is not "not determinable"
"""


def main() -> None:
    """Write the file."""
    paths: dict[str, list[list[str]]] = {one.id: [] for one in ordered()}
    for entry in tomllib.loads(FILE.read_text(encoding="utf-8"))["request"]:
        paths[entry["id"]].append(entry["answers"])
    with pytest.MonkeyPatch.context() as monkeypatch:
        observing = Observing(monkeypatch)
        try:
            written = [
                _text(one.id, observing.described(one, answers))
                for one in sorted(ordered(), key=lambda one: one.id)
                for answers in paths[one.id] or [["0"]]
            ]
        finally:
            observing.end()
    FILE.write_text("\n".join([HEAD, *written]), encoding="utf-8")


def _text(identifier: str, described: dict[str, Any]) -> str:
    lines = ["[[request]]", f'id = "{identifier}"']
    for key, value in described.items():
        if isinstance(value, list) and sum(map(len, value)) > 80:
            lines += [f"{key} = [", *(f"    {json.dumps(item)}," for item in value), "]"]
        else:
            lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
