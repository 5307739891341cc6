"""The workflows, run as they stand in their files: a workflow that was never run does not work.

Without the network, the kernels come from an archive of our own and the guests' results from a sample; the test marked
`vm` does everything: it installs, boots, and writes the site.
"""

import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import strangers_project
import yaml
from msgspec.structs import replace
from own_archive import serving
from tree import ROOT, tracked_files
from workflow_runner import Ended, Runner, clean_environment

from conformance.capabilities import CAPABILITIES
from reports.results import Results, Status, read, write

# The sample results belong to a room's own tests.
sys.path.append(str(ROOT / "tests" / "reports"))
import sample

WORKFLOWS = ROOT / ".github" / "workflows"
SECOND_LINE = "python3 -m venv .venv && .venv/bin/pip install -q tox && .venv/bin/tox"
FIRST_LINE = "python3 -m venv .venv && .venv/bin/pip install -q -e . && .venv/bin/uring-matrix run"


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\nset -euo pipefail\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def checkout(directory: Path) -> None:
    """Copy the tree, without whatever is not under version control."""
    for path in tracked_files():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, directory / path)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Programs that go before the machine's: nothing is installed on it, while apt's other work is left to apt."""
    folder = tmp_path / "programs"
    apt = shutil.which("apt-get")
    script(folder / "apt-get", f'case "$1" in update | install) exit 0 ;; esac\nexec {apt} "$@"')
    return folder


# -- without the network ----------------------------------------------------------------------------------------------

FAKE_PYTHON = """\
# `python3 -m venv .venv`: an environment in which everything is installed already.
[ "$*" = "-m venv .venv" ]
mkdir -p .venv/bin
cp "$FAKES/pip" "$FAKES/uring-matrix" .venv/bin/
"""
# Listing and reporting are real; a run is what a sample says about that kernel.
FAKE_COMMAND = """\
export PYTHONPATH="$PWD:$TREE/tests/reports"
if [ "$1" != run ]; then
    exec "$PYTHON" -m uring_matrix "$@"
fi
[ "$2 $4 $5" = "--kernel --no-report --out" ]
exec "$PYTHON" "$FAKES/sample_run.py" "$3" "$6"
"""
SAMPLE_RUN = """\
import sys
from msgspec.structs import replace
import sample
from conformance.capabilities import CAPABILITIES
from reports.results import exit_code, write

kernel, out = sys.argv[1:]
whole = sample.whole()
part = replace(
    whole,
    kernels=tuple(known for known in whole.kernels if known.id == kernel),
    results=tuple(row for row in whole.results if row.kernel == kernel),
)
write(f"{out}/results.json", part)
print(f"ran {kernel}")
sys.exit(exit_code(part))
"""


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An archive with two series. Yields the environment in which apt knows it."""
    with serving(tmp_path):
        yield {"APT_CONFIG": str(tmp_path / "apt.conf")}


@pytest.fixture
def runner(tmp_path: Path, programs: Path, archive: dict[str, str]) -> Runner:
    script(programs / "python3", FAKE_PYTHON)
    fakes = tmp_path / "fakes"
    script(fakes / "pip", '[ "$*" = "install -q ." ]')
    script(fakes / "uring-matrix", FAKE_COMMAND)
    (fakes / "sample_run.py").write_text(SAMPLE_RUN)
    environment = clean_environment(
        PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
        FAKES=str(fakes),
        TREE=str(ROOT),
        PYTHON=sys.executable,
        URING_MATRIX_CACHE=str(tmp_path / "cache"),
        **archive,
    )
    return Runner.load(
        WORKFLOWS / "matrix.yml", prepare=checkout, artifacts=tmp_path / "artifacts", environment=environment
    )


@pytest.fixture(autouse=True)
def gh(programs: Path, tmp_path: Path) -> Path:
    """Stands for GitHub's own program: the file has the number of the last good run, or nothing."""
    last = tmp_path / "last"
    last.write_text("")
    wanted = "run list --workflow matrix.yml --branch main --status success --limit 1 --json databaseId"
    script(programs / "gh", f'[ "$*" = "{wanted} --jq .[].databaseId" ]\n[ "$GH_REPO" = somebody/project ]\ncat {last}')
    return last


def test_the_matrix_workflow_lists_runs_and_reports(runner: Runner, tmp_path: Path) -> None:
    (listed,) = runner.run("kernels", tmp_path / "jobs")
    assert listed.code == 0, listed.log
    kernels = json.loads(listed.outputs["list"])["kernels"]
    assert [kernel["spec"] for kernel in kernels] == ["6.1", "6.12"]
    assert listed.outputs["count"] == "2"
    ran = runner.run("run", tmp_path / "jobs")
    assert [(job.name, job.code) for job in ran] == [("6.1", 0), ("6.12", 0)], ran[0].log
    runner.run("baseline", tmp_path / "jobs")
    (reported,) = runner.run("report", tmp_path / "jobs")
    assert reported.code == 0, reported.log
    assert "2 of 2 kernels are in the report" in reported.log
    merged = read(tmp_path / "artifacts" / "github-pages")
    assert [kernel.id for kernel in merged.kernels] == ["6.1", "6.12"]
    assert merged.complete
    assert (tmp_path / "artifacts" / "github-pages" / "index.html").is_file()


# -- the comparison with the last good run ----------------------------------------------------------------------------


def compared(runner: Runner, tmp_path: Path) -> list[Ended]:
    for job in ("kernels", "baseline", "run", "report"):
        for ended in runner.run(job, tmp_path / "jobs"):
            assert ended.code == 0, ended.log
    return runner.run("compare", tmp_path / "jobs")


def earlier(tmp_path: Path, results: Results, run: str = "7") -> dict[str, Path]:
    """What a run of the week before has left."""
    before = replace(results, started=results.started - timedelta(days=int(run)))
    write(tmp_path / f"run-{run}" / "matrix" / "results.json", before)
    return {run: tmp_path / f"run-{run}"}


def of_two_kernels() -> Results:
    whole = sample.whole()
    names = ("6.1", "6.12")
    return replace(
        whole,
        kernels=tuple(kernel for kernel in whole.kernels if kernel.id in names),
        results=tuple(row for row in whole.results if row.kernel in names),
    )


def test_the_first_run_has_nothing_to_be_compared_with(runner: Runner, gh: Path, tmp_path: Path) -> None:
    assert compared(runner, tmp_path) == []
    assert "compared with: nothing" in runner.done["baseline"][0].summary
    assert not (tmp_path / "artifacts" / "github-pages" / "runs").exists()
    assert [path.name for path in (tmp_path / "artifacts" / "matrix").rglob("*.json")] == ["results.json"]


def test_good_runs_become_a_history_of_a_year(runner: Runner, gh: Path, tmp_path: Path) -> None:
    """Each run hands its predecessors on."""
    gh.write_text("700\n")
    day = timedelta(days=7)
    results = of_two_kernels()
    for number in range(55):
        started = results.started - day * (60 - number)
        write(tmp_path / f"run-700/matrix/runs/{600 + number}/results.json", replace(results, started=started))
    runner.earlier = {"700": tmp_path / "run-700"}
    write(tmp_path / "run-700" / "matrix" / "results.json", replace(results, started=results.started - day))
    (ended,) = compared(runner, tmp_path)
    assert ended.code == 0, ended.log
    kept = sorted(int(path.name) for path in (tmp_path / "artifacts" / "matrix" / "runs").iterdir())
    assert kept == [*range(604, 655), 700]
    assert (tmp_path / "artifacts" / "github-pages" / "runs" / "index.html").is_file()


def test_a_run_is_compared_with_the_last_good_one(runner: Runner, gh: Path, tmp_path: Path) -> None:
    gh.write_text("7\n")
    runner.earlier = earlier(tmp_path, of_two_kernels())
    (ended,) = compared(runner, tmp_path)
    assert (ended.code, ended.errors) == (0, []), ended.log
    assert ended.summary.startswith("### ✅ uring-matrix: no regression: 82 cells compared")


def test_what_got_worse_since_is_red_and_published_nevertheless(runner: Runner, gh: Path, tmp_path: Path) -> None:
    """The sample lacks on 6.1 what the earlier run had there."""
    gh.write_text("7\n")
    better = of_two_kernels()
    lacked = [row.test for row in better.results if row.status is Status.UNSUPPORTED]
    for test in lacked:
        better = sample.with_cell(better, test, "6.1", status=Status.PASS)
    runner.earlier = earlier(tmp_path, better)
    (ended,) = compared(runner, tmp_path)
    assert ended.code == 1
    assert ended.summary.startswith(f"### ❌ uring-matrix: worse: {len(lacked)} regressions")
    assert [line.partition(" title=")[2].partition("::")[0] for line in ended.errors] == ["Regression"] * len(lacked)
    assert yaml.safe_load((WORKFLOWS / "matrix.yml").read_text())["jobs"]["publish"]["needs"] == "report"


def test_a_kernel_that_the_last_good_run_had_is_a_hole(runner: Runner, gh: Path, tmp_path: Path) -> None:
    gh.write_text("7\n")
    runner.earlier = earlier(tmp_path, sample.whole())
    (ended,) = compared(runner, tmp_path)
    assert ended.code == 3
    assert len(ended.errors) == 9


@pytest.mark.parametrize(("baseline", "jobs"), [("none", 0), ("7", 1)])
def test_what_is_compared_with_can_be_chosen(
    runner: Runner, gh: Path, tmp_path: Path, baseline: str, jobs: int
) -> None:
    """Something worse that is there to stay is accepted by a run that compares with none."""
    gh.write_text("6\n")
    runner.earlier = earlier(tmp_path, of_two_kernels(), "6") | earlier(tmp_path, of_two_kernels())
    runner.inputs = {"baseline": baseline}
    assert len(compared(runner, tmp_path)) == jobs


def test_one_kernel_alone_makes_a_report_as_well(runner: Runner, tmp_path: Path) -> None:
    runner.inputs = {"kernels": "6.12"}
    for job in ("kernels", "baseline", "run"):
        runner.run(job, tmp_path / "jobs")
    (reported,) = runner.run("report", tmp_path / "jobs")
    assert reported.code == 0, reported.log
    assert [kernel.id for kernel in read(tmp_path / "artifacts" / "github-pages").kernels] == ["6.12"]


def test_a_kernel_that_is_missing_from_the_report_is_noticed(runner: Runner, tmp_path: Path) -> None:
    for job in ("kernels", "baseline", "run"):
        runner.run(job, tmp_path / "jobs")
    shutil.rmtree(tmp_path / "artifacts" / "results-6.1")
    (reported,) = runner.run("report", tmp_path / "jobs")
    assert reported.code != 0
    assert "1 of 2 kernels are in the report" in reported.log


def test_an_unknown_kernel_ends_the_workflow_at_its_first_job(runner: Runner, tmp_path: Path) -> None:
    runner.inputs = {"kernels": "6.1 9.9"}
    (listed,) = runner.run("kernels", tmp_path / "jobs")
    assert listed.code == 2
    assert "no kernel is called '9.9'" in listed.log
    assert listed.outputs["list"] == ""


# -- with everything --------------------------------------------------------------------------------------------------


@pytest.mark.vm
def test_the_matrix_workflow_with_a_real_kernel(tmp_path: Path, programs: Path) -> None:
    """From a fresh copy, through pip, into a guest, to the site. One kernel: other tests boot more of them."""
    environment = clean_environment(
        PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
        # Three installations whose bytecode hardly anybody uses twice.
        PIP_NO_COMPILE="1",
        **{name: value for name, value in os.environ.items() if name.startswith("URING_MATRIX_")},
    )
    runner = Runner.load(
        WORKFLOWS / "matrix.yml",
        prepare=checkout,
        artifacts=tmp_path / "artifacts",
        environment=environment,
        inputs={"kernels": "5.10"},
    )
    for job in ("kernels", "baseline", "run", "report"):
        for ended in runner.run(job, tmp_path / "jobs"):
            assert ended.code == 0, ended.log
    results = read(tmp_path / "artifacts" / "github-pages")
    assert results.complete
    assert [kernel.id for kernel in results.kernels] == ["5.10"]
    assert len(results.results) == len(results.tests) > 41 + len(CAPABILITIES)


@pytest.mark.vm
def test_the_action_runs_the_tests_of_another_project(tmp_path: Path, programs: Path) -> None:
    """README's test, README's five lines, and one kernel; from the installation to the site."""
    environment = clean_environment(
        PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
        PIP_NO_COMPILE="1",
        **{name: value for name, value in os.environ.items() if name.startswith("URING_MATRIX_")},
    )
    checkout(tmp_path / "action")
    service = strangers_project.runner(
        tmp_path / "artifacts", environment, tmp_path / "action", kernels="latest", baseline=None
    )
    (ended,) = service.run("kernels", tmp_path / "jobs")
    assert (ended.code, ended.errors) == (0, []), ended.log
    assert ended.outputs == {"results": "matrix/results.json", "exit-code": "0"}
    assert ended.summary.startswith("### ✅ uring-matrix: everything as expected\n")
    results = read(tmp_path / "jobs" / "kernels-0" / "matrix")
    assert [(row.test, row.status) for row in results.results] == [("test_reads_what_was_written", Status.PASS)]
    assert (tmp_path / "jobs" / "kernels-0" / "matrix" / "index.html").is_file()


# -- what else has to hold --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.yml")), ids=lambda path: path.name)
def test_every_job_has_a_deadline_and_no_more_rights_than_it_needs(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    assert document["permissions"] == {"contents": "read"}
    assert document["defaults"] == {"run": {"shell": "bash"}}
    for name, job in document["jobs"].items():
        assert job["timeout-minutes"] <= 30, name
        for step in job["steps"]:
            # Whatever comes from outside goes through the environment, never into a script's text.
            assert "${{" not in step.get("run", ""), name


def test_the_action_has_no_more_than_five_lines_and_takes_nothing_into_a_script() -> None:
    assert len(strangers_project.lines().splitlines()) == 5
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    assert list(action["inputs"]) == ["tests", "kernels", "args", "baseline", "fail-on", "out", "python"]
    assert list(action["outputs"]) == ["results", "exit-code"]
    for step in action["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
    documented = (ROOT / "docs" / "ci.md").read_text()
    assert [name for name in (*action["inputs"], *action["outputs"]) if f"| `{name}` |" not in documented] == []


def test_ci_runs_what_a_contributor_runs() -> None:
    document = yaml.safe_load((WORKFLOWS / "ci.yml").read_text())
    assert [step["run"] for step in document["jobs"]["tox"]["steps"] if "run" in step][-1] == ".ci/run"
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == SECOND_LINE
    assert document["jobs"]["newest"]["steps"][-1]["run"] == f"{SECOND_LINE} -e newest"


def test_the_readme_has_both_lines() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert [block.strip() for block in blocks[:2]] == [FIRST_LINE, SECOND_LINE]
