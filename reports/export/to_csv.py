"""Results as CSV (RFC 4180, UTF-8): a row per cell, columns that stay; for spreadsheets and for programs."""

import csv
import io
from collections.abc import Callable

from reports.export.outcomes import Cell, cells
from reports.export.texts import clean, facts, kernel_messages, stamp
from reports.records import Results

# The most that Excel takes in a cell.
CELL_CHARACTERS_MAX = 32_767
# What makes a spreadsheet take a text for a formula, in the form of East Asian keyboards as well.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001

_Value = str | float | None

# Column to its value. Columns keep their names and stay; programs go by the name, for new ones may come.
COLUMNS: dict[str, Callable[[Cell], _Value]] = {
    "test": lambda cell: cell.row.test,
    "kernel": lambda cell: cell.row.kernel,
    "arch": lambda cell: cell.row.arch,
    "mode": lambda cell: cell.row.mode,
    "status": lambda cell: cell.row.status,
    "qualifiers": lambda cell: " ".join(cell.row.qualifiers),
    "expectation": lambda cell: cell.expectation,
    "outcome": lambda cell: cell.outcome,
    "reason": lambda cell: cell.row.reason,
    "expected": lambda cell: cell.row.expected,
    "actual": lambda cell: cell.row.actual,
    "duration_s": lambda cell: cell.row.duration_s,
    "started": lambda cell: stamp(cell.row.started),
    "attempts": lambda cell: " ".join(attempt.status for attempt in cell.row.attempts),
    "title": lambda cell: cell.test.title,
    "group": lambda cell: cell.test.group,
    "kind": lambda cell: cell.test.kind,
    "symbols": lambda cell: " ".join(cell.test.symbols),
    "since": lambda cell: cell.test.since,
    "evidence": lambda cell: "\n".join(cell.row.evidence),
    "kernel_messages": kernel_messages,
    "output": lambda cell: cell.row.output,
    "reproduce": lambda cell: cell.row.reproduce,
    "state": lambda cell: cell.row.state,
    "claimed": lambda cell: None if cell.row.claimed is None else "yes" if cell.row.claimed else "no",
    "value": lambda cell: cell.row.value,
}
# Behind them, what is known of the cell's column: name to the one in `facts`.
COLUMN_FACTS = {
    "kernel_release": "release",
    "kernel_version": "version",
    "distribution": "distribution",
    "package": "package",
    "package_version": "package_version",
    "sha256": "sha256",
    "guest_cpus": "guest_cpus",
    "guest_memory_mib": "guest_memory_mib",
    "guest_append": "guest_append",
    "qemu": "qemu",
    "accel": "accel",
    "generator": "generator",
    "run_started": "started",
    "run_finished": "finished",
}
# At last, whether the file as a whole is that of a complete run
COMPLETE = "complete"
HEAD = (*COLUMNS, *COLUMN_FACTS, COMPLETE)


def export(results: Results) -> bytes:
    """Write results as CSV. Without cells there is the head alone."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(HEAD)
    complete = "yes" if results.complete else "no"
    known: dict[int, list[str]] = {}
    for cell in cells(results):
        if id(cell.kernel) not in known:
            of_column = facts(cell.kernel)
            known[id(cell.kernel)] = [_field(of_column.get(name)) for name in COLUMN_FACTS.values()]
        writer.writerow([*(_field(value(cell)) for value in COLUMNS.values()), *known[id(cell.kernel)], complete])
    return text.getvalue().encode("utf-8")


def _field(value: _Value) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        # An apostrophe in front, as spreadsheets themselves have it, makes text of a formula.
        plain = clean(value, CELL_CHARACTERS_MAX - 1)
        return f"'{plain}" if plain.startswith(_FORMULA) else plain
    return str(value)
