"""The cases, by what they are about."""

from cases import (
    collectors,
    display,
    exceptions,
    files,
    fixtures,
    hooks,
    imports,
    names,
    options,
    outcomes,
    output,
    packages,
    processes,
    selection,
    settings,
    unittests,
    warned,
)

_MODULES = (
    options,
    settings,
    warned,
    imports,
    files,
    names,
    selection,
    outcomes,
    fixtures,
    unittests,
    collectors,
    exceptions,
    output,
    display,
    hooks,
    processes,
    packages,
)
CASES = [case for module in _MODULES for case in module.CASES]
