"""kernels.lock: what is written, what is read back, and what is said when the world has moved on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from own_archive import RELEASES, FakeArchive, bzimage

from vm.cache import Cache
from vm.errors import FetchError, SpecError
from vm.fetch import Kernels
from vm.kernel import Kernel, KernelRef
from vm.lock import Pin, fetch_locked, pin, read_lock, render_lock
from vm.settings import Settings

from .conftest import Ended

Call = Callable[..., Ended]
PIN = Pin("6.1", "6.1", "amd64", "6.1.0", "0" * 64, package="linux-image-6.1", package_version="1-1", suite="s")


@pytest.fixture
def kernels(tmp_path: Path) -> Kernels:
    settings = Settings(cache=tmp_path / "cache")
    return Kernels(Cache(settings.cache), settings)


def test_a_kernel_that_is_pinned_twice_is_a_usage_error(tmp_path: Path) -> None:
    """Results know kernels by their ids: of two with the same one, only one could be told."""
    file = tmp_path / "kernels.lock"
    file.write_text(render_lock([PIN, replace(PIN, package_version="1-2")]))
    with pytest.raises(SpecError, match=r"pins 6\.1 more than once"):
        read_lock(file)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    own = Pin("bzImage", "", "amd64", "6.1", "1" * 64, location='/a "path" with ümlauts\\and\ttabs')
    file = tmp_path / "kernels.lock"
    file.write_text(render_lock([PIN, own]))
    assert read_lock(file) == [PIN, own]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("format = 1\n[[kernel", "no lock file"),
        ("", "format None"),
        ("format = 2\n", "format 2"),
        ("format = 1\n", "pins no kernel"),
        ("format = 1\nkernel = 3\n", "pins no kernel"),
        ("format = 1\nkernel = [3]\n", "lacks id, series, arch, release, sha256"),
        ('format = 1\n[[kernel]]\nid = 1\nseries = ""\narch = ""\nrelease = ""\nsha256 = ""\n', "lacks text"),
        (
            'format = 1\n[[kernel]]\nid = ""\nseries = ""\narch = ""\nrelease = ""\nsha256 = ""\n',
            "neither a package nor a location",
        ),
    ],
)
def test_what_is_no_lock_file_is_a_usage_error(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "kernels.lock"
    file.write_text(text)
    with pytest.raises(SpecError, match=words):
        read_lock(file)


def test_a_lock_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="kernels lock"):
        read_lock(tmp_path / "kernels.lock")


def test_the_running_kernel_cannot_be_pinned() -> None:
    with pytest.raises(SpecError, match="running kernel"):
        pin(Kernel(KernelRef("host", "6.1", "amd64", "host"), Path(), "", "6.1"))


def test_a_lock_brings_back_the_same_images(cli: Call, archive: FakeArchive, kernels: Kernels) -> None:
    assert cli("kernels", "lock").code == 0
    # Meanwhile a newer one of the series is published; it must not be taken.
    newer = RELEASES["6.1"].replace("-9-", "-10-")
    archive.add("bookworm", f"linux-image-{newer}", "6.1.2-1", {f"boot/vmlinuz-{newer}": bzimage(newer)})
    archive.publish()
    assert cli("kernels", "list", "--update").out.count(newer) == 1
    pins = read_lock(Path("kernels.lock"))
    fetched = fetch_locked(kernels, pins)
    assert [kernel.release for kernel in fetched if isinstance(kernel, Kernel)] == [RELEASES["6.1"], RELEASES["6.12"]]
    assert [pin(kernel) for kernel in fetched if isinstance(kernel, Kernel)] == pins


def test_another_image_under_the_same_name_is_refused(tmp_path: Path, kernels: Kernels) -> None:
    image = tmp_path / "bzImage"
    image.write_bytes(bzimage("6.1.0"))
    pinned = pin(kernels.fetch(kernels.resolve([str(image)])[0]))
    image.write_bytes(bzimage("6.1.1"))
    (outcome,) = fetch_locked(kernels, [pinned])
    assert isinstance(outcome, FetchError)
    assert pinned.sha256 in str(outcome)


def test_a_pinned_kernel_that_is_gone_is_named(archive: FakeArchive, kernels: Kernels) -> None:
    (outcome,) = fetch_locked(kernels, [PIN])
    assert isinstance(outcome, FetchError)
    assert str(outcome).startswith("6.1 is pinned to linux-image-6.1 1-1, which cannot be had: ")


def test_nothing_is_written_where_a_kernel_is_missing(cli: Call, archive: FakeArchive) -> None:
    archive.gone.add(next(iter(archive.root.glob("pool/linux-image-6.12*"))).relative_to(archive.root).as_posix())
    assert cli("kernels", "lock").code == 3
    assert not Path("kernels.lock").exists()
