"""What must hold in every file, whoever wrote it."""

import ast
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tree import ROOMS, ROOT, modules, parsed, tracked_files

LINES_MAX = 600
# Made by a program, data that is compared as a whole, or nothing but names.
GENERATED = re.compile(r"results\.schema\.json$|golden|kernels\.toml$|uring/__init__\.py$")
# Hosts that packages come from. In pieces, because this file has to pass as well.
MIRRORS = {
    ".".join(pieces)
    for pieces in (
        *((name, "debian", "org") for name in ("deb", "ftp", "security", "snapshot", "httpredir", "cdn-fastly.deb")),
        *((name, "ubuntu", "com") for name in ("archive", "security", "ports")),
        ("pypi", "org"),
        ("pypi", "python", "org"),
        ("files", "pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("proxy", "golang", "org"),
        ("static", "crates", "io"),
        ("index", "crates", "io"),
        ("registry-1", "docker", "io"),
    )
}
_ADDRESS = re.compile(r"(?:https?|ftp|mirror\+\w+)://[^\s\"'<>\]]+")
# Somebody's home, root's included, where no longer path or name goes before it.
_HOME = re.compile(
    r"(?<![\w.}/…`-])/(?:home|Users)/(?!(?:user|you|me|runner)\b)[\w.-]+/|(?<![\w.}/…`*-])/root/(?=[\w.])"
)


def text_of(path: Path) -> str | None:
    """A file's text; None for one that is no text."""
    content = (ROOT / path).read_bytes()
    return None if b"\0" in content[:8192] else content.decode("utf-8", "replace")


def hosts_of_this_machine() -> set[str]:
    """Where this machine gets its packages from, as its own configuration says."""
    texts = [value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_")) and "://" in value]
    files = [*Path("/etc/apt").glob("sources.list"), *Path("/etc/apt").glob("sources.list.d/*")]
    files += [Path("/etc/pip.conf"), Path.home() / ".config/pip/pip.conf", Path.home() / ".pip/pip.conf"]
    for file in files:
        try:
            texts.append(file.read_text(errors="replace"))
        except OSError:
            continue
    found = {urlsplit(address).hostname for text in texts for address in _ADDRESS.findall(text)}
    return {host for host in found if host is not None and "." in host and not host.startswith("127.")}


def test_no_file_names_a_host_that_packages_come_from() -> None:
    """Mirrors and registries are the machine's own business; a name in a file would be somebody else's."""
    names = re.compile("|".join(rf"\b{re.escape(host)}\b" for host in sorted(MIRRORS | hosts_of_this_machine())))
    wrong = [
        f"{path}:{number}: {line.strip()[:120]}"
        for path in tracked_files()
        for number, line in enumerate((text_of(path) or "").splitlines(), 1)
        if names.search(line)
    ]
    assert wrong == []


def test_the_search_for_hosts_can_find_one() -> None:
    assert len(MIRRORS) > 10
    assert any(host.startswith("deb.") for host in MIRRORS)
    assert {
        urlsplit(found).hostname for found in _ADDRESS.findall("deb [a=b] http://mirror.example/debian x main")
    } == {"mirror.example"}


def test_no_file_has_a_path_of_somebodys_machine() -> None:
    own = [f"{ROOT}/", *([f"{Path.home()}/"] if len(Path.home().parts) > 2 else [])]
    wrong = [
        f"{path}:{number}: {line.strip()[:120]}"
        for path in tracked_files()
        for number, line in enumerate((text_of(path) or "").splitlines(), 1)
        if _HOME.search(line) or any(text in line for text in own)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        (f"open('/{'home'}/ann/x')", True),
        (f"cd /{'root'}/project", True),
        ("/home/user/linux", False),
        ("`…/root/work`", False),
        ("{base}/root/usr", False),
        ("runtime/*/root/usr", False),
        ("the guest's /root and /home", False),
    ],
)
def test_the_search_for_homes_finds_homes_only(text: str, is_found: bool) -> None:
    assert bool(_HOME.search(text)) is is_found


def test_templates_escape_everything() -> None:
    """dmesg and test output come out of guests: nothing may switch the escaping off."""
    templates = [path for path in tracked_files() if "templates" in path.parts]
    assert templates
    wrong = [
        f"{path}:{number}: {line.strip()}"
        for path in templates
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1)
        if re.search(r"\|\s*safe\b|autoescape|Markup", line)
    ]
    assert wrong == []


def rewritten_by_pytest() -> set[Path]:
    """Helpers of the suite whose assertions pytest explains as it does those of tests."""
    return {
        Path(*str(argument.value).split(".")).with_suffix(".py")
        for conftest in modules("conformance")
        if conftest.name == "conftest.py"
        for node in ast.walk(parsed(conftest))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.register_assert_rewrite"
        for argument in node.args
        if isinstance(argument, ast.Constant)
    }


@pytest.mark.parametrize("room", ROOMS)
def test_shipped_code_raises_and_does_not_assert(room: str) -> None:
    """`python -O` drops assertions, and with them the check they were."""
    exempt = rewritten_by_pytest()
    wrong = [
        f"{path}:{node.lineno}"
        for path in modules(room)
        if path not in exempt and not (room == "conformance" and path.name.startswith("test_"))
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Assert)
    ]
    assert wrong == []


@pytest.mark.parametrize("room", ROOMS)
def test_no_module_has_grown_too_long(room: str) -> None:
    long = {
        str(path): count
        for path in tracked_files()
        if path.parts[0] == room and not GENERATED.search(str(path))
        if (count := (text_of(path) or "").count("\n")) > LINES_MAX
    }
    assert long == {}


def test_the_ring_is_typed_for_whoever_imports_it() -> None:
    assert (ROOT / "uring/py.typed").is_file()


def test_no_test_is_found_twice_under_one_name() -> None:
    """Without packages, two test files of one name are one module to pytest."""
    loose = [path for path in tracked_files() if path.parts[0] == "tests" and path.name.startswith("test_")]
    loose = [path for path in loose if not (ROOT / path.parent / "__init__.py").is_file()]
    names = [path.name for path in loose]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


def test_what_runs_has_its_run_bit_and_a_first_line() -> None:
    scripts = [path for path in tracked_files() if path.parts[0] == ".ci"]
    assert [str(path) for path in scripts if not os.access(ROOT / path, os.X_OK)] == []
    for path in scripts:
        lines = (ROOT / path).read_text().splitlines()
        assert lines[0] == "#!/usr/bin/env bash"
        assert "set -euo pipefail" in lines
        subprocess.run(["bash", "-n", str(ROOT / path)], check=True)


# Programs whose absence may skip a test: there is no Debian without the first; the others are a second opinion.
MAY_BE_ABSENT = {"unshare", "setpriv", "dpkg-deb"} | {"cpio", "zstd"}


def programs_that_skip(node: ast.AST) -> Iterator[str]:
    """Programs for want of which something is skipped: looked for where the skipping is, or in its decorators."""
    calls = [part for part in ast.walk(node) if isinstance(part, ast.Call)]
    if not any(ast.unparse(call.func) in {"pytest.skip", "pytest.mark.skipif"} for call in calls):
        return
    looked_for = [call.args[0] for call in calls if call.args and ast.unparse(call.func) in {"shutil.which", "which"}]
    names = {ast.unparse(one) for one in looked_for if isinstance(one, ast.Name)}
    loops = [part for part in ast.walk(node) if isinstance(part, ast.For) and ast.unparse(part.target) in names]
    for part in (*looked_for, *(loop.iter for loop in loops)):
        yield from (str(one.value) for one in ast.walk(part) if isinstance(one, ast.Constant))


def test_tests_bring_the_programs_that_they_need() -> None:
    """On a bare Debian a skipped test is one that nobody has run."""
    wrong = [
        f"{path}:{node.lineno}: {program}"
        for path in tracked_files()
        if path.parts[0] == "tests" and path.suffix == ".py"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef)
        for program in programs_that_skip(node)
        if program not in MAY_BE_ABSENT
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    for name in ('apt', 'gpg'):\n        if not which(name):\n            pytest.skip('')\n",
        "def f():\n    if shutil.which('gpg') is None: pytest.skip('')\n    shutil.which('apt')",
        "@pytest.mark.skipif(which('gpg') is None or not which('apt'), reason='')\ndef f(): pass",
    ],
)
def test_the_search_for_programs_finds_them(text: str) -> None:
    assert sorted(programs_that_skip(ast.parse(text))) == ["apt", "gpg"]
