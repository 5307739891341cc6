"""Markers whose argument nobody can mean are errors of their file: a test would go unchecked, and nobody would know."""

import re
from collections.abc import Iterator

import pytest

_VERSION = re.compile(r"\d+\.\d+(\.\d+)?(-rc\d+)?")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """Refuse a file, or a class, that has a test with such a marker."""
    report: pytest.CollectReport = yield  # type: ignore[assignment]
    if report.outcome == "passed":
        wrong = [line for node in report.result if isinstance(node, pytest.Item) for line in _wrong(node)]
        if wrong:
            report.outcome, report.longrepr, report.result = "failed", "\n".join(wrong), []
    return report  # type: ignore[return-value]


def _wrong(item: pytest.Item) -> Iterator[str]:
    for marker in item.iter_markers("since"):
        is_version = len(marker.args) == 1 and isinstance(marker.args[0], str) and _VERSION.fullmatch(marker.args[0])
        if is_version and not marker.kwargs:
            continue
        path, line, _ = item.location
        given = ", ".join([*map(repr, marker.args), *(f"{name}={value!r}" for name, value in marker.kwargs.items())])
        where = path if line is None else f"{path}:{line + 1}"
        yield f"{where}: since({given}) of {item.name} names no kernel version; write it as in since('6.7')"
