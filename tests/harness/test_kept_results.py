"""A directory with results, and later runs in it: what they replace, what they keep, and what they say of it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from reports.results import Results, Status, fold, read

Run = Callable[..., subprocess.CompletedProcess[str]]

SUITE = """
def test_one(): pass
def test_two(): pass
def test_three(): assert 1 == 2
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs pytest in this machine's kernel, with results in `out` of the working directory."""

    def call(*arguments: str, cwd: Path = tmp_path, out: str = "out") -> subprocess.CompletedProcess[str]:
        options = ["-p", "no:cacheprovider", "-q", "--kernel", "host", "--matrix-out", out]
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [sys.executable, "-m", "pytest", *options, *arguments],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return call


@pytest.fixture
def suite(tmp_path: Path, run: Run) -> Path:
    """A folder with a finished run of three tests."""
    (tmp_path / "test_mine.py").write_text(SUITE)
    run()
    assert verdicts(read(tmp_path / "out")) == {"test_one": "pass", "test_two": "pass", "test_three": "fail"}
    return tmp_path


def verdicts(results: Results) -> dict[str, str]:
    return {row.test: str(row.status) for row in results.results}


def content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def rows_of(journal: Path) -> list[str]:
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    return [event["result"]["test"] for event in events if event["event"] == "result"]


# -- a run that covers less -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["0", "2"])
def test_what_a_run_does_not_cover_stays(suite: Path, run: Run, workers: str) -> None:
    before = read(suite / "out")
    done = run("-n", workers, "-k", "two")
    after = read(suite / "out")
    assert verdicts(after) == verdicts(before)
    assert after.complete
    assert "2 cells of an earlier run are kept: host" in done.stdout
    rows = {row.test: row for row in after.results}
    [earlier] = after.runs
    assert [rows[name].run for name in ("test_one", "test_two", "test_three")] == [earlier.id, None, earlier.id]
    assert (earlier.started, earlier.finished, earlier.command) == (before.started, before.finished, before.command)
    assert "-k" in after.command
    assert "-k" not in earlier.command


def test_rows_keep_their_run_through_further_runs(suite: Path, run: Run) -> None:
    run("-k", "two")
    run("-k", "three")
    results = read(suite / "out")
    runs = {one.id: one for one in results.runs}
    commands = {row.test: runs[row.run].command if row.run else results.command for row in results.results}
    assert ["-k" in commands[name] for name in ("test_one", "test_two", "test_three")] == [False, True, True]
    assert commands["test_two"][-1] == "two"


def test_the_tests_stay_in_their_order(suite: Path, run: Run) -> None:
    run("-k", "three")
    run("-k", "one")
    assert list(verdicts(read(suite / "out"))) == ["test_one", "test_two", "test_three"]


def test_the_exit_code_is_about_what_was_asked_for(suite: Path, run: Run) -> None:
    """A failure of an earlier run is shown, and is no failure of this one."""
    assert run("-k", "two").returncode == 0
    assert verdicts(read(suite / "out"))["test_three"] == "fail"


def test_a_directory_without_a_journal_is_kept_as_well(suite: Path, run: Run) -> None:
    """`uring-matrix report` writes results.json alone."""
    (suite / "out/results.jsonl").unlink()
    run("-k", "two")
    assert verdicts(read(suite / "out")) == {"test_one": "pass", "test_two": "pass", "test_three": "fail"}


def test_results_of_an_earlier_version_are_kept(suite: Path, run: Run) -> None:
    """It recorded neither inputs nor where a test is, beside its `source`."""
    as_of_old(suite)
    run("-k", "two")
    results = read(suite / "out")
    assert verdicts(results) == {"test_one": "pass", "test_two": "pass", "test_three": "fail"}
    assert [row.test for row in results.results if row.inputs] == ["test_two"]


def as_of_old(suite: Path) -> None:
    document = json.loads((suite / "out/results.json").read_text())
    for name, fields in (("kernels", ("inputs", "guest")), ("tests", ("node", "tree")), ("results", ("inputs", "run"))):
        for record in document[name]:
            for field in fields:
                record.pop(field, None)
    document.pop("runs")
    (suite / "out/results.json").write_text(json.dumps(document))
    (suite / "out/results.jsonl").unlink()


def test_what_cannot_be_read_is_not_overwritten(suite: Path, run: Run) -> None:
    (suite / "out/results.json").write_text('{"schema_version": 99}')
    before = content(suite / "out")
    done = run()
    assert (done.returncode, "schema_version 99" in done.stderr) == (pytest.ExitCode.USAGE_ERROR, True), done
    assert content(suite / "out") == before


# -- a run that judges nothing ----------------------------------------------------------------------------------------

# By one of the workers: two interruptions would be impatience.
INTERRUPTED_WHILE_COLLECTING = """
import os, pathlib, signal, time
try:
    pathlib.Path("interrupted").touch(exist_ok=False)
    os.kill({pid}, signal.SIGINT)
except FileExistsError:
    pass
time.sleep(5)
"""
INTERRUPTED_IN_ITS_FIRST_TEST = (
    "import os, signal, time\ndef test_one():\n os.kill({pid}, signal.SIGINT)\n time.sleep(5)\n"
)


def with_page_and_console(suite: Path) -> None:
    (suite / "out/consoles/6.1-1").mkdir(parents=True)
    (suite / "out/consoles/6.1-1/console.txt").write_text("Linux version 6.1")
    (suite / "out/index.html").write_text('<!doctype html><meta name="generator" content="uring-matrix">')


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize(
    ("text", "arguments", "code"),
    [
        pytest.param(SUITE, ["--collect-only"], 0, id="collect only"),
        pytest.param(SUITE, ["-k", "no_such_test"], 5, id="nothing selected"),
        pytest.param(SUITE, ["no_such_file.py"], 4, id="no such file"),
        pytest.param("import no_such_module\n", [], 2, id="an error"),
        pytest.param(INTERRUPTED_WHILE_COLLECTING, [], 2, id="interrupted while collecting"),
        pytest.param(INTERRUPTED_IN_ITS_FIRST_TEST, [], 2, id="interrupted in its first test"),
    ],
)
def test_a_run_that_judges_nothing_changes_nothing(
    suite: Path, run: Run, workers: str, text: str, arguments: list[str], code: int
) -> None:
    with_page_and_console(suite)
    before = content(suite / "out")
    (suite / "test_more.py").write_text("def test_four(): pass\n")
    (suite / "test_mine.py").write_text(text.format(pid="os.getpid()" if workers == "0" else "os.getppid()"))
    done = run("-n", workers, *arguments)
    if code != 4 or workers == "0":  # pytest-xdist has its own idea of a file that is not there
        assert done.returncode == code, done
    assert content(suite / "out") == before


@pytest.mark.parametrize("workers", ["0", "2"])
def test_an_interruption_while_collecting_plans_no_part_of_the_cells(suite: Path, run: Run, workers: str) -> None:
    """Those of the files that were collected before it."""
    before = content(suite / "out")
    text = INTERRUPTED_WHILE_COLLECTING.format(pid="os.getpid()" if workers == "0" else "os.getppid()")
    (suite / "test_then.py").write_text(text)
    assert run("-n", workers).returncode == pytest.ExitCode.INTERRUPTED
    assert content(suite / "out") == before


@pytest.mark.parametrize("workers", ["0", "2"])
def test_an_error_while_collecting_is_said(suite: Path, run: Run, workers: str) -> None:
    (suite / "test_bad.py").write_text("import no_such_module\n")
    done = run("-n", workers)
    assert "No module named 'no_such_module'" in done.stdout
    assert "1 error during collection" in done.stdout


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_that_goes_on_without_a_file_is_not_complete(tmp_path: Path, run: Run, workers: str) -> None:
    (tmp_path / "test_good.py").write_text("def test_good(): pass\n")
    (tmp_path / "test_bad.py").write_text("import no_such_module\n")
    run("-n", workers, "--continue-on-collection-errors")
    results = read(tmp_path / "out")
    assert (verdicts(results), results.complete) == ({"test_good": "pass"}, False)


def test_nothing_is_made_where_nothing_was(tmp_path: Path, run: Run) -> None:
    (tmp_path / "test_bad.py").write_text("import no_such_module\n")
    run()
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_killed_before_it_has_a_verdict_is_undone_by_the_next(suite: Path, run: Run) -> None:
    before = verdicts(read(suite / "out"))
    (suite / "test_other.py").write_text("import os\ndef test_kills(): os._exit(9)\n")
    run("test_other.py")
    assert not (suite / "out/results.json").exists()  # it would be taken for this run's
    run("test_mine.py::test_one")
    assert verdicts(read(suite / "out")) == before
    assert list((suite / "out").glob(".*")) == []


def test_a_run_that_is_killed_loses_neither_what_it_kept_nor_what_it_found(suite: Path, run: Run) -> None:
    (suite / "test_other.py").write_text("import os\ndef test_four(): pass\ndef test_kills(): os._exit(9)\n")
    run("test_other.py")
    assert rows_of(suite / "out/results.jsonl") == ["test_four"]
    found = verdicts(fold(suite / "out/results.jsonl"))
    kept = {"test_one": "pass", "test_two": "pass", "test_three": "fail"}
    assert found == {**kept, "test_four": "pass", "test_kills": "notrun"}
    (suite / "test_other.py").write_text("import os\ndef test_four(): pass\ndef test_kills(): pass\n")
    run("--matrix-resume")
    assert verdicts(read(suite / "out")) == {**kept, "test_four": "pass", "test_kills": "pass"}
    assert read(suite / "out").complete


def test_a_run_with_a_verdict_replaces_its_own_cells_when_it_is_stopped(suite: Path, run: Run) -> None:
    """What it did not reach has no verdict: an old one beside the new ones would look like this run's."""
    (suite / "test_mine.py").write_text(SUITE.replace("test_one(): pass", "test_one(): assert 0"))
    run("-x", "-k", "one or two")
    results = read(suite / "out")
    assert verdicts(results) == {"test_one": "fail", "test_two": "notrun", "test_three": "fail"}
    assert not results.complete


# -- tests of one name ------------------------------------------------------------------------------------------------


def test_functions_of_one_name_in_two_files_live_side_by_side(tmp_path: Path, run: Run) -> None:
    for name, text in (("a", "def test_same(): pass\n"), ("b", "def test_same(): assert 0\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"test_{name}.py").write_text(text)
        run(name)
    assert verdicts(read(tmp_path / "out")) == {"test_same": "pass", "b/test_b.py::test_same": "fail"}
    # Whatever is asked for later, a test keeps the id that it has.
    run("b")
    run()
    run("a")
    assert verdicts(read(tmp_path / "out")) == {"test_same": "pass", "b/test_b.py::test_same": "fail"}


def test_two_suites_live_side_by_side_in_one_directory(tmp_path: Path, run: Run) -> None:
    """Also where their files and functions have the same names."""
    for name, text in (("a", "def test_same(): pass\n"), ("b", "def test_same(): assert 0\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "test_x.py").write_text(text)
        run(cwd=tmp_path / name, out="../out")
    assert sorted(verdicts(read(tmp_path / "out")).values()) == ["fail", "pass"]
    run(cwd=tmp_path / "b", out="../out")
    assert sorted(verdicts(read(tmp_path / "out")).values()) == ["fail", "pass"]


# -- resuming ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(tmp_path: Path, run: Run) -> Path:
    """A folder with a run that came to two of its four verdicts."""
    (tmp_path / "helper.py").write_text("TRUTH = True\n")
    (tmp_path / "test_a.py").write_text("import helper\ndef test_one(): assert helper.TRUTH\n")
    (tmp_path / "test_b.py").write_text("def test_two(): pass\ndef test_stops(): import pytest; pytest.exit('stop')\n")
    (tmp_path / "test_c.py").write_text("def test_last(): pass\n")
    run()
    assert list(verdicts(read(tmp_path / "out")).values()) == ["pass", "pass", "notrun", "notrun"]
    (tmp_path / "test_b.py").write_text("def test_two(): pass\ndef test_stops(): pass\n")
    return tmp_path


def resumed(done: subprocess.CompletedProcess[str]) -> str | None:
    found = re.search(r"cells? (?:is|are) run again: (.*)", done.stdout)
    return found[1] if found else None


@pytest.mark.parametrize("workers", ["0", "2"])
def test_resuming_keeps_what_was_obtained_in_the_same_way(stopped: Path, run: Run, workers: str) -> None:
    done = run("--matrix-resume", "-v", "-n", workers)
    assert "test_one" not in done.stdout
    assert resumed(done) == "1 whose test changed"  # its file did
    results = read(stopped / "out")
    assert list(verdicts(results).values()) == ["pass"] * 4
    assert results.complete
    assert done.returncode == 0


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize(
    ("file", "text", "arguments", "why"),
    [
        ("test_a.py", "def test_one(): assert 0\n", [], "2 whose test changed"),
        ("helper.py", "TRUTH = False\n", [], "2 whose test changed"),
        ("conftest.py", "import helper; helper.TRUTH = False\n", [], "1 whose test changed, 1 whose suite changed"),
        ("data.json", "{}", ["-W", "error"], "1 whose test changed, 1 whose suite changed"),
        (
            "test_d.py",
            "def nothing(): pass\n",
            ["-W", "error"],
            "1 whose test changed, 1 that had other options of pytest",
        ),
    ],
)
def test_resuming_keeps_no_verdict_that_was_obtained_otherwise(
    stopped: Path, run: Run, workers: str, file: str, text: str, arguments: list[str], why: str
) -> None:
    (stopped / file).write_text(text)
    done = run("--matrix-resume", "-n", workers, *arguments)
    again = resumed(done)
    assert again is not None
    assert sorted(again.split(", ")) == sorted(why.split(", ")) or (
        file == "helper.py" and again == "2 whose test changed"
    )
    expected = "fail" if file in {"test_a.py", "helper.py", "conftest.py"} else "pass"
    assert list(verdicts(read(stopped / "out")).values()) == [expected, "pass", "pass", "pass"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("kernel", "3 whose kernel is another image"),
        ("guest", "3 whose guest is made otherwise"),
        ("image", "3 whose guest image is another"),
        ("sources", "3 whose suite changed"),
        ("options", "3 that had other options of pytest"),
    ],
)
def test_whatever_a_column_was_obtained_with_belongs_to_its_verdicts(
    name: str, why: str, suite: Path, run: Run
) -> None:
    """For guests there are QEMU and the packages beside these."""
    word = read(suite / "out").kernels[0].inputs[name]
    for file in (suite / "out/results.json", suite / "out/results.jsonl"):
        file.write_text(file.read_text().replace(word, "another"))
    done = run("--matrix-resume")
    assert resumed(done) == why
    assert {kernel.inputs[name] for kernel in read(suite / "out").kernels} != {"another"}


def test_parameters_belong_to_a_verdict(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that come from elsewhere: the text of every file is the same."""
    text = "import os, pytest\n@pytest.mark.parametrize('n', [int(os.environ['OWN_NUMBER'])])\n"
    (tmp_path / "test_a.py").write_text(f"{text}def test_one(n): assert n == 1\n")
    monkeypatch.setenv("OWN_NUMBER", "1")
    run()
    monkeypatch.setenv("OWN_NUMBER", "2")
    run("--matrix-resume")
    assert verdicts(read(tmp_path / "out")) == {"test_one[1]": "pass", "test_one[2]": "fail"}


def test_a_class_belongs_to_a_verdict(tmp_path: Path, run: Run) -> None:
    text = "class TestA:\n def test_same(self): pass\nclass TestB:\n def test_same(self): assert 0\n"
    (tmp_path / "test_a.py").write_text(text)
    run("-k", "TestA")
    run("--matrix-resume")
    assert verdicts(read(tmp_path / "out")) == {"TestA.test_same": "pass", "TestB.test_same": "fail"}


def test_a_mode_belongs_to_a_verdict(tmp_path: Path, run: Run) -> None:
    (tmp_path / "test_a.py").write_text("def test_one(matrix_cell): assert matrix_cell.mode == 'default'\n")
    run()
    run("--matrix-resume", "--mode", "no-sqarray")
    rows = {row.mode: str(row.status) for row in read(tmp_path / "out").results}
    assert rows == {"default": "pass", "no-sqarray": "fail"}


def test_what_another_test_file_lends_belongs_to_a_test(tmp_path: Path, run: Run) -> None:
    (tmp_path / "test_lends.py").write_text("ANSWER = 42\n")
    (tmp_path / "test_takes.py").write_text("from test_lends import ANSWER\ndef test_answer(): assert ANSWER == 42\n")
    run()
    (tmp_path / "test_lends.py").write_text("ANSWER = 41\n")
    assert resumed(run("--matrix-resume")) == "1 whose test changed"
    assert verdicts(read(tmp_path / "out")) == {"test_answer": "fail"}


def test_a_test_of_the_same_name_in_another_file_has_no_verdict(tmp_path: Path, run: Run) -> None:
    (tmp_path / "test_a.py").write_text("def test_same(): pass\n")
    run()
    (tmp_path / "test_a.py").rename(tmp_path / "test_b.py")
    (tmp_path / "test_b.py").write_text("def test_same(): assert 0\n")
    done = run("--matrix-resume")
    assert done.returncode == 1
    assert verdicts(read(tmp_path / "out")) == {"test_same": "pass", "test_b.py::test_same": "fail"}


def test_resuming_believes_no_verdict_of_an_earlier_version(suite: Path, run: Run) -> None:
    as_of_old(suite)
    done = run("--matrix-resume")
    assert resumed(done) == "3 of which an older version did not record what they were obtained with"
    assert all(row.inputs for row in read(suite / "out").results)


def test_resuming_what_is_done_changes_nothing(suite: Path, run: Run) -> None:
    before = content(suite / "out")
    done = run("--matrix-resume")
    assert "results.json is complete" in done.stdout
    assert content(suite / "out") == before


def test_resuming_a_run_that_was_killed_at_its_very_end_completes_it(suite: Path, run: Run) -> None:
    journal = suite / "out/results.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))
    (suite / "out/results.json").unlink()
    run("--matrix-resume")
    results = read(suite / "out")
    assert results.complete
    assert verdicts(results) == {"test_one": "pass", "test_two": "pass", "test_three": "fail"}


def test_resuming_is_never_green_above_a_failure_that_was_kept(suite: Path, run: Run) -> None:
    """The cells are asked for, whether they are run again or not."""
    (suite / "test_more.py").write_text("def test_four(): pass\n")
    run("--matrix-resume")
    results = read(suite / "out")
    assert results.complete
    assert {row.status for row in results.results} == {Status.PASS, Status.FAIL}


# -- what else was in the way -----------------------------------------------------------------------------------------


def test_a_mode_that_is_named_twice_is_one(tmp_path: Path, run: Run) -> None:
    (tmp_path / "test_a.py").write_text("def test_one(): pass\n")
    run("--mode", "default", "--mode", "default", "--arch", "amd64", "--arch", "amd64")
    assert verdicts(read(tmp_path / "out")) == {"test_one": "pass"}


def test_consoles_of_kept_columns_stay(suite: Path, run: Run) -> None:
    with_page_and_console(suite)
    (suite / "out/consoles/stale").mkdir()
    document = read(suite / "out")
    guest = msgspec.structs.replace(
        document.kernels[0], id="6.1", source="debian", series="6.1", console="consoles/6.1-1/console.txt"
    )
    rows = tuple(msgspec.structs.replace(row, kernel="6.1") for row in document.results)
    both = msgspec.structs.replace(document, kernels=(guest, *document.kernels), results=(*rows, *document.results))
    (suite / "out/results.json").write_bytes(msgspec.json.encode(both))
    run()
    kernels = {kernel.id: kernel for kernel in read(suite / "out").kernels}
    assert (suite / "out" / str(kernels["6.1"].console)).read_text() == "Linux version 6.1"
    assert [path.name for path in (suite / "out/consoles").iterdir()] == ["6.1-1"]
    assert kernels["6.1"].started == document.started
    assert kernels["host"].started is None
    assert not (suite / "out/index.html").exists()  # it would contradict the results


SHARED = {
    "pytest.ini": "[pytest]\n",
    "t/test_mine.py": """
import os, pathlib, test_utils
def test_data(): assert (pathlib.Path(__file__).parents[1] / "data.txt").read_text() == "1"
def test_helper(): assert test_utils.TRUTH
""",
    # Called like a file of tests, and none.
    "t/test_utils.py": "TRUTH = True\n",
    "data.txt": "1",
}


@pytest.mark.parametrize(
    ("file", "text"), [("data.txt", "2"), ("t/test_utils.py", "TRUTH = False\n")], ids=["data", "helper"]
)
def test_whatever_tests_may_read_belongs_to_their_verdicts(tmp_path: Path, run: Run, file: str, text: str) -> None:
    """Also beside the folder that was named."""
    for name, content in SHARED.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert run("t").returncode == 0
    (tmp_path / file).write_text(text)
    assert run("t", "--matrix-resume").returncode == 1


def test_pythons_own_warning_options_belong_to_a_verdict(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "test_mine.py").write_text("import warnings\ndef test_warns(): warnings.warn('x')\n")
    assert run().returncode == 0
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    done = run("--matrix-resume")
    assert "1 cell is run again: 1 that had other options of pytest" in done.stdout, done.stdout


@pytest.mark.parametrize("workers", ["0", "2"])
def test_what_a_resumed_run_keeps_counts_in_its_exit_code(tmp_path: Path, run: Run, workers: str) -> None:
    (tmp_path / "test_mine.py").write_text("def test_fails(): assert 0\ndef test_passes(): pass\n")
    assert run("-x").returncode == 1
    assert run("--matrix-resume", "-n", workers).returncode == 1
    assert run("--matrix-resume", "-n", workers).returncode == 1, "all of it is kept, and one of it failed"
    assert run("-k", "passes").returncode == 0
    assert run("-k", "passes", "--matrix-resume", "-n", workers).returncode == 0, "all of it is kept, and good"
