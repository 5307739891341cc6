"""can.json: the site's answers for programs, as its schema says and as the results have them."""

import json

import jsonschema
import pytest
import sample
from msgspec.structs import replace

from reports.results import Status
from reports.schema import CAN_PATH, can_schema, schema_text
from reports.site import render

REGRESSED = sample.with_cell(sample.whole(), "test_nop", "7.3", status=Status.FAIL)
# The newest kernel did not boot, and yet the run came to its end with a row for each cell.
UNBOOTED = replace(
    sample.whole(),
    results=tuple(
        replace(row, status=Status.INFRA, qualifiers=()) if row.kernel == "7.3" else row
        for row in sample.whole().results
    ),
    kernels=tuple(
        replace(kernel, booted=False, error="no boot") if kernel.id == "7.3" else kernel
        for kernel in sample.whole().kernels
    ),
)
RUNS = {
    "whole": sample.whole(),
    "unbooted": UNBOOTED,
    "every verdict": sample.every_verdict(),
    "two modes": sample.whole((sample.DEFAULT, sample.DEFER_TASKRUN)),
    "one kernel": sample.on_this_machine(),
    "empty": replace(sample.whole(), results=(), complete=False),
    "hostile": replace(
        sample.whole(), tests=tuple(replace(test, title="\ud800<script>\u202e") for test in sample.whole().tests)
    ),
}


def can(results):
    return json.loads(dict(render(results))["can.json"])


def test_the_checked_in_schema_is_current():
    """If this fails: `python -m reports.schema`."""
    assert schema_text(can_schema()) == CAN_PATH.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", RUNS)
def test_it_fulfils_the_schema_and_its_addresses_are_there(name):
    schema = json.loads(CAN_PATH.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    files = dict(render(RUNS[name]))
    found = json.loads(files["can.json"])
    jsonschema.Draft202012Validator(schema).validate(found)
    assert found["complete"] is RUNS[name].complete
    for one in (*found["kernels"], *found["capabilities"].values()):
        assert one["url"] in files
    assert {name for names in found["symbols"].values() for name in names} <= set(found["capabilities"])


def test_it_says_from_which_kernel_on_and_how_exactly():
    found = can(sample.whole())["capabilities"]
    waitid = found["waitid"]
    assert (waitid["basis"], waitid["documented"], waitid["symbols"]) == ("tested", "6.7", ["IORING_OP_WAITID"])
    (support,) = waitid["support"]
    assert (support["version_added"], support["version_exact"], support["not_on"]) == ("6.12", "6.12.94", "6.1.170")
    assert not support["is_exact"]
    assert support["distributions"] == {"Debian 12": False, "Debian 13": True} | (
        {"Debian 11": False} if "Debian 11" in support["distributions"] else {}
    )
    pipe = found["op-nop128"]["support"][0]
    assert (found["op-nop128"]["basis"], pipe["version_added"], pipe["is_exact"]) == ("stated", "6.19", True)


def test_what_was_lost_is_partial_and_says_when():
    (support,) = can(REGRESSED)["capabilities"]["nop"]["support"]
    assert (support["partial"], support["version_removed"]) == (True, "7.3-rc5")
    assert not can(sample.whole())["capabilities"]["nop"]["support"][0]["partial"]


@pytest.mark.parametrize(
    ("results", "text"),
    [
        (sample.whole(), "41 of 41 on 7.3"),
        (REGRESSED, "40 of 41 on 7.3, 1 lost"),
        (RUNS["every verdict"], "40 of 41 on 7.3, 4 lost"),
        (RUNS["empty"], "no verdict"),
        (UNBOOTED, "41 of 41 on 7.2, 41 without a verdict"),
        (replace(sample.whole(), complete=False), "41 of 41 on 7.3, incomplete"),
    ],
)
def test_the_badge_says_it_in_a_few_words(results, text):
    badge = dict(render(results))["badge.svg"]
    assert f"<title>io_uring: {text}</title>" in badge
    assert badge.startswith("<svg ")


def test_a_badge_is_green_only_where_all_is_well():
    colours = {
        name: "#1a7f3c" in dict(render(results))["badge.svg"]
        for name, results in {
            **RUNS,
            "regressed": REGRESSED,
            "cut off": replace(sample.whole(), complete=False),
        }.items()
    }
    assert [name for name, is_green in colours.items() if is_green] == ["whole", "two modes", "one kernel", "hostile"]
