"""The words of the site: verdicts, qualifiers, minimum kernels and the sentence at the top. Pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from reports.expectation import Expectation, is_stable
from reports.matrix import Column, ColumnState, Line, Matrix, Minimum, MinimumKind, Tally, exact_name, kernel_name
from reports.records import (
    Attempt,
    Kernel,
    KnownIssue,
    Mode,
    Qualifier,
    Result,
    Results,
    State,
    Status,
    Test,
    attempts_of,
)
from reports.versions import upstream

# How the evidence of a guest that is gone begins to quote its console.
LAST_LINE = "the console's last line: "
# How the evidence of what was observed begins to say what the kernel says of itself.
OWN_WORD = "the kernel's own word: "
# Of the numbers of equal attempts.
_RANGES_MAX = 12


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

# What was observed says nothing about a test, and has words of its own.
OBSERVED: Mapping[str, Verdict] = {
    State.HAS: Verdict("✓", "has", "good", "The kernel knows it: whether it works is what tests are for."),
    State.LACKS: Verdict("\N{EN DASH}", "lacks", "plain", "The kernel does not know it."),
    State.OFF: Verdict("○", "off", "open", "The kernel knows it, and something has it switched off."),
    State.NOT_DETERMINABLE: Verdict("?", "not known", "open", "No request here can tell; the evidence says why."),
}
# Where the kernel's own word is another one than what was observed
CONTRADICTIONS = {True: "it says it has it", False: "it says it lacks it"}

QUALIFIERS = {
    Qualifier.FLAKY: ("flaky", "Attempts did not agree; the worse verdict counts, and all attempts are shown."),
    Qualifier.KERNEL_WARNING: ("kernel warning", "The kernel printed a warning while the test ran."),
    Qualifier.UNEXPECTED: ("unexpected", "The documentation says that this kernel has it."),
    Qualifier.EARLIER_THAN_DOCUMENTED: ("earlier", "It works on a kernel older than the documented minimum."),
    Qualifier.BACKPORT: ("backport", "A point release of a stable series has what is documented for a later series."),
    Qualifier.LEFT_BEHIND: ("left behind", "The test did not undo what it changed; the next one got a fresh start."),
    Qualifier.KNOWN_ISSUE: ("known issue", "It is written down that it is so here, and why; it fails no run."),
}


def verdict_of(row: Result) -> Verdict:
    """The words of a verdict: of a test, or of what was observed."""
    return OBSERVED.get(row.state or "") or VERDICTS[row.status]


def found_of(row: Result) -> str:
    """The word of a verdict, or a limit's value in its place."""
    return verdict_of(row).word if row.value is None else f"{row.value:,}"


def qualifier_words(row: Result, kernel: Kernel | None = None) -> list[str]:
    """Say what stands beside a verdict, in a word or two each.

    Args:
        row: the verdict.
        kernel: its kernel, where that says more.
    """
    words = [CONTRADICTIONS[bool(row.claimed)]] if row.is_contradicted else []
    if len(row.attempts) > 1 and Qualifier.FLAKY not in row.qualifiers:
        words.append(f"{len(row.attempts)} of {len(row.attempts)}")
    for name in qualifiers_of(row, kernel):
        if name == Qualifier.FLAKY:
            tries = attempts_of(row)
            count = sum(attempt.status is Status.PASS for attempt in tries)
            words.append(f"flaky: {count} of {len(tries)} pass" if len(tries) > 1 else "flaky")
        else:
            words.append(QUALIFIERS[Qualifier(name)][0] if name in list(Qualifier) else name.replace("-", " "))
    return words


def qualifiers_of(row: Result, kernel: Kernel | None = None) -> list[str]:
    """Return the qualifiers of a row that are shown: a backport says more than that something is there early.

    Args:
        row: the verdict, of whatever version of this program.
        kernel: its kernel, by which an older version's row is a backport.
    """
    names = dict.fromkeys(
        Qualifier.BACKPORT
        if name == Qualifier.EARLIER_THAN_DOCUMENTED and kernel is not None and is_stable(kernel)
        else name
        for name in row.qualifiers
    )
    if Qualifier.BACKPORT in names:
        names.pop(Qualifier.EARLIER_THAN_DOCUMENTED, None)
    return list(names)


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
        notes.append(f"not on {exact_name(minimum.after, names)}")
    if minimum.lost_by:
        notes.append(f"lost by {exact_name(minimum.lost_by, names)}")
    if minimum.earlier_passes:
        older = [exact_name(kernel, names) for kernel in minimum.earlier_passes]
        notes.append(f"also on {', '.join(older)}" if len(older) <= 2 else f"also on {len(older)} older ones")
    figure = at if minimum.kind is MinimumKind.EXACT else f"≤ {exact}"
    return MinimumText(figure, tuple(notes), is_worrying=bool(minimum.regressions))


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return `1 test`, `2 tests`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listed(names: Sequence[str], conjunction: str = "and") -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    if len(names) <= 1:
        return "".join(names)
    return f"{', '.join(names[:-1])} {conjunction} {names[-1]}"


@dataclass(frozen=True, slots=True)
class EqualAttempts:
    """Attempts at a cell with the same verdict and reason."""

    # Counted from 1: `1 to 3, 7`
    numbers: str
    count: int
    # The first of them: its evidence stands for all
    attempt: Attempt
    took: str


def equal_attempts(attempts: Sequence[Attempt]) -> list[EqualAttempts]:
    """Put equal attempts together, in the order in which they first came: nobody reads a hundred equal lines."""
    groups: dict[tuple[Status, str], list[int]] = {}
    for index, attempt in enumerate(attempts):
        groups.setdefault((attempt.status, attempt.reason), []).append(index)
    found = []
    for indices in groups.values():
        durations = [seconds for index in indices if (seconds := attempts[index].duration_s) is not None]
        shortest, longest = span(min(durations, default=None)), span(max(durations, default=None))
        took = shortest if shortest == longest else f"{shortest} to {longest}"
        found.append(EqualAttempts(_ranges(indices), len(indices), attempts[indices[0]], took))
    return found


def _ranges(indices: Sequence[int]) -> str:
    """Write `1 to 3, 7` for the indices 0, 1, 2 and 6."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    words = [f"{run[0] + 1:,}" if len(run) == 1 else f"{run[0] + 1:,} to {run[-1] + 1:,}" for run in runs]
    return ", ".join(words if len(words) <= _RANGES_MAX else [*words[:_RANGES_MAX], "…"])


@dataclass(frozen=True, slots=True)
class Told:
    """What an evidence page says of a verdict beneath its reason: nothing of it twice."""

    expected: str | None
    found: str | None
    evidence: tuple[str, ...]


def told(row: Result) -> Told:
    """Leave out what a page has said already: in the reason at its top, or will say in the console's end below."""
    there = {line.strip() for line in (*row.console_tail, *row.reason.splitlines())}
    lines = [line for text in row.evidence for line in text.splitlines()]
    evidence = tuple(line for line in lines if line.removeprefix(LAST_LINE).strip() not in there or not line.strip())
    found = row.actual
    is_said = found is not None and (
        found in {row.reason, "; ".join(row.evidence)}
        or row.reason.endswith(f": {found}")
        or (row.reason != "" and found.endswith(f": {row.reason}"))
    )
    return Told(None, None, evidence) if is_said else Told(row.expected, found, evidence)


def against_documentation(
    test: Test, mode: Mode, kernel: Kernel, expectation: Expectation, issue: KnownIssue | None = None
) -> list[str]:
    """Say what is documented of a cell, and what its verdict is beside that: one sentence or two."""
    here = upstream(kernel.package_version, kernel.release) or kernel.release or kernel.series or kernel.id
    if test.since:
        also = f", the ring mode since {mode.since}" if mode.since and not test.is_capability else ""
        known = f"Documented since Linux {test.since}{also}; this kernel is {here}."
    else:
        known = f"There is no documented minimum for this {'capability' if test.is_capability else 'test'}."
    if expectation is Expectation.EARLIER:
        backport = ": it was backported to this stable release" if is_stable(kernel) else ""
        return [known, f"It {'is there' if test.is_capability else 'works'} earlier than documented{backport}."]
    if issue is not None:
        return [known, f"This is a known issue: {issue.reason}", *([issue.link] if issue.link else [])]
    said = {
        Expectation.UNEXPECTED: "Nobody expected this verdict here.",
        Expectation.KNOWN: "This is a known issue.",
        Expectation.OPEN: "There is no verdict on the kernel.",
        Expectation.AS_EXPECTED: "The verdict is the expected one." if test.since else "",
    }[expectation]
    return [known, said] if said else [known]


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


def without_verdict(columns: Sequence[Column]) -> list[str]:
    """Say in a terminal which kernels gave no verdict, and why; and which were cut off."""
    sentences = []
    if missing := missing_kernels(columns):
        sentences.append(f"without a verdict: {missing}")
    cut_off = {
        column.name: counted(*(one.counts.get(Status.NOTRUN, 0) for one in (column.tests, column.capabilities)))
        for column in columns
        if column.state is ColumnState.JUDGED and column.counts.get(Status.NOTRUN)
    }
    if cut_off:
        named = (f"{name} ({what} not run)" for name, what in cut_off.items())
        sentences.append(f"cut off: {', '.join(named)}")
    return sentences


def headline(matrix: Matrix) -> str:
    """Answer the question of the page in one sentence: what works by its tests, and how much of it the newest has."""
    total = len(matrix.tests)
    columns = [column for column in matrix.columns if column.counts]
    if not columns or not matrix.lines:
        return "No test was run"
    observed = _observed(matrix)
    if not total:
        return observed or f"No verdict: {missing_kernels(columns)}"
    tested = _tested(matrix, columns, total)
    return f"{tested}; {observed}" if observed else tested


def _observed(matrix: Matrix) -> str:
    """Say how many capabilities the newest kernel has of which any is known; empty where there is none."""
    own = [column for _, column in matrix.line_columns(matrix.lines[0]) if column.capabilities.judged]
    return f"{linux(own[-1])} has {having(own[-1].capabilities)}" if own else ""


def having(tally: Tally) -> str:
    """Return `286 of 289 capabilities, 1 not known`: what is not known is neither there nor missing."""
    unknown = tally.total - tally.judged
    text = f"{tally.passed:,} of {count(tally.total, 'capability', 'capabilities')}"
    return f"{text}, {unknown:,} not known" if unknown else text


def counted(tests: int, capabilities: int) -> str:
    """Return `41 tests and 289 capabilities`: never one number of both."""
    parts = [count(tests, "test")] if tests or not capabilities else []
    parts += [count(capabilities, "capability", "capabilities")] if capabilities else []
    return " and ".join(parts)


def _tested(matrix: Matrix, columns: Sequence[Column], total: int) -> str:
    """Say from which kernel on all tests pass."""
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
    tests = newest.tests
    found = everything if tests.passed == total else f"{tests.passed:,} of {count(tests.judged, 'test')} pass"
    if tests.known and tests.known == tests.judged - tests.passed:
        found = f"All {total:,} tests but {count(tests.known, 'known issue')} pass"
    rest = total - tests.judged
    unjudged = f"; {rest:,} {'has' if rest == 1 else 'have'} no verdict" if rest else ""
    if len(own) == 1:
        return f"{found} on {linux(newest)}{unjudged}"
    if minimum.at is None or minimum.regressions:
        return f"{found} on {linux(newest)}, {the_newest}{unjudged}"
    at = next(column for column in own if column.kernel.id == minimum.at.id)
    later = own[own.index(at) + 1 :]
    settled = [column for column in later if column.kernel not in minimum.unknown]
    if minimum.kind is MinimumKind.AT_MOST and not minimum.unknown:
        return f"{everything} on all {len(own)} kernels, Linux {own[0].name} to {newest.name}"
    if not later:
        return f"{everything} on {linux(at)}, {the_newest}{_on_older(every[: every.index(at)], minimum)}"
    if not settled:
        return f"{everything} on {linux(at)}; no later kernel has all its verdicts"
    which = "tested" if settled == later else "with all its verdicts"
    return f"{everything} on {linux(at)} and every later kernel {which}"


def _on_older(older: Sequence[Column], minimum: Minimum) -> str:
    """Say of the kernels before the first that passes what is known of them, in the rest of a sentence."""
    settled = [column for column in older if column.kernel not in minimum.unknown]
    if not settled:
        return "; no older kernel has all its verdicts" if older else ""
    return ", and on no older one" + ("" if len(settled) == len(older) else " with all its verdicts")


def linux(column: Column) -> str:
    """Name a column's kernel in a sentence."""
    if column.kernel.source == "host":
        return f"Linux {column.kernel.series}, this machine's own kernel"
    return f"Linux {column.name}" if column.name == column.kernel.series else f"{column.name} ({column.kernel.series})"


def shortfalls(matrix: Matrix, limit: int = 8) -> list[str]:
    """Say, kernel by kernel, what keeps a column from passing all tests."""
    found = []
    for column in matrix.columns:
        if column.state is not ColumnState.JUDGED:
            continue  # `missing_kernels` says why
        missing = [
            f"{column.tests.counts[status]:,} {verdict.word}"
            for status, verdict in VERDICTS.items()
            if status is not Status.PASS and column.tests.counts.get(status)
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
