"""A guest under a debugger: it stands still until it is let go, and nobody who thinks about it is late."""

import itertools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from remote_gdb import Debugger, free_port

from harness.debugger import how_to_attach
from reports.results import Results, Status, read
from vm.architectures import AMD64
from vm.errors import BootError
from vm.machine import Emulator, Guest, MachineConfig, kernel_command_line
from vm.snapshots import Beginning, Snapshots

TESTS = """
import os, signal, time

def test_takes_its_time():
    open("/dev/console", "w").write("it is on its way\\n")
    # By the guest's clock, which leaps when nobody runs.
    time.sleep(30)

def test_ends_its_process():
    os.kill(os.getpid(), signal.SIGKILL)

def test_last():
    pass
"""
# In the process that runs guests: every deadline, of the boot as well, is over at once.
SHORT = """
import sys
import harness.guests, pytest
harness.guests.Deadlines.of_test = classmethod(lambda cls, _: cls(0.1, 0.1, 0.1, 0.1, 0.1, is_exact=True))
sys.exit(pytest.main(sys.argv[1:]))
"""
DEADLINE_S = 120.0


class Run:
    """A session in a process of its own."""

    def __init__(self, folder: Path, *arguments: str, tests: str) -> None:
        self.folder = folder
        (folder / "pytest.ini").touch()
        (folder / "test_mine.py").write_text(TESTS)
        words = ["-p", "no:cacheprovider", "--kernel", "6.1", "--matrix-out", "out", "-k", tests, *arguments]
        self.process = subprocess.Popen(
            [sys.executable, "-c", SHORT, *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def consoles(self) -> str:
        return "".join(path.read_text(errors="replace") for path in self.folder.glob("out/consoles/*/console.txt"))

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert self.process.poll() is None, self.end()
            assert time.monotonic() < deadline_s, self.consoles()
            time.sleep(0.02)

    def end(self) -> str:
        out, err = self.process.communicate(timeout=DEADLINE_S)
        return out + err

    @property
    def results(self) -> Results:
        return read(self.folder / "out")

    def statuses(self) -> dict[str, Status]:
        return {row.test: row.status for row in self.results.results}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    started: list[Run] = []

    def call(*arguments: str, tests: str) -> Run:
        started.append(Run(tmp_path, *arguments, tests=tests))
        return started[-1]

    yield call
    for run in started:
        run.process.kill()
        run.process.communicate()


@pytest.mark.vm
def test_the_deadlines_of_the_other_tests_are_short(start: Callable[..., Run]) -> None:
    """No guest boots within them."""
    run = start("--no-snapshots", tests="test_last")
    run.end()
    assert run.statuses() == {"test_last": Status.INFRA}


@pytest.mark.vm
@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_guest_that_is_stopped_for_longer_than_the_deadlines_is_not_late(
    start: Callable[..., Run], workers: str
) -> None:
    port = free_port()
    run = start("--guest-gdb", str(port), "-n", workers, tests="takes_its_time or last")
    with Debugger(port) as debugger:
        assert debugger.is_at_the_beginning()
        debugger.go_on()
        run.wait_until(lambda: "it is on its way" in run.consoles())
        assert debugger.stop().startswith("T02")
        assert not debugger.is_at_the_beginning()
        # Ten times what a test may take.
        stopped_s = time.monotonic()
        run.wait_until(lambda: time.monotonic() > stopped_s + 1.0)
        debugger.go_on()
        debugger.await_end()
    said = run.end()
    assert run.statuses() == {"test_takes_its_time": Status.PASS, "test_last": Status.PASS}, said
    assert (run.process.returncode, run.results.complete) == (0, True)
    assert said.count("6.1 waits for a debugger: ") == 1


@pytest.mark.vm
def test_what_happened_under_a_debugger_happens_once(start: Callable[..., Run]) -> None:
    """Somebody saw it; the same guest takes the next test."""
    port = free_port()
    run = start("--guest-gdb", str(port), tests="ends_its_process or last")
    with Debugger(port) as debugger:
        debugger.go_on()
        debugger.await_end()
    said = run.end()
    assert run.statuses() == {"test_ends_its_process": Status.CRASH, "test_last": Status.PASS}, said
    assert [len(row.attempts) for row in run.results.results] == [0, 0]


@pytest.mark.vm
@pytest.mark.parametrize("where", ["at the beginning", "in a test"])
def test_a_guest_that_the_debugger_kills_says_nothing_of_its_kernel(start: Callable[..., Run], where: str) -> None:
    port = free_port()
    run = start("--guest-gdb", str(port), tests="takes_its_time")
    with Debugger(port) as debugger:
        if where == "in a test":
            debugger.go_on()
            run.wait_until(lambda: "it is on its way" in run.consoles())
            debugger.stop()
        debugger.send("k")
        debugger.await_end()
    said = run.end()
    [row] = run.results.results
    assert row.status is Status.INFRA, said
    assert "GDBstub" in "\n".join(row.evidence)
    assert said.count("6.1 waits for a debugger: ") == 1


@pytest.mark.vm
def test_a_free_port_is_chosen_and_said(start: Callable[..., Run]) -> None:
    run = start("--guest-gdb", "0", tests="test_last")
    assert run.process.stderr is not None
    # A guest image that has to be made is told of before.
    line = next(line for line in run.process.stderr if "waits for a debugger" in line)
    port = int(line.partition("target remote 127.0.0.1:")[2].partition("'")[0])
    with Debugger(port) as debugger:
        debugger.go_on()
        debugger.await_end()
    run.end()
    assert run.statuses() == {"test_last": Status.PASS}


# -- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--kernel 5.10 --kernel 6.1", "a debugger is attached to one kernel (--guest-gdb), and these are several: "),
        ("--kernel 6.1 --kernel host", "these are several: "),
        ("--kernel 6.1 -n 2", "2 workers have one each; say -n 0"),
        ("--kernel 6.1 --dist load --tx 2*popen", "2 workers have one each"),
        ("--kernel 6.1 --matrix-test-timeout 5", "--matrix-test-timeout sets a deadline"),
        ("--kernel 6.1 --matrix-deadline 5", "--matrix-deadline sets a deadline"),
        ("--kernel 6.1 --guest-gdb 65536", "'65536' is no port"),
        ("--kernel 6.1 --guest-gdb x", "'x' is no port"),
    ],
)
def test_what_no_debugger_can_be_attached_to_is_refused(tmp_path: Path, arguments: str, words: str) -> None:
    done = pytest_says(tmp_path, "--guest-gdb", "0", *arguments.split())
    assert (done.returncode, words in done.stderr + done.stdout) == (pytest.ExitCode.USAGE_ERROR, True), done
    assert not (tmp_path / "out").exists()


def test_a_port_that_is_taken_is_refused_before_anything_boots(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = pytest_says(tmp_path, "--kernel", "6.1", "--guest-gdb", str(port))
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"no debugger can be awaited at 127.0.0.1:{port}: Address already in use; name another port" in done.stderr


def pytest_says(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    (folder / "pytest.ini").touch()
    (folder / "test_mine.py").write_text(TESTS)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--matrix-out", "out", *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
    )


# -- the machine ------------------------------------------------------------------------------------------------------

# Takes what QEMU is started with down, and ends.
TAKES_DOWN = """
import json, os, sys
word = next((word for word in sys.argv if word.startswith("socket,id=gdb")), "")
descriptor = int(word.split("fd=")[1].split(",")[0]) if word else -1
import socket
where = socket.socket(fileno=descriptor).getsockname() if word else None
open({path!r}, "w").write(json.dumps([sys.argv[1:], where]))
"""


def machine(tmp_path: Path, **more: object) -> MachineConfig:
    program = tmp_path / "qemu"
    program.write_text(f"#!{sys.executable}\n{TAKES_DOWN.format(path=str(tmp_path / 'seen'))}")
    program.chmod(0o755)
    kernel = tmp_path / "linux" / "arch" / "x86" / "boot" / "bzImage"
    kernel.parent.mkdir(parents=True)
    return MachineConfig(AMD64, Emulator((str(program),)), kernel, tmp_path / "initrd", **more)  # type: ignore[arg-type]


def test_a_debugger_is_awaited_on_loopback_only(tmp_path: Path) -> None:
    ports = []
    with pytest.raises(BootError):
        Guest.boot(
            machine(tmp_path, gdb_port=0),
            tmp_path,
            deadline_s=20.0,
            on_start=lambda guest: ports.append(guest.gdb_port),
        )
    words, where = json.loads((tmp_path / "seen").read_text())
    assert where == ["127.0.0.1", *ports]
    assert ("-gdb", "chardev:gdb") in list(itertools.pairwise(words))
    assert "-S" in words


def test_a_guest_without_a_debugger_has_none(tmp_path: Path) -> None:
    with pytest.raises(BootError):
        Guest.boot(machine(tmp_path), tmp_path, deadline_s=20.0)
    words, where = json.loads((tmp_path / "seen").read_text())
    assert (where, {"-S", "-gdb", "-s"} & set(words)) == (None, set())


def test_the_kernel_stays_where_its_symbols_say(tmp_path: Path) -> None:
    assert "nokaslr" in kernel_command_line(machine(tmp_path, gdb_port=0)).split()


def test_no_guest_of_a_debugger_is_saved_or_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to look one up in."""
    booted: list[MachineConfig] = []
    monkeypatch.setattr(Guest, "boot", lambda config, *_, **__: booted.append(config))
    config = machine(tmp_path, gdb_port=0, payload=tmp_path)
    snapshots = Snapshots(None, None)  # type: ignore[arg-type]
    snapshots.start(config, tmp_path, Beginning(None, lambda _: {}), deadline_s=1.0)
    assert booted == [config]


@pytest.mark.parametrize("place", ["linux", "linux/arch/x86/boot"])
def test_the_symbols_are_those_of_the_build_tree(tmp_path: Path, place: str) -> None:
    guest = Guest.__new__(Guest)
    guest.config, guest.gdb_port = machine(tmp_path, gdb_port=0), 1234
    assert how_to_attach(guest).startswith("gdb -ex 'target remote 127.0.0.1:1234', then continue (nokaslr is set")
    (tmp_path / place / "vmlinux").touch()
    assert how_to_attach(guest).startswith(f"gdb {tmp_path / place / 'vmlinux'} -ex 'target remote")
