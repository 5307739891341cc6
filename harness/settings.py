"""Settings of the harness: what guests are given beside the tests, from `[tool.uring-matrix]` in pyproject.toml."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class HarnessSettings:
    """What a project sets once, instead of giving it as options with every run."""

    # Third-party packages for guests, as `--guest-package` takes them.
    packages: tuple[str, ...] = ()
    # Environment variables, as `--guest-env` takes them.
    env: tuple[str, ...] = ()

    @classmethod
    def load(cls) -> Self:
        """Read them."""
        return cls()
