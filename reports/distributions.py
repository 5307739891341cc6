"""Distributions by the kernel they have: what a reader calls their machine. The data is distributions.toml."""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import msgspec

from reports.records import Kernel
from reports.versions import parse_series

PATH = Path(__file__).with_name("distributions.toml")


class Distribution(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A release of a distribution."""

    # As a reader writes it: `Debian 12`
    name: str
    # What a command takes for it, in lower case
    names: tuple[str, ...]
    # The series of its kernel
    series: str
    # Those of an apt archive that hold its own kernel
    suites: tuple[str, ...] = ()
    # Its series says what it has; else it carries later features, and nothing can be told from the number
    is_mainline_like: bool = True

    def is_called(self, text: str) -> bool:
        """Say whether a text is a name of it, however it is put together: `Debian 12`, `ubuntu-22.04`."""
        plain = re.sub(r"[\s_-]+", "", text).lower()
        return plain in self.names or plain == re.sub(r"\s+", "", self.name).lower()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    longterm: tuple[str, ...]
    distribution: tuple[Distribution, ...]


@cache
def _file() -> _File:
    return msgspec.toml.decode(PATH.read_bytes(), type=_File)


def distributions() -> tuple[Distribution, ...]:
    """Every distribution there is data about, in the file's order."""
    return _file().distribution


def longterm() -> tuple[str, ...]:
    """The series that are maintained for years, the oldest first."""
    return _file().longterm


def by_name(text: str) -> Distribution | None:
    """Find what somebody calls a distribution: `debian12`, `Debian 12`, `ubuntu-22.04`, `bookworm`."""
    return next((one for one in distributions() if one.is_called(text)), None)


def distribution_of(kernel: Kernel) -> Distribution | None:
    """Say whose kernel a column's is: that of the release whose own suites it was taken from."""
    for one in distributions():
        if kernel.source == "debian" and kernel.suite in one.suites and kernel.series == one.series:
            return one
    return None


def untested(kernels: Iterable[Kernel]) -> tuple[Distribution, ...]:
    """The distributions whose own kernel is none of these, the oldest kernel first."""
    tested = {one.name for one in map(distribution_of, kernels) if one is not None}
    return tuple(
        sorted(
            (one for one in distributions() if one.name not in tested),
            key=lambda one: (parse_series(one.series) or (0, 0), one.name),
        )
    )
