"""Findings as Markdown, for people: each with its evidence, and with the kernels that were tested. Pure functions."""

import re
from collections.abc import Iterable, Iterator, Sequence

from reports.findings import OFF, Change, Direction, Disagreement, Findings, Step
from reports.records import Kernel, Result, Results, Test
from reports.untrusted import visible
from reports.versions import upstream
from reports.wording import count, listed

_DIRECTIONS = {
    Direction.EARLIER: ("There earlier than documented", "Older kernels that have it all the same."),
    Direction.MISSING: ("Missing though documented", "Kernels that should have it by somebody's word, and lack it."),
}
UNEXPLAINED = "Not explained yet"
_EVIDENCE_CHARACTERS_MAX = 160
_TESTS_MAX = 3


def text(found: Findings, results: Results) -> str:
    """Write findings.

    Args:
        found: what `findings` returns.
        results: what they were found in.
    """
    parts = [
        _head(found, results),
        *(_disagreements(found.disagreements, direction) for direction in Direction),
        _contradictions(found),
        _withheld(found),
        _known(found),
        _complaints(found),
        _modes(found),
        _not_in_mode(found),
        _steps(found.steps),
    ]
    return "\n".join(line for part in parts for line in part) + "\n"


def _head(found: Findings, results: Results) -> Iterator[str]:
    capabilities = sum(test.kind == "capability" for test in results.tests)
    rest = len(results.tests) - capabilities
    what = listed(
        [
            *([count(capabilities, "capability", "capabilities")] if capabilities else []),
            *([count(rest, "test")] if rest else []),
        ]
    )
    yield "# What kernels do, beside what is documented"
    yield ""
    kernels = count(len(found.kernels), "kernel")
    yield f"{what} on {kernels}, tested {results.started:%Y-%m-%d}. Every line is an observation of a kernel of"
    yield "this table; another release of its series may differ. Written by `uring-matrix findings`, not by hand."
    yield ""
    yield from _table(
        ("kernel", "release tested", "package", "architecture"),
        (
            (_plain(one.id), _code(one.release or "?"), _plain(one.package_version or ""), one.arch)
            for one in found.kernels
        ),
    )
    unexplained = sum(one.why is None for one in found.disagreements)
    yield ""
    for direction in Direction:
        own = [one for one in found.disagreements if one.direction is direction]
        yield f"- {_DIRECTIONS[direction][0]}: {len({one.test.id for one in own})}"
    yield f"- of those disagreements not explained yet: {unexplained}"
    yield f"- the kernel's own word against the observation: {len(found.contradictions)}"
    yield f"- differences between modes: {len(found.modes)}"
    yield f"- of those differences not explained yet: {sum(one.why is None for one in found.modes)}"
    differing = sum(bool(one.gained or one.lost or one.other or one.limits) for one in found.steps)
    yield f"- pairs of neighbouring kernels that differ: {differing} of {len(found.steps)}"


def _disagreements(found: Iterable[Disagreement], direction: Direction) -> Iterator[str]:
    own = [one for one in found if one.direction is direction]
    head, words = _DIRECTIONS[direction]
    yield from _section(head, words if own else "None.")
    # What nobody explained is what a reader may help with: it comes first.
    whys = sorted(dict.fromkeys(one.why for one in own), key=lambda why: why is not None)
    for why in whys:
        yield from ("", _plain(why) if why is not None else f"**{UNEXPLAINED}**")
        yield ""
        rows = (
            (
                *_named(one.test),
                _plain(f"{one.documented.since}, {one.documented.where}"),
                _kernels(one.kernels),
                *([_plain(one.hint)] if one.why is None else []),
                _evidence(one.row.evidence, one.row.reason).lstrip(": "),
            )
            for one in own
            if one.why == why
        )
        yield from _table(
            _columns(direction, is_explained=why is not None),
            rows,
        )


def _columns(direction: Direction, *, is_explained: bool) -> tuple[str, ...]:
    has_it = "has it" if direction is Direction.EARLIER else "lacks it"
    return ("capability", "name", "documented", has_it, *(() if is_explained else ("it may be",)), "evidence")


def _contradictions(found: Findings) -> Iterator[str]:
    own = found.contradictions
    words = "What the probe, the feature bits or the query say, and what a request showed." if own else "None."
    yield from _section("The kernel's own word against the observation", words)
    if own:
        yield ""
        yield from _table(
            ("capability", "name", "the kernel says", "observed", "kernels", "evidence"),
            (
                (
                    *_named(one.test),
                    "has it" if one.claimed else "lacks it",
                    "lacks it" if one.claimed else "has it",
                    _kernels(one.kernels),
                    _evidence(one.row.evidence, one.row.reason).lstrip(": "),
                )
                for one in own
            ),
        )


def _withheld(found: Findings) -> Iterator[str]:
    yield from _section("Switched off, or not to be told", "By reason." if found.withheld else "None.")
    for (state, reason), tests in found.withheld.items():
        yield ""
        why = reason.removeprefix("off: ").removeprefix("not determinable: ")
        yield f"{'Off' if state == OFF else 'Not determinable'}: {_code(why) if why else 'no reason is given'}"
        yield ""
        for test, kernels in tests:
            yield f"- {_name(test)} on {_kernels(kernels)}"


def _known(found: Findings) -> Iterator[str]:
    yield from _section("Known issues", "Written down with the suite." if found.known else "None.")
    for issue, rows in found.known:
        kernels = {kernel.id: kernel for kernel in found.kernels}
        here = [kernels[name] for name in dict.fromkeys(row.kernel for row in rows) if name in kernels]
        link = f" ({_plain(issue.link)})" if issue.link else ""
        yield ""
        what = f"{', '.join(map(_code, issue.tests))}, {' or '.join(map(_plain, issue.status))}"
        yield f"- {what}: {_plain(issue.reason)}{link}"
        yield f"  Shows on {_kernels(here)}." if here else "  Shows on none of these kernels."


def _complaints(found: Findings) -> Iterator[str]:
    """A section only where there is something: kernels that are released have their warnings off, as a rule."""
    if not found.complaints:
        return
    yield from _section("What kernels complained of", "In their log while a test ran, whether it passed or not.")
    yield ""
    yield from _table(
        ("the kernel wrote", "during", "kernels"),
        (
            (
                _evidence((one.line,), "").lstrip(": "),
                ", ".join(f"{_code(test.id)}: {row.status}" for test, _, row in one.rows[:_TESTS_MAX])
                + (f" and {len(one.rows) - _TESTS_MAX} more" if len(one.rows) > _TESTS_MAX else ""),
                _kernels({kernel.id: kernel for _, kernel, _ in one.rows}.values()),
            )
            for one in found.complaints
        ),
    )


def _modes(found: Findings) -> Iterator[str]:
    own = found.modes
    yield from _section(
        "Differences between modes", "Tests that come out differently on one kernel." if own else "None."
    )
    if own:
        yield ""
        yield from _table(
            ("test", "name", "kernel", "by mode", "why"),
            (
                (
                    *_named(one.test),
                    _exact(one.kernel),
                    ", ".join(f"{_plain(mode)}: {verdict}" for mode, verdict in _shortened(one.verdicts)),
                    _plain(one.why) if one.why is not None else f"**{UNEXPLAINED}**{_evidence(*_said(one.row))}",
                )
                for one in own
            ),
        )


def _not_in_mode(found: Findings) -> Iterator[str]:
    if not found.not_in_mode:
        return
    yield from ("", "Tests that are about what a mode settles itself have no cell in it:", "")
    for mode, tests in found.not_in_mode.items():
        yield f"- {_plain(mode)} ({len(tests)}): {', '.join(_code(one.id) for one in tests)}"


def _said(row: Result) -> tuple[Sequence[str], str]:
    return row.evidence, row.reason


def _shortened(verdicts: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The first mode's verdict, and those that differ from it."""
    yield verdicts[0]
    yield from (one for one in verdicts[1:] if one[1] != verdicts[0][1])


def _steps(steps: Sequence[Step]) -> Iterator[str]:
    yield from _section("From kernel to kernel", "What each has that the one before it lacks, and the other way round.")
    yield ""
    yield from _table(
        ("from", "to", "capabilities", "tests", "gained", "lost", "otherwise changed", "limits changed"),
        ((_exact(one.older), _exact(one.newer), *map(str, _counts(one))) for one in steps),
    )
    for one in steps:
        lines = [
            *_gained(one.gained),
            *(
                f"- lost: {_name(change.test)}{_evidence(change.row.evidence, change.row.reason)}"
                for change in one.lost
            ),
            *(
                f"- {_name(change.test)}: {change.before} → {change.after}{_evidence((), change.row.reason)}"
                for change in one.other
            ),
            *(f"- limit: {_name(change.test)}: {change.before} → {change.after}" for change in one.limits),
        ]
        if lines:
            yield from ("", f"### {_exact(one.older)} → {_exact(one.newer)}", "", *lines)


def _counts(step: Step) -> tuple[int, ...]:
    """Capabilities and tests that differ, and how they do."""
    kinds = step.gained, step.lost, step.other, step.limits
    capabilities = sum(change.test.kind == "capability" for own in kinds for change in own)
    counts = tuple(len(own) for own in kinds)
    return capabilities, sum(counts) - capabilities, *counts


def _gained(changes: Iterable[Change]) -> Iterator[str]:
    groups: dict[str, list[str]] = {}
    for change in changes:
        groups.setdefault(change.test.group or "Tests", []).append(_name(change.test))
    for group, names in groups.items():
        yield f"- gained, {_plain(group)} ({len(names)}): {', '.join(names)}"


# -- words ------------------------------------------------------------------------------------------------------------


def _section(head: str, words: str) -> tuple[str, ...]:
    return ("", f"## {head}", "", words)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _named(test: Test) -> tuple[str, str]:
    return _plain(test.title), _code(test.symbols[0] if test.symbols else test.id)


def _name(test: Test) -> str:
    return f"{_plain(test.title)} ({_code(test.symbols[0])})" if test.symbols else _code(test.id)


def _kernels(kernels: Iterable[Kernel]) -> str:
    return ", ".join(_exact(kernel) for kernel in kernels)


def _exact(kernel: Kernel) -> str:
    """Name the release that was tested, as closely as it is known."""
    return _plain(upstream(kernel.package_version, kernel.release) or kernel.release or kernel.id)


def _evidence(evidence: Sequence[str], reason: str) -> str:
    line = next(iter((evidence[0] if evidence else reason).strip().splitlines()), "")
    if len(line) > _EVIDENCE_CHARACTERS_MAX:
        line = line[:_EVIDENCE_CHARACTERS_MAX] + "…"
    return f": {_code(line)}" if line else ""


def _code(words: str) -> str:
    """Text of guests and tests, which no Markdown in it can leave."""
    plain = " ".join(visible(words).split()).replace("`", "'").replace("|", "\\|")
    return f"`{plain}`" if plain else ""


def _plain(words: str) -> str:
    """Text in a sentence or a cell of a table: what Markdown and HTML would take for more is written as text."""
    marked = re.sub(r"([\\|*\[\]`~#])|(?<!\w)(_)|(_)(?!\w)", r"\\\g<0>", " ".join(visible(words).split()))
    return marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
