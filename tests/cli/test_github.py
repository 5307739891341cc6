"""What GitHub Actions is told: a summary of the step, and errors as its workflow commands want them."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import sample
from msgspec.structs import replace

from reports.markdown import STEP_SUMMARY_BYTES_MAX
from reports.results import Status, annotate, write
from uring_matrix import github

from .conftest import Ended
from .test_gates import run  # noqa: F401 - a fixture

Call = Callable[..., Ended]
HOSTILE = "100%\r\n::add-mask::x, a:b <script> | @somebody"


@pytest.fixture
def summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The step's summary, on GitHub."""
    path = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    return path


@pytest.fixture
def two_runs(tmp_path: Path) -> tuple[str, str]:
    write(tmp_path / "old.json", sample.whole())
    new = sample.with_cell(sample.whole(), "test_nop", "6.1", status=Status.FAIL, reason=HOSTILE)
    new = sample.with_cell(new, "test_close", "6.1", status=Status.SKIP, reason="no time")
    write(tmp_path / "new.json", new)
    return str(tmp_path / "old.json"), str(tmp_path / "new.json")


def errors(ended: Ended) -> list[str]:
    return [line for line in ended.err.splitlines() if line.startswith("::")]


# -- the form ---------------------------------------------------------------------------------------------------------


def test_a_command_is_escaped_as_the_service_takes_it_apart() -> None:
    text = github.command("error", "50% of a,b:c\r\nx", title="a,b:c\r\n50%")
    assert text == "::error title=a%2Cb%3Ac%0D%0A50%25::50%25 of a,b:c%0D%0Ax"
    assert github.command("error", "x") == "::error::x"


# -- comparisons ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [(), ("--json",), ("--markdown",)])
def test_a_comparison_leaves_a_summary_and_errors_the_worst_first(
    cli: Call, two_runs: tuple[str, str], summary: Path, form: tuple[str, ...]
) -> None:
    ended = cli("diff", *two_runs, *form)
    assert ended.code == 1
    assert summary.read_text().startswith("### ❌ uring-matrix: worse: 1 regression, 1 verdict lost\n")
    assert errors(ended) == [
        # Only the first line, of which nothing is a command of its own.
        "::error title=Regression::nop on 6.1: pass → fail: 100%25",
        "::error title=No verdict any more::close on 6.1: pass → skip: no time",
    ]
    assert "::error" not in ended.out
    assert form != ("--json",) or json.loads(ended.out)["is_worse"]


def test_what_was_not_to_count_is_no_error(cli: Call, two_runs: tuple[str, str], summary: Path) -> None:
    ended = cli("diff", *two_runs, "--fail-on", "missing")
    assert len(errors(ended)) == 1


def test_a_good_comparison_has_a_summary_and_no_error(cli: Call, two_runs: tuple[str, str], summary: Path) -> None:
    ended = cli("diff", two_runs[0], two_runs[0])
    assert (ended.code, errors(ended)) == (0, [])
    assert summary.read_text().startswith("### ✅ uring-matrix: no regression")


def test_a_comparison_of_nothing_is_an_error(cli: Call, tmp_path: Path, summary: Path) -> None:
    whole = sample.whole()
    write(tmp_path / "none.json", replace(whole, results=(), kernels=(), tests=()))
    ended = cli("diff", f"{tmp_path}/none.json", f"{tmp_path}/none.json")
    assert ended.code == 3
    assert errors(ended) == [
        "::error title=Not known to be good::nothing was compared: no cell has a verdict on both sides"
    ]


def test_elsewhere_there_is_neither(cli: Call, two_runs: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "false"):
        monkeypatch.setenv("GITHUB_ACTIONS", value)
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", "")
        ended = cli("diff", *two_runs)
        assert (ended.code, errors(ended)) == (1, [])


# -- the service's limits ---------------------------------------------------------------------------------------------


def test_no_more_errors_than_the_service_shows(cli: Call, tmp_path: Path, summary: Path) -> None:
    """It drops what comes after the tenth without a word."""
    whole = sample.whole()
    rows = tuple(
        replace(row, status=Status.FAIL, reason=f"reason {number}") for number, row in enumerate(whole.results)
    )
    write(tmp_path / "old.json", whole)
    write(tmp_path / "new.json", annotate(replace(whole, results=rows)))
    found = errors(cli("diff", f"{tmp_path}/old.json", f"{tmp_path}/new.json"))
    assert len(found) == 10
    assert found[-1] == "::error title=More::442 more; the step's summary has them all"


def test_several_commands_of_a_step_share_its_room(cli: Call, two_runs: tuple[str, str], summary: Path) -> None:
    summary.write_text("before\n" + "x" * (STEP_SUMMARY_BYTES_MAX - 3_000))
    cli("diff", *two_runs)
    assert summary.read_text().startswith("before\n")
    assert "uring-matrix: worse" in summary.read_text()
    assert summary.stat().st_size <= STEP_SUMMARY_BYTES_MAX
    for _ in range(3):
        ended = cli("diff", *two_runs)
    assert ended.code == 1
    assert summary.stat().st_size <= STEP_SUMMARY_BYTES_MAX
    assert "is full: nothing was added" in ended.err


def test_a_summary_that_cannot_be_written_changes_no_verdict(
    cli: Call, two_runs: tuple[str, str], summary: Path
) -> None:
    summary.mkdir()
    ended = cli("diff", *two_runs)
    assert ended.code == 1
    assert f"{summary}, could not be written" in ended.err


def test_a_summary_begins_on_a_line_of_its_own(cli: Call, two_runs: tuple[str, str], summary: Path) -> None:
    """Somebody's `printf` came before."""
    summary.write_text("no newline")
    cli("diff", *two_runs)
    assert "\n### ❌" in summary.read_text()


# -- runs -------------------------------------------------------------------------------------------------------------


def test_a_run_that_is_good_leaves_a_summary_and_no_error(run: Call, summary: Path) -> None:  # noqa: F811
    ended = run("--out", "now")
    assert (ended.code, errors(ended)) == (0, [])
    assert summary.read_text().startswith("### ✅ uring-matrix: everything as expected\n")
    assert "Verdicts by kernel" in summary.read_text()


def test_an_unexpected_verdict_is_an_error_at_the_top(run: Call, summary: Path) -> None:  # noqa: F811
    ended = run("--out", "now", "--json", fault="fail")
    assert ended.code == 1
    (line,) = errors(ended)
    assert line.startswith("::error title=Unexpected verdict::test_nop on host")
    assert json.loads(ended.out)["exit_code"] == 1
    text = summary.read_text()
    assert text.startswith("### ❌ uring-matrix: 1 unexpected verdict\n")
    assert text.index("Unexpected verdicts (1)") < text.index("Verdicts by kernel")


def test_beside_a_baseline_a_regression_is_what_one_sees_first(run: Call, summary: Path) -> None:  # noqa: F811
    assert run("--out", "good").code == 0
    summary.unlink()
    ended = run("--out", "now", "--baseline", "good", fault="fail")
    assert ended.code == 1
    # In the terminal,
    shown = ended.out.splitlines()
    assert shown[0] == "worse: 1 regression"
    assert shown[2].startswith("Regressions: ")
    assert ended.out.count("test_nop") == 0
    # in the summary, and at the top of the run.
    assert summary.read_text().startswith("### ❌ uring-matrix: worse: 1 regression\n")
    assert [line.partition(" (")[0] for line in errors(ended)] == ["::error title=Regression::no-op on host"]


def test_what_the_baseline_has_as_well_is_no_error(run: Call, summary: Path) -> None:  # noqa: F811
    assert run("--out", "bad", fault="fail").code == 1
    summary.unlink()
    ended = run("--out", "now", "--baseline", "bad", fault="fail")
    assert (ended.code, errors(ended)) == (0, [])
    assert summary.read_text().startswith("### ✅ uring-matrix: no regression")
    assert "<details><summary>Still failing (1)</summary>" in summary.read_text()


# -- reports ----------------------------------------------------------------------------------------------------------


def test_a_report_leaves_the_summary_of_a_run_and_no_error_unless_it_judges(
    cli: Call, two_runs: tuple[str, str], summary: Path
) -> None:
    ended = cli("report", two_runs[1], "--out", "site")
    assert (ended.code, errors(ended)) == (0, [])
    assert summary.read_text().startswith("### ❌ uring-matrix: 1 unexpected verdict\n")
    ended = cli("report", two_runs[1], "--out", "site", "--exit-code")
    assert (ended.code, errors(ended)) == (1, ["::error title=Unexpected verdict::test_nop on 6.1: fail: 100%25"])


def test_a_report_beside_a_baseline_is_one_document(cli: Call, two_runs: tuple[str, str], summary: Path) -> None:
    ended = cli("report", two_runs[1], "--out", "site", "--baseline", two_runs[0])
    assert (ended.code, ended.out) == (1, "site/index.html\n")
    assert ended.err.startswith("worse: 1 regression, 1 verdict lost\n")
    heads = [line for line in summary.read_text().splitlines() if line.startswith("### ")]
    assert heads == ["### ❌ uring-matrix: worse: 1 regression, 1 verdict lost"]
    assert len(errors(ended)) == 2


def test_the_environment_of_these_tests_is_none_of_a_service() -> None:
    """tox in a workflow would have every test write into the workflow's own summary."""
    assert "GITHUB_STEP_SUMMARY" not in os.environ
