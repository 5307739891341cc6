"""The house: which folders there are, who may import whom, and what may run inside a guest."""

import tomllib
from pathlib import Path

import pytest
from tree import ROOMS, ROOT, imports, is_standard, module_name, modules, tracked_files

from conformance.plugin import SUITE
from harness import payload

# Room to what of ours it may import beside itself.
MAY_IMPORT = {
    "uring": (),
    "vm": (),
    "reports": (),
    "harness": ("vm", "reports.results"),
    "conformance": ("uring", "harness"),
    "uring_matrix": ("uring", "vm", "reports", "harness", "conformance"),
}
FOLDERS = {*ROOMS, "tests", "benchmarks", "docs", ".ci", ".github"}
# What a guest has beside Python and what we send.
IN_GUESTS = ("pytest", "_pytest", "pluggy")


def is_of(name: str, allowed: str) -> bool:
    return name == allowed or name.startswith(f"{allowed}.")


def test_the_table_knows_every_room() -> None:
    assert tuple(MAY_IMPORT) == ROOMS


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    wrong = [
        f"{path}:{line} imports {name}"
        for path in modules(room)
        for name, line in imports(path, at_run_time=False)
        if any(is_of(name, other) for other in ROOMS)
        and not any(is_of(name, allowed) for allowed in (room, *MAY_IMPORT[room]))
    ]
    assert wrong == []


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "uring_matrix"])
def test_a_room_is_free_of_what_others_are_for(room: str) -> None:
    """Jinja2 renders the report and nothing else; pytest runs tests and nothing else; click is the command line's."""
    at_home = {
        "jinja2": {"reports"},
        "markupsafe": {"reports"},
        "pytest": {"harness", "conformance"},
        "click": set(),
        "rich": set(),
    }
    wrong = [
        f"{path}:{line} imports {name}"
        for path in modules(room)
        for name, line in imports(path)
        for foreign, homes in at_home.items()
        if is_of(name, foreign) and room not in homes
    ]
    assert wrong == []


def test_the_results_model_does_without_jinja2() -> None:
    """Every other room may hold results; only the site renders them."""
    seen: set[str] = set()
    queue = ["reports.results"]
    while queue:
        name = queue.pop()
        path = Path(*name.split(".")).with_suffix(".py")
        if name in seen or not (ROOT / path).is_file():
            continue
        seen.add(name)
        found = [imported for imported, _ in imports(path)]
        assert not [name for name in found if is_of(name, "jinja2") or is_of(name, "markupsafe")], path
        queue += [imported for imported in found if is_of(imported, "reports")]
    assert {"reports.results", "reports.records", "reports.journal"} <= seen


# -- inside guests ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", modules("vm/guest"), ids=str)
def test_pid_1_needs_python_only(path: Path) -> None:
    wrong = [
        f"{path}:{line} imports {name}"
        for name, line in imports(path)
        if not is_standard(name) and not is_of(name, "vm.guest")
    ]
    assert wrong == []


def guest_side() -> list[Path]:
    """Everything of ours that goes into a guest, the suite included."""
    return sorted(Path(name) for name in payload.own_files([SUITE]) if name.endswith(".py"))


@pytest.mark.parametrize("path", guest_side(), ids=str)
def test_what_is_sent_into_a_guest_finds_what_it_imports(path: Path) -> None:
    """Python, pytest, and what is sent along with it."""
    shipped = {module_name(file) for file in guest_side()}
    wrong = [
        f"{path}:{line} imports {name}"
        for name, line in imports(path)
        if not is_standard(name) and not any(is_of(name, allowed) for allowed in IN_GUESTS) and name not in shipped
    ]
    assert wrong == []


@pytest.mark.parametrize("path", guest_side(), ids=str)
def test_what_is_sent_into_a_guest_reaches_no_other_room(path: Path) -> None:
    """Not even by way of a neighbour."""
    seen: set[Path] = set()
    queue = [path]
    while queue:
        current = queue.pop()
        if current in seen or not (ROOT / current).is_file():
            continue
        seen.add(current)
        for name, line in imports(current):
            assert not any(is_of(name, room) for room in ("vm", "reports", "uring_matrix")), f"{current}:{line}"
            if is_of(name, "conformance") or is_of(name, "harness"):
                queue.append(Path(*name.split(".")).with_suffix(".py"))


# -- folders ----------------------------------------------------------------------------------------------------------


def test_the_top_level_folders_are_those_of_the_house() -> None:
    found = {path.parts[0] for path in tracked_files() if len(path.parts) > 1}
    assert found - FOLDERS == set()
    assert set(ROOMS) - found == set()


def test_every_package_is_shipped() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {module_name(path) for room in ROOMS for path in modules(room) if path.name == "__init__.py"}
    assert set(listed) == found


def test_every_file_that_a_package_needs_is_shipped() -> None:
    """setuptools takes the Python files; whatever else lies in a package has to be named."""
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    missing = [
        str(path)
        for path in tracked_files()
        if path.parts[0] in ROOMS
        and path.suffix != ".py"
        and not any(
            (ROOT / path) in (ROOT / room).glob(pattern) for room, patterns in named.items() for pattern in patterns
        )
    ]
    assert missing == []
