"""Bytecode that is made on the host for files that are sent: that is added to them, and nothing else.

Who makes it runs the user's code, which may write and change files as it likes, and may fail. Where only the content of
a few modules differs from what was sent before, the bytecode of all others is taken from there.
"""

import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from vm import cpio
from vm.errors import VmError
from vm.guest import window
from vm.members import Member

_CACHE = "__pycache__"
_TAG = ".cpython-"


def make(sent: Sequence[Member], root: Path, steps: Sequence[Callable[[], None]]) -> tuple[list[Member], list[str]]:
    """Have bytecode made.

    Args:
        sent: the files.
        root: the directory that their copies lie in.
        steps: whatever makes bytecode beside the copies.

    Returns:
        What is to be sent after them, and what the steps failed with: without bytecode everything works, only later.
    """
    before = {
        member.name: _appearance(root / member.name)
        for member in sent
        if member.name.endswith(".py") and not stat.S_ISDIR(member.mode)
    }
    failed = []
    for step in steps:
        try:
            step()
        except VmError as error:
            failed.append(str(error))
    return list(_added(sent, root, before)), failed


def changed(now: Mapping[str, str], before: Mapping[str, str]) -> list[str] | None:
    """The modules whose content alone differs between two sets of files; None if anything else differs.

    Args:
        now: name of each file to its digest.
        before: the same of what was sent before.
    """
    names = [name for name, digest in now.items() if before.get(name) != digest]
    is_content = now.keys() == before.keys() and all(name.endswith(".py") for name in names)
    return names if is_content else None


def of_earlier(archive: Path, edited: Collection[str]) -> tuple[list[cpio.Entry], list[str]]:
    """Take the bytecode out of an earlier archive.

    Returns:
        What there is of modules that were not edited, and the names of what there was of those that were.
    """
    kept, stale = [], []
    content = archive.read_bytes()
    for encoded, mode, modified_s, begin, end in window.members(content):
        name = os.fsdecode(encoded)
        *_, folder, last = ("", *PurePosixPath(name).parts)
        if folder == _CACHE and _source_of(name) in edited:
            stale.append(name)
        elif _CACHE in {folder, last}:
            kept.append(cpio.Entry(name, mode, content[begin:end], modified_s=modified_s))
    return kept, stale


def _source_of(name: str) -> str:
    """The module that a file of bytecode is of."""
    path = PurePosixPath(name)
    return f"{path.parent.parent}/{path.name.partition(_TAG)[0]}.py"


def _added(sent: Sequence[Member], root: Path, before: Mapping[str, object]) -> Iterator[Member]:
    names = {member.name for member in sent}
    for parent in sorted({str(PurePosixPath(name).parent) for name in before}):
        cache = root / parent / _CACHE
        if cache.is_symlink() or not cache.is_dir():
            continue
        for path in sorted(cache.glob("*.pyc")):
            name = f"{parent}/{_CACHE}/{path.name}"
            source = _source_of(name)
            is_ours = source in before and _appearance(root / source) == before[source]
            if is_ours and name not in names and stat.S_ISREG(path.lstat().st_mode):
                if f"{parent}/{_CACHE}" not in names:
                    names.add(f"{parent}/{_CACHE}")
                    yield Member(f"{parent}/{_CACHE}", None, stat.S_IFDIR | 0o755)
                yield Member(name, path, stat.S_IFREG | 0o644)


def _appearance(path: Path) -> object:
    """What changes when a file is written; None when there is nothing where a link leads."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
