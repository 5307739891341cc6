"""Why documentation and kernels disagree, as far as somebody found out: disagreements.toml, read."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("disagreements.toml")


def explanations() -> Iterator[dict[str, Any]]:
    """Read them.

    Yields:
        The arguments of `reports.findings.Explanation`.
    """
    for one in tomllib.loads(FILE.read_text(encoding="utf-8"))["disagreement"]:
        yield {
            "why": one["why"],
            "series": frozenset(one["series"]),
            "claims": frozenset(tuple(claim.split(" ", 1)) for claim in (*one["capabilities"], *one.get("tests", ()))),
        }
