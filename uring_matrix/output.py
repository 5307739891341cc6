"""How the command line speaks: results to standard output, all else to standard error, colour only if welcome."""

import errno
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from rich.console import Console

# Exit codes, as promised to scripts.
EXPECTED, UNEXPECTED, USAGE, INFRASTRUCTURE, INTERRUPTED = 0, 1, 2, 3, 130
# What the shell says of a program that SIGPIPE ended; whoever reads us stopped reading, which is no verdict.
PIPE_CLOSED = 141

# What `git bisect run` takes for "neither good nor bad", and what makes it stop.
BISECT_SKIP, BISECT_STOP_MIN = 125, 128


def bisect_code(code: int) -> int:
    """Translate an exit code for `git bisect run`: what is no verdict is neither good nor bad."""
    return code if code in (EXPECTED, UNEXPECTED) or code >= BISECT_STOP_MIN else BISECT_SKIP


# What a disk does without anybody having asked for the wrong thing.
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})


def use_color() -> bool | None:
    """Say whether to colour: False and True are the user's wish, None leaves it to what the stream is.

    NO_COLOR wins (no-color.org); FORCE_COLOR=0 is how programs that know the variable are told not to.
    """
    forced = os.environ.get("FORCE_COLOR")
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or forced in ("0", "false"):
        return False
    return True if forced else None


def say(text: str = "") -> None:
    """Write a line of results."""
    click.echo(text, color=use_color())


def tell(text: str) -> None:
    """Write a line about what is going on to standard error."""
    click.echo(text, err=True, color=use_color())


def error_line(text: str) -> None:
    """Write the sentence that a command failed with."""
    tell(f"{click.style('uring-matrix:', fg='red', bold=True)} {text}")


def say_json(document: Any) -> None:
    """Write JSON, in one line wherever it goes: what a CI job's output takes, and what `jq` lays out for a reader."""
    say(json.dumps(document, ensure_ascii=False))


def console(stream: TextIO | None = None) -> "Console":
    """Make a console for what needs more than lines: on standard output, unless told otherwise.

    Colours are one thing, and whether something can be drawn over is another: a file is no terminal, whoever forces
    colours into it.
    """
    # rich takes as long to load as everything else of a short command.
    from rich.console import Console  # noqa: PLC0415

    stream = stream or sys.stdout
    wish = use_color()
    is_terminal = stream.isatty()
    return Console(
        file=stream,
        highlight=False,
        force_terminal=is_terminal,
        no_color=wish is False,
        color_system="standard" if wish and not is_terminal else "auto",
    )


def bold(text: str) -> str:
    """Make text bold where colour is welcome."""
    return click.style(text, bold=True)


# By the tone of a verdict.
_COLORS = {"good": "green", "plain": "yellow", "bad": "red", "ours": "magenta", "open": "blue"}


def symbol(text: str, tone: str) -> str:
    """Write a verdict's symbol in its colour."""
    return click.style(text, fg=_COLORS.get(tone), bold=tone == "bad" or None)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = ()) -> list[str]:
    """Lay out a table in plain text.

    Args:
        heads: column heads.
        rows: cells, which may carry styles.
        right: heads of the columns to align at their right end.

    Returns:
        One line per row, the heads first; no line ends in spaces.
    """
    cells = [[bold(head) for head in heads], *([str(cell) for cell in row] for row in rows)]
    widths = [max(_width(row[index]) for row in cells) for index in range(len(heads))]
    aligned_right = {heads.index(head) for head in right}
    lines = []
    for row in cells:
        parts = []
        for index, cell in enumerate(row):
            padding = " " * (widths[index] - _width(cell))
            parts.append(padding + cell if index in aligned_right else cell + padding)
        lines.append("  ".join(parts).rstrip())
    return lines


def width() -> int | None:
    """How many characters a line of standard output may have; None where nothing limits it: a file, a pipe."""
    wish = os.environ.get("COLUMNS", "")
    if wish.isascii() and wish.isdigit() and int(wish):
        return int(wish)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError):
        return None


def fits(lines: Iterable[str], width: int | None) -> bool:
    """Whether no line is longer than a terminal is wide."""
    return width is None or all(_width(line) <= width for line in lines)


def wrapped(text: str, width: int | None, indent: str = "") -> list[str]:
    """Break a text between words where a line would become too long.

    Args:
        text: one line; styled parts must not have blanks.
        width: of the terminal; None for a line of any length.
        indent: what each line begins with.
    """
    lines = [indent]
    # What is a blank to Python and not to a reader stays: a name may have it.
    for piece in re.findall(r" *[^ ]+", text):
        is_first = lines[-1] == indent
        word = piece.lstrip(" ") if is_first else piece
        if width is not None and not is_first and _width(lines[-1] + word) > width:
            lines.append(indent + piece.lstrip(" "))
        else:
            lines[-1] += word
    return lines


def _width(text: str) -> int:
    return len(click.unstyle(text))


def megabytes(size_bytes: int | None) -> str:
    """Give a size as people read it, an unknown one as nothing."""
    return "" if size_bytes is None else f"{size_bytes / 1e6:.1f} MB"


def explain(error: BaseException) -> tuple[str, int] | None:
    """Turn an error that users can do something about into a sentence and an exit code; None for any other."""
    # Loaded here, because a command that succeeds needs none of them.
    from reports.errors import ResultsError  # noqa: PLC0415
    from vm.errors import SettingsError, SpecError, VmError  # noqa: PLC0415

    if isinstance(error, SpecError | SettingsError | ResultsError):
        cause = error.__cause__
        is_disk = isinstance(cause, OSError) and cause.errno in _DISK_ERRORS
        return str(error), INFRASTRUCTURE if is_disk else USAGE
    if isinstance(error, VmError):
        return str(error), INFRASTRUCTURE
    if isinstance(error, OSError) and error.errno is not None:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}", INFRASTRUCTURE
    return None
