"""The whole matrix, every column unfolded: one page for each architecture and mode."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from markupsafe import Markup

from reports import wording
from reports.matrix import Column, Group, Line, Minimum, Row, Sum
from reports.records import Test
from reports.site.model import Model
from reports.site.troubles import troubles


@dataclass(frozen=True, slots=True)
class RowView:
    """One test."""

    test: Test
    href: str
    minimum: wording.MinimumText
    notes: tuple[str, ...]
    cells: Markup


@dataclass(frozen=True, slots=True)
class GroupView:
    """Tests that belong together."""

    group: Group
    minimum: wording.MinimumText
    sums: tuple[Sum, ...]
    rows: tuple[RowView, ...]


def pages(model: Model) -> Iterator[tuple[str, str]]:
    """Render a page for every line."""
    template = model.template("all.html")
    for line, path in model.addresses.lines.items():
        own = model.matrix.line_columns(line)
        yield (
            path,
            template.render(
                root="",
                line=line,
                path=path,
                columns=[column for _, column in own],
                overall=_text(model, model.matrix.overall[line]),
                sums=[model.matrix.sums[index] for index, _ in own],
                groups=[_group(model, group, line, own) for group in model.matrix.groups],
                troubles=troubles(model, kernels={column.kernel.id for _, column in own}),
                headline=wording.headline(model.matrix),
            ),
        )


def _group(model: Model, group: Group, line: Line, own: list[tuple[int, Column]]) -> GroupView:
    packages = {
        kernel.id: kernel.package_version or model.names[kernel.id] for kernel in (column.kernel for _, column in own)
    }
    return GroupView(
        group,
        _text(model, group.minimums[line]),
        tuple(group.sums[index] for index, _ in own),
        tuple(
            RowView(
                row.test,
                model.addresses.capabilities[model.entry_of[row.test.id].id],
                _text(model, row.minimums[line]),
                tuple(_branch_notes(row, line, packages)),
                model.cell_tds(row, own),
            )
            for row in group.rows
        ),
    )


def _text(model: Model, minimum: Minimum) -> wording.MinimumText:
    return wording.minimum_text(minimum, model.versions)


def _branch_notes(row: Row, line: Line, names: Mapping[str, str]) -> Iterator[str]:
    """Word what a stable branch with several tested packages shows, where it is not the same throughout."""
    for series, minimum in row.branches[line].items():
        if minimum.after or minimum.lost_by or minimum.earlier_passes:
            yield f"in the {series} branch: {minimum.label(names)}"
