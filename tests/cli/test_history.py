"""`uring-matrix history`: pages of runs in time, from files in any order."""

import sys
from pathlib import Path

from reports.results import Status
from reports.storage import write

sys.path.insert(0, str(Path(__file__).parent.parent / "reports"))
import sample
from test_history import MONDAY, TUESDAY


def test_history_writes_pages_and_says_what_changed_when(command, tmp_path):
    for name, results in (("tue", TUESDAY), ("mon", MONDAY)):
        write(tmp_path / name / "results.json", results)
    ended = command("history", tmp_path / "tue", tmp_path / "mon/results.json", "--out", tmp_path / "runs")
    assert ended.code == 0, ended
    assert ended.out == f"{tmp_path}/runs/index.html\n"
    lines = ended.err.splitlines()
    assert lines[0].endswith("the first run")
    assert lines[1].endswith("worse: 1 regression")
    assert lines[2] == "1 cell changed, 450 never did"
    assert (tmp_path / "runs/index.html").exists()


def test_one_run_is_no_history(command, tmp_path):
    write(tmp_path / "results.json", sample.with_cell(MONDAY, "test_nop", "6.1", status=Status.PASS))
    ended = command("history", tmp_path, "--out", tmp_path / "runs")
    assert ended.code == 2, ended
    assert "two runs or more" in ended.err
    assert not (tmp_path / "runs").exists()
