"""The published schema: current, valid, and fulfilled by what is written."""

import json
import subprocess
import sys

import jsonschema
import pytest
import sample

from reports.results import encode, fold
from reports.schema import PATH, PROMISED, schema_text


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(PATH.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_checked_in_schema_is_current():
    """If this fails: `python -m reports.schema`."""
    assert schema_text() == PATH.read_text(encoding="utf-8")


@pytest.mark.parametrize("make", [sample.whole, sample.every_verdict], ids=["whole", "every verdict"])
def test_written_results_fulfil_the_schema(validator, make):
    validator.validate(json.loads(encode(make())))


def test_a_folded_journal_fulfils_the_schema(validator, tmp_path):
    sample.journal(tmp_path / "results.jsonl", sample.every_verdict()).close()
    validator.validate(json.loads(encode(fold(tmp_path / "results.jsonl"))))


PROMISES = [(name, field) for name, fields in PROMISED.items() for field in fields]


def first(raw, name):
    """Find one record of a kind in the JSON."""
    return {
        "Results": lambda: raw,
        "Generator": lambda: raw["generator"],
        "Host": lambda: raw["host"],
        "Kernel": lambda: raw["kernels"][0],
        "Test": lambda: raw["tests"][0],
        "Mode": lambda: raw["modes"][0],
        "Result": lambda: raw["results"][0],
    }[name]()


@pytest.mark.parametrize(("name", "field"), PROMISES, ids=[f"{name}.{field}" for name, field in PROMISES])
def test_every_promised_field_is_required(validator, name, field):
    raw = json.loads(encode(sample.whole()))
    del first(raw, name)[field]
    assert not validator.is_valid(raw)


def test_unknown_verdicts_and_versions_break_the_schema(validator):
    for change in ({"schema_version": 2}, {"complete": "yes"}, {"results": [{}]}):
        assert not validator.is_valid(json.loads(encode(sample.whole())) | change)


def test_importing_the_results_needs_no_templates():
    """The guest-side recorder and the command line's start-up pay for what they use only."""
    code = (
        "import sys, reports.results; print([name for name in ('jinja2', 'jsonschema', 'rich') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
