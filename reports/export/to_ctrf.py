"""Results as CTRF, the Common Test Report Format (ctrf.io): one document, a test per cell.

The format has no place for kernels, so that each test has its own in `labels`; what else has no place is in `extra`.
"""

import json
from datetime import datetime
from typing import Any

from reports.export.outcomes import OUTCOMES, Cell, Outcome, cells, holes
from reports.export.texts import (
    clean,
    evidence,
    facts,
    kernel_messages,
    message,
    named,
    observed,
    one_line,
    seconds,
    stamp,
)
from reports.provenance import with_provenance
from reports.records import Attempt, Result, Results

SPEC_VERSION = "0.0.0"
# `pending` waits to be run and `skipped` was left out on purpose: neither is what a hole is.
STATUSES = {
    Outcome.PASSED: "passed",
    Outcome.FAILED: "failed",
    Outcome.UNDECIDED: "failed",
    Outcome.LACKING: "skipped",
    Outcome.DECLINED: "skipped",
    Outcome.MISSING: "other",
}
_COUNTED = ("passed", "failed", "skipped", "pending", "other")


def export(results: Results) -> bytes:
    """Write results as a CTRF document."""
    tests = [_test(cell) for cell in cells(results)]
    missing = holes(results)
    if missing:
        tests.insert(0, _run(missing))
    counts = {status: sum(test["status"] == status for test in tests) for status in _COUNTED}
    start, stop = _milliseconds(results.started), _stop(results)
    generator = results.generator
    tool: dict[str, Any] = {"name": named(generator.name) or "uring-matrix", "version": named(generator.version)}
    document: dict[str, Any] = {
        "reportFormat": "CTRF",
        "specVersion": SPEC_VERSION,
        "generatedBy": "uring-matrix",
        "runId": stamp(results.started),
        **({"timestamp": stamp(results.finished)} if results.finished else {}),
        "results": {
            "tool": tool,
            "summary": {
                "tests": len(tests),
                **counts,
                "flaky": sum(test.get("flaky", False) for test in tests),
                "suites": len({tuple(test["suite"]) for test in tests}),
                "start": start,
                "stop": stop,
                "duration": stop - start,
            },
            "tests": tests,
            "environment": {
                "osPlatform": "linux",
                # As far as verdicts go: a file with a hole or with nothing in it says nothing good.
                "healthy": not missing and not counts["other"],
                "extra": {"complete": results.complete, "holes": [one_line(text) for text in missing]},
            },
            "extra": {
                "kernels": [facts(with_provenance(kernel, results)) for kernel in results.kernels],
                "command": [named(word) for word in results.command],
                "notes": [one_line(note) for note in results.notes],
            },
        },
    }
    if generator.commit:
        document["results"]["tool"]["extra"] = {"commit": named(generator.commit)}
    return json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False).encode("utf-8") + b"\n"


def _run(missing: list[str]) -> dict[str, Any]:
    """Make a test of what no cell says: many readers look at tests only."""
    text = "\n".join(missing)
    return {
        "name": "run is complete",
        "testId": "run/complete",
        "status": "other",
        "rawStatus": "incomplete",
        "duration": 0,
        "suite": ["run"],
        "message": one_line(text),
        "trace": clean(text),
    }


def _test(cell: Cell) -> dict[str, Any]:
    row, test = cell.row, cell.test
    known = facts(cell.kernel)
    labels = {
        "kernel": named(row.kernel),
        "arch": named(row.arch),
        "mode": named(row.mode),
        **{name: known[name] for name in ("series", "release", "distribution", "package_version") if name in known},
        "kind": named(test.kind),
        **({"symbols": [named(one) for one in test.symbols]} if test.symbols else {}),
        **({"since": named(test.since)} if test.since else {}),
    }
    document: dict[str, Any] = {
        "name": named(cell.name),
        "testId": "/".join(map(named, row.key)),
        "status": STATUSES[cell.outcome],
        "rawStatus": str(row.status),
        "duration": _duration(row.duration_s),
        "suite": [named(row.kernel), named(row.mode), *([named(test.group)] if test.group else [])],
        "tags": [named(one) for one in row.qualifiers],
        "labels": labels,
        "extra": _extra(cell),
    }
    if cell.outcome is not Outcome.PASSED:
        document["message"] = message(cell)
        document |= _retries(row)
    for name, text in (("trace", evidence(cell)), ("snippet", clean(test.code or ""))):
        if text and cell.outcome is not Outcome.PASSED:
            document[name] = text
    if row.started is not None:
        document["start"] = _milliseconds(row.started)
        document["stop"] = document["start"] + document["duration"]
    if cell.is_flaky:
        document["flaky"] = True
    if row.output:
        document["stdout"] = clean(row.output).splitlines()
    file, _, line = (test.source or "").rpartition(":")
    if file and line.isascii() and line.isdigit():
        document |= {"filePath": named(file), "line": int(line)}
    return document


def _extra(cell: Cell) -> dict[str, Any]:
    row = cell.row
    extra: dict[str, Any] = {"expectation": str(cell.expectation), "run": stamp(cell.kernel.started)}
    texts = {
        "reason": row.reason,
        "expected": row.expected,
        "actual": row.actual,
        "kernel_messages": kernel_messages(cell),
        "reproduce": row.reproduce,
    }
    extra |= {name: clean(text) for name, text in texts.items() if text}
    extra |= observed(row)
    if cell.outcome is Outcome.PASSED and row.evidence:
        extra["evidence"] = evidence(cell)
    if row.attempts:
        extra["attempts"] = [str(attempt.status) for attempt in row.attempts]
    return extra


def _retries(row: Result) -> dict[str, Any]:
    """All attempts but the last. A pass has none here: readers of the format take a pass with retries for flaky."""
    earlier = row.attempts[:-1]
    if not earlier:
        return {}
    return {"retries": len(earlier), "retryAttempts": [_attempt(one, at) for at, one in enumerate(earlier, 1)]}


def _attempt(attempt: Attempt, number: int) -> dict[str, Any]:
    document: dict[str, Any] = {"attempt": number, "status": STATUSES[OUTCOMES[attempt.status]]}
    if attempt.duration_s is not None:
        document["duration"] = _duration(attempt.duration_s)
    if attempt.started is not None:
        document["start"] = _milliseconds(attempt.started)
    document["message"] = one_line(f"{attempt.status}: {attempt.reason}" if attempt.reason else str(attempt.status))
    if trace := clean("\n".join([*attempt.evidence, *attempt.dmesg])):
        document["trace"] = trace
    return document


def _stop(results: Results) -> int:
    """When the run ended; of one that did not, when its last row was there."""
    if results.finished is not None:
        return _milliseconds(results.finished)
    ends = [_milliseconds(row.started) + _duration(row.duration_s) for row in results.results if row.started]
    return max([_milliseconds(results.started), *ends])


def _milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1000)


def _duration(duration_s: float | None) -> int:
    return round(seconds(duration_s) * 1000)
