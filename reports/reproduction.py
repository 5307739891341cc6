"""What names exactly one kernel on a command line, and the command that repeats a whole column. Pure functions."""

import os.path
import shlex
from collections.abc import Iterable, Sequence
from itertools import takewhile

from reports.records import Kernel


def kernel_spec(kernel: Kernel) -> str:
    """What names exactly this kernel: a path, one version of one package, `host`."""
    if kernel.source == "host":
        return "host"
    if kernel.location is not None:
        return kernel.location
    if kernel.package is not None and kernel.package_version is not None:
        return f"{kernel.package}={kernel.package_version}"
    return kernel.release or kernel.id


def common_place(commands: Iterable[str]) -> str | None:
    """Find what all tests of a run are in: a file, a folder, a package; None if there is no such thing.

    Args:
        commands: that repeat one cell each; the test stands last.
    """
    words = [own for command in commands if (own := _words(command))]
    files = list(dict.fromkeys(own[-1].partition("::")[0] for own in words))
    if not files:
        return None
    if len(files) == 1:
        return words[0][-1] if len(words) == 1 else files[0]
    if all("--pyargs" in own for own in words):
        levels = zip(*(file.split(".") for file in files), strict=False)
        return ".".join(names[0] for names in takewhile(lambda names: len(set(names)) == 1, levels)) or None
    try:
        return os.path.commonpath(files) or "."
    except ValueError:  # some are absolute
        return None


def column_command(command: str, place: str, modes: Sequence[str]) -> str | None:
    """Turn the command that repeats one cell into the one that repeats its column.

    Args:
        command: of any cell of the column; the test stands last.
        place: what all tests are in.
        modes: those that the column was tested in.

    Returns:
        None for what is no such command: results may be of any origin.
    """
    words = _words(command)[:-1]
    if "--kernel" not in words:
        return None
    if "--mode" in words:
        at = words.index("--mode")
        del words[at : at + 2]
    if list(modes) != ["default"]:
        at = words.index("--kernel") + 2
        words[at:at] = [word for mode in modes for word in ("--mode", mode)]
    return shlex.join([*words, place])


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return []
