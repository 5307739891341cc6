"""What a file of results lists and has no row of: a hole, and never something that nothing is wrong with.

Every run writes a row for each cell that it planned. A file that lacks some was cut after it was written.
"""

from collections.abc import Iterator
from operator import attrgetter

import msgspec

from reports.records import CellKey, Result, Results, Status

_REASON = "the file lists it, and has no row of it"


def with_holes(results: Results) -> Results:
    """Put a row without a verdict where a file has lost those of a whole kernel, test or mode.

    Args:
        results: as the file has them, with the number of its cells if its writer said it.

    Returns:
        The same where nothing is lost. Else results that are not complete, with a note that says why.
    """
    bare = {}
    for kind, records in (("kernel", results.kernels), ("test", results.tests), ("mode", results.modes)):
        there = set(map(attrgetter(kind), results.results))
        bare[kind] = [record.id for record in records if record.id not in there]
    notes = [f"the file lists {kind} {name}, and has no row of it" for kind, names in bare.items() for name in names]
    if notes and not results.results:
        notes = ["the file has no row of anything that it lists"]
    if results.cells is not None and results.cells > len(results.results):
        lost = results.cells - len(results.results)
        notes.append(
            f"the file was written with {_cells(results.cells)}, and {_cells(lost)} {'is' if lost == 1 else 'are'} gone"
        )
    whole = msgspec.structs.replace(results, cells=None)
    if not notes:
        return whole
    known = {row.key for row in results.results}
    added = (
        Result(**key._asdict(), status=Status.NOTRUN, reason=_REASON)
        for key in _cells_of(results, bare)
        if key not in known
    )
    return msgspec.structs.replace(
        whole,
        results=(*results.results, *added),
        complete=False,
        notes=tuple(dict.fromkeys((*results.notes, *notes))),
    )


def _cells_of(results: Results, bare: dict[str, list[str]]) -> Iterator[CellKey]:
    for kernel in results.kernels:
        for test in results.tests:
            for mode in results.modes:
                if kernel.id in bare["kernel"] or test.id in bare["test"] or mode.id in bare["mode"]:
                    yield CellKey(test.id, kernel.id, kernel.arch, mode.id)


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count:,} cells"
