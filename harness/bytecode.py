"""Keeps test modules with their assertions rewritten in our cache: it takes pytest longer to make them than to run few.

pytest keeps them itself, beside the sources. It cannot where nothing may be written there, and must not where
PYTHONDONTWRITEBYTECODE is set, in CI and containers say; there it would make them in each process of each run. Nothing
is put beside anybody's sources here either. A file of the cache is the module's as long as the source is the same, byte
by byte, and it says itself whether it is whole: any number of processes may write it at once.
"""

import contextlib
import hashlib
import importlib.util
import marshal
import os
import sys
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from _pytest.assertion import rewrite

from vm.cache import BYTECODE, Cache
from vm.errors import CacheError

# One per source file. Of tests in temporary directories there is no end.
_FILES_MAX = 2_000
# How exactly it is known when one was last wanted.
_TOUCHED_EVERY_S = 86_400
_DIGEST_SIZE = hashlib.sha256().digest_size
# Reads and rewrites a module: what pytest is to remember its source by, and the code.
_Rewrite = Callable[[Path, pytest.Config], tuple[Any, types.CodeType]]


def keep(config: pytest.Config, directory: Path) -> None:
    """Have this session's modules kept, until it ends.

    Args:
        config: the session's.
        directory: the cache.
    """
    original: _Rewrite | None = getattr(rewrite, "_rewrite_test", None)
    if original is None:  # a pytest that has it elsewhere does without
        return
    kept = _Kept(original, directory, str(config.getini("enable_assertion_pass_hook")))
    config.add_cleanup(lambda: setattr(rewrite, "_rewrite_test", original))
    rewrite._rewrite_test = kept


class _Kept:
    """In place of pytest's function that rewrites a module."""

    def __init__(self, original: _Rewrite, directory: Path, settings: str) -> None:
        self._original = original
        self._cache = Cache(directory)
        # What else shapes the code.
        self._settings = (pytest.__version__, str(sys.implementation.cache_tag), str(sys.flags.optimize), settings)
        self._has_written = False

    def __call__(self, fn: Path, config: pytest.Config) -> tuple[Any, types.CodeType]:
        name = "\0".join((*self._settings, str(fn))).encode("utf-8", "surrogateescape") + importlib.util.MAGIC_NUMBER
        file = self._cache.directory / BYTECODE / hashlib.sha256(name).hexdigest()
        source = fn.read_bytes()
        digest = hashlib.sha256(source).digest()
        source_hash = importlib.util.source_hash(source)
        if (found := _read(file, digest)) is not None:
            is_stat, code = found
            return fn.stat() if is_stat else source_hash, code
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            mark, code = self._original(fn, config)
        if said:  # the session is to hear it, in every run, and to take it for an error where it is one
            return self._original(fn, config)
        is_stat = isinstance(mark, os.stat_result)  # until pytest 9.1
        if (is_stat or mark == source_hash) and fn.read_bytes() == source:  # nobody edited it meanwhile
            self._write(file, digest, marshal.dumps((is_stat, code)))
        return mark, code

    def _write(self, file: Path, digest: bytes, content: bytes) -> None:
        temporary = file.with_name(f".{file.name}.{os.getpid()}")
        with contextlib.suppress(OSError, CacheError):  # on a full or read-only disk it is made each time
            folder = self._cache.folder(BYTECODE)
            if not self._has_written:
                self._has_written = True
                _trim(folder)
            try:
                temporary.write_bytes(digest + hashlib.sha256(content).digest() + content)
                temporary.replace(file)
            finally:
                temporary.unlink(missing_ok=True)


def _read(file: Path, digest: bytes) -> tuple[bool, types.CodeType] | None:
    """What is kept of a source with this digest; None if there is nothing, or it is damaged."""
    try:
        found = file.read_bytes()
        of_source, of_content, content = (
            found[:_DIGEST_SIZE],
            found[_DIGEST_SIZE : 2 * _DIGEST_SIZE],
            found[2 * _DIGEST_SIZE :],
        )
        if of_source != digest or hashlib.sha256(content).digest() != of_content:
            return None
        if time.time() - file.stat().st_mtime > _TOUCHED_EVERY_S:
            os.utime(file)
    except OSError:
        return None
    return marshal.loads(content)  # type: ignore[no-any-return]  # noqa: S302 - whole, and written above


def _trim(folder: Path) -> None:
    """Remove the least recently wanted half when there are too many."""
    files = sorted((entry.stat().st_mtime, entry.path) for entry in os.scandir(folder))
    if len(files) > _FILES_MAX:
        for _, path in files[: len(files) // 2]:
            Path(path).unlink(missing_ok=True)
