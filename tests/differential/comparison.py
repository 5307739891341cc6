"""Compares two runs of pytest: outcomes, messages, sections, warnings, junit, and what stands on the screen."""

import collections
import dataclasses
import difflib
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from case_runner import Observation
from differences import normalised

_LINES_MAX = 14
_WIDTH_MAX = 220
# In the order in which they are compared and told.
_ASPECTS = (
    "internal error",
    "collection",
    "items",
    "deselected",
    "outcome",
    "longrepr",
    "sections",
    "properties",
    "subtest",
    "keywords",
    "location",
    "warnings",
    "exit code",
    "standard error",
    "junit",
    "screen",
)
# Of an item that ended otherwise.
_CONSEQUENCES = frozenset({"sections", "properties", "keywords", "location"})
# Of junit: when, how long, and where.
_NOT_COMPARED = frozenset({"time", "timestamp", "hostname"})


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """What one run has and the other has not.

    Attributes:
        aspect: what was compared.
        where: the item, if it is about one.
        text: both sides, for a person.
    """

    aspect: str
    where: str
    text: str

    def __str__(self) -> str:
        return (
            f"{self.aspect} {self.where}".rstrip() + "\n" + "\n".join(f"    {line}" for line in self.text.split("\n"))
        )


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """One run with all that may differ replaced.

    Attributes:
        aspects: aspect to item to what is compared; the item is empty where there is none.
        ran_here: the items that ran in pytest's own process.
    """

    aspects: Mapping[str, Mapping[str, Any]]
    ran_here: Sequence[str]


def view(run: Observation, root: str, *, has_kernel: bool, has_order: bool = True) -> View:
    """Take an observation apart, into what is compared.

    Args:
        run: what was seen.
        root: where the project lay.
        has_kernel: whether it ran in a guest.
        has_order: whether the order of items matters.
    """

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return normalised(value, root, has_kernel=has_kernel)
        if isinstance(value, list):
            return [clean(one) for one in value]
        if isinstance(value, dict):
            return {clean(key): clean(one) for key, one in value.items()}
        return value

    records = [clean(record) for record in run.records]
    of_kind = collections.defaultdict(list)
    for record in records:
        of_kind[record.pop("kind")].append(record)
    aspects: dict[str, dict[str, Any]] = {"exit code": {"": run.code}}
    aspects["items"] = {"": _listed(of_kind["items"], has_order)}
    aspects["deselected"] = {"": _listed(of_kind["deselected"], has_order)}
    for record in of_kind["report"]:
        item = record["id"]
        _add(aspects, "outcome", item, f"{record['when']}: {_outcome(record)}")
        for name in ("longrepr", "sections", "properties", "subtest"):
            if record[name] not in (None, [], ""):
                _add(aspects, name, item, f"{record['when']}: {_text(record[name])}")
        aspects.setdefault("keywords", {})[item] = " ".join(sorted({word for word in record["keywords"] if word}))
        aspects.setdefault("location", {})[item] = _text(record["location"])
    for record in of_kind["collect"]:
        _add(aspects, "collection", record["id"], f"{record['outcome']}: {_text(record['longrepr'])}")
    warnings = sorted(json.dumps(record, sort_keys=True) for record in of_kind["warning"])
    aspects["warnings"] = {"": "\n".join(warnings)}
    aspects["internal error"] = {"": "\n".join(record["text"] for record in of_kind["internal"])}
    if run.junit is not None:
        for item, text in _junit(run.junit, clean):
            _add(aspects, "junit", item, text)
    screen, errors = clean(run.screen), clean(run.errors)
    aspects["screen"] = {"": screen if has_order else "\n".join(sorted(screen.splitlines()))}
    aspects["standard error"] = {"": errors}
    return View(aspects, [record["id"] for record in of_kind["here"]])


def compare(plain: View, kernel: View) -> list[Difference]:
    """All differences, none of them excused.

    What follows from others is left out: an item that ends otherwise has other sections, too, and the screen shows all.
    """
    found: list[Difference] = []
    for aspect in sorted({*plain.aspects, *kernel.aspects}, key=_ASPECTS.index):
        one, other = plain.aspects.get(aspect, {}), kernel.aspects.get(aspect, {})
        for where in dict.fromkeys([*one, *other]):
            if one.get(where) != other.get(where) and not _follows(aspect, where, found):
                found.append(Difference(aspect, where, _difference(one.get(where), other.get(where))))
    return found


def _follows(aspect: str, where: str, found: Sequence[Difference]) -> bool:
    """Whether a difference is but the consequence of those that were found before."""
    if aspect in _CONSEQUENCES:
        return any(difference.aspect == "outcome" and difference.where == where for difference in found)
    if aspect == "junit":
        return any(difference.where and where in {"testsuite", _in_junit(difference.where)} for difference in found)
    return aspect == "screen" and bool(found)


def _in_junit(item: str) -> str:
    """How junit names an item."""
    name, bracket, parameters = item.partition("[")
    *names, last = name.split("::")
    path = names[0].removesuffix(".py").replace("/", ".") if names else ""
    return f"{'.'.join([path, *names[1:]])}::{last}{bracket}{parameters}"


def strangers(kernel: View) -> list[Difference]:
    """Items that were meant for a guest, and ran in the host's process."""
    return [Difference("ran on the host", item, "") for item in dict.fromkeys(kernel.ran_here)]


def ending(run: Observation) -> str:
    """How a run ends: the exit code, and pytest's last line without the time."""
    screen = re.sub(r"\x1b\[[\d;]*m", "", run.screen)
    counts = re.findall(r"(?m)^=* ?(\d[^=\n]*|no tests ran) in \d[\d.]*s[^\n]*$", screen)
    return ": ".join([str(run.code), *counts[-1:]])


def _add(aspects: dict[str, dict[str, Any]], aspect: str, where: str, text: str) -> None:
    known = aspects.setdefault(aspect, {})
    known[where] = f"{known[where]}\n{text}" if where in known else text


def _listed(records: Sequence[Mapping[str, Any]], has_order: bool) -> str:
    ids = [item for record in records for item in record["ids"]]
    return "\n".join(ids if has_order else sorted(ids))


def _outcome(record: Mapping[str, Any]) -> str:
    return record["outcome"] + (f", xfail {record['wasxfail']!r}" if record["wasxfail"] is not None else "")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _junit(root: ET.Element, clean: Callable[[Any], Any]) -> Iterator[tuple[str, str]]:
    """Every test case of a junit file, and the suite's own attributes."""

    def attributes(element: ET.Element) -> str:
        known = sorted((name, clean(value)) for name, value in element.items() if name not in _NOT_COMPARED)
        return " ".join(f"{name}={value!r}" for name, value in known)

    for suite in root.iter("testsuite"):
        yield "testsuite", attributes(suite)
        for case in suite.iter("testcase"):
            lines = [attributes(case)]
            lines += [f"{one.tag} {attributes(one)} {clean(one.text or '')}" for one in case.iter() if one is not case]
            yield clean(f"{case.get('classname')}::{case.get('name')}"), "\n".join(lines)


def _difference(plain: Any, kernel: Any) -> str:
    """Both sides, short."""
    if plain is None or kernel is None:
        present = kernel if plain is None else plain
        return f"only {'with' if plain is None else 'without'} the kernel:\n{_gist(str(present))}"
    lines = [
        line
        for line in difflib.unified_diff(str(plain).splitlines(), str(kernel).splitlines(), "plain", "kernel", n=0)
        if not line.startswith(("--- ", "+++ ", "@@"))
    ]
    shown = [_short(line) for line in lines[:_LINES_MAX]]
    if len(lines) > _LINES_MAX:
        shown.append(f"… {len(lines) - _LINES_MAX} more lines")
    return "\n".join(shown) or f"- {plain!r}\n+ {kernel!r}"


def _gist(text: str) -> str:
    """The lines of a failure that say what is wrong, or else its end."""
    lines = text.splitlines()
    errors = [line for line in lines if line.startswith("E  ")] or lines[-4:]
    return "\n".join(_short(line) for line in errors[:6])


def _short(line: str) -> str:
    return line if len(line) <= _WIDTH_MAX else f"{line[:_WIDTH_MAX]}… ({len(line)} characters)"
