"""Items of what a suite observes of a kernel in one go, without a test for each: pytest knows them like any others."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark.expression import Expression

from harness.cells import Cell
from harness.facts import OBSERVED
from harness.suites import DEFAULT_MODE, Observation, Suite, load
from harness.unsupported import Unsupported

# Of `Observation.describe`, what results show as it is.
_FIELDS = ("title", "kind", "symbols", "group", "doc", "since", "detect", "number", "documented")


class ObserverEndedError(Exception):
    """The process that observed ended, or did not come back: in the kernel's hands."""


class ObservedItem(pytest.Item):
    """One thing that is observed. In guests all of a list are observed at once (`harness.guest.item_loop`)."""

    def __init__(self, *, description: Mapping[str, Any], observer: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # `module:function`, as `Observation.observe` has it.
        self.observer = observer
        # Its name where it is observed, whatever cell it is for.
        self.subject: str = description["id"]
        self._description = description
        self.add_marker(description["kind"])
        # What `-k` has to say in full to choose it: parts of ids are what all of a kind have in common.
        whole = {self.subject, description["kind"], *description["symbols"][:1]}
        self.extra_keyword_matches.update(whole)
        self.whole_names = {name.lower() for name in whole}

    def runtest(self) -> None:
        """Observe it here, in process."""
        found = next(iter(load(self.observer)([self.subject])))
        self.stash[OBSERVED] = found
        if found.get("ended"):
            raise ObserverEndedError(found["evidence"])
        if found["state"] == "lacks":
            raise Unsupported(found["evidence"])
        if found["state"] != "has":
            pytest.skip(f"{found['state']}: {found['evidence']}")

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where it is from: of all of them the same file."""
        return self.path, None, self.name

    def describe(self) -> dict[str, Any]:
        """What results say of it, as `harness.rows.describe` has it."""
        ask: Callable[..., object] = inspect.unwrap(self._description["function"])
        path = Path(inspect.getfile(ask))
        return {
            **{name: self._description[name] for name in _FIELDS},
            "source": f"{_shown(path)}:{ask.__code__.co_firstlineno}",
            "code": inspect.getsource(ask),
        }


class ObservedFile(pytest.File):
    """The file that a suite has them collected from."""

    def __init__(self, *, observation: Observation, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._observation = observation

    def collect(self) -> Iterator[ObservedItem]:
        """Make an item for each thing."""
        for description in load(self._observation.describe)():
            yield ObservedItem.from_parent(
                self, name=description["id"], description=description, observer=self._observation.observe
            )


def file_of(path: Path, parent: pytest.Collector, suites: Iterable[Suite]) -> ObservedFile | None:
    """The collector of a file, if it is one that a suite has things collected from."""
    for suite in suites:
        if suite.observation is not None and suite.observation.file == path:
            return ObservedFile.from_parent(parent, path=path, observation=suite.observation)
    return None


def unchosen(items: Iterable[pytest.Item], expression: str) -> list[pytest.Item]:
    """Those that `-k` does not choose although a part of their name fits: who asks for `nop` means the tests of it.

    Args:
        items: of a session.
        expression: as it was given, well-formed or not: pytest says so.
    """
    try:
        compiled = Expression.compile(expression)
    except Exception:  # which one depends on pytest's version, and pytest tells the user what is wrong
        return []
    return [
        item
        for item in items
        if isinstance(item, ObservedItem)
        and not compiled.evaluate(lambda name, /, item=item, **_: name.lower() in item.whole_names)
    ]


def cells_for(collector: pytest.Collector, cells: Sequence[Cell]) -> Sequence[Cell]:
    """The cells that what a collector has is for: a mode is a way to run tests, and nothing that a kernel has."""
    if not isinstance(collector, ObservedFile):
        return cells
    return [cell for cell in cells if cell.mode == DEFAULT_MODE.id]


def observer_of(item: pytest.Item | None) -> str | None:
    """What an item is observed with, if it is."""
    return item.observer if isinstance(item, ObservedItem) else None


def _shown(path: Path) -> str:
    """A file of a package, from the folder that the package is in."""
    top = path.parent
    while (top.parent / "__init__.py").exists():
        top = top.parent
    return str(path.relative_to(top.parent))
