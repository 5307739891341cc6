"""Fetching in a process of its own: outcomes as they come, what is said meanwhile, and an end of any kind."""

import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Recorder

sys.path.append(str(Path(__file__).parents[1]))

from own_archive import RELEASES, FakeArchive, bzimage, serving

from vm.cache import Cache, hash_file
from vm.errors import FetchError, VmError
from vm.fetch import Kernels, hold
from vm.kernel import Kernel
from vm.lock import pin
from vm.prefetch import Prefetch, PrefetchRequest, is_there, take
from vm.settings import Settings

# Of a package: more than fits into the buffers between a server and a file.
SIZE = 4 << 20
Start = Callable[..., Prefetch]


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeArchive]:
    """Two kernels, of which this machine's apt knows for the length of a test."""
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    with serving(tmp_path) as fake:
        yield fake


@pytest.fixture
def start(cache: Cache, settings: Settings, recorder: Recorder, tmp_path: Path) -> Iterator[Start]:
    """Starts a process that fetches these kernels, and ends it."""
    started: list[Prefetch] = []

    def make(*specs: str, **order: object) -> Prefetch:
        folder = tmp_path / f"outcomes-{len(started)}"
        folder.mkdir()
        if specs:
            order["kernels"] = tuple(Kernels(cache, settings).resolve(specs))
        started.append(Prefetch(PrefetchRequest(settings, "amd64", **order), folder, recorder))  # type: ignore[arg-type]
        return started[-1]

    yield make
    for one in started:
        one.end()


def stall(archive: FakeArchive) -> None:
    """Have a newer 6.1 break off in the middle."""
    release = RELEASES["6.1"]
    image = bzimage(release) + random.Random(1).randbytes(SIZE)
    package = archive.add("bookworm", f"linux-image-{release}", "6.1.2-1", {f"boot/vmlinuz-{release}": image})
    archive.publish()
    archive.stalled[package] = SIZE // 2


def test_each_kernel_is_there_as_soon_as_it_has_come(
    archive: FakeArchive, start: Start, cache: Cache, recorder: Recorder
) -> None:
    """In the order in which they are wanted, which is not apt's."""
    stall(archive)
    prefetch = start("6.12", "6.1")
    first, second = prefetch.outcomes
    prefetch.wait()
    kernel = take(first)
    assert isinstance(kernel, Kernel)
    assert (kernel.release, kernel.sha256) == (RELEASES["6.12"], hash_file(kernel.image))
    hold(kernel, cache)
    assert not is_there(second)
    assert any("downloading 2 kernels" in note for note in recorder.notes)
    archive.stalled.clear()
    prefetch.leave()
    later = take(second)
    assert isinstance(later, Kernel)
    assert (later.ref.id, later.ref.package_version) == ("6.1", "6.1.2-1")


def test_an_end_before_everything_is_there(archive: FakeArchive, start: Start, cache: Cache) -> None:
    stall(archive)
    prefetch = start("6.12", "6.1")
    prefetch.wait()
    prefetch.end()
    assert isinstance(take(prefetch.outcomes[0]), Kernel)
    assert is_there(prefetch.outcomes[1])
    with pytest.raises(FetchError, match="ended before it was there"):
        take(prefetch.outcomes[1])
    assert list((cache.directory / "temporary").iterdir()) == []


def test_a_process_that_is_killed(archive: FakeArchive, start: Start) -> None:
    """Whoever waits wakes up."""
    stall(archive)
    prefetch = start("6.1")
    os.kill(prefetch._process.pid, signal.SIGKILL)
    prefetch.wait()
    with pytest.raises(FetchError, match="ended before it was there"):
        take(prefetch.outcomes[0])


def test_why_a_kernel_cannot_be_had(archive: FakeArchive, start: Start, cache: Cache, settings: Settings) -> None:
    """As it would be said here: of one that is gone, and of one that is another than the one pinned."""
    kernels = Kernels(cache, settings)
    pins = [pin(kernels.fetch(ref)) for ref in kernels.resolve(["6.1"])]
    kernels.prune(everything=True)
    pool = next(iter(archive.root.glob("pool/linux-image-6.12*"))).relative_to(archive.root).as_posix()
    archive.gone.add(pool)
    prefetch = start("6.12")
    with pytest.raises(VmError, match=r"the archive no longer has linux-image-\S+ \(404\), and lists no other"):
        take(prefetch.outcomes[0])
    wrong = [type(one)(**{**{name: getattr(one, name) for name in one.__slots__}, "sha256": "0" * 64}) for one in pins]
    prefetch = start(pins=tuple(wrong))
    with pytest.raises(VmError, match=r"6\.1 is pinned to an image with sha256 0000"):
        take(prefetch.outcomes[0])


def test_there_is_no_qemu_for_that(settings: Settings, recorder: Recorder, tmp_path: Path) -> None:
    prefetch = Prefetch(PrefetchRequest(settings, "vax", other="QEMU"), tmp_path, recorder)
    prefetch.wait()
    with pytest.raises(VmError, match="no QEMU program is known for vax"):
        take(prefetch.outcomes[0])
    prefetch.end()


def test_the_index_is_in_the_cache_then(archive: FakeArchive, start: Start, cache: Cache, settings: Settings) -> None:
    prefetch = start(other="index")
    prefetch.wait()
    assert take(prefetch.outcomes[0]) is None
    archive.requests.clear()
    assert [ref.id for ref in Kernels(cache, settings).resolve(["all"])] == ["6.1", "6.12"]
    assert archive.requests == []


def test_a_mistake_of_ours_in_that_process(tmp_path: Path) -> None:
    """It is said of everything that it was to bring, and not only on its standard error."""
    paths = [tmp_path / "one", tmp_path / "two"]
    descriptors = [os.open(path, os.O_CREAT | os.O_WRONLY) for path in paths]
    command = [sys.executable, "-m", "vm.prefetch", *map(str, descriptors)]
    done = subprocess.run(
        command,
        input=b'{"arch": 3}',
        pass_fds=descriptors,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    for path, descriptor in zip(paths, descriptors, strict=True):
        os.close(descriptor)
        with pytest.raises(VmError, match=r"ValidationError: .*a mistake of ours"):
            take(path)


def test_nobody_waits_longer_than_there_is_time(tmp_path: Path) -> None:
    path = tmp_path / "outcome"
    with path.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(FetchError, match="the run's time was over before it was fetched"):
            take(path, time.monotonic() - 1)


@pytest.mark.parametrize("content", [b"", b'{"kernel":null,"err'], ids=["empty", "cut"])
def test_an_outcome_that_was_not_written_whole(content: bytes, tmp_path: Path) -> None:
    """A full disk, say: nobody takes it for QEMU's."""
    (tmp_path / "outcome").write_bytes(content)
    with pytest.raises(FetchError, match="ended before it was there"):
        take(tmp_path / "outcome")


def test_a_kernel_that_was_removed_meanwhile(archive: FakeArchive, start: Start, cache: Cache) -> None:
    prefetch = start("6.12")
    kernel = take(prefetch.outcomes[0])
    assert isinstance(kernel, Kernel)
    prefetch.end()
    kernel.image.unlink()
    with pytest.raises(VmError, match="is gone from the cache or damaged"):
        hold(kernel, cache)
