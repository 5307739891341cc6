"""Zero-copy receive: what is registered for it, and the queue by which memory goes back to the kernel. Since 6.15.

A ring for it is made with IORING_SETUP_DEFER_TASKRUN and completions of 32 bytes, whose first extra word says where the
data lies. Source: include/uapi/linux/io_uring/zcrx.h.
"""

from __future__ import annotations

from ctypes import Structure, c_uint32, c_uint64

ZCRX_REG_IMPORT = 1 << 0
ZCRX_REG_NODEV = 1 << 1
ZCRX_CTRL_FLUSH_RQ = 0
ZCRX_CTRL_EXPORT = 1
ZCRX_CTRL_ARM_EVENT = 2
ZCRX_CTRL_ADD_AREA = 3
IORING_ZCRX_AREA_SHIFT = 48
IORING_ZCRX_AREA_MASK = 0xFFFF << IORING_ZCRX_AREA_SHIFT


class io_uring_zcrx_rqe(Structure):  # noqa: N801 - the kernel's name
    """An entry of the refill queue: memory that the kernel may fill again."""

    _fields_ = (("off", c_uint64), ("len", c_uint32), ("_pad", c_uint32))


class io_uring_zcrx_offsets(Structure):  # noqa: N801 - the kernel's name
    """Where the parts of the refill queue lie in its region, in bytes."""

    _fields_ = (
        ("head", c_uint32),
        ("tail", c_uint32),
        ("rqes", c_uint32),
        ("_resv2", c_uint32),
        ("_resv", c_uint64 * 2),
    )


class io_uring_zcrx_area_reg(Structure):  # noqa: N801 - the kernel's name
    """Memory for what is received; the kernel sets the token that is or-ed to offsets of refill entries."""

    _fields_ = (
        ("addr", c_uint64),
        ("len", c_uint64),
        ("rq_area_token", c_uint64),
        ("flags", c_uint32),
        ("dmabuf_fd", c_uint32),
        ("_resv2", c_uint64 * 2),
    )


class io_uring_zcrx_ifq_reg(Structure):  # noqa: N801 - the kernel's name
    """Argument of REGISTER_ZCRX_IFQ: a receive queue of a network device, or of none (since 7.1)."""

    _fields_ = (
        ("if_idx", c_uint32),
        ("if_rxq", c_uint32),
        ("rq_entries", c_uint32),
        ("flags", c_uint32),
        ("area_ptr", c_uint64),
        ("region_ptr", c_uint64),
        ("offsets", io_uring_zcrx_offsets),
        ("zcrx_id", c_uint32),
        ("rx_buf_len", c_uint32),
        ("event_desc", c_uint64),
        ("_resv", c_uint64 * 2),
    )


class zcrx_ctrl(Structure):  # noqa: N801 - the kernel's name
    """Argument of REGISTER_ZCRX_CTRL: what to do with a receive queue, and its argument of 48 bytes. Since 6.19."""

    _fields_ = (("zcrx_id", c_uint32), ("op", c_uint32), ("_resv", c_uint64 * 2), ("argument", c_uint64 * 6))
