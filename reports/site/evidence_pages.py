"""One page for every cell that is not a plain pass: what was expected, what came, and the command that repeats it."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

from markupsafe import Markup

from reports import wording
from reports.matrix import Cell, Column, Line, Row
from reports.records import Host, Kernel, Result, Results, Test
from reports.site.cells import Face, classes, inner, td
from reports.site.model import Model
from reports.untrusted import visible

# Of equal cells: the others are repeated the same way.
_LISTED_MAX = 12

# uname -m to Debian's name, to see whether a kernel ran on its own kind of machine.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64el", "riscv64": "riscv64", "s390x": "s390x"}


@dataclass(frozen=True, slots=True)
class Told:
    """One of the cells that a page tells of."""

    column: Column
    # As the run knew it that the row is from
    kernel: Kernel
    is_own_run: bool
    commands: tuple[str, ...]


def pages(model: Model) -> Iterator[tuple[str, str]]:
    """Render the pages of all cells that have one: equal cells of a test share theirs."""
    template = model.template("evidence.html")
    for row in model.matrix.rows:
        groups: dict[str, list[tuple[Column, Cell]]] = {}
        for index in row.remarkable:
            cell = row.cells[index]
            path = model.evidence(cell)
            if path is not None and cell is not None:
                groups.setdefault(path, []).append((model.matrix.columns[index], cell))
        paths = list(groups)
        siblings = cache(partial(_siblings, model, row))
        for place, (path, own) in enumerate(groups.items()):
            column, cell = own[0]
            kernel = model.provenance.kernel_of(cell.row)
            yield (
                path,
                template.render(
                    root="../",
                    cell=cell,
                    row=cell.row,
                    test=row.test,
                    column=column,
                    kernel=kernel,
                    where=_where(model, own),
                    own=[_told(model, one, its, row.test) for one, its in own[:_LISTED_MAX]],
                    more=max(0, len(own) - _LISTED_MAX),
                    mode=column.mode,
                    shown=model.face(cell),
                    capability=model.addresses.capabilities[model.entry_of[row.test.id].id],
                    told=wording.told(cell.row),
                    documentation=wording.against_documentation(
                        row.test, column.mode, kernel, cell.expectation, cell.issue
                    ),
                    attempts=wording.equal_attempts(cell.row.attempts),
                    previous=_link(model, groups, paths, place - 1),
                    next=_link(model, groups, paths, place + 1),
                    siblings=[
                        (
                            _head(one.name, one.href == path),
                            _here(one.face, one.name) if one.href == path else one.cell,
                        )
                        for one in siblings(Line(column.kernel.arch, column.mode))
                    ],
                ),
            )


@dataclass(frozen=True, slots=True)
class _Sibling:
    """The same test on a kernel of the same architecture and mode."""

    name: str
    face: Face
    href: str | None
    # Its cell on the pages that tell of others
    cell: Markup


def _siblings(model: Model, row: Row, line: Line) -> list[_Sibling]:
    """A row's cells in a line's columns: made once, since each of them may have a page."""
    found = []
    for index, column in model.matrix.line_columns(line):
        shown, href = model.face(row.cells[index]), model.evidence(row.cells[index])
        address = model.escaped(f"../{href}") if href else None
        cell = td(shown, address, (_ON, model.escaped(column.name)), column.name)
        found.append(_Sibling(column.name, shown, href, cell))
    return found


_ON = Markup(" on ")


@cache
def _head(name: str, is_here: bool) -> Markup:
    return Markup('<th scope="col"{}>{}</th>').format(Markup(' class="here"') if is_here else "", visible(name))


@cache
def _here(shown: Face, name: str) -> Markup:
    return Markup('<td class="{} here" data-on="{}">{}</td>').format(classes(shown), visible(name), inner(shown))


def _told(model: Model, column: Column, cell: Cell, test: Test) -> Told:
    kernel = model.provenance.kernel_of(cell.row)
    return Told(column, kernel, kernel is column.kernel, tuple(reproduce(cell.row, test, kernel, model.results)))


def _where(model: Model, own: Sequence[tuple[Column, Cell]]) -> str:
    """Name the kernels of a page's cells, and the mode where all are of one."""
    names = list(dict.fromkeys(column.name for column, _ in own))
    modes = list(dict.fromkeys(column.mode.id for column, _ in own))
    kernels = f"{', '.join(names[:3])} and {len(names) - 3} more" if len(names) > 4 else ", ".join(names)
    if len(model.results.modes) == 1:
        return kernels
    return f"{kernels}, {modes[0] if len(modes) == 1 else f'{len(modes)} modes'}"


def _link(
    model: Model, groups: Mapping[str, list[tuple[Column, Cell]]], paths: Sequence[str], place: int
) -> tuple[str, str] | None:
    """Return name and address of a neighbouring evidence page of the same test."""
    if not 0 <= place < len(paths):
        return None
    return _where(model, groups[paths[place]]), paths[place]


def reproduce(row: Result, test: Test, kernel: Kernel, results: Results) -> list[str]:
    """Return the commands that repeat one cell."""
    if row.reproduce:
        return [row.reproduce]
    file = test.source.rpartition(":")[0] if test.source else ""
    command = ["pytest", f"{file}::{test.id}" if file else "conformance"]
    if not file:
        command += ["-k", test.id]
    if kernel.source == "host":
        return [shlex.join(command)]
    spec = (kernel.location if kernel.source == "path" else kernel.package_version or kernel.release) or kernel.id
    command += ["--kernel", spec]
    if not _is_native(kernel, kernel.host or results.host):
        command += ["--arch", kernel.arch]
    if len(results.modes) > 1 or row.mode != "default":
        command += ["--mode", row.mode]
    return [shlex.join(command), shlex.join(["uring-matrix", "shell", spec])]


def _is_native(kernel: Kernel, host: Host) -> bool:
    return ARCHITECTURES.get(host.machine, host.machine) == kernel.arch
