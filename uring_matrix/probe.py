"""`uring-matrix probe`: what a kernel's io_uring has, by trying it, and by its own word."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from conformance.features import observed
from harness.guest_shape import GuestShape
from uring_matrix.guests import guest_of, references
from uring_matrix.output import EXPECTED, INFRASTRUCTURE, console, error_line, say_json

_ENTRY = "conformance.features:report"
_TIMEOUT_S = 60.0


def probe(
    kernels: Sequence[str],
    *,
    as_json: bool,
    accel: str | None,
    cpus: int | None = None,
    memory_mib: int | None = None,
    parameters: Sequence[str] = (),
) -> int:
    """Ask kernels, this machine's if none is named, and print what they say."""
    shape = GuestShape.of(cpus, memory_mib, parameters)
    found: dict[str, dict[str, Any]] = {}
    refs = references(kernels or ["host"], accel)
    about_guests = {"--accel": accel, "--cpus": cpus, "--memory": memory_mib, "--append": parameters}
    given = [option for option, value in about_guests.items() if value]
    if given and all(ref.source == "host" for ref in refs):
        raise click.UsageError(f"{given[0]} is about guests, and host is asked without one; name kernels with --kernel")
    for ref in refs:
        if ref.source == "host":
            found[ref.id] = observed()
            continue
        with (
            tempfile.TemporaryDirectory(prefix="uring-matrix-") as directory,
            guest_of(ref, accel, shape, Path(directory)) as guest,
        ):
            guest.start(_ENTRY, None)
            found[ref.id] = guest.channel.receive(_TIMEOUT_S)["features"]
    if as_json:
        say_json(found)
    else:
        _print(found)
    silent = [name for name, said in found.items() if said.get("operations") is None]
    for name in silent:
        error_line(f"{name} could not be asked: {found[name].get('error') or found[name].get('probe_error')}")
    return INFRASTRUCTURE if silent else EXPECTED


def _print(found: Mapping[str, Mapping[str, Any]]) -> None:
    from conformance.capabilities import CAPABILITIES  # noqa: PLC0415

    table = Table("", *found, box=None, header_style="bold")
    table.add_row("release", *(str(said["release"]) for said in found.values()))
    for limit in dict.fromkeys(name for said in found.values() for name in said.get("limits", ())):
        values = (said.get("limits", {}).get(limit) for said in found.values())
        table.add_row(f"limit {limit}", *(str(value) if value is not None else "" for value in values))
    for capability in CAPABILITIES:
        name = capability.symbols[0] if capability.kind in _BY_SYMBOL else capability.id
        table.add_row(name, *(_answer(said["capabilities"][capability.id]) for said in found.values()))
    console().print(table)


# What has a name of the kernel's own.
_BY_SYMBOL = {"operation", "setup-flag", "feature", "sqe-flag", "cqe-flag", "enter-flag", "registration"}
_ANSWERS = {"has": "yes", "lacks": "-", "off": "off", "not-determinable": "?"}


def _answer(observed: Mapping[str, Any]) -> str:
    """One cell; where the kernel says otherwise of itself, that too."""
    answer = _ANSWERS[observed["state"]]
    value = observed.get("value")
    claimed = observed.get("claimed")
    is_contradicted = claimed is not None and answer in {"yes", "-"} and claimed != (answer == "yes")
    return " ".join([answer, *([str(value)] if value is not None else []), *(["(claims otherwise)"] * is_contradicted)])
