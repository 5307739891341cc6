"""What goes into a guest image, and what stays out."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness import payload
from vm import image
from vm.architectures import AMD64

_TRIPLET = "usr/lib/x86_64-linux-gnu"


@pytest.mark.parametrize(
    "name",
    [
        "usr/bin/python3.13",
        "usr/sbin/mke2fs",
        "usr/bin/busybox",
        "usr/lib/locale/C.utf8/LC_CTYPE",
        "etc/services",
        "usr/lib64/ld-linux-x86-64.so.2",
        f"{_TRIPLET}/libc.so.6",
        f"{_TRIPLET}/libnss.so.6.1",
        "usr/lib/python3.13/asyncio/tasks.py",
        "usr/lib/python3.13/encodings/cp1252.py",
        "usr/lib/python3.13/lib-dynload/_ctypes.cpython-313-x86_64-linux-gnu.so",
    ],
)
def test_a_guest_has_what_python_and_the_tests_need(name: str) -> None:
    assert image._is_wanted(name)


@pytest.mark.parametrize(
    "name",
    [
        "usr/bin/python3.13-config",
        "usr/bin/pdb3.13",
        "usr/bin/ldd",
        "etc/ethertypes",
        "usr/share/doc/python3.13/README",
        f"{_TRIPLET}/libmvec.so.1",
        f"{_TRIPLET}/gconv/IBM037.so",
        "usr/lib/python3.13/test/support/__init__.py",
        "usr/lib/python3.13/sqlite3/__init__.py",
        "usr/lib/python3.13/config-3.13-x86_64-linux-gnu/Makefile",
        "usr/lib/python3.13/lib-dynload/_ssl.cpython-313-x86_64-linux-gnu.so",
        "usr/lib/python3.13/lib-dynload/_codecs_jp.cpython-313-x86_64-linux-gnu.so",
    ],
)
def test_a_guest_does_without_the_rest(name: str) -> None:
    assert not image._is_wanted(name)


def test_every_part_of_pygments_that_pytest_loads_is_sent() -> None:
    """The rest is not; a pytest that wants more of it must be noticed here and not in a guest that dies."""
    program = (
        "import json, sys, pytest, _pytest.terminal, _pytest.unittest; "
        "print(json.dumps([module.__file__ for name, module in sys.modules.items() if name.startswith('pygments')]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    files = [Path(name) for name in json.loads(done.stdout)]
    names = ["/".join(file.parts[file.parts.index("pygments") :]) for file in files]
    assert [name for name in names if not payload.is_wanted(name)] == []
    assert not payload.is_wanted("pygments/lexers/lisp.py")


def test_what_is_not_wanted_does_not_shape_the_image(tmp_path: Path) -> None:
    """Neither its files nor its key, by which it is found again."""
    package = tmp_path / "package"
    for name in ("kept.py", "left.py", "deep/left.py", "__pycache__/kept.cpython-313.pyc"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(name)

    def is_wanted(name: str) -> bool:
        return not name.endswith("left.py")

    image._copy_tree(package, tmp_path / "copy", is_wanted)
    assert [path.name for path in (tmp_path / "copy").rglob("*.*")] == ["kept.py"]
    before = list(image._tree_digests({"package": package}, is_wanted))
    (package / "left.py").write_text("changed")
    assert list(image._tree_digests({"package": package}, is_wanted)) == before
    (package / "kept.py").write_text("changed")
    assert list(image._tree_digests({"package": package}, is_wanted)) != before


def test_what_the_guests_python_lacks_is_not_preloaded(tmp_path: Path) -> None:
    """Which modules pytest has depends on its version: PID 1 would die of the first that is not there."""

    class HostRuntime(image.Runtime):
        def run_python(self, arguments: Sequence[str], directory: Path, *, timeout_s: float | None = None) -> str:
            done = subprocess.run(
                [sys.executable, *arguments], cwd=directory, capture_output=True, text=True, check=True
            )
            return done.stdout

    runtime = HostRuntime(tmp_path, tmp_path, AMD64, "python3.13", "key", {})
    names = ["json", "json.nothing", "nothing", "nothing.at.all", "os.nothing", "faulthandler", "encodings.cp1252"]
    assert image.importable(runtime, names) == ["json", "faulthandler", "encodings.cp1252"]
