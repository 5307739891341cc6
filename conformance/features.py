"""What the running kernel's io_uring says of itself: feature bits, operations, limits."""

import os
from pathlib import Path
from typing import Any

import uring
from uring import IORING_OP


def features() -> dict[str, Any]:
    """Ask the kernel.

    Returns:
        ``features`` (names of the IORING_FEAT bits), ``feature_bits``, ``operations`` (names; None where the kernel
        cannot be probed), ``last_op``, ``io_uring_disabled`` (the sysctl; None where there is none), ``error`` if no
        ring could be set up.
    """
    said: dict[str, Any] = {"io_uring_disabled": _sysctl("kernel/io_uring_disabled"), "release": os.uname().release}
    try:
        ring = uring.IoUring.init(2, 0)
    except uring.UringError as error:
        return said | {"error": str(error)}
    with ring:
        said["feature_bits"] = ring.features
        said["features"] = [
            name
            for name in sorted(dir(uring))
            if name.startswith("IORING_FEAT_") and ring.features & getattr(uring, name)
        ]
        try:
            probe = ring.get_probe()
        except uring.UringError as error:
            return said | {"operations": None, "probe_error": str(error)}
        said["last_op"] = probe.last_op
        said["operations"] = [operation.name for operation in IORING_OP if probe.is_supported(operation)]
    return said


def _sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", name).read_text(encoding="ascii").strip()
    except OSError:
        return None


def report(port: Any, argument: None) -> None:
    """Entry point for PID 1: send the features to the host."""
    del argument
    port.send({"type": "features", "features": features()})
