"""The suite in the oldest and the newest kernel there is, as a user runs it, held against Zig's own verdicts there."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import observed_kernels
import pytest
from archive_kernels import oldest_and_newest

from conformance.capabilities import CAPABILITIES
from conformance.zig_index import function_name
from reports.issue_files import read_known_issues
from reports.results import Kernel, Results, Status, exit_code, read

pytestmark = pytest.mark.vm

ROOT = Path(__file__).parents[2]
# What Zig 0.15.1's test binary says in each series (tests/oracle/compare.py). Newer ones are like the last.
ZIG = json.loads((ROOT / "tests/oracle/expected.json").read_text(encoding="utf-8"))["kernels"]
STATUS = {"pass": Status.PASS, "skip": Status.UNSUPPORTED}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    out = tmp_path_factory.mktemp("matrix")
    kernels = [f"--kernel={name}" for name in oldest_and_newest()]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "conformance",
            "-q",
            "-n",
            "2",
            "-p",
            "no:cacheprovider",
            *kernels,
            "--matrix-out",
            out,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return read(out / "results.json")


def test_the_run_is_complete_and_as_expected(results: Results) -> None:
    assert results.complete
    assert exit_code(results) == 0
    assert len(results.kernels) == 2
    kinds = Counter(test.kind for test in results.tests)
    assert kinds.pop("operation") >= 300
    assert kinds == {"zig": 41, "capability": len(CAPABILITIES)}
    assert len(results.results) == 2 * len(results.tests)


def test_every_kernel_says_what_it_is(results: Results) -> None:
    for kernel in results.kernels:
        assert kernel.booted
        assert kernel.release is not None
        assert kernel.release.startswith(f"{kernel.series}.") or kernel.release.startswith(f"{kernel.series}-")
        assert kernel.sha256 is not None
        assert "IORING_FEAT_NODROP" in kernel.features["features"]
        assert kernel.console is not None


def test_every_cell_agrees_with_zigs_own_tests(results: Results) -> None:
    for kernel in results.kernels:
        zig = ZIG.get(kernel.series) or ZIG["7.3"]
        expected = {function_name(title): STATUS[verdict] for title, verdict in zig.items()}
        assert expected == verdicts(results, kernel)


def test_what_is_unsupported_comes_with_its_proof(results: Results) -> None:
    rows = [row for row in results.results if row.status is Status.UNSUPPORTED]
    assert Counter(row.kernel for row in rows if row.test in ported(results)) == {"5.10": 15}
    assert all(row.evidence and row.reason for row in rows)


def ported(results: Results) -> set[str]:
    """Zig's tests among them."""
    return {test.id for test in results.tests if test.kind == "zig"}


def verdicts(results: Results, kernel: Kernel) -> dict[str, Status]:
    tests = ported(results)
    return {row.test: row.status for row in results.results if row.kernel == kernel.id and row.test in tests}


def test_a_kernel_has_what_it_was_seen_to_have(results: Results) -> None:
    """Exactly, if it is the release that was looked at; another one of its series may have more."""
    for kernel in results.kernels:
        known = observed_kernels.known().get(kernel.series)
        if known is None:
            pytest.skip(f"{kernel.id} is newer than tests/uring/observed.json: tests/conformance/observed_kernels.py")
        found = observed_kernels.record(results, kernel.id)
        if found["release"] == known["release"]:
            assert found == known
        others = {name for names in known["others"].values() for name in names}
        assert {name for names in found["others"].values() for name in names} <= others


def test_every_test_asks_the_kernel_for_what_it_says(tmp_path: Path) -> None:
    """The `symbols` of each are the operations, flags and registrations that it uses."""
    # A project of its own, so that the plugin travels with it.
    shutil.copy(Path(__file__).with_name("exercised.py"), tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_none.py").write_text("import pytest\n@pytest.mark.symbols()\ndef test_none(): pass\n")
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "exercised", "--kernel", oldest_and_newest()[-1]]
    words += ["-m", "not capability"]
    done = subprocess.run(
        [sys.executable, *words, "test_none.py", "--pyargs", "conformance"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    known = {
        name
        for issue in read_known_issues([ROOT / "conformance/known-issues.toml"])
        for name in issue.tests
        if "fail" in issue.status
    }
    failed = set(re.findall(r"^FAILED \S+::(\w+)\[", done.stdout, re.MULTILINE))
    assert failed <= known, done.stdout[-4000:] + done.stderr[-4000:]
    assert not re.findall(r"\d+ errors?", done.stdout), done.stdout[-4000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[-1]) > 400, done.stdout[-4000:]


def test_a_guest_collects_no_more_than_is_to_run(tmp_path: Path) -> None:
    """Who asks for one test does not wait for the files of the others to be loaded."""
    (tmp_path / "test_one.py").write_text("import sys\ndef test_one(): assert 'test_two' not in sys.modules\n")
    (tmp_path / "test_two.py").write_text("import sys\ndef test_two(): assert 'test_one' in sys.modules\n")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        words = ["-m", "pytest", str(tmp_path), "--rootdir", str(tmp_path), "-p", "no:cacheprovider"]
        words += ["--kernel", oldest_and_newest()[-1], *arguments]
        return subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False)

    alone = run("-k", "test_one")
    assert (alone.returncode, "1 passed" in alone.stdout) == (0, True), alone.stdout
    both = run()
    assert (both.returncode, "1 failed, 1 passed" in both.stdout) == (1, True), both.stdout
