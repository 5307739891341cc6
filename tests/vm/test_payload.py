"""A payload holds what it was given, as it was, and of what is made meanwhile only bytecode."""

import marshal
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from vm import image
from vm.architectures import AMD64
from vm.cache import Cache
from vm.errors import VmError
from vm.guest import window
from vm.guest.init import WORK_PATH
from vm.members import MemberError


class HostRuntime(image.Runtime):
    """A runtime whose programs are this machine's."""

    def run_python(self, arguments: Sequence[str], directory: Path, *, timeout_s: float | None = None) -> str:
        done = subprocess.run([sys.executable, *arguments], cwd=directory, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise image.ImageError(done.stdout + done.stderr)
        return done.stdout


@pytest.fixture
def base(tmp_path: Path) -> image.Runtime:
    return HostRuntime(tmp_path / "none.cpio", tmp_path / "none", AMD64, "python3", "key", {})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.fixture
def unpack(base: image.Runtime, cache: Cache, tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Makes a payload and unpacks it as a guest does."""
    root = tmp_path / "guest"

    def make(**options: object) -> Path:
        archive = image.payload(base, cache, **options)  # type: ignore[arg-type]
        root.mkdir()
        window.write_all(archive.read_bytes(), str(root))
        return root

    yield make
    for folder, _, _ in os.walk(root):
        Path(folder).chmod(0o755)


def key(base: image.Runtime, cache: Cache, **options: object) -> str:
    return image.payload(base, cache, **options).parent.name  # type: ignore[arg-type]


def test_everything_a_folder_can_hold_is_kept(source: Path, unpack: Callable[..., Path]) -> None:
    names = [os.fsdecode(name) for name in (b"a b", b"test_f[y].txt", b"new\nline", b"\xff\xfe")]
    for name in names:
        (source / name).write_text(repr(name))
    (source / "run").write_text("#!/bin/sh\n")
    (source / "run").chmod(0o751)
    (source / "link").symlink_to("run")
    (source / "gone").symlink_to(os.fsdecode(b"no/\xff"))
    (source / "away").symlink_to("../outside")
    (source / "empty").mkdir(mode=0o700)
    (source / "closed").mkdir()
    (source / "closed/file").write_text("x")
    (source / "closed").chmod(0o555)
    os.mkfifo(source / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(source / "socket"))
        files = {str(path.relative_to(source)): path for path in source.rglob("*")}
        work = unpack(files=files) / "work"
    (source / "closed").chmod(0o755)
    assert {str(path.relative_to(work)) for path in work.rglob("*")} == set(files)
    assert [(work / name).read_text() for name in names] == [repr(name) for name in names]
    assert stat.S_IMODE((work / "run").stat().st_mode) == 0o751
    assert int((work / "run").stat().st_mtime) == int((source / "run").stat().st_mtime)
    assert [os.fsencode((work / name).readlink()) for name in ("link", "gone", "away")] == [
        b"run",
        b"no/\xff",
        b"../outside",
    ]
    assert stat.S_IMODE((work / "empty").stat().st_mode) == 0o700
    assert stat.S_IMODE((work / "closed").stat().st_mode) == 0o555
    assert (work / "pipe").is_fifo()
    assert (work / "socket").is_socket()


def test_a_directory_stands_for_itself_alone(source: Path, unpack: Callable[..., Path]) -> None:
    (source / "folder").mkdir()
    (source / "folder/file").write_text("x")
    root = unpack(files={"deep/down/folder": source / "folder"})
    assert list((root / "work/deep/down/folder").iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda source: (source / "file").write_text("changed"),
        lambda source: (source / "file").chmod(0o755),
        lambda source: ((source / "link").unlink(), (source / "link").symlink_to("elsewhere")),
        lambda source: ((source / "link").unlink(), (source / "link").write_text("file")),
        lambda source: (source / "folder").chmod(0o700),
    ],
    ids=["content", "mode", "target", "kind", "folder's mode"],
)
def test_what_a_guest_can_see_makes_another_payload(
    source: Path, base: image.Runtime, cache: Cache, change: Callable[[Path], object]
) -> None:
    (source / "file").write_text("file")
    (source / "link").symlink_to("file")
    (source / "folder").mkdir()
    files = {path.name: path for path in source.iterdir()}
    before = key(base, cache, files=files)
    assert key(base, cache, files=files) == before
    assert key(base, cache, files={**files, "more": source / "file"}) != before
    assert key(base, cache, files=files, site={"more": source / "file"}) != before
    without = {name: path for name, path in files.items() if name != "folder"}
    assert key(base, cache, files=without) != before
    change(source)
    assert key(base, cache, files=files) != before


def test_only_bytecode_is_added(source: Path, unpack: Callable[..., Path]) -> None:
    """Collecting runs the user's code, which may do what it likes in its copy."""
    for name in ("data.txt", "kept.py", "written.py"):
        (source / name).write_text("# original\n")

    def prepare(_: image.Runtime, work: Path, _stale: Sequence[Path] | None) -> None:
        (work / "data.txt").write_text("changed")
        (work / "data.txt").chmod(0o777)
        (work / "junk").write_text("junk")
        (work / "folder/__pycache__").mkdir(parents=True)
        for name in ("folder/__pycache__/a.cpython-313.pyc", "__pycache__/junk.cpython-313.pyc", "__pycache__/text"):
            (work / name).write_bytes(b"")
        (work / "__pycache__/link.cpython-313.pyc").symlink_to("/etc/passwd")
        (work / "written.py").write_text("# changed by the user's code\n")
        (work / "__pycache__/kept.cpython-313-pytest-9.2.0.pyc").write_bytes(b"by pytest")
        (work / "kept.py").chmod(0o600)
        (work / "gone.py").unlink(missing_ok=True)

    work = unpack(files={path.name: path for path in source.iterdir()}, prepare=prepare) / "work"
    assert {str(path.relative_to(work)) for path in work.rglob("*")} == {
        "__pycache__",
        "__pycache__/kept.cpython-313-pytest-9.2.0.pyc",
        f"__pycache__/kept.{sys.implementation.cache_tag}.pyc",
        "data.txt",
        "kept.py",
        "written.py",
    }
    assert {path.name: path.read_text() for path in source.iterdir()} == dict.fromkeys(
        ("data.txt", "kept.py", "written.py"), "# original\n"
    )
    assert (work / "data.txt").read_text() == (work / "written.py").read_text() == "# original\n"
    assert stat.S_IMODE((work / "data.txt").stat().st_mode) == stat.S_IMODE((source / "data.txt").stat().st_mode)


def test_a_deleted_copy_is_sent_all_the_same(source: Path, unpack: Callable[..., Path]) -> None:
    (source / "mine.py").write_text("")
    root = unpack(files={"mine.py": source / "mine.py"}, prepare=lambda _, work, _stale: (work / "mine.py").unlink())
    assert [path.name for path in (root / "work").iterdir()] == ["mine.py"]


@pytest.mark.parametrize("text", ["def (", "\0", "x = '\udcff'"], ids=["syntax", "null", "encoding"])
def test_what_does_not_compile_is_sent_without_bytecode(source: Path, unpack: Callable[..., Path], text: str) -> None:
    (source / "broken.py").write_bytes(text.encode(errors="surrogateescape"))
    (source / "sound.py").write_text("")
    work = unpack(files={path.name: path for path in source.iterdir()}) / "work"
    assert (work / "broken.py").read_bytes() == (source / "broken.py").read_bytes()
    assert [path.name for path in (work / "__pycache__").iterdir()] == [f"sound.{sys.implementation.cache_tag}.pyc"]


def test_preparing_may_fail(source: Path, unpack: Callable[..., Path]) -> None:
    """It saves time, and no more: what it fails of fails in the guest, too, where it is somebody's business."""
    (source / "sound.py").write_text("")

    def prepare(_: image.Runtime, work: Path, _stale: Sequence[Path] | None) -> None:
        (work / "junk").write_text("")
        raise image.ImageError("pytest ended with status 3")

    work = unpack(files={"sound.py": source / "sound.py"}, prepare=prepare) / "work"
    assert [path.name for path in (work / "__pycache__").iterdir()] == [f"sound.{sys.implementation.cache_tag}.pyc"]
    assert not (work / "junk").exists()


class Rewriter:
    """Makes bytecode as pytest would; keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[str] | None] = []

    def __call__(self, _: image.Runtime, work: Path, stale: Sequence[Path] | None) -> None:
        self.asked.append(None if stale is None else sorted(str(path.relative_to(work)) for path in stale))
        for module in work.rglob("test_*.py"):
            bytecode = module.parent / "__pycache__" / f"{module.stem}.cpython-313-pytest-9.2.0.pyc"
            bytecode.write_bytes(b"of " + module.read_bytes())


def contents(archive: Path) -> dict[str, object]:
    """What a guest gets; the code of modules instead of their bytecode, which differs with what refers to it."""
    found: dict[str, object] = {}
    data = archive.read_bytes()
    for name, mode, _, begin, end in window.members(data):
        is_code = name.endswith(f".{sys.implementation.cache_tag}.pyc".encode())
        found[os.fsdecode(name)] = mode, marshal.loads(data[begin + 16 : end]) if is_code else data[begin:end]
    return found


def test_after_an_edit_only_its_bytecode_is_made_anew(
    source: Path, base: image.Runtime, cache: Cache, tmp_path: Path
) -> None:
    for name in ("test_edited.py", "test_other.py", "helper.py", "folder/test_third.py"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(f"NAME = {name!r}\n")
    (source / "data.txt").write_text("data")
    files = {str(path.relative_to(source)): path for path in source.rglob("*") if path.is_file()}
    rewriter = Rewriter()
    image.payload(base, cache, files=files, prepare=rewriter)
    for text in ("NAME = 'edited'\n", "NAME = 'edited again'\n"):
        (source / "test_edited.py").write_text(text)
        (source / "helper.py").write_text(text)
        edited = image.payload(base, cache, files=files, prepare=rewriter)
        anew = image.payload(base, Cache(tmp_path / "empty"), files=files, prepare=Rewriter())
        assert contents(edited) == contents(anew)
    tag = sys.implementation.cache_tag
    of_test = ["__pycache__/test_edited.cpython-313-pytest-9.2.0.pyc", f"__pycache__/test_edited.{tag}.pyc"]
    assert rewriter.asked == [None, *[sorted([f"__pycache__/helper.{tag}.pyc", *of_test])] * 2]


@pytest.mark.parametrize(
    "change",
    [
        lambda source: (source / "test_new.py").write_text(""),
        lambda source: (source / "test_gone.py").unlink(missing_ok=True),
        lambda source: (source / "pytest.ini").write_text("[pytest]\npython_files = *.py\n"),
    ],
    ids=["added", "removed", "settings"],
)
def test_whatever_may_shape_the_rest_has_all_made_anew(
    source: Path, base: image.Runtime, cache: Cache, change: Callable[[Path], object]
) -> None:
    for name in ("test_one.py", "test_gone.py", "pytest.ini"):
        (source / name).write_text("")
    rewriter = Rewriter()
    for _ in range(2):
        image.payload(base, cache, files={path.name: path for path in source.iterdir()}, prepare=rewriter)
        change(source)
    assert rewriter.asked == [None, None]


def test_a_module_that_could_not_be_compiled_is_made_good_for(
    source: Path, base: image.Runtime, cache: Cache, tmp_path: Path
) -> None:
    """What lacked bytecode while somebody had it half written is no example for what comes behind."""
    (source / "sound.py").write_text("")
    rewriter = Rewriter()
    for text in ("def (", "ONE = 1", "TWO = 2"):
        (source / "test_it.py").write_text(text)
        files = {path.name: path for path in source.iterdir()}
        made = image.payload(base, cache, files=files, prepare=rewriter)
    assert contents(made) == contents(image.payload(base, Cache(tmp_path / "empty"), files=files, prepare=Rewriter()))
    assert [one is None for one in rewriter.asked] == [True, True, False]


def test_third_party_packages_lie_beside_the_tests(source: Path, unpack: Callable[..., Path]) -> None:
    (source / "__init__.py").write_text("")
    root = unpack(files={"__init__.py": source / "__init__.py"}, site={"package/__init__.py": source / "__init__.py"})
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*.pyc")) == [
        f"site/package/__pycache__/__init__.{sys.implementation.cache_tag}.pyc",
        f"work/__pycache__/__init__.{sys.implementation.cache_tag}.pyc",
    ]


@pytest.mark.parametrize("name", ["", ".", "..", "../site/x", "/etc/passwd", "a/../b", "a//b", "a/", "./a"])
def test_a_name_that_leads_elsewhere_is_refused(source: Path, base: image.Runtime, cache: Cache, name: str) -> None:
    (source / "x").write_text("")
    with pytest.raises(MemberError, match="is not a name below"):
        image.payload(base, cache, files={name: source / "x"})


def test_nothing_is_sent_through_a_link(source: Path, base: image.Runtime, cache: Cache) -> None:
    (source / "folder").mkdir()
    (source / "folder/x").write_text("")
    (source / "link").symlink_to("folder")
    with pytest.raises(MemberError, match=f"{WORK_PATH}/link is no directory"):
        image.payload(base, cache, files={"link": source / "link", "link/x": source / "link/x"})


def test_what_cannot_be_read_is_named(source: Path, base: image.Runtime, cache: Cache) -> None:
    with pytest.raises(MemberError, match=r"gone.py cannot be sent into a guest: No such file"):
        image.payload(base, cache, files={"gone.py": source / "gone.py"})
    with pytest.raises(MemberError, match="it is a device"):
        image.payload(base, cache, files={"null": Path("/dev/null")})


def program(runtime: Path, text: str) -> image.Runtime:
    """A runtime whose loader is a script."""
    loader = runtime / AMD64.loader
    loader.parent.mkdir(parents=True)
    loader.write_text(f"#!/bin/sh\n{text}\n")
    loader.chmod(0o755)
    return image.Runtime(runtime / "runtime.cpio", runtime, AMD64, "python3.13", "key", {})


def test_pythons_on_the_host_find_what_those_in_a_guest_find(tmp_path: Path) -> None:
    runtime = program(tmp_path / "runtime", 'echo "$PYTHONPATH"')
    (tmp_path / "work").mkdir()
    assert runtime.run_python([], tmp_path / "work").strip().split(os.pathsep) == [
        str(tmp_path / "work"),
        str(tmp_path / "runtime/usr/lib/python3/dist-packages"),
        str(tmp_path / "site"),
    ]


def test_a_program_that_does_not_end_is_ended_with_what_it_started(tmp_path: Path) -> None:
    """The user's conftest.py may start a server, and wait for it."""
    runtime = program(tmp_path / "runtime", f"sleep 600 & echo $! > '{tmp_path}/child'; wait")
    with pytest.raises(VmError, match=r"python3.13 did not end within 0 s"):
        runtime.run_python([], tmp_path, timeout_s=0.3)
    assert is_gone(int((tmp_path / "child").read_text()))


def test_what_a_program_starts_does_not_keep_it(tmp_path: Path) -> None:
    runtime = program(tmp_path / "runtime", f"sleep 600 & echo $! > '{tmp_path}/child'; echo said")
    assert runtime.run_python([], tmp_path) == "said\n"
    assert is_gone(int((tmp_path / "child").read_text()))


def is_gone(process: int) -> bool:
    """Whether it has ended, or does so in a moment, and at most waits to be reaped."""
    for _ in range(1000):
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False
