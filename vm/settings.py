"""What the user can set, and where it comes from: flag, then environment, then pyproject.toml, then the default."""

import contextlib
import os
import tempfile
import tomllib
from collections.abc import Mapping
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
            overrides: values from flags; None means that the flag was not given.
            environment: instead of `os.environ`.
            directory: where the search for pyproject.toml begins, instead of the current directory.

        Raises:
            SettingsError: a value cannot be meant; the message names where it came from.
        """
        environment = os.environ if environment is None else environment
        values: dict[str, tuple[object, str]] = {}
        for name, value, origin in _from_pyproject(directory):
            values[name] = (value, origin)
        for name, variable in _ENVIRONMENT.items():
            # An empty variable is how shells and CI services spell "not set".
            if environment.get(variable, "") != "":
                values[name] = (environment[variable], variable)
        for name, override in (overrides or {}).items():
            if name not in _ENVIRONMENT:
                raise SettingsError(f"{name!r} is not a setting; there are {', '.join(_ENVIRONMENT)}")
            if override is not None:
                values[name] = (override, f"--{name}")
        parsed: dict[str, Any] = {name: _PARSERS[name](value, origin) for name, (value, origin) in values.items()}
        return cls(**parsed)


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
        except OSError:
            continue
        try:
            document = tomllib.loads(text.decode())
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            # Somebody else's broken file above us is no business of ours unless it speaks of us.
            if b"[tool.uring-matrix]" in text:
                raise SettingsError(f"{path} cannot be read: {error}; mend the file") from error
            continue
        table = document.get("tool", {}).get("uring-matrix")
        if table is None:
            continue
        if not isinstance(table, dict):
            raise SettingsError(f"{path}: [tool.uring-matrix] has to be a table")
        found = []
        for name in _ENVIRONMENT:
            if name in table:
                value = table[name]
                if name == "cache" and isinstance(value, str):
                    value = str(folder / Path(value).expanduser())
                found.append((name, value, f"{path}: tool.uring-matrix.{name}"))
        return found
    return []


def _parse_mirror(value: object, origin: str) -> str:
    text = str(value).strip()
    parts = text.split()
    if not 1 <= len(parts) <= 2 or not all(":/" in part for part in parts):
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


_PARSERS = {"mirror": _parse_mirror, "cache": _parse_cache, "accel": _parse_accel, "offline": _parse_offline}
