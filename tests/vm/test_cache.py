"""The cache: whole and verified or not there; shared between runs; of use even when it cannot be written."""

import fcntl
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import Recorder

from vm.cache import Cache, digest_of
from vm.errors import CacheError

CONTENT = b"kernel" * 1000


def build(directory: Path) -> Mapping[str, Any]:
    (directory / "sub").mkdir()
    (directory / "sub" / "image").write_bytes(CONTENT)
    (directory / "link").symlink_to("sub/image")
    return {"release": "6.1"}


def never(_directory: Path) -> Mapping[str, Any]:
    raise AssertionError("built although it was there")


def leftovers(cache: Cache) -> list[Path]:
    return list((cache.directory / "temporary").glob("*"))


def test_an_entry_is_built_once_and_found_again(cache: Cache) -> None:
    made = cache.get_or_build("kernels", "one", build)
    found = Cache(cache.directory).get_or_build("kernels", "one", never)
    assert (made.meta, made.files) == (found.meta, found.files)
    assert found.path("sub/image").read_bytes() == CONTENT
    assert cache.keys("kernels") == ["one"]
    assert cache.kinds() == ["kernels"]
    with pytest.raises(KeyError):
        found.path("nothing")


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda p: p.write_bytes(CONTENT[:-1]), id="truncated"),
        pytest.param(lambda p: p.write_bytes(CONTENT[:100] + bytes([CONTENT[100] ^ 1]) + CONTENT[101:]), id="one bit"),
        pytest.param(lambda p: p.write_bytes(b""), id="emptied"),
        pytest.param(lambda p: p.unlink(), id="removed"),
        pytest.param(lambda p: (p.parents[1] / "manifest.json").write_text("{"), id="manifest broken"),
        pytest.param(lambda p: (p.parents[1] / "manifest.json").unlink(), id="manifest gone"),
        pytest.param(
            lambda p: (p.parents[1] / "manifest.json").write_text('{"files": 3, "meta": {}}'), id="manifest odd"
        ),
        pytest.param(
            lambda p: ((p.parents[1] / "link").unlink(), (p.parents[1] / "link").symlink_to("/etc/passwd")),
            id="link bent",
        ),
    ],
)
def test_a_damaged_entry_is_thrown_away_and_made_again(
    harm: Callable[[Path], object], cache: Cache, recorder: Recorder
) -> None:
    entry = cache.get_or_build("kernels", "one", build)
    times = entry.path("sub/image").stat()
    harm(entry.path("sub/image"))
    if entry.path("sub/image").exists():
        os.utime(entry.path("sub/image"), ns=(times.st_atime_ns, times.st_mtime_ns))
    assert Cache(cache.directory, recorder).get("kernels", "one") is None
    assert len(recorder.notes) == 1
    assert "kernels/one was damaged" in recorder.notes[0]
    assert cache.get_or_build("kernels", "one", build).path("sub/image").read_bytes() == CONTENT


def test_a_builder_that_fails_leaves_nothing(cache: Cache) -> None:
    def fail(directory: Path) -> Mapping[str, Any]:
        (directory / "half").write_bytes(b"x")
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        cache.get_or_build("kernels", "one", fail)
    assert cache.get("kernels", "one") is None
    assert cache.keys("kernels") == []
    assert leftovers(cache) == []


def test_what_a_killed_run_left_is_removed_and_what_is_in_use_is_not(cache: Cache) -> None:
    with cache.temporary() as mine:
        abandoned = mine.parent / "abandoned"
        abandoned.mkdir()
        (abandoned / "half").write_bytes(b"x")
        with Cache(cache.directory).temporary():
            assert not abandoned.exists()
            assert mine.is_dir()
    assert leftovers(cache) == []


def test_killing_a_builder_leaves_nothing_that_is_trusted(cache: Cache) -> None:
    code = """
import sys, time
from pathlib import Path
from vm.cache import Cache, digest_of
def build(directory):
    (directory / "image").write_bytes(b"half")
    print("building", flush=True)
    time.sleep(60)
Cache(Path(sys.argv[1])).get_or_build("kernels", "one", build)
"""
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", code, str(cache.directory)], stdout=subprocess.PIPE, cwd=root
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"building\n"
        process.kill()
    assert len(leftovers(cache)) == 1
    assert cache.get("kernels", "one") is None
    assert cache.get_or_build("kernels", "one", build).path("sub/image").read_bytes() == CONTENT
    assert leftovers(cache) == []


def test_two_runs_that_want_the_same_build_it_once(cache: Cache) -> None:
    builds = []
    barrier = threading.Barrier(4)

    def count(directory: Path) -> Mapping[str, Any]:
        builds.append(directory)
        return build(directory)

    def want() -> None:
        barrier.wait()
        Cache(cache.directory).get_or_build("kernels", "one", count)

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1


def test_waiting_for_another_run_is_shown(cache: Cache, recorder: Recorder) -> None:
    path = cache.folder("locks") / "kernels.lock"
    with path.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        release = threading.Timer(0.2, fcntl.flock, (other, fcntl.LOCK_UN))
        release.start()
        with cache.lock("kernels"):
            assert recorder.stages == [("waiting for another run that holds kernels.lock", None)]
        release.join()


def test_an_entry_that_another_run_uses_is_not_removed(cache: Cache) -> None:
    cache.get_or_build("kernels", "one", build)
    code = (
        "import sys; from pathlib import Path; from vm.cache import Cache\n"
        "print(Cache(Path(sys.argv[1])).get('kernels', 'one') is not None, flush=True); sys.stdin.read()"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", code, str(cache.directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"True\n"
        assert cache.remove("kernels", "one") is None
        assert cache.get("kernels", "one") is not None
        other.communicate()
    size_bytes = cache.remove("kernels", "one")
    assert size_bytes is not None
    assert size_bytes > len(CONTENT)
    assert cache.get("kernels", "one") is None


def test_how_long_an_entry_was_not_used_is_known(cache: Cache) -> None:
    entry = cache.get_or_build("kernels", "one", build)
    os.utime(entry.directory / "manifest.json", (0, 0))
    assert cache.unused_for_s("kernels", "one") > 1e9
    cache.get("kernels", "one")
    assert cache.unused_for_s("kernels", "one") < 60


@pytest.mark.parametrize("key", ["", ".hidden", "a/b", "../x"])
def test_a_key_cannot_lead_elsewhere(key: str, cache: Cache) -> None:
    with pytest.raises(ValueError, match="cannot be a cache key"):
        cache.get("kernels", key)


def test_a_file_in_place_of_the_cache_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="URING_MATRIX_CACHE"):
        Cache(tmp_path / "file").get_or_build("kernels", "one", build)


READ_ONLY = """
from vm.cache import Cache, digest_of
from vm.errors import CacheError
result = []
def build(directory):
    (directory / "image").write_bytes(b"x")
    return {}
cache = Cache(place / "cache")
cache.get_or_build("kernels", "one", build)
import subprocess
subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
result.append(cache.get_or_build("kernels", "one", build).path("image").read_bytes().decode())
for attempt in (
    lambda: cache.get_or_build("kernels", "two", build),
    lambda: cache.write(place / "cache/f", b"x"),
    lambda: cache.remove("kernels", "one"),
    lambda: cache.folder("new"),
    lambda: cache.clear_folder("locks"),
):
    try:
        attempt()
        result.append("worked")
    except CacheError as error:
        result.append(str(error))
"""


def test_a_read_only_cache_gives_what_it_has_and_explains_what_it_cannot_do(
    in_small_world: Callable[[str, str], Any],
) -> None:
    read, *attempts = in_small_world('mount -t tmpfs -o size=4m none "$1"', READ_ONLY)
    assert read == "x"
    for message in attempts:
        assert "the cache cannot be written (Read-only file system)" in message


FULL = """
from vm.cache import Cache, digest_of
from vm.errors import CacheError
result = []
cache = Cache(place / "cache")
def build(directory):
    for index in range(100):
        (directory / str(index)).write_bytes(b"x" * 100_000)
    return {}
def small(directory):
    (directory / "image").write_bytes(b"x")
    return {}
for attempt in (
    lambda: cache.get_or_build("kernels", "one", build),
    lambda: cache.write(place / "f", b"x" * 4_000_000),
):
    try:
        attempt()
        result.append("worked")
    except CacheError as error:
        result.append(str(error))
names = [[path.name for path in folder.iterdir()] for folder in (place / "cache/temporary", place)]
result.append([cache.keys("kernels"), *names])
result.append(cache.get_or_build("kernels", "one", small).path("image").read_bytes().decode())
"""


def test_a_full_disk_is_explained_and_nothing_half_is_left(in_small_world: Callable[[str, str], Any]) -> None:
    build_message, write_message, left, read = in_small_world('mount -t tmpfs -o size=1m none "$1"', FULL)
    for message in (build_message, write_message):
        assert "no space left on the device" in message
        assert "kernels prune" in message
    assert left == [[], [], ["cache"]]
    assert read == "x"


MIB = 1 << 20


def make_sparse(directory: Path) -> dict[str, str]:
    """A file of a little more than three MiB, with a word in the second and one at the end of the third."""
    with (directory / "memory").open("wb") as file:
        file.seek(MIB)
        file.write(b"memory")
        file.seek(3 * MIB - 3)
        file.write(b"end")
        file.truncate(3 * MIB + 10)
    (directory / "state").write_bytes(b"state")
    return {}


@pytest.fixture
def sparse(cache: Cache) -> Path:
    return cache.get_or_build("k", "a", make_sparse, sparse=["memory"]).path("memory")


def test_holes_and_zeros_are_the_same(cache: Cache, sparse: Path) -> None:
    """A copy of the cache may have filled them."""
    content = sparse.read_bytes()
    sparse.unlink()
    sparse.write_bytes(content)
    assert cache.get("k", "a") is not None


@pytest.mark.parametrize(
    ("at", "content"),
    [(MIB + 1, b"E"), (MIB, bytes(6)), (0, b"x"), (2 * MIB + 5, b"\1"), (3 * MIB - 1, b"D"), (3 * MIB + 9, b"\1")],
)
def test_a_change_in_a_sparse_file_is_noticed(cache: Cache, sparse: Path, at: int, content: bytes) -> None:
    with sparse.open("r+b") as file:
        file.seek(at)
        file.write(content)
    assert cache.get("k", "a") is None
    assert not sparse.exists()


@pytest.mark.parametrize("size", [0, MIB, 2 * MIB, 3 * MIB, 3 * MIB + 9, 3 * MIB + 11])
def test_another_size_of_a_sparse_file_is_noticed(cache: Cache, sparse: Path, size: int) -> None:
    os.truncate(sparse, size)
    assert cache.get("k", "a") is None


def test_the_place_of_what_is_in_a_sparse_file_counts(cache: Cache, sparse: Path) -> None:
    with sparse.open("r+b") as file:
        file.seek(MIB)
        file.write(bytes(6))
        file.seek(0)
        file.write(b"memory")
    assert cache.get("k", "a") is None


def test_a_file_can_be_left_for_later(cache: Cache, sparse: Path) -> None:
    sparse.write_bytes(b"")
    entry = cache.get("k", "a", unverified=["memory"])
    assert entry is not None
    assert entry.damage(["state"]) is None
    assert entry.damage(["state", "memory"]) == "memory is not what was stored"
    sparse.unlink()
    assert "No such file" in str(entry.damage(["memory"]))


def test_a_file_is_hashed_again_only_when_it_looks_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    first = digest_of(path)
    assert first == hashlib.sha256(b"one").hexdigest()
    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", None)
        assert digest_of(path) == first
    path.write_bytes(b"another")
    assert digest_of(path) == hashlib.sha256(b"another").hexdigest()
