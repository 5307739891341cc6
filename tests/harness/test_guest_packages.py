"""Third-party packages for guests, taken from this environment."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from harness import guest_packages
from harness.guest_packages import GuestPackage, GuestPackages, advice, find
from vm.cache import Cache
from vm.progress import SILENT


def install(folder: Path, name: str, version: str, files: dict[str, str], requires: tuple[str, ...] = ()) -> None:
    """Make a distribution, as an installer leaves it."""
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
    files = {**files, f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"}
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    record = [*files, f"{info}/RECORD", f"{name}/__pycache__/x.pyc", "../../../bin/script"]
    (folder / info / "RECORD").write_text("".join(f"{path},,\n" for path in record))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_package_comes_with_everything_it_depends_on(site: Path) -> None:
    needs = ("below>=1", "pytest>=8", 'never; python_version < "3"', 'extra-one; extra == "all"')
    install(site, "above", "1.2", {"above/__init__.py": "", "above/data/x.txt": ""}, needs)
    install(site, "below", "3", {"below.py": ""})
    found = find(["above"])
    assert found.names == {"above", "below"}
    assert set(found.files) == {
        *("above/__init__.py", "above/data/x.txt", "above-1.2.dist-info/METADATA", "above-1.2.dist-info/RECORD"),
        *("below.py", "below-3.dist-info/METADATA", "below-3.dist-info/RECORD"),
    }


def test_a_module_will_do_where_there_is_no_distribution(site: Path) -> None:
    (site / "alone.py").touch()
    (site / "house").mkdir()
    (site / "house/__init__.py").touch()
    assert set(find(["alone", "house"]).files) == {"alone.py", "house/__init__.py"}


def test_by_the_name_that_one_imports() -> None:
    assert "attrs" not in find(["debian"]).names
    assert "python-debian" in find(["debian"]).names


@pytest.mark.parametrize(
    ("name", "message"),
    [("nosuchthing", "neither a distribution nor a module"), ("sys", "a part of Python itself")],
)
def test_what_is_not_installed_is_refused(name: str, message: str) -> None:
    with pytest.raises(pytest.UsageError, match=f"--guest-package {name}: {message}"):
        find([name])


def test_a_dependency_that_is_not_installed_is_refused(site: Path) -> None:
    install(site, "above", "1", {"above.py": ""}, ("belowground",))
    with pytest.raises(pytest.UsageError, match=r"above needs belowground for Python 3.13, which is not installed"):
        find(["above"])


def fitted(packages: GuestPackages, cache: Path, *, is_offline: bool = False) -> GuestPackages:
    return packages.fitted("python3.13", "x86_64", Cache(cache, SILENT), is_offline=is_offline, progress=SILENT)


def test_extension_modules_that_fit_are_taken_as_they_are(site: Path, tmp_path: Path) -> None:
    files = {"fast/_one.cpython-313-x86_64-linux-gnu.so": "", "fast/_two.abi3.so": "", "fast/__init__.py": ""}
    install(site, "fast", "1", files)
    found = find(["fast"])
    assert fitted(found, tmp_path / "cache") == found


def test_for_others_the_same_versions_wheel_is_fetched_once(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "fast", "1.5", {"fast/_one.cpython-311-x86_64-linux-gnu.so": "", "fast/__init__.py": ""})
    asked: list[list[str]] = []

    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        [into] = [word.partition("=")[2] for word in command if word.startswith("--dest=")]
        with zipfile.ZipFile(Path(into) / "fast-1.5-cp313-cp313-manylinux_2_28_x86_64.whl", "w") as wheel:
            wheel.writestr("fast/_one.cpython-313-x86_64-linux-gnu.so", "")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(guest_packages.subprocess, "run", pip)
    for is_offline in (False, True):
        found = fitted(find(["fast"]), tmp_path / "cache", is_offline=is_offline)
        assert set(found.files) == {"fast/_one.cpython-313-x86_64-linux-gnu.so"}
    assert len(asked) == 1
    assert {"fast==1.5", "--python-version=3.13", "--abi=cp313", "--platform=manylinux_2_28_x86_64"} <= set(asked[0])


def test_where_there_is_no_such_wheel(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "fast", "1.5", {"fast/_one.cpython-311-x86_64-linux-gnu.so": ""})
    with pytest.raises(pytest.UsageError, match=r"_one.* of fast 1.5 here is not made for python3.13, .*network"):
        fitted(find(["fast"]), tmp_path / "cache", is_offline=True)
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: x\nERROR: No matching distribution found\n")
    monkeypatch.setattr(guest_packages.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(pytest.UsageError, match="and pip finds no wheel of it that is: ERROR: No matching"):
        fitted(find(["fast"]), tmp_path / "cache")
    alone = GuestPackages((GuestPackage("alone", "", {"alone.cpython-311-x86_64-linux-gnu.so": site}),))
    with pytest.raises(pytest.UsageError, match=r"run uring-matrix with python3\.13"):
        fitted(alone, tmp_path / "cache")


@pytest.mark.parametrize(
    ("text", "helps"),
    [
        ("call: No module named 'debian.deb822'", "send it along with --guest-package python-debian"),
        ("No module named '_ssl'", "_ssl is a part of Python's standard library that guests do not have"),
        ("No module named 'nowhere_to_be_found'", None),
        ("assert 1 == 2", None),
    ],
)
def test_advice(text: str, helps: str | None) -> None:
    assert advice(text) == helps


def test_the_guests_python_is_the_suites() -> None:
    assert sys.version_info >= (3, 11)
    with pytest.raises(pytest.UsageError, match=r"guests have python3\.14"):
        GuestPackages().fitted("python3.14", "x86_64", Cache(Path("x"), SILENT), is_offline=True, progress=SILENT)
