"""Real guests of the oldest and the newest kernel, restored: what they say of io_uring is what booted ones say."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from vm.settings import Settings

pytestmark = pytest.mark.vm
_ROOT = Path(__file__).parents[2]
# What may differ from run to run.
# Levels of the kernel's messages from notice on.
_INFORMATION = re.compile(r"(\([^)]*\) )?<[567]>")
_TIMES = {"duration_s", "started", "attempts"}


def run(kernels: Sequence[str], out: Path, cache: Path, *options: str) -> dict[str, Any]:
    """A run of the suite in a cache whose snapshots are its own, without those modules that want a disk."""
    series = [f"--kernel={kernel}" for kernel in kernels]
    modules = (_ROOT / "conformance/operations").glob("test_*.py")
    ignored = [f"--ignore={path}" for path in modules if "scratch_ext4" in path.read_text(encoding="utf-8")]
    command = ["uring_matrix", "run", *series, "--out", str(out), "--no-report", *options, "--", *ignored]
    return results(command, out, cache)


def results(command: Sequence[str], out: Path, cache: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=_ROOT,
        env={**os.environ, "URING_MATRIX_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((out / "results.json").read_text())
    assert found["complete"] is True
    return found


def verdicts(results: dict[str, Any]) -> list[dict[str, Any]]:
    rows = [{name: value for name, value in row.items() if name not in _TIMES} for row in results["results"]]
    # What is only for information comes when it comes: a kernel that has just booted goes on measuring its clocks.
    return [row | {"dmesg": [line for line in row["dmesg"] if not _INFORMATION.match(line)]} for row in rows]


def differences(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> dict[str, Any]:
    """Test and kernel of each row that is not the same, with the fields that are not."""
    assert [(row["test"], row["kernel"]) for row in one] == [(row["test"], row["kernel"]) for row in other]
    return {
        f"{row['test']} on {row['kernel']}": {name: (row[name], also[name]) for name in row if row[name] != also[name]}
        for row, also in zip(one, other, strict=True)
        if row != also
    }


def phases(results: dict[str, Any]) -> set[tuple[str, ...]]:
    return {tuple(kernel["phases"]) for kernel in results["kernels"]}


def features(results: dict[str, Any]) -> list[Any]:
    return [kernel["features"] for kernel in results["kernels"]]


@pytest.mark.parametrize("kernels", [["5.10", "7.3"], pytest.param(["all"], marks=pytest.mark.slow)], ids=" ".join)
def test_restored_guests_give_the_same_verdicts(tmp_path: Path, kernels: list[str]) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    for path in Settings.load().cache.iterdir():
        if path.name != "snapshots":
            (cache / path.name).symlink_to(path)
    booted = run(kernels, tmp_path / "booted", cache, "--no-snapshots")
    assert not (cache / "snapshots").exists()
    saved = run(kernels, tmp_path / "saved", cache)
    restored = run(kernels, tmp_path / "restored", cache)
    for collected in (cache / "snapshots").glob("*-*"):
        shutil.rmtree(collected)
    saved_anew = run(kernels, tmp_path / "saved-anew", cache)
    restored_anew = run(kernels, tmp_path / "restored-anew", cache)
    every = (booted, saved, restored, saved_anew, restored_anew)
    assert [phases(results) for results in every] == [
        {("boot", "collect", "tests")},
        {("boot", "collect", "tests")},
        {("restore", "tests")},
        {("restore", "collect", "tests")},
        {("restore", "tests")},
    ]
    for results in every[1:]:
        assert differences(verdicts(booted), verdicts(results)) == {}
    for results in every:
        assert features(booted) == features(results)
        assert not any(kernel["notes"] for kernel in results["kernels"])


@pytest.mark.slow
def test_it_is_no_matter_who_runs_the_guests(tmp_path: Path) -> None:
    """This process, one worker, two of them, or workers behind gateways, as they are on other machines."""
    found = []
    for number, spread in enumerate((("-n", "0"), ("-n", "1"), ("-n", "2"), ("--dist", "load", "--tx", "2*popen"))):
        out = tmp_path / str(number)
        command = ["pytest", "-q", "-p", "no:cacheprovider", "conformance", "--kernel=5.10", "--kernel=7.3"]
        found.append(results([*command, f"--matrix-out={out}", *spread], out, Settings.load().cache))
    first, *others = [sorted(verdicts(one), key=lambda row: (row["kernel"], row["test"])) for one in found]
    assert len(first) > 2 * 41
    assert all(first == other for other in others)
