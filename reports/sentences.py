"""What is said of a run in a terminal beside its verdicts: how often tests were repeated, and what goes on with it."""

import shlex
from collections.abc import Sequence

from reports.records import Qualifier, Results


def repeated_sentence(results: Results) -> str | None:
    """Say what came of repeating, whatever came of it; None where nothing was repeated."""
    rows = [row for row in results.results if len(row.attempts) > 1]
    if not rows:
        return None
    counts = [len(row.attempts) for row in rows]
    times = f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"
    wavered = sum(Qualifier.FLAKY in row.qualifiers for row in rows)
    same = f"{len(rows) - wavered:,} of {len(rows):,} cells with the same verdict each time"
    return f"repeated {times} times: {same}" + (f", {wavered:,} wavered" if wavered else "")


def resume_sentence(results: Results) -> str | None:
    """Name the command that goes on with a run; None for one that is complete."""
    return None if results.complete else f"to go on: {shlex.join(resume_command(results.command))}"


def resume_command(command: Sequence[str]) -> list[str]:
    """Return the command that goes on with a run: the one that was given, asked to resume."""
    words = list(command)
    end = words.index("--") if "--" in words else len(words)
    # Of pytest's own command lines any word may be `run`: a directory, say.
    is_ours = "run" in words[:end] and any(one in ("uring-matrix", "uring_matrix") for one in words[:3])
    flag = "--resume" if is_ours else "--matrix-resume"
    if flag not in words[:end]:
        words.insert(words.index("run") + 1 if is_ours else end, flag)
    return words
