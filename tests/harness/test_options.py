"""Every option of the plugin has its effect in guests, in this process and without a kernel, or is refused.

The table below is held against the parser: an option that is not in it fails. What it says of an option is seen in
what a session did, with the option and often without it; that the option is mentioned somewhere is no effect.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from remote_gdb import free_port, letting_go

from harness import plugin
from reports.results import Qualifier, Result, Results, Status, read
from vm.lock import Pin, render_lock

TESTS = """
import os, pathlib, time
import pytest

# In guests out of reach of what tidies up behind each test.
MARK = pathlib.Path("/" if "URING_MATRIX_GUEST" in os.environ else os.path.dirname(__file__)) / "mark"

def test_first():
    pass

def test_second():
    pass

def test_wavers():
    MARK.mkdir(exist_ok=True)
    tries = len(list(MARK.iterdir()))
    (MARK / str(tries)).touch()
    assert tries % 2 == 1

def test_fails_at_last():
    MARK.mkdir(exist_ok=True)
    tries = len(list(MARK.iterdir()))
    (MARK / str(tries)).touch()
    assert tries < 5

def test_is_alone():
    own = MARK.with_name(MARK.name + "-alone")
    assert not own.exists()
    own.touch()

def test_is_alone_as_well():
    test_is_alone()

def test_takes_a_second():
    time.sleep(1)

def test_takes_too_long():
    time.sleep(60)

def test_where():
    print("release", os.uname().release, "cpus", os.cpu_count())
    print(open("/proc/cmdline").read(), open("/proc/meminfo").readline())
    assert False

def test_imports_a_package():
    import filelock

def test_reads_a_variable():
    assert os.environ["FLAVOUR"] == "vanilla"
"""


@dataclass(frozen=True)
class Done:
    """A session that is over."""

    code: int
    said: str
    out: Path

    @property
    def results(self) -> Results:
        return read(self.out / "results.json")

    def row(self, test: str) -> Result:
        [row] = [row for row in self.results.results if row.test == test]
        return row


Run = Callable[..., Done]
Effect = Callable[[Run], None]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs some of the tests above, in a process of its own."""
    (tmp_path / "pytest.ini").touch()
    (tmp_path / "test_mine.py").write_text(TESTS)

    def call(*arguments: str, out: str = "out", tests: str = "test_first") -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_mine.py", "-k", tests, *arguments],
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "300"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        return Done(done.returncode, done.stdout + done.stderr, tmp_path / out)

    return call


# -- how an effect is seen --------------------------------------------------------------------------------------------

GUESTS, HOST, NONE = ("--kernel", "6.1"), ("--kernel", "host"), ()
OUT = ("--matrix-out", "out")


def refused(option: str, where: tuple[str, ...], sentence: str) -> Effect:
    """A sentence, exit code 4, and nothing was run."""

    def check(run: Run) -> None:
        done = run(*option.split(), *where)
        assert done.code == pytest.ExitCode.USAGE_ERROR, done.said
        assert sentence in done.said
        assert "Traceback" not in done.said
        assert "passed" not in done.said
        assert not done.out.exists()

    return check


def names_the_kernel(where: tuple[str, ...], kernel: str) -> Effect:
    def check(run: Run) -> None:
        done = run(*where, *OUT, tests="test_where")
        own = os.uname().release
        row = done.row("test_where")
        assert (row.kernel, f"release {own}" in row.output) == (kernel, kernel == "host"), done.said
        assert "release" in row.output

    return check


def names_the_architecture(where: tuple[str, ...]) -> Effect:
    def check(run: Run) -> None:
        assert run(*where, *OUT, "--arch", "amd64").row("test_first").arch == "amd64"
        assert run(*where, "--arch", "arm64").code == pytest.ExitCode.USAGE_ERROR

    return check


def runs_modes(where: tuple[str, ...]) -> Effect:
    def check(run: Run) -> None:
        done = run(*where, *OUT, "--mode", "no-sqarray", "--mode", "default", "--mode", "no-sqarray")
        assert sorted(row.mode for row in done.results.results) == ["default", "no-sqarray"], done.said

    return check


def makes_items_of_modes(run: Run) -> None:
    done = run("--mode", "no-sqarray", "--collect-only", "-q")
    assert "test_first[host-no-sqarray]" in done.said


def writes_results(where: tuple[str, ...]) -> Effect:
    def check(run: Run) -> None:
        assert run(*where).code == 0
        done = run(*where, "--matrix-out", "elsewhere", out="elsewhere")
        assert done.row("test_first").status is Status.PASS
        assert not (done.out.parent / "out").exists()

    return check


def goes_on(where: tuple[str, ...]) -> Effect:
    def check(run: Run) -> None:
        run(*where, *OUT, "-x", tests="test_where or test_wavers")
        done = run(*where, *OUT, "--matrix-resume", "-rA", tests="test_where or test_wavers")
        assert "1 deselected" in done.said or "/1 selected" in done.said or "1 failed" in done.said
        assert done.results.complete
        assert len(done.results.results) == 2

    return check


def takes_the_locks_kernels(run: Run) -> None:
    pin = Pin("6.7", "6.7", "amd64", "6.7.0", "0" * 64, package="linux-image-6.7", package_version="1-1")
    done = run()
    (done.out.parent / "kernels.lock").write_text(render_lock([pin]))
    done = run("--matrix-lock", "kernels.lock", "--collect-only", "-q")
    assert "test_first[6.7-default]" in done.said


def runs_the_locks_kernels(run: Run) -> None:
    """The kernel is the one that another program found, down to its hash."""
    place = run().out.parent
    command = [sys.executable, "-m", "uring_matrix", "kernels", "lock", "6.1", "-o", str(place / "kernels.lock")]
    subprocess.run(command, check=True, capture_output=True)
    done = run("--matrix-lock", "kernels.lock", *OUT, tests="test_where")
    [kernel] = done.results.kernels
    assert kernel.sha256 in (place / "kernels.lock").read_text()
    assert f"release {kernel.release}" in done.row("test_where").output
    refused("--matrix-lock kernels.lock", GUESTS, "leave one of them out")


def repeats(where: tuple[str, ...]) -> Effect:
    def check(run: Run) -> None:
        done = run(*where, *OUT, "--matrix-repeat", "4", tests="test_first or test_wavers")
        assert [one.status for one in done.row("test_first").attempts] == [Status.PASS] * 4
        wavers = done.row("test_wavers")
        assert [one.status for one in wavers.attempts] == [Status.FAIL, Status.PASS] * 2
        assert (wavers.status, wavers.qualifiers) == (Status.FAIL, (Qualifier.FLAKY,))
        assert (done.code, "1 failed, 1 passed" in done.said) == (1, True), done.said

    return check


def repeats_until_failure(where: tuple[str, ...]) -> Effect:
    def check(run: Run) -> None:
        done = run(*where, *OUT, "--until-failure", tests="test_fails_at_last")
        tries = [one.status for one in done.row("test_fails_at_last").attempts]
        assert (tries, done.code) == ([*[Status.PASS] * 5, Status.FAIL], 1), done.said
        done = run(*where, *OUT, "--until-failure", "--matrix-repeat", "3", tests="test_first")
        assert [one.status for one in done.row("test_first").attempts] == [Status.PASS] * 3

    return check


def tolerates(where: tuple[str, ...]) -> Effect:
    def check(run: Run) -> None:
        arguments = (*where, *OUT, "--matrix-repeat", "2")
        assert run(*arguments, tests="test_wavers").code == 1
        done = run(*arguments, "--allow-flaky", tests="test_wavers")
        assert (done.code, done.row("test_wavers").qualifiers) == (0, (Qualifier.FLAKY,)), done.said

    return check


def shapes(option: str, said: str, *, field: str, value: object) -> Effect:
    """The guest is made so, its column says so, and results of another guest are not kept for its."""

    def check(run: Run) -> None:
        assert said not in run(*GUESTS, *OUT, tests="test_where").row("test_where").output
        done = run(*GUESTS, *OUT, "--matrix-resume", *option.split(), tests="test_where")
        assert said in done.row("test_where").output
        [kernel] = done.results.kernels
        assert kernel.guest is not None
        assert getattr(kernel.guest, field) == value
        assert option.split(maxsplit=1)[0] in str(done.row("test_where").reproduce)

    return check


def waits_for_a_debugger(run: Run) -> None:
    """As the others that shape a guest; and whoever has one is told where to attach it."""
    assert "nokaslr" not in run(*GUESTS, *OUT, tests="test_where").row("test_where").output
    port = free_port()
    with letting_go(port) as seen:
        done = run(*GUESTS, *OUT, "--matrix-resume", "--guest-gdb", str(port), tests="test_where")
    assert seen == [True]
    assert f"gdb -ex 'target remote 127.0.0.1:{port}'" in done.said
    assert "nokaslr" in done.row("test_where").output
    [kernel] = done.results.kernels
    assert kernel.guest is not None
    assert kernel.guest.gdb
    assert "nokaslr" in str(kernel.cmdline)
    assert "restore" not in kernel.phases
    assert f"--guest-gdb={port}" in str(done.row("test_where").reproduce)


def isolates(run: Run) -> None:
    assert run(*GUESTS, tests="test_is_alone").code == 1
    done = run(*GUESTS, "--isolate", tests="test_is_alone")
    assert (done.code, "2 passed" in done.said) == (0, True), done.said


def boots_anew(run: Run) -> None:
    def phases(*arguments: str) -> set[str]:
        [kernel] = run(*GUESTS, *OUT, *arguments).results.kernels
        return set(kernel.phases)

    phases()  # after which there is a snapshot
    assert "restore" in phases()
    assert "restore" not in phases("--no-snapshots")
    assert "boot" in phases("--no-snapshots")


def accelerates(run: Run) -> None:
    assert run(*GUESTS, *OUT, "--accel", "tcg").results.host.accel == "tcg"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        done = run(*GUESTS, "--accel", "kvm")
        assert (done.code, "kvm" in done.said.lower()) == (3, True), done.said


def limits_tests(run: Run) -> None:
    done = run(*GUESTS, *OUT, "--matrix-test-timeout", "2", tests="test_takes_too_long")
    assert done.row("test_takes_too_long").status is Status.TIMEOUT, done.said


def sends_a_package(run: Run) -> None:
    assert run(*GUESTS, *OUT, tests="imports").row("test_imports_a_package").status is Status.ERROR
    done = run(*GUESTS, *OUT, "--guest-package", "filelock", tests="imports")
    assert done.row("test_imports_a_package").status is Status.PASS, done.said


def sets_a_variable(run: Run) -> None:
    for word, status in (("FLAVOUR=vanilla", Status.PASS), ("FLAVOUR=rum", Status.FAIL)):
        assert run(*GUESTS, *OUT, "--guest-env", word, tests="reads").row("test_reads_a_variable").status is status


def begins_nothing_late(where: tuple[str, ...]) -> Effect:
    def check(run: Run) -> None:
        done = run(*where, *OUT, "--matrix-deadline", "0.5", tests="test_takes_a_second or test_where")
        assert done.row("test_takes_a_second").status is Status.PASS, done.said
        late = done.row("test_where")
        assert (late.status, "the run's 0.5 s were over" in late.reason) == (Status.INFRA, True)
        assert "release" not in late.output

    return check


WITHOUT_GUESTS = "is about guests, and tests of host run in this process"
WITHOUT_GUESTS_OR_KERNELS = "is about guests: name kernels with --kernel"
WITHOUT_KERNELS = "is about tests in kernels: name some with --kernel"

# Option to how its effect is seen: in guests, in process, without a kernel.
ISSUE = '[[issue]]\ntest = "test_*"\nstatus = ["fail"]\nseries = "5.1.."\nreason = "as it was"\n'


def knows_of_issues(where: tuple[str, ...]) -> Effect:
    """A failure that is known fails no session, and the project's own setting says the same as the option."""

    def check(run: Run) -> None:
        place = run().out.parent
        (place / "known.toml").write_text(ISSUE)
        assert run(*where, *OUT, tests="test_where").code == 1
        done = run(*where, *OUT, "--known-issues", "known.toml", tests="test_where")
        assert (done.code, done.row("test_where").qualifiers) == (0, (Qualifier.KNOWN_ISSUE,)), done.said
        assert "1 verdict is a known issue" in done.said
        (place / "pyproject.toml").write_text("[tool.uring-matrix]\nknown-issues = 'known.toml'\n")
        assert run(*where, *OUT, tests="test_where").code == 0
        done = run(*where, *OUT, tests="test_first")
        assert "known issue no longer shows: test_first on" in done.said
        (place / "known.toml").write_text(ISSUE.replace("reason", "reasom"))
        done = run(*where, *OUT, tests="test_first")
        assert (done.code, "did you mean 'reason'?" in done.said) == (pytest.ExitCode.USAGE_ERROR, True), done.said

    return check


EFFECTS: Mapping[str, tuple[Effect, Effect, Effect]] = {
    "--kernel": (
        names_the_kernel(GUESTS, "6.1"),
        names_the_kernel(HOST, "host"),
        names_the_kernel(("--kernel=host,6.1", "--deselect=test_mine.py::test_where[6.1-default]"), "host"),
    ),
    "--arch": (
        names_the_architecture(GUESTS),
        names_the_architecture(HOST),
        refused("--arch amd64", NONE, WITHOUT_KERNELS),
    ),
    "--mode": (runs_modes(GUESTS), runs_modes(HOST), makes_items_of_modes),
    "--matrix-out": (writes_results(GUESTS), writes_results(HOST), writes_results(NONE)),
    "--matrix-resume": (goes_on(GUESTS), goes_on(HOST), refused("--matrix-resume", NONE, WITHOUT_KERNELS)),
    "--matrix-lock": (
        runs_the_locks_kernels,
        refused("--matrix-lock absent.lock", HOST, "leave one of them out"),
        takes_the_locks_kernels,
    ),
    "--no-snapshots": (
        boots_anew,
        refused("--no-snapshots", HOST, WITHOUT_GUESTS),
        refused("--no-snapshots", NONE, WITHOUT_GUESTS_OR_KERNELS),
    ),
    "--accel": (
        accelerates,
        refused("--accel tcg", HOST, WITHOUT_GUESTS),
        refused("--accel tcg", NONE, WITHOUT_GUESTS_OR_KERNELS),
    ),
    "--guest-package": (
        sends_a_package,
        refused("--guest-package filelock", HOST, WITHOUT_GUESTS),
        refused("--guest-package filelock", NONE, WITHOUT_GUESTS_OR_KERNELS),
    ),
    "--guest-env": (
        sets_a_variable,
        refused("--guest-env A=B", HOST, WITHOUT_GUESTS),
        refused("--guest-env A=B", NONE, WITHOUT_GUESTS_OR_KERNELS),
    ),
    **{
        option.split()[0]: (
            shapes(option, said, field=field, value=value),
            refused(option, HOST, WITHOUT_GUESTS),
            refused(option, NONE, WITHOUT_GUESTS_OR_KERNELS),
        )
        for option, said, field, value in (
            ("--guest-cpus 2", "cpus 2", "cpus", 2),
            ("--guest-memory 401", "MemTotal:         3", "memory_mib", 401),
            ("--guest-append slub_debug=FZ", "slub_debug=FZ", "append", "slub_debug=FZ"),
        )
    },
    "--guest-gdb": (
        waits_for_a_debugger,
        refused("--guest-gdb 0", HOST, WITHOUT_GUESTS),
        refused("--guest-gdb 0", NONE, WITHOUT_GUESTS_OR_KERNELS),
    ),
    "--known-issues": (
        knows_of_issues(GUESTS),
        knows_of_issues(HOST),
        refused("--known-issues known.toml", NONE, WITHOUT_KERNELS),
    ),
    "--isolate": (
        isolates,
        refused("--isolate", HOST, WITHOUT_GUESTS),
        refused("--isolate", NONE, WITHOUT_GUESTS_OR_KERNELS),
    ),
    "--until-failure": (
        repeats_until_failure(GUESTS),
        repeats_until_failure(HOST),
        refused("--until-failure", NONE, WITHOUT_KERNELS),
    ),
    "--matrix-repeat": (repeats(GUESTS), repeats(HOST), refused("--matrix-repeat 2", NONE, WITHOUT_KERNELS)),
    "--allow-flaky": (tolerates(GUESTS), tolerates(HOST), refused("--allow-flaky", NONE, WITHOUT_KERNELS)),
    "--matrix-test-timeout": (
        limits_tests,
        refused("--matrix-test-timeout 5", HOST, WITHOUT_GUESTS),
        refused("--matrix-test-timeout 5", NONE, WITHOUT_GUESTS_OR_KERNELS),
    ),
    "--matrix-deadline": (
        begins_nothing_late(GUESTS),
        begins_nothing_late(HOST),
        refused("--matrix-deadline 5", NONE, WITHOUT_KERNELS),
    ),
}


def offered() -> set[str]:
    """The plugin's options, as the parser has them."""
    names: set[str] = set()

    class Parser:
        def getgroup(self, *_: str) -> "Parser":
            return self

        def addoption(self, name: str, **_: object) -> None:
            names.add(name)

    plugin.pytest_addoption(cast(pytest.Parser, Parser()))
    return names


def test_every_option_has_its_effects_in_the_table() -> None:
    assert offered() == set(EFFECTS)


@pytest.mark.vm
@pytest.mark.parametrize("option", EFFECTS)
def test_an_option_has_its_effect_in_guests(option: str, run: Run) -> None:
    EFFECTS[option][0](run)


@pytest.mark.parametrize("option", EFFECTS)
def test_an_option_has_its_effect_in_this_process(option: str, run: Run) -> None:
    EFFECTS[option][1](run)


@pytest.mark.parametrize("option", EFFECTS)
def test_an_option_has_its_effect_without_a_kernel(option: str, run: Run) -> None:
    EFFECTS[option][2](run)


# -- what is given for some of the kernels, or twice ------------------------------------------------------------------


@pytest.mark.vm
def test_what_is_for_guests_is_said_not_to_be_for_the_host_beside_them(run: Run) -> None:
    done = run("--kernel", "host,6.1", "--isolate", *OUT)
    assert "--isolate is for guests; host is tested without it" in done.said
    assert "--isolate is for guests; host is tested without it" in done.results.notes
    assert (done.code, "2 passed" in done.said) == (0, True), done.said


@pytest.mark.parametrize("twice", ["--mode default", "--kernel host", "--arch amd64"])
def test_what_is_given_twice_is_given_once(twice: str, run: Run) -> None:
    arguments = [*twice.split(), *twice.split(), *(() if "--kernel" in twice else HOST)]
    done = run(*arguments, *OUT)
    assert (done.code, "1 passed" in done.said) == (0, True), done.said
    assert [row.status for row in done.results.results] == [Status.PASS]


@pytest.mark.parametrize("where", [HOST, pytest.param(GUESTS, marks=pytest.mark.vm)], ids=["host", "guests"])
def test_an_end_of_time_between_attempts_is_no_verdict(where: tuple[str, ...], run: Run) -> None:
    """The attempts that were made count; those there was no time for are not held against the test."""
    seconds = "1.5" if where == HOST else "8"
    done = run(*where, *OUT, "--matrix-repeat", "500", "--matrix-deadline", seconds, tests="test_takes_a_second")
    row = done.row("test_takes_a_second")
    assert (row.status, row.qualifiers, done.code) == (Status.PASS, (), 0), done.said
    assert {one.status for one in row.attempts} == {Status.PASS}
    assert 1 < len(row.attempts) < 500


def test_each_attempt_in_process_has_fixtures_and_output_of_its_own(run: Run, tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "import pytest\n"
        "@pytest.fixture\ndef made(tmp_path):\n    yield tmp_path / 'made'\n    print('torn down')\n"
        "@pytest.fixture(scope='module')\ndef shared():\n    print('shared')\n    yield []\n"
        "def test_first(made, shared):\n    made.touch(exist_ok=False)\n    print('called')\n"
        "    assert len(shared) == 1\n"
        "def test_other(shared):\n    pass\n"
    )
    done = run(*HOST, *OUT, "--matrix-repeat", "3", tests="test_first or test_other")
    row = done.row("test_first")
    assert len(row.attempts) == 3
    assert {one.reason for one in row.attempts} == {"assert 0 == 1\n +  where 0 = len([])".partition("\n")[0]}
    assert row.output.count("called") == 1
    assert "1 failed, 1 passed" in done.said


def test_repeated_tests_in_process_by_two_workers(run: Run) -> None:
    done = run(*HOST, *OUT, "--matrix-repeat", "2", "-n", "2", tests="test_wavers or test_first")
    assert [len(row.attempts) for row in done.results.results] == [2, 2], done.said


@pytest.mark.parametrize("option", ["--pdb", "--trace", "--setup-show", "--setup-only"])
def test_what_no_guest_sees_is_refused_with_guests(option: str, run: Run) -> None:
    done = run(option, "--kernel", "6.1")
    assert (done.code, f"{option}: " in done.said, "use it with --kernel host" in done.said) == (4, True, True)


# -- what shows something and runs nothing ----------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--help", "--version", "--fixtures", "--markers", "--fixtures-per-test"])
def test_what_is_printed_without_a_kernel_needs_none(option: str, run: Run) -> None:
    """That archive is nowhere, and that directory is not made."""
    done = run(option, "--kernel", "6.1", *OUT)
    assert (done.code, done.out.exists()) == (0, False), done.said
    assert "Traceback (most" not in done.said


@pytest.mark.parametrize("option", ["--collect-only", "--setup-plan", "--setup-only"])
def test_what_runs_nothing_records_nothing(option: str, run: Run) -> None:
    run(*HOST, *OUT)
    done = run(option, *HOST, *OUT, tests="test_where")
    assert (done.code, "test_where[host-default]" in done.said) == (0, True), done.said
    assert done.row("test_first").status is Status.PASS


@pytest.mark.vm
def test_a_plan_of_what_guests_would_set_up_boots_none(run: Run) -> None:
    done = run("--setup-plan", *GUESTS, *OUT, tests="test_where")
    assert (done.code, done.out.exists()) == (0, False), done.said
    assert re.search(r"test_where\[6\.1-default\]", done.said)


# -- markers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["'abc'", "", "6.7", "'6'", "'6.7', '6.8'", "'6.7.x'", "version='6.7'"])
@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_version_that_nobody_can_mean_is_an_error_of_its_file(
    given: str, workers: str, run: Run, tmp_path: Path
) -> None:
    text = f"import pytest\n\n@pytest.mark.since({given})\ndef test_first(): pass\n"
    (tmp_path / "test_mine.py").write_text(text)
    done = run(*HOST, "-n", workers)
    assert done.code in {pytest.ExitCode.INTERRUPTED, pytest.ExitCode.TESTS_FAILED}, done.said
    assert f"test_mine.py:3: since({given}) of test_first" in done.said.replace('"', "'")
    assert "names no kernel version" in done.said


def test_a_marker_of_others_is_theirs(run: Run, tmp_path: Path) -> None:
    text = "import pytest\n\n@pytest.mark.since('abc')\ndef test_first(): pass\n"
    (tmp_path / "test_mine.py").write_text(text)
    assert run().code == 0


@pytest.mark.parametrize("version", ["6.7", "5.10", "6.1.2", "7.3-rc1"])
def test_versions_are_taken(version: str, run: Run, tmp_path: Path) -> None:
    text = f"import pytest\n\n@pytest.mark.since('{version}')\ndef test_first(): pass\n"
    (tmp_path / "test_mine.py").write_text(text)
    assert run(*HOST).code == 0
