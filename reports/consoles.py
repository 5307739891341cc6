"""Where the consoles of guests are: files beside results, and none of this machine's others."""

from pathlib import Path

from reports.records import Kernel


def directory_of(results: Path) -> Path:
    """The directory of results, which are named by their file or by it."""
    return results if results.is_dir() else results.parent


def console_file(kernel: Kernel, directory: Path) -> Path | None:
    """Find a kernel's console.

    Args:
        kernel: its record.
        directory: that of the results.

    Returns:
        The file as the record names it; None if there is none below that directory: results may be of any origin.
    """
    if kernel.console is None:
        return None
    file = directory / kernel.console
    try:
        is_inside = file.resolve().is_relative_to(directory.resolve())
        return file if is_inside and file.is_file() else None
    except (OSError, ValueError):
        return None
