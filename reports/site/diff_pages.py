"""One page for two kernels of a run: what else differs, what was lost or has no verdict any more, what was gained."""

from collections.abc import Iterator
from dataclasses import dataclass

from reports import wording
from reports.capabilities import Entry
from reports.folding import Move, Stated, move, stated_changes
from reports.matrix import Cell
from reports.records import Kernel
from reports.site.addresses import Pair
from reports.site.cells import Face
from reports.site.model import Model
from reports.site.troubles import troubles

_MOVES = {
    Move.LOST: "Lost",
    Move.UNKNOWN: "No verdict any more",
    Move.GAINED: "Gained",
    Move.KNOWN: "Known only on the later one",
}
_OTHERS = "Other changes of verdict"
_VALUES = "Limits with another value"
# What the configuration of a kernel says, where it is not the same: more are in results.json.
_OPTIONS_MAX = 40


@dataclass(frozen=True, slots=True)
class Change:
    """A row that is not the same on both kernels."""

    entry: Entry
    # The modes in which it changed this way; empty where there is only one
    modes: str
    was: Face
    now: Face
    # Pages with their evidence
    before: str | None
    after: str | None
    reason: str


def pages(model: Model) -> Iterator[tuple[str, str]]:
    """Render the page of every pair of kernels that has one."""
    template = model.template("kernels.html")
    for pair, path in model.addresses.pairs.items():
        older, newer = (model.kernels[index] for index in (pair.before, pair.after))
        sections, alike = _sections(model, pair)
        columns = [model.kernel_columns(kernel)[0][1] for kernel in (older, newer)]
        # Where all of it was observed, the kernels' own word stands beside that.
        stated = None if model.observed else stated_changes(*columns)
        yield (
            path,
            template.render(
                root="../",
                older=older,
                newer=newer,
                sections=sections,
                alike=alike,
                conclusion=_conclusion(sections, alike, stated),
                listed=list(_listed(model, older, stated)) if stated else [],
                differences=list(_differences(model, older, newer)),
                troubles=troubles(model, kernels={newer.id}),
                options=_options(older, newer),
            ),
        )


def _of_capabilities(head: str) -> str:
    """The head of what was observed, in the place of that of tests."""
    return f"Capabilities: {head[0].lower()}{head[1:]}"


def _sections(model: Model, pair: Pair) -> tuple[dict[str, list[Change]], int]:
    """Sort what changed by what became of it; and count the cells that did not."""
    plain = (*_MOVES.values(), _OTHERS)
    found: dict[str, list[Change]] = {head: [] for one in plain for head in (one, _of_capabilities(one))}
    found[_VALUES] = []
    older, newer = (model.kernels[index] for index in (pair.before, pair.after))
    theirs = {column.mode.id: index for index, column in model.kernel_columns(newer)}
    shared = [
        (index, theirs[column.mode.id], column.mode.id)
        for index, column in model.kernel_columns(older)
        if column.mode.id in theirs
    ]
    alike = 0
    for entry in model.entries:
        if entry.row is None:
            continue
        # A clean pass on both is the same on both; but for a limit, which has a value.
        if not entry.has_values and model.remarkable_on[entry.row.test.id].isdisjoint((older.id, newer.id)):
            alike += len(shared)
            continue
        groups: dict[tuple[str, Face, Face], list[tuple[str, Cell | None, Cell | None]]] = {}
        for before, after, mode in shared:
            old, new = entry.row.cells[before], entry.row.cells[after]
            is_same = old and new and old.row.status is new.row.status
            has_other_value = is_same and old and new and old.row.value != new.row.value
            if (old is None and new is None) or (is_same and not has_other_value):
                alike += 1
                continue
            kind = move(entry.outcomes[before], entry.outcomes[after])
            head = _VALUES if has_other_value else _MOVES[kind] if kind else _OTHERS
            head = _of_capabilities(head) if entry.is_observed and not has_other_value else head
            groups.setdefault((head, model.face(old), model.face(new)), []).append((mode, old, new))
        for (head, was, now), own in groups.items():
            _, old, new = own[0]
            modes = (
                "" if len(shared) == 1 else "all modes" if len(own) == len(shared) else ", ".join(m for m, *_ in own)
            )
            reason = new.row.reason if new and new.row.reason else old.row.reason if old else ""
            found[head].append(Change(entry, modes, was, now, model.evidence(old), model.evidence(new), reason))
    return {head: own for head, own in found.items() if own}, alike


def _listed(model: Model, older: Kernel, found: Stated) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """What only one of them lists: a head, and names with the pages about them."""
    known = {
        (one.fact, one.value): (one.symbols[0] if one.symbols else one.title, model.addresses.capabilities.get(one.id))
        for one in model.results.capabilities
    }
    for name, kinds in ((found.column.name, found.added), (model.names[older.id], found.gone)):
        for kind, values in kinds.items():
            yield (
                f"{kind.replace('_', ' ').capitalize()} that only {name} lists",
                [known.get((kind, value), (value, None)) for value in values],
            )


def _conclusion(sections: dict[str, list[Change]], alike: int, stated: Stated | None) -> str:
    """Answer in one line: what is lost and what has no verdict before what is gained, listed after tested."""
    counts = {
        kind: (len(sections.get(head, ())), len(sections.get(_of_capabilities(head), ())))
        for kind, head in _MOVES.items()
    }
    parts = []
    if any(counts[Move.LOST]):
        parts.append(f"{wording.counted(*counts[Move.LOST])} lost")
    if stated and stated.gone_count:
        parts.append(f"{stated.gone_count:,} not listed any more")
    if any(counts[Move.UNKNOWN]):
        parts.append(f"{wording.counted(*counts[Move.UNKNOWN])} without a verdict any more")
    if any(counts[Move.GAINED]):
        parts.append(f"{wording.counted(*counts[Move.GAINED])} gained")
    if changed := len(sections.get(_VALUES, ())):
        parts.append(f"{wording.count(changed, 'limit')} with another value")
    if stated and stated.added_count:
        parts.append(f"{stated.added_count:,} newly listed")
    if not parts:
        return f"nothing lost or gained in {wording.count(alike, 'cell')}" if alike else "nothing to compare"
    return ", ".join(parts)


def _differences(model: Model, older: Kernel, newer: Kernel) -> Iterator[tuple[str, str, str]]:
    """Name what differs beside the version, and may be the cause."""
    hosts = [kernel.host or model.results.host for kernel in (older, newer)]
    guests = [kernel.guest for kernel in (older, newer)]
    pairs = (
        ("Package", *(kernel.package_version or kernel.release or "" for kernel in (older, newer))),
        ("Suite", older.suite or "", newer.suite or ""),
        ("Accelerator", *(host.accel or "" for host in hosts)),
        ("QEMU", *(host.qemu_version or host.qemu or "" for host in hosts)),
        ("Boot protocol", older.boot_protocol or "", newer.boot_protocol or ""),
        ("Host", *(host.kernel for host in hosts)),
        *(
            (name, *(str(getattr(guest, field)) if guest else "" for guest in guests))
            for name, field in (("CPUs", "cpus"), ("Memory in MiB", "memory_mib"), ("Parameters", "append"))
        ),
        ("Run", *(wording.moment(kernel.started or model.results.started) for kernel in (older, newer))),
    )
    yield from ((name, before, after) for name, before, after in pairs if before != after)


def _options(older: Kernel, newer: Kernel) -> list[tuple[str, str, str]]:
    """The recorded options of their configurations that differ."""
    names = dict.fromkeys([*newer.config, *older.config])
    found = [
        (name, older.config.get(name, "not set"), newer.config.get(name, "not set"))
        for name in names
        if older.config.get(name) != newer.config.get(name)
    ]
    return found[:_OPTIONS_MAX] if older.config and newer.config else []
