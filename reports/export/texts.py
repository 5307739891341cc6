"""What the formats say in the same words: the message of a cell, its evidence, where it came from.

All text goes through `visible`: whoever shows the file somewhere shows no escape sequence of a guest's.
"""

from datetime import UTC, datetime
from hashlib import sha256

from reports.distributions import distribution_of
from reports.expectation import Expectation
from reports.export.outcomes import Cell
from reports.records import Kernel, Result, Status
from reports.untrusted import excerpt, visible
from reports.wording import equal_attempts

MESSAGE_CHARACTERS_MAX = 2_000
NAME_CHARACTERS_MAX = 500


def clean(text: str, characters_max: int | None = None) -> str:
    """Make text fit to be shown anywhere, and no longer than it may be (by default, than a page shows)."""
    if characters_max is None:
        return excerpt(visible(text))
    # Room for the note in the middle, which counts as well.
    half = (characters_max - 100) // 2
    plain = visible(text)
    return plain if len(plain) <= characters_max else excerpt(plain, half, half)


def named(text: str) -> str:
    """Make a name fit to be shown, and no longer than a name is; two names never become one."""
    plain = visible(text)
    if len(plain) <= NAME_CHARACTERS_MAX:
        return plain
    digest = sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:10]
    return f"{plain[:NAME_CHARACTERS_MAX]}…{digest}"


def one_line(text: str) -> str:
    """Make text fit for a place that has one line."""
    return " ".join(clean(text, MESSAGE_CHARACTERS_MAX).split())


def message(cell: Cell) -> str:
    """Say a verdict and its reason in a line."""
    row = cell.row
    words = [str(row.status)]
    if cell.is_flaky:
        words.append("flaky: attempts did not agree")
    if row.status is Status.UNSUPPORTED and cell.expectation is Expectation.UNEXPECTED and not cell.is_flaky:
        words.append("though documented for this kernel")
    if cell.expectation is Expectation.KNOWN:
        words.append("a known issue")
    head = ", ".join(words)
    return one_line(f"{head}: {row.reason}" if row.reason else head)


def evidence(cell: Cell) -> str:
    """What a verdict rests on."""
    row = cell.row
    lines = [f"expected: {row.expected}"] if row.expected is not None else []
    lines += [f"actual: {row.actual}"] if row.actual is not None else []
    lines += row.evidence
    if len(row.attempts) > 1:
        for one in equal_attempts(row.attempts):
            reason = f": {one.attempt.reason}" if one.attempt.reason else ""
            lines.append(f"attempt {one.numbers}: {one.attempt.status}{reason}")
    return clean("\n".join(lines))


def kernel_messages(cell: Cell) -> str:
    """What the kernel printed, and the console's end where the guest is gone."""
    return clean("\n".join([*cell.row.dmesg, *cell.row.console_tail]))


def about(cell: Cell) -> str:
    """What else there is to say of a cell, a line each."""
    row, test = cell.row, cell.test
    pairs = [
        ("verdict", str(row.status)),
        ("qualifiers", ", ".join(row.qualifiers)),
        ("title", test.title),
        ("symbols", " ".join(test.symbols)),
        ("documented since", test.since),
        ("kernel", cell.kernel.release),
        ("run", stamp(cell.kernel.started)),
        ("reproduce", row.reproduce),
    ]
    return clean("\n".join(f"{name}: {value}" for name, value in pairs if value))


def stamp(time: datetime | None) -> str | None:
    """Write a time as results.json does: RFC 3339, in UTC."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z") if time is not None else None


def seconds(duration_s: float | None) -> float:
    """Give a duration where a format demands one: what did not run took none."""
    return max(0.0, duration_s or 0.0)


def facts(kernel: Kernel) -> dict[str, str]:
    """Say what a column was obtained with and where; what is not known is not there."""
    distribution = distribution_of(kernel)
    guest, host, generator = kernel.guest, kernel.host, kernel.generator
    known: dict[str, object] = {
        "kernel": kernel.id,
        "series": kernel.series,
        "release": kernel.release,
        "version": kernel.version,
        "arch": kernel.arch,
        "source": kernel.source,
        "distribution": distribution.name if distribution else None,
        "suite": kernel.suite,
        "package": kernel.package,
        "package_version": kernel.package_version,
        "sha256": kernel.sha256,
        "cmdline": kernel.cmdline,
        "booted": "yes" if kernel.booted else "no",
        "boot_seconds": kernel.boot_seconds,
        "error": kernel.error,
        "guest_cpus": guest.cpus if guest else None,
        "guest_memory_mib": guest.memory_mib if guest else None,
        "guest_append": guest.append if guest else None,
        "host_kernel": host.kernel if host else None,
        "host_machine": host.machine if host else None,
        "qemu": host.qemu if host else None,
        "accel": host.accel if host else None,
        "generator": f"{generator.name} {generator.version}" if generator else None,
        "generator_commit": generator.commit if generator else None,
        "command": " ".join(kernel.command) if kernel.command else None,
        "started": stamp(kernel.started),
        "finished": stamp(kernel.finished),
    }
    return {name: clean(str(value), MESSAGE_CHARACTERS_MAX) for name, value in known.items() if value not in (None, "")}


def observed(row: Result) -> dict[str, str | bool | int]:
    """What was observed of a capability: its state, the kernel's own word, a limit's value; nothing of a test."""
    found = {"state": row.state, "claimed": row.claimed, "value": row.value}
    return {name: value for name, value in found.items() if value is not None}
