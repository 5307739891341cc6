"""Ring modes: ways to set a ring up and to submit to it, in which every test must come out the same.

Data, used on the host and in guests. What a mode's rings do differently is in `conformance.mode_rings`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.suites import Mode

if TYPE_CHECKING:
    import uring

# Tests that set a ring up in their own way are about just that.
_OWN_SETUP = ("IORING_SETUP_*", "IORING_REGISTER_ENABLE_RINGS", "IORING_REGISTER_RESIZE_RINGS")
# A ring has one table of files.
_OWN_FILES = (
    "IORING_REGISTER_FILES*",
    "IORING_UNREGISTER_FILES",
    "IORING_REGISTER_FILE_ALLOC_RANGE",
    "IORING_OP_FILES_UPDATE",
    "IORING_MSG_SEND_FD",
)
# A ring is registered once.
_OWN_INDEX = ("IORING_REGISTER_RING_FDS", "IORING_UNREGISTER_RING_FDS")


@dataclass(frozen=True, slots=True)
class RingMode(Mode):
    """One way to use rings.

    Attributes:
        flag_names: the kernel's names for what it needs. Those of setup flags are or-ed with what a test asks for; a
            kernel that is seen to lack any does not have the mode.
        ring: the class of its rings in `conformance.mode_rings`.
        entries_min: a test that asks for a smaller ring gets one of this size.
    """

    ring: str = ""
    entries_min: int = 1

    @property
    def flags(self) -> int:
        """The bits for `io_uring_params.flags`."""
        import uring  # noqa: PLC0415 - the host lists modes without loading the ring

        return sum(getattr(uring, name) for name in self.flag_names if name.startswith("IORING_SETUP_"))

    def ring_class(self) -> type[uring.IoUring]:
        """What its rings are made of."""
        import uring  # noqa: PLC0415

        if not self.ring:
            return uring.IoUring
        made: type[uring.IoUring] = getattr(importlib.import_module("conformance.mode_rings"), self.ring)
        return made


def _mode(name: str, flags: str, since: str, ring: str = "", own: tuple[str, ...] = (), entries: int = 1) -> RingMode:
    return RingMode(name, tuple(flags.split()), since, (*_OWN_SETUP, *own), ring, entries)


MODES = {
    mode.id: mode
    for mode in (
        RingMode("default", (), "5.1"),
        _mode("sqpoll", "IORING_SETUP_SQPOLL", "5.11", "PolledRing"),
        _mode("coop-taskrun", "IORING_SETUP_COOP_TASKRUN", "5.19"),
        _mode("single-issuer", "IORING_SETUP_SINGLE_ISSUER", "6.0"),
        _mode("defer-taskrun", "IORING_SETUP_SINGLE_ISSUER IORING_SETUP_DEFER_TASKRUN", "6.1"),
        _mode(
            "taskrun-flag",
            "IORING_SETUP_SINGLE_ISSUER IORING_SETUP_DEFER_TASKRUN IORING_SETUP_TASKRUN_FLAG",
            "6.1",
        ),
        _mode("submit-all", "IORING_SETUP_SUBMIT_ALL", "5.18"),
        _mode("no-sqarray", "IORING_SETUP_NO_SQARRAY", "6.6"),
        _mode("no-mmap", "IORING_SETUP_NO_MMAP", "6.5"),
        _mode("sqe128", "IORING_SETUP_SQE128", "5.19"),
        _mode("cqe32", "IORING_SETUP_CQE32", "5.19"),
        _mode("cqe-mixed", "IORING_SETUP_CQE_MIXED", "6.18"),
        _mode("mixed", "IORING_SETUP_CQE_MIXED IORING_SETUP_SQE_MIXED", "6.19", entries=2),
        _mode("async", "IOSQE_ASYNC", "5.6", "AsyncRing"),
        _mode("fixed-file", "IOSQE_FIXED_FILE IORING_REGISTER_FILES_UPDATE", "5.5", "FixedFileRing", _OWN_FILES),
        _mode(
            "registered-ring",
            "IORING_REGISTER_RING_FDS IORING_ENTER_REGISTERED_RING",
            "5.18",
            "RegisteredRing",
            _OWN_INDEX,
        ),
    )
}
