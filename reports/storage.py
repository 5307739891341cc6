"""Read and write results.json: errors a user can act on, and never half a file."""

import os
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from reports.errors import DamagedError, ResultsError
from reports.events import fold
from reports.holes import with_holes
from reports.ours import JOURNAL, RESULTS
from reports.records import SCHEMA_VERSION, Record, Results
from reports.sentences import resume_sentence


class _Head(msgspec.Struct):
    """The one field that every version of the file has."""

    schema_version: int | None = None


def encode(record: Record) -> bytes:
    """Encode a record as JSON on one line. Text that is no valid Unicode is escaped rather than refused."""
    try:
        return msgspec.json.encode(record)
    except UnicodeEncodeError:
        return msgspec.json.encode(_escape_surrogates(msgspec.to_builtins(record)))


def _escape_surrogates(value: Any) -> Any:
    """Replace lone surrogates (undecodable bytes of a console or of dmesg) by a readable escape."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_escape_surrogates(key): _escape_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_escape_surrogates(item) for item in value]
    return value


def decode(content: bytes, name: str) -> Results:
    """Decode and check the content of a results.json. What it lists and has no row of gets one without a verdict.

    Args:
        content: the file's bytes.
        name: how messages call the file.

    Raises:
        ResultsError: not JSON, not of this schema version, or rows that contradict each other.
    """
    try:
        head = msgspec.json.decode(content, type=_Head)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedError(
            f"{name} is not a results.json: {error}. Was the file cut off, or is it another file?",
            "Name a results.json that `uring-matrix run` wrote.",
        ) from error
    if head.schema_version is None:
        raise ResultsError(f"{name} has no schema_version: it is JSON, but not a results.json of uring-matrix.")
    if head.schema_version != SCHEMA_VERSION:
        raise ResultsError(
            f"{name} has schema_version {head.schema_version}; this version of uring-matrix reads {SCHEMA_VERSION}. "
            "Read it with the version that wrote it, or run the matrix again."
        )
    try:
        results = msgspec.json.decode(content, type=Results)
    except msgspec.ValidationError as error:
        raise ResultsError(f"{name} breaks the results schema: {error}. See reports/results.schema.json.") from error
    problems = list(inconsistencies(results))
    if problems:
        shown = "; ".join(problems[:3]) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
        raise ResultsError(f"{name} contradicts itself: {shown}. Run the matrix again, or mend the file.")
    return with_holes(results)


def inconsistencies(results: Results) -> Iterable[str]:
    """Yield what no schema can say: ids given twice, rows about unknown things, two rows for one cell."""
    known = {}
    for kind, records in (("kernel", results.kernels), ("test", results.tests), ("mode", results.modes)):
        counts = Counter(record.id for record in records)
        known[kind] = counts.keys()
        yield from (f"{kind} id {name!r} is there {count} times" for name, count in counts.items() if count > 1)
    for row in results.results:
        for kind, name in (("kernel", row.kernel), ("test", row.test), ("mode", row.mode)):
            if name not in known[kind]:
                yield f"a row is about {kind} {name!r}, which is not listed"
    rows = Counter(row.key for row in results.results)
    yield from (f"{count} rows for {'/'.join(key)}" for key, count in rows.items() if count > 1)
    if results.complete and any(row.status == "notrun" for row in results.results):
        yield "it says complete, and yet has cells that were not run"


def read(path: str | os.PathLike[str]) -> Results:
    """Read a results.json, or the results.json in a directory.

    Raises:
        ResultsError: the file is not there, cannot be read, or is no usable results.json.
    """
    file = Path(path)
    if file.is_dir():
        file /= RESULTS
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        aside = file.with_name(f".{file.name}.earlier")
        if aside.exists():
            raise ResultsError(
                f"There is no {file}: a run goes on there, or was killed before its first verdict. What an earlier one "
                f"found is in {aside}; the next run puts it back."
            ) from error
        if (go_on := _how_to_go_on(file)) is not None:
            raise ResultsError(f"There is no {file}: a run goes on there, or was killed; {go_on}.") from error
        raise ResultsError(f"There is no {file}. `uring-matrix run --out DIR` writes DIR/results.json.") from error
    except OSError as error:
        raise ResultsError(f"{file} cannot be read: {error.strerror or error}.") from error
    try:
        return decode(content, str(file))
    except DamagedError as error:
        if (go_on := _how_to_go_on(file)) is None:
            raise
        raise DamagedError(error.what, f"The run's {JOURNAL} lies beside it; {go_on}.") from error


def _how_to_go_on(file: Path) -> str | None:
    """Name the command that writes a results.json anew, where its run's journal lies beside it."""
    if file.name != RESULTS:
        return None
    try:
        found = fold(file.with_name(JOURNAL))
    except ResultsError:
        return None
    return resume_sentence(msgspec.structs.replace(found, complete=False))


def write(path: str | os.PathLike[str], results: Results) -> None:
    """Write a results.json as a whole or not at all.

    Raises:
        ResultsError: the results contradict themselves, or the file cannot be written; an older file is kept.
    """
    problems = list(inconsistencies(results))
    if problems:
        raise ResultsError(f"Refusing to write {path}: {'; '.join(problems[:3])}.")
    counted = msgspec.structs.replace(results, cells=len(results.results))
    write_atomically(Path(path), msgspec.json.format(encode(counted), indent=1) + b"\n")


def write_atomically(path: Path, content: bytes, *, is_synced: bool = True) -> None:
    """Write a file through a temporary one in the same directory, so that readers see the old or the new content.

    Args:
        path: the file; missing directories are made.
        content: all of it.
        is_synced: wait until the content is on the disk before the old file goes.

    Raises:
        ResultsError: it could not be written (disk full, read-only, ...); nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            if is_synced:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise ResultsError(
                f"{path} could not be written: {error.strerror or error}. What was there before is unchanged; "
                "make room or choose another directory for the results."
            ) from error
        raise
