"""The guest's pytest is the host's pytest: its command line, made from the one that this session was given.

Every option travels, own ones of conftest.py files and plugins included, unless it is about what the host does itself
(our options, choosing tests, reporting). What would have to travel and cannot is refused by name.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from harness.source_tree import SourceTree

# What pytest does on the host, for tests that run in guests as for others: choose tests, report, keep its cache.
HOST_ONLY = frozenset({
    "--cache-clear", "--cache-show", "--code-highlight", "--collect-in-virtualenv", "--collect-only", "--color",
    "--continue-on-collection-errors", "--debug", "--deselect", "--disable-warnings", "--durations",
    "--durations-min", "--exitfirst", "--failed-first", "--fixtures", "--fixtures-per-test",
    "--force-short-summary", "--help", "--ignore", "--ignore-glob", "--junit-prefix", "--keep-duplicates",
    "--last-failed", "--last-failed-no-failures", "--markers", "--max-warnings", "--maxfail", "--new-first",
    "--no-fold-skipped", "--no-header", "--no-summary", "--pastebin", "--pdb", "--pdbcls", "--pyargs",
    "--setup-only", "--setup-plan", "--setup-show", "--stepwise", "--stepwise-reset", "--stepwise-skip", "--trace",
    "--trace-config", "--version", "--xfail-tb", "-k", "-m", "-r",
})  # fmt: skip
# What is told to the guest in its own words: where things lie there.
_RETOLD = frozenset({"--basetemp", "--capture", "-c", "--confcutdir", "--rootdir", "-s", "-p", "-o"})
# Plugins by the name under which pytest loads them that only report or schedule: the host's business.
_REPORTING = frozenset({
    "clarity", "csv", "ctrf", "github-actions-annotate-failures", "html", "instafail", "json-report", "md",
    "metadata", "order", "picked", "pretty", "progress", "pytest-split", "pytest-teamcity",
    "pytest_github_actions_annotate_failures", "pytest_jsonreport", "pytest_order", "pytest_teamcity",
    "random_order", "randomly", "reportlog", "rich", "split", "sugar", "tap", "teamcity", "teamcity.pytest_plugin",
    "testmon", "vscode_pytest", "xdist", "xdist.looponfail",
})  # fmt: skip
# Hooks that take part in running a test, rather than in choosing or reporting it.
_ABOUT_TESTS = frozenset({
    "pytest_fixture_setup", "pytest_generate_tests", "pytest_pyfunc_call", "pytest_runtest_call",
    "pytest_runtest_makereport", "pytest_runtest_protocol", "pytest_runtest_setup", "pytest_runtest_teardown",
})  # fmt: skip
_OUR_ROOMS = ("harness.", "conformance.", "uring_matrix.")
_CORE = "_pytest."
# Settings of pytest itself that its environment holds.
_ENVIRONMENT = ("PYTEST_DISABLE_PLUGIN_AUTOLOAD",)


@dataclass(frozen=True, slots=True)
class _Option:
    """An option as it was given."""

    # As the parser lists it: its longest name.
    name: str
    names: Sequence[str]
    # As it was spelled.
    spelled: str
    values: Sequence[str]

    @property
    def words(self) -> list[str]:
        """What to write on a command line."""
        if not self.values:
            return [self.spelled]
        if len(self.values) == 1 and self.spelled.startswith("--"):
            return [f"{self.spelled}={self.values[0]}"]
        return [self.spelled, *self.values]


class Owners:
    """Which plugin brought which option and which setting; those of pytest itself have none here."""

    def __init__(self, config: pytest.Config) -> None:
        self.options: dict[str, str] = {}
        self.settings: dict[str, str] = {}
        manager = config.pluginmanager
        for name, plugin in manager.list_name_plugin():
            module = _module_of(plugin)
            if plugin is None or module.startswith(_CORE):
                continue
            for implementation in manager.get_hookcallers(plugin) or ():
                if implementation.name != "pytest_addoption":
                    continue
                options, settings = _brought_by(plugin)
                self.options |= dict.fromkeys(options, name)
                self.settings |= dict.fromkeys(settings, name)


def _brought_by(plugin: Any) -> tuple[list[str], list[str]]:
    """Have a plugin add its options once more, to a parser and a manager that nobody else uses."""
    parser = pytest.Parser(_ispytest=True)
    hook = plugin.pytest_addoption
    known = {"parser": parser, "pluginmanager": pytest.PytestPluginManager()}
    wanted = hook.__code__.co_varnames[: hook.__code__.co_argcount]
    hook(**{name: known[name] for name in wanted if name in known})
    options = [name for action in _actions(parser) for name in action.option_strings]
    return options, list(parser._inidict)


def _actions(parser: Any) -> list[argparse.Action]:
    """The options of pytest's parser, which is built anew on each call before pytest 9."""
    built = parser.optparser if hasattr(parser, "optparser") else parser._getparser()
    return list(built._actions)


def _given(config: pytest.Config) -> list[_Option]:
    """Every option of the command line, PYTEST_ADDOPTS and `addopts`, in the order in which pytest takes them."""
    return given_options(
        config,
        [
            *config.getini("addopts"),
            *shlex.split(os.environ.get("PYTEST_ADDOPTS", "")),
            *map(os.fspath, config.invocation_params.args),
        ],
    )


def given_options(config: pytest.Config, words: Iterable[str]) -> list[_Option]:
    """The options among some words of a command line, by this session's own list of options."""
    found: list[_Option] = []
    reader = argparse.ArgumentParser(add_help=False, allow_abbrev=False, fromfile_prefix_chars="@")

    class Take(argparse.Action):
        def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
            taken = [] if values is None else [values] if isinstance(values, str) else list(values)
            spelled = option_string or self.option_strings[0]
            found.append(_Option(max(self.option_strings, key=len), self.option_strings, spelled, taken))

    for action in _actions(config._parser):
        if action.option_strings:
            reader.add_argument(*action.option_strings, action=Take, nargs=action.nargs, dest=f"_{len(found)}")
    reader.add_argument("files", nargs="*")
    reader.parse_known_args([word for word in words if word != "--"])
    return found


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a guest's pytest is told.

    Attributes:
        options: for pytest's command line.
        paths: the files and folders to collect, below the guest's root directory like the following ones.
        configuration: pytest's configuration file, if there is one.
        confcutdir: the folder above which no conftest.py is looked for.
        directory: the working directory; None if it lies outside of the root directory.
        search_path: folders of the tests' tree in which this session finds modules, first to last.
        warning_options: those of `python -W`.
        host_settings: those of the configuration file that belong to plugins of the host: known in guests, without
            effect.
        unsent_plugins: distributions of plugins that guests do not have.
        host_arguments: the command line as it was given, for tests that look at it.
        environment: variables that are pytest's own settings.
    """

    options: tuple[str, ...]
    paths: tuple[str, ...]
    configuration: str | None
    confcutdir: str
    directory: str | None
    search_path: tuple[str, ...]
    warning_options: tuple[str, ...]
    host_settings: tuple[str, ...] = ()
    host_arguments: tuple[str, ...] = ()
    unsent_plugins: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def read(config: pytest.Config, tree: SourceTree, named: Sequence[Path], packages: Collection[str]) -> Invocation:
    """Make the guest's command line.

    Args:
        config: the host's session.
        tree: where things lie in guests.
        named: the files and folders of the host's command line.
        packages: distributions that are sent along, canonical names.

    Raises:
        pytest.UsageError: something that cannot travel was asked for.
    """
    owners = Owners(config)
    plugins = _Plugins(config, tree, packages)
    host_settings = _check_settings(config, owners, plugins, packages)
    # What is recorded of a failure has no colours in it, whoever looks at this terminal.
    words: list[str] = ["-o", "addopts=", "--color=no"]
    given = _given(config)
    for name in _named_elsewhere(config):
        words += plugins.words(name)
    for option in given:
        words += _translated(option, owners, plugins)
    cut = config.invocation_params.dir / (config.getoption("confcutdir") or config.rootpath)
    cut = Path(os.path.normpath(cut))
    if not tree.is_within(cut) and any("--confcutdir" in option.names for option in given):
        raise pytest.UsageError(
            f"--confcutdir {cut} lies above the root directory {config.rootpath}, which is what guests have: name it "
            "with --rootdir"
        )
    directory = config.invocation_params.dir
    return Invocation(
        options=tuple(words),
        paths=tuple(dict.fromkeys(_argument(path, tree) for path in named)),
        configuration=tree.guest_path(config.inipath) if config.inipath is not None else None,
        confcutdir=tree.guest_path(cut) if tree.is_within(cut) else ".",
        directory=tree.guest_path(directory) if directory.is_relative_to(tree.root) else None,
        search_path=tuple(dict.fromkeys(_search_path(config, tree))),
        warning_options=tuple(sys.warnoptions),
        host_settings=host_settings,
        unsent_plugins=_unsent(config, plugins, packages),
        host_arguments=_without_ours(config, given, owners, plugins),
        environment={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
    )


def plugin_files(config: pytest.Config, tree: SourceTree) -> list[Path]:
    """The files of the tree's plugins that guests are told to load."""
    plugins = _Plugins(config, tree, ())
    given = (name.strip() for option in _given(config) if _names_plugins(option) for name in option.values)
    files = (plugins.file_in_tree(name) for name in (*_named_elsewhere(config), *given))
    return list(dict.fromkeys(file for file in files if file is not None))


def _names_plugins(option: _Option) -> bool:
    return option.name == "--plugins" or "-p" in option.names


def _named_elsewhere(config: pytest.Config) -> Iterator[str]:
    """Plugins that neither the command line nor the configuration file names."""
    yield from filter(None, os.environ.get("PYTEST_PLUGINS", "").split(","))
    for plugin in config.invocation_params.plugins or ():
        if isinstance(plugin, str):
            yield plugin
        elif not _module_of(plugin).startswith(_OUR_ROOMS) and (hooks := _ABOUT_TESTS.intersection(dir(plugin))):
            raise pytest.UsageError(
                f"the plugin object {plugin!r} given to pytest.main() has {', '.join(sorted(hooks))}, and an object "
                "cannot be sent into guests: make it a module, named with -p"
            )


def _argument(path: Path, tree: SourceTree) -> str:
    """A file or folder for the guest's command line, on which pytest takes brackets and colons for something else."""
    while any(mark in tree.guest_path(path) for mark in ("[", "::")):
        path = path.parent
    return tree.guest_path(path)


def _search_path(config: pytest.Config, tree: SourceTree) -> Iterator[str]:
    for entry in sys.path:
        path = config.invocation_params.dir / entry
        if path.is_dir() and path.is_relative_to(tree.root) and not _is_environment(path):
            yield tree.guest_path(path)


def _is_environment(path: Path) -> bool:
    """Whether a folder is, or belongs to, a virtual environment, none of which is sent."""
    return any((parent / "pyvenv.cfg").exists() for parent in (path, *path.parents)) or path.is_relative_to(sys.prefix)


def _unsent(config: pytest.Config, plugins: "_Plugins", packages: Collection[str]) -> tuple[str, ...]:
    """Installed plugins that are about tests and stay here."""
    found = {
        canonicalize_name(distribution.metadata["Name"])
        for plugin, distribution in config.pluginmanager.list_plugin_distinfo()
        if not plugins.is_ours(name := config.pluginmanager.get_name(plugin) or "") and not plugins.is_reporting(name)
    }
    return tuple(sorted(found - set(packages)))


def _without_ours(
    config: pytest.Config, given: Sequence[_Option], owners: Owners, plugins: "_Plugins"
) -> tuple[str, ...]:
    """The command line, but for options that pytest itself does not have: they name kernels, directories, workers.

    Where this machine has its cache and its temporary files is left out, too: it is different in every run of ours.
    """
    ours = {word for word, owner in owners.options.items() if plugins.is_ours(owner) or plugins.is_reporting(owner)}
    foreign = {word for option in given if (ours | {"--basetemp"}).intersection(option.names) for word in option.words}
    foreign |= {part for word in foreign for part in word.split("=", 1)}
    kept: list[str] = []
    for word in map(os.fspath, config.invocation_params.args):
        if word.rpartition("cache_dir=")[0] in {"-o", "--override-ini="}:
            continue
        if word.startswith("cache_dir=") and kept[-1:] in (["-o"], ["--override-ini"]):
            kept.pop()
        elif word not in foreign:
            kept.append(word)
    return tuple(kept)


def _translated(option: _Option, owners: Owners, plugins: "_Plugins") -> list[str]:
    """An option in the guest's words; nothing if it is the host's alone."""
    owner = owners.options.get(option.name)
    if owner is not None:
        if plugins.is_ours(owner) or plugins.is_reporting(owner):
            return []
        plugins.check(owner, f"{option.spelled} is an option of")
        return option.words
    if {"--junit-xml", "--log-file"}.intersection(option.names):  # the host's files; that there are some has effects
        is_here = "--junit-xml" not in option.names or plugins.is_one_process
        return [f"{option.name}={os.devnull}"] if is_here else []
    if HOST_ONLY.intersection(option.names):
        return []
    if _names_plugins(option):
        return [word for name in option.values for word in plugins.words(name.strip())]
    if "-o" in option.names:
        return [] if option.values[0].startswith(("addopts=", "cache_dir=")) else ["-o", *option.values]
    if _RETOLD.intersection(option.names):
        return []
    return option.words


def _check_settings(
    config: pytest.Config, owners: Owners, plugins: "_Plugins", packages: Collection[str]
) -> tuple[str, ...]:
    """Refuse what the configuration file asks of a plugin that guests do not have; return what is the host's alone."""
    host_settings = []
    # Its public name is deprecated since pytest 9.1, and has no successor.
    for name in config._inicfg if hasattr(config, "_inicfg") else config.inicfg:
        owner = owners.settings.get(name)
        if owner is None:
            continue
        if plugins.is_ours(owner) or plugins.is_reporting(owner):
            host_settings.append(name)
        else:
            plugins.check(owner, f"{name} in {config.inipath} is a setting of")
    for line in config.getini("required_plugins"):
        name = canonicalize_name(Requirement(line).name)
        if name not in packages and name != "uring-matrix":
            raise pytest.UsageError(
                f"required_plugins in {config.inipath} names {line}, which guests do not have: "
                f"send it along with --guest-package {name}"
            )
    return tuple(host_settings)


class _Plugins:
    """What becomes of plugins in guests."""

    def __init__(self, config: pytest.Config, tree: SourceTree, packages: Collection[str]) -> None:
        # With pytest-xdist the one that writes the XML runs no tests.
        self.is_one_process = config.getoption("dist", "no") == "no"
        self._manager = config.pluginmanager
        self._tree = tree
        self._packages = packages

    def words(self, name: str) -> list[str]:
        """`-p NAME` for the guest."""
        if name.startswith("no:"):
            return [] if self.is_ours(name[3:]) else ["-p", name]
        plugin = self._manager.get_plugin(name)
        if self.is_ours(name) or self.is_reporting(name):
            return []
        if plugin is None or not _module_of(plugin).startswith(_CORE):
            self.check(name, f"-p {name}:")
        return ["-p", name]

    def is_ours(self, owner: str) -> bool:
        """Whether a plugin is one of ours: guests have what they need of it."""
        plugin = self._manager.get_plugin(owner)
        return f"{_module_of(plugin) if plugin is not None else owner}.".startswith(_OUR_ROOMS)

    def is_reporting(self, owner: str) -> bool:
        """Whether a plugin has its work to do on the host."""
        return _is_reporting(self._manager, owner)

    def file_in_tree(self, owner: str) -> Path | None:
        """Where a plugin of the tree's lies, that guests are to have; None for any other."""
        plugin = self._manager.get_plugin(owner)
        file = getattr(plugin, "__file__", None)
        if file is None or self.is_ours(owner) or self.is_reporting(owner) or _is_environment(Path(file)):
            return None
        return Path(file) if self._tree.is_within(Path(file)) else None

    def check(self, owner: str, what: str) -> None:
        """Make sure that guests have a plugin.

        Args:
            owner: its name.
            what: the beginning of the sentence that refuses it.

        Raises:
            pytest.UsageError: they do not.
        """
        if self.file_in_tree(owner) is not None:
            return
        plugin = self._manager.get_plugin(owner)
        distribution = _distribution_of(self._manager, plugin, owner)
        if distribution is not None and canonicalize_name(distribution) in self._packages:
            return
        name = distribution or owner
        raise pytest.UsageError(
            f"{what} {name}, which guests do not have: send it along with --guest-package {name}, "
            f"or leave it out (-p no:{owner})"
        )


def is_of_reporting(config: pytest.Config, owner: str | None) -> bool:
    """Whether an option's plugin only reports or schedules."""
    return owner is not None and _is_reporting(config.pluginmanager, owner)


def _is_reporting(manager: pytest.PytestPluginManager, owner: str) -> bool:
    plugin = manager.get_plugin(owner)
    module = _module_of(plugin) if plugin is not None else owner
    return owner in _REPORTING or module.partition(".")[0] in _REPORTING


def _module_of(plugin: Any) -> str:
    return getattr(plugin, "__name__", None) or type(plugin).__module__


def _distribution_of(manager: pytest.PytestPluginManager, plugin: Any, owner: str) -> str | None:
    """The distribution that a plugin came with."""
    for one, found in manager.list_plugin_distinfo():
        if one is plugin:
            return str(found.metadata["Name"])
    module = _module_of(plugin) if plugin is not None else owner
    names: Iterable[str] = metadata.packages_distributions().get(module.partition(".")[0], ())
    return next(iter(names), None)
