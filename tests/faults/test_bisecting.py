"""The page about bisecting, followed to the letter: a small history, real kernels, and the commit that broke it."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from archive_kernels import oldest_and_newest
from tree import ROOT

from vm.cache import Cache
from vm.fetch import Kernels
from vm.progress import PlainProgress
from vm.settings import Settings

pytestmark = [pytest.mark.vm, pytest.mark.slow]  # `tox -e faults`

PAGE = ROOT / "docs/bisecting.md"
# What `make` does at each commit: the oldest kernel lacks what the newest has, and one does not build.
STEPS = ("newest", "newest", "broken", "newest", "oldest", "oldest", "oldest")
CULPRIT = 4
# In place of a kernel's Makefile.
MAKE = """#!/bin/sh
kernel=$(cat kernel)
[ "$kernel" != broken ] || { echo "make: *** [bzImage] Error 1" >&2; exit 2; }
mkdir -p arch/x86/boot
cp "$IMAGES/$kernel" arch/x86/boot/bzImage
"""


def command(pattern: str) -> str:
    """A line of the page."""
    found: str = re.search(rf"^    ({pattern}.*)$", PAGE.read_text(), re.MULTILINE)[1]  # type: ignore[index]
    return found


def test_the_page_finds_the_commit_that_broke_it(tmp_path: Path) -> None:
    """The first commit with the kernel that lacks it is named; the one before, which does not build, is not blamed."""
    settings = Settings.load()
    kernels = Kernels(Cache(settings.cache, PlainProgress()), settings, PlainProgress())
    images, binaries, linux = tmp_path / "images", tmp_path / "bin", tmp_path / "linux"
    for directory in (images, binaries, linux):
        directory.mkdir()
    for name, spec in zip(("oldest", "newest"), oldest_and_newest(), strict=True):
        (images / name).symlink_to(kernels.fetch(kernels.resolve([spec])[0]).image)
    (binaries / "make").write_text(MAKE)
    (binaries / "make").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{binaries}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "IMAGES": str(images),
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{f"GIT_{who}_{what}": "nobody@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }

    def run(*words: str, code: int = 0) -> str:
        done = subprocess.run(words, cwd=linux, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr

    run("git", "init", "-q")
    (linux / ".gitignore").write_text("arch/\n")
    commits = []
    for number, step in enumerate(STEPS):
        (linux / "kernel").write_text(f"{step}\n")
        (linux / "number").write_text(f"{number}\n")
        run("git", "add", ".")
        run("git", "commit", "-q", "-m", f"{number}: {step}")
        commits.append(run("git", "rev-parse", "HEAD").strip())

    run("git", "checkout", "-q", commits[0])
    run("sh", "-c", command("make "))
    run(*shlex.split(command("uring-matrix run ")))
    run("git", "bisect", "start", commits[-1], commits[0])
    told = run(*shlex.split(command("git bisect run ")))
    assert f"{commits[CULPRIT]} is the first bad commit" in told, told
    for word in ("good (0)", "bad (1)"):
        assert f"for `git bisect run` this is {word}" in told, told
