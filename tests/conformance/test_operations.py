"""Over all functional tests, on this machine's kernel: they ask for what they say, and each can fail.

`test_can_fail.py` has the same about Zig's 41.
"""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from test_can_fail import change_result, change_user_data

import uring
from conformance.modes import MODES
from conformance.operations import support
from uring.observe import find

ROOT = Path(__file__).parents[2]
SUITE = ROOT / "conformance/operations"
_DEADLINE_S = 0.3
FILES = sorted(SUITE.glob("test_*.py"))
Change = Callable[[uring.io_uring_cqe], uring.io_uring_cqe]


@dataclass(frozen=True, slots=True)
class Case:
    """A test function, with the arguments of one of its parameters' sets."""

    file: str
    name: str
    arguments: tuple[tuple[str, Any], ...] = ()
    label: str = ""

    def __str__(self) -> str:
        return f"{self.name}[{self.label}]" if self.label else self.name

    def function(self, module: types.ModuleType | None = None) -> Callable[..., None]:
        made: Callable[..., None] = vars(module or importlib.import_module(f"conformance.operations.{self.file}"))[
            self.name
        ]
        return made


def marks(function: Callable[..., None], name: str) -> list[Any]:
    return [mark for mark in getattr(function, "pytestmark", []) if mark.name == name]


def cases() -> Iterator[Case]:
    for path in FILES:
        module = importlib.import_module(f"conformance.operations.{path.stem}")
        for name, function in vars(module).items():
            if not name.startswith("test_") or not inspect.isfunction(function):
                continue
            yield from (Case(path.stem, name, *one) for one in parameters(function))


def parameters(function: Callable[..., None]) -> list[tuple[tuple[tuple[str, Any], ...], str]]:
    """All sets of arguments that `parametrize` gives a test."""
    sets: list[tuple[tuple[tuple[str, Any], ...], str]] = [((), "")]
    for mark in marks(function, "parametrize"):
        names = [one.strip() for one in mark.args[0].split(",")] if isinstance(mark.args[0], str) else mark.args[0]
        rows = [getattr(row, "values", row) if hasattr(row, "marks") else row for row in mark.args[1]]
        rows = [tuple(row) if len(names) > 1 or isinstance(row, tuple) else (row,) for row in rows]
        sets = [
            ((*given, *zip(names, row, strict=True)), f"{label}-{number}".lstrip("-"))
            for given, label in sets
            for number, row in enumerate(rows)
        ]
    return sets


CASES = list(cases())


# -- fixtures, made here ----------------------------------------------------------------------------------------------


@dataclass
class Tampering:
    """Changes one completion on its way to the test, the one with the given number."""

    change: Change | None = None
    target: int = -1
    count: int = field(default=0, init=False)

    def pass_on(self, cqe: uring.io_uring_cqe) -> uring.io_uring_cqe:
        self.count += 1
        if self.change is None or self.count - 1 != self.target:
            return cqe
        changed = self.change(cqe)
        return uring.io_uring_cqe(*changed, *cqe[3:])


class TamperedRing(uring.IoUring):
    """A ring whose completions go through a `Tampering`."""

    __slots__ = ("tampering",)
    tampering: Tampering

    def copy_cqe(self) -> uring.io_uring_cqe:
        return self.tampering.pass_on(super().copy_cqe())

    def copy_cqes(self, cqes: Any, wait_nr: int) -> int:
        count = super().copy_cqes(cqes, wait_nr)
        if not isinstance(cqes, uring.CqeArray):
            cqes[:count] = [self.tampering.pass_on(cqe) for cqe in cqes[:count]]
        return count


@cache
def missing(name: str) -> bool:
    return uring.capabilities(name)[name].state in {"lacks", "off"}


def needs(function: Callable[..., None]) -> list[str]:
    named = [str(name) for mark in marks(function, "symbols") for name in mark.args]
    found = [str(name) for mark in marks(function, "needs") for name in mark.args]
    for name in named:
        try:
            find(name)
        except KeyError:
            continue
        found.append(name)
    return found


def run(case: Case, scratch: Path, tampering: Tampering | None = None, module: types.ModuleType | None = None) -> None:
    """Call a test function with its fixtures, and clean up after it."""
    function = case.function(module)
    tampering = tampering or Tampering()
    with ExitStack() as stack:

        def ring(entries: int, flags: int = 0, **fields: int) -> uring.IoUring:
            params = uring.io_uring_params(flags=flags, **fields)
            if not fields:
                params.sq_thread_idle = 1000
            made = TamperedRing.__new__(TamperedRing)
            made.tampering = tampering
            made._open(entries, params, True)
            stack.callback(made.deinit)
            return made

        fixtures: Mapping[str, Any] = {
            "ring": ring,
            "mode": MODES["default"],
            "scratch": scratch,
            "scratch_ext4": scratch,
            "loopback": "127.0.0.1",
            **dict(case.arguments),
        }
        wanted = inspect.signature(function).parameters
        if unknown := wanted.keys() - fixtures.keys():
            pytest.skip(f"needs {', '.join(sorted(unknown))}, which only pytest makes")
        with pytest.MonkeyPatch.context() as patch:
            # What is changed is found or not: nobody waits long for a completion that goes by another name.
            if tampering.change is not None:
                patch.setitem(support.reap.__kwdefaults__, "deadline_s", _DEADLINE_S)
            function(**{name: fixtures[name] for name in wanted})


def is_red(case: Case, scratch: Path, tampering: Tampering | None = None) -> bool:
    """Does the test fail? A skip is no failure."""
    try:
        run(case, scratch, tampering)
    except (Exception, pytest.fail.Exception):
        return True
    except pytest.skip.Exception:
        return False
    return False


@pytest.fixture
def scratches(tmp_path: Path) -> Iterator[Path]:
    """A new empty directory for each run of a test."""

    def directories() -> Iterator[Path]:
        number = 0
        while True:
            number += 1
            directory = tmp_path / str(number)
            directory.mkdir()
            yield directory

    return directories()


def runs_here(case: Case, scratch: Path, tampering: Tampering | None = None) -> None:
    """Run it once as it is; skip what this kernel or machine does not have, or does another way."""
    if lacking := [name for name in needs(case.function()) if missing(name)]:
        pytest.skip(f"this kernel lacks {lacking}")
    try:
        run(case, scratch, tampering)
    except (Exception, pytest.fail.Exception) as error:
        pytest.skip(f"does not pass on this machine: {error!r:.200}")


# -- what they ask for ------------------------------------------------------------------------------------------------


def test_every_test_asks_the_kernel_for_what_it_says() -> None:
    """The `symbols` of each are the operations, flags and registrations that it uses, where it is not unsupported."""
    done = subprocess.run(
        [
            sys.executable,
            *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "exercised", "-rE", "-m", "not capability"),
            "conformance",
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert " passed" in done.stdout, done.stdout[-4000:] + done.stderr[-4000:]
    assert [] == [line for line in done.stdout.splitlines() if line.startswith("ERROR")], done.stdout[-8000:]


# -- completions ------------------------------------------------------------------------------------------------------

#: Completions whose change a test does not notice, by number from 0, with the reason.
BLIND_TO_RESULT: dict[str, set[int]] = {}
BLIND_TO_USER_DATA: dict[str, set[int]] = {}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_changed_completion_is_noticed(case: Case, scratches: Iterator[Path]) -> None:
    """Whichever completion the kernel got wrong, in its result or its name, the test that asked for it goes red."""
    untouched = Tampering()
    runs_here(case, next(scratches), untouched)
    for change, blind in ((change_result, BLIND_TO_RESULT), (change_user_data, BLIND_TO_USER_DATA)):
        unnoticed = {
            number for number in range(untouched.count) if not is_red(case, next(scratches), Tampering(change, number))
        }
        assert blind.get(str(case), set()) == unnoticed, change.__name__
