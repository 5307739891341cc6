"""`run -- ARGS` takes what pytest takes: what shows shows, what selects selects, and what is ours is named."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import ROOT, Ended

Command = Callable[..., Ended]
BREAKS_NOP = """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    if item.originalname == "test_nop":
        assert 1 == 2, "broken by a plugin"
"""


@pytest.fixture
def run(command: Command) -> Command:
    """Runs tests of the suite on this machine's kernel, with these arguments behind `--`."""
    Path("breaks_nop.py").write_text(BREAKS_NOP)

    def call(*arguments: str, before: tuple[str, ...] = ("-n", "0"), **environment: str) -> Ended:
        python_path = os.pathsep.join((str(ROOT), str(Path.cwd())))
        return command("run", "--kernel", "host", *before, "--", *arguments, PYTHONPATH=python_path, **environment)

    return call


def recorded_tests() -> set[str]:
    return {row["test"] for row in json.loads(Path("matrix/results.json").read_bytes())["results"]}


# -- what prints and runs nothing -------------------------------------------------------------------------------------

PRINTS = {
    "--help": r"usage: .*\n(.*\n)+.*--maxfail",
    "-h": r"usage: ",
    "--version": r"pytest \d",
    "-VV": r"This is pytest version",
    "--fixtures": r"scratch_ext4",
    "--markers": r"@pytest.mark.since",
    "--fixtures-per-test": r"fixtures used by test_nop\[?",
    "--cache-show": r"cachedir: .*matrix/.pytest_cache",
    "--collect-only": r"<Function test_nop\[host-default\]>",
    "--co": r"<Function test_nop\[host-default\]>",
    "--setup-plan": r"test_nop\[host-default\]",
}


@pytest.mark.parametrize("option", PRINTS)
def test_what_prints_something_prints_it_and_changes_nothing(option: str, run: Command) -> None:
    ended = run(option, *(() if option.startswith(("--v", "-V")) else ("-k", "test_nop")))
    assert (ended.code, Path("matrix").exists()) == (0, False), ended
    assert re.search(PRINTS[option], ended.out if "ersion" not in option else ended.out + ended.err), ended
    assert "Traceback (most" not in ended.err
    assert "verdict" not in ended.out
    for name in ("results.json", "results.jsonl", "index.html", ".pytest_cache/v/cache/lastfailed"):
        Path("matrix", name).parent.mkdir(parents=True, exist_ok=True)
        Path("matrix", name).write_text("{}")
    before = {path: path.read_bytes() for path in Path("matrix").rglob("*") if path.is_file()}
    assert run(option, before=()).code == 0
    assert {path: path.read_bytes() for path in Path("matrix").rglob("*") if path.is_file()} == before


def test_what_prints_exits_as_pytest_does(run: Command) -> None:
    assert run("--collect-only", "-k", "nothing_is_called_so").code == pytest.ExitCode.NO_TESTS_COLLECTED
    assert run("--collect-only", "--no-such-option").code == 2


def test_what_prints_has_no_summary_in_json(run: Command) -> None:
    ended = run("--collect-only", before=("--json",))
    assert (ended.code, ended.out, "--json is the summary of a run" in ended.err) == (2, "", True)


# -- what is shown ----------------------------------------------------------------------------------------------------

SHOWS = {
    "-v": r"test_nop\[host-default\] FAILED",
    "-q": r"^1 failed, 1 passed, \d+ deselected in",
    "-rA": r"^PASSED .*test_readv\w*\[host-default\]",
    "--tb=line": r"breaks_nop.py:7: AssertionError: broken by a plugin",
    "--durations=1": r"slowest 1 durations",
    "--setup-show": r"SETUP +F ring",
    "--no-header": r"collected \d+ items",
    "-l": r"item += <Function test_nop",
    "--show-capture=no": r"= 1 failed, 1 passed",
    "-s": r"= 1 failed, 1 passed",
}


@pytest.mark.parametrize("option", SHOWS)
def test_what_asks_for_pytests_terminal_gets_it(option: str, run: Command) -> None:
    """In place of our lines; the verdicts and where they lie stand at the end all the same."""
    ended = run("-p", "breaks_nop", "-k", "zig and (nop or test_readv)", option)
    assert ended.code == 1, ended
    assert re.search(SHOWS[option], ended.out, re.MULTILINE), ended
    assert "host: 2/2" not in ended.err
    assert "report:  matrix/index.html" in ended.out


def test_without_such_a_wish_there_is_none_of_it(run: Command) -> None:
    ended = run("-p", "breaks_nop", "-k", "zig and (nop or test_readv)")
    assert "host: 2/2 1 pass, 1 fail" in ended.err
    assert [option for option, text in SHOWS.items() if re.search(text, ended.out, re.MULTILINE)] == []


def test_what_tests_print_is_shown(run: Command) -> None:
    Path("prints.py").write_text("def pytest_runtest_call(item):\n    print('said by', item.name)\n")
    assert "said by test_nop" not in run("-p", "prints", "-k", "test_nop").out
    assert "said by test_nop" in run("-p", "prints", "-k", "test_nop", "-s", before=()).out


def test_a_live_log_is_shown(run: Command) -> None:
    Path("logs.py").write_text("import logging\ndef pytest_runtest_call(item):\n    logging.warning('logged')\n")
    assert "logged" not in run("-p", "logs", "-k", "test_nop").out
    assert "logged" in run("-p", "logs", "-k", "test_nop", "--log-cli-level=INFO").out


def test_pytests_terminal_is_no_json(run: Command) -> None:
    ended = run("-k", "test_nop", "-v", before=("--json",))
    assert json.loads(ended.out)["counts"] == {"pass": 1}
    assert "test_nop[host-default] PASSED" in ended.err


def test_a_debugger_has_a_terminal(run: Command) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "uring_matrix", "run", "--kernel", "host", "--", "--trace", "-k", "test_nop"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input="p 'in the ' + 'debugger'\nc\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "in the debugger" in done.stdout) == (0, True), done


# -- what remembers ---------------------------------------------------------------------------------------------------


def test_what_failed_last_is_run_again(run: Command) -> None:
    assert run("-p", "breaks_nop", "-k", "nop or read").code == 1
    ended = run("--lf")
    assert (ended.code, "host: 1/1 1 pass" in ended.err) == (0, True), ended
    assert "test_nop" in recorded_tests()
    assert not list(ROOT.glob("conformance/.pytest_cache"))
    ended = run("--cache-show")
    assert "cache/nodeids" in ended.out


def test_what_failed_last_comes_first(run: Command) -> None:
    assert run("-p", "breaks_nop", "-k", "nop or read").code == 1
    ended = run("--ff", "-v", "-k", "nop or read")
    assert "test_nop" in next(line for line in ended.out.splitlines() if "PASSED" in line)


def test_a_stepwise_run_goes_on_where_it_stopped(run: Command) -> None:
    some = ("-p", "breaks_nop", "-k", "queue or nop or read", "-v")
    first = run("--sw", *some)
    assert "1 failed" in first.out
    assert "test_nop" in (run("--sw", *some).out.partition("FAILED")[0].splitlines()[-1])


def test_what_is_new_comes_first(run: Command) -> None:
    assert run("-k", "nop").code == 0
    ended = run("--nf", "-v", "-k", "nop or read")
    assert "test_nop" in [line for line in ended.out.splitlines() if "PASSED" in line][-1]


def test_a_run_that_came_to_nothing_forgets_nothing(run: Command) -> None:
    assert run("-p", "breaks_nop", "-k", "nop or read").code == 1
    assert run("-k", "nothing_is_called_so").code == 2
    assert run("--lf", "--collect-only", "-q").out.count("test_nop[host-default]") == 1


# -- what is ours, or not to be had -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "own"),
    [
        (["--kernel", "6.1"], "--kernel"),
        (["--kernel=6.1"], "--kernel"),
        (["--arch=amd64"], "--arch"),
        (["--mode", "default"], "--mode"),
        (["--accel", "tcg"], "--accel"),
        (["--matrix-out", "other"], "--out"),
        (["--matrix-resume"], "--resume"),
        (["--matrix-lock=x"], "--lock"),
        (["--matrix-repeat", "2"], "--repeat"),
        (["--isolate"], "--isolate"),
        (["--allow-flaky"], "--allow-flaky"),
        (["--no-snapshots"], "--no-snapshots"),
        (["--guest-env=A"], "--guest-env"),
        (["--guest-package=a"], "--guest-package"),
        (["-x", "-n2"], "-n"),
        (["--numprocesses", "2"], "-n"),
    ],
    ids=" ".join,
)
def test_what_is_ours_stands_before_the_dashes(words: list[str], own: str, run: Command) -> None:
    ended = run("-k", "test_nop", *words)
    assert (ended.code, ended.out) == (2, ""), ended
    assert f"stands behind --, where pytest's own options stand: `uring-matrix run` has {own} for it" in ended.err
    assert not Path("matrix").exists()


def test_what_is_ours_stands_in_no_variable_of_pytests(run: Command) -> None:
    ended = run("-k", "test_nop", PYTEST_ADDOPTS="--kernel=6.1")
    assert (ended.code, "--kernel stands in PYTEST_ADDOPTS" in ended.err) == (2, True), ended


@pytest.mark.parametrize("words", [["-c", "x.ini"], ["--rootdir=."], ["--config-file", "x.ini"]], ids=" ".join)
def test_the_suite_has_its_own_configuration(words: list[str], run: Command) -> None:
    ended = run(*words)
    assert (ended.code, "the suite brings its own configuration" in ended.err) == (2, True), ended


def test_tests_of_others_are_no_part_of_the_suite(run: Command) -> None:
    Path("test_mine.py").write_text("def test_mine(): pass\n")
    ended = run("test_mine.py::test_mine")
    assert (ended.code, "run with `pytest test_mine.py::test_mine --kernel SPEC`" in ended.err) == (2, True), ended


def test_a_part_of_the_suite_is_run_alone(run: Command) -> None:
    path = ROOT / "conformance/zig/test_basics.py"
    assert run(f"{path}::test_nop").code == 0
    assert recorded_tests() == {"test_nop"}
    assert run("--pyargs", "conformance.zig.test_basics", "-k", "nop", before=()).code == 0
    assert recorded_tests() == {"test_nop"}


def test_a_run_without_xdist(run: Command) -> None:
    ended = run("-p", "no:xdist", "-k", "test_nop", before=())
    assert (ended.code, "host: 1/1 1 pass" in ended.err) == (0, True), ended
    assert "test_nop" in recorded_tests()
    ended = run("-pno:xdist", before=("-n", "2"))
    assert (ended.code, "-n 2 is pytest-xdist's" in ended.err) == (2, True), ended


def test_a_deadline_has_no_other_name(run: Command) -> None:
    """What `run` has no option for goes to the plugin behind `--`."""
    assert run("--matrix-deadline", "0.000001").code == 3
    ended = run("--matrix-test-timeout", "5")
    assert (ended.code, "`uring-matrix run` has --test-timeout for it" in ended.err) == (2, True), ended
