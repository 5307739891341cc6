"""`uring-matrix show`: exit codes, and what it looks like on a terminal, in a pipe and for programs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sample
from msgspec.structs import replace

from reports.results import Status, write

from .conftest import Ended

Call = Callable[..., Ended]


def wrote(**changes: Any) -> None:
    """Write a run of which one cell is as told."""
    run = replace(sample.whole(), complete=changes.get("status") is not Status.NOTRUN)
    write(Path("matrix/results.json"), sample.with_cell(run, "test_nop", "6.1", **changes))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"status": Status.PASS}, 0),
        ({"status": Status.SKIP}, 0),
        ({"status": Status.UNSUPPORTED}, 1),
        ({"status": Status.FAIL}, 1),
        ({"status": Status.ERROR}, 1),
        ({"status": Status.INFRA}, 3),
        ({"status": Status.NOTRUN}, 3),
    ],
    ids=str,
)
def test_the_exit_code_says_what_came_of_it(cli: Call, changes: dict[str, Any], code: int) -> None:
    wrote(**changes)
    ended = cli("show", "6.1", "nop")
    assert (ended.code, ended.err) == (code, "")
    assert ended.out.startswith("nop on 6.1.170 (Debian 12, amd64, mode default)\n")
    # Others are as they are.
    assert cli("show", "6.12", "nop").code == 0


def test_of_several_cells_the_worst_counts(cli: Call) -> None:
    wrote(status=Status.INFRA)
    ended = cli("show", "6.*", "nop")
    assert (ended.code, ended.out.count("mode default)\n")) == (3, 6)
    wrote(status=Status.FAIL)
    assert cli("show", "all", "nop").code == 1


def test_what_lacks_as_documented_is_as_expected(cli: Call) -> None:
    wrote(status=Status.PASS)
    ended = cli("show", "debian11", "accept-multishot")
    assert ended.code == 0
    assert "unsupported" in ended.out
    assert "probe: not supported" in ended.out


@pytest.mark.parametrize("words", [["6.6", "nop"], ["6.1", "nopp"], ["6.1", "nop", "absent.json"], ["6.1"]])
def test_what_is_not_there_is_a_usage_error(cli: Call, words: list[str]) -> None:
    wrote(status=Status.PASS)
    ended = cli("show", *words)
    assert (ended.code, ended.out) == (2, "")
    assert "nearest: " in ended.err or "absent.json" in ended.err or "TEST" in ended.err


def test_results_lie_where_they_are_said_to(cli: Call, tmp_path: Path) -> None:
    write(tmp_path / "other" / "results.json", sample.whole())
    for path in (tmp_path / "other", tmp_path / "other" / "results.json"):
        assert cli("show", "6.1", "nop", str(path)).code == 0


def test_json_is_one_line(cli: Call) -> None:
    wrote(status=Status.FAIL, reason="it fails", output="\x1b[31m\ud800".encode("utf-8", "backslashreplace").decode())
    ended = cli("show", "6.1", "nop", "--json")
    assert (ended.code, ended.out.count("\n")) == (1, 1)
    (cell,) = json.loads(ended.out)["cells"]
    assert (cell["id"], cell["kernel"], cell["outcome"], cell["expectation"]) == ("nop", "6.1", "no", "unexpected")
    assert cell["result"]["reason"] == "it fails"


def test_prose_is_as_narrow_as_the_terminal_and_quotes_are_as_they_were(
    cli: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrote(status=Status.FAIL, reason="a reason of many words that goes on and on and on and on", evidence=("e" * 90,))
    monkeypatch.setenv("COLUMNS", "60")
    shown = cli("show", "6.1", "nop").out.splitlines()
    assert "  " + "e" * 90 in shown
    assert max(len(line) for line in shown if "eee" not in line) <= 60


def test_no_escape_of_a_guest_reaches_the_terminal(command: Call) -> None:
    wrote(status=Status.FAIL, reason="\x1b[2Jgone", evidence=("\x1b]0;x\x07",), output="\x9b31m")
    ended = command("show", "6.1", "nop")
    assert "\\x1b[2Jgone" in ended.out
    assert not {"\x1b", "\x07", "\x9b"} & set(ended.out)
    assert "\x1b[1mnop" in command("show", "6.1", "nop", FORCE_COLOR="1").out
