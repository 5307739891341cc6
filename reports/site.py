"""The site: one self-contained page with the matrix, and a page of evidence for every cell that needs one.

Pages depend on the results alone: the same results give the same bytes.
"""

import os
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports import wording
from reports.expectation import Expectation
from reports.matrix import Cell, Column, Line, Matrix, Minimum, Row, derive
from reports.pages import MARK, remove_evidence
from reports.provenance import Provenance
from reports.records import Host, Kernel, Result, Results, Run, Status, Test
from reports.sentences import resume_command
from reports.storage import write, write_atomically
from reports.untrusted import breakable, excerpt, prose, slug, visible

TEMPLATES = Path(__file__).with_name("templates")

# Widths in rem: the page needs them to know when the matrix must scroll inside its frame.
NAME_REM, MINIMUM_REM, DOCUMENTED_REM, COLUMN_REM, MARGIN_REM = 15.7, 7.4, 5.3, 4.4, 4.2
# Wider where every mode has a minimum of its own.
MINIMUM_PER_MODE_REM = 11.0

# uname -m to Debian's name, to see whether a kernel ran on its own kind of machine.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64el", "riscv64": "riscv64", "s390x": "s390x"}


@dataclass(frozen=True, slots=True)
class CellView:
    """One cell as the template needs it."""

    verdict: wording.Verdict
    qualifiers: tuple[str, ...]
    # The evidence page, for all but clean passes
    href: str | None
    # What to read out beside the word: the link's purpose
    purpose: str
    is_unexpected: bool
    # Something has to be known beside the verdict, other than how often it was found
    is_qualified: bool


def write_site(results: Results, directory: str | os.PathLike[str], *, with_results: bool = True) -> Path:
    """Write the site into a directory.

    Pages replace those of an earlier run one by one, `index.html` last; evidence pages that are not needed any more
    are removed, files of any other origin are left alone.

    Args:
        results: what to show.
        directory: where to; made if it is not there.
        with_results: write `results.json` beside the pages, which link to it.

    Returns:
        The path of index.html.

    Raises:
        ResultsError: a file could not be written.
    """
    root = Path(directory)
    if with_results:
        write(root / "results.json", results)
    written = set()
    for name, content in render(results):
        write_atomically(root / name, content.encode("utf-8"), is_synced=False)
        written.add(name)
    remove_evidence(root, written)
    return root / "index.html"


def render(results: Results) -> Iterator[tuple[str, str]]:
    """Yield the site's pages as (relative path, text), the index last. Nothing is written."""
    site = _Site(results)
    yield from site.evidence_pages()
    yield "index.html", site.index()


def environment() -> Environment:
    """Return the template engine: everything is escaped, and control characters become visible, without exception."""

    def finalize(value: object) -> object:
        if isinstance(value, str) and not isinstance(value, Markup):
            return visible(value)
        return "" if value is None else value

    engine = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    engine.filters |= {
        "breakable": breakable,
        "count": wording.count,
        "excerpt": excerpt,
        "moment": wording.moment,
        "prose": prose,
        "slug": slug,
        "span": wording.span,
    }
    return engine


class _Site:
    """Everything that pages of one site share."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.matrix = derive(results)
        self.names = self.matrix.names
        self.provenance = Provenance(results)
        self.tests = {test.id: test for test in results.tests}
        versions = self.matrix.versions
        self.engine = environment()
        self.hrefs = _evidence_names(self.matrix)
        self.engine.globals |= {
            "mark": Markup(MARK),  # noqa: S704 (a constant of ours)
            "verdicts": wording.VERDICTS,
            "results": results,
            "matrix": self.matrix,
            "names": self.names,
            "line_name": lambda line: wording.line_name(line, self.matrix.lines),
            "minimum_text": lambda minimum: wording.minimum_text(minimum, versions),
            "has_modes": len({column.mode.id for column in self.matrix.columns}) > 1,
            "has_architectures": len({column.kernel.arch for column in self.matrix.columns}) > 1,
            "run_span": wording.run_span(results),
            "view": self.view,
            # This machine's own kernel is up without having been booted by us.
            "is_up": lambda kernel: kernel.booted or kernel.source == "host",
            # What its time says is how long it took to go on, not to boot.
            "is_restored": lambda kernel: "restore" in kernel.phases and "boot" not in kernel.phases,
            "state_word": lambda column: wording.STATES[column.state][0] if column.state in wording.STATES else "",
            "resume_command": shlex.join(resume_command(results.command)),
            "missing": wording.missing_kernels(self.matrix.columns),
            "host_of": lambda kernel: kernel.host or results.host,
            "earlier_runs": self.earlier_runs,
        }

    def view(self, cell: Cell | None) -> CellView | None:
        """Prepare a cell for the template; None where there is none."""
        if cell is None:
            return None
        row = cell.row
        test = self.tests[row.test]
        return CellView(
            verdict=wording.VERDICTS[row.status],
            qualifiers=tuple(wording.qualifier_words(row, self.provenance.kernel_of(row))),
            href=self.hrefs.get(id(cell)),
            purpose=f"evidence for {test.title} on {self.names[row.kernel]}",
            is_unexpected=cell.expectation is Expectation.UNEXPECTED,
            is_qualified=bool(row.qualifiers),
        )

    def earlier_runs(self, kernel: Kernel) -> list[tuple[Run, int]]:
        """The runs, other than the column's own, that have verdicts in it, and how many each has."""
        counts = Counter(row.run for row in self.results.results if row.kernel == kernel.id)
        return [(run, counts[run.id]) for run in self.results.runs if counts[run.id]]

    def index(self) -> str:
        """Render the page with the matrix."""
        matrix = self.matrix
        spans = _kernel_spans(matrix.columns)
        packages = {kernel.id: kernel.package_version or self.names[kernel.id] for kernel in matrix.kernels}
        shown = {
            name
            for row in self.results.results
            if row.qualifiers
            for name in wording.qualifiers_of(row, self.provenance.kernel_of(row))
        }
        return self.engine.get_template("index.html").render(
            headline=wording.headline(matrix),
            shortfalls=wording.shortfalls(matrix),
            statuses=[status for status in Status if matrix.counts.get(status)],
            legend=[(wording.VERDICTS[status], matrix.counts.get(status, 0)) for status in Status],
            qualifiers=[entry for name, entry in wording.QUALIFIERS.items() if name in shown],
            unexpected=self.unexpected(),
            open_count=sum(cell.row.status is Status.NOTRUN for cell in matrix.open),
            kernel_spans=spans,
            is_first=lambda column: any(column is first for first, _ in spans),
            features=_features,
            branch_notes=lambda row: _branch_notes(row, packages),
            layout=_layout(len(matrix.columns), has_lines=len(matrix.lines) > 1),
            anchors={column.kernel.id: f"kernel-{slug(column.kernel.id)}" for column in matrix.columns},
            same_minimum=_same_minimum,
        )

    def unexpected(self) -> list[tuple[Test, list[tuple[Cell, CellView]]]]:
        """The unexpected verdicts, those of a test together that are equal: with the kernels, and what to link to."""
        found: dict[tuple[object, ...], list[tuple[Cell, CellView]]] = {}
        for cell in self.matrix.unexpected:
            view = self.view(cell)
            if view is not None:
                key = (cell.row.test, cell.row.status, cell.row.reason, view.qualifiers)
                found.setdefault(key, []).append((cell, view))
        return [(self.tests[cells[0][0].row.test], cells) for cells in found.values()]

    def evidence_pages(self) -> Iterator[tuple[str, str]]:
        """Render a page for every cell that is not a clean pass."""
        template = self.engine.get_template("evidence.html")
        for row in self.matrix.rows:
            own = [
                (column, cell)
                for column, cell in zip(self.matrix.columns, row.cells, strict=True)
                if cell is not None and id(cell) in self.hrefs
            ]
            for index, (column, cell) in enumerate(own):
                path = self.hrefs[id(cell)]
                # As the run knew it that the row is from.
                kernel = self.provenance.kernel_of(cell.row)
                yield (
                    path,
                    template.render(
                        cell=cell,
                        row=cell.row,
                        line=row,
                        test=row.test,
                        column=column,
                        kernel=kernel,
                        mode=column.mode,
                        shown=self.view(cell),
                        told=wording.told(cell.row),
                        documentation=wording.against_documentation(row.test, column.mode, kernel, cell.expectation),
                        attempts=wording.equal_attempts(cell.row.attempts),
                        commands=reproduce(cell.row, row.test, kernel, self.results),
                        previous=self._link(own, index - 1),
                        next=self._link(own, index + 1),
                        siblings=[
                            (other, self.view(one)) for other, one in zip(self.matrix.columns, row.cells, strict=True)
                        ],
                        features=_features,
                    ),
                )

    def _link(self, own: list[tuple[Column, Cell]], index: int) -> tuple[str, str] | None:
        """Return name and address of a neighbouring evidence page of the same test."""
        if not 0 <= index < len(own):
            return None
        column, cell = own[index]
        name = f"{column.name} {column.mode.id}" if len(self.matrix.lines) > 1 else column.name
        return name, self.hrefs[id(cell)]


def _evidence_names(matrix: Matrix) -> dict[int, str]:
    """Give each cell that needs a page a file name of its own, on file systems that ignore case as well."""
    names: dict[int, str] = {}
    taken: set[str] = set()
    for row in matrix.rows:
        for cell in row.cells:
            if cell is None or cell.is_clean_pass:
                continue
            key = cell.row.key
            name = "-".join(slug(part) for part in (key.kernel, key.mode, key.test))
            if name.lower() in taken:
                name += "-" + slug("/".join(key)).rpartition("-")[2]
            taken.add(name.lower())
            names[id(cell)] = f"evidence/{name}.html"
    return names


def _kernel_spans(columns: tuple[Column, ...]) -> list[tuple[Column, int]]:
    """Return the first column of each kernel and how many columns (modes) it has."""
    spans: dict[str, tuple[Column, int]] = {}
    for column in columns:
        first, width = spans.get(column.kernel.id, (column, 0))
        spans[column.kernel.id] = (first, width + 1)
    return list(spans.values())


def _layout(width: int, *, has_lines: bool) -> Mapping[str, float]:
    """Return the widths of the matrix, from which the style sheet learns when to scroll."""
    minimum = MINIMUM_PER_MODE_REM if has_lines else MINIMUM_REM
    needed = NAME_REM + minimum + DOCUMENTED_REM + width * COLUMN_REM
    return {
        "name": NAME_REM,
        "minimum": minimum,
        "documented": DOCUMENTED_REM,
        "column": COLUMN_REM,
        "matrix": round(needed, 1),
        # Few columns need not fill a wide screen.
        "widest": round(needed + width * COLUMN_REM, 1),
        "page": round(needed + MARGIN_REM, 1),
    }


def _same_minimum(minimums: Mapping[Line, Minimum]) -> Minimum | None:
    """Return the minimum that all architectures and modes share, if they do."""
    distinct = list(minimums.values())
    return distinct[0] if distinct and all(one == distinct[0] for one in distinct) else None


def _branch_notes(row: Row, names: Mapping[str, str]) -> list[str]:
    """Word what a stable branch with several tested packages shows, where it is not the same throughout."""
    notes = []
    for branches in row.branches.values():
        for series, minimum in branches.items():
            if minimum.after or minimum.lost_by or minimum.earlier_passes:
                notes.append(f"in the {series} branch: {minimum.label(names)}")
    return list(dict.fromkeys(notes))


def _features(kernel: Kernel) -> list[tuple[str, str]]:
    """Lay out what a kernel says of io_uring, whatever its shape."""
    return [(name, _flat(value)) for name, value in kernel.features.items()]


def _flat(value: Any) -> str:
    """Write a JSON value as one readable line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_flat(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_flat(item)}" for key, item in value.items())
    return "" if value is None else str(value)


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
