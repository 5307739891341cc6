"""`uring-matrix diff`: what changed between two runs or two kernels, for people, for programs, and as a gate."""

from collections.abc import Collection

import click

from reports.diff import BAD, GATES, Change, Diff, Gate, as_builtins, diff_files, gate
from reports.diff_text import conclusion, kernels_line, scope, sections
from reports.markdown import of_diff
from uring_matrix import github, output

_SCREEN_LINES = 24
_COLORS = {**dict.fromkeys(BAD, "red"), Change.FIXED: "green", Change.NEW_PASS: "green"}


def diff(old: str, new: str, *, form: str | None = None, fail_on: Collection[str] = tuple(GATES)) -> int:
    """Compare two runs, or two columns.

    Args:
        old: results.json, its directory, or FILE#kernel.
        new: the same, of what came later.
        form: `json`, `markdown` or `html`; None is text.
        fail_on: the kinds of `reports.diff.GATES` that count.

    Returns:
        1 where something is worse, 3 where verdicts or cells are missing that it would take to say that nothing is,
        else 0.

    Raises:
        ResultsError: a file or kernel is not there, or the two cannot be compared.
    """
    found = diff_files(old, new)
    decided = gate(found, fail_on)
    say(found, decided, form)
    github.summarize(lambda limit_bytes: of_diff(found, decided, limit_bytes))
    github.annotate(github.errors_of_diff(found, decided))
    return exit_code(decided)


def exit_code(decided: Gate) -> int:
    """What a gate's decision is to a shell."""
    if decided.bad:
        return output.UNEXPECTED
    return output.EXPECTED if decided.is_green else output.INFRASTRUCTURE


def say(found: Diff, decided: Gate, form: str | None = None) -> None:
    """Write a diff to standard output."""
    match form:
        case "json":
            output.say_json(as_builtins(found) | {"conclusion": conclusion(found, decided), **_gate(decided)})
        case "markdown":
            output.say(of_diff(found, decided).rstrip("\n"))
        case "html":
            from reports.diff_page import page  # noqa: PLC0415 - the other forms need no Jinja2

            output.say(page(found, decided).rstrip("\n"))
        case _:
            for line in lines(found, decided):
                output.say(line)


def _gate(decided: Gate) -> dict[str, object]:
    return {"is_green": decided.is_green, "bad": dict(decided.bad), "holes": dict(decided.holes)}


def lines(found: Diff, decided: Gate) -> list[str]:
    """Write a diff in plain text: the conclusion, the changed cells by kind, what is compared and what else differs."""
    last = click.style(conclusion(found, decided), bold=True, fg=None if decided.is_green else "red")
    text = [last]
    for section in sections(found):
        text += ["", click.style(f"{section.head} ({section.count:,})", bold=True, fg=_COLORS.get(section.change))]
        rows = [(one.test, one.where, one.was, one.now, one.reason) for one in section.lines]
        text += [f"  {line}" for line in output.table(("test", "cell", "was", "is", ""), rows)[1:]]
    text += [
        "",
        f"old:     {found.old}",
        f"new:     {found.new}",
        f"kernels: {kernels_line(found.kernels)}",
        f"cells:   {scope(found)}",
        *(f"note:    {caveat}" for caveat in found.caveats),
    ]
    # Where the first line has scrolled away.
    return [*text, "", last] if len(text) > _SCREEN_LINES else text
