"""Files that are there already: nobody else's is replaced or removed, and what is left of a run is said to be there."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import sample

from reports.earlier import Earlier
from reports.export import FILES
from reports.journal import Journal
from reports.ours import SITE
from reports.pages import remove_pages
from reports.results import Results, read, write
from uring_matrix.shell import make_raw

from .conftest import Ended

Call = Callable[..., Ended]
MINE = b"<!doctype html><title>my page</title>"


def content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture
def out() -> Path:
    directory = Path("out")
    directory.mkdir()
    return directory


@pytest.fixture
def results() -> str:
    write("job/results.json", sample.whole())
    return "job"


def begin(directory: Path, rows: int) -> None:
    """Leave what a run leaves that is killed after some verdicts."""
    whole = sample.whole()
    command = ["uring-matrix", "run", "6.1", "--out", str(directory)]
    with Journal.create(
        directory / "results.jsonl", generator=whole.generator, command=command, host=whole.host
    ) as journal:
        cells = [row.key for row in whole.results]
        journal.plan(kernels=whole.kernels, tests=whole.tests, modes=whole.modes, cells=cells)
        for row in whole.results[:rows]:
            journal.result(row)
        if rows == len(whole.results):
            journal.end()


# -- files of others --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SITE, "can/nop.html"])
def test_a_site_replaces_nobody_elses_file(cli: Call, results: str, out: Path, name: str) -> None:
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_bytes(MINE)
    ended = cli("report", results, "--out", "out")
    assert ended.code == 2
    assert f"out/{name} is in the way" in ended.err
    assert content(out) == {name: MINE}


@pytest.mark.parametrize("form", ["json", *FILES])
def test_no_other_form_does(cli: Call, results: str, out: Path, form: str) -> None:
    name = FILES.get(form, "results.json")
    (out / name).write_bytes(b'{"tests": 7}')
    ended = cli("report", results, "--out", "out", "--format", "csv", "--format", form)
    assert (ended.code, f"out/{name} is in the way" in ended.err) == (2, True)
    assert content(out) == {name: b'{"tests": 7}'}


def test_no_history_does(cli: Call, results: str, out: Path) -> None:
    shutil.copytree(results, "later")
    (out / "index.html").write_bytes(MINE)
    assert cli("history", results, "later", "--out", "out").code == 2
    assert content(out) == {"index.html": MINE}


@pytest.mark.parametrize("name", SITE)
def test_a_run_is_refused_before_it_begins(cli: Call, out: Path, name: str) -> None:
    (out / name).write_bytes(MINE)
    ended = cli("run", "host", "-n", "0", "--out", "out")
    assert (ended.code, f"out/{name} is in the way" in ended.err) == (2, True)
    assert content(out) == {name: MINE}


def test_other_files_of_other_names_are_welcome_and_ours_are_replaced(cli: Call, results: str, out: Path) -> None:
    others = {"mine.html": MINE, "can/mine.html": MINE, "consoles/mine.txt": MINE, "all-mine.html": MINE}
    for name, text in others.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(text)
    forms = [f"--format={form}" for form in ("html", *FILES)]
    for _ in range(2):
        ended = cli("report", results, "--out", "out", *forms)
        assert ended.code == 0, ended
    remove_pages(out)
    left = content(out)
    assert left.keys() == {*others, *FILES.values(), "results.json"}
    assert others.items() <= left.items()


def test_an_empty_file_has_nothing_to_lose(cli: Call, results: str, out: Path) -> None:
    (out / "index.html").touch()
    assert cli("report", results, "--out", "out").code == 0


def test_a_verdict_removes_the_consoles_of_guests_and_nothing_else(out: Path) -> None:
    begin(out, 3)
    mine = {"consoles/mine.txt", "consoles/notes/console.txt.bak", "consoles/6.1-1/mine"}
    old = {"consoles/6.1-1/console.txt", "consoles/6.1-1/qemu.txt", "consoles/0-consoles-x-console.txt"}
    for name in mine | old:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(MINE)
    earlier = Earlier(out / "results.jsonl")
    earlier.set_aside()
    earlier.give_up(())
    assert {name for name in content(out) if name.startswith("consoles/")} == mine


@pytest.mark.parametrize(
    "words",
    [
        ["run", "host", "--out", ""],
        ["run", "--lock", ""],
        ["run", "--baseline", ""],
        ["report", "job", "--out", ""],
        ["report", "", "--out", "out"],
        ["report", "job", "--out", "out", "--baseline", ""],
        ["history", "job", "job", "--out", ""],
        ["diff", "", "job"],
        ["diff", "job", "#6.1"],
        ["show", "6.1", "nop", ""],
        ["kernels", "lock", "6.1", "-o", ""],
    ],
    ids=" ".join,
)
def test_an_empty_word_is_no_path(cli: Call, results: str, words: list[str]) -> None:
    """A variable that is not set; `.` is how to say "here"."""
    shutil.copy(f"{results}/results.json", "results.json")
    before = content(Path())
    ended = cli(*words)
    assert (ended.code, ended.out) == (2, ""), ended
    assert "variable" in ended.err
    assert content(Path()) == before


# -- what is left of a run --------------------------------------------------------------------------------------------


def cut(directory: Path, size_bytes: int = 4096) -> None:
    path = directory / "results.json"
    path.write_bytes(path.read_bytes()[:size_bytes])


def test_a_file_that_was_cut_off_has_its_journal_beside_it(cli: Call, out: Path) -> None:
    whole = sample.whole()
    begin(out, len(whole.results))
    write(out / "results.json", whole)
    cut(out)
    ended = cli("report", "out", "--out", "site")
    assert ended.code == 2
    assert "results.jsonl lies beside it; to go on: uring-matrix run --resume 6.1 --out out" in ended.err
    earlier = Earlier(out / "results.jsonl")
    found = earlier.read()
    assert isinstance(found, Results)
    assert {row.key: row.status for row in found.results} == {row.key: row.status for row in whole.results}
    assert earlier.is_rebuilt
    assert found.complete


def test_a_run_says_what_to_do_with_a_file_that_was_cut_off(cli: Call, out: Path) -> None:
    write(out / "results.json", sample.whole())
    cut(out)
    before = content(out)
    ended = cli("run", "host", "-n", "0", "--out", "out")
    assert ended.code == 2
    assert "Remove it, or choose another directory with --out. Nothing was run" in ended.err
    assert "uring-matrix run`" not in ended.err
    assert content(out) == before


@pytest.mark.parametrize("words", [["show", "6.16", "nop", "m"], ["report", "m", "--out", "site"], ["diff", "m", "m"],
                                   ["can", "bind", "m"], ["can", "bind", "m/results.json"]], ids=" ".join)  # fmt: skip
def test_a_run_that_was_killed_is_said_to_be_there(cli: Call, words: list[str]) -> None:
    begin(Path("m"), 7)
    ended = cli(*words)
    assert ended.code == 2
    assert "There is no m/results.json: a run goes on there, or was killed; to go on: uring-matrix run --resume" in (
        ended.err
    )


def test_a_directory_without_results_is_no_capability(cli: Call, out: Path) -> None:
    ended = cli("can", "bind", "out")
    assert ended.code == 2
    assert "out was taken for a capability: it is a directory, and has no results.json" in ended.err


def test_resuming_writes_what_was_cut_off_anew(command: Call, out: Path) -> None:
    words = ("run", "host", "-n", "0", "--out", "out", "--no-report", "-k", "nop")
    assert command(*words).code == 0
    before = read(out)
    cut(out, 1024)
    assert command(*words, "--resume").code == 0
    assert [row.started for row in read(out).results] == [row.started for row in before.results]
    assert read(out).complete


def test_the_results_may_be_resumed_wherever_they_are_carried(command: Call) -> None:
    """From one CI job to another, say: all of it was run again."""
    words = ("run", "host", "-n", "0", "--no-report", "-k", "nop or close", "--out")
    assert command(*words, "x1").code == 0
    shutil.copytree("x1", "x2")
    ended = command(*words, "x2", "--resume")
    assert "run again" not in ended.out + ended.err
    assert [row.started for row in read("x2").results] == [row.started for row in read("x1").results]


# -- how errors are said ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["run", "host", "-n", "0", "--isolate"], 2),
        (["run", "no-such-kernel", "--offline"], 3),
        (["run", "host", "-n", "0", "--", "no_such_file.py"], 2),
    ],
    ids=str,
)
def test_every_error_has_one_prefix(command: Call, words: list[str], code: int) -> None:
    ended = command(*words)
    assert ended.code == code, ended
    last = ended.err.splitlines()[-1]
    assert last.startswith("uring-matrix: "), ended
    assert "ERROR:" not in ended.err


def test_an_empty_kernel_is_refused_before_anything_is_said_to_be_prepared(cli: Call) -> None:
    for words in (["run", ""], ["run", "--kernel", ""], ["shell", ""], ["probe", ""]):
        ended = cli(*words)
        assert (ended.code, "a kernel's name is empty" in ended.err) == (2, True)
        assert "prepar" not in ended.err


def test_formats_may_stand_in_one_word(cli: Call, results: str) -> None:
    ended = cli("report", results, "--out", "out", "--format", "junit,ctrf", "--format", "csv")
    assert (ended.code, ended.out.split()) == (0, ["out/junit.xml", "out/ctrf.json", "out/results.csv"])
    for wrong, said in (("junit,xml", "'xml' is none of html, json, junit"), (",", "name at least one of html")):
        ended = cli("report", results, "--out", "more", "--format", wrong)
        assert (ended.code, said in ended.err, Path("more").exists()) == (2, True, False)


def test_what_is_typed_while_a_guest_boots_stays() -> None:
    ours, theirs = os.openpty()
    try:
        os.write(ours, b"print(1)")
        make_raw(theirs)
        os.set_blocking(theirs, False)
        assert os.read(theirs, 64) == b"print(1)"
    finally:
        os.close(ours)
        os.close(theirs)
