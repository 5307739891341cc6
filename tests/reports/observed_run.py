"""The sample run, with every capability observed: as the kernels of tests/uring/observed.json were found."""

import json
from functools import cache
from pathlib import Path

import sample
from msgspec.structs import replace

from conformance.capabilities.observed import described
from reports.results import Result, Results, Status, Test, annotate

_SEEN = json.loads((Path(__file__).parents[1] / "uring" / "observed.json").read_text(encoding="utf-8"))["kernels"]
_STATUSES = {"has": Status.PASS, "lacks": Status.UNSUPPORTED}
# What the kernels have a word of their own for
_CLAIMED = {"Operations", "Features"}


@cache
def capability_tests():
    fields = ("id", "kind", "title", "group", "doc", "since", "detect", "number")
    return tuple(
        Test(
            **{name: one[name] for name in fields},
            symbols=tuple(one["symbols"]),
            documented=tuple(documented(**source) for source in one["documented"]),
            node=f"conformance/capabilities/observed.py::{one['id']}",
            source="uring/observe/operations.py:1",
        )
        for one in described()
    )


def documented(since, where):
    from reports.records import Documented

    return Documented(since=since, where=where)


def row(test, kernel, state, *, value=None, evidence=None, claimed=None):
    evidence = evidence or {"has": "0", "lacks": "EINVAL"}.get(state, "needs what is not here")
    reasons = {"has": "", "lacks": evidence, "off": f"switched off: {evidence}"}
    return Result(
        test=test,
        kernel=kernel,
        arch="amd64",
        mode="default",
        status=_STATUSES.get(state, Status.SKIP),
        state=state,
        reason=reasons.get(state, f"not determinable: {evidence}"),
        evidence=(evidence,),
        value=value,
        claimed=claimed,
    )


@cache
def whole() -> Results:
    run = sample.whole()
    return annotate(
        replace(
            run,
            tests=(*run.tests, *capability_tests()),
            results=(*run.results, *(one for kernel in run.kernels for one in rows_of(kernel.id))),
        )
    )


def rows_of(kernel):
    seen = _SEEN[kernel]
    states = {name: state for state, names in seen["others"].items() for name in names}
    for test in capability_tests():
        state = states.get(test.id, "has")
        claimed = state == "has" if test.group in _CLAIMED else None
        yield row(test.id, kernel, state, value=seen["values"].get(test.id), claimed=claimed)


def with_row(run, test, kernel, *args, **changes) -> Results:
    """Observe something else in one cell."""
    new = row(test, kernel, *args, **changes)
    return annotate(replace(run, results=tuple(new if one.key == new.key else one for one in run.results)))
