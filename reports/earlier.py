"""What an earlier run left in a directory: set aside when a run begins, given up when it has a verdict of its own."""

import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from reports.errors import DamagedError, ResultsError
from reports.events import fold
from reports.export import remove_exports
from reports.ours import RESULTS, is_ours, refuse_foreign, remove_consoles
from reports.pages import remove_pages
from reports.records import Results
from reports.storage import read

_CONSOLES = "consoles"


class Earlier:
    """An earlier run's results, journal and consoles.

    A run that comes to nothing puts everything back; for one that is killed before it has a verdict, the next does.
    Only the run that has claimed the journal may use this.
    """

    def __init__(self, journal: Path) -> None:
        self._directory = journal.parent
        # Where each file is, and where it is while it is set aside.
        self._places = {file: file.with_name(f".{file.name}.earlier") for file in (self._directory / RESULTS, journal)}
        self._journal = journal
        self._had_journal = _size(journal) > 0
        # Whether what `read` returned is not in a results.json that can be read.
        self.is_rebuilt = False
        self._consoles = self._names_of_consoles()

    @staticmethod
    def is_there(journal: Path) -> bool:
        """Whether an earlier run left anything."""
        names = (journal.name, f".{journal.name}.earlier", RESULTS, f".{RESULTS}.earlier")
        return any(_size(journal.with_name(name)) > 0 for name in names)

    def recover(self) -> bool:
        """Put back what a run set aside that was killed before it had a verdict.

        Returns:
            Whether there was something.
        """
        for left in self._directory.glob(f".{RESULTS}*.tmp"):  # half a file, which was to replace a whole one
            left.unlink(missing_ok=True)
        return self._put_back()

    def read(self) -> Results | None:
        """What an earlier run found; None where there was none.

        Of a file that was cut off the journal tells, which is written first.

        Raises:
            ResultsError: its file cannot be read, or a file of this name is somebody else's.
        """
        file = self._directory / RESULTS
        refuse_foreign(self._directory, [self._journal.name])
        if not file.exists():
            self.is_rebuilt = self._had_journal
            return fold(self._journal) if self._had_journal else None
        try:
            return read(file)
        except DamagedError as error:
            if not self._had_journal or not is_ours(file):
                raise ResultsError(f"{error.what} Remove it, or choose another directory with --out.") from error
        self.is_rebuilt = True
        found = fold(self._journal)
        note = f"{RESULTS} was cut off or damaged: what is kept of it was read from {self._journal.name}"
        return msgspec.structs.replace(found, notes=(*found.notes, note))

    def set_aside(self) -> None:
        """Put the files out of the way: whoever looks meanwhile must not take them for the run's that goes on.

        Raises:
            ResultsError: that is not possible; everything is where it was.
        """
        try:
            for file, aside in self._places.items():
                if file != self._journal:
                    with suppress(FileNotFoundError):
                        file.replace(aside)
                elif self._had_journal:  # replaced by the new one, in its place
                    _link(file, aside)
        except OSError as error:
            self._put_back()
            raise ResultsError(
                f"{self._directory} cannot be written: {error.strerror or error}. What was there before is unchanged; "
                "make room or choose another directory for the results."
            ) from error

    def put_back(self) -> None:
        """Undo it, consoles and all: the run came to nothing."""
        self._put_back()
        if not self._had_journal:
            self._journal.unlink(missing_ok=True)
        for name in self._names_of_consoles() - self._consoles:
            remove_consoles(self._directory / _CONSOLES / name)
        if not self._consoles:
            with suppress(OSError):
                (self._directory / _CONSOLES).rmdir()

    def give_up(self, consoles: Iterable[str]) -> None:
        """Drop what the run replaces: there is a verdict.

        Args:
            consoles: those of kept columns, relative to the directory; they stay.
        """
        kept = {Path(name).parts[1] for name in consoles if Path(name).parts[0] == _CONSOLES}
        for name in self._consoles - kept:
            remove_consoles(self._directory / _CONSOLES / name)
        # They would contradict the results from now on.
        remove_pages(self._directory)
        remove_exports(self._directory)
        for aside in self._places.values():
            aside.unlink(missing_ok=True)

    def _put_back(self) -> bool:
        found = False
        for file, aside in self._places.items():
            if aside.exists():
                found = True
                aside.replace(file)
                aside.unlink(missing_ok=True)  # of two links to one file, `replace` leaves both
        return found

    def _names_of_consoles(self) -> set[str]:
        with suppress(OSError):
            return {path.name for path in (self._directory / _CONSOLES).iterdir()}
        return set()


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _link(file: Path, other: Path) -> None:
    other.unlink(missing_ok=True)
    try:
        other.hardlink_to(file)
    except OSError:  # a file system without links
        shutil.copy2(file, other)
