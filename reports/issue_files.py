"""Reads known-issues.toml: what people know not to pass, kernel by kernel."""

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reports.errors import ResultsError
from reports.expectation import FAILURES
from reports.known_issues import FLAKY, ends, point
from reports.records import KnownIssue, Status

# Key of the file to field of the record.
_LISTS = {
    "test": "tests",
    "status": "status",
    "series": "series",
    "release": "releases",
    "package-version": "package_versions",
    "mode": "modes",
}
_TEXTS = ("reason", "link")
_KEYS = (*_LISTS, *_TEXTS)
_KERNELS = ("series", "release", "package-version")
# What a run does not expect, and somebody can know; the other verdicts are no trouble, or say nothing of the kernel.
STATUSES = (*(str(status) for status in Status if status in FAILURES or status is Status.UNSUPPORTED), FLAKY)


def read_known_issues(paths: Iterable[Path]) -> tuple[KnownIssue, ...]:
    """Read files of known issues, one behind the other.

    Raises:
        ResultsError: one cannot be read, or cannot be meant; the message names the file and the entry.
    """
    return tuple(issue for path in paths for issue in _read(path))


def _read(path: Path) -> list[KnownIssue]:
    try:
        document = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ResultsError(f"{path} is no TOML: {error}; mend the file.") from error
    for name in document:
        if name != "issue":
            raise ResultsError(
                f"{path}: {name!r} is nothing that a file of known issues has; each entry is an [[issue]]."
            )
    entries = document.get("issue", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ResultsError(f"{path}: issue has to be a list of tables, each written as [[issue]].")
    return [_issue(entry, f"{path}: issue {number}") for number, entry in enumerate(entries, 1)]


def _issue(entry: dict[str, Any], where: str) -> KnownIssue:
    for name in entry:
        if name not in _KEYS:
            near = difflib.get_close_matches(name, _KEYS, n=1, cutoff=0.5)
            meant = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(_KEYS)}"
            raise ResultsError(f"{where}: {name!r} is no key of an issue; {meant}")
    for name in ("test", "status", "reason"):
        if name not in entry:
            raise ResultsError(
                f"{where} has no {name!r}: it takes test, status, reason, and which kernels it is about."
            )
    if not any(name in entry for name in _KERNELS):
        raise ResultsError(
            f'{where} names no kernels: add series (as "6.16..7.1"; "5.1.." for all), release or package-version.'
        )
    values: dict[str, Any] = {
        field: _texts(entry[name], f"{where}: {name}") for name, field in _LISTS.items() if name in entry
    }
    for name in _TEXTS:
        if name in entry:
            if not isinstance(entry[name], str) or not entry[name].strip():
                raise ResultsError(f"{where}: {name} is {entry[name]!r}; it has to be a text.")
            values[name] = entry[name].strip()
    for status in values["status"]:
        if status not in STATUSES:
            near = difflib.get_close_matches(status, STATUSES, n=1, cutoff=0.5)
            meant = f"did you mean {near[0]!r}?" if near else f"it has to be of {', '.join(STATUSES)}"
            raise ResultsError(f"{where}: {status!r} is no verdict that can be a known issue; {meant}")
    for text in values.get("series", ()):
        _check_series(text, where)
    return KnownIssue(**values)


def _texts(value: object, where: str) -> tuple[str, ...]:
    """One text stands for a list of it."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) and one.strip() for one in texts):
        raise ResultsError(f"{where} is {value!r}; it has to be a text, or a list of texts.")
    return tuple(one.strip() for one in texts)


def _check_series(text: str, where: str) -> None:
    first, last = ends(text)
    found = [point(one) for one in (first, last) if one]
    if not found or None in found:
        raise ResultsError(
            f"{where}: series {text!r} is no range; write 6.16, 6.16..7.1, 6.16.. or ..7.1, or 6.17.11..6.17.13"
        )
    points = [one for one in found if one is not None]
    # Point releases of different series have no order: 6.12.50 may be newer than 6.17.1.
    is_whole = len(points) == 2 and points[0][:2] == points[1][:2] and None not in (points[0][2], points[1][2])
    if any(one[2] is not None for one in points) and not is_whole:
        raise ResultsError(
            f"{where}: series {text!r} is a range of point releases, which is of one series and has both ends; "
            'write a list with one for each: ["6.17.11..6.17.13", "6.18.0..6.18.2"]'
        )
    if len(points) == 2 and points[0] > points[1]:
        raise ResultsError(f"{where}: series {text!r} ends before it begins")
