"""Results as JUnit XML: a suite per kernel and mode, a case per cell, as pytest names its items.

The schema is that of Jenkins' xUnit plugin; what is written is in the part of it that every other reader knows, too.
"""

from collections.abc import Iterable
from xml.etree import ElementTree

from reports.export.outcomes import Cell, Outcome, cells, holes
from reports.export.texts import (
    about,
    clean,
    evidence,
    facts,
    kernel_messages,
    message,
    named,
    one_line,
    seconds,
    stamp,
)
from reports.records import Kernel, Results

# A case without one of these has passed.
ELEMENTS = {
    Outcome.PASSED: None,
    Outcome.FAILED: "failure",
    Outcome.UNDECIDED: "error",
    Outcome.LACKING: "skipped",
    Outcome.DECLINED: "skipped",
    Outcome.MISSING: "error",
}


def export(results: Results) -> bytes:
    """Write results as JUnit XML."""
    suites: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells(results):
        suites.setdefault((cell.row.kernel, cell.row.mode), []).append(cell)
    root = ElementTree.Element("testsuites", name=one_line(results.generator.name))
    missing = holes(results)
    if missing:
        root.append(_run(missing))
    for (kernel, mode), found in suites.items():
        root.append(_suite(f"{kernel}-{mode}", found))
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    ElementTree.indent(root)
    text: str = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'.encode()


def _run(missing: Iterable[str]) -> ElementTree.Element:
    """Make a suite of what no cell says: readers of this format look at cases only."""
    suite = ElementTree.Element("testsuite", name="run", tests="1", failures="0", errors="1", skipped="0")
    case = ElementTree.SubElement(suite, "testcase", classname="run", name="complete", time="0.000")
    text = "\n".join(missing)
    error = ElementTree.SubElement(case, "error", type="incomplete", message=one_line(text))
    error.text = clean(text)
    return suite


def _suite(name: str, found: list[Cell]) -> ElementTree.Element:
    cases = [_case(cell) for cell in found]
    counts = {tag: sum(case.find(tag) is not None for case in cases) for tag in ("failure", "error", "skipped")}
    suite = ElementTree.Element(
        "testsuite",
        name=named(name),
        tests=str(len(cases)),
        failures=str(counts["failure"]),
        errors=str(counts["error"]),
        skipped=str(counts["skipped"]),
        time=f"{sum(seconds(cell.row.duration_s) for cell in found):.3f}",
    )
    # Where a column has rows of several runs, theirs are named in the cases.
    kernel = next((cell.kernel for cell in found if cell.row.run is None), found[0].kernel)
    started = stamp(kernel.started)
    if started is not None:
        suite.set("timestamp", started)
    suite.append(_properties(kernel, found[0].row.mode, found[0].mode.flags))
    suite.extend(cases)
    return suite


def _properties(kernel: Kernel, mode: str, flags: Iterable[str]) -> ElementTree.Element:
    element = ElementTree.Element("properties")
    known = {**facts(kernel), "mode": named(mode), "mode_flags": named(" ".join(flags))}
    for name, value in known.items():
        ElementTree.SubElement(element, "property", name=name, value=value)
    return element


def _case(cell: Cell) -> ElementTree.Element:
    row = cell.row
    took = f"{seconds(row.duration_s):.3f}"
    case = ElementTree.Element("testcase", classname=_class(cell), name=named(cell.name), time=took)
    tag = ELEMENTS[cell.outcome]
    if tag is not None:
        element = ElementTree.SubElement(case, tag, type=str(row.status), message=message(cell))
        element.text = evidence(cell) or None
    parts = [about(cell), evidence(cell) if tag is None else "", clean(row.output)]
    ElementTree.SubElement(case, "system-out").text = "\n\n".join(part for part in parts if part)
    if messages := kernel_messages(cell):
        ElementTree.SubElement(case, "system-err").text = messages
    return case


def _class(cell: Cell) -> str:
    """The file that a test is in, as pytest's own JUnit file has it."""
    place = cell.test.node or cell.test.source or cell.test.group or "tests"
    file = place.partition("::")[0].partition(":")[0]
    return named(file.removesuffix(".py").replace("/", "."))
