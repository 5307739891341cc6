"""Unpacking: chosen members of a .deb, and kernel modules that are kept compressed.

Names are those of a system with merged /usr, whatever the age of the package: `usr/lib/…`, never `lib/…`. Nothing a
package says makes us write outside the directory that was given, or through a link.
"""

import bz2
import contextlib
import gzip
import importlib
import io
import lzma
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from vm.errors import FetchError, VmError

_MERGED = frozenset({"bin", "sbin", "lib", "lib32", "lib64", "libx32"})
_AR_MAGIC = b"!<arch>\n"
_AR_HEADER_SIZE = 60
_COPY_SIZE = 1 << 20


class ArchiveError(FetchError):
    """A package or a compressed file is damaged, or holds what no honest package holds."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a package, to be read before the next one is asked for."""

    # `usr/lib/modules/…`: relative, merged, without `.` or `..`.
    name: str
    info: tarfile.TarInfo
    _tar: tarfile.TarFile
    _deb: Path

    def read(self) -> bytes:
        """Read a regular file's content."""
        with _explained(self._deb), self._open() as stream:
            return stream.read()

    def save(self, path: Path) -> None:
        """Write a regular file's content to a file."""
        with path.open("wb") as file, _explained(self._deb), self._open() as stream:
            shutil.copyfileobj(stream, file, _COPY_SIZE)

    def _open(self) -> IO[bytes]:
        stream = self._tar.extractfile(self.info)
        if stream is None:
            raise ArchiveError(f"{self.name} is not a regular file")
        return stream


def members(deb: Path) -> Iterator[Member]:
    """Go through a package's files in its own order; leaving early costs nothing more.

    Raises:
        ArchiveError: it is not a package, is damaged, or has a name that leads outside.
    """
    with _explained(deb), _data_tar(deb) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        for info in tar:
            name = _merged(info.name, deb)
            if name:
                yield Member(name, info, tar, deb)
        # The archive ends before the stream does, and damage may show at the stream's very end.
        while stream.read(_COPY_SIZE):
            pass


def extract(deb: Path, directory: Path, wanted: Callable[[str], bool]) -> list[str]:
    """Unpack chosen members of a package.

    Args:
        deb: the package.
        directory: where to; several packages may share it.
        wanted: told the name of a file or link (`usr/lib/…`), says whether to unpack it.

    Returns:
        The names that were unpacked.
    """
    names = []
    for member in members(deb):
        if member.info.isdir() or not wanted(member.name):
            continue
        target = directory / member.name
        _make_parents(directory, target, deb)
        target.unlink(missing_ok=True)
        if member.info.issym():
            target.symlink_to(member.info.linkname)
        elif member.info.islnk():
            source = directory / _merged(member.info.linkname, deb)
            if not source.is_file() or source.is_symlink():
                raise ArchiveError(
                    f"{deb.name}: {member.name} is another name of {member.info.linkname}, which was left out"
                )
            target.hardlink_to(source)
        elif member.info.isreg():
            member.save(target)
            target.chmod(member.info.mode & 0o755 | 0o644)
        else:
            continue  # devices and pipes are of no use to an ordinary user
        names.append(member.name)
    return names


def control(deb: Path) -> dict[str, str]:
    """Read the first lines of a package's control fields: Package, Version, Architecture and the like.

    Raises:
        ArchiveError: it is not a package, or is damaged.
    """
    try:
        for name, content in _ar_members(deb):
            if name.startswith("control.tar"):
                with tarfile.open(fileobj=_decompressed(name, content, deb), mode="r|") as tar:
                    for info in tar:
                        stream = tar.extractfile(info) if PurePosixPath(info.name).name == "control" else None
                        if stream is not None:
                            lines = stream.read().decode(errors="replace").splitlines()
                            pairs = (line.partition(":") for line in lines if line and not line[0].isspace())
                            return {key: value.strip() for key, _, value in pairs}
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
        raise ArchiveError(f"{deb} cannot be read as a Debian package: {error}") from error
    raise ArchiveError(f"{deb} is not a Debian package: it has no control file")


def decompress(name: str, content: bytes) -> bytes:
    """Decompress a file by its name's ending: .xz, .zst, .gz; anything else is returned as it is.

    Raises:
        ArchiveError: the content is damaged, or nothing here understands the compression.
    """
    try:
        if name.endswith(".xz"):
            return lzma.decompress(content)
        if name.endswith(".gz"):
            return gzip.decompress(content)
        if name.endswith(".zst"):
            return _unzstd(name, content)
    except (lzma.LZMAError, EOFError, OSError, subprocess.CalledProcessError) as error:
        raise ArchiveError(f"{name} is damaged: {error}") from error
    return content


def _merged(name: str, deb: Path) -> str:
    """Bring a member's name into the form everybody here uses; empty for the root itself."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ArchiveError(f"{deb.name} holds {name!r}, which leads outside of where it is unpacked; it is not used")
    if path.parts and path.parts[0] in _MERGED:
        path = "usr" / path
    return "" if path == PurePosixPath() else str(path)


def _make_parents(directory: Path, target: Path, deb: Path) -> None:
    """Make a member's folders, none of which may be a link that an earlier member left."""
    for parent in reversed(target.relative_to(directory).parents):
        folder = directory / parent
        if folder.is_symlink():
            raise ArchiveError(f"{deb.name} would be unpacked through the link {parent}; it is not used")
    target.parent.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def _explained(deb: Path) -> Iterator[None]:
    """Turn whatever a damaged package makes the libraries raise into a sentence."""
    try:
        yield
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise ArchiveError(f"{deb.name} is damaged ({error}); remove it and fetch it again") from error


@contextlib.contextmanager
def _data_tar(deb: Path) -> Iterator[IO[bytes]]:
    """Open the archive of a package's files, decompressed."""
    program = shutil.which("dpkg-deb")
    if program is None:
        yield _python_data_tar(deb)
        return
    command = [program, "--fsys-tarfile", str(deb)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        if process.stdout is None or process.stderr is None:
            raise VmError("no pipe from dpkg-deb")
        try:
            yield process.stdout
            if process.wait() != 0:
                raise ArchiveError(f"{deb.name} is damaged ({_said(process.stderr)}); remove it and fetch it again")
        finally:
            # It writes in a process of its own, which killing the first one would leave alone.
            process.stdout.close()


def _said(stream: IO[bytes]) -> str:
    return stream.read().decode(errors="replace").strip()


def _python_data_tar(deb: Path) -> IO[bytes]:
    for name, content in _ar_members(deb):
        if name.startswith("data.tar"):
            return _decompressed(name, content, deb)
    raise ArchiveError(f"{deb} is not a Debian package: it has no data.tar")


def _decompressed(name: str, content: bytes, deb: Path) -> IO[bytes]:
    ending = name.rpartition(".")[2]
    if ending == "xz":
        return lzma.LZMAFile(io.BytesIO(content))
    if ending == "gz":
        return io.BytesIO(gzip.decompress(content))
    if ending == "bz2":
        return bz2.BZ2File(io.BytesIO(content))
    if ending == "zst":
        return io.BytesIO(_unzstd(f"{deb.name}: {name}", content))
    if ending == "tar":
        return io.BytesIO(content)
    raise ArchiveError(f"{deb.name}: nothing here understands {name}")


def _ar_members(deb: Path) -> Iterator[tuple[str, bytes]]:
    with deb.open("rb") as file:
        if file.read(len(_AR_MAGIC)) != _AR_MAGIC:
            raise ArchiveError(f"{deb} is not a Debian package")
        while header := file.read(_AR_HEADER_SIZE):
            try:
                name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
            except ValueError as error:
                raise ArchiveError(f"{deb} is damaged: it breaks off in the middle") from error
            content = file.read(size)
            if len(content) != size:
                raise ArchiveError(f"{deb} is damaged: it breaks off in {name}")
            yield name, content
            file.read(size % 2)


def _unzstd(name: str, content: bytes) -> bytes:
    try:
        # In the standard library since Python 3.14.
        return bytes(importlib.import_module("compression.zstd").decompress(content))
    except ModuleNotFoundError:
        program = shutil.which("zstd") or shutil.which("zstdcat")
    if program is None:
        raise ArchiveError(f"{name} is compressed with zstd; install the program zstd to read it")
    return subprocess.run([program, "-dc"], input=content, check=True, capture_output=True).stdout
