"""`uring-matrix findings`: what results say that nobody documents, as Markdown."""

from pathlib import Path

from conformance.capabilities.explanations import explanations
from reports.errors import ResultsError
from reports.findings import Explanation
from reports.findings import findings as find
from reports.findings_text import text
from reports.results import read, write_atomically
from uring_matrix import output


def findings(results: Path, out: Path | None) -> int:
    """Write what results say beside the documentation.

    Args:
        results: a results.json, or a directory that holds one.
        out: the file; None for standard output.

    Raises:
        ResultsError: the results cannot be used, or the file cannot be written.
    """
    found = read(results)
    content = text(find(found, [Explanation(**one) for one in explanations()]), found)
    if out is None:
        output.say(content.rstrip("\n"))
        return output.EXPECTED
    if out.exists() and not out.read_text(errors="replace").startswith(content.partition("\n")[0]):
        raise ResultsError(f"{out} is no list of findings, and would be replaced: choose another name for --out.")
    write_atomically(out, content.encode())
    output.say(str(out))
    return output.EXPECTED
