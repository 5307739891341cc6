"""Sends reports from pytest-xdist's workers to its controller in one piece each: that of a cell has 120 strings.

execnet writes and reads plain data in Python, value by value, which took half of a worker's time. Plugins see no
difference: the last thing that happens to a report is that it is packed, and the first that it is unpacked.
"""

import marshal
from collections.abc import Iterator
from typing import Any

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
    if (packed := data.pop(_PACKED, None)) is not None:
        data.update(marshal.loads(packed))  # noqa: S302 - from a worker of this session, and marshal has plain data only
    return (yield)
