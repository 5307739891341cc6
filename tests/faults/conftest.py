"""The fixtures of the faults: a user's place, files that look like kernels, and a QEMU that boots nothing."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from fault_world import STAND_IN, World, shared_cache
from own_archive import bzimage

# Suites for tests that start a session of their own.
collect_ignore = ["asking_suite"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A user's place."""
    made = World(tmp_path / "here", tmp_path / "tmp", tmp_path / "home")
    for folder in (made.place, made.temporary, made.home):
        folder.mkdir()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def kernel(tmp_path: Path) -> Callable[..., Path]:
    """Makes files that look like kernels, for guests of the stand-in."""

    def make(name: str, release: str = "6.1.0-stand-in", config: Mapping[str, str] | None = None) -> Path:
        folder = tmp_path / "kernels" / name
        folder.mkdir(parents=True, exist_ok=True)
        image = folder / name
        image.write_bytes(bzimage(release))
        if config is not None:
            (folder / "config").write_text("".join(f"{key}={value}\n" for key, value in config.items()))
        return image

    return make


@pytest.fixture
def stand_in(world: World, tmp_path: Path) -> Callable[..., World]:
    """Puts a QEMU on the world's PATH that boots nothing: its guest is a process on this machine's kernel.

    The real agent runs in it, so that everything but the machine is as ever. See `stand_in.py` for its faults.
    """

    def install(fault: str = "", program: Path = STAND_IN) -> World:
        folder = tmp_path / "programs"
        folder.mkdir(exist_ok=True)
        path = folder / "qemu-system-x86_64"
        path.write_text(f'#!/bin/sh\nexec {sys.executable} {program} "$@"\n')
        path.chmod(0o755)
        world.environment |= {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "STAND_IN_FAULT": fault}
        guests = tmp_path / "guests"
        guests.mkdir(exist_ok=True)
        world.environment |= {"URING_MATRIX_ACCEL": "tcg", "STAND_IN_WORK": str(guests)}
        world.options = ("--no-snapshots",)  # a process cannot be put by
        return world

    return install


@pytest.fixture
def cache_without(tmp_path: Path) -> Callable[..., Path]:
    """Makes a cache that has what the shared one has, but for some kinds: to see them made without downloads."""

    def make(*kinds: str) -> Path:
        cache = tmp_path / "cache"
        cache.mkdir()
        for folder in shared_cache().iterdir():
            if folder.is_dir() and folder.name not in {*kinds, "locks", "temporary"}:
                (cache / folder.name).symlink_to(folder)
        return cache

    return make
