"""Whose kernel a column is, and whose is not there."""

import re
from itertools import chain

import pytest
import sample
from msgspec.structs import replace

from reports.distributions import by_name, distribution_of, distributions, untested
from reports.versions import parse_series


def test_the_data_is_consistent() -> None:
    every = distributions()
    names = list(chain.from_iterable(one.names for one in every))
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"[a-z0-9.]+", name)] == []
    assert all(parse_series(one.series) for one in every)
    suites = list(chain.from_iterable(one.suites for one in every))
    assert len(set(suites)) == len(suites)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("debian12", "Debian 12"),
        ("bookworm", "Debian 12"),
        ("Debian 12", "Debian 12"),
        ("ubuntu-22.04", "Ubuntu 22.04"),
        ("EL9", "RHEL 9"),
    ],
)
def test_a_distribution_is_found_by_what_people_call_it(text: str, name: str) -> None:
    found = by_name(text)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("text", ["6.1", "debian", "debian99", ""])
def test_what_is_none_is_none(text: str) -> None:
    assert by_name(text) is None


def test_a_column_is_a_distributions_kernel_only_if_it_is_from_its_suites() -> None:
    kernels = {kernel.id: kernel for kernel in sample.kernel_records()}
    found = distribution_of(kernels["6.1"])
    assert found is not None
    assert found.name == "Debian 12"
    assert distribution_of(replace(kernels["6.1"], suite="sid")) is None
    assert distribution_of(replace(kernels["6.1"], source="path", suite=None)) is None
    # A backport of a later series is no release's own kernel.
    assert distribution_of(replace(kernels["7.0"], suite="bookworm")) is None


def test_what_was_not_tested_is_named_the_oldest_first() -> None:
    names = [one.name for one in untested(sample.kernel_records())]
    assert names[:3] == ["Ubuntu 20.04", "RHEL 9", "Ubuntu 22.04"]
    assert not {"Debian 11", "Debian 12", "Debian 13"} & set(names)
    assert "Debian 12" in [one.name for one in untested([])]
