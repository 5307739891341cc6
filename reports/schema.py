"""The JSON Schema of results.json, generated from the records: `python -m reports.schema` writes it anew."""

from pathlib import Path
from typing import Any

import msgspec

from reports.records import SCHEMA_VERSION, Results

PATH = Path(__file__).with_name("results.schema.json")

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


def schema_text() -> str:
    """Return the schema as the checked-in file has it."""
    return msgspec.json.format(msgspec.json.encode(results_schema()), indent=2).decode() + "\n"


if __name__ == "__main__":
    PATH.write_text(schema_text(), encoding="utf-8")
