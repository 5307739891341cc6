"""Files that commands write into a directory, and how each is known to be one of ours: nobody else's is replaced.

A name of its own says nothing: `index.html` is what everybody calls a page. Ours are known by what they begin with.
"""

import re
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from reports.errors import ResultsError

# Every page carries it, so that a later run knows which pages it may remove.
MARK = '<meta name="generator" content="uring-matrix">'
_WITHIN_BYTES = 1024
RESULTS, JOURNAL = "results.json", "results.jsonl"
# What a site has for programs: shown elsewhere, an old one would speak of the results that take its place.
ANSWERS = ("can.json", "badge.svg")
# What a site has at fixed places. It is made of results.json, which lies beside it.
SITE = (RESULTS, "index.html", "all.html", *ANSWERS)

# What stands near the beginning of ours, by name, or by what a page's name ends with.
_SIGNS: Mapping[str, tuple[bytes, ...]] = {
    ".html": (MARK.encode(),),
    RESULTS: (b'"schema_version"', b'"uring-matrix"'),
    JOURNAL: (b'{"event":"start"', b'"uring-matrix"'),
    "can.json": (b'"schema_version"', b'"uring-matrix"'),
    "badge.svg": (b'aria-label="io_uring: ',),
    "junit.xml": (b'<?xml version="1.0" encoding="utf-8"?>\n<testsuites name="uring-matrix"',),
    "ctrf.json": (b'{\n "reportFormat": "CTRF",\n "specVersion": "0.0.0",\n "generatedBy": "uring-matrix"',),
    "kcidb.json": (b'{\n "version": {\n  "major": 5,\n  "minor": 3\n },\n "checkouts": [',),
    "results.csv": (b"test,kernel,arch,mode,status,qualifiers,expectation,outcome,reason,",),
}
# What a guest leaves in a directory of its own, and what `report` calls the copy of a console.
_OF_GUESTS = ("console.txt", "qemu.txt")
_COPY = re.compile(r"[0-9]+-consoles-.+")


def is_ours(path: Path) -> bool:
    """Whether a file of a name that we use is one of ours.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            beginning = file.read(_WITHIN_BYTES)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False
    signs = _SIGNS.get(path.name) or _SIGNS.get(path.suffix)
    return signs is not None and all(sign in beginning for sign in signs)


def refuse_foreign(directory: Path, names: Iterable[str]) -> None:
    """Refuse to write where somebody else's file would be replaced.

    Args:
        directory: where to.
        names: the files that are going to be written, relative to it.

    Raises:
        ResultsError: a file of one of these names is not ours. An empty one has nothing to lose.
    """
    for path in (directory / name for name in names):
        if _is_foreign(path):
            raise ResultsError(
                f"{path} is in the way: uring-matrix did not write it, and would replace it. Nothing was done. Move it "
                "away, or choose another directory with --out."
            )


def _is_foreign(path: Path) -> bool:
    try:
        status = path.stat()
        return (status.st_size > 0 or not stat.S_ISREG(status.st_mode)) and not is_ours(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ResultsError(
            f"{path} is in the way, and cannot be read: {error.strerror or error}. Nothing was done. Move it away, or "
            "choose another directory with --out."
        ) from error


def remove_consoles(place: Path) -> None:
    """Remove what guests left, or a console that `report` copied. Files of any other origin are left alone.

    Args:
        place: a guest's directory, or a file, among the consoles.
    """
    with suppress(OSError):
        if place.is_dir() and not place.is_symlink():
            for name in _OF_GUESTS:
                (place / name).unlink(missing_ok=True)
            place.rmdir()  # unless somebody put something there
        elif _COPY.fullmatch(place.name):
            place.unlink()
