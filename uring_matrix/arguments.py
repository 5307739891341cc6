"""What stands behind `--`: pytest's own arguments, and which of them decide what a run shows and whether it is one."""

import itertools
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import pytest

from harness import options
from harness.hookspecs import Front
from reports.ours import SITE, refuse_foreign

# What `run` has a name of its own for, or gives to pytest itself.
_OURS = {
    "--kernel": "--kernel",
    "--arch": "--arch",
    "--mode": "--mode",
    "--accel": "--accel",
    "--matrix-out": "--out",
    "--matrix-resume": "--resume",
    "--matrix-lock": "--lock",
    "--matrix-repeat": "--repeat",
    "--until-failure": "--until-failure",
    "--isolate": "--isolate",
    "--matrix-test-timeout": "--test-timeout",
    "--allow-flaky": "--allow-flaky",
    "--no-snapshots": "--no-snapshots",
    "--guest-package": "--guest-package",
    "--guest-env": "--guest-env",
    "--guest-cpus": "--cpus",
    "--guest-memory": "--memory",
    "--guest-append": "--append",
    "--guest-gdb": "--gdb",
    "-n": "-n",
    "--numprocesses": "-n",
}
_SUITES_OWN = ("-c", "--config-file", "--inifile", "--rootdir")
# Options that say how pytest's terminal looks, by the name pytest keeps them under: whoever gives one wants to see it.
_SHOWN = (
    *("verbose", "no_header", "no_summary", "fold_skipped", "force_short_summary", "reportchars", "disable_warnings"),
    *("showlocals", "tbstyle", "xfail_tb", "showcapture", "fulltrace", "color", "code_highlight", "pastebin"),
    *("durations", "durations_min", "traceconfig", "setupshow", "log_cli_level", "log_cli_format", "usepdb", "trace"),
)
# Those that leave tests out.
_CHOOSING = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "stepwise")
# Those whose effect is in the process that runs the test, and lost in one that has no terminal.
_ONE_PROCESS = ("usepdb", "trace", "setupshow", "log_cli_level")


def refuse_ours(words: Sequence[str]) -> None:
    """Refuse what belongs in front of `--`.

    Args:
        words: what stands behind it.

    Raises:
        click.UsageError: an option is ours by another name, or would have another suite run.
    """
    for origin, some in (
        ("behind --", words),
        ("in PYTEST_ADDOPTS", shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))),
    ):
        for word in _options(some):
            for name, own in _OURS.items():
                if _is(word, name):
                    raise click.UsageError(
                        f"{name} stands {origin}, where pytest's own options stand: `uring-matrix run` has {own} for it"
                    )
            if any(_is(word, name) for name in _SUITES_OWN):
                raise click.UsageError(
                    f"{word.partition('=')[0]} stands {origin}, and the suite brings its own configuration; tests of "
                    "another project run with `pytest --kernel SPEC`"
                )


def own_name(word: str) -> str:
    """An option of pytest's as `run` calls it: `--matrix-repeat=3` is `--repeat=3`."""
    name, equals, value = word.partition("=")
    return f"{_OURS[name]}{equals}{value}"


def is_without_xdist(words: Sequence[str]) -> bool:
    """Whether pytest is told to do without the plugin that `-n` is of."""
    return "-pno:xdist" in words or ("-p", "no:xdist") in itertools.pairwise(words)


def _options(words: Iterable[str]) -> list[str]:
    found = []
    for word in words:
        if word == "--":
            break
        if word.startswith("-"):
            found.append(word)
    return found


def _is(word: str, option: str) -> bool:
    return word.startswith(option) if len(option) == 2 and word[:2] != "--" else word.partition("=")[0] == option


class Wishes:
    """A pytest plugin that reads what pytest was asked for, and brings its terminal in if that is to be seen.

    Attributes:
        is_terminal: pytest's own terminal is there, and nothing else should draw on it.
        runs_nothing: something is printed, and no test is run.
        is_known: pytest came so far as to read its arguments; it answers `--version` alone without.
        chooses_tests: the run is about a part of the suite.
    """

    def __init__(
        self,
        home: Path,
        front: Front,
        *,
        is_alone_welcome: bool,
        about_verdicts: Mapping[str, str],
        site: Path | None = None,
    ) -> None:
        self._home = home
        # Where a site will be written.
        self._site = site
        self._front = front
        # Whether the number of workers is ours to choose.
        self._is_alone_welcome = is_alone_welcome
        # Options of ours that make no sense where no test is run, and what they do.
        self._about_verdicts = about_verdicts
        self._defaults: pytest.Parser | None = None
        self.is_terminal = False
        self.runs_nothing = False
        self.is_known = False
        self.chooses_tests = False

    def pytest_addoption(self, parser: pytest.Parser) -> None:
        """Keep the parser: it knows what each option is when nobody gives it."""
        self._defaults = parser

    def pytest_matrix_front(self) -> Front:
        """Say how this session was started."""
        return self._front

    @pytest.hookimpl(tryfirst=True)  # before xdist starts workers
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        """Read the options.

        Raises:
            ResultsError: what is somebody else's lies where the site is going to be.
        """
        self.is_known = True
        given = self._given(config)
        self.runs_nothing = options.runs_nothing(config)
        if self._site is not None and not self.runs_nothing:
            refuse_foreign(self._site, SITE)
        for name, what in self._about_verdicts.items() if self.runs_nothing else ():
            raise pytest.UsageError(f"{name} {what}, and what stands behind -- asks for none")
        self.is_terminal = self.runs_nothing or not given.isdisjoint(_SHOWN) or config.getoption("capture") == "no"
        if not self.is_terminal:
            config.pluginmanager.set_blocked("terminalreporter")
        is_alone = not given.isdisjoint(_ONE_PROCESS) or config.getoption("capture") == "no"
        if hasattr(config.option, "numprocesses") and (self.runs_nothing or (is_alone and self._is_alone_welcome)):
            config.option.numprocesses = 0
        self.chooses_tests = not given.isdisjoint(_CHOOSING)
        self._select(config)

    def _given(self, config: pytest.Config) -> set[str]:
        defaults: dict[str, Any] = vars(self._defaults.parse_known_args([])) if self._defaults is not None else {}
        return {name for name, value in vars(config.option).items() if name in defaults and defaults[name] != value}

    def _select(self, config: pytest.Config) -> None:
        """What is named behind `--` is a part of the suite, and takes the place of the whole."""
        named = [word for word in config.args if word != str(self._home)]
        for word in [] if config.getoption("pyargs") else named:
            path = (config.invocation_params.dir / word.partition("::")[0]).resolve()
            if path.exists() and not path.is_relative_to(self._home):
                raise pytest.UsageError(
                    f"{word} is no part of the suite; tests of your own run with `pytest {word} --kernel SPEC`"
                )
        if named:
            config.args[:] = named
            self.chooses_tests = True
