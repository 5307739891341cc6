"""Bytecode that is made on the host for files that are sent: that is added to them, and nothing else.

Who makes it runs the user's code, which may write and change files as it likes, and may fail.
"""

import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from vm.errors import VmError
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


def _added(sent: Sequence[Member], root: Path, before: Mapping[str, object]) -> Iterator[Member]:
    names = {member.name for member in sent}
    for parent in sorted({str(PurePosixPath(name).parent) for name in before}):
        cache = root / parent / _CACHE
        if cache.is_symlink() or not cache.is_dir():
            continue
        for path in sorted(cache.glob("*.pyc")):
            name = f"{parent}/{_CACHE}/{path.name}"
            source = f"{parent}/{path.name.partition(_TAG)[0]}.py"
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
