"""The changes that break a kernel, as data: one small one in `io_uring/` each. Read from `changes/*.toml`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHANGES = Path(__file__).with_name("changes")
# What a change says of one source differently, stands under one of these; `latest` is the newest that Debian has.
OLDEST, LATEST = "6.1", "latest"
SOURCES = (OLDEST, LATEST)
_FIELDS = {"id", "area", "title", "seen", "about"}
_PLACE = ("file", "scope", "old", "new")
_KNOWN = {*_FIELDS, *_PLACE, *SOURCES, "only", "undetectable", "kept_aside"}
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class ChangeError(Exception):
    """The data contradict themselves, or do not fit a source."""


@dataclass(frozen=True, slots=True)
class KernelChange:
    """One change to one source.

    Attributes:
        id: short, unique.
        area: what it is about, in a word or two.
        title: what the kernel does wrong.
        seen: what a program sees of it.
        about: names of the API, of which a test that is about it exercises one (its `symbols`); or names of such tests.
        file: below `io_uring/`.
        scope: the function or table there that has the text.
        old: text that occurs once in it.
        new: what takes its place.
        undetectable: why no program can tell; empty if one can.
        kept_aside: whether it is for trying the suite, and not for writing it.
    """

    id: str
    area: str
    title: str
    seen: str
    about: tuple[str, ...]
    file: str
    scope: str
    old: str
    new: str
    undetectable: str = ""
    kept_aside: bool = False

    def apply(self, text: str) -> str:
        """Make the change in the text of its file.

        Raises:
            ChangeError: the text is not there, or not once.
        """
        begin, end = definition(text, self.scope)
        body = text[begin:end]
        if (count := body.count(self.old)) != 1:
            raise ChangeError(f"{self.id}: {self.scope} of {self.file} has its text {count} times instead of once")
        return text[:begin] + body.replace(self.old, self.new) + text[end:]


def definition(text: str, scope: str) -> tuple[int, int]:
    """Where a function or a table is defined in a C file of the kernel's layout: from its first line to its last.

    Raises:
        ChangeError: it is not, or more than once (of functions that are there twice for `#ifdef`, the first counts).
    """
    # Behind a function's name comes its list of arguments, behind a table's its size or its content; else it is a type.
    head = re.compile(rf"^(?![ \t#/*]).*\b{re.escape(scope)}\b(?=\s*[(\[=,])", re.MULTILINE)
    for found in head.finditer(text):
        opening = re.compile(r"[{;]").search(text, found.start())
        if opening is None or opening[0] == ";":
            continue  # a declaration
        end = text.find("\n}", opening.start())
        if end >= 0:
            return found.start(), end + 2
    raise ChangeError(f"there is no definition of {scope}")


def read_changes(source: str, folder: Path = CHANGES) -> list[KernelChange]:
    """Read the changes that are for a source.

    Args:
        source: one of `SOURCES`.
        folder: where they are.

    Raises:
        ChangeError: the data contradict themselves.
    """
    entries = [entry for path in sorted(folder.glob("*.toml")) for entry in _read(path)]
    found = [change for entry in entries if (change := _change(entry, source)) is not None]
    ids = [change.id for change in found]
    if twice := sorted({one for one in ids if ids.count(one) > 1}):
        raise ChangeError(f"ids that are there twice: {', '.join(twice)}")
    return found


def choose(changes: Iterable[KernelChange], wanted: Iterable[str]) -> list[KernelChange]:
    """Keep those whose id or area is wanted; all, if nothing is said.

    Raises:
        ChangeError: a word is neither.
    """
    changes, words = list(changes), list(wanted)
    known = {word for change in changes for word in (change.id, change.area)}
    if unknown := sorted(set(words) - known):
        raise ChangeError(f"no change and no area is called {', '.join(unknown)}")
    return [change for change in changes if not words or change.id in words or change.area in words]


def _read(path: Path) -> list[dict[str, Any]]:
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    entries: list[dict[str, Any]] = document["change"]
    if document.get("kept_aside"):
        entries = [{**entry, "kept_aside": True} for entry in entries]
    return entries


def _change(entry: Mapping[str, Any], source: str) -> KernelChange | None:
    name = entry.get("id", "(no id)")
    if unknown := sorted(set(entry) - _KNOWN):
        raise ChangeError(f"{name}: nothing is called {', '.join(unknown)}")
    if missing := sorted(_FIELDS - set(entry)):
        raise ChangeError(f"{name}: it lacks {', '.join(missing)}")
    if not _ID.fullmatch(name):
        raise ChangeError(f"{name}: an id has small letters, digits and hyphens")
    if entry.get("only", source) not in SOURCES:
        raise ChangeError(f"{name}: only is one of {', '.join(SOURCES)}")
    if entry.get("only", source) != source:
        return None
    place = {key: value for one in (entry, entry.get(source, {})) for key, value in one.items() if key in _PLACE}
    if missing := [key for key in _PLACE if key not in place]:
        raise ChangeError(f"{name}: for {source} it lacks {', '.join(missing)}")
    if place["old"] == place["new"]:
        raise ChangeError(f"{name}: it changes nothing")
    words = {key: value for key, value in entry.items() if key in {*_FIELDS, "undetectable", "kept_aside"}}
    return KernelChange(**{**words, "about": tuple(entry["about"])}, **place)
