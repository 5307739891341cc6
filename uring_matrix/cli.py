"""The command line: names, options, help texts and exit codes. What a command does lives in a module of its own.

Those modules are loaded when their command runs: `--help` and short commands stay quick.
"""

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

import click
from click.core import ParameterSource

from reports.export import WITH_ORIGIN
from uring_matrix import help_texts, output
from uring_matrix.common_options import (
    FORMS,
    PathArgument,
    accel_option,
    arch_of,
    arch_option,
    check_forms,
    check_lock,
    check_modes,
    check_workers,
    directory_option,
    fail_on_option,
    gdb_option,
    guest_options,
    json_option,
    kernels_option,
    known_issues_option,
    settings,
)


class _Unread(Exception):  # noqa: N818 -- nothing went wrong here
    """Nobody reads our output any more, `head` for instance."""


class _Main(click.Group):
    """The group: commands in the order in which one needs them, not by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError as error:
            # click would exit with 1, which here stands for a verdict.
            raise _Unread from error
        return result


class _Run(click.Command):
    """A command whose words after `--` are for pytest, and that takes no others."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        # click would take the word behind an option without a value for its value, a kernel say.
        own = [f"{word}=0" if word == "--gdb" else word for word in args[:end]]
        left = super().parse_args(ctx, own)
        ctx.params["pytest_args"] = tuple(args[end + 1 :])
        return left

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- PYTEST_ARGS...]"]


# -- commands ---------------------------------------------------------------------------------------------------------


@click.group(
    cls=_Main,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=help_texts.epilog(
        """\b
Examples:
  uring-matrix run                               every kernel series, then open matrix/index.html
  uring-matrix run 6.1 latest                    two of them
  uring-matrix run ~/linux                       the kernel you have just built
  uring-matrix can accept-multishot send_zc      which kernel has both, from results
  uring-matrix diff old/ new/                    what changed between two runs
  uring-matrix doctor                            what this machine can do, and what it lacks""",
        help_texts.EXIT_CODES,
        help_texts.SETTINGS,
    ),
)
@click.version_option(package_name="uring-matrix", message="%(prog)s %(version)s")
@settings
def cli() -> None:
    """Boot real Linux kernels, run an io_uring conformance suite in each, report what works from which kernel on."""


@cli.command(
    cls=_Run,
    epilog=help_texts.epilog(
        help_texts.SPECS,
        """\b
Examples:
  uring-matrix run '5.*' latest --out old-and-new
  uring-matrix run 6.12 --mode default --mode coop-taskrun
  uring-matrix run --resume                      go on with a run that was interrupted
  uring-matrix run 6.1 -k accept -- -x           whatever follows -- is pytest's
  uring-matrix run --baseline last/results.json  a run and a diff in one step
  uring-matrix run ~/linux -k accept --gdb       with gdb attached to the guest
  uring-matrix run -- --lf -v                    what failed last, shown by pytest itself""",
        help_texts.EXIT_CODES,
    ),
)
@kernels_option("A kernel to test, as KERNEL is; may be given several times. Default: all.")
@click.option("-k", "expression", metavar="EXPR", help="Only tests whose names fit, as pytest's own -k.")
@click.option(
    "--arch",
    "archs",
    multiple=True,
    metavar="ARCH",
    help="An architecture of guests, by Debian's name; may be given several times. As yet there is amd64 only.",
)
@click.option(
    "--mode",
    "modes",
    multiple=True,
    metavar="MODE",
    callback=check_modes,
    help="A ring mode to test in (default, coop-taskrun, …), or all; may be given several times.",
)
@click.option(
    "--out",
    type=PathArgument(file_okay=False),
    default=Path("matrix"),
    show_default=True,
    metavar="DIR",
    help="Where results.json and the site are written.",
)
@click.option(
    "-n",
    "workers",
    metavar="WORKERS",
    default="auto",
    show_default=True,
    callback=check_workers,
    help="Guests side by side; 0, like 1: one after another.",
)
@accel_option
@click.option(
    "--resume", is_flag=True, help="Keep the verdicts in DIR that were obtained in the same way; run the rest."
)
@click.option("--no-report", is_flag=True, help="Write results.json only; an older site in DIR is removed.")
@click.option("--no-snapshots", is_flag=True, help="Boot every guest anew; about guests, not about host.")
@click.option(
    "--lock",
    type=PathArgument(dir_okay=False),
    metavar="FILE",
    callback=check_lock,
    help="Use exactly the kernels that this file pins; `uring-matrix kernels lock` writes it.",
)
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Run each test N times, to find those that waver.",
)
@click.option(
    "--until-failure",
    is_flag=True,
    help="Stop repeating a test at its first bad verdict; up to 1,000 times, or --repeat.",
)
@click.option(
    "--test-timeout",
    "test_timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Seconds that one test may take, exactly; otherwise 90, and up to 270 on a slow machine.",
)
@click.option(
    "--baseline",
    metavar="FILE[#KERNEL]",
    help="Compare with an earlier results.json, or one kernel of it, when the run is over; the exit code is what "
    "`diff` says.",
)
@click.option(
    "--bisect", is_flag=True, help="Exit with 0 (good), 1 (bad) or 125 (no verdict), as `git bisect run` wants it."
)
@fail_on_option
@guest_options
@gdb_option
@click.option("--isolate", is_flag=True, help="Give each test a guest of its own; about guests, not about host.")
@click.option(
    "--guest-package",
    "guest_packages",
    multiple=True,
    metavar="NAME",
    help="Give guests this installed distribution as well; may be given several times.",
)
@click.option(
    "--guest-env",
    "guest_env",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Give guests this environment variable, with this machine's value or another; may be given several times.",
)
@known_issues_option
@click.option("--allow-flaky", is_flag=True, help="Exit with 0 where a test wavered and was good at last; it is shown.")
@json_option
@settings
def run(*, no_report: bool, no_snapshots: bool, **options: Any) -> int:
    """Run the suite inside kernels and write the matrix.

    Kernels, QEMU and the guests' Python are fetched on first use, verified, and kept in the cache.
    """
    _check_baseline(options["baseline"])
    _check_kernels(options["kernels"])
    _begin("preparing tests in", options["kernels"] or ["all" if options["lock"] is None else str(options["lock"])])
    return _call("run", "run", report=not no_report, snapshots=not no_snapshots, **options)


@cli.command(
    short_help="Say whether capabilities are there, and from which kernel on.",
    epilog=help_texts.CAN,
)
@click.argument("words", nargs=-1, metavar="[WHAT]... [RESULTS]")
@click.option("--on", multiple=True, metavar="KERNEL", help="A kernel to ask about; may be given several times.")
@click.option("--mode", metavar="MODE", help="The ring mode; otherwise default.")
@click.option("--arch", metavar="ARCH", help="The architecture; otherwise each that was tested.")
@json_option
def can(words: tuple[str, ...], on: tuple[str, ...], mode: str | None, arch: str | None, as_json: bool) -> int:
    """Say whether capabilities are there, and from which kernel on. It comes from results; nothing is booted."""
    return _call("can", "can", words, on=on, mode=mode, arch=arch, as_json=as_json)


@cli.command(
    name="tests",
    short_help="List the tests there are.",
    epilog=help_texts.TESTS,
)
@click.option("-k", "expression", metavar="EXPR", help="Only tests whose names fit, as pytest's own -k.")
@json_option
def tests_command(expression: str | None, as_json: bool) -> int:
    """List the tests there are, with the kernel that each is documented for and the symbols that it exercises."""
    return _call("tests", "tests", expression, as_json=as_json)


@cli.command(
    short_help="Show what the verdict of a cell rests on.",
    epilog=help_texts.SHOW,
)
@click.argument("kernel")
@click.argument("test")
@click.argument("results", type=PathArgument(), default=Path("matrix/results.json"), metavar="[RESULTS]")
@click.option("--mode", metavar="MODE", help="The ring mode; otherwise each that was tested.")
@click.option("--arch", metavar="ARCH", help="The architecture; otherwise each that was tested.")
@click.option("--console", "has_whole_console", is_flag=True, help="Show all of the console, not the part of the test.")
@json_option
def show(kernel: str, test: str, results: Path, **options: Any) -> int:
    """Show a cell: its verdict, the evidence, the kernel's messages, the console, and the command that repeats it."""
    return _call("cell", "show", kernel, test, results, **options)


@cli.group(cls=_Main, epilog=help_texts.SPECS)
@settings
def kernels() -> None:
    """The kernels there are: list, fetch and pin them, and clean up."""


@kernels.command(
    name="list",
    epilog=help_texts.epilog(
        """\b
Examples:
  uring-matrix kernels list
  uring-matrix kernels list --json '6.*' latest""",
        """\b
The JSON is one object: schema_version (1) and kernels, each with
  id, spec              what results call it, and what to give to --kernel to get exactly it
  series, arch, source  6.1; amd64; debian, path or host
  release               uname -r, null where only the boot will tell
  package, package_version, suite, location
  size_bytes            what it costs to download
  is_cached             whether it is here already
  is_lts, released      the series is a long-term one, and the day it came out (or null)
Fields may be added; those named here stay.""",
    ),
)
@click.argument("specs", nargs=-1, metavar="[SPEC]...")
@json_option
@click.option("--update", is_flag=True, help="Ask the archive even if its package lists are less than a day old.")
@arch_option
@settings
def list_kernels(specs: tuple[str, ...], as_json: bool, update: bool, arch: str | None) -> int:
    """Show the kernels that SPECs name: the newest of every series, unless told otherwise."""
    return _call("kernels", "list_kernels", specs, arch=arch_of(arch), as_json=as_json, update=update)


@kernels.command(epilog="\b\nExample:\n  uring-matrix kernels fetch all")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...")
@arch_option
@settings
def fetch(specs: tuple[str, ...], arch: str | None) -> int:
    """Download all that runs of these kernels need, so that later ones need no network.

    That is the kernels, the guest image and its packages, and QEMU.
    """
    return _call("kernels", "fetch", specs, arch=arch_of(arch))


@kernels.command(
    epilog="\b\nExample:\n  uring-matrix kernels lock 6.1 6.12 -o kernels.lock\n  uring-matrix run --lock kernels.lock"
)
@click.argument("specs", nargs=-1, metavar="[SPEC]...")
@click.option(
    "-o",
    "--out",
    type=PathArgument(dir_okay=False),
    default=Path("kernels.lock"),
    show_default=True,
    metavar="FILE",
    help="Where to write it.",
)
@arch_option
@settings
def lock(specs: tuple[str, ...], out: Path, arch: str | None) -> int:
    """Pin kernels: write exact packages and the hashes of their images to a file, for `run --lock`."""
    return _call("kernels", "lock", specs, out=out, arch=arch_of(arch))


@kernels.command()
@click.option("--all", "everything", is_flag=True, help="Remove whatever no run is using at the moment.")
@arch_option
@settings
def prune(everything: bool, arch: str | None) -> int:
    """Remove what a run would not use: superseded kernels, and what nobody wanted for a month."""
    if everything and arch is not None:
        raise click.UsageError("--all removes what there is of every architecture, and --arch names one; leave one out")
    return _call("kernels", "prune", everything=everything, arch=arch_of(arch))


@cli.command(
    short_help="Write the site of one or several results.json, or files for other tools.",
    epilog="""\b
Examples:
  uring-matrix report job-1/results.json job-2/ --out site
  uring-matrix report matrix/ --out matrix --format junit    for a CI system
  uring-matrix report matrix/ --out matrix --exit-code       0, 1 or 3, as `run` would exit
  uring-matrix report matrix/ --out matrix --baseline last/  the same, beside earlier results
\b
Formats:
  html   the site, and results.json beside it
  json   results.json alone
  junit  junit.xml, JUnit XML as Jenkins, GitLab and others read it
  ctrf   ctrf.json, Common Test Report Format
  kcidb  kcidb.json, a submission to KernelCI's database
  csv    results.csv, a row per cell
What has no verdict is never a pass or a skip there: docs/exports.md.""",
)
@click.argument("results", nargs=-1, required=True, metavar="RESULTS...", type=PathArgument())
@directory_option("the files")
@click.option(
    "--format",
    "forms",
    metavar="FORM[,FORM]...",
    callback=check_forms,
    multiple=True,
    default=("html",),
    help=f"What to write, of {', '.join(FORMS)}; may be given several times. Default: html, the site.",
)
@click.option("--origin", metavar="NAME", help="With --format kcidb: who submits, by the name that KernelCI gave.")
@click.option("--exit-code", "is_judged", is_flag=True, help="Exit as `run` would have for these results.")
@click.option(
    "--baseline",
    metavar="FILE[#KERNEL]",
    help="Compare with an earlier results.json; the exit code is what `run --baseline` would have.",
)
@known_issues_option
@fail_on_option
def report(results: tuple[Path, ...], out: Path, forms: tuple[str, ...], origin: str | None, **options: Any) -> int:
    """Write the site of one or several results.json (or directories that hold one); several are merged."""
    if origin is not None and WITH_ORIGIN.isdisjoint(forms):
        raise click.UsageError(f"--origin is for --format {', '.join(WITH_ORIGIN)}: no other format says who submits")
    _check_baseline(options["baseline"])
    return _call("report", "report", results, out, forms=forms, origin=origin, **options)


@cli.command(
    short_help="Write pages of several runs in time: what changed when.",
    epilog="\b\nExample:\n  uring-matrix history monday/ tuesday/ wednesday/ --out runs",
)
@click.argument("results", nargs=-1, required=True, metavar="RESULTS...", type=PathArgument())
@directory_option("index.html and the comparisons")
def history(results: tuple[Path, ...], out: Path) -> int:
    """Compare runs, each with the one before it: what was lost and gained when, and on which release.

    RESULTS are results.json files, or directories that hold one, in any order.
    """
    return _call("history", "history", results, out)


@cli.command(
    short_help="Compare two runs, or two kernels.",
    epilog=help_texts.epilog(
        """\b
Examples:
  uring-matrix diff yesterday/ today/
  uring-matrix diff 'matrix#6.1' 'matrix#6.12'   two columns of one run
  uring-matrix diff old/ new/ --markdown         for a pull request
  uring-matrix diff old/ new/ --fail-on lost,missing""",
        """\b
Worse, exit code 1, whatever --fail-on says:
  regression  it passed and does not any more, or it fails and did neither before
  flaky       it wavers, and did not before
Holes, exit code 3, of which --fail-on chooses those that count:
  lost        it had a verdict, and has none now
  unknown     it has no verdict (infra, notrun, error), and had none before; or it had none, and is
              no pass now; or the new run is incomplete
  missing     a cell is not there any more: a kernel, a test, a mode
Where no cell has a verdict on both sides, the exit code is 3.
`--fail-on regression` lets every hole pass.""",
    ),
)
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@json_option
@click.option("--markdown", "as_markdown", is_flag=True, help="Write Markdown, for a pull request or a job's summary.")
@click.option("--html", "as_html", is_flag=True, help="Write one self-contained page.")
@fail_on_option
def diff(old: str, new: str, as_json: bool, as_markdown: bool, as_html: bool, fail_on: tuple[str, ...]) -> int:
    """Compare two runs, or two kernels: OLD and NEW are results.json files, or FILE#kernel for one column."""
    forms = [name for name, is_it in (("json", as_json), ("markdown", as_markdown), ("html", as_html)) if is_it]
    if len(forms) > 1:
        raise click.UsageError(f"--{forms[0]} and --{forms[1]} are two forms of one output: choose one")
    return _call("diff", "diff", old, new, form=forms[0] if forms else None, fail_on=fail_on)


@cli.command(
    short_help="List what kernels do that nobody documents.",
    epilog="\b\nExample:\n  uring-matrix findings matrix/ --out findings.md",
)
@click.argument("results", type=PathArgument(), default=Path("matrix/results.json"), metavar="[RESULTS]")
@click.option(
    "--out", type=PathArgument(dir_okay=False), metavar="FILE", help="Where to write it; else, to the terminal."
)
def findings(results: Path, out: Path | None) -> int:
    """List, as Markdown, what results say beside the documentation, and what changes from kernel to kernel.

    It comes from results; nothing is booted.
    """
    return _call("findings", "findings", results, out)


@cli.command(short_help="Show what a kernel's io_uring has.", epilog=help_texts.SPECS)
@kernels_option("A kernel to ask, as KERNEL is; may be given several times. Default: host, the running one.")
@accel_option
@guest_options
@json_option
@settings
def probe(kernels: tuple[str, ...], **options: Any) -> int:
    """Show what a kernel's io_uring has: operations, flags, features, registrations, limits, each tried."""
    _check_kernels(kernels)
    _begin("asking", kernels or ["host"])
    return _call("probe", "probe", kernels, **options)


@cli.command(
    short_help="Say what this machine can do, and what mends it.",
    epilog="""\b
Examples:
  uring-matrix doctor
  uring-matrix doctor --offline 6.1 6.12   whether these run without a network

Exit code 3 means that no kernel can be run on this machine as it is; with --offline, that something is missing which
such a run needs.""",
)
@kernels_option(
    "A kernel to look for in the cache, as KERNEL is; may be given several times. Offline, the default: all."
)
@json_option
@settings
def doctor(kernels: tuple[str, ...], as_json: bool) -> int:
    """Say what this machine can do, what it lacks, and the command that mends it."""
    return _call("doctor", "doctor", kernels=kernels, as_json=as_json)


@cli.command(short_help="Open a Python prompt inside a kernel.", epilog=help_texts.SPECS)
@kernels_option("The kernel, as KERNEL is.")
@accel_option
@guest_options
@settings
def shell(kernels: tuple[str, ...], **options: Any) -> int:
    """Open a Python prompt inside a kernel, with `uring` ready to be imported."""
    if len(kernels) != 1:
        raise click.UsageError("a prompt is of one kernel: name one, such as 6.1, latest or ./bzImage")
    _check_kernels(kernels)
    _begin("preparing a guest of", kernels)
    return _call("shell", "shell", kernels[0], **options)


# -- from the outside -------------------------------------------------------------------------------------------------


def _call(module: str, function: str, *arguments: Any, **options: Any) -> int:
    """Load a command's module and call it."""
    loaded = importlib.import_module(f"uring_matrix.{module}")
    return cast(int, getattr(loaded, function)(*arguments, **options))


def _check_baseline(baseline: str | None) -> None:
    is_chosen = click.get_current_context().get_parameter_source("fail_on") is ParameterSource.COMMANDLINE
    if is_chosen and baseline is None:
        raise click.UsageError("--fail-on is about holes in a comparison: say with what, --baseline FILE")


def _check_kernels(kernels: Sequence[str]) -> None:
    if any(not spec.strip(" ,") for spec in kernels):
        raise click.UsageError("a kernel's name is empty: name one, such as 6.1, latest or ./bzImage")


def _begin(what: str, kernels: Sequence[str]) -> None:
    """Say at once what is going to take a while: what does it takes a second to load, and longer to have news."""
    if list(kernels) != ["host"]:
        output.tell(f"{what} {', '.join(kernels)} …")


def execute(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: instead of those this process was given.

    Returns:
        The exit code. Whatever users can do something about is told in a sentence.
    """
    words = list(arguments) if arguments is not None else sys.argv[1:]
    own = words[: words.index("--")] if "--" in words else words
    code = _execute(words)
    # Whatever ends a run before it is one, a mistyped option as well, says nothing about the commit.
    return output.bisect_code(code) if own[:1] == ["run"] and "--bisect" in own else code


def _execute(words: list[str]) -> int:
    try:
        result = cli.main(words, prog_name="uring-matrix", standalone_mode=False)
    except click.UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # since click 8.2; its message is the help
            output.tell(error.format_message())
            return output.USAGE
        if error.ctx is not None:
            output.tell(error.ctx.get_usage())
        output.error_line(error.format_message())
        if error.ctx is not None:
            output.tell(f"`{error.ctx.command_path} --help` says more")
        return output.USAGE
    except click.ClickException as error:
        output.error_line(error.format_message())
        return output.USAGE
    except (click.Abort, KeyboardInterrupt):
        output.error_line("interrupted")
        return output.INTERRUPTED
    except _Unread:
        # Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return output.PIPE_CLOSED
    except Exception as error:
        # The last place where it can become a sentence and an honest exit code.
        explained = output.explain(error)
        if explained is None:
            traceback.print_exc()
            output.error_line("that was a mistake of uring-matrix itself; please report it with the lines above")
            return output.INFRASTRUCTURE
        output.error_line(explained[0])
        return explained[1]
    return result if isinstance(result, int) else output.EXPECTED


def main() -> NoReturn:
    """Run the command that this process was started for."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Whoever ends us wants what Ctrl-C does: what is done is kept, nothing stays behind.
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    sys.exit(execute())
