"""What the running kernel's io_uring says of itself: feature bits, operations, limits."""

import os
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uring
from conformance.diagnosis import diagnose
from uring import IORING_OP, syscalls

if TYPE_CHECKING:
    from uring.observe import Observation


def features() -> dict[str, Any]:
    """Ask the kernel.

    Returns:
        ``features`` (names of the IORING_FEAT bits), ``feature_bits``, ``operations`` (names; None where the kernel
        cannot be probed), ``last_op``, ``limits`` (names to numbers), ``io_uring_disabled`` (the sysctl; None where
        there is none), ``error`` if no ring could be set up, and why.
    """
    said: dict[str, Any] = {"io_uring_disabled": _sysctl("kernel/io_uring_disabled"), "release": os.uname().release}
    try:
        ring = uring.IoUring.init(2, 0)
    except uring.UringError as error:
        return said | {"error": _why(error)}
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
            return said | {"operations": None, "probe_error": _why(error)}
        said["last_op"] = probe.last_op
        said["operations"] = [operation.name for operation in IORING_OP if probe.is_supported(operation)]
    said["limits"] = _limits()
    return said


def _why(error: uring.UringError) -> str:
    found = diagnose(error)
    return f"{found.reason} [{error}]" if found is not None else str(error)


def _limits() -> dict[str, int]:
    """How large rings can be, by asking for more than there is; and what this process may lock."""
    found = {}
    memlock_bytes, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if memlock_bytes != resource.RLIM_INFINITY:
        found["memlock_bytes"] = memlock_bytes
    flags = uring.IORING_SETUP_CLAMP | uring.IORING_SETUP_CQSIZE
    params = uring.io_uring_params(flags=flags, cq_entries=1 << 30)
    try:
        # Not as a ring to be used: to map and to fill its queues takes longer than all else that is asked.
        os.close(syscalls.io_uring_setup(1 << 30, params))
    except uring.UringError:
        return found  # before 5.6, or no memory for the largest
    return found | {"sq_entries": params.sq_entries, "cq_entries": params.cq_entries}


def _sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", name).read_text(encoding="ascii").strip()
    except OSError:
        return None


def observe(ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Try some of what a program can ask the kernel for, in this order.

    Args:
        ids: of capabilities.

    Yields:
        For each of them what `harness.suites.Observation` has.
    """
    from uring.observe import each  # noqa: PLC0415 - what only wants the kernel's word does not load it

    for one in each(ids):
        yield _said(one) | ({"ended": one.ended} if one.ended is not None else {})


def _said(one: "Observation") -> dict[str, Any]:
    """An observation in plain data, without what there is nothing to say of."""
    extra = {"value": one.value, "claimed": one.claimed}
    return {"state": one.state.value, "evidence": one.evidence} | {
        name: value for name, value in extra.items() if value is not None
    }


def observed() -> dict[str, Any]:
    """Ask the kernel, and try everything that a program can ask it for.

    Returns:
        What `features` does, and ``capabilities``: by id the ``state`` (`has`, `lacks`, `off`, `not-determinable`), the
        ``evidence``, and where there are any the ``value`` of a limit and what the kernel ``claimed`` of itself.
    """
    from uring.observe import observe  # noqa: PLC0415 - what only wants the kernel's word does not load it

    found = {one.id: _said(one) for one in observe()}
    return features() | {"capabilities": found}


def report(port: Any, argument: None) -> None:
    """Entry point for PID 1: send all that is observed to the host."""
    del argument
    port.send({"type": "features", "features": observed()})
