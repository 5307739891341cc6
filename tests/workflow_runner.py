"""Runs the jobs of a workflow file as they stand in it: their `run:` steps in bash, their artifacts as folders, the
steps of a composite action as those of the job that uses it.

Only what our workflows use is understood; anything else is an error, so that nothing is skipped unseen.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")
# Actions whose effect does not matter here: the tree is copied, and nothing is published.
_WITHOUT_EFFECT = ("actions/checkout@", "actions/cache@", "actions/deploy-pages@")
_GITHUB = {"ref": "refs/heads/main", "run_id": "1", "repository": "somebody/project", "token": "of no use"}
_STEP_SUMMARY_BYTES_MAX = 1024 * 1024


@dataclass
class Ended:
    """One job that ran."""

    name: str
    # The exit code of the step that failed first, or 0.
    code: int
    outputs: dict[str, str]
    # Everything its steps printed.
    log: str
    # What they left for the page of the run.
    summary: str = ""

    @property
    def errors(self) -> list[str]:
        """The errors at the top of that page."""
        return [line for line in self.log.splitlines() if line.startswith("::error")]


@dataclass
class _Job:
    """One job that is running."""

    directory: Path
    context: dict[str, Any]
    code: int = 0
    log: str = ""
    summary: str = ""


@dataclass
class Runner:
    """A CI service of our own.

    Attributes:
        document: the workflow.
        prepare: makes a fresh checkout in a directory that is not there yet.
        artifacts: where uploads go, a folder each.
        environment: of every step.
        inputs: what the workflow was started with.
        earlier: artifacts of other runs, by the run's number.
        actions: composite actions, by what workflows call them.
    """

    document: Mapping[str, Any]
    prepare: Callable[[Path], None]
    artifacts: Path
    environment: Mapping[str, str]
    inputs: Mapping[str, str] = field(default_factory=dict)
    earlier: Mapping[str, Path] = field(default_factory=dict)
    actions: Mapping[str, Path] = field(default_factory=dict)
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
        if not self._holds(definition.get("if", self._needs_nothing_failed(definition)), {}):
            self.done[job] = []
            return []
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

    def _needs_nothing_failed(self, definition: Mapping[str, Any]) -> str:
        needs = definition.get("needs", [])
        return " && ".join(f"needs.{job}.result == 'success'" for job in ([needs] if isinstance(needs, str) else needs))

    def _run_once(self, definition: Mapping[str, Any], context: dict[str, Any], directory: Path) -> Ended:
        self.prepare(directory)
        temporary = directory.parent / f"{directory.name}.temporary"
        temporary.mkdir()
        context["runner"] = {"temp": str(temporary), "os": "Linux"}
        job = _Job(directory, context)
        self._steps(definition["steps"], job, context)
        named = {name: str(self.substitute(value, context)) for name, value in definition.get("outputs", {}).items()}
        name = str(self.substitute(definition.get("name", ""), context))
        return Ended(name, job.code, named, job.log, job.summary)

    def _steps(self, steps: Iterable[Mapping[str, Any]], job: _Job, context: dict[str, Any]) -> None:
        """Run steps, of a job or of an action in it, whose names are its own."""
        context["steps"] = {}
        for step in steps:
            condition = str(step.get("if", ""))
            if (job.code != 0 and "always()" not in condition) or not self._holds(condition, context):
                continue
            outputs = self._use(step, job, context) if "uses" in step else self._run_step(step, job, context)
            context["steps"][step.get("id", "")] = {"outputs": outputs}

    def _run_step(self, step: Mapping[str, Any], job: _Job, context: Mapping[str, Any]) -> dict[str, str]:
        outputs, summary = (job.directory.parent / f"{job.directory.name}.{name}" for name in ("outputs", "summary"))
        for path in (outputs, summary):
            path.write_text("")
        environment = {name: str(self.substitute(value, context)) for name, value in step.get("env", {}).items()}
        assert not _EXPRESSION.search(step["run"]), "an expression in a script is code from outside"
        # What GitHub starts for `shell: bash`.
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=job.directory,
            env={
                **self.environment,
                "GITHUB_ACTIONS": "true",
                "GITHUB_OUTPUT": str(outputs),
                "GITHUB_STEP_SUMMARY": str(summary),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert summary.stat().st_size <= _STEP_SUMMARY_BYTES_MAX, "GitHub shows none of it"
        job.log += f"$ {step['run']}{done.stdout}"
        job.summary += summary.read_text()
        job.code = job.code or done.returncode
        return dict(line.split("=", 1) for line in outputs.read_text().splitlines())

    def _use(self, step: Mapping[str, Any], job: _Job, context: Mapping[str, Any]) -> dict[str, str]:
        # YAML's true is JavaScript's.
        given = {name: str(value).lower() if value is True else value for name, value in step.get("with", {}).items()}
        options = {name: str(self.substitute(value, context)) for name, value in given.items()}
        action = step["uses"]
        if action in self.actions:
            return self._use_composite(self.actions[action], options, job, context)
        if action.startswith("actions/upload-artifact@"):
            self._upload(job.directory / options["path"], options["name"])
        elif action.startswith("actions/download-artifact@"):
            source = self.earlier[options["run-id"]] if "run-id" in options else self.artifacts
            assert ("name" in options) != ("pattern" in options)
            assert "name" in options or options["merge-multiple"] == "true", "else it depends on their number"
            folders = sorted(source.glob(options.get("pattern", options.get("name", ""))))
            assert folders or "pattern" in options, "an artifact that is named and not there is an error"
            for folder in folders:
                shutil.copytree(folder, job.directory / options["path"], dirs_exist_ok=True)
        elif action.startswith("actions/upload-pages-artifact@"):
            shutil.copytree(job.directory / options["path"], self.artifacts / "github-pages")
        else:
            assert action.startswith(_WITHOUT_EFFECT), f"nobody knows what {action} does"
        return {}

    def _upload(self, path: Path, name: str) -> None:
        if path.is_dir():
            assert any(path.iterdir()), "if-no-files-found: error"
            shutil.copytree(path, self.artifacts / name)
        else:
            (self.artifacts / name).mkdir(parents=True)
            shutil.copy2(path, self.artifacts / name)

    def _use_composite(
        self, place: Path, options: Mapping[str, str], job: _Job, context: Mapping[str, Any]
    ) -> dict[str, str]:
        action = yaml.safe_load((place / "action.yml").read_text())
        assert action["runs"]["using"] == "composite"
        assert options.keys() <= action["inputs"].keys(), "GitHub warns, and goes on without"
        inputs = {name: options.get(name, one.get("default", "")) for name, one in action["inputs"].items()}
        own = {**context, "inputs": inputs, "github": {**_GITHUB, "action_path": str(place)}}
        for step in action["runs"]["steps"]:
            assert "uses" in step or step["shell"] == "bash", "a composite action has no default"
        self._steps(action["runs"]["steps"], job, own)
        return {name: str(self.substitute(one["value"], own)) for name, one in action.get("outputs", {}).items()}

    # -- expressions --------------------------------------------------------------------------------------------------

    def substitute(self, text: Any, context: Mapping[str, Any]) -> Any:
        """Replace the expressions in a value."""
        if not isinstance(text, str):
            return text
        return _EXPRESSION.sub(lambda match: str(self.evaluate(match[0], context)), text)

    def _holds(self, condition: str, context: Mapping[str, Any]) -> bool:
        """Work out the condition of a job or a step: comparisons, all of which have to be true."""
        text = condition.strip().removeprefix("${{").removesuffix("}}").strip()
        return all(self._is_true(one.strip(), context) for one in text.split("&&")) if text else True

    def _is_true(self, term: str, context: Mapping[str, Any]) -> bool:
        if term in ("always()", "!cancelled()"):
            return True
        match = re.fullmatch(r"([\w.-]+) (==|!=) '([^']*)'", term)
        assert match, f"nobody knows whether {term} is true"
        return (str(self._name(match[1], context)) == match[3]) == (match[2] == "==")

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
            "inputs": self.inputs,
            "needs": {job: _needed(ended) for job, ended in self.done.items()},
            "github": _GITHUB,
            **context,
        }
        value: Any = known
        for part in name.split("."):
            value = value.get(part, "") if isinstance(value, Mapping) else value[part]
        return value


def _needed(ended: list[Ended]) -> dict[str, Any]:
    if not ended:
        return {"result": "skipped", "outputs": {}}
    is_good = all(one.code == 0 for one in ended)
    return {"result": "success" if is_good else "failure", "outputs": ended[0].outputs}


def clean_environment(**changes: str) -> dict[str, str]:
    """This process's environment without what pytest, tox and virtual environments put into it."""
    unwanted = re.compile(r"TOX|PYTEST|VIRTUAL_ENV|PYTHON|COV|URING_MATRIX|GITHUB")
    return {**{name: value for name, value in os.environ.items() if not unwanted.match(name)}, **changes}
