"""Somebody else's CI, with README's words only: red for what got worse, red for a hole, green for neither."""

import os
import shutil
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
import strangers_project
from tree import ROOT, tracked_files
from workflow_runner import Ended, clean_environment

pytestmark = [pytest.mark.vm, pytest.mark.slow]  # `tox -e faults`

Run = Callable[..., Ended]
GOOD = "res == 5"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs the five lines, each time in a fresh directory.

    The installation is one for all: the stranger has a virtual environment, which the action uses.
    """
    place = tmp_path_factory.mktemp("stranger")
    venv.create(place / "venv", with_pip=True)
    for path in tracked_files():
        (place / "action" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, place / "action" / path)
    environment = clean_environment(
        PIP_NO_COMPILE="1",
        **{name: value for name, value in os.environ.items() if name.startswith("URING_MATRIX_")},
    )
    count = 0

    def call(text: str = GOOD, **inputs: str | None) -> Ended:
        nonlocal count
        count += 1
        python = str(place / "venv" / "bin" / "python")
        service = strangers_project.runner(
            place / "artifacts", environment, place / "action", **{"python": python, **inputs}
        )
        prepare = service.prepare

        def changed(directory: Path) -> None:
            prepare(directory)
            file = directory / strangers_project.test_file()[0]
            assert GOOD in file.read_text()
            file.write_text(file.read_text().replace(GOOD, text))
            # As a step of theirs would have fetched it.
            if (place / "last").exists():
                shutil.copytree(place / "last", directory / "last")

        service.prepare = changed
        (ended,) = service.run("kernels", place / f"job-{count}")
        if not (place / "last").exists():
            shutil.copytree(place / f"job-{count}" / "kernels-0" / "matrix", place / "last")
        return ended

    return call


@pytest.fixture(scope="module")
def first(run: Run) -> Ended:
    """The run that everything else is compared with."""
    return run(baseline=None)


def test_the_first_run_is_green(first: Ended) -> None:
    assert (first.code, first.outputs["exit-code"], first.errors) == (0, "0", []), first.log
    assert "2 alike" in first.summary or first.summary.count("| 1 |") == 2


def test_what_is_as_before_is_green(first: Ended, run: Run) -> None:
    ended = run()
    assert (ended.code, ended.errors) == (0, []), ended.log
    assert ended.summary.startswith("### ✅ uring-matrix: no regression: 2 cells compared")


def test_what_got_worse_is_red(first: Ended, run: Run) -> None:
    ended = run("res == 6")
    assert (ended.code, ended.outputs["exit-code"]) == (1, "1"), ended.log
    assert ended.summary.startswith("### ❌ uring-matrix: worse: 2 regressions\n")
    # One for each kernel.
    assert [line.startswith("::error title=Regression::test_reads_what_was_written on ") for line in ended.errors] == [
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("text", "inputs", "said"),
    [
        ("res == 5\n        __import__('pytest').skip('not today')", {}, "No verdict any more (2)"),
        (GOOD, {"kernels": "latest"}, "Not there any more (1)"),
        (GOOD, {"args": "-k 'reads and 5.10'"}, "Not there any more (1)"),
    ],
    ids=["a test declines", "a kernel is missing", "a cell is missing"],
)
def test_a_hole_is_red(first: Ended, run: Run, text: str, inputs: dict[str, str], said: str) -> None:
    ended = run(text, **inputs)
    assert (ended.code, ended.outputs["exit-code"]) == (3, "3"), ended.log
    assert ended.summary.startswith("### ❌ uring-matrix: no")  # not known to be good, or nothing to compare
    assert f"#### {said}" in ended.summary
    assert ended.errors


def test_a_hole_that_was_not_to_count_is_green(first: Ended, run: Run) -> None:
    ended = run(kernels="latest", fail_on="lost,unknown")
    assert (ended.code, ended.errors) == (0, []), ended.log


@pytest.mark.parametrize(
    "inputs",
    [{"baseline": "elsewhere/results.json"}, {"args": "-k nothing_of_that_name"}, {"kernels": "0.99"}],
    ids=["no baseline", "no test", "no such kernel"],
)
def test_what_cannot_be_meant_is_red_and_no_verdict(first: Ended, run: Run, inputs: dict[str, str]) -> None:
    ended = run(**inputs)
    assert (ended.code, ended.outputs["exit-code"]) == (2, "2"), ended.log
