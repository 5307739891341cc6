"""However the whole matrix is run, each cell's result is the same: one or two guests at a time, restored or booted,
in lists or one by one, in a few words or by pytest's whole protocol.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from reports.results import CellKey, read

pytestmark = [pytest.mark.vm, pytest.mark.slow]  # `tox -e faults`

ROOT = Path(__file__).parents[2]
# A plugin whose hooks want to see each report and each phase, in guests as well.
PLUGIN = """
def pytest_runtest_logreport(report):
    assert report.when

def pytest_runtest_call(item):
    assert item.name
"""
DISTRIBUTION = {
    "METADATA": "Metadata-Version: 2.1\nName: watching\nVersion: 1.0\n",
    "RECORD": "watching.py,,\nwatching-1.0.dist-info/METADATA,,\n",
}
WAYS = {
    "two workers, restored": (),
    "one worker": ("-n", "0"),
    "booted": ("--no-snapshots",),
    # What is repeated is asked for one by one.
    "one by one": ("--repeat", "2"),
    "the whole protocol": ("--guest-package", "watching", "--", "-p", "watching"),
}


def run(folder: Path, *arguments: str) -> Mapping[CellKey, tuple[Any, ...]]:
    (folder / "watching.py").write_text(PLUGIN)
    # A guest gets what is installed here.
    (folder / "watching-1.0.dist-info").mkdir()
    for name, text in DISTRIBUTION.items():
        (folder / "watching-1.0.dist-info" / name).write_text(text)
    command = [sys.executable, "-c", "import uring_matrix.cli as cli; cli.main()", "run", "--no-report", "--out", "out"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    done = subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    results = read(folder / "out" / "results.json")
    # 1: what fails is a result as well, and is compared.
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    assert results.complete, done.stdout + done.stderr
    return {
        row.key: (row.status, row.reason, row.expected, row.actual, row.state, row.claimed, row.value, row.qualifiers)
        for row in results.results
    }


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Mapping[CellKey, tuple[Any, ...]]:
    return run(tmp_path_factory.mktemp("usual"))


@pytest.mark.parametrize("way", list(WAYS)[1:])
def test_every_cell_of_every_kernel_is_the_same(
    way: str, usual: Mapping[CellKey, tuple[Any, ...]], tmp_path: Path
) -> None:
    other = run(tmp_path, *WAYS[way])
    assert len({key.kernel for key in usual}) >= 11
    assert {key: (usual[key], other.get(key)) for key in usual if usual[key] != other.get(key)} == {}
    assert other.keys() == usual.keys()
