"""What a verdict is obtained with, in words that are equal where the inputs are: its key beside kernel and mode.

A column has one word for each of its inputs (the kernel's image, the guest, QEMU, …), and each row one for its test.
"""

import dataclasses
import fnmatch
import hashlib
import json
import os
import platform
import re
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from harness.imports import Imports
from harness.source_tree import argument_path, package_folders
from harness.suites import Suite
from reports.results import GuestConfig
from vm.machine import MachineConfig

# A column's inputs, and what is said of cells that are judged again because one of them differs: the first that does.
KERNEL, GUEST, EMULATOR, IMAGE, SOURCES, OPTIONS = "kernel", "guest", "emulator", "image", "sources", "options"
PACKAGES = "packages"
CHANGED = {
    KERNEL: "whose kernel is another image",
    GUEST: "whose guest is made otherwise",
    EMULATOR: "that ran with another QEMU or accelerator",
    IMAGE: "whose guest image is another",
    SOURCES: "whose suite changed",
    OPTIONS: "that had other options of pytest",
    PACKAGES: "that had other packages or environment variables",
}

# Options that choose, show or arrange tests, and change nothing in any of them; pytest's, pytest-xdist's and ours.
_WITHOUT_EFFECT = frozenset({
    "basetemp", "cacheclear", "cacheshow", "capture", "code_highlight", "collect_in_virtualenv", "collectonly", "color",
    "continue_on_collection_errors", "debug", "deselect", "disable_warnings", "durations", "durations_min",
    "failedfirst", "file_or_dir", "fold_skipped", "force_short_summary", "fulltrace", "help", "ignore", "ignore_glob",
    "inifilename", "junitprefix", "keepduplicates", "keyword", "last_failed_no_failures", "lf", "log_file",
    "log_file_mode", "markers", "markexpr", "max_warnings", "maxfail", "newfirst", "no_header", "no_summary",
    "pastebin", "pyargs", "quiet", "reportchars", "rootdir", "setuponly", "setupplan", "setupshow",
    "show_fixtures_per_test", "showcapture", "showfixtures", "showlocals", "stepwise", "stepwise_reset",
    "stepwise_skip", "tbstyle", "trace", "traceconfig", "usepdb", "usepdb_cls", "verbose", "version", "xfail_tb",
    "xmlpath",
    "dist", "distload", "loadscopereorder", "looponfail", "maxprocesses", "maxschedchunk", "maxworkerrestart",
    "numprocesses", "px", "rsyncdir", "rsyncignore", "testrunuid", "tx",
    "accel", "allow_flaky", "arch", "kernel", "until_failure",
    "guest_append", "guest_cpus", "guest_gdb", "guest_memory", "matrix_deadline", "matrix_lock", "matrix_out",
    "matrix_resume", "mode", "no_snapshots",
})  # fmt: skip
# What the command line asks of every session, whatever is run.
_OWN_PLUGINS = frozenset({"no:terminalreporter", "no:cacheprovider"})


# What tests are collected from has one of these, whatever its functions are called.
_TEST = re.compile(rb"^\s*(?:async\s+)?(?:def|class)\s", re.MULTILINE)


def word(*parts: str) -> str:
    """Make a short word of anything."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()[:16]


# -- a column's -------------------------------------------------------------------------------------------------------


def of_machine(machine: MachineConfig) -> str:
    """Everything that shapes a guest but its kernel, its image and QEMU, which have words of their own."""
    apart = {"architecture", "emulator", "kernel", "initrd", "payload", "payload_disk", "is_interactive", "vmlinux"}
    shape = {field.name: getattr(machine, field.name) for field in dataclasses.fields(machine)}
    shape = {name: value for name, value in shape.items() if name not in apart}
    shape["boot_protocol"] = machine.boot_protocol
    # At which port a debugger was makes no difference.
    shape["gdb_port"] = machine.gdb_port is not None
    return word(machine.architecture.name, json.dumps(shape, sort_keys=True, default=str))


def guest_config(machine: MachineConfig) -> GuestConfig:
    """The same as results show it."""
    return GuestConfig(
        cpus=machine.cpus,
        memory_mib=machine.memory_mib,
        append=" ".join(machine.parameters),
        gdb=machine.gdb_port is not None,
    )


def of_host() -> dict[str, str]:
    """The inputs of the running kernel's column, beside the sources: there is no guest."""
    name = os.uname()
    return {
        KERNEL: word(name.release, name.version, name.machine),
        GUEST: word(f"{len(os.sched_getaffinity(0))} processors"),
        IMAGE: word(platform.python_version(), pytest.__version__),
    }


def of_options(config: pytest.Config) -> str:
    """How pytest is told to treat tests, those of plugins and conftest.py files included."""
    options = {name: value for name, value in vars(config.option).items() if name not in _WITHOUT_EFFECT}
    # Where pytest's cache is: with the results, wherever those are.
    options["override_ini"] = [text for text in options.get("override_ini") or () if not text.startswith("cache_dir=")]
    options["warnings of Python"] = sys.warnoptions
    options["plugins"] = [name for name in options.get("plugins") or () if name not in _OWN_PLUGINS]
    return word(json.dumps(options, sort_keys=True, default=str))


def of_sources(files: Mapping[str, Path], config: pytest.Config, suites: Sequence[Suite], cache: Path) -> str:
    """What tests share: all files that they may read, but for those of tests, which belong to each test's word.

    Args:
        files: name to file.
        config: the session's.
        suites: those whose packages are among the files.
        cache: where it is kept what modules import.
    """
    written = [
        config.invocation_params.dir / name
        for option in ("matrix_out", "xmlpath", "log_file")
        if (name := config.getoption(option, None)) is not None
    ]
    shared = {name: path for name, path in files.items() if not any(path.is_relative_to(place) for place in written)}
    of_tests = {path for path in shared.values() if _is_of_tests(path, config, suites)}
    # A conftest.py may use what a file of tests has.
    imports = Imports(cache)
    used = of_tests & imports.reachable({*shared.values()} - of_tests)
    imports.keep()
    parts = [
        part for name, path in sorted(shared.items()) if path not in of_tests - used for part in (name, _hash(path))
    ]
    return word(*parts)


def _is_of_tests(path: Path, config: pytest.Config, suites: Sequence[Suite]) -> bool:
    """Whether a file is one that tests are collected from, and that nothing else reads."""
    if path.suffix != ".py" or path.name in {"conftest.py", "__init__.py"}:
        return False
    if not any(fnmatch.fnmatch(path.name, pattern) for pattern in config.getini("python_files")):
        return False
    folders = [path if path.is_dir() else path.parent for path in _named(config)]
    if not any(path.is_relative_to(folder) for folder in (*folders, *package_folders(suites))):
        return False
    return _TEST.search(path.read_bytes()) is not None


def _named(config: pytest.Config) -> list[Path]:
    return [argument_path(config, argument) for argument in config.args]


# -- a test's ---------------------------------------------------------------------------------------------------------


class TestInputs:
    """A word for each test: its file, the files of tests that this one imports, its name and parameters.

    Args:
        cache: where it is kept what modules import.
    """

    __test__ = False

    def __init__(self, cache: Path) -> None:
        self._imports = Imports(cache)
        self._words: dict[Path, str] = {}

    def of(self, item: pytest.Item, node: str) -> str:
        """Make the word.

        Args:
            item: the test in some cell.
            node: its file and qualified name, with parameters, without the cell.
        """
        path = item.path
        if path not in self._words:
            files = sorted(self._imports.reachable([path]))
            self._words[path] = word(*(_hash(file) for file in files))
        return word(node, self._words[path])


def _hash(path: Path) -> str:
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            return f"link {path.readlink()}"
        if not stat.S_ISREG(status.st_mode):
            return f"kind {stat.S_IFMT(status.st_mode)}"
        with path.open("rb") as file:
            return f"{status.st_mode & 0o111} {hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        return f"error {error.errno}"
