"""Every fact of the table as readers are told it, one line each, ordered by first kernel: golden/facts.txt.

    python tests/conformance/golden_facts.py

writes the file. Look at the difference: a line that has moved says that the kernel's history is another one.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conformance.capabilities.expectation import series_key
from conformance.capabilities.observed import described

FILE = Path(__file__).with_name("golden") / "facts.txt"


def lines() -> Iterator[str]:
    """First kernel, name, group, title, who says so, and the sentence."""
    for one in sorted(described(), key=_place):
        said = "; ".join(f"{source['since']} {source['where']}" for source in one["documented"])
        words = (one["since"] or "-", one["id"], one["group"], one["title"], said or "nobody says", one["doc"])
        yield " | ".join(words)


def _place(one: dict[str, Any]) -> tuple[object, ...]:
    return (one["since"] is None, series_key(one["since"] or "0"), one["group"], one["id"])


def main() -> None:
    """Write the file."""
    FILE.write_text("".join(f"{line}\n" for line in lines()), encoding="utf-8")


if __name__ == "__main__":
    main()
