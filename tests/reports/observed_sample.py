"""Results as a run gives them that observes every capability: made of what kernels were seen to have."""

import json
import tomllib
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from sample import GENERATOR, HOST, STARTED

from conformance.capabilities import CAPABILITIES, Capability
from conformance.plugin import SUITE
from reports.records import Documented
from reports.results import Kernel, Mode, Result, Results, Status, Test, annotate, read_known_issues

OBSERVED = json.loads((Path(__file__).parents[1] / "uring/observed.json").read_text(encoding="utf-8"))["kernels"]
STATUS = {"has": Status.PASS, "lacks": Status.UNSUPPORTED}
REASONS = {"off": "CONFIG_NET_RX_BUSY_POLL is not set", "not-determinable": "no network card"}


def test_of(one: Capability) -> Test:
    return Test(
        id=one.id,
        title=one.title,
        kind="capability",
        symbols=one.symbols,
        group=one.kind,
        doc=one.sentence,
        since=one.since,
        detect=one.detect,
        number=one.number,
        documented=tuple(Documented(since=source.version, where=source.where) for source in one.sources),
    )


test_of.__test__ = False  # type: ignore[attr-defined]


def row_of(one: str, kernel: str, state: str, **fields: Any) -> Result:
    return Result(
        test=one,
        kernel=kernel,
        arch="amd64",
        mode="default",
        status=STATUS.get(state, Status.SKIP),
        state=state,
        reason=REASONS.get(state, ""),
        evidence=(f"a request for {one}: {state}",),
        **fields,
    )


def observed_results() -> Results:
    """Every capability on every kernel, with the suite's known issues."""
    rows = [
        row_of(
            one.id,
            series,
            next((state for state, names in known["others"].items() if one.id in names), "has"),
            value=known["values"].get(one.id),
        )
        for series, known in OBSERVED.items()
        for one in CAPABILITIES
    ]
    assert SUITE.known_issues is not None
    return annotate(
        Results(
            generator=GENERATOR,
            started=STARTED,
            finished=STARTED,
            complete=True,
            command=("uring-matrix", "run"),
            host=HOST,
            kernels=tuple(
                Kernel(id=series, series=series, arch="amd64", source="debian", release=known["release"], booted=True)
                for series, known in OBSERVED.items()
            ),
            tests=tuple(map(test_of, CAPABILITIES)),
            modes=(Mode(id="default"),),
            results=tuple(rows),
            known_issues=read_known_issues([SUITE.known_issues]),
        )
    )


def with_state(results: Results, test: str, kernel: str, state: str, **fields: Any) -> Results:
    """Have a kernel have something else than it was seen to have."""
    rows = tuple(
        row_of(test, kernel, state, **fields) if (row.test, row.kernel) == (test, kernel) else row
        for row in results.results
    )
    return annotate(replace(results, results=rows))


def disagreements() -> list[dict[str, Any]]:
    """As they are written down."""
    path = Path(__file__).parents[2] / "conformance/capabilities/disagreements.toml"
    return list(tomllib.loads(path.read_text(encoding="utf-8"))["disagreement"])
