"""Python's warnings from guests, for the host's pytest to sum up."""

import importlib
import warnings
from collections.abc import Mapping
from typing import Any

from harness.source_tree import SourceTree


def read(data: Mapping[str, Any], tree: SourceTree) -> warnings.WarningMessage:
    """Make a warning of what a guest wrote down of one."""
    category = _category(*data["category"])
    try:
        message = category(data["message"])
    except TypeError:  # a class of the tests' own, with arguments of its own
        category = _stand_in(*data["category"])
        message = category(data["message"])
    return warnings.WarningMessage(
        message=message, category=category, filename=tree.host_path(data["filename"]), lineno=data["lineno"]
    )


def _category(module: str, name: str) -> type[Warning]:
    """The class of a warning, by where it was defined; one of the same name if it is not to be had here."""
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        found = None
    return found if isinstance(found, type) and issubclass(found, Warning) else _stand_in(module, name)


def _stand_in(module: str, name: str) -> type[Warning]:
    return type(name.rpartition(".")[2], (Warning,), {"__module__": module})
