"""What the documents tell people to type works: commands parse, examples run, links lead somewhere."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from tree import ROOT

import uring
from conformance.modes import MODES
from harness import plugin
from uring_matrix.cli import cli
from uring_matrix.kernels import Row
from vm.lock import Pin, render_lock

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
# A command in a line of its own; a comment stands behind it.
_COMMAND = re.compile(r"^ *(?:\.venv/bin/)?(uring-matrix [^|\n]*)$", re.MULTILINE)


def commands(path: Path) -> Iterator[str]:
    text = path.read_text()
    for match in _COMMAND.finditer(text):
        # In running text there are such lines as well, and a paragraph is no command.
        line = match[1].partition(" #")[0]
        line = re.split(r" {3,}", line)[0]
        if "…" not in line and "COMMAND" not in line and "RESULTS..." not in line:
            yield line.strip()


ALL_COMMANDS = sorted({command for path in DOCUMENTS for command in commands(path)})


def test_there_are_commands_to_try() -> None:
    assert len(ALL_COMMANDS) > 20
    assert "uring-matrix kernels list" in ALL_COMMANDS


@pytest.mark.parametrize("command", ALL_COMMANDS)
def test_a_command_of_the_documents_is_understood(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parsed, down to the last option; not run."""
    monkeypatch.setattr(os, "environ", {**os.environ})  # some options export a setting
    monkeypatch.chdir(tmp_path)
    pin = Pin("6.1", "6.1", "amd64", "6.1.0", "0" * 64, package="linux-image-6.1", package_version="1-1")
    Path("kernels.lock").write_text(render_lock([pin]))
    arguments = shlex.split(command)[1:]
    group: click.Command = cli
    context = cli.make_context("uring-matrix", [*arguments])
    while isinstance(group, click.Group):
        name, found, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        context = found.make_context(name, rest, parent=context)
        group = found


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / "uring_matrix" / "help_texts.py"], ids=lambda path: path.name)
def test_modes_of_the_examples_exist(path: Path) -> None:
    assert set(re.findall(r"uring-matrix .*--mode ([a-z]\S*)", path.read_text())) <= {*MODES, "all"}


def examples(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)


def test_the_library_example_runs(tmp_path: Path) -> None:
    try:
        uring.IoUring(2).deinit()
    except uring.SyscallError as error:
        pytest.skip(f"this machine gives no ring: {error}")
    (code,) = [code for code in examples(ROOT / "README.md") if "def test_" not in code]
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "SUCCESS b'Linux version" in done.stdout


@pytest.mark.parametrize("document", ["README.md", "docs/pytest.md"])
def test_the_examples_of_tests_pass_on_this_machine(document: str, tmp_path: Path) -> None:
    try:
        uring.IoUring(2).deinit()
    except uring.SyscallError as error:
        pytest.skip(f"this machine gives no ring: {error}")
    (code,) = [code for code in examples(ROOT / document) if "def test_" in code]
    name = re.match(r"# my_tests/(test_\w+\.py)\n", code)
    assert name is not None
    (tmp_path / name[1]).write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--kernel", "host", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"{code.count('def test_')} passed", done.stdout)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_the_fields_of_the_list_are_documented_for_ci() -> None:
    text = (ROOT / "docs" / "ci.md").read_text()
    assert [name for name in Row.__dataclass_fields__ if not re.search(rf'[`"]{name}[`"]', text)] == []


def test_every_option_of_a_run_is_explained() -> None:
    text = (ROOT / "docs" / "usage.md").read_text()
    run = cli.commands["run"]
    options = [parameter for parameter in run.params if isinstance(parameter, click.Option)]
    shown = {option.opts[0] for option in options} - {"--cache", "--mirror", "--offline"}
    assert [option for option in sorted(shown) if f"`{option}" not in text] == []


def test_every_option_of_the_plugin_is_explained() -> None:
    text = (ROOT / "docs" / "pytest.md").read_text()
    options: list[str] = []
    group = SimpleNamespace(addoption=lambda name, **_: options.append(name))
    plugin.pytest_addoption(SimpleNamespace(getgroup=lambda *_: group, addini=lambda *_, **__: None))
    assert "--kernel" in options
    assert [option for option in options if f"`{option}" not in text] == []


def test_the_settings_of_the_readme_are_the_programs() -> None:
    from vm.settings import _ENVIRONMENT, _FLAGS, _PARSERS

    table = (ROOT / "README.md").read_text().partition("## Settings")[2].partition("## ")[0]
    assert [name for name in _ENVIRONMENT.values() if name not in table] == []
    assert [name for name in _PARSERS if not re.search(rf"\| `{name}( = |`)", table)] == []
    assert [flag for flag in _FLAGS.values() if f"`{flag} " not in table] == []


def test_the_verdicts_of_the_readme_are_those_of_the_schema() -> None:
    schema = json.loads((ROOT / "reports" / "results.schema.json").read_text())
    table = (ROOT / "README.md").read_text().split("| Verdict |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) == set(schema["$defs"]["Status"]["enum"])


def test_every_fault_of_the_document_has_the_test_that_it_names() -> None:
    """A name may break off with an ellipsis: the beginning has to be that of a test."""
    text = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    known = set(re.findall(r"def (test_\w+)\(", text))
    named = re.findall(r"`(?:Test\w+\.)?(test_\w+)(…?)`", (ROOT / "docs" / "faults.md").read_text())
    assert len(named) > 60
    assert [name for name, more in named if not any(n == name or (more and n.startswith(name)) for n in known)] == []
