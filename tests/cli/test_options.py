"""Every option of every command has its effect, or is refused: a table of effects, held against the commands.

What `run` hands on to pytest has its effect there, which `tests/harness/test_options.py` holds.
"""

import io
import json
import os
import sys
import types
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import click
import pytest
from msgspec.structs import replace
from own_archive import FakeArchive, add_what_guests_need
from sample import DEFAULT, DEFER_TASKRUN, whole, with_cell

from reports.results import Status, read, write
from uring_matrix import guests as guests_module
from uring_matrix import run as run_module
from uring_matrix.cli import cli as group
from vm.architectures import AMD64
from vm.errors import BootError
from vm.kernel import KernelRef
from vm.lock import Pin, render_lock
from vm.machine import Emulator, Guest, MachineConfig
from vm.settings import Settings

from .conftest import Ended
from .test_cli import commands

Call = Callable[..., Ended]
SETTINGS = {"--offline": ("offline", True), "--mirror": ("mirror", "file:/srv/debian"), "--cache": ("cache", "/x")}


def options_of(command: click.Command) -> list[str]:
    return [parameter.opts[-1] for parameter in command.params if isinstance(parameter, click.Option)]


OFFERED = [(name, option) for name, command in commands().items() for option in options_of(command)]


class World:
    """What a check works with."""

    def __init__(self, cli: Call, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
        self.cli = cli
        self._monkeypatch = monkeypatch
        self._request = request

    def archive(self) -> FakeArchive:
        """An archive with two series, for the rest of the test."""
        archive: FakeArchive = self._request.getfixturevalue("archive")
        return archive

    def handed_to_pytest(self, *arguments: str) -> list[str]:
        """What pytest is started with."""
        words: list[str] = []

        def main(given: list[str], plugins: Any) -> int:
            words.extend(given)
            return pytest.ExitCode.USAGE_ERROR

        self._monkeypatch.setattr(run_module.pytest, "main", main)
        assert self.cli("run", *arguments).code == 2
        return words

    def replace(self, module: str, function: str) -> list[dict[str, Any]]:
        """Put a command's module out of the way. What it is called with comes into the list."""
        calls: list[dict[str, Any]] = []
        stand_in = types.ModuleType(f"uring_matrix.{module}")
        setattr(stand_in, function, lambda *_, **options: calls.append(options) or 0)
        self._monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
        return calls

    def machine_of(self, command: str, *arguments: str) -> MachineConfig:
        """The machine that a command would boot kernel 6.1 in; nothing is fetched for it."""
        booted: list[MachineConfig] = []

        def boot(config: MachineConfig, *_: object, **__: object) -> NoReturn:
            booted.append(config)
            raise BootError("that is enough")

        self._monkeypatch.setattr(guests_module, "setup_for", lambda _: BareSetup())
        self._monkeypatch.setattr(Guest, "boot", boot)
        self._monkeypatch.setattr(guests_module.image, "payload", lambda *_, **__: Path("payload"))
        self._monkeypatch.setattr(guests_module.image, "join", lambda *_: Path("initrd"))
        self._monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"pass")))
        ended = self.cli(command, "6.1", *arguments)
        assert (ended.code, "that is enough" in ended.err) == (3, True), ended
        return booted[0]


class BareSetup:
    """What guests of 256 MiB need, and nothing of it is there."""

    cache = None
    kernels = types.SimpleNamespace(
        resolve=lambda specs: [
            KernelRef(spec, spec, "amd64", "host" if spec == "host" else "debian") for spec in specs
        ],
        fetch=lambda _: types.SimpleNamespace(image=Path("vmlinuz")),
    )

    def runtime(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(initramfs=Path("initrd"))

    def qemu(self) -> None:
        return None

    def accel(self, *_: object) -> types.SimpleNamespace:
        return types.SimpleNamespace(name="kvm")  # for which no kernel is unpacked

    def machine(self, *_: object) -> MachineConfig:
        return MachineConfig(AMD64, Emulator(("qemu",)), Path("vmlinuz"), Path("initrd"))


@pytest.fixture
def world(cli: Call, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> World:
    return World(cli, monkeypatch, request)


Check = Callable[[World], None]


def hands_on(arguments: str, *words: str) -> Check:
    """pytest is told, and without the option it is not."""

    def check(world: World) -> None:
        Path("kernels.lock").write_text(
            render_lock([Pin("6.1", "6.1", "amd64", "6.1.0", "0" * 64, package="l-6.1", package_version="1")])
        )
        assert not set(words) & set(world.handed_to_pytest())
        assert set(words) <= set(world.handed_to_pytest(*arguments.split()))

    return check


def runs(*options: str) -> Callable[[World], Ended]:
    return lambda world: world.cli("run", "--kernel", "host", "-n", "0", *options, "--", "-k", "test_nop")


def writes_elsewhere(world: World) -> None:
    assert runs("--out", "elsewhere")(world).code == 0
    assert Path("elsewhere/results.json").exists()
    assert not Path("matrix").exists()
    Path("inner").mkdir()
    assert runs("--out", "inner/../beside")(world).code == 0
    assert Path("beside/results.json").exists()


def writes_no_site(world: World) -> None:
    assert runs("--no-report")(world).code == 0
    assert not Path("matrix/index.html").exists()
    assert runs()(world).code == 0
    assert Path("matrix/index.html").exists()


def summarizes(world: World) -> None:
    assert json.loads(runs("--json")(world).out)["exit_code"] == 0


def lists_json(world: World) -> None:
    world.archive()
    assert [one["id"] for one in json.loads(world.cli("kernels", "list", "--json").out)["kernels"]] == ["6.1", "6.12"]


def lists_anew(world: World) -> None:
    archive = world.archive()
    assert world.cli("kernels", "list").code == 0
    asked = len(archive.requests)
    assert world.cli("kernels", "list", "--update").code == 0
    assert len(archive.requests) > asked
    asked = len(archive.requests)
    ended = world.cli("kernels", "list", "--update", "--offline")
    assert (ended.code, "offline it is not to be asked" in ended.err) == (2, True), ended
    assert len(archive.requests) == asked


def is_of_the_architecture(command: str) -> Check:
    """That archive has kernels of this machine's architecture only."""

    def check(world: World) -> None:
        add_what_guests_need(world.archive())
        assert world.cli(*command.split()).code == 0
        ended = world.cli(*command.split(), "--arch", "arm64")
        assert (ended.code, "has none of the suites" in ended.err) == (3, True), ended

    return check


def prunes_an_architecture(world: World) -> None:
    is_of_the_architecture("kernels prune")(world)
    ended = world.cli("kernels", "prune", "--all", "--arch", "amd64")
    assert (ended.code, "--all removes what there is of every architecture" in ended.err) == (2, True)


def prunes_all(world: World) -> None:
    world.archive()
    world.cli("kernels", "fetch", "6.1")
    assert world.cli("kernels", "prune").out == "nothing to remove\n"
    assert "kernels/linux-image-6.1" in world.cli("kernels", "prune", "--all").out


def locks_into(world: World) -> None:
    world.archive()
    assert world.cli("kernels", "lock", "6.1", "-o", "mine.lock").code == 0
    assert "6.1" in Path("mine.lock").read_text()


def reports_into(world: World) -> None:
    write(Path("results.json"), whole())
    assert world.cli("report", "results.json", "--out", "site").code == 0
    assert Path("site/index.html").exists()


def judges(world: World) -> None:
    write(Path("results.json"), with_cell(whole(), "test_nop", "6.1", status=Status.FAIL))
    assert world.cli("report", "results.json", "--out", "site").code == 0
    assert world.cli("report", "results.json", "--out", "site", "--exit-code").code == 1


def reports_beside(world: World) -> None:
    write(Path("old.json"), with_cell(whole(), "test_nop", "6.1", status=Status.FAIL))
    write(Path("new.json"), with_cell(whole(), "test_nop", "6.12", status=Status.FAIL))
    assert world.cli("report", "old.json", "--out", "site", "--baseline", "old.json").code == 0
    assert world.cli("report", "new.json", "--out", "site", "--baseline", "old.json").code == 1


def lets_a_report_pass(world: World) -> None:
    results = whole()
    write(Path("old.json"), results)
    write(Path("new.json"), replace(results, results=results.results[1:]))
    words = ("report", "new.json", "--out", "site", "--baseline", "old.json")
    assert world.cli(*words).code == 3
    assert world.cli(*words, "--fail-on", "lost").code == 0


def reports_as(form: str, *further: str) -> Check:
    """A file in the form that was asked for, and no site that was not."""

    def check(world: World) -> None:
        write(Path("results.json"), whole())
        assert world.cli("report", "results.json", "--out", "site", "--format", form, *further).code == 0
        assert Path(f"site/{form}.xml" if form == "junit" else f"site/{form}.json").exists()
        assert not Path("site/index.html").exists()

    return check


def is_submitted_by(world: World) -> None:
    reports_as("kcidb", "--origin", "somebody")(world)
    submitted = json.loads(Path("site/kcidb.json").read_text())
    assert {one["origin"] for one in submitted["tests"]} == {"somebody"}


def keeps_a_history_in(world: World) -> None:
    write(Path("old.json"), whole())
    later = replace(whole(), started=whole().started + timedelta(days=1))
    write(Path("new.json"), replace(later, finished=later.started))
    assert world.cli("history", "old.json", "new.json", "--out", "runs").code == 0
    assert Path("runs/index.html").exists()


def write_two_modes() -> None:
    write(Path("matrix/results.json"), whole((DEFAULT, DEFER_TASKRUN)))


def is_asked_of(option: str, here: str, elsewhere: str) -> Check:
    """`can` says yes of what one value names, and not of what the other does."""

    def check(world: World) -> None:
        write_two_modes()
        kernel = () if option == "--on" else ("--on", "5.10")
        assert world.cli("can", "nop", *kernel, option, here).code == 0
        assert world.cli("can", "nop", *kernel, option, elsewhere).code in (2, 3)

    return check


def shows_of(option: str, here: str, elsewhere: str) -> Check:
    """`show` tells of the cells that the value names."""

    def check(world: World) -> None:
        write_two_modes()
        shown = world.cli("show", "5.10", "test_nop", option, here)
        assert (shown.code, shown.out.count("Repeat it")) == (0, 1 if option == "--mode" else 2), shown
        assert world.cli("show", "5.10", "test_nop", option, elsewhere).code == 2

    return check


def shows_the_console(world: World) -> None:
    write(Path("matrix/results.json"), whole())
    console = Path("matrix/consoles/6.1-amd64-1/console.txt")
    console.parent.mkdir(parents=True)
    console.write_text("an early line\n")
    assert "an early line" in world.cli("show", "6.1", "test_nop", "--console").out
    assert "an early line" not in world.cli("show", "6.1", "test_nop").out


def answers_in_json(*words: str) -> Check:
    def check(world: World) -> None:
        write(Path("matrix/results.json"), whole())
        json.loads(world.cli(*words, "--json").out)

    return check


def lists_some_tests(world: World) -> None:
    listed = world.cli("tests", "-k", "waitid").out
    assert "test_waitid" in listed
    assert "test_nop" not in listed


def compares_in_json(world: World) -> None:
    write(Path("results.json"), whole())
    json.loads(world.cli("diff", "results.json", "results.json", "--json").out)


def compares_as(form: str, words: str) -> Check:
    def check(world: World) -> None:
        write(Path("results.json"), whole())
        assert words in world.cli("diff", "results.json", "results.json", form).out
        assert words not in world.cli("diff", "results.json", "results.json").out

    return check


def lets_pass(world: World) -> None:
    write(Path("old.json"), whole())
    write(Path("new.json"), with_cell(whole(), "test_nop", "6.1", status=Status.INFRA))
    assert world.cli("diff", "old.json", "new.json").code == 3
    assert world.cli("diff", "old.json", "new.json", "--fail-on", "regression,missing").code == 0


def selects(world: World) -> None:
    words = world.handed_to_pytest("-k", "nop or readv")
    assert words[words.index("-k") + 1] == "nop or readv"
    assert "-k" not in world.handed_to_pytest()
    ended = world.cli("run", "-k", "nop", "--", "-knop")
    assert (ended.code, "give it once" in ended.err) == (2, True), ended


def is_held_against(world: World) -> None:
    """What passed before and fails now is bad, what fails in both is known, what the baseline lacks is a hole."""
    assert runs("--out", "base")(world).code == 0
    assert "no regression: 1 cells compared" not in runs()(world).out
    ended = runs("--baseline", "base")(world)
    assert (ended.code, "no regression: 1 cell compared" in ended.out) == (0, True), ended
    base = read("base")
    row = base.results[0]
    write(Path("base/results.json"), replace(base, results=(replace(row, status=Status.INFRA),)))
    ended = runs("--baseline", "base")(world)
    assert (ended.code, "nothing was compared" in ended.out) == (3, True), ended
    ended = runs("--baseline", "elsewhere")(world)
    assert (ended.code, "elsewhere" in ended.err) == (2, True), ended


def lets_a_run_pass(world: World) -> None:
    assert runs("--out", "base")(world).code == 0
    base = read("base")
    test = replace(base.tests[0], id="test_gone", node="gone")
    rows = (*base.results, replace(base.results[0], test="test_gone"))
    write(Path("base/results.json"), replace(base, tests=(*base.tests, test), results=rows))
    whole_run = ("run", "host", "-n", "0", "--baseline", "base")
    assert world.cli(*whole_run).code == 3
    assert world.cli(*whole_run, "--fail-on", "regression").code == 0


def is_for_git(world: World) -> None:
    """Good and bad are 0 and 1; whatever is no verdict, a mistyped option as well, is 125."""
    assert runs("--bisect")(world).code == 0
    assert world.cli("run", "--bisect", "./nothing").code == 125
    assert world.cli("run", "--bisect", "--no-such-option").code == 125
    assert world.cli("run", "host", "--bisect", "-k", "no_such_test").code == 125
    assert world.cli("run", "./nothing").code == 2


def probes_in_json(world: World) -> None:
    assert list(json.loads(world.cli("probe", "--json").out)) == ["host"]


def probes_a_kernel(world: World) -> None:
    world.archive()
    ended = world.cli("probe", "--kernel", "6.l2")
    assert (ended.code, "no kernel is called '6.l2'" in ended.err) == (2, True)


def probes_with_an_accelerator(world: World) -> None:
    """Of a guest; the running kernel has none."""
    ended = world.cli("probe", "--accel", "tcg")
    assert (ended.code, ended.out, "--accel is about guests" in ended.err) == (2, "", True), ended
    calls = world.replace("probe", "probe")
    assert world.cli("probe", "--kernel", "6.1", "--accel", "tcg").code == 0
    assert [call["accel"] for call in calls] == ["tcg"]


def examines_in_json(world: World) -> None:
    world.archive()
    assert json.loads(world.cli("doctor", "--json").out)["schema_version"] == 1


def examines_a_kernel(world: World) -> None:
    world.archive()
    assert world.cli("kernels", "list").code == 0
    checks = json.loads(world.cli("doctor", "--json", "--kernel", "6.1").out)["checks"]
    assert [check["id"] for check in checks if check["id"].startswith("kernel")] == ["kernel-6.1"]


def opens_with_an_accelerator(world: World) -> None:
    calls = world.replace("shell", "shell")
    assert world.cli("shell", "6.1", "--accel", "tcg").code == 0
    assert [call["accel"] for call in calls] == ["tcg"]


def opens_a_kernel(world: World) -> None:
    calls = world.replace("shell", "shell")
    assert world.cli("shell", "--kernel", "6.1").code == 0
    assert len(calls) == 1
    for words in (["shell"], ["shell", "6.1", "6.12"], ["shell", "6.1", "--kernel", "6.12"]):
        ended = world.cli(*words)
        assert (ended.code, "one kernel" in ended.err) == (2, True), ended


def waits_for_gdb(world: World) -> None:
    """What stands behind it is a kernel: a port stands behind an equals sign."""
    ended = world.cli("run", "host", "--gdb")
    assert (ended.code, "--guest-gdb is about guests" in ended.err) == (2, True), ended
    hands_on("--gdb=1234", "--guest-gdb=1234")(world)
    hands_on("--gdb 6.1", "--guest-gdb=0", "--kernel=6.1")(world)
    assert "-n" in world.handed_to_pytest("all")
    words = world.handed_to_pytest("all", "--gdb")
    assert words[words.index("-n") + 1] == "0"
    ended = world.cli("run", "6.1", "--gdb=70000")
    assert (ended.code, "70000 is not in the range" in ended.err) == (2, True), ended


ISSUE = '[[issue]]\ntest = "test_nop"\nstatus = "fail"\nseries = "5.1.."\nreason = "as it was"\n'


def knows_of_issues(world: World) -> None:
    """What passes although it is known not to is reported; a slip is told before anything is run."""
    Path("known.toml").write_text(ISSUE)
    ended = runs("--known-issues", "known.toml")(world)
    assert (ended.code, "known issue no longer shows: test_nop on host" in ended.out) == (0, True), ended
    assert [one.reason for one in read("matrix").known_issues] == ["as it was"]
    Path("known.toml").write_text(ISSUE.replace("reason", "reasom"))
    ended = world.cli("run", "host", "--known-issues", "known.toml")
    assert (ended.code, "did you mean 'reason'?" in ended.err) == (2, True), ended


def reports_known_issues(world: World) -> None:
    Path("known.toml").write_text(ISSUE)
    write(Path("results.json"), with_cell(whole(), "test_nop", "6.1", status=Status.FAIL))
    words = ("report", "results.json", "--out", "site", "--format", "json", "--exit-code")
    assert world.cli(*words).code == 1
    ended = world.cli(*words, "--known-issues", "known.toml")
    assert (ended.code, "1 verdict is a known issue" in ended.err) == (0, True), ended
    # They are in the file: who reads it later judges the same.
    assert world.cli("report", "site", "--out", "again", "--format", "json", "--exit-code").code == 0


def writes_findings(world: World) -> None:
    write(Path("results.json"), whole())
    assert world.cli("findings", "results.json", "--out", "findings.md").out == "findings.md\n"
    assert Path("findings.md").read_text() == world.cli("findings", "results.json").out


# What a guest may be given: how it is said, what a machine has of it, what is refused and with which words.
GIVEN: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "--cpus": ("2", {"cpus": 2}, "65", "65 is not in the range"),
    "--memory": ("401", {"memory_mib": 401}, "1", "guests of 1 MiB cannot boot"),
    "--append": ("quiet slub_debug=FZ", {"parameters": ("quiet", "slub_debug=FZ")}, "init=/x", "not for you to set"),
}


def is_given_as_to_run(command: str, option: str) -> Check:
    """The guest gets it; what `run` refuses is refused; and the running kernel has none to give it to."""

    def check(world: World) -> None:
        good, expected, bad, words = GIVEN[option]
        machine = world.machine_of(command, option, good)
        assert {name: getattr(machine, name) for name in expected} == expected
        assert machine != world.machine_of(command)
        ended = world.cli(command, "6.1", option, bad)
        assert (ended.code, words in ended.err) == (2, True), ended
        if command == "probe":
            ended = world.cli("probe", option, good)
            assert (ended.code, f"{option} is about guests" in ended.err) == (2, True), ended

    return check


EFFECTS: dict[tuple[str, str], Check] = {
    ("run", "--kernel"): hands_on("--kernel 6.1 --kernel 6.12", "--kernel=6.1", "--kernel=6.12"),
    ("run", "--arch"): hands_on("--arch amd64", "--arch=amd64"),
    ("run", "--mode"): hands_on("--mode default", "--mode=default"),
    ("run", "--out"): writes_elsewhere,
    ("run", "-n"): hands_on("-n 17", "17"),
    ("run", "--accel"): hands_on("--accel tcg", "--accel=tcg"),
    ("run", "--resume"): hands_on("--resume", "--matrix-resume"),
    ("run", "--no-report"): writes_no_site,
    ("run", "--no-snapshots"): hands_on("--no-snapshots", "--no-snapshots"),
    ("run", "--lock"): hands_on("--lock kernels.lock", "--matrix-lock=kernels.lock"),
    ("run", "--repeat"): hands_on("--repeat 3", "--matrix-repeat=3"),
    ("run", "--until-failure"): hands_on("--until-failure", "--until-failure"),
    ("run", "--cpus"): hands_on("--cpus 2", "--guest-cpus=2"),
    ("run", "--memory"): hands_on("--memory 512", "--guest-memory=512"),
    ("run", "--append"): hands_on("--append a=b --append c", "--guest-append=a=b", "--guest-append=c"),
    ("run", "--gdb"): waits_for_gdb,
    ("run", "--isolate"): hands_on("--isolate", "--isolate"),
    ("run", "--guest-package"): hands_on(
        "--guest-package a --guest-package b", "--guest-package=a", "--guest-package=b"
    ),
    ("run", "--guest-env"): hands_on("--guest-env A --guest-env B=1", "--guest-env=A", "--guest-env=B=1"),
    ("run", "--known-issues"): knows_of_issues,
    ("report", "--known-issues"): reports_known_issues,
    ("findings", "--out"): writes_findings,
    ("run", "--allow-flaky"): hands_on("--allow-flaky", "--allow-flaky"),
    ("run", "-k"): selects,
    ("run", "--test-timeout"): hands_on("--test-timeout 7.5", "--matrix-test-timeout=7.5"),
    ("run", "--baseline"): is_held_against,
    ("run", "--bisect"): is_for_git,
    ("run", "--fail-on"): lets_a_run_pass,
    ("run", "--json"): summarizes,
    ("kernels list", "--json"): lists_json,
    ("kernels list", "--update"): lists_anew,
    ("kernels list", "--arch"): is_of_the_architecture("kernels list"),
    ("kernels fetch", "--arch"): is_of_the_architecture("kernels fetch all"),
    ("kernels lock", "--out"): locks_into,
    ("kernels lock", "--arch"): is_of_the_architecture("kernels lock"),
    ("kernels prune", "--all"): prunes_all,
    ("kernels prune", "--arch"): prunes_an_architecture,
    ("report", "--out"): reports_into,
    ("report", "--exit-code"): judges,
    ("report", "--baseline"): reports_beside,
    ("report", "--fail-on"): lets_a_report_pass,
    ("report", "--format"): reports_as("junit"),
    ("report", "--origin"): is_submitted_by,
    ("history", "--out"): keeps_a_history_in,
    ("can", "--on"): is_asked_of("--on", "6.1", "5.15"),
    ("can", "--mode"): is_asked_of("--mode", "default", "sqpoll"),
    ("can", "--arch"): is_asked_of("--arch", "amd64", "arm64"),
    ("can", "--json"): answers_in_json("can", "nop"),
    ("show", "--mode"): shows_of("--mode", "default", "sqpoll"),
    ("show", "--arch"): shows_of("--arch", "amd64", "arm64"),
    ("show", "--console"): shows_the_console,
    ("show", "--json"): answers_in_json("show", "6.1", "test_nop"),
    ("tests", "-k"): lists_some_tests,
    ("tests", "--json"): answers_in_json("tests"),
    ("diff", "--json"): compares_in_json,
    ("diff", "--markdown"): compares_as("--markdown", "### ✅"),
    ("diff", "--html"): compares_as("--html", "<!doctype html>"),
    ("diff", "--fail-on"): lets_pass,
    ("probe", "--kernel"): probes_a_kernel,
    ("probe", "--accel"): probes_with_an_accelerator,
    ("probe", "--json"): probes_in_json,
    ("doctor", "--kernel"): examines_a_kernel,
    **{(command, option): is_given_as_to_run(command, option) for command in ("probe", "shell") for option in GIVEN},
    ("doctor", "--json"): examines_in_json,
    ("shell", "--accel"): opens_with_an_accelerator,
    ("shell", "--kernel"): opens_a_kernel,
}


def test_every_option_has_its_effect_in_the_table() -> None:
    assert {one for one in OFFERED if one[1] not in SETTINGS} == set(EFFECTS)


@pytest.mark.parametrize(("command", "option"), EFFECTS, ids=map(" ".join, EFFECTS))
def test_an_option_has_its_effect(command: str, option: str, world: World) -> None:
    EFFECTS[command, option](world)


def test_a_kernel_is_named_either_way(world: World) -> None:
    """As an argument or with --kernel, in the order in which they stand."""
    kernels = [word for word in world.handed_to_pytest("6.1", "latest", "--kernel", "5.10") if "--kernel" in word]
    assert sorted(kernels) == ["--kernel=5.10", "--kernel=6.1", "--kernel=latest"]
    assert "--kernel=all" in world.handed_to_pytest()


@pytest.mark.parametrize(("command", "option"), [one for one in OFFERED if one[1] in SETTINGS])
def test_a_setting_is_what_the_command_goes_by(command: str, option: str, world: World, tmp_path: Path) -> None:
    """What the command's module finds when it asks for the settings."""
    name, value = SETTINGS[option]
    found: list[object] = []
    module, _, function = command.partition(" ")
    function = {"": module, "list": "list_kernels"}.get(function, function)
    stand_in = types.ModuleType(f"uring_matrix.{module}")
    setattr(stand_in, function, lambda *_, **__: found.append(getattr(Settings.load(), name)) or 0)
    world._monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    words = {"shell": ["6.1"], "kernels fetch": ["6.1"]}.get(command, [])
    given = [option] if value is True else [option, str(value)]
    assert world.cli(*command.split(), *words, *given).code == 0
    assert [str(value)] == [str(one) for one in found]
    assert os.environ[f"URING_MATRIX_{name.upper()}"]


def test_settings_stand_before_the_command_as_well() -> None:
    assert set(SETTINGS) <= set(options_of(group))


# -- settings of a project --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "probe", "shell 6.1", "kernels list", "kernels fetch 6.1", "kernels prune"])
def test_a_slip_in_the_settings_is_told_by_whoever_goes_by_them(command: str, cli: Call) -> None:
    Path("pyproject.toml").write_text("[tool.uring-matrix]\nmiror = 'http://a/debian'\n")
    ended = cli(*command.split())
    assert (ended.code, "miror is no setting; did you mean 'mirror'?" in ended.err) == (2, True), ended


def test_doctor_tells_of_a_slip_in_the_settings(cli: Call) -> None:
    Path("pyproject.toml").write_text("[tool.uring_matrix]\noffline = true\n")
    ended = cli("doctor")
    assert (ended.code, "the table of uring-matrix is [tool.uring-matrix]" in ended.out) == (3, True), ended


# -- what is there in part --------------------------------------------------------------------------------------------


def test_kernels_of_an_architecture_without_guests_are_not_run(cli: Call) -> None:
    ended = cli("run", "--arch", "arm64", "--kernel", "6.1")
    assert (ended.code, ended.out) == (2, "")
    assert "guests of architecture 'arm64' are not supported; there are amd64" in ended.err
    assert "Kernels of arm64 can be listed, fetched and pinned, and not run" in ended.err
    assert "As yet there is amd64 only" in " ".join(cli("run", "--help").out.split())
    assert "only amd64 can be run as yet" in " ".join(cli("kernels", "list", "--help").out.split())


def test_the_running_kernel_is_not_fetched(cli: Call) -> None:
    ended = cli("kernels", "fetch", "host")
    assert (ended.code, "there is nothing to fetch" in ended.err) == (2, True), ended


def test_what_is_about_guests_is_refused_for_the_host(cli: Call) -> None:
    for option in (["--isolate"], ["--no-snapshots"], ["--accel", "tcg"]):
        ended = cli("run", "--kernel", "host", *option)
        assert (ended.code, f"{option[0]} is about guests" in ended.err) == (2, True), ended
        assert not Path("matrix").exists()


def test_what_is_given_twice_is_run_once(cli: Call) -> None:
    twice = [word for word in ("--mode", "default", "--kernel", "host", "--arch", "amd64") for _ in range(1)] * 2
    ended = cli("run", *twice, "-n", "0", "--", "-k", "test_nop")
    assert ended.code == 0, ended
    assert len(json.loads(Path("matrix/results.json").read_bytes())["results"]) == 1
