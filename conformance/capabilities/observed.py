"""The capabilities as pytest has them: ids are `conformance/capabilities/observed.py::op-ftruncate`."""

from collections.abc import Iterator
from typing import Any

from conformance.capabilities import BY_ID
from uring.observe import REQUESTS, ordered

# In the order in which readers meet them.
_GROUPS = {
    "operation": "Operations",
    "setup-flag": "Setup flags",
    "feature": "Features",
    "sqe-flag": "SQE flags",
    "cqe-flag": "CQE flags",
    "enter-flag": "Enter flags",
    "ring-flag": "Ring flags",
    "request-flag": "Request flags",
    "sub-feature": "Sub-features",
    "registration": "Registrations",
    "limit": "Limits",
}


def described() -> Iterator[dict[str, Any]]:
    """Every capability in the order in which they are observed: what has crashed or hung kernels before comes last.

    Yields:
        What `harness.suites.Observation.describe` has.
    """
    places = {identifier: place for place, identifier in enumerate(BY_ID)}
    for request in sorted(ordered(), key=lambda one: (one.is_risky, places[one.id])):
        one = BY_ID[request.id]
        yield {
            "id": one.id,
            "function": REQUESTS[one.id].ask,
            "kind": "capability",
            "title": one.title,
            "symbols": list(one.symbols),
            "group": _GROUPS[one.kind],
            "doc": one.sentence,
            "since": one.since,
            "detect": one.detect,
            "number": one.number,
            "documented": [{"since": source.version, "where": source.where} for source in one.sources],
        }
