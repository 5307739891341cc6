"""tox: the one way in. Every environment that is promised is there, and any kernel has one without a list of them."""

import configparser
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tree import ROOT

from toxfile import lower_bounds

PROMISED = {"py", "lowest", "newest", "lint", "typing", "matrix", "report", "golden", "mutation", "broken-kernels"}


def tox(*arguments: str, work: Path, code: int = 0, **environment: str) -> str:
    """Ask tox about its configuration; nothing is installed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TOX")}
    done = subprocess.run(
        [sys.executable, "-m", "tox", *arguments, "--workdir", str(work), "-c", str(ROOT / "tox.ini")],
        cwd=work,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def commands(text: str) -> dict[str, list[str]]:
    """Read what `tox config -k commands` says."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    return {name.removeprefix("testenv:"): parser[name]["commands"].strip().splitlines() for name in parser.sections()}


def test_the_promised_environments_are_there(tmp_path: Path) -> None:
    listed = tox("list", "--no-desc", work=tmp_path).split()
    assert PROMISED - set(listed) == set()
    assert tox("list", "-d", "--no-desc", work=tmp_path).split()[-4:] == ["py", "lowest", "lint", "typing"]


def test_any_series_has_an_environment(tmp_path: Path) -> None:
    series = ["5.10", "6.1", "7.3", "8.0", "10.12", "latest", "6.1.0-56-cloud-amd64"]
    names = [f"kernel-{one}" for one in series]
    found = commands(tox("config", "-k", "commands", "-e", ",".join(names), work=tmp_path))
    assert found == {
        name: [f"uring-matrix run --kernel {one} --out matrix{os.sep}{name}"]
        for name, one in zip(names, series, strict=True)
    }


def test_an_environment_may_be_named_by_the_environment(tmp_path: Path) -> None:
    text = tox("config", "-k", "commands", work=tmp_path, TOXENV="kernel-6.12")
    assert list(commands(text)) == ["kernel-6.12"]


def test_an_environment_nobody_defined_is_refused(tmp_path: Path) -> None:
    tox("config", "-e", "kernle-6.1", work=tmp_path, code=254)


def test_what_each_environment_runs(tmp_path: Path) -> None:
    found = commands(tox("config", "-k", "commands", "-e", ",".join(sorted(PROMISED)), work=tmp_path))
    assert [command.split()[0] for command in found["py"]] == ["pytest"]
    assert [command.split()[:2] for command in found["lint"]] == [["ruff", "check"], ["ruff", "format"]]
    assert found["typing"] == ["mypy"]
    assert found["matrix"] == ["uring-matrix run"]
    assert found["report"][0].startswith("uring-matrix report matrix --out matrix")
    assert (ROOT / found["golden"][0].split()[1]).is_file()
    assert (ROOT / found["mutation"][0].split()[1]).is_file()
    assert (ROOT / found["broken-kernels"][0].split()[1]).is_file()


def test_the_plugins_entry_point_is_installed_where_tests_run(tmp_path: Path) -> None:
    text = tox("config", "-k", "package", "-e", "py,lowest,newest,matrix,kernel-6.1", work=tmp_path)
    assert text.count("package = editable") == 5


# -- lower bounds -----------------------------------------------------------------------------------------------------


def test_the_lowest_environment_has_every_dependency_at_its_lower_bound(tmp_path: Path) -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    text = tox("config", "-k", "deps", "constrain_package_deps", "-e", "lowest", work=tmp_path)
    pinned = re.findall(r"^ +(\S+)$", text, re.MULTILINE)
    assert [text.replace(">=", "==") for text in dependencies] == pinned
    assert "constrain_package_deps = True" in text


def test_the_oldest_and_the_newest_are_tested_alike_and_boot_a_kernel(tmp_path: Path) -> None:
    found = commands(tox("config", "-k", "commands", "-e", "lowest,newest", work=tmp_path))
    oldest, newest = ([line.replace(f"{os.sep}{name}{os.sep}", "") for line in lines] for name, lines in found.items())
    assert oldest == newest
    assert [line.split()[0] for line in oldest] == ["pytest", "uring-matrix"]
    left_out = re.findall(r"--ignore (\S+)", oldest[0])
    assert left_out
    assert [path for path in left_out if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize(
    ("dependency", "pinned"),
    [
        ("click>=8.4", "click==8.4"),
        ("click >= 8.4, < 10, != 8.5", "click==8.4"),
        ("qemu.qmp~=0.0.3", "qemu.qmp==0.0.3"),
        ("thing[b,a]>=1", "thing[a,b]==1"),
        ("thing>=1; python_version < '3.12'", 'thing==1 ; python_version < "3.12"'),
    ],
)
def test_a_lower_bound_is_read(dependency: str, pinned: str) -> None:
    assert lower_bounds(f'[project]\ndependencies = ["{dependency}"]') == [pinned]


@pytest.mark.parametrize("dependency", ["click", "click<9", "click>8", "click>=8,>=8.1"])
def test_a_dependency_without_one_lower_bound_is_refused(dependency: str) -> None:
    with pytest.raises(ValueError, match=f"'{re.escape(dependency)}' has not one lower bound"):
        lower_bounds(f'[project]\ndependencies = ["{dependency}"]')
