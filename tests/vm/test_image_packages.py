"""What the guest image is made of where package lists cannot be asked, or name what cannot be had."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Recorder
from fake_archive import FakeArchive
from fake_guest import add_guest

from vm import image
from vm.apt import Archive
from vm.architectures import AMD64
from vm.cache import Cache
from vm.errors import FetchError, SignatureError
from vm.settings import Settings

Connect = Callable[..., Archive]
Make = Callable[..., image.Runtime]


@pytest.fixture
def recipe(tmp_path: Path) -> image.Recipe:
    """One module beside PID 1."""
    (tmp_path / "mine.py").write_text("one = 1\n")
    return image.Recipe(AMD64, {"mine": tmp_path / "mine.py"}, preload=("mine",))


@pytest.fixture
def make(fake: FakeArchive, connect: Connect, cache: Cache, settings: Settings, recorder: Recorder) -> Make:
    """Makes a guest image out of packages in which every program is a script."""
    add_guest(fake, "new")
    fake.publish()

    def run(recipe: image.Recipe, **changes: bool) -> image.Runtime:
        archive = connect("new", settings=dataclasses.replace(settings, **changes))
        return image.runtime(archive, recipe, cache, recorder)

    return run


def forget_lists(cache: Cache) -> None:
    shutil.rmtree(cache.directory / "apt")


def test_without_lists_an_image_that_is_there_is_used(
    make: Make, recipe: image.Recipe, cache: Cache, fake: FakeArchive, recorder: Recorder
) -> None:
    made = make(recipe)
    assert made.packages["python3.13"] == "3.13.1-1"
    forget_lists(cache)
    fake.requests.clear()
    assert make(recipe, offline=True) == made
    assert fake.requests == []
    assert recorder.notes[-1].startswith("the guest image has the packages of an earlier one: offline was asked for")


def test_without_lists_an_image_is_made_of_the_packages_that_are_there(
    make: Make, recipe: image.Recipe, cache: Cache, tmp_path: Path
) -> None:
    """A pytest that was brought up to date needs another image, and no other packages."""
    made = make(recipe)
    forget_lists(cache)
    (tmp_path / "mine.py").write_text("one = 2\n")
    another = make(dataclasses.replace(recipe), offline=True)
    assert (another.key == made.key, another.packages) == (False, made.packages)


def test_the_lists_know_of_newer_packages_that_nobody_fetched(
    make: Make, recipe: image.Recipe, fake: FakeArchive, connect: Connect
) -> None:
    made = make(recipe)
    fake.stanzas["new"].clear()
    add_guest(fake, "new", "3.13.2-1")
    fake.publish()
    connect("new").update(force=True)
    assert make(recipe, offline=True) == made
    assert make(recipe).packages["python3.13"] == "3.13.2-1"


def test_with_neither_image_nor_packages_it_is_said_what_is_missing(
    make: Make, recipe: image.Recipe, cache: Cache, connect: Connect, tmp_path: Path
) -> None:
    with pytest.raises(FetchError, match=r"lacks package lists \(new\)"):
        make(recipe, offline=True)
    make(recipe)
    assert image.is_at_hand(connect("new"), recipe, cache)
    cache.clear_folder("packages")
    assert image.is_at_hand(connect("new"), recipe, cache)
    (tmp_path / "mine.py").write_text("one = 2\n")
    recipe = dataclasses.replace(recipe)
    assert not image.is_at_hand(connect("new"), recipe, cache)
    with pytest.raises(FetchError, match="would have to be downloaded, but offline was asked for"):
        make(recipe, offline=True)
    image.fetch_packages(connect("new"))
    assert image.is_at_hand(connect("new"), recipe, cache)


def test_a_damaged_image_is_not_at_hand(make: Make, recipe: image.Recipe, cache: Cache, connect: Connect) -> None:
    made = make(recipe)
    cache.clear_folder("packages")
    made.initramfs.write_bytes(b"something else")
    assert not image.is_at_hand(connect("new"), recipe, cache)


def test_a_bad_signature_is_no_reason_for_an_earlier_image(
    make: Make, recipe: image.Recipe, cache: Cache, fake: FakeArchive
) -> None:
    make(recipe)
    forget_lists(cache)
    release = fake.root / "dists/new/InRelease"
    release.write_text(release.read_text().replace("Origin: Debian", "Origin: Devian"))
    with pytest.raises(SignatureError):
        make(recipe)


def test_a_machine_without_apt_uses_what_was_made_on_another(
    make: Make, recipe: image.Recipe, cache: Cache, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = make(recipe)
    forget_lists(cache)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert image.runtime(Archive(["new"], "amd64", cache, settings), recipe, cache, Recorder()) == made
