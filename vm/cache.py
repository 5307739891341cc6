"""The cache directory: entries that are either whole and verified or not there at all.

An entry is a directory. It is built under a temporary name, its files are hashed into `manifest.json`, and only then it
is renamed into place. Whoever opens an entry hashes its files again first: a file that was truncated, changed by a bit,
replaced, or that never reached the disk before a power failure, is noticed; the entry is thrown away with one line, and
it is made again. Reading needs no lock and no write access, so that a read-only cache serves whatever it holds.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from vm.errors import CacheError
from vm.progress import SILENT, Progress
from vm.sparse import filled

# A folder of small files, each of which says itself what it is of and whether it is whole (`harness.bytecode`).
BYTECODE = "bytecode"
_MANIFEST = "manifest.json"
# What backup programs look for to leave a directory out.
_TAG = "CACHEDIR.TAG"
_TAG_TEXT = "Signature: 8a477f597d28d172789f06886806bc55\n"
_OUT_OF_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
# How a manifest describes what is no plain file.
_LINK, _SPARSE = "-> ", "sparse "
# Files this process has hashed, by what they looked like, to their sha256.
_known: dict[tuple[Path, int, int, int], str] = {}
# Entries this process has opened: nobody may remove them under its feet.
_held: dict[Path, int] = {}
_NOT_WRITABLE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


@dataclass(frozen=True, slots=True)
class Entry:
    """A verified entry of the cache."""

    directory: Path
    # What the builder wanted to keep about it.
    meta: Mapping[str, Any]
    # Path within the entry to its sha256, of every file; see `hash_tree`.
    files: Mapping[str, str]

    def path(self, name: str) -> Path:
        """Find a file of this entry; KeyError when it has none of that name."""
        if name not in self.files:
            raise KeyError(name)
        return self.directory / name

    def damage(self, names: Iterable[str]) -> str | None:
        """Hash some files again, and say what is wrong; None when they are what was stored."""
        for name in names:
            expected = self.files[name]
            try:
                actual = _describe(self.directory / name, expected)
            except OSError as error:
                return f"{name}: {error.strerror}"
            if actual != expected:
                return f"{name} is not what was stored"
        return None


class Cache:
    """A directory of entries, `KIND/KEY`, shared by every run of this user.

    Args:
        directory: where; made when something is first written.
        progress: told when a damaged entry is thrown away.
    """

    def __init__(self, directory: Path, progress: Progress = SILENT) -> None:
        self.directory = directory
        self._progress = progress

    def get(self, kind: str, key: str, *, unverified: Collection[str] = ()) -> Entry | None:
        """Open an entry and verify every file of it.

        The entry cannot be removed by another run for as long as this process lives.

        Args:
            kind: what sort of thing it is.
            key: which one.
            unverified: files that the caller will verify itself before it believes them, with `Entry.damage`.

        Returns:
            The entry; None when there is none, or when it was damaged (it is discarded, if the cache can be written).
        """
        found = self._open(kind, key, unverified)
        if isinstance(found, str):
            self._discard(kind, key, found)
            return None
        return found

    def get_or_build(
        self, kind: str, key: str, build: Callable[[Path], Mapping[str, Any]], *, sparse: Collection[str] = ()
    ) -> Entry:
        """Open an entry, or make it; of several runs that want it at once only one makes it.

        Args:
            kind: what sort of thing it is, also the folder's name.
            key: which one; has to change whenever the content would.
            build: fills the empty directory it is given and returns what to remember about it (JSON).
            sparse: names of files that are mostly holes. They are large, and made to be used later: after they were
                made they are not read once more.

        Raises:
            CacheError: it is not there and the cache cannot be written.
        """
        entry = self.get(kind, key)
        if entry is not None:
            return entry
        with self.lock(f"{kind}-{key}"):
            # Somebody else may have made it while we waited for the lock.
            found = self._open(kind, key)
            if isinstance(found, Entry):
                return found
            if found is not None:
                self._bury(kind, key, is_damaged=True)
            return self._build(kind, key, build, sparse)

    def remove(self, kind: str, key: str) -> int | None:
        """Delete an entry, unless a run is using it.

        Returns:
            The bytes that became free; None when it is in use.
        """
        with self.lock(f"{kind}-{key}"):
            return self._bury(kind, key)

    def kinds(self) -> list[str]:
        """List the kinds of entries there are, sorted."""
        try:
            folders = sorted(path for path in self.directory.iterdir() if path.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [path.name for path in folders if any(path.glob(f"*/{_MANIFEST}"))]

    def keys(self, kind: str) -> list[str]:
        """List the entries of a kind, unverified, sorted."""
        place = self.directory / kind
        with self.writing(f"list {place}"):
            try:
                return sorted(path.name for path in place.iterdir() if not path.name.startswith("."))
            except (FileNotFoundError, NotADirectoryError):
                return []

    def meta(self, kind: str, key: str) -> Mapping[str, Any]:
        """What is remembered about an entry, unverified, and much quicker so; nothing where that cannot be read."""
        try:
            found = json.loads((self._place(kind, key) / _MANIFEST).read_bytes())["meta"]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return found if isinstance(found, dict) else {}

    def unused_for_s(self, kind: str, key: str) -> float:
        """How long ago an entry was last opened; infinite if it is not there."""
        try:
            return max(0.0, time.time() - (self._place(kind, key) / _MANIFEST).stat().st_mtime)
        except OSError:
            return math.inf

    def clear_folder(self, name: str, keep: Collection[str] = ()) -> list[tuple[str, int]]:
        """Remove the files of a folder of the cache, but for some. Returns what was removed and its bytes."""
        removed = []
        for path in sorted(path for path in (self.directory / name).glob("*") if path.name not in keep):
            with self.writing(f"remove {path}"):
                removed.append((f"{name}/{path.name}", path.stat().st_size))
                path.unlink()
        return removed

    def clear_unused(self, name: str, unused_s: float) -> list[tuple[str, int]]:
        """Remove the files of a folder that nobody wanted for so long. Returns the folder and their bytes, if any."""
        now_s, size_bytes = time.time(), 0
        for path in (self.directory / name).glob("*"):
            with self.writing(f"remove {path}"), contextlib.suppress(FileNotFoundError):  # another run's doing
                status = path.stat()
                if now_s - status.st_mtime >= unused_s:
                    path.unlink()
                    size_bytes += status.st_size
        return [(name, size_bytes)] if size_bytes else []

    def folder(self, name: str) -> Path:
        """Make a folder of the cache that its user looks after himself, such as apt's private root."""
        path = self.directory / name
        with self.writing(f"make {path}"):
            if not path.is_dir():
                self._make_root()
                path.mkdir(parents=True, exist_ok=True)
        return path

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock of that name against every other run of this user.

        Raises:
            CacheError: the cache cannot be written.
        """
        safe = "".join(letter if letter.isalnum() or letter in "._-+~" else "_" for letter in name)
        path = self.folder("locks") / f"{safe[:150]}.lock"
        lock = filelock.FileLock(path)
        with self.writing(f"lock {path}"):
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                with self._progress.stage(f"waiting for another run that holds {path.name}"):
                    lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def temporary(self) -> Iterator[Path]:
        """Give a directory on the cache's file system that is gone afterwards; what killed runs left goes, too."""
        parent = self.folder("temporary")
        # Its owner holds a lock on the directory itself: so what is in use can be told from what was left behind.
        with self.lock("temporary"), self.writing(f"make a directory in {parent}"):
            for old in parent.iterdir():
                if (held := _hold(old, exclusive=True)) is not None:
                    shutil.rmtree(old, ignore_errors=True)
                    os.close(held)
            directory = Path(tempfile.mkdtemp(dir=parent))
            descriptor = _hold(directory, exclusive=True)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            if descriptor is not None:
                os.close(descriptor)

    def write(self, path: Path, content: bytes) -> None:
        """Replace a file of the cache in one step."""
        with self.writing(f"write {path}"):
            self._make_root()
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, content)

    @contextlib.contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Turn the errors of a full or read-only disk into sentences."""
        try:
            yield
        except OSError as error:
            raise self.explain(error, what) from error

    @contextlib.contextmanager
    def _space(self, what: str) -> Iterator[None]:
        """Explain a full disk; a builder's other errors are its own."""
        try:
            yield
        except OSError as error:
            if error.errno in _OUT_OF_SPACE:
                raise self.explain(error, what) from error
            raise

    def explain(self, error: OSError, what: str) -> CacheError:
        """Say what an error of the operating system means for the cache, and what to do."""
        choose = "or choose another place with --cache or URING_MATRIX_CACHE"
        if error.errno in _OUT_OF_SPACE:
            return CacheError(
                f"could not {what}: no space left on the device; free some (`uring-matrix kernels prune`), {choose}"
            )
        if error.errno in _NOT_WRITABLE:
            return CacheError(
                f"could not {what}: the cache cannot be written ({error.strerror}); make it writable, {choose}. "
                "What it already holds can be used as it is"
            )
        return CacheError(f"could not {what}: {error}; mend {self.directory}, {choose}")

    def _open(self, kind: str, key: str, unverified: Collection[str] = ()) -> Entry | str | None:
        """Open and verify. Returns what is wrong with it, if it is there and damaged."""
        directory = self._place(kind, key)
        held = _hold(directory, exclusive=False)
        if held is None:
            return None
        try:
            document = json.loads((directory / _MANIFEST).read_bytes())
            entry = Entry(directory, document["meta"], dict(document["files"]))
            damage = entry.damage(entry.files.keys() - set(unverified))
        except (OSError, ValueError, KeyError, TypeError) as error:
            damage = f"{_MANIFEST} cannot be read ({type(error).__name__})"
        if damage is not None:
            os.close(held)
            return damage
        if (previous := _held.pop(directory, None)) is not None:
            os.close(previous)
        _held[directory] = held
        # When it was last wanted; of no consequence in a cache that cannot be written.
        with contextlib.suppress(OSError):
            os.utime(directory / _MANIFEST)
        return entry

    def _build(self, kind: str, key: str, build: Callable[[Path], Mapping[str, Any]], sparse: Collection[str]) -> Entry:
        place = self._place(kind, key)
        with self.temporary() as workspace:
            directory = workspace / "entry"
            with self.writing(f"write {place}"):
                directory.mkdir()
            with self._space(f"write {place}"):
                meta = build(directory)
            with self.writing(f"write {place}"):
                manifest = {"files": hash_tree(directory, sparse), "meta": meta}
                (directory / _MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
                place.parent.mkdir(parents=True, exist_ok=True)
                directory.rename(place)
        entry = self._open(kind, key, sparse)
        if not isinstance(entry, Entry):
            raise CacheError(f"{place} was damaged while it was made ({entry}); is the disk sound?")
        return entry

    def _bury(self, kind: str, key: str, *, is_damaged: bool = False) -> int | None:
        """Delete an entry whose lock we hold; a damaged one even when another run has it open."""
        directory = self._place(kind, key)
        if (held := _held.pop(directory, None)) is not None:
            os.close(held)
        held = _hold(directory, exclusive=True)
        if held is None and not (is_damaged and directory.is_dir()):
            return None
        size_bytes = tree_size(directory)
        try:
            with self.temporary() as grave, self.writing(f"remove {directory}"):
                # First out of sight in one step: a half deleted entry must not be found by anybody.
                directory.rename(grave / "entry")
        finally:
            if held is not None:
                os.close(held)
        return size_bytes

    def _discard(self, kind: str, key: str, damage: str) -> None:
        try:
            with self.lock(f"{kind}-{key}"):
                # Another run may have made it again meanwhile.
                if isinstance(self._open(kind, key), str):
                    self._bury(kind, key, is_damaged=True)
                    self._progress.note(f"cache: {kind}/{key} was damaged ({damage}); thrown away, to be made again")
        except CacheError:
            self._progress.note(f"cache: {kind}/{key} is damaged ({damage}) and is not used; it cannot be removed")

    def _place(self, kind: str, key: str) -> Path:
        if not key or key.startswith(".") or "/" in key:
            raise ValueError(f"{key!r} cannot be a cache key")
        return self.directory / kind / key

    def _make_root(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        tag = self.directory / _TAG
        if not tag.exists():
            tag.write_text(_TAG_TEXT)


def replace_file(path: Path, content: bytes) -> None:
    """Give a file new content in one step: whoever reads it, or a power failure, finds the old or the new."""
    descriptor, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def hash_file(path: Path) -> str:
    """Compute a file's sha256."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        _known[_appearance(path, os.fstat(file.fileno()))] = digest
        return digest


def digest_of(path: Path) -> str:
    """A file's sha256. One that this process has read, and that looks as it did then, is not read again."""
    found = _known.get(_appearance(path, path.stat()))
    return found if found is not None else hash_file(path)


def _appearance(path: Path, status: os.stat_result) -> tuple[Path, int, int, int]:
    return path, status.st_ino, status.st_size, status.st_mtime_ns


def hash_tree(directory: Path, sparse: Collection[str] = ()) -> dict[str, str]:
    """Describe every file below a directory by its content, for `Entry.damage`.

    Args:
        directory: where they are.
        sparse: the files that are mostly holes, which need not be read.
    """
    names = sorted(
        str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_symlink() or path.is_file()
    )
    return {name: _describe(directory / name, _SPARSE if name in sparse else "") for name in names}


def _describe(path: Path, like: str) -> str:
    """A file's content in a word: its sha256, where a symbolic link points, or what is in a file beside zeros.

    Args:
        path: the file.
        like: a description, or the beginning of one, in whose way it is to be described.
    """
    if path.is_symlink() or like.startswith(_LINK):
        return f"{_LINK}{path.readlink()}"
    return _SPARSE + _sparse_digest(path) if like.startswith(_SPARSE) else hash_file(path)


def _sparse_digest(path: Path) -> str:
    """The sha256 of what is not zero in a file, and of where it lies, whether the zeros are holes or not."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        digest.update(b"%d" % os.fstat(file.fileno()).st_size)
        for at, chunk in filled(file.fileno()):
            digest.update(b" %d " % at)
            digest.update(chunk)
    return digest.hexdigest()


def tree_size(directory: Path) -> int:
    """Sum up the bytes below a directory."""
    return sum(path.lstat().st_size for path in directory.rglob("*") if path.is_symlink() or path.is_file())


def _hold(directory: Path, *, exclusive: bool) -> int | None:
    """Lock a directory for as long as the returned descriptor is open; None when it is not there or is in use.

    A lock on the directory itself needs no write access, and ends with the process however that ends.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
