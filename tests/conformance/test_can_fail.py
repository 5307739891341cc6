"""Every ported test can fail: when the kernel's answers are changed under it, and when its assertions are turned round.

Runs on this machine's kernel, in process, without the plugin: a test function is called with fixtures made here.
"""

from __future__ import annotations

import ast
import errno
import importlib
import inspect
import traceback
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import uring
from conformance import zig_index

TESTS = {test.function: test for test in zig_index.ported_tests()}
#: No test expects it, so it is always wrong.
WRONG_ERROR = -errno.EIO

Change = Callable[[uring.io_uring_cqe], uring.io_uring_cqe]


@dataclass
class Tampering:
    """Changes one completion on its way to the test, the one with the given number."""

    change: Change
    target: int
    count: int = field(default=0, init=False)

    def pass_on(self, cqe: uring.io_uring_cqe) -> uring.io_uring_cqe:
        self.count += 1
        return self.change(cqe) if self.count - 1 == self.target else cqe


def change_result(cqe: uring.io_uring_cqe) -> uring.io_uring_cqe:
    return uring.io_uring_cqe(cqe.user_data, WRONG_ERROR, cqe.flags)


def change_user_data(cqe: uring.io_uring_cqe) -> uring.io_uring_cqe:
    return uring.io_uring_cqe(cqe.user_data ^ 1 << 62, cqe.res, cqe.flags)


class TamperedRing(uring.IoUring):
    """A ring whose completions go through a `Tampering`."""

    tampering: Tampering

    def copy_cqe(self) -> uring.io_uring_cqe:
        return self.tampering.pass_on(super().copy_cqe())


def run(function: Callable[..., None], scratch: Path, tampering: Tampering | None = None) -> None:
    """Call a test function with its fixtures, and clean up after it."""
    with ExitStack() as stack:

        def ring(entries: int, flags: int = 0) -> uring.IoUring:
            made = TamperedRing(entries, flags) if tampering else uring.IoUring(entries, flags)
            if isinstance(made, TamperedRing) and tampering:
                made.tampering = tampering
            stack.callback(made.deinit)
            return made

        fixtures = {"ring": ring, "scratch": scratch, "loopback": "127.0.0.1"}
        function(**{name: fixtures[name] for name in inspect.signature(function).parameters})


def is_red(function: Callable[..., None], scratch: Path, tampering: Tampering | None = None) -> bool:
    """Does the test fail? A skip is no failure."""
    try:
        run(function, scratch, tampering)
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


#: Completions whose change the seed does not notice either, by number from 0, because it does not look at that field.
#: The port has the same assertions, so it has the same blind spots; no others may appear, and none may go unrecorded.
BLIND_TO_RESULT = {
    # Any index below the table's size will do, a negative one too; that more may come is what tells a success.
    "test_accept_multishot_direct": {0, 1, 3, 4},
    # The last send; the receive behind it needs its data.
    "test_provide_buffers_accept_connect_send_recv": {9},
}
BLIND_TO_USER_DATA = {
    # One request at a time: every one of them is called 0, and its completion can only be its own.
    "test_openat_direct_close_direct": set(range(6)),
    "test_socket": {0},
    "test_socket_direct_socket_direct_alloc_close_direct": {0, 1, 2},
    "test_waitid": {0},
    # The buffer that is provided again, and what is sent into it.
    "test_provide_buffers_accept_connect_send_recv": {8, 9},
    "test_provide_buffers_read": {6},
    # The last read, of which only the error is looked at.
    "test_register_files_update": {2},
    "test_remove_buffers": {3},
}

#: 4,094 completions of which only the number matters.
COUNTED_ONLY = {"test_copy_cqes_with_wrapping_sq_cqes_buffer"}


@pytest.mark.parametrize("function_name", sorted(TESTS.keys() - COUNTED_ONLY))
@pytest.mark.parametrize(
    ("change", "blind"),
    [(change_result, BLIND_TO_RESULT), (change_user_data, BLIND_TO_USER_DATA)],
    ids=["result", "user_data"],
)
def test_a_changed_completion_is_noticed(
    function_name: str,
    change: Change,
    blind: dict[str, set[int]],
    scratches: Iterator[Path],
) -> None:
    """Whichever completion the kernel got wrong, the test that asked for it goes red."""
    module = importlib.import_module(f"conformance.zig.{Path(TESTS[function_name].file).stem}")
    function = getattr(module, function_name)
    untouched = Tampering(change, target=-1)
    run(function, next(scratches), untouched)

    unnoticed = {
        number
        for number in range(untouched.count)
        if not is_red(function, next(scratches), Tampering(change, target=number))
    }
    assert blind.get(function_name, set()) == unnoticed


@dataclass(frozen=True)
class Check:
    """An `assert` or a `with pytest.raises(...)` in the suite's sources."""

    file: str
    line: int
    last_line: int
    # Its number among the checks of its file.
    index: int
    # The top-level function it stands in.
    holder: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def is_check(node: ast.AST) -> bool:
    return isinstance(node, ast.Assert) or (
        isinstance(node, ast.With) and "pytest.raises(" in ast.unparse(node.items[0])
    )


def checks_in(path: Path) -> list[Check]:
    module = ast.parse(path.read_text(encoding="utf-8"))
    found = [
        (node, holder.name)
        for holder in module.body
        if isinstance(holder, ast.FunctionDef)
        for node in ast.walk(holder)
        if is_check(node)
    ]
    return [
        Check(path.name, node.lineno, node.end_lineno or node.lineno, index, holder)
        for index, (node, holder) in enumerate(found)
    ]


FILES = sorted({test.file for test in TESTS.values()} | {"sockets.py"})
CHECKS = [check for file in FILES for check in checks_in(zig_index.SUITE / file)]


def mutated(check: Check) -> types.ModuleType:
    """The check's module, in which this one check demands the opposite of what it should."""
    path = zig_index.SUITE / check.file
    module = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    node = [node for function in functions for node in ast.walk(function) if is_check(node)][check.index]
    if isinstance(node, ast.Assert):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.With):
        node.items[0].context_expr = ast.parse("pytest.raises(ZeroDivisionError)", mode="eval").body
    made = types.ModuleType(f"conformance.zig.{path.stem}")
    exec(compile(ast.fix_missing_locations(module), str(path), "exec"), made.__dict__)
    return made


def fails_at(function: Callable[..., None], scratch: Path, check: Check) -> bool:
    """Does the test fail, and just there?"""
    try:
        run(function, scratch)
    except (Exception, pytest.fail.Exception) as error:
        frames = traceback.extract_tb(error.__traceback__)
        return any(
            Path(f.filename).name == check.file and check.line <= (f.lineno or 0) <= check.last_line for f in frames
        )
    except pytest.skip.Exception:
        return False
    return False


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_a_check_turned_round_is_noticed(
    check: Check, scratches: Iterator[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every single assertion is reached on this kernel, and its test goes red there when it demands the opposite."""
    module = mutated(check)
    if check.file == "sockets.py":
        from conformance.zig import test_sockets

        monkeypatch.setattr(test_sockets, "socket_test_harness", module.socket_test_harness)
        candidates = [test_sockets.test_accept_connect_send_recv]
    elif check.holder in TESTS:
        candidates = [getattr(module, check.holder)]
    else:
        candidates = [getattr(module, name) for name, test in TESTS.items() if test.file == check.file]
    assert any(fails_at(candidate, next(scratches), check) for candidate in candidates)
