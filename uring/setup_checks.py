"""What cannot be right about a ring that is to be set up, found without asking the kernel or from its first answer."""

from __future__ import annotations

from errno import ENOSYS

from . import flags as f
from .errors import (
    ArgumentOutOfRange,
    EntriesNotPowerOfTwo,
    EntriesZero,
    ParamsInvalid,
    SystemOutdated,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .structs import io_uring_params


def check_setup(entries: int, params: io_uring_params) -> None:
    """What Zig asserts, as errors, before the kernel is asked."""
    if entries == 0:
        raise EntriesZero("a ring needs at least one entry")
    if entries < 0 or entries & (entries - 1):
        raise EntriesNotPowerOfTwo(f"entries must be a power of two, not {entries}")
    # With CLAMP the kernel takes as many as it can.
    if entries > (0xFFFFFFFF if params.flags & f.IORING_SETUP_CLAMP else 0xFFFF):
        raise ArgumentOutOfRange(f"entries must be at most 32768, not {entries}; IORING_SETUP_CLAMP takes fewer")
    flags = params.flags
    for field, flag in (("cq_entries", f.IORING_SETUP_CQSIZE), ("wq_fd", f.IORING_SETUP_ATTACH_WQ)):
        if getattr(params, field) and not flags & flag:
            raise ParamsInvalid(f"io_uring_params.{field} is set without IORING_SETUP_{f.IORING_SETUP(flag).name}")
    if params.sq_entries or params.features or any(params.resv):
        raise ParamsInvalid("sq_entries, features and resv of io_uring_params are the kernel's; use a fresh one")


def check_features(features: int) -> None:
    """Kernels before 5.4 map the two rings apart; Zig does not support that, and neither do we."""
    if not features & f.IORING_FEAT_SINGLE_MMAP:
        raise SystemOutdated(ENOSYS, "the kernel has no IORING_FEAT_SINGLE_MMAP; Linux 5.4 or later is needed")
