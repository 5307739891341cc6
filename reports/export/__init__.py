"""Results in the formats of other tools. Pure functions: the same results give the same bytes.

docs/exports.md says what each verdict becomes in each format. Importing this loads none of them.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, cast

from reports.ours import is_ours
from reports.pages import unlink

if TYPE_CHECKING:
    from reports.records import Results

# Format to the file that holds it
FILES = {"junit": "junit.xml", "ctrf": "ctrf.json", "kcidb": "kcidb.json", "csv": "results.csv"}
# The formats in which whoever submits results has a name
WITH_ORIGIN = frozenset({"kcidb"})


def export(form: str, results: "Results", *, origin: str | None = None) -> bytes:
    """Write results in one of `FILES`.

    Args:
        form: a key of `FILES`.
        results: what to write.
        origin: for the formats of `WITH_ORIGIN`, who says it; None is the format's default.

    Returns:
        The content of the file.

    Raises:
        ResultsError: the origin is none.
    """
    module = importlib.import_module(f"reports.export.to_{form}")
    options = {"origin": origin} if form in WITH_ORIGIN and origin is not None else {}
    return cast(bytes, module.export(results, **options))


def remove_exports(directory: Path) -> None:
    """Remove what was written of results that others take the place of; files of any other origin are left alone.

    Raises:
        ResultsError: a file cannot be removed.
    """
    for name in FILES.values():
        try:
            is_export = is_ours(directory / name)
        except OSError:
            continue  # it is nobody's to remove
        if is_export:
            unlink(directory / name)
