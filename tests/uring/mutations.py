"""Does the suite notice? Changes one number, field, argument or errno of `uring` at a time and runs the tests on it.

    python tests/uring/mutations.py                     (all; some minutes)
    python tests/uring/mutations.py errno_tables flags  (only these modules)

Nothing on disk is changed: each mutant is compiled from a changed syntax tree in a process of its own, which is forked
from one that has pytest loaded already. A mutant is killed when the tests fail, crash or hang; every one has to be.
The mutants of the tables are made by rule, so that a new constant or entry is covered without a change here; those of
the ring's behaviour are written out in `BY_HAND`. Exit code 1 if any survives.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.machinery
import importlib.util
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SECONDS_MAX = 40

# Where to look first for a test that fails, by module; the rest of the suite is not run.
TESTS = {
    "flags": ["encoding"],
    "opcodes": ["encoding"],
    "structs": ["encoding", "registration"],
    "memory": ["encoding", "operations", "lifetime"],
    "addresses": ["encoding", "operations"],
    "sqe_fields": ["encoding", "ring"],
    "prep_files": ["encoding", "pins"],
    "prep_network": ["encoding", "pins"],
    "sqe": ["encoding", "pins"],
    "cqe": ["encoding", "ring"],
    "errno_tables": ["errors"],
    "syscalls": ["encoding", "errors", "registration", "ring", "closing"],
    "ring_files": ["operations", "buffers"],
    "ring_network": ["operations", "buffers", "pins"],
    "ring_control": ["operations"],
    "ring": ["registration", "errors", "lifetime"],
    "buffers": ["buffers", "lifetime", "barriers", "closing"],
    "lifetime": ["lifetime", "ring"],
    "queues": ["ring", "closing", "barriers", "encoding"],
    "ring_core": ["ring", "lifetime", "closing"],
    "barriers": ["barriers", "ring"],
}


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        module: of `uring`.
        what: for a person.
        change: takes a fresh syntax tree and returns the changed one.
    """

    module: str
    what: str
    change: Callable[[ast.Module], ast.Module]


def at(tree: ast.Module, index: int) -> ast.AST:
    """The same node in another copy of the tree."""
    return list(ast.walk(tree))[index]


def replacing(index: int, make: Callable[[ast.AST], None]) -> Callable[[ast.Module], ast.Module]:
    """A change of one node in place."""

    def change(tree: ast.Module) -> ast.Module:
        make(at(tree, index))
        return ast.fix_missing_locations(tree)

    return change


def expression(text: str) -> ast.expr:
    """An expression's syntax tree."""
    return ast.parse(text, mode="eval").body


def numbers_of_assignments(module: str, tree: ast.Module) -> Iterator[Mutant]:
    """NAME = number, at module level or in an enum: the next bit, or one more."""
    for index, node in enumerate(ast.walk(tree)):
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        name, value = node.targets[0].id, node.value
        try:
            number = eval(compile(ast.Expression(value), "", "eval"), {"__builtins__": {}})
        except (NameError, TypeError):
            continue
        if not isinstance(number, int) or isinstance(number, bool):
            continue
        changed = number << 1 if number.bit_count() == 1 else number + 1

        def make(node: ast.AST, changed: int = changed) -> None:
            node.value = ast.Constant(changed)  # type: ignore[attr-defined]

        yield Mutant(module, f"{name} = {number} -> {changed}", replacing(index, make))


def field_types(module: str, tree: ast.Module) -> Iterator[Mutant]:
    """Every structure field of another width, or gone."""
    for index, node in enumerate(ast.walk(tree)):
        # CPython's own Py_buffer is no part of the kernel's interface.
        if not isinstance(node, ast.ClassDef) or node.name == "_PyBuffer":
            continue
        for statement_index, statement in enumerate(node.body):
            if not (isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "_fields_"):
                continue
            assert isinstance(statement.value, ast.Tuple)
            for number, field in enumerate(statement.value.elts):
                assert isinstance(field, ast.Tuple)

                def widen(node: ast.AST, at: int = statement_index, number: int = number) -> None:
                    element = node.body[at].value.elts[number]  # type: ignore[attr-defined]
                    # 88 bytes, which no field has.
                    element.elts[1] = expression("__import__('ctypes').c_uint64 * 11")

                yield Mutant(
                    module, f"{node.name}.{ast.unparse(field.elts[0])} of another width", replacing(index, widen)
                )


def layout_table(module: str, tree: ast.Module) -> Iterator[Mutant]:
    """FIELDS of the SQE: code, offset and order."""
    for index, node in enumerate(ast.walk(tree)):
        if not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FIELDS"):
            continue
        assert isinstance(node.value, ast.Tuple)
        for number, row in enumerate(node.value.elts):
            name, code, offset = ast.literal_eval(row)
            other = {"B": "b", "H": "h", "i": "I", "I": "i", "Q": "q"}[code]
            for position, value in ((1, other), (2, offset + 1), (2, offset - 1)):
                if value == -1:
                    continue

                def make(node: ast.AST, number: int = number, position: int = position, value: object = value) -> None:
                    node.value.elts[number].elts[position] = ast.Constant(value)  # type: ignore[attr-defined]

                yield Mutant(module, f"FIELDS {name}: {code}@{offset} -> {value!r}", replacing(index, make))


def errno_entries(module: str, tree: ast.Module) -> Iterator[Mutant]:
    """Every entry of every errno table: gone, or with another class."""
    for index, node in enumerate(ast.walk(tree)):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.value, ast.Dict):
            continue
        table = ast.unparse(node.target)
        for number, key in enumerate(node.value.keys):
            if key is None:
                continue
            name = ast.unparse(key)

            def drop(node: ast.AST, number: int = number) -> None:
                del node.value.keys[number], node.value.values[number]  # type: ignore[attr-defined]

            def rename(node: ast.AST, number: int = number) -> None:
                node.value.values[number].elts[0] = expression("errors.UnexpectedErrno")  # type: ignore[attr-defined]

            def shift(node: ast.AST, number: int = number) -> None:
                node.value.keys[number] = expression("errno.EMULTIHOP")  # type: ignore[attr-defined]

            yield Mutant(module, f"{table}[{name}] dropped", replacing(index, drop))
            yield Mutant(module, f"{table}[{name}] renamed", replacing(index, rename))
            yield Mutant(module, f"{table}[{name}] under another errno", replacing(index, shift))


def call_arguments(module: str, tree: ast.Module) -> Iterator[Mutant]:
    """Every argument of every `_write` and `prep_*` call: dropped to zero, or swapped with the one after it."""
    for index, node in enumerate(ast.walk(tree)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        called = node.func.attr
        if called != "_write" and not called.startswith(("prep_", "_accept", "_two_paths", "_sockopt")):
            continue
        where = f"line {node.lineno} {called}"
        for number, argument in enumerate(node.args):
            text = ast.unparse(argument)
            if text.startswith("OP."):
                zero = "OP.SYNC_FILE_RANGE"
            elif text == "0":
                zero = "1"
            else:
                zero = "None" if "addr" in text and called != "_write" else "0"

            def clear(node: ast.AST, number: int = number, zero: str = zero) -> None:
                node.args[number] = expression(zero)  # type: ignore[attr-defined]

            yield Mutant(module, f"{where}: {text} -> {zero}", replacing(index, clear))
            # NOP is 0.
            if number + 1 < len(node.args) and ast.unparse(node.args[number + 1]) not in (
                text,
                text.replace("OP.NOP", "0"),
            ):

                def swap(node: ast.AST, number: int = number) -> None:
                    arguments = node.args  # type: ignore[attr-defined]
                    arguments[number], arguments[number + 1] = arguments[number + 1], arguments[number]

                yield Mutant(module, f"{where}: {text} swapped", replacing(index, swap))
        for number, keyword in enumerate(node.keywords):
            if keyword.arg == "pins":
                continue

            def clear_keyword(node: ast.AST, number: int = number) -> None:
                node.keywords[number].value = ast.Constant(3)  # type: ignore[attr-defined]

            yield Mutant(
                module, f"{where}: {keyword.arg}={ast.unparse(keyword.value)} -> 3", replacing(index, clear_keyword)
            )


def kept_pins(module: str, tree: ast.Module) -> Iterator[Mutant]:
    """Every `pins=` of a `_write`: let go at once."""
    for index, node in enumerate(ast.walk(tree)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "_write":
            for number, keyword in enumerate(node.keywords):
                if keyword.arg == "pins":

                    def forget(node: ast.AST, number: int = number) -> None:
                        node.keywords[number].value = ast.Constant(None)  # type: ignore[attr-defined]

                    yield Mutant(module, f"line {node.lineno}: nothing is kept alive", replacing(index, forget))


RULES: dict[str, list[Callable[[str, ast.Module], Iterator[Mutant]]]] = {
    "flags": [numbers_of_assignments],
    "opcodes": [numbers_of_assignments],
    "structs": [field_types],
    "memory": [field_types],
    "addresses": [field_types],
    "sqe_fields": [layout_table],
    "prep_files": [call_arguments, kept_pins],
    "prep_network": [call_arguments, kept_pins],
    "sqe": [call_arguments, kept_pins],
    "errno_tables": [errno_entries],
    "ring_files": [call_arguments],
    "ring_network": [call_arguments],
    "ring_control": [call_arguments],
}

# module, text, replacement: behaviour, one line each. The text must occur exactly once.
BY_HAND: list[tuple[str, str, str]] = [
    ("syscalls", "SYS_IO_URING_SETUP = 425", "SYS_IO_URING_SETUP = 424"),
    ("syscalls", "SYS_IO_URING_ENTER = 426", "SYS_IO_URING_ENTER = 424"),
    ("syscalls", "SYS_IO_URING_REGISTER = 427", "SYS_IO_URING_REGISTER = 424"),
    ("syscalls", "if error.errno != EBADF:", "if True:"),
    ("cqe", "CQE_LAYOUT = Struct('=QiI')", "CQE_LAYOUT = Struct('=QII')"),
    ("cqe", "CQE32_LAYOUT = Struct('=QiIQQ')", "CQE32_LAYOUT = Struct('=QiIQ')"),
    ("cqe", "-4096 < res < 0 else E(0)", "-4095 < res < 0 else E(0)"),
    ("cqe", "return flags >> IORING_CQE_BUFFER_SHIFT", "return flags >> 15"),
    ("cqe", "if not flags & IORING_CQE_F_BUFFER:", "if False:"),
    ("sqe_fields", "SQE128_LAYOUT = Struct(SQE_LAYOUT.format + '64x')", "SQE128_LAYOUT = SQE_LAYOUT"),
    ("sqe_fields", "self.flags |= IOSQE_IO_LINK", "self.flags = IOSQE_IO_LINK"),
    ("sqe_fields", "self.flags |= flags", "self.flags = flags"),
    ("sqe_fields", "file_index + 1", "file_index"),
    ("sqe_fields", "entry._owner.is_plain = False", "pass"),
    ("sqe_fields", "        owner.is_plain = False\n", "        pass\n"),
    ("ring", "tables.REGISTER_FILE_ALLOC_RANGE, call)", "tables.REGISTER_FILES, call)"),
    ("ring", "addressof(request), 0, tables", "addressof(request), 16, tables"),
    ("ring", "sizeof(request), tables", "1, tables"),
    ("ring", "flags=IORING_RSRC_REGISTER_SPARSE", "flags=0"),
    ("ring", "self._registered_buffers = pin", "pass"),
    ("ring", "self._registered_buffers = None", "pass"),
    ("lifetime", "if row[2] & IORING_CQE_F_MORE:", "if False:"),
    ("lifetime", "if count > 1:", "if False:"),
    ("lifetime", "if self.unnoticed:", "if False:"),
    ("lifetime", "if flags & IOSQE_BUFFER_SELECT:", "if False:"),
    ("lifetime", "if opcode == _POLL_REMOVE and size & IORING_POLL_UPDATE_USER_DATA:", "if False:"),
    ("lifetime", "if opcode == _PROVIDE_BUFFERS:", "if False:"),
    ("lifetime", "keep_forever(held)", "pass"),
    ("lifetime", "held[key] = pin", "pass"),
    ("lifetime", "self.unnoticed - count if self.unnoticed > count else 0", "self.unnoticed"),
    ("lifetime", "self._hold(user_data, (off, addr, size, addr3), pin)", "pass"),
    ("lifetime", "del counts[user_data]", "pass"),
    ("lifetime", "self.pins.pop(user_data, None)\n\n    def plain_completed", "pass\n\n    def plain_completed"),
    ("ring_core", "in_flight.unnoticed -= in_flight.plain_tail - head", "pass"),
    ("ring_core", "first = head", "pass"),
    ("ring_core", "in_flight.plain_tail = 0", "pass"),
    ("ring_core", "in_flight.unnoticed += tail - first", "pass"),
    ("ring_core", "sq.is_plain and (not in_flight.counts) and", "sq.is_plain and"),
    (
        "ring_core",
        "and (not self._is_polled):\n            in_flight",
        "and True:\n            in_flight",
    ),
    ("ring_core", "f.IORING_SQ_CQ_OVERFLOW | f.IORING_SQ_TASKRUN", "f.IORING_SQ_CQ_OVERFLOW"),
    ("ring_core", "f.IORING_SQ_CQ_OVERFLOW | f.IORING_SQ_TASKRUN", "f.IORING_SQ_TASKRUN"),
    ("ring_core", "elif not submitted and wait_nr <= 0:", "elif False:"),
    ("ring_core", "self.sq.fence()", "pass"),
    ("ring_core", "_LATE_WORK = f.IORING_SETUP_COOP_TASKRUN | f.IORING_SETUP_DEFER_TASKRUN", "_LATE_WORK = 0"),
    ("ring_core", "sq._nop(sqe._view, sqe._offset, 0)", "pass"),
    ("ring_core", "sq.is_plain = False", "pass"),
    ("ring_core", "sqe._pins = None", "pass"),
    ("ring_core", "sqe.user_data = user_data", "pass"),
    ("ring_core", "_GETEVENTS if params.flags & f.IORING_SETUP_IOPOLL else 0", "0"),
    ("ring_core", "f.IORING_ENTER_SQ_WAKEUP if", "0 if"),
    ("ring_core", "os.register_at_fork(after_in_child=_close_inherited)", "pass"),
    ("ring_core", "        self._cancel_all()\n", "        pass\n"),
    ("ring_core", "if entries == 0:", "if False:"),
    ("ring_core", "if entries < 0 or entries & entries - 1:", "if False:"),
    ("ring_core", "if getattr(params, field) and (not flags & flag):", "if False:"),
    ("ring_core", "if not features & f.IORING_FEAT_SINGLE_MMAP:", "if False:"),
    ("ring_core", "if sq._is_zero and sq.is_plain:", "if True:"),
    ("ring_core", "if sq._is_zero and sq.is_plain:", "if sq.is_plain:"),
    ("ring_core", "if sq._is_zero and sq.is_plain:", "if sq._is_zero:"),
    ("queues", "has_array = not flags & IORING_SETUP_NO_SQARRAY", "has_array = True"),
    ("queues", "cqe_bytes = 32 if flags & IORING_SETUP_CQE32 else 16", "cqe_bytes = 1"),
    ("queues", "layout = CQE32_LAYOUT if params.flags & IORING_SETUP_CQE32 else CQE_LAYOUT", "layout = CQE_LAYOUT"),
    ("queues", "SQE128_LAYOUT if flags & IORING_SETUP_SQE128 else SQE_LAYOUT", "SQE_LAYOUT"),
    ("queues", "self._words[array_at + index] = index", "self._words[array_at + index] = 0"),
    ("queues", "if row[2] & IORING_CQE_F_SKIP:", "if False:"),
    ("queues", "if row[2] & IORING_CQE_F_32:", "if False:"),
    ("queues", "sqe.__class__ = _ClosedSqe", "pass"),
    ("queues", "self._limit = self._tail\n", "pass\n"),
    ("queues", "self._is_zero = False\n            self.is_plain", "self.is_plain"),
    ("queues", "if self._tail == self._limit:\n            raise", "if False:\n            raise"),
    ("queues", "size_bytes = max(size_bytes, params.sq_off.array + entries * 4)", "size_bytes = 64"),
    ("buffers", "if held or not self._finished[buffer_id]:", "if held:"),
    ("buffers", "if held or not self._finished[buffer_id]:", "if not self._finished[buffer_id]:"),
    ("buffers", "if known is cqe:", "if known == cqe:"),
    ("buffers", "self.heads[buffer_id] += max(0, cqe.res)", "pass"),
    ("buffers", "_TAIL_WORD = 7", "_TAIL_WORD = 6"),
    ("buffers", "_BUF_BYTES = 16", "_BUF_BYTES = 8"),
    ("buffers", "br._pins[buffer_id] = pin", "pass"),
    ("buffers", "value & 65535", "value"),
    ("buffers", "if result == -_EINVAL and flags & IOU_PBUF_RING_INC:", "if False:"),
    ("buffers", "if not 0 < entries <= 1 << 15:", "if False:"),
    ("buffers", "lifetime.buffer_rings.setdefault(fd, {})[group_id] = br", "pass"),
    ("barriers", "_MEMBARRIER_CMD_GLOBAL_EXPEDITED = 1 << 1", "_MEMBARRIER_CMD_GLOBAL_EXPEDITED = 1 << 30"),
    ("barriers", "self.order = fence", "pass"),
    ("memory", "if view.readonly:", "if False:"),
    ("memory", "if not view.readonly:", "if True:"),
    ("memory", "len(buffer), pin)", "len(buffer), None)"),
    ("memory", "if not view.c_contiguous:", "if False:"),
    ("memory", "if b'\\x00' in encoded:", "if False:"),
]


def mutants(wanted: set[str]) -> list[Mutant]:
    """All of them, or those of some modules."""
    found: list[Mutant] = []
    for module in TESTS:
        if wanted and module not in wanted:
            continue
        text = (ROOT / "uring" / f"{module}.py").read_text(encoding="utf-8")
        tree = ast.parse(text)
        for rule in RULES.get(module, ()):
            found += rule(module, tree)
        plain = ast.unparse(tree)
        for _, old, new in (entry for entry in BY_HAND if entry[0] == module):
            if plain.count(old) != 1:
                raise SystemExit(f"{module}: {old!r} occurs {plain.count(old)} times, not once; mend BY_HAND")

            def change(_: ast.Module, plain: str = plain, old: str = old, new: str = new) -> ast.Module:
                return ast.parse(plain.replace(old, new))

            found.append(Mutant(module, f"{old.strip()!r} -> {new.strip()!r}", change))
    return found


class MutantLoader(importlib.machinery.SourceFileLoader):
    """Compiles a changed tree instead of the file."""

    mutant: Mutant

    def get_code(self, fullname: str) -> object:  # type: ignore[override]
        tree = ast.parse(Path(self.path).read_text(encoding="utf-8"))
        return compile(self.mutant.change(copy.deepcopy(tree)), self.path, "exec")


class MutantFinder(importlib.abc.MetaPathFinder):
    """Finds one module of `uring` before anybody else does."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, fullname: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        """Ours, if it is that module."""
        if fullname != f"uring.{self.mutant.module}":
            return None
        file = str(ROOT / "uring" / f"{self.mutant.module}.py")
        loader = MutantLoader(fullname, file)
        loader.mutant = self.mutant
        return importlib.util.spec_from_file_location(fullname, file, loader=loader)


def install(module: str, what: str) -> None:
    """Put a mutant into this process, before it imports `uring`; for the interpreters that tests start."""
    mutant = next(each for each in mutants({module}) if each.what == what)
    sys.meta_path.insert(0, MutantFinder(mutant))


def start(mutant: Mutant | None, tests: list[str]) -> int:
    """Run the tests on a mutant (None: on the package as it is) in a child; returns its process ID."""
    pid = os.fork()
    if pid:
        return pid
    os.setpgid(0, 0)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    status = 1
    try:
        import pytest

        # Plugins of installed packages would import uring, or rewrite its modules on import, before the mutant gets in.
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        if mutant is not None:
            sys.meta_path.insert(0, MutantFinder(mutant))
            os.environ["URING_TEST_PRELUDE"] = (
                f"import sys; sys.path.insert(0, {str(HERE)!r}); import mutations; "
                f"mutations.install({mutant.module!r}, {mutant.what!r})\n"
            )
        files = [str(HERE / f"test_uring_{name}.py") for name in tests]
        status = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *files]))
    finally:
        os._exit(status)


def run_all(found: list[Mutant], jobs: int) -> list[Mutant]:
    """Run every mutant, some side by side; returns the survivors."""
    waiting = list(reversed(found))
    running: dict[int, tuple[int, Mutant, float]] = {}
    survivors: list[Mutant] = []
    done = 0
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            pid = start(mutant, TESTS[mutant.module])
            running[os.pidfd_open(pid)] = (pid, mutant, time.monotonic() + SECONDS_MAX)
        ready, _, _ = select.select(list(running), [], [], 1)
        for pidfd, (pid, mutant, deadline) in list(running.items()):
            if pidfd not in ready:
                if time.monotonic() > deadline:
                    os.killpg(pid, signal.SIGKILL)
                continue
            _, status = os.waitpid(pid, 0)
            os.close(pidfd)
            del running[pidfd]
            done += 1
            if status == 0:
                survivors.append(mutant)
                print(f"SURVIVED {mutant.module}: {mutant.what}", flush=True)
            if done % 100 == 0:
                print(f"{done} of {len(found)}", flush=True)
    return survivors


def main() -> None:
    """Check that the suite is green as it is, then run the mutants."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", help=f"of {', '.join(TESTS)}; default: all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", metavar="TEXT", help="those whose description contains TEXT")
    parser.add_argument("--list", action="store_true", help="only print the mutants")
    arguments = parser.parse_args()
    if unknown := set(arguments.modules) - set(TESTS):
        parser.error(f"no mutants for {', '.join(sorted(unknown))}")
    found = [mutant for mutant in mutants(set(arguments.modules)) if arguments.only in mutant.what]
    if arguments.list:
        for mutant in found:
            print(f"{mutant.module}: {mutant.what}")
        return
    import pytest  # noqa: F401 - once, for all children

    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    sys.dont_write_bytecode = True
    needed = sorted({name for mutant in found for name in TESTS[mutant.module]})
    _, status = os.waitpid(start(None, needed), 0)
    if status != 0:
        raise SystemExit("the suite fails without any mutation; nothing can be learned from mutants")
    started = time.monotonic()
    survivors = run_all(found, arguments.jobs)
    seconds = time.monotonic() - started
    print(f"{len(found)} mutants, {len(found) - len(survivors)} killed, {len(survivors)} survived, {seconds:.0f} s")
    raise SystemExit(1 if survivors else 0)


if __name__ == "__main__":
    main()
