"""What a case of the differential test is: a small project, and how pytest is called in it."""

import dataclasses
import shutil
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path


@dataclasses.dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: str


@dataclasses.dataclass(frozen=True, slots=True)
class Executable:
    """A file with its run bit."""

    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Folder:
    """A folder with nothing in it."""


# Gives the interpreter of an environment that has these packages.
Environments = Callable[[tuple[str, ...]], Path]
Entry = str | bytes | Link | Executable | Folder


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """One project and option set, run plain and in a guest.

    Attributes:
        id: as pytest shows it.
        files: the project, path to content. Text is dedented.
        arguments: pytest's.
        again: arguments of further runs in the same project, one after another (`--lf` after a failure).
        environment: variables, for both runs.
        directory: where pytest is called, below the project.
        kernel_arguments: what only the run with a kernel is told, what is to be sent along, say.
        packages: distributions that the case's virtual environment has.
        is_script: call the `pytest` executable instead of `python -m pytest`.
        has_junit: add `--junitxml`.
        has_order: compare the order of items, too. Off where pytest itself leaves it open.
        refusal: when the run with a kernel may be refused instead (usage, exit 4): what its message has to contain.
    """

    id: str
    files: Mapping[str, Entry]
    arguments: tuple[str, ...] = ("-rA",)
    again: tuple[tuple[str, ...], ...] = ()
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    directory: str = "."
    kernel_arguments: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    is_script: bool = False
    has_junit: bool = True
    has_order: bool = True
    refusal: str = ""

    @property
    def runs(self) -> tuple[tuple[str, ...], ...]:
        """The arguments of every run."""
        return (self.arguments, *self.again)

    def write(self, root: Path) -> None:
        """Lay the project out, in place of what is there."""
        if root.exists():
            shutil.rmtree(root)
        root.mkdir(parents=True)
        for name, entry in self.files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            match entry:
                case str():
                    path.write_text(_dedented(entry), encoding="utf-8")
                case bytes():
                    path.write_bytes(entry)
                case Executable():
                    path.write_text(_dedented(entry.text), encoding="utf-8")
                    path.chmod(0o755)
                case Link():
                    path.symlink_to(entry.target)
                case Folder():
                    path.mkdir(exist_ok=True)


def _dedented(text: str) -> str:
    return textwrap.dedent(text.removeprefix("\n"))
