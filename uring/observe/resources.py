"""Registered files and buffers: tags, sparse tables, updates; personalities; the workers' pool."""

from __future__ import annotations

import errno
import struct

from .. import flags as f
from ..opcodes import IORING_REGISTER, OP
from ..structs import io_uring_files_update
from .bare import sqe
from .finding import INVALID, Finding, judge, no, request, seen
from .registrations import clone, resources, ring_fd, unregister_ring_fd, update2, with_buffer
from .world import World

R = IORING_REGISTER
_RSRC_BYTES = 32
_TAG = 0x7A67


def tag_completion(w: World, *, is_file: bool) -> Finding:
    """A tagged resource completes when another takes its place."""
    ring = w.fresh()
    tags = w.put(struct.pack("=Q", _TAG))
    data = w.fds(w.file) if is_file else w.iovec()
    opcode, update, unregister = _TAGGED[is_file]
    w.need(ring, f"IORING_{opcode.name}", opcode, resources(w, 1, data, tags), _RSRC_BYTES)
    w.need(ring, f"IORING_{update.name}", update, update2(w, data), _RSRC_BYTES)
    # Kernels before 6.4 say so a second later, but for those who give everything back meanwhile.
    ring.register(unregister)
    found = [cqe.user_data for cqe in ring.reap(1)]
    return seen(found == [_TAG], f"completions after replacing a resource with the tag {_TAG:#x}: {len(found)}")


_TAGGED = {
    True: (R.REGISTER_FILES2, R.REGISTER_FILES_UPDATE2, R.UNREGISTER_FILES),
    False: (R.REGISTER_BUFFERS2, R.REGISTER_BUFFERS_UPDATE, R.UNREGISTER_BUFFERS),
}


@request("files-tags", "IORING_REGISTER_FILES2")
def _file_tags(w: World) -> Finding:
    return tag_completion(w, is_file=True)


@request("buffers-tags", "IORING_REGISTER_BUFFERS2")
def _buffer_tags(w: World) -> Finding:
    return tag_completion(w, is_file=False)


@request("files-sparse", "IORING_REGISTER_FILES")
def _free_slots(w: World) -> Finding:
    return judge(
        "a table with a free slot", w.fresh().register(R.REGISTER_FILES, w.fds(-1), 1), (0,), (*INVALID, -errno.EBADF)
    )


@request("files-rsrc-sparse", "IORING_RSRC_REGISTER_SPARSE IORING_REGISTER_FILES2")
def _sparse_files(w: World) -> Finding:
    argument = resources(w, 4, flags=f.IORING_RSRC_REGISTER_SPARSE)
    return judge("a sparse table of files", w.fresh().register(R.REGISTER_FILES2, argument, _RSRC_BYTES), (0,))


@request("buffers-rsrc-sparse", "IORING_RSRC_REGISTER_SPARSE IORING_REGISTER_BUFFERS2")
def _sparse_buffers(w: World) -> Finding:
    argument = resources(w, 4, flags=f.IORING_RSRC_REGISTER_SPARSE)
    return judge("a sparse table of buffers", w.fresh().register(R.REGISTER_BUFFERS2, argument, _RSRC_BYTES), (0,))


@request("buffers-sparse", "IORING_REGISTER_BUFFERS")
def _empty_buffer(w: World) -> Finding:
    result = w.fresh().register(R.REGISTER_BUFFERS, w.iovec((0, 0)), 1)
    return judge("a table with an empty buffer", result, (0,), (-errno.EFAULT, *INVALID))


@request("files-update-skip", "IORING_REGISTER_FILES_SKIP")
def _skip(w: World) -> Finding:
    argument = w.at(io_uring_files_update(0, 0, w.fds(f.IORING_REGISTER_FILES_SKIP)))
    result = w.with_files(w.file).register(R.REGISTER_FILES_UPDATE, argument, 1)
    return judge("an update that skips its slot", result, (1,), (-errno.EBADF, *INVALID))


@request("files-update-alloc", "IORING_OP_FILES_UPDATE IORING_FILE_INDEX_ALLOC")
def _alloc(w: World) -> Finding:
    ring = w.with_files(w.file, -1)
    fds = w.fds(w.file)
    result = ring.ask(sqe(OP.FILES_UPDATE, addr=fds, size=1, off=f.IORING_FILE_INDEX_ALLOC)).res
    if result != 1:
        return judge("an update of whichever slot is free", result, (), (*INVALID, -errno.EOVERFLOW, 0))
    slot = struct.unpack("=i", w.get(fds, 4))[0]
    return seen(slot == 1, f"the kernel chose slot {slot} of two, the first being taken")


@request("clone-buffers-offset", "IORING_REGISTER_CLONE_BUFFERS")
def _clone_some(w: World) -> Finding:
    return judge("cloning one buffer", clone(w, w.fresh(), with_buffer(w).fd, nr=1), (0,))


@request("clone-buffers-replace", "IORING_REGISTER_DST_REPLACE IORING_REGISTER_CLONE_BUFFERS")
def _clone_over(w: World) -> Finding:
    result = clone(w, with_buffer(w), with_buffer(w).fd, f.IORING_REGISTER_DST_REPLACE)
    return judge("cloning over buffers that are there", result, (0,), (*INVALID, -errno.EBUSY))


@request("clone-buffers-registered", "IORING_REGISTER_SRC_REGISTERED IORING_REGISTER_CLONE_BUFFERS")
def _clone_registered(w: World) -> Finding:
    source = with_buffer(w)
    index = ring_fd(w, source)
    result = clone(w, w.fresh(), index, f.IORING_REGISTER_SRC_REGISTERED)
    unregister_ring_fd(w, source, index)
    return judge("cloning from a registered ring's index", result, (0,))


@request("sqe-personality", "IORING_REGISTER_PERSONALITY")
def _personality(w: World) -> Finding:
    """Known ones are taken and unknown ones are not."""
    ring = w.fresh()
    number = w.need(ring, "a personality", R.REGISTER_PERSONALITY)
    known = ring.ask(sqe(OP.NOP, personality=number)).res
    other = ring.ask(sqe(OP.NOP, personality=number + 1)).res
    if known != 0:
        return judge("a no-op with a personality", known, ())
    return judge("a no-op with a personality that was not registered", other, INVALID, (0,))


@request("iowq-max-workers-read", "IORING_REGISTER_IOWQ_MAX_WORKERS")
def _max_workers(w: World) -> Finding:
    counts = w.room(8)
    result = w.fresh().register(R.REGISTER_IOWQ_MAX_WORKERS, counts, 2)
    if result < 0:
        return judge("asking for the number of workers", result, ())
    bound, unbound = struct.unpack("=II", w.get(counts, 8))
    if not bound:
        return no("the kernel told no number of workers")
    return seen(unbound > 0, f"{bound} bound and {unbound} unbound workers at most")
