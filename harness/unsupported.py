"""How a test says that this kernel lacks what it needs, with the proof."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from _pytest.outcomes import Skipped
else:
    Skipped = pytest.skip.Exception  # the public name, which a type checker cannot follow


class Unsupported(Skipped):
    """A skip that means one thing only: the kernel refused, and here is what it said.

    pytest counts it among the skipped; the verdict engine knows it by its class, so that no other skip can pass for it.

    Attributes:
        reason: what the kernel lacks, as a sentence without the proof.
        evidence: what showed it: an errno and the call it came from, a probe bit, a feature flag, a version.
    """

    # As pytest does for its own outcomes: summaries then say `Unsupported: …` instead of a dotted path.
    __module__ = "builtins"

    def __init__(self, reason: str, evidence: Sequence[str] = ()) -> None:
        self.reason = reason
        self.evidence = tuple(evidence)
        super().__init__(f"{reason} [{'; '.join(self.evidence)}]" if self.evidence else reason)


def unsupported(reason: str, evidence: str | Sequence[str] = ()) -> NoReturn:
    """End the running test: this kernel does not have what it needs.

    Args:
        reason: what is missing.
        evidence: one observation, or several, that a reader can check.

    Raises:
        Unsupported: always.
    """
    __tracebackhide__ = True  # the report shall point at the test's line
    raise Unsupported(reason, (evidence,) if isinstance(evidence, str) else evidence)
