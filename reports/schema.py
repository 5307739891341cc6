"""The JSON Schemas of results.json and can.json, generated from the records: `python -m reports.schema` writes both."""

from pathlib import Path
from typing import Any

import msgspec

from reports.records import SCHEMA_VERSION, Results
from reports.site.can_json import Can

PATH = Path(__file__).with_name("results.schema.json")
CAN_PATH = Path(__file__).with_name("can.schema.json")

# What every results.json of schema_version 1 has. Readers forgive what is missing and does not matter; writers owe
# all of it. Fields beyond these may come and go with the program's version.
PROMISED = {
    name: tuple(fields.split())
    for name, fields in {
        "Results": "schema_version generator started finished complete command host kernels tests modes results",
        "Generator": "name version",
        "Host": "kernel machine cpus python qemu accel",
        "Kernel": """id series release version arch source package package_version sha256 cmdline config features
                     booted boot_seconds error""",
        "Test": "id title zig group doc since source",
        "Mode": "id flags since",
        "Result": """test kernel arch mode status reason expected actual duration_s attempts dmesg evidence
                     qualifiers""",
    }.items()
}


def results_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) that every results.json we write fulfils."""
    (reference,), definitions = msgspec.json.schema_components((Results,), ref_template="#/$defs/{name}")
    for name, fields in PROMISED.items():
        definition = definitions[name]
        unknown = set(fields) - definition["properties"].keys()
        if unknown:
            raise ValueError(f"{name} lacks the promised fields {sorted(unknown)}")
        definition["required"] = list(fields)
    definitions["Results"]["properties"]["schema_version"] = {"const": SCHEMA_VERSION}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "results.json of uring-matrix, schema_version 1",
        "description": (
            "Times are RFC 3339 in UTC. Every planned (test, kernel, arch, mode) has exactly one row. "
            "Unknown fields are to be ignored."
        ),
        **reference,
        "$defs": definitions,
    }


def can_schema() -> dict[str, Any]:
    """Return the schema of the answers that a site has for programs."""
    (reference,), definitions = msgspec.json.schema_components((Can,), ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "can.json of uring-matrix, schema_version 1",
        "description": (
            "From which kernel on each capability works, per architecture and mode. Versions are kernel series; the "
            "fields named _exact, _on and _removed are releases. Unknown fields are to be ignored."
        ),
        **reference,
        "$defs": definitions,
    }


def schema_text(schema: dict[str, Any] | None = None) -> str:
    """Return a schema (that of results.json) as the checked-in file has it."""
    return msgspec.json.format(msgspec.json.encode(schema or results_schema()), indent=2).decode() + "\n"


if __name__ == "__main__":
    PATH.write_text(schema_text(), encoding="utf-8")
    CAN_PATH.write_text(schema_text(can_schema()), encoding="utf-8")
