"""The command line itself: how quick it is, what it promises by name, and how it ends."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from own_archive import FakeArchive

from reports.results import ResultsError
from uring_matrix import output
from uring_matrix.cli import cli as group
from uring_matrix.cli import execute
from vm.errors import CacheError, FetchError, SettingsError, SpecError
from vm.lock import Pin, render_lock

from .conftest import ROOT, Ended

Call = Callable[..., Ended]

# INTERFACE.md, by heart: command to the options it promises.
PROMISED = {
    "run": [
        "--kernel",
        "--arch",
        "--mode",
        "--out",
        "-n",
        "--accel",
        "--resume",
        "--no-report",
        "--no-snapshots",
        "--lock",
        "--repeat",
        "--isolate",
        "--allow-flaky",
        "--guest-package",
        "--guest-env",
        "-k",
        "--test-timeout",
        "--baseline",
        "--bisect",
        "--until-failure",
        "--cpus",
        "--memory",
        "--append",
        "--gdb",
        "--fail-on",
        "--known-issues",
    ],
    "can": ["--on", "--json"],
    "tests": ["-k", "--json"],
    "show": [],
    "kernels list": ["--json"],
    "kernels fetch": [],
    "kernels lock": ["-o"],
    "kernels prune": [],
    "report": ["--out", "--exit-code", "--baseline", "--fail-on", "--known-issues"],
    "history": ["--out"],
    "diff": ["--json", "--markdown", "--html", "--fail-on"],
    "findings": ["--out"],
    "probe": ["--kernel", "--json", "--cpus", "--memory", "--append"],
    "doctor": ["--kernel", "--json"],
    "shell": ["--kernel", "--cpus", "--memory", "--append"],
}
# What costs more to load than a short command may take.
HEAVY = {"jinja2", "rich", "pytest", "_pytest", "vm.apt", "debian", "conformance", "msgspec", "uring", "asyncio"}
CPU_MAX_S = 0.3


def commands(of: click.Group = group, prefix: str = "") -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name, command in of.commands.items():
        if isinstance(command, click.Group):
            found |= commands(command, f"{prefix}{name} ")
        else:
            found[prefix + name] = command
    return found


def test_the_commands_are_those_of_the_promise() -> None:
    assert list(commands()) == list(PROMISED)


@pytest.mark.parametrize(("name", "options"), PROMISED.items(), ids=list(PROMISED))
def test_every_promised_option_is_there(name: str, options: list[str]) -> None:
    known = {option for parameter in commands()[name].params for option in parameter.opts}
    assert set(options) - known == set()


@pytest.mark.parametrize("name", [*PROMISED, "kernels", ""])
def test_every_command_explains_itself(cli: Call, name: str) -> None:
    ended = cli(*name.split(), "--help")
    assert ended.code == 0
    assert ended.out.startswith("Usage: uring-matrix")
    assert max(map(len, ended.out.splitlines())) <= 110
    # Every option says what it does.
    assert not re.findall(r"^  --?[a-z-]+( [A-Z]+)?\s*$\n(?!\s{6,})", ended.out, re.MULTILINE)


def loaded_by(*arguments: str) -> set[str]:
    """Run a command in a process of its own. Returns the modules it loaded."""
    code = (
        "import sys\nfrom uring_matrix.cli import execute\ncode = execute(sys.argv[1:])\n"
        "print('MODULES', *sys.modules, file=sys.stderr)\nsys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.rpartition("MODULES")[2].split())


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("run", "--help"), ("kernels", "list", "--help")])
def test_help_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    loaded = loaded_by(*arguments)
    assert "uring_matrix.cli" in loaded
    assert loaded & HEAVY == set()


def test_the_list_of_kernels_loads_neither_the_ring_nor_the_report(cli: Call, archive: FakeArchive) -> None:
    assert cli("kernels", "list").code == 0  # now it is in the cache
    assert loaded_by("kernels", "list") & {"jinja2", "rich", "pytest", "conformance", "msgspec", "uring"} == set()


def cpu_seconds(*arguments: str) -> float:
    """Measure what a command costs; of a few, the cheapest, because this machine may be busy with other things."""
    best = float("inf")
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "uring_matrix", *arguments], cwd=ROOT, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best


def test_short_commands_are_quick(cli: Call, archive: FakeArchive) -> None:
    assert cli("kernels", "list").code == 0
    assert cpu_seconds("--help") < CPU_MAX_S
    assert cpu_seconds("kernels", "list") < CPU_MAX_S


def test_the_version_is_the_distributions(command: Call) -> None:
    ended = command("--version")
    assert re.fullmatch(r"uring-matrix \d+\.\d+\.\d+\S*\n", ended.out), ended.err


# -- how it ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["kernelz"], "Did you mean 'kernels'"),
        (["diff", "a", "b", "c"], "unexpected extra argument (c)"),
        (["run", "--kernel"], "requires an argument"),
        (["run", "--accel", "xen"], "'xen' is not one of"),
        (["run", "--mode", "turbo"], "coop-taskrun"),
        (["run", "-n", "many"], "neither a number nor auto"),
        (["run", "--lock", "absent.lock"], "absent.lock cannot be read"),
        (["report", "x"], "--out"),
        (["report", "--out", "x"], "RESULTS"),
        (["diff", "a"], "NEW"),
        (["kernels", "fetch"], "SPEC"),
        (["--mirror", "nonsense", "doctor"], "--mirror is 'nonsense'"),
        (["doctor", "--cache", " "], "--cache"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(cli: Call, arguments: list[str], words: str) -> None:
    ended = cli(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err
    assert "Traceback" not in ended.err


def test_no_command_at_all_shows_the_help(cli: Call) -> None:
    ended = cli()
    assert ended.code == 2
    assert "Commands:" in ended.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SpecError("no such kernel"), 2),
        (SettingsError("no such setting"), 2),
        (ResultsError("no such file"), 2),
        (FetchError("no network"), 3),
        (CacheError("no room"), 3),
        (OSError(28, "No space left on device", "/x"), 3),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (RuntimeError("never thought of"), 3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_has_its_exit_code(
    cli: Call, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def fail(**_: object) -> int:
        raise error

    replace_module(monkeypatch, "doctor", doctor=fail)
    ended = cli("doctor")
    assert (ended.code, ended.out) == (code, "")
    assert "uring-matrix: " in ended.err
    assert ("Traceback" in ended.err) == (type(error) is RuntimeError)


def test_a_full_disk_is_no_usage_error() -> None:
    error = ResultsError("could not be written")
    error.__cause__ = OSError(28, "No space left on device")
    assert output.explain(error) == ("could not be written", 3)


def replace_module(monkeypatch: pytest.MonkeyPatch, name: str, **functions: Callable[..., Any]) -> None:
    """Put a command's module out of the way."""
    module = types.ModuleType(f"uring_matrix.{name}")
    for function, value in functions.items():
        setattr(module, function, value)
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.parametrize("code", [0, 1, 3, 130])
def test_a_commands_exit_code_is_passed_on(cli: Call, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    replace_module(monkeypatch, "doctor", doctor=lambda **_: code)
    assert cli("doctor").code == code


def test_whoever_stops_reading_gets_no_traceback(archive: FakeArchive, cli: Call) -> None:
    assert cli("kernels", "list").code == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "uring_matrix", "kernels", "list"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read().decode()
    process.stderr.close()
    assert (process.wait(60), said) == (141, "")


def test_ctrl_c_ends_a_download_with_130_and_leaves_no_process(archive: FakeArchive, cli: Call, tmp_path: Path) -> None:
    """The archive stops in the middle of a package; then the user has had enough."""
    assert cli("kernels", "list").code == 0
    pool = next(iter(archive.root.glob("pool/linux-image-6.1.*"))).relative_to(archive.root).as_posix()
    archive.stalled[pool] = 100
    process = subprocess.Popen(
        [sys.executable, "-m", "uring_matrix", "kernels", "fetch", "6.1"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while pool not in archive.requests:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.rstrip().endswith("uring-matrix: interrupted")
    assert [path.read_text() for path in processes_with(str(tmp_path))] == []
    assert list((tmp_path / "cache").glob("temporary/*")) == []


def processes_with(text: str) -> list[Path]:
    """Find processes whose command has that text in it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in path.read_bytes():
                found.append(path)
        except OSError:
            continue
    return found


# -- what is passed on ------------------------------------------------------------------------------------------------


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """What the commands' modules were called with."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def take(*arguments: Any, **options: Any) -> int:
        calls.append((arguments, options))
        return 0

    for name in ("run", "probe", "shell", "doctor"):
        replace_module(monkeypatch, name, **{name: take})
    return calls


def test_run_without_options(cli: Call, called: list[Any]) -> None:
    assert cli("run").code == 0
    assert called == [
        (
            (),
            {
                "kernels": (),
                "archs": (),
                "modes": (),
                "out": Path("matrix"),
                "workers": "auto",
                "accel": None,
                "resume": False,
                "report": True,
                "snapshots": True,
                "lock": None,
                "expression": None,
                "test_timeout_s": None,
                "baseline": None,
                "bisect": False,
                "until_failure": False,
                "cpus": None,
                "memory_mib": None,
                "parameters": (),
                "gdb_port": None,
                "fail_on": ("regression", "flaky", "lost", "unknown", "missing"),
                "repeat": 1,
                "isolate": False,
                "allow_flaky": False,
                "as_json": False,
                "guest_packages": (),
                "guest_env": (),
                "known_issues": (),
                "pytest_args": (),
            },
        )
    ]


def test_run_with_every_option(cli: Call, called: list[Any]) -> None:
    options = "--kernel 6.1 --kernel 6.* --arch arm64 --mode default --mode coop-taskrun --out o -n 3 --accel tcg"
    flags = "--resume --no-report --no-snapshots --lock kernels.lock --repeat 5 --isolate --allow-flaky --json"
    guests = "--guest-package hypothesis --guest-package numpy --guest-env LANG --guest-env LEVEL=2"
    pin = Pin("6.1", "6.1", "amd64", "6.1.0", "0" * 64, package="linux-image-6.1", package_version="1-1")
    Path("kernels.lock").write_text(render_lock([pin]))
    gate = "-k nop --test-timeout 9 --baseline base.json --bisect --until-failure --fail-on lost,missing"
    gate += " --known-issues known.toml"
    Path("known.toml").touch()
    shape = "--cpus 2 --memory 512 --append quiet --append slub_debug --gdb=1234"
    Path("base.json").touch()
    words = [*options.split(), *flags.split(), *guests.split(), *gate.split(), *shape.split()]
    assert cli("run", *words, "--", "-m", "accept", "--", "-x").code == 0
    assert called == [
        (
            (),
            {
                "kernels": ("6.1", "6.*"),
                "archs": ("arm64",),
                "modes": ("default", "coop-taskrun"),
                "out": Path("o"),
                "workers": "3",
                "accel": "tcg",
                "resume": True,
                "report": False,
                "snapshots": False,
                "lock": Path("kernels.lock"),
                "expression": "nop",
                "test_timeout_s": 9.0,
                "baseline": "base.json",
                "bisect": True,
                "until_failure": True,
                "cpus": 2,
                "memory_mib": 512,
                "parameters": ("quiet", "slub_debug"),
                "gdb_port": 1234,
                "fail_on": ("lost", "missing"),
                "repeat": 5,
                "isolate": True,
                "allow_flaky": True,
                "as_json": True,
                "guest_packages": ("hypothesis", "numpy"),
                "guest_env": ("LANG", "LEVEL=2"),
                "known_issues": (Path("known.toml"),),
                "pytest_args": ("-m", "accept", "--", "-x"),
            },
        )
    ]


def test_probe_and_shell(cli: Call, called: list[Any]) -> None:
    assert cli("probe", "--kernel", "6.1", "--json").code == 0
    assert cli("shell", "latest", "--accel", "kvm").code == 0
    plain = {"cpus": None, "memory_mib": None, "parameters": ()}
    assert called == [
        ((("6.1",),), {"as_json": True, "accel": None, **plain}),
        (("latest",), {"accel": "kvm", **plain}),
    ]


@pytest.mark.parametrize("before", [True, False], ids=["before the command", "after it"])
def test_settings_reach_our_children_through_the_environment(
    cli: Call, called: list[Any], before: bool, tmp_path: Path
) -> None:
    settings = ["--cache", "elsewhere", "--mirror", "file:/srv/debian/", "--offline"]
    arguments = [*settings, "doctor"] if before else ["doctor", *settings]
    assert cli(*arguments).code == 0
    assert os.environ["URING_MATRIX_CACHE"] == str(tmp_path / "here" / "elsewhere")
    assert os.environ["URING_MATRIX_MIRROR"] == "file:/srv/debian"
    assert os.environ["URING_MATRIX_OFFLINE"] == "1"


def test_the_option_beats_the_environment(cli: Call, called: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("URING_MATRIX_MIRROR", "file:/other")
    assert cli("--mirror", "file:/mine", "doctor").code == 0
    assert os.environ["URING_MATRIX_MIRROR"] == "file:/mine"


# -- how it speaks ----------------------------------------------------------------------------------------------------


def test_a_table_lines_up_and_has_no_spaces_at_its_end() -> None:
    lines = output.table(("A", "B", "C"), [("x", "1", ""), (output.bold("long"), "22", "y")], right=("B",))
    assert [click.unstyle(line) for line in lines] == ["A      B  C", "x      1", "long  22  y"]


@pytest.mark.parametrize(
    ("environment", "wish"),
    [
        ({}, None),
        ({"NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ],
)
def test_colour_is_the_users_choice(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], wish: bool | None
) -> None:
    monkeypatch.delenv("TERM", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert output.use_color() is wish


def test_colours_are_for_terminals(cli: Call, monkeypatch: pytest.MonkeyPatch, archive: FakeArchive) -> None:
    assert "\x1b" not in cli("kernels", "list").out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" in cli("kernels", "list").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in cli("kernels", "list").out


def test_json_is_the_only_thing_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    output.say_json({"name": "ä", "list": [1, None]})
    assert json.loads(capsys.readouterr().out) == {"name": "ä", "list": [1, None]}


def test_execute_takes_the_arguments_of_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["uring-matrix", "--version"])
    assert execute() == 0
    assert capsys.readouterr().out.startswith("uring-matrix ")
