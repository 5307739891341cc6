"""Repeating until a failure, and Ctrl-C before there is one: what was done is kept."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reports.results import Status, read

DEADLINE_S = 60
# The process that keeps the results says when it was told of some attempts.
CONFTEST = """
from pathlib import Path

class Witness:
    def pytest_runtest_logreport(self, report):
        row = getattr(report, "matrix_row_so_far", None)
        if row is not None and not Path("told").exists():
            Path("told").write_text(str(len(row["attempts"])))

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Witness())
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_what_was_repeated_is_kept_after_ctrl_c(tmp_path: Path, workers: str) -> None:
    """With pytest-xdist nobody listens to workers any more, and there was no verdict at all."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    # Slow enough for some thousand not to pass before anybody interrupts.
    (tmp_path / "test_mine.py").write_text("import time\n\ndef test_passes():\n    time.sleep(0.1)\n")
    options = ("--kernel", "host", "--matrix-out", "out", "--until-failure", "-n", workers)
    process = subprocess.Popen([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *options], cwd=tmp_path)
    try:
        until_s = time.monotonic() + DEADLINE_S
        while not (tmp_path / "told").exists() and time.monotonic() < until_s:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == pytest.ExitCode.INTERRUPTED
    finally:
        process.kill()
        process.wait()
    results = read(tmp_path / "out")
    (row,) = results.results
    told = int((tmp_path / "told").read_text())
    assert (row.status, row.qualifiers) == (Status.PASS, ())
    assert len(row.attempts) >= told > 1, row
    assert not results.complete
