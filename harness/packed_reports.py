"""Sends reports from pytest-xdist's workers to its controller in one piece each: that of a cell has 120 strings.

execnet writes and reads plain data in Python, value by value, which took half of a worker's time. Plugins see no
difference: the last thing that happens to a report is that it is packed, and the first that it is unpacked.
"""

import marshal
from collections.abc import Iterator
from typing import Any, cast

import pytest

_PACKED = "matrix_packed"
# What every Python since 3.4 reads: a worker's need not be the controller's.
_VERSION = 4


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_report_to_serializable(config: pytest.Config) -> Iterator[Any]:
    """Pack it, in a worker."""
    data = yield
    if data is None or not hasattr(config, "workerinput"):
        return data
    try:
        return {_PACKED: marshal.dumps(data, _VERSION)}
    except ValueError:  # no plain data: it is execnet's to say so
        return data


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_report_from_serializable(data: dict[str, Any]) -> Iterator[Any]:
    """Unpack it."""
    plain = unpacked(data)
    if plain is not data:
        del data[_PACKED]
        data.update(plain)
    return (yield)


def unpacked(data: dict[str, Any]) -> dict[str, Any]:
    """What a serialized report says, for whoever reads it in the worker that made it."""
    packed = data.get(_PACKED)
    if packed is None:
        return data
    return cast(dict[str, Any], marshal.loads(packed))  # noqa: S302 - from this session, and marshal has plain data only
