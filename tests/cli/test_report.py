"""`uring-matrix report` and `uring-matrix diff`: files in, a site or a comparison out."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import sample
from msgspec.structs import replace

from reports.diff import Change
from reports.diff_text import HEADS
from reports.results import Results, Status, read, write

from .conftest import Ended

Call = Callable[..., Ended]
TITLE = "nop"
TEST = "test_nop"


@pytest.fixture
def whole() -> Results:
    return sample.whole()


def only(results: Results, *kernels: str) -> Results:
    """Keep some columns, as a CI job of one kernel would have written them."""
    return replace(
        results,
        kernels=tuple(kernel for kernel in results.kernels if kernel.id in kernels),
        results=tuple(row for row in results.results if row.kernel in kernels),
    )


# -- report -----------------------------------------------------------------------------------------------------------


def test_the_results_of_several_jobs_become_one_site(cli: Call, whole: Results, tmp_path: Path) -> None:
    for kernel in ("5.10", "6.1", "7.3"):
        write(tmp_path / f"job-{kernel}" / "results.json", only(whole, kernel))
    ended = cli(
        *("report", str(tmp_path / "job-7.3"), str(tmp_path / "job-5.10" / "results.json"), str(tmp_path / "job-6.1")),
        *("--out", "site"),
    )
    assert ended.code == 0, ended.err
    assert ended.out == "site/index.html\n"
    merged = read("site")
    assert [kernel.id for kernel in merged.kernels] == ["5.10", "6.1", "7.3"]
    assert merged.complete
    page = Path("site/index.html").read_text()
    assert all(f">{kernel}<" in page for kernel in ("5.10", "6.1", "7.3"))


def test_a_report_of_an_unfinished_run_says_so(cli: Call, whole: Results, tmp_path: Path) -> None:
    missing = replace(sample.with_cell(whole, TEST, "6.1", status=Status.NOTRUN), complete=False)
    write(tmp_path / "results.json", missing)
    ended = cli("report", str(tmp_path / "results.json"), "--out", "site")
    assert ended.code == 0
    assert "1 cell has no verdict" in ended.err
    assert "NOT complete" in ended.err
    # As it was given, not merely `run --resume`: somewhere else there is nothing to go on with.
    assert f"to go on: {shlex.join([*whole.command[:2], '--resume', *whole.command[2:]])}\n" in ended.err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(None, "There is no", id="absent"),
        pytest.param(b"", "results.json", id="empty"),
        pytest.param(b'{"schema_version": 1, "gen', "results.json", id="cut off"),
        pytest.param(b'{"schema_version": 99}', "schema_version 99", id="of another version"),
        pytest.param(b"[]", "results.json", id="something else"),
    ],
)
def test_what_is_no_results_file_is_a_usage_error_and_leaves_nothing(
    cli: Call, whole: Results, tmp_path: Path, content: bytes | None, words: str
) -> None:
    write(tmp_path / "good" / "results.json", whole)
    bad = tmp_path / "bad" / "results.json"
    if content is not None:
        bad.parent.mkdir()
        bad.write_bytes(content)
    ended = cli("report", str(tmp_path / "good"), str(bad), "--out", "site")
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err
    assert "Traceback" not in ended.err
    assert not Path("site").exists()


def test_consoles_move_along_and_other_files_do_not(cli: Call, whole: Results, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of this machine")
    job = tmp_path / "job"
    consoles = {"5.10": "consoles/5.10/console.txt", "6.1": "../secret", "6.12": "consoles/absent.txt"}
    kernels = tuple(replace(kernel, console=consoles.get(kernel.id)) for kernel in whole.kernels)
    write(job / "results.json", replace(whole, kernels=kernels))
    (job / "consoles" / "5.10").mkdir(parents=True)
    (job / "consoles" / "5.10" / "console.txt").write_text("Linux version 5.10")
    assert cli("report", str(job), "--out", "site").code == 0
    found = {kernel.id: kernel.console for kernel in read("site").kernels if kernel.console is not None}
    assert found == {"5.10": "consoles/0-consoles-5.10-console.txt"}
    assert Path("site", found["5.10"]).read_text() == "Linux version 5.10"
    assert [path.name for path in Path("site/consoles").iterdir()] == ["0-consoles-5.10-console.txt"]


def test_a_report_into_its_own_directory_keeps_its_consoles(cli: Call, whole: Results) -> None:
    kernels = tuple(replace(kernel, console="consoles/x.txt") for kernel in whole.kernels)
    write("matrix/results.json", replace(whole, kernels=kernels))
    assert cli("report", "matrix", "--out", "matrix").code == 0
    assert {kernel.console for kernel in read("matrix").kernels} == {"consoles/x.txt"}


def test_the_same_results_give_the_same_site(cli: Call, whole: Results, tmp_path: Path) -> None:
    write(tmp_path / "a" / "results.json", only(whole, "5.10"))
    write(tmp_path / "b" / "results.json", only(whole, "6.1"))
    for out in ("one", "two"):
        assert cli("report", str(tmp_path / "a"), str(tmp_path / "b"), "--out", out).code == 0
    files = [
        {path.relative_to(out): path.read_bytes() for path in Path(out).rglob("*") if path.is_file()}
        for out in ("one", "two")
    ]
    assert files[0] == files[1]


# -- diff -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def two_runs(whole: Results, tmp_path: Path) -> tuple[str, str]:
    """A run, and a later one in which a cell of 6.1 does not pass any more and one of 7.3 has a control character."""
    worse = sample.with_cell(whole, TEST, "6.1", status=Status.FAIL, reason="res is -22\x1b[2J\nand more")
    write(tmp_path / "old" / "results.json", whole)
    write(tmp_path / "new" / "results.json", worse)
    return str(tmp_path / "old"), str(tmp_path / "new")


def test_a_run_beside_itself_has_no_regression(cli: Call, two_runs: tuple[str, str]) -> None:
    ended = cli("diff", two_runs[0], two_runs[0])
    assert ended.code == 0
    assert "no regression: 451 cells compared" in ended.out


def test_a_regression_is_named_and_makes_the_exit_code_1(cli: Call, two_runs: tuple[str, str]) -> None:
    ended = cli("diff", *two_runs)
    assert ended.code == 1
    assert "Regressions: passed, and does not any more (1)" in ended.out
    line = next(line for line in ended.out.splitlines() if line.strip().startswith(TITLE))
    assert line.split()[:4] == [TITLE, "6.1", "pass", "fail"]
    # One line, and nothing a terminal would obey.
    assert "res is -22" in line
    assert "and more" not in ended.out
    assert "\x1b" not in ended.out


def test_the_other_way_round_it_is_a_fix(cli: Call, two_runs: tuple[str, str]) -> None:
    ended = cli("diff", *reversed(two_runs))
    assert ended.code == 0
    assert "Fixed (1)" in ended.out


def test_two_columns_of_one_run(cli: Call, two_runs: tuple[str, str]) -> None:
    ended = cli("diff", f"{two_runs[0]}#5.10", f"{two_runs[0]}#7.3")
    assert ended.code == 0, ended.out
    assert "New passes" in ended.out
    assert "kernels: 5.10 → 7.3 (" in ended.out


@pytest.mark.parametrize(
    ("form", "words"), [("--markdown", "### ❌ uring-matrix: worse"), ("--html", "<!doctype html>")]
)
def test_the_other_forms_are_alone_on_standard_output(
    cli: Call, two_runs: tuple[str, str], form: str, words: str
) -> None:
    ended = cli("diff", *two_runs, form)
    assert (ended.code, ended.err) == (1, "")
    assert ended.out.startswith(words)


def test_two_forms_at_once_are_a_usage_error(cli: Call, two_runs: tuple[str, str]) -> None:
    ended = cli("diff", *two_runs, "--json", "--markdown")
    assert (ended.code, ended.out) == (2, "")
    assert "two forms of one output" in ended.err


@pytest.mark.parametrize("kinds", ["regresion", "", " , "])
def test_an_unknown_kind_of_failure_is_a_usage_error(cli: Call, two_runs: tuple[str, str], kinds: str) -> None:
    ended = cli("diff", *two_runs, "--fail-on", kinds)
    assert (ended.code, ended.out) == (2, "")
    assert "regression, flaky, lost, unknown, missing" in ended.err


def test_json_has_every_changed_cell(cli: Call, two_runs: tuple[str, str]) -> None:
    ended = cli("diff", *two_runs, "--json")
    document = json.loads(ended.out)
    assert ended.code == 1
    assert document["is_worse"] is True
    assert [(entry["change"], entry["test"], entry["new_kernel"]) for entry in document["entries"]] == [
        ("regression", TEST, "6.1")
    ]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("{0}#9.9", "{0}#6.1", "9.9 was not tested"),
        ("{0}#6.1", "{0}", "one is a kernel"),
        ("{0}/nothing", "{0}", "There is no"),
    ],
)
def test_what_cannot_be_compared_is_a_usage_error(
    cli: Call, two_runs: tuple[str, str], old: str, new: str, words: str
) -> None:
    ended = cli("diff", old.format(two_runs[0]), new.format(two_runs[0]))
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err


def test_every_kind_of_change_has_a_head() -> None:
    assert set(HEADS) == set(Change) - {Change.UNCHANGED}
