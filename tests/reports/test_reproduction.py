"""The command that repeats a column: all of its tests, and its kernel by what names exactly it."""

import pytest

from reports.reproduction import column_command, common_place

RUN = "uring-matrix run --kernel linux-image-x=6.1.192-2"


@pytest.mark.parametrize(
    ("tests", "place"),
    [
        (["a/test_x.py::test_1", "a/test_x.py::test_2"], "a/test_x.py"),
        (["a/b/test_x.py::test_1", "a/c/test_y.py::test_2"], "a"),
        (["test_x.py::test_1", "test_y.py::test_2"], "."),
        (["a/test_x.py::test_1"], "a/test_x.py::test_1"),
        (["'a b/test_x.py::test_1[::]'", "'a b/test_y.py::test_1'"], "a b"),
        (["/a/test_x.py::test_1", "test_y.py::test_1"], None),
        (["--pyargs conformance.zig.test_x::test_1", "--pyargs conformance.zig.test_y::test_2"], "conformance.zig"),
        ([], None),
        (["'"], None),
    ],
)
def test_the_place_is_what_all_tests_are_in(tests: list[str], place: str | None) -> None:
    assert common_place(f"pytest --kernel 6.1 {test}" for test in tests) == place


@pytest.mark.parametrize(
    ("command", "modes", "expected"),
    [
        (f"{RUN} -- --pyargs p.test_x::test_1", ["default"], f"{RUN} -- --pyargs p"),
        (f"{RUN} --mode sqpoll -- --pyargs p.test_x::test_1", ["default"], f"{RUN} -- --pyargs p"),
        (f"{RUN} -- p.test_x::test_1", ["default", "sqpoll"], f"{RUN} --mode default --mode sqpoll -- p"),
        ("pytest p.test_x::test_1", ["default"], None),
        ("'", ["default"], None),
    ],
)
def test_the_command_of_a_cell_becomes_that_of_its_column(command: str, modes: list[str], expected: str | None) -> None:
    assert column_command(command, "p", modes) == expected
