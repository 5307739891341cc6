"""The comparer of the differential test notices what is different, and takes nothing for different that is not."""

import dataclasses
import re
import sys
from pathlib import Path

import pytest
from case_model import Case
from case_runner import Observation, run_case
from comparison import View, compare, ending, strangers, view
from differences import TEXTS, normalised

from vm.guest.init import WORK_PATH

_ONE = """
    import logging
    import warnings

    import pytest


    def test_outcome():
        assert 1 == 1


    def test_message():
        assert [1, 2] == [1, 3]


    def test_output(record_property):
        print("said")
        logging.warning("logged")
        record_property("key", "value")


    def test_warning():
        warnings.warn("careful")


    def test_skip():
        pytest.skip("for a reason")


    @pytest.mark.xfail(reason="for a reason")
    def test_xfail():
        assert 0


    def test_label(subtests):
        with subtests.test(i=1):
            pass


    @pytest.mark.own
    def test_mark():
        pass


    def test_name():
        pass
"""
# What is different, and in which aspect and item that has to show.
_CHANGES = {
    ("outcome", "test_outcome"): ("assert 1 == 1", "assert 1 == 2"),
    ("longrepr", "test_message"): ("[1, 3]", "[1, 4]"),
    ("sections", "test_output"): ('"said"', '"says"'),
    ("properties", "test_output"): ('"value"', '"other value"'),
    ("warnings", ""): ('"careful"', '"careless"'),
    ("longrepr", "test_skip"): ('skip("for a reason")', 'skip("for no reason")'),
    ("outcome", "test_xfail"): ('xfail(reason="for a reason")', 'xfail(reason="for no reason")'),
    ("subtest", "test_label"): ("i=1", "i=2"),
    ("keywords", "test_mark"): ("mark.own", "mark.owned"),
    ("items", ""): ("test_name", "test_renamed"),
    ("collection", "test_one.py"): ("import logging", "import nobody_is_called_this"),
}


def observed(text: str, room: Path, name: str = "test_one.py") -> Observation:
    room.mkdir(exist_ok=True)
    case = Case("one", {name: text, "pytest.ini": "[pytest]\nmarkers =\n    own: one\n    owned: two\n"})
    return run_case(case, Path(sys.executable), room, kernel=None)[0]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compared")


@pytest.fixture(scope="module")
def plain(room: Path) -> Observation:
    return observed(_ONE, room)


def seen(run: Observation, room: Path, *, has_kernel: bool = False) -> View:
    return view(run, str(room / "project"), has_kernel=has_kernel)


def test_the_same_twice(plain: Observation, room: Path) -> None:
    assert [] == [str(one) for one in compare(seen(plain, room), seen(observed(_ONE, room), room))]
    assert "1: 1 failed, 6 passed, 1 skipped, 1 xfailed, 2 warnings" == ending(plain)


@pytest.mark.parametrize(("aspect", "item"), _CHANGES)
def test_a_change_is_noticed(aspect: str, item: str, plain: Observation, room: Path) -> None:
    before, after = _CHANGES[aspect, item]
    assert before in _ONE
    found = compare(seen(plain, room), seen(observed(_ONE.replace(before, after), room), room))
    assert any(one.aspect == aspect and one.where.endswith(item) for one in found), list(map(str, found))


def test_a_change_of_junit_alone_is_noticed(plain: Observation, room: Path) -> None:
    other = observed(_ONE, room)
    assert other.junit is not None
    next(other.junit.iter("failure")).set("message", "another")
    assert ["junit"] == [one.aspect for one in compare(seen(plain, room), seen(other, room))]
    assert ["junit"] == [one.aspect for one in compare(seen(plain, room), seen(_without_junit(plain), room))][:1]


def _without_junit(run: Observation) -> Observation:
    return dataclasses.replace(run, junit=None)


@pytest.mark.parametrize("name", ["screen", "errors"])
def test_a_change_of_the_screen_alone_is_noticed(name: str, plain: Observation, room: Path) -> None:
    other = dataclasses.replace(plain, **{name: f"{getattr(plain, name)}one line more\n"})
    assert [f"+{'one line more'}"] == [one.text for one in compare(seen(plain, room), seen(other, room))]


def test_another_exit_code_is_noticed(plain: Observation, room: Path) -> None:
    other = dataclasses.replace(plain, code=0)
    assert ["exit code"] == [one.aspect for one in compare(seen(plain, room), seen(other, room))]


def test_an_item_that_is_missing_and_another_order_are_noticed(plain: Observation, room: Path) -> None:
    fewer = dataclasses.replace(plain, records=[one for one in plain.records if "test_skip" not in str(one.get("id"))])
    found = compare(seen(plain, room), seen(fewer, room))
    assert ("outcome", "test_one.py::test_skip") in {(one.aspect, one.where) for one in found}
    turned = [{**one, "ids": one["ids"][::-1]} if one["kind"] == "items" else one for one in plain.records]
    other = dataclasses.replace(plain, records=turned)
    assert ["items"] == [one.aspect for one in compare(seen(plain, room), seen(other, room))]


def test_an_item_that_ran_on_the_host_is_noticed(plain: Observation, room: Path) -> None:
    """A run with a kernel calls no test's setup in pytest's own process."""
    found = strangers(seen(plain, room, has_kernel=True))
    assert "test_one.py::test_outcome" == found[0].where
    assert 9 == len(found)


@pytest.mark.parametrize(
    ("plain", "kernel"),
    [
        ("test_x PASSED [ 50%]", "test_x[6.1-default] PASSED    [ 50%]"),
        ("test_x[a-b]", "test_x[6.1-default-a-b]"),
        ("test_x[6.1-default]", "test_x[6.1-default-6.1-default]"),
        ('File "/usr/local/lib/python3.11/json/a.py", line 7', 'File "/usr/lib/python3.13/json/a.py", line 19'),
        ("/h/.venv/lib/python3.11/site-packages/_pytest/x.py:3", "/usr/lib/python3/dist-packages/_pytest/x.py:3"),
        ("E   f(x)\n      ^^^^\nE", "E   f(x)\n      ~^^^\nE"),
        ("cwd: /here/project/t", f"cwd: {WORK_PATH}/t"),
        ("PosixPath('/here/project')", f"PosixPath('{WORK_PATH}')"),
        ("/t/pytest-of-me/pytest-3/test_x0/f", "/tmp/pytest-of-root/pytest-0/test_x0/f"),
        ("=== 1 passed in 0.03s ===", "===== 1 passed in 62.10s (0:01:02) ====="),
        ("<T at 0x7f0000000010>", "<T at 0x7fffffff0010>"),
    ],
)
def test_what_may_differ_does_not(plain: str, kernel: str) -> None:
    assert plain != kernel
    assert normalised(plain, "/here/project", has_kernel=False) == normalised(kernel, "/here/project", has_kernel=True)


@pytest.mark.parametrize(
    ("plain", "kernel"),
    [
        ("test_x", "test_x[6.1-other]"),
        ("test_x[1]", "test_x[2]"),
        ("line 3: assert 0", "line 4: assert 0"),
        ("1 passed in 1s", "2 passed in 1s"),
        ("/here/project/a", f"{WORK_PATH}/b"),
        ("/here/project/a", f"{WORK_PATH}shop/a"),
        ("a ^ b\n", "a | b\n"),
    ],
)
def test_what_must_not_differ_does(plain: str, kernel: str) -> None:
    assert normalised(plain, "/here/project", has_kernel=False) != normalised(kernel, "/here/project", has_kernel=True)


def test_only_a_run_with_a_kernel_is_freed_of_its_cell() -> None:
    text = "test_x[6.1-default] in /work"
    assert text == normalised(text, "/here/project", has_kernel=False)


def test_every_pattern_is_one() -> None:
    assert [re.compile(rule.pattern).pattern for rule in TEXTS] == [rule.pattern for rule in TEXTS]
