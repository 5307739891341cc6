"""How much there can be of something, found by asking for it."""

from __future__ import annotations

import errno
import os
import resource
import struct
from contextlib import contextmanager

from .. import flags as f
from ..opcodes import IORING_REGISTER
from ..structs import io_uring_buf_reg
from .finding import Finding, judge, request, unknown, yes
from .registrations import resources
from .world import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

R = IORING_REGISTER
_RSRC_BYTES = 32
_TOO_MANY = 1 << 30
_NOBODY = 65534
# fs.nr_open, unless it was changed.
_OPEN_MAX = 1 << 20


@request("limit-sq-entries", "IORING_SETUP_CLAMP")
def _sq_entries(w: World) -> Finding:
    result, params = w.setup(f.IORING_SETUP_CLAMP, entries=_TOO_MANY)
    if result < 0:
        return judge("a queue as large as can be", result, ())
    return yes(f"asked for {_TOO_MANY} entries, given {params.sq_entries}", params.sq_entries)


@request("limit-cq-entries", "IORING_SETUP_CLAMP IORING_SETUP_CQSIZE")
def _cq_entries(w: World) -> Finding:
    result, params = w.setup(f.IORING_SETUP_CLAMP | f.IORING_SETUP_CQSIZE, entries=1, cq_entries=_TOO_MANY)
    if result < 0:
        return judge("a completion queue as large as can be", result, ())
    return yes(f"asked for {_TOO_MANY} completions, given {params.cq_entries}", params.cq_entries)


def _buffers(w: World, count: int) -> int:
    """Register so many buffers: empty ones, which need no memory, where there can be any."""
    for address, size in ((0, 0), (w.buffer, 16)):
        ring = w.fresh()
        pieces = struct.pack("=QQ", address, size) * count
        memory = w.pages(-(-len(pieces) // 4096) * 4096)
        w.write(memory, pieces)
        result = ring.register(R.REGISTER_BUFFERS, memory, count)
        if result != -errno.EFAULT:
            break
    return result


@request("limit-fixed-buffers", "IORING_REGISTER_BUFFERS")
def _fixed_buffers(w: World) -> Finding:
    for limit in (16384, 1024):
        if _buffers(w, limit + 1) == -errno.EINVAL:
            result = _buffers(w, limit)
            if result == 0:
                return yes(f"{limit} buffers are taken, one more is not", limit)
            if result != -errno.EINVAL:
                return judge(f"{limit} buffers", result, (), ())
    return unknown("neither 1024 nor 16384 buffers are the limit")


@contextmanager
def _limited(kind: int, soft: int) -> Iterator[int]:
    """Another soft limit, as far as the hard one lets it. Yields what it is."""
    old, hard = resource.getrlimit(kind)
    wanted = soft
    if hard != resource.RLIM_INFINITY and soft > hard:
        try:
            resource.setrlimit(kind, (soft, soft))
        except (ValueError, PermissionError):
            wanted = hard
            resource.setrlimit(kind, (wanted, hard))
    else:
        resource.setrlimit(kind, (soft, hard))
    try:
        yield wanted
    finally:
        resource.setrlimit(kind, (old, max(hard, wanted) if hard != resource.RLIM_INFINITY else hard))


def _files(w: World, count: int) -> int:
    ring = w.fresh()
    argument = resources(w, count, flags=f.IORING_RSRC_REGISTER_SPARSE)
    result = ring.register(R.REGISTER_FILES2, argument, _RSRC_BYTES)
    if result == -errno.EINVAL:
        memory = w.pages(-(-count * 4 // 4096) * 4096)
        w.write(memory, struct.pack("=i", -1) * count)
        result = ring.register(R.REGISTER_FILES, memory, count)
    return result


@request("limit-fixed-files", "IORING_REGISTER_FILES")
def _fixed_files(w: World) -> Finding:
    with _limited(resource.RLIMIT_NOFILE, _OPEN_MAX) as allowed:
        for limit in (1 << 15, 1024):
            if limit < allowed and _files(w, limit + 1) == -errno.EMFILE and _files(w, limit) == 0:
                return yes(f"{limit} files are taken, one more is not", limit)
        if allowed == _OPEN_MAX and _files(w, allowed) == 0:
            return yes(f"{allowed} files are taken, and no process has more", allowed)
    return unknown(f"more than this process may have open ({allowed})")


@request("limit-buffer-ring-entries", "IORING_REGISTER_PBUF_RING")
def _ring_entries(w: World) -> Finding:
    limit = 1 << 15
    memory = w.pages(2 * limit * 16)
    results = [
        w.fresh().register(R.REGISTER_PBUF_RING, w.at(io_uring_buf_reg(memory, entries, 7, 0)), 1)
        for entries in (limit, 2 * limit)
    ]
    if results[0] != 0:
        return judge(f"a buffer ring of {limit} entries", results[0], ())
    if results[1] == -errno.EINVAL:
        return yes(f"{limit} entries are taken, {2 * limit} are not", limit)
    return judge(f"a buffer ring of {2 * limit} entries", results[1], (), ())


@contextmanager
def _without_privilege() -> Iterator[None]:
    """Be nobody, who may lock little memory, for a while."""
    if os.geteuid() == 0:
        os.seteuid(_NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)
        return
    yield


def _free(words: str, result: int) -> Finding:
    """Whether it does not count as locked memory."""
    return judge(words, min(0, result), (0,), (-errno.ENOMEM,))


@request("rings-without-memlock", "RLIMIT_MEMLOCK")
def _ring_memory(w: World) -> Finding:
    with _limited(resource.RLIMIT_MEMLOCK, 0), _without_privilege():
        result, _ = w.setup(0)
    return _free("a ring by somebody who may lock no memory", result)


@request("buffers-without-memlock", "RLIMIT_MEMLOCK IORING_REGISTER_BUFFERS")
def _buffer_memory(w: World) -> Finding:
    size = 1 << 20
    memory = w.pages(size)
    with _limited(resource.RLIMIT_MEMLOCK, size // 2), _without_privilege():
        ring = w.fresh()
        result = ring.register(R.REGISTER_BUFFERS, w.iovec((memory, size)), 1)
    return _free("registering more memory than may be locked", result)
