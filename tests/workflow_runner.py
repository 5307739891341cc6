"""Runs the jobs of a workflow file as they stand in it: their `run:` steps in bash, their artifacts as folders.

Only what our workflows use is understood; anything else is an error, so that nothing is skipped unseen.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")
# Actions whose effect does not matter here: the tree is copied, and nothing is published.
_WITHOUT_EFFECT = ("actions/checkout@", "actions/cache@", "actions/deploy-pages@")


@dataclass
class Ended:
    """One job that ran."""

    name: str
    # The exit code of the step that failed first, or 0.
    code: int
    outputs: dict[str, str]
    # Everything its steps printed.
    log: str


@dataclass
class Runner:
    """A CI service of our own.

    Attributes:
        document: the workflow.
        prepare: makes a fresh checkout in a directory that is not there yet.
        artifacts: where uploads go, a folder each.
        environment: of every step.
        inputs: what the workflow was started with.
    """

    document: Mapping[str, Any]
    prepare: Callable[[Path], None]
    artifacts: Path
    environment: Mapping[str, str]
    inputs: Mapping[str, str] = field(default_factory=dict)
    done: dict[str, list[Ended]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, **options: Any) -> "Runner":
        """Read a workflow."""
        return cls(yaml.safe_load(path.read_text()), **options)

    def run(self, job: str, workspace: Path) -> list[Ended]:
        """Run a job, once per entry of its matrix. The jobs it needs have to have run before."""
        definition = self.document["jobs"][job]
        needs = definition.get("needs", [])
        for needed in [needs] if isinstance(needs, str) else needs:
            assert needed in self.done, f"{job} needs {needed}"
        matrix = definition.get("strategy", {}).get("matrix", {})
        assert len(matrix) <= 1, "a matrix of one dimension only"
        runs = [{}]
        for name, values in matrix.items():
            runs = [{name: value} for value in (self.evaluate(values, {}) if isinstance(values, str) else values)]
        ended = []
        for number, entry in enumerate(runs):
            ended.append(self._run_once(definition, {"matrix": entry}, workspace / f"{job}-{number}"))
        self.done[job] = ended
        return ended

    def _run_once(self, job: Mapping[str, Any], context: dict[str, Any], directory: Path) -> Ended:
        self.prepare(directory)
        context["steps"] = {}
        code, log = 0, ""
        for step in job["steps"]:
            if code != 0 and step.get("if") != "always()":
                continue
            if "uses" in step:
                self._use(step, context, directory)
                continue
            outputs = directory.parent / f"{directory.name}.outputs"
            outputs.write_text("")
            environment = {name: str(self.substitute(value, context)) for name, value in step.get("env", {}).items()}
            assert not _EXPRESSION.search(step["run"]), "an expression in a script is code from outside"
            # What GitHub starts for `shell: bash`.
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                cwd=directory,
                env={**self.environment, **environment, "GITHUB_OUTPUT": str(outputs)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            log += f"$ {step['run']}{done.stdout}"
            code = code or done.returncode
            written = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
            context["steps"][step.get("id", "")] = {"outputs": written}
        named = {name: str(self.substitute(value, context)) for name, value in job.get("outputs", {}).items()}
        return Ended(str(self.substitute(job.get("name", ""), context)), code, named, log)

    def _use(self, step: Mapping[str, Any], context: Mapping[str, Any], directory: Path) -> None:
        # YAML's true is JavaScript's.
        given = {name: str(value).lower() if value is True else value for name, value in step.get("with", {}).items()}
        options = {name: str(self.substitute(value, context)) for name, value in given.items()}
        action = step["uses"]
        if action.startswith("actions/upload-artifact@"):
            assert any((directory / options["path"]).iterdir()), "if-no-files-found: error"
            shutil.copytree(directory / options["path"], self.artifacts / options["name"])
        elif action.startswith("actions/download-artifact@"):
            assert options["merge-multiple"] == "true", "else it depends on their number where they are unpacked"
            for folder in sorted(self.artifacts.glob(options["pattern"])):
                shutil.copytree(folder, directory / options["path"], dirs_exist_ok=True)
        elif action.startswith("actions/upload-pages-artifact@"):
            shutil.copytree(directory / options["path"], self.artifacts / "github-pages")
        else:
            assert action.startswith(_WITHOUT_EFFECT), f"nobody knows what {action} does"

    # -- expressions --------------------------------------------------------------------------------------------------

    def substitute(self, text: Any, context: Mapping[str, Any]) -> Any:
        """Replace the expressions in a value."""
        if not isinstance(text, str):
            return text
        return _EXPRESSION.sub(lambda match: str(self.evaluate(match[0], context)), text)

    def evaluate(self, expression: str, context: Mapping[str, Any]) -> Any:
        """Work out one expression: a name, `name || 'text'`, `fromJSON(name).field`."""
        text = expression.strip().removeprefix("${{").removesuffix("}}").strip()
        text, _, otherwise = (part.strip() for part in text.partition("||"))
        match = re.fullmatch(r"fromJSON\(([\w.-]+)\)\.(\w+)", text)
        if match:
            return json.loads(self._name(match[1], context))[match[2]]
        value = self._name(text, context)
        return otherwise.strip("'") if value in {"", None} and otherwise else value

    def _name(self, name: str, context: Mapping[str, Any]) -> Any:
        known: dict[str, Any] = {
            **context,
            "inputs": self.inputs,
            "needs": {job: {"outputs": ended[0].outputs} for job, ended in self.done.items()},
            "github": {"ref": "refs/heads/main", "run_id": "1"},
        }
        value: Any = known
        for part in name.split("."):
            value = value.get(part, "") if isinstance(value, Mapping) else value[part]
        return value


def clean_environment(**changes: str) -> dict[str, str]:
    """This process's environment without what pytest, tox and virtual environments put into it."""
    unwanted = re.compile(r"TOX|PYTEST|VIRTUAL_ENV|PYTHON|COV|URING_MATRIX|GITHUB")
    return {**{name: value for name, value in os.environ.items() if not unwanted.match(name)}, **changes}
