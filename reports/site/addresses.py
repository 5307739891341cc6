"""Where each page of a site is: addresses that stay the same from run to run, whatever names tests and kernels have."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from reports.capabilities import Entry
from reports.distributions import distribution_of, longterm
from reports.matrix import Cell, Line, Matrix
from reports.records import CellKey, Status
from reports.untrusted import slug


@dataclass(frozen=True, slots=True)
class Pair:
    """Two kernels of one architecture that a page compares: indices among the matrix's kernels, the older first."""

    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Addresses:
    """Relative to the site's root."""

    # By the entry's id
    capabilities: Mapping[str, str]
    # By the kernel's id
    kernels: Mapping[str, str]
    pairs: Mapping[Pair, str]
    # Every column of a line, unfolded
    lines: Mapping[Line, str]
    # By identity of the cell; clean passes have none
    evidence: Mapping[int, str]


def addresses(matrix: Matrix, entries: Iterable[Entry]) -> Addresses:
    """Give every page of a site its address."""
    kernels = _unique("kernel", ((kernel.id, slug(kernel.id)) for kernel in matrix.kernels))
    stems = {name: path.removeprefix("kernel/").removesuffix(".html") for name, path in kernels.items()}
    ids = [kernel.id for kernel in matrix.kernels]
    pairs = {pair: f"diff/{stems[ids[pair.before]]}..{stems[ids[pair.after]]}.html" for pair in compared(matrix)}
    return Addresses(
        capabilities=_unique("can", ((entry.id, slug(entry.id)) for entry in entries)),
        kernels=kernels,
        pairs=pairs,
        lines={
            line: "all.html" if index == 0 else f"all-{slug(f'{line.arch}-{line.mode.id}')}.html"
            for index, line in enumerate(matrix.lines)
        },
        evidence=_evidence(matrix),
    )


def compared(matrix: Matrix) -> list[Pair]:
    """Choose the pairs that have a page: neighbours, and what people stay on to what they go to.

    People stay on the series that are maintained for years and on what a distribution has; they go to a later one of
    those, or to the newest.
    """
    archs: dict[str, list[int]] = {}
    for index, kernel in enumerate(matrix.kernels):
        archs.setdefault(kernel.arch, []).append(index)
    found: dict[Pair, None] = {}
    for indices in archs.values():
        found |= dict.fromkeys(Pair(before, after) for before, after in pairwise(indices))
        stayed_on = [index for index in indices if _is_stayed_on(matrix, index)]
        for place, before in enumerate(stayed_on):
            later = dict.fromkeys([*stayed_on[place + 1 :], indices[-1]])
            found |= dict.fromkeys(Pair(before, after) for after in later if after != before)
    return list(found)


def _is_stayed_on(matrix: Matrix, index: int) -> bool:
    kernel = matrix.kernels[index]
    # Of several releases of a series the newest: the others have their neighbours.
    later = (one for one in matrix.kernels[index + 1 :] if one.arch == kernel.arch)
    is_newest = all(one.series != kernel.series for one in later)
    return is_newest and (kernel.series in longterm() or distribution_of(kernel) is not None)


def _unique(directory: str, names: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Give each id a file of its own, on file systems that ignore case as well."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name, stem in names:
        own = stem if stem.lower() not in taken else f"{stem}-{slug('/' + name).rpartition('-')[2]}"
        taken.add(own.lower())
        found[name] = f"{directory}/{own}.html"
    return found


def _evidence(matrix: Matrix) -> dict[int, str]:
    """Give equal cells of a test one page: what sixty kernels say alike is read once."""
    leaders: dict[int, CellKey] = {}
    found: dict[int, int] = {}
    for row in matrix.rows:
        alike: dict[Hashable, int] = {}
        for index in row.remarkable:
            cell = row.cells[index]
            if cell is not None and not cell.is_clean_pass:
                leader = alike.setdefault(_told(cell), id(cell))
                found[id(cell)] = leader
                if leader == id(cell):
                    leaders[leader] = cell.row.key
    names = _unique(
        "evidence",
        (
            ("/".join(key), "-".join(slug(part) for part in (key.kernel, key.mode, key.test)))
            for key in leaders.values()
        ),
    )
    return {number: names["/".join(leaders[leader])] for number, leader in found.items()}


def _told(cell: Cell) -> Hashable:
    """Everything that an evidence page says of a cell, beside its kernel and mode."""
    row = cell.row
    return (
        row.status,
        row.reason,
        row.expected,
        row.actual,
        row.evidence,
        row.dmesg,
        row.console_tail,
        row.output,
        row.qualifiers,
        row.attempts,
        row.run,
        cell.expectation,
        # An error of the kernel as a whole is told there as well, and is its own.
        row.kernel if row.status is Status.INFRA else None,
    )
