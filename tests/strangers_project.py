"""A project of somebody else's, made of nothing but what README says: its test, and its five lines of CI."""

import re
from pathlib import Path
from typing import Any

import yaml
from tree import ROOT
from workflow_runner import Runner

_README = (ROOT / "README.md").read_text()
ACTION = "OWNER/uring-matrix@main"


def test_file() -> tuple[str, str]:
    """README's test: its file's name, and its text."""
    text = next(block for block in re.findall(r"```python\n(.*?)```", _README, re.DOTALL) if "# my_tests/" in block)
    return text.split("\n", 1)[0].removeprefix("# "), text


def lines() -> str:
    """The five lines."""
    (block,) = re.findall(r"```yaml\n(.*?)```", _README, re.DOTALL)
    return block


def runner(artifacts: Path, environment: dict[str, str], action: Path, **inputs: str | None) -> Runner:
    """A CI service with one job, whose one step are the five lines.

    Args:
        artifacts: a directory that is not there yet.
        environment: of every step.
        action: a checkout of this tree.
        inputs: what to write into the lines, by name; None leaves one out.
    """
    (step,) = yaml.safe_load(lines())
    assert step["uses"] == ACTION
    given: dict[str, Any] = {name.replace("_", "-"): value for name, value in inputs.items()}
    step["with"] = {name: value for name, value in {**step["with"], **given}.items() if value is not None}
    step["id"] = "kernels"
    outputs = {name: f"${{{{ steps.kernels.outputs.{name} }}}}" for name in ("results", "exit-code")}

    def prepare(directory: Path) -> None:
        name, text = test_file()
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)

    return Runner(
        {"jobs": {"kernels": {"steps": [step], "outputs": outputs}}},
        prepare=prepare,
        artifacts=artifacts,
        environment=environment,
        actions={ACTION: action},
    )
