"""The words of the site: verdicts, qualifiers, minimum kernels and the sentence at the top. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from reports.matrix import Column, ColumnState, Line, Matrix, Minimum, MinimumKind, exact_name, kernel_name
from reports.records import Kernel, Qualifier, Result, Results, Status, attempts_of
from reports.versions import point_release, upstream


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a verdict looks and what it means."""

    symbol: str
    word: str
    # Which of the few colours reinforces it
    tone: str
    meaning: str


# Symbols are plain text characters: none of them turns into a coloured picture on some system.
VERDICTS = {
    Status.PASS: Verdict("✓", "pass", "good", "Every assertion of the test held."),
    Status.UNSUPPORTED: Verdict(
        "\N{EN DASH}", "unsupported", "plain", "The kernel lacks it; the evidence says how that showed."
    ),
    Status.SKIP: Verdict("»", "skip", "plain", "The test declined to judge, such as after a missed timing margin."),
    Status.FAIL: Verdict("✘", "fail", "bad", "The kernel did something other than the test asserts."),
    Status.CRASH: Verdict("!", "crash", "bad", "The kernel oopsed, panicked or vanished while the test ran."),
    Status.TIMEOUT: Verdict("…", "timeout", "bad", "No answer before the deadline; the guest was ended."),
    Status.ERROR: Verdict("?", "error", "ours", "The test or its fixture is broken: our fault, not the kernel's."),
    Status.INFRA: Verdict(
        "\N{MULTIPLICATION SIGN}",
        "infra",
        "ours",
        "No kernel, no boot or no channel: nothing is known about the kernel.",
    ),
    Status.NOTRUN: Verdict("·", "not run", "open", "It was planned, but the run ended before."),
}

QUALIFIERS = {
    Qualifier.FLAKY: ("flaky", "Attempts did not agree; the worse verdict counts, and all attempts are shown."),
    Qualifier.KERNEL_WARNING: ("kernel warning", "The kernel printed a warning while the test ran."),
    Qualifier.UNEXPECTED: ("unexpected", "The documentation says that this kernel has it."),
    Qualifier.EARLIER_THAN_DOCUMENTED: (
        "earlier",
        "It works on a kernel older than the documented minimum; in a point release of a stable series by a backport.",
    ),
    Qualifier.LEFT_BEHIND: ("left behind", "The test did not undo what it changed; the next one got a fresh start."),
    Qualifier.KNOWN_ISSUE: ("known issue", "This is known; the evidence says where it is followed."),
}


def qualifier_words(row: Result, kernel: Kernel | None = None) -> list[str]:
    """Say what stands beside a verdict, in a word or two each.

    Args:
        row: the verdict.
        kernel: its kernel, where that says more: a stable release has things by a backport.
    """
    words = []
    if len(row.attempts) > 1 and Qualifier.FLAKY not in row.qualifiers:
        words.append(f"{len(row.attempts)} of {len(row.attempts)}")
    for name in row.qualifiers:
        if name == Qualifier.FLAKY:
            tries = attempts_of(row)
            count = sum(attempt.status is Status.PASS for attempt in tries)
            words.append(f"flaky: {count} of {len(tries)} pass" if len(tries) > 1 else "flaky")
        elif name == Qualifier.EARLIER_THAN_DOCUMENTED and kernel is not None and is_stable(kernel):
            words.append("backport")
        else:
            words.append(QUALIFIERS[Qualifier(name)][0] if name in list(Qualifier) else name.replace("-", " "))
    return words


@dataclass(frozen=True, slots=True)
class MinimumText:
    """A minimum kernel in a table cell: the figure, and what one has to know beside it."""

    figure: str
    notes: tuple[str, ...] = ()
    is_worrying: bool = False


def minimum_text(minimum: Minimum, names: dict[str, str]) -> MinimumText:
    """Word a minimum kernel for a narrow column."""
    if minimum.kind is MinimumKind.NEVER:
        return MinimumText("none", ("on no tested kernel",))
    if minimum.kind is MinimumKind.UNKNOWN:
        return MinimumText("?", ("not known",))
    at = kernel_name(minimum.at, names)
    exact = exact_name(minimum.at, names)
    notes = []
    if minimum.after:
        notes.append(f"not on {kernel_name(minimum.after, names)}")
    if minimum.lost_by:
        notes.append(f"lost by {kernel_name(minimum.lost_by, names)}")
    if minimum.earlier_passes:
        older = [kernel_name(kernel, names) for kernel in minimum.earlier_passes]
        notes.append(f"also on {', '.join(older)}" if len(older) <= 2 else f"also on {len(older)} older ones")
    figure = at if minimum.kind is MinimumKind.EXACT else f"≤ {exact}"
    return MinimumText(figure, tuple(notes), is_worrying=bool(minimum.regressions))


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return `1 test`, `2 tests`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def is_stable(kernel: Kernel) -> bool:
    """Whether a kernel is a point release, into which later things may have been backported."""
    return point_release(upstream(kernel.package_version, kernel.release)) > 0


# What is said of kernels without a verdict, in the head of a column and in a sentence.
STATES = {
    ColumnState.UNJUDGED: ("no verdict", "gave no verdict"),
    ColumnState.UNBOOTED: ("no boot", "did not boot"),
    ColumnState.UNFETCHED: ("not fetched", "could not be fetched"),
    ColumnState.INTERRUPTED: ("not reached", "not reached before the run ended"),
}


def missing_kernels(columns: Sequence[Column]) -> str:
    """Say which kernels have no verdict at all, and why: four different things."""
    parts = []
    for state, (_, words) in STATES.items():
        names = list(dict.fromkeys(column.name for column in columns if column.state is state))
        if names:
            parts.append(f"{', '.join(names) if len(names) <= 4 else f'{len(names)} kernels'} {words}")
    return "; ".join(parts)


def headline(matrix: Matrix) -> str:
    """Answer the question of the page in one sentence."""
    total = len(matrix.rows)
    columns = [column for column in matrix.columns if column.total]
    if not columns or not matrix.lines:
        return "No test was run"
    line = matrix.lines[0]
    minimum = matrix.overall[line]
    every = [column for column in columns if column.mode.id == line.mode.id and column.kernel.arch == line.arch]
    # A kernel without a verdict has failed nothing.
    own = [column for column in every if column.state is ColumnState.JUDGED]
    if not own:
        return f"No verdict: {missing_kernels(every)}"
    everything = "The one test passes" if total == 1 else f"All {total:,} tests pass"
    newest = own[-1]
    the_newest = "the newest kernel here" if newest is every[-1] else "the newest kernel with a verdict"
    found = everything if newest.passed == total else f"{newest.passed:,} of {count(newest.judged, 'test')} pass"
    if newest.judged < total and newest.passed < total:
        found += f" and {total - newest.judged:,} have no verdict"
    if len(own) == 1:
        return f"{found} on {linux(newest)}"
    if minimum.at is None or minimum.regressions:
        return f"{found} on {linux(newest)}, {the_newest}"
    at = next(column for column in own if column.kernel.id == minimum.at.id)
    later = own[own.index(at) + 1 :]
    settled = [column for column in later if column.kernel not in minimum.unknown]
    if minimum.kind is MinimumKind.AT_MOST and not minimum.unknown:
        return f"{everything} on all {len(own)} kernels, Linux {own[0].name} to {newest.name}"
    if not later:
        return f"{everything} on {linux(at)}, {the_newest}, and on no older one"
    if not settled:
        return f"{everything} on {linux(at)}; no later kernel has all its verdicts"
    which = "tested" if settled == later else "with all its verdicts"
    return f"{everything} on {linux(at)} and every later kernel {which}"


def linux(column: Column) -> str:
    """Name a column's kernel in a sentence."""
    if column.kernel.source == "host":
        return f"Linux {column.kernel.series}, this machine's own kernel"
    return f"Linux {column.name}" if column.name == column.kernel.series else f"{column.name} ({column.kernel.series})"


def shortfalls(matrix: Matrix, limit: int = 8) -> list[str]:
    """Say, kernel by kernel, what keeps a column from passing as a whole."""
    found = []
    for column in matrix.columns:
        if column.state is not ColumnState.JUDGED:
            continue  # `missing_kernels` says why
        missing = [
            f"{column.counts[status]:,} {verdict.word}"
            for status, verdict in VERDICTS.items()
            if status is not Status.PASS and column.counts.get(status)
        ]
        if missing:
            mode = f" {column.mode.id}" if len(matrix.lines) > 1 else ""
            found.append(f"{column.name}{mode} ({', '.join(missing)})")
    if len(found) > limit + 1:
        found[limit:] = [f"and {len(found) - limit} more columns"]
    return found


def line_name(line: Line, lines: Sequence[Line]) -> str:
    """Name an architecture and mode, as far as there is a choice of them."""
    parts = []
    if len({one.arch for one in lines}) > 1:
        parts.append(line.arch)
    if len({one.mode.id for one in lines}) > 1:
        parts.append(line.mode.id)
    return " ".join(parts)


def moment(time: datetime | None) -> str:
    """Return a time as a reader wants it."""
    return f"{time:%Y-%m-%d %H:%M} UTC" if time else "not finished"


def span(seconds: float | None) -> str:
    """Return a duration as a reader wants it."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def run_span(results: Results) -> str:
    """Return how long the run took."""
    return span((results.finished - results.started).total_seconds()) if results.finished else ""
