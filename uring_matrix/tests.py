"""`uring-matrix tests`: which tests there are, by pytest's own collection; nothing is run, and nothing is written."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import conformance
from harness.cells import split_node_id
from harness.names import TestNames, short_ids
from harness.plugin import CELLS
from harness.rows import describe
from uring_matrix import output
from uring_matrix.run import nobody_elses_plugins

# Count up when a field of the JSON goes or changes its meaning; new fields may come at any time.
SCHEMA_VERSION = 1
_FIELDS = ("title", "group", "since", "symbols", "source", "kind", "zig", "doc")


class _Collected:
    """A pytest plugin in place of pytest's own terminal: describes what was selected, as results would."""

    def __init__(self) -> None:
        self.tests: list[dict[str, Any]] = []
        self.errors: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        """Leave the terminal to us."""
        config.pluginmanager.set_blocked("terminalreporter")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep what could not be collected, and why."""
        if report.failed:
            self.errors.append(f"{report.nodeid}: this file cannot be collected\n{report.longreprtext}")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Describe what was selected."""
        suites = session.config.hook.pytest_matrix_suite()
        recorded = [marker for suite in suites for marker in suite.recorded_markers]
        cells = {cell.id: cell for cell in session.config.stash[CELLS]}
        names = TestNames(session.config, suites, "")
        items = {(split_node_id(item.nodeid, cells) or (item.nodeid,))[0]: item for item in session.items}
        ids = short_ids({name: names.of(name) for name in items}, ())
        for name, item in items.items():
            facts = describe(item, recorded)
            self.tests.append({"id": ids[name], **{field: facts.get(field) for field in _FIELDS}})


def tests(expression: str | None, *, as_json: bool) -> int:
    """List the tests of the suite.

    Args:
        expression: only those that it fits, as pytest's `-k`.
        as_json: write JSON.

    Returns:
        2 where no test fits, or a file cannot be collected.
    """
    found = _Collected()
    home = Path(conformance.__file__).resolve().parent
    arguments = [
        str(home),
        *("-c", str(home / "suite.ini"), "--rootdir", str(home.parent)),
        *("-p", "harness.plugin", "-p", "conformance.plugin", "-p", "no:cacheprovider", "--collect-only"),
        *(("-k", expression) if expression is not None else ()),
    ]
    with _without_traces(), nobody_elses_plugins():
        status = pytest.main(arguments, plugins=[found])
    for text in found.errors:
        output.tell(text)
    if found.errors or status not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        return output.INTERRUPTED if status == pytest.ExitCode.INTERRUPTED and not found.errors else output.USAGE
    if as_json:
        output.say_json({"schema_version": SCHEMA_VERSION, "tests": found.tests})
    elif found.tests:
        for line in lines(found.tests, output.width()):
            output.say(line)
    if not found.tests:
        output.error_line(f"no test is selected by -k {expression!r}" if expression is not None else "no test")
        return output.USAGE
    return output.EXPECTED


@contextlib.contextmanager
def _without_traces() -> Iterator[None]:
    """Have nothing written, and nothing chosen but by us: pytest keeps what it has compiled, and takes options."""
    before, options = sys.dont_write_bytecode, os.environ.pop("PYTEST_ADDOPTS", None)
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
        if options is not None:
            os.environ["PYTEST_ADDOPTS"] = options


def lines(found: Sequence[Mapping[str, Any]], width: int | None) -> list[str]:
    """Write tests in plain text: a line for each where there is room, else a paragraph.

    Args:
        found: as `tests` has them.
        width: of the terminal; None where there is none.
    """
    heads = ("TEST", "SINCE", "GROUP", "TITLE", "SYMBOLS", "SOURCE")
    rows = [
        (
            output.bold(one["id"]),
            one["since"] or "",
            one["group"],
            one["title"],
            ", ".join(one["symbols"]),
            one["source"],
        )
        for one in found
    ]
    if output.fits(laid := output.table(heads, rows), width):
        return laid
    told: list[str] = []
    group = None
    for one in found:
        if one["group"] != group:
            group = one["group"]
            told += [*([""] if told else []), output.bold(group)]
        since = f", since {one['since']}" if one["since"] else ""
        told += output.wrapped(f"{one['id']}: {one['title']}{since}", width)
        for text in (", ".join(one["symbols"]), one["source"]):
            told += output.wrapped(text, width, "  ") if text else []
    return told
