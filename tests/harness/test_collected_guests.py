"""Guests that go on behind their collecting: any change is seen, and what is each one's own is its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from vm.cache import Cache
from vm.settings import Settings
from vm.snapshots import KIND

pytestmark = pytest.mark.vm

# What a test sees is in its output, which is kept of one that fails.
_TEST = """
import json
import os
import random
import time
import uuid
from pathlib import Path

import pytest
from tools import tool

IMPORTED_S = time.time()
VERSION = 1


def test_it(fixture, pytestconfig):
    seen = {
        "version": VERSION, "fixture": fixture, "tool": tool.VERSION, "word": os.environ.get("WORD"),
        "lines": pytestconfig.getoption("showlocals"), "packages": sorted(Path("/site").glob("*.py")).__str__(),
    }
    own = {
        "imported_s": IMPORTED_S, "now_s": time.time(), "random": random.random(), "uuid": str(uuid.uuid4()),
        "urandom": os.urandom(8).hex(), "kernel": Path("/proc/sys/kernel/random/uuid").read_text(),
    }
    print("SEEN" + json.dumps([seen, own]) + "END")
    pytest.fail("seen")
"""
_CRASHING = """
from pathlib import Path


def test_crashes():
    Path("/proc/sysrq-trigger").write_text("c")


def test_is_run_by_the_next_guest():
    pass
"""


class Ran(NamedTuple):
    seen: dict[str, Any]
    own: dict[str, Any]
    phases: tuple[str, ...]
    notes: tuple[str, ...]
    statuses: tuple[str, ...]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """What everybody has, but for snapshots."""
    directory = tmp_path / "cache"
    directory.mkdir()
    for path in Settings.load().cache.iterdir():
        if path.name != KIND:
            (directory / path.name).symlink_to(path)
    return Cache(directory)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A few tests with a helper, a conftest.py and a package that is installed here."""
    root = tmp_path / "project"
    for name, text in {
        "pytest.ini": "[pytest]\n",
        "conftest.py": "import pytest\n\n\n@pytest.fixture\ndef fixture():\n    return 1\n",
        "tools/__init__.py": "",
        "tools/tool.py": "VERSION = 1\n",
        "tests/test_it.py": _TEST,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    installed = tmp_path / "installed"
    (installed / "extra-1.0.dist-info").mkdir(parents=True)
    (installed / "extra.py").write_text("VERSION = 1\n")
    (installed / "extra-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n")
    (installed / "extra-1.0.dist-info/RECORD").write_text("extra.py,,\nextra-1.0.dist-info/METADATA,,\n")
    return root


@pytest.fixture
def run(project: Path, cache: Cache, tmp_path: Path) -> Callable[..., Ran]:
    """Runs the project's tests in the oldest kernel, as a user would."""

    def run(*options: str, **environment: str) -> Ran:
        out = tmp_path / "out"
        words = ["-q", "tests", "--kernel=5.10", f"--matrix-out={out}", "-p", "no:cacheprovider", *options]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words],
            cwd=project,
            env={
                **os.environ,
                "URING_MATRIX_CACHE": str(cache.directory),
                "PYTHONPATH": os.pathsep.join([str(project), str(tmp_path / "installed")]),
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert (out / "results.json").is_file(), done.stdout + done.stderr
        results = json.loads((out / "results.json").read_text())
        [kernel] = results["kernels"]
        output = results["results"][0]["output"]
        seen, own = json.loads(output.partition("SEEN")[2].partition("END")[0]) if "SEEN" in output else ({}, {})
        statuses = tuple(row["status"] for row in results["results"])
        return Ran(seen, own, tuple(kernel["phases"]), tuple(kernel["notes"]), statuses)

    return run


def edit(path: Path) -> None:
    text = path.read_text()
    path.write_text(text.replace("VERSION = 1", "VERSION = 2").replace("return 1", "return 2"))


def test_whatever_changes_is_seen(run: Callable[..., Ran], project: Path, tmp_path: Path) -> None:
    before = run()
    assert before.phases == ("boot", "collect", "tests")
    again = run()
    assert (again.phases, again.seen) == (("restore", "tests"), before.seen)
    for name, change in {
        "version": lambda: (edit(project / "tests/test_it.py"), ())[1],
        "fixture": lambda: (edit(project / "conftest.py"), ())[1],
        "tool": lambda: (edit(project / "tools/tool.py"), ())[1],
        "word": lambda: ("--guest-env=WORD=given",),
        "lines": lambda: ("--showlocals",),
        "packages": lambda: ("--guest-package=extra",),
    }.items():
        after = run(*change())
        changed = {key for key, value in after.seen.items() if value != before.seen[key]}
        assert (changed, "collect" in after.phases) == ({name}, True)
        before = after if name in {"version", "fixture", "tool"} else before
    assert run("--guest-package=extra").phases == ("restore", "tests")
    edit(tmp_path / "installed/extra.py")
    assert run("--guest-package=extra").phases == ("restore", "collect", "tests")


def test_each_has_its_own_time_and_random_numbers(run: Callable[..., Ran]) -> None:
    """But for what was read when a module was imported, by whoever was saved."""
    run()
    owns = []
    for _ in range(2):
        began_s = time.time()
        ran = run()
        assert ran.phases == ("restore", "tests")
        assert ran.own["imported_s"] < began_s <= ran.own["now_s"]
        owns.append(ran.own)
    assert [name for name in owns[0] if owns[0][name] == owns[1][name]] == ["imported_s"]


def test_a_damaged_one_is_said_and_collected_anew(run: Callable[..., Ran], cache: Cache) -> None:
    before = run()
    [key] = (key for key in cache.keys(KIND) if "-" in key)
    with (cache.directory / KIND / key / "memory").open("r+b") as file:
        file.seek(16 << 20)
        file.write(b"damage")
    after = run()
    assert (after.seen, after.phases) == (before.seen, ("restore", "collect", "tests"))
    [note] = after.notes
    assert "memory is not what was stored" in note
    assert run().phases == ("restore", "collect", "tests")  # and it is saved: the same was wanted twice in a row
    assert run().phases == ("restore", "tests")


def test_a_crash_is_followed_by_a_guest_that_knows_nothing_of_it(run: Callable[..., Ran], project: Path) -> None:
    (project / "tests/test_it.py").write_text(_CRASHING)
    booted = run()
    restored = run()
    assert restored.phases == ("restore", "tests")
    assert booted.statuses == restored.statuses == ("crash", "pass")
    assert restored.notes == booted.notes


def test_isolated_tests_begin_behind_the_collecting(run: Callable[..., Ran], project: Path) -> None:
    (project / "tests/test_it.py").write_text(
        "from pathlib import Path\nimport pytest\n\n\n@pytest.mark.parametrize('number', range(3))\n"
        "def test_is_alone(number):\n    assert not Path('/tmp/here').exists()\n    Path('/tmp/here').touch()\n"
    )
    assert run("--no-snapshots", "--isolate").statuses == ("pass",) * 3
    assert run("--isolate").statuses == ("pass",) * 3
    isolated = run("--isolate")
    assert (isolated.statuses, set(isolated.phases)) == (("pass",) * 3, {"restore", "tests"})
