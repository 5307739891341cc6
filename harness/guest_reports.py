"""What guests report of items, as this machine's pytest would have reported it."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any, cast

import pytest
from _pytest._code.code import TerminalRepr
from _pytest._io import TerminalWriter

from harness import guest_warnings
from harness.report_attributes import ADDED_KEYWORDS, FAILED_SUBTESTS, IS_DRAWN
from harness.source_tree import SourceTree


class GuestReports:
    """Makes reports and warnings of what guests send."""

    def __init__(self, config: pytest.Config, tree: SourceTree) -> None:
        self._config = config
        self._tree = tree
        # Of the item in hand, whose reports come one after another.
        self._item: pytest.Item | None = None
        self._keywords: dict[str, int] = {}

    def report(self, item: pytest.Item, data: dict[str, Any]) -> pytest.TestReport:
        """A report of the guest's, with what the host knows better, or as well."""
        if item is not self._item:
            self._item, self._keywords = item, dict.fromkeys(item.keywords, 1)
        known = {
            "nodeid": item.nodeid,
            "location": item.location,
            "keywords": self._keywords | dict.fromkeys(data.get(ADDED_KEYWORDS, ()), 1),
            "longrepr": None,
            "stop": data["start"] + data["duration"],
            # Those of other kinds, subtests' say, name theirs.
            **({} if "_report_type" in data else {"$report_type": "TestReport"}),
        }
        report = self._config.hook.pytest_report_from_serializable(config=self._config, data=known | data)
        if isinstance(report.longrepr, list):  # a skip's (path, line, reason), after a trip through JSON
            path, *rest = report.longrepr
            report.longrepr = (self._tree.host_path(path), *rest)
        if data.get(IS_DRAWN):
            report.longrepr = Drawn(str(report.longrepr))
        if (context := data.get("_subtest.context")) is not None:  # pytest quotes what was quoted already
            object.__setattr__(report.context, "kwargs", context["kwargs"])
        if (count := data.get(FAILED_SUBTESTS)) is not None:
            from _pytest.subtests import failed_subtests_key  # noqa: PLC0415 - who counted them has it, too

            self._config.stash[failed_subtests_key][getattr(report, "id", report.nodeid)] = count
        capture = self._config.getoption("capture")
        if capture in {"no", "tee-sys"}:
            _print_captured(report, is_kept=capture != "no")
        return cast(pytest.TestReport, report)

    def tell_warnings(self, item: pytest.Item, warnings: Iterable[Mapping[str, Any]]) -> None:
        """Have pytest sum up Python's warnings of an item."""
        for data in warnings:
            location = data["location"]
            self._config.hook.pytest_warning_recorded.call_historic(
                kwargs={
                    "warning_message": guest_warnings.read(data, self._tree),
                    "when": data["when"],
                    "nodeid": item.nodeid,
                    "location": tuple(location) if location is not None else None,
                }
            )


class Drawn(TerminalRepr):
    """What an object of pytest's drew in a guest: neither a text that a test gave, nor one with a place of its own."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text

    def toterminal(self, tw: TerminalWriter) -> None:
        """Draw it here."""
        for line in self._text.splitlines():
            tw.line(line)


def synthetic(item: pytest.Item, when: str, outcome: str, text: str | tuple[str, int, str] | None) -> pytest.TestReport:
    """A report of a phase that no guest reported."""
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome=cast(Any, outcome),
        longrepr=text,
        when=cast(Any, when),
    )


def _print_captured(report: pytest.TestReport, *, is_kept: bool) -> None:
    """With `-s` a test's output is not kept, but printed; with `--capture=tee-sys` both."""
    for name, text in report.sections:
        if name in {f"Captured stdout {report.when}", f"Captured stderr {report.when}"}:
            stream = sys.stderr if "stderr" in name else sys.stdout
            stream.write(text)
            stream.flush()
    if not is_kept:
        report.sections = [section for section in report.sections if not section[0].startswith("Captured std")]
