"""`uring-matrix can`: exit codes, what it looks like in a pipe, on narrow terminals and for programs."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
import sample
from msgspec.structs import replace

from reports.results import Status, write
from uring_matrix.can import is_results

from .conftest import ROOT, Ended

Call = Callable[..., Ended]


@pytest.fixture(autouse=True)
def matrix() -> Path:
    """A whole run where it is looked for."""
    write(Path("matrix/results.json"), sample.whole())
    return Path("matrix/results.json")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("accept-multishot", 0),
        ("accept-multishot --on 6.1", 0),
        ("accept-multishot --on debian12 --on debian13", 0),
        ("accept-multishot --on 5.10", 1),
        ("accept-multishot --on el9", 3),
        ("accept-multishot --on 5.15", 3),
        ("accept-multishot --on 5.10 --on el9", 1),
        ("", 0),
        ("--on 5.10", 0),
        ("xyzzy", 2),
        ("timeout", 2),
        ("accept-multishot --on xyzzy", 2),
        ("accept-multishot --mode turbo", 2),
        ("accept-multishot absent.json", 2),
        ("accept-multishot ./absent", 2),
    ],
)
def test_the_exit_code_is_the_answer(cli: Call, words: str, code: int) -> None:
    ended = cli("can", *words.split())
    assert ended.code == code, ended
    assert (ended.out == "") == (code == 2)
    assert (ended.err != "") == (code == 2)


@pytest.mark.parametrize("words", [["", "--on", "6.1"], ["nop", "--on", ""]])
def test_a_variable_that_is_empty_is_no_yes(cli: Call, words: list[str]) -> None:
    assert cli("can", *words).code == 2


def test_results_are_the_last_word(cli: Call, matrix: Path, tmp_path: Path) -> None:
    there = tmp_path / "elsewhere"
    there.mkdir()
    (there / "results.json").write_bytes(matrix.read_bytes())
    matrix.unlink()
    assert cli("can", "nop").code == 2
    for last in (str(there), str(there / "results.json"), os.path.relpath(there)):
        assert cli("can", "nop", "--on", "6.1", last).code == 0
    # Zig's titles have slashes, and are no paths.
    assert not is_results("accept/connect/send/recv")
    assert cli("can", "bind/listen/connect", "--on", "6.1", str(there)).code == 1


def test_a_pipe_gets_a_line_per_capability_and_no_colours(cli: Call) -> None:
    ended = cli("can", "accept-multishot", "bind/listen/connect")
    assert ended.out.splitlines()[:4] == [
        "                     documented  works from                 "
        "5.10  6.1  6.12  6.16  6.17  6.18  6.19  7.0  7.1  7.2  7.3",
        "accept multishot     5.19        ≤ 6.1.170 not on 5.10.249  "
        "   \N{EN DASH}    ✓     ✓     ✓     ✓     ✓     ✓    ✓    ✓    ✓    ✓",
        "bind/listen/connect  6.11        ≤ 6.12.94 not on 6.1.170   "
        "   \N{EN DASH}    \N{EN DASH}     ✓     ✓     ✓     ✓     ✓    ✓    ✓    ✓    ✓",
        "both: documented 6.11, tested from 6.12.94 on (not on 6.1.170): Debian 13, not Debian 11 or Debian 12.",
    ]


def on_terminal(columns: int, *words: str, **environment: str) -> str:
    """Run a command on a terminal of that width. Returns what it shows there."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**{name: os.environ[name] for name in os.environ if name != "COLUMNS"}, **environment}
    process = subprocess.Popen(
        [sys.executable, "-m", "uring_matrix", *words],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**environment, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
    )
    os.close(terminal)
    shown = b""
    try:
        while piece := os.read(controller, 65536):
            shown += piece
    except OSError:
        pass  # the terminal is closed
    os.close(controller)
    process.wait(60)
    return shown.decode().replace("\r\n", "\n")


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("columns", [60, 80, 100, 140])
@pytest.mark.parametrize("words", [["accept-multishot", "bind/listen/connect"], []], ids=["some", "all"])
def test_no_line_is_wider_than_the_terminal(columns: int, words: list[str]) -> None:
    shown = plain(on_terminal(columns, "can", *words))
    assert "accept multishot" in shown
    assert max(map(len, shown.splitlines())) <= columns


def test_a_wide_terminal_shows_each_kernel_and_a_narrow_one_folds_or_lists() -> None:
    assert "6.1  6.12  6.16" in plain(on_terminal(140, "can", "accept-multishot"))
    assert "5.10  6.1\N{EN DASH}7.3" in plain(on_terminal(80, "can", "accept-multishot"))
    assert "\N{EN DASH} 5.10  ✓ 6.1\N{EN DASH}7.3" in plain(on_terminal(60, "can", "accept-multishot"))


def test_colours_are_welcome_on_terminals_and_where_they_are_forced(command: Call) -> None:
    assert "\x1b[32m✓" in on_terminal(140, "can", "nop")
    assert "\x1b" not in on_terminal(140, "can", "nop", NO_COLOR="1")
    assert "\x1b[32m✓" in command("can", "nop", FORCE_COLOR="1").out
    assert "\x1b" not in command("can", "nop").out


def test_json_is_one_line(cli: Call) -> None:
    ended = cli("can", "accept-multishot", "--on", "5.10", "--json")
    assert (ended.code, ended.out.count("\n"), ended.err) == (1, 1, "")
    assert json.loads(ended.out)["answer"] == "no"


def test_a_run_that_is_not_complete_says_so_beside_the_answer(cli: Call, matrix: Path) -> None:
    run = sample.with_cell(replace(sample.whole(), complete=False), "test_nop", "7.3", status=Status.NOTRUN)
    write(matrix, run)
    ended = cli("can", "nop", "--json")
    assert "not complete" in ended.err
    assert json.loads(ended.out)["answer"] == "unknown"
    assert ended.code == 3
