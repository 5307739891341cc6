"""What the user can set, and where it comes from: flag, then environment, then pyproject.toml, then the default.

All settings are here, also those that other rooms read: what no setting is called, somebody has misspelt, and is told.
"""

import contextlib
import difflib
import os
import re
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

import platformdirs

from vm.errors import SettingsError

AccelChoice = Literal["auto", "kvm", "tcg"]

_APPLICATION = "uring-matrix"
_ENVIRONMENT = {
    "mirror": "URING_MATRIX_MIRROR",
    "cache": "URING_MATRIX_CACHE",
    "accel": "URING_MATRIX_ACCEL",
    "offline": "URING_MATRIX_OFFLINE",
}
# Lists, of which an option adds to what the project says; in the environment their words would need quotes.
_FLAGS = {"packages": "--guest-package", "env": "--guest-env", "known-issues": "--known-issues"}
# Begin as settings do, and are none: the mark of a guest, and what the tests of this project tell each other.
_NO_SETTING = re.compile(r"URING_MATRIX_(?:GUEST|TEST_\w+|FAULT_TEST|ZIG_TESTS)")
_TABLE = "uring-matrix"
# The table, in a file that nobody can parse: whole, without its end, or as a key.
_SPEAKS_OF_US = re.compile(
    rb"""^\s*(?:\[\s*)?tool\s*\.\s*["']?uring-matrix(?![\w-])|^\s*["']?uring-matrix["']?\s*=(?!=)""", re.MULTILINE
)
# How alike two names have to be for one to be a slip of the other: none of a tool that exists is as near as this.
_SLIP_MIN = 0.8
_PACKAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


def default_cache() -> Path:
    """Find the user's cache directory, even where there is no home.

    Returns:
        The platform's cache directory; without a home, one under the temporary directory that names the user.
    """
    # Without HOME and without a password entry (an arbitrary uid in a container) "~" stands for nothing, which some
    # versions of platformdirs raise for and others return as it is; and such an account's home often does not exist.
    with contextlib.suppress(RuntimeError):
        found = Path(platformdirs.user_cache_dir(_APPLICATION, appauthor=False))
        home = Path(os.path.expanduser("~"))  # noqa: PTH111 -- Path.expanduser raises where this returns its argument
        if found.is_absolute() and (os.environ.get("XDG_CACHE_HOME") or (home.is_absolute() and home.is_dir())):
            return found
    return Path(tempfile.gettempdir()) / f"{_APPLICATION}-{os.getuid()}"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one run."""

    # The Debian archive to use instead of the one in the machine's apt configuration: `URI` or `URI SECURITY_URI`.
    mirror: str | None = None
    cache: Path = field(default_factory=default_cache)
    accel: AccelChoice = "auto"
    # True: never ask the network, use what the cache has.
    offline: bool = False
    # Distributions of this machine's Python that guests get as well, by name.
    packages: tuple[str, ...] = ()
    # What guests find in their environment: NAME, with this machine's value, or NAME=VALUE.
    env: tuple[str, ...] = ()
    # Files that say which tests are known not to pass on which kernels.
    known_issues: tuple[Path, ...] = ()

    @classmethod
    def load(
        cls,
        overrides: Mapping[str, object] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> "Settings":
        """Merge flags, environment, pyproject.toml and defaults.

        Args:
            overrides: values from flags; None means that the flag was not given. Those of lists are added.
            environment: instead of `os.environ`.
            directory: where the search for pyproject.toml begins, instead of the current directory.

        Raises:
            SettingsError: a value cannot be meant, or a name is no setting's; the message names where it came from.
        """
        environment = os.environ if environment is None else environment
        _refuse_unknown_variables(environment)
        values: dict[str, tuple[object, str]] = {}
        for name, value, origin in _from_pyproject(directory):
            values[name] = (value, origin)
        for name, variable in _ENVIRONMENT.items():
            # An empty variable is how shells and CI services spell "not set".
            if environment.get(variable, "") != "":
                values[name] = (environment[variable], variable)
        added: dict[str, tuple[str, ...]] = {}
        for name, override in (overrides or {}).items():
            if name not in _PARSERS:
                raise SettingsError(f"{name!r} is not a setting; {_meant(name, _PARSERS)}")
            if name in _FLAGS:
                added[name] = _PARSERS[name](list(cast("Iterable[str]", override or ())), _FLAGS[name])
            elif override is not None:
                values[name] = (override, f"--{name}")
        parsed: dict[str, Any] = {name: _PARSERS[name](value, origin) for name, (value, origin) in values.items()}
        for name, more in added.items():
            parsed[name] = tuple(dict.fromkeys((*parsed.get(name, ()), *more)))
        return cls(**{name.replace("-", "_"): value for name, value in parsed.items()})


def _meant(name: str, known: Iterable[str]) -> str:
    """What somebody may have meant by a name that nothing has."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    prefix = "URING_MATRIX_"
    for variable, value in environment.items():
        if not variable.startswith(prefix) or value == "" or variable in _ENVIRONMENT.values():
            continue
        name = variable.removeprefix(prefix).lower().replace("_", "-")
        if name in _FLAGS:
            raise SettingsError(
                f"{variable} is no setting: {name} is set in pyproject.toml, or with {_FLAGS[name]} on the command line"
            )
        if not _NO_SETTING.fullmatch(variable):
            raise SettingsError(f"{variable} is no setting; {_meant(variable, _ENVIRONMENT.values())}")


def has_table(directory: Path) -> bool:
    """Whether the pyproject.toml that is in charge of a directory has settings of ours.

    Raises:
        SettingsError: one cannot be meant.
    """
    return bool(_from_pyproject(directory))


def _from_pyproject(directory: Path | None) -> list[tuple[str, object, str]]:
    """Read `[tool.uring-matrix]` of the nearest pyproject.toml that has one."""
    try:
        start = (directory or Path.cwd()).resolve()
    except FileNotFoundError:  # the current directory was removed
        return []
    for folder in (start, *start.parents):
        path = folder / "pyproject.toml"
        try:
            text = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
        except OSError as error:
            if folder != start:  # somebody else's, as far as anybody can know
                continue
            raise SettingsError(
                f"{path} cannot be read: {error.strerror or error}. It may have settings: make it readable, or work in "
                "another directory"
            ) from error
        try:
            document = tomllib.loads(text.decode())
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            # Somebody else's broken file above us is no business of ours unless it speaks of us.
            if _SPEAKS_OF_US.search(text):
                raise SettingsError(f"{path} cannot be read: {error}; mend the file") from error
            continue
        _refuse_misnamed_tables(document, path)
        tools = document.get("tool", {})
        table = tools.get(_TABLE) if isinstance(tools, dict) else None
        if table is None:
            continue
        if not isinstance(table, dict):
            raise SettingsError(f"{path}: [tool.uring-matrix] has to be a table")
        found = []
        for name, value in table.items():
            if name not in _PARSERS:
                raise SettingsError(f"{path}: tool.uring-matrix.{name} is no setting; {_meant(name, _PARSERS)}")
            found.append((name, _in_folder(name, value, folder), f"{path}: tool.uring-matrix.{name}"))
        return found
    return []


def _in_folder(name: str, value: object, folder: Path) -> object:
    """Read paths as a project means them: from its own folder."""
    if name == "cache" and isinstance(value, str):
        return str(folder / Path(value).expanduser())
    if name == "known-issues" and isinstance(value, str):
        return [str(folder / value)] if value.strip() else value
    if name == "known-issues" and isinstance(value, list):
        return [str(folder / one) if isinstance(one, str) and one.strip() else one for one in value]
    return value


def _refuse_misnamed_tables(document: Mapping[str, Any], path: Path) -> None:
    """A table that is ours but for its name would be settings that nobody reads."""
    tools = document.get("tool", {})
    names = [f"tool.{name}" for name in tools] if isinstance(tools, dict) else []
    for name in (*names, *document):
        bare = name.removeprefix("tool.")
        if name == f"tool.{_TABLE}" or difflib.SequenceMatcher(None, bare.lower(), _TABLE).ratio() < _SLIP_MIN:
            continue
        raise SettingsError(f"{path}: nobody reads [{name}]; the table of uring-matrix is [tool.{_TABLE}]")


def _parse_mirror(value: object, origin: str) -> str:
    text = value.strip() if isinstance(value, str) else str(value)
    parts = text.split()
    if not isinstance(value, str) or not 1 <= len(parts) <= 2 or not all(":/" in part for part in parts):
        raise SettingsError(
            f"{origin} is {text!r}; it has to be the URI of a Debian archive as it stands in sources.list "
            "(the folder that has dists/ in it), optionally followed by a space and the security archive's URI"
        )
    return " ".join(part.rstrip("/") for part in parts)


def _parse_cache(value: object, origin: str) -> Path:
    if not isinstance(value, str | os.PathLike) or not str(value).strip():
        raise SettingsError(f"{origin} is {value!r}; it has to be a directory")
    path = Path(value)
    try:
        path = path.expanduser()
    except RuntimeError as error:
        raise SettingsError(f"{origin} is {str(value)!r}, but this user has no home directory") from error
    return path.absolute()


def _parse_accel(value: object, origin: str) -> AccelChoice:
    choices = get_args(AccelChoice)
    if value not in choices:
        raise SettingsError(f"{origin} is {value!r}; it has to be one of {', '.join(choices)}")
    return cast("AccelChoice", value)


def _parse_offline(value: object, origin: str) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise SettingsError(f"{origin} is {value!r}; it has to be 1 or 0")


def _parse_packages(value: object, origin: str) -> tuple[str, ...]:
    names = _strings(value, origin, 'distributions: ["hypothesis"]')
    for name in names:
        if not _PACKAGE.fullmatch(name):
            raise SettingsError(
                f"{origin} has {name!r}; it has to be the name of an installed distribution: hypothesis"
            )
    return names


def _parse_env(value: object, origin: str) -> tuple[str, ...]:
    entries = _strings(value, origin, 'variables: ["NAME", "NAME=VALUE"]')
    for entry in entries:
        if not _VARIABLE.fullmatch(entry.partition("=")[0]) or "\0" in entry:
            raise SettingsError(f"{origin} has {entry!r}; it has to be NAME or NAME=VALUE")
    return entries


def _parse_known_issues(value: object, origin: str) -> tuple[Path, ...]:
    names = [value] if isinstance(value, str) else value
    files = _strings(names, origin, 'files: ["known-issues.toml"]')
    if not all(name.strip() for name in files):
        raise SettingsError(f"{origin} is {value!r}; it has to be a file")
    return tuple(Path(name) for name in files)


def _strings(value: object, origin: str, what: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise SettingsError(f"{origin} is {value!r}; it has to be a list of {what}")
    return tuple(value)


_PARSERS: Mapping[str, Callable[[object, str], Any]] = {
    "mirror": _parse_mirror,
    "cache": _parse_cache,
    "accel": _parse_accel,
    "offline": _parse_offline,
    "packages": _parse_packages,
    "env": _parse_env,
    "known-issues": _parse_known_issues,
}
