"""Real guests of the oldest and the newest kernel, restored: what they say of io_uring is what booted ones say."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vm.settings import Settings

pytestmark = pytest.mark.vm
_ROOT = Path(__file__).parents[2]
# What may differ from run to run.
_TIMES = {"duration_s", "started", "attempts"}


def run(out: Path, cache: Path, *options: str) -> dict[str, Any]:
    """A run of the suite in a cache whose snapshots are its own."""
    series = ("--kernel", "5.10", "--kernel", "7.3")
    done = subprocess.run(
        [sys.executable, "-m", "uring_matrix", "run", *series, "--out", str(out), "--no-report", *options],
        cwd=_ROOT,
        env={**os.environ, "URING_MATRIX_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((out / "results.json").read_text())
    return found


def verdicts(results: dict[str, Any]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in _TIMES} for row in results["results"]]


def phases(results: dict[str, Any]) -> list[str]:
    return [next(iter(kernel["phases"])) for kernel in results["kernels"]]


def test_restored_guests_give_the_same_verdicts(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    for path in Settings.load().cache.iterdir():
        if path.name != "snapshots":
            (cache / path.name).symlink_to(path)
    booted = run(tmp_path / "booted", cache, "--no-snapshots")
    assert not (cache / "snapshots").exists()
    saved = run(tmp_path / "saved", cache)
    restored = run(tmp_path / "restored", cache)
    assert [phases(results) for results in (booted, saved, restored)] == [
        ["boot", "boot"],
        ["boot", "boot"],
        ["restore", "restore"],
    ]
    assert verdicts(booted) == verdicts(saved) == verdicts(restored)
    assert [kernel["features"] for kernel in booted["kernels"]] == [
        kernel["features"] for kernel in restored["kernels"]
    ]
    assert [kernel["notes"] for kernel in restored["kernels"]] == [[], []]
