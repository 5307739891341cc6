"""Over all functional tests, on this machine's kernel: they ask for what they say, and each can fail.

`test_can_fail.py` has the same about Zig's 41.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import signal
import subprocess
import sys
import tempfile
import traceback
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from test_can_fail import change_result, change_user_data

import uring
from conformance.capabilities import CAPABILITIES
from conformance.modes import MODES
from conformance.operations import support
from uring.observe import find

ROOT = Path(__file__).parents[2]
SUITE = ROOT / "conformance/operations"
#: How long a test whose completion was changed may wait for another one, and how long it may take.
_DEADLINE_S, _HANGS_S = 0.2, 3
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
                patch.setattr(support, "DEADLINE_S", _DEADLINE_S)
            function(**{name: fixtures[name] for name in wanted})


def is_red(case: Case, scratch: Path, tampering: Tampering | None = None) -> bool:
    """Does the test fail? A skip is no failure. One that waits for what was taken from it does not pass either."""
    try:
        with hurried():
            run(case, scratch, tampering)
    except (Exception, pytest.fail.Exception):
        return True
    except pytest.skip.Exception:
        return False
    return False


@contextmanager
def hurried() -> Iterator[None]:
    """Let nothing take long."""

    def give_up(*_: object) -> None:
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, _HANGS_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


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

#: Completions whose change a test does not notice, by number from 0.
BLIND_TO_RESULT: dict[str, set[int]] = {}
BLIND_TO_USER_DATA: dict[str, set[int]] = {}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_changed_completion_is_noticed(case: Case, scratches: Iterator[Path]) -> None:
    """Whichever completion the kernel got wrong, in its result or its name, the test that asked for it goes red."""
    untouched = Tampering()
    runs_here(case, next(scratches), untouched)
    for change, blind in ((change_result, BLIND_TO_RESULT), (change_user_data, BLIND_TO_USER_DATA)):
        unnoticed = set()
        for number in range(untouched.count):
            tampering = Tampering(change, number)
            # How many completions there are may depend on who is faster.
            if not is_red(case, next(scratches), tampering) and tampering.count > number:
                unnoticed.add(number)
        assert blind.get(str(case), set()) == unnoticed, change.__name__


# -- assertions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Check:
    """An `assert` or a `with pytest.raises(...)` of a test, or of a function beside the tests of a file."""

    file: str
    line: int
    last_line: int
    # Its number among the checks of its file.
    index: int
    # The top-level function it stands in.
    holder: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def raising(node: ast.AST) -> list[ast.withitem]:
    items = node.items if isinstance(node, ast.With) else []
    return [item for item in items if ast.unparse(item.context_expr).startswith("pytest.raises(")]


def checks_of(module: ast.Module) -> list[tuple[ast.AST, str]]:
    return [
        (node, holder.name)
        for holder in module.body
        if isinstance(holder, ast.FunctionDef)
        for node in ast.walk(holder)
        if isinstance(node, ast.Assert) or raising(node)
    ]


def parsed(file: str) -> ast.Module:
    return ast.parse((SUITE / f"{file}.py").read_text(encoding="utf-8"))


CHECKS = [
    Check(path.stem, node.lineno, node.end_lineno or node.lineno, index, holder)
    for path in FILES
    for index, (node, holder) in enumerate(checks_of(parsed(path.stem)))
    if isinstance(node, (ast.Assert, ast.With))
]


def mutated(check: Check) -> types.ModuleType:
    """The check's module, in which this one check demands the opposite of what it should."""
    tree = parsed(check.file)
    node, _ = checks_of(tree)[check.index]
    if isinstance(node, ast.Assert):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    for item in raising(node):
        item.context_expr = ast.parse("pytest.raises(ZeroDivisionError)", mode="eval").body
    made = types.ModuleType(f"mutated_{check.file}_{check.index}")
    sys.modules[made.__name__] = made  # where dataclasses look
    path = SUITE / f"{check.file}.py"
    try:
        exec(compile(ast.fix_missing_locations(tree), str(path), "exec"), made.__dict__)
    finally:
        del sys.modules[made.__name__]
    return made


def fails_at(case: Case, scratch: Path, check: Check, module: types.ModuleType) -> bool:
    """Does the test fail, and just there?"""
    try:
        with hurried():
            run(case, scratch, module=module)
    except (Exception, pytest.fail.Exception) as error:
        frames = traceback.extract_tb(error.__traceback__)
        return any(
            Path(frame.filename).stem == check.file and check.line <= (frame.lineno or 0) <= check.last_line
            for frame in frames
        )
    except pytest.skip.Exception:
        return False
    return False


#: Checks that the default mode of a kernel of today has no way to: by the function, as they read.
UNREACHED = {
    # Kernels that refuse it do so now and then.
    ("test_submission_while_completions_find_no_room", "assert 1 == io_uring.sq_ready()"),
    # Other modes.
    (
        "test_submission_stops_at_an_invalid_entry",
        "assert ENDS == sorted(reap(io_uring, 3, 'IORING_OP_NOP and an operation that there is not'))",
    ),
    (
        "test_index_that_there_is_not_is_dropped",
        "assert [completion(FIRST, 0)] == reap(io_uring, 1, 'IORING_OP_NOP in a queue without indices')",
    ),
    ("test_timeout_counts_completions", "assert completion(TIMEOUT, 0) in found"),
    ("test_timeout_counts_completions", "assert len(found) >= 3"),
    # Only where the thread does not wait yet.
    ("_woken_threads", "assert completion(WAKE, 0) == cqe"),
    ("_woken_threads", "assert time.monotonic() < until_s, 'IORING_OP_FUTEX_WAKE wakes no thread'"),
    # Only while it repeats once more between its removal and the look.
    ("test_timeout_repeats_until_it_is_removed", "assert {more, *ends} >= set(found), what"),
}


@cache
def passes_here(case: Case) -> bool:
    """Whether the test as it is passes on this machine."""
    if any(missing(name) for name in needs(case.function())):
        return False
    with tempfile.TemporaryDirectory() as scratch:
        try:
            run(case, Path(scratch))
        except (Exception, pytest.fail.Exception, pytest.skip.Exception):
            return False
    return True


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_a_check_turned_round_is_noticed(check: Check, scratches: Iterator[Path]) -> None:
    """Every single assertion is reached on this kernel, and its test goes red there when it demands the opposite."""
    own = [case for case in CASES if case.file == check.file and check.holder in functions_used(case.file)[case.name]]
    usable = [case for case in own if passes_here(case)]
    if not usable:
        pytest.skip(f"no test that has it passes on this machine: {sorted({case.name for case in own})}")
    module = mutated(check)
    node, _ = checks_of(parsed(check.file))[check.index]
    if (check.holder, ast.unparse(node)) in UNREACHED:
        return
    assert any(fails_at(case, next(scratches), check, module) for case in usable)


@cache
def functions_used(file: str) -> dict[str, frozenset[str]]:
    """Which functions of its file each function uses, itself among them, however far away."""
    bodies = {node.name: node for node in parsed(file).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    used = {name: {name} for name in bodies}
    direct = {
        name: {one.id for one in ast.walk(node) if isinstance(one, ast.Name)} & bodies.keys()
        for name, node in bodies.items()
    }
    for _ in bodies:
        for name in bodies:
            used[name] |= set().union(*(direct[one] for one in used[name]))
    return {name: frozenset(own) for name, own in used.items()}


# -- what there is a test of ------------------------------------------------------------------------------------------

#: What kernels have and no functional test names, with the reason.
WITHOUT_A_TEST = {
    "register-bpf-filter": "not yet: the ring has no method for it",
    "setup-coop-taskrun": "promises nothing that a test could see; a ring mode is made of it",
    "setup-hybrid-iopoll": "guests have no device whose queues are polled",
    "enter-getevents": "every wait has it",
    "enter-sq-wakeup": "every submission to a thread that sleeps has it: see IORING_SQ_NEED_WAKEUP",
    "cqe-tstamp-hw": "guests have no network card that takes timestamps",
    "poll-level": "not yet",
    "uring-cmd-fixed": "guests have no driver whose commands take registered buffers",
    "uring-cmd-multishot": "guests have no driver that has such commands",
}
TESTED_KINDS = {
    "operation", "registration", "request-flag", "sqe-flag", "cqe-flag", "enter-flag", "ring-flag", "setup-flag",
}  # fmt: skip


def test_each_operation_registration_and_flag_has_a_test() -> None:
    named: set[str] = set()
    modules = [f"conformance.{folder}.{path.stem}" for folder in ("operations", "zig") for path in files_of(folder)]
    for module in modules:
        for name, function in vars(importlib.import_module(module)).items():
            if name.startswith("test_") and inspect.isfunction(function):
                named |= {
                    str(one) for kind in ("symbols", "needs") for mark in marks(function, kind) for one in mark.args
                }
    without = {
        one.id
        for one in CAPABILITIES
        if one.kind in TESTED_KINDS and one.id not in named and not (one.symbols and one.symbols[0] in named)
    }
    assert WITHOUT_A_TEST.keys() == without


def files_of(folder: str) -> list[Path]:
    return sorted((ROOT / "conformance" / folder).glob("test_*.py"))
