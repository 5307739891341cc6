"""Running apt: with a configuration of our own, watched, and never outliving us."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vm.errors import CacheError, FetchError
from vm.progress import Stage

# A command that shows no sign of life for so long is given up.
SILENCE_MAX_S = 120.0
_POLL_S = 0.2
_DOWNLOADED = ("Release", ".xz", ".gz", ".bz2", ".zst")


@dataclass(frozen=True, slots=True)
class Output:
    """What a command left."""

    status: int
    raw: bytes

    @property
    def text(self) -> str:
        """Everything it wrote, to whichever stream, as text that cannot fail to decode."""
        return self.raw.decode(errors="replace")


def run(
    command: Sequence[str], temporary: Path, *, cwd: Path | None = None, look: Callable[[], bool] | None = None
) -> Output:
    """Run apt to its end.

    Args:
        command: the program and its arguments.
        temporary: a directory for its temporary files, which it leaves behind when it is ended in the middle.
        cwd: where a download puts its files.
        look: called a few times a second; returns whether something moved. Without it only output is a sign of life.
    """
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive", "TMPDIR": str(temporary)}
    return _watched(command, cwd, environment, look)


def _watched(
    command: Sequence[str], cwd: Path | None, environment: Mapping[str, str], look: Callable[[], bool] | None
) -> Output:
    output = bytearray()
    process = subprocess.Popen(
        [*tied_to_us("KILL"), *command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    if process.stdout is None:
        raise FetchError("no pipe from apt")
    try:
        life_s = time.monotonic()
        while True:
            ready, _, _ = select.select([process.stdout], [], [], _POLL_S)
            if ready:
                chunk = os.read(process.stdout.fileno(), 65536)
                if not chunk:
                    break
                output += chunk
                # One failed connection after another is no life: a dead network would keep us for minutes per suite.
                if not any(word in chunk for word in (b"Err:", b"Ign:")):
                    life_s = time.monotonic()
            if look is not None and look():
                life_s = time.monotonic()
            if time.monotonic() - life_s > SILENCE_MAX_S:
                raise FetchError(
                    f"apt made no progress for {SILENCE_MAX_S:.0f} s and was ended; the network may be down. "
                    f"It last said: {last_lines(output.decode(errors='replace'))}"
                )
        return Output(process.wait(), bytes(output))
    finally:
        if process.poll() is None:
            # The whole session: apt's download methods are processes of their own.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()


def tied_to_us(signal_name: str) -> list[str]:
    """What to put before a command so that it ends when we are killed; nothing where util-linux is not installed.

    Args:
        signal_name: what it then gets, without the `SIG`.
    """
    program = shutil.which("setpriv")
    return [program, "--pdeathsig", signal_name] if program else []


def watch(directory: Path, stage: Stage) -> Callable[[], bool]:
    """Follow how much arrives in a directory where files come and go."""
    sizes: dict[str, int] = {}

    def look() -> bool:
        moved = False
        # What is still compressed has just come; the rest is apt's own unpacking.
        for path in (path for path in (directory / "partial").glob("*") if path.name.endswith(_DOWNLOADED)):
            size_bytes, known_bytes = file_size(path), sizes.get(path.name, 0)
            if size_bytes > known_bytes:
                stage.advance(size_bytes - known_bytes)
                sizes[path.name] = size_bytes
                moved = True
        return moved

    return look


def configuration(root: Path, view: Path, arch: str) -> str:
    """Compose apt.conf. The machine's own is read before it: its proxies and certificates stay in force."""
    for path in (root, view):
        if '"' in str(path) or "\n" in str(path):
            raise CacheError(f"{path} cannot be used by apt because of the quote in it; choose another --cache")
    cleared = (
        "APT::Architectures",
        "APT::Default-Release",
        "APT::Update::Pre-Invoke",
        "APT::Update::Post-Invoke",
        "APT::Update::Post-Invoke-Success",
        "DPkg::Pre-Invoke",
        "DPkg::Post-Invoke",
        "DPkg::Pre-Install-Pkgs",
    )
    options = {
        "Dir::State": root / "state",
        "Dir::State::Lists": root / "lists",
        "Dir::State::Status": root / "status",
        "Dir::Cache": root,
        "Dir::Cache::Archives": root / "archives",
        # A tenth of a gigabyte each, to save a second once a day.
        "Dir::Cache::PkgCache": "",
        "Dir::Cache::SrcPkgCache": "",
        "Dir::Etc::SourceList": "/dev/null",
        "Dir::Etc::SourceParts": view / "sources.d",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "APT::Architecture": arch,
        "APT::Architectures::": arch,
        "APT::Install-Recommends": "false",
        "APT::Install-Suggests": "false",
        # As root, apt would download as a user that cannot enter our cache.
        **({"APT::Sandbox::User": "root"} if os.getuid() == 0 else {}),
        "APT::Get::AllowUnauthenticated": "false",
        "APT::Get::List-Cleanup": "false",
        "Acquire::AllowInsecureRepositories": "false",
        "Acquire::AllowWeakRepositories": "false",
        "Acquire::AllowDowngradeToInsecureRepositories": "false",
        "Acquire::GzipIndexes": "true",
        "Acquire::Languages": "none",
        "Acquire::PDiffs": "false",
        "Acquire::Retries": "2",
        "Acquire::http::Timeout": "30",
        "Acquire::https::Timeout": "30",
    }
    lines = [f"#clear {name};" for name in cleared]
    lines += [f'{name} "{value}";' for name, value in options.items()]
    return "\n".join(lines) + "\n"


def file_size(path: Path) -> int:
    """How many bytes a file has; none when it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def last_lines(text: str, count: int = 4) -> str:
    """Pick out of apt's words what a person should read: its errors, or what it said last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E:")]
    return " / ".join((errors or lines)[-count:]) or "it said nothing"
