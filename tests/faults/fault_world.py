"""What the faults share: the program as a user starts it, in a home of its own, and everything it may leave behind."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import platformdirs
import psutil
import pytest

ROOT = Path(__file__).parents[2]
STAND_IN = Path(__file__).with_name("stand_in.py")
# Every process that a run starts inherits it.
MARK = "URING_MATRIX_FAULT_TEST"
# Generous: several test runs may share two processors.
PATIENCE_S = 300.0


def shared_cache() -> Path:
    """The cache that this machine's user has: what is in it need not be downloaded again."""
    return Path(os.environ.get("URING_MATRIX_CACHE") or platformdirs.user_cache_path("uring-matrix")).absolute()


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def said(self) -> str:
        """Everything it printed, in one line per paragraph."""
        return " ".join(f"{self.out}\n{self.err}".split())


@dataclass
class Running:
    """A run that goes on."""

    process: "subprocess.Popen[str]"
    mark: str
    started_s: float
    files: tuple[Path, Path]

    def processes(self) -> dict[int, str]:
        """Every process of this run that is alive: its number and its command."""
        found = marked(self.mark)
        # Some programs are given an environment of their own.
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    found.setdefault(child.pid, " ".join(child.cmdline()))
        return found

    def wait_until(self, condition: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
        """Wait for something to be so; a run that ends meanwhile, or takes too long, fails the test."""
        deadline_s = time.monotonic() + timeout_s
        while not (found := condition()):
            if self.process.poll() is not None:
                pytest.fail(f"the run ended too early: {self.end()}")
            if time.monotonic() > deadline_s:
                pytest.fail(f"not so within {timeout_s} s: {self.processes()} {self.files[1].read_text()}")
            time.sleep(0.02)
        return found

    def find(self, word: str) -> list[int]:
        """Processes of this run that have a word in their command."""
        return [pid for pid, command in self.processes().items() if word in command]

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to the main process, or to its group as a terminal does."""
        if group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def end(self, timeout_s: float = PATIENCE_S) -> Ended:
        """Wait for its end."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {timeout_s} s: {self.processes()} {self.files[1].read_text()}")
        out, err = (file.read_text(errors="replace") for file in self.files)
        return Ended(code, out, err, time.monotonic() - self.started_s)


def marked(mark: str) -> dict[int, str]:
    """Every living process that has this mark in its environment."""
    needle = f"{MARK}={mark}".encode()
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        # Processes come and go while we look; a zombie has no environment.
        with contextlib.suppress(OSError):
            if needle in (folder / "environ").read_bytes():
                found[int(folder.name)] = (
                    (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
    return found


@dataclass
class World:
    """A place where a user works: home, temporary folder and current directory are new, the cache is shared.

    Attributes:
        place: the current directory of what is run.
        temporary: TMPDIR of what is run.
        options: of `uring-matrix run`, before others.
        environment: more of it, or instead.
    """

    place: Path
    temporary: Path
    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    _running: list[Running] = field(default_factory=list)

    def start(self, *arguments: object, before: Sequence[str] = (), **environment: str) -> Running:
        """Start a program of this project's Python, `-m uring_matrix` for one.

        Args:
            arguments: of the interpreter.
            before: a command that starts it, such as `unshare -n`.
            environment: more of it.
        """
        mark = uuid.uuid4().hex
        base = {name: value for name, value in os.environ.items() if not name.startswith(("URING_MATRIX_", "PYTEST_"))}
        files = (self.home / f"{mark}.out", self.home / f"{mark}.err")
        with files[0].open("w") as out, files[1].open("w") as err:
            process = subprocess.Popen(
                [*before, sys.executable, *map(str, arguments)],
                cwd=self.place,
                env=base
                | {"HOME": str(self.home), "TMPDIR": str(self.temporary), MARK: mark, "PYTHONPATH": str(ROOT)}
                | {"URING_MATRIX_CACHE": str(shared_cache()), "COLUMNS": "200"}
                | self.environment
                | environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        running = Running(process, mark, time.monotonic(), files)
        self._running.append(running)
        return running

    def start_matrix(self, *arguments: object, before: Sequence[str] = (), **environment: str) -> Running:
        """Start `uring-matrix` with these arguments."""
        options = self.options if arguments[0] == "run" else ()
        return self.start("-m", "uring_matrix", arguments[0], *options, *arguments[1:], before=before, **environment)

    def matrix(self, *arguments: object, before: Sequence[str] = (), **environment: str) -> Ended:
        """Run `uring-matrix` to its end."""
        return self.start_matrix(*arguments, before=before, **environment).end()

    def results(self, out: str = "m") -> dict[str, Any]:
        """The results that a run left."""
        found: dict[str, Any] = msgspec.json.decode((self.place / out / "results.json").read_bytes())
        return found

    def statuses(self, out: str = "m") -> list[str]:
        """The verdict of every cell."""
        return [row["status"] for row in self.results(out)["results"]]

    def verdicts(self, out: str = "m") -> dict[tuple[str, str, str], str]:
        """The verdict of every cell by kernel, mode and test."""
        return {(r["kernel"], r["mode"], r["test"]): r["status"] for r in self.results(out)["results"]}

    def leftovers(self) -> list[str]:
        """What the runs so far left: living processes, and files in the temporary folder."""
        deadline_s = time.monotonic() + 20
        while time.monotonic() < deadline_s and any(run.processes() for run in self._running):
            # What was killed by the death of its parent needs a moment.
            time.sleep(0.05)
        processes = [f"{pid} {command}" for run in self._running for pid, command in run.processes().items()]
        return processes + sorted(str(path.relative_to(self.temporary)) for path in self.temporary.rglob("*"))

    def close(self) -> None:
        """End what a failed test left running."""
        for run in self._running:
            for pid in run.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            run.process.wait()


def needs_mounts(how: str = "-rm") -> Sequence[str]:
    """The command that gives a process file systems of its own."""
    if (program := shutil.which("unshare")) is None:
        pytest.skip("a file system of one's own needs the program unshare")
    probe = subprocess.run([program, how, "true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"this machine allows none of one's own: {probe.stderr.strip()}")
    return [program, how]


def with_mount(command: str, place: Path) -> Sequence[str]:
    """What comes before a program that is to see a mount of its own at a place."""
    return [*needs_mounts(), "sh", "-ec", f'place="$1"; shift; {command}; exec "$@"', "sh", str(place)]


def no_network() -> Sequence[str]:
    """What comes before a program that is to have no network at all, not even to itself."""
    return needs_mounts("-rn")


def as_mortal() -> Sequence[str]:
    """What comes before a program that is to heed file permissions even if we are root."""
    if os.getuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root may read and write everything, and only setpriv takes that away")
    return ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
