"""`uring-matrix diff`: what changed between two runs or two kernels, for people and for programs."""

import click

from reports.diff import BAD, Change, Diff, Entry, as_builtins, diff_files
from reports.untrusted import visible
from uring_matrix import output

_HEADS = {
    Change.REGRESSION: "Regressions: passed, and does not any more",
    Change.NEW_FAILURE: "New failures",
    Change.STILL_FAILING: "Still failing",
    Change.INCONCLUSIVE: "No verdict any more",
    Change.FIXED: "Fixed",
    Change.NEW_PASS: "New passes",
    Change.APPEARED: "New cells",
    Change.DISAPPEARED: "Gone",
    Change.OTHER: "Other changes of verdict",
}
_CELL_CHARACTERS_MAX = 200
_COLORS = {Change.REGRESSION: "red", Change.NEW_FAILURE: "red", Change.FIXED: "green", Change.NEW_PASS: "green"}


def diff(old: str, new: str, *, as_json: bool) -> int:
    """Compare two runs, or two columns.

    Returns:
        1 where something passed and does not any more, or fails newly; else 0.

    Raises:
        ResultsError: a file or kernel is not there, or the two cannot be compared.
    """
    found = diff_files(old, new)
    if as_json:
        output.say_json(as_builtins(found))
    else:
        for line in lines(found):
            output.say(line)
    return output.UNEXPECTED if found.is_worse else output.EXPECTED


def lines(found: Diff) -> list[str]:
    """Write a diff in plain text: the counts, what else differs, then the changed cells by kind."""
    total = sum(found.counts.values())
    unchanged = found.counts.get(Change.UNCHANGED, 0)
    text = [f"{found.old} → {found.new}: {total} cells, {unchanged} unchanged"]
    text += [f"  note: {caveat}" for caveat in found.caveats]
    for change, head in _HEADS.items():
        entries = [entry for entry in found.entries if entry.change is change]
        if entries:
            text += ["", click.style(f"{head} ({len(entries)})", bold=True, fg=_COLORS.get(change))]
            text += [f"  {line}" for line in output.table(("test", "cell", "was", "is", ""), map(_row, entries))[1:]]
    if not found.entries:
        text.append("no cell changed its verdict")
    if not any(entry.change in BAD for entry in found.entries):
        text += ["", "no regression"]
    return text


def _row(entry: Entry) -> tuple[str, ...]:
    kernels = entry.new_kernel if entry.old_kernel == entry.new_kernel else f"{entry.old_kernel} → {entry.new_kernel}"
    reason = entry.new.reason if entry.new is not None else ""
    if entry.is_test_changed:
        reason = f"(the test itself changed) {reason}"
    cells = (
        entry.title,
        f"{kernels} {entry.arch} {entry.mode}",
        entry.old.status.value if entry.old is not None else "-",
        entry.new.status.value if entry.new is not None else "-",
        reason,
    )
    return tuple(_one_line(cell) for cell in cells)


def _one_line(text: str) -> str:
    """Keep the first line, without the control characters that a guest may have put into it."""
    return visible(text.strip().partition("\n")[0][:_CELL_CHARACTERS_MAX])
