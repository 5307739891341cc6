"""What the tests of this room share: a recorder of progress, a cache, a signed archive, a smaller world to run in."""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_archive import FakeArchive, serve

from vm.apt import Archive
from vm.cache import Cache
from vm.settings import Settings
from vm.sources import Archive as Source
from vm.sources import Sources

_ROOT = Path(__file__).parents[2]


class Recorder:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.stages: list[tuple[str, int | None]] = []
        self.done_bytes = 0

    @contextlib.contextmanager
    def stage(self, name: str, total_bytes: int | None = None) -> Iterator["Recorder"]:
        self.stages.append((name, total_bytes))
        yield self

    def advance(self, size_bytes: int) -> None:
        self.done_bytes += size_bytes

    def note(self, line: str) -> None:
        self.notes.append(line)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def cache(tmp_path: Path, recorder: Recorder) -> Cache:
    return Cache(tmp_path / "the cache äöü", recorder)


@pytest.fixture
def settings(cache: Cache) -> Settings:
    return Settings(cache=cache.directory)


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeArchive]:
    """An empty archive on a web server of its own."""
    archive = FakeArchive(tmp_path / "archive")
    server = serve(archive)
    try:
        yield archive
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def connect(fake: FakeArchive, cache: Cache, settings: Settings, recorder: Recorder) -> Callable[..., Archive]:
    """Makes an archive as the program sees it, of the fake's suites."""

    def make(*suites: str, **options: Any) -> Archive:
        source = Source(fake.address, str(fake.key))
        chosen = options.pop("settings", settings)
        return Archive(
            suites, "amd64", cache, chosen, recorder, sources=options.pop("sources", Sources(source, source)), **options
        )

    return make


@pytest.fixture
def in_small_world(tmp_path: Path) -> Callable[[str, str], Any]:
    """Runs code where a directory is a small or read-only file system; returns what the code leaves in `result`."""

    def run(mount: str, code: str) -> Any:
        if shutil.which("unshare") is None:
            pytest.skip("a file system of one's own needs the program unshare")
        probe = subprocess.run(["unshare", "-rm", "true"], capture_output=True, text=True, check=False)
        if probe.returncode != 0:
            pytest.skip(f"this machine allows no file systems of one's own: {probe.stderr.strip()}")
        (tmp_path / "world").mkdir(exist_ok=True)
        program = (
            f"import json, sys\nfrom pathlib import Path\nplace = Path(sys.argv[1])\n{code}\nprint(json.dumps(result))"
        )
        script = f'{mount}\nexec "$2" -c "$3" "$1"'
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-ec", script, "sh", str(tmp_path / "world"), sys.executable, program],
            cwd=_ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run
