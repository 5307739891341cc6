"""Faults injected in a guest: tests of a user's that misbehave, each with the verdict and the evidence it must get."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from reports.results import Qualifier, Result, Results, Status, read

pytestmark = [pytest.mark.vm, pytest.mark.slow]  # `tox -e faults`

HERE = Path(__file__).parent
LEFT, WARNED, FLAKY = Qualifier.LEFT_BEHIND, Qualifier.KERNEL_WARNING, Qualifier.FLAKY


@dataclasses.dataclass(frozen=True, slots=True)
class Expected:
    """A row of the table: verdict, the qualifiers beside it, and what the evidence has to say."""

    status: Status
    qualifiers: tuple[str, ...] | None = ()
    evidence: tuple[str, ...] = ()
    # How often it was tried.
    tries: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """A run of pytest, as its user sees it."""

    status: int
    output: str
    results: Results
    # What it left in its temporary directory, and processes that were started below it.
    left: list[str]
    # What each of its guests printed.
    consoles: list[str]

    def row(self, test: str) -> Result:
        return next(row for row in self.results.results if row.test == test)


def run(folder: Path, faults: str, *options: str) -> Run:
    """Run a file of faults in a guest, in a place of its own."""
    tests, temporary = folder / "my_tests", folder / "tmp"
    for path in (tests, temporary):
        path.mkdir()
    shutil.copy(HERE / faults, tests / "test_faults.py")
    (folder / "pytest.ini").write_text("[pytest]\n")
    out = folder / "out"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tests), "--kernel", "6.1"]
    done = subprocess.run(
        [*command, "--matrix-out", str(out), *options],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(HERE.parents[1])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    assert (out / "results.json").is_file(), output
    left = [str(path.relative_to(temporary)) for path in temporary.rglob("*") if not path.is_dir()]
    left += [
        " ".join(process.info["cmdline"] or ())
        for process in psutil.process_iter(["cmdline"])
        if _is_of(process, folder)
    ]
    consoles = [path.read_text(errors="replace") for path in out.glob("consoles/*/console.txt")]
    return Run(done.returncode, output, read(out / "results.json"), left, consoles)


def _is_of(process: psutil.Process, folder: Path) -> bool:
    return any(str(folder) in word for word in process.info["cmdline"] or ())


PASS = Expected(Status.PASS)
OOM = "Out of memory: Killed process"
FAULTS = {
    "test_first": PASS,
    "test_os_exit": Expected(Status.ERROR, (), ("exit status 3",)),
    "test_after_os_exit": PASS,
    "test_sigsegv": Expected(Status.CRASH, (), ("killed by SIGSEGV", "in test_sigsegv"), tries=2),
    "test_sigkill": Expected(Status.CRASH, (), ("killed by SIGKILL",), tries=2),
    "test_hang": Expected(
        Status.TIMEOUT, (), ("did not end within 45 s of the guest's time", "futex", "in test_hang"), tries=2
    ),
    "test_closes_0_to_255": Expected(Status.FAIL, (LEFT,), ("descriptor 1 was closed: /dev/console",)),
    "test_after_closes": PASS,
    "test_closes_the_channel": Expected(Status.ERROR, (), ("exit status 1",)),
    "test_after_closes_the_channel": PASS,
    "test_closes_the_channel_alone": Expected(Status.PASS, (LEFT,), ("descriptor 900 was closed: /dev/ttyS1",)),
    "test_puts_another_file_in_place_of_the_channel": Expected(
        Status.PASS, (LEFT,), ("descriptor 900 is open: /dev/shm/instead (deleted)",)
    ),
    "test_after_another_file": PASS,
    "test_writes_into_the_channel": Expected(Status.INFRA, (), ("the channel is corrupt",)),
    "test_after_writes_into_the_channel": PASS,
    "test_child_comes_back": Expected(Status.PASS, (LEFT,), ("still ran",)),
    "test_after_child_comes_back": PASS,
    "test_ends_before_it_goes_on": PASS,
    "test_after_ends_before_it_goes_on": PASS,
    "test_ends_before_the_next": Expected(Status.PASS, None),
    "test_after_ends_before_the_next": PASS,
    "test_ends_instead_of_the_next": PASS,
    "test_after_ends_instead_of_the_next": PASS,
    "test_prints_megabytes": Expected(Status.FAIL, (), ("to see what it printed",)),
    "test_prints_noise": Expected(Status.FAIL, (), ("to see what it printed",)),
    "test_imitates_a_kernel_warning": PASS,
    "test_changes_the_clock": Expected(Status.PASS, (LEFT,), ("the clock was moved by +31536000 s",)),
    "test_after_the_clock": PASS,
    "test_leaves_things": Expected(
        Status.PASS,
        (LEFT,),
        (
            "anon_inode:[io_uring]",
            "the working directory is /proc",
            "Umask in /proc/PID/status is 0077, was 0022",
            "SigIgn",
            "Max open files 500 800",
            "1 threads still run",
            "/tmp/forgotten is there",
            "still ran",
        ),
    ),
    "test_after_leaves_things": PASS,
    "test_arms_a_timer": Expected(Status.PASS, (LEFT,), ("ITIMER_REAL is armed, for 0.", "then every 2 s")),
    "test_after_a_timer": PASS,
    "test_makes_a_posix_timer": Expected(Status.PASS, (LEFT,), ("a POSIX timer is there (0 signal: 14/",)),
    "test_after_a_posix_timer": PASS,
    "TestAlarm.test_one": PASS,
    "TestAlarm.test_another": PASS,
    "test_forks_a_hundred": Expected(Status.PASS, (LEFT,), ("100 processes still ran",)),
    "test_after_forks": PASS,
    "TestSharing.test_one": PASS,
    "TestSharing.test_another": PASS,
    "test_exhausts_descriptors": Expected(Status.PASS, (LEFT,), ("/dev/null", "more")),
    "test_unmounts": Expected(Status.PASS, (LEFT,), ("no longer mounted: /dev/shm",)),
    "test_after_unmounts": PASS,
    "test_remounts": Expected(Status.PASS, (LEFT,), ("mounted: /dev/shm", "ro,")),
    "test_after_remounts": PASS,
    "test_fills_scratch": Expected(Status.PASS, (LEFT,), ("/tmp/full is there", "MiB of memory")),
    "test_after_fills_scratch": PASS,
    "test_out_of_memory": Expected(Status.INFRA, (WARNED,), ("killed by SIGKILL", OOM)),
    "test_child_out_of_memory": Expected(Status.PASS, (WARNED,), (OOM,)),
    "test_a_task_hung_for_a_while": Expected(Status.PASS, (WARNED,), ("blocked for more than 20 seconds",)),
    "test_a_task_hangs_for_good": Expected(
        Status.TIMEOUT,
        (WARNED,),
        ("blocked for more than 20 seconds", "state D", "in test_a_task_hangs_for_good"),
        tries=2,
    ),
    "test_panic": Expected(
        Status.CRASH,
        (),
        ("Kernel panic - not syncing: sysrq triggered crash", "Call Trace", "sysrq_handle_crash"),
        tries=2,
    ),
    "test_powers_off": Expected(Status.CRASH, (), ("QEMU ended with status 0", "reboot: Power down"), tries=2),
    "test_reboots": Expected(Status.CRASH, (), ("QEMU ended with status 0", "Resetting"), tries=2),
    "test_kills_the_agent": Expected(Status.CRASH, (), ("killed by SIGSEGV",), tries=2),
    "test_leaves_a_name": PASS,
    "test_crashes_in_an_old_guest_only": Expected(Status.CRASH, (FLAKY,), ("killed by SIGKILL",), tries=2),
    "test_last": PASS,
}


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run of them all."""
    return run(tmp_path_factory.mktemp("faults"), "in_guest.py")


@pytest.mark.parametrize("test", FAULTS)
def test_a_fault_gets_its_verdict_and_its_evidence(faults: Run, test: str) -> None:
    row, expected = faults.row(test), FAULTS[test]
    assert expected.status is row.status, row.evidence
    assert expected.qualifiers in {None, row.qualifiers}, row.evidence
    evidence = "\n".join(row.evidence)
    for part in expected.evidence:
        assert part in evidence
    assert expected.tries == max(len(row.attempts), 1)


def test_every_fault_has_its_row_and_the_run_is_complete(faults: Run) -> None:
    """Whatever a test did, those behind it have run."""
    assert set(FAULTS) == {row.test for row in faults.results.results}
    assert faults.results.complete
    assert faults.status == 1, faults.output


def test_faults_leave_nothing_behind(faults: Run) -> None:
    assert faults.left == []


def test_the_end_of_a_process_between_two_tests_is_said_and_charged_to_none(faults: Run) -> None:
    """It is seen right behind the test, or when the next one's turn has come."""
    said = [*faults.row("test_ends_before_the_next").evidence, *faults.results.kernels[0].notes]
    assert any("the process that runs the tests ended" in line and "exit status 7" in line for line in said)
    notes = faults.results.kernels[0].notes
    assert any("test_after_ends_instead_of_the_next" in note and "exit status 7" in note for note in notes)
    assert any("test_after_ends_before_it_goes_on" in note and "exit status 8" in note for note in notes)


def test_output_survives_whatever_it_is(faults: Run) -> None:
    assert "last words" in faults.row("test_os_exit").output
    megabytes = faults.row("test_prints_megabytes").output
    assert "characters left out" in megabytes
    assert len(megabytes) < 200_000
    noise = faults.row("test_prints_noise").output
    assert "no UTF-8, and a NUL" in noise
    assert '{"type": "report"}' in noise


def test_a_changed_verdict_shows_both_tries(faults: Run) -> None:
    tries = faults.row("test_crashes_in_an_old_guest_only").attempts
    assert [Status.CRASH, Status.PASS] == [one.status for one in tries]


def test_the_console_shows_which_test_ran_when_it_ended(faults: Run) -> None:
    panics = [console for console in faults.consoles if "sysrq triggered crash" in console]
    assert len(panics) == 2
    for console in panics:
        _, _, last = console.rpartition("uring-matrix: begins ")
        assert last.startswith("my_tests/test_faults.py::test_panic, mode default")
        assert "Kernel panic" in last


@pytest.fixture(scope="module")
def stuck(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run of those that end nothing, and that the guest cannot end."""
    return run(tmp_path_factory.mktemp("stuck"), "in_guest_stuck.py", "--matrix-test-timeout", "6")


def test_a_guest_without_an_answer_is_asked_where_it_is_and_ended(stuck: Run) -> None:
    for name, where in (("test_stops_the_agent", "state:T"), ("test_starves_everybody", "RIP: 0033:")):
        row = stuck.row(name)
        assert (Status.TIMEOUT, 2) == (row.status, len(row.attempts)), row.evidence
        evidence = "\n".join(row.evidence)
        assert "the kernel, asked by an NMI where it is" in evidence
        assert where in evidence
    assert stuck.row("test_last").status is Status.PASS
    assert stuck.results.complete
    assert stuck.status == 1
    assert stuck.left == []


SLOW = "did not end within 45 s of the guest's time"
UNENDING = {
    "test_leaves_a_child_with_its_output": Expected(Status.PASS, (LEFT,), ("still ran",)),
    "test_after_a_child_with_its_output": PASS,
    "test_waits_for_the_end_of_a_pipe": Expected(Status.TIMEOUT, (LEFT,), (SLOW, "still ran"), tries=2),
    "test_after_the_pipe": PASS,
    "test_gives_a_program_a_second": Expected(
        Status.TIMEOUT, (LEFT,), ("timed out after 1 seconds", "still ran"), tries=2
    ),
    "test_after_a_second": PASS,
    "test_closes_a_ring_whose_request_stays": PASS,
    "test_leaves_a_ring_whose_request_stays": Expected(Status.PASS, (LEFT,), ("anon_inode:[io_uring]", "pipe:[")),
    "test_after_a_ring_whose_request_stays": PASS,
    "test_waits_for_a_request_that_was_cancelled": Expected(
        Status.TIMEOUT, (), (SLOW, "io_uring_enter", "in test_waits_for_a_request_that_was_cancelled"), tries=2
    ),
    "test_last": PASS,
}


@pytest.fixture(scope="module")
def unending(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run of those that wait for what never comes, or leave it to others."""
    return run(tmp_path_factory.mktemp("unending"), "in_guest_unending.py")


@pytest.mark.parametrize("test", UNENDING)
def test_what_never_comes_ends_with_a_verdict(unending: Run, test: str) -> None:
    """By the guest's own clock: the host's, twice as patient, is not needed for any of them."""
    row, expected = unending.row(test), UNENDING[test]
    assert (expected.status, expected.qualifiers) == (row.status, row.qualifiers), row.evidence
    evidence = "\n".join(row.evidence)
    for part in expected.evidence:
        assert part in evidence
    assert expected.tries == max(len(row.attempts), 1)


def test_what_never_comes_ends_the_run(unending: Run) -> None:
    assert set(UNENDING) == {row.test for row in unending.results.results}
    assert (unending.results.complete, unending.status, unending.left) == (True, 1, []), unending.output


def test_timers_are_the_tests_that_armed_them(tmp_path: Path) -> None:
    """And the next one has a process without them."""
    names = [name for name in FAULTS if "timer" in name or "Alarm" in name]
    done = run(tmp_path, "in_guest.py", "-k", "timer or Alarm")
    for name in names:
        row, expected = done.row(name), FAULTS[name]
        assert (expected.status, expected.qualifiers) == (row.status, row.qualifiers), row.evidence
        assert all(part in "\n".join(row.evidence) for part in expected.evidence), row.evidence
    assert len(names) == len(done.results.results) == 6
    assert (done.status, done.left) == (0, []), done.output


def test_a_flaky_test_may_be_allowed(tmp_path: Path) -> None:
    done = run(tmp_path, "in_guest.py", "--allow-flaky", "-k", "leaves_a_name or old_guest_only")
    row = done.row("test_crashes_in_an_old_guest_only")
    assert (Status.CRASH, (FLAKY,)) == (row.status, row.qualifiers)
    assert done.status == 0, done.output


def test_a_repeated_test_has_its_fixtures_each_time(tmp_path: Path) -> None:
    done = run(tmp_path, "in_guest.py", "--matrix-repeat", "3", "-k", "after_fills_scratch or TestSharing")
    assert [(Status.PASS, (), 3)] * 3 == [
        (row.status, row.qualifiers, len(row.attempts)) for row in done.results.results
    ], done.output
    assert done.status == 0


def test_repeating_and_isolating_are_options(tmp_path: Path) -> None:
    done = run(tmp_path, "in_guest.py", "--matrix-repeat", "3", "--isolate", "-k", "test_first or test_last")
    assert [3, 3] == [len(row.attempts) for row in done.results.results]
    assert done.status == 0
    assert 6 == len(list((tmp_path / "out/consoles").iterdir()))
