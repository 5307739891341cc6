"""Structures the kernel reads and writes, other than the two queue entries.

Each is a `ctypes.Structure` with the kernel's layout (checked against Zig and the kernel's header in tests/uring) and,
where it holds pointers, a constructor that takes Python objects and keeps them alive.
"""

from __future__ import annotations

from ctypes import Structure, Union, c_int32, c_int64, c_uint8, c_uint16, c_uint32, c_uint64
from os import uname

from .opcodes import IORING_OP

socklen_t = c_uint32


class io_sqring_offsets(Structure):  # noqa: N801 - the kernel's name
    """Where the parts of the submission ring lie in its mapping, in bytes."""

    _fields_ = (
        ("head", c_uint32),
        ("tail", c_uint32),
        ("ring_mask", c_uint32),
        ("ring_entries", c_uint32),
        ("flags", c_uint32),
        ("dropped", c_uint32),
        ("array", c_uint32),
        ("resv1", c_uint32),
        ("user_addr", c_uint64),
    )


class io_cqring_offsets(Structure):  # noqa: N801 - the kernel's name
    """Where the parts of the completion ring lie in its mapping, in bytes."""

    _fields_ = (
        ("head", c_uint32),
        ("tail", c_uint32),
        ("ring_mask", c_uint32),
        ("ring_entries", c_uint32),
        ("overflow", c_uint32),
        ("cqes", c_uint32),
        ("flags", c_uint32),
        ("resv", c_uint32),
        ("user_addr", c_uint64),
    )


class io_uring_params(Structure):  # noqa: N801 - the kernel's name
    """Argument of io_uring_setup(2); the kernel fills in entries, features and offsets."""

    _fields_ = (
        ("sq_entries", c_uint32),
        ("cq_entries", c_uint32),
        ("flags", c_uint32),
        ("sq_thread_cpu", c_uint32),
        ("sq_thread_idle", c_uint32),
        ("features", c_uint32),
        ("wq_fd", c_uint32),
        ("resv", c_uint32 * 3),
        ("sq_off", io_sqring_offsets),
        ("cq_off", io_cqring_offsets),
    )


class kernel_timespec(Structure):  # noqa: N801 - the kernel's name
    """A time in seconds and nanoseconds, 64 bits each on every architecture."""

    _fields_ = (("sec", c_int64), ("nsec", c_int64))


class open_how(Structure):  # noqa: N801 - the kernel's name
    """How openat2(2) opens: os.O_* bits, the mode of what is created, RESOLVE_* bits of <linux/openat2.h>."""

    _fields_ = (("flags", c_uint64), ("mode", c_uint64), ("resolve", c_uint64))


class futex_waitv(Structure):  # noqa: N801 - the kernel's name
    """One futex of several to wait for: its expected value, its address, FUTEX2_* bits; keeps no memory alive."""

    _fields_ = (("val", c_uint64), ("uaddr", c_uint64), ("flags", c_uint32), ("__reserved", c_uint32))


class epoll_event(Structure):  # noqa: N801 - the kernel's name
    """Argument of epoll_ctl(2); packed on x86-64 only."""

    if uname().machine == "x86_64":
        _pack_ = 1
        _layout_ = "ms"
    _fields_ = (("events", c_uint32), ("data", c_uint64))


class siginfo_t(Structure):  # noqa: N801 - the kernel's name
    """What waitid(2) reports about a child."""

    _fields_ = (
        ("signo", c_int32),
        ("errno", c_int32),
        ("code", c_int32),
        ("_pad", c_int32),
        ("pid", c_int32),
        ("uid", c_uint32),
        ("status", c_int32),
        ("_rest", c_int32 * 25),
    )


class statx_timestamp(Structure):  # noqa: N801 - the kernel's name
    """A file time."""

    _fields_ = (("sec", c_int64), ("nsec", c_uint32), ("_reserved", c_int32))


class Statx(Structure):
    """Result of statx(2)."""

    _fields_ = (
        ("mask", c_uint32),
        ("blksize", c_uint32),
        ("attributes", c_uint64),
        ("nlink", c_uint32),
        ("uid", c_uint32),
        ("gid", c_uint32),
        ("mode", c_uint16),
        ("_pad1", c_uint16),
        ("ino", c_uint64),
        ("size", c_uint64),
        ("blocks", c_uint64),
        ("attributes_mask", c_uint64),
        ("atime", statx_timestamp),
        ("btime", statx_timestamp),
        ("ctime", statx_timestamp),
        ("mtime", statx_timestamp),
        ("rdev_major", c_uint32),
        ("rdev_minor", c_uint32),
        ("dev_major", c_uint32),
        ("dev_minor", c_uint32),
        ("_reserved", c_uint64 * 14),
    )


class io_uring_probe_op(Structure):  # noqa: N801 - the kernel's name
    """One operation of a probe."""

    _fields_ = (("op", c_uint8), ("resv", c_uint8), ("flags", c_uint16), ("resv2", c_uint32))

    def is_supported(self) -> bool:
        """Whether this kernel has the operation."""
        return bool(self.flags & 1)


class io_uring_probe(Structure):  # noqa: N801 - the kernel's name
    """What `IoUring.get_probe` returns: the operations this kernel has. Since 5.6."""

    _fields_ = (
        ("last_op", c_uint8),
        ("ops_len", c_uint8),
        ("resv", c_uint16),
        ("resv2", c_uint32 * 3),
        ("ops", io_uring_probe_op * 256),
    )

    def is_supported(self, op: IORING_OP | int) -> bool:
        """Whether this kernel has the operation `op`."""
        return op <= self.last_op and op < self.ops_len and bool(self.ops[op].is_supported())


class io_uring_rsrc_register(Structure):  # noqa: N801 - the kernel's name
    """Argument of REGISTER_FILES2 and REGISTER_BUFFERS2."""

    _fields_ = (("nr", c_uint32), ("flags", c_uint32), ("resv2", c_uint64), ("data", c_uint64), ("tags", c_uint64))


class io_uring_rsrc_update2(Structure):  # noqa: N801 - the kernel's name
    """Argument of REGISTER_FILES_UPDATE2 and REGISTER_BUFFERS_UPDATE. Since 5.13."""

    _fields_ = (
        ("offset", c_uint32),
        ("resv", c_uint32),
        ("data", c_uint64),
        ("tags", c_uint64),
        ("nr", c_uint32),
        ("resv2", c_uint32),
    )


class io_uring_clone_buffers(Structure):  # noqa: N801 - the kernel's name
    """Argument of REGISTER_CLONE_BUFFERS. Since 6.12 (offsets and nr since 6.13)."""

    _fields_ = (
        ("src_fd", c_uint32),
        ("flags", c_uint32),
        ("src_off", c_uint32),
        ("dst_off", c_uint32),
        ("nr", c_uint32),
        ("pad", c_uint32 * 3),
    )


class io_uring_files_update(Structure):  # noqa: N801 - the kernel's name
    """Argument of REGISTER_FILES_UPDATE; the kernel now calls it io_uring_rsrc_update."""

    _fields_ = (("offset", c_uint32), ("resv", c_uint32), ("fds", c_uint64))


class io_uring_rsrc_update(Structure):  # noqa: N801 - the kernel's name
    """Argument of REGISTER_RING_FDS and UNREGISTER_RING_FDS: an index, and a descriptor as `data`."""

    _fields_ = (("offset", c_uint32), ("resv", c_uint32), ("data", c_uint64))


class _Restricted(Union):
    _fields_ = (("register_op", c_uint8), ("sqe_op", c_uint8), ("sqe_flags", c_uint8))


class io_uring_restriction(Structure):  # noqa: N801 - the kernel's name
    """What `IoUring.register_restrictions` allows: an IORING_RESTRICTION_* kind, and a number or flags. Since 5.10."""

    _anonymous_ = ("value",)
    _fields_ = (("opcode", c_uint16), ("value", _Restricted), ("resv", c_uint8), ("resv2", c_uint32 * 3))


class io_uring_clock_register(Structure):  # noqa: N801 - the kernel's name
    """Argument of REGISTER_CLOCK. Since 6.12."""

    _fields_ = (("clockid", c_uint32), ("resv", c_uint32 * 3))


class io_uring_getevents_arg(Structure):  # noqa: N801 - the kernel's name
    """Argument of waiting, with IORING_ENTER_EXT_ARG. Since 5.11 (`min_wait_usec` since 6.12)."""

    _fields_ = (("sigmask", c_uint64), ("sigmask_sz", c_uint32), ("min_wait_usec", c_uint32), ("ts", c_uint64))


class io_uring_reg_wait(Structure):  # noqa: N801 - the kernel's name
    """The same in a region that `IoUring.register_wait_reg` registers; `flags`: IORING_REG_WAIT_TS. Since 6.13."""

    _fields_ = (
        ("ts", kernel_timespec),
        ("min_wait_usec", c_uint32),
        ("flags", c_uint32),
        ("sigmask", c_uint64),
        ("sigmask_sz", c_uint32),
        ("pad", c_uint32 * 3),
        ("pad2", c_uint64 * 2),
    )


class io_uring_region_desc(Structure):  # noqa: N801 - the kernel's name
    """A piece of memory that is shared with the kernel, in whole pages. Since 6.13."""

    _fields_ = (
        ("user_addr", c_uint64),
        ("size", c_uint64),
        ("flags", c_uint32),
        ("id", c_uint32),
        ("mmap_offset", c_uint64),
        ("resv", c_uint64 * 4),
    )


class io_uring_mem_region_reg(Structure):  # noqa: N801 - the kernel's name
    """Argument of REGISTER_MEM_REGION. Since 6.13."""

    _fields_ = (("region_uptr", c_uint64), ("flags", c_uint64), ("resv", c_uint64 * 2))


class io_uring_query_hdr(Structure):  # noqa: N801 - the kernel's name
    """A question of REGISTER_QUERY, and what became of it. Since 6.18."""

    _fields_ = (
        ("next_entry", c_uint64),
        ("query_data", c_uint64),
        ("query_op", c_uint32),
        ("size", c_uint32),
        ("result", c_int32),
        ("resv", c_uint32 * 3),
    )


class io_uring_query_opcode(Structure):  # noqa: N801 - the kernel's name
    """What `query_opcodes` returns: how many numbers this kernel knows, and which flags. Since 6.18."""

    _fields_ = (
        ("nr_request_opcodes", c_uint32),
        ("nr_register_opcodes", c_uint32),
        ("feature_flags", c_uint64),
        ("ring_setup_flags", c_uint64),
        ("enter_flags", c_uint64),
        ("sqe_flags", c_uint64),
        ("nr_query_opcodes", c_uint32),
        ("_pad", c_uint32),
    )


class io_uring_file_index_range(Structure):  # noqa: N801 - the kernel's name
    """Argument of REGISTER_FILE_ALLOC_RANGE."""

    _fields_ = (("off", c_uint32), ("len", c_uint32), ("resv", c_uint64))


class io_uring_napi(Structure):  # noqa: N801 - the kernel's name
    """Argument of REGISTER_NAPI: busy polling of network queues. Since 6.9 (opcode and op_param since 6.13)."""

    _fields_ = (
        ("busy_poll_to", c_uint32),
        ("prefer_busy_poll", c_uint8),
        ("opcode", c_uint8),
        ("pad", c_uint8 * 2),
        ("op_param", c_uint32),
        ("resv", c_uint32),
    )


class io_uring_buf(Structure):  # noqa: N801 - the kernel's name
    """One entry of a buffer ring."""

    _fields_ = (("addr", c_uint64), ("len", c_uint32), ("bid", c_uint16), ("resv", c_uint16))


class io_uring_buf_reg(Structure):  # noqa: N801 - the kernel's name
    """Argument of REGISTER_PBUF_RING and UNREGISTER_PBUF_RING."""

    _fields_ = (
        ("ring_addr", c_uint64),
        ("ring_entries", c_uint32),
        ("bgid", c_uint16),
        ("flags", c_uint16),
        ("min_left", c_uint32),
        ("resv", c_uint32 * 5),
    )


class io_uring_buf_status(Structure):  # noqa: N801 - the kernel's name
    """Argument of REGISTER_PBUF_STATUS. Since 6.8."""

    _fields_ = (("buf_group", c_uint32), ("head", c_uint32), ("resv", c_uint32 * 8))


class io_uring_sync_cancel_reg(Structure):  # noqa: N801 - the kernel's name
    """Argument of REGISTER_SYNC_CANCEL. Since 6.0."""

    _fields_ = (
        ("addr", c_uint64),
        ("fd", c_int32),
        ("flags", c_uint32),
        ("timeout", kernel_timespec),
        ("opcode", c_uint8),
        ("pad", c_uint8 * 7),
        ("pad2", c_uint64 * 3),
    )
