"""The oracle: Zig's own IoUring tests, compiled from the toolchain that pip installs, and its verdicts as data.

The port has to say on every kernel what Zig's own test binary says there, test by test. This module makes that binary
and reads its output; who runs it (here on the host, elsewhere in a guest) is the caller's choice.

    pip install ziglang==0.15.1
    python tests/oracle/build.py build zig-iouring-tests         (about 7 s, 14 MB, static)
    python tests/oracle/build.py run zig-iouring-tests           (a line per test)

What the binary asks of the place it runs in:

- Linux on the target's processor, and nothing installed; `/dev/zero`, `/dev/null`, `/proc`, and 127.0.0.1 up;
- a working directory it may write: `std.testing.tmpDir` makes `.zig-cache/tmp/<random>` there, and the splice test
  leaves its directory behind. The file system must support what the tests use (tmpfs and ext4 do);
- stderr that is a pipe or a file: on a terminal Zig draws a progress display instead of one line per test;
- no arguments: only `--listen=-` switches to the binary protocol that `zig build` speaks. stdout stays empty.

The exit code is 0 when nothing failed (skips included) and 1 after a failure or a leak. A test that panics ends the
process by a signal and the tests after it have not run: `parse` refuses such output instead of calling it a short run.

Zig names a test `<root file>.test.<title>`, the doctest `<root file>.decltest.BufferGroup`; `parse` gives bare titles.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

Verdict = Literal["pass", "skip", "fail"]

#: The release the port was made from; its IoUring.zig is the seed's text with line breaks.
ZIG_VERSION = "0.15.1"
#: Zig's target triple for each Debian architecture; musl makes it static, and a named target means the baseline CPU.
TARGETS = {"amd64": "x86_64-linux-musl", "arm64": "aarch64-linux-musl", "riscv64": "riscv64-linux-musl"}
#: A build takes seconds; a run a fifth of one, and perhaps a hundred times that in an emulated guest.
BUILD_TIMEOUT_S = 600.0
RUN_TIMEOUT_S = 120.0
#: What was measured: kernel series -> title -> verdict.
EXPECTED = Path(__file__).with_name("expected.json")

_STARTED = re.compile(r"^(?P<number>\d+)/(?P<count>\d+) [^. ]+\.(?:test|decltest)\.(?P<title>.+?)\.\.\.", re.MULTILINE)
_ENDED = re.compile(r"^(?P<word>OK|SKIP|FAIL \(\w+\))$", re.MULTILINE)
_SUMMARY = re.compile(
    r"^(?:All (?P<all>\d+) tests passed\.|(?P<pass>\d+) passed; (?P<skip>\d+) skipped; (?P<fail>\d+) failed\.)$",
    re.MULTILINE,
)
_VERDICTS: dict[str, Verdict] = {"OK": "pass", "SKIP": "skip", "FAIL": "fail"}


class OracleError(Exception):
    """The oracle could not be built, or its output is not a whole run."""


def build(output: Path, *, python: str = sys.executable, target: str = TARGETS["amd64"]) -> Path:
    """Compile Zig's IoUring tests into a static binary.

    Args:
        output: where the binary goes.
        python: an interpreter that has the `ziglang` package.
        target: Zig's target triple; see `TARGETS`.

    Returns:
        The binary's absolute path.

    Raises:
        OracleError: there is no Zig of the right version, or it does not compile.
    """
    version = _output_of([python, "-m", "ziglang", "version"]).strip()
    if version != ZIG_VERSION:
        raise OracleError(
            f"the port follows Zig {ZIG_VERSION}, {python} has {version}: pip install ziglang=={ZIG_VERSION}"
        )
    package = _output_of([python, "-c", "import os, ziglang; print(os.path.dirname(ziglang.__file__))"]).strip()
    # A copy, because inside the library's own tree the file belongs to the module std and cannot be a root of its own.
    source = Path(package, "lib/std/os/linux/IoUring.zig").read_bytes()
    output = output.absolute()
    with tempfile.TemporaryDirectory(prefix="zig-oracle-") as work:
        Path(work, "IoUring.zig").write_bytes(source)
        binary = Path(work, "tests")
        caches = ["--cache-dir", f"{work}/cache", "--global-cache-dir", f"{work}/global-cache"]
        options = ["-target", target, "--test-no-exec", f"-femit-bin={binary}", *caches]
        _output_of([python, "-m", "ziglang", "test", "IoUring.zig", *options], cwd=work)
        # Written whole or not at all: a reader never sees half a binary.
        partial = output.with_name(output.name + ".partial")
        partial.write_bytes(binary.read_bytes())
    partial.chmod(0o755)
    return partial.rename(output)


def run_command(binary: str | Path) -> list[str]:
    """The command line that runs every test once; see the module's text for the working directory and the streams."""
    return [str(binary)]


def parse(output: bytes) -> dict[str, Verdict]:
    """Read what the binary wrote to stderr.

    Returns:
        Test titles, in the order Zig ran them, with Zig's verdicts.

    Raises:
        OracleError: the run did not reach its end, or contradicts itself.
    """
    text = output.decode("utf-8", errors="replace").replace("\r\n", "\n")
    started = list(_STARTED.finditer(text))
    summary = _SUMMARY.search(text, started[-1].end() if started else 0)
    if not started or not summary:
        last = f"the last test to start was {started[-1]['title']!r}" if started else "no test started"
        raise OracleError(f"Zig's run has no summary line: {last}. Its output ends with: {text[-400:]!r}")
    verdicts: dict[str, Verdict] = {}
    ends = [match.start() for match in started[1:]] + [summary.start()]
    for match, end in zip(started, ends, strict=True):
        # A failing test writes its own lines between the title and the word, and a stack trace after it.
        ended = _ENDED.search(text[match.end() : end])
        if not ended:
            raise OracleError(f"no verdict for {match['title']!r} in {text[match.start() : end]!r}")
        verdicts[match["title"]] = _VERDICTS[ended["word"].split()[0]]
    expected_count = int(started[0]["count"])
    if len(verdicts) != expected_count:
        raise OracleError(f"Zig announced {expected_count} tests and reported {len(verdicts)}")
    tally = {word: list(verdicts.values()).count(word) for word in _VERDICTS.values()}
    claimed = {word: int(summary[word] or 0) for word in tally}
    if summary["all"]:
        claimed["pass"] = int(summary["all"])
    if claimed != tally:
        raise OracleError(f"Zig's summary says {claimed}, its lines say {tally}")
    return verdicts


def run(binary: Path) -> dict[str, Verdict]:
    """Run the binary on this machine's kernel, in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="zig-oracle-") as work:
        done = subprocess.run(
            run_command(binary.absolute()),
            cwd=work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=RUN_TIMEOUT_S,
            check=False,
        )
    verdicts = parse(done.stderr)
    if done.returncode != 0 and "fail" not in verdicts.values():
        raise OracleError(f"every test ended well, yet the exit code is {done.returncode}: {done.stderr[-400:]!r}")
    return verdicts


def expected(series: str) -> dict[str, Verdict]:
    """The verdicts measured on a kernel series; KeyError if it was not measured."""
    kernels: dict[str, dict[str, Verdict]] = json.loads(EXPECTED.read_text(encoding="utf-8"))["kernels"]
    return kernels[series]


def _output_of(command: list[str], *, cwd: str | None = None) -> str:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=True)
    except OSError as error:
        raise OracleError(f"could not start {command[0]}: {error}") from error
    except subprocess.CalledProcessError as error:
        raise OracleError(f"{' '.join(command)} ended with {error.returncode}:\n{error.stderr.strip()}") from error
    return done.stdout


def main(arguments: list[str] | None = None) -> int:
    """Build or run the oracle from the command line."""
    parser = argparse.ArgumentParser(description="Zig's own IoUring tests as an oracle for the port.")
    commands = parser.add_subparsers(dest="command", required=True)
    builder = commands.add_parser("build", help="compile the test binary")
    builder.add_argument("output", type=Path)
    builder.add_argument("--arch", choices=sorted(TARGETS), default="amd64")
    builder.add_argument("--python", default=sys.executable, help=f"an interpreter with ziglang=={ZIG_VERSION}")
    runner = commands.add_parser("run", help="run it on this kernel")
    runner.add_argument("binary", type=Path)
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "build":
            print(build(chosen.output, python=chosen.python, target=TARGETS[chosen.arch]))
            return 0
        verdicts = run(chosen.binary)
    except (OracleError, OSError) as error:
        print(f"oracle: {error}", file=sys.stderr)
        return 1
    for title, verdict in verdicts.items():
        print(f"{verdict}\t{title}")
    return 1 if "fail" in verdicts.values() else 0


if __name__ == "__main__":
    sys.exit(main())
