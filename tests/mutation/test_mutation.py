"""Mutation testing can tell: what survived, what was noticed, and what says nothing about the tests."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from changes import Source
from mutate import HERE, choose, namesakes_first, read_judgements
from trial import Project, ToolError, judge

ROOT = HERE.parents[1]
URING = Project(ROOT, "uring", "tests/uring")

# -- what can be changed ----------------------------------------------------------------------------------------------


def results_of(text: str) -> set[str]:
    """What may become of a text."""
    source = Source("some.py", text.encode())
    return {change.new for site in source.sites() for change in site if source.has_effect(change)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a < b", {"a <= b", "a > b"}),
        ("a is b", {"a is not b", "a == b"}),
        ("a is None", {"a is not None"}),
        ("a not in b", {"a in b"}),
        ("(a) + b", {"(a) - b", "a"}),
        ("a | b", {"a & b", "a ^ b", "a", "b"}),
        ("a << 1", {"a >> 1", "a", "a << 2", "a << (0)"}),
        ("a and b", {"a or b", "a", "b"}),
        ("not a", {"a"}),
        ("~a", {"a"}),
        ("a = True", {"a = False"}),
        ("a = 7", {"a = 8", "a = (6)"}),
        ("a = Struct('=Q4xi')", {"a = Struct('=q4xi')", "a = Struct('=Q4xI')"}),
        ("a = f(b, c=d)", {"a = f(0, c=d)", "a = f(b, )"}),
        ("a = f(b, 'c')", {"a = f('c', b)", "a = f(0, 'c')"}),
        ("a if b else c", {"a if not (b) else c", "a if True else c", "a if False else c"}),
        ("[a for b in c if d]", {"[a for b in c if not (d)]", "[a for b in c if True]"}),
        ("a = {b: c, d: e}", {"a = {b: e, d: c}", "a = {d: e}", "a = {b: c}"}),
        ("a = {**b, c: d, **e}", {"a = {**d, c: b, **e}", "a = {**b, c: e, **d}", "a = {**b, **e}"}),
        ("a = c_uint16", {"a = c_uint32"}),
        ("a = b, c", {"a = c, b", "a = c", "a = b"}),
        ("if a: b", {"if not (a): b", "if True: b", "if False: b"}),
        ("while a: b", {"while not (a): b", "while False: b"}),
        # The last statement of a loop: `pass` is the same.
        ("for a in b: continue", {"for a in (): continue", "for a in b: break"}),
        ("for a in b: break", {"for a in (): break", "for a in b: continue", "for a in b: pass"}),
        ("try: a\nexcept B: c", {"except B: raise"}),
        ("try: a\nexcept (B, C): pass", {"except (B, C): raise", "except (B): pass", "except (C): pass"}),
        (
            "isinstance('a', (B, C))",
            {"isinstance((B, C), 'a')", "isinstance('a', (B))", "isinstance('a', (C))", "pass"},
        ),
        ("def f(): return a", {"def f(): return None"}),
        ("def f(): a = b", {"def f(): pass"}),
        ("def f(): a += b", {"def f(): pass"}),
        ("raise a", {"pass"}),
        ("f()", {"pass"}),
        ("del a", {"pass"}),
    ],
)
def test_what_can_become_of_a_text(text: str, expected: set[str]) -> None:
    assert results_of(text) - {""} == expected


@pytest.mark.parametrize(
    "text",
    [
        "'''A text: 1 < 2.'''",
        "a: list[b | c]",
        "def f(a: b | c) -> b | c: ...",
        "if TYPE_CHECKING:\n    f()",
        "__all__ = ('a', 'b')",
        "a = f'{b + 1}'",
        # The compiler makes 1 of it either way.
        "1 >> 0",
    ],
)
def test_what_does_nothing_at_run_time_is_left_alone(text: str) -> None:
    assert results_of(text) - {"1", "(0) >> 0", "2 >> 0", "1 >> 1", "1 >> (-1)"} == set()


def test_a_change_knows_where_it_is() -> None:
    source = Source("some.py", "class A:\n    def f(self):\n        é = (\n            a\n            < b)\n".encode())
    change = next(change for site in source.sites() for change in site if change.text == b"<=")
    assert ("some.py", "A.f", 5, "< b)", "<= b)") == (change.file, change.scope, change.line, change.old, change.new)
    assert b"            <= b)" in change.apply(source.content)


def test_a_seed_chooses_the_same_places_again() -> None:
    sources = [Source.read(ROOT, file) for file in URING.files()]
    chosen = choose(sources, 60, 7)
    assert chosen == choose(sources, 60, 7)
    assert chosen != choose(sources, 60, 8)
    assert len({(change.file, change.start, change.end) for change in chosen}) == 60


def test_files_that_are_called_alike_run_first() -> None:
    quickest_first = ["tests/a/test_uring_core.py", "tests/a/test_observe.py", "tests/a/test_observe_runner.py"]
    found = namesakes_first("uring/observe/runner.py", [*quickest_first, "tests/a/test_more.py"])
    assert found == [*reversed(quickest_first[1:]), quickest_first[0], "tests/a/test_more.py"]


def test_every_judgement_is_about_a_change_that_can_be_made() -> None:
    judged = read_judgements(HERE / "equivalent.toml")
    sources = [Source.read(ROOT, file) for file in URING.files()]
    keys = {change.key for source in sources for site in source.sites() for change in site}
    assert set(judged) - keys == set()


def test_every_judgement_has_its_reason() -> None:
    entries = tomllib.loads((HERE / "equivalent.toml").read_text()).get("equivalent", [])
    assert [entry for entry in entries if len(entry["reason"].split()) < 4 or entry["reason"][-1] != "."] == []
    assert len(entries) == len(read_judgements(HERE / "equivalent.toml"))


# -- the command, on a project of four lines --------------------------------------------------------------------------

TOY = "def larger(a, b):\n    if a < b:\n        return b\n    return a\n"
WEAK = "from toy import larger\n\n\ndef test_larger():\n    assert larger(1, 2) == 2\n"
STRONG = WEAK + "\n\ndef test_larger_first():\n    assert larger(2, 1) == 2\n"
EQUIVALENT = """\
[[equivalent]]
file = "toy/__init__.py"
scope = "larger"
old = "if a < b:"
new = "if a <= b:"
reason = "Of two equal numbers either is the larger."
"""


class Toy:
    """A package, its tests and its judgements."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(
        self,
        package: str = TOY,
        tests: str = STRONG,
        judged: str = "",
        seconds: int = 60,
        options: tuple[str, ...] = (),
    ) -> tuple[int, str]:
        """Try every change; returns the exit code and what was printed."""
        for name, text in (("toy/__init__.py", package), ("checks/test_toy.py", tests), ("judged.toml", judged)):
            path = self.root / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        command: list[str | Path] = [sys.executable, HERE / "mutate.py", "--all", "--verbose"]
        command += ["--root", self.root, "--package", "toy", "--tests", "checks"]
        command += ["--equivalent", self.root / "judged.toml", "--seconds", str(seconds), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


def test_a_change_that_survives_is_reported_and_is_no_success(toy: Toy) -> None:
    code, text = toy.run(tests=WEAK)
    assert code == 1, text
    assert "survived: toy/__init__.py:4 in larger\n    - return a\n    + return None\n" in text
    assert "3 survived, 0 equivalent" in text


def test_a_change_that_was_judged_equivalent_does_not_count(toy: Toy) -> None:
    code, text = toy.run()
    assert (1, True) == (code, "survived: toy/__init__.py:2 in larger\n    - if a < b:\n    + if a <= b:" in text), text
    code, text = toy.run(judged=EQUIVALENT)
    assert (0, True) == (code, "Of two equal numbers either is the larger." in text), text
    assert "0 survived, 1 equivalent: 100.0% noticed" in text


def test_a_judgement_that_a_test_refutes_is_no_success(toy: Toy) -> None:
    code, text = toy.run(judged=EQUIVALENT + EQUIVALENT.replace("<=", ">"))
    assert (1, True) == (code, "judged equivalent, but killed by checks/test_toy.py::test_larger" in text), text


def test_a_crash_and_a_hang_count_as_noticed(toy: Toy) -> None:
    package = "import os, time\nCRASHES = False\nHANGS = False\nENDS = False\n"
    tests = (
        "import os, time, toy\n\n\ndef test_toy():\n    if toy.CRASHES:\n        os.abort()\n"
        "    if toy.ENDS:\n        os._exit(0)\n    while toy.HANGS:\n        time.sleep(0.1)\n"
    )
    code, text = toy.run(package, tests, seconds=3)
    assert code == 0, text
    assert "crashed by SIGABRT in checks/test_toy.py::test_toy" in text
    assert "crashed by the process ended itself with 0 in checks/test_toy.py::test_toy" in text
    assert "hung by checks/test_toy.py::test_toy" in text
    assert "3 changes: 3 noticed (0 by a failing test, 2 crashed, 1 hung)" in text


def test_a_file_that_cannot_be_imported_any_more_is_noticed(toy: Toy) -> None:
    code, text = toy.run("A = 4\nassert A == 4\n", "import toy\n\n\ndef test_toy():\n    pass\n")
    assert (0, True) == (code, "killed by import toy: AssertionError" in text), text


def test_what_is_noticed_at_the_very_end_is_noticed(toy: Toy) -> None:
    """An object that cannot be finalized: pytest says so when all tests have passed."""
    tests = (
        "import toy\n\n\nclass A:\n    def __del__(self):\n        assert toy.A == 4\n\n\n"
        "def test_toy():\n    global kept\n    kept = A()\n    kept.itself = kept\n\n\n"
        "def teardown_module():\n    global kept\n    del kept\n"
    )
    (toy.root / "pyproject.toml").write_text("[tool.pytest.ini_options]\nfilterwarnings = ['error']\n")
    code, text = toy.run("A = 4\n", tests)
    assert (0, True) == (code, "Exception ignored in: <function A.__del__" in text), text


def test_programs_that_tests_start_see_the_change(toy: Toy) -> None:
    tests = (
        "import subprocess, sys\n\n\ndef test_toy():\n"
        "    subprocess.run([sys.executable, '-c', 'import toy; assert toy.A == 4'], check=True)\n"
    )
    code, text = toy.run("A = 4\n", tests)
    assert (0, True) == (code, "2 noticed" in text), text


def test_the_quickest_tests_come_first(toy: Toy) -> None:
    """Most changes are noticed by many tests; a slow one need not be waited for."""
    (toy.root / "checks").mkdir()
    (toy.root / "checks/test_a.py").write_text(
        "import time\n\n\ndef test_a():\n    import toy\n\n    time.sleep(0.3)\n    assert toy.A == 4\n"
    )
    code, text = toy.run("A = 4\n", "import toy\n\n\ndef test_toy():\n    assert toy.A == 4\n")
    assert (0, 2) == (code, text.count("killed by checks/test_toy.py::test_toy")), text


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        ("def test_toy():\n    assert False\n", "the tests fail without any change (checks/test_toy.py::test_toy)"),
        ("import nothing_of_this_name\n", "the tests fail without any change (collecting checks/test_toy.py)"),
        ("", "pytest ended with 5 after 0 tests"),
        (
            "import os, signal\n\n\ndef test_toy():\n    os.kill(os.getpid(), signal.SIGKILL)\n",
            "somebody ended the trial with signal 9, checks/test_toy.py::test_toy",
        ),
        (
            "import pytest\n\n\ndef test_toy():\n    pytest.skip('no io_uring on this machine: not permitted')\n\n\n"
            "def test_other():\n    pass\n",
            "1 tests have nothing to test",
        ),
    ],
)
def test_tests_that_cannot_be_held_are_no_success(toy: Toy, tests: str, reason: str) -> None:
    code, text = toy.run(tests=tests)
    assert (3, True) == (code, reason in text), text
    assert "noticed (" not in text


@pytest.mark.parametrize(
    "tests",
    [
        "import os, toy\n\n\ndef test_toy():\n    if toy.A != 4:\n        os.kill(os.getpid(), 15)\n",
        "import toy, pytest\n\n\ndef test_toy():\n    if toy.A != 4:\n        pytest.exit('enough', 3)\n",
        "import toy, pytest\n\n\ndef test_toy():\n    if toy.A != 4:\n        pytest.skip('not with this')\n",
    ],
    ids=["ended from outside", "pytest ends by itself", "nothing ran"],
)
def test_a_trial_that_comes_to_nothing_never_counts_as_noticed(toy: Toy, tests: str) -> None:
    code, text = toy.run("A = 4\n", tests)
    assert code == 3, text
    assert "nothing is known about the tests: toy/__init__.py:1" in text
    assert "noticed (" not in text


@pytest.mark.parametrize(
    ("said", "exit_code", "is_hung", "kind"),
    [
        ({"began": True, "failed": "t"}, 0, False, "killed"),
        # A test failed, and then its clean-up hung or crashed.
        ({"began": True, "failed": "t"}, -9, True, "killed"),
        ({"began": True, "failed": "t", "tool": "pytest broke"}, 0, False, "killed"),
        ({"began": True}, -9, True, "hung"),
        ({"began": True}, -11, False, "crashed"),
        ({"began": True}, 0, False, "crashed"),
        ({"began": True, "status": 0, "ran": 3, "skipped": {}}, 0, False, "survived"),
        ({"began": True, "status": 0, "ran": 0, "skipped": {}}, 0, False, None),
        ({"began": True, "status": 3, "ran": 3, "skipped": {}}, 0, False, None),
        ({"began": True, "status": 4, "ran": 0, "skipped": {}}, 0, False, None),
        ({"began": True, "tool": "no such file"}, 0, False, None),
        ({}, -9, True, None),
        ({}, -11, False, None),
        ({"began": True}, -15, False, None),
    ],
)
def test_how_a_trial_is_judged(said: dict[str, Any], exit_code: int, is_hung: bool, kind: str | None) -> None:
    if kind is None:
        with pytest.raises(ToolError):
            judge(said, exit_code, 1.0, is_hung=is_hung)
    else:
        assert judge(said, exit_code, 1.0, is_hung=is_hung).kind == kind


def test_what_is_asked_for_wrongly_is_usage(toy: Toy) -> None:
    assert toy.run(options=("toy/other.py",))[0] == 2
    assert toy.run(options=("--count", "0"))[0] == 2
