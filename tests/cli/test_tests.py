"""`uring-matrix tests`: what there is, by pytest's own collection, and without a trace."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.zig_index import ported_tests

from .conftest import ROOT, Ended

Call = Callable[..., Ended]
PORTED = {test.function: test for test in ported_tests()}


def test_every_test_is_there_with_what_it_is_about(command: Call) -> None:
    ended = command("tests", "--json")
    assert (ended.code, ended.err, ended.out.count("\n")) == (0, "", 1)
    document = json.loads(ended.out)
    found = {one["id"]: one for one in document["tests"]}
    assert document["schema_version"] == 1
    for name, test in PORTED.items():
        one = found[name]
        assert (one["title"], one["group"], one["since"]) == (test.words, test.group, test.since)
        assert one["symbols"] == list(test.symbols)
        assert (one["zig"], one["kind"], one["source"].split("/")[-1].split(":")[0]) == (test.title, "zig", test.file)
    assert len(found) == len(document["tests"])


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("zig and accept", {name for name in PORTED if "accept" in name}),
        ("zig and accept and not direct", {name for name in PORTED if "accept" in name and "direct" not in name}),
        ("test_nop", {"test_nop"}),
    ],
)
def test_expressions_are_pytests_own(command: Call, expression: str, expected: set[str]) -> None:
    ended = command("tests", "-k", expression, "--json")
    assert {one["id"] for one in json.loads(ended.out)["tests"]} == expected


@pytest.mark.parametrize(
    ("expression", "words"),
    [("xyzzy", "no test is selected by -k 'xyzzy'"), ("accept and", "accept and")],
)
def test_an_expression_that_fits_nothing_is_a_usage_error(command: Call, expression: str, words: str) -> None:
    ended = command("tests", "-k", expression)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err
    assert "Traceback" not in ended.err


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if ".git" not in path.parts
    }


def test_nothing_is_written(command: Call, tmp_path: Path) -> None:
    # What Python itself keeps of the modules of this command has nowhere to go, so that only pytest could.
    prefix = tmp_path / "compiled"
    before = snapshot(Path(conformance_folder())), snapshot(Path())
    ended = command("tests", PYTHONPYCACHEPREFIX=str(prefix), PYTEST_ADDOPTS=f"--junitxml={tmp_path}/junit.xml")
    assert ended.code == 0
    assert (snapshot(Path(conformance_folder())), snapshot(Path())) == before
    assert not (tmp_path / "junit.xml").exists()
    assert list(prefix.rglob("*-pytest-*.pyc")) == []
    assert not Path(os.environ["URING_MATRIX_CACHE"]).exists()


def conformance_folder() -> str:
    return str(ROOT / "conformance")


def test_a_pipe_gets_a_line_per_test_and_a_narrow_terminal_paragraphs(command: Call) -> None:
    shown = command("tests").out.splitlines()
    assert shown[0].split() == ["TEST", "SINCE", "GROUP", "TITLE", "SYMBOLS", "SOURCE"]
    assert len(shown) == len(json.loads(command("tests", "--json").out)["tests"]) + 1
    narrow = command("tests", COLUMNS="60").out
    assert "\ntest_nop: no-op, since 5.4\n  IORING_OP_NOP, IOSQE_IO_DRAIN\n" in narrow
    # A name of one word is as long as it is.
    assert max(len(line) for line in narrow.splitlines() if " " in line.strip()) <= 60
