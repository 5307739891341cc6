"""Which modules a module imports: found by what it says, kept by its content, and never by an older one's."""

import json
from pathlib import Path

import pytest

from harness import imports
from harness.imports import Imports

KEPT = "imports.json"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """One imports the other two, directly and by way of the first."""
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "conftest.py").write_text("def helper():\n    if True:\n        from . import one as x, os\n")
    (folder / "one.py").write_text("import tests.two\n")
    (folder / "two.py").write_text("")
    (folder / "alone.py").write_text("TEXT = 'import two'\n")
    return folder


def names(found: set[Path]) -> list[str]:
    return sorted(path.name for path in found)


def test_what_others_import_belongs_to_it(tree: Path, tmp_path: Path) -> None:
    assert names(Imports(tmp_path).reachable([tree / "conftest.py"])) == ["conftest.py", "one.py", "two.py"]
    assert names(Imports(tmp_path).reachable([tree / "alone.py", tree / "two.py"])) == ["alone.py", "two.py"]


def test_a_later_run_parses_what_was_edited(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []
    original = imports._imported_names
    monkeypatch.setattr(imports, "_imported_names", lambda content: parsed.append(content) or original(content))
    first = Imports(tmp_path)
    first.reachable([tree / "conftest.py"])
    first.keep()
    assert len(parsed) == 3
    (tree / "two.py").write_text("import alone\n")
    later = Imports(tmp_path)
    found = later.reachable([tree / "conftest.py"])
    assert names(found) == ["alone.py", "conftest.py", "one.py", "two.py"]
    assert parsed[3:] == [b"import alone\n", (tree / "alone.py").read_bytes()]


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"a": 1}', b"null"])
def test_what_was_kept_may_be_damaged(tree: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / KEPT).write_bytes(content)
    found = Imports(tmp_path)
    assert names(found.reachable([tree / "one.py"])) == ["one.py", "two.py"]
    found.keep()
    assert len(json.loads((tmp_path / KEPT).read_bytes())) == 2


def test_of_edits_without_end_the_last_ones_are_kept(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "_MODULES_MAX", 3)
    for number in range(5):
        (tree / "two.py").write_text(f"NUMBER = {number}\n")
        found = Imports(tmp_path)
        found.reachable([tree / "one.py"])
        found.keep()
    assert len(json.loads((tmp_path / KEPT).read_bytes())) <= 3


def test_a_cache_that_cannot_be_written_costs_time_only(tree: Path, tmp_path: Path) -> None:
    found = Imports(tmp_path / "nowhere")
    found.reachable([tree / "one.py"])
    found.keep()
    assert not (tmp_path / "nowhere").exists()
