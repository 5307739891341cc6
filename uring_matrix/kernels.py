"""`uring-matrix kernels`: what there is to test, fetching it, pinning it, and cleaning up."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from uring_matrix import output
from uring_matrix.progress import progress
from vm.architectures import ARCHITECTURES
from vm.cache import Cache
from vm.errors import VmError
from vm.fetch import Kernels
from vm.kernel import Kernel, KernelRef
from vm.lock import pin, render_lock
from vm.settings import Settings
from vm.specs import HOST, Distribution, spec_of

# Count up when a field goes or changes its meaning; new fields may come at any time.
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Row:
    """One kernel of the list; its fields are those of `kernels list --json`."""

    # What the kernel is called in results and item ids.
    id: str
    # What to give to --kernel so that exactly this column comes of it; a CI job per kernel passes it on.
    spec: str
    series: str
    arch: str
    # debian, path or host
    source: str
    # uname -r, as far as it is known without booting
    release: str | None
    package: str | None
    package_version: str | None
    suite: str | None
    # What a download costs.
    size_bytes: int | None
    # Nothing has to be downloaded.
    is_cached: bool
    is_lts: bool
    # When the series came out: YYYY-MM-DD, null for one that is younger than the catalogue.
    released: str | None
    # The path the user gave.
    location: str | None


def list_kernels(specs: Sequence[str], *, arch: str, as_json: bool, update: bool) -> int:
    """Show kernels, those of `all` without specs."""
    settings, kernels = _kernels(arch)
    if update and settings.offline:
        raise click.UsageError("--update asks the archive, and offline it is not to be asked; leave one of them out")
    if update:
        kernels.archive.update(force=True)
    rows = describe(kernels, kernels.resolve(specs), _cached_packages(settings.cache))
    if as_json:
        output.say_json({"schema_version": SCHEMA_VERSION, "kernels": [dataclasses.asdict(row) for row in rows]})
        return output.EXPECTED
    heads = ("KERNEL", "RELEASE", "VERSION", "SUITE", "SIZE", "CACHED", "LTS", "SERIES SINCE")
    for line in output.table(heads, map(_cells, rows), right=("SIZE",)):
        output.say(line)
    return output.EXPECTED


def fetch(specs: Sequence[str], *, arch: str) -> int:
    """Have in the cache what a run of these kernels needs: their images, the guest image, QEMU.

    Returns:
        3 where something could not be had; the rest is kept all the same.
    """
    _, kernels = _kernels(arch)
    named = kernels.resolve(specs)
    refs = [ref for ref in named if ref.source != HOST]
    if not refs:
        raise click.UsageError(f"{HOST} is the kernel that runs here: there is nothing to fetch; name others")
    if len(refs) < len(named):
        output.tell(f"{HOST}: the kernel that runs here; there is nothing to fetch")
    exit_code = output.EXPECTED
    for ref, outcome in zip(refs, kernels.fetch_all(refs), strict=True):
        if isinstance(outcome, VmError):
            output.error_line(f"{ref.id}: {outcome}")
            exit_code = output.INFRASTRUCTURE
        else:
            output.say(f"{ref.id}  {outcome.release}  {outcome.image}")
    if arch not in ARCHITECTURES:
        output.tell(f"guests of {arch} are not supported: there is no guest image for these kernels")
        return exit_code
    # It knows of pytest, which takes longer to load than a list takes to print.
    from harness.prepare import Setup  # noqa: PLC0415

    for name, found in Setup(ARCHITECTURES[arch], Settings.load(), progress()).fetch():
        if isinstance(found, VmError):
            output.error_line(f"{name}: {found}")
            exit_code = output.INFRASTRUCTURE
        else:
            # Standard output has a line per kernel.
            output.tell(f"{name}: {found}")
    return exit_code


def lock(specs: Sequence[str], *, out: Path, arch: str) -> int:
    """Fetch kernels and write down exactly which they are.

    Returns:
        3, and nothing is written, where one of them could not be had: half a lock file would be taken for a whole one.
    """
    # Listing kernels does without the results model.
    from reports.storage import write_atomically  # noqa: PLC0415

    _, kernels = _kernels(arch)
    fetched = kernels.fetch_all(kernels.resolve(specs))
    problems = [outcome for outcome in fetched if isinstance(outcome, VmError)]
    for problem in problems:
        output.error_line(str(problem))
    if problems:
        return output.INFRASTRUCTURE
    pins = [pin(kernel) for kernel in fetched if isinstance(kernel, Kernel)]
    write_atomically(out, render_lock(pins).encode())
    for one in pins:
        output.say(f"{one.id}  {one.release}  {one.package_version or one.location}")
    output.tell(f"{out} pins {len(pins)} kernel{'s' if len(pins) != 1 else ''}")
    return output.EXPECTED


def prune(*, arch: str, everything: bool) -> int:
    """Remove from the cache what a run would not use."""
    _, kernels = _kernels(arch)
    removed = kernels.prune(everything=everything)
    for name, size_bytes in removed:
        output.say(f"{name}  {output.megabytes(size_bytes)}")
    total_bytes = sum(size_bytes for _, size_bytes in removed)
    output.say(
        f"{len(removed)} removed, {output.megabytes(total_bytes)} free again" if removed else "nothing to remove"
    )
    return output.EXPECTED


def describe(kernels: Kernels, refs: Sequence[KernelRef], cached: frozenset[tuple[str, str]]) -> list[Row]:
    """Put together what is known about kernels.

    Args:
        kernels: whose catalogue knows the series.
        refs: which kernels.
        cached: package and version of what needs no download.
    """
    rows = []
    for ref in refs:
        facts = kernels.catalogue.facts(ref.series)
        rows.append(
            Row(
                id=ref.id,
                spec=spec_of(ref),
                series=ref.series,
                arch=ref.arch,
                source=ref.source,
                release=ref.release,
                package=ref.package,
                package_version=ref.package_version,
                suite=ref.suite,
                size_bytes=ref.size_bytes,
                is_cached=ref.source != "debian" or (ref.package, ref.package_version) in cached,
                is_lts=facts.is_lts,
                released=facts.released.isoformat() if facts.released else None,
                location=ref.location,
            )
        )
    return rows


def _kernels(arch: str) -> tuple[Settings, Kernels]:
    settings = Settings.load()
    shown = progress()
    return settings, Kernels(Cache(settings.cache, shown), settings, shown, arch=arch, distributions=_distributions)


def _distributions() -> Sequence[Distribution]:
    # Most specs are no distribution's name, and reading the data takes as long as all else.
    from reports.distributions import distributions  # noqa: PLC0415

    return distributions()


def _cached_packages(directory: Path) -> frozenset[tuple[str, str]]:
    """List what the cache holds by package and version, from the manifests alone.

    Opening the entries would verify them, which for eleven kernels takes longer than everything else here; whoever
    boots one verifies it then.
    """
    cache = Cache(directory)
    candidates = (cache.meta("kernels", key).get("candidate") for key in cache.keys("kernels"))
    return frozenset((one["packages"][0]["name"], one["version"]) for one in candidates if one)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        output.bold(row.id),
        row.release or "?",
        row.package_version or row.location or "",
        row.suite or row.source,
        output.megabytes(row.size_bytes),
        click.style("yes", fg="green") if row.is_cached else "no",
        "LTS" if row.is_lts else "",
        row.released or "",
    )
