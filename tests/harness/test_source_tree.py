"""Which files of the tests' tree travel, and what they are called in guests."""

import os
from pathlib import Path

import pytest

from harness.source_tree import SourceTree, files_of, with_packages
from vm.guest.init import WORK_PATH


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "pyproject.toml").touch()
    return root


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def sent(root: Path, *named: str, unwanted: str | None = None, packages: tuple[Path, ...] = ()) -> dict[str, Path]:
    tree = SourceTree(root, packages)
    configuration = root / "pyproject.toml"
    return files_of(
        tree,
        [root / name for name in named],
        configuration if configuration.exists() else None,
        root / unwanted if unwanted else None,
    )


def test_the_root_directory_travels_whole_whatever_was_named(root: Path) -> None:
    put(root, "t/test_d.py", "t/data/.hidden", ".config/x", "lib/mylib.py", "a b/[1].txt", "conftest.py")
    (root / "t/empty").mkdir()
    (root / "t/link").symlink_to("test_d.py")
    (root / "t/dangling").symlink_to("nowhere")
    found = sent(root, "t/test_d.py")
    assert set(found) == {
        *("pyproject.toml", "conftest.py", "t/test_d.py", "t/data/.hidden", ".config/x", "lib/mylib.py"),
        *("a b/[1].txt", "t/empty", "t/link", "t/dangling"),
    }
    assert found["t/link"].is_symlink()


def test_names_of_any_bytes(root: Path) -> None:
    name = os.fsdecode(b"caf\xe9\n.txt")
    (root / name).touch()
    assert name in sent(root, ".")


@pytest.mark.parametrize(
    "made",
    [
        *(".git/config", "x/.tox/py/bin/python", "__pycache__/a.pyc", "a/node_modules/b.js", "venv/pyvenv.cfg"),
        *(".mypy_cache/CACHEDIR.TAG", "out/results.jsonl", "results/page.html"),
    ],
)
def test_what_programs_made_stays_at_home(root: Path, made: str) -> None:
    put(root, "test_a.py", made)
    assert set(sent(root, ".", unwanted="results")) - {"x"} == {"pyproject.toml", "test_a.py"} | (
        {"a"} if made.startswith("a/") else set()
    )


def test_a_link_that_leads_out_of_the_tree_is_sent_as_what_it_leads_to(root: Path, tmp_path: Path) -> None:
    (tmp_path / "far.txt").write_text("far")
    (root / "absolute").symlink_to(tmp_path / "far.txt")
    (root / "relative").symlink_to("../far.txt")
    found = sent(root, ".")
    assert {found["absolute"], found["relative"]} == {tmp_path / "far.txt"}


def test_a_root_without_a_configuration_may_be_anything(tmp_path: Path) -> None:
    """A home directory, say: as long as it is small it travels, else only the folders that were named do."""
    put(tmp_path, "t/test_a.py", "t/data", "conftest.py", "other/x")
    assert set(sent(tmp_path, "t/test_a.py")) == {"t/test_a.py", "t/data", "conftest.py", "other/x"}
    put(tmp_path, *(f"many/{number}" for number in range(2_100)))
    assert set(sent(tmp_path, "t/test_a.py")) == {"t/test_a.py", "t/data", "conftest.py"}


def test_a_folder_outside_keeps_its_name(root: Path, tmp_path: Path) -> None:
    put(tmp_path, "far/t/test_far.py")
    assert set(sent(root, str(tmp_path / "far/t"))) == {"t/test_far.py", "pyproject.toml"}


def test_packages_that_are_sent_anyway_do_not_bring_the_root(root: Path) -> None:
    put(root, "suite/test_s.py", "docs/x")
    assert set(sent(root, "suite", packages=(root / "suite",))) == {"pyproject.toml"}


def test_two_files_of_one_name_are_refused(root: Path, tmp_path: Path) -> None:
    put(root, "t/test_a.py")
    put(tmp_path, "far/t/test_a.py")
    with pytest.raises(pytest.UsageError, match=r"cannot be sent into a guest: t/test_a.py is .* Rename it"):
        sent(root, "t", str(tmp_path / "far/t"))
    with pytest.raises(pytest.UsageError, match="Rename the folder"):
        with_packages({"harness/a.py": root / "t/test_a.py"}, {"harness/a.py": root / "pyproject.toml"})


def test_paths_there_and_back(root: Path, tmp_path: Path) -> None:
    tree = SourceTree(root, (tmp_path / "elsewhere/suite",))
    for path, name in ((root / "t/a.py", "t/a.py"), (tmp_path / "elsewhere/suite/b.py", "suite/b.py")):
        assert tree.guest_path(path) == name
        assert tree.host_path(f"{WORK_PATH}/{name}") == str(path)
    assert tree.host_path("/usr/lib/x.py") == "/usr/lib/x.py"
