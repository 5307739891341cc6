"""Files on their way into a guest: whatever a directory can hold, named by any bytes, kept as it is."""

import hashlib
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vm import cpio
from vm.errors import VmError

_SIZE_MAX = (1 << 32) - 1  # of one file in an archive


class MemberError(VmError):
    """A file cannot be sent into a guest."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file, link or directory of the host's, and where it lies in the guest."""

    # Without a leading slash.
    name: str
    # None for a directory that nobody named: only what is in it.
    path: Path | None
    # `st_mode`, permissions and kind.
    mode: int

    def digest(self) -> str:
        """Everything that a guest gets to see of it, but for its time, in one line."""
        content = ""
        if stat.S_ISLNK(self.mode):
            content = repr(os.fsencode(self._source.readlink()))
        elif stat.S_ISREG(self.mode):
            content = hashlib.sha256(self._read()).hexdigest()
        return f"{os.fsencode(self.name)!r} {self.mode:o} {content}"

    def entry(self) -> cpio.Entry:
        """The member of an archive."""
        if stat.S_ISLNK(self.mode):
            return cpio.symlink(self.name, str(self._source.readlink()))
        content = self._read() if stat.S_ISREG(self.mode) else b""
        modified_s = int(self.path.lstat().st_mtime) if self.path is not None else 0
        return cpio.Entry(self.name, self.mode, content, modified_s=modified_s)

    def copy(self, root: Path) -> None:
        """Put it below a directory of the host's, for programs that run there: writable, and no pipes or sockets."""
        target = root / self.name
        if stat.S_ISDIR(self.mode):
            target.mkdir(exist_ok=True)
        elif stat.S_ISLNK(self.mode):
            target.symlink_to(self._source.readlink())
        elif stat.S_ISREG(self.mode):
            shutil.copy2(self._source, target)
            target.chmod(stat.S_IMODE(self.mode) | stat.S_IRUSR | stat.S_IWUSR)

    @property
    def _source(self) -> Path:
        if self.path is None:
            raise MemberError(f"{self.name} is not a file of the host's")
        return self.path

    def _read(self) -> bytes:
        try:
            content = self._source.read_bytes()
        except OSError as error:
            raise MemberError(f"{self.path} cannot be sent into a guest: {error.strerror}") from error
        if len(content) > _SIZE_MAX:
            raise MemberError(f"{self.path} cannot be sent into a guest: it has more than 4 GiB")
        return content


def members(top: str, files: Mapping[str, Path]) -> list[Member]:
    """What is sent, parents first.

    Args:
        top: the directory of the guest's that all lie in.
        files: name below it to the file, the link (it is sent as one, wherever it leads) or the directory (itself, with
            nothing in it) on the host.

    Raises:
        MemberError: a name leads elsewhere, lies below what is no directory, or is not a file that can be sent.
    """
    found = {top: Member(top, None, stat.S_IFDIR | 0o755)}
    for name, path in sorted(files.items()):
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or name != "/".join(parts) or name.startswith("/"):
            raise MemberError(f"{name!r} is not a name below a guest's /{top}")
        for count in range(1, len(parts)):
            parent = f"{top}/{'/'.join(parts[:count])}"
            if not stat.S_ISDIR(found.setdefault(parent, Member(parent, None, stat.S_IFDIR | 0o755)).mode):
                raise MemberError(f"{path} cannot be sent into a guest: /{parent} is no directory there")
        found[f"{top}/{name}"] = _member(f"{top}/{name}", path)
    return [found[name] for name in sorted(found, key=lambda name: name.split("/"))]


def _member(name: str, path: Path) -> Member:
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        raise MemberError(f"{path} cannot be sent into a guest: {error.strerror}") from error
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise MemberError(f"{path} cannot be sent into a guest: it is a device")
    return Member(name, path, mode)
