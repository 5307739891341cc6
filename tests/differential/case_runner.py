"""Runs a case, plain or with a kernel, and keeps all that can be seen of it."""

import dataclasses
import json
import os
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from case_model import Case

KERNEL = "6.1"
_OBSERVER = Path(__file__).with_name("observer.py")
_TIMEOUT_S = 300
# Of the outer pytest, of tox, and of whoever started them.
_NOT_INHERITED = ("PYTEST_", "TOX", "PYTHON", "COV_")
_NOT_INHERITED_EITHER = {"CI", "BUILD_NUMBER", "COLUMNS", "NO_COLOR", "FORCE_COLOR", "PY_COLORS", "VIRTUAL_ENV"}


@dataclasses.dataclass(frozen=True, slots=True)
class Observation:
    """One run of pytest, as others see it."""

    code: int
    records: Sequence[dict[str, Any]]
    junit: ET.Element | None
    screen: str
    errors: str


def run_case(case: Case, python: Path, room: Path, *, kernel: str | None) -> list[Observation]:
    """Lay the project out anew and run pytest in it, once for each of the case's runs.

    Args:
        case: what to run.
        python: the interpreter of the environment that the case asks for.
        room: an empty folder of the case's own. Both ways to run see the project at the same place in it.
        kernel: where the tests run; None for this process.
    """
    project = room / "project"
    case.write(project)
    kept = room / ("plain" if kernel is None else "kernel")
    kept.mkdir(exist_ok=True)
    return [
        _run(case, arguments, python, project, kept / str(number), kernel)
        for number, arguments in enumerate(case.runs, 1)
    ]


def _run(
    case: Case, arguments: Sequence[str], python: Path, project: Path, kept: Path, kernel: str | None
) -> Observation:
    kept.mkdir(exist_ok=True)
    records, junit = kept / "records.jsonl", kept / "junit.xml"
    for old in (records, junit):
        old.unlink(missing_ok=True)
    # The file lies where both runs write it: arguments are part of what tests see.
    shared = project.with_name("junit.xml")
    shared.unlink(missing_ok=True)
    command = [
        str(python),
        str(_OBSERVER),
        str(records),
        "script" if case.is_script else "module",
        *([f"--kernel={kernel}", *case.kernel_arguments] if kernel is not None else ()),
        *([f"--junitxml={shared}"] if case.has_junit else ()),
        *arguments,
    ]
    done = subprocess.run(
        command,
        cwd=project / case.directory,
        env=_environment(case, project),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if shared.exists():
        shared.rename(junit)
    observation = Observation(
        done.returncode,
        [json.loads(line) for line in records.read_text("ascii").splitlines()] if records.exists() else [],
        ET.fromstring(junit.read_bytes()) if junit.exists() else None,
        done.stdout.decode("utf-8", "backslashreplace"),
        done.stderr.decode("utf-8", "backslashreplace"),
    )
    # For whoever looks into a difference.
    (kept / "screen.txt").write_text(observation.screen, encoding="utf-8")
    (kept / "errors.txt").write_text(observation.errors, encoding="utf-8")
    (kept / "code.txt").write_text(f"{observation.code}\n", encoding="ascii")
    return observation


def _environment(case: Case, project: Path) -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_NOT_INHERITED) and name not in _NOT_INHERITED_EITHER
    }
    temporary = project.with_name("temporary")
    temporary.mkdir(exist_ok=True)
    return {
        **inherited,
        "LANG": "C.UTF-8",
        "COLUMNS": "400",  # nothing is cut off
        "PYTEST_DEBUG_TEMPROOT": str(temporary),
        **case.environment,
    }
