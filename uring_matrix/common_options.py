"""Options that several commands have, and checks of what is given to them.

What a check needs is loaded when an option is given: `--help` and short commands stay quick.
"""
# ruff: noqa: PLC0415

import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from reports.export import FILES

# What `report` writes.
FORMS = ("html", "json", *FILES)
Command = TypeVar("Command", bound=Callable[..., Any])


class PathArgument(click.Path):
    """A path that somebody means: an empty word is what a variable leaves that is not set, and no way to say "here"."""

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse an empty word."""
        if not str(value).strip():
            self.fail("it is empty; name a path, . for here (is a variable not set?)", param, ctx)
        return super().convert(value, param, ctx)


def _export(ctx: click.Context, parameter: click.Parameter, value: object) -> None:
    """Check a setting, and put it into the environment, where the processes we start find it as well."""
    if value is None or value is False:
        return
    from vm.settings import Settings

    name = str(parameter.name)
    settings = Settings.load({name: value}, environment={}, directory=Path("/"))
    found = getattr(settings, name)
    os.environ[f"URING_MATRIX_{name.upper()}"] = "1" if found is True else str(found)


def settings(command: Command) -> Command:
    """Add the settings that every command with kernels has; they may stand before the command's name as well."""
    for option in (
        click.option(
            "--offline", is_flag=True, expose_value=False, callback=_export, help="Use what the cache has; no network."
        ),
        click.option(
            "--mirror",
            metavar="URI",
            expose_value=False,
            callback=_export,
            help="The Debian archive, as it would stand in sources.list; otherwise the one in this machine's apt "
            "configuration. May be followed by a space and the security archive's URI.",
        ),
        click.option(
            "--cache",
            metavar="DIR",
            expose_value=False,
            callback=_export,
            help="Where downloads and guest images are kept; otherwise the user's cache directory.",
        ),
    ):
        command = option(command)
    return command


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Write JSON to standard output, and nothing else there."
)


def kernels_option(help_text: str) -> Callable[[Command], Command]:
    """Add what names kernels: as arguments or as --kernel, which mean the same; the command gets `kernels`."""

    def both(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> None:
        # Options come in the order they were written, arguments behind them.
        ctx.params["kernels"] = (*ctx.params.get("kernels", ()), *value)

    def add(command: Command) -> Command:
        argument = click.argument("named", nargs=-1, metavar="[KERNEL]...", expose_value=False, callback=both)
        option = click.option(
            "--kernel", "optional", multiple=True, metavar="SPEC", expose_value=False, callback=both, help=help_text
        )
        return argument(option(command))

    return add


accel_option = click.option(
    "--accel",
    type=click.Choice(["auto", "kvm", "tcg"]),
    help="How guests run; auto, the default, is KVM where a short boot proves it to work, else emulation (tcg).",
)


def guest_options(command: Command) -> Command:
    """Add what guests are given beside a kernel; the command gets `cpus`, `memory_mib` and `parameters`."""
    for option in (
        click.option(
            "--append",
            "parameters",
            multiple=True,
            metavar="PARAMETERS",
            help="Kernel parameters for guests, beside those that they need; may be given several times.",
        ),
        click.option(
            "--memory",
            "memory_mib",
            type=click.IntRange(min=1),
            metavar="MIB",
            help="Memory of each guest; what its image needs, 256 or more, unless told otherwise.",
        ),
        click.option(
            "--cpus",
            type=click.IntRange(min=1, max=64),
            metavar="N",
            help="Processors of each guest; 1 unless told otherwise.",
        ),
    ):
        command = option(command)
    return command


def directory_option(what: str) -> Callable[[Command], Command]:
    """Make the option for the directory that a command writes into."""
    return click.option(
        "--out",
        required=True,
        type=PathArgument(file_okay=False),
        metavar="DIR",
        help=f"Where {what} are written.",
    )


gdb_option = click.option(
    "--gdb",
    "gdb_port",
    type=click.IntRange(0, 65_535),
    metavar="[=PORT]",
    help="Have the guest wait for gdb at 127.0.0.1:PORT, or a free port, before its first instruction, and set no "
    "deadlines; for one kernel.",
)


def arch_of(value: str | None) -> str:
    """Check an architecture; without one, this machine's."""
    if value is not None:
        from vm.catalogue import Catalogue

        known = Catalogue.load().flavours
        if value not in known:
            raise click.BadParameter(f"{value!r} is none of {', '.join(known)}", param_hint="--arch")
        return value
    from vm.qemu import host_arch

    return host_arch()


arch_option = click.option(
    "--arch",
    metavar="ARCH",
    help="The kernels' architecture by Debian's name (amd64, arm64); otherwise this machine's. Those of arm64 can be "
    "listed, fetched and pinned; only amd64 can be run as yet.",
)


def check_modes(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Check modes by name."""
    if not value:
        return value
    from conformance.modes import MODES
    from harness.suites import ALL_MODES, named_modes

    try:
        return tuple(named_modes(value, MODES))
    except KeyError as error:
        raise click.BadParameter(f"{error} is none of {', '.join([*MODES, ALL_MODES])}") from error


def check_workers(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    """Check a number of workers."""
    if value != "auto" and not (value.isascii() and value.isdigit()):
        raise click.BadParameter(f"{value!r} is neither a number nor auto")
    return value


def check_lock(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """Refuse what is no lock file at once, and not after minutes of preparations."""
    if value is not None:
        from vm.lock import read_lock

        read_lock(value)
    return value


known_issues_option = click.option(
    "--known-issues",
    "known_issues",
    multiple=True,
    type=PathArgument(dir_okay=False),
    metavar="FILE",
    callback=lambda ctx, parameter, value: _check_known_issues(value),
    help="A TOML file of tests that are known not to pass, by kernels: they are shown, and fail nothing; may be given "
    "several times.",
)


def _check_known_issues(value: tuple[Path, ...]) -> tuple[Path, ...]:
    """Refuse what cannot be meant at once, and not after minutes of preparations."""
    if value:
        from reports.issue_files import read_known_issues

        read_known_issues(value)
    return value


def check_forms(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Check the forms of a report by name; one word may have several."""
    return _named(value, FORMS)


def _named(words: Iterable[str], known: Collection[str]) -> tuple[str, ...]:
    """Names with commas or spaces between, each of them one of those that there are."""
    names = tuple(name for word in words for name in word.replace(",", " ").split())
    for name in names:
        if name not in known:
            raise click.BadParameter(f"{name!r} is none of {', '.join(known)}")
    if not names:
        raise click.BadParameter(f"name at least one of {', '.join(known)}")
    return names


def _check_fail_on(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    from reports.diff import GATES

    return tuple(GATES) if value is None else _named([value], GATES)


fail_on_option = click.option(
    "--fail-on",
    metavar="KIND[,KIND]...",
    callback=_check_fail_on,
    help="Which holes in a comparison are not green: lost, unknown, missing; otherwise all of them. What got worse "
    "(regression, flaky) is never green.",
)
