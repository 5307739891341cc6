"""The pages of a site on disk: which of them are ours, and may be removed."""

from collections.abc import Collection
from pathlib import Path

from reports.errors import ResultsError
from reports.ours import ANSWERS, is_ours

# Where pages are, beside those at the top.
DIRECTORIES = ("evidence", "can", "kernel", "diff")


def has_pages(directory: Path) -> bool:
    """Whether a site of ours is there."""
    return _is_ours(directory / "index.html")


def remove_pages(directory: Path) -> None:
    """Remove a site, and what programs read of it. Files of any other origin are left alone.

    The index is the first page to go: what is left leads nowhere. The answers for programs go before it: they are
    reached without it, and by it one knows that they are ours.

    Raises:
        ResultsError: a file cannot be removed.
    """
    if has_pages(directory):
        for name in (*ANSWERS, "index.html"):
            if _is_ours(directory / name):
                unlink(directory / name)
    remove_stale(directory)
    for name in DIRECTORIES:
        if (directory / name).is_dir() and not any((directory / name).iterdir()):
            (directory / name).rmdir()


def remove_stale(directory: Path, written: Collection[str] = ()) -> None:
    """Remove pages of earlier runs: those that carry our mark and were not written now.

    The front page is never among them: it is the last to be written, and the first to go.

    Raises:
        ResultsError: a page cannot be removed.
    """
    for page in _pages(directory):
        if page.relative_to(directory).as_posix() not in written and _is_ours(page):
            unlink(page)


def foreign_pages(directory: Path) -> list[str]:
    """Name the pages that lie where ours do, and are not ours.

    Raises:
        ResultsError: a page cannot be read.
    """
    return [page.relative_to(directory).as_posix() for page in _pages(directory) if not _is_ours(page)]


def _pages(directory: Path) -> list[Path]:
    pages = [page for name in DIRECTORIES for page in (directory / name).glob("*.html")]
    return sorted([*pages, *directory.glob("all*.html")])


def _is_ours(page: Path) -> bool:
    try:
        return is_ours(page)
    except OSError as error:
        raise _left(page, error) from error


def unlink(page: Path) -> None:
    """Remove a file that may be gone already.

    Raises:
        ResultsError: it cannot be removed.
    """
    try:
        page.unlink(missing_ok=True)
    except OSError as error:
        raise _left(page, error) from error


def _left(page: Path, error: OSError) -> ResultsError:
    return ResultsError(
        f"{page} is left from an earlier run and cannot be removed: {error.strerror or error}. Remove it by hand."
    )
