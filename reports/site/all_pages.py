"""The whole matrix, every column unfolded: one page for each architecture and mode."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from markupsafe import Markup

from reports import wording
from reports.matrix import Group, Line, Matrix, Minimum, Row, Sum
from reports.records import Test
from reports.site.cells import joined, minimum_td
from reports.site.model import Model
from reports.site.troubles import troubles
from reports.untrusted import breakable, slug, visible


@dataclass(frozen=True, slots=True)
class GroupView:
    """Tests that belong together."""

    group: Group
    minimum: wording.MinimumText
    sums: tuple[Sum, ...]
    rows: Markup

    @property
    def id(self) -> str:
        """One of it on a page: a group of tests may be called what one of capabilities is."""
        return f"{'observed' if self.group.is_observed else 'group'}-{slug(self.group.name)}"


def pages(model: Model) -> Iterator[tuple[str, str]]:
    """Render a page for every line."""
    template = model.template("all.html")
    parts = {row.test.id: _RowParts(model, row.test) for row in model.matrix.rows}
    # Most modes have the same kernels.
    wrong = cache(lambda kernels: troubles(model, kernels=kernels))
    for line, path in model.addresses.lines.items():
        own = model.matrix.line_columns(line)
        yield (
            path,
            template.render(
                root="",
                line=line,
                path=path,
                columns=[column for _, column in own],
                # Of tests and of capabilities: never one sum
                totals=[
                    (is_observed, what, model.minimum_text(minimums[line]), [sums[index] for index, _ in own])
                    for is_observed, what, minimums, sums in _totals(model.matrix)
                ],
                groups=[_group(model, group, line, parts) for group in model.matrix.groups],
                troubles=wrong(frozenset(column.kernel.id for _, column in own)),
                headline=wording.headline(model.matrix),
            ),
        )


def _totals(matrix: Matrix) -> Iterator[tuple[bool, str, Mapping[Line, Minimum], Sequence[Sum]]]:
    if matrix.tests or not matrix.capabilities:
        number = len(matrix.tests)
        what = "The test" if number == 1 else f"All {wording.count(number, 'test')}"
        yield False, what, matrix.overall, matrix.sums
    if matrix.capabilities:
        what = f"All {wording.counted(0, len(matrix.capabilities))}, observed"
        yield True, what, matrix.overall_observed, matrix.sums_observed


class _RowParts:
    """What stands in the line of a test on every page: made once, since there may be many pages."""

    def __init__(self, model: Model, test: Test) -> None:
        href = model.addresses.capabilities[model.entry_of[test.id].id]
        self.head = Markup('<tr id="row-{}"><th scope="row"><a href="{}">{}</a>').format(
            slug(test.id), href, breakable(test.title)
        )
        self.documented = Markup('\n<td class="documented">{}</td>\n').format(visible(test.since or ""))


_HEAD_END = Markup("</th>\n")
_ROW_END = Markup("\n</tr>\n")


def _group(model: Model, group: Group, line: Line, parts: Mapping[str, _RowParts]) -> GroupView:
    own = model.matrix.line_columns(line)
    packages = {
        kernel.id: kernel.package_version or model.names[kernel.id] for kernel in (column.kernel for _, column in own)
    }
    rows: list[Markup] = []
    for row in group.rows:
        its = parts[row.test.id]
        notes = (Markup(" <small>{}</small>").format(visible(note)) for note in _branch_notes(row, line, packages))
        minimum = minimum_td(model.minimum_text(row.minimums[line]))
        rows += (its.head, *notes, _HEAD_END, minimum, its.documented, model.cell_tds(row, line), _ROW_END)
    return GroupView(
        group,
        model.minimum_text(group.minimums[line]),
        tuple(group.sums[index] for index, _ in own),
        joined(rows),
    )


def _branch_notes(row: Row, line: Line, names: Mapping[str, str]) -> Iterator[str]:
    """Word what a stable branch with several tested packages shows, where it is not the same throughout."""
    for series, minimum in row.branches[line].items():
        if minimum.after or minimum.lost_by or minimum.earlier_passes:
            yield f"in the {series} branch: {minimum.label(names)}"
